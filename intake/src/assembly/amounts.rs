//! Nodes, processes, cores and memory: bounds are combined, products worked out, contradictions
//! refused.

use protocol::requirement::ComputeNeed;
use protocol::units::GiB;

use crate::assembly::Assembled;
use crate::meaning::{Bound, Bounded, Finding, Meaning, Measure};
use crate::number::as_count;

const NODES: &str = "requirement.compute.nodes";
const TASKS: &str = "requirement.compute.tasks";
const CORES: &str = "requirement.compute.cores";
const CORES_PER_NODE: &str = "requirement.compute.cores_per_node";
const MEMORY: &str = "requirement.compute.memory_gib";
const MEMORY_PER_NODE: &str = "requirement.compute.memory_gib_per_node";

/// Fills the compute part of the requirement, GPUs apart.
pub fn assemble(findings: &[Finding], assembled: &mut Assembled) {
    let mut set = |measure: Measure, path: &str| one(findings, assembled, measure, path);
    let nodes = set(Measure::Nodes, NODES);
    let tasks = set(Measure::Tasks, TASKS);
    let cores = set(Measure::Cores, CORES);
    let cores_per_node = set(Measure::CoresPerNode, CORES_PER_NODE);
    let memory = set(Measure::Memory, MEMORY);
    let memory_per_node = set(Measure::MemoryPerNode, MEMORY_PER_NODE);
    let mut multiply = |measure: Measure, by: Option<f64>, known: Option<f64>, path: &str, what: &str| {
        product(findings, assembled, measure, by, known, path, what)
    };
    let all_cores = cores.or_else(|| Some(nodes? * cores_per_node?));
    let tasks = multiply(Measure::TasksPerNode, nodes, tasks, TASKS, "the number of nodes");
    let tasks = multiply(Measure::TasksPerCore, all_cores, tasks, TASKS, "the number of cores");
    let cores = multiply(Measure::CoresPerTask, tasks, cores, CORES, "the number of processes");
    let memory = multiply(Measure::MemoryPerTask, tasks, memory, MEMORY, "the number of processes");
    // "16 cores per node, 4 GB per core" states the memory of a node.
    let (memory, memory_per_node) = if cores.is_none() && cores_per_node.is_some() {
        let what = "the number of cores";
        (memory, multiply(Measure::MemoryPerCore, cores_per_node, memory_per_node, MEMORY_PER_NODE, what))
    } else {
        (multiply(Measure::MemoryPerCore, cores, memory, MEMORY, "the number of cores"), memory_per_node)
    };
    let count = |value: Option<f64>| value.and_then(as_count);
    assembled.requirement.compute = ComputeNeed {
        nodes: count(nodes),
        tasks: count(tasks),
        cores: count(cores),
        memory_gib: memory.map(GiB::saturating),
        cores_per_node: count(cores_per_node),
        memory_gib_per_node: memory_per_node.map(GiB::saturating),
        gpus: None,
    };
}

fn of(findings: &[Finding], measure: Measure) -> Vec<(&Finding, Bounded<f64>)> {
    findings
        .iter()
        .filter_map(|finding| match finding.meaning {
            Meaning::Measure(found, bounded) if found == measure => Some((finding, bounded)),
            _ => None,
        })
        .collect()
}

/// What several bounds on one amount come to, or nothing when they exclude each other.
///
/// A requirement holds the amount that must be there: a lower bound is that amount, and an upper one
/// is it where nothing else is said ("up to 4 nodes").
pub fn combine(bounds: impl Iterator<Item = Bounded<f64>> + Clone) -> Option<f64> {
    let of = |wanted: Bound| bounds.clone().filter(move |b| b.bound == wanted).map(|b| b.value);
    let least = of(Bound::AtLeast).reduce(f64::max);
    let most = of(Bound::AtMost).reduce(f64::min);
    let exact = of(Bound::Exact).next();
    let value = exact.or(least).or(most)?;
    let agrees = of(Bound::Exact).all(|other| other == value)
        && least.is_none_or(|least| value >= least)
        && most.is_none_or(|most| value <= most);
    agrees.then_some(value)
}

fn one(findings: &[Finding], assembled: &mut Assembled, measure: Measure, path: &str) -> Option<f64> {
    let said = of(findings, measure);
    if said.is_empty() {
        return None;
    }
    let Some(value) = combine(said.iter().map(|(_, bounded)| *bounded)) else {
        assembled
            .contradict(said.iter().map(|(finding, _)| *finding), path.rsplit('.').next().unwrap_or(path));
        return None;
    };
    for (finding, _) in said {
        assembled.fill(finding, path);
    }
    Some(value)
}

/// An amount for each of something, times how many of it there are.
fn product(
    findings: &[Finding],
    assembled: &mut Assembled,
    measure: Measure,
    by: Option<f64>,
    known: Option<f64>,
    path: &str,
    what: &str,
) -> Option<f64> {
    let said = of(findings, measure);
    let Some((_, each)) = said.first().copied() else { return known };
    let total = by.map(|by| by * each.value).filter(|total| *total <= f64::from(u32::MAX));
    for (finding, _) in &said {
        match total {
            None => assembled.refuse(finding, &format!("needs {what}, which the request does not say")),
            Some(total) if known.is_some_and(|known| known != total) => {
                assembled.refuse(finding, "contradicts the total that the request states");
            }
            Some(_) => assembled.fill(finding, path),
        }
    }
    known.or(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_combined() {
        let b = |bound, value| Bounded { bound, value };
        let combined = |bounds: &[Bounded<f64>]| combine(bounds.iter().copied());
        assert_eq!(combined(&[b(Bound::AtLeast, 2.0), b(Bound::AtMost, 4.0)]), Some(2.0));
        assert_eq!(combined(&[b(Bound::AtMost, 4.0)]), Some(4.0));
        assert_eq!(combined(&[b(Bound::AtLeast, 2.0), b(Bound::Exact, 3.0)]), Some(3.0));
        assert_eq!(combined(&[b(Bound::Exact, 2.0), b(Bound::Exact, 5.0)]), None);
        assert_eq!(combined(&[b(Bound::AtLeast, 8.0), b(Bound::AtMost, 4.0)]), None);
        assert_eq!(combined(&[b(Bound::AtMost, 4.0), b(Bound::Exact, 5.0)]), None);
    }
}
