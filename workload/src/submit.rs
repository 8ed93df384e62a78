//! The submit side: taking work in, following it, stopping it. It includes the read side; the
//! reverse conversion does not exist, so a secretary cannot submit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use protocol::error::ErrorBody;
use protocol::facts::Allocation;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::{GiB, Seconds};
use serde::{Deserialize, Serialize};

use crate::error::WorkloadError;
use crate::read::{Accounting, NativeId, ReadSide, RunState, Slots};

/// One attempt of a job, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The job.
    pub job_id: JobId,
    /// Which try of it. Job and attempt together are submitted at most once.
    pub attempt: AttemptNumber,
    /// Program and arguments; no shell reads them.
    pub argv: Vec<String>,
    /// Variables in addition to the manager's clean set. `PARLEY_*` cannot be set here.
    pub environment: BTreeMap<String, String>,
    /// The job's own directory: working directory, log and metrics. It exists already.
    pub directory: PathBuf,
    /// What it takes.
    pub allocation: Allocation,
    /// Memory that is set aside for it and that it must not exceed.
    pub memory_limit: Option<GiB>,
    /// Wall-clock limit, counted from the start of its process.
    pub time_limit: Option<Seconds>,
}

/// What a manager says to a request that was not submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// What it would take.
    pub takes: Slots,
    /// Whether it would start at once.
    pub starts_now: bool,
}

/// Where one job stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What is on record of it.
    pub accounting: Accounting,
    /// Why it did not end well.
    pub error: Option<ErrorBody>,
    /// Bytes of output that were dropped because the log is bounded.
    pub log_dropped_bytes: u64,
}

impl Status {
    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> RunState {
        self.accounting.state
    }
}

/// What the worker that runs accepted work asks its workload manager.
#[async_trait]
pub trait SubmitSide: ReadSide {
    /// Everything that `submit` would check, without a trace.
    async fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun, WorkloadError>;

    /// Takes the job in. When this returns, the job survives a crash of the caller. The same job and
    /// attempt again gives the same id and starts nothing; with another request it is a conflict.
    async fn submit(&self, request: SubmitRequest) -> Result<NativeId, WorkloadError>;

    /// Where jobs stand, many at once; a job that is not known is missing from the answer.
    async fn status(&self, jobs: &[NativeId]) -> Result<BTreeMap<NativeId, Status>, WorkloadError>;

    /// Asks a job to stop; returns before it has. A job that is over stays as it is.
    async fn cancel(&self, job: &NativeId) -> Result<(), WorkloadError>;

    /// The file that holds the job's output, both streams in one; it need not exist yet.
    async fn log_path(&self, job: &NativeId) -> Result<PathBuf, WorkloadError>;
}
