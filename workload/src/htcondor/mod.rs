//! HTCondor, through its own commands.
//!
//! ```text
//! HtCondorReader --condor_status -json--> machines --> capacity, inventory
//!                --condor_q -json-------> jobs     --> queue
//! HtCondor       --condor_submit, condor_rm, condor_q, condor_history--> submit, status, cancel
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. The answer of `condor_submit` may be lost: the job is then found by its
//!   batch name, or withdrawn. A job that comes back into the queue is taken out, and a second start of it ends by
//!   itself.
//! - Nothing that a user writes reaches a shell or the submit description, where `$(...)` would mean something:
//!   words and variables wait in a file in the job's directory. No files are transferred, so that directory must be
//!   the same on the execution hosts, and the job has to run there as the user who submits it.
//! - Commands get no environment but their own, have a deadline, and their output is bounded.
//! - However many jobs are followed and however often, `condor_q` runs once in the refresh time.
//! - A job that HTCondor holds waits there for a person; unless its user wanted that, here it failed, and it is
//!   taken out.
//! - The queue is that of this machine's `condor_schedd`. When work would start is not known: who comes first is
//!   a matter of priorities that change all the time.

pub mod description;
mod jobs;
mod machines;
mod submitting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::jobs::Job;
use self::machines::Pool;
pub use self::submitting::HtCondor;
use crate::error::WorkloadError;
use crate::hostname;
use crate::program::{Commands, words};
use crate::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, ReadSide, RunState};
use crate::submit::Placement;

/// How HTCondor is used.
#[derive(Debug, Clone, PartialEq)]
pub struct HtCondorOptions {
    /// Where the commands are and what they get.
    pub commands: Commands,
    /// Accounting group and requirements of work that names none.
    pub defaults: Placement,
    /// How old an answer about jobs and machines may be.
    pub refresh: Duration,
    /// How long the record of a job that is gone is waited for.
    pub patience: Duration,
}

impl HtCondorOptions {
    /// The HTCondor that this process's own environment names, or that of the system.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            commands: Commands::of_process(&["CONDOR_CONFIG"]),
            defaults: Placement::default(),
            refresh: Duration::from_secs(2),
            patience: Duration::from_secs(30),
        }
    }

    /// Whether the commands are on this machine at all.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        ["condor_submit", "condor_q", "condor_status"]
            .iter()
            .all(|command| self.commands.find(command).is_some())
    }
}

/// HTCondor's read side.
pub struct HtCondorReader {
    options: HtCondorOptions,
    clock: Arc<dyn Clock>,
    pool: Mutex<Option<(Instant, Arc<Pool>)>>,
}

impl HtCondorReader {
    /// The read side of an HTCondor. Nothing is asked yet.
    #[must_use]
    pub fn new(options: HtCondorOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, pool: Mutex::default() }
    }

    async fn ask(&self, command: &'static str, arguments: &[String]) -> Result<String, WorkloadError> {
        let output = self.options.commands.run(command, arguments, Path::new("/")).await?;
        let problem = match output.code {
            Some(0) => return Ok(output.stdout),
            _ => output.complaint(),
        };
        if is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command, problem })
    }

    /// All slots, as old as the refresh time at most.
    async fn pool(&self) -> Result<Arc<Pool>, WorkloadError> {
        let mut kept = self.pool.lock().await;
        let asked_at = Instant::now();
        if let Some((at, pool)) = kept.as_ref()
            && asked_at - *at < self.options.refresh
        {
            return Ok(Arc::clone(pool));
        }
        let text = self.ask("condor_status", &words(["-json", "-attributes", machines::ATTRIBUTES])).await?;
        let pool = Arc::new(Pool::parse(&text).map_err(|problem| not_understood("condor_status", &problem))?);
        *kept = Some((asked_at, Arc::clone(&pool)));
        Ok(pool)
    }

    /// Jobs that `command` lists with these options.
    async fn jobs(&self, command: &'static str, options: &[&str]) -> Result<Vec<Job>, WorkloadError> {
        let mut arguments: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        arguments.extend(words(["-json", "-attributes", jobs::ATTRIBUTES]));
        let text = self.ask(command, &arguments).await?;
        let (jobs, left_out) = jobs::parse(&text).map_err(|problem| not_understood(command, &problem))?;
        if jobs.is_empty() && left_out > 0 {
            return Err(not_understood(command, &format!("none of its {left_out} records is a job")));
        }
        if left_out > 0 {
            tracing::warn!(left_out, command, "there were jobs that are not understood");
        }
        Ok(jobs)
    }
}

fn not_understood(command: &'static str, problem: &str) -> WorkloadError {
    WorkloadError::NotUnderstood { command, problem: problem.chars().take(500).collect() }
}

/// Whether a command found no HTCondor to talk to.
fn is_absent(complaint: &str) -> bool {
    let signs = [
        "communication error",
        "Failed to connect to",
        "condor_schedd is not running",
        "Can't find address",
        "unknown host",
        "Failed to fetch ads",
        "CONDOR_CONFIG",
    ];
    signs.iter().any(|sign| complaint.contains(sign))
}

/// What a native id of HTCondor looks like; nothing else is given to a command.
fn is_job_id(job: &NativeId) -> bool {
    let number =
        |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    job.0.split_once('.').is_some_and(|(cluster, process)| number(cluster) && number(process))
}

#[async_trait]
impl ReadSide for HtCondorReader {
    fn manager(&self) -> &'static str {
        "htcondor"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let pool = self.pool().await?;
        Ok(Some(Inventory {
            version: pool.version.clone(),
            partitions: Vec::new(),
            groups: pool.groups(),
            nodes_out: u32::try_from(pool.machines.len() - pool.in_service().count()).unwrap_or(u32::MAX),
            has_this_machine: hostname::is_any_of(pool.machines.iter().map(|machine| machine.name.as_str())),
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let (pool, jobs) = tokio::try_join!(self.pool(), self.jobs("condor_q", &["-allusers"]))?;
        let count = |state: RunState| {
            u32::try_from(jobs.iter().filter(|job| job.state() == state).count()).unwrap_or(u32::MAX)
        };
        Ok(Capacity {
            total: pool.total(),
            free: pool.free(),
            running: count(RunState::Running),
            queued: count(RunState::Queued),
            time_limit: None,
            accepting: pool.in_service().next().is_some(),
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.jobs("condor_q", &["-allusers"]).await?;
        jobs.retain(|job| !job.state().is_terminal());
        jobs.sort_by_key(Job::order);
        Ok(jobs.iter().map(|job| job.queued(self.clock.now())).collect())
    }

    async fn estimated_start(&self, _: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        Ok(None)
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        if is_job_id(job) {
            for (command, options) in
                [("condor_q", &[job.0.as_str()][..]), ("condor_history", &[&job.0, "-limit", "1"])]
            {
                let jobs = self.jobs(command, options).await?;
                if let Some(found) = jobs.iter().find(|other| other.native() == *job) {
                    return Ok(found.accounting(self.clock.now()));
                }
            }
        }
        Err(WorkloadError::UnknownJob { native: job.clone() })
    }
}
