//! Recovering after a crash or a restart of the agent.

use std::time::{Duration, Instant};

use protocol::error::{ErrorBody, ErrorCode};

use super::{Supervisor, duration};
use crate::local::LOG_NAME;
use crate::local::journal::{Given, Job, Phase, Step, StopReason};
use crate::local::process::{self, ProcessIdentity};
use crate::local::schedule::Placed;
use crate::read::{NativeId, RunState};
use crate::submit::SubmitRequest;

impl Supervisor {
    /// Looks for what an earlier agent left: waiting jobs wait again, live processes are adopted, and
    /// what is gone without a trace is unknown.
    pub(super) fn recover(&mut self) {
        let open: Vec<(NativeId, Job)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.request().is_some())
            .map(|(native, job)| (native.clone(), job.clone()))
            .collect();
        for (native, job) in open {
            match job.phase.clone() {
                Phase::Queued { request } => self.recover_queued(&native, &request),
                Phase::Starting { request, given } => {
                    let found = process::marked_leader(&request.job_id, request.attempt);
                    if let Some(process) = &found {
                        self.note(&native, Step::Started { process: process.clone() });
                    }
                    self.recover_started(&native, &job, &request, &given, found, None);
                }
                Phase::Running { request, given, process, stopping } => {
                    let found = Some(process).filter(ProcessIdentity::is_alive);
                    self.recover_started(&native, &job, &request, &given, found, stopping);
                }
                Phase::Ended { .. } => {}
            }
        }
        self.clear_cgroups();
    }

    /// Removes the cgroups of this state directory that no job is in any more.
    fn clear_cgroups(&mut self) {
        let Some(cgroups) = &self.cgroups else { return };
        let held: Vec<_> = self.live.values().filter_map(|live| live.cgroup.as_ref()).collect();
        for cgroup in cgroups.left_behind() {
            if held.contains(&&cgroup) || self.leaving.contains(&cgroup) {
                continue;
            }
            if let Err(error) = cgroup.remove() {
                tracing::warn!(%error, cgroup = %cgroup.directory().display(), "a cgroup of no known job stays");
            }
        }
    }

    pub(super) fn recover_queued(&mut self, native: &NativeId, request: &SubmitRequest) {
        match self.schedule.takes(&request.allocation, request.memory_limit) {
            Ok(takes) => self.schedule.enqueue(native.clone(), takes),
            Err(never) => {
                let message = format!("the machine has changed: {} {}", never.field, never.reason);
                let error = ErrorBody::new(ErrorCode::JobFailed, message);
                self.end(native, RunState::Failed, None, None, Some(error));
            }
        }
    }

    pub(super) fn recover_started(
        &mut self,
        native: &NativeId,
        job: &Job,
        request: &SubmitRequest,
        given: &Given,
        found: Option<ProcessIdentity>,
        stopping: Option<StopReason>,
    ) {
        let takes = self.schedule.takes(&request.allocation, request.memory_limit).unwrap_or_default();
        let gpus = given.gpus.iter().filter_map(|written| written.device(&self.options.gpus)).collect();
        self.schedule.place(native.clone(), Placed { takes, gpus });
        let adopted = found.is_some();
        let process =
            found.unwrap_or_else(|| ProcessIdentity { pid: 0, start_ticks: 0, boot_id: String::new() });
        let used =
            job.starting_at.map_or(Duration::ZERO, |started| duration(self.clock.now().since(started)));
        let started = Instant::now().checked_sub(used).unwrap_or_else(Instant::now);
        let log = process::open_log(&request.directory.join(LOG_NAME)).ok();
        self.watch(native, process, log, request, started, true);
        if adopted {
            tracing::info!(job = %native, "adopted a job that an earlier agent started");
            if let Some(why) = stopping {
                self.stop(native, why);
            }
        } else {
            if let Some(live) = self.live.get_mut(native) {
                live.stop = stopping;
            }
            self.bury(native);
        }
    }
}
