//! This machine as a workload manager of its own: real processes in cgroups of their own, slots for
//! cores, memory and GPUs, one first-in-first-out queue, limits, and a journal that survives a crash.
//!
//! ```text
//! LocalMachine --Command--> supervisor thread --> schedule (who runs when, on which GPUs)
//!                                             --> journal  (on disk before it happens)
//!                                             --> cgroup   (make, limit, measure, end, remove)
//!                                             --> process  (start, watch, stop, adopt)
//! ```
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once, whatever crashes. A job whose process is gone and left no
//!   exit code is `unknown`, never run again.
//! - A crash or [`LocalMachine::detach`] leaves processes running; the next agent on the same state
//!   directory adopts them. [`LocalMachine::shutdown`] and dropping the machine cancel everything.
//! - Where jobs have cgroups ([`Containment`] says so), the kernel holds their memory, processes and
//!   share of the processors, their peak memory is the kernel's figure, and nothing of a job outlives it.
//!   The peak counts the files that the kernel remembers for a job, as the limit does.
//! - Where they have none, memory is watched by sampling, a job can exceed it for a moment, and a daemon
//!   that drops its group and its environment outlives its job. The size of a log is sampled anyway.
//! - Limits are no isolation: a job runs as the agent's user, and may leave its cgroup where that user
//!   may write to one above it.
//! - No GPU is given to two jobs, nor one that somebody else computes on, if the caller can tell. A job is
//!   told its devices by its environment; nothing keeps it from others.
//! - Adoption, cgroups and memory figures need Linux.

mod cgroup;
mod gpus;
mod journal;
mod process;
pub(crate) mod schedule;
mod supervisor;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use protocol::units::{GiB, Seconds};
use tokio::sync::oneshot;

pub use self::cgroup::Containment;
use self::cgroup::{Cgroups, Unavailable};
pub use self::gpus::{BusyGpus, GpuDevice, GpuVendor};
use self::supervisor::{Command, Supervisor};
use crate::error::WorkloadError;
use crate::read::{Accounting, Capacity, NativeId, QueuedJob, ReadSide, Slots};
use crate::submit::{DryRun, Status, SubmitRequest, SubmitSide};

/// The file in the job's directory that holds its output, both streams in one.
pub const LOG_NAME: &str = "output.log";

/// The file in the job's directory that `PARLEY_METRICS` names: one JSON object a line.
pub const METRICS_NAME: &str = "metrics.jsonl";

/// How this machine is used.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Where the journal is kept; one agent at a time.
    pub state_directory: PathBuf,
    /// What is given to jobs, all together; its GPUs are counted from `gpus`, whatever stands here.
    pub slots: Slots,
    /// The GPUs that are given to jobs.
    pub gpus: Vec<GpuDevice>,
    /// Tells which of them are in use, also by somebody else; without it nobody knows, and all are given.
    pub busy_gpus: Option<BusyGpus>,
    /// The directory under `/proc` that says in which cgroups this process is; jobs get cgroups below
    /// them. None to do without.
    pub cgroups_of: Option<PathBuf>,
    /// Processes and threads of one job at most, where it has a cgroup.
    pub process_limit: u32,
    /// Variables that every job gets; nothing else of the agent's environment reaches it.
    pub environment: BTreeMap<String, String>,
    /// Jobs that wait at most.
    pub queue_limit: usize,
    /// The longest time limit, and the limit of jobs that name none.
    pub time_limit: Option<Seconds>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Size of a job's log at most; its beginning is kept.
    pub log_limit_bytes: u64,
}

impl LocalOptions {
    /// All cores and all memory of this machine, and of its environment `PATH`, `HOME` and `LANG`. GPUs
    /// are the caller's to name.
    #[must_use]
    pub fn whole_machine(state_directory: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            state_directory: state_directory.into(),
            slots: Slots {
                cores: u32::try_from(cores).unwrap_or(u32::MAX),
                memory_gib: process::total_memory().map(gib),
                gpus: 0,
            },
            gpus: Vec::new(),
            busy_gpus: None,
            cgroups_of: Some(PathBuf::from("/proc/self")),
            process_limit: 8_192,
            environment: process::clean_environment(),
            queue_limit: 1_000,
            time_limit: None,
            grace: Duration::from_secs(5),
            log_limit_bytes: 64 * 1024 * 1024,
        }
    }
}

/// This machine as a workload manager. Dropping it cancels everything and waits for it, which takes the
/// grace at most; [`Self::shutdown`] does the same without blocking a runtime's thread.
#[derive(Debug)]
pub struct LocalMachine {
    commands: Sender<Command>,
    containment: Containment,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LocalMachine {
    /// Opens the machine: takes the state directory, reads the journal, adopts what still runs.
    pub fn open(options: LocalOptions, clock: Arc<dyn Clock>) -> Result<Self, WorkloadError> {
        let directory = &options.state_directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory.join("exits"))
            .map_err(WorkloadError::io("cannot make", directory))?;
        let lock = lock(directory)?;
        gpus::check(&options.gpus)?;
        let cgroups = open_cgroups(&options);
        let containment = match &cgroups {
            Ok(cgroups) => cgroups.containment(),
            Err(why) => Containment::ProcessGroup { reason: why.to_string() },
        };
        match cgroups {
            Err(_) if options.cgroups_of.is_some() => tracing::warn!("jobs are held by {containment}"),
            _ => tracing::info!("jobs are held by {containment}"),
        }
        let (commands, receiver) = std::sync::mpsc::channel();
        let state_directory = directory.clone();
        let supervisor = Supervisor::new(options, cgroups.ok(), clock, commands.clone(), lock)?;
        let thread = std::thread::Builder::new()
            .name("local machine".to_owned())
            .spawn(move || supervisor.run(&receiver))
            .map_err(WorkloadError::io("cannot start a thread for", state_directory))?;
        Ok(Self { commands, containment, thread: Mutex::new(Some(thread)) })
    }

    /// What keeps jobs within their limits here.
    #[must_use]
    pub const fn containment(&self) -> &Containment {
        &self.containment
    }

    /// Cancels every job, waits until all have ended, and takes no more.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Shutdown(Some(done))).is_ok() {
            // The sender is dropped when the supervisor ends.
            let _ended = ended.await;
        }
    }

    /// Lets go of the state directory and leaves every process running, for the next agent to adopt.
    pub async fn detach(self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Detach(done)).is_ok() {
            let _ended = ended.await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, WorkloadError>>) -> Command,
    ) -> Result<T, WorkloadError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| WorkloadError::ShuttingDown)?;
        answer.await.map_err(|_| WorkloadError::ShuttingDown)?
    }
}

impl Drop for LocalMachine {
    fn drop(&mut self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _over = self.commands.send(Command::Shutdown(None));
        if let Some(thread) = thread {
            let _panicked = thread.join();
        }
    }
}

#[async_trait]
impl ReadSide for LocalMachine {
    fn manager(&self) -> &'static str {
        "machine"
    }

    fn held_by(&self) -> Option<String> {
        Some(self.containment.to_string())
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        self.ask(Command::Capacity).await
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        self.ask(Command::Queue).await
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        self.ask(|reply| Command::Estimate(*allocation, reply)).await
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let mut statuses = self.status(std::slice::from_ref(job)).await?;
        let status = statuses.remove(job).ok_or_else(|| WorkloadError::UnknownJob { native: job.clone() })?;
        Ok(status.accounting)
    }
}

#[async_trait]
impl SubmitSide for LocalMachine {
    async fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun, WorkloadError> {
        self.ask(|reply| Command::DryRun(Box::new(request.clone()), reply)).await
    }

    async fn submit(&self, request: SubmitRequest) -> Result<NativeId, WorkloadError> {
        self.ask(|reply| Command::Submit(Box::new(request), reply)).await
    }

    async fn status(&self, jobs: &[NativeId]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        self.ask(|reply| Command::Status(jobs.to_vec(), reply)).await
    }

    async fn cancel(&self, job: &NativeId) -> Result<(), WorkloadError> {
        self.ask(|reply| Command::Cancel(job.clone(), reply)).await
    }

    async fn log_path(&self, job: &NativeId) -> Result<PathBuf, WorkloadError> {
        self.ask(|reply| Command::LogPath(job.clone(), reply)).await
    }
}

fn open_cgroups(options: &LocalOptions) -> Result<Cgroups, Unavailable> {
    let process = options.cgroups_of.as_ref().ok_or(Unavailable::Off)?;
    if !process::has_shell() {
        return Err(Unavailable::NoShell);
    }
    Cgroups::open(process, &options.state_directory)
}

/// Two agents on one journal would start jobs twice.
fn lock(directory: &Path) -> Result<Flock<File>, WorkloadError> {
    let path = directory.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(WorkloadError::io("cannot open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| WorkloadError::InUse(directory.to_owned()))
}

/// The agent's own variables that a job may see.
pub(crate) fn clean_environment() -> BTreeMap<String, String> {
    process::clean_environment()
}

const BYTES_PER_GIB: f64 = 1_073_741_824.0;

fn gib(bytes: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "a size in memory is far below 2^53 bytes")]
    GiB::saturating(bytes as f64 / BYTES_PER_GIB)
}

pub(crate) fn bytes(size: GiB) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let bytes = (size.get() * BYTES_PER_GIB) as u64;
    bytes
}
