//! Its client at our hub.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use super::Predecessor;
use crate::harness::{Fleet, text};

/// Runs its `resource-ask`; it must succeed.
fn ask(predecessor: &Predecessor, fleet: &Fleet, arguments: &[&str]) -> String {
    let mut command = predecessor.program("resource-ask");
    command.args(arguments).args(["--url", &format!("{}/mcp", fleet.url)]);
    command.stdin(Stdio::null()).current_dir(fleet.home.path());
    let output = command.output().expect("its resource-ask runs");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {} {said} {}", output.status, text(&output.stderr));
    said
}

fn names(fleet: &Fleet) -> BTreeSet<String> {
    let workers = fleet.json(&["list", "workers"]);
    let names = workers.as_array().expect("a list").iter().map(|worker| worker["name"].as_str());
    names.map(|name| name.expect("a name").to_owned()).collect()
}

#[test]
fn it_sees_our_workers_proposals() {
    let Some(predecessor) = Predecessor::find() else { return };
    let mut fleet = Fleet::start();
    fleet.simulate(6, &[]);
    let prompt = "run lammps on 1 node";
    let said = ask(&predecessor, &fleet, &["satisfy", prompt]);
    assert!(said.contains("Fleet Capability Audit") && said.contains("Negotiation ID: neg-"), "{said}");
    // Each worker's verdict is the one that our own client is told.
    let ours = fleet.json(&["satisfy", prompt]);
    let proposals = ours["proposals"].as_object().expect("proposals");
    assert!(!proposals.is_empty());
    for (worker, reply) in proposals {
        let row = said.lines().find(|line| line.contains(worker.as_str()));
        let row = row.unwrap_or_else(|| panic!("no row of {worker}: {said}"));
        assert!(row.contains(reply["verdict"].as_str().expect("a verdict")), "{row}");
    }
}

#[test]
fn it_exports_our_fleets_truth() {
    let Some(predecessor) = Predecessor::find() else { return };
    let mut fleet = Fleet::start();
    fleet.simulate(6, &[]);
    let said = ask(&predecessor, &fleet, &["export", "--output", "truth.json"]);
    assert!(said.contains("Raw metadata saved to"), "{said}");
    let saved = std::fs::read(fleet.home.path().join("truth.json")).expect("the file");
    let saved: Value = serde_json::from_slice(&saved).expect("JSON");
    let truth = saved["ground_truth"].as_object().expect("workers");
    assert_eq!(truth.keys().cloned().collect::<BTreeSet<_>>(), names(&fleet));
    for (worker, entry) in truth {
        assert!(entry["truth"]["workload"].is_object(), "{worker} has a workload manager");
        let manager = entry["facts"]["workload"]["manager"].as_str().expect("a manager");
        assert_eq!(entry["truth"]["workload"][manager], entry["facts"]["workload"]);
    }
    // What it counts itself.
    let count = |key: &str| saved[key].as_object().map_or(0, serde_json::Map::len);
    assert!(count("archetypes") >= 1 && count("counts") >= 3, "{saved:#}");
    assert_eq!(saved["archetypes"].get("unknown"), None, "each says which archetype it is");
}

#[test]
fn it_chooses_and_dispatches_through_our_hub() {
    let Some(predecessor) = Predecessor::find() else { return };
    let mut fleet = Fleet::start();
    fleet.simulate(6, &[]);
    let arguments = ["negotiate", "--select", "run-anytime", "run lammps on 1 node"];
    let said = ask(&predecessor, &fleet, &arguments);
    assert!(said.contains("Selected Worker:"), "{said}");
    assert!(said.contains("Job Successfully Submitted!"), "{said}");
    let job = said.split("Job ID:").nth(1).expect("a job id").split_whitespace().next().expect("an id");
    let job = fleet.json(&["job", job, "--wait"]);
    assert!(said.contains(job["worker_id"].as_str().expect("a worker")), "{said}\n{job:#}");
}
