//! Watching what runs: time, memory, the size of the log, and whether an adopted process is alive.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Instant;

use super::{ADOPTED_SAMPLE, FIRST_SAMPLE, Live, RETRY, SLOWEST_SAMPLE, Supervisor};
use crate::local::journal::StopReason;
use crate::local::process;
use crate::read::NativeId;

impl Supervisor {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let of_jobs =
            self.live.values().flat_map(|live| [live.limit_at, live.kill_at, Some(live.next_sample)]);
        of_jobs.chain([self.retry_at, self.remove_at, self.next_look()]).flatten().min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if let Err(error) = self.flush() {
                tracing::error!(%error, "the journal still cannot be written");
                self.retry_at = Some(now + RETRY);
            }
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ids = |picked: &dyn Fn(&Live) -> bool| -> Vec<NativeId> {
            self.live.iter().filter(|(_, live)| picked(live)).map(|(native, _)| native.clone()).collect()
        };
        let out_of_time = ids(&|live| due(live.limit_at));
        let out_of_grace = ids(&|live| due(live.kill_at));
        let to_sample = ids(&|live| live.next_sample <= now);
        for native in out_of_time {
            self.stop(&native, StopReason::TimeLimit);
        }
        for native in out_of_grace {
            self.kill(&native);
        }
        if due(self.remove_at) {
            self.remove_cgroups();
        }
        if !to_sample.is_empty() {
            // The process table is walked for jobs without a cgroup only.
            let walks = to_sample.iter().filter_map(|native| self.live.get(native));
            let walks = walks.filter(|live| live.cgroup.is_none()).count() > 0;
            let memory = if walks { process::group_memory() } else { BTreeMap::new() };
            for native in to_sample {
                self.sample(&native, &memory, now);
            }
        }
    }

    pub(super) fn sample(
        &mut self,
        native: &NativeId,
        memory: &BTreeMap<i32, process::GroupMemory>,
        now: Instant,
    ) {
        let log_limit = self.options.log_limit_bytes;
        let Some(live) = self.live.get_mut(native) else { return };
        let slowest = if live.adopted { ADOPTED_SAMPLE } else { SLOWEST_SAMPLE };
        live.sample_gap = (live.sample_gap * 2).min(slowest);
        live.next_sample = now + live.sample_gap;
        if let Some(cgroup) = &live.cgroup {
            let most = cgroup.peak_bytes().or_else(|| cgroup.used_bytes());
            live.peak_bytes = live.peak_bytes.max(most);
            // The kernel may have ended one process of the job only, and the others go on for nothing.
            if cgroup.ran_out_of_memory() {
                self.stop(native, StopReason::MemoryLimit);
            }
        } else if let Some(group) = memory.get(&live.process.pid) {
            let seen = group.now.max(group.most_of_one);
            live.peak_bytes = Some(live.peak_bytes.unwrap_or(0).max(seen));
            if live.memory_limit.is_some_and(|limit| group.now > limit) {
                self.stop(native, StopReason::MemoryLimit);
            }
        }
        let Some(live) = self.live.get_mut(native) else { return };
        let cut = live.log.as_ref().map_or(0, |log| bound_log(log, log_limit));
        if cut > 0 {
            live.dropped_bytes += cut;
            // A job that floods its log is looked at more often, so that the flood stays small.
            live.sample_gap = FIRST_SAMPLE;
            live.next_sample = now + live.sample_gap;
        }
        if live.adopted && !live.process.is_alive() {
            self.bury(native);
        }
    }
}

/// Cuts a log back to its limit, keeping its beginning; gives the bytes that went. The job appends
/// behind the cut, so this goes on working while it writes.
pub(super) fn bound_log(log: &File, limit: u64) -> u64 {
    match log.metadata() {
        Ok(metadata) if metadata.len() > limit => log.set_len(limit).map_or(0, |()| metadata.len() - limit),
        _ => 0,
    }
}
