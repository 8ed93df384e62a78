//! The recipe of each archetype: the ranges and choices that a site is drawn from.
//!
//! Scale drives size, density drives variety and load. Both are drawn once for a site around the
//! recipe's means; each provider then drifts from them by its own volatility.

use crate::archetype::Archetype;
use crate::hardware::{
    Accelerator, CLOUD_ACCELERATORS, CLOUD_PROCESSORS, HPC_ACCELERATORS, HPC_PROCESSORS, Processor,
    STANDALONE_ACCELERATORS, STANDALONE_PROCESSORS,
};

/// Deviation of a site's scale and density from the recipe's means.
pub(crate) const DEVIATION: f64 = 0.2;

/// A smallest and a largest value, both included.
pub(crate) type Range = (u32, u32);

/// A provider that a site may have.
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: &'static str,
    /// The versions that it comes in.
    pub(crate) versions: &'static [&'static str],
}

/// How many providers of a category a site has, and of which.
pub(crate) struct Choice {
    /// How many.
    pub(crate) count: Range,
    /// Of these.
    pub(crate) of: &'static [Member],
}

/// A provider of software and how many packages it lists.
pub(crate) struct SoftwareSource {
    /// The provider.
    pub(crate) member: Member,
    /// Packages. The ranges of a recipe's sources add up to the recipe's own range, so that each
    /// source can be drawn without knowing of the others.
    pub(crate) packages: Range,
}

/// A network that a site may have.
pub(crate) struct Network {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// The speeds of a link in Gb/s that it comes in, from slow to fast.
    pub(crate) gbps: &'static [u32],
}

/// What computing costs, before a site's own drift.
pub(crate) struct PriceList {
    /// Dollars for one core for one hour.
    pub(crate) core_hour_usd: f64,
    /// Share of an accelerator's cloud price.
    pub(crate) gpu_share: f64,
}

/// Everything that distinguishes one archetype from another.
pub(crate) struct Recipe {
    pub(crate) scale_mean: f64,
    pub(crate) density_mean: f64,
    pub(crate) nodes: Range,
    pub(crate) processors: &'static [Processor],
    pub(crate) memory_gib: &'static [u32],
    /// At sites that have GPUs at all; others have none.
    pub(crate) gpus_per_node: &'static [u32],
    pub(crate) accelerators: &'static [Accelerator],
    /// Names of groups of nodes: ordinary ones, those with accelerators, those with much memory.
    pub(crate) groups: [&'static str; 3],
    pub(crate) partitions: Range,
    /// Names of the partitions that are not groups of nodes.
    pub(crate) queues: &'static [&'static str],
    pub(crate) workload: Choice,
    pub(crate) time_limit_hours: &'static [u32],
    pub(crate) software_count: Range,
    pub(crate) software: &'static [SoftwareSource],
    pub(crate) storage: Choice,
    pub(crate) storage_gb: Range,
    pub(crate) container: Choice,
    pub(crate) network: &'static [Network],
    pub(crate) parallel: Choice,
    pub(crate) prices: PriceList,
    /// Share of the sites whose work may be stopped for somebody else's.
    pub(crate) preemptible: f64,
    /// Mean run time of the work that is already there, in minutes.
    pub(crate) job_minutes: Range,
}

const SPACK: Member = Member { name: "spack", versions: &["0.20.3", "0.21.2", "0.22.2", "0.23.0"] };
const MODULES: Member =
    Member { name: "modules", versions: &["lmod 8.7.14", "lmod 8.7.37", "tcl 5.2.0", "tcl 5.4.0"] };
const CONDA: Member =
    Member { name: "conda", versions: &["conda 23.7.4", "conda 24.1.2", "mamba 1.5.8", "mamba 2.0.5"] };
const PIP: Member = Member { name: "pip", versions: &["23.2.1", "23.3.2", "24.0", "24.3.1"] };
const DOCKER: Member = Member { name: "docker", versions: &["24.0.9", "25.0.5", "26.1.4", "27.3.1"] };
const PODMAN: Member = Member { name: "podman", versions: &["4.4.1", "4.6.1", "4.9.4", "5.2.2"] };
const SINGULARITY: Member = Member { name: "singularity", versions: &["3.8.7", "3.11.5", "4.1.3", "4.2.1"] };
const LUSTRE: Member = Member { name: "lustre", versions: &["2.12.9", "2.14.0", "2.15.5"] };
const NFS: Member = Member { name: "nfs", versions: &["3", "4.1", "4.2"] };
const S3: Member = Member { name: "s3", versions: &["v4"] };
const LOCAL_SCRATCH: Member = Member { name: "local-scratch", versions: &["xfs", "zfs", "btrfs", "ext4"] };
const MPICH: Member = Member { name: "mpich", versions: &["3.4.3", "4.0.2", "4.1.2", "4.2.3"] };
const OPENMPI: Member = Member { name: "openmpi", versions: &["4.0.7", "4.1.4", "4.1.6", "5.0.0", "5.0.5"] };
const ETHERNET_CLOUD: &[Network] = &[Network { kind: "ethernet", gbps: &[10, 10, 25, 25, 50, 100] }];
const ETHERNET_DESK: &[Network] = &[Network { kind: "ethernet", gbps: &[1, 1, 1, 10] }];

static HPC: Recipe = Recipe {
    scale_mean: 0.7,
    density_mean: 0.8,
    nodes: (100, 10_000),
    processors: HPC_PROCESSORS,
    memory_gib: &[128, 192, 256, 384, 512, 768, 1024],
    gpus_per_node: &[1, 2, 4, 4, 4, 6, 8, 8],
    accelerators: HPC_ACCELERATORS,
    groups: ["batch", "gpu", "bigmem"],
    partitions: (3, 10),
    queues: &["debug", "long", "short", "interactive", "shared", "preempt", "express", "visual", "transfer"],
    workload: Choice {
        count: (1, 1),
        of: &[
            Member { name: "slurm", versions: &["22.05.9", "23.02.7", "23.11.10", "24.05.4", "24.11.0"] },
            Member { name: "flux", versions: &["0.50.0", "0.58.0", "0.66.0", "0.69.0"] },
        ],
    },
    time_limit_hours: &[12, 24, 24, 48, 72, 96, 168],
    software_count: (1, 3),
    software: &[
        SoftwareSource { member: SPACK, packages: (50, 220) },
        SoftwareSource { member: MODULES, packages: (50, 120) },
        SoftwareSource { member: CONDA, packages: (50, 160) },
    ],
    storage: Choice { count: (1, 2), of: &[LUSTRE, NFS] },
    storage_gb: (10_000, 10_000_000),
    container: Choice { count: (0, 2), of: &[SINGULARITY, PODMAN] },
    network: &[
        Network { kind: "infiniband", gbps: &[56, 100, 100, 200, 200, 400] },
        Network { kind: "omni-path", gbps: &[100, 100, 100, 400] },
    ],
    parallel: Choice { count: (1, 2), of: &[MPICH, OPENMPI] },
    prices: PriceList { core_hour_usd: 0.02, gpu_share: 0.35 },
    preemptible: 0.0,
    job_minutes: (60, 480),
};

static CLOUD: Recipe = Recipe {
    scale_mean: 0.3,
    density_mean: 0.4,
    nodes: (1, 500),
    processors: CLOUD_PROCESSORS,
    memory_gib: &[4, 8, 16, 32, 64, 128, 192, 256],
    gpus_per_node: &[1, 1, 1, 2, 4, 4],
    accelerators: CLOUD_ACCELERATORS,
    groups: ["default-pool", "gpu-pool", "highmem-pool"],
    partitions: (1, 3),
    queues: &["burst-pool", "system-pool"],
    workload: Choice {
        count: (1, 1),
        of: &[Member { name: "kubernetes", versions: &["1.28.9", "1.29.8", "1.30.4", "1.31.1"] }],
    },
    time_limit_hours: &[168],
    software_count: (1, 1),
    software: &[
        SoftwareSource { member: CONDA, packages: (10, 50) },
        SoftwareSource { member: PIP, packages: (10, 50) },
    ],
    storage: Choice { count: (1, 2), of: &[S3, NFS] },
    storage_gb: (10, 5_000),
    container: Choice { count: (0, 1), of: &[DOCKER] },
    network: ETHERNET_CLOUD,
    parallel: Choice { count: (0, 0), of: &[] },
    prices: PriceList { core_hour_usd: 0.045, gpu_share: 1.0 },
    preemptible: 0.2,
    job_minutes: (10, 60),
};

static STANDALONE: Recipe = Recipe {
    scale_mean: 0.5,
    density_mean: 0.5,
    nodes: (1, 1),
    processors: STANDALONE_PROCESSORS,
    memory_gib: &[8, 16, 32, 64, 96, 128],
    gpus_per_node: &[1],
    accelerators: STANDALONE_ACCELERATORS,
    groups: ["local", "local", "local"],
    partitions: (0, 0),
    queues: &[],
    workload: Choice { count: (1, 1), of: &[Member { name: "machine", versions: &[] }] },
    time_limit_hours: &[720],
    software_count: (1, 2),
    software: &[
        SoftwareSource { member: CONDA, packages: (20, 50) },
        SoftwareSource { member: PIP, packages: (20, 50) },
    ],
    storage: Choice { count: (1, 1), of: &[LOCAL_SCRATCH] },
    storage_gb: (100, 2_000),
    container: Choice { count: (0, 2), of: &[DOCKER, SINGULARITY] },
    network: ETHERNET_DESK,
    parallel: Choice { count: (0, 0), of: &[] },
    prices: PriceList { core_hour_usd: 0.008, gpu_share: 0.3 },
    preemptible: 0.0,
    job_minutes: (20, 90),
};

/// The recipe of an archetype.
pub(crate) const fn recipe(archetype: Archetype) -> &'static Recipe {
    match archetype {
        Archetype::Hpc => &HPC,
        Archetype::Cloud => &CLOUD,
        Archetype::Standalone => &STANDALONE,
    }
}
