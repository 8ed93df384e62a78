//! The whole path: a sentence goes in, a finished job comes out, and every step of it is in the JSON.

use serde_json::{Value, json};

use crate::harness::{Fleet, text};

const BACKTEST: &str = "backtest an SMA crossover 10/50 on wti.csv, cheapest";

/// Puts the oil prices where the client looks for them.
fn prices(fleet: &Fleet) {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/wti.csv");
    std::fs::copy(data, fleet.home.path().join("wti.csv")).expect("the example data");
}

#[test]
fn a_sentence_becomes_a_finished_backtest_with_artifacts() {
    let mut fleet = Fleet::start();
    fleet.simulate(6, &[]);
    prices(&fleet);
    let answer = fleet.json(&["negotiate", BACKTEST, "--yes"]);

    assert_eq!(answer["receipt"]["status"], "SUCCESS", "{answer:#}");
    assert_eq!(answer["receipt"]["worker_id"], answer["selection"]["worker_id"]);
    let job = &answer["job"];
    assert_eq!(job["state"], "completed", "{job:#}");
    assert_eq!(job["kind"], "backtest");
    assert_eq!(job["stale"], false);
    assert!(job["metrics"]["sharpe"].is_number(), "{job:#}");
    assert!(job["metrics"]["max_drawdown"].as_f64() < Some(0.0));
    let artifacts = job["artifacts"].as_array().expect("artifacts");
    let plot = artifacts.iter().find(|one| one["type"] == "plot").expect("a plot");
    assert!(plot["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    // The input of every artifact is the digest of the prices.
    assert!(plot["inputs"][0].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{plot:#}");

    let id = job["job_id"].as_str().expect("a job id");
    assert_eq!(fleet.json(&["job", id])["state"], "completed");
    let listed = fleet.json(&["artifacts", id]);
    assert_eq!(listed.as_array().map(Vec::len), Some(artifacts.len()), "{listed:#}");
    let file = fleet.home.path().join("plot.svg");
    let artifact = plot["artifact_id"].as_str().expect("an id");
    let output = fleet.client(&["fetch", artifact, "-o", &file.to_string_lossy()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(file).expect("the plot").contains("<svg"));
    let log = fleet.client(&["logs", id]);
    assert!(log.status.success() && !log.stdout.is_empty(), "{}", text(&log.stderr));
}

#[test]
fn this_machine_runs_a_command_and_a_backtest() {
    let mut fleet = Fleet::start();
    let data = fleet.home.path().join("here");
    fleet.worker("here", &["--data-dir", &data.to_string_lossy()]);
    fleet.await_workers(1);
    let command =
        ["dispatch", "here", "run a command on 1 core", "--yes", "--", "sh", "-c", "echo hello; exit 3"];
    let output = fleet.ask(&command);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{answer:#} {}", text(&output.stderr));
    assert_eq!(answer["job"]["state"], "failed");
    assert_eq!(answer["job"]["attempts"][0]["exit_code"], 3);
    let id = answer["job"]["job_id"].as_str().expect("a job id").to_owned();
    assert_eq!(text(&fleet.client(&["logs", &id]).stdout).trim(), "hello");

    prices(&fleet);
    let answer = fleet.json(&["dispatch", "here", BACKTEST, "--yes"]);
    assert_eq!(answer["job"]["state"], "completed", "{answer:#}");
    assert!(answer["job"]["observed"]["runtime_seconds"].as_f64() > Some(0.0));
    let trust = fleet.json(&["trust"]);
    assert!(trust["here"]["delivery"]["r"].as_f64() > Some(0.0), "{trust:#}");
}

#[test]
fn a_running_job_is_cancelled() {
    let mut fleet = Fleet::start();
    let data = fleet.home.path().join("here");
    fleet.worker("here", &["--data-dir", &data.to_string_lossy()]);
    fleet.await_workers(1);
    let command =
        ["dispatch", "here", "run a command on 1 core", "--yes", "--no-wait", "--", "sleep", "1000"];
    let id = fleet.json(&command)["receipt"]["job_id"].as_str().expect("a job id").to_owned();
    fleet.await_json("the start", &["job", &id], |job| job["attempts"][0]["state"] == "running");
    assert!(fleet.ask(&["cancel", &id]).status.success());
    fleet.await_json("the end", &["job", &id], |job| job["state"] == "cancelled");
    // A job that is over cannot be cancelled again.
    assert_eq!(fleet.ask(&["cancel", &id]).status.code(), Some(1));
}

#[test]
fn asking_has_the_documented_shape_and_dispatches_nothing() {
    let mut fleet = Fleet::start();
    fleet.simulate(12, &[]);
    let asked = fleet.json(&["satisfy", "gromacs on 2 nodes with 8 cores per node"]);
    for key in
        ["negotiation_id", "requirement", "intent", "not_understood", "proposals", "evaluations", "excluded"]
    {
        assert!(!asked[key].is_null(), "{key} is missing: {asked:#}");
    }
    assert!(asked["selection"].is_null());
    let proposals = asked["proposals"].as_object().expect("proposals");
    let excluded = asked["excluded"].as_object().expect("excluded");
    assert_eq!(proposals.len() + excluded.len(), 12);
    for (worker, proposal) in proposals {
        let verdict = proposal["verdict"].as_str().expect("a verdict");
        assert!(["READY", "BUSY", "RESTRICTED", "INCOMPATIBLE", "UNKNOWN"].contains(&verdict));
        let evaluation = &asked["evaluations"][worker];
        assert!(evaluation["gate"]["passed"].is_boolean() && evaluation["final"].is_number());
        assert!(
            evaluation["audit"]
                .as_array()
                .is_some_and(|findings| { findings.iter().all(|finding| finding["result"] == "match") }),
            "an honest site makes true claims: {evaluation:#}"
        );
    }
    let chosen = fleet.json(&["select", "gromacs on 2 nodes with 8 cores per node"]);
    assert_eq!(chosen["selection"]["strategy"], "weighted");
    assert_eq!(fleet.json(&["jobs"]), json!([]));

    let id = chosen["negotiation_id"].as_str().expect("an id");
    let explained = fleet.json(&["explain", id]);
    assert_eq!(explained["workers"].as_object().map(serde_json::Map::len), Some(12), "{explained:#}");
}

#[test]
fn liars_are_seen_through_and_lose_trust() {
    let mut fleet = Fleet::start();
    fleet.simulate(10, &["--liars", "0.5"]);
    for _ in 0..4 {
        // No site has a thousand nodes full of this model; a liar says that it does.
        let asked = fleet.ask(&["satisfy", "lammps on 900 nodes with 8 h200 per node"]);
        assert_eq!(asked.status.code(), Some(3), "nobody can");
    }
    let trust = fleet.json(&["trust"]);
    let of = |state: &str| {
        trust.as_object().into_iter().flatten().filter(|(_, record)| record["state"] == state).count()
    };
    assert_eq!(of("quarantined"), 5, "{trust:#}");
    let chosen = fleet.ask(&["select", "lammps on 900 nodes with 8 h200 per node"]);
    let chosen: Value = serde_json::from_slice(&chosen.stdout).expect("JSON");
    assert!(chosen["selection"]["worker_id"].is_null(), "{:#}", chosen["selection"]);
}

#[test]
fn an_offline_client_understands() {
    let fleet = Fleet::start();
    let understood = fleet.json(&["understand", "I need 8 H100s and at least 2 TiB of scratch, cheapest"]);
    assert_eq!(understood["requirement"]["compute"]["gpus"]["count"], 8);
    assert_eq!(understood["intent"], "cheapest");
    let sum: f64 =
        understood["weights"].as_object().into_iter().flatten().filter_map(|(_, w)| w.as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-9);
}
