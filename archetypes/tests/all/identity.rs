//! What a worker's name decides, and how a site is found again from a manifest.

use std::collections::BTreeSet;

use archetypes::{Archetype, Site, UnknownArchetype, VERSION, default_seed};
use protocol::fleet::MockIdentity;

use crate::{sites, worker};

#[test]
fn kinds_are_drawn_40_40_20() {
    let count = |archetype| {
        (0..10_000)
            .filter(|number| Archetype::draw(&worker(&format!("worker-{number}"))) == archetype)
            .count()
    };
    assert!((3_850..4_150).contains(&count(Archetype::Hpc)));
    assert!((3_850..4_150).contains(&count(Archetype::Cloud)));
    assert!((1_850..2_150).contains(&count(Archetype::Standalone)));
}

#[test]
fn default_seeds_differ_and_stay() {
    let seeds: BTreeSet<u64> =
        (0..10_000).map(|number| default_seed(&worker(&format!("worker-{number}")))).collect();
    assert_eq!(seeds.len(), 10_000);
    assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    assert_eq!(default_seed(&worker("worker-0")), 4096714308444737);
    assert_eq!(Archetype::draw(&worker("worker-0")), Archetype::Cloud);
}

#[test]
fn a_site_is_found_again_from_its_identity() {
    for site in sites(3) {
        let again = Site::from_identity(site.worker(), &site.identity()).unwrap();
        assert_eq!(again.truth(99, &[]), site.truth(99, &[]));
        assert_eq!(again.providers(), site.providers());
        assert_eq!(again.archetype(), site.archetype());
    }
}

#[test]
fn an_identity_that_this_build_cannot_follow_is_refused() {
    let identity = MockIdentity { archetype: "hpc".into(), archetype_version: VERSION, seed: 1 };
    let other = MockIdentity { archetype_version: VERSION + 1, ..identity.clone() };
    assert_eq!(
        Site::from_identity(&worker("w"), &other).unwrap_err(),
        UnknownArchetype::Version(VERSION + 1)
    );
    let other = MockIdentity { archetype: "mainframe".into(), ..identity };
    let error = Site::from_identity(&worker("w"), &other).unwrap_err();
    assert!(error.to_string().contains("mainframe") && error.to_string().contains("standalone"));
}

#[test]
fn names_seeds_and_kinds_each_make_another_site() {
    let truth = |name: &str, seed| Site::generate(&worker(name), Archetype::Hpc, seed).truth(0, &[]);
    assert_ne!(truth("a", 1), truth("b", 1));
    assert_ne!(truth("a", 1), truth("a", 2));
    for archetype in Archetype::ALL {
        assert_eq!(archetype.to_string().parse(), Ok(archetype));
    }
}
