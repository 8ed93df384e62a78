//! Grid Engine's submit side: handing work over once, following it, stopping it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::accounting::{self, Accounted};
use super::directives::Directives;
use super::jobs::Job;
use super::{GridEngineOptions, GridEngineReader, is_job_id, refusals};
use crate::attempts::{self, Attempts, Gone, Handed, HandsOver, Noted, Open, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::program::words;
use crate::read::{Accounting, NativeId, RunState, Slots};
use crate::submit::{DryRun, Status, SubmitRequest};

/// A Grid Engine that work is handed over to.
pub struct GridEngine {
    reader: GridEngineReader,
    attempts: Attempts,
    script: PathBuf,
    own_jobs: Mutex<Option<(Instant, Arc<Vec<Job>>)>>,
    gone: Gone,
}

impl GridEngine {
    /// Opens Grid Engine with a directory of our own for what was handed over. It is not asked anything yet.
    pub fn open(
        options: GridEngineOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let attempts = Attempts::open(&directory)?;
        let script = directory.join("words.sh");
        attempts::write(&script, attempts::words::WORDS_SCRIPT.as_bytes())?;
        Ok(Self {
            reader: GridEngineReader::new(options, clock),
            attempts,
            script,
            own_jobs: Mutex::default(),
            gone: Gone::default(),
        })
    }

    /// Every check of ours, and the directives.
    async fn directives(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        request.program()?;
        check_directory(&request.directory)?;
        let cluster = self.reader.cluster().await?;
        let placement = request.placement.with_defaults(&self.reader.options.defaults);
        let name = attempts::name(&request.job_id, request.attempt);
        Directives::of(&SubmitRequest { placement, ..request.clone() }, name, &cluster)
    }

    /// This user's jobs, not asked for before `not_before` and as old as the refresh time at most.
    async fn own_jobs(&self, not_before: Option<Instant>) -> Result<Arc<Vec<Job>>, WorkloadError> {
        let mut kept = self.own_jobs.lock().await;
        if let Some((at, jobs)) = kept.as_ref()
            && at.elapsed() < self.reader.options.refresh
            && not_before.is_none_or(|not_before| *at >= not_before)
        {
            return Ok(Arc::clone(jobs));
        }
        let asked_at = Instant::now();
        let jobs = Arc::new(self.reader.jobs(&own_name()).await?);
        *kept = Some((asked_at, Arc::clone(&jobs)));
        Ok(jobs)
    }

    /// Where a job stands that Grid Engine still has.
    async fn known(&self, record: &Record, job: &Job) -> Result<Status, WorkloadError> {
        let accounting = Accounting {
            state: job.state,
            // Grid Engine's times are whole seconds.
            received_at: job.started_at.map_or(record.submitted_at, |at| at.min(record.submitted_at)),
            started_at: job.started_at,
            ended_at: None,
            exit_code: None,
            peak_memory_gib: None,
        };
        if !(job.is_in_error && job.state == RunState::Queued) {
            return Ok(Status { accounting, error: None, log_dropped_bytes: 0 });
        }
        let native = job.native();
        let why = self.error_reason(&native).await;
        self.stop(&native).await?;
        attempts::words::remove(record);
        let accounting = Accounting { state: RunState::Failed, ended_at: Some(self.now()), ..accounting };
        let message = format!("Grid Engine could not start it{why}");
        let error = Some(ErrorBody::new(ErrorCode::JobFailed, message));
        Ok(Status { accounting, error, log_dropped_bytes: 0 })
    }

    /// What `qstat -j` says about a job that could not be started, as the end of a sentence.
    async fn error_reason(&self, native: &NativeId) -> String {
        let text = self.reader.ask("qstat", &["-j".to_owned(), native.0.clone()]).await.unwrap_or_default();
        let reason = text.lines().find_map(|line| {
            let (_, reason) = line.strip_prefix("error reason")?.split_once(':')?;
            Some(reason.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        reason.map_or_else(String::new, |reason| {
            format!(" ({})", reason.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
        })
    }

    /// What the site's accounts have of a job; `None` when they have nothing, or cannot be read now.
    async fn accounted(&self, record: &Record, asked: &str) -> Option<Accounted> {
        let arguments = ["-j".to_owned(), asked.to_owned()];
        match self.reader.options.commands.run("qacct", &arguments, Path::new("/")).await {
            Ok(output) if output.code == Some(0) => accounting::parse(&output.stdout, &record.name()),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(job = record.name(), %error, "the accounts of a job could not be read");
                None
            }
        }
    }

    /// Where a job stands that Grid Engine does not list any more.
    async fn ended(&self, open: &Open) -> Status {
        let Open { native, record } = open;
        let noted = Noted::read(&record.notes());
        if self.gone.is_due(native, self.reader.options.refresh)
            && let Some(accounted) = self.accounted(record, &native.0).await
        {
            self.gone.forget(native);
            return over(record, noted, Some(&accounted));
        }
        let started = open.has_started();
        // What was cancelled before it started has no accounts.
        let has_none = record.stop_asked && !started;
        if has_none || self.gone.for_longer_than(native, self.reader.options.patience) {
            self.gone.forget(native);
            return over(record, noted, None);
        }
        Status { accounting: open.not_over(started), error: None, log_dropped_bytes: 0 }
    }
}

/// How a job ended, by its own notes and by the site's accounts. The notes know its exit code best: Grid Engine
/// takes some codes for orders.
fn over(record: &Record, noted: Option<Noted>, accounted: Option<&Accounted>) -> Status {
    let of = |time: fn(&Accounted) -> Option<Timestamp>, noted: Option<Timestamp>| {
        accounted.and_then(time).or(noted)
    };
    let started_at = of(|accounted| accounted.started_at, noted.and_then(|noted| noted.started_at));
    let ended_at = of(|accounted| accounted.ended_at, noted.and_then(|noted| noted.ended_at));
    let submitted_at = accounted.and_then(|accounted| accounted.submitted_at);
    let earliest = started_at.map_or(record.submitted_at, |at| at.min(record.submitted_at));
    // Of work that was not started there is no exit code, whatever the accounts say.
    let ran = accounted.filter(|accounted| accounted.started_at.is_some() && accounted.ended_by_itself());
    let exit_code = noted.map(|noted| noted.exit_code).or_else(|| ran?.exit_status);
    let mut accounting = Accounting {
        state: RunState::Unknown,
        received_at: submitted_at.unwrap_or(earliest),
        started_at,
        ended_at,
        exit_code,
        peak_memory_gib: accounted.and_then(|accounted| accounted.peak_memory),
    };
    let killed = accounted.and_then(|accounted| accounted.failed.as_ref()).filter(|_| noted.is_none());
    let by_limit = Accounting { exit_code: exit_code.or(killed.map(|_| 137)), ..accounting.clone() };
    accounting.state = match (noted, accounted) {
        _ if record.ran_out_of_time(&by_limit) => RunState::TimedOut,
        (Some(noted), _) => noted.state(),
        (None, _) if record.stop_asked => RunState::Cancelled,
        (None, Some(_)) if killed.is_some() => RunState::Failed,
        (None, Some(accounted)) => match accounted.exit_status {
            Some(0) => RunState::Completed,
            Some(_) => RunState::Failed,
            None => RunState::Unknown,
        },
        (None, None) => RunState::Unknown,
    };
    attempts::words::remove(record);
    let error = match (killed, accounting.state) {
        (Some((100, _)), RunState::Failed) => {
            let message = "somebody else, or Grid Engine itself, killed it".to_owned();
            Some(ErrorBody::new(ErrorCode::JobFailed, message))
        }
        (Some((number, words)), RunState::Failed) => {
            let message = format!("Grid Engine ended it or could not start it ({number}: {words})");
            Some(ErrorBody::new(ErrorCode::JobFailed, message))
        }
        (_, state) => attempts::error(state, accounting.exit_code, "Grid Engine"),
    };
    Status { accounting, error, log_dropped_bytes: 0 }
}

/// The name under which Grid Engine knows this user.
fn own_name() -> String {
    let uid = nix::unistd::getuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| "*".to_owned(), |user| user.name)
}

/// A directory that Grid Engine takes as it stands: some characters mean something in names of files there.
fn check_directory(directory: &Path) -> Result<(), WorkloadError> {
    let refuse = |problem: &str| {
        let reason = format!("{} {problem}", directory.display());
        Err(WorkloadError::Refused { field: "directory", reason })
    };
    match directory.to_str() {
        _ if !directory.is_absolute() => refuse("is not an absolute path"),
        Some(text)
            if !text.contains(['$', ':', ',', '\\', '\'', '"']) && !text.contains(char::is_control) =>
        {
            Ok(())
        }
        _ => refuse("has characters in it that Grid Engine would read as something else"),
    }
}

/// The id in what `qsub -terse` prints.
fn job_id_in(text: &str) -> Option<NativeId> {
    let native = NativeId(text.lines().last()?.trim().to_owned());
    is_job_id(&native).then_some(native)
}

#[async_trait]
impl HandsOver for GridEngine {
    type Reader = GridEngineReader;
    type Ready = Directives;

    fn reader(&self) -> &GridEngineReader {
        &self.reader
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn now(&self) -> Timestamp {
        self.reader.now()
    }

    /// Grid Engine kills without a word and says the same whatever the reason was, so that the script keeps every
    /// limit too.
    fn own_limit(&self, limit: Option<Seconds>) -> Option<Seconds> {
        limit
    }

    async fn ready(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        self.directives(request).await
    }

    async fn test(&self, request: &SubmitRequest, directives: &Directives) -> Result<DryRun, WorkloadError> {
        if directives.exclusive.is_none() {
            self.reader.verify(directives, false).await?;
        }
        let (cluster, jobs) = tokio::try_join!(self.reader.cluster(), self.reader.jobs("*"))?;
        let (asked, _) = directives.asked();
        Ok(DryRun {
            takes: Slots { cores: asked.cores, memory_gib: request.memory_limit, gpus: asked.gpus },
            starts_now: self.reader.starts_now(directives, &cluster, &jobs).await?,
        })
    }

    async fn hand_over(
        &self,
        request: &SubmitRequest,
        directives: &Self::Ready,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        attempts::words::put(request, record)?;
        // Never started a second time, and refused where no host could ever run it. Whether a host could be had
        // alone is something that Grid Engine tells by who is on it now, so that it is not asked.
        let verify = if directives.exclusive.is_some() { "n" } else { "e" };
        let mut arguments = words(["-terse", "-r", "n", "-w", verify, "-S", "/bin/sh", "-j", "y"]);
        arguments.extend(["-wd".to_owned(), request.directory.display().to_string()]);
        arguments.extend(["-o".to_owned(), request.directory.join(LOG_NAME).display().to_string()]);
        arguments.extend(directives.words());
        arguments.push(self.script.display().to_string());
        arguments.push(attempts::words::path(record).display().to_string());
        arguments.push(record.notes().display().to_string());
        // Not in the job's directory: a file there could hold options for qsub.
        let output = self.reader.options.commands.run("qsub", &arguments, Path::new("/")).await;
        let refused = match output {
            Ok(output) => match (output.code, job_id_in(&output.stdout)) {
                (Some(0), Some(native)) => return Ok(Handed::Taken(native)),
                (Some(0) | None, _) => {
                    return Ok(Handed::Doubtful(format!("qsub answered {:?}", output.complaint())));
                }
                (Some(_), _) => match refusals::refusal(&output.complaint()) {
                    Some(error) => error,
                    None => return Ok(Handed::Doubtful(output.complaint())),
                },
            },
            Err(error @ WorkloadError::Silent { .. }) => return Ok(Handed::Doubtful(error.to_string())),
            Err(error) => error,
        };
        attempts::words::remove(record);
        Err(refused)
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let name = record.name();
        let jobs = self.reader.jobs(&own_name()).await?;
        if let Some(job) = jobs.iter().find(|job| job.name == name) {
            return Ok(Some(job.native()));
        }
        let accounted = self.accounted(record, &name).await;
        // A job of that name of another user, or from long ago, is not ours.
        let since = record.submitted_at.plus(Seconds::saturating(-3600.0));
        let ours = accounted.filter(|accounted| accounted.submitted_at.is_some_and(|at| at >= since));
        Ok(ours.map(|accounted| NativeId(accounted.id.to_string())))
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let asked_at = Instant::now();
        let mut listed = self.own_jobs(None).await?;
        let mut statuses = BTreeMap::new();
        for open in open {
            let in_list = |jobs: &[Job]| jobs.iter().find(|job| job.native() == open.native).cloned();
            let mut job = in_list(&listed);
            if job.is_none() {
                // The listing may be older than the job.
                listed = self.own_jobs(Some(asked_at)).await?;
                job = in_list(&listed);
            }
            let status = match job {
                Some(job) => self.known(&open.record, &job).await?,
                None => self.ended(open).await,
            };
            statuses.insert(open.native.clone(), status);
        }
        Ok(statuses)
    }

    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError> {
        let words = std::slice::from_ref(&native.0);
        let output = self.reader.options.commands.run("qdel", words, Path::new("/")).await?;
        *self.own_jobs.lock().await = None;
        let problem = output.complaint();
        let over = problem.contains("does not exist") || problem.contains("already in deletion");
        if output.code == Some(0) || over {
            return Ok(());
        }
        if refusals::is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command: "qdel", problem })
    }
}
