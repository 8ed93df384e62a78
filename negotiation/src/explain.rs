//! Why each worker won or lost, and what would have changed it: as data, which
//! a client puts into words.
//!
//! Everything comes from the stored negotiation, so an old decision can be explained as it was made.
//! What would have changed it is exact for the `weighted` strategy: the final score is a product, so
//! the factor value, trust or missing flag that closes the gap to the first can be solved for.

mod what_if;

pub use what_if::WhatIf;

use std::collections::BTreeMap;

use protocol::evaluation::{
    Adjustment, AuditFinding, AuditResult, Contribution, Evaluation, Gate, Selection,
};
use protocol::factor::FactorName;
use protocol::ids::{NegotiationId, WorkerId};
use protocol::negotiation::Negotiation;
use protocol::proposal::Verdict;
use protocol::units::Number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole negotiation, explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
    /// The choice.
    pub selection: Option<Selection>,
    /// Each worker of the fleet.
    pub workers: BTreeMap<WorkerId, WorkerExplanation>,
}

/// Where a worker came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was chosen.
    Chosen,
    /// It passed the gates and another was chosen.
    Passed,
    /// A gate failed.
    Failed,
    /// It was not asked.
    NotAsked,
}

/// One worker, explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerExplanation {
    /// Where it came out.
    pub standing: Standing,
    /// What it said itself.
    pub verdict: Verdict,
    /// Hard pass or fail, with every reason.
    pub gate: Gate,
    /// Claims that the hub found to be untrue.
    pub untrue: Vec<AuditFinding>,
    /// What each factor contributed.
    pub contributions: BTreeMap<FactorName, Contribution>,
    /// Penalties for stated problems.
    pub adjustments: Vec<Adjustment>,
    /// The score before trust and adjustments.
    pub score: Number,
    /// The trust that multiplied it.
    pub trust: Number,
    /// The score that counted.
    pub r#final: Number,
    /// Its place among those that passed.
    pub rank: Option<u32>,
    /// What would have changed the outcome.
    pub what_if: Vec<WhatIf>,
}

/// Explains a negotiation.
#[must_use]
pub fn explain(negotiation: &Negotiation) -> Explanation {
    let chosen = negotiation.selection.as_ref().and_then(|selection| selection.worker_id.as_ref());
    let mut workers: BTreeMap<WorkerId, WorkerExplanation> = negotiation
        .excluded
        .iter()
        .map(|(worker, reasons)| {
            let gate = Gate { passed: false, failed: reasons.clone() };
            (worker.clone(), not_asked(gate))
        })
        .collect();
    let alternatives = what_if::Alternatives::of(negotiation);
    for (worker, evaluation) in &negotiation.evaluations {
        let standing = match (chosen == Some(worker), evaluation.gate.passed) {
            (true, _) => Standing::Chosen,
            (false, true) => Standing::Passed,
            (false, false) => Standing::Failed,
        };
        let verdict = negotiation.proposals.get(worker).map_or(Verdict::Unknown, |reply| reply.verdict());
        let what_if = alternatives.for_worker(worker, evaluation);
        workers.insert(worker.clone(), judged(standing, verdict, evaluation, what_if));
    }
    Explanation {
        negotiation_id: negotiation.negotiation_id.clone(),
        selection: negotiation.selection.clone(),
        workers,
    }
}

fn judged(
    standing: Standing,
    verdict: Verdict,
    evaluation: &Evaluation,
    what_if: Vec<WhatIf>,
) -> WorkerExplanation {
    let untrue = |finding: &&AuditFinding| matches!(finding.result, AuditResult::Over | AuditResult::Under);
    WorkerExplanation {
        standing,
        verdict,
        gate: evaluation.gate.clone(),
        untrue: evaluation.audit.iter().filter(untrue).cloned().collect(),
        contributions: evaluation.contributions.clone(),
        adjustments: evaluation.adjustments.clone(),
        score: evaluation.score,
        trust: evaluation.trust,
        r#final: evaluation.r#final,
        rank: evaluation.rank,
        what_if,
    }
}

fn not_asked(gate: Gate) -> WorkerExplanation {
    WorkerExplanation {
        standing: Standing::NotAsked,
        verdict: Verdict::Unknown,
        gate,
        untrue: Vec::new(),
        contributions: BTreeMap::new(),
        adjustments: Vec::new(),
        score: Number::ZERO,
        trust: Number::ZERO,
        r#final: Number::ZERO,
        rank: None,
        what_if: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
