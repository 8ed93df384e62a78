//! Asking and looking: what goes out, what is printed where.

use std::path::Path;

use serde_json::{Value, json};

use crate::fake_hub::{FakeHub, artifact, ask, chosen, job, view};

#[tokio::test(flavor = "multi_thread")]
async fn satisfy_prints_the_hubs_own_json_and_nothing_else_on_standard_output() {
    let notices = [
        json!({"notice": "asked", "negotiation_id": "neg-1", "workers": ["box-2", "hpc-1"], "excluded": {},
            "understanding": {"requirement": {}, "intent": "balanced", "weights": {}, "job": null,
                "spans": [], "not_understood": [], "missing": []}}),
        json!({"notice": "answered", "worker_id": "hpc-1", "answer": "READY", "answered": 1, "asked": 2}),
    ];
    let hub = notices.into_iter().fold(FakeHub::default(), FakeHub::notice);
    let hub = hub.answer("negotiate_job", view()).serve(None).await;
    let ran = hub
        .ask(&[
            "satisfy",
            "3 nodes",
            "--intent",
            "soonest",
            "--worker",
            "hpc-1",
            "--deadline",
            "2.5",
            "--json",
        ])
        .await
        .exits(0);
    assert_eq!(ran.json(), view());
    assert_eq!(ran.stderr, "asking 2 workers\nhpc-1: READY (1 of 2)\n");
    assert_eq!(
        hub.arguments("negotiate_job"),
        json!({"prompt": "3 nodes", "intent": "soonest", "workers": ["hpc-1"], "deadline_seconds": 2.5,
            "mode": "satisfy", "hold": false})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_show_foreign_text_harmlessly() {
    let hub = FakeHub::default().answer("negotiate_job", chosen()).serve(None).await;
    let ran = hub.ask(&["select", "3 nodes"]).await.exits(0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']), "{:?}", ran.stdout);
    assert!(ran.stdout.contains("timeout: too\\u{1b}]0;owned\\u{7} late"), "{}", ran.stdout);
    assert!(ran.stdout.contains("→ hpc-1 by weighted: the only one"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_prints_names() {
    let hub = FakeHub::default()
        .answer("negotiate_job", chosen())
        .answer("list_jobs", json!({"items": [job("running"), job("completed")]}))
        .answer("get_job", job("running"))
        .answer("list_strategies", json!({"items": [{"name": "soonest", "description": "first"}]}))
        .serve(None)
        .await;
    for (line, printed) in [
        (&["satisfy", "x", "-q"][..], "hpc-1\n"),
        (&["select", "x", "--quiet"], "hpc-1\n"),
        (&["jobs", "-q"], "job-1\njob-1\n"),
        (&["job", "job-1", "-q"], "running\n"),
        (&["list", "select", "-q"], "soonest\n"),
    ] {
        let ran = hub.ask(line).await.exits(0);
        assert_eq!(ran.stdout, printed, "{line:?}");
        assert_eq!(ran.stderr, "", "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_arrays_in_json() {
    let hub = FakeHub::default()
        .answer("list_jobs", json!({"items": [job("failed")]}))
        .answer("list_artifacts", json!({"items": [artifact("art-1", b"x")]}))
        .answer("list_providers", json!({"items": [{"name": "slurm"}]}))
        .answer("get_fleet_status", json!({"workers": [], "total": 0}))
        .serve(None)
        .await;
    let json = |ran: crate::fake_hub::Ran| ran.exits(0).json();
    assert_eq!(
        json(hub.ask(&["jobs", "--state", "failed", "--limit", "5", "--json"]).await),
        json!([job("failed")])
    );
    assert_eq!(hub.arguments("list_jobs"), json!({"limit": 5, "state": "failed"}));
    let artifacts = json(hub.ask(&["artifacts", "job-1", "--json"]).await);
    assert_eq!(artifacts, json!([artifact("art-1", b"x")]));
    assert_eq!(hub.arguments("list_artifacts"), json!({"job_id": "job-1"}));
    assert_eq!(json(hub.ask(&["list", "providers", "--json"]).await), json!([{"name": "slurm"}]));
    assert_eq!(json(hub.ask(&["list", "workers", "--json"]).await), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_passed_on_byte_for_byte() {
    let page = |text: &str, next: u32, complete: bool| json!({"text": text, "next_offset": next, "complete": complete});
    let hub = FakeHub::default()
        .answer("get_job_logs", page("one\u{1b}[31m\r\n", 10, false))
        .answer("get_job_logs", page("two", 13, false))
        .answer("get_job_logs", page("", 13, true))
        .serve(None)
        .await;
    let ran = hub.ask(&["logs", "job-1"]).await.exits(0);
    assert_eq!(ran.stdout, "one\u{1b}[31m\r\ntwo");
    let offsets: Vec<Value> =
        hub.calls().into_iter().map(|(_, arguments)| arguments["offset"].clone()).collect();
    assert_eq!(offsets, [json!(0), json!(10), json!(13)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_is_asked_for_and_passed_on() {
    let explanation = json!({"negotiation_id": "neg-1", "selection": null, "workers": {"hpc-1": {
        "standing": "failed", "verdict": "BUSY",
        "gate": {"passed": false, "failed": [{"code": "NODES_BUSY", "wanted": "3", "had": "1"}]},
        "untrue": [], "contributions": {}, "adjustments": [], "score": 0, "trust": 0.5, "final": 0,
        "rank": null, "what_if": [], "new": "field",
    }}});
    let hub = FakeHub::default().answer("explain_negotiation", explanation.clone()).serve(None).await;
    assert_eq!(hub.ask(&["explain", "neg-1", "hpc-1", "--json"]).await.exits(0).json(), explanation);
    assert_eq!(
        hub.arguments("explain_negotiation"),
        json!({"negotiation_id": "neg-1", "worker_id": "hpc-1"})
    );
    let ran = hub.ask(&["explain", "neg-1"]).await.exits(0);
    assert!(ran.stdout.contains("NODES_BUSY  3       1"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn export_writes_a_whole_file() {
    let truth = json!({"timestamp": "2026-11-20T10:00:00Z", "ground_truth": {"w": {}}, "archetypes": {}, "counts": {}});
    let hub = FakeHub::default().answer("export_fleet_truth", truth.clone()).serve(None).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.json");
    let ran = hub.ask(&["export", "-o", path.to_str().unwrap()]).await.exits(0);
    assert_eq!(ran.stdout, "");
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, truth);
    assert_eq!(hub.ask(&["export"]).await.exits(0).json(), truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_verifies_before_anything_is_there() {
    let hub = FakeHub::default()
        .answer("get_artifact", artifact("art-1", b"the model"))
        .answer("get_artifact", artifact("art-2", b"the model"))
        .file("art-1", b"the model")
        .file("art-2", b"the m0del")
        .serve(None)
        .await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.json");
    let shown = path.to_str().unwrap();
    let ran = hub.ask(&["fetch", "art-1", "-o", shown]).await.exits(0);
    assert!(ran.stderr.contains("verified"), "{}", ran.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), b"the model");
    let ran = hub.ask(&["fetch", "art-2", "-o", shown]).await.exits(1);
    assert!(ran.stderr.contains("CHECKSUM_MISMATCH"), "{}", ran.stderr);
    // The older file is untouched, and no half of a newer one lies beside it.
    assert_eq!(std::fs::read(&path).unwrap(), b"the model");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn understanding_needs_no_hub() {
    let line =
        ["understand", "3 nodes for 1 hour", "--now", "2026-11-20T10:00:00Z", "--json"].map(str::to_owned);
    let ran = ask("http://127.0.0.1:9/mcp", &line, Path::new(".")).exits(0);
    let document = ran.json();
    for key in ["requirement", "intent", "weights", "job", "spans", "not_understood", "missing"] {
        assert!(document.get(key).is_some(), "{key} is not in {document}");
    }
}

#[test]
fn choosing_from_a_file_needs_no_hub() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("proposals.json"), view().to_string()).unwrap();
    let line = ["select", "--proposals", "proposals.json", "--json"].map(str::to_owned);
    let ran = ask("http://127.0.0.1:9/mcp", &line, directory.path()).exits(0);
    assert_eq!(ran.json()["selection"]["worker_id"], "hpc-1");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let line = ["completions", shell].map(str::to_owned);
        let ran = ask("http://127.0.0.1:9/mcp", &line, Path::new(".")).exits(0);
        assert!(ran.stdout.contains("negotiate"), "{shell}");
    }
}
