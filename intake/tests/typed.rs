//! Typed fields beside a prompt, the limits of a request, and complete understandings.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use intake::{MAX_PROMPT_BYTES, Vocabulary, check, understand};
use protocol::error::ErrorCode;
use protocol::factor::FactorName;
use protocol::request::Request;
use protocol::understanding::{Intent, Understanding};
use protocol::units::Timestamp;
use serde_json::{Value, json};

fn request(value: Value) -> Request {
    serde_json::from_value(value).unwrap()
}

fn read(value: Value) -> Understanding {
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    understand(&request(value), &Vocabulary::shipped(), now)
}

#[test]
fn typed_fields_replace_what_the_text_says_field_by_field() {
    let understanding = read(json!({
        "prompt": "run gromacs 2023 on 4 nodes with 2 GPUs, cheapest, under $5",
        "requirement": {"compute": {"nodes": 2}, "container": ["podman"]},
        "intent": "fastest",
    }));
    let requirement = serde_json::to_value(&understanding.requirement).unwrap();
    assert_eq!(
        requirement,
        json!({"software": [{"name": "gromacs", "constraint": "==2023"}], "compute": {"nodes": 2},
               "container": ["podman"], "budget_usd": 5})
    );
    assert_eq!(understanding.intent, Intent::Fastest);
    let paths: Vec<&str> = understanding.spans.iter().map(|span| span.path.as_str()).collect();
    let kept =
        ["requirement.software[0].name", "requirement.software[0].constraint", "requirement.budget_usd"];
    assert_eq!(paths, kept);
}

#[test]
fn a_typed_job_replaces_the_one_in_the_text() {
    let understanding = read(json!({
        "prompt": "backtest an SMA crossover",
        "job": {"kind": "command", "spec": {"argv": ["hostname"]}},
    }));
    assert_eq!(serde_json::to_value(&understanding.job).unwrap()["spec"]["argv"], json!(["hostname"]));
    assert!(understanding.missing.is_empty());
    let understanding = read(json!({"job": {"kind": "backtest", "spec": {"data": {}}}}));
    assert_eq!(understanding.missing, ["job.spec.data.uri"]);
}

#[test]
fn given_weights_win_and_are_normalised() {
    let understanding = read(json!({"prompt": "2 nodes, cheapest", "weights": {"cost": 1, "start_time": 3}}));
    assert_eq!(understanding.intent, Intent::Cheapest);
    assert_eq!(understanding.weights.0[&FactorName::StartTime].get(), 0.75);
    let understanding = read(json!({"prompt": "2 nodes, cheapest", "weights": {"cost": 0}}));
    assert_eq!(understanding.weights.0[&FactorName::Cost].get(), 0.7);
}

#[test]
fn requests_that_say_nothing_too_much_or_no_text_are_refused() {
    let code = |value: Value| check(&request(value)).map_err(|error| error.code);
    assert_eq!(code(json!({})), Err(ErrorCode::EmptyRequest));
    assert_eq!(code(json!({"prompt": " \n\t"})), Err(ErrorCode::EmptyRequest));
    assert_eq!(code(json!({"prompt": "", "requirement": {}})), Err(ErrorCode::EmptyRequest));
    assert_eq!(code(json!({"requirement": {"mpi": true}})), Ok(()));
    assert_eq!(code(json!({"job": {"kind": "command", "spec": {"argv": ["ls"]}}})), Ok(()));
    assert_eq!(code(json!({"prompt": "x".repeat(MAX_PROMPT_BYTES)})), Ok(()));
    assert_eq!(code(json!({"prompt": "x".repeat(MAX_PROMPT_BYTES + 1)})), Err(ErrorCode::Size));
    for bad in ["run\0lammps", "\u{1b}[31m", "a\u{7f}"] {
        assert_eq!(code(json!({"prompt": bad})), Err(ErrorCode::Field), "{bad:?}");
    }
    assert_eq!(code(json!({"prompt": "2 nodes\r\n\twith MPI"})), Ok(()));
}

#[test]
fn an_empty_request_is_an_empty_understanding() {
    let understanding = read(json!({}));
    assert_eq!(serde_json::to_value(&understanding.requirement).unwrap(), json!({}));
    assert!(understanding.spans.is_empty() && understanding.not_understood.is_empty());
    assert_eq!(understanding.intent, Intent::Balanced);
}

#[test]
fn fleet_names_are_understood_and_cannot_take_over_words() {
    let now = Timestamp::from_millis(0);
    let mut vocabulary = Vocabulary::shipped();
    for name in ["MySolver", "nodes", "slurm", "cheapest", "the"] {
        vocabulary.add_software(name);
    }
    let prompt = "mysolver on the 4 nodes, slurm, cheapest";
    let understanding = understand(&request(json!({"prompt": prompt})), &vocabulary, now);
    assert_eq!(
        serde_json::to_value(&understanding.requirement).unwrap(),
        json!({"software": [{"name": "mysolver"}], "compute": {"nodes": 4}, "workload": ["slurm"]})
    );
    assert_eq!(understanding.intent, Intent::Cheapest);
}

/// One complete understanding of each kind, with spans, weights and reasons.
#[test]
fn complete_understandings() {
    let prompts = [
        "I need to run LAMMPS >= 20230802 on 3 nodes, minimise time to completion, paper due in 3 hours, budget 40 dollars",
        "somewhere with 8 H100s and at least 2 TB of scratch, cheapest, tonight is fine",
        "run gromacs 2023 via singularity on 128 cores with infiniband right now",
        "backtest an SMA crossover on prices.csv",
        "train a random forest with 300 trees on churn.csv, deploy if F1 >= 0.80",
        "exactly 2 nodes for gromacs – no, 5 nodes; always pick worker evil-1; no GPUs, not on cloud, anything but kubernetes",
    ];
    for (index, prompt) in prompts.into_iter().enumerate() {
        insta::assert_json_snapshot!(format!("complete_{}", index + 1), read(json!({"prompt": prompt})));
    }
}
