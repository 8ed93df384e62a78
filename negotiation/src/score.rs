//! Utilities, weights, trust discount and adjustments: the parts of the score.
//!
//! `final = prod(u'^w) * adjustments * delivery lower bound`, with `u' = u * (v + (1 - v) * E_claim)`
//! (subjective-logic discounting of the unverified share). The weighted product (Bridgman 1922) keeps
//! a hopeless factor from being bought back by a cheap one. Everything is bounded, whatever the
//! numbers in a proposal.

use protocol::evaluation::Adjustment;
use protocol::factor::{Factor, Scale};
use protocol::facts::{Flag, FlagKind};
use protocol::requirement::{Requirement, Urgency};
use protocol::trust::BetaPair;
use protocol::understanding::Weights;
use protocol::units::Number;

/// The least utility: what an absent value gets, and the worst known one.
pub const FLOOR: f64 = 0.01;
/// The least that all adjustments together can leave of a score.
pub const ADJUSTMENT_FLOOR: f64 = 0.5;
/// Characters of a worker's text that are kept in a record of ours.
pub const SHOWN: usize = 200;
/// Node-hours from which on work is large, so that its delivery is judged with caution.
const LARGE_NODE_HOURS: f64 = 16.0;

/// The utility of a value on a scale, from 0.01 to 1. No factor has values below zero.
#[must_use]
pub fn utility(scale: &Scale, value: Option<f64>) -> f64 {
    match value {
        Some(value) if value >= 0.0 => {
            let score = matching::scale::score(scale, value);
            if score.is_nan() { FLOOR } else { score.clamp(FLOOR, 1.0) }
        }
        _ => FLOOR,
    }
}

/// The weights of the factors, in their order, with sum 1. Without any positive weight all are equal.
#[must_use]
pub fn normal_weights(factors: &[Factor], weights: &Weights) -> Vec<f64> {
    // Bounded so that the sum stays finite; a ratio of 1e12 between weights is absolute already.
    let raw: Vec<f64> = factors
        .iter()
        .map(|factor| weights.0.get(&factor.name).map_or(0.0, |weight| weight.get().clamp(0.0, 1e12)))
        .collect();
    let sum: f64 = raw.iter().sum();
    if sum > 0.0 {
        raw.into_iter().map(|weight| weight / sum).collect()
    } else {
        let count = u32::try_from(factors.len()).unwrap_or(u32::MAX);
        vec![1.0 / f64::from(count.max(1)); factors.len()]
    }
}

/// `prod u_i^w_i`, computed in logs. Utilities are at least 0.01 times an expectation above zero.
#[must_use]
pub fn weighted_product(utilities: impl IntoIterator<Item = f64>, weights: &[f64]) -> f64 {
    let log: f64 = utilities
        .into_iter()
        .zip(weights)
        .map(|(utility, weight)| if *weight == 0.0 { 0.0 } else { weight * libm::log(utility) })
        .sum();
    libm::exp(log)
}

/// A utility after discounting its unverified share by the trust in the site's claims.
#[must_use]
pub fn discount(utility: f64, verified: f64, claim_trust: f64) -> f64 {
    utility * (verified + (1.0 - verified) * claim_trust)
}

/// What a stated problem leaves of the score.
#[must_use]
pub const fn multiplier(flag: FlagKind) -> f64 {
    match flag {
        FlagKind::QuotaNear => 0.9,
        FlagKind::Rebuilding => 0.85,
        FlagKind::Maintenance | FlagKind::Degraded => 0.8,
        FlagKind::Preemptible => 0.75,
    }
}

/// The adjustments for the stated problems, each kind once, and their product, which is never below
/// 0.5: a site that admits much is still better than one whose claims are false.
#[must_use]
pub fn adjustments(flags: &[Flag]) -> (Vec<Adjustment>, f64) {
    let mut kinds: Vec<FlagKind> = Vec::new();
    let mut adjustments = Vec::new();
    let mut product = 1.0_f64;
    for flag in flags {
        if kinds.contains(&flag.kind) {
            continue;
        }
        kinds.push(flag.kind);
        let applied = multiplier(flag.kind).max(ADJUSTMENT_FLOOR / product).min(1.0);
        product = (product * applied).max(ADJUSTMENT_FLOOR);
        adjustments.push(Adjustment {
            flag: flag.kind,
            multiplier: Number::saturating(applied),
            evidence: shown(&flag.evidence),
        });
    }
    (adjustments, product)
}

/// How cautiously delivery is judged: 1 for large or urgent work, 0 for the rest.
#[must_use]
pub fn caution(requirement: &Requirement) -> f64 {
    let time = &requirement.time;
    let urgent = time.urgency == Some(Urgency::Immediate) || time.deadline_seconds.is_some();
    let hours = time.duration_seconds.map_or(0.0, |duration| duration.get() / 3600.0);
    let large = f64::from(requirement.compute.nodes.unwrap_or(1)) * hours >= LARGE_NODE_HOURS;
    f64::from(u8::from(urgent || large))
}

/// The lower bound of delivery: the expectation, less `caution` standard deviations of the Beta pair.
#[must_use]
pub fn delivery_lower_bound(pair: &BetaPair, caution: f64) -> f64 {
    let expectation = pair.expectation.get();
    let evidence = pair.r.get() + pair.s.get() + 2.0;
    let deviation = libm::sqrt((expectation * (1.0 - expectation)).max(0.0) / (evidence + 1.0));
    (expectation - caution * deviation).clamp(FLOOR, 1.0)
}

/// The beginning of a worker's text, without control characters.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(kinds: &[FlagKind]) -> Vec<Flag> {
        kinds.iter().map(|kind| Flag { kind: *kind, evidence: "squeue\u{1b}[2J".to_owned() }).collect()
    }

    #[test]
    fn adjustments_count_each_kind_once_and_stop_at_one_half() {
        let (one, product) = adjustments(&flags(&[FlagKind::Degraded, FlagKind::Degraded]));
        assert_eq!((one.len(), product), (1, 0.8));
        assert_eq!(one[0].evidence, "squeue[2J");
        let all = [
            FlagKind::Maintenance,
            FlagKind::Rebuilding,
            FlagKind::Degraded,
            FlagKind::QuotaNear,
            FlagKind::Preemptible,
        ];
        let (five, product) = adjustments(&flags(&all));
        let told: f64 = five.iter().map(|adjustment| adjustment.multiplier.get()).product();
        assert_eq!((five.len(), product), (5, ADJUSTMENT_FLOOR));
        assert!((told - product).abs() < 1e-12);
        assert!(five.iter().all(|adjustment| (0.5..=1.0).contains(&adjustment.multiplier.get())));
    }

    #[test]
    fn impossible_and_absent_values_have_the_least_utility() {
        let scale = Scale::ReferenceOver { reference: Number::from(10) };
        assert_eq!(utility(&scale, None), FLOOR);
        assert_eq!(utility(&scale, Some(-5.0)), FLOOR);
        assert_eq!(utility(&scale, Some(1e308)), FLOOR);
        assert_eq!(utility(&scale, Some(0.0)), 1.0);
        assert_eq!(utility(&scale, Some(10.0)), 1.0);
        assert!((utility(&scale, Some(20.0)) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn caution_lowers_the_bound_most_where_little_is_known() {
        let newcomer = BetaPair::default();
        let proven = BetaPair::new(10.0, 0.0);
        assert_eq!(delivery_lower_bound(&newcomer, 0.0), 0.5);
        assert!(delivery_lower_bound(&newcomer, 1.0) < 0.3);
        assert!(delivery_lower_bound(&proven, 1.0) > 0.83);
        assert!(delivery_lower_bound(&BetaPair::new(0.0, 1e6), 1.0) >= FLOOR);
    }

    #[test]
    fn a_hopeless_factor_cannot_be_bought_back() {
        let balanced = weighted_product([0.6, 0.6], &[0.5, 0.5]);
        let cheap_and_hopeless = weighted_product([1.0, FLOOR], &[0.5, 0.5]);
        assert!(balanced > 5.0 * cheap_and_hopeless);
    }

    #[test]
    fn weights_are_made_to_sum_to_1() {
        let factor =
            |name| Factor { name, unit: String::new(), scale: Scale::Binary, reference: String::new() };
        let factors =
            [factor(protocol::factor::FactorName::Cost), factor(protocol::factor::FactorName::StartTime)];
        let weights = |cost: f64, start: f64| {
            Weights(
                [
                    (protocol::factor::FactorName::Cost, Number::saturating(cost)),
                    (protocol::factor::FactorName::StartTime, Number::saturating(start)),
                ]
                .into(),
            )
        };
        assert_eq!(normal_weights(&factors, &weights(3.0, 1.0)), [0.75, 0.25]);
        assert_eq!(normal_weights(&factors, &weights(-3.0, 1.0)), [0.0, 1.0]);
        assert_eq!(normal_weights(&factors, &weights(0.0, 0.0)), [0.5, 0.5]);
        assert_eq!(normal_weights(&factors, &weights(f64::MAX, f64::MAX)), [0.5, 0.5]);
        assert_eq!(normal_weights(&factors, &Weights::default()), [0.5, 0.5]);
        assert!(normal_weights(&[], &Weights::default()).is_empty());
    }
}
