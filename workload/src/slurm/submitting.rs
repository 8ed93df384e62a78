//! Slurm's submit side: handing work over once, following it, stopping it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use protocol::ids::Digest;
use protocol::units::{GiB, Seconds};
use tokio::time::Instant;

use super::accounting::{self, Noted};
use super::directives::{self, Directives};
use super::jobs::{Job, State};
use super::records::{self, Record, Records};
use super::{SlurmOptions, SlurmReader, is_job_id, refusals};
use crate::error::WorkloadError;
use crate::local::{LOG_NAME, METRICS_NAME, clean_environment};
use crate::program::words;
use crate::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, ReadSide, RunState, Slots};
use crate::submit::{DryRun, Status, SubmitRequest, SubmitSide};

/// What every job begins as.
const BATCH_SCRIPT: &str = include_str!("batch.sh");
/// Exit codes of `timeout` when it ended the work: asked to end, and killed because it did not.
const TIMEOUT_CODES: [i32; 2] = [124, 137];
/// A start within this time is at once: Slurm plans in whole seconds and looks at its queue every few.
const AT_ONCE_SECONDS: f64 = 5.0;

/// A Slurm that work is handed over to.
pub struct Slurm {
    reader: SlurmReader,
    records: Records,
    directory: PathBuf,
    script: PathBuf,
    /// Attempts that `sbatch` is running for.
    submitting: Mutex<BTreeSet<String>>,
}

/// Takes an attempt out of `submitting` on the way out.
struct Turn<'a> {
    submitting: &'a Mutex<BTreeSet<String>>,
    name: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.submitting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// How an attempt to hand a job over ended.
enum Handed {
    Taken(NativeId),
    /// It may have been taken.
    Doubtful(String),
}

impl Slurm {
    /// Opens Slurm with a directory of our own for what was handed over. Slurm is not asked anything yet.
    pub fn open(
        options: SlurmOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let records = Records::open(directory.join("attempts"))?;
        let script = directory.join("batch.sh");
        records::write(&script, BATCH_SCRIPT.as_bytes())?;
        let reader = SlurmReader::new(options, clock);
        Ok(Self { reader, records, directory, script, submitting: Mutex::default() })
    }

    fn turn(&self, name: &str) -> Result<Turn<'_>, WorkloadError> {
        let mut submitting = self.submitting.lock().unwrap_or_else(PoisonError::into_inner);
        if submitting.insert(name.to_owned()) {
            return Ok(Turn { submitting: &self.submitting, name: name.to_owned() });
        }
        Err(WorkloadError::Unavailable { problem: "this attempt is being submitted already".to_owned() })
    }

    /// The request with what the site's operator chose where it says nothing.
    fn with_defaults(&self, request: &SubmitRequest) -> SubmitRequest {
        let placement = directives::with_defaults(&request.placement, &self.reader.options.defaults);
        SubmitRequest { placement, ..request.clone() }
    }

    /// Every check of ours, and the directives.
    async fn directives(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        request.program()?;
        check_directory(&request.directory)?;
        let cluster = self.reader.cluster().await?;
        let name = records::name(&request.job_id, request.attempt);
        Directives::of(&self.with_defaults(request), name, &cluster)
    }

    /// Runs `sbatch`.
    async fn hand_over(
        &self,
        request: &SubmitRequest,
        directives: &Directives,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        let variables = self.directory.join(format!("{}.environment", record.name()));
        records::write(&variables, &environment(request))?;
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

    /// The job of an attempt whose answer was lost, by its name.
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

    /// Makes sure that an attempt never starts, as far as it can be reached: its script finds the notes
    /// of an earlier start, and what waits under its name is cancelled.
    async fn withdraw(&self, record: &Record, problem: String) -> WorkloadError {
        let mut record = record.clone();
        if let Err(error) = std::fs::create_dir(record.notes()) {
            tracing::warn!(job = record.name(), %error, "a withdrawn job could not be marked as started");
        }
        let arguments = [format!("--user={}", nix::unistd::getuid()), format!("--name={}", record.name())];
        if let Err(error) = self.reader.ask("scancel", &arguments).await {
            tracing::warn!(job = record.name(), %error, "a withdrawn job could not be cancelled");
        }
        record.withdrawn = true;
        match self.records.put(&record) {
            Ok(()) => WorkloadError::Doubtful { problem },
            Err(error) => error,
        }
    }

    fn taken(&self, mut record: Record, native: NativeId) -> Result<NativeId, WorkloadError> {
        record.native = Some(native.clone());
        self.records.put(&record)?;
        Ok(native)
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
    async fn forgotten(&self, native: &NativeId, record: &Record) -> Result<Status, WorkloadError> {
        if self.reader.keeps_accounts().await?
            && let Some(accounted) = accounting::ask(&self.reader.options.commands, native).await?
        {
            let accounting = self.reader.of_accounted(&accounted, record.submitted_at);
            return Ok(status(record, accounting, &accounted.state));
        }
        let noted = Noted::read(&record.notes());
        let run = noted.map_or(RunState::Unknown, Noted::state);
        let accounting = Accounting {
            state: run,
            received_at: record.submitted_at,
            started_at: noted.and_then(|noted| noted.started_at),
            ended_at: noted.and_then(|noted| noted.ended_at),
            exit_code: noted.map(|noted| noted.exit_code),
            peak_memory_gib: None,
        };
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

    fn record(&self, native: &NativeId) -> Result<Record, WorkloadError> {
        self.records.of(native).ok_or_else(|| WorkloadError::UnknownJob { native: native.clone() })
    }
}

/// A job's status, with the limit that its own script keeps.
fn status(record: &Record, mut accounting: Accounting, state: &State) -> Status {
    let mut state = state.clone();
    let ran = accounting.started_at.zip(accounting.ended_at).map(|(started, ended)| ended.since(started));
    if let (RunState::Failed, Some(limit), Some(code), Some(ran)) =
        (accounting.state, record.own_limit, accounting.exit_code, ran)
        && TIMEOUT_CODES.contains(&code)
        // Slurm's times are whole seconds.
        && ran.get() + 1.0 >= limit.get()
    {
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
    let metrics = request.directory.join(METRICS_NAME).display().to_string();
    let ours = [
        ("PARLEY_JOB_ID", request.job_id.to_string()),
        ("PARLEY_ATTEMPT", request.attempt.to_string()),
        ("PARLEY_METRICS", metrics),
    ];
    let mut variables = clean_environment();
    variables.extend(request.environment.clone());
    variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    variables.iter().flat_map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// The limit that the batch script has to keep: one that is no whole number of minutes.
fn own_limit(limit: Option<Seconds>) -> Option<Seconds> {
    limit.filter(|limit| limit.get() % 60.0 != 0.0)
}

#[async_trait]
impl ReadSide for Slurm {
    fn manager(&self) -> &'static str {
        self.reader.manager()
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        self.reader.inventory().await
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        self.reader.capacity().await
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.reader.queue().await?;
        for job in &mut jobs {
            if let Some(record) = self.records.of(&job.native) {
                job.job_id = Some(record.job_id);
                job.attempt = Some(record.attempt);
            }
        }
        Ok(jobs)
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        self.reader.estimated_start(allocation).await
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let mut statuses = self.status(std::slice::from_ref(job)).await?;
        let status = statuses.remove(job).ok_or_else(|| WorkloadError::UnknownJob { native: job.clone() })?;
        Ok(status.accounting)
    }
}

#[async_trait]
impl SubmitSide for Slurm {
    async fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun, WorkloadError> {
        let directives = self.directives(request).await?;
        let start = self.reader.test(&directives).await?;
        let (asked, ..) = directives.asked();
        let wait = self.reader.seconds_from_now(start);
        Ok(DryRun {
            takes: Slots {
                cores: asked.cores,
                memory_gib: request.memory_limit.unwrap_or_default(),
                gpus: asked.gpus,
            },
            starts_now: wait.get() <= AT_ONCE_SECONDS,
        })
    }

    async fn submit(&self, request: SubmitRequest) -> Result<NativeId, WorkloadError> {
        let name = records::name(&request.job_id, request.attempt);
        let _turn = self.turn(&name)?;
        let digest = Digest::of(serde_json::to_string(&request).unwrap_or_default().as_bytes());
        let before = self.records.get(&name);
        if let Some(record) = &before {
            let native = record.native.clone();
            if record.digest != digest {
                return Err(WorkloadError::Conflict { native: native.unwrap_or(NativeId(name)) });
            }
            if record.withdrawn {
                let problem = "an earlier submission of this attempt".to_owned();
                return Err(WorkloadError::Doubtful { problem });
            }
            if let Some(native) = native {
                return Ok(native);
            }
            // We ended between `sbatch` and its answer.
            if let Some(native) = self.find(record).await? {
                return self.taken(record.clone(), native);
            }
        }
        let directives = self.directives(&request).await?;
        if !request.directory.is_dir() {
            let reason = format!("{} is not a directory", request.directory.display());
            return Err(WorkloadError::Refused { field: "directory", reason });
        }
        let record = before.unwrap_or_else(|| Record {
            job_id: request.job_id.clone(),
            attempt: request.attempt,
            digest,
            directory: request.directory.clone(),
            submitted_at: self.reader.clock.now(),
            own_limit: own_limit(request.time_limit),
            native: None,
            withdrawn: false,
            ended: None,
        });
        self.records.put(&record)?;
        match self.hand_over(&request, &directives, &record).await {
            Ok(Handed::Taken(native)) => self.taken(record, native),
            Ok(Handed::Doubtful(problem)) => match self.find(&record).await {
                Ok(Some(native)) => self.taken(record, native),
                Ok(None) | Err(_) => Err(self.withdraw(&record, problem).await),
            },
            Err(error) => {
                // Nothing was handed over, so the attempt may be tried with another request.
                self.records.forget(&name)?;
                Err(error)
            }
        }
    }

    async fn status(&self, jobs: &[NativeId]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let mut found = BTreeMap::new();
        let mut open = Vec::new();
        for native in jobs {
            match self.records.of(native) {
                Some(Record { ended: Some(status), .. }) => {
                    found.insert(native.clone(), status);
                }
                Some(record) => open.push((native, record)),
                None => {}
            }
        }
        if open.is_empty() {
            return Ok(found);
        }
        let asked_at = Instant::now();
        let mut listed = self.reader.own_jobs(None).await?;
        for (native, record) in open {
            let in_list = |jobs: &[Job]| jobs.iter().find(|job| job.id == native.0).cloned();
            let mut job = in_list(&listed);
            if job.is_none() {
                // The listing may be older than the job.
                listed = self.reader.own_jobs(Some(asked_at)).await?;
                job = in_list(&listed);
            }
            let status = match job {
                Some(job) => self.known(&record, &job).await,
                None => self.forgotten(native, &record).await?,
            };
            if status.state().is_terminal() {
                self.records.put(&Record { ended: Some(status.clone()), ..record })?;
            }
            found.insert(native.clone(), status);
        }
        Ok(found)
    }

    async fn cancel(&self, job: &NativeId) -> Result<(), WorkloadError> {
        let record = self.record(job)?;
        if record.ended.is_some() {
            return Ok(());
        }
        let output =
            self.reader.options.commands.run("scancel", std::slice::from_ref(&job.0), Path::new("/")).await?;
        self.reader.forget_own_jobs().await;
        let complaint = output.complaint();
        // A job that is over already is nothing to complain about.
        let over = complaint.contains("Invalid job id") || complaint.contains("already completing");
        if output.code == Some(0) || over {
            return Ok(());
        }
        Err(WorkloadError::CommandFailed { command: "scancel", problem: complaint })
    }

    async fn log_path(&self, job: &NativeId) -> Result<PathBuf, WorkloadError> {
        Ok(self.record(job)?.directory.join(LOG_NAME))
    }
}
