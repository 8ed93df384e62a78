//! The capacity that the work takes at a site.

use protocol::facts::{Allocation, Facts};
use protocol::requirement::Requirement;

/// The capacity that the work takes; `None` when it does not fit.
#[must_use]
pub fn allocation(requirement: &Requirement, facts: &Facts) -> Option<Allocation> {
    let _ = (requirement, facts);
    None
}
