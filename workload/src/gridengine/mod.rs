//! Grid Engine, through its own commands: Sun's, Son of Grid Engine, and what came from them.
//!
//! ```text
//! GridEngineReader --qhost -F -q -xml, qconf--> nodes      --> capacity, inventory
//!                  --qstat -r -xml------------> jobs       --> queue
//!                  --qsub -w p----------------> directives --> estimated start
//! GridEngine       --qsub, qdel, qstat, qacct--> submit, status, cancel
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. `qsub` may be killed, or its answer may be lost: the job is then found
//!   by its name, or withdrawn, and a second start of it ends by itself.
//! - Nothing that a user writes reaches a shell, or `qsub`, which would lose newlines and commas: words and
//!   variables wait in a file in the job's directory, which must be the same here and on the nodes.
//! - Commands get no environment but their own, have a deadline, and their output is bounded.
//! - However many jobs are followed and however often, `qstat` runs once in the refresh time, and `qacct` as often
//!   for a job that is gone, until it has it.
//! - A job that Grid Engine could not start waits there for a person (state `Eqw`); here it failed, and it is
//!   taken out.
//! - Cores are slots. What starts when is not said by Grid Engine: it starts now where `qsub -w p` says so and
//!   nobody waits, else when those before it have run as long as they may, and it is unknown where one of them
//!   has no limit.
//! - Jobs that were killed look alike in the accounting file. It was a time limit when the time was up,
//!   cancelled when somebody asked for that here, and failed otherwise.

mod accounting;
pub mod directives;
mod estimates;
mod fields;
mod jobs;
mod nodes;
mod refusals;
mod submitting;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use protocol::units::Timestamp;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use self::directives::Directives;
use self::jobs::Job;
pub use self::nodes::Counted;
use self::nodes::{Cluster, Complexes, Configuration, Environment};
pub use self::submitting::GridEngine;
use crate::error::WorkloadError;
use crate::hostname;
use crate::program::{Commands, words};
use crate::read::{Accounting, Capacity, Inventory, NativeId, Partition, QueuedJob, ReadSide, RunState};
use crate::submit::Placement;

/// How old what an administrator configured may be.
const CONFIGURATION_AGE: Duration = Duration::from_secs(60);

/// How Grid Engine is used.
#[derive(Debug, Clone, PartialEq)]
pub struct GridEngineOptions {
    /// Where the commands are and what they get.
    pub commands: Commands,
    /// Queue, project and resources of work that names none. With a queue the site is that queue.
    pub defaults: Placement,
    /// How old an answer about jobs and nodes may be.
    pub refresh: Duration,
    /// How long the accounts of a job that is gone are waited for.
    pub patience: Duration,
}

impl GridEngineOptions {
    /// The cell that this process's own environment names.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            commands: Commands::of_process(&[
                "SGE_ROOT",
                "SGE_CELL",
                "SGE_QMASTER_PORT",
                "SGE_EXECD_PORT",
                "SGE_CLUSTER_NAME",
                "LD_LIBRARY_PATH",
            ]),
            defaults: Placement::default(),
            refresh: Duration::from_secs(2),
            // Grid Engine writes its accounting file every 15 s, unless it is told otherwise.
            patience: Duration::from_secs(30),
        }
    }

    /// Whether the commands are on this machine at all. Other managers have a `qsub` and a `qstat` too.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        ["qsub", "qstat", "qhost", "qconf", "qacct"]
            .iter()
            .all(|command| self.commands.find(command).is_some())
    }
}

/// An answer and when it was asked for.
type Kept<T> = Mutex<Option<(Instant, Arc<T>)>>;

/// Grid Engine's read side.
pub struct GridEngineReader {
    options: GridEngineOptions,
    clock: Arc<dyn Clock>,
    version: OnceCell<Option<String>>,
    configuration: Kept<Configuration>,
    cluster: Kept<Cluster>,
}

impl GridEngineReader {
    /// The read side of a Grid Engine. Nothing is asked yet.
    #[must_use]
    pub fn new(options: GridEngineOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            clock,
            version: OnceCell::new(),
            configuration: Mutex::default(),
            cluster: Mutex::default(),
        }
    }

    async fn ask(&self, command: &'static str, arguments: &[String]) -> Result<String, WorkloadError> {
        let output = self.options.commands.run(command, arguments, Path::new("/")).await?;
        let problem = match output.code {
            Some(0) => return Ok(output.stdout),
            _ => output.complaint(),
        };
        if refusals::is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command, problem })
    }

    /// What an administrator configured. A host that gives GPUs is asked how many.
    async fn configuration(&self, hosts: &str) -> Result<Arc<Configuration>, WorkloadError> {
        let mut kept = self.configuration.lock().await;
        let asked_at = Instant::now();
        if let Some((at, configuration)) = kept.as_ref()
            && asked_at - *at < CONFIGURATION_AGE
        {
            return Ok(Arc::clone(configuration));
        }
        let complexes = self.ask("qconf", &words(["-sc"])).await?;
        let complexes =
            Complexes::parse(&complexes).map_err(|problem| not_understood("qconf -sc", &problem))?;
        let mut configuration = Configuration { complexes, ..Configuration::default() };
        // Without any the answer is a failure.
        let names = self.options.commands.run("qconf", &words(["-spl"]), Path::new("/")).await?;
        for name in names.stdout.split_whitespace().filter(|_| names.code == Some(0)) {
            let shown = self.ask("qconf", &["-sp".to_owned(), name.to_owned()]).await?;
            configuration.environments.extend(Environment::parse(&shown));
        }
        if let Some(gpu) = configuration.complexes.gpu.clone() {
            let hosts =
                nodes::hosts_with(hosts, &gpu.name).map_err(|problem| not_understood("qhost", &problem))?;
            for host in hosts {
                let shown = self.ask("qconf", &["-se".to_owned(), host.clone()]).await?;
                if let Some(count) = nodes::gives(&shown, &gpu.name) {
                    configuration.gpus.insert(host, count);
                }
            }
        }
        let configuration = Arc::new(configuration);
        *kept = Some((asked_at, Arc::clone(&configuration)));
        Ok(configuration)
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
        let (show_hosts, show_queues) = (words(["-F", "-q", "-xml"]), words(["-sq", "*"]));
        let (hosts, queues) =
            tokio::try_join!(self.ask("qhost", &show_hosts), self.ask("qconf", &show_queues))?;
        let configuration = self.configuration(&hosts).await?;
        let only = self.options.defaults.partition.as_deref();
        let cluster = Cluster::read(&hosts, &queues, (*configuration).clone(), only)
            .map_err(|(command, problem)| not_understood(command, &problem))?;
        let cluster = Arc::new(cluster);
        *kept = Some((asked_at, Arc::clone(&cluster)));
        Ok(cluster)
    }

    /// Jobs that wait or run: of one user, or with `*` everybody's.
    async fn jobs(&self, user: &str) -> Result<Vec<Job>, WorkloadError> {
        let mut arguments = words(["-s", "prs", "-r", "-xml", "-u"]);
        arguments.push(user.to_owned());
        let text = self.ask("qstat", &arguments).await?;
        let (jobs, left_out) = jobs::parse(&text).map_err(|problem| not_understood("qstat", &problem))?;
        if jobs.is_empty() && left_out > 0 {
            return Err(not_understood("qstat", &format!("none of its {left_out} elements is a job")));
        }
        if left_out > 0 {
            tracing::warn!(left_out, "qstat printed jobs that are not understood");
        }
        Ok(jobs)
    }

    /// Whether Grid Engine would find a place for work with these directives; nothing is submitted. With `now`
    /// at once, else when nothing else ran.
    async fn verify(&self, directives: &Directives, now: bool) -> Result<(), WorkloadError> {
        let mut arguments = words(["-w", if now { "p" } else { "v" }, "-b", "y"]);
        arguments.extend(directives.words());
        arguments.push("true".to_owned());
        let output = self.options.commands.run("qsub", &arguments, Path::new("/")).await?;
        if output.code == Some(0) {
            return Ok(());
        }
        let problem = [output.stderr.as_str(), output.stdout.as_str()].concat();
        let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(refusals::refusal(&problem).unwrap_or_else(|| WorkloadError::CommandFailed {
            command: "qsub -w",
            problem: output.complaint(),
        }))
    }

    async fn version(&self) -> Option<String> {
        let ask = || async {
            let output = self.options.commands.run("qstat", &words(["-help"]), Path::new("/")).await?;
            Ok::<_, WorkloadError>(version(&output.stdout))
        };
        self.version.get_or_try_init(ask).await.ok().cloned().flatten()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn not_understood(command: &'static str, problem: &str) -> WorkloadError {
    WorkloadError::NotUnderstood { command, problem: problem.chars().take(500).collect() }
}

/// The version in the first line of `qstat -help`: `SGE 8.1.9`, `OGS/GE 2011.11p1`.
fn version(text: &str) -> Option<String> {
    let words = text.lines().next()?.split_whitespace();
    let mut versions = words.filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    versions.next().map(|version| version.chars().take(40).collect())
}

/// What a native id of a job of ours looks like; nothing else is given to a command.
fn is_job_id(job: &NativeId) -> bool {
    (1..=20).contains(&job.0.len()) && job.0.bytes().all(|byte| byte.is_ascii_digit())
}

#[async_trait]
impl ReadSide for GridEngineReader {
    fn manager(&self) -> &'static str {
        "gridengine"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let (cluster, version) = tokio::join!(self.cluster(), self.version());
        let cluster = cluster?;
        let partition =
            |queue: &nodes::Queue| Partition { name: queue.name.clone(), time_limit: queue.time_limit };
        Ok(Some(Inventory {
            version,
            partitions: cluster.queues.iter().map(partition).collect(),
            groups: cluster.groups(),
            nodes_out: u32::try_from(cluster.nodes.len() - cluster.in_service().count()).unwrap_or(u32::MAX),
            has_this_machine: hostname::is_any_of(cluster.nodes.iter().map(|node| node.name.as_str())),
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let (cluster, jobs) = tokio::try_join!(self.cluster(), self.jobs("*"))?;
        let count = |state: RunState| {
            let jobs = jobs.iter().filter(|job| job.state == state);
            jobs.map(Job::count).fold(0, u32::saturating_add)
        };
        Ok(Capacity {
            total: cluster.total(),
            free: cluster.free(),
            running: count(RunState::Running),
            queued: count(RunState::Queued),
            time_limit: cluster.time_limit(),
            accepting: !cluster.queues.is_empty(),
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let (cluster, mut jobs) = tokio::try_join!(self.cluster(), self.jobs("*"))?;
        // Those that run first; those that wait are listed by priority.
        jobs.sort_by_key(|job| {
            (job.state == RunState::Queued, job.started_at, job.started_at.map(|_| job.id))
        });
        let complexes = &cluster.configuration.complexes;
        Ok(jobs.iter().map(|job| job.queued(complexes, self.now())).collect())
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        match self.estimate(allocation).await {
            Err(WorkloadError::Refused { .. }) => Ok(None),
            estimate => estimate,
        }
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let unknown = || WorkloadError::UnknownJob { native: job.clone() };
        if !is_job_id(job) {
            return Err(unknown());
        }
        let jobs = self.jobs("*").await?;
        let listed = jobs.iter().find(|other| other.native() == *job).ok_or_else(unknown)?;
        let queued = listed.queued(&Complexes::default(), self.now());
        Ok(Accounting {
            state: queued.state,
            received_at: queued.received_at,
            started_at: queued.started_at,
            ended_at: None,
            exit_code: None,
            peak_memory_gib: None,
        })
    }
}
