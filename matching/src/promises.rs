//! What a site can promise for a requirement.

use protocol::facts::Facts;
use protocol::proposal::Promises;
use protocol::requirement::Requirement;

/// What the site can promise; what it does not know stays `None`.
#[must_use]
pub fn promises(requirement: &Requirement, facts: &Facts) -> Promises {
    let _ = (requirement, facts);
    Promises::default()
}
