//! GPUs that somebody else uses: looked up in a thread of its own, because a driver may take its time, and
//! never while nobody needs to know.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Command, Supervisor};
use crate::local::gpus::GpuDevice;

/// How long it counts which GPUs were seen in use.
const COUNTS_FOR: Duration = Duration::from_secs(2);

/// How long an answer is waited for. After that nobody knows, and GPUs are given as if nobody could tell.
const DEADLINE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Whether the next job can be chosen with what is known of the GPUs; asks if not.
    pub(super) fn knows_busy(&mut self) -> bool {
        if self.nobody_looks || self.options.busy_gpus.is_none() || !self.schedule.depends_on_busy() {
            return true;
        }
        if self.looking_since.is_some_and(|since| since + DEADLINE <= Instant::now()) {
            tracing::warn!("nobody says which GPUs are in use; they are given as if none were");
            self.schedule.seen_busy(BTreeSet::new());
            self.nobody_looks = true;
            return true;
        }
        self.look_if_stale();
        self.looking_since.is_none()
    }

    /// Asks which GPUs are in use, unless that is known or asked already.
    pub(super) fn look_if_stale(&mut self) {
        let now = Instant::now();
        let known = self.looked_at.is_some_and(|at| now < at + COUNTS_FOR);
        let Some(busy_gpus) = self.options.busy_gpus.clone() else { return };
        if known || self.looking_since.is_some() {
            return;
        }
        self.looking_since = Some(now);
        let own = self.own.clone();
        let looked = std::thread::Builder::new().name("gpus in use".to_owned()).spawn(move || {
            let _over_meanwhile = own.send(Command::Looked(busy_gpus.look()));
        });
        if let Err(error) = looked {
            // It counts as unanswered, so it is said again at the deadline.
            tracing::error!(%error, "cannot start a thread that looks which GPUs are in use");
        }
    }

    pub(super) fn on_looked(&mut self, busy: BTreeSet<GpuDevice>) {
        self.looking_since = None;
        self.nobody_looks = false;
        self.looked_at = Some(Instant::now());
        self.schedule.seen_busy(busy);
    }

    /// When to look again, or to give up, for the sake of the job that waits.
    pub(super) fn next_look(&self) -> Option<Instant> {
        if self.nobody_looks || self.options.busy_gpus.is_none() || !self.schedule.depends_on_busy() {
            return None;
        }
        let asked = self.looking_since.map(|since| since + DEADLINE);
        asked.or_else(|| self.looked_at.map(|at| at + COUNTS_FOR))
    }
}
