//! What a request demands: hard constraints only. A field that is absent was not asked for.
//!
//! Lists in `network`, `container` and `workload` are alternatives. Names are lower case, versions
//! stay as written, sizes are GiB, `cores` and `memory_gib` are totals over all nodes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;
use crate::units::{GiB, Seconds, Usd};

/// The typed meaning of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Requirement {
    /// Packages that must be there, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub software: Vec<SoftwareNeed>,
    /// Nodes, tasks, cores, memory, GPUs.
    #[serde(skip_serializing_if = "ComputeNeed::is_empty")]
    pub compute: ComputeNeed,
    /// Acceptable fabrics (`infiniband`, `omni-path`, `ethernet`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// File systems that must be there, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageNeed>,
    /// Acceptable container runtimes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container: Vec<String>,
    /// Whether an MPI implementation is needed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mpi: bool,
    /// Acceptable workload managers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload: Vec<String>,
    /// Urgency, deadline, latest start, duration.
    #[serde(skip_serializing_if = "TimeNeed::is_empty")]
    pub time: TimeNeed,
    /// The most that the work may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<Usd>,
    /// Labels that the worker must carry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What must not be used.
    #[serde(skip_serializing_if = "Exclusions::is_empty")]
    pub exclude: Exclusions,
}

/// One package and the versions of it that will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoftwareNeed {
    /// The package's name, lower case.
    pub name: String,
    /// `>=1.2`, `==2023`, `~1.4`, `^2`, or several joined with commas; absent means any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
}

/// How much computing is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComputeNeed {
    /// Whole nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Processes (MPI ranks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Cores in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<GiB>,
    /// Cores on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_per_node: Option<u32>,
    /// Memory on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib_per_node: Option<GiB>,
    /// GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuNeed>,
}

impl ComputeNeed {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How many GPUs, of which kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuNeed {
    /// How many.
    pub count: u32,
    /// Whether `count` is for each node or in total.
    #[serde(default)]
    pub per: GpuScope,
    /// The model's short name, lower case (`h100`, `a100`, `mi300x`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Least memory of one GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<GiB>,
    /// Whether the work also runs without GPUs ("CPU or GPU").
    #[serde(default)]
    pub optional: bool,
}

/// What a GPU count refers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuScope {
    /// On each node.
    Node,
    /// Over all nodes.
    #[default]
    Total,
}

/// A file system that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageNeed {
    /// Its kind (`lustre`, `nfs`, `local-scratch`, `s3`, ...); absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Least free space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_gib: Option<GiB>,
}

/// When the work must start and end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeNeed {
    /// How urgent it is in the asker's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// Latest end, counted from the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Seconds>,
    /// Latest start, counted from the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_by_seconds: Option<Seconds>,
    /// How long the work runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<Seconds>,
}

impl TimeNeed {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How urgent the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// It can wait ("tonight is fine", "whenever").
    Flexible,
    /// Soon, but not at once.
    Soon,
    /// At once; a queue is not acceptable.
    Immediate,
}

/// What must not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exclusions {
    /// Workers by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerId>,
    /// Kinds of site (`cloud`, `hpc`, `standalone`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archetypes: Vec<String>,
    /// Workload managers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload: Vec<String>,
    /// Container runtimes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container: Vec<String>,
    /// Fabrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// Kinds of file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<String>,
}

impl Exclusions {
    /// Whether nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
