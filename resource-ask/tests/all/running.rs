//! `negotiate` and `dispatch`: consent, uploads, following to the end.

use protocol::error::ErrorCode;
use protocol::ids::Digest;
use serde_json::json;

use crate::fake_hub::{FakeHub, ask, dispatched, job, view};

fn log(text: &str) -> serde_json::Value {
    json!({"text": text, "next_offset": text.len(), "complete": text.is_empty()})
}

fn ends_as(state: &str) -> FakeHub {
    FakeHub::default()
        .answer("dispatch_job", dispatched())
        .answer("get_job", job("running"))
        .answer("get_job", job(state))
        .answer("get_job_logs", log("epoch 1\u{1b}[2J\nepoch 2"))
        .answer("get_job_logs", log(""))
}

#[test]
fn without_a_terminal_nothing_runs_unless_yes_is_said() {
    for line in [&["negotiate", "x"][..], &["dispatch", "w", "x"]] {
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        // The hub does not exist: consent comes before the first connection.
        let ran = ask("http://127.0.0.1:9/mcp", &line, std::path::Path::new(".")).exits(2);
        assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn negotiate_is_one_call_and_then_follows_the_job() {
    let hub = ends_as("completed").serve(None).await;
    let ran = hub
        .ask(&[
            "negotiate",
            "3 nodes",
            "--select",
            "soonest",
            "--select",
            "random",
            "--worker",
            "hpc-1",
            "--yes",
            "--idempotency-key",
            "key-12345",
            "--json",
            "--",
            "echo",
            "--hi",
        ])
        .await
        .exits(0);
    let mut expected = dispatched();
    expected["job"] = job("completed");
    assert_eq!(ran.json(), expected);
    assert_eq!(ran.stderr, "| epoch 1\\u{1b}[2J\n| epoch 2\n");
    assert_eq!(
        hub.arguments("dispatch_job"),
        json!({"prompt": "3 nodes", "job": {"kind": "command", "spec": {"argv": ["echo", "--hi"]}},
            "strategies": ["soonest", "random"], "deadline_seconds": 10, "workers": ["hpc-1"],
            "idempotency_key": "key-12345"})
    );
    assert!(hub.calls().iter().all(|(tool, _)| tool != "negotiate_job"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_are_asked_and_awarded_in_one_call() {
    let hub = ends_as("completed").serve(None).await;
    hub.ask(&["negotiate", "x", "--worker", "hpc-1", "--worker", "box-2", "--yes", "--no-wait"])
        .await
        .exits(0);
    assert_eq!(hub.arguments("dispatch_job")["workers"], json!(["hpc-1", "box-2"]));
    assert_eq!(hub.calls().len(), 1, "a job that is not waited for is not looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_the_negotiation_the_receipt_and_the_result() {
    let hub = ends_as("completed").serve(None).await;
    let ran = hub.ask(&["negotiate", "3 nodes", "--yes"]).await.exits(0);
    let expected = [
        "understood",
        "→ hpc-1 by weighted",
        "✓ job-1 accepted by hpc-1",
        "job job-1 completed",
        "answer",
        "sha256:",
    ];
    let mut rest = ran.stdout.as_str();
    for part in expected {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not in its place in {}", ran.stdout));
        rest = &rest[at..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_jobs() {
    for (state, code) in [("completed", 0), ("failed", 1), ("cancelled", 1), ("unknown", 1)] {
        let hub = ends_as(state).serve(None).await;
        assert_eq!(hub.ask(&["negotiate", "x", "--yes", "-q"]).await.exits(code).stdout, "job-1\n");
        let hub = ends_as(state).serve(None).await;
        assert_eq!(hub.ask(&["job", "job-1", "--wait", "-q"]).await.exits(code).stdout, format!("{state}\n"));
        // Looking at a failed job is not a failure.
        hub.ask(&["job", "job-1"]).await.exits(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatch_prints_the_receipt_and_the_job() {
    let hub = ends_as("completed").serve(None).await;
    let ran = hub.ask(&["dispatch", "hpc-1", "3 nodes", "--yes", "--json"]).await.exits(0);
    let document = ran.json();
    assert_eq!(document["receipt"], dispatched()["receipt"]);
    assert_eq!(document["job"], job("completed"));
    assert!(document.get("proposals").is_none());
    assert_eq!(
        hub.arguments("dispatch_job"),
        json!({"prompt": "3 nodes", "deadline_seconds": 10, "workers": ["hpc-1"]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_fits_is_exit_code_3_with_the_reasons() {
    let mut nothing = view();
    nothing["selection"] = json!({"worker_id": null, "strategy": "weighted", "explanation": "nobody"});
    nothing["evaluations"]["hpc-1"] = nothing["evaluations"]["box-2"].clone();
    let hub = FakeHub::default()
        .answer("negotiate_job", nothing.clone())
        .answer("dispatch_job", nothing.clone())
        .serve(None)
        .await;
    for line in
        [&["satisfy", "x", "--json"][..], &["select", "x", "--json"], &["negotiate", "x", "--yes", "--json"]]
    {
        let ran = hub.ask(line).await.exits(3);
        assert_eq!(ran.json(), nothing, "{line:?}");
        assert!(
            ran.stderr.ends_with("resource-ask: none of 2 workers can run it: NODES_TOO_FEW 1, timeout 1\n"),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_award_is_exit_code_3_with_the_workers_reason() {
    let mut refused = dispatched();
    refused["receipt"]["status"] = json!("FAILED");
    refused["receipt"]["error"] = json!({"code": "CAPACITY_TAKEN", "message": "the nodes are gone"});
    let hub = FakeHub::default().answer("dispatch_job", refused).serve(None).await;
    let ran = hub.ask(&["dispatch", "hpc-1", "x", "--yes", "--json"]).await.exits(3);
    assert_eq!(ran.json()["receipt"]["status"], "FAILED");
    assert_eq!(ran.stderr, "resource-ask: hpc-1 refused the job: the nodes are gone (CAPACITY_TAKEN)\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_data_is_uploaded_and_named_in_the_job() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("my prices.csv");
    std::fs::write(&data, "date,price\n2026-01-01,1\n").unwrap();
    let request = directory.path().join("request.json");
    let job = json!({"kind": "backtest", "spec": {"data": {"uri": data}}});
    std::fs::write(&request, json!({"job": job}).to_string()).unwrap();
    let hub = ends_as("completed").serve(None).await;
    let ran =
        hub.ask(&["negotiate", "--request", request.to_str().unwrap(), "--yes", "--no-wait", "--json"]).await;
    let ran = ran.exits(0);
    assert!(ran.stderr.contains("as art-up"), "{}", ran.stderr);
    let bytes = std::fs::read(&data).unwrap();
    assert_eq!(hub.uploads(), [("name=my%20prices.csv&type=data".to_owned(), bytes.clone())]);
    let sent = hub.arguments("dispatch_job")["job"]["spec"]["data"].clone();
    assert_eq!(sent, json!({"uri": "parley://artifact/art-up", "sha256": Digest::of(&bytes)}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_printed_even_when_the_job_cannot_be_followed() {
    let hub = FakeHub::default()
        .answer("dispatch_job", dispatched())
        .refuse("get_job", ErrorCode::NotFound, "there is no job job-1")
        .answer("get_job_logs", log(""))
        .serve(None)
        .await;
    let ran = hub.ask(&["negotiate", "x", "--yes", "--json"]).await.exits(1);
    assert_eq!(ran.json(), dispatched());
}
