//! What happened at the hub, in the order in which it was stored. An event is stored before it is
//! acted on; folding all of them gives the hub's whole state, trust included.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::award::Receipt;
use crate::evaluation::{Evaluation, Selection};
use crate::fleet::Manifest;
use crate::ids::{JobId, NegotiationId, PrincipalId, ProposalId, WorkerId};
use crate::job::{AttemptNumber, AttemptReport, Job};
use crate::negotiation::Negotiation;
use crate::proposal::{Promises, Reply};
use crate::trust::TrustEvidence;
use crate::units::{Seconds, Timestamp};

/// An event with its place in the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredEvent {
    /// Its number, counted from 1 without gaps.
    pub sequence: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// Whose request caused it.
    pub owner: PrincipalId,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A worker joined, or joined again with other particulars.
    WorkerJoined {
        /// Its name.
        worker_id: WorkerId,
        /// Its public key; none for a predecessor's worker.
        key: Option<String>,
        /// Where the hub reaches it; none when it is reached over its link only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Its static facts.
        manifest: Box<Manifest>,
        /// Its instance.
        boot_id: String,
    },
    /// A worker said goodbye.
    WorkerLeft {
        /// Its name.
        worker_id: WorkerId,
    },
    /// Calls are about to go out.
    NegotiationOpened {
        /// The negotiation, still without answers.
        negotiation: Box<Negotiation>,
    },
    /// The answers are in and judged.
    NegotiationDecided {
        /// The negotiation.
        negotiation_id: NegotiationId,
        /// What each asked worker answered.
        proposals: BTreeMap<WorkerId, Reply>,
        /// What the hub made of it.
        evaluations: BTreeMap<WorkerId, Evaluation>,
        /// The choice.
        selection: Option<Selection>,
        /// How long it took.
        elapsed_seconds: Seconds,
        /// What it taught about the workers.
        evidence: Vec<TrustEvidence>,
    },
    /// A job was accepted; from here on it is never forgotten.
    JobAccepted {
        /// The job.
        job: Box<Job>,
    },
    /// An award is about to be offered.
    AwardOffered {
        /// The negotiation.
        negotiation_id: NegotiationId,
        /// The job.
        job_id: JobId,
        /// The attempt.
        attempt: AttemptNumber,
        /// The worker.
        worker_id: WorkerId,
        /// Its proposal.
        proposal_id: ProposalId,
        /// What the proposal promised, to be compared with what is delivered.
        promised: Promises,
    },
    /// The worker answered to the award, or could not be reached.
    AwardAnswered {
        /// The negotiation.
        negotiation_id: NegotiationId,
        /// The answer.
        receipt: Receipt,
    },
    /// Every worker in the order refused the job.
    AwardsExhausted {
        /// The negotiation.
        negotiation_id: NegotiationId,
        /// The job.
        job_id: JobId,
    },
    /// A worker reported about an attempt. The log text is kept in a file, not here.
    AttemptReported {
        /// The worker.
        worker_id: WorkerId,
        /// The report.
        report: Box<AttemptReport>,
        /// What it taught about the worker.
        evidence: Vec<TrustEvidence>,
    },
    /// A client asked to stop a job.
    CancelRequested {
        /// The job.
        job_id: JobId,
    },
    /// A file was stored.
    ArtifactStored {
        /// The file.
        artifact: Artifact,
    },
}
