//! What a site can promise: start, run time, cost. What it does not know stays unknown.

use protocol::facts::Facts;
use protocol::proposal::Promises;
use protocol::requirement::Requirement;
use protocol::units::{Number, Seconds, Usd};

use crate::fit::{self, Ask};
use crate::site::Site;

/// The run time, in seconds, by which prices and finish times are compared when a request states
/// none. It is never promised.
pub const ASSUMED_RUNTIME: f64 = 3600.0;

/// What the site can promise for the requirement.
///
/// The start is the workload manager's estimate, the run time is what the request says, and the cost
/// is the price of the capacity that the work takes for as long as it runs.
#[must_use]
pub fn promises(requirement: &Requirement, facts: &Facts) -> Promises {
    let start = Site::of(facts).workload().and_then(|workload| workload.start);
    let runtime = stated_runtime(requirement);
    Promises {
        start_p50_seconds: start.map(|start| start.p50),
        start_p90_seconds: start.map(|start| start.p90),
        runtime_seconds: runtime,
        cost_usd: runtime.and_then(|runtime| {
            let per_hour = cost_per_hour(requirement, facts)?;
            Some(Usd::saturating(per_hour * runtime.get() / 3600.0))
        }),
    }
}

/// How long the work runs, if the request says so.
pub(crate) fn stated_runtime(requirement: &Requirement) -> Option<Seconds> {
    requirement.time.duration_seconds.filter(|duration| *duration > Seconds::ZERO)
}

/// How long the work is taken to run.
pub(crate) fn runtime_or_assumed(requirement: &Requirement) -> f64 {
    stated_runtime(requirement).map_or(ASSUMED_RUNTIME, |runtime| runtime.get())
}

/// US dollars for one hour of the capacity that the work takes; `None` when it does not fit or the
/// prices are not known.
///
/// Whole nodes cost the price of a node, which has everything in it; shared nodes cost by core and
/// GPU. Where a site does not have that price, it charges by the other. A site has one price for all
/// its nodes, which may be that of nodes without GPUs: nodes with GPUs cost no less than their parts.
pub(crate) fn cost_per_hour(requirement: &Requirement, facts: &Facts) -> Option<f64> {
    let site = Site::of(facts);
    let prices = site.prices()?;
    let ask = Ask::of(requirement);
    let (allocation, span) = match site.compute() {
        Some(compute) => {
            let place = fit::place(&ask, compute).filter(fit::Placement::exists)?;
            (place.allocation, place.span)
        }
        None if ask.is_empty() => (fit::SMALLEST, 1),
        None => return None,
    };
    let part = |price: Option<Usd>, count: u32| match count {
        0 => Some(0.0),
        _ => price.map(|price| price.get() * f64::from(count)),
    };
    let by_node = prices.node_hour_usd.map(|price| {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let nodes = span as f64;
        price.get() * nodes
    });
    let by_part =
        || Some(part(prices.core_hour_usd, allocation.cores)? + part(prices.gpu_hour_usd, allocation.gpus)?);
    let cost = match (by_node, by_part()) {
        (Some(by_node), Some(by_part)) if allocation.nodes > 0 && allocation.gpus > 0 => {
            Some(by_node.max(by_part))
        }
        (by_node, by_part) if allocation.nodes > 0 => by_node.or(by_part),
        (by_node, by_part) => by_part.or(by_node),
    };
    cost.filter(|cost| *cost >= 0.0).map(|cost| Number::saturating(cost).get())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::facts::Prices;

    use super::*;
    use crate::samples;

    fn cost(requirement: &Requirement, facts: &Facts) -> Option<f64> {
        promises(requirement, facts).cost_usd.map(|cost| cost.get())
    }

    fn nodes(nodes: u32) -> Requirement {
        samples::requirement(serde_json::json!({
            "compute": {"nodes": nodes}, "time": {"duration_seconds": 7200}
        }))
    }

    #[test]
    fn work_costs_the_price_of_what_it_takes() {
        let site = samples::cluster();
        assert_eq!(cost(&nodes(3), &site), Some(3.0 * 2.0 * 4.0));
        let cores = samples::requirement(serde_json::json!({
            "compute": {"cores": 10, "gpus": {"count": 2}}, "time": {"duration_seconds": 1800}
        }));
        let by_core_and_gpu = 0.5 * (10.0 * 0.1 + 2.0 * 2.5);
        assert_eq!(cost(&cores, &site), Some(by_core_and_gpu));
    }

    #[test]
    fn nodes_with_gpus_cost_no_less_than_their_parts() {
        let asked = samples::requirement(serde_json::json!({
            "compute": {"nodes": 2, "gpus": {"count": 4, "per": "node"}}, "time": {"duration_seconds": 3600}
        }));
        let mut site = samples::cluster();
        let parts = 2.0 * (32.0 * 0.1 + 4.0 * 2.5);
        assert!((cost(&asked, &site).unwrap() - parts).abs() < 1e-9);
        site.prices = Some(Prices { node_hour_usd: Some(Usd::from(30)), ..site.prices.unwrap() });
        assert_eq!(cost(&asked, &site), Some(60.0));
    }

    #[test]
    fn a_missing_price_is_replaced_by_the_other_or_leaves_the_cost_unknown() {
        let mut site = samples::cluster();
        site.prices = Some(Prices { core_hour_usd: None, ..site.prices.unwrap() });
        let cores = samples::requirement(serde_json::json!({
            "compute": {"cores": 65}, "time": {"duration_seconds": 3600}
        }));
        assert_eq!(cost(&cores, &site), Some(2.0 * 4.0), "two nodes of 64 cores");
        site.prices = Some(Prices { node_hour_usd: None, ..site.prices.unwrap() });
        assert_eq!(cost(&cores, &site), None);
        site.prices = None;
        assert_eq!(cost(&nodes(1), &site), None);
    }

    #[test]
    fn what_is_not_known_is_not_promised() {
        let mut site = samples::cluster();
        let no_duration = samples::requirement(serde_json::json!({"compute": {"nodes": 3}}));
        let promised = promises(&no_duration, &site);
        assert_eq!(promised.start_p90_seconds, Some(Seconds::from(30)));
        assert_eq!((promised.runtime_seconds, promised.cost_usd), (None, None));
        assert_eq!(cost(&nodes(5000), &site), None, "does not fit");
        site.workload.as_mut().unwrap().start = None;
        assert_eq!(promises(&nodes(1), &site).start_p90_seconds, None);
        assert_eq!(cost(&nodes(1), &samples::login_node()), None);
        assert_eq!(promises(&nodes(1), &Facts::default()).start_p50_seconds, None);
    }

    proptest! {
        // The predecessor multiplied by the number of nodes twice.
        #[test]
        fn cost_is_linear_in_nodes_and_in_hours(count in 1_u32..50, seconds in 1_u32..1_000_000) {
            let site = samples::cluster();
            let requirement = |nodes: u32, seconds: u32| samples::requirement(serde_json::json!({
                "compute": {"nodes": nodes}, "time": {"duration_seconds": seconds}
            }));
            let once = cost(&requirement(count, seconds), &site).unwrap();
            let twice = 2.0 * once;
            prop_assert!((cost(&requirement(2 * count, seconds), &site).unwrap() - twice).abs() <= 1e-9 * twice);
            prop_assert!((cost(&requirement(count, 2 * seconds), &site).unwrap() - twice).abs() <= 1e-9 * twice);
        }
    }
}
