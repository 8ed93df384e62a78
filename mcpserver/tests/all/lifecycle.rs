//! Hubs and workers from their first line to their end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::running::Running;
use crate::starting::{SECRET, await_body, command, get, outcome, start, start_hub};

const LONGEST_END: Duration = Duration::from_secs(10);

fn assert_ends(running: Running) {
    let asked = Instant::now();
    assert_eq!(running.terminate().code(), Some(0));
    assert!(asked.elapsed() < LONGEST_END, "{:?}", asked.elapsed());
}

fn join(home: &std::path::Path, hub: &str, id: &str, more: &[&str]) -> Running {
    let arguments = ["start", "--join", hub, "--join-secret", SECRET, "--worker-id", id, "--port", "0"];
    start(home, &[&arguments, more].concat())
}

#[test]
fn a_hub_says_one_line_answers_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let (mut hub, url) = start_hub(home.path(), &["--data-dir", "hub"]);
    assert_eq!(hub.said, [format!("hub listening on {url}")]);
    let (status, body) = get(&url, "/health");
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["status"] == "ok"), (200, true));
    assert_eq!(get(&url, "/health/ready").0, 200);
    // The directory and the port are its own.
    let port = url.rsplit(':').next().unwrap();
    let again = ["start", "--hub", "--hub-secret", SECRET, "--data-dir"];
    assert_eq!(outcome(home.path(), &[&again[..], &["hub", "--port", "0"]].concat()).0, 75);
    assert_eq!(outcome(home.path(), &[&again[..], &["other", "--port", port]].concat()).0, 78);
    hub.said.clear();
    assert_ends(hub);
}

#[test]
fn a_secret_is_made_once_and_a_weak_one_is_warned_of() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["start", "--hub", "--port", "0"];
    let mut hub = start(home.path(), &arguments);
    let secret = hub.word_after("join secret: ");
    hub.line_with("hub listening on");
    assert_ends(hub);
    let mut hub = start(home.path(), &arguments);
    let url = hub.word_after("hub listening on ");
    assert_eq!(hub.said.len(), 1, "{:?}", hub.said);
    let mut worker = start(
        home.path(),
        &["start", "--join", &url, "--join-secret", &secret, "--mock", "hpc", "--port", "0"],
    );
    worker.line_with("joined");
    let mut weak =
        start(home.path(), &["start", "--hub", "--hub-secret", "easy", "--port", "0", "--data-dir", "weak"]);
    weak.line_with("hub listening on");
    assert!(weak.said[0].contains("weak"), "{:?}", weak.said);
}

#[test]
fn a_real_worker_joins_leaves_and_comes_back_under_its_name() {
    let home = tempfile::tempdir().unwrap();
    let (_hub, url) = start_hub(home.path(), &[]);
    let mut worker = join(home.path(), &url, "lab", &["--label", "site=lab"]);
    let own = worker.word_after("worker lab listening on ");
    worker.line_with(&format!("worker lab joined {url}"));
    assert_eq!(get(&own, "/health/ready").0, 200);
    assert!(get(&own, "/tools/list").1.contains("ask_secretary"));
    await_body(&url, "/workers", |body| body.contains("\"lab\""));
    // A second process on the same data is told so.
    let second = ["start", "--join", &url, "--join-secret", SECRET, "--worker-id", "lab", "--port", "0"];
    assert_eq!(outcome(home.path(), &second).0, 75);
    assert_ends(worker);
    await_body(&url, "/workers", |body| !body.contains("\"lab\""));
    let mut worker = join(home.path(), &url, "lab", &[]);
    worker.line_with("joined");
    // The name belongs to the key that took it first.
    let mut other = join(home.path(), &url, "lab", &["--mock", "hpc"]);
    assert_eq!(other.wait().code(), Some(5), "{:?}", other.said);
}

#[test]
fn a_simulated_worker_keeps_its_name_without_keeping_anything() {
    let home = tempfile::tempdir().unwrap();
    let (_hub, url) = start_hub(home.path(), &[]);
    let mut worker = join(home.path(), &url, "sim", &["--mock", "cloud", "--seed", "3"]);
    worker.line_with("joined");
    worker.kill();
    let mut again = join(home.path(), &url, "sim", &["--mock", "cloud", "--seed", "3"]);
    again.line_with("joined");
    assert_ends(again);
    assert!(!home.path().join(".local/share/parley/workers").exists());
}

#[test]
fn a_hub_that_is_away_and_a_wrong_secret_have_codes() {
    let home = tempfile::tempdir().unwrap();
    let away = ["--join", "http://127.0.0.1:9", "--join-secret", SECRET, "--join-timeout", "1"];
    let start = ["start", "--mock", "hpc", "--port", "0"];
    assert_eq!(outcome(home.path(), &[&start[..], &away].concat()).0, 4);
    assert_eq!(outcome(home.path(), &[&["simulate", "--workers", "3"][..], &away].concat()).0, 4);
    let (_hub, url) = start_hub(home.path(), &[]);
    let wrong = ["--join", &url, "--join-secret", "another secret"];
    let (code, said) = outcome(home.path(), &[&start[..], &wrong].concat());
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("secret"), "{said}");
    assert_eq!(outcome(home.path(), &[&["simulate", "--workers", "3"][..], &wrong].concat()).0, 5);
}

#[test]
fn a_worker_waits_for_its_hub() {
    let home = tempfile::tempdir().unwrap();
    let (hub, url) = start_hub(home.path(), &["--data-dir", "hub"]);
    assert_ends(hub);
    let mut worker = join(home.path(), &url, "early", &["--mock", "hpc"]);
    worker.line_with("listening");
    let port = url.rsplit(':').next().unwrap();
    let arguments = ["start", "--hub", "--hub-secret", SECRET, "--data-dir", "hub", "--port", port];
    let _hub = start(home.path(), &arguments);
    worker.line_with("joined");
}

#[test]
fn a_drained_worker_is_shown_as_such_until_it_takes_work_again() {
    let home = tempfile::tempdir().unwrap();
    let (_hub, url) = start_hub(home.path(), &[]);
    let mut worker = join(home.path(), &url, "lab", &["--mock", "hpc"]);
    worker.line_with("joined");
    worker.signal(Signal::SIGUSR1);
    worker.line_with("takes no more work");
    await_body(&url, "/workers", |body| body.contains("\"draining\""));
    worker.signal(Signal::SIGUSR2);
    worker.line_with("takes work again");
    await_body(&url, "/workers", |body| body.contains("\"online\""));
    assert_ends(worker);
}

#[test]
fn another_hub_at_the_same_place_is_not_joined() {
    let home = tempfile::tempdir().unwrap();
    let (hub, url) = start_hub(home.path(), &["--data-dir", "hub"]);
    let mut worker = join(home.path(), &url, "lab", &[]);
    worker.line_with("joined");
    assert_ends(worker);
    assert_ends(hub);
    let port = url.rsplit(':').next().unwrap();
    let arguments = ["start", "--hub", "--hub-secret", SECRET, "--data-dir", "other", "--port", port];
    let mut hub = start(home.path(), &arguments);
    hub.line_with("hub listening on");
    let mut worker = join(home.path(), &url, "lab", &[]);
    assert_eq!(worker.wait().code(), Some(77), "{:?}", worker.said);
    assert!(worker.said.last().unwrap().contains("known-hubs"), "{:?}", worker.said);
    // The other hub has learned nothing about the worker.
    let (status, fleet) = get(&url, "/workers");
    assert!(status == 200 && fleet.contains("\"total\":0"), "{fleet}");
}

#[test]
fn a_dual_hub_is_its_own_worker() {
    let home = tempfile::tempdir().unwrap();
    let more = ["--dual", "--worker-id", "own", "--mock", "hpc", "--data-dir", "both"];
    let (mut hub, url) = start_hub(home.path(), &more);
    hub.line_with("worker own joined");
    await_body(&url, "/workers", |body| body.contains("\"own\""));
    await_body(&url, "/tools/list", |body| body.contains("own__get_status"));
    assert_ends(hub);
}

#[test]
fn a_simulated_fleet_joins_and_leaves_together() {
    let home = tempfile::tempdir().unwrap();
    let (hub, url) = start_hub(home.path(), &[]);
    let arguments = [
        "simulate",
        "--join",
        &url,
        "--join-secret",
        SECRET,
        "--workers",
        "40",
        "--liars",
        "0.25",
        "--seed",
        "7",
    ];
    let mut fleet = start(home.path(), &arguments);
    let own = fleet.word_after("simulation listening on ");
    let line = fleet.line_with("joined");
    assert!(line.starts_with(&format!("40 workers joined {url} (")) && line.contains("10 liars"), "{line}");
    assert_eq!(get(&own, "/health/ready").0, 200);
    await_body(&url, "/metrics", |body| body.contains("parley_workers{state=\"online\"} 40"));
    assert_ends(fleet);
    await_body(&url, "/metrics", |body| !body.contains("state=\"online\""));
    assert_ends(hub);
    assert_eq!(std::fs::read_dir(home.path().join("tmp")).unwrap().count(), 0, "something is left behind");
}

#[test]
fn a_worker_alone_serves_its_tools() {
    let home = tempfile::tempdir().unwrap();
    let mut worker = start(home.path(), &["start", "--worker-id", "alone", "--port", "0"]);
    let url = worker.word_after("worker alone listening on ");
    assert!(get(&url, "/health").1.contains("\"ok\""));
    assert!(get(&url, "/tools/list").1.contains("cpu_cpu"));
    assert_ends(worker);
}

#[test]
fn a_worker_speaks_over_standard_input_and_output() {
    let home = tempfile::tempdir().unwrap();
    let mut child = command(home.path(), &["start", "--transport", "stdio", "--mock", "hpc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut answer = |message: &str| {
        writeln!(input, "{message}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let hello = answer(
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#,
    );
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
    let told = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let list = answer(&format!("{told}\n{}", r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#));
    assert!(list["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 3), "{list}");
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
