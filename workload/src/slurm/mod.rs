//! Slurm, through its own commands.
//!
//! ```text
//! SlurmReader --scontrol show node, partition--> nodes  --> capacity, inventory
//!             --squeue---------------------------> jobs   --> queue
//!             --sbatch --test-only--------------> directives --> estimated start
//! Slurm       --sbatch, scancel, squeue, sacct--> submit, status, cancel
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. `sbatch` may be killed, or its answer may be lost: the job is
//!   then found by its name, or withdrawn, and a second start of it ends by itself.
//! - Nothing that a user writes reaches a shell. The batch script is always the same file; the program
//!   and its words are its arguments, the variables go through a file that `sbatch` reads.
//! - Commands get no environment but their own, have a deadline, and their output is bounded. A hung
//!   `squeue` costs that deadline and nothing else.
//! - However many jobs are followed and however often, `squeue` runs once in the refresh time.
//! - The job's directory must be the same on this machine and on the nodes.
//! - Peak memory is known where the site keeps accounts (`sacct`), else it is unknown.

mod accounting;
pub mod directives;
mod fields;
mod jobs;
mod json;
mod nodes;
mod refusals;
mod submitting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::{Seconds, Timestamp};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use self::directives::Directives;
pub(crate) use self::fields::gpu_model;
use self::jobs::Job;
use self::nodes::Cluster;
pub use self::submitting::Slurm;
use crate::error::WorkloadError;
use crate::program::{Commands, words};
use crate::read::{Accounting, Capacity, Inventory, NativeId, Partition, QueuedJob, ReadSide, RunState};
use crate::submit::{Placement, SubmitRequest};

/// From this version on `squeue --json` prints what was asked for and not every job of the site.
const JSON_SINCE: (u32, u32) = (23, 2);

/// How Slurm is used.
#[derive(Debug, Clone, PartialEq)]
pub struct SlurmOptions {
    /// Where the commands are and what they get.
    pub commands: Commands,
    /// Partition, account, quality of service and constraint of work that names none. With a partition
    /// the site is that partition.
    pub defaults: Placement,
    /// How old an answer about jobs and nodes may be.
    pub refresh: Duration,
}

impl SlurmOptions {
    /// The Slurm that this process's own environment names, with the defaults that `sbatch` itself would
    /// take from there.
    #[must_use]
    pub fn of_process() -> Self {
        let default = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            commands: Commands::of_process(&["SLURM_CONF"]),
            defaults: Placement {
                partition: default("SBATCH_PARTITION"),
                account: default("SBATCH_ACCOUNT"),
                qos: default("SBATCH_QOS"),
                constraint: default("SBATCH_CONSTRAINT"),
                ..Placement::default()
            },
            refresh: Duration::from_secs(2),
        }
    }

    /// Whether the commands are on this machine at all.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        ["sbatch", "squeue", "scontrol"].iter().all(|command| self.commands.find(command).is_some())
    }
}

/// An answer and when it was asked for.
type Kept<T> = Mutex<Option<(Instant, Arc<T>)>>;

/// Slurm's read side.
pub struct SlurmReader {
    options: SlurmOptions,
    clock: Arc<dyn Clock>,
    version: OnceCell<(u32, u32)>,
    accounts: OnceCell<bool>,
    cluster: Kept<Cluster>,
    own_jobs: Kept<Vec<Job>>,
}

impl SlurmReader {
    /// The read side of a Slurm. Nothing is asked yet.
    #[must_use]
    pub fn new(options: SlurmOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            clock,
            version: OnceCell::new(),
            accounts: OnceCell::new(),
            cluster: Mutex::default(),
            own_jobs: Mutex::default(),
        }
    }

    async fn ask(&self, command: &'static str, arguments: &[String]) -> Result<String, WorkloadError> {
        self.options.commands.ask(command, arguments).await
    }

    async fn version(&self) -> Result<(u32, u32), WorkloadError> {
        let ask = || async {
            let text = self.ask("sinfo", &words(["--version"])).await?;
            version(&text).ok_or_else(|| not_understood("sinfo", &format!("{:?} is no version", text.trim())))
        };
        self.version.get_or_try_init(ask).await.copied()
    }

    /// Whether the site keeps accounts that `sacct` can read.
    async fn keeps_accounts(&self) -> Result<bool, WorkloadError> {
        let ask = || async {
            let text = self.ask("scontrol", &words(["show", "config"])).await?;
            let kind = text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == "AccountingStorageType").then(|| value.trim().to_owned())
            });
            Ok(kind.is_some_and(|kind| !matches!(kind.as_str(), "accounting_storage/none" | "(null)" | "")))
        };
        self.accounts.get_or_try_init(ask).await.copied()
    }

    /// Nodes and partitions, as old as the refresh time at most.
    async fn cluster(&self) -> Result<Arc<Cluster>, WorkloadError> {
        let mut kept = self.cluster.lock().await;
        let asked_at = Instant::now();
        if let Some((at, cluster)) = kept.as_ref()
            && asked_at - *at < self.options.refresh
        {
            return Ok(Arc::clone(cluster));
        }
        let (show_partitions, show_nodes) =
            (words(["--oneliner", "show", "partition"]), words(["--oneliner", "--details", "show", "node"]));
        let (partitions, nodes) =
            tokio::try_join!(self.ask("scontrol", &show_partitions), self.ask("scontrol", &show_nodes))?;
        let cluster =
            Arc::new(Cluster::read(&partitions, &nodes, self.options.defaults.partition.as_deref()));
        *kept = Some((asked_at, Arc::clone(&cluster)));
        Ok(cluster)
    }

    /// Jobs in Slurm's memory: with `own` those of this user in every state, else everybody's that wait
    /// or run.
    async fn jobs(&self, own: bool) -> Result<Vec<Job>, WorkloadError> {
        let mut arguments = if own {
            vec![format!("--user={}", nix::unistd::getuid()), "--states=all".to_owned()]
        } else {
            Vec::new()
        };
        let (jobs, left_out) = if self.version().await? >= JSON_SINCE {
            arguments.push("--json".to_owned());
            let text = self.ask("squeue", &arguments).await?;
            json::parse(&text).map_err(|problem| not_understood("squeue", &problem))?
        } else {
            arguments.extend(words(["--noheader", "--array", "--Format"]));
            arguments.push(jobs::FORMAT.to_owned());
            jobs::parse_text(&self.ask("squeue", &arguments).await?)
        };
        if jobs.is_empty() && left_out > 0 {
            return Err(not_understood("squeue", &format!("none of its {left_out} records is a job")));
        }
        if left_out > 0 {
            tracing::warn!(left_out, "squeue printed jobs that are not understood");
        }
        Ok(jobs)
    }

    /// This user's jobs, not asked for before `not_before` and as old as the refresh time at most.
    async fn own_jobs(&self, not_before: Option<Instant>) -> Result<Arc<Vec<Job>>, WorkloadError> {
        let mut kept = self.own_jobs.lock().await;
        if let Some((at, jobs)) = kept.as_ref()
            && at.elapsed() < self.options.refresh
            && not_before.is_none_or(|not_before| *at >= not_before)
        {
            return Ok(Arc::clone(jobs));
        }
        let asked_at = Instant::now();
        let jobs = Arc::new(self.jobs(true).await?);
        *kept = Some((asked_at, Arc::clone(&jobs)));
        Ok(jobs)
    }

    /// The next look at this user's jobs is a new one.
    async fn forget_own_jobs(&self) {
        *self.own_jobs.lock().await = None;
    }

    /// Jobs that run and jobs that wait, of everybody.
    async fn counts(&self) -> Result<(u32, u32), WorkloadError> {
        let text = self.ask("squeue", &words(["--noheader", "--array", "--format=%T"])).await?;
        let count = |run: RunState| {
            let states = text.lines().filter_map(|line| jobs::State::of(std::iter::once(line.trim())));
            u32::try_from(states.filter(|state| state.run == run).count()).unwrap_or(u32::MAX)
        };
        Ok((count(RunState::Running), count(RunState::Queued)))
    }

    /// When Slurm would start a job with these directives; nothing is submitted.
    async fn test(&self, directives: &Directives) -> Result<Timestamp, WorkloadError> {
        let mut arguments = words(["--test-only", "--wrap=true"]);
        arguments.extend(directives.words());
        let output = self.options.commands.run("sbatch", &arguments, Path::new("/")).await?;
        if output.code != Some(0) {
            return Err(refusals::refusal(&output.complaint()));
        }
        start_in(&output.stderr).or_else(|| start_in(&output.stdout)).ok_or_else(|| {
            not_understood("sbatch --test-only", &format!("{:?} names no start", output.complaint()))
        })
    }

    fn seconds_from_now(&self, at: Timestamp) -> Seconds {
        Seconds::saturating(at.since(self.clock.now()).get().max(0.0))
    }
}

fn not_understood(command: &'static str, problem: &str) -> WorkloadError {
    WorkloadError::NotUnderstood { command, problem: problem.chars().take(500).collect() }
}

/// Year and month in `slurm 22.05.8`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number =
        text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The time in `sbatch: Job 13 to start at 2026-11-20T18:09:16 using 4 processors on nodes node1 ...`.
fn start_in(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(" to start at ")?;
    fields::time(rest.split_whitespace().next()?)
}

/// A request of this size and nothing else; only its directives are used.
fn of_size(allocation: &Allocation) -> Option<SubmitRequest> {
    Some(SubmitRequest {
        job_id: JobId::parse("estimate").ok()?,
        attempt: AttemptNumber::FIRST,
        argv: Vec::new(),
        environment: std::collections::BTreeMap::new(),
        directory: std::path::PathBuf::from("/"),
        allocation: *allocation,
        placement: Placement::default(),
        memory_limit: None,
        time_limit: None,
    })
}

#[async_trait]
impl ReadSide for SlurmReader {
    fn manager(&self) -> &'static str {
        "slurm"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let cluster = self.cluster().await?;
        Ok(Some(Inventory {
            version: cluster.nodes.iter().find_map(|node| node.version.clone()),
            partitions: cluster
                .partitions
                .iter()
                .map(|partition| Partition { name: partition.name.clone(), time_limit: partition.time_limit })
                .collect(),
            groups: cluster.groups(),
            nodes_out: u32::try_from(cluster.nodes.len() - cluster.in_service().count()).unwrap_or(u32::MAX),
            has_this_machine: cluster.has_this_machine(),
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let (cluster, (running, queued)) = tokio::try_join!(self.cluster(), self.counts())?;
        Ok(Capacity {
            total: cluster.total(),
            free: cluster.free(),
            running,
            queued,
            time_limit: cluster.time_limit(),
            accepting: !cluster.partitions.is_empty(),
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.jobs(false).await?;
        jobs.retain(|job| !job.state.run.is_terminal());
        // Those that run first; those that wait in the order in which Slurm expects to start them.
        jobs.sort_by_key(|job| {
            let waits = job.state.run == RunState::Queued;
            let number = job.id.split(['_', '[']).next().and_then(|id| id.parse::<u64>().ok());
            let start_at = job.start_at.filter(|_| waits);
            (waits, start_at.is_none(), start_at, number)
        });
        Ok(jobs.iter().map(|job| queued(job, self.clock.now())).collect())
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        let cluster = self.cluster().await?;
        let Some(request) = of_size(allocation) else { return Ok(None) };
        let request = SubmitRequest {
            placement: request.placement.with_defaults(&self.options.defaults),
            // Whole nodes come with all their cores, however many they have.
            allocation: Allocation {
                cores: if allocation.nodes > 0 { 0 } else { allocation.cores },
                ..*allocation
            },
            ..request
        };
        let asked = async {
            let directives = Directives::of(&request, "estimate".to_owned(), &cluster)?;
            let (at, jobs) = tokio::try_join!(self.test(&directives), self.jobs(false))?;
            Ok(estimate(at, &jobs, directives.partition.as_deref().unwrap_or_default()))
        };
        match asked.await {
            Ok(estimate) => Ok(estimate.map(|(p50, p90)| StartEstimate {
                p50: self.seconds_from_now(p50),
                p90: self.seconds_from_now(p90),
            })),
            Err(WorkloadError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let unknown = || WorkloadError::UnknownJob { native: job.clone() };
        if !is_job_id(job) {
            return Err(unknown());
        }
        let jobs = self.own_jobs(None).await?;
        if let Some(job) = jobs.iter().find(|other| other.id == job.0) {
            return Ok(self.of_job(job));
        }
        if !self.keeps_accounts().await? {
            return Err(unknown());
        }
        let accounted = accounting::ask(&self.options.commands, job).await?.ok_or_else(unknown)?;
        Ok(self.of_accounted(&accounted, self.clock.now()))
    }
}

impl SlurmReader {
    fn of_job(&self, job: &Job) -> Accounting {
        Accounting {
            state: job.state.run,
            received_at: job.submitted_at.unwrap_or_else(|| self.clock.now()),
            started_at: job.started_at(),
            ended_at: job.ended_at(),
            exit_code: job.exit_code(),
            peak_memory_gib: None,
        }
    }

    fn of_accounted(&self, accounted: &accounting::Accounted, received_at: Timestamp) -> Accounting {
        let run = accounted.state.run;
        let ran = accounted.started_at.is_some() && matches!(run, RunState::Completed | RunState::Failed);
        Accounting {
            state: run,
            received_at: accounted.submitted_at.unwrap_or(received_at),
            started_at: accounted.started_at,
            ended_at: accounted.ended_at.filter(|_| run.is_terminal()),
            exit_code: accounted.exit.filter(|_| ran).map(jobs::Exit::in_one),
            peak_memory_gib: accounted.peak_memory,
        }
    }
}

/// When work starts that Slurm would start at `at` if nobody else waited. Those who wait already may
/// come first, so nine in ten starts are as late as the latest of theirs; where Slurm does not expect a
/// start for each of them, nobody can tell.
fn estimate(at: Timestamp, jobs: &[Job], partitions: &str) -> Option<(Timestamp, Timestamp)> {
    let ahead = jobs.iter().filter(|job| job.competes_for(partitions)).map(|job| job.start_at);
    let latest = ahead.collect::<Option<Vec<Timestamp>>>()?.into_iter().max();
    Some((at, latest.map_or(at, |latest| latest.max(at))))
}

/// What a native id of Slurm looks like; nothing else is given to a command.
fn is_job_id(job: &NativeId) -> bool {
    (1..=20).contains(&job.0.len()) && job.0.bytes().all(|byte| byte.is_ascii_digit())
}

fn queued(job: &Job, now: Timestamp) -> QueuedJob {
    QueuedJob {
        native: NativeId(job.id.clone()),
        job_id: None,
        attempt: None,
        state: job.state.run,
        takes: job.takes,
        received_at: job.submitted_at.unwrap_or(now),
        started_at: job.started_at(),
        time_limit: job.time_limit,
    }
}
