//! Work: its specification by kind, its states, its attempts, and what came of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::error::ErrorBody;
use crate::ids::{Digest, JobId, NegotiationId, PrincipalId, ProposalId, WorkerId};
use crate::proposal::Promises;
use crate::units::{GiB, Number, Seconds, Timestamp, Usd};

/// The kinds of work that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Any program.
    Command,
    /// A backtest of a trading strategy on prices.
    Backtest,
    /// Training and evaluation of a model on tabular data.
    MlExperiment,
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Backtest => "backtest",
            Self::MlExperiment => "ml_experiment",
        })
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "spec", rename_all = "snake_case")]
pub enum JobSpec {
    /// Any program.
    Command(CommandSpec),
    /// A backtest.
    Backtest(BacktestSpec),
    /// An ML experiment.
    MlExperiment(MlExperimentSpec),
}

impl JobSpec {
    /// The kind of the work.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Command(_) => JobKind::Command,
            Self::Backtest(_) => JobKind::Backtest,
            Self::MlExperiment(_) => JobKind::MlExperiment,
        }
    }

    /// Digest of the canonical JSON, which an award is checked against.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }

    /// The data that the job reads, if its kind has any.
    pub fn data_mut(&mut self) -> Option<&mut DataRef> {
        match self {
            Self::Command(_) => None,
            Self::Backtest(spec) => Some(&mut spec.data),
            Self::MlExperiment(spec) => Some(&mut spec.data),
        }
    }

    /// The data that the job reads, if its kind has any.
    #[must_use]
    pub const fn data(&self) -> Option<&DataRef> {
        match self {
            Self::Command(_) => None,
            Self::Backtest(spec) => Some(&spec.data),
            Self::MlExperiment(spec) => Some(&spec.data),
        }
    }
}

/// Any program: argv, never a shell line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSpec {
    /// Program and arguments. Empty when the request names software but no command line: a mock site
    /// then simulates the run, a real one refuses it.
    pub argv: Vec<String>,
    /// Environment variables in addition to the worker's clean set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The software that runs, where argv is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// File patterns in the job directory to keep as artifacts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Wall-clock limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_seconds: Option<Seconds>,
}

/// A file that a job reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataRef {
    /// A path on the worker, or `parley://artifact/ID` for a file that the hub holds.
    pub uri: String,
    /// Digest that the bytes must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// The column that holds the prices or the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The column that holds the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_column: Option<String>,
}

/// A backtest of one strategy on one price series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacktestSpec {
    /// The prices: CSV with a time column and either OHLC columns or one price column.
    pub data: DataRef,
    /// The strategy.
    #[serde(default)]
    pub strategy: Strategy,
    /// Cash and sizing.
    #[serde(default)]
    pub portfolio: Portfolio,
    /// Fees and slippage.
    #[serde(default)]
    pub costs: Costs,
    /// When an order is filled.
    #[serde(default)]
    pub fill: FillRule,
    /// Periods in a year, for Sharpe and Sortino; absent means 252 for daily data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annualisation: Option<Number>,
}

/// A trading strategy with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", content = "params", rename_all = "snake_case")]
pub enum Strategy {
    /// Buy at the first fill and keep.
    BuyAndHold,
    /// Buys when the fast moving average crosses above the slow one, sells when it crosses below.
    SmaCross {
        /// Bars of the fast average.
        fast: u32,
        /// Bars of the slow average.
        slow: u32,
    },
}

impl Default for Strategy {
    fn default() -> Self {
        Self::SmaCross { fast: 10, slow: 50 }
    }
}

/// Cash and sizing: all in, fractional units, long only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Portfolio {
    /// Cash at the start, in the currency of the prices.
    pub cash: Number,
}

impl Default for Portfolio {
    fn default() -> Self {
        Self { cash: Number::from(10_000) }
    }
}

/// What trading costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Costs {
    /// Share of each order's value.
    pub fee_rate: Number,
    /// Worsening of each fill in basis points of the price.
    pub slippage_bps: Number,
}

impl Default for Costs {
    fn default() -> Self {
        Self { fee_rate: Number::saturating(0.002), slippage_bps: Number::ZERO }
    }
}

/// When an order is filled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FillRule {
    /// At the open of the bar after the signal; where a series has one price per bar, at that price.
    #[default]
    NextOpen,
    /// At the close of the bar that gives the signal, which looks ahead by one price.
    Close,
}

/// Training and evaluation of a model on tabular data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MlExperimentSpec {
    /// The table.
    pub data: DataRef,
    /// The model.
    pub model: ModelSpec,
    /// Conditions for deploying the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<GateCheck>,
}

/// A model and its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The algorithm.
    pub algo: Algorithm,
    /// Its parameters by name (`trees`, `depth`, `learning_rate`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Number>,
    /// Seed of everything random in the training.
    #[serde(default)]
    pub seed: u64,
}

/// The algorithms that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Gradient-boosted trees.
    Gbdt,
    /// Random forest.
    RandomForest,
    /// Logistic regression.
    Logistic,
    /// Linear regression.
    Linear,
}

/// One condition on a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateCheck {
    /// The metric, lower case (`f1`, `auc`, `rmse`).
    pub metric: String,
    /// The comparison: `>=`, `>`, `<=`, `<`, `==`.
    pub op: String,
    /// The bound.
    pub value: Number,
}

/// The number of a try, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AttemptNumber(pub u32);

impl AttemptNumber {
    /// The first try.
    pub const FIRST: Self = Self(1);

    /// The try after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, not yet negotiated.
    Pending,
    /// Waits for another job or artifact.
    Blocked,
    /// A place is being looked for.
    Negotiating,
    /// At a worker, in its queue or running.
    Running,
    /// Asked to stop.
    Cancelling,
    /// Done.
    Completed,
    /// Did not work.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Nobody can tell whether it ran.
    Unknown,
}

impl JobState {
    /// Whether the state never changes again by itself.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Unknown)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Where one try stands. `Lost` and `Disconnected` exist for attempts only, never for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// The award is being offered to the worker.
    Offered,
    /// The worker refused; this attempt never starts.
    Rejected,
    /// In the worker's ledger, waiting in its queue.
    Queued,
    /// The process runs.
    Running,
    /// Exited with success.
    Succeeded,
    /// Exited with failure.
    Failed,
    /// Stopped by its time limit.
    TimedOut,
    /// Stopped on request.
    Cancelled,
    /// The worker is silent; nothing is known to have stopped.
    Disconnected,
    /// Proven stopped without a result.
    Lost,
    /// Nobody can tell whether it started or how it ended.
    Unknown,
}

impl AttemptState {
    /// Whether the attempt will never change again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Rejected
                | Self::Succeeded
                | Self::Failed
                | Self::TimedOut
                | Self::Cancelled
                | Self::Lost
                | Self::Unknown
        )
    }
}

impl std::fmt::Display for AttemptState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// One try of a job at one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Its number.
    pub attempt: AttemptNumber,
    /// Where it runs.
    pub worker_id: WorkerId,
    /// The proposal that it fulfils.
    pub proposal_id: ProposalId,
    /// Where it stands.
    pub state: AttemptState,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The exit code of its process.
    pub exit_code: Option<i32>,
}

/// What was observed of a finished or running attempt, to be compared with what was promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Observed {
    /// Seconds from the award to the start of the process.
    pub start_seconds: Option<Seconds>,
    /// Seconds from start to end.
    pub runtime_seconds: Option<Seconds>,
    /// What it cost.
    pub cost_usd: Option<Usd>,
    /// The most memory that its processes held together, as the kernel or the workload manager counted it.
    pub peak_memory_gib: Option<GiB>,
    /// Hours that it had GPUs for itself, each GPU counted; how busy it kept them is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_hours: Option<Number>,
}

/// A job as the hub shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// The kind of its work.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Whether its worker is silent, so that the state may be old.
    pub stale: bool,
    /// The worker of the latest attempt.
    pub worker_id: Option<WorkerId>,
    /// The negotiation that placed it.
    pub negotiation_id: Option<NegotiationId>,
    /// Who asked for it.
    pub owner: PrincipalId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it runs.
    pub spec: JobSpec,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// What the winning proposal promised.
    pub promised: Promises,
    /// What was observed.
    pub observed: Observed,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, Number>,
    /// What it produced.
    pub artifacts: Vec<Artifact>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
}

/// One value of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The metric's name.
    pub name: String,
    /// Its value.
    pub value: Number,
    /// The step that it belongs to, counted by the job.
    #[serde(default)]
    pub step: Option<u64>,
}

/// What a worker reports about one attempt. Reports of an attempt are numbered from 1 without gaps;
/// the hub takes each number once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptReport {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// Number of this report.
    pub sequence: u64,
    /// When it was made, by the worker's clock.
    pub reported_at: Timestamp,
    /// Where the attempt stands now.
    pub state: AttemptState,
    /// New output of the job since the last report.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Bytes of output before this report's, so that a report taken twice writes the same log.
    #[serde(default)]
    pub log_offset: u64,
    /// New metric values since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What was observed so far.
    #[serde(default)]
    pub observed: Observed,
    /// The exit code, once there is one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// What the attempt produced, with its last report; the bytes were uploaded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<ErrorBody>,
}
