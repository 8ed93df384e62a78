//! The computing that a requirement asks for, and how it is put in words.

use protocol::requirement::{GpuNeed, GpuScope, Requirement};

use crate::wording;

/// The computing that a requirement asks for; a zero asks for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ask<'a> {
    /// Whole nodes.
    pub(crate) nodes: Option<u32>,
    /// Cores in total; each task needs one.
    pub(crate) cores: Option<u32>,
    /// Memory in total, in GiB.
    pub(crate) memory_gib: Option<f64>,
    /// Cores of each node.
    pub(crate) cores_per_node: Option<u32>,
    /// Memory of each node, in GiB.
    pub(crate) memory_gib_per_node: Option<f64>,
    /// GPUs without which the work does not run.
    pub(crate) gpus: Option<&'a GpuNeed>,
}

impl<'a> Ask<'a> {
    pub(crate) fn of(requirement: &'a Requirement) -> Self {
        let compute = &requirement.compute;
        let count = |count: Option<u32>| count.filter(|count| *count > 0);
        Self {
            nodes: count(compute.nodes),
            cores: count(compute.cores.max(compute.tasks)),
            memory_gib: compute.memory_gib.map(|size| size.get()).filter(|size| *size > 0.0),
            cores_per_node: count(compute.cores_per_node),
            memory_gib_per_node: compute
                .memory_gib_per_node
                .map(|size| size.get())
                .filter(|size| *size > 0.0),
            gpus: compute.gpus.as_ref().filter(|gpus| gpus.count > 0 && !gpus.optional),
        }
    }

    /// The GPUs in total on the asked-for nodes, or on one.
    pub(crate) fn total_gpus(&self) -> f64 {
        self.gpus.map_or(0.0, |gpus| match gpus.per {
            GpuScope::Node => f64::from(gpus.count) * f64::from(self.nodes.unwrap_or(1)),
            GpuScope::Total => f64::from(gpus.count),
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.nodes.is_none()
            && self.cores.is_none()
            && self.memory_gib.is_none()
            && self.cores_per_node.is_none()
            && self.memory_gib_per_node.is_none()
            && self.gpus.is_none()
    }

    /// The whole ask in words, for facts that are missing altogether.
    pub(crate) fn in_words(&self) -> String {
        let on_nodes = self.on_nodes();
        let parts = [
            self.nodes.map(|nodes| format!("nodes >= {nodes}")),
            self.cores.map(|cores| format!("cores >= {cores}{on_nodes}")),
            self.memory_gib.map(|size| format!("memory >= {} GiB{on_nodes}", wording::number(size))),
            self.cores_per_node.map(|cores| format!("cores per node >= {cores}")),
            self.memory_gib_per_node.map(|size| format!("memory per node >= {} GiB", wording::number(size))),
            self.gpus.map(gpus_in_words),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    pub(super) fn on_nodes(&self) -> String {
        self.nodes.map_or_else(String::new, |nodes| format!(" on {}", nodes_in_words(nodes.into())))
    }
}

/// `1 node`, `3 nodes`.
pub(super) fn nodes_in_words(nodes: u64) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

/// `h100 GPUs >= 4 per node`.
pub(super) fn gpus_in_words(gpus: &GpuNeed) -> String {
    let scope = match gpus.per {
        GpuScope::Node => " per node",
        GpuScope::Total => "",
    };
    match &gpus.model {
        Some(model) => format!("{} GPUs >= {}{scope}", wording::name(model), gpus.count),
        None => format!("GPUs >= {}{scope}", gpus.count),
    }
}
