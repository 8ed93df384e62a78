//! The value of each factor at a site.

use protocol::factor::FactorName;
use protocol::facts::Facts;
use protocol::proposal::Promises;
use protocol::requirement::Requirement;

/// The value of a factor at a site, in the factor's unit; `None` when nobody can tell.
#[must_use]
pub fn factor_value(
    name: FactorName,
    requirement: &Requirement,
    facts: &Facts,
    promises: &Promises,
) -> Option<f64> {
    let _ = (name, requirement, facts, promises);
    None
}
