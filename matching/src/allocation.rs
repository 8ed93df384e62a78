//! The capacity that the work takes at a site, for holds and for the simulated sites' books.

use protocol::facts::{Allocation, Facts};
use protocol::requirement::Requirement;

use crate::fit::{self, Ask};
use crate::site::Site;

/// The capacity that the work takes where it fits best; `None` when it fits nowhere at the site.
///
/// Whole nodes are taken with all their cores and GPUs. Work that asks for no computing takes one
/// core. Whether the capacity is free at the moment is not asked here: [`crate::unmet`] says so.
#[must_use]
pub fn allocation(requirement: &Requirement, facts: &Facts) -> Option<Allocation> {
    let ask = Ask::of(requirement);
    match Site::of(facts).compute() {
        Some(compute) => {
            fit::place(&ask, compute).filter(fit::Placement::exists).map(|place| place.allocation)
        }
        None => ask.is_empty().then_some(fit::SMALLEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_work_takes_what_it_asks_for_in_whole_or_shared_nodes() {
        let taken = |compute: serde_json::Value| {
            allocation(&samples::requirement(serde_json::json!({"compute": compute})), &samples::cluster())
                .map(|taken| (taken.nodes, taken.cores, taken.gpus))
        };
        let table = [
            (serde_json::json!({}), Some((0, 1, 0))),
            (serde_json::json!({"nodes": 3}), Some((3, 192, 0))),
            (serde_json::json!({"nodes": 2, "gpus": {"count": 1, "per": "node"}}), Some((2, 64, 8))),
            (serde_json::json!({"nodes": 3, "cores": 128, "tasks": 192}), Some((3, 192, 0))),
            (serde_json::json!({"cores": 65}), Some((0, 65, 0))),
            (serde_json::json!({"tasks": 96, "cores": 12}), Some((0, 96, 0))),
            (serde_json::json!({"gpus": {"count": 6}}), Some((0, 2, 6))),
            (serde_json::json!({"gpus": {"count": 6, "optional": true}}), Some((0, 1, 0))),
            (serde_json::json!({"cores": 4, "gpus": {"count": 2, "per": "node"}}), Some((0, 4, 2))),
            (serde_json::json!({"memory_gib": 1000}), Some((0, 4, 0))),
            // taken capacity is still what the work would take once it is free
            (serde_json::json!({"nodes": 90}), Some((90, 5760, 0))),
            (serde_json::json!({"nodes": 101}), None),
            (serde_json::json!({"gpus": {"count": 8, "per": "node"}}), None),
        ];
        for (compute, expected) in table {
            assert_eq!(taken(compute.clone()), expected, "{compute}");
        }
    }

    #[test]
    fn an_unknown_site_can_take_only_work_that_asks_for_nothing() {
        assert_eq!(allocation(&Requirement::default(), &Facts::default()), Some(fit::SMALLEST));
        let one_node = samples::requirement(serde_json::json!({"compute": {"nodes": 1}}));
        assert_eq!(allocation(&one_node, &Facts::default()), None);
    }
}
