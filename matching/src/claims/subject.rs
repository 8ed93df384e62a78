//! What claims are about.

/// A subject that has a meaning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    Nodes,
    NodesFree,
    Cores,
    CoresFree,
    CoresPerNode,
    Memory,
    MemoryPerNode,
    Gpus,
    GpusFree,
    GpusPerNode,
    GpuModel,
    GpuMemory,
    Software(&'a str),
    Network(&'a str),
    NetworkSpeed(&'a str),
    Storage(&'a str),
    StorageFree(&'a str),
    Container(&'a str),
    Mpi,
    Manager,
    TimeLimit,
    QueueDepth,
    StartP90,
    Price,
    Archetype,
}

impl<'a> Subject<'a> {
    /// Reads a dotted path; `None` for one that has no meaning here.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        Some(match path {
            "compute.nodes" => Self::Nodes,
            "compute.nodes_free" => Self::NodesFree,
            "compute.cores" => Self::Cores,
            "compute.cores_free" => Self::CoresFree,
            "compute.cores_per_node" => Self::CoresPerNode,
            "compute.memory_gib" => Self::Memory,
            "compute.memory_gib_per_node" => Self::MemoryPerNode,
            "compute.gpus" => Self::Gpus,
            "compute.gpus_free" => Self::GpusFree,
            "compute.gpus_per_node" => Self::GpusPerNode,
            "compute.gpu_model" => Self::GpuModel,
            "compute.gpu_memory_gib" => Self::GpuMemory,
            "mpi" => Self::Mpi,
            "workload.manager" => Self::Manager,
            "workload.time_limit_seconds" => Self::TimeLimit,
            "queue.depth" => Self::QueueDepth,
            "start.p90_seconds" => Self::StartP90,
            "price.node_hour_usd" | "price.core_hour_usd" | "price.gpu_hour_usd" => Self::Price,
            "archetype" => Self::Archetype,
            _ => return Self::parse_named(path),
        })
    }

    /// The subjects that carry a name from the requirement, which may itself contain dots.
    fn parse_named(path: &'a str) -> Option<Self> {
        let (group, name) = path.split_once('.')?;
        let with_suffix = |suffix: &str| name.strip_suffix(suffix).filter(|name| !name.is_empty());
        match group {
            _ if name.is_empty() => None,
            "software" => Some(Self::Software(name)),
            "container" => Some(Self::Container(name)),
            "network" => Some(with_suffix(".gbps").map_or(Self::Network(name), Self::NetworkSpeed)),
            "storage" => Some(with_suffix(".free_gib").map_or(Self::Storage(name), Self::StorageFree)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let table = [
            ("compute.gpus_free", Some(Subject::GpusFree)),
            ("software.python.org", Some(Subject::Software("python.org"))),
            ("network.infiniband", Some(Subject::Network("infiniband"))),
            ("network.infiniband.gbps", Some(Subject::NetworkSpeed("infiniband"))),
            ("network..gbps", Some(Subject::Network(".gbps"))),
            ("storage.any.free_gib", Some(Subject::StorageFree("any"))),
            ("price.gpu_hour_usd", Some(Subject::Price)),
            ("price.lunch", None),
            ("software.", None),
            ("software", None),
            ("", None),
            (".", None),
        ];
        for (path, expected) in table {
            assert_eq!(Subject::parse(path), expected, "{path:?}");
        }
    }
}
