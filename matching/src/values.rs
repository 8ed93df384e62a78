//! The value of each factor at a site, in the factor's unit.

use protocol::factor::FactorName;
use protocol::facts::Facts;
use protocol::proposal::Promises;
use protocol::requirement::{Requirement, SoftwareNeed, StorageNeed};

use crate::factors::{COMPATIBLE_FIT, CONTAINER_FIT, EXACT_FIT};
use crate::fit::{self, Ask};
use crate::names;
use crate::promises::{ASSUMED_RUNTIME, cost_per_hour, stated_runtime};
use crate::site::Site;
use crate::unmet::usable_storage;
use crate::version::{Constraint, Version};

/// The value of a factor at a site, in the factor's unit; `None` when nobody can tell.
///
/// Times and cost come from the promises. Where the request states no run time, cost and finish time
/// are those of one hour, as the factor's reference says.
#[must_use]
pub fn factor_value(
    name: FactorName,
    requirement: &Requirement,
    facts: &Facts,
    promises: &Promises,
) -> Option<f64> {
    let site = Site::of(facts);
    let value = match name {
        FactorName::Cost => cost(requirement, facts, promises),
        FactorName::StartTime => promises.start_p90_seconds.map(|start| start.get()),
        FactorName::FinishTime => finish_time(requirement, promises),
        FactorName::SoftwareFit => software_fit(requirement, site),
        FactorName::NetworkBandwidth => network_bandwidth(requirement, site),
        FactorName::GpuMemory => gpu_memory(requirement, site),
        FactorName::CapacityHeadroom => {
            let ask = Ask::of(requirement);
            fit::place(&ask, site.compute()?)?.headroom(&ask)
        }
        FactorName::StorageFree => storage_free(requirement, site),
    };
    value.filter(|value| value.is_finite())
}

fn cost(requirement: &Requirement, facts: &Facts, promises: &Promises) -> Option<f64> {
    match (promises.cost_usd, stated_runtime(requirement)) {
        (Some(cost), _) => Some(cost.get()),
        (None, None) => cost_per_hour(requirement, facts).map(|per_hour| per_hour * ASSUMED_RUNTIME / 3600.0),
        (None, Some(_)) => None,
    }
}

fn finish_time(requirement: &Requirement, promises: &Promises) -> Option<f64> {
    let start = promises.start_p90_seconds?.get();
    match (promises.runtime_seconds, stated_runtime(requirement)) {
        (Some(runtime), _) => Some(start + runtime.get()),
        (None, None) => Some(start + ASSUMED_RUNTIME),
        (None, Some(_)) => None,
    }
}

/// The fit of the package that fits worst.
fn software_fit(requirement: &Requirement, site: Site<'_>) -> Option<f64> {
    requirement.software.iter().try_fold(EXACT_FIT, |worst, need| Some(worst.min(package_fit(need, site)?)))
}

fn package_fit(need: &SoftwareNeed, site: Site<'_>) -> Option<f64> {
    let packages = site.software()?;
    let constraint = match need.constraint.as_deref().map(Constraint::parse) {
        Some(Ok(constraint)) => Some(constraint),
        Some(Err(_)) => return Some(0.0),
        None => None,
    };
    let fits =
        packages.iter().filter(|package| names::is_package(&need.name, package)).filter_map(|package| {
            let Some(constraint) = &constraint else { return Some(EXACT_FIT) };
            let version = Version::parse(&package.version);
            let is_named = constraint.names(&version);
            constraint.accepts(&version).then_some(if is_named { EXACT_FIT } else { COMPATIBLE_FIT })
        });
    if let Some(best) = fits.reduce(f64::max) {
        return Some(best);
    }
    // Without the package itself, only a container could bring it.
    site.containers().map(|runtimes| if runtimes.is_empty() { 0.0 } else { CONTAINER_FIT })
}

/// The fastest fabric that the request accepts; a machine that none connects has no bandwidth.
fn network_bandwidth(requirement: &Requirement, site: Site<'_>) -> Option<f64> {
    let fabrics = site.networks()?;
    if fabrics.is_empty() {
        return Some(0.0);
    }
    let wanted = &requirement.network;
    fabrics
        .iter()
        .filter(|fabric| wanted.is_empty() || wanted.iter().any(|kind| names::is_fabric(kind, &fabric.kind)))
        .filter(|fabric| !requirement.exclude.network.iter().any(|kind| names::is_fabric(kind, &fabric.kind)))
        .filter_map(|fabric| fabric.gbps)
        .map(|speed| speed.get())
        .reduce(f64::max)
}

/// The memory of the GPUs that suit the work, needed or only welcome; of the best ones that are there
/// when it asks for none.
fn gpu_memory(requirement: &Requirement, site: Site<'_>) -> Option<f64> {
    let compute = site.compute()?;
    let gpus = requirement.compute.gpus.as_ref().filter(|gpus| gpus.count > 0);
    let ask = Ask { gpus, ..Ask::of(requirement) };
    let groups = fit::suited(&ask, compute);
    let model = gpus.and_then(|gpus| gpus.model.as_deref());
    // Of another model there may be some, but this work would not get them.
    let may_be =
        |had: Option<&str>| model.is_none_or(|model| had.is_none_or(|had| names::is_gpu_model(model, had)));
    let mut with_gpus = groups
        .iter()
        .filter(|group| group.gpus_per_node > 0 && may_be(group.gpu_model.as_deref()))
        .peekable();
    if with_gpus.peek().is_none() {
        return Some(0.0);
    }
    with_gpus.filter_map(|group| group.gpu_memory_gib).map(|size| size.get()).reduce(f64::max)
}

/// The most free space for the need that is met least, or anywhere when no need is stated.
fn storage_free(requirement: &Requirement, site: Site<'_>) -> Option<f64> {
    let usable = usable_storage(requirement, site.storage()?);
    let most = |need: &StorageNeed| {
        let of_kind: Vec<_> = usable
            .iter()
            .filter(|had| need.kind.as_ref().is_none_or(|kind| names::is_file_system(kind, had)))
            .collect();
        if of_kind.is_empty() {
            return Some(0.0);
        }
        of_kind.iter().filter_map(|had| had.free_gib).map(|size| size.get()).reduce(f64::max)
    };
    let mut needs = requirement.storage.iter();
    let Some(first) = needs.next() else { return most(&StorageNeed { kind: None, free_gib: None }) };
    needs.try_fold(most(first)?, |least, need| Some(least.min(most(need)?)))
}

#[cfg(test)]
mod tests {
    use protocol::units::{Seconds, Usd};
    use serde_json::json;

    use super::*;
    use crate::promises::promises;
    use crate::samples;

    #[test]
    fn values_are_those_of_the_site() {
        use FactorName::*;
        let site = samples::cluster();
        let table = [
            (Cost, json!({"compute": {"nodes": 3}, "time": {"duration_seconds": 7200}}), Some(24.0)),
            (Cost, json!({"compute": {"nodes": 3}}), Some(12.0)),
            (Cost, json!({"compute": {"nodes": 5000}}), None),
            (StartTime, json!({}), Some(30.0)),
            (FinishTime, json!({"time": {"duration_seconds": 70}}), Some(100.0)),
            (FinishTime, json!({}), Some(3630.0)),
            (SoftwareFit, json!({}), Some(1.0)),
            (SoftwareFit, json!({"software": [{"name": "lammps"}]}), Some(1.0)),
            (SoftwareFit, json!({"software": [{"name": "lammps", "constraint": ">=20230802"}]}), Some(1.0)),
            (SoftwareFit, json!({"software": [{"name": "lammps", "constraint": ">20220623"}]}), Some(0.7)),
            (SoftwareFit, json!({"software": [{"name": "lammps"}, {"name": "vasp"}]}), Some(0.4)),
            (SoftwareFit, json!({"software": [{"name": "lammps", "constraint": "!!"}]}), Some(0.0)),
            (NetworkBandwidth, json!({}), Some(100.0)),
            (NetworkBandwidth, json!({"network": ["ethernet"]}), Some(10.0)),
            (NetworkBandwidth, json!({"exclude": {"network": ["infiniband"]}}), Some(10.0)),
            (NetworkBandwidth, json!({"network": ["omni-path"]}), None),
            (GpuMemory, json!({"compute": {"gpus": {"count": 1}}}), Some(79.6)),
            (GpuMemory, json!({"compute": {"gpus": {"count": 1, "optional": true}}}), Some(79.6)),
            (
                GpuMemory,
                json!({"compute": {"gpus": {"count": 1, "model": "a100", "optional": true}}}),
                Some(0.0),
            ),
            (CapacityHeadroom, json!({"compute": {"nodes": 25}}), Some(2.0)),
            (CapacityHeadroom, json!({"compute": {"cores": 1700}}), Some(2.0)),
            (CapacityHeadroom, json!({"compute": {"gpus": {"count": 13}}}), Some(2.0)),
            (
                CapacityHeadroom,
                json!({"compute": {"nodes": 4, "gpus": {"count": 4, "per": "node"}}}),
                Some(1.5),
            ),
            (StorageFree, json!({}), Some(4096.0)),
            (StorageFree, json!({"storage": [{"kind": "lustre"}]}), Some(4096.0)),
            (StorageFree, json!({"storage": [{"kind": "lustre"}, {"kind": "s3"}]}), Some(0.0)),
            (StorageFree, json!({"storage": [{"kind": "nfs"}]}), None),
        ];
        for (name, request, expected) in table {
            let asked = samples::requirement(request.clone());
            let value = factor_value(name, &asked, &site, &promises(&asked, &site));
            assert_eq!(value, expected, "{name} for {request}");
        }
    }

    #[test]
    fn nothing_known_gives_no_value() {
        let asked = samples::requirement(json!({"software": [{"name": "lammps"}], "compute": {"nodes": 1}}));
        let host = samples::login_node();
        for facts in [Facts::default(), host] {
            for name in [
                FactorName::Cost,
                FactorName::StartTime,
                FactorName::FinishTime,
                FactorName::SoftwareFit,
                FactorName::NetworkBandwidth,
                FactorName::GpuMemory,
                FactorName::CapacityHeadroom,
                FactorName::StorageFree,
            ] {
                assert_eq!(factor_value(name, &asked, &facts, &promises(&asked, &facts)), None, "{name}");
            }
        }
    }

    #[test]
    fn times_and_cost_follow_the_promises_that_are_given() {
        let asked = samples::requirement(json!({"time": {"duration_seconds": 60}}));
        let promised = Promises {
            start_p90_seconds: Some(Seconds::from(7)),
            runtime_seconds: Some(Seconds::from(100)),
            cost_usd: Some(Usd::from(3)),
            start_p50_seconds: None,
        };
        let value = |name| factor_value(name, &asked, &Facts::default(), &promised);
        assert_eq!(value(FactorName::FinishTime), Some(107.0));
        assert_eq!(value(FactorName::Cost), Some(3.0));
        let silent = Promises { runtime_seconds: None, cost_usd: None, ..promised };
        assert_eq!(factor_value(FactorName::FinishTime, &asked, &samples::cluster(), &silent), None);
        assert_eq!(factor_value(FactorName::Cost, &asked, &samples::cluster(), &silent), None);
    }
}
