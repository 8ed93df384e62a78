//! Workers that nobody can reach: the hub calls them over the link that they open.

use serde_json::{Value, json};

use crate::harness::{Fleet, Running, SECRET, text};

const COMMAND: &str = "run a command on 1 core";

/// A fleet of one real worker that listens nowhere.
fn fleet_of_one() -> Fleet {
    let mut fleet = Fleet::start();
    let data = fleet.home.path().join("inside");
    fleet.outbound_worker("inside", &["--data-dir", &data.to_string_lossy()]);
    fleet.await_workers(1);
    fleet
}

/// The only worker as the hub lists it.
fn listed(fleet: &Fleet) -> Value {
    fleet.json(&["list", "workers"])[0].clone()
}

#[test]
fn an_outbound_worker_is_asked_and_runs_a_job_with_its_log_and_result() {
    let fleet = fleet_of_one();
    let worker = listed(&fleet);
    assert_eq!((&worker["url"], &worker["linked"]), (&Value::Null, &json!(true)), "{worker:#}");
    let answer = fleet.json(&["negotiate", COMMAND, "--yes", "--", "sh", "-c", "echo from inside"]);
    assert_eq!(answer["proposals"]["inside"]["verdict"], "READY", "{answer:#}");
    assert_eq!(answer["job"]["state"], "completed", "{answer:#}");
    let id = answer["job"]["job_id"].as_str().expect("a job id");
    assert_eq!(text(&fleet.client(&["logs", id]).stdout).trim(), "from inside");
}

#[test]
fn work_of_an_outbound_worker_is_cancelled() {
    let fleet = fleet_of_one();
    let command = ["dispatch", "inside", COMMAND, "--yes", "--no-wait", "--", "sleep", "1000"];
    let id = fleet.json(&command)["receipt"]["job_id"].as_str().expect("a job id").to_owned();
    fleet.await_json("the start", &["job", &id], |job| job["attempts"][0]["state"] == "running");
    assert!(fleet.ask(&["cancel", &id]).status.success());
    fleet.await_json("the end", &["job", &id], |job| job["state"] == "cancelled");
}

#[test]
fn an_outbound_worker_finds_a_hub_that_was_away() {
    let mut fleet = fleet_of_one();
    let gate = fleet.home.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo through", gate.display());
    let command = ["dispatch", "inside", COMMAND, "--yes", "--no-wait", "--", "sh", "-c", &script];
    let id = fleet.json(&command)["receipt"]["job_id"].as_str().expect("a job id").to_owned();
    let port = fleet.port();
    fleet.hub.take().expect("a hub").kill();
    std::fs::write(&gate, "").expect("the gate");
    fleet.start_hub(&port, &[]);
    fleet.await_json("the end", &["job", &id], |job| job["state"] == "completed");
    fleet.await_workers(1);
    assert_eq!(listed(&fleet)["linked"], true);
    let answer = fleet.json(&["negotiate", COMMAND, "--yes", "--", "true"]);
    assert_eq!(answer["job"]["state"], "completed", "{answer:#}");
}

#[test]
fn a_hub_that_ended_in_order_is_found_again() {
    let mut fleet = fleet_of_one();
    let port = fleet.port();
    assert_eq!(fleet.hub.take().expect("a hub").terminate().code(), Some(0));
    fleet.start_hub(&port, &[]);
    fleet.await_workers(1);
    assert_eq!(fleet.workers.pop().expect("the worker").terminate().code(), Some(0));
    fleet.await_json("the empty fleet", &["list", "workers"], |list| {
        list.as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn an_outbound_worker_that_was_killed_comes_back_under_its_name() {
    let mut fleet = fleet_of_one();
    fleet.workers.pop().expect("the worker").kill();
    let data = fleet.home.path().join("inside");
    fleet.outbound_worker("inside", &["--data-dir", &data.to_string_lossy()]);
    fleet.await_json("the link", &["list", "workers"], |list| list[0]["linked"] == true);
    let answer = fleet.json(&["negotiate", COMMAND, "--yes", "--", "true"]);
    assert_eq!(answer["job"]["state"], "completed", "{answer:#}");
}

#[test]
fn a_second_instance_of_a_worker_that_is_there_is_turned_away() {
    let mut fleet = Fleet::start();
    // Both simulated instances have the same key.
    fleet.outbound_worker("twin", &["--mock", "hpc"]);
    fleet.await_workers(1);
    let twin = ["start", "--join", &fleet.url, "--join-secret", SECRET, "--worker-id", "twin", "--outbound"];
    let mut second = Running::mcpserver(fleet.home.path(), &[&twin[..], &["--mock", "hpc"]].concat());
    assert_eq!(second.wait().code(), Some(5), "{:?}", second.said);
    assert_eq!(listed(&fleet)["linked"], true);
}

#[test]
fn a_worker_with_a_url_has_a_link_as_well_and_one_that_misbehaves_has_none() {
    let mut fleet = Fleet::start();
    fleet.worker("plain", &["--mock", "hpc"]);
    fleet.worker("odd", &["--mock", "hpc", "--fault", "bad-json"]);
    fleet.await_json("the link", &["list", "workers"], |list| {
        let of = |name: &str| list.as_array().and_then(|list| list.iter().find(|one| one["name"] == name));
        of("plain").is_some_and(|one| one["linked"] == true && one["url"].is_string())
            && of("odd").is_some_and(|one| one["linked"] == false)
    });
}

#[test]
fn a_thousand_workers_hold_links_and_all_are_asked() {
    let mut fleet = Fleet::start();
    fleet.simulate(1000, &[]);
    fleet.await_json("the links", &["list", "workers"], |list| {
        let workers = list.as_array().map_or(&[][..], Vec::as_slice);
        workers.iter().filter(|worker| worker["linked"] == true).count() == 1000
    });
    let asked = fleet.json(&["satisfy", COMMAND]);
    let proposals = asked["proposals"].as_object().expect("proposals");
    assert!(proposals.len() > 500, "{}", proposals.len());
    assert!(proposals.values().all(|reply| reply["verdict"].is_string()));
}
