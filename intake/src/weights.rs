//! Weights by intent.
//!
//! An intent shares 1 out between cost, start, finish and performance; performance is split evenly
//! between the factors that matter to the requirement, so that asking for nothing special does not
//! reward a fabric or a GPU that nobody needs.

use protocol::factor::FactorName;
use protocol::requirement::Requirement;
use protocol::understanding::{Intent, Weights};
use protocol::units::Number;

/// The shares of one intent; they sum to 1.
struct Shares {
    cost: f64,
    start: f64,
    finish: f64,
    performance: f64,
}

const fn shares(intent: Intent) -> Shares {
    match intent {
        Intent::Balanced => Shares { cost: 0.3, start: 0.2, finish: 0.2, performance: 0.3 },
        Intent::Cheapest => Shares { cost: 0.7, start: 0.1, finish: 0.1, performance: 0.1 },
        Intent::Soonest => Shares { cost: 0.1, start: 0.6, finish: 0.2, performance: 0.1 },
        Intent::Fastest => Shares { cost: 0.1, start: 0.1, finish: 0.6, performance: 0.2 },
    }
}

/// The performance factors that matter to a requirement.
fn performance_factors(requirement: &Requirement) -> Vec<FactorName> {
    let compute = &requirement.compute;
    let spreads_over_nodes = compute.nodes.is_some_and(|nodes| nodes > 1);
    [
        (FactorName::SoftwareFit, !requirement.software.is_empty()),
        (
            FactorName::NetworkBandwidth,
            !requirement.network.is_empty() || requirement.mpi || spreads_over_nodes,
        ),
        (FactorName::GpuMemory, compute.gpus.is_some()),
        (FactorName::CapacityHeadroom, true),
        (FactorName::StorageFree, !requirement.storage.is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, matters)| matters.then_some(name))
    .collect()
}

/// The weights of an intent for a requirement; they sum to 1.
#[must_use]
pub fn weights(intent: Intent, requirement: &Requirement) -> Weights {
    let shares = shares(intent);
    let performance = performance_factors(requirement);
    #[expect(clippy::cast_precision_loss, reason = "at most eight factors")]
    let each = shares.performance / performance.len() as f64;
    let base = [
        (FactorName::Cost, shares.cost),
        (FactorName::StartTime, shares.start),
        (FactorName::FinishTime, shares.finish),
    ];
    let all = base.into_iter().chain(performance.into_iter().map(|name| (name, each)));
    Weights(all.map(|(name, weight)| (name, Number::saturating(weight))).collect())
}

/// Weights that the asker gave, as shares of 1; `None` if none of them is positive.
#[must_use]
pub fn normalised(given: &std::collections::BTreeMap<FactorName, Number>) -> Option<Weights> {
    let positive = given.iter().filter(|(_, weight)| weight.get() > 0.0);
    let largest = positive.clone().map(|(_, weight)| weight.get()).fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    // Dividing by the largest first keeps the sum finite whatever was given.
    let sum: f64 = positive.clone().map(|(_, weight)| weight.get() / largest).sum();
    let share = |weight: &Number| Number::saturating(weight.get() / largest / sum);
    Some(Weights(positive.map(|(name, weight)| (*name, share(weight))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_intent_sums_to_one_and_keeps_its_order() {
        let requirement = Requirement { mpi: true, ..Requirement::default() };
        for intent in [Intent::Balanced, Intent::Cheapest, Intent::Soonest, Intent::Fastest] {
            let weights = weights(intent, &requirement);
            let sum: f64 = weights.0.values().map(|weight| weight.get()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{intent}: {sum}");
        }
        let cheapest = weights(Intent::Cheapest, &Requirement::default());
        assert_eq!(cheapest.0[&FactorName::Cost], Number::saturating(0.7));
        assert!(!cheapest.0.contains_key(&FactorName::GpuMemory));
        assert!(weights(Intent::Fastest, &requirement).0.contains_key(&FactorName::NetworkBandwidth));
    }

    #[test]
    fn given_weights_are_normalised() {
        let given = [(FactorName::Cost, 3.0), (FactorName::StartTime, 1.0), (FactorName::StorageFree, -1.0)];
        let given = given.into_iter().map(|(name, weight)| (name, Number::saturating(weight))).collect();
        let weights = normalised(&given).unwrap();
        assert_eq!(weights.0[&FactorName::Cost].get(), 0.75);
        assert_eq!(weights.0.len(), 2);
        let huge = [(FactorName::Cost, f64::MAX), (FactorName::StartTime, f64::MAX)];
        let huge = huge.into_iter().map(|(name, weight)| (name, Number::saturating(weight))).collect();
        assert_eq!(normalised(&huge).unwrap().0[&FactorName::Cost].get(), 0.5);
        assert!(normalised(&std::collections::BTreeMap::new()).is_none());
    }
}
