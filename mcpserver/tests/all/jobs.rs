//! `job run` as a worker's workload manager starts it, and the demo.

use serde_json::Value;

use crate::starting::{command, outcome};

const PRICES: &str = "date,price\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n2020-01-06,2\n";

#[test]
fn a_job_writes_what_its_worker_reads() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("prices.csv"), PRICES).unwrap();
    let spec = r#"{"kind": "backtest", "spec": {"data": {"uri": "prices.csv"}, "strategy": {"name": "buy_and_hold"}}}"#;
    std::fs::write(home.path().join("spec.json"), spec).unwrap();
    let mut run = command(home.path(), &["job", "run", "spec.json"]);
    let output = run.env("PARLEY_METRICS", "metrics.jsonl").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("[3/3] done"));
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    assert!(read("metrics.jsonl").lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let report: Value = serde_json::from_str(&read("job-report.json")).unwrap();
    assert!(report["metrics"]["final_equity"].is_number(), "{report}");
    assert!(report.get("error").is_none());
}

#[test]
fn a_job_that_fails_says_why_in_both_places() {
    let home = tempfile::tempdir().unwrap();
    let spec = r#"{"kind": "backtest", "spec": {"data": {"uri": "missing.csv"}}}"#;
    std::fs::write(home.path().join("spec.json"), spec).unwrap();
    let (code, said) = outcome(home.path(), &["job", "run", "spec.json"]);
    assert_eq!(code, 1);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("missing.csv"), "{said}");
    let report = std::fs::read_to_string(home.path().join("job-report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["error"]["code"], "JOB_FAILED");
}

#[test]
fn the_demo_shows_everything_and_leaves_the_plot_alone() {
    let home = tempfile::tempdir().unwrap();
    let output = command(home.path(), &["demo", "--exit"]).output().unwrap();
    let (shown, log) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{shown}{log}");
    for part in [
        "understood",
        "not understood",
        "view of the sea",
        "CLAIM_FALSE",
        "EXCLUDED",
        "completed at",
        "total_return",
        "sha256:",
        "resource-ask explain neg-",
    ] {
        assert!(shown.contains(part), "{part} is missing: {shown}");
    }
    assert!(log.contains("trading"), "the job's log is not shown: {log}");
    let plot =
        std::fs::read_to_string(home.path().join("parley-demo-output/equity-and-drawdown.svg")).unwrap();
    assert!(plot.starts_with("<svg"), "{}", &plot[..80]);
    let mut left: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["parley-demo-output", "tmp"]);
    assert_eq!(std::fs::read_dir(home.path().join("tmp")).unwrap().count(), 0, "something is left behind");
}
