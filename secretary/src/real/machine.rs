//! Workload managers, this machine's own among them: nodes, queue, when work would start. Only the read
//! side is here; nothing can submit.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{Allocation, Flag, FlagKind, NodeGroup, Scope, StartEstimate, WorkloadFacts};
use protocol::requirement::{GpuScope, Requirement};
use protocol::units::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use workload::read::{Capacity, Inventory};
use workload::{ReadSide, WorkloadError};

use crate::provider::{
    Answer, Category, NoArguments, Probe, Provider, ProviderError, ProviderTool, Reader, arguments,
};

/// A workload manager.
pub struct Machine {
    manager: Arc<dyn ReadSide>,
}

/// Arguments of `estimate_start`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Size {
    nodes: u32,
    cores: u32,
    gpus: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Nodes {
    inventory: Option<Inventory>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Start {
    start: Option<StartEstimate>,
}

/// The size to ask the manager about, from the requirement alone: what it says, and one core where it
/// says nothing.
fn size(requirement: &Requirement) -> Size {
    let compute = &requirement.compute;
    let nodes = compute.nodes.unwrap_or(0);
    let cores = [
        compute.cores,
        compute.tasks,
        compute.cores_per_node.map(|cores| cores.saturating_mul(nodes.max(1))),
    ];
    let gpus = compute.gpus.as_ref().filter(|gpus| !gpus.optional).map_or(0, |gpus| match gpus.per {
        GpuScope::Node => gpus.count.saturating_mul(nodes.max(1)),
        GpuScope::Total => gpus.count,
    });
    Size { nodes, cores: cores.into_iter().flatten().max().unwrap_or(1), gpus }
}

fn names(inventory: &Inventory) -> Vec<String> {
    inventory.partitions.iter().map(|partition| partition.name.clone()).collect()
}

/// The longest run time that a partition accepts whose nodes are enough for work of this size; none when
/// there is none, or no limit.
fn time_limit(inventory: &Inventory, size: &Size) -> Option<Seconds> {
    let enough = |group: &&NodeGroup| {
        let all = |part: u32| group.nodes.saturating_mul(part);
        group.nodes >= size.nodes
            && all(group.cores_per_node) >= size.cores
            && all(group.gpus_per_node) >= size.gpus
    };
    let limits: Vec<Option<Seconds>> = inventory
        .groups
        .iter()
        .filter(enough)
        .flat_map(|group| group.name.split('/').next().unwrap_or_default().split(','))
        .filter_map(|name| inventory.partitions.iter().find(|partition| partition.name == name))
        .map(|partition| partition.time_limit)
        .collect();
    limits.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
}

impl Machine {
    /// The provider of a read side.
    #[must_use]
    pub fn new(manager: Arc<dyn ReadSide>) -> Self {
        Self { manager }
    }

    /// Whether it hands out nodes of a site, and not just this machine.
    fn has_nodes(&self) -> bool {
        self.manager.manager() != "machine"
    }

    fn failed(&self, error: &dyn std::error::Error) -> ProviderError {
        ProviderError::Program { program: self.manager.manager().to_owned(), problem: error.to_string() }
    }

    fn answer(&self, value: Value) -> Answer {
        let raw = value.to_string();
        Answer::new(value, format!("workload manager {}", self.manager.manager()), raw.as_bytes())
    }
}

#[async_trait]
impl Provider for Machine {
    fn name(&self) -> &'static str {
        self.manager.manager()
    }

    fn category(&self) -> Category {
        Category::Workload
    }

    async fn probe(&self, _probe: &Probe) -> Result<bool, ProviderError> {
        if !self.manager.is_installed() {
            return Ok(false);
        }
        match self.manager.capacity().await {
            Ok(_) => Ok(true),
            Err(WorkloadError::CommandMissing { .. }) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn metadata(&self, _deadline: Instant) -> Result<Value, ProviderError> {
        let capacity = self.manager.capacity().await.map_err(|error| self.failed(&error))?;
        let mut metadata = json!({"slots": capacity.total, "time_limit": capacity.time_limit});
        if let Some(containment) = self.manager.held_by() {
            metadata["jobs_held_by"] = json!(containment);
        }
        if let Some(inventory) = self.manager.inventory().await.map_err(|error| self.failed(&error))? {
            metadata["version"] = json!(inventory.version);
            metadata["partitions"] = json!(names(&inventory));
        }
        Ok(metadata)
    }

    async fn scope(&self, _deadline: Instant) -> Scope {
        Scope::Site
    }

    fn tools(&self) -> Vec<ProviderTool> {
        let mut tools = vec![
            ProviderTool::plain(
                "capacity",
                "Cores, memory and GPUs that the workload manager hands out, what is free of them now, how many \
                 jobs run and wait, and the longest run time that it accepts.",
            ),
            ProviderTool::plain("queue_depth", "How many jobs run and how many wait."),
            ProviderTool::new(
                "estimate_start",
                "When work of the given size would start if it were submitted now, as seconds that half (p50) \
                 and nine in ten (p90) such starts stay below; null when nobody can tell or it never would.",
                &json!({
                    "nodes": {"type": "integer", "minimum": 0},
                    "cores": {"type": "integer", "minimum": 0},
                    "gpus": {"type": "integer", "minimum": 0},
                }),
                &[],
            ),
        ];
        if self.has_nodes() {
            tools.push(ProviderTool::plain(
                "inventory",
                "The workload manager's version, the queues or partitions that take work, its nodes in service \
                 in groups of equals with what is free of them, and how many nodes are out of service.",
            ));
        }
        tools
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        _deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        match tool {
            "capacity" => {
                let NoArguments {} = arguments(tool, args)?;
                let capacity = self.manager.capacity().await.map_err(|error| self.failed(&error))?;
                Ok(self.answer(json!(capacity)))
            }
            "inventory" => {
                let NoArguments {} = arguments(tool, args)?;
                let inventory = self.manager.inventory().await.map_err(|error| self.failed(&error))?;
                Ok(self.answer(json!(Nodes { inventory })))
            }
            "queue_depth" => {
                let NoArguments {} = arguments(tool, args)?;
                let capacity = self.manager.capacity().await.map_err(|error| self.failed(&error))?;
                Ok(self.answer(json!({"queued": capacity.queued, "running": capacity.running})))
            }
            "estimate_start" => {
                let size: Size = arguments(tool, args)?;
                let allocation = Allocation { nodes: size.nodes, cores: size.cores, gpus: size.gpus };
                let start = self.manager.estimated_start(&allocation).await;
                Ok(self.answer(json!(Start { start: start.map_err(|error| self.failed(&error))? })))
            }
            _ => Err(ProviderError::UnknownTool(tool.to_owned())),
        }
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let capacity: Capacity = reader.ask("capacity", json!({})).await?;
        let inventory = if self.has_nodes() {
            reader.ask::<Nodes>("inventory", json!({})).await?.inventory
        } else {
            None
        };
        if inventory.is_none() {
            reader.facts.host.cores_free = Some(capacity.free.cores);
            reader.facts.host.gpus_free = Some(capacity.free.gpus);
            reader.facts.host.idle = Some(capacity.running == 0);
        }
        if !capacity.accepting {
            reader.facts.flags.push(Flag {
                kind: FlagKind::Maintenance,
                evidence: "the workload manager takes no new jobs".to_owned(),
            });
        }
        let mut facts = WorkloadFacts {
            manager: self.manager.manager().to_owned(),
            queue_depth: Some(capacity.queued),
            running: Some(capacity.running),
            time_limit: capacity.time_limit,
            ..WorkloadFacts::default()
        };
        if let Some(inventory) = inventory {
            facts.partitions = names(&inventory);
            facts.time_limit = time_limit(&inventory, &size(&call.requirement)).or(capacity.time_limit);
            facts.version = inventory.version;
            reader.facts.host.is_node = inventory.has_this_machine;
            reader.facts.groups = Some(inventory.groups);
        }
        reader.facts.workload = Some(facts.clone());
        let start: Start = reader.ask("estimate_start", json!(size(&call.requirement))).await?;
        facts.start = start.start;
        reader.facts.workload = Some(facts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::requirement::{ComputeNeed, GpuNeed};
    use workload::read::Partition;

    use super::*;

    #[test]
    fn the_time_limit_is_that_of_a_partition_with_enough_nodes() {
        let group = |name: &str, nodes, gpus| NodeGroup {
            name: name.to_owned(),
            nodes,
            cores_per_node: 16,
            gpus_per_node: gpus,
            ..NodeGroup::default()
        };
        let partition = |name: &str, limit: u32| Partition {
            name: name.to_owned(),
            time_limit: (limit > 0).then(|| Seconds::from(limit)),
        };
        let mut inventory = Inventory {
            partitions: vec![partition("short", 60), partition("day", 3600), partition("gpu", 7200)],
            groups: vec![group("short,day", 3, 0), group("gpu", 1, 4), group("gpu/2", 1, 8)],
            ..Inventory::default()
        };
        let limit = |inventory: &Inventory, nodes, gpus| {
            time_limit(inventory, &Size { nodes, cores: 1, gpus }).map(Seconds::get)
        };
        assert_eq!(limit(&inventory, 3, 0), Some(3600.0));
        assert_eq!(limit(&inventory, 0, 8), Some(7200.0));
        assert_eq!(limit(&inventory, 0, 0), Some(7200.0));
        assert_eq!(limit(&inventory, 9, 0), None);
        inventory.partitions[1] = partition("day", 0);
        assert_eq!(limit(&inventory, 3, 0), None);
    }

    #[test]
    fn the_size_asked_about_is_what_the_requirement_says() {
        let requirement = Requirement {
            compute: ComputeNeed {
                nodes: Some(2),
                tasks: Some(8),
                cores_per_node: Some(16),
                gpus: Some(GpuNeed {
                    count: 4,
                    per: GpuScope::Node,
                    model: None,
                    memory_gib: None,
                    optional: false,
                }),
                ..ComputeNeed::default()
            },
            ..Requirement::default()
        };
        let asked = size(&requirement);
        assert_eq!((asked.nodes, asked.cores, asked.gpus), (2, 32, 8));
        assert_eq!(size(&Requirement::default()).cores, 1);
    }
}
