//! Taking work in: every check there is, then the journal, then the queue.

use protocol::units::Seconds;

use super::Supervisor;
use crate::error::WorkloadError;
use crate::local::journal::{Step, digest, native_id};
use crate::read::NativeId;
use crate::submit::{DryRun, SubmitRequest};

impl Supervisor {
    pub(super) fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun, WorkloadError> {
        let refuse = |field, reason: String| Err(WorkloadError::Refused { field, reason });
        let takes = self
            .schedule
            .takes(&request.allocation, request.memory_limit)
            .map_err(|never| WorkloadError::Refused { field: never.field, reason: never.reason })?;
        if !request.directory.is_absolute() {
            return refuse("directory", format!("{} is not an absolute path", request.directory.display()));
        }
        if let Some(limit) = request.time_limit {
            if limit <= Seconds::ZERO {
                return refuse("time_limit", format!("{limit} leaves no time to run"));
            }
            if let Some(longest) = self.options.time_limit.filter(|longest| limit > *longest) {
                return refuse("time_limit", format!("{limit} is more than the {longest} allowed here"));
            }
        }
        let program = request.program()?;
        let placement = &request.placement;
        for (field, wanted) in [
            ("placement.partition", &placement.partition),
            ("placement.account", &placement.account),
            ("placement.qos", &placement.qos),
            ("placement.constraint", &placement.constraint),
        ] {
            if let Some(wanted) = wanted {
                return refuse(field, format!("{wanted:?} means nothing to a single machine"));
            }
        }
        if self.program(request).is_none() {
            return Err(WorkloadError::ProgramNotFound { program: program.to_owned() });
        }
        Ok(DryRun { takes, starts_now: self.schedule.waiting() == 0 && self.fits_now(request) })
    }

    pub(super) fn fits_now(&self, request: &SubmitRequest) -> bool {
        let mut probe = self.schedule.clone();
        let Ok(takes) = probe.takes(&request.allocation, request.memory_limit) else { return false };
        probe.enqueue(native_id(&request.job_id, request.attempt), takes);
        probe.next().is_some()
    }

    pub(super) fn submit(&mut self, request: Box<SubmitRequest>) -> Result<NativeId, WorkloadError> {
        let native = native_id(&request.job_id, request.attempt);
        if let Some(known) = self.jobs.get(&native) {
            let same = known.request_digest == digest(&request);
            return if same { Ok(native) } else { Err(WorkloadError::Conflict { native }) };
        }
        if self.close_by.is_some() {
            return Err(WorkloadError::ShuttingDown);
        }
        let dry_run = self.dry_run(&request)?;
        if !request.directory.is_dir() {
            let reason = format!("{} is not a directory", request.directory.display());
            return Err(WorkloadError::Refused { field: "directory", reason });
        }
        let waiting = self.schedule.waiting();
        if waiting >= self.options.queue_limit {
            return Err(WorkloadError::QueueFull { length: waiting });
        }
        self.flush()?;
        let record = self.record(&native, Step::Received { request });
        self.journal.append(&record)?;
        self.jobs.apply(&record);
        self.schedule.enqueue(native.clone(), dry_run.takes);
        Ok(native)
    }
}
