//! The award of a job to a proposal (`accept-proposal`), the worker's answer, and the rejection of
//! the others, which releases their holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::ids::{JobId, NegotiationId, ProposalId, WorkerId};
use crate::job::{AttemptNumber, JobSpec};
use crate::requirement::Requirement;
use crate::units::Timestamp;

/// The hub's acceptance of one proposal. The worker runs what it offered: the specification's digest
/// must equal the one in the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Award {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
    /// The accepted proposal.
    pub proposal_id: ProposalId,
    /// The job that this award starts.
    pub job_id: JobId,
    /// Which try of the job this is.
    pub attempt: AttemptNumber,
    /// The requirement that was offered on.
    pub requirement: Requirement,
    /// What to run.
    pub job: JobSpec,
}

/// What became of an award.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReceiptStatus {
    /// The worker has the job in its ledger and will run it.
    Success,
    /// The worker refused; the job never starts there under this attempt.
    Failed,
}

/// The worker's answer to an award.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Accepted or refused.
    pub status: ReceiptStatus,
    /// The job.
    pub job_id: JobId,
    /// The worker.
    pub worker_id: WorkerId,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// The accepted proposal.
    pub proposal_id: ProposalId,
    /// When the worker wrote the award to its ledger.
    pub received_at: Timestamp,
    /// Why it was refused; with `SUCCESS`, why nobody can tell how the attempt goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// Tells a worker that a proposal was not chosen; its hold is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
    /// The proposal.
    pub proposal_id: ProposalId,
}
