//! Checkable statements about a site that matter to a requirement.

use protocol::claim::{Claim, ClaimValue};
use protocol::evaluation::AuditResult;
use protocol::facts::Facts;
use protocol::requirement::Requirement;

/// The relative error within which a number counts as true.
pub const TOLERANCE: f64 = 0.1;

/// What the facts say about each subject that matters to the requirement, in a fixed order.
#[must_use]
pub fn claims(requirement: &Requirement, facts: &Facts) -> Vec<Claim> {
    let _ = (requirement, facts);
    Vec::new()
}

/// Whether the requirement has a hard constraint on the subject.
#[must_use]
pub fn is_hard(requirement: &Requirement, subject: &str) -> bool {
    let _ = (requirement, subject);
    false
}

/// How a claim compares with the truth about its subject.
#[must_use]
pub fn compare(requirement: &Requirement, claimed: &Claim, truth: &ClaimValue) -> AuditResult {
    let _ = (requirement, claimed, truth);
    AuditResult::Unchecked
}

/// The relative error of a claimed number, for subjects that are numbers.
#[must_use]
pub fn relative_error(claimed: &ClaimValue, truth: &ClaimValue) -> Option<f64> {
    let _ = (claimed, truth);
    None
}
