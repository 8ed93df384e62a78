//! Nodes and partitions, from `scontrol -o -d show node` and `scontrol -o show partition`. This text has
//! been the same since long before Slurm printed JSON, only administrators write into it, and it is the
//! one listing that says how many GPUs of a node are taken.

use std::collections::BTreeMap;

use protocol::facts::NodeGroup;
use protocol::units::Seconds;

use super::fields::{self, Gpus};
use crate::hostname;
use crate::read::Slots;

/// States in which a node takes no new work.
const OUT_OF_SERVICE: &[&str] = &[
    "DOWN",
    "DRAIN",
    "DRAINED",
    "DRAINING",
    "ERROR",
    "FAIL",
    "FAILING",
    "FUTURE",
    "INVAL",
    "MAINT",
    "MAINTENANCE",
    "NOT_RESPONDING",
    "POWERED_DOWN_UNAVAILABLE",
    "REBOOT_ISSUED",
    "UNKNOWN",
];

/// A partition that takes work.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) is_default: bool,
    pub(super) time_limit: Option<Seconds>,
    pub(super) default_time: Option<Seconds>,
    /// Nodes that one job may have at most.
    pub(super) most_nodes: Option<u32>,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) partitions: Vec<String>,
    /// Its machine's name.
    pub(super) host_name: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) in_service: bool,
    /// Nothing runs on it and nobody has reserved it.
    pub(super) idle: bool,
    pub(super) reserved: bool,
    pub(super) cores: u32,
    pub(super) cores_taken: u32,
    pub(super) threads_per_core: u32,
    pub(super) memory_mib: u64,
    pub(super) memory_taken_mib: u64,
    pub(super) gpus: Gpus,
    pub(super) gpus_taken: u32,
    pub(super) version: Option<String>,
}

/// The partitions that are up.
pub(super) fn partitions(text: &str) -> Vec<Partition> {
    let lines = text.lines().map(fields::record);
    lines
        .filter(|record| record.get("State") == Some(&"UP"))
        .filter_map(|record| {
            Some(Partition {
                name: (*record.get("PartitionName")?).to_owned(),
                is_default: record.get("Default") == Some(&"YES"),
                time_limit: record.get("MaxTime").and_then(|limit| fields::duration(limit)),
                default_time: record.get("DefaultTime").and_then(|limit| fields::duration(limit)),
                most_nodes: record.get("MaxNodes").and_then(|most| most.parse().ok()),
            })
        })
        .collect()
}

/// The nodes; a line that lacks what makes a node is left out.
pub(super) fn nodes(text: &str) -> Vec<Node> {
    text.lines().filter_map(|line| node(&fields::record(line))).collect()
}

fn node(record: &BTreeMap<&str, &str>) -> Option<Node> {
    let number = |key: &str| record.get(key).and_then(|value| value.parse::<u32>().ok());
    record.get("NodeName")?;
    let state = record.get("State")?;
    // `DOWN*` is a node that does not respond.
    let states: Vec<&str> =
        state.trim_end_matches(['*', '~', '#', '!', '%', '$', '@', '^', '-']).split('+').collect();
    let has = |wanted: &str| states.contains(&wanted);
    let threads_per_core = number("ThreadsPerCore").unwrap_or(1).max(1);
    // Cores that are set aside for the system are not for jobs.
    let cpus = number("CPUEfctv").or_else(|| number("CPUTot"))?;
    let reserved = has("RESERVED");
    Some(Node {
        partitions: record
            .get("Partitions")
            .map(|list| list.split(',').filter_map(fields::given).map(str::to_owned).collect())
            .unwrap_or_default(),
        host_name: record.get("NodeHostName").and_then(|value| fields::given(value)).map(str::to_owned),
        architecture: record.get("Arch").and_then(|value| fields::given(value)).map(str::to_owned),
        in_service: !state.contains('*') && !states.iter().any(|state| OUT_OF_SERVICE.contains(state)),
        idle: has("IDLE") && !reserved && !has("COMPLETING"),
        reserved,
        cores: cpus / threads_per_core,
        cores_taken: number("CPUAlloc").unwrap_or(0).div_ceil(threads_per_core),
        threads_per_core,
        memory_mib: record.get("RealMemory")?.parse().ok()?,
        memory_taken_mib: record.get("AllocMem").and_then(|value| value.parse().ok()).unwrap_or(0),
        gpus: record.get("Gres").map(|list| fields::gpus(list)).unwrap_or_default(),
        gpus_taken: record.get("GresUsed").map_or(0, |list| fields::gpus(list).count),
        version: record.get("Version").and_then(|value| fields::given(value)).map(str::to_owned),
    })
}

/// What a site has: its partitions that take work, and the nodes behind them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    pub(super) partitions: Vec<Partition>,
    pub(super) nodes: Vec<Node>,
}

impl Cluster {
    /// Reads both listings. With `only` named, the others do not exist for us.
    pub(super) fn read(partition_text: &str, node_text: &str, only: Option<&str>) -> Self {
        let mut partitions = partitions(partition_text);
        partitions.retain(|partition| only.is_none_or(|only| partition.name == only));
        let mut nodes = nodes(node_text);
        for node in &mut nodes {
            node.partitions.retain(|name| partitions.iter().any(|partition| partition.name == *name));
        }
        nodes.retain(|node| !node.partitions.is_empty());
        Self { partitions, nodes }
    }

    /// Whether the machine that asks is one of the nodes.
    pub(super) fn has_this_machine(&self) -> bool {
        hostname::is_any_of(self.nodes.iter().filter_map(|node| node.host_name.as_deref()))
    }

    /// The nodes that take work.
    pub(super) fn in_service(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.in_service)
    }

    pub(super) fn total(&self) -> Slots {
        slots(self.in_service().map(|node| (node.cores, node.memory_mib, node.gpus.count)))
    }

    pub(super) fn free(&self) -> Slots {
        slots(self.in_service().filter(|node| !node.reserved).map(|node| {
            (
                node.cores.saturating_sub(node.cores_taken),
                node.memory_mib.saturating_sub(node.memory_taken_mib),
                node.gpus.count.saturating_sub(node.gpus_taken),
            )
        }))
    }

    /// The longest time limit of a partition; none when one of them has no limit.
    pub(super) fn time_limit(&self) -> Option<Seconds> {
        let limits = self.partitions.iter().map(|partition| partition.time_limit);
        limits.collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
    }

    /// Nodes in service, in groups of equals. A group is named by its partitions; what differs within
    /// the same partitions is numbered.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        let mut groups: Vec<(Node, NodeGroup)> = Vec::new();
        for node in self.in_service() {
            let at = groups.iter().position(|(like, _)| alike(like, node)).unwrap_or_else(|| {
                groups.push((node.clone(), empty_group(node)));
                groups.len() - 1
            });
            let group = &mut groups[at].1;
            group.nodes += 1;
            if node.idle {
                add(&mut group.nodes_free, 1);
            }
            if !node.reserved {
                add(&mut group.cores_free, node.cores.saturating_sub(node.cores_taken));
                add(&mut group.gpus_free, node.gpus.count.saturating_sub(node.gpus_taken));
            }
        }
        let mut named: BTreeMap<String, u32> = BTreeMap::new();
        groups
            .into_iter()
            .map(|(_, mut group)| {
                let times = named.entry(group.name.clone()).or_insert(0);
                *times += 1;
                if *times > 1 {
                    group.name = format!("{}/{times}", group.name);
                }
                group
            })
            .collect()
    }
}

fn add(to: &mut Option<u32>, more: u32) {
    *to = Some(to.unwrap_or(0).saturating_add(more));
}

fn alike(one: &Node, other: &Node) -> bool {
    one.partitions == other.partitions
        && one.architecture == other.architecture
        && one.cores == other.cores
        && one.memory_mib == other.memory_mib
        && one.gpus == other.gpus
}

fn empty_group(node: &Node) -> NodeGroup {
    NodeGroup {
        name: node.partitions.join(","),
        architecture: node.architecture.clone(),
        cpu_model: None,
        nodes: 0,
        nodes_free: Some(0),
        cores_per_node: node.cores,
        cores_free: Some(0),
        memory_gib_per_node: Some(fields::mib(node.memory_mib)),
        gpus_per_node: node.gpus.count,
        gpus_free: Some(0),
        gpu_model: node.gpus.kind.as_deref().map(fields::gpu_model),
        gpu_memory_gib: None,
    }
}

fn slots(parts: impl Iterator<Item = (u32, u64, u32)>) -> Slots {
    let mut memory_mib = 0_u64;
    let mut sum = Slots::default();
    for (cores, memory, gpus) in parts {
        sum.cores = sum.cores.saturating_add(cores);
        sum.gpus = sum.gpus.saturating_add(gpus);
        memory_mib = memory_mib.saturating_add(memory);
    }
    sum.memory_gib = Some(fields::mib(memory_mib));
    sum
}
