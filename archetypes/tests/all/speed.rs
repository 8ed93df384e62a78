//! How long things take; run by hand: `cargo test --release -p archetypes speed -- --ignored --nocapture`.

use std::time::Instant;

use archetypes::{Archetype, Site};
use protocol::requirement::{Requirement, SoftwareNeed};

use crate::worker;

#[test]
#[ignore = "a measurement of the release build"]
fn a_fleet_is_generated_and_told_in_well_under_a_second() {
    let begin = Instant::now();
    let fleet: Vec<Site> = (0..1_000)
        .map(|number| {
            let name = worker(&format!("worker-{number}"));
            Site::generate(&name, Archetype::draw(&name), number)
        })
        .collect();
    let generated = begin.elapsed();
    let begin = Instant::now();
    let packages: usize = fleet.iter().map(|site| site.truth(1, &[]).software.unwrap().len()).sum();
    let told = begin.elapsed();
    let requirement = Requirement {
        software: vec![SoftwareNeed { name: "lammps".into(), constraint: None }],
        ..Requirement::default()
    };
    let begin = Instant::now();
    let named: usize =
        fleet.iter().map(|site| site.truth_for(&requirement, 1, &[]).software.unwrap().len()).sum();
    let answered = begin.elapsed();
    println!(
        "1,000 sites: generate {generated:?}, truth {told:?} ({packages} packages), truth_for {answered:?} ({named})"
    );
    assert!(generated.as_millis() < 1_000 && told.as_millis() < 50 && answered.as_millis() < 50);
}
