//! When work would start: not at all before room exists, and then as fast as running work ends and the
//! queue ahead allows. The estimate is two quantiles of a log-normal wait; what really happens is drawn
//! from the same wait, so that nine in ten starts keep the P90.

use protocol::facts::{Allocation, StartEstimate};
use protocol::requirement::{GpuNeed, GpuScope, Requirement};
use protocol::units::Seconds;

use crate::capacity::Capacity;
use crate::plan::Group;

/// The standard normal deviate that nine in ten stay below.
const P90: f64 = 1.281_551_565_544_600_4;

/// The shortest median wait of work that has to wait at all.
const LEAST_WAIT_SECONDS: f64 = 30.0;

/// The longest wait that is drawn or promised: thirty days.
pub(crate) const LONGEST_WAIT_SECONDS: f64 = 2_592_000.0;

/// The state of the queue that a wait depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) depth: u32,
    pub(crate) running: u32,
    pub(crate) mean_job_seconds: f64,
}

/// The median wait of an allocation in the group where it is shortest, since work never spans groups:
/// 0 where it fits now, `None` where it never fits.
pub(crate) fn median_wait(groups: &[Capacity], queue: Queue, allocation: &Allocation) -> Option<f64> {
    groups.iter().filter_map(|group| wait_in(group, queue, allocation)).min_by(f64::total_cmp)
}

fn wait_in(group: &Capacity, queue: Queue, allocation: &Allocation) -> Option<f64> {
    if group.has_room(allocation) {
        return Some(0.0);
    }
    if !group.could_have_room(allocation) {
        return None;
    }
    let in_nodes = |missing: u32, per_node: u32| f64::from(missing) / f64::from(per_node.max(1));
    let missing = f64::from(allocation.nodes.saturating_sub(group.nodes_free))
        .max(in_nodes(allocation.cores.saturating_sub(group.cores_free), group.cores_per_node))
        .max(in_nodes(allocation.gpus.saturating_sub(group.gpus_free), group.gpus_per_node));
    // Work that is there ends at random, so nodes come free at (busy nodes / mean run time), and
    // those who wait take their part of them.
    let busy = f64::from(group.nodes.saturating_sub(group.nodes_free)).max(1.0);
    let crowd = 1.0 + f64::from(queue.depth) / f64::from(queue.running.max(1));
    let wait = missing / busy * queue.mean_job_seconds * crowd;
    Some(wait.clamp(LEAST_WAIT_SECONDS, LONGEST_WAIT_SECONDS))
}

/// The two quantiles of a wait with this median.
pub(crate) fn estimate(median: f64, spread: f64) -> StartEstimate {
    let at = |deviate| Seconds::saturating(libm::ceil(drawn(median, spread, deviate)));
    StartEstimate { p50: at(0.0), p90: at(P90) }
}

/// The wait at a standard normal deviate.
pub(crate) fn drawn(median: f64, spread: f64, deviate: f64) -> f64 {
    (median * libm::exp(spread * deviate)).min(LONGEST_WAIT_SECONDS)
}

/// What a requirement asks of the queue: whole nodes, or a share of some; one core when it does not say.
pub(crate) fn demand(requirement: &Requirement) -> Allocation {
    let compute = &requirement.compute;
    let nodes = compute.nodes.unwrap_or(0);
    let gpus = hard_gpus(requirement).map_or(0, |gpus| match gpus.per {
        GpuScope::Node => gpus.count.saturating_mul(nodes.max(1)),
        GpuScope::Total => gpus.count,
    });
    let on_each = compute.cores_per_node.unwrap_or(0).saturating_mul(nodes.max(1));
    let cores = compute.cores.max(compute.tasks).unwrap_or(0).max(on_each);
    Allocation { nodes, gpus, cores: if nodes == 0 { cores.max(1) } else { cores } }
}

/// Whether the nodes of a group are large enough for a requirement. A site has one model of GPU, so
/// that which one is wanted decides whether the site will do and not where in it.
pub(crate) fn suits(group: &Group, requirement: &Requirement) -> bool {
    let compute = &requirement.compute;
    compute.cores_per_node.is_none_or(|cores| group.processor.cores >= cores)
        && compute.memory_gib_per_node.is_none_or(|memory| f64::from(group.memory_gib) >= memory.get())
        && hard_gpus(requirement).is_none_or(|need| {
            let least = if need.per == GpuScope::Node { need.count } else { 1 };
            group.gpus_per_node >= least
        })
}

/// The GPUs without which the work does not run.
pub(crate) fn hard_gpus(requirement: &Requirement) -> Option<&GpuNeed> {
    requirement.compute.gpus.as_ref().filter(|gpus| !gpus.optional && gpus.count > 0)
}
