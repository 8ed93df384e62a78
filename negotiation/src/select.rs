//! Strategies that choose among the proposals that passed the gate.
//!
//! A strategy gives an order: the award goes to the first and falls through to the next. A pipeline
//! of strategies takes the first that finds anybody. What is unknown comes behind what is known, and
//! every tie ends with the rank of the evaluation, so the same input has the same winner.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use protocol::evaluation::{AuditMode, Evaluation, Selection};
use protocol::factor::{FactorName, Scale};
use protocol::ids::{Digest, NegotiationId, WorkerId};
use protocol::proposal::{ReasonCode, Verdict};
use protocol::signature::length_prefixed;
use protocol::trust::TrustRecord;
use serde::Serialize;

use crate::belief::Belief;
use crate::evaluate::EvaluationInput;
use crate::score::{FLOOR, caution, delivery_lower_bound};

/// The longest order: an award that this many workers refuse is exhausted.
pub const LONGEST_ORDER: usize = 32;
/// The strategy that is used when none is named.
pub const DEFAULT: &str = "weighted";

/// A strategy as `list select` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StrategyInfo {
    /// Its name.
    pub name: &'static str,
    /// The name of its tool.
    pub tool: &'static str,
    /// What it does.
    pub description: &'static str,
    /// What of the request it reads.
    pub parameters: &'static [&'static str],
}

/// Every strategy of this crate. `agentic`, which asks a model, is not among them: the hub puts it in
/// front and falls through to these.
#[must_use]
pub const fn strategies() -> &'static [StrategyInfo] {
    const STRATEGIES: &[StrategyInfo] = &[
        StrategyInfo {
            name: "weighted",
            tool: "select_weighted",
            description: "the highest weighted product of utilities, times trust (default)",
            parameters: &["weights", "intent"],
        },
        StrategyInfo {
            name: "min-cost",
            tool: "select_min_cost",
            description: "the lowest expected cost to success, failed tries included",
            parameters: &[],
        },
        StrategyInfo {
            name: "soonest",
            tool: "select_soonest",
            description: "the earliest P90 start, then the shorter queue",
            parameters: &[],
        },
        StrategyInfo {
            name: "queue-depth",
            tool: "select_queue_depth",
            description: "the fewest jobs that wait, then the earlier P90 start",
            parameters: &[],
        },
        StrategyInfo {
            name: "run-anytime",
            tool: "select_run_anytime",
            description: "the highest weighted product when time does not matter: start and finish are left out",
            parameters: &["weights", "intent"],
        },
        StrategyInfo {
            name: "first-ready",
            tool: "select_first_ready",
            description: "the first READY worker in the order of their names",
            parameters: &[],
        },
        StrategyInfo {
            name: "random",
            tool: "select_random",
            description: "a draw from the negotiation's id, the same whenever it is repeated",
            parameters: &[],
        },
    ];
    STRATEGIES
}

/// A strategy that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no selection strategy is called {shown:?}; known are {}", known.join(", "))]
pub struct UnknownStrategy {
    /// The refused name, cut to 64 characters.
    pub shown: String,
    /// The names that exist.
    pub known: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Weighted,
    MinCost,
    Soonest,
    QueueDepth,
    RunAnytime,
    FirstReady,
    Random,
}

impl Strategy {
    const ALL: [(&'static str, Self); 7] = [
        ("weighted", Self::Weighted),
        ("min-cost", Self::MinCost),
        ("soonest", Self::Soonest),
        ("queue-depth", Self::QueueDepth),
        ("run-anytime", Self::RunAnytime),
        ("first-ready", Self::FirstReady),
        ("random", Self::Random),
    ];

    fn named(name: &str) -> Result<(&'static str, Self), UnknownStrategy> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).ok_or_else(|| UnknownStrategy {
            shown: name.chars().take(64).collect(),
            known: strategies().iter().map(|info| info.name).collect(),
        })
    }
}

/// A proposal that passed the gate.
struct Candidate<'a> {
    worker: &'a WorkerId,
    evaluation: &'a Evaluation,
    belief: Belief<'a>,
    rank: u32,
}

/// Chooses with the first of the strategies that finds anybody; without any name with the default.
pub fn select(
    negotiation_id: &NegotiationId,
    strategy_names: &[String],
    input: &EvaluationInput<'_>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
) -> Result<Selection, UnknownStrategy> {
    let mut pipeline = Vec::new();
    for name in strategy_names {
        pipeline.push(Strategy::named(name)?);
    }
    if pipeline.is_empty() {
        pipeline.push((DEFAULT, Strategy::Weighted));
    }
    let candidates = candidates(input, evaluations);
    let mut used = DEFAULT;
    let mut passed_over = Vec::new();
    for (name, strategy) in pipeline {
        used = name;
        let choice = order(strategy, negotiation_id, input, &candidates);
        if let Some((winner, why)) = choice {
            let mut explanation = why;
            if !passed_over.is_empty() {
                explanation.push_str(&format!(" ({} found nobody)", passed_over.join(", ")));
            }
            return Ok(Selection {
                worker_id: winner.first().cloned(),
                strategy: name.to_owned(),
                explanation,
                order: winner,
            });
        }
        passed_over.push(name);
    }
    Ok(Selection {
        worker_id: None,
        strategy: used.to_owned(),
        explanation: nobody(candidates.len(), evaluations),
        order: Vec::new(),
    })
}

/// Those that passed, best rank first.
fn candidates<'a>(
    input: &EvaluationInput<'a>,
    evaluations: &'a BTreeMap<WorkerId, Evaluation>,
) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = evaluations
        .iter()
        .filter(|(_, evaluation)| evaluation.gate.passed)
        .filter_map(|(worker, evaluation)| {
            let (belief, rank) = (input.belief(worker)?, evaluation.rank?);
            Some(Candidate { worker, evaluation, belief, rank })
        })
        .collect();
    candidates.sort_by_key(|candidate| candidate.rank);
    candidates
}

/// The order and why its first is first; none when the strategy finds nobody.
fn order(
    strategy: Strategy,
    negotiation_id: &NegotiationId,
    input: &EvaluationInput<'_>,
    candidates: &[Candidate<'_>],
) -> Option<(Vec<WorkerId>, String)> {
    match strategy {
        Strategy::Weighted => {
            let sorted: Vec<_> =
                candidates.iter().map(|one| (one, Some(-one.evaluation.r#final.get()))).collect();
            ranked(sorted, "the highest final score", |key| format!("{:.3}", -key))
        }
        Strategy::RunAnytime => {
            let sorted = candidates.iter().map(|one| (one, Some(-timeless(one, input)))).collect();
            ranked(sorted, "the highest score when time does not matter", |key| format!("{:.3}", -key))
        }
        Strategy::MinCost => {
            let reference = reference_cost(input);
            let sorted = candidates.iter().map(|one| (one, cost_to_success(one, input, reference))).collect();
            known_first(sorted, "the lowest expected cost to success", |key| format!("{key:.2} USD"))
        }
        Strategy::Soonest => {
            let mut sorted: Vec<_> = candidates.iter().map(|one| (one, start(one))).collect();
            sorted.sort_by(|(left, _), (right, _)| compare(queue(left), queue(right)));
            known_first(sorted, "the earliest P90 start", |key| format!("in {key:.0} s"))
        }
        Strategy::QueueDepth => {
            let mut sorted: Vec<_> = candidates.iter().map(|one| (one, queue(one))).collect();
            sorted.sort_by(|(left, _), (right, _)| compare(start(left), start(right)));
            known_first(sorted, "the shortest queue", |key| format!("{key:.0} waiting"))
        }
        Strategy::FirstReady => {
            let mut ready: Vec<&WorkerId> = candidates
                .iter()
                .filter(|one| input.proposals.get(one.worker).map(|r| r.verdict()) == Some(Verdict::Ready))
                .map(|one| one.worker)
                .collect();
            ready.sort();
            let first = ready.first()?;
            let why = format!("{first} is the first of {} READY workers by name", ready.len());
            Some((bounded(ready.into_iter()), why))
        }
        Strategy::Random => {
            let mut drawn: Vec<(Digest, &WorkerId)> =
                candidates.iter().map(|one| (lot(negotiation_id, one.worker), one.worker)).collect();
            drawn.sort();
            let first = drawn.first()?.1;
            let why = format!("{first} was drawn from {} that passed the gates", drawn.len());
            Some((bounded(drawn.into_iter().map(|(_, worker)| worker)), why))
        }
    }
}

fn bounded<'a>(workers: impl Iterator<Item = &'a WorkerId>) -> Vec<WorkerId> {
    workers.take(LONGEST_ORDER).cloned().collect()
}

/// As `ranked`, but finds nobody when no candidate's key is known.
fn known_first(
    keyed: Vec<(&Candidate<'_>, Option<f64>)>,
    what: &str,
    show: impl Fn(f64) -> String,
) -> Option<(Vec<WorkerId>, String)> {
    if keyed.iter().all(|(_, key)| key.is_none()) { None } else { ranked(keyed, what, show) }
}

/// Orders by the key, least first and unknown last; the sort is stable, so ties keep their order.
fn ranked(
    mut keyed: Vec<(&Candidate<'_>, Option<f64>)>,
    what: &str,
    show: impl Fn(f64) -> String,
) -> Option<(Vec<WorkerId>, String)> {
    keyed.sort_by(|(_, left), (_, right)| compare(*left, *right));
    let said = |key: &Option<f64>| key.map_or_else(|| "unknown".to_owned(), &show);
    let (first, key) = keyed.first()?;
    let next = match keyed.get(1) {
        Some((second, key)) => format!("; next is {} ({})", second.worker, said(key)),
        None => String::new(),
    };
    let count = keyed.len();
    let why = format!("{} has {what} ({}) of {count} that passed the gates{next}", first.worker, said(key));
    Some((bounded(keyed.into_iter().map(|(one, _)| one.worker)), why))
}

/// Less is first; unknown is last.
fn compare(left: Option<f64>, right: Option<f64>) -> Ordering {
    left.unwrap_or(f64::INFINITY).total_cmp(&right.unwrap_or(f64::INFINITY))
}

fn start(candidate: &Candidate<'_>) -> Option<f64> {
    candidate.belief.start()
}

fn queue(candidate: &Candidate<'_>) -> Option<f64> {
    candidate.belief.queue_depth()
}

/// A worker's lot: nobody can choose a name that wins, and a bid that comes or goes leaves the order
/// of the others as it is.
fn lot(negotiation_id: &NegotiationId, worker: &WorkerId) -> Digest {
    Digest::of(&length_prefixed(&[
        b"parley lot v1",
        negotiation_id.as_str().as_bytes(),
        worker.as_str().as_bytes(),
    ]))
}

/// The final score over the factors other than time.
fn timeless(candidate: &Candidate<'_>, input: &EvaluationInput<'_>) -> f64 {
    let mut log = 0.0;
    let mut weights = 0.0;
    for (name, contribution) in &candidate.evaluation.contributions {
        if !matches!(name, FactorName::StartTime | FactorName::FinishTime) {
            let weight = contribution.weight.get();
            log += weight * libm::log(contribution.discounted.get().max(f64::MIN_POSITIVE));
            weights += weight;
        }
    }
    let score = if weights > 0.0 { libm::exp(log / weights) } else { 1.0 };
    let adjustment: f64 =
        candidate.evaluation.adjustments.iter().map(|adjustment| adjustment.multiplier.get()).product();
    let delivery = trust(candidate, input).delivery;
    score * adjustment * delivery_lower_bound(&delivery, caution(input.requirement))
}

fn trust(candidate: &Candidate<'_>, input: &EvaluationInput<'_>) -> TrustRecord {
    input.trust.get(candidate.worker).cloned().unwrap_or_default()
}

/// What a failed try costs the asker: the catalogue price of the work, which is the reference of the
/// call's cost scale; where there is none, the candidate's own price.
fn reference_cost(input: &EvaluationInput<'_>) -> Option<f64> {
    input.factors.iter().find(|factor| factor.name == FactorName::Cost).and_then(|factor| {
        match factor.scale {
            Scale::ReferenceOver { reference } => Some(reference.get().max(0.0)),
            _ => None,
        }
    })
}

/// `c / p + L (1 - p) / p`: tries until success are geometric with the success rate `p`, which is the
/// expectation of delivery, times the trust in the price unless the hub knows it.
fn cost_to_success(
    candidate: &Candidate<'_>,
    input: &EvaluationInput<'_>,
    reference: Option<f64>,
) -> Option<f64> {
    let cost = candidate.belief.cost()?;
    let trust = trust(candidate, input);
    let verified = candidate.belief.truth.is_some() && input.mode == AuditMode::Before;
    let price_trust = if verified { 1.0 } else { trust.claim.expectation.get() };
    let success = (trust.delivery.expectation.get() * price_trust).max(FLOOR);
    let lost = reference.unwrap_or(cost);
    Some((cost / success + lost * (1.0 - success) / success).min(f64::MAX))
}

/// Why there is nobody to choose: the reasons, most frequent first.
fn nobody(passed: usize, evaluations: &BTreeMap<WorkerId, Evaluation>) -> String {
    if passed > 0 {
        return format!("{passed} passed the gates, and none states what the strategy goes by");
    }
    let mut counts: BTreeMap<ReasonCode, u32> = BTreeMap::new();
    for reason in evaluations.values().flat_map(|evaluation| &evaluation.gate.failed) {
        *counts.entry(reason.code).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons: Vec<String> =
        counts.into_iter().take(5).map(|(code, count)| format!("{count} x {code}")).collect();
    match evaluations.len() {
        0 => "nobody was asked".to_owned(),
        asked => format!("none of {asked} passed the gates: {}", reasons.join(", ")),
    }
}

#[cfg(test)]
mod tests;
