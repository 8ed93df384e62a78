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
use crate::local::{METRICS_NAME, clean_environment};
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
    /// How and where it is to run, beyond its size.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// Memory that is set aside for it and that it must not exceed.
    pub memory_limit: Option<GiB>,
    /// Wall-clock limit, counted from the start of its process.
    pub time_limit: Option<Seconds>,
}

impl SubmitRequest {
    /// The program, after the checks of words and variables that hold at every manager.
    pub(crate) fn program(&self) -> Result<&str, WorkloadError> {
        let refuse = |field, reason: String| Err(WorkloadError::Refused { field, reason });
        for (name, value) in &self.environment {
            let good = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            if !good || name.starts_with("PARLEY_") {
                return refuse("environment", format!("{name:?} cannot be set for a job"));
            }
        }
        if self.argv.iter().any(|word| word.contains('\0')) {
            return refuse("argv", "a word has a zero byte in it".to_owned());
        }
        match self.argv.first() {
            Some(program) => Ok(program),
            None => refuse("argv", "it is empty; name a program".to_owned()),
        }
    }

    /// The whole environment of the job on a node: a clean set, what the request says, what we say.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = clean_environment();
        variables.extend(self.own_variables());
        variables
    }

    /// What the request says and what we say, for a job that has an environment already.
    pub(crate) fn own_variables(&self) -> BTreeMap<String, String> {
        let ours = [
            ("PARLEY_JOB_ID", self.job_id.to_string()),
            ("PARLEY_ATTEMPT", self.attempt.to_string()),
            ("PARLEY_METRICS", self.directory.join(METRICS_NAME).display().to_string()),
        ];
        let mut variables = self.environment.clone();
        variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        variables
    }
}

/// How and where work is to run, in the words of managers that place it on nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// How long the work is thought to run. It is no limit; a manager whose queues have limits of their own
    /// asks for enough time.
    pub expected_runtime: Option<Seconds>,
    /// Processes (MPI ranks) that the cores are for; they share the cores evenly.
    pub tasks: Option<u32>,
    /// Short model name of the GPUs (`h100`).
    pub gpu_model: Option<String>,
    /// The queue or partition.
    pub partition: Option<String>,
    /// Whom the work is charged to.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Features that its nodes must have, in the manager's own syntax.
    pub constraint: Option<String>,
}

impl Placement {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// With what the site's operator chose where nothing is said.
    pub(crate) fn with_defaults(&self, defaults: &Self) -> Self {
        Self {
            expected_runtime: self.expected_runtime,
            tasks: self.tasks,
            gpu_model: self.gpu_model.clone(),
            partition: self.partition.clone().or_else(|| defaults.partition.clone()),
            account: self.account.clone().or_else(|| defaults.account.clone()),
            qos: self.qos.clone().or_else(|| defaults.qos.clone()),
            constraint: self.constraint.clone().or_else(|| defaults.constraint.clone()),
        }
    }
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
