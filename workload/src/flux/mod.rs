//! Flux, through its own commands.
//!
//! ```text
//! FluxReader --flux resource R, resource status, queue list, config get--> nodes --> capacity, inventory
//!            --flux jobs --json-----------------------------------------> jobs  --> queue, accounting
//! Flux       --flux job submit, flux cancel, flux jobs--> submit, status, cancel
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. The answer of `flux job submit` may be lost: the job is then found
//!   by its name, or withdrawn, and a second start of it ends by itself.
//! - Nothing that a user writes reaches a shell. Work is handed over as a jobspec, a JSON document of our
//!   own that begins as `flux batch` would write it; the script in it is always the same.
//! - Commands get no environment but their own, have a deadline, and their output is bounded.
//! - However many jobs are followed and however often, `flux jobs` runs once in the refresh time.
//! - The job's directory must be the same on this machine and on the nodes.
//! - Flux knows no memory: what its nodes have is unknown, and work with a memory limit is refused. It tells
//!   nobody when work would start, and no peak memory: both are unknown.
//! - `flux jobs --json` is needed; a Flux that does not have it is an error that says so.

mod fields;
mod jobs;
pub mod jobspec;
mod nodes;
mod refusals;
mod submitting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::facts::{Allocation, StartEstimate};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use self::jobs::Job;
use self::nodes::{Cluster, Listings, QUEUE_FORMAT, STATUS_FORMAT};
pub use self::submitting::Flux;
use crate::error::WorkloadError;
use crate::program::{Commands, words};
use crate::read::{Accounting, Capacity, Inventory, NativeId, Partition, QueuedJob, ReadSide, RunState};
use crate::submit::Placement;

/// Jobs in one listing: `flux jobs` leaves out what is more than a thousand, without a word.
const MOST_JOBS: &str = "--count=1000000";

/// How Flux is used.
#[derive(Debug, Clone, PartialEq)]
pub struct FluxOptions {
    /// Where the commands are and what they get.
    pub commands: Commands,
    /// Queue, bank and properties of work that names none. With a queue the site is that queue.
    pub defaults: Placement,
    /// How old an answer about jobs and nodes may be.
    pub refresh: Duration,
}

impl FluxOptions {
    /// The Flux that this process's own environment names, or that of the system.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            commands: Commands::of_process(&["FLUX_URI"]),
            defaults: Placement::default(),
            refresh: Duration::from_secs(2),
        }
    }

    /// Whether the command is on this machine at all.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.commands.find("flux").is_some()
    }
}

/// Flux's read side.
pub struct FluxReader {
    options: FluxOptions,
    version: OnceCell<Option<String>>,
    cluster: Mutex<Option<(Instant, Arc<Cluster>)>>,
}

/// What is read of `flux job stats`.
#[derive(Deserialize)]
struct Stats {
    job_states: States,
}

#[derive(Deserialize)]
struct States {
    depend: u32,
    priority: u32,
    sched: u32,
    run: u32,
    cleanup: u32,
}

impl FluxReader {
    /// The read side of a Flux. Nothing is asked yet.
    #[must_use]
    pub fn new(options: FluxOptions) -> Self {
        Self { options, version: OnceCell::new(), cluster: Mutex::default() }
    }

    async fn ask(&self, arguments: &[String]) -> Result<String, WorkloadError> {
        let output = self.options.commands.run("flux", arguments, Path::new("/")).await?;
        let problem = match output.code {
            Some(0) => return Ok(output.stdout),
            _ => output.complaint(),
        };
        if is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command: "flux", problem })
    }

    /// Nodes and queues, as old as the refresh time at most.
    async fn cluster(&self) -> Result<Arc<Cluster>, WorkloadError> {
        let mut kept = self.cluster.lock().await;
        let asked_at = Instant::now();
        if let Some((at, cluster)) = kept.as_ref()
            && asked_at - *at < self.options.refresh
        {
            return Ok(Arc::clone(cluster));
        }
        let commands = [
            words(["resource", "R"]),
            words(["resource", "R", "--states=free"]),
            words(["resource", "status", "-no", STATUS_FORMAT]),
            words(["queue", "list", "-no", QUEUE_FORMAT]),
            words(["config", "get"]),
        ];
        let [all, free, status, queues, configuration] = &commands;
        let (all, free, status, queues, configuration) = tokio::try_join!(
            self.ask(all),
            self.ask(free),
            self.ask(status),
            self.ask(queues),
            self.ask(configuration)
        )?;
        let listings = Listings { all, free, status, queues, configuration };
        let cluster = Cluster::read(&listings, self.options.defaults.partition.as_deref())
            .map_err(|(command, problem)| not_understood(command, &problem))?;
        let cluster = Arc::new(cluster);
        *kept = Some((asked_at, Arc::clone(&cluster)));
        Ok(cluster)
    }

    /// The jobs that `flux jobs` lists with these options.
    async fn jobs(&self, options: &[&str]) -> Result<Vec<Job>, WorkloadError> {
        let mut arguments = words(["jobs", "--json", MOST_JOBS]);
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        parsed(&self.ask(&arguments).await?)
    }

    /// The jobs of these ids that Flux still knows.
    async fn jobs_of(&self, ids: &[NativeId]) -> Result<Vec<Job>, WorkloadError> {
        let mut arguments = words(["jobs", "--json"]);
        arguments.extend(ids.iter().map(|id| id.0.clone()));
        let output = self.options.commands.run("flux", &arguments, Path::new("/")).await?;
        let complaint = output.complaint();
        // Those that are unknown are complained about; when all are, nothing is printed.
        match output.code {
            Some(0) => parsed(&output.stdout),
            _ if is_absent(&complaint) => Err(WorkloadError::Unavailable { problem: complaint }),
            Some(1) if output.stdout.trim().is_empty() && complaint.ends_with("unknown") => Ok(Vec::new()),
            _ => Err(WorkloadError::CommandFailed { command: "flux jobs", problem: complaint }),
        }
    }

    async fn version(&self) -> Option<String> {
        let ask = || async { Ok::<_, WorkloadError>(version(&self.ask(&words(["version"])).await?)) };
        self.version.get_or_try_init(ask).await.ok().cloned().flatten()
    }
}

fn not_understood(command: &'static str, problem: &str) -> WorkloadError {
    WorkloadError::NotUnderstood { command, problem: problem.chars().take(500).collect() }
}

fn parsed(text: &str) -> Result<Vec<Job>, WorkloadError> {
    let (jobs, left_out) = jobs::parse(text).map_err(|problem| not_understood("flux jobs", &problem))?;
    if jobs.is_empty() && left_out > 0 {
        return Err(not_understood("flux jobs", &format!("none of its {left_out} records is a job")));
    }
    if left_out > 0 {
        tracing::warn!(left_out, "flux jobs printed jobs that are not understood");
    }
    Ok(jobs)
}

/// Whether a command found no Flux to talk to; there are two wordings of it.
fn is_absent(complaint: &str) -> bool {
    complaint.contains("Unable to connect to Flux") || complaint.contains("flux_open:")
}

/// The version in `libflux-core:   0.88.0`.
fn version(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("libflux-core:"))?;
    let version = line.trim();
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.chars().take(40).collect())
}

/// What a native id of Flux looks like; nothing else is given to a command.
fn is_job_id(job: &NativeId) -> bool {
    job.0.bytes().all(|byte| byte.is_ascii_digit()) && job.0.parse::<u64>().is_ok()
}

#[async_trait]
impl ReadSide for FluxReader {
    fn manager(&self) -> &'static str {
        "flux"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let (cluster, version) = tokio::join!(self.cluster(), self.version());
        let cluster = cluster?;
        let named = cluster.queues.iter().filter(|queue| !queue.name.is_empty());
        Ok(Some(Inventory {
            version,
            partitions: named
                .map(|queue| Partition { name: queue.name.clone(), time_limit: queue.time_limit })
                .collect(),
            groups: cluster.groups(),
            nodes_out: u32::try_from(cluster.nodes.len() - cluster.in_service().count()).unwrap_or(u32::MAX),
            has_this_machine: cluster.has_this_machine,
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let stats = words(["job", "stats"]);
        let (cluster, stats) = tokio::try_join!(self.cluster(), self.ask(&stats))?;
        let states = serde_json::from_str::<Stats>(&stats)
            .map_err(|error| not_understood("flux job stats", &error.to_string()))?
            .job_states;
        Ok(Capacity {
            total: cluster.total(),
            free: cluster.free(),
            running: states.run.saturating_add(states.cleanup),
            queued: states.depend.saturating_add(states.priority).saturating_add(states.sched),
            time_limit: cluster.time_limit(),
            accepting: !cluster.queues.is_empty(),
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.jobs(&["-A"]).await?;
        jobs.retain(|job| !job.state.is_terminal());
        // Those that run first, then those that Flux considers, by priority, then those that are held.
        jobs.sort_by_key(|job| {
            let waits = job.state == RunState::Queued;
            (
                waits,
                waits && !job.waits_for_resources,
                waits.then_some(-job.priority),
                job.submitted_at,
                job.id,
            )
        });
        Ok(jobs.iter().map(Job::queued).collect())
    }

    async fn estimated_start(&self, _: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        // Flux plans what was submitted; it has no command for what was not.
        Ok(None)
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let unknown = || WorkloadError::UnknownJob { native: job.clone() };
        if !is_job_id(job) {
            return Err(unknown());
        }
        let jobs = self.jobs_of(std::slice::from_ref(job)).await?;
        jobs.iter().find(|other| other.native() == *job).map(Job::accounting).ok_or_else(unknown)
    }
}
