//! Judges every answer: audit, gate, score, trust, rank.
//!
//! The order is by final score; ties go to the earlier P90 start, then to the worker that was chosen
//! least recently, then to the lower worker id, so the same input has the same winner.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::evaluation::{Adjustment, AuditFinding, AuditMode, Contribution, Evaluation, Gate};
use protocol::factor::Factor;
use protocol::facts::Facts;
use protocol::ids::{ProposalId, WorkerId};
use protocol::proposal::Reply;
use protocol::requirement::Requirement;
use protocol::trust::TrustRecord;
use protocol::understanding::Weights;
use protocol::units::{Number, Timestamp};

use crate::audit::audit;
use crate::belief::Belief;
use crate::gate::{GateInput, gate};
use crate::method::{Method, aggregate};
use crate::score::{adjustments, caution, delivery_lower_bound, discount, normal_weights};

/// Everything that an evaluation depends on.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationInput<'a> {
    /// The hard constraints.
    pub requirement: &'a Requirement,
    /// The factors of the call.
    pub factors: &'a [Factor],
    /// How much each of them matters.
    pub weights: &'a Weights,
    /// When false claims count.
    pub mode: AuditMode,
    /// How several utilities become one score.
    pub method: Method,
    /// What each asked worker answered.
    pub proposals: &'a BTreeMap<WorkerId, Reply>,
    /// The complete facts of the sites whose truth the hub knows, for the state that each answered
    /// for: less the holds and awards that the site lists and the hub knows of, and every award that
    /// was in force before the call, listed or not, so that none can be hidden. `as_of` says which.
    pub truth: &'a BTreeMap<WorkerId, Arc<Facts>>,
    /// What is known of each worker; one without a record is a newcomer.
    pub trust: &'a BTreeMap<WorkerId, TrustRecord>,
    /// The workers that the request names.
    pub named: &'a [WorkerId],
    /// Proposals whose holds and awards went into the truth.
    pub known_taken: &'a BTreeSet<ProposalId>,
    /// When each worker last won.
    pub last_chosen: &'a BTreeMap<WorkerId, Timestamp>,
}

impl<'a> EvaluationInput<'a> {
    /// The truth about a worker's site, where the hub knows it.
    #[must_use]
    pub fn truth_of(&self, worker: &WorkerId) -> Option<&'a Facts> {
        self.truth.get(worker).map(Arc::as_ref)
    }

    /// What is believed of a worker's proposal, if it made one.
    #[must_use]
    pub fn belief(&self, worker: &WorkerId) -> Option<Belief<'a>> {
        let proposal = self.proposals.get(worker)?.proposal()?;
        Some(Belief::of(self.requirement, proposal, self.truth_of(worker), self.mode))
    }
}

/// One worker's answer on its way to an evaluation.
struct Judged<'a> {
    worker: &'a WorkerId,
    answered: bool,
    gate: Gate,
    audit: Vec<AuditFinding>,
    adjustments: Vec<Adjustment>,
    adjustment: f64,
    delivery: f64,
    utilities: Vec<f64>,
    discounted: Vec<f64>,
    start_p90: f64,
    score: f64,
    trusted_score: f64,
}

/// The hub's judgement of every answer.
#[must_use]
pub fn evaluate(input: &EvaluationInput<'_>) -> BTreeMap<WorkerId, Evaluation> {
    let weights = normal_weights(input.factors, input.weights);
    let caution = caution(input.requirement);
    let newcomer = TrustRecord::default();
    let mut judged: Vec<Judged<'_>> = input
        .proposals
        .iter()
        .map(|(worker, reply)| {
            let trust = input.trust.get(worker).unwrap_or(&newcomer);
            judge(input, worker, reply, trust, caution)
        })
        .collect();
    aggregate_scores(input.method, &mut judged, &weights);
    let ranks = ranks(input, &judged);
    judged
        .into_iter()
        .zip(ranks)
        .map(|(judged, rank)| (judged.worker.clone(), evaluation(input.factors, &weights, judged, rank)))
        .collect()
}

fn judge<'a>(
    input: &EvaluationInput<'a>,
    worker: &'a WorkerId,
    reply: &'a Reply,
    trust: &TrustRecord,
    caution: f64,
) -> Judged<'a> {
    let truth = input.truth_of(worker);
    let proposal = reply.proposal();
    let belief = proposal.map(|proposal| Belief::of(input.requirement, proposal, truth, input.mode));
    let findings = proposal.map_or_else(Vec::new, |proposal| {
        audit(input.requirement, input.factors, proposal, truth, input.known_taken)
    });
    let gate = gate(
        input.requirement,
        GateInput {
            reply,
            belief: belief.as_ref(),
            findings: &findings,
            trust,
            named: input.named.contains(worker),
            mode: input.mode,
        },
    );
    let (adjustments, adjustment) =
        belief.map_or_else(|| (Vec::new(), 1.0), |belief| adjustments(belief.flags));
    let mut utilities = Vec::new();
    let mut discounted = Vec::new();
    if let Some(belief) = &belief {
        utilities.reserve_exact(input.factors.len());
        discounted.reserve_exact(input.factors.len());
        for factor in input.factors {
            let stated = belief.utility(factor);
            utilities.push(stated.utility);
            discounted.push(discount(stated.utility, stated.verified, trust.claim.expectation.get()));
        }
    }
    Judged {
        worker,
        answered: belief.is_some(),
        gate,
        audit: findings,
        adjustments,
        adjustment,
        delivery: delivery_lower_bound(&trust.delivery, caution),
        utilities,
        discounted,
        start_p90: belief.and_then(|belief| belief.start()).unwrap_or(f64::INFINITY),
        score: 0.0,
        trusted_score: 0.0,
    }
}

/// Fills in the scores. A relative method looks at the candidates that passed and at nothing else.
fn aggregate_scores(method: Method, judged: &mut [Judged<'_>], weights: &[f64]) {
    let mut scored: Vec<&mut Judged<'_>> =
        judged.iter_mut().filter(|one| one.answered && (one.gate.passed || !method.is_relative())).collect();
    let plain: Vec<&[f64]> = scored.iter().map(|one| one.utilities.as_slice()).collect();
    let trusted: Vec<&[f64]> = scored.iter().map(|one| one.discounted.as_slice()).collect();
    let (plain, trusted) = (aggregate(method, &plain, weights), aggregate(method, &trusted, weights));
    for (one, (score, trusted_score)) in scored.iter_mut().zip(plain.into_iter().zip(trusted)) {
        one.score = score;
        one.trusted_score = trusted_score;
    }
}

impl Judged<'_> {
    fn final_score(&self) -> f64 {
        if self.gate.passed { self.trusted_score * self.delivery * self.adjustment } else { 0.0 }
    }
}

/// The place of each, counted from 1, among those that passed.
fn ranks(input: &EvaluationInput<'_>, judged: &[Judged<'_>]) -> Vec<Option<u32>> {
    let mut passed: Vec<(usize, f64, &Judged<'_>)> = judged
        .iter()
        .enumerate()
        .filter(|(_, one)| one.gate.passed)
        .map(|(index, one)| (index, one.final_score(), one))
        .collect();
    passed.sort_by(|(_, left_final, left), (_, right_final, right)| {
        right_final
            .total_cmp(left_final)
            .then_with(|| left.start_p90.total_cmp(&right.start_p90))
            .then_with(|| least_recent(input.last_chosen, left.worker, right.worker))
    });
    let mut ranks = vec![None; judged.len()];
    for (rank, (index, _, _)) in (1_u32..).zip(passed) {
        if let Some(place) = ranks.get_mut(index) {
            *place = Some(rank);
        }
    }
    ranks
}

/// The last two ties: least recently chosen (never is least), then the lower worker id.
#[must_use]
pub fn least_recent(
    last_chosen: &BTreeMap<WorkerId, Timestamp>,
    left: &WorkerId,
    right: &WorkerId,
) -> Ordering {
    last_chosen.get(left).cmp(&last_chosen.get(right)).then_with(|| left.cmp(right))
}

fn evaluation(factors: &[Factor], weights: &[f64], judged: Judged<'_>, rank: Option<u32>) -> Evaluation {
    let r#final = judged.final_score();
    // Chosen such that final = score x trust x adjustments.
    let discount = if judged.score > 0.0 { judged.trusted_score / judged.score } else { 1.0 };
    let contributions = factors
        .iter()
        .zip(weights)
        .zip(judged.utilities.iter().zip(&judged.discounted))
        .map(|((factor, weight), (utility, discounted))| {
            let contribution = Contribution {
                utility: Number::saturating(*utility),
                weight: Number::saturating(*weight),
                discounted: Number::saturating(*discounted),
            };
            (factor.name, contribution)
        })
        .collect();
    Evaluation {
        gate: judged.gate,
        audit: judged.audit,
        contributions,
        adjustments: judged.adjustments,
        score: Number::saturating(judged.score),
        trust: Number::saturating(discount * judged.delivery),
        r#final: Number::saturating(r#final),
        rank,
    }
}

#[cfg(test)]
mod tests;
