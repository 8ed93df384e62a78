//! Sites and requirements that several tests use.

use protocol::facts::{
    ComputeFacts, Fabric, Facts, FileSystem, HostFacts, NodeGroup, Package, Prices, Runtime, StartEstimate,
    WorkloadFacts,
};
use protocol::requirement::Requirement;
use protocol::units::{GiB, Number, Seconds, Usd};

/// A requirement from its JSON.
pub(crate) fn requirement(json: serde_json::Value) -> Requirement {
    serde_json::from_value(json).unwrap()
}

pub(crate) fn package(name: &str, version: &str) -> Package {
    Package { name: name.into(), version: version.into(), provider: "spack".into(), environment: None }
}

pub(crate) fn runtime(name: &str) -> Runtime {
    Runtime { name: name.into(), version: None }
}

/// The same cluster, seen from a machine that is none of its nodes and whose workload manager is silent.
pub(crate) fn login_node() -> Facts {
    let cluster = cluster();
    let host = HostFacts {
        software: cluster.software,
        containers: cluster.containers,
        networks: cluster.networks,
        storage: cluster.storage,
        mpi: cluster.mpi,
    };
    Facts { host, archetype: cluster.archetype, ..Facts::default() }
}

/// 100 nodes of 64 cores and 256 GiB of which 50 are free, 10 nodes with four H100 of which 6 are free.
pub(crate) fn cluster() -> Facts {
    let cpu = NodeGroup {
        name: "cpu".into(),
        nodes: 100,
        nodes_free: Some(50),
        cores_per_node: 64,
        cores_free: Some(3400),
        memory_gib_per_node: Some(GiB::from(256)),
        ..NodeGroup::default()
    };
    let gpu = NodeGroup {
        name: "gpu".into(),
        nodes: 10,
        nodes_free: Some(6),
        cores_per_node: 32,
        cores_free: Some(200),
        memory_gib_per_node: Some(GiB::from(512)),
        gpus_per_node: 4,
        gpus_free: Some(26),
        gpu_model: Some("nvidia-h100-80gb".into()),
        gpu_memory_gib: Some(GiB::saturating(79.6)),
        ..NodeGroup::default()
    };
    Facts {
        archetype: Some("hpc".into()),
        compute: Some(ComputeFacts { groups: vec![cpu, gpu] }),
        workload: Some(WorkloadFacts {
            manager: "slurm".into(),
            queue_depth: Some(12),
            start: Some(StartEstimate { p50: Seconds::from(5), p90: Seconds::from(30) }),
            time_limit: Some(Seconds::from(86_400)),
            ..WorkloadFacts::default()
        }),
        software: Some(vec![
            package("lammps", "20220623"),
            package("lammps", "20230802"),
            package("gromacs", "2023.3"),
            package("py-numpy", "1.26.4"),
        ]),
        containers: Some(vec![runtime("singularity")]),
        networks: Some(vec![
            Fabric { kind: "infiniband".into(), gbps: Some(Number::from(100)) },
            Fabric { kind: "ethernet".into(), gbps: Some(Number::from(10)) },
        ]),
        storage: Some(vec![
            FileSystem {
                kind: "lustre".into(),
                path: "/scratch".into(),
                total_gib: Some(GiB::from(10_000)),
                free_gib: Some(GiB::from(4096)),
            },
            FileSystem { kind: "nfs".into(), path: "/home".into(), total_gib: None, free_gib: None },
        ]),
        mpi: Some(vec![runtime("openmpi")]),
        prices: Some(Prices {
            node_hour_usd: Some(Usd::from(4)),
            core_hour_usd: Some(Usd::saturating(0.1)),
            gpu_hour_usd: Some(Usd::saturating(2.5)),
        }),
        ..Facts::default()
    }
}

/// One machine with 16 cores, 64 GiB and one GPU, nothing running.
pub(crate) fn workstation() -> Facts {
    let machine = NodeGroup {
        name: "machine".into(),
        nodes: 1,
        nodes_free: Some(1),
        cores_per_node: 16,
        cores_free: Some(16),
        memory_gib_per_node: Some(GiB::from(64)),
        gpus_per_node: 1,
        gpus_free: Some(1),
        gpu_model: Some("rtx-4090".into()),
        gpu_memory_gib: Some(GiB::from(24)),
        ..NodeGroup::default()
    };
    Facts {
        archetype: Some("standalone".into()),
        compute: Some(ComputeFacts { groups: vec![machine] }),
        workload: Some(WorkloadFacts { manager: "machine".into(), ..WorkloadFacts::default() }),
        software: Some(vec![]),
        containers: Some(vec![runtime("docker")]),
        networks: Some(vec![]),
        storage: Some(vec![]),
        mpi: Some(vec![]),
        ..Facts::default()
    }
}
