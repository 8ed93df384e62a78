use protocol::facts::ComputeFacts;
use protocol::units::GiB;
use serde_json::{Value, json};

use super::*;
use crate::samples;

/// The reasons as `CODE: wanted / had`.
fn reasons(compute: Value, groups: Vec<NodeGroup>) -> Vec<String> {
    let requirement = samples::requirement(json!({"compute": compute}));
    let compute = ComputeFacts { groups };
    let place = place(&Ask::of(&requirement), &compute).unwrap();
    place.reasons.iter().map(|r| format!("{}: {} / {}", r.code, r.wanted, r.had)).collect()
}

fn group(change: impl FnOnce(&mut NodeGroup)) -> NodeGroup {
    let mut group = NodeGroup {
        name: "g".into(),
        nodes: 100,
        nodes_free: Some(2),
        cores_per_node: 32,
        cores_free: Some(100),
        memory_gib_per_node: Some(GiB::from(256)),
        gpus_per_node: 4,
        gpus_free: Some(10),
        gpu_model: Some("nvidia-a100-sxm4-80gb".into()),
        gpu_memory_gib: Some(GiB::saturating(79.2)),
        ..NodeGroup::default()
    };
    change(&mut group);
    group
}

#[test]
fn one_group_meets_the_ask_or_says_why_not() {
    let table: Vec<(Value, &[&str])> = vec![
        (json!({}), &[]),
        (json!({"nodes": 2}), &[]),
        (json!({"nodes": 0, "cores": 0, "memory_gib": 0, "gpus": {"count": 0, "model": "h100"}}), &[]),
        (json!({"nodes": 3}), &["NODES_BUSY: nodes >= 3 / 2 of 100 free"]),
        (json!({"nodes": 101}), &["NODES_TOO_FEW: nodes >= 101 / 100 nodes"]),
        (json!({"cores": 100}), &[]),
        (json!({"cores": 101}), &["CORES_BUSY: cores >= 101 / 100 of 3200 free"]),
        (json!({"cores": 3201}), &["CORES_TOO_FEW: cores >= 3201 / 3200"]),
        (json!({"cores": 8, "tasks": 101}), &["CORES_BUSY: cores >= 101 / 100 of 3200 free"]),
        (json!({"nodes": 2, "cores": 65}), &["CORES_TOO_FEW: cores >= 65 on 2 nodes / 64"]),
        (json!({"nodes": 1, "cores": 33}), &["CORES_TOO_FEW: cores >= 33 on 1 node / 32"]),
        (json!({"cores_per_node": 33}), &["CORES_TOO_FEW: cores per node >= 33 / 32"]),
        (json!({"memory_gib": 1024}), &[]),
        (json!({"memory_gib": 25_601}), &["MEMORY_TOO_SMALL: memory >= 25601 GiB / 25600 GiB"]),
        (
            json!({"nodes": 1, "memory_gib": 300}),
            &["MEMORY_TOO_SMALL: memory >= 300 GiB on 1 node / 256 GiB"],
        ),
        (
            json!({"memory_gib_per_node": 256.5}),
            &["MEMORY_TOO_SMALL: memory per node >= 256.5 GiB / 256 GiB"],
        ),
        (json!({"gpus": {"count": 10}}), &[]),
        (json!({"gpus": {"count": 11}}), &["GPUS_BUSY: GPUs >= 11 / 10 of 400 free"]),
        (json!({"gpus": {"count": 401}}), &["GPUS_TOO_FEW: GPUs >= 401 / 400"]),
        (json!({"gpus": {"count": 5, "per": "node"}}), &["GPUS_TOO_FEW: GPUs >= 5 per node / 4 per node"]),
        (json!({"nodes": 1, "gpus": {"count": 5}}), &["GPUS_TOO_FEW: GPUs >= 5 on 1 node / 4"]),
        (json!({"nodes": 2, "gpus": {"count": 4, "per": "node"}}), &[]),
        (json!({"gpus": {"count": 1, "model": "a100"}}), &[]),
        (
            json!({"gpus": {"count": 1, "model": "h100"}}),
            &["GPU_MODEL: GPU model h100 / nvidia-a100-sxm4-80gb"],
        ),
        // a driver reports a little less than the box says
        (json!({"gpus": {"count": 1, "memory_gib": 80}}), &[]),
        (json!({"gpus": {"count": 1, "memory_gib": 94}}), &["GPU_MEMORY: GPU memory >= 94 GiB / 79.2 GiB"]),
        // "CPU or GPU" never stands in the way
        (json!({"gpus": {"count": 4000, "model": "h100", "optional": true}}), &[]),
        (
            json!({"nodes": 200, "cores_per_node": 64, "memory_gib_per_node": 512,
                   "gpus": {"count": 8, "per": "node", "model": "h100", "memory_gib": 141}}),
            &[
                "GPU_MODEL: GPU model h100 / nvidia-a100-sxm4-80gb",
                "GPU_MEMORY: GPU memory >= 141 GiB / 79.2 GiB",
                "GPUS_TOO_FEW: h100 GPUs >= 8 per node / 4 per node",
                "NODES_TOO_FEW: nodes >= 200 / 100 nodes",
                "CORES_TOO_FEW: cores per node >= 64 / 32",
                "MEMORY_TOO_SMALL: memory per node >= 512 GiB / 256 GiB",
            ],
        ),
    ];
    for (compute, expected) in table {
        assert_eq!(reasons(compute.clone(), vec![group(|_| {})]), expected, "{compute}");
    }
}

#[test]
fn what_is_free_may_be_unknown_or_follow_from_something_else() {
    type Change = fn(&mut NodeGroup);
    let unknown: Change = |g| (g.nodes_free, g.cores_free, g.gpus_free) = (None, None, None);
    let only_nodes: Change = |g| (g.cores_free, g.gpus_free) = (None, None);
    let only_cores: Change = |g| (g.nodes_free, g.gpus_free) = (None, None);
    let empty_site: Change = |g| (g.nodes_free, g.cores_free, g.gpus_free) = (None, Some(3200), None);
    let full: Change = |g| (g.nodes_free, g.cores_free, g.gpus_free) = (Some(0), Some(0), Some(0));
    let no_memory_facts: Change = |g| g.memory_gib_per_node = None;
    let no_gpu_facts: Change = |g| (g.gpu_model, g.gpu_memory_gib) = (None, None);
    let table: Vec<(Change, Value, &[&str])> = vec![
        (unknown, json!({}), &[]),
        (unknown, json!({"nodes": 1}), &["FACT_UNKNOWN: nodes >= 1 / number of free nodes unknown"]),
        (unknown, json!({"cores": 1}), &["FACT_UNKNOWN: cores >= 1 / number of free cores unknown"]),
        (unknown, json!({"gpus": {"count": 1}}), &["FACT_UNKNOWN: GPUs >= 1 / number of free GPUs unknown"]),
        (unknown, json!({"nodes": 101}), &["NODES_TOO_FEW: nodes >= 101 / 100 nodes"]),
        // everything on a free node is free
        (only_nodes, json!({"cores": 64}), &[]),
        (only_nodes, json!({"cores": 65}), &["FACT_UNKNOWN: cores >= 65 / number of free cores unknown"]),
        (only_nodes, json!({"nodes": 2, "gpus": {"count": 8}}), &[]),
        (only_nodes, json!({"gpus": {"count": 8}}), &[]),
        (
            only_nodes,
            json!({"gpus": {"count": 9}}),
            &["FACT_UNKNOWN: GPUs >= 9 / number of free GPUs unknown"],
        ),
        (only_cores, json!({"nodes": 1}), &["FACT_UNKNOWN: nodes >= 1 / number of free nodes unknown"]),
        (
            |g| (g.nodes_free, g.cores_free) = (None, Some(31)),
            json!({"nodes": 1}),
            &["NODES_BUSY: nodes >= 1 / 0 of 100 free"],
        ),
        (empty_site, json!({"nodes": 100}), &[]),
        // a full site cannot start anything, whatever was asked for
        (full, json!({}), &["CORES_BUSY: 1 core / 0 of 3200 free"]),
        (
            full,
            json!({"gpus": {"count": 1}}),
            &["CORES_BUSY: 1 core / 0 of 3200 free", "GPUS_BUSY: GPUs >= 1 / 0 of 400 free"],
        ),
        // nodes are free, but somebody counts their GPUs as taken
        (
            |g| g.gpus_free = Some(1),
            json!({"nodes": 2, "gpus": {"count": 4, "per": "node"}}),
            &["GPUS_BUSY: GPUs >= 4 per node / 1 of 400 free"],
        ),
        (|g| g.nodes_free = Some(500), json!({"nodes": 101}), &["NODES_TOO_FEW: nodes >= 101 / 100 nodes"]),
        (no_memory_facts, json!({"nodes": 2}), &[]),
        (
            no_memory_facts,
            json!({"nodes": 1, "memory_gib": 1}),
            &["FACT_UNKNOWN: memory >= 1 GiB on 1 node / memory per node unknown"],
        ),
        (
            no_memory_facts,
            json!({"memory_gib_per_node": 1, "cores": 4000}),
            &[
                "CORES_TOO_FEW: cores >= 4000 / 3200",
                "FACT_UNKNOWN: memory per node >= 1 GiB / memory per node unknown",
            ],
        ),
        (no_gpu_facts, json!({"gpus": {"count": 1}}), &[]),
        (
            no_gpu_facts,
            json!({"gpus": {"count": 1, "model": "a100", "memory_gib": 40}}),
            &[
                "FACT_UNKNOWN: GPU model a100 / GPU model unknown",
                "FACT_UNKNOWN: GPU memory >= 40 GiB / GPU memory unknown",
            ],
        ),
        (
            |g| g.gpus_per_node = 0,
            json!({"gpus": {"count": 2, "model": "a100"}}),
            &["GPUS_TOO_FEW: a100 GPUs >= 2 / no GPUs"],
        ),
    ];
    for (change, compute, expected) in table {
        assert_eq!(reasons(compute.clone(), vec![group(change)]), expected, "{compute}");
    }
}

#[test]
fn work_never_spans_groups() {
    let two = || vec![group(|g| g.name = "a".into()), group(|g| g.name = "b".into())];
    assert_eq!(reasons(json!({"nodes": 2}), two()), Vec::<String>::new());
    assert_eq!(reasons(json!({"nodes": 4}), two()), ["NODES_BUSY: nodes >= 4 / 2 of 100 free in a"]);
    assert_eq!(reasons(json!({"nodes": 150}), two()), ["NODES_TOO_FEW: nodes >= 150 / 100 nodes in a"]);
}

#[test]
fn the_group_with_the_least_in_its_way_is_chosen() {
    let busy = || group(|g| (g.name, g.nodes_free) = ("busy".into(), Some(0)));
    let small = || group(|g| (g.name, g.nodes) = ("small".into(), 1));
    let unknown = || group(|g| (g.name, g.nodes_free, g.cores_free) = ("unknown".into(), None, None));
    let other_model = || group(|g| (g.name, g.gpu_model) = ("v100".into(), Some("v100".into())));
    let two_nodes = json!({"nodes": 2});
    assert_eq!(
        reasons(two_nodes.clone(), vec![small(), busy()]),
        ["NODES_BUSY: nodes >= 2 / 0 of 100 free in busy"]
    );
    assert_eq!(
        reasons(two_nodes, vec![small(), unknown()]),
        ["FACT_UNKNOWN: nodes >= 2 / number of free nodes unknown in unknown"]
    );
    let gpus = json!({"gpus": {"count": 40, "model": "a100"}});
    assert_eq!(
        reasons(gpus, vec![other_model(), group(|_| {})]),
        ["GPUS_BUSY: a100 GPUs >= 40 / 10 of 400 free in g"]
    );
}

#[test]
fn a_reason_speaks_of_the_gpus_where_there_are_some() {
    let plain = || group(|g| (g.name, g.gpus_per_node) = ("plain".into(), 0));
    let few = || group(|g| (g.name, g.nodes) = ("few".into(), 2));
    let ask = json!({"nodes": 3, "cores_per_node": 32, "gpus": {"count": 8, "per": "node"}});
    assert_eq!(
        reasons(ask, vec![plain(), few()]),
        [
            "GPUS_TOO_FEW: GPUs >= 8 per node / 4 per node in few",
            "NODES_TOO_FEW: nodes >= 3 / 2 nodes in few"
        ]
    );
}

#[test]
fn work_without_gpus_leaves_nodes_with_gpus_alone() {
    let requirement = samples::requirement(json!({"compute": {"nodes": 1}}));
    let groups = vec![group(|_| {}), group(|g| (g.name, g.gpus_per_node) = ("plain".into(), 0))];
    let compute = ComputeFacts { groups };
    assert_eq!(place(&Ask::of(&requirement), &compute).unwrap().group.name, "plain");
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let huge = group(|g| (g.nodes, g.cores_per_node, g.gpus_per_node) = (u32::MAX, u32::MAX, u32::MAX));
    let ask = json!({
        "nodes": u32::MAX, "cores": u32::MAX, "memory_gib": 1e300, "cores_per_node": u32::MAX,
        "gpus": {"count": u32::MAX, "per": "node"}
    });
    assert!(!reasons(ask, vec![huge.clone()]).is_empty());
    let shared =
        json!({"memory_gib": 1e300, "cores_per_node": u32::MAX, "gpus": {"count": u32::MAX, "per": "node"}});
    assert!(!reasons(shared, vec![huge]).is_empty());
    let empty = NodeGroup::default();
    assert!(!reasons(json!({"cores": 1, "memory_gib": 1, "gpus": {"count": 1}}), vec![empty]).is_empty());
}
