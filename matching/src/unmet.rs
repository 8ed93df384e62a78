//! Hard constraints that a site does not meet, each with what was wanted and what there is.

use std::collections::BTreeMap;

use protocol::evaluation::Reason;
use protocol::facts::Facts;
use protocol::fleet::Manifest;
use protocol::ids::WorkerId;
use protocol::proposal::{ReasonCode, Verdict};
use protocol::requirement::Requirement;

/// Every hard constraint that the facts do not meet.
#[must_use]
pub fn unmet(requirement: &Requirement, facts: &Facts) -> Vec<Reason> {
    let _ = (requirement, facts);
    Vec::new()
}

/// What the static facts of a worker already rule out: labels, exclusions, workload manager.
#[must_use]
pub fn unmet_manifest(
    requirement: &Requirement,
    worker: &WorkerId,
    labels: &BTreeMap<String, String>,
    manifest: &Manifest,
) -> Vec<Reason> {
    let _ = (requirement, worker, labels, manifest);
    Vec::new()
}

/// The reasons that bar the site from this requirement: all of them, except that taken capacity is no
/// bar where the request may wait for it.
#[must_use]
pub fn blocking(requirement: &Requirement, unmet: &[Reason]) -> Vec<Reason> {
    let _ = requirement;
    unmet.to_vec()
}

/// The verdict that goes with the reasons.
#[must_use]
pub fn verdict(unmet: &[Reason]) -> Verdict {
    if unmet.is_empty() {
        Verdict::Ready
    } else if unmet.iter().all(|reason| reason.code == ReasonCode::FactUnknown) {
        Verdict::Unknown
    } else {
        Verdict::Incompatible
    }
}
