//! Starting what fits: "starting" goes to disk before the process exists, "started" right after.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use protocol::error::{ErrorBody, ErrorCode};

use super::{Command, FIRST_SAMPLE, Live, RETRY, Supervisor, duration};
use crate::error::WorkloadError;
use crate::local::cgroup::Limits;
use crate::local::gpus::{self, GpuDevice, Written};
use crate::local::journal::{Given, Job, Phase, Step};
use crate::local::process::{self, Launch, ProcessIdentity};
use crate::local::{LOG_NAME, METRICS_NAME, bytes};
use crate::read::{NativeId, RunState};
use crate::submit::SubmitRequest;

impl Supervisor {
    pub(super) fn start_what_fits(&mut self) {
        while self.close_by.is_none()
            && self.retry_at.is_none()
            && self.knows_busy()
            && let Some((native, placed)) = self.schedule.next()
        {
            // Unless "starting" is on disk, a crash could make the job run twice.
            let given = Given {
                gpus: placed.gpus.iter().cloned().map(Written::Device).collect(),
                cgroup: self.cgroups.as_ref().map(|cgroups| cgroups.of_job(&native)),
            };
            let record = self.record(&native, Step::Starting(given));
            if let Err(error) = self.flush().and_then(|()| self.journal.append(&record)) {
                tracing::error!(%error, job = %native, "cannot start a job before its journal is written");
                self.retry_at = Some(Instant::now() + RETRY);
                return;
            }
            self.jobs.apply(&record);
            self.schedule.place(native.clone(), placed);
            if let Err(error) = self.start(&native) {
                tracing::warn!(%error, job = %native, "cannot start a job");
                let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
                let message = format!("cannot start the program: {error}{cause}");
                let error = ErrorBody::new(ErrorCode::JobFailed, message);
                self.end(&native, RunState::Failed, None, None, Some(error));
            }
        }
    }

    pub(super) fn start(&mut self, native: &NativeId) -> Result<(), WorkloadError> {
        let Some(Phase::Starting { request, given }) = self.jobs.get(native).map(|job| job.phase.clone())
        else {
            return Ok(());
        };
        let program = self.program(&request).ok_or_else(|| WorkloadError::ProgramNotFound {
            program: request.argv.first().cloned().unwrap_or_default(),
        })?;
        let log_path = request.directory.join(LOG_NAME);
        let log = process::open_log(&log_path).map_err(WorkloadError::io("cannot open", &log_path))?;
        let doors = match &given.cgroup {
            Some(cgroup) => {
                let io = WorkloadError::io("cannot make the cgroup", cgroup.directory());
                cgroup.make(&self.limits(&request)).map_err(io)?;
                cgroup.doors()
            }
            None => Vec::new(),
        };
        let gpus: Vec<GpuDevice> =
            given.gpus.iter().filter_map(|written| written.device(&self.options.gpus)).collect();
        let child = process::launch(&Launch {
            program: &program,
            arguments: request.argv.get(1..).unwrap_or_default(),
            environment: &self.environment(&request, &gpus),
            directory: &request.directory,
            log: &log,
            record: &self.exit_record(native),
            doors: &doors,
        })
        .map_err(WorkloadError::io("cannot run", &program))?;
        let pid = process::pid_of(&child).as_raw();
        // The child is not reaped yet, so its entry in the process table is there even if it has ended.
        let identity = ProcessIdentity::of(pid).unwrap_or_else(|| ProcessIdentity {
            pid,
            start_ticks: 0,
            boot_id: String::new(),
        });
        self.note(native, Step::Started { process: identity.clone() });
        self.watch(native, identity, Some(log), &request, Instant::now(), false);
        self.wait_on(native, child);
        Ok(())
    }

    /// Has a thread of its own wait for the child, as that blocks.
    pub(super) fn wait_on(&self, native: &NativeId, child: Child) {
        let (own, native) = (self.own.clone(), native.clone());
        let pid = process::pid_of(&child);
        let waiter = std::thread::Builder::new().name(format!("wait {pid}")).stack_size(128 * 1024);
        let mut child = child;
        let waited = waiter.spawn(move || {
            process::wait_for_end(&mut child);
            if let Err(unsent) = own.send(Command::Exited(native, child))
                && let Command::Exited(_, mut child) = unsent.0
            {
                // The supervisor has detached: the next agent learns the exit code from its record.
                let _reaped = child.wait();
            }
        });
        if let Err(error) = waited {
            // Without a waiter the process is watched like an adopted one, and never reaped by us.
            tracing::error!(%error, "cannot start a thread to wait for a job");
        }
    }

    pub(super) fn watch(
        &mut self,
        native: &NativeId,
        process: ProcessIdentity,
        log: Option<File>,
        request: &SubmitRequest,
        started: Instant,
        adopted: bool,
    ) {
        let limit_at = self.limit_of(request).and_then(|limit| started.checked_add(duration(limit)));
        let given = self.jobs.get(native).and_then(Job::given);
        let live = Live {
            process,
            // One that cannot be seen from here, as from another container, holds nothing for us: sampling does.
            cgroup: given.and_then(|given| given.cgroup.clone()).filter(|cgroup| cgroup.directory().is_dir()),
            log,
            adopted,
            stop: None,
            limit_at,
            kill_at: None,
            memory_limit: request.memory_limit.map(bytes),
            next_sample: Instant::now() + FIRST_SAMPLE,
            sample_gap: FIRST_SAMPLE,
            peak_bytes: None,
            dropped_bytes: 0,
        };
        self.live.insert(native.clone(), live);
    }

    pub(super) fn program(&self, request: &SubmitRequest) -> Option<PathBuf> {
        let path = request.environment.get("PATH").or_else(|| self.options.environment.get("PATH"));
        process::find_program(request.argv.first()?, path.map_or("", String::as_str), &request.directory)
    }

    fn limits(&self, request: &SubmitRequest) -> Limits {
        let takes = self.schedule.takes(&request.allocation, request.memory_limit);
        Limits {
            memory_bytes: request.memory_limit.map(bytes),
            processes: self.options.process_limit,
            cores: takes.map_or(1, |takes| takes.cores),
        }
    }

    pub(super) fn environment(
        &self,
        request: &SubmitRequest,
        devices: &[GpuDevice],
    ) -> BTreeMap<String, String> {
        let mut environment = self.options.environment.clone();
        if let Ok(takes) = self.schedule.takes(&request.allocation, request.memory_limit) {
            environment.insert("OMP_NUM_THREADS".to_owned(), takes.cores.to_string());
        }
        environment.extend(request.environment.clone());
        // Behind what the job says: it cannot choose the devices of another one.
        environment.extend(gpus::variables(devices));
        environment.insert("PARLEY_JOB_ID".to_owned(), request.job_id.to_string());
        environment.insert("PARLEY_ATTEMPT".to_owned(), request.attempt.to_string());
        let metrics = request.directory.join(METRICS_NAME);
        environment.insert("PARLEY_METRICS".to_owned(), metrics.to_string_lossy().into_owned());
        environment
    }

    pub(super) fn exit_record(&self, native: &NativeId) -> PathBuf {
        self.options.state_directory.join("exits").join(&native.0)
    }
}
