//! Nodes and queues: `flux resource R` for what there is and what is free, `flux resource status` for
//! which of it is in service (a lost node shows only there), `flux queue list` for the queues' state and
//! limits, `flux config get` for the properties that a queue's nodes have.

use std::collections::{BTreeMap, BTreeSet};

use protocol::facts::NodeGroup;
use protocol::units::Seconds;
use serde::Deserialize;
use serde_json::Value;

use super::fields;
use crate::hostname;
use crate::read::Slots;

/// The group of nodes of a Flux without named queues.
const NO_QUEUES: &str = "all";

/// The fields of `flux resource status`, in the order in which [`in_service`] takes them. The last is free
/// text and is not read.
pub(super) const STATUS_FORMAT: &str =
    "{state}|{statex}|{status}|{nnodes}|{ranks}|{nodelist}|{timestamp}|{reason}";
/// The fields of `flux queue list`, in the order in which [`queues`] takes them. Without `.ascii` these are
/// colours and ticks, even in a pipe.
pub(super) const QUEUE_FORMAT: &str = "{queue}|{queuem}|{submission}|{scheduling}|{enabled.ascii}|\
                                       {started.ascii}|{defaults.timelimit}|{limits.timelimit}|\
                                       {limits.range.nnodes}";

/// A queue; the one of a Flux without named queues has no name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) is_default: bool,
    /// It takes jobs, and starts them.
    pub(super) is_open: bool,
    pub(super) default_time: Option<Seconds>,
    pub(super) time_limit: Option<Seconds>,
    /// Nodes that one job may have at most.
    pub(super) most_nodes: Option<u32>,
    /// Properties that its nodes have.
    pub(super) requires: Vec<String>,
}

/// A node, by its rank.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Node {
    pub(super) properties: BTreeSet<String>,
    /// Open queues that it is in.
    pub(super) queues: Vec<String>,
    pub(super) in_service: bool,
    pub(super) cores: u32,
    pub(super) cores_free: u32,
    pub(super) gpus: u32,
    pub(super) gpus_free: u32,
}

/// A resource set (RFC 20), as far as it is read.
#[derive(Deserialize)]
struct ResourceSet {
    execution: Execution,
}

#[derive(Deserialize)]
struct Execution {
    #[serde(rename = "R_lite")]
    lite: Vec<Lite>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    nodelist: Vec<String>,
}

#[derive(Deserialize)]
struct Lite {
    rank: String,
    children: Children,
}

#[derive(Deserialize)]
struct Children {
    #[serde(default)]
    core: String,
    #[serde(default)]
    gpu: String,
}

/// Cores and GPUs of each rank, and the ranks with each property.
struct Resources {
    hosts: Vec<String>,
    ranks: BTreeMap<u32, (u32, u32)>,
    properties: BTreeMap<String, BTreeSet<u32>>,
}

fn resources(text: &str) -> Result<Resources, String> {
    let set: ResourceSet = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let ids = |text: &str| fields::id_set(text).ok_or_else(|| format!("{text:.60?} is no set of ids"));
    let count = |text: &str| ids(text).map(|ids| u32::try_from(ids.len()).unwrap_or(u32::MAX));
    let mut ranks = BTreeMap::new();
    for lite in &set.execution.lite {
        let has = (count(&lite.children.core)?, count(&lite.children.gpu)?);
        for rank in ids(&lite.rank)? {
            if ranks.insert(rank, has).is_some() {
                return Err(format!("rank {rank} is named twice"));
            }
        }
    }
    let properties = set.execution.properties.iter();
    let properties = properties.map(|(name, ranks)| Ok((name.clone(), ids(ranks)?)));
    let hosts = set.execution.nodelist;
    Ok(Resources { hosts, ranks, properties: properties.collect::<Result<_, String>>()? })
}

/// The ranks that take work: available and online.
fn in_service(text: &str) -> Result<BTreeSet<u32>, String> {
    let mut ranks = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parts: Vec<&str> = line.splitn(8, '|').collect();
        let [state, _, status, _, named, _, _, _] = parts.as_slice() else {
            return Err(format!("{line:.80?} is no line of it"));
        };
        let named = fields::id_set(named).ok_or_else(|| format!("{named:.60?} is no set of ranks"))?;
        if *state == "avail" && *status == "online" {
            ranks.extend(named);
        }
    }
    Ok(ranks)
}

/// The queues. `configuration` says what their nodes have to have.
fn queues(text: &str, configuration: &str) -> Result<Vec<Queue>, String> {
    let configuration: Value = serde_json::from_str(configuration).map_err(|error| error.to_string())?;
    let requires = |name: &str| -> Vec<String> {
        let list =
            configuration.get("queues").and_then(|queues| queues.get(name)?.get("requires")?.as_array());
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parts: Vec<&str> = line.split('|').collect();
        let [name, marked, _, _, enabled, started, default_time, time_limit, nodes] = parts.as_slice() else {
            return Err(format!("{line:.80?} is no line of it"));
        };
        let limit = |text: &str| text.parse().ok().and_then(fields::limit);
        found.push(Queue {
            name: (*name).to_owned(),
            is_default: name.is_empty() || marked.ends_with('*'),
            is_open: (*enabled, *started) == ("y", "y"),
            default_time: limit(default_time),
            time_limit: limit(time_limit),
            most_nodes: nodes.split_once('-').and_then(|(_, most)| most.parse().ok()),
            requires: requires(name),
        });
    }
    Ok(found)
}

/// What the commands printed.
#[derive(Debug, Default)]
pub(super) struct Listings {
    /// `flux resource R`.
    pub(super) all: String,
    /// `flux resource R --states=free`.
    pub(super) free: String,
    /// `flux resource status`.
    pub(super) status: String,
    /// `flux queue list`.
    pub(super) queues: String,
    /// `flux config get`.
    pub(super) configuration: String,
}

/// What a site has: its open queues and the nodes behind them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    pub(super) queues: Vec<Queue>,
    pub(super) nodes: Vec<Node>,
    /// Whether the machine that asks is one of the nodes.
    pub(super) has_this_machine: bool,
}

impl Cluster {
    /// Reads the listings. With `only` named, the other queues do not exist for us. The error comes with
    /// the command that it is about.
    pub(super) fn read(listings: &Listings, only: Option<&str>) -> Result<Self, (&'static str, String)> {
        let of = |command: &'static str| move |problem: String| (command, problem);
        let all = resources(&listings.all).map_err(of("flux resource R"))?;
        let free = resources(&listings.free).map_err(of("flux resource R"))?;
        let up = in_service(&listings.status).map_err(of("flux resource status"))?;
        let mut queues = queues(&listings.queues, &listings.configuration).map_err(of("flux queue list"))?;
        queues.retain(|queue| queue.is_open && only.is_none_or(|only| queue.name == only));
        let mut nodes = Vec::new();
        for (rank, (cores, gpus)) in all.ranks {
            let has = |(_, ranks): &(&String, &BTreeSet<u32>)| ranks.contains(&rank);
            let properties: BTreeSet<String> =
                all.properties.iter().filter(has).map(|(name, _)| name.clone()).collect();
            let within = |queue: &&Queue| queue.requires.iter().all(|name| properties.contains(name));
            let queues: Vec<String> = queues.iter().filter(within).map(|queue| queue.name.clone()).collect();
            let (cores_free, gpus_free) = free.ranks.get(&rank).copied().unwrap_or_default();
            if !queues.is_empty() {
                nodes.push(Node {
                    properties,
                    queues,
                    in_service: up.contains(&rank),
                    cores,
                    cores_free: cores_free.min(cores),
                    gpus,
                    gpus_free: gpus_free.min(gpus),
                });
            }
        }
        let has_this_machine = hostname::is_any_of(all.hosts.iter().map(String::as_str));
        Ok(Self { queues, nodes, has_this_machine })
    }

    /// The nodes that take work.
    pub(super) fn in_service(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.in_service)
    }

    pub(super) fn total(&self) -> Slots {
        slots(self.in_service().map(|node| (node.cores, node.gpus)))
    }

    pub(super) fn free(&self) -> Slots {
        slots(self.in_service().map(|node| (node.cores_free, node.gpus_free)))
    }

    /// The longest time limit of a queue; none when one of them has no limit.
    pub(super) fn time_limit(&self) -> Option<Seconds> {
        let limits = self.queues.iter().map(|queue| queue.time_limit);
        limits.collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
    }

    /// Nodes in service, in groups of equals, named by their queues; what differs within the same queues
    /// is numbered. Flux knows neither memory nor models.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        let mut groups: BTreeMap<(String, u32, u32), NodeGroup> = BTreeMap::new();
        for node in self.in_service() {
            let name = node.queues.join(",");
            let name = if name.is_empty() { NO_QUEUES.to_owned() } else { name };
            let group = groups.entry((name.clone(), node.cores, node.gpus)).or_insert_with(|| NodeGroup {
                name,
                architecture: None,
                cpu_model: None,
                nodes: 0,
                nodes_free: Some(0),
                cores_per_node: node.cores,
                cores_free: Some(0),
                memory_gib_per_node: None,
                gpus_per_node: node.gpus,
                gpus_free: Some(0),
                gpu_model: None,
                gpu_memory_gib: None,
            });
            let add = |to: &mut Option<u32>, more: u32| *to = to.map(|sum| sum.saturating_add(more));
            let is_idle = (node.cores_free, node.gpus_free) == (node.cores, node.gpus);
            group.nodes += 1;
            add(&mut group.nodes_free, u32::from(is_idle));
            add(&mut group.cores_free, node.cores_free);
            add(&mut group.gpus_free, node.gpus_free);
        }
        let mut named: BTreeMap<String, u32> = BTreeMap::new();
        let mut groups: Vec<NodeGroup> = groups.into_values().collect();
        for group in &mut groups {
            let times = named.entry(group.name.clone()).or_insert(0);
            *times += 1;
            if *times > 1 {
                group.name = format!("{}/{times}", group.name);
            }
        }
        groups
    }
}

fn slots(parts: impl Iterator<Item = (u32, u32)>) -> Slots {
    parts.fold(Slots::default(), |sum, (cores, gpus)| Slots {
        cores: sum.cores.saturating_add(cores),
        memory_gib: None,
        gpus: sum.gpus.saturating_add(gpus),
    })
}
