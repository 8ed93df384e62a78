//! What a manager knows of the jobs that are followed: all of them are asked about in one command, as often
//! as the refresh time says, however many ask.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::WorkloadError;
use crate::read::NativeId;

/// The jobs that were asked about, and those of them that the manager knows.
struct Known<J> {
    asked_at: Instant,
    ids: Vec<NativeId>,
    jobs: BTreeMap<NativeId, J>,
}

/// The jobs that are followed, as the manager has them.
pub(crate) struct Followed<J> {
    known: Mutex<Option<Known<J>>>,
}

impl<J> Default for Followed<J> {
    fn default() -> Self {
        Self { known: Mutex::new(None) }
    }
}

impl<J: Clone> Followed<J> {
    /// The known ones of these ids, and others that are followed. An id that was not among those asked about
    /// is asked about at once, together with `all`.
    pub(crate) async fn jobs(
        &self,
        refresh: Duration,
        ids: &[NativeId],
        all: impl FnOnce() -> Vec<NativeId>,
        ask: impl AsyncFnOnce(Vec<NativeId>) -> Result<BTreeMap<NativeId, J>, WorkloadError>,
    ) -> Result<BTreeMap<NativeId, J>, WorkloadError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref()
            && known.asked_at.elapsed() < refresh
            && ids.iter().all(|id| known.ids.binary_search(id).is_ok())
        {
            return Ok(known.jobs.clone());
        }
        let asked_at = Instant::now();
        let mut all = all();
        all.extend(ids.iter().cloned());
        all.sort_unstable();
        all.dedup();
        let jobs = ask(all.clone()).await?;
        *known = Some(Known { asked_at, ids: all, jobs: jobs.clone() });
        Ok(jobs)
    }

    /// The next look is a new one.
    pub(crate) async fn forget(&self) {
        *self.known.lock().await = None;
    }
}
