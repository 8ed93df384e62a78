//! Processors and accelerators that are really sold, with what they cost.

/// The processors of one node.
#[derive(Debug)]
pub(crate) struct Processor {
    /// The model.
    pub(crate) model: &'static str,
    /// Its architecture.
    pub(crate) architecture: &'static str,
    /// Cores of the whole node (virtual ones in a cloud).
    pub(crate) cores: u32,
}

const fn x86(model: &'static str, cores: u32) -> Processor {
    Processor { model, architecture: "x86_64", cores }
}

const fn arm(model: &'static str, cores: u32) -> Processor {
    Processor { model, architecture: "aarch64", cores }
}

/// Nodes of computing centres, from few cores to many.
pub(crate) static HPC_PROCESSORS: &[Processor] = &[
    x86("Intel Xeon Gold 6130", 32),
    x86("Intel Xeon Gold 6140", 36),
    x86("Intel Xeon Gold 6148", 40),
    x86("Intel Xeon Platinum 8268", 48),
    arm("Fujitsu A64FX", 48),
    x86("Intel Xeon Platinum 8280", 56),
    x86("AMD EPYC 7543", 64),
    x86("Intel Xeon Gold 6338", 64),
    arm("NVIDIA Grace", 72),
    x86("Intel Xeon Platinum 8368", 76),
    x86("Intel Xeon Platinum 8468", 96),
    x86("AMD EPYC 7643", 96),
    x86("Intel Xeon Platinum 8480+", 112),
    x86("AMD EPYC 7763", 128),
    x86("AMD EPYC 9554", 128),
];

/// Machines that clouds rent, from few cores to many.
pub(crate) static CLOUD_PROCESSORS: &[Processor] = &[
    x86("Intel Xeon Platinum 8259CL", 2),
    x86("AMD EPYC 7R13", 4),
    arm("AWS Graviton3", 4),
    x86("Intel Xeon Platinum 8375C", 8),
    x86("AMD EPYC 7B13", 8),
    x86("Intel Xeon Platinum 8375C", 16),
    arm("Ampere Altra", 16),
    x86("AMD EPYC 9R14", 32),
    x86("Intel Xeon Platinum 8488C", 48),
    arm("AWS Graviton4", 64),
    x86("AMD EPYC 9R14", 64),
];

/// Workstations, from few cores to many.
pub(crate) static STANDALONE_PROCESSORS: &[Processor] = &[
    x86("Intel Core i3-10100", 4),
    x86("Intel Core i5-10400", 6),
    x86("AMD Ryzen 5 5600X", 6),
    x86("Intel Core i7-11700K", 8),
    x86("AMD Ryzen 7 7700X", 8),
    x86("AMD Ryzen 9 5900X", 12),
    x86("AMD Ryzen 9 7950X", 16),
    x86("Intel Xeon W-2295", 18),
    x86("Intel Core i9-13900K", 24),
    x86("AMD Ryzen Threadripper 3970X", 32),
];

/// One accelerator.
#[derive(Debug)]
pub(crate) struct Accelerator {
    /// Its short name, lower case.
    pub(crate) model: &'static str,
    /// Its memory.
    pub(crate) memory_gib: u32,
    /// Dollars for one hour on demand at a large cloud, near the list prices of 2025; other
    /// archetypes take a share of it.
    pub(crate) hour_usd: f64,
}

const fn gpu(model: &'static str, memory_gib: u32, hour_usd: f64) -> Accelerator {
    Accelerator { model, memory_gib, hour_usd }
}

/// Accelerators of computing centres; what is common stands there more than once. The MI250X counts as two devices of 64 GiB, as its users see it.
pub(crate) static HPC_ACCELERATORS: &[Accelerator] = &[
    gpu("v100", 16, 2.5),
    gpu("v100", 32, 2.9),
    gpu("a100", 40, 3.4),
    gpu("a100", 40, 3.4),
    gpu("a100", 80, 4.1),
    gpu("a100", 80, 4.1),
    gpu("mi250x", 64, 2.2),
    gpu("h100", 80, 6.9),
    gpu("h100", 80, 6.9),
    gpu("h100", 80, 6.9),
    gpu("mi300x", 192, 6.0),
    gpu("h200", 141, 7.9),
];

/// Accelerators that clouds rent.
pub(crate) static CLOUD_ACCELERATORS: &[Accelerator] = &[
    gpu("t4", 16, 0.5),
    gpu("t4", 16, 0.5),
    gpu("a10g", 24, 1.0),
    gpu("l4", 24, 0.8),
    gpu("v100", 16, 2.5),
    gpu("l40s", 48, 1.9),
    gpu("a100", 40, 3.4),
    gpu("a100", 80, 4.1),
    gpu("h100", 80, 6.9),
    gpu("h100", 80, 6.9),
    gpu("mi300x", 192, 6.0),
    gpu("h200", 141, 7.9),
];

/// Accelerators of workstations.
pub(crate) static STANDALONE_ACCELERATORS: &[Accelerator] = &[
    gpu("gtx-1080-ti", 11, 0.2),
    gpu("rtx-3060", 12, 0.2),
    gpu("rtx-3090", 24, 0.4),
    gpu("rtx-4090", 24, 0.6),
    gpu("rtx-a6000", 48, 0.8),
    gpu("rtx-5090", 32, 0.9),
];
