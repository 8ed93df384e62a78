//! Nodes: what they have for work, and what the pods on them leave of it.
//!
//! What the pods of DaemonSets and a node's own (static) pods take is not for work: it belongs to the node.
//! So a node on which nothing else runs is free.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceQuota, ResourceRequirements, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use protocol::facts::NodeGroup;
use protocol::units::GiB;

use super::fields;
use crate::read::Slots;
use crate::slurm::gpu_model;

/// The resources that count GPUs, each with the label that names their model.
pub(super) const GPU_RESOURCES: &[(&str, &str)] =
    &[("nvidia.com/gpu", "nvidia.com/gpu.product"), ("amd.com/gpu", "amd.com/gpu.product-name")];

/// Memory of a GPU in MiB, where NVIDIA's feature discovery says it.
const GPU_MEMORY_LABEL: &str = "nvidia.com/gpu.memory";

/// The name of a group whose nodes have no instance type.
const NO_TYPE: &str = "nodes";

/// Thousandths of cores, bytes of memory, and GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount {
    pub(super) millicores: u64,
    pub(super) memory: u64,
    pub(super) gpus: u64,
}

impl Amount {
    fn of(map: Option<&BTreeMap<String, Quantity>>) -> Self {
        let gpus = GPU_RESOURCES.iter().filter_map(|(name, _)| fields::amount(map, name));
        Self {
            millicores: fields::amount(map, "cpu").unwrap_or(0),
            memory: fields::amount(map, "memory").unwrap_or(0),
            gpus: gpus.fold(0, u64::saturating_add),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_add(other.millicores),
            memory: self.memory.saturating_add(other.memory),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_sub(other.millicores),
            memory: self.memory.saturating_sub(other.memory),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    fn most(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.max(other.millicores),
            memory: self.memory.max(other.memory),
            gpus: self.gpus.max(other.gpus),
        }
    }

    /// Whether all of it is here.
    pub(super) fn fits(self, into: Self) -> bool {
        self.millicores <= into.millicores && self.memory <= into.memory && self.gpus <= into.gpus
    }

    /// In whole cores, as far as there are.
    pub(super) fn slots(self) -> Slots {
        Slots {
            cores: count(self.millicores / 1000),
            memory_gib: Some(gib(self.memory)),
            gpus: count(self.gpus),
        }
    }

    /// In whole cores, as much as it takes; no memory where none was asked for.
    pub(super) fn takes(self) -> Slots {
        Slots {
            cores: count(self.millicores.div_ceil(1000)),
            memory_gib: (self.memory > 0).then(|| gib(self.memory)),
            gpus: count(self.gpus),
        }
    }
}

fn count(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn gib(bytes: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "a size in memory is far below 2^53 bytes")]
    GiB::saturating(bytes as f64 / 1_073_741_824.0)
}

/// What a pod takes: its containers together with those that start before and stay, or the largest of those
/// that come before them.
pub(super) fn requests(pod: &Pod) -> Amount {
    pod.spec.as_ref().map_or_else(Amount::default, pod_requests)
}

/// What a pod of this form takes.
pub(super) fn pod_requests(spec: &k8s_openapi::api::core::v1::PodSpec) -> Amount {
    let of = |resources: Option<&ResourceRequirements>| {
        // Without a request, the limit is the request.
        let requests = Amount::of(resources.and_then(|resources| resources.requests.as_ref()));
        let limits = Amount::of(resources.and_then(|resources| resources.limits.as_ref()));
        let or = |request: u64, limit: u64| if request == 0 { limit } else { request };
        Amount {
            millicores: or(requests.millicores, limits.millicores),
            memory: or(requests.memory, limits.memory),
            gpus: or(requests.gpus, limits.gpus),
        }
    };
    let container = |container: &Container| of(container.resources.as_ref());
    let first = spec.init_containers.iter().flatten();
    let (stay, before): (Vec<&Container>, Vec<&Container>) =
        first.partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let together = spec.containers.iter().chain(stay).map(container).fold(Amount::default(), Amount::and);
    let largest = before.into_iter().map(container).fold(Amount::default(), Amount::most);
    let all = together.most(largest).most(of(spec.resources.as_ref()));
    all.and(Amount::of(spec.overhead.as_ref()))
}

/// A pod that holds a part of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resident {
    node: String,
    takes: Amount,
    /// It belongs to the node: a DaemonSet put it there, or the node itself.
    is_of_the_node: bool,
}

impl Resident {
    /// Of a pod that is on a node and not over.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let node = pod.spec.as_ref()?.node_name.clone().filter(|name| !name.is_empty())?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let is_of_the_node = owners.any(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"));
        Some(Self { node, takes: requests(pod), is_of_the_node })
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Machine {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) in_service: bool,
    /// It is kept for work with GPUs.
    gpus_only: bool,
    /// What there is for work.
    pub(super) has: Amount,
    /// What of it is free; none where the pods cannot be seen.
    pub(super) free: Option<Amount>,
    /// The resource that counts its GPUs, and their product.
    pub(super) gpu_resource: Option<&'static str>,
    pub(super) gpu_product: Option<String>,
    architecture: Option<String>,
}

impl Machine {
    fn of(node: Node, residents: Option<&Vec<Resident>>, pods_are_seen: bool) -> Self {
        let labels = node.metadata.labels.unwrap_or_default();
        let status = node.status.unwrap_or_default();
        let spec = node.spec.unwrap_or_default();
        let is_ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let taints = spec.taints.iter().flatten().filter(|taint| taint.effect != "PreferNoSchedule");
        let (of_gpus, others): (Vec<&Taint>, Vec<&Taint>) = taints.partition(|taint| {
            taint.effect == "NoSchedule" && GPU_RESOURCES.iter().any(|(resource, _)| taint.key == *resource)
        });
        let allocatable = status.allocatable.as_ref();
        let gpus =
            GPU_RESOURCES.iter().find(|(name, _)| fields::amount(allocatable, name).is_some_and(|n| n > 0));
        let residents = residents.map(Vec::as_slice).unwrap_or_default();
        let taken = |is_of_the_node: bool| {
            let those = residents.iter().filter(|pod| pod.is_of_the_node == is_of_the_node);
            those.map(|pod| pod.takes).fold(Amount::default(), Amount::and)
        };
        let has = Amount::of(allocatable).without(taken(true));
        let architecture = status.node_info.map(|info| info.architecture).filter(|name| !name.is_empty());
        Self {
            gpus_only: !of_gpus.is_empty(),
            in_service: is_ready && others.is_empty() && spec.unschedulable != Some(true),
            has,
            free: pods_are_seen.then(|| has.without(taken(false))),
            gpu_resource: gpus.map(|(resource, _)| *resource),
            gpu_product: gpus.and_then(|(_, label)| labels.get(*label).cloned()),
            architecture: architecture.map(|name| match name.as_str() {
                "amd64" => "x86_64".to_owned(),
                "arm64" => "aarch64".to_owned(),
                _ => name,
            }),
            labels,
        }
    }

    /// Whether it takes work with so many GPUs.
    pub(super) fn takes(&self, gpus: u32) -> bool {
        gpus > 0 || !self.gpus_only
    }

    /// The short name of its GPUs' model.
    pub(super) fn gpu_model(&self) -> Option<String> {
        self.gpu_product.as_ref().map(|product| gpu_model(&product.replace('-', "_")))
    }

    fn gpu_memory(&self) -> Option<GiB> {
        let mebibytes = self.labels.get(GPU_MEMORY_LABEL)?.parse::<u64>().ok()?;
        Some(gib(mebibytes.checked_mul(1_048_576)?))
    }
}

/// What the quotas of the namespace allow, and what is left of it. None where there is no quota on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quota {
    hard: Limits,
    left: Limits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Limits {
    millicores: Option<u64>,
    memory: Option<u64>,
    gpus: Option<u64>,
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Limits {
    fn and(self, other: Self) -> Self {
        Self {
            millicores: smaller(self.millicores, other.millicores),
            memory: smaller(self.memory, other.memory),
            gpus: smaller(self.gpus, other.gpus),
        }
    }

    fn of(amount: Amount) -> Self {
        Self { millicores: Some(amount.millicores), memory: Some(amount.memory), gpus: Some(amount.gpus) }
    }

    fn bound(self, amount: Amount) -> Amount {
        let bounded = self.and(Self::of(amount));
        Amount {
            millicores: bounded.millicores.unwrap_or(0),
            memory: bounded.memory.unwrap_or(0),
            gpus: bounded.gpus.unwrap_or(0),
        }
    }
}

impl Quota {
    /// The tightest of several. A quota with a scope is for some kinds of pods only and is left to the API
    /// server.
    pub(super) fn of(quotas: &[ResourceQuota]) -> Self {
        let mut all = Self::default();
        for quota in quotas {
            let is_scoped = quota.spec.as_ref().is_some_and(|spec| {
                spec.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty()) || spec.scope_selector.is_some()
            });
            let Some(status) = quota.status.as_ref().filter(|_| !is_scoped) else { continue };
            let hard = |name: &str| fields::amount(status.hard.as_ref(), name);
            let left = |name: &str| {
                let used = fields::amount(status.used.as_ref(), name).unwrap_or(0);
                hard(name).map(|hard| hard.saturating_sub(used))
            };
            let limits = |of: &dyn Fn(&str) -> Option<u64>| {
                let least = |names: &[&str]| names.iter().map(|name| of(name)).fold(None, smaller);
                Limits {
                    millicores: least(&["cpu", "requests.cpu", "limits.cpu"]),
                    memory: least(&["memory", "requests.memory", "limits.memory"]),
                    gpus: least(&["requests.nvidia.com/gpu", "requests.amd.com/gpu"]),
                }
            };
            all.hard = all.hard.and(limits(&hard));
            all.left = all.left.and(limits(&left));
        }
        all
    }
}

/// Nodes and quota.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<Machine>,
    quota: Quota,
}

impl Cluster {
    /// Out of listings; `pods` is none where we may not see them.
    pub(super) fn of(nodes: Vec<Node>, pods: Option<Vec<Resident>>, quotas: &[ResourceQuota]) -> Self {
        let pods_are_seen = pods.is_some();
        let mut residents: BTreeMap<String, Vec<Resident>> = BTreeMap::new();
        for pod in pods.unwrap_or_default() {
            residents.entry(pod.node.clone()).or_default().push(pod);
        }
        let machine = |node: Node| {
            let on_it = node.metadata.name.as_ref().and_then(|name| residents.get(name));
            Machine::of(node, on_it, pods_are_seen)
        };
        Self { nodes: nodes.into_iter().map(machine).collect(), quota: Quota::of(quotas) }
    }

    pub(super) fn in_service(&self) -> impl Iterator<Item = &Machine> {
        self.nodes.iter().filter(|node| node.in_service)
    }

    /// What there is for work, within the quota.
    pub(super) fn total(&self) -> Amount {
        // Cores are whole on each node.
        let whole = self.in_service().map(|node| whole_cores(node.has));
        self.quota.hard.bound(whole.fold(Amount::default(), Amount::and))
    }

    /// What of it is free; none where the pods cannot be seen.
    pub(super) fn free(&self) -> Option<Amount> {
        let free = self.in_service().map(|node| node.free.map(whole_cores));
        let sum = free.collect::<Option<Vec<_>>>()?.into_iter().fold(Amount::default(), Amount::and);
        Some(self.quota.left.bound(sum))
    }

    /// What the quota would ever allow one pod.
    pub(super) fn within_quota(&self, amount: Amount) -> bool {
        amount.fits(self.quota.hard.bound(Amount { millicores: u64::MAX, memory: u64::MAX, gpus: u64::MAX }))
    }

    /// Whether a pod of this size would find a node now; none where that cannot be known.
    pub(super) fn fits_now(&self, amount: Amount, may: impl Fn(&Machine) -> bool) -> Option<bool> {
        let mut nodes = self.in_service().filter(|node| may(node)).map(|node| node.free);
        let everywhere = Amount { millicores: u64::MAX, memory: u64::MAX, gpus: u64::MAX };
        let by_quota = amount.fits(self.quota.left.bound(everywhere));
        if nodes.by_ref().any(|free| free.is_some_and(|free| amount.fits(free))) {
            return Some(by_quota);
        }
        let any_unknown = self.in_service().any(|node| node.free.is_none());
        if any_unknown && by_quota { None } else { Some(false) }
    }

    /// Nodes in service, in groups of equals, named by their instance type; several of one name are numbered.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        type Key = (String, Option<String>, Amount, Option<String>);
        let mut groups: BTreeMap<Key, NodeGroup> = BTreeMap::new();
        for node in self.in_service() {
            let kind = node.labels.get("node.kubernetes.io/instance-type");
            let name = kind.cloned().unwrap_or_else(|| NO_TYPE.to_owned());
            let has = node.has.slots();
            let whole = whole_cores(node.has);
            // The kubelet's own part of the memory differs by some pages from node to node.
            let mebibytes = whole.memory >> 20;
            let key = (
                name.clone(),
                node.architecture.clone(),
                Amount { memory: mebibytes, ..whole },
                node.gpu_model(),
            );
            let pods_are_seen = node.free.is_some();
            let group = groups.entry(key).or_insert_with(|| NodeGroup {
                name,
                architecture: node.architecture.clone(),
                cpu_model: None,
                nodes: 0,
                nodes_free: pods_are_seen.then_some(0),
                cores_per_node: has.cores,
                cores_free: pods_are_seen.then_some(0),
                memory_gib_per_node: Some(gib(mebibytes << 20)),
                gpus_per_node: has.gpus,
                gpus_free: pods_are_seen.then_some(0),
                gpu_model: node.gpu_model(),
                gpu_memory_gib: node.gpu_memory(),
            });
            let add = |to: &mut Option<u32>, more: u32| *to = to.map(|sum| sum.saturating_add(more));
            group.nodes += 1;
            if let Some(free) = node.free {
                add(&mut group.nodes_free, u32::from(free == node.has));
                add(&mut group.cores_free, free.slots().cores);
                add(&mut group.gpus_free, free.slots().gpus);
            }
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

    /// Nodes that are not in service.
    pub(super) fn out_of_service(&self) -> u32 {
        count(self.nodes.iter().filter(|node| !node.in_service).count() as u64)
    }
}

fn whole_cores(amount: Amount) -> Amount {
    Amount { millicores: amount.millicores / 1000 * 1000, ..amount }
}

#[cfg(test)]
mod tests;
