//! How the computing that is asked for fits into one group of equal nodes.
//!
//! Work never spans groups: a request for four nodes with eight GPUs each is not met by two of one
//! kind and two of another. Asked-for nodes are whole ones, and totals (`cores`, `memory_gib`, GPUs)
//! must fit on exactly those; without a number of nodes the work shares nodes and takes as many as
//! its totals need.

mod ask;

use protocol::evaluation::Reason;
use protocol::facts::{Allocation, ComputeFacts, NodeGroup};
use protocol::proposal::{ReasonCode, Verdict};
use protocol::requirement::{GpuNeed, GpuScope};
use protocol::units::GiB;

use crate::{names, unmet, wording};

pub(crate) use ask::Ask;
use ask::{gpus_in_words, nodes_in_words};

/// The share of a GPU's nominal memory that its driver must at least report: cards with error
/// correction in their memory (T4, L4, A10, L40S) report up to 8 % less than is printed on the box.
const NOMINAL_GPU_MEMORY: f64 = 0.92;

/// The capacity of work that asks for none: one core.
pub(crate) const SMALLEST: Allocation = Allocation { nodes: 0, cores: 1, gpus: 0 };

/// The best place for the work at a site: a group, the capacity that the work takes there, and what
/// is in its way.
#[derive(Debug, Clone)]
pub(crate) struct Placement<'a> {
    pub(crate) group: &'a NodeGroup,
    /// The nodes that the work spans, whole or shared.
    pub(crate) span: u64,
    /// The GPUs that are asked for, in total.
    pub(crate) gpus: u64,
    /// The cores that the work cannot do without, in total.
    pub(crate) cores: u64,
    pub(crate) allocation: Allocation,
    pub(crate) reasons: Vec<Reason>,
}

/// The place with the least in its way; among equals one that has GPUs if some are asked for and none
/// otherwise, then the first. `None` when the site has no group.
pub(crate) fn place<'a>(ask: &Ask<'_>, compute: &'a ComputeFacts) -> Option<Placement<'a>> {
    let several = compute.groups.len() > 1;
    let wasted_gpus = |group: &NodeGroup| if ask.gpus.is_some() { 0 } else { group.gpus_per_node };
    compute.groups.iter().map(|group| place_in(ask, group, several)).min_by_key(|place| {
        let (group, reasons) = (place.group, &place.reasons);
        (obstacle(reasons), !has_gpus(ask, group), reasons.len(), wasted_gpus(group))
    })
}

/// The groups that a site may speak of when it is asked for this: those that the work fits into,
/// whether or not they are free; where it fits into none, those with the right GPUs, or all. Unlike the
/// best place, they do not change when capacity is taken.
pub(crate) fn suited<'a>(ask: &Ask<'_>, compute: &'a ComputeFacts) -> Vec<&'a NodeGroup> {
    let that = |holds: &dyn Fn(&NodeGroup) -> bool| -> Option<Vec<&'a NodeGroup>> {
        let groups: Vec<_> = compute.groups.iter().filter(|group| holds(group)).collect();
        (!groups.is_empty()).then_some(groups)
    };
    let model = ask.gpus.and_then(|gpus| gpus.model.as_deref());
    let is_of_model =
        |had: Option<&str>| model.is_none_or(|model| had.is_some_and(|had| names::is_gpu_model(model, had)));
    that(&|group| place_in(ask, group, false).exists())
        .or_else(|| that(&|group| has_gpus(ask, group) && is_of_model(group.gpu_model.as_deref())))
        .or_else(|| that(&|group| has_gpus(ask, group)))
        .unwrap_or_else(|| compute.groups.iter().collect())
}

/// Whether a group has GPUs, where some are asked for.
const fn has_gpus(ask: &Ask<'_>, group: &NodeGroup) -> bool {
    ask.gpus.is_none() || group.gpus_per_node > 0
}

/// How much is in the way: nothing, taken capacity, something unknown, something that is not there.
fn obstacle(reasons: &[Reason]) -> u8 {
    match unmet::verdict(reasons) {
        Verdict::Ready => 0,
        Verdict::Busy | Verdict::Restricted => 1,
        Verdict::Unknown => 2,
        Verdict::Incompatible => 3,
    }
}

/// Capacity that is free now.
#[derive(Debug, Clone, Copy)]
enum Free {
    Exactly(u64),
    /// At least this much; how much more, nobody can tell.
    AtLeast(u64),
}

impl Free {
    const fn known(self) -> u64 {
        match self {
            Self::Exactly(free) | Self::AtLeast(free) => free,
        }
    }
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

pub(crate) fn total_cores(group: &NodeGroup) -> u64 {
    product(group.nodes, group.cores_per_node)
}

pub(crate) fn total_gpus(group: &NodeGroup) -> u64 {
    product(group.nodes, group.gpus_per_node)
}

fn free_nodes(group: &NodeGroup) -> Free {
    match (group.nodes_free, group.cores_free) {
        (Some(free), _) => Free::Exactly(free.min(group.nodes).into()),
        // With every core free every node is; with fewer than a node's worth of cores none is.
        (None, Some(cores)) if cores < group.cores_per_node => Free::Exactly(0),
        (None, Some(cores)) if group.cores_per_node > 0 && u64::from(cores) >= total_cores(group) => {
            Free::Exactly(group.nodes.into())
        }
        (None, _) => Free::AtLeast(0),
    }
}

fn free_of(free: Option<u32>, nodes_free: Option<u32>, per_node: u32) -> Free {
    match free {
        Some(free) => Free::Exactly(free.into()),
        // Whatever runs elsewhere, all of a free node is free.
        None => Free::AtLeast(nodes_free.map_or(0, |nodes| product(nodes, per_node))),
    }
}

fn free_cores(group: &NodeGroup) -> Free {
    free_of(group.cores_free, group.nodes_free, group.cores_per_node)
}

fn free_gpus(group: &NodeGroup) -> Free {
    free_of(group.gpus_free, group.nodes_free, group.gpus_per_node)
}

impl Placement<'_> {
    /// Whether everything that is asked for is there, free or not.
    pub(crate) fn exists(&self) -> bool {
        unmet::verdict(&self.reasons) != Verdict::Incompatible
    }

    /// Free capacity as a multiple of what the work takes, in the scarcest respect; `None` when it is
    /// not known how much is free.
    pub(crate) fn headroom(&self, ask: &Ask<'_>) -> Option<f64> {
        let exactly = |free: Free| match free {
            Free::Exactly(free) => Some(free),
            Free::AtLeast(_) => None,
        };
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let ratio = |free: Free, wanted: u64| exactly(free).map(|free| free as f64 / wanted.max(1) as f64);
        let base = match ask.nodes {
            Some(nodes) => ratio(free_nodes(self.group), nodes.into()),
            // Only GPUs were asked for: they alone are scarce.
            None if self.gpus > 0 && ask.cores.is_none() && ask.cores_per_node.is_none() => {
                Some(f64::INFINITY)
            }
            None => ratio(free_cores(self.group), self.cores),
        }?;
        if self.gpus == 0 {
            return Some(base);
        }
        Some(base.min(ratio(free_gpus(self.group), self.gpus)?))
    }
}

/// Collects what is in the way within one group.
struct Findings<'a> {
    group: &'a NodeGroup,
    /// Whether the site has several groups, so that a reason must name its own.
    several: bool,
    reasons: Vec<Reason>,
}

impl Findings<'_> {
    fn add(&mut self, code: ReasonCode, wanted: String, had: String) {
        let place =
            if self.several { format!(" in {}", wording::name(&self.group.name)) } else { String::new() };
        self.reasons.push(Reason { code, wanted, had: had + &place });
    }

    fn has(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }

    /// Whether `wanted` of `total` is free, for something that exists in sufficient number.
    fn check_free(
        &mut self,
        busy: ReasonCode,
        what: &str,
        in_words: String,
        wanted: u64,
        free: Free,
        total: u64,
    ) {
        if free.known() >= wanted {
            return;
        }
        match free {
            Free::Exactly(free) => self.add(busy, in_words, format!("{free} of {total} free")),
            Free::AtLeast(_) => {
                self.add(ReasonCode::FactUnknown, in_words, format!("number of free {what} unknown"));
            }
        }
    }
}

fn place_in<'a>(ask: &Ask<'_>, group: &'a NodeGroup, several: bool) -> Placement<'a> {
    let mut findings = Findings { group, several, reasons: Vec::new() };
    if let Some(gpus) = ask.gpus {
        check_gpus(&mut findings, ask, gpus);
    }
    check_nodes(&mut findings, ask);

    let span = span(ask, group);
    let gpus = ask.gpus.map_or(0, |gpus| match gpus.per {
        GpuScope::Node => u64::from(gpus.count).saturating_mul(span),
        GpuScope::Total => gpus.count.into(),
    });
    let cores = u64::from(ask.cores.unwrap_or(0))
        .max(u64::from(ask.cores_per_node.unwrap_or(0)).saturating_mul(span))
        .max(span);
    check_what_is_free(&mut findings, ask, cores, gpus);

    let bounded = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let allocation = ask.nodes.map_or_else(
        || Allocation { nodes: 0, cores: bounded(cores), gpus: bounded(gpus) },
        |nodes| Allocation {
            nodes,
            cores: bounded(product(nodes, group.cores_per_node)),
            gpus: bounded(product(nodes, group.gpus_per_node)),
        },
    );
    Placement { group, span, gpus, cores, allocation, reasons: findings.reasons }
}

/// The nodes that the work spans; never more than there are, also where its totals need more.
fn span(ask: &Ask<'_>, group: &NodeGroup) -> u64 {
    if let Some(nodes) = ask.nodes {
        return nodes.into();
    }
    let by_count = |count: Option<u32>, per_node: u32| match (count, per_node) {
        (Some(count), 1..) => u64::from(count.div_ceil(per_node)),
        _ => 1,
    };
    let gpus = ask.gpus.filter(|gpus| gpus.per == GpuScope::Total).map(|gpus| gpus.count);
    let by_memory = match (ask.memory_gib, group.memory_gib_per_node.map(GiB::get)) {
        (None, _) | (_, None) => 1,
        (Some(_), Some(per_node)) if per_node <= 0.0 => u64::MAX,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
        (Some(size), Some(per_node)) => (size / per_node).ceil() as u64,
    };
    let needed =
        by_count(ask.cores, group.cores_per_node).max(by_count(gpus, group.gpus_per_node)).max(by_memory);
    needed.clamp(1, u64::from(group.nodes).max(1))
}

fn check_gpus(findings: &mut Findings<'_>, ask: &Ask<'_>, gpus: &GpuNeed) {
    let group = findings.group;
    if group.gpus_per_node == 0 {
        findings.add(ReasonCode::GpusTooFew, gpus_in_words(gpus), "no GPUs".to_owned());
        return;
    }
    if let Some(model) = &gpus.model {
        let wanted = format!("GPU model {}", wording::name(model));
        match &group.gpu_model {
            None => findings.add(ReasonCode::FactUnknown, wanted, "GPU model unknown".to_owned()),
            Some(had) if !names::is_gpu_model(model, had) => {
                findings.add(ReasonCode::GpuModel, wanted, wording::name(had));
            }
            Some(_) => {}
        }
    }
    if let Some(size) = gpus.memory_gib.map(|size| size.get()).filter(|size| *size > 0.0) {
        let wanted = format!("GPU memory >= {} GiB", wording::number(size));
        match group.gpu_memory_gib.map(|had| had.get()) {
            None => findings.add(ReasonCode::FactUnknown, wanted, "GPU memory unknown".to_owned()),
            Some(had) if had < size * NOMINAL_GPU_MEMORY => {
                findings.add(ReasonCode::GpuMemory, wanted, format!("{} GiB", wording::number(had)));
            }
            Some(_) => {}
        }
    }
    match gpus.per {
        GpuScope::Node if gpus.count > group.gpus_per_node => {
            let had = format!("{} per node", group.gpus_per_node);
            findings.add(ReasonCode::GpusTooFew, gpus_in_words(gpus), had);
        }
        GpuScope::Total => {
            let nodes = ask.nodes.unwrap_or(group.nodes);
            let had = product(nodes, group.gpus_per_node);
            if u64::from(gpus.count) > had {
                let wanted = format!("{}{}", gpus_in_words(gpus), ask.on_nodes());
                findings.add(ReasonCode::GpusTooFew, wanted, had.to_string());
            }
        }
        GpuScope::Node => {}
    }
}

fn check_nodes(findings: &mut Findings<'_>, ask: &Ask<'_>) {
    let group = findings.group;
    if let Some(nodes) = ask.nodes.filter(|nodes| *nodes > group.nodes) {
        let wanted = format!("nodes >= {nodes}");
        findings.add(ReasonCode::NodesTooFew, wanted, nodes_in_words(group.nodes.into()));
    }
    let nodes = ask.nodes.unwrap_or(group.nodes);
    if let Some(cores) = ask.cores_per_node.filter(|cores| *cores > group.cores_per_node) {
        let wanted = format!("cores per node >= {cores}");
        findings.add(ReasonCode::CoresTooFew, wanted, group.cores_per_node.to_string());
    } else if let Some(cores) = ask.cores {
        let had = product(nodes, group.cores_per_node);
        if u64::from(cores) > had {
            let wanted = format!("cores >= {cores}{}", ask.on_nodes());
            findings.add(ReasonCode::CoresTooFew, wanted, had.to_string());
        }
    }
    check_memory(findings, ask, nodes);
}

fn check_memory(findings: &mut Findings<'_>, ask: &Ask<'_>, nodes: u32) {
    let gib = |size: f64| format!("{} GiB", wording::number(size));
    let on_each = |size: f64| format!("memory per node >= {}", gib(size));
    let on_all = |size: f64| format!("memory >= {}{}", gib(size), ask.on_nodes());
    let Some(per_node) = findings.group.memory_gib_per_node.map(GiB::get) else {
        if let Some(wanted) = ask.memory_gib_per_node.map(on_each).or(ask.memory_gib.map(on_all)) {
            findings.add(ReasonCode::FactUnknown, wanted, "memory per node unknown".to_owned());
        }
        return;
    };
    if let Some(size) = ask.memory_gib_per_node.filter(|size| *size > per_node) {
        findings.add(ReasonCode::MemoryTooSmall, on_each(size), gib(per_node));
    } else if let Some(size) = ask.memory_gib {
        let had = f64::from(nodes) * per_node;
        if size > had {
            findings.add(ReasonCode::MemoryTooSmall, on_all(size), gib(had));
        }
    }
}

/// Looks at what is free of everything that exists in sufficient number.
fn check_what_is_free(findings: &mut Findings<'_>, ask: &Ask<'_>, cores: u64, gpus: u64) {
    let group = findings.group;
    if let Some(nodes) = ask.nodes {
        if !findings.has(ReasonCode::NodesTooFew) {
            let wanted = format!("nodes >= {nodes}");
            let free = free_nodes(group);
            findings.check_free(
                ReasonCode::NodesBusy,
                "nodes",
                wanted,
                nodes.into(),
                free,
                group.nodes.into(),
            );
        }
    } else if !findings.has(ReasonCode::CoresTooFew) {
        let free = free_cores(group);
        // Nobody asked for cores: that they are all taken matters, that nobody counts them does not.
        let is_asked = ask.cores.is_some() || ask.cores_per_node.is_some() || ask.memory_gib.is_some();
        let wanted = if is_asked || cores > 1 { format!("cores >= {cores}") } else { "1 core".to_owned() };
        if is_asked || matches!(free, Free::Exactly(_)) {
            let total = total_cores(group);
            findings.check_free(ReasonCode::CoresBusy, "cores", wanted, cores, free, total);
        }
    }
    if let Some(need) = ask.gpus
        && !findings.has(ReasonCode::GpusTooFew)
    {
        let free = free_gpus(group);
        // Where whole nodes are free, so are their GPUs, unless somebody counts them apart.
        if ask.nodes.is_none() || matches!(free, Free::Exactly(_)) {
            let total = total_gpus(group);
            findings.check_free(ReasonCode::GpusBusy, "GPUs", gpus_in_words(need), gpus, free, total);
        }
    }
}

#[cfg(test)]
mod tests;
