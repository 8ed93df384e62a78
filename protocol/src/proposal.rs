//! A worker's answer to a call: verdict, factor scores, promises, claims, evidence, flags.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::error::{ErrorBody, ErrorCode};
use crate::factor::FactorName;
use crate::facts::{AsOf, Flag, Provenance};
use crate::ids::ProposalId;
use crate::units::{Number, Seconds, Timestamp, Usd};

/// Whether the site can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Can, now.
    Ready,
    /// Can, not now.
    Busy,
    /// Can, but a person or a policy has to agree.
    Restricted,
    /// Cannot.
    Incompatible,
    /// Could not find out.
    Unknown,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ready => "READY",
            Self::Busy => "BUSY",
            Self::Restricted => "RESTRICTED",
            Self::Incompatible => "INCOMPATIBLE",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// The id that the call asked for.
    pub proposal_id: ProposalId,
    /// Whether the site can do it.
    pub verdict: Verdict,
    /// A score for each factor of the call that the site could tell.
    #[serde(default)]
    pub factors: BTreeMap<FactorName, FactorScore>,
    /// What the site promises.
    #[serde(default)]
    pub promises: Promises,
    /// Checkable statements that matter to this call.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Conditions, and each constraint that is not met, as data.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
    /// Qualitative problems.
    #[serde(default)]
    pub flags: Vec<Flag>,
    /// A sentence for people; never read by the default selector.
    #[serde(default)]
    pub reasoning: String,
    /// Where the facts came from, by provider.
    #[serde(default)]
    pub evidence: BTreeMap<String, Provenance>,
    /// Until when capacity is kept for this proposal.
    #[serde(default)]
    pub hold_until: Option<Timestamp>,
    /// Whether the hold keeps real capacity (`false`: the manager cannot reserve).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_is_firm: Option<bool>,
    /// The state that a mock site answered for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    /// The provider calls that led here, when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ProviderCall>,
}

/// A site's own score for one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FactorScore {
    /// The score on the factor's scale, from 0 to 1.
    pub score: Number,
    /// The value behind it.
    pub value: Number,
    /// The value's unit.
    pub unit: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
    /// Whether the hub checked the value itself; always false when it leaves a worker.
    #[serde(default)]
    pub verified: bool,
}

/// What a site promises; `None` means that it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Promises {
    /// Half of such starts are earlier than this.
    pub start_p50_seconds: Option<Seconds>,
    /// Nine in ten such starts are earlier than this.
    pub start_p90_seconds: Option<Seconds>,
    /// Run time.
    pub runtime_seconds: Option<Seconds>,
    /// Price of the whole work.
    pub cost_usd: Option<Usd>,
}

/// A constraint of the requirement that is not met, or a condition that the site sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Constraint {
    /// The reason code (`SOFTWARE_MISSING`, `NODES_BUSY`, ...).
    pub code: ReasonCode,
    /// What was wanted.
    pub wanted: String,
    /// What the site has.
    pub had: String,
}

/// Why a constraint is not met, a gate is not passed, or a worker was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// A package is not installed.
    SoftwareMissing,
    /// A package is there, in no version that will do.
    SoftwareVersion,
    /// Fewer nodes exist than asked for.
    NodesTooFew,
    /// The nodes exist but too few are free.
    NodesBusy,
    /// Fewer cores exist than asked for.
    CoresTooFew,
    /// The cores exist but too few are free.
    CoresBusy,
    /// Less memory exists than asked for.
    MemoryTooSmall,
    /// Fewer GPUs exist than asked for.
    GpusTooFew,
    /// The GPUs exist but too few are free.
    GpusBusy,
    /// The GPUs are of another model.
    GpuModel,
    /// The GPUs have too little memory.
    GpuMemory,
    /// None of the acceptable fabrics is there.
    NetworkMissing,
    /// A kind of file system is not there.
    StorageMissing,
    /// A file system has too little free space.
    StorageFull,
    /// None of the acceptable container runtimes is there.
    ContainerMissing,
    /// No MPI implementation is there.
    MpiMissing,
    /// The workload manager is none of the acceptable ones.
    WorkloadManager,
    /// The queue refuses work of this length.
    TimeLimit,
    /// The work would start too late.
    StartTooLate,
    /// The work would end too late.
    DeadlineMissed,
    /// The work would cost more than the budget.
    OverBudget,
    /// A label is missing or has another value.
    LabelMismatch,
    /// The request excludes this worker, its kind or something it would use.
    Excluded,
    /// The worker cannot run this kind of job.
    JobKindUnsupported,
    /// A fact that a constraint needs could not be found out.
    FactUnknown,
    /// The worker says that it cannot, or does not know.
    VerdictNegative,
    /// A hard claim is false.
    ClaimFalse,
    /// The worker did not answer properly.
    NoProposal,
    /// Trust is below the quarantine line.
    Quarantined,
    /// The worker is not online, or is draining.
    NotOnline,
    /// The request named other workers.
    NotNamed,
}

impl ReasonCode {
    /// Whether waiting can cure it: capacity that exists and is taken.
    #[must_use]
    pub const fn is_about_capacity(self) -> bool {
        matches!(self, Self::NodesBusy | Self::CoresBusy | Self::GpusBusy)
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// One call of a provider's read tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderCall {
    /// The provider.
    pub provider: String,
    /// Its tool.
    pub function: String,
    /// The arguments.
    pub args: serde_json::Value,
}

/// What came back from one worker: a proposal, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// A well-formed proposal.
    // Shared: the flow, its events and the answer all carry it.
    Proposal(Arc<Proposal>),
    /// No proposal.
    Missing(NoProposal),
}

impl Reply {
    /// The proposal, if there is one.
    #[must_use]
    pub fn proposal(&self) -> Option<&Proposal> {
        match self {
            Self::Proposal(proposal) => Some(proposal),
            Self::Missing(_) => None,
        }
    }

    /// The proposal's verdict, or `UNKNOWN`.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.proposal().map_or(Verdict::Unknown, |proposal| proposal.verdict)
    }

    /// The reply of a worker that gave no proposal.
    #[must_use]
    pub fn missing(outcome: Outcome, code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Missing(NoProposal {
            verdict: Verdict::Unknown,
            outcome,
            error: ErrorBody { code, message: message.into() },
        })
    }
}

/// A worker that did not answer properly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NoProposal {
    /// Always `UNKNOWN`.
    pub verdict: Verdict,
    /// What happened.
    pub outcome: Outcome,
    /// The same as code and message; the worker's own when it gave one.
    pub error: ErrorBody,
}

/// What happened to a call that brought no proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No answer by the deadline.
    Timeout,
    /// No connection.
    Refused,
    /// The answer is not JSON.
    BadJson,
    /// The answer is JSON of another shape.
    BadSchema,
    /// The answer is larger than allowed.
    TooLarge,
    /// The connection closed in the middle.
    ClosedEarly,
    /// The worker reported an error of its own.
    WorkerError,
    /// The call was never sent.
    NotAsked,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}
