//! The static side of a site, provider by provider, as its worker reports it when it joins.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::plan::{Plan, Tool};

/// Category, provider, metadata.
pub(crate) fn providers(plan: &Plan) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut categories: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    let mut add = |category: &str, provider: &str, metadata: Value| {
        categories.entry(category.to_owned()).or_default().insert(provider.to_owned(), metadata);
    };
    add("hardware", "hardware", hardware(plan));
    add("workload", plan.manager.name, workload(plan));
    for (place, source) in plan.software.sources.iter().enumerate() {
        let mut metadata = json!({ "version": source.version, "packages": plan.software.count_of(place) });
        if !source.environments.is_empty() {
            metadata["environments"] = json!(source.environments);
        }
        add("software", source.name, metadata);
    }
    for tool in &plan.containers {
        add("container", tool.name, version(tool));
    }
    for tool in &plan.mpi {
        add("parallel", tool.name, version(tool));
    }
    for link in &plan.networks {
        add("network", link.kind, json!({ "gbps": link.gbps }));
    }
    for volume in &plan.volumes {
        let total_gib = protocol::units::GiB::saturating(volume.total_gib);
        let metadata = json!({ "version": volume.tool.version, "path": volume.path, "total_gib": total_gib });
        add("storage", volume.tool.name, metadata);
    }
    categories
}

fn version(tool: &Tool) -> Value {
    json!({ "version": tool.version })
}

fn hardware(plan: &Plan) -> Value {
    let groups: Vec<Value> = plan
        .groups
        .iter()
        .map(|group| {
            json!({
                "name": group.name,
                "nodes": group.nodes,
                "architecture": group.processor.architecture,
                "cpu_model": group.processor.model,
                "cores_per_node": group.processor.cores,
                "memory_gib_per_node": group.memory_gib,
                "gpus_per_node": group.gpus_per_node,
                "gpu_model": group.accelerator.map(|gpu| gpu.model),
                "gpu_memory_gib": group.accelerator.map(|gpu| gpu.memory_gib),
            })
        })
        .collect();
    json!({ "groups": groups })
}

fn workload(plan: &Plan) -> Value {
    let nodes: u32 = plan.groups.iter().map(|group| group.nodes).sum();
    let cores: u32 = plan.groups.iter().map(|group| group.nodes * group.processor.cores).sum();
    json!({
        "version": plan.manager.version,
        "nodes": nodes,
        "cores": cores,
        "partitions": plan.partitions,
        "time_limit_seconds": plan.time_limit_hours * 3_600,
    })
}
