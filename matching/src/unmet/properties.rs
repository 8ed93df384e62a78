//! What holds for every site and requirement: more capacity never makes a site worse.

use proptest::prelude::*;
use protocol::facts::{ComputeFacts, Fabric, FileSystem, NodeGroup, Prices, StartEstimate, WorkloadFacts};
use protocol::units::{GiB, Number, Seconds, Usd};
use serde_json::json;

use super::*;
use crate::samples;

fn any_requirement() -> impl Strategy<Value = Requirement> {
    let gpus =
        (1_u32..9, any::<bool>(), any::<bool>(), prop::option::of(prop_oneof![Just("h100"), Just("a100")]))
            .prop_map(|(count, per_node, optional, model)| {
                let per = if per_node { "node" } else { "total" };
                json!({"count": count, "per": per, "optional": optional, "model": model, "memory_gib": 40})
            });
    (
        prop::option::of(0_u32..6),
        prop::option::of(0_u32..200),
        prop::option::of(0.0..900.0),
        prop::option::of(0_u32..80),
        prop::option::of(gpus),
        prop::option::of(0.0..2000.0),
        prop::option::of(0.0..100.0),
        any::<bool>(),
    )
        .prop_map(|(nodes, cores, memory, per_node, gpus, free, budget, immediate)| {
            let urgency = if immediate { "immediate" } else { "soon" };
            let storage = free.map_or(json!([]), |free| json!([{"kind": "lustre", "free_gib": free}]));
            samples::requirement(json!({
                "compute": {"nodes": nodes, "cores": cores, "memory_gib": memory, "cores_per_node": per_node,
                            "gpus": gpus},
                "storage": storage, "budget_usd": budget,
                "time": {"urgency": urgency, "deadline_seconds": 7200, "duration_seconds": 3600},
            }))
        })
}

prop_compose! {
    fn any_group()(
        nodes in 0_u32..8, free in prop::option::of(0_u32..8), cores in 0_u32..100,
        cores_free in prop::option::of(0_u32..400), memory in 0_u32..512, gpus in 0_u32..9,
        gpus_free in prop::option::of(0_u32..40),
        model in prop::option::of(prop_oneof![Just("nvidia-h100-80gb"), Just("a100")]),
    ) -> NodeGroup {
        NodeGroup {
            name: "g".into(), nodes, nodes_free: free, cores_per_node: cores, cores_free,
            memory_gib_per_node: Some(GiB::from(memory)), gpus_per_node: gpus, gpus_free,
            gpu_model: model.map(str::to_owned), gpu_memory_gib: Some(GiB::from(memory / 4)),
            ..NodeGroup::default()
        }
    }
}

/// More of everything, and sooner; what is unknown stays so.
fn grown(group: &NodeGroup, more: u32) -> NodeGroup {
    NodeGroup {
        nodes: group.nodes + more,
        nodes_free: group.nodes_free.map(|free| free + more),
        cores_per_node: group.cores_per_node + more,
        cores_free: group.cores_free.map(|free| free + more * (group.cores_per_node + group.nodes + more)),
        memory_gib_per_node: group
            .memory_gib_per_node
            .map(|size| GiB::saturating(size.get() + f64::from(more))),
        gpus_free: group.gpus_free.map(|free| free + more * group.gpus_per_node),
        gpu_memory_gib: group.gpu_memory_gib.map(|size| GiB::saturating(size.get() + f64::from(more))),
        ..group.clone()
    }
}

fn site(groups: Vec<NodeGroup>, start: u32, free: u32, price: f64) -> Facts {
    Facts {
        compute: Some(ComputeFacts { groups }),
        storage: Some(vec![FileSystem {
            kind: "lustre".into(),
            path: "/".into(),
            total_gib: None,
            free_gib: Some(GiB::from(free)),
        }]),
        networks: Some(vec![Fabric { kind: "ethernet".into(), gbps: Some(Number::from(10)) }]),
        workload: Some(WorkloadFacts {
            start: Some(StartEstimate { p50: Seconds::ZERO, p90: Seconds::from(start) }),
            ..WorkloadFacts::default()
        }),
        prices: Some(Prices { node_hour_usd: Some(Usd::saturating(price)), ..Prices::default() }),
        ..Facts::default()
    }
}

/// What a reason is about; growth may turn too few into busy, and a fact that did not matter before
/// into one that is missing.
fn respect(reason: &Reason) -> &str {
    match reason.code {
        ReasonCode::NodesTooFew | ReasonCode::NodesBusy => "nodes",
        ReasonCode::CoresTooFew | ReasonCode::CoresBusy => "cores",
        ReasonCode::GpusTooFew | ReasonCode::GpusBusy | ReasonCode::GpuModel | ReasonCode::GpuMemory => "gpu",
        ReasonCode::FactUnknown if reason.wanted.starts_with("nodes") => "nodes",
        ReasonCode::FactUnknown if reason.wanted.contains("GPU") => "gpu",
        ReasonCode::FactUnknown if reason.wanted.starts_with("cores") => "cores",
        ReasonCode::MemoryTooSmall => "memory",
        _ => &reason.wanted,
    }
}

/// Busy and unknown are one step: with more free cores it may become unknown whether a node is free.
fn severity(reasons: &[Reason]) -> u8 {
    match verdict(reasons) {
        Verdict::Ready => 0,
        Verdict::Busy | Verdict::Restricted | Verdict::Unknown => 1,
        Verdict::Incompatible => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn more_capacity_adds_nothing_that_is_unmet(
        requirement in any_requirement(), group in any_group(), more in 0_u32..8,
        start in 0_u32..7200, free in 0_u32..2000,
    ) {
        // Without a budget: whole nodes that are larger may cost more.
        let requirement = Requirement { budget_usd: None, ..requirement };
        let before = unmet(&requirement, &site(vec![group.clone()], start, free, 1.0));
        let larger = site(vec![grown(&group, more)], start / (more + 1), free + more, 1.0);
        let after = unmet(&requirement, &larger);
        for reason in &after {
            let known = before.iter().any(|other| respect(other) == respect(reason));
            prop_assert!(known, "{reason:?} is new, before: {before:?}");
        }
        prop_assert!(severity(&after) <= severity(&before), "{before:?} {after:?}");
    }

    #[test]
    fn another_or_a_larger_group_never_worsens_the_verdict(
        requirement in any_requirement(), groups in prop::collection::vec(any_group(), 1..4),
        extra in any_group(), more in 0_u32..8,
    ) {
        let requirement = Requirement { budget_usd: None, ..requirement };
        let judge = |groups: Vec<NodeGroup>| severity(&unmet(&requirement, &site(groups, 60, 500, 1.0)));
        let before = judge(groups.clone());
        let mut further = groups.clone();
        further.push(extra);
        prop_assert!(judge(further) <= before);
        prop_assert!(judge(groups.iter().map(|group| grown(group, more)).collect()) <= before);
    }

    #[test]
    fn a_cheaper_site_never_exceeds_the_budget_first(
        requirement in any_requirement(), group in any_group(), price in 0.0..50.0, share in 0.0..1.0,
    ) {
        let over = |price: f64| {
            let reasons = unmet(&requirement, &site(vec![group.clone()], 0, 0, price));
            reasons.iter().any(|reason| reason.code == ReasonCode::OverBudget)
        };
        prop_assert!(!over(price * share) || over(price));
    }

    #[test]
    fn a_site_is_ready_only_where_the_work_has_a_place(
        requirement in any_requirement(), groups in prop::collection::vec(any_group(), 0..4),
    ) {
        let facts = site(groups, 0, 5000, 0.0);
        let reasons = unmet(&requirement, &facts);
        let allocation = crate::allocation::allocation(&requirement, &facts);
        if verdict(&reasons) != Verdict::Incompatible && facts.compute.as_ref().is_some_and(|compute| !compute.groups.is_empty()) {
            let taken = allocation.unwrap();
            prop_assert!(taken.nodes >= requirement.compute.nodes.unwrap_or(0));
            prop_assert!(taken.cores >= requirement.compute.cores.unwrap_or(0));
        }
    }
}
