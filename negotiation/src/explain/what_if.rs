//! What would have changed the outcome for one worker, everything else being equal.

use std::collections::BTreeMap;

use matching::factors::factors;
use protocol::evaluation::{Contribution, Evaluation};
use protocol::factor::{Factor, FactorName, Scale};
use protocol::facts::FlagKind;
use protocol::ids::WorkerId;
use protocol::negotiation::Negotiation;
use protocol::proposal::ReasonCode;
use protocol::units::Number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::more_is_better;
use crate::score::{FLOOR, utility};

/// One change that would have led to another outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WhatIf {
    /// Without these failed gates it would have taken this place.
    Gates {
        /// The gates.
        codes: Vec<ReasonCode>,
        /// The place; absent where there is no proposal to score.
        rank: Option<u32>,
    },
    /// A better value of one factor would have put it first.
    FirstWith {
        /// The factor.
        factor: FactorName,
        /// The value must be beyond this one.
        value: Number,
        /// Whether beyond means more.
        more: bool,
        /// The unit of the value.
        unit: String,
    },
    /// It stays first until one of its values gets as bad as this.
    FirstUntil {
        /// The factor.
        factor: FactorName,
        /// The value at which the next one would draw level.
        value: Number,
        /// Whether larger values are worse.
        more: bool,
        /// The unit of the value.
        unit: String,
    },
    /// More trust in its claims would have put it first.
    ClaimTrust {
        /// The trust that it had.
        had: Number,
        /// The trust that it would have needed.
        needed: Number,
    },
    /// More trust in its delivery would have put it first.
    DeliveryTrust {
        /// The lower bound that counted.
        had: Number,
        /// The lower bound that it would have needed.
        needed: Number,
    },
    /// Without this stated problem it would have been first.
    Flag {
        /// The problem.
        flag: FlagKind,
    },
}

/// What every worker is compared with.
pub struct Alternatives {
    factors: BTreeMap<FactorName, Factor>,
    /// Final scores of those that passed, best first.
    finals: Vec<(WorkerId, f64)>,
    /// Whether the order is by final score, so that gaps can be solved for.
    by_score: bool,
}

impl Alternatives {
    /// The alternatives in a negotiation.
    pub fn of(negotiation: &Negotiation) -> Self {
        let names: Vec<FactorName> = negotiation
            .evaluations
            .values()
            .find(|evaluation| !evaluation.contributions.is_empty())
            .map_or_else(Vec::new, |evaluation| evaluation.contributions.keys().copied().collect());
        let mut ranked: Vec<(u32, WorkerId, f64)> = negotiation
            .evaluations
            .iter()
            .filter_map(|(worker, evaluation)| {
                Some((evaluation.rank?, worker.clone(), evaluation.r#final.get()))
            })
            .collect();
        ranked.sort_by_key(|(rank, _, _)| *rank);
        let strategy = negotiation.selection.as_ref().map(|selection| selection.strategy.as_str());
        Self {
            factors: factors(&negotiation.understanding.requirement, names)
                .into_iter()
                .map(|factor| (factor.name, factor))
                .collect(),
            finals: ranked.into_iter().map(|(_, worker, score)| (worker, score)).collect(),
            by_score: strategy.is_none_or(|name| name == crate::select::DEFAULT),
        }
    }

    /// What would have changed the outcome for one worker.
    pub fn for_worker(&self, worker: &WorkerId, evaluation: &Evaluation) -> Vec<WhatIf> {
        if !evaluation.gate.passed {
            return vec![self.without_gates(evaluation)];
        }
        if !self.by_score {
            return Vec::new();
        }
        let own = evaluation.r#final.get();
        match self.finals.as_slice() {
            [(first, _), (_, next), ..] if first == worker => self.keeps_first(evaluation, next / own),
            [(first, best), ..] if first != worker => self.becomes_first(evaluation, best / own),
            _ => Vec::new(),
        }
    }

    fn without_gates(&self, evaluation: &Evaluation) -> WhatIf {
        let mut codes: Vec<ReasonCode> = evaluation.gate.failed.iter().map(|reason| reason.code).collect();
        codes.dedup();
        let answered = !codes.contains(&ReasonCode::NoProposal);
        let adjustment: f64 = evaluation.adjustments.iter().map(|one| one.multiplier.get()).product();
        let score = evaluation.score.get() * evaluation.trust.get() * adjustment;
        let better = self.finals.iter().filter(|(_, other)| *other >= score).count();
        let rank = u32::try_from(better).ok().map(|better| better.saturating_add(1));
        WhatIf::Gates { codes, rank: rank.filter(|_| answered && score > 0.0) }
    }

    /// Each single change that multiplies the final score by at least `ratio`.
    fn becomes_first(&self, evaluation: &Evaluation, ratio: f64) -> Vec<WhatIf> {
        let mut changes = Vec::new();
        for (name, contribution) in &evaluation.contributions {
            changes.extend(self.value_for(*name, *contribution, ratio).map(|(factor, value)| {
                WhatIf::FirstWith {
                    factor: *name,
                    value,
                    more: more_is_better(&factor.scale),
                    unit: factor.unit.clone(),
                }
            }));
        }
        changes.extend(claim_trust(evaluation, ratio));
        changes.extend(delivery_trust(evaluation, ratio));
        let without = evaluation
            .adjustments
            .iter()
            .filter(|adjustment| adjustment.multiplier.get() * ratio <= 1.0)
            .map(|adjustment| WhatIf::Flag { flag: adjustment.flag });
        changes.extend(without);
        changes
    }

    fn keeps_first(&self, evaluation: &Evaluation, ratio: f64) -> Vec<WhatIf> {
        evaluation
            .contributions
            .iter()
            .filter_map(|(name, contribution)| {
                let (factor, value) = self.value_for(*name, *contribution, ratio)?;
                Some(WhatIf::FirstUntil {
                    factor: *name,
                    value,
                    more: !more_is_better(&factor.scale),
                    unit: factor.unit.clone(),
                })
            })
            .collect()
    }

    /// The value of a factor that multiplies the final score by `ratio`, if there is one.
    fn value_for(
        &self,
        name: FactorName,
        contribution: Contribution,
        ratio: f64,
    ) -> Option<(&Factor, Number)> {
        let factor = self.factors.get(&name)?;
        let (now, weight) = (contribution.utility.get(), contribution.weight.get());
        if weight <= 0.0 || !ratio.is_finite() || ratio <= 0.0 {
            return None;
        }
        let wanted = now * libm::exp(libm::log(ratio) / weight);
        if !(FLOOR..=1.0).contains(&wanted) {
            return None;
        }
        let value = value_at(&factor.scale, wanted)?;
        // The published scale may be coarser than its inverse; what is said must hold.
        let holds = (utility(&factor.scale, Some(value)) - wanted).abs() <= 1e-6;
        (holds && value >= 0.0).then(|| (factor, Number::saturating(value)))
    }
}

/// The value that scores `score` on a scale.
fn value_at(scale: &Scale, score: f64) -> Option<f64> {
    let value = match scale {
        Scale::Binary => return None,
        Scale::Range { zero, one } => zero.get() + score * (one.get() - zero.get()),
        Scale::LogRange { zero, one } => {
            let (zero, one) = (libm::log(zero.get()), libm::log(one.get()));
            libm::exp(zero + score * (one - zero))
        }
        Scale::ReferenceOver { reference } => reference.get() / score,
        Scale::SoftLimit { soft } => soft.get() / libm::sqrt(score),
    };
    value.is_finite().then_some(value)
}

/// The claim trust that would have been enough: it works on the unverified factors only.
fn claim_trust(evaluation: &Evaluation, ratio: f64) -> Option<WhatIf> {
    let mut weight = 0.0;
    let mut had = None;
    for contribution in evaluation.contributions.values() {
        let share = contribution.discounted.get() / contribution.utility.get();
        if share < 1.0 {
            weight += contribution.weight.get();
            had = Some(share);
        }
    }
    let had = had.filter(|_| weight > 0.0)?;
    let needed = had * libm::exp(libm::log(ratio) / weight);
    (needed <= 1.0)
        .then(|| WhatIf::ClaimTrust { had: Number::saturating(had), needed: Number::saturating(needed) })
}

fn delivery_trust(evaluation: &Evaluation, ratio: f64) -> Option<WhatIf> {
    let discount: f64 = evaluation
        .contributions
        .values()
        .map(|one| one.weight.get() * libm::log(one.discounted.get() / one.utility.get()))
        .sum();
    let had = evaluation.trust.get() / libm::exp(discount);
    let needed = had * ratio;
    (needed <= 1.0)
        .then(|| WhatIf::DeliveryTrust { had: Number::saturating(had), needed: Number::saturating(needed) })
}
