//! What a dishonest worker says: that it has what was asked for, cheaper and sooner than the truth.
//!
//! A lie is plausible. It keeps to what the requirement speaks of, stays near what the site has where
//! that is enough, and never contradicts itself: free capacity stays within the capacity.

use protocol::facts::{
    ComputeFacts, Fabric, Facts, FileSystem, NodeGroup, Package, Prices, Runtime, StartEstimate,
};
use protocol::ids::NegotiationId;
use protocol::requirement::{GpuScope, Requirement, StorageNeed};
use protocol::units::{GiB, Number, Seconds, Usd};

use crate::start::hard_gpus;
use crate::stream::{Stream, hash64, unit_of, whole};

/// Whether a worker that is honest with this probability lies in this negotiation.
#[must_use]
pub fn lies(honesty: f64, seed: u64, negotiation: &NegotiationId) -> bool {
    unit_of(hash64(&[b"lies", &seed.to_be_bytes(), negotiation.as_str().as_bytes()])) >= honesty
}

/// The facts as a liar states them: they satisfy the requirement, whatever the site has.
#[must_use]
pub fn overclaim(facts: &Facts, requirement: &Requirement, seed: u64) -> Facts {
    let mut stream = Stream::new(&[b"overclaim", &seed.to_be_bytes()]);
    let mut told = facts.clone();
    claim_software(&mut told, requirement);
    let size = claim_compute(told.compute.get_or_insert_default(), requirement, &mut stream);
    claim_network(&mut told.networks, &requirement.network);
    for need in &requirement.storage {
        claim_storage(told.storage.get_or_insert_default(), need);
    }
    claim_runtime(&mut told.containers, &requirement.container);
    if requirement.mpi {
        claim_runtime(&mut told.mpi, &["openmpi".to_owned()]);
    }
    claim_queue(&mut told, requirement);
    claim_prices(&mut told, requirement, &size, &mut stream);
    told
}

/// Lists each package in the version that was asked for.
fn claim_software(told: &mut Facts, requirement: &Requirement) {
    for need in &requirement.software {
        let packages = told.software.get_or_insert_default();
        let named = packages.iter().find(|package| package.name == need.name);
        let version = match (&need.constraint, named) {
            (None, Some(_)) => continue,
            (None, None) => "1.0".to_owned(),
            (Some(constraint), _) => version_within(constraint),
        };
        if packages.iter().any(|package| package.name == need.name && package.version == version) {
            continue;
        }
        let like = named.or(packages.first());
        let package = Package {
            name: need.name.clone(),
            version,
            provider: like.map_or_else(|| "modules".to_owned(), |package| package.provider.clone()),
            environment: like.and_then(|package| package.environment.clone()),
        };
        let place = packages.partition_point(|other| *other < package);
        packages.insert(place, package);
    }
}

/// A version that a constraint accepts, made from the constraint itself: its last lower bound, or a
/// version just below its upper one.
fn version_within(constraint: &str) -> String {
    let mut upper = None;
    let mut lower = None;
    for part in constraint.split(',').map(str::trim) {
        let version = part.trim_start_matches(['<', '>', '=', '~', '^', ' ']);
        match part.strip_prefix('<') {
            Some(rest) if rest.starts_with('=') => upper = Some(version.to_owned()),
            Some(_) => upper = Some(one_less(version)),
            None if part.starts_with('>') && !part.starts_with(">=") => lower = Some(format!("{version}.1")),
            None => lower = Some(version.to_owned()),
        }
    }
    lower.or(upper).unwrap_or_else(|| "1.0".to_owned())
}

/// The version with its last number that is not 0 made smaller: below `2.1.0` is `2.0`.
fn one_less(version: &str) -> String {
    let mut parts: Vec<String> = version.split('.').map(ToOwned::to_owned).collect();
    while let Some(last) = parts.pop() {
        if let Ok(number) = last.parse::<u64>()
            && number > 0
        {
            parts.push((number - 1).to_string());
            return parts.join(".");
        }
    }
    "0".to_owned()
}

/// What the work takes, as the liar would have it.
struct Size {
    nodes: u32,
    cores: u32,
    gpus: u32,
}

/// Makes one group large and free enough.
fn claim_compute(told: &mut ComputeFacts, requirement: &Requirement, stream: &mut Stream) -> Size {
    let need = &requirement.compute;
    let gpus = hard_gpus(requirement);
    let right_model =
        |group: &NodeGroup| gpus.is_some_and(|gpus| gpus.model.is_some() && group.gpu_model == gpus.model);
    let best = (0..told.groups.len()).max_by_key(|&place| {
        let group = &told.groups[place];
        (right_model(group), (group.gpus_per_node > 0) == gpus.is_some(), group.nodes)
    });
    let place = best.unwrap_or_else(|| {
        told.groups.push(NodeGroup { name: "batch".to_owned(), cores_per_node: 64, ..NodeGroup::default() });
        0
    });
    let group = &mut told.groups[place];

    let whole_nodes = need.nodes.unwrap_or(0);
    // What totals come to on each of the asked-for nodes; without a number of nodes they set it.
    let on_each = |total: u32| total.checked_div(whole_nodes).map_or(0, |_| total.div_ceil(whole_nodes));
    let cores = need.cores.max(need.tasks).unwrap_or(0);
    let memory = need.memory_gib.map_or(0.0, GiB::get);
    if let Some(gpus) = gpus {
        let least = if gpus.per == GpuScope::Node { gpus.count } else { on_each(gpus.count).max(1) };
        group.gpus_per_node = group.gpus_per_node.max(least);
        if gpus.model.is_some() {
            group.gpu_model.clone_from(&gpus.model);
        }
        group.gpu_model.get_or_insert_with(|| "a100".to_owned());
        raise(group.gpu_memory_gib.get_or_insert(GiB::from(40)), gpus.memory_gib);
    }
    group.cores_per_node = group.cores_per_node.max(need.cores_per_node.unwrap_or(1)).max(on_each(cores));
    let per_node = group.memory_gib_per_node.get_or_insert(GiB::ZERO);
    raise(per_node, need.memory_gib_per_node);
    if whole_nodes > 0 {
        raise(per_node, GiB::new(memory / f64::from(whole_nodes)).ok());
    }

    let for_memory = whole(libm::ceil(memory / per_node.get().max(1.0)));
    let for_gpus = match gpus {
        Some(gpus) if gpus.per == GpuScope::Total => gpus.count.div_ceil(group.gpus_per_node.max(1)),
        _ => 1,
    };
    let shared = cores.div_ceil(group.cores_per_node.max(1)).max(for_memory).max(for_gpus).max(1);
    let nodes = if whole_nodes > 0 { whole_nodes } else { shared };
    let wanted = Size {
        nodes,
        cores: cores.max(nodes.saturating_mul(need.cores_per_node.unwrap_or(1).max(1))),
        gpus: gpus.map_or(0, |gpus| match gpus.per {
            GpuScope::Node => gpus.count.saturating_mul(nodes),
            GpuScope::Total => gpus.count,
        }),
    };

    // A little more than was asked for, so that the lie does not look made to measure.
    let stretch = 1.1 + 0.5 * stream.unit();
    let stretched = |amount: u32| whole(libm::ceil(f64::from(amount) * stretch));
    let free = group.nodes_free.unwrap_or(0);
    let nodes_free = if whole_nodes > 0 {
        group.nodes = group.nodes.max(stretched(nodes));
        stretched(free.max(nodes)).min(group.nodes)
    } else {
        group.nodes = group.nodes.max(nodes);
        free
    };
    let most_cores = group.nodes.saturating_mul(group.cores_per_node);
    let most_gpus = group.nodes.saturating_mul(group.gpus_per_node);
    let cores_free = group.cores_free.unwrap_or(0);
    let is_scarce = !need.is_empty() || cores_free == 0;
    let cores_free = if is_scarce { stretched(cores_free.max(wanted.cores)) } else { cores_free };
    let gpus_free = group.gpus_free.unwrap_or(0);
    let gpus_free = if gpus.is_some() { stretched(gpus_free.max(wanted.gpus)) } else { gpus_free };
    group.nodes_free = Some(nodes_free);
    let in_free_nodes = |per_node: u32| nodes_free.saturating_mul(per_node);
    group.cores_free = Some(cores_free.min(most_cores).max(in_free_nodes(group.cores_per_node)));
    group.gpus_free = Some(gpus_free.min(most_gpus).max(in_free_nodes(group.gpus_per_node)));
    wanted
}

fn raise(size: &mut GiB, least: Option<GiB>) {
    if let Some(least) = least
        && least > *size
    {
        *size = least;
    }
}

fn claim_network(told: &mut Option<Vec<Fabric>>, acceptable: &[String]) {
    let Some(first) = acceptable.first() else { return };
    let fabrics = told.get_or_insert_default();
    if !fabrics.iter().any(|fabric| acceptable.contains(&fabric.kind)) {
        let gbps = if first == "infiniband" { 200 } else { 100 };
        fabrics.push(Fabric { kind: first.clone(), gbps: Some(Number::from(gbps)) });
    }
}

fn claim_storage(told: &mut Vec<FileSystem>, need: &StorageNeed) {
    let free = GiB::saturating(libm::ceil(need.free_gib.map_or(100.0, GiB::get) * 1.25));
    let right = |volume: &&mut FileSystem| need.kind.as_ref().is_none_or(|kind| volume.kind == *kind);
    if let Some(volume) = told.iter_mut().find(right) {
        if need.free_gib.is_some_and(|least| volume.free_gib.is_none_or(|free| free < least)) {
            volume.free_gib = Some(free);
            raise(volume.total_gib.get_or_insert(free), Some(free));
        }
        return;
    }
    let kind = need.kind.clone().unwrap_or_else(|| "nfs".to_owned());
    let total = GiB::saturating(free.get() * 4.0);
    told.push(FileSystem { path: format!("/{kind}"), kind, total_gib: Some(total), free_gib: Some(free) });
}

fn claim_runtime(told: &mut Option<Vec<Runtime>>, acceptable: &[String]) {
    let Some(first) = acceptable.first() else { return };
    let runtimes = told.get_or_insert_default();
    // Any MPI implementation will do for a requirement that only says "MPI".
    let present = runtimes.iter().any(|runtime| acceptable.contains(&runtime.name));
    if !present && (first != "openmpi" || runtimes.is_empty()) {
        runtimes.push(Runtime { name: first.clone(), version: None });
    }
}

/// An empty queue, a start at once, any run time welcome.
fn claim_queue(told: &mut Facts, requirement: &Requirement) {
    let workload = told.workload.get_or_insert_default();
    if let Some(first) = requirement.workload.first()
        && !requirement.workload.contains(&workload.manager)
    {
        workload.manager.clone_from(first);
    }
    workload.start = Some(StartEstimate { p50: Seconds::ZERO, p90: Seconds::ZERO });
    workload.queue_depth = workload.queue_depth.map(|depth| depth / 10);
    if let (Some(limit), Some(duration)) = (workload.time_limit, requirement.time.duration_seconds)
        && limit < duration
    {
        workload.time_limit = Some(duration);
    }
}

/// Half to four fifths of the price, and within the budget if the length of the work is known.
fn claim_prices(told: &mut Facts, requirement: &Requirement, size: &Size, stream: &mut Stream) {
    let mut share = 0.5 + 0.3 * stream.unit();
    let groups = told.compute.as_ref().map_or(&[][..], |compute| &compute.groups);
    let on_nodes =
        |of: fn(&NodeGroup) -> u32| groups.iter().map(of).max().unwrap_or(0).saturating_mul(size.nodes);
    // Whatever way the work is charged, it costs no more than its nodes and everything in them.
    let cores = size.cores.max(on_nodes(|group| group.cores_per_node));
    let gpus = size.gpus.max(on_nodes(|group| group.gpus_per_node));

    let prices = told.prices.get_or_insert_default();
    if let (Some(budget), Some(duration)) = (requirement.budget_usd, requirement.time.duration_seconds) {
        let part = |price: Option<Usd>, count: u32| price.map_or(0.0, Usd::get) * f64::from(count);
        let hourly = part(prices.node_hour_usd, size.nodes)
            + part(prices.core_hour_usd, cores)
            + part(prices.gpu_hour_usd, gpus);
        let cost = hourly * duration.get() / 3_600.0;
        if cost > 0.0 {
            share = share.min(0.9 * budget.get().max(0.0) / cost);
        }
    }
    let cheaper = |price: Option<Usd>| {
        price.map(|price| Usd::saturating(libm::floor(price.get() * share * 10_000.0) / 10_000.0))
    };
    *prices = Prices {
        node_hour_usd: cheaper(prices.node_hour_usd),
        core_hour_usd: cheaper(prices.core_hour_usd),
        gpu_hour_usd: cheaper(prices.gpu_hour_usd),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_made_from_the_constraint() {
        for (constraint, version) in [
            (">=20230802", "20230802"),
            ("==2.1", "2.1"),
            ("~1.4", "1.4"),
            ("^2", "2"),
            ("2023", "2023"),
            (">2.0", "2.0.1"),
            ("<=4.8.1", "4.8.1"),
            ("<2.1.0", "2.0"),
            ("<1", "0"),
            ("<0", "0"),
            (">=1.2, <2", "1.2"),
            ("< 2", "1"),
            ("", ""),
        ] {
            assert_eq!(version_within(constraint), version, "{constraint}");
        }
    }
}
