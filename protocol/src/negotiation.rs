//! The record of one negotiation, as clients see it and as it is stored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::award::Receipt;
use crate::evaluation::{AuditMode, Evaluation, Reason, Selection};
use crate::ids::{JobId, NegotiationId, PrincipalId, WorkerId};
use crate::proposal::Reply;
use crate::request::Request;
use crate::requirement::Requirement;
use crate::understanding::{Intent, NotUnderstood, Understanding, Weights};
use crate::units::{Seconds, Timestamp};

/// How far a negotiation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Ask only.
    Satisfy,
    /// Ask and choose.
    Select,
    /// Ask with holds, choose, award, run.
    Negotiate,
}

/// How far a negotiation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Calls are out.
    Asking,
    /// Proposals are in and evaluated; no award is wanted, or none was possible.
    Decided,
    /// An award is offered to a worker.
    Awarding,
    /// A worker accepted.
    Awarded,
    /// Every worker in the order refused.
    Refused,
}

/// A negotiation with everything that was decided in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Negotiation {
    /// Its id.
    pub negotiation_id: NegotiationId,
    /// Who asked.
    pub owner: PrincipalId,
    /// When.
    pub created_at: Timestamp,
    /// How far it goes.
    pub mode: Mode,
    /// How far it has come.
    pub stage: Stage,
    /// What was asked.
    pub request: Request,
    /// What was understood.
    pub understanding: Understanding,
    /// When false claims count.
    pub audit_mode: AuditMode,
    /// The tick that mock sites answered for.
    pub as_of_tick: u64,
    /// What each asked worker answered.
    pub proposals: BTreeMap<WorkerId, Reply>,
    /// What the hub made of it.
    pub evaluations: BTreeMap<WorkerId, Evaluation>,
    /// Workers that were not asked, and why.
    pub excluded: BTreeMap<WorkerId, Vec<Reason>>,
    /// The choice.
    pub selection: Option<Selection>,
    /// The accepted or last refused award.
    pub receipt: Option<Receipt>,
    /// The job that it placed.
    pub job_id: Option<JobId>,
    /// How long asking and deciding took.
    pub elapsed_seconds: Seconds,
}

/// A negotiation as the client commands print it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NegotiationView {
    /// Its id.
    pub negotiation_id: NegotiationId,
    /// What was understood.
    pub requirement: Requirement,
    /// What matters most.
    pub intent: Intent,
    /// How much each factor matters.
    pub weights: Weights,
    /// What was not understood.
    pub not_understood: Vec<NotUnderstood>,
    /// What is missing before the work can run.
    pub missing: Vec<String>,
    /// What each asked worker answered.
    pub proposals: BTreeMap<WorkerId, Reply>,
    /// What the hub made of it.
    pub evaluations: BTreeMap<WorkerId, Evaluation>,
    /// Workers that were not asked, and why.
    pub excluded: BTreeMap<WorkerId, Vec<Reason>>,
    /// How long it took.
    pub elapsed_seconds: Seconds,
    /// The choice, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
}

impl From<Negotiation> for NegotiationView {
    fn from(negotiation: Negotiation) -> Self {
        let Understanding { requirement, intent, weights, not_understood, missing, .. } =
            negotiation.understanding;
        Self {
            negotiation_id: negotiation.negotiation_id,
            requirement,
            intent,
            weights,
            not_understood,
            missing,
            proposals: negotiation.proposals,
            evaluations: negotiation.evaluations,
            excluded: negotiation.excluded,
            elapsed_seconds: negotiation.elapsed_seconds,
            selection: negotiation.selection,
        }
    }
}

/// What a client that waits is told while a negotiation runs, one notice for each step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// Calls went out.
    Asked {
        /// The negotiation.
        negotiation_id: NegotiationId,
        /// What was understood.
        understanding: Box<Understanding>,
        /// The workers that were asked.
        workers: Vec<WorkerId>,
        /// Those that were not, and why.
        excluded: BTreeMap<WorkerId, Vec<Reason>>,
    },
    /// A worker answered, or its time was up.
    Answered {
        /// The worker.
        worker_id: WorkerId,
        /// In short: a verdict, or an outcome.
        answer: String,
        /// How many have answered.
        answered: u32,
        /// How many were asked.
        asked: u32,
    },
    /// The choice was made.
    Selected {
        /// The choice.
        selection: Selection,
    },
    /// An award was offered.
    Awarding {
        /// To this worker.
        worker_id: WorkerId,
    },
    /// The worker answered to the award.
    Receipt {
        /// Its answer.
        receipt: Receipt,
    },
}
