//! OpenPBS (PBS Professional) and Torque, through their own commands. Both come of the same PBS and list
//! things in the same way; where they differ, [`Flavour`] says so.
//!
//! ```text
//! PbsReader --qstat -B -f, qstat -Q -f, pbsnodes--> listing --> nodes --> capacity, inventory
//!           --qstat -f---------------------------> listing --> jobs  --> queue, accounting
//!                                                 nodes + jobs --> plan --> estimated start
//! Pbs       --qsub, qselect, qdel, qstat -x -f--> submit, status, cancel
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. The answer of `qsub` may be lost: the job is then found by its
//!   name, or withdrawn, and a second start of it ends by itself.
//! - Nothing that a user writes reaches a shell, or stands in a listing that others read: words and
//!   variables go through a file in the job's directory that `launch.sh` reads. It needs bash on the nodes.
//! - Commands get no environment but their own, have a deadline, and their output is bounded.
//! - However many jobs are followed and however often, `qstat` runs once in the refresh time.
//! - The job's directory must be the same on this machine and on the nodes, and have a plain name.
//! - PBS has no dry run: requests are checked here against the limits of queues and the size of nodes. What
//!   `qsub` itself would refuse besides (hooks, limits for users and groups) shows at the submission.
//! - An estimated start is a bound out of time limits and of the scheduler's own plans, unknown as soon as
//!   somebody waits whom the scheduler has not planned. Where Moab or Maui start the jobs of a Torque, it is
//!   what their `showstart` says.
//! - How a job ended is known as long as the server keeps its history, then as far as its script noted it.
//! - A job is kept within its memory where the site has that enforced.

pub mod directives;
mod fields;
mod jobs;
mod listing;
mod moab;
mod nodes;
mod plan;
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
use self::jobs::Job;
use self::listing::{JOBS, Kind, NODES, QUEUES, Record, SERVER};
use self::nodes::Cluster;
pub use self::submitting::Pbs;
use crate::error::WorkloadError;
use crate::program::{Commands, Output, words};
use crate::read::{Accounting, Capacity, Inventory, NativeId, Partition, QueuedJob, ReadSide, RunState};
use crate::submit::{Placement, SubmitRequest};

/// What `qstat -x` says where the server keeps no history.
const NO_HISTORY: &str = "not configured to maintain job history";

/// Which PBS it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// OpenPBS and PBS Professional.
    OpenPbs,
    /// Torque.
    Torque,
}

impl Flavour {
    /// The name as it stands in facts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenPbs => "pbs",
            Self::Torque => "torque",
        }
    }
}

/// How PBS is used.
#[derive(Debug, Clone, PartialEq)]
pub struct PbsOptions {
    /// Where the commands are and what they get.
    pub commands: Commands,
    /// Queue, account and resources of work that names none. With a queue the site is that queue.
    pub defaults: Placement,
    /// How old an answer about jobs and nodes may be.
    pub refresh: Duration,
}

impl PbsOptions {
    /// The PBS that this process's own environment names, or that of the machine.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            commands: Commands::of_process(&["PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT"]),
            defaults: Placement::default(),
            refresh: Duration::from_secs(2),
        }
    }

    /// Whether the commands are on this machine at all. Grid Engine has a `qstat` too, and no `pbsnodes`.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        ["qstat", "qsub", "pbsnodes"].iter().all(|command| self.commands.find(command).is_some())
    }
}

/// Which PBS it is, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    flavour: Flavour,
    version: String,
}

/// The read side of a PBS.
pub struct PbsReader {
    options: PbsOptions,
    clock: Arc<dyn Clock>,
    identity: OnceCell<Identity>,
    cluster: Mutex<Option<(Instant, Arc<Cluster>)>>,
}

impl PbsReader {
    /// The read side of a PBS. Nothing is asked yet.
    #[must_use]
    pub fn new(options: PbsOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, identity: OnceCell::new(), cluster: Mutex::default() }
    }

    async fn identity(&self) -> Result<&Identity, WorkloadError> {
        let ask = || async {
            let output = self.options.commands.run("qstat", &words(["--version"]), Path::new("/")).await?;
            // Torque prints it as an error.
            identity(&format!("{}\n{}", output.stdout, output.stderr)).ok_or_else(|| {
                not_understood("qstat", &format!("{:?} is no version of a PBS", output.complaint()))
            })
        };
        self.identity.get_or_try_init(ask).await
    }

    async fn flavour(&self) -> Result<Flavour, WorkloadError> {
        Ok(self.identity().await?.flavour)
    }

    /// The records that a command lists.
    async fn list(
        &self,
        command: &'static str,
        arguments: &[&str],
        kind: Kind,
    ) -> Result<Vec<Record>, WorkloadError> {
        let flavour = self.flavour().await?;
        let run = async |format: &[&str]| {
            let all: Vec<String> = arguments.iter().chain(format).map(|word| (*word).to_owned()).collect();
            self.options.commands.run(command, &all, Path::new("/")).await
        };
        let long: &[&str] = if command == "pbsnodes" { &[] } else { &["-1"] };
        let problem = match flavour {
            Flavour::Torque => return read(command, run(long).await?, kind, listing::text),
            Flavour::OpenPbs => match read(command, run(&["-F", "json"]).await?, kind, listing::json) {
                // Older ones print no JSON, and what a user wrote can break it.
                Err(error @ WorkloadError::NotUnderstood { .. }) => error,
                Err(WorkloadError::CommandFailed { problem, .. }) if problem.contains("usage:") => {
                    not_understood(command, &problem)
                }
                done => return done,
            },
        };
        match read(command, run(&[]).await?, kind, listing::text) {
            Err(WorkloadError::NotUnderstood { .. }) => Err(problem),
            done => done,
        }
    }

    /// Queues and nodes, as old as the refresh time at most.
    async fn cluster(&self) -> Result<Arc<Cluster>, WorkloadError> {
        let mut kept = self.cluster.lock().await;
        let asked_at = Instant::now();
        if let Some((at, cluster)) = kept.as_ref()
            && asked_at - *at < self.options.refresh
        {
            return Ok(Arc::clone(cluster));
        }
        let flavour = self.flavour().await?;
        // Without -v a host with several vnodes has `<various>` for its values.
        let all = [if flavour == Flavour::OpenPbs { "-av" } else { "-a" }];
        let (server, queues, nodes) = tokio::try_join!(
            self.list("qstat", &["-B", "-f"], SERVER),
            self.list("qstat", &["-Q", "-f"], QUEUES),
            self.list("pbsnodes", &all, NODES)
        )?;
        let only = self.options.defaults.partition.as_deref();
        let cluster = Cluster::read(flavour, [&server, &queues, &nodes], only, user().as_deref())
            .map_err(|problem| not_understood("qstat -B -f", &problem))?;
        let cluster = Arc::new(cluster);
        *kept = Some((asked_at, Arc::clone(&cluster)));
        Ok(cluster)
    }

    /// Everybody's jobs that wait or run, those of arrays one by one.
    async fn jobs(&self) -> Result<Vec<Job>, WorkloadError> {
        let records = self.list("qstat", &["-t", "-f"], JOBS).await?;
        let (jobs, left_out) = jobs::parse(self.flavour().await?, &records);
        if jobs.is_empty() && left_out > 0 {
            return Err(not_understood("qstat", &format!("none of its {left_out} records is a job")));
        }
        if left_out > 0 {
            tracing::warn!(left_out, "qstat printed jobs that are not understood");
        }
        Ok(jobs)
    }

    /// The jobs of these ids that PBS still knows, finished ones too where it keeps them. They are read as
    /// text: of several ids, some versions list only the first as JSON.
    async fn jobs_of(&self, ids: &[NativeId]) -> Result<Vec<Job>, WorkloadError> {
        let flavour = self.flavour().await?;
        let run = async |options: &[&str]| {
            let options = options.iter().copied().map(str::to_owned);
            let arguments: Vec<String> = options.chain(ids.iter().map(|id| id.0.clone())).collect();
            self.options.commands.run("qstat", &arguments, Path::new("/")).await
        };
        let mut output = match flavour {
            Flavour::OpenPbs => run(&["-x", "-f"]).await?,
            Flavour::Torque => run(&["-f", "-1"]).await?,
        };
        if output.complaint().contains(NO_HISTORY) {
            output = run(&["-f"]).await?;
        }
        let complaints = output.stderr.clone();
        let (mut jobs, _) = jobs::parse(flavour, &read("qstat", output, JOBS, listing::text)?);
        jobs.retain(|job| ids.contains(&job.native()));
        // A job is forgotten when PBS says so, not when it is missing.
        let is_told = |id: &NativeId| {
            let number = id.0.split('.').next();
            let names = |word: &str| word == id.0 || word.split('.').next() == number;
            jobs.iter().any(|job| job.id == id.0) || complaints.split_whitespace().any(names)
        };
        match ids.iter().find(|id| !is_told(id)) {
            Some(id) => Err(not_understood("qstat", &format!("it says nothing about job {id}"))),
            None => Ok(jobs),
        }
    }

    /// What Moab or Maui says to work of this size, where one of them is here.
    async fn showstart(&self, directives: &Directives) -> Result<Option<Seconds>, WorkloadError> {
        let commands = &self.options.commands;
        let Some(size) = moab::size(directives).filter(|_| commands.find("showstart").is_some()) else {
            return Ok(None);
        };
        Ok(moab::wait(&commands.ask("showstart", &[size]).await?))
    }

    /// When work with these directives would start, submitted now.
    async fn earliest(
        &self,
        directives: &Directives,
        cluster: &Cluster,
    ) -> Result<Option<Timestamp>, WorkloadError> {
        if directives.flavour == Flavour::Torque && !cluster.schedules {
            let wait = self.showstart(directives).await?;
            return Ok(wait.map(|wait| self.clock.now().plus(wait)));
        }
        let jobs = self.jobs().await?;
        let fits = directives.fits_among(cluster);
        Ok(plan::earliest(cluster, &jobs, &directives.queue, self.clock.now(), fits))
    }
}

fn not_understood(command: &'static str, problem: &str) -> WorkloadError {
    WorkloadError::NotUnderstood { command, problem: problem.chars().take(500).collect() }
}

/// What a listing has, unless the command complained about more than jobs that are over: with the server
/// down it lists nothing, in good form.
fn read(
    command: &'static str,
    output: Output,
    kind: Kind,
    parse: fn(&str, Kind) -> Result<Vec<Record>, String>,
) -> Result<Vec<Record>, WorkloadError> {
    let problem = output.complaint();
    match output.code {
        Some(0) => {}
        _ if refusals::is_absent(&problem) => return Err(WorkloadError::Unavailable { problem }),
        Some(_) if refusals::is_over(&output.stderr) => {
            if output.stdout.trim().is_empty() {
                return Ok(Vec::new());
            }
        }
        _ => return Err(WorkloadError::CommandFailed { command, problem }),
    }
    parse(&output.stdout, kind).map_err(|problem| not_understood(command, &problem))
}

/// `pbs_version = 23.06.06` is OpenPBS, `Version: 6.1.3` Torque.
fn identity(text: &str) -> Option<Identity> {
    let line = |start: &str| {
        let is_start = |line: &&str| line.trim().to_ascii_lowercase().starts_with(start);
        let version = text.lines().find(is_start)?.trim().split_at_checked(start.len())?.1.trim();
        let version: String = version.split_whitespace().next()?.chars().take(40).collect();
        version.contains(|c: char| c.is_ascii_digit()).then_some(version)
    };
    let openpbs = line("pbs_version =").map(|version| Identity { flavour: Flavour::OpenPbs, version });
    openpbs.or_else(|| line("version:").map(|version| Identity { flavour: Flavour::Torque, version }))
}

/// What a native id of PBS looks like (`27.server`, `26[1].server`); nothing else is given to a command.
fn is_job_id(id: &str) -> bool {
    let (number, server) = id.split_once('.').unwrap_or((id, "server"));
    let (number, index) = match number.split_once('[') {
        Some((number, rest)) => (number, rest.strip_suffix(']')),
        None => (number, Some("")),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    id.len() <= 300
        && !number.is_empty()
        && digits(number)
        && index.is_some_and(digits)
        && !server.is_empty()
        && server.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The name of this process's user, as PBS has it in its lists.
fn user() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name)
}

/// A request of this size and nothing else; only its directives are used.
fn of_size(allocation: &Allocation, defaults: &Placement) -> Option<SubmitRequest> {
    Some(SubmitRequest {
        job_id: JobId::parse("estimate").ok()?,
        attempt: AttemptNumber::FIRST,
        argv: Vec::new(),
        environment: std::collections::BTreeMap::new(),
        directory: std::path::PathBuf::from("/"),
        // Whole nodes come with all their cores, however many they have.
        allocation: Allocation {
            cores: if allocation.nodes > 0 { 0 } else { allocation.cores },
            ..*allocation
        },
        placement: Placement::default().with_defaults(defaults),
        memory_limit: None,
        time_limit: None,
    })
}

#[async_trait]
impl ReadSide for PbsReader {
    fn manager(&self) -> &'static str {
        self.identity.get().map_or(Flavour::OpenPbs, |identity| identity.flavour).name()
    }

    fn is_installed(&self) -> bool {
        self.options.is_installed()
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let cluster = self.cluster().await?;
        let queues = cluster.queues.iter();
        Ok(Some(Inventory {
            version: Some(self.identity().await?.version.clone()),
            partitions: queues
                .map(|queue| Partition { name: queue.name.clone(), time_limit: queue.most.time })
                .collect(),
            groups: cluster.groups(),
            nodes_out: cluster.nodes_out(),
            has_this_machine: cluster.has_this_machine(),
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let cluster = self.cluster().await?;
        let counts = cluster.running.zip(cluster.waiting);
        let (running, queued) =
            counts.ok_or_else(|| not_understood("qstat -B -f", "it does not count its jobs"))?;
        Ok(Capacity {
            total: cluster.total(),
            free: cluster.free(),
            running,
            queued,
            time_limit: cluster.time_limit(),
            accepting: cluster.accepts,
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.jobs().await?;
        let listed: std::collections::BTreeSet<u64> =
            jobs.iter().filter(|job| !job.is_array()).map(Job::number).collect();
        let is_shown_singly = |job: &Job| job.is_array() && listed.contains(&job.number());
        jobs.retain(|job| !job.state.is_terminal());
        jobs.retain(|job| !is_shown_singly(job));
        // Those that run first, then those that the scheduler has planned, then those that it considers,
        // then those that are held.
        jobs.sort_by_key(|job| {
            let waits = job.state == RunState::Queued;
            let planned = job.planned.as_ref().map(|(at, _)| *at);
            (waits, waits && !job.waits_for_resources, planned.is_none(), planned, job.number())
        });
        Ok(jobs.iter().map(Job::queued).collect())
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        let cluster = self.cluster().await?;
        let Some(request) = of_size(allocation, &self.options.defaults) else { return Ok(None) };
        match Directives::of(self.flavour().await?, &request, "estimate".to_owned(), &cluster) {
            Ok(directives) => {
                let wait = |at: Timestamp| Seconds::saturating(at.since(self.clock.now()).get().max(0.0));
                let start = self.earliest(&directives, &cluster).await?.map(wait);
                Ok(start.map(|start| StartEstimate { p50: start, p90: start }))
            }
            Err(WorkloadError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let unknown = || WorkloadError::UnknownJob { native: job.clone() };
        if !is_job_id(&job.0) {
            return Err(unknown());
        }
        let jobs = self.jobs_of(std::slice::from_ref(job)).await?;
        jobs.first().map(Job::accounting).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pbs_is_told_from_the_other() {
        let of = |text| identity(text).map(|identity| (identity.flavour, identity.version));
        assert_eq!(of("pbs_version = 23.06.06\n"), Some((Flavour::OpenPbs, "23.06.06".to_owned())));
        assert_eq!(of("pbs_version = PBSPro_13.0.2\n"), Some((Flavour::OpenPbs, "PBSPro_13.0.2".to_owned())));
        assert_eq!(of("\nVersion: 6.1.3\nCommit: abc\n"), Some((Flavour::Torque, "6.1.3".to_owned())));
        assert_eq!(of("version: 2.5.7"), Some((Flavour::Torque, "2.5.7".to_owned())));
        assert_eq!((of("SGE 8.1.9"), of("Version: "), of("")), (None, None, None));
    }

    #[test]
    fn ids_are_those_of_pbs() {
        for good in ["27.node1", "26[1].head.example.org", "26[].node1", "1"] {
            assert!(is_job_id(good), "{good}");
        }
        for bad in ["", ".", "1.", "-x", "1 2", "1.a;b", "a.b", "1[", "1[x].a", "1@b", "all"] {
            assert!(!is_job_id(bad), "{bad}");
        }
    }
}
