//! Jobs that their manager does not list any more and of which it has no accounts yet. These may come later, so
//! that a job is not given up at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Noted, Open};
use crate::read::{Accounting, NativeId, RunState};

/// Since when jobs are gone.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    since: Mutex<BTreeMap<NativeId, Instant>>,
}

impl Gone {
    /// Whether a job is gone for so long; the first time that it is asked about counts as its beginning.
    pub(crate) fn for_longer_than(&self, native: &NativeId, patience: Duration) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(native.clone()).or_insert_with(Instant::now).elapsed() >= patience
    }

    pub(crate) fn forget(&self, native: &NativeId) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(native);
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
