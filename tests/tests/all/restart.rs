//! Nothing that was answered for is lost when a process dies without warning.

use serde_json::Value;

use crate::harness::Fleet;

#[test]
fn a_killed_hub_comes_back_with_everything_and_the_workers_find_it() {
    let mut fleet = Fleet::start();
    fleet.simulate(5, &[]);
    let prompt = "run a command on 2 cores for 1 minute";
    let answer = fleet.json(&["negotiate", prompt, "--yes", "--", "true"]);
    let job = answer["job"]["job_id"].as_str().expect("a job").to_owned();
    let negotiation = answer["negotiation_id"].as_str().expect("a negotiation").to_owned();
    let trust = fleet.json(&["trust"]);
    let port = fleet.port();

    fleet.hub.take().expect("a hub").kill();
    assert_eq!(fleet.ask(&["jobs"]).status.code(), Some(4));
    fleet.start_hub(&port, &[]);

    assert_eq!(fleet.json(&["job", &job])["state"], answer["job"]["state"]);
    assert_eq!(fleet.json(&["trust"]), trust);
    let explained = fleet.json(&["explain", &negotiation]);
    assert_eq!(explained["selection"]["worker_id"], answer["selection"]["worker_id"]);
    fleet.await_workers(5);
    let again = fleet.json(&["negotiate", prompt, "--yes", "--", "true"]);
    assert_eq!(again["job"]["state"], "completed", "{again:#}");
}

#[test]
fn work_goes_on_while_the_hub_is_away() {
    let mut fleet = Fleet::start();
    let data = fleet.home.path().join("here");
    fleet.worker("here", &["--data-dir", &data.to_string_lossy()]);
    fleet.await_workers(1);
    let gate = fleet.home.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo through", gate.display());
    let command =
        ["dispatch", "here", "run a command on 1 core", "--yes", "--no-wait", "--", "sh", "-c", &script];
    let id = fleet.json(&command)["receipt"]["job_id"].as_str().expect("a job id").to_owned();
    let port = fleet.port();
    fleet.hub.take().expect("a hub").kill();
    std::fs::write(&gate, "").expect("the gate");
    fleet.start_hub(&port, &[]);
    let job: Value = fleet.await_json("the end", &["job", &id], |job| job["state"] == "completed");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job:#}");
}

#[test]
fn a_hub_and_its_workers_end_in_order() {
    let mut fleet = Fleet::start();
    fleet.simulate(3, &[]);
    let workers = fleet.workers.pop().expect("the workers");
    assert_eq!(workers.terminate().code(), Some(0));
    fleet.await_json("the empty fleet", &["list", "workers"], |list| {
        list.as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(fleet.hub.take().expect("a hub").terminate().code(), Some(0));
}
