//! Claims: what a site says about each subject that matters to a requirement, and how that compares
//! with the truth.
//!
//! The secretary makes claims from its facts and the hub makes the same from the truth, so that equal
//! facts give equal claims. A claim is written by a stranger: a subject that nobody knows, or a value
//! of the wrong kind, is no evidence in either direction.

mod compare;
mod subject;

use protocol::claim::{Claim, ClaimValue};
use protocol::facts::{Facts, NodeGroup, Prices};
use protocol::requirement::{GpuScope, Requirement, StorageNeed};
use protocol::units::{GiB, Number, Seconds, Usd};

pub use compare::{TOLERANCE, compare, relative_error};

use crate::fit::{self, Ask};
use crate::names;
use crate::site::Site;
use crate::unmet::{must_start_at_once, usable_storage};
use subject::Subject;

/// What the facts say about each subject that matters to the requirement, in a fixed order and each
/// once. What is not known is not claimed.
///
/// Start and prices matter to every request, because they decide between sites that will all do.
#[must_use]
pub fn claims(requirement: &Requirement, facts: &Facts) -> Vec<Claim> {
    let site = Site::of(facts);
    let mut said = Said(Vec::new());
    compute(&mut said, requirement, site);
    software(&mut said, requirement, site);
    network(&mut said, requirement, site);
    storage(&mut said, requirement, site);
    container(&mut said, requirement, site);
    if requirement.mpi {
        said.add("mpi", site.mpi().map(|mpi| ClaimValue::Flag(!mpi.is_empty())));
    }
    workload(&mut said, requirement, site);
    prices(&mut said, site);
    if !requirement.exclude.archetypes.is_empty() {
        said.add("archetype", site.archetype().map(|kind| ClaimValue::Text(kind.to_owned())));
    }
    said.0
}

/// Whether the requirement has a hard constraint on the subject.
#[must_use]
pub fn is_hard(requirement: &Requirement, subject: &str) -> bool {
    let ask = Ask::of(requirement);
    let per_node_gpus = ask.gpus.is_some_and(|gpus| gpus.per == GpuScope::Node);
    let Some(subject) = Subject::parse(subject) else { return false };
    match subject {
        Subject::Nodes | Subject::NodesFree => ask.nodes.is_some(),
        Subject::Cores => ask.cores.is_some(),
        Subject::CoresFree => ask.nodes.is_none() && (ask.cores.is_some() || ask.cores_per_node.is_some()),
        Subject::CoresPerNode => ask.cores_per_node.is_some() || (ask.nodes.is_some() && ask.cores.is_some()),
        Subject::Memory => ask.memory_gib.is_some(),
        Subject::MemoryPerNode => {
            ask.memory_gib_per_node.is_some() || (ask.nodes.is_some() && ask.memory_gib.is_some())
        }
        Subject::Gpus | Subject::GpusFree => ask.gpus.is_some(),
        Subject::GpusPerNode => per_node_gpus || (ask.nodes.is_some() && ask.gpus.is_some()),
        Subject::GpuModel => ask.gpus.is_some_and(|gpus| gpus.model.is_some()),
        Subject::GpuMemory => ask.gpus.is_some_and(|gpus| gpus.memory_gib.is_some()),
        Subject::Software(name) => requirement.software.iter().any(|need| names::same(&need.name, name)),
        Subject::Network(kind) => names::is_one_of(kind, &requirement.network),
        Subject::NetworkSpeed(_) | Subject::QueueDepth => false,
        Subject::Storage(kind) => requirement.storage.iter().any(|need| is_of_kind(need, kind)),
        Subject::StorageFree(kind) => {
            requirement.storage.iter().any(|need| need.free_gib.is_some() && is_of_kind(need, kind))
        }
        Subject::Container(name) => names::is_one_of(name, &requirement.container),
        Subject::Mpi => requirement.mpi,
        Subject::Manager => !requirement.workload.is_empty() || !requirement.exclude.workload.is_empty(),
        Subject::TimeLimit => requirement.time.duration_seconds.is_some(),
        Subject::StartP90 => {
            let time = &requirement.time;
            must_start_at_once(time) || time.start_by_seconds.is_some() || time.deadline_seconds.is_some()
        }
        Subject::Price => requirement.budget_usd.is_some(),
        Subject::Archetype => !requirement.exclude.archetypes.is_empty(),
    }
}

/// The name of a storage need in subjects; a need for any kind has one too.
fn storage_kind(need: &StorageNeed) -> &str {
    need.kind.as_deref().unwrap_or("any")
}

fn is_of_kind(need: &StorageNeed, kind: &str) -> bool {
    names::same(storage_kind(need), kind)
}

/// The claims made so far.
struct Said(Vec<Claim>);

impl Said {
    fn add(&mut self, subject: impl Into<String>, value: Option<ClaimValue>) {
        let subject = subject.into();
        if let Some(value) = value
            && self.0.iter().all(|claim| claim.subject != subject)
        {
            self.0.push(Claim { subject, value });
        }
    }
}

fn quantity(value: f64) -> ClaimValue {
    ClaimValue::Quantity(Number::saturating(value))
}

fn count(value: u32) -> ClaimValue {
    quantity(value.into())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
const fn total(value: u64) -> f64 {
    value as f64
}

/// Speaks of the groups that suit the work, of each figure the best: which of them the work would get
/// depends on what is free, and a claim about what exists must not.
fn compute(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    let Some(facts) = site.compute() else { return };
    let ask = Ask::of(requirement);
    let groups = fit::suited(&ask, facts);
    if ask.nodes.is_some() {
        said.add("compute.nodes", most(&groups, |group| Some(group.nodes.into())));
        said.add("compute.nodes_free", most(&groups, |group| group.nodes_free.map(f64::from)));
    }
    if ask.cores.is_some() {
        said.add("compute.cores", most(&groups, |group| Some(total(fit::total_cores(group)))));
    }
    if ask.nodes.is_none() && (ask.cores.is_some() || ask.cores_per_node.is_some()) {
        said.add("compute.cores_free", most(&groups, |group| group.cores_free.map(f64::from)));
    }
    if ask.cores_per_node.is_some() || (ask.nodes.is_some() && ask.cores.is_some()) {
        said.add("compute.cores_per_node", most(&groups, |group| Some(group.cores_per_node.into())));
    }
    // GPUs that are welcome but not needed are looked for where there are some.
    let gpus = requirement.compute.gpus.as_ref().filter(|gpus| gpus.count > 0);
    if let Some(gpus) = gpus {
        let ask = Ask { gpus: Some(gpus), ..ask };
        let groups = fit::suited(&ask, facts);
        said.add("compute.gpus", most(&groups, |group| Some(total(fit::total_gpus(group)))));
        said.add("compute.gpus_free", most(&groups, |group| group.gpus_free.map(f64::from)));
        if gpus.per == GpuScope::Node || ask.nodes.is_some() {
            said.add("compute.gpus_per_node", most(&groups, |group| Some(group.gpus_per_node.into())));
        }
        let model = groups.iter().find_map(|group| group.gpu_model.clone());
        said.add("compute.gpu_model", model.map(ClaimValue::Text));
        said.add("compute.gpu_memory_gib", most(&groups, |group| group.gpu_memory_gib.map(GiB::get)));
    }
    let per_node = |group: &NodeGroup| group.memory_gib_per_node.map(GiB::get);
    if ask.memory_gib.is_some() {
        let all_nodes = |group: &NodeGroup| Some(f64::from(group.nodes) * per_node(group)?);
        said.add("compute.memory_gib", most(&groups, all_nodes));
    }
    if ask.memory_gib_per_node.is_some() || (ask.nodes.is_some() && ask.memory_gib.is_some()) {
        said.add("compute.memory_gib_per_node", most(&groups, per_node));
    }
}

/// The largest of a figure that is known of any group.
fn most(groups: &[&NodeGroup], figure: impl Fn(&NodeGroup) -> Option<f64>) -> Option<ClaimValue> {
    groups.iter().filter_map(|group| figure(group)).reduce(f64::max).map(quantity)
}

fn software(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    for need in &requirement.software {
        let versions = site.software().map(|packages| {
            let mut versions: Vec<String> = packages
                .iter()
                .filter(|package| names::is_package(&need.name, package))
                .map(|package| package.version.clone())
                .collect();
            versions.sort_unstable();
            versions.dedup();
            ClaimValue::List(versions)
        });
        said.add(format!("software.{}", need.name), versions);
    }
}

fn network(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    for kind in &requirement.network {
        let of_kind = site.networks().map(|fabrics| {
            fabrics.iter().filter(|fabric| names::is_fabric(kind, &fabric.kind)).collect::<Vec<_>>()
        });
        said.add(
            format!("network.{kind}"),
            of_kind.as_ref().map(|found| ClaimValue::Flag(!found.is_empty())),
        );
        let fastest = of_kind.and_then(|found| {
            found.iter().filter_map(|fabric| fabric.gbps).map(|speed| speed.get()).reduce(f64::max)
        });
        said.add(format!("network.{kind}.gbps"), fastest.map(quantity));
    }
}

fn storage(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    for need in &requirement.storage {
        let of_kind = site.storage().map(|file_systems| {
            let mut found = usable_storage(requirement, file_systems);
            found.retain(|had| need.kind.as_ref().is_none_or(|kind| names::is_file_system(kind, had)));
            found
        });
        let kind = storage_kind(need);
        said.add(
            format!("storage.{kind}"),
            of_kind.as_ref().map(|found| ClaimValue::Flag(!found.is_empty())),
        );
        if need.free_gib.is_some() {
            let most = of_kind
                .and_then(|found| found.iter().filter_map(|had| had.free_gib).map(GiB::get).reduce(f64::max));
            said.add(format!("storage.{kind}.free_gib"), most.map(quantity));
        }
    }
}

fn container(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    for name in &requirement.container {
        let is_there = site
            .containers()
            .map(|runtimes| ClaimValue::Flag(runtimes.iter().any(|had| names::is_runtime(name, &had.name))));
        said.add(format!("container.{name}"), is_there);
    }
}

fn workload(said: &mut Said, requirement: &Requirement, site: Site<'_>) {
    let Some(workload) = site.workload() else { return };
    if !requirement.workload.is_empty() || !requirement.exclude.workload.is_empty() {
        said.add("workload.manager", Some(ClaimValue::Text(workload.manager.clone())));
    }
    if requirement.time.duration_seconds.is_some() {
        let limit = workload.time_limit.map(Seconds::get).map(quantity);
        said.add("workload.time_limit_seconds", limit);
    }
    if !requirement.time.is_empty() {
        said.add("queue.depth", workload.queue_depth.map(count));
    }
    said.add("start.p90_seconds", workload.start.map(|start| quantity(start.p90.get())));
}

fn prices(said: &mut Said, site: Site<'_>) {
    let Some(Prices { node_hour_usd, core_hour_usd, gpu_hour_usd }) = site.prices() else { return };
    let dollars = |price: &Option<Usd>| price.map(|price| quantity(price.get()));
    said.add("price.node_hour_usd", dollars(node_hour_usd));
    said.add("price.core_hour_usd", dollars(core_hour_usd));
    said.add("price.gpu_hour_usd", dollars(gpu_hour_usd));
}

#[cfg(test)]
mod tests;
