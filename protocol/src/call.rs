//! The call for proposals (Contract Net `cfp`): what a worker is asked. It carries no weight, no
//! intent, no prompt and nothing of other workers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::ids::{Digest, NegotiationId, ProposalId};
use crate::job::JobKind;
use crate::requirement::Requirement;
use crate::units::Seconds;

/// A call for one proposal from one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The negotiation that this call belongs to.
    pub negotiation_id: NegotiationId,
    /// The id that the worker's proposal must carry; drawn by the hub, different for each worker.
    pub proposal_id: ProposalId,
    /// The hard constraints.
    pub requirement: Requirement,
    /// The factors to report, without their weights.
    pub factors: Vec<Factor>,
    /// The kind of the work and the digest of its specification, once it is known; the award carries
    /// the specification itself and must match.
    pub job: Option<JobOutline>,
    /// Seconds from receipt until the proposal must have left the worker.
    pub deadline_seconds: Seconds,
    /// How long to keep capacity for the proposal; absent means no hold.
    pub hold_seconds: Option<Seconds>,
    /// The tick that a mock site must answer for; real sites ignore it.
    pub as_of_tick: u64,
    /// Whether the proposal should carry the trace of provider calls.
    pub verbose: bool,
}

/// What a worker may know of a job before it is awarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobOutline {
    /// The kind of the work.
    pub kind: JobKind,
    /// Digest of the specification's canonical JSON.
    pub digest: Digest,
}
