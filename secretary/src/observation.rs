//! What the providers of one call told, put together into facts. On a machine that is its own site the
//! processor, memory and GPU providers each know a part of the one node; elsewhere the workload manager
//! knows the nodes and the parts describe only the machine that the worker runs on.

use std::collections::BTreeMap;

use protocol::call::Call;
use protocol::facts::{
    Allocation, ComputeFacts, Fabric, Facts, FileSystem, Flag, HostFacts, NodeGroup, Package, Prices,
    Provenance, Runtime, Scope, WorkloadFacts,
};
use protocol::proposal::ProviderCall;
use protocol::requirement::Requirement;
use protocol::units::GiB;

use crate::provider::{Category, Reading};
use crate::real::mounts::is_remote;

/// What one provider, or several, told.
#[derive(Debug, Clone, Default)]
pub struct PartialFacts {
    /// Parts of the machine that the worker runs on.
    pub host: HostPart,
    /// Nodes, where a workload manager tells of them.
    pub groups: Option<Vec<NodeGroup>>,
    /// The workload manager.
    pub workload: Option<WorkloadFacts>,
    /// Packages.
    pub software: Option<Vec<Package>>,
    /// Container runtimes.
    pub containers: Option<Vec<Runtime>>,
    /// Fabrics.
    pub networks: Option<Vec<Fabric>>,
    /// File systems.
    pub storage: Option<Vec<FileSystem>>,
    /// MPI implementations.
    pub mpi: Option<Vec<Runtime>>,
    /// Prices.
    pub prices: Option<Prices>,
    /// Problems.
    pub flags: Vec<Flag>,
}

/// Parts of the machine that the worker runs on.
#[derive(Debug, Clone, Default)]
pub struct HostPart {
    /// Processor architecture.
    pub architecture: Option<String>,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Cores that this worker may use.
    pub cores: Option<u32>,
    /// Those of them that nobody uses.
    pub cores_free: Option<u32>,
    /// GPUs that the workload manager has not handed out.
    pub gpus_free: Option<u32>,
    /// Whether nothing runs here.
    pub idle: Option<bool>,
    /// Memory that this worker may use.
    pub memory_gib: Option<GiB>,
    /// GPUs; one entry for each provider that looked.
    pub gpus: Vec<GpuPart>,
    /// Whether it is one of the nodes that the workload manager hands out.
    pub is_node: bool,
}

/// GPUs of one vendor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuPart {
    /// How many.
    pub count: u32,
    /// How many nobody uses.
    pub free: Option<u32>,
    /// Short model name, lower case.
    pub model: Option<String>,
    /// Memory of one.
    pub memory_gib: Option<GiB>,
}

/// What an investigation found and how.
#[derive(Debug, Clone, Default)]
pub struct Investigation {
    /// The facts.
    pub facts: Facts,
    /// The provider calls that led to them, in the order of the providers.
    pub calls: Vec<ProviderCall>,
}

fn join<T>(into: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    match (into.as_mut(), more) {
        (Some(list), Some(more)) => list.extend(more),
        (None, Some(more)) => *into = Some(more),
        (_, None) => {}
    }
}

impl HostPart {
    fn absorb(&mut self, other: Self) {
        self.architecture = self.architecture.take().or(other.architecture);
        self.cpu_model = self.cpu_model.take().or(other.cpu_model);
        self.cores = self.cores.or(other.cores);
        self.cores_free = self.cores_free.or(other.cores_free);
        self.gpus_free = self.gpus_free.or(other.gpus_free);
        self.idle = self.idle.or(other.idle);
        self.memory_gib = self.memory_gib.or(other.memory_gib);
        self.gpus.extend(other.gpus);
        self.is_node |= other.is_node;
    }
}

impl PartialFacts {
    /// Adds what another provider told: lists grow, the first single answer stays.
    pub fn absorb(&mut self, other: Self) {
        self.host.absorb(other.host);
        join(&mut self.groups, other.groups);
        join(&mut self.software, other.software);
        join(&mut self.containers, other.containers);
        join(&mut self.networks, other.networks);
        join(&mut self.storage, other.storage);
        join(&mut self.mpi, other.mpi);
        self.workload = self.workload.take().or(other.workload);
        self.prices = self.prices.or(other.prices);
        self.flags.extend(other.flags);
    }

    /// Takes away what is so on this machine and need not be so on the nodes. A file system that is
    /// reached over a network stays.
    fn take_host(&mut self) -> HostFacts {
        let (here, shared): (Vec<FileSystem>, Vec<FileSystem>) =
            self.storage.take().unwrap_or_default().into_iter().partition(|had| !is_remote(&had.kind));
        self.storage = (!shared.is_empty()).then_some(shared);
        HostFacts {
            software: self.software.take(),
            containers: self.containers.take(),
            networks: self.networks.take(),
            storage: (!here.is_empty()).then_some(here),
            mpi: self.mpi.take(),
        }
    }
}

/// Adds what another provider saw on the worker's own machine.
fn absorb_host(host: &mut HostFacts, other: HostFacts) {
    join(&mut host.software, other.software);
    join(&mut host.containers, other.containers);
    join(&mut host.networks, other.networks);
    join(&mut host.storage, other.storage);
    join(&mut host.mpi, other.mpi);
}

/// The one node of a machine that is its own site. `None` when a part that cannot stay open is
/// unknown: a node with no cores would be a claim.
fn machine(host: &HostPart, gpus_known: bool, requirement: &Requirement) -> Option<NodeGroup> {
    let cores = host.cores?;
    if !gpus_known && requirement.compute.gpus.is_some() {
        return None;
    }
    // A machine with GPUs of two vendors is described by the larger set.
    let gpus = host.gpus.iter().max_by_key(|part| part.count).cloned().unwrap_or_default();
    Some(NodeGroup {
        name: "machine".to_owned(),
        architecture: host.architecture.clone(),
        cpu_model: host.cpu_model.clone(),
        nodes: 1,
        nodes_free: host.idle.map(u32::from),
        cores_per_node: cores,
        cores_free: host.cores_free.map(|free| free.min(cores)),
        memory_gib_per_node: host.memory_gib,
        gpus_per_node: gpus.count,
        gpus_free: match gpus.count {
            0 => Some(0),
            count => gpus.free.into_iter().chain(host.gpus_free).min().map(|free| free.min(count)),
        },
        gpu_model: gpus.model,
        gpu_memory_gib: gpus.memory_gib,
    })
}

/// Takes held capacity off what the site's own tools call free.
fn hold_back(groups: &mut [NodeGroup], held: &[Allocation]) {
    for allocation in held {
        let mut left = *allocation;
        for group in groups.iter_mut() {
            let nodes = group.nodes_free.unwrap_or(0).min(left.nodes);
            let cores = group.cores_free.unwrap_or(0).min(left.cores);
            let gpus = group.gpus_free.unwrap_or(0).min(left.gpus);
            let touched = cores > 0 || gpus > 0;
            // A machine of one node that shares it has no whole node left.
            let whole = if nodes == 0 && touched && group.nodes == 1 { 1 } else { nodes };
            group.nodes_free = group.nodes_free.map(|free| free.saturating_sub(whole));
            group.cores_free = group.cores_free.map(|free| free - cores);
            group.gpus_free = group.gpus_free.map(|free| free - gpus);
            left.nodes -= nodes;
            left.cores -= cores;
            left.gpus -= gpus;
        }
    }
}

/// Puts together what the providers told about one call. `looked` names the categories in which having
/// no provider means having nothing, because the look for providers itself was the look; `unsure` those
/// in which that look brought no answer.
#[must_use]
pub fn assemble(
    call: &Call,
    readings: Vec<Reading>,
    looked: &[Category],
    unsure: &[Category],
    held: &[Allocation],
) -> Investigation {
    let mut all = PartialFacts::default();
    let mut calls = Vec::new();
    let mut provenance = BTreeMap::new();
    let mut host = HostFacts::default();
    let told = |reading: &Reading| reading.facts.workload.clone();
    let standalone = readings.iter().filter_map(told).all(|workload| workload.manager == "machine");
    let is_node = standalone || readings.iter().any(|reading| reading.facts.host.is_node);
    let mut failed = if is_node { unsure.to_vec() } else { Vec::new() };
    for mut reading in readings {
        let scope = if is_node { Scope::Site } else { reading.scope };
        if scope == Scope::Host {
            absorb_host(&mut host, reading.facts.take_host());
        }
        // Storage is of both kinds; what else fails on this machine says nothing of the nodes.
        if reading.failed && (scope == Scope::Site || reading.category == Category::Storage) {
            failed.push(reading.category);
        }
        if let Some(found) = reading.provenance {
            provenance.insert(reading.provider.to_owned(), Provenance { scope, ..found });
        }
        calls.extend(reading.calls);
        all.absorb(reading.facts);
    }
    let (containers, networks, mpi) = if is_node {
        (&mut all.containers, &mut all.networks, &mut all.mpi)
    } else {
        (&mut host.containers, &mut host.networks, &mut host.mpi)
    };
    if looked.contains(&Category::Container) {
        containers.get_or_insert_default();
    }
    if looked.contains(&Category::Network) {
        networks.get_or_insert_default();
    }
    if looked.contains(&Category::Parallel) {
        mpi.get_or_insert_default();
    }
    let gpus_known = !failed.contains(&Category::Hardware);
    let groups = match all.groups {
        Some(groups) => Some(groups),
        None if standalone => machine(&all.host, gpus_known, &call.requirement).map(|group| vec![group]),
        None => None,
    };
    let groups = groups.map(|mut groups| {
        hold_back(&mut groups, held);
        groups
    });
    let mut facts = Facts {
        archetype: standalone.then(|| "standalone".to_owned()),
        compute: groups.map(|groups| ComputeFacts { groups }),
        workload: all.workload,
        software: all.software,
        containers: all.containers,
        networks: all.networks,
        storage: all.storage,
        mpi: all.mpi,
        host,
        prices: all.prices,
        flags: all.flags,
        provenance,
        as_of: None,
    };
    for category in failed {
        forget_doubtful(category, &call.requirement, &mut facts);
    }
    Investigation { facts, calls }
}

/// A list that lacks the answer of a provider shows what is there but not what is absent. It is kept
/// when it already meets the requirement, and is unknown otherwise.
fn forget_doubtful(category: Category, requirement: &Requirement, facts: &mut Facts) {
    let only = match category {
        Category::Software => {
            Requirement { software: requirement.software.clone(), ..Requirement::default() }
        }
        Category::Container => {
            Requirement { container: requirement.container.clone(), ..Requirement::default() }
        }
        Category::Storage => Requirement { storage: requirement.storage.clone(), ..Requirement::default() },
        Category::Network => Requirement { network: requirement.network.clone(), ..Requirement::default() },
        Category::Parallel => Requirement { mpi: requirement.mpi, ..Requirement::default() },
        Category::Hardware | Category::Workload => return,
    };
    if matching::unmet::unmet(&only, facts).is_empty() {
        return;
    }
    match category {
        Category::Software => facts.software = None,
        Category::Container => facts.containers = None,
        Category::Storage => facts.storage = None,
        Category::Network => facts.networks = None,
        Category::Parallel => facts.mpi = None,
        Category::Hardware | Category::Workload => {}
    }
}
