//! The read side: what a secretary may ask. Nothing here changes anything.

use async_trait::async_trait;
use protocol::facts::{Allocation, NodeGroup, StartEstimate};
use protocol::ids::JobId;
use protocol::job::{AttemptNumber, AttemptState, Observed};
use protocol::units::{GiB, Seconds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::WorkloadError;

/// A workload manager's own name for a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NativeId(pub String);

impl std::fmt::Display for NativeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Cores, memory and GPUs: what a manager has, what is free of it, or what a job takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Slots {
    /// Processor cores.
    pub cores: u32,
    /// Memory; none where the manager does not say, or none was asked for.
    pub memory_gib: Option<GiB>,
    /// GPUs.
    pub gpus: u32,
}

/// What a manager has and how busy it is, for one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Everything.
    pub total: Slots,
    /// What no running job has taken.
    pub free: Slots,
    /// Jobs that run.
    pub running: u32,
    /// Jobs that wait.
    pub queued: u32,
    /// The longest run time that is accepted; none means no limit.
    pub time_limit: Option<Seconds>,
    /// Whether new jobs are taken.
    pub accepting: bool,
}

/// A queue or partition that takes work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name; groups of nodes are named by their partitions, joined with commas.
    pub name: String,
    /// The longest run time that it accepts; none means no limit.
    pub time_limit: Option<Seconds>,
}

/// The nodes that a manager hands out, where it has several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The manager's version.
    pub version: Option<String>,
    /// Queues or partitions that take work.
    pub partitions: Vec<Partition>,
    /// Nodes in service, in groups of equals.
    pub groups: Vec<NodeGroup>,
    /// Nodes that are not in service.
    pub nodes_out: u32,
    /// Whether the machine that asks is one of the nodes.
    pub has_this_machine: bool,
}

/// One job in the queue or on the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedJob {
    /// The manager's id.
    pub native: NativeId,
    /// Our job; none for a job of somebody else.
    pub job_id: Option<JobId>,
    /// Its attempt; none for a job of somebody else.
    pub attempt: Option<AttemptNumber>,
    /// Waiting or running.
    pub state: RunState,
    /// What it takes.
    pub takes: Slots,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// Its time limit.
    pub time_limit: Option<Seconds>,
}

/// Where a job stands at its workload manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for capacity.
    Queued,
    /// Its process runs.
    Running,
    /// Ended with exit code 0.
    Completed,
    /// Ended with another exit code, by a signal, or could not be started.
    Failed,
    /// Stopped by its time limit.
    TimedOut,
    /// Stopped on request, or taken out of the queue.
    Cancelled,
    /// Gone, and nobody can tell how it ended.
    Unknown,
}

impl RunState {
    /// Whether the state never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl From<RunState> for AttemptState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Queued => Self::Queued,
            RunState::Running => Self::Running,
            RunState::Completed => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::TimedOut => Self::TimedOut,
            RunState::Cancelled => Self::Cancelled,
            RunState::Unknown => Self::Unknown,
        }
    }
}

/// What is on record of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    /// Where it stands.
    pub state: RunState,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Exit code; 128 plus the signal's number where a signal ended it.
    pub exit_code: Option<i32>,
    /// The most memory that its processes held together: the kernel's or the manager's figure, or as far as
    /// sampling saw.
    pub peak_memory_gib: Option<GiB>,
}

impl Accounting {
    /// What is compared with the promises. The price is not the manager's to know.
    #[must_use]
    pub fn observed(&self) -> Observed {
        Observed {
            start_seconds: self.started_at.map(|started| started.since(self.received_at)),
            runtime_seconds: self.started_at.zip(self.ended_at).map(|(started, ended)| ended.since(started)),
            cost_usd: None,
            peak_memory_gib: self.peak_memory_gib,
            gpu_hours: None,
        }
    }
}

/// What a secretary may ask a workload manager.
#[async_trait]
pub trait ReadSide: Send + Sync {
    /// The manager's name as it stands in facts (`machine`, `slurm`, `pbs`, `kubernetes`, ...).
    fn manager(&self) -> &'static str;

    /// Whether what leads to it is on this machine at all: its commands, its configuration. Without that it
    /// is absent and not broken.
    fn is_installed(&self) -> bool {
        true
    }

    /// How jobs are kept within their limits, in words, where that is for us to do.
    fn held_by(&self) -> Option<String> {
        None
    }

    /// The nodes of the site; `None` where the manager has just this machine.
    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        Ok(None)
    }

    /// What there is and what is free.
    async fn capacity(&self) -> Result<Capacity, WorkloadError>;

    /// The running and waiting jobs, in the order in which they were or will be started.
    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError>;

    /// When work of this size, submitted now, would start; `None` when nobody can tell or it never would.
    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError>;

    /// What is on record of one job.
    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError>;
}
