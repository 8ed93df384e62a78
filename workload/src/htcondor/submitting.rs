//! HTCondor's submit side: handing work over once, following it, stopping it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::description::Description;
use super::jobs::Job;
use super::{HtCondorOptions, HtCondorReader, is_absent, is_job_id};
use crate::attempts::{self, Attempts, Gone, Handed, HandsOver, Noted, Open, Record};
use crate::error::WorkloadError;
use crate::program::words;
use crate::read::{Accounting, NativeId, RunState, Slots};
use crate::submit::{DryRun, Status, SubmitRequest};

/// An HTCondor that work is handed over to.
pub struct HtCondor {
    reader: HtCondorReader,
    attempts: Attempts,
    directory: PathBuf,
    own_jobs: Mutex<Option<(Instant, Arc<Vec<Job>>)>>,
    gone: Gone,
}

impl HtCondor {
    /// Opens HTCondor with a directory of our own for what was handed over. It is not asked anything yet.
    pub fn open(
        options: HtCondorOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let attempts = Attempts::open(&directory)?;
        Ok(Self {
            reader: HtCondorReader::new(options, clock),
            attempts,
            directory,
            own_jobs: Mutex::default(),
            gone: Gone::default(),
        })
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
        let jobs = Arc::new(self.reader.jobs("condor_q", &[]).await?);
        *kept = Some((asked_at, Arc::clone(&jobs)));
        Ok(jobs)
    }

    /// Where a job stands that is in the queue.
    async fn known(&self, record: &Record, job: &Job) -> Result<Status, WorkloadError> {
        let accounting = job.accounting(self.now());
        let Some(why) = job.held_because() else {
            return Ok(Status { accounting, error: None, log_dropped_bytes: 0 });
        };
        self.stop(&job.native()).await?;
        clean_up(record);
        let (state, code) = if job.is_out_of_time() {
            (RunState::TimedOut, ErrorCode::JobTimeout)
        } else {
            (RunState::Failed, ErrorCode::JobFailed)
        };
        let error = Some(ErrorBody::new(code, format!("HTCondor held it ({why})")));
        let accounting = Accounting { state, ended_at: Some(self.now()), ..accounting };
        Ok(Status { accounting, error, log_dropped_bytes: 0 })
    }

    /// What the history has of a job; `None` when it has nothing, or cannot be read now.
    async fn in_history(&self, options: &[&str], record: &Record) -> Option<Job> {
        let mut arguments = options.to_vec();
        arguments.extend(["-limit", "1"]);
        match self.reader.jobs("condor_history", &arguments).await {
            Ok(jobs) => jobs.into_iter().find(|job| job.job_batch_name == record.name()),
            Err(error) => {
                tracing::warn!(job = record.name(), %error, "the history of a job could not be read");
                None
            }
        }
    }

    /// Where a job stands that is not in the queue any more.
    async fn ended(&self, open: &Open) -> Status {
        let job = if self.gone.is_due(&open.native, self.reader.options.refresh) {
            self.in_history(&[&open.native.0], &open.record).await
        } else {
            None
        };
        if job.is_none() && !self.gone.for_longer_than(&open.native, self.reader.options.patience) {
            return Status {
                accounting: open.not_over(open.has_started()),
                error: None,
                log_dropped_bytes: 0,
            };
        }
        self.gone.forget(&open.native);
        clean_up(&open.record);
        over(open, job.as_ref(), self.now())
    }
}

/// How a job ended, by its own notes and by the history. The notes know its exit code best.
fn over(open: &Open, job: Option<&Job>, now: Timestamp) -> Status {
    let noted = Noted::read(&open.record.notes());
    let mut accounting = job.map_or_else(|| open.forgotten(), |job| job.accounting(now));
    if let Some(noted) = noted {
        accounting.state = noted.state();
        accounting.exit_code = Some(noted.exit_code);
        accounting.ended_at = accounting.ended_at.or(noted.ended_at);
    }
    let removed = accounting.state == RunState::Cancelled;
    if open.record.ran_out_of_time(&accounting) {
        accounting.state = RunState::TimedOut;
    } else if removed && !open.record.stop_asked {
        accounting.state = RunState::Failed;
    } else if open.record.stop_asked && noted.is_none() {
        accounting.state = RunState::Cancelled;
    }
    let error = match (job, accounting.state) {
        (Some(job), RunState::Failed) if removed => {
            let message = format!("it was taken out of HTCondor ({})", job.removed_because());
            Some(ErrorBody::new(ErrorCode::JobFailed, message))
        }
        (_, state) => attempts::error(state, accounting.exit_code, "HTCondor"),
    };
    Status { accounting, error, log_dropped_bytes: 0 }
}

/// What begins an attempt. It lies in the job's directory, because nothing else is known to be on the hosts too.
fn script(record: &Record) -> PathBuf {
    record.directory.join(format!(".parley-{}.sh", record.attempt))
}

/// Takes away what an attempt needed to begin; that it is gone already is fine.
fn clean_up(record: &Record) {
    attempts::words::remove(record);
    let _gone = std::fs::remove_file(script(record));
}

/// A directory that a submit description takes as it stands.
fn check_directory(directory: &Path) -> Result<(), WorkloadError> {
    let refuse = |problem: &str| {
        let reason = format!("{} {problem}", directory.display());
        Err(WorkloadError::Refused { field: "directory", reason })
    };
    match directory.to_str() {
        _ if !directory.is_absolute() => refuse("is not an absolute path"),
        Some(text)
            if text.trim() == text && !text.contains(['$', '\\']) && !text.contains(char::is_control) =>
        {
            Ok(())
        }
        _ => refuse("has characters in it that HTCondor would read as something else"),
    }
}

/// The id in what `condor_submit -terse` prints, `6.0 - 6.0`.
fn job_id_in(text: &str) -> Option<NativeId> {
    let (first, last) = text.trim().split_once(" - ")?;
    let native = NativeId(first.to_owned());
    (first == last && is_job_id(&native)).then_some(native)
}

/// The reason in what `condor_submit` said; `None` when that tells nothing, so that the job may have been taken.
fn refusal(complaint: &str) -> Option<WorkloadError> {
    let reason = complaint.to_owned();
    if complaint.contains("commit") {
        return None;
    }
    let fields = [
        ("No such directory", "directory"),
        ("Parse error in expression", "placement.constraint"),
        ("accounting_group", "placement.account"),
        ("Failed to parse command file", "request"),
    ];
    if let Some((_, field)) = fields.iter().find(|(known, _)| complaint.contains(known)) {
        return Some(WorkloadError::Refused { field, reason });
    }
    is_absent(complaint).then_some(WorkloadError::Unavailable { problem: reason })
}

#[async_trait]
impl HandsOver for HtCondor {
    type Reader = HtCondorReader;
    type Ready = Description;

    fn reader(&self) -> &HtCondorReader {
        &self.reader
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn now(&self) -> Timestamp {
        self.reader.clock.now()
    }

    fn own_limit(&self, limit: Option<Seconds>) -> Option<Seconds> {
        limit
    }

    async fn ready(&self, request: &SubmitRequest) -> Result<Description, WorkloadError> {
        request.program()?;
        check_directory(&request.directory)?;
        let pool = self.reader.pool().await?;
        let placement = request.placement.with_defaults(&self.reader.options.defaults);
        let name = attempts::name(&request.job_id, request.attempt);
        Description::of(&SubmitRequest { placement, ..request.clone() }, name, &pool)
    }

    async fn test(
        &self,
        request: &SubmitRequest,
        description: &Description,
    ) -> Result<DryRun, WorkloadError> {
        let (pool, jobs) =
            tokio::try_join!(self.reader.pool(), self.reader.jobs("condor_q", &["-allusers"]))?;
        let asked = description.asked();
        Ok(DryRun {
            takes: Slots { cores: asked.cores, memory_gib: request.memory_limit, gpus: asked.gpus },
            starts_now: description.fits_now(&pool) && !jobs.iter().any(Job::is_idle),
        })
    }

    async fn hand_over(
        &self,
        request: &SubmitRequest,
        description: &Self::Ready,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        attempts::words::put(request, record)?;
        let script = script(record);
        attempts::write(&script, attempts::words::WORDS_SCRIPT.as_bytes())?;
        let path = self.directory.join(format!("{}.submit", record.name()));
        attempts::write(&path, description.document(&request.directory, record, &script).as_bytes())?;
        let arguments = ["-terse".to_owned(), path.display().to_string()];
        let output = self.reader.options.commands.run("condor_submit", &arguments, Path::new("/")).await;
        let _gone = std::fs::remove_file(&path);
        let refused = match output {
            Ok(output) => match (output.code, job_id_in(&output.stdout)) {
                (Some(0), Some(native)) => return Ok(Handed::Taken(native)),
                (Some(0) | None, _) => {
                    return Ok(Handed::Doubtful(format!("condor_submit answered {:?}", output.complaint())));
                }
                (Some(_), _) => match refusal(&output.complaint()) {
                    Some(error) => error,
                    None => return Ok(Handed::Doubtful(output.complaint())),
                },
            },
            Err(error @ WorkloadError::Silent { .. }) => return Ok(Handed::Doubtful(error.to_string())),
            Err(error) => error,
        };
        clean_up(record);
        Err(refused)
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let constraint = format!("JobBatchName == \"{}\"", record.name());
        let options = ["-constraint", &constraint];
        let listed = self.reader.jobs("condor_q", &options).await?;
        if let Some(job) = listed.iter().find(|job| job.job_batch_name == record.name()) {
            return Ok(Some(job.native()));
        }
        Ok(self.in_history(&options, record).await.map(|job| job.native()))
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let asked_at = Instant::now();
        let mut listed = self.own_jobs(None).await?;
        let mut statuses = BTreeMap::new();
        for open in open {
            // In the queue of this schedd, also after its end for a moment.
            let in_list = |jobs: &[Job]| {
                jobs.iter().find(|job| job.native() == open.native && !job.state().is_terminal()).cloned()
            };
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
        let words = words([native.0.as_str()]);
        let output = self.reader.options.commands.run("condor_rm", &words, Path::new("/")).await?;
        *self.own_jobs.lock().await = None;
        let problem = output.complaint();
        let over = ["not found", "no jobs in the queue", "already marked for removal"];
        if output.code == Some(0) || over.iter().any(|sign| problem.contains(sign)) {
            return Ok(());
        }
        if is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command: "condor_rm", problem })
    }
}
