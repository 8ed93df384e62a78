//! Constraints on what is installed and attached: software, network, storage, containers, MPI, the
//! workload manager and the kind of site.

use protocol::evaluation::Reason;
use protocol::facts::{FileSystem, Package};
use protocol::proposal::ReasonCode;
use protocol::requirement::{Requirement, SoftwareNeed, StorageNeed};

use super::reason;
use crate::names;
use crate::site::Site;
use crate::version::{Constraint, Version};
use crate::wording;

pub(super) fn software(requirement: &Requirement, site: Site<'_>) -> Vec<Reason> {
    requirement.software.iter().filter_map(|need| package(need, site)).collect()
}

fn package(need: &SoftwareNeed, site: Site<'_>) -> Option<Reason> {
    let wanted = match &need.constraint {
        Some(constraint) => format!("{} {}", wording::name(&need.name), wording::name(constraint)),
        None => wording::name(&need.name),
    };
    let Some(packages) = site.software() else {
        return Some(reason(ReasonCode::FactUnknown, wanted, site.unknown("software")));
    };
    let versions = || packages.iter().filter(|package| names::is_package(&need.name, package));
    if versions().next().is_none() {
        return Some(reason(ReasonCode::SoftwareMissing, wanted, "not installed".to_owned()));
    }
    let had = match need.constraint.as_deref().map(Constraint::parse) {
        None => return None,
        Some(Err(error)) => error.to_string(),
        Some(Ok(constraint)) => {
            let accepts = |package: &Package| constraint.accepts(&Version::parse(&package.version));
            if versions().any(accepts) {
                return None;
            }
            wording::list(versions().map(|package| package.version.as_str()), "no version")
        }
    };
    Some(reason(ReasonCode::SoftwareVersion, wanted, had))
}

fn alternatives(wanted: &[String]) -> String {
    wording::list(wanted.iter().map(String::as_str), "any").replace(", ", " or ")
}

pub(super) fn network(requirement: &Requirement, site: Site<'_>) -> Option<Reason> {
    let (wanted, excluded) = (&requirement.network, &requirement.exclude.network);
    if wanted.is_empty() && excluded.is_empty() {
        return None;
    }
    let is_excluded = |kind: &str| excluded.iter().any(|other| names::is_fabric(other, kind));
    let words =
        if wanted.is_empty() { format!("not {}", alternatives(excluded)) } else { alternatives(wanted) };
    let Some(fabrics) = site.networks() else {
        return Some(reason(ReasonCode::FactUnknown, words, site.unknown("network")));
    };
    let had = wording::list(fabrics.iter().map(|fabric| fabric.kind.as_str()), "no fabric");
    let mut usable = fabrics.iter().filter(|fabric| !is_excluded(&fabric.kind));
    if wanted.is_empty() {
        let only_excluded = !fabrics.is_empty() && usable.next().is_none();
        return only_excluded.then(|| reason(ReasonCode::Excluded, words, had));
    }
    let is_there = usable.any(|fabric| wanted.iter().any(|kind| names::is_fabric(kind, &fabric.kind)));
    (!is_there).then(|| reason(ReasonCode::NetworkMissing, words, had))
}

pub(super) fn storage(requirement: &Requirement, site: Site<'_>) -> Vec<Reason> {
    let excluded = &requirement.exclude.storage;
    if requirement.storage.is_empty() && excluded.is_empty() {
        return Vec::new();
    }
    let Some(file_systems) = site.storage() else {
        let mut words: Vec<String> = requirement.storage.iter().map(storage_in_words).collect();
        if words.is_empty() {
            words.push(format!("not {}", alternatives(excluded)));
        }
        return vec![reason(ReasonCode::FactUnknown, words.join(", "), site.unknown("storage"))];
    };
    let usable: Vec<&FileSystem> = usable_storage(requirement, file_systems);
    if requirement.storage.is_empty() && usable.is_empty() && !file_systems.is_empty() {
        let had = wording::list(file_systems.iter().map(|had| had.kind.as_str()), "none");
        return vec![reason(ReasonCode::Excluded, format!("not {}", alternatives(excluded)), had)];
    }
    requirement.storage.iter().filter_map(|need| file_system(need, &usable)).collect()
}

/// The file systems that the request does not exclude.
pub(crate) fn usable_storage<'a>(
    requirement: &Requirement,
    file_systems: &'a [FileSystem],
) -> Vec<&'a FileSystem> {
    let excluded = &requirement.exclude.storage;
    file_systems.iter().filter(|had| !excluded.iter().any(|kind| names::is_file_system(kind, had))).collect()
}

fn storage_in_words(need: &StorageNeed) -> String {
    let kind = need.kind.as_deref().map_or_else(|| "storage".to_owned(), wording::name);
    match need.free_gib {
        Some(size) => format!("{kind} with {} GiB free", wording::number(size.get())),
        None => kind,
    }
}

fn file_system(need: &StorageNeed, usable: &[&FileSystem]) -> Option<Reason> {
    let wanted = storage_in_words(need);
    let of_kind: Vec<&&FileSystem> = usable
        .iter()
        .filter(|had| need.kind.as_ref().is_none_or(|kind| names::is_file_system(kind, had)))
        .collect();
    if of_kind.is_empty() {
        let had = wording::list(usable.iter().map(|had| had.kind.as_str()), "no file system");
        return Some(reason(ReasonCode::StorageMissing, wanted, had));
    }
    let size = need.free_gib?;
    if of_kind.iter().any(|had| had.free_gib.is_some_and(|free| free >= size)) {
        return None;
    }
    // One whose free space nobody knows may still have enough.
    if of_kind.iter().any(|had| had.free_gib.is_none()) {
        return Some(reason(ReasonCode::FactUnknown, wanted, "free storage unknown".to_owned()));
    }
    let most = of_kind.iter().filter_map(|had| had.free_gib).map(|free| free.get()).fold(0.0, f64::max);
    Some(reason(ReasonCode::StorageFull, wanted, format!("{} GiB free", wording::number(most))))
}

pub(super) fn container(requirement: &Requirement, site: Site<'_>) -> Option<Reason> {
    let wanted = &requirement.container;
    if wanted.is_empty() {
        return None;
    }
    let Some(runtimes) = site.containers() else {
        return Some(reason(ReasonCode::FactUnknown, alternatives(wanted), site.unknown("container")));
    };
    let excluded = &requirement.exclude.container;
    let is_there = runtimes
        .iter()
        .filter(|had| !excluded.iter().any(|name| names::is_runtime(name, &had.name)))
        .any(|had| wanted.iter().any(|name| names::is_runtime(name, &had.name)));
    if is_there {
        return None;
    }
    let had = wording::list(runtimes.iter().map(|had| had.name.as_str()), "no container runtime");
    Some(reason(ReasonCode::ContainerMissing, alternatives(wanted), had))
}

pub(super) fn mpi(requirement: &Requirement, site: Site<'_>) -> Option<Reason> {
    let wanted = || "an MPI implementation".to_owned();
    match site.mpi() {
        _ if !requirement.mpi => None,
        None => Some(reason(ReasonCode::FactUnknown, wanted(), site.unknown("mpi"))),
        Some(had) if had.is_empty() => Some(reason(ReasonCode::MpiMissing, wanted(), "none".to_owned())),
        Some(_) => None,
    }
}

pub(super) fn workload_manager(requirement: &Requirement, site: Site<'_>) -> Vec<Reason> {
    let (wanted, excluded) = (&requirement.workload, &requirement.exclude.workload);
    if wanted.is_empty() && excluded.is_empty() {
        return Vec::new();
    }
    match site.workload() {
        Some(workload) => manager_is_acceptable(requirement, &workload.manager),
        None => {
            let words = if wanted.is_empty() {
                format!("not {}", alternatives(excluded))
            } else {
                alternatives(wanted)
            };
            vec![reason(ReasonCode::FactUnknown, words, site.unknown("workload"))]
        }
    }
}

/// What stands against a workload manager that is known.
pub(super) fn manager_is_acceptable(requirement: &Requirement, manager: &str) -> Vec<Reason> {
    let (wanted, excluded) = (&requirement.workload, &requirement.exclude.workload);
    let mut reasons = Vec::new();
    if !wanted.is_empty() && !names::is_one_of(manager, wanted) {
        reasons.push(reason(ReasonCode::WorkloadManager, alternatives(wanted), wording::name(manager)));
    }
    if names::is_one_of(manager, excluded) {
        let words = format!("not {}", alternatives(excluded));
        reasons.push(reason(ReasonCode::Excluded, words, wording::name(manager)));
    }
    reasons
}

/// What stands against the kind of site. A site that is of no known kind is of no excluded one.
pub(super) fn archetype(requirement: &Requirement, archetype: Option<&str>) -> Option<Reason> {
    let excluded = &requirement.exclude.archetypes;
    let archetype = archetype.filter(|archetype| names::is_one_of(archetype, excluded))?;
    Some(reason(ReasonCode::Excluded, format!("not {}", alternatives(excluded)), wording::name(archetype)))
}
