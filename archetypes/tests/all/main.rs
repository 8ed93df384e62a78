//! What holds for every generated site.
#![cfg(test)]

mod golden;
mod honesty;
mod identity;
mod movement;
mod ranges;

use archetypes::{Archetype, Site};
use protocol::ids::{ProposalId, WorkerId};

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn proposal(number: u128) -> ProposalId {
    ProposalId::mint(number)
}

/// The site at a place in the list of test sites, which goes through the archetypes in turn.
fn site(place: u64) -> Site {
    let archetype = Archetype::ALL[place as usize % 3];
    Site::generate(&worker(&format!("{archetype}-{place}")), archetype, place)
}

/// Some sites of every archetype.
fn sites(of_each: u64) -> impl Iterator<Item = Site> {
    (0..3 * of_each).map(site)
}
