//! What probing found at one site for one call (level 2), and the same shape for the complete truth
//! of a mock site. `None` means that nobody could tell; an empty list means that there are none.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Digest, ProposalId};
use crate::units::{GiB, Number, Seconds, Timestamp, Usd};

/// Everything known about a site at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Facts {
    /// The kind of site (`hpc`, `cloud`, `standalone`).
    pub archetype: Option<String>,
    /// Nodes and what is free of them.
    pub compute: Option<ComputeFacts>,
    /// The workload manager and its queue.
    pub workload: Option<WorkloadFacts>,
    /// Installed packages.
    pub software: Option<Vec<Package>>,
    /// Container runtimes that this user can use.
    pub containers: Option<Vec<Runtime>>,
    /// Fabrics that connect the nodes.
    pub networks: Option<Vec<Fabric>>,
    /// File systems for the work's data.
    pub storage: Option<Vec<FileSystem>>,
    /// MPI implementations.
    pub mpi: Option<Vec<Runtime>>,
    /// What was seen on the worker's own machine and need not be so on the site's nodes. Gates never use it.
    #[serde(skip_serializing_if = "HostFacts::is_empty")]
    pub host: HostFacts,
    /// What computing costs here.
    pub prices: Option<Prices>,
    /// Qualitative problems that a person would mention.
    pub flags: Vec<Flag>,
    /// Where each category came from, keyed by provider name.
    pub provenance: BTreeMap<String, Provenance>,
    /// The state that these facts describe, for mock sites.
    pub as_of: Option<AsOf>,
}

/// What was seen on a machine that is none of the site's nodes, such as a login node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostFacts {
    /// Installed packages.
    pub software: Option<Vec<Package>>,
    /// Container runtimes that this user can use.
    pub containers: Option<Vec<Runtime>>,
    /// Fabrics that this machine is connected to.
    pub networks: Option<Vec<Fabric>>,
    /// File systems.
    pub storage: Option<Vec<FileSystem>>,
    /// MPI implementations.
    pub mpi: Option<Vec<Runtime>>,
}

impl HostFacts {
    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an answer speaks of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The machine that the worker runs on, such as a login node.
    Host,
    /// The whole site.
    #[default]
    Site,
}

impl Scope {
    /// Whether it is the whole site.
    #[must_use]
    pub const fn is_site(&self) -> bool {
        matches!(self, Self::Site)
    }
}

/// The nodes of a site.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComputeFacts {
    /// Nodes in groups of equals.
    pub groups: Vec<NodeGroup>,
}

/// Equal nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeGroup {
    /// A name for the group, such as its partition.
    pub name: String,
    /// Processor architecture (`x86_64`, `aarch64`).
    pub architecture: Option<String>,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Nodes in service.
    pub nodes: u32,
    /// Nodes with nothing running on them.
    pub nodes_free: Option<u32>,
    /// Cores of one node.
    pub cores_per_node: u32,
    /// Cores free over the whole group.
    pub cores_free: Option<u32>,
    /// Memory of one node.
    pub memory_gib_per_node: Option<GiB>,
    /// GPUs of one node.
    pub gpus_per_node: u32,
    /// GPUs free over the whole group.
    pub gpus_free: Option<u32>,
    /// Short model name of the GPUs, lower case (`h100`).
    pub gpu_model: Option<String>,
    /// Memory of one GPU.
    pub gpu_memory_gib: Option<GiB>,
}

/// The workload manager and its queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadFacts {
    /// `slurm`, `flux`, `kubernetes`, `machine`, ...
    pub manager: String,
    /// The manager's version.
    pub version: Option<String>,
    /// Queues or partitions by name.
    pub partitions: Vec<String>,
    /// Jobs that wait.
    pub queue_depth: Option<u32>,
    /// Jobs that run.
    pub running: Option<u32>,
    /// When work of the asked size would start, if anyone can tell.
    pub start: Option<StartEstimate>,
    /// The longest run time that the queue accepts.
    pub time_limit: Option<Seconds>,
}

/// When work would start, as two quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartEstimate {
    /// Half of such starts are earlier than this.
    pub p50: Seconds,
    /// Nine in ten such starts are earlier than this.
    pub p90: Seconds,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Name, lower case.
    pub name: String,
    /// Version as the tool prints it.
    pub version: String,
    /// The provider that lists it (`spack`, `modules`, `conda`, `pip`, `command`).
    pub provider: String,
    /// The environment that holds it, where the provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// A container runtime or an MPI implementation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// Name, lower case (`singularity`, `openmpi`).
    pub name: String,
    /// Version, if it can be told.
    pub version: Option<String>,
}

/// A network that connects the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fabric {
    /// `infiniband`, `omni-path`, `ethernet`.
    pub kind: String,
    /// Speed of one link in Gb/s, if it can be told.
    pub gbps: Option<Number>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileSystem {
    /// `lustre`, `nfs`, `local-scratch`, `s3`, ...
    pub kind: String,
    /// Where it is mounted, or its bucket.
    pub path: String,
    /// Size.
    pub total_gib: Option<GiB>,
    /// Free space for this user.
    pub free_gib: Option<GiB>,
}

/// What computing costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prices {
    /// One node for one hour, everything in it included.
    pub node_hour_usd: Option<Usd>,
    /// One core for one hour.
    pub core_hour_usd: Option<Usd>,
    /// One GPU for one hour.
    pub gpu_hour_usd: Option<Usd>,
}

/// A stated qualitative problem; each has a fixed multiplier at the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flag {
    /// Which problem.
    pub kind: FlagKind,
    /// What shows it.
    pub evidence: String,
}

/// The qualitative problems that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlagKind {
    /// A maintenance window is near.
    Maintenance,
    /// The file system or the RAID is rebuilding.
    Rebuilding,
    /// Part of the site is down.
    Degraded,
    /// A quota is nearly used up.
    QuotaNear,
    /// The work may be stopped for somebody else's.
    Preemptible,
}

impl std::fmt::Display for FlagKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Maintenance => "maintenance",
            Self::Rebuilding => "rebuilding",
            Self::Degraded => "degraded",
            Self::QuotaNear => "quota-near",
            Self::Preemptible => "preemptible",
        })
    }
}

/// Where a fact came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The tool or interface that was asked (`squeue --json`, `/proc/meminfo`).
    pub source: String,
    /// Whether it speaks of the site or only of the machine that the worker runs on.
    #[serde(default, skip_serializing_if = "Scope::is_site")]
    pub scope: Scope,
    /// Digest of the raw answer.
    pub digest: Option<Digest>,
    /// When it was asked.
    pub observed_at: Timestamp,
    /// How old the answer was when it was used.
    pub age_seconds: Seconds,
    /// Why it could not be had, when it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Capacity that one piece of work takes while it is held or runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allocation {
    /// Whole nodes; 0 when the work shares a node.
    pub nodes: u32,
    /// Cores in total.
    pub cores: u32,
    /// GPUs in total.
    pub gpus: u32,
}

/// The state of a mock site that some facts describe: the tick, and the holds and awards in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AsOf {
    /// The tick of the simulated clock.
    pub tick: u64,
    /// Holds and awards whose capacity is taken, by proposal.
    pub taken: Vec<ProposalId>,
}
