//! What the machine looks like: capacity, queue, estimates, where jobs stand.

use protocol::facts::{Allocation, StartEstimate};
use protocol::units::Seconds;

use super::Supervisor;
use crate::local::gib;
use crate::read::{Capacity, NativeId, QueuedJob};
use crate::submit::{Status, SubmitRequest};

impl Supervisor {
    pub(super) fn capacity(&self) -> Capacity {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Capacity {
            total: self.schedule.total(),
            free: self.schedule.free(),
            running: count(self.schedule.running()),
            queued: count(self.schedule.waiting()),
            time_limit: self.options.time_limit,
            accepting: self.close_by.is_none()
                && self.unwritten.is_empty()
                && self.schedule.waiting() < self.options.queue_limit,
        }
    }

    pub(super) fn queue(&self) -> Vec<QueuedJob> {
        let running = self.jobs.iter().filter(|(native, _)| self.live.contains_key(native));
        let waiting = self.schedule.queue().filter_map(|native| Some((native, self.jobs.get(native)?)));
        running
            .chain(waiting)
            .filter_map(|(native, job)| {
                let request = job.request()?;
                Some(QueuedJob {
                    native: native.clone(),
                    job_id: Some(request.job_id.clone()),
                    attempt: Some(request.attempt),
                    state: job.status().state(),
                    takes: self.schedule.takes(&request.allocation, request.memory_limit).ok()?,
                    received_at: job.received_at,
                    started_at: job.starting_at,
                    time_limit: self.limit_of(request),
                })
            })
            .collect()
    }

    pub(super) fn estimate(&self, allocation: &Allocation) -> Option<StartEstimate> {
        let takes = self.schedule.takes(allocation, None).ok()?;
        let now = self.clock.now();
        self.schedule.estimate(takes, |native| {
            let job = self.jobs.get(native)?;
            let limit = self.limit_of(job.request()?)?.get();
            let used = job.starting_at.map_or(0.0, |started| now.since(started).get());
            Some(Seconds::saturating(limit - used.max(0.0)))
        })
    }

    pub(super) fn status(&self, native: &NativeId) -> Option<Status> {
        let mut status = self.jobs.get(native)?.status();
        if let Some(live) = self.live.get(native) {
            status.accounting.peak_memory_gib = live.peak_bytes.map(gib);
            status.log_dropped_bytes = live.dropped_bytes;
        }
        Some(status)
    }

    /// The job's own limit, or the machine's where it has none.
    pub(super) fn limit_of(&self, request: &SubmitRequest) -> Option<Seconds> {
        request.time_limit.or(self.options.time_limit)
    }
}
