//! Its workers at our hub.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use serde_json::{Value, json};
use transport::connect::{Connector, Credentials, Target};
use transport::host::{Object, ToolOutcome};
use transport::link::CallOptions;

use super::Predecessor;
use crate::harness::{Fleet, PATIENCE, Running, program, text};

/// What is asked; the wish for a low price is the hub's business alone.
const PROMPT: &str = "run lammps on 4 nodes, as cheap as possible";

/// Our hub with one worker of the predecessor, and the model behind it.
struct Mixed {
    fleet: Fleet,
    worker_url: String,
    transcript: PathBuf,
    _worker: Running,
    _model: Option<Running>,
}

impl Mixed {
    /// `submission` is how the model ends a submission; without it there is no model.
    fn start(submission: Option<&str>) -> Option<Self> {
        let predecessor = Predecessor::find()?;
        let fleet = Fleet::start();
        let transcript = fleet.home.path().join("transcript");
        let model = submission.map(|submission| predecessor.model(submission, &transcript));
        let (model, url) = model.unzip();
        let (worker, worker_url) = predecessor.worker(&fleet.url, "py-1", url.as_deref());
        fleet.await_workers(1);
        Some(Self { fleet, worker_url, transcript, _worker: worker, _model: model })
    }

    /// What its secretary was asked so far.
    fn asked(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(&self.transcript).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).expect("a JSON string")).collect()
    }

    /// Dispatches and gives what the client printed.
    fn dispatch(&self) -> Value {
        let output = self.fleet.ask(&["dispatch", "py-1", PROMPT, "--yes"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)))
    }

    /// Dispatches, and returns while the model still has its submission to end.
    fn begin_dispatch(&self) -> Running {
        let mut command = Command::new(program("resource-ask"));
        command.args(["--url", &format!("{}/mcp", self.fleet.url), "dispatch", "py-1", PROMPT, "--yes"]);
        let dispatching = Running::start(&mut command);
        let deadline = Instant::now() + PATIENCE;
        while self.asked().len() < 2 {
            assert!(Instant::now() < deadline, "the award did not arrive: {:?}", self.asked());
            std::thread::sleep(Duration::from_millis(20));
        }
        dispatching
    }
}

fn call(url: &str, tool: &str) -> ToolOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connector = Connector::new("parley-tests", "0", Arc::new(SystemClock)).expect("a connector");
        let link = connector.connect(Target::new(url, Credentials::Anonymous)).expect("a link");
        let options = CallOptions::until(tokio::time::Instant::now() + PATIENCE);
        let outcome = link.call(tool, &Object::new(), options).await.expect("an answer");
        link.close().await;
        outcome
    })
}

#[test]
fn it_joins_and_its_tools_are_ours() {
    let Some(mut mixed) = Mixed::start(Some("success")) else { return };
    let workers = mixed.fleet.json(&["list", "workers"]);
    assert_eq!(workers.as_array().expect("a list").len(), 1);
    let worker = &workers[0];
    assert_eq!(
        (&worker["name"], &worker["protocol"], &worker["state"], &worker["tools"]),
        (&json!("py-1"), &json!("legacy"), &json!("online"), &json!(4)),
    );
    assert!(worker["workload"].is_string(), "the manifest names the workload manager: {worker:#}");
    assert!(worker["providers"]["hardware"].is_array(), "the manifest was read: {worker:#}");

    let direct = call(&mixed.worker_url, "get_status");
    let ours = call(&format!("{}/mcp", mixed.fleet.url), "py-1__get_status");
    let timeless = |outcome: ToolOutcome| {
        let mut status = outcome.structured.expect("structured content");
        let taken = status.as_object_mut().and_then(|fields| fields.remove("timestamp"));
        assert!(taken.is_some_and(|at| at.is_f64()));
        status
    };
    let direct = timeless(direct);
    assert_eq!(direct["worker_id"], "py-1");
    assert_eq!(timeless(ours), direct);

    // It joins once in its life, so a hub that starts again has to know it still.
    let port = mixed.fleet.port();
    mixed.fleet.hub.take().expect("a hub").kill();
    mixed.fleet.start_hub(&port, &[]);
    mixed.fleet.await_workers(1);
}

#[test]
fn its_secretary_answers_our_call() {
    let Some(mixed) = Mixed::start(Some("success")) else { return };
    let answer = mixed.fleet.json(&["satisfy", PROMPT]);
    let proposal = &answer["proposals"]["py-1"];
    assert_eq!((&proposal["verdict"], &proposal["reasoning"]), (&json!("READY"), &json!("stub says ready")));
    assert_eq!(proposal["promises"]["start_p50_seconds"], 0.0);
    assert_eq!(proposal["promises"]["start_p90_seconds"], Value::Null, "it never said how sure it is");
    let depth = json!([{"subject": "queue.depth", "value": 3}]);
    assert_eq!(proposal["claims"], depth, "{proposal:#}");
    let calls = json!([{"provider": "hardware", "function": "get_current_load", "args": {}}]);
    assert_eq!(proposal["calls"], calls);
    assert_eq!(mixed.asked(), ["Request: I need lammps, 4 nodes."], "never the user's own words");

    let answer = mixed.fleet.json(&["select", PROMPT]);
    assert_eq!(answer["selection"]["worker_id"], "py-1");
}

#[test]
fn without_a_model_its_own_error_is_passed_on() {
    let Some(mixed) = Mixed::start(None) else { return };
    let answer = mixed.fleet.ask(&["satisfy", PROMPT]);
    let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let reply = &answer["proposals"]["py-1"];
    assert_eq!((&reply["verdict"], &reply["outcome"]), (&json!("UNKNOWN"), &json!("worker_error")));
    let message = reply["error"]["message"].as_str().expect("a message");
    assert_eq!(message, "Error calling tool 'ask_secretary': OPENAI_API_KEY not set.");
}

#[test]
fn a_job_that_it_takes_ends_unknown_with_its_own_job_id() {
    let Some(mixed) = Mixed::start(Some("success")) else { return };
    let answer = mixed.dispatch();
    assert_eq!(answer["receipt"]["status"], "SUCCESS");
    let job = &answer["job"];
    assert_eq!((&job["state"], &job["worker_id"]), (&json!("unknown"), &json!("py-1")), "{answer:#}");
    let message = job["error"]["message"].as_str().expect("a message");
    assert!(message.contains("flux-1234") && message.contains("flux submit -n 4 lmp"), "{message}");
    let asked = mixed.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1], "Request: EXECUTE REQUEST: I need lammps, 4 nodes. Run lammps.");

    // It is over as far as anybody can know: a later look gives the same.
    let id = answer["job_id"].as_str().expect("an id");
    assert_eq!(mixed.fleet.json(&["job", id])["state"], "unknown");
}

#[test]
fn a_job_that_nobody_else_takes_after_its_refusal_fails() {
    let Some(mixed) = Mixed::start(Some("failed")) else { return };
    let output = mixed.fleet.ask(&["dispatch", "py-1", PROMPT, "--yes"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("py-1 refused the job: the queue is closed"), "{said}");
    let jobs = mixed.fleet.json(&["jobs"]);
    assert_eq!(jobs[0]["state"], "failed", "{jobs:#}");
}

#[test]
fn after_trouble_nobody_guesses_whether_it_runs() {
    for (submission, reason) in [("error", "the model is gone"), ("prose", "I think that it runs now")] {
        let Some(mixed) = Mixed::start(Some(submission)) else { return };
        let job = &mixed.dispatch()["job"];
        assert_eq!(job["state"], "unknown", "{submission}: {job:#}");
        let message = job["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with("nobody can tell whether py-1") && message.contains(reason), "{message}");
    }
}

/// It would start a second job for a second award, so a hub that stopped in between never sends one.
#[test]
fn an_award_that_a_crash_interrupts_is_not_sent_again() {
    let Some(mut mixed) = Mixed::start(Some("wait")) else { return };
    let mut dispatching = mixed.begin_dispatch();
    let port = mixed.fleet.port();
    mixed.fleet.hub.take().expect("a hub").kill();
    assert!(!dispatching.wait().success());
    mixed.fleet.start_hub(&port, &[]);
    let jobs = mixed.fleet.await_json("the end of the job", &["jobs"], |jobs| jobs[0]["state"] == "unknown");
    assert_eq!(jobs.as_array().map(Vec::len), Some(1));
    assert_eq!(mixed.asked().len(), 2, "one call, one award: {:?}", mixed.asked());
}

#[test]
fn an_award_whose_client_goes_away_is_brought_to_its_end() {
    let Some(mixed) = Mixed::start(Some("wait")) else { return };
    mixed.begin_dispatch().kill();
    std::fs::write(mixed.transcript.with_extension("go"), "").expect("a file");
    let jobs = mixed.fleet.await_json("the end of the job", &["jobs"], |jobs| jobs[0]["state"] == "unknown");
    let message = jobs[0]["error"]["message"].as_str().expect("a message");
    assert!(message.contains("flux-1234"), "{message}");
}
