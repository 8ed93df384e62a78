//! What a dishonest worker says: facts that satisfy the requirement, cheaper and sooner than the truth.

use protocol::facts::Facts;
use protocol::ids::NegotiationId;
use protocol::requirement::Requirement;

use crate::stream::{hash64, unit_of};

/// Whether a worker that is honest with this probability lies in this negotiation.
#[must_use]
pub fn lies(honesty: f64, seed: u64, negotiation: &NegotiationId) -> bool {
    unit_of(hash64(&[b"lies", &seed.to_be_bytes(), negotiation.as_str().as_bytes()])) >= honesty
}

/// The facts as a liar states them.
#[must_use]
pub fn overclaim(facts: &Facts, requirement: &Requirement, seed: u64) -> Facts {
    let _ = (requirement, seed);
    facts.clone()
}
