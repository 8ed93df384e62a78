//! Ending: nothing of the job is left behind, its exit code and its memory are on record, its slots
//! are free.

use std::fs::File;
use std::process::Child;
use std::time::Instant;

use nix::sys::signal::Signal;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::GiB;
use wait4::Wait4 as _;

use super::watching::bound_log;
use super::{REMOVE_AGAIN, Supervisor};
use crate::local::journal::{Job, Outcome, Step, StopReason, attempt_of};
use crate::local::process;
use crate::read::{NativeId, RunState};

impl Supervisor {
    /// A child of ours has ended: takes down the rest of its group, reaps it, settles the job.
    pub(super) fn reap(&mut self, native: &NativeId, child: Child) {
        let mut child = child;
        let Some(live) = self.live.get(native) else {
            let _reaped = child.wait();
            return;
        };
        process::signal_group(live.process.pid, Signal::SIGKILL);
        let floor = process::own_peak_memory();
        let (code, most_of_one) = match child.wait4() {
            Ok(used) => (process::exit_code(used.status), Some(used.rusage.maxrss)),
            Err(error) => {
                tracing::error!(%error, job = %native, "cannot learn how a job ended");
                (process::recorded_exit(&self.exit_record(native)), None)
            }
        };
        // Below the agent's own peak the figure may be the agent's, from before the child's exec.
        let most_of_one = most_of_one.filter(|bytes| *bytes > floor);
        self.settle(native, code, most_of_one);
    }

    /// An adopted process is gone: its exit code is what its recorder wrote, if anything.
    pub(super) fn bury(&mut self, native: &NativeId) {
        let code = process::recorded_exit(&self.exit_record(native));
        self.settle(native, code, None);
    }

    pub(super) fn settle(&mut self, native: &NativeId, code: Option<i32>, most_of_one: Option<u64>) {
        if let Some((job_id, attempt)) = attempt_of(native) {
            process::sweep(&job_id, attempt);
        }
        let Some(live) = self.live.get(native) else { return };
        let (mut stop, seen) = (live.stop, live.peak_bytes);
        let (mut of_cgroup, mut its_own) = (None, true);
        if let Some(cgroup) = &live.cgroup {
            cgroup.end();
            of_cgroup = cgroup.peak_bytes();
            its_own = live.memory_limit.is_none_or(|limit| cgroup.met_limit(limit));
            if stop.is_none() && cgroup.ran_out_of_memory() {
                stop = Some(StopReason::MemoryLimit);
            }
        }
        let outside = process::stayed_outside(&self.exit_record(native), code);
        let limit = self
            .jobs
            .get(native)
            .and_then(Job::request)
            .map(|request| (self.limit_of(request), request.memory_limit));
        let (time_limit, memory_limit) = limit.unwrap_or_default();
        let (state, error) = match (stop, code) {
            (Some(StopReason::Cancelled), _) => {
                (RunState::Cancelled, Some(ErrorBody::new(ErrorCode::Cancelled, "the job was cancelled")))
            }
            (Some(StopReason::TimeLimit), _) => {
                let limit = time_limit.map_or(String::new(), |limit| format!(" of {limit}"));
                let message = format!("the job was stopped at its time limit{limit}");
                (RunState::TimedOut, Some(ErrorBody::new(ErrorCode::JobTimeout, message)))
            }
            (Some(StopReason::MemoryLimit), _) => {
                let message = match memory_limit.filter(|_| its_own) {
                    Some(limit) => {
                        let limit = GiB::saturating((limit.get() * 1000.0).round() / 1000.0);
                        format!("the job was stopped because it used more than its memory of {limit}")
                    }
                    // It may have had more, but there was none.
                    None => "the job was stopped because memory had run out".to_owned(),
                };
                (RunState::Failed, Some(ErrorBody::new(ErrorCode::JobFailed, message)))
            }
            (None, _) if outside => {
                let message = "the program was not run because it could not be put into its cgroup";
                (RunState::Failed, Some(ErrorBody::new(ErrorCode::JobFailed, message)))
            }
            (None, Some(0)) => (RunState::Completed, None),
            (None, Some(code)) => {
                let message = if code > 128 {
                    format!("the program ended with exit code {code}, which is signal {}", code - 128)
                } else {
                    format!("the program ended with exit code {code}")
                };
                (RunState::Failed, Some(ErrorBody::new(ErrorCode::JobFailed, message)))
            }
            (None, None) => (RunState::Unknown, Some(lost())),
        };
        let peak = of_cgroup.or_else(|| most_of_one.into_iter().chain(seen).max());
        self.end(native, state, code, peak, error);
    }

    pub(super) fn end(
        &mut self,
        native: &NativeId,
        state: RunState,
        exit_code: Option<i32>,
        peak_memory_bytes: Option<u64>,
        error: Option<ErrorBody>,
    ) {
        let mut log_dropped_bytes = 0;
        if let Some(live) = self.live.remove(native) {
            log_dropped_bytes = live.dropped_bytes;
            if let Some(log) = &live.log {
                log_dropped_bytes += bound_log(log, self.options.log_limit_bytes);
                if log_dropped_bytes > 0 {
                    say_what_was_dropped(log, self.options.log_limit_bytes, log_dropped_bytes);
                }
            }
        }
        if let Some(given) = self.jobs.get(native).and_then(Job::given) {
            self.leaving.extend(given.cgroup.clone());
            if !given.gpus.is_empty() {
                // What was seen on its devices may have been the job itself.
                self.looked_at = None;
            }
        }
        self.remove_cgroups();
        self.schedule.release(native);
        let outcome = Outcome { state, exit_code, peak_memory_bytes, error, log_dropped_bytes };
        self.note(native, Step::Ended { outcome });
        let _may_never_have_been_written = std::fs::remove_file(self.exit_record(native));
        if let Err(error) = self.journal.compact(&mut self.jobs) {
            tracing::warn!(%error, "cannot shorten the journal");
        }
    }
}

impl Supervisor {
    /// Removes the cgroups of jobs that are over; one in which the kernel still ends a process is tried
    /// again later.
    pub(super) fn remove_cgroups(&mut self) {
        self.leaving.retain(|cgroup| match cgroup.remove() {
            Ok(()) => false,
            Err(error) => {
                tracing::debug!(%error, cgroup = %cgroup.directory().display(), "cannot remove a cgroup yet");
                cgroup.kill();
                true
            }
        });
        self.remove_at = (!self.leaving.is_empty()).then(|| Instant::now() + REMOVE_AGAIN);
    }
}

fn lost() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::JobFailed,
        "the process is gone and left no exit code; whether it finished its work is not known",
    )
}

fn say_what_was_dropped(log: &File, limit: u64, dropped: u64) {
    use std::io::Write as _;

    let mut log = log;
    if let Err(error) =
        writeln!(log, "\n[parley: output cut at {limit} bytes; at least {dropped} more were dropped]")
    {
        tracing::warn!(%error, "cannot note in a log that it was cut");
    }
}
