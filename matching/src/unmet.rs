//! Hard constraints that a site does not meet, each with what was wanted and what there is.
//!
//! Only facts of the site count. A fact that a constraint needs and nobody knows is a reason of its
//! own, `FACT_UNKNOWN`, never a guess in either direction.

mod categories;
mod time;

use std::collections::BTreeMap;

use protocol::evaluation::Reason;
use protocol::facts::Facts;
use protocol::fleet::Manifest;
use protocol::ids::WorkerId;
use protocol::proposal::{ReasonCode, Verdict};
use protocol::requirement::Requirement;

use crate::fit::{self, Ask};
use crate::site::Site;
use crate::wording;

pub(crate) use categories::usable_storage;
pub(crate) use time::must_start_at_once;

/// Every hard constraint that the facts do not meet, in the order of the requirement's fields.
///
/// Taken capacity is always reported (`NODES_BUSY`, `CORES_BUSY`, `GPUS_BUSY`), also where the request
/// may wait for it; [`blocking`] leaves it out then.
#[must_use]
pub fn unmet(requirement: &Requirement, facts: &Facts) -> Vec<Reason> {
    let site = Site::of(facts);
    let mut reasons = categories::software(requirement, site);
    reasons.extend(compute(requirement, site));
    reasons.extend(categories::network(requirement, site));
    reasons.extend(categories::storage(requirement, site));
    reasons.extend(categories::container(requirement, site));
    reasons.extend(categories::mpi(requirement, site));
    reasons.extend(categories::workload_manager(requirement, site));
    reasons.extend(time::time(requirement, site));
    reasons.extend(time::budget(requirement, facts));
    reasons.extend(categories::archetype(requirement, site.archetype()));
    reasons
}

/// What the static facts of a worker already rule out: labels, exclusions, workload manager. What a
/// manifest does not tell rules nothing out.
#[must_use]
pub fn unmet_manifest(
    requirement: &Requirement,
    worker: &WorkerId,
    labels: &BTreeMap<String, String>,
    manifest: &Manifest,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (key, wanted) in &requirement.labels {
        let had = labels.get(key);
        if had != Some(wanted) {
            let (key, wanted) = (wording::name(key), wording::name(wanted));
            let had =
                had.map_or_else(|| format!("no label {key}"), |had| format!("{key}={}", wording::name(had)));
            reasons.push(reason(ReasonCode::LabelMismatch, format!("{key}={wanted}"), had));
        }
    }
    if requirement.exclude.workers.contains(worker) {
        reasons.push(reason(
            ReasonCode::Excluded,
            format!("not worker {worker}"),
            format!("worker {worker}"),
        ));
    }
    reasons.extend(categories::archetype(requirement, manifest.archetype.as_deref()));
    if let Some(manager) = &manifest.workload {
        reasons.extend(categories::manager_is_acceptable(requirement, manager));
    }
    reasons
}

/// The reasons that bar the site from this requirement: all of them, except that taken capacity is no
/// bar where the request may wait for it. How long the wait is, start and deadline reasons say.
#[must_use]
pub fn blocking(requirement: &Requirement, unmet: &[Reason]) -> Vec<Reason> {
    let at_once = must_start_at_once(&requirement.time);
    unmet.iter().filter(|reason| at_once || !reason.code.is_about_capacity()).cloned().collect()
}

/// The verdict that goes with the reasons: `READY` without any, `BUSY` when only waiting stands in the
/// way, `UNKNOWN` when what stands in the way besides that is not known, else `INCOMPATIBLE`.
#[must_use]
pub fn verdict(unmet: &[Reason]) -> Verdict {
    unmet.iter().fold(Verdict::Ready, |verdict, reason| match (verdict, reason.code) {
        (Verdict::Ready, code) if code.is_about_capacity() || code == ReasonCode::StartTooLate => {
            Verdict::Busy
        }
        (verdict, code) if code.is_about_capacity() || code == ReasonCode::StartTooLate => verdict,
        (Verdict::Incompatible, _) => Verdict::Incompatible,
        (_, ReasonCode::FactUnknown) => Verdict::Unknown,
        _ => Verdict::Incompatible,
    })
}

fn compute(requirement: &Requirement, site: Site<'_>) -> Vec<Reason> {
    let ask = Ask::of(requirement);
    match site.compute().map(|compute| fit::place(&ask, compute)) {
        Some(Some(place)) => place.reasons,
        _ if ask.is_empty() => Vec::new(),
        Some(None) => vec![reason(ReasonCode::NodesTooFew, ask.in_words(), "no nodes".to_owned())],
        None => vec![reason(ReasonCode::FactUnknown, ask.in_words(), site.unknown("compute"))],
    }
}

fn reason(code: ReasonCode, wanted: String, had: String) -> Reason {
    Reason { code, wanted, had }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
