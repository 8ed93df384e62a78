//! Jobs that their manager does not list any more and of which it has no accounts yet. These may come later, so
//! that a job is not given up at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Noted, Open};
use crate::read::{Accounting, NativeId, RunState};

/// Since when jobs are gone.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    jobs: Mutex<BTreeMap<NativeId, Looked>>,
}

/// When a job was missed, and when its accounts were looked for last.
#[derive(Debug, Clone, Copy)]
struct Looked {
    first: Instant,
    last: Instant,
}

impl Gone {
    /// Whether it is time to look for the accounts of a job: when it was missed, and every so often from then on.
    pub(crate) fn is_due(&self, native: &NativeId, every: Duration) -> bool {
        let now = Instant::now();
        let mut jobs = self.lock();
        match jobs.get_mut(native) {
            Some(looked) if now - looked.last < every => false,
            Some(looked) => {
                looked.last = now;
                true
            }
            None => {
                jobs.insert(native.clone(), Looked { first: now, last: now });
                true
            }
        }
    }

    /// Whether a job was missed so long ago.
    pub(crate) fn for_longer_than(&self, native: &NativeId, patience: Duration) -> bool {
        self.lock().get(native).is_some_and(|looked| looked.first.elapsed() >= patience)
    }

    /// Forgets a job that is over.
    pub(crate) fn forget(&self, native: &NativeId) {
        self.lock().remove(native);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NativeId, Looked>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether its script noted a start.
    pub(crate) fn has_started(&self) -> bool {
        self.record.notes().join("started").exists()
    }

    /// A job of which nobody says yet that it is over.
    pub(crate) fn not_over(&self, started: bool) -> Accounting {
        let noted = Noted::read(&self.record.notes());
        Accounting {
            state: if started { RunState::Running } else { RunState::Queued },
            received_at: self.record.submitted_at,
            started_at: noted.and_then(|noted| noted.started_at),
            ended_at: None,
            exit_code: None,
            peak_memory_gib: None,
        }
    }
}
