//! How long a thousand simulated sites take: `cargo run --release -p archetypes --example fleet_speed`.

use std::time::Instant;

use archetypes::{Archetype, Site};
use protocol::ids::{InvalidId, WorkerId};
use protocol::requirement::{Requirement, SoftwareNeed};

fn main() -> Result<(), InvalidId> {
    let begin = Instant::now();
    let mut fleet = Vec::new();
    for number in 0..1_000 {
        let name = WorkerId::parse(format!("worker-{number}"))?;
        fleet.push(Site::generate(&name, Archetype::draw(&name), number));
    }
    let generated = begin.elapsed();
    let packages = |facts: protocol::facts::Facts| facts.software.map_or(0, |software| software.len());
    let begin = Instant::now();
    let all: usize = fleet.iter().map(|site| packages(site.truth(1, &[]))).sum();
    let told = begin.elapsed();
    let requirement = Requirement {
        software: vec![SoftwareNeed { name: "lammps".into(), constraint: None }],
        ..Requirement::default()
    };
    let begin = Instant::now();
    let named: usize = fleet.iter().map(|site| packages(site.truth_for(&requirement, 1, &[]))).sum();
    let answered = begin.elapsed();
    println!(
        "1,000 sites: generate {generated:?}, truth {told:?} ({all} packages), truth_for {answered:?} ({named})"
    );
    Ok(())
}
