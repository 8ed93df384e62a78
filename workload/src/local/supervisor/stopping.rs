//! Stopping: SIGTERM to the group, then SIGKILL to all that is left of the job, in its cgroup or not.

use std::time::Instant;

use nix::sys::signal::Signal;
use protocol::error::{ErrorBody, ErrorCode};

use super::{CLOSE_MARGIN, Supervisor};
use crate::error::WorkloadError;
use crate::local::journal::{Step, StopReason, attempt_of};
use crate::local::process;
use crate::read::{NativeId, RunState};

impl Supervisor {
    pub(super) fn cancel(&mut self, native: &NativeId) -> Result<(), WorkloadError> {
        if self.jobs.get(native).is_none() {
            return Err(WorkloadError::UnknownJob { native: native.clone() });
        }
        if self.schedule.withdraw(native) {
            let error = ErrorBody::new(ErrorCode::Cancelled, "the job was cancelled before it started");
            self.end(native, RunState::Cancelled, None, None, Some(error));
        } else {
            self.stop(native, StopReason::Cancelled);
        }
        Ok(())
    }

    /// Asks a job to end: SIGTERM to its group now, SIGKILL after the grace. A job out of memory gets
    /// no grace. What was asked first stands.
    pub(super) fn stop(&mut self, native: &NativeId, why: StopReason) {
        let grace = self.options.grace;
        let Some(live) = self.live.get_mut(native) else { return };
        live.limit_at = None;
        // One that has ended by itself, and of which we have not heard yet, keeps its own end.
        if live.stop.is_some() || live.process.is_zombie() {
            return;
        }
        live.stop = Some(why);
        let group = live.process.pid;
        let immediate = why == StopReason::MemoryLimit;
        live.kill_at = Some(if immediate { Instant::now() } else { Instant::now() + grace });
        self.note(native, Step::Stopping { why });
        if !immediate && self.may_signal(native) {
            process::signal_group(group, Signal::SIGTERM);
        }
    }

    pub(super) fn kill(&mut self, native: &NativeId) {
        let may_signal = self.may_signal(native);
        let Some(live) = self.live.get_mut(native) else { return };
        live.kill_at = None;
        if may_signal {
            process::signal_group(live.process.pid, Signal::SIGKILL);
        }
        if let Some(cgroup) = &live.cgroup {
            cgroup.end();
        }
        if let Some((job_id, attempt)) = attempt_of(native) {
            process::sweep(&job_id, attempt);
        }
    }

    /// A child keeps its number until we reap it; an adopted process may be gone and its number taken.
    pub(super) fn may_signal(&self, native: &NativeId) -> bool {
        self.live.get(native).is_some_and(|live| !live.adopted || live.process.is_alive())
    }

    pub(super) fn close(&mut self) {
        if self.close_by.is_some() {
            return;
        }
        self.close_by = Some(Instant::now() + self.options.grace + CLOSE_MARGIN);
        let waiting: Vec<NativeId> = self.schedule.queue().cloned().collect();
        let running: Vec<NativeId> = self.live.keys().cloned().collect();
        for native in waiting.iter().chain(&running) {
            if let Err(error) = self.cancel(native) {
                tracing::warn!(%error, job = %native, "cannot cancel a job on shutdown");
            }
        }
    }
}
