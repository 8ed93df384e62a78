//! Slurm's submit side: handing work over once, following it, stopping it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::units::{GiB, Seconds, Timestamp};
use tokio::time::Instant;

use super::accounting;
use super::directives::Directives;
use super::jobs::{Job, State};
use super::{SlurmOptions, SlurmReader, is_job_id, refusals};
use crate::attempts::{self, Attempts, BATCH_SCRIPT, Handed, HandsOver, Open, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::program::words;
use crate::read::{Accounting, NativeId, RunState, Slots};
use crate::submit::{DryRun, Status, SubmitRequest};

/// A start within this time is at once: Slurm plans in whole seconds and looks at its queue every few.
const AT_ONCE_SECONDS: f64 = 5.0;

/// A Slurm that work is handed over to.
pub struct Slurm {
    reader: SlurmReader,
    attempts: Attempts,
    directory: PathBuf,
    script: PathBuf,
}

impl Slurm {
    /// Opens Slurm with a directory of our own for what was handed over. Slurm is not asked anything yet.
    pub fn open(
        options: SlurmOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let attempts = Attempts::open(&directory)?;
        let script = directory.join("batch.sh");
        attempts::write(&script, BATCH_SCRIPT.as_bytes())?;
        let reader = SlurmReader::new(options, clock);
        Ok(Self { reader, attempts, directory, script })
    }

    /// The request with what the site's operator chose where it says nothing.
    fn with_defaults(&self, request: &SubmitRequest) -> SubmitRequest {
        let placement = request.placement.with_defaults(&self.reader.options.defaults);
        SubmitRequest { placement, ..request.clone() }
    }

    /// Every check of ours, and the directives.
    async fn directives(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        request.program()?;
        check_directory(&request.directory)?;
        let cluster = self.reader.cluster().await?;
        let name = attempts::name(&request.job_id, request.attempt);
        Directives::of(&self.with_defaults(request), name, &cluster)
    }

    /// Where a job stands that Slurm still knows.
    async fn known(&self, record: &Record, job: &Job) -> Status {
        let mut accounting = self.reader.of_job(job);
        if accounting.state.is_terminal() {
            accounting.peak_memory_gib = self.peak_memory(record).await;
        }
        status(record, accounting, &job.state)
    }

    /// Where a job stands that Slurm has forgotten.
    async fn forgotten(&self, open: &Open) -> Result<Status, WorkloadError> {
        let Open { native, record } = open;
        if self.reader.keeps_accounts().await?
            && let Some(accounted) = accounting::ask(&self.reader.options.commands, native).await?
        {
            let accounting = self.reader.of_accounted(&accounted, record.submitted_at);
            return Ok(status(record, accounting, &accounted.state));
        }
        let accounting = open.forgotten();
        let run = accounting.state;
        Ok(status(record, accounting, &State { run, word: "nothing any more".to_owned() }))
    }

    /// The most memory that a job's steps had, where the site keeps accounts. These come a moment after
    /// the end; that they are late or silent costs this figure only.
    async fn peak_memory(&self, record: &Record) -> Option<GiB> {
        let native = record.native.as_ref()?;
        if !self.reader.keeps_accounts().await.ok()? {
            return None;
        }
        let options = &self.reader.options;
        for is_last in [false, true] {
            let accounted = accounting::ask(&options.commands, native).await.ok()??;
            if is_last || accounted.state.run.is_terminal() {
                return accounted.peak_memory;
            }
            tokio::time::sleep(options.refresh).await;
        }
        None
    }
}

/// A job's status, with the limit that its own script keeps.
fn status(record: &Record, mut accounting: Accounting, state: &State) -> Status {
    let mut state = state.clone();
    if accounting.state == RunState::Failed && record.ran_out_of_time(&accounting) {
        accounting.state = RunState::TimedOut;
        state.run = RunState::TimedOut;
    }
    let error = state.error(accounting.exit_code);
    Status { accounting, error, log_dropped_bytes: 0 }
}

/// The id in what `sbatch --parsable` prints: `12` or `12;cluster`.
fn job_id_in(text: &str) -> Option<NativeId> {
    let native = NativeId(text.trim().split(';').next()?.to_owned());
    is_job_id(&native).then_some(native)
}

/// A directory that Slurm takes as it stands: `%` and `\` mean something in names of files there.
fn check_directory(directory: &Path) -> Result<(), WorkloadError> {
    let refuse = |problem: &str| {
        let reason = format!("{} {problem}", directory.display());
        Err(WorkloadError::Refused { field: "directory", reason })
    };
    match directory.to_str() {
        _ if !directory.is_absolute() => refuse("is not an absolute path"),
        Some(text) if !text.contains(['%', '\\']) && !text.contains(char::is_control) => Ok(()),
        _ => refuse("has characters in it that Slurm would read as something else"),
    }
}

/// The job's variables, as `--export-file` reads them.
fn environment(request: &SubmitRequest) -> Vec<u8> {
    let variables = request.variables();
    variables.iter().flat_map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// The limit that the batch script has to keep: one that is no whole number of minutes.
fn own_limit(limit: Option<Seconds>) -> Option<Seconds> {
    limit.filter(|limit| limit.get() % 60.0 != 0.0)
}

#[async_trait]
impl HandsOver for Slurm {
    type Reader = SlurmReader;
    type Ready = Directives;

    fn reader(&self) -> &SlurmReader {
        &self.reader
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn now(&self) -> Timestamp {
        self.reader.clock.now()
    }

    fn own_limit(&self, limit: Option<Seconds>) -> Option<Seconds> {
        own_limit(limit)
    }

    async fn ready(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        self.directives(request).await
    }

    async fn test(&self, request: &SubmitRequest, directives: &Directives) -> Result<DryRun, WorkloadError> {
        let start = self.reader.test(directives).await?;
        let (asked, ..) = directives.asked();
        let wait = self.reader.seconds_from_now(start);
        Ok(DryRun {
            takes: Slots { cores: asked.cores, memory_gib: request.memory_limit, gpus: asked.gpus },
            starts_now: wait.get() <= AT_ONCE_SECONDS,
        })
    }

    async fn hand_over(
        &self,
        request: &SubmitRequest,
        directives: &Self::Ready,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        let variables = self.directory.join(format!("{}.environment", record.name()));
        attempts::write(&variables, &environment(request))?;
        let mut arguments = words(["--parsable", "--no-requeue", "--open-mode=append"]);
        arguments.push(format!("--chdir={}", request.directory.display()));
        arguments.push(format!("--output={}", request.directory.join(LOG_NAME).display()));
        arguments.push(format!("--export-file={}", variables.display()));
        arguments.extend(directives.words());
        arguments.push(self.script.display().to_string());
        arguments.push(record.notes().display().to_string());
        arguments.push(record.own_limit.map_or_else(|| "0".to_owned(), |limit| limit.get().to_string()));
        arguments.extend(request.argv.iter().cloned());
        let output = self.reader.options.commands.run("sbatch", &arguments, &request.directory).await;
        // Its variables may be secrets. That the file is gone already is fine.
        let _gone = std::fs::remove_file(&variables);
        match output {
            Ok(output) if output.code == Some(0) => match job_id_in(&output.stdout) {
                Some(native) => Ok(Handed::Taken(native)),
                None => Ok(Handed::Doubtful(format!("sbatch answered {:?}", output.complaint()))),
            },
            Ok(output) if output.code.is_none() || refusals::is_doubtful(&output.complaint()) => {
                Ok(Handed::Doubtful(output.complaint()))
            }
            Ok(output) => Err(refusals::refusal(&output.complaint())),
            Err(error @ WorkloadError::Silent { .. }) => Ok(Handed::Doubtful(error.to_string())),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let mut arguments = words(["--noheader", "--states=all", "--format=%A"]);
        arguments.push(format!("--user={}", nix::unistd::getuid()));
        arguments.push(format!("--name={}", record.name()));
        let text = self.reader.ask("squeue", &arguments).await?;
        if let Some(native) = text.lines().find_map(job_id_in) {
            return Ok(Some(native));
        }
        if !self.reader.keeps_accounts().await? {
            return Ok(None);
        }
        let mut arguments = words(["--noheader", "--parsable2", "--allocations", "--format=JobIDRaw"]);
        arguments.push(format!("--name={}", record.name()));
        // An hour before, for clocks that differ.
        let since = record.submitted_at.plus(Seconds::saturating(-3600.0)).to_string();
        arguments.push(format!("--starttime={}", since.split(['.', 'Z']).next().unwrap_or(&since)));
        let text = self.reader.ask("sacct", &arguments).await?;
        Ok(text.lines().find_map(job_id_in))
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let asked_at = Instant::now();
        let mut listed = self.reader.own_jobs(None).await?;
        let mut statuses = BTreeMap::new();
        for open in open {
            let in_list = |jobs: &[Job]| jobs.iter().find(|job| job.id == open.native.0).cloned();
            let mut job = in_list(&listed);
            if job.is_none() {
                // The listing may be older than the job.
                listed = self.reader.own_jobs(Some(asked_at)).await?;
                job = in_list(&listed);
            }
            let status = match job {
                Some(job) => self.known(&open.record, &job).await,
                None => self.forgotten(open).await?,
            };
            statuses.insert(open.native.clone(), status);
        }
        Ok(statuses)
    }

    async fn cancel_attempt(&self, record: &Record) -> Result<(), WorkloadError> {
        let arguments = [format!("--user={}", nix::unistd::getuid()), format!("--name={}", record.name())];
        self.reader.ask("scancel", &arguments).await.map(|_| ())
    }

    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError> {
        let words = std::slice::from_ref(&native.0);
        let output = self.reader.options.commands.run("scancel", words, Path::new("/")).await?;
        self.reader.forget_own_jobs().await;
        let problem = output.complaint();
        let over = problem.contains("Invalid job id") || problem.contains("already completing");
        if output.code == Some(0) || over {
            return Ok(());
        }
        Err(WorkloadError::CommandFailed { command: "scancel", problem })
    }
}
