//! Limits that hold: a job that takes more than it asked for ends alone.

use crate::harness::{Fleet, text};

#[test]
fn a_job_that_takes_more_memory_than_it_asked_for_ends_alone() {
    let mut fleet = Fleet::start();
    let here = fleet.home.path().join("here");
    fleet.worker("here", &["--manager", "local", "--data-dir", &here.to_string_lossy()]);
    fleet.await_workers(1);
    let submit = |words: &[&str], script: &str| -> String {
        let job = [words, &["--yes", "--no-wait", "--", "sh", "-c", script]].concat();
        let answer = fleet.json(&job);
        answer["receipt"]["job_id"].as_str().unwrap_or_else(|| panic!("{answer:#}")).to_owned()
    };
    let go = fleet.home.path().join("go");
    let waits = format!("while [ ! -e {} ]; do sleep 0.05; done; echo untouched", go.display());
    let neighbour = submit(&["negotiate", "run a command on 1 core"], &waits);
    let running = |job: &serde_json::Value| job["attempts"][0]["state"] == "running";
    fleet.await_json("the neighbour's start", &["job", &neighbour], running);

    let takes = "head -c 2000000000 /dev/zero | tail -n 1 | wc -c";
    let greedy = submit(&["negotiate", "run a command on 1 core with 200 MB of memory"], takes);
    let job = fleet.await_json("its end", &["job", &greedy], |job| job["ended_at"].is_string());
    assert_eq!(job["state"], "failed", "{job:#}");
    let message = job["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("memory"), "{job:#}");
    let peak = job["observed"]["peak_memory_gib"].as_f64();
    assert!(peak > Some(0.05) && peak < Some(2.0), "{job:#}");

    std::fs::write(go, "").expect("the neighbour may go on");
    let job =
        fleet.await_json("the neighbour's end", &["job", &neighbour], |job| job["ended_at"].is_string());
    assert_eq!(job["state"], "completed", "{job:#}");
    assert_eq!(text(&fleet.client(&["logs", &neighbour]).stdout).trim(), "untouched");
}
