//! Bad input: one clear line (what, which value, what to do), a documented exit code or a problem
//! document, no trace, and nothing changed.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Fleet, Running, SECRET, program, text};

/// Runs `mcpserver` until it ends; its exit code and what it said.
fn mcpserver(arguments: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().expect("a directory");
    let output = Command::new(program("mcpserver"))
        .args(arguments)
        .env("HOME", home.path())
        .current_dir(home.path())
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    (output.status.code(), text(&output.stderr))
}

fn assert_one_clear_line(said: &str, names: &str) {
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("mcpserver: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(said.contains(names), "it does not say {names:?}: {said}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let fleet = Fleet::start();
    let url = fleet.url.as_str();
    let data = fleet.home.path().join("hub");
    let data = data.to_string_lossy();
    let file = fleet.home.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    let under_file = file.join("sub");
    let under_file = under_file.to_string_lossy();
    let port = fleet.port();
    let long = "x".repeat(5000);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["start", "--hub", "--no-such-flag"], 2, "--no-such-flag"),
        (
            &["start", "--join", url, "--join-secret", "wrong", "--worker-id", "w", "--mock", "--port", "0"],
            5,
            "secret",
        ),
        (&["start", "--join", url, "--worker-id", "w", "--mock", "--port", "0"], 2, "--join-secret"),
        (
            &["start", "--join", url, "--join-secret", "", "--worker-id", "w", "--mock", "--port", "0"],
            2,
            "secret",
        ),
        (
            &[
                "start",
                "--join",
                "http://127.0.0.1:9",
                "--join-secret",
                SECRET,
                "--worker-id",
                "w",
                "--mock",
                "--port",
                "0",
                "--join-timeout",
                "1",
            ],
            4,
            "127.0.0.1:9",
        ),
        (
            &["start", "--join", url, "--join-secret", SECRET, "--worker-id", "", "--mock", "--port", "0"],
            2,
            "worker",
        ),
        (
            &["start", "--join", url, "--join-secret", SECRET, "--worker-id", &long, "--mock", "--port", "0"],
            2,
            "worker",
        ),
        (
            &[
                "start",
                "--join",
                url,
                "--join-secret",
                SECRET,
                "--worker-id",
                "a\nb",
                "--mock",
                "--port",
                "0",
            ],
            2,
            "worker",
        ),
        (
            &[
                "start",
                "--join",
                url,
                "--join-secret",
                SECRET,
                "--worker-id",
                "w",
                "--mock",
                "moon",
                "--port",
                "0",
            ],
            2,
            "moon",
        ),
        (&["start", "--hub", "--hub-secret", SECRET, "--port", "0", "--data-dir", &data], 75, "in use"),
        (&["start", "--hub", "--hub-secret", SECRET, "--port", "0", "--data-dir", &under_file], 78, "file"),
        (&["start", "--hub", "--hub-secret", SECRET, "--port", &port], 78, &port),
        (&["start", "--hub", "--hub-secret", SECRET, "--port", "0", "--host", "0.0.0.0"], 78, "0.0.0.0"),
        (&["job", "run", "no-such-file.json"], 1, "no-such-file.json"),
    ];
    for (arguments, code, names) in cases {
        let (exit, said) = mcpserver(arguments);
        assert_eq!(
            exit,
            Some(*code),
            "{:?}: {said}",
            arguments.iter().map(|a| &a[..a.len().min(40)]).collect::<Vec<_>>()
        );
        assert_one_clear_line(&said, names);
    }
    assert_eq!(fleet.json(&["list", "workers"]), json!([]), "nobody joined");
}

#[test]
fn a_worker_id_that_is_alive_cannot_be_taken() {
    let mut fleet = Fleet::start();
    fleet.worker("lab-1", &["--mock", "hpc"]);
    fleet.await_workers(1);
    let url = fleet.url.clone();
    let other = fleet.home.path().join("other");
    let other = other.to_string_lossy();
    let arguments = [
        "start",
        "--join",
        &url,
        "--join-secret",
        SECRET,
        "--worker-id",
        "lab-1",
        "--port",
        "0",
        "--data-dir",
        &other,
    ];
    let mut second = Running::mcpserver(fleet.home.path(), &arguments);
    assert_eq!(second.wait().code(), Some(5));
    let workers = fleet.json(&["list", "workers"]);
    assert_eq!(workers.as_array().map(Vec::len), Some(1));
    assert_eq!(workers[0]["archetype"], "hpc");
}

#[test]
fn a_client_with_a_wrong_request_is_told() {
    let mut fleet = Fleet::start();
    fleet.simulate(2, &[]);
    let huge = "x ".repeat(50_000);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["satisfy", ""], 2, "says nothing"),
        (&["satisfy", &huge], 2, "65536"),
        (&["satisfy", "a\u{1}b"], 2, "control"),
        (&["select", "lammps", "--select", "best"], 2, "best"),
        (&["dispatch", "no-such-worker", "lammps", "--yes"], 1, "no-such-worker"),
        (&["negotiate", "lammps on 1 node"], 2, "--yes"),
        (&["job", "job-0"], 1, "job-0"),
        (&["job", "not an id"], 2, "not an id"),
        (&["explain", "neg-0"], 1, "neg-0"),
        (&["fetch", "art-0", "-o", "x"], 1, "art-0"),
        (&["satisfy", "lammps", "--deadline", "0"], 2, "deadline"),
        (&["satisfy", "lammps", "--url", "http://127.0.0.1:9/mcp"], 4, "127.0.0.1:9"),
        (&["negotiate", "lammps on 900000 nodes", "--yes"], 3, ""),
    ];
    for (arguments, code, names) in cases {
        let output = fleet.client(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{:?}: {said}", &arguments[0]);
        assert!(!said.contains("panicked"), "{said}");
        assert!(said.contains(names), "{:?} does not say {names:?}: {said}", &arguments[0]);
    }
    assert_eq!(fleet.json(&["jobs"]), json!([]), "nothing was accepted");
}

#[tokio::test]
async fn a_wrong_http_request_gets_a_problem_document() {
    transport::crypto::install();
    let fleet = Fleet::start();
    // A refused body closes its connection, so none is used twice.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
    let url = |path: &str| format!("{}{path}", fleet.url);
    let big = "x".repeat(2 * 1024 * 1024);
    let cases = [
        (client.get(url("/no-such-route")), 404, "NOT_FOUND"),
        (client.post(url("/workers")), 405, "METHOD"),
        (client.get(url("/jobs/job-0")), 404, "NOT_FOUND"),
        (client.get(url("/jobs?limit=0")), 422, "FIELD"),
        (client.post(url("/negotiations")).body("not json"), 400, "JSON"),
        (client.post(url("/negotiations")).body("{\"prompt\": 7}"), 422, "FIELD"),
        (client.post(url("/negotiations")).body("{\"surprise\": 7}"), 422, "FIELD"),
        (client.post(url("/negotiations")).body(big), 413, "SIZE"),
        (client.post(url("/jobs")).body("{}"), 422, "EMPTY_REQUEST"),
        (client.post(url("/v1/heartbeat")).body("{}"), 401, "AUTH"),
        (client.post(url("/v1/attempts/report")).body("{}"), 401, "AUTH"),
        (
            client.post(url("/v1/join/start")).body("{\"worker_key\":\"\",\"worker_nonce\":\"\"}"),
            422,
            "FIELD",
        ),
        (client.get(url("/workers")).header("host", "evil.example"), 403, "ORIGIN"),
        (client.get(url("/workers")).header("origin", "http://evil.example"), 403, "ORIGIN"),
        (client.post(url("/artifacts/content?name=../x")).body("x"), 422, "FIELD"),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.expect("an answer");
        let path = response.url().path().to_owned();
        assert_eq!(response.status().as_u16(), status, "{path}");
        let kind =
            response.headers().get("content-type").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body: Value = response.json().await.unwrap_or_default();
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{path}: {body}");
        assert_eq!(body["code"], code, "{path}: {body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }
}

#[tokio::test]
async fn the_predecessors_join_is_refused_without_the_secret() {
    transport::crypto::install();
    let fleet = Fleet::start();
    let client = reqwest::Client::new();
    let body = json!({"id": "x", "url": "http://127.0.0.1:9/mcp"}).to_string();
    let join = |token: Option<&'static str>, body: String| {
        let request = client.post(format!("{}/register", fleet.url)).body(body);
        match token {
            Some(token) => request.header("X-MCP-Token", token),
            None => request,
        }
    };
    for token in [None, Some("wrong"), Some("")] {
        let response = join(token, body.clone()).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 403);
        assert_eq!(response.json::<Value>().await.expect("JSON"), json!({"detail": "Forbidden"}));
    }
    let bad_url = json!({"id": "x", "url": "u"}).to_string();
    assert_eq!(join(Some(SECRET), bad_url).send().await.expect("an answer").status().as_u16(), 422);
    assert_eq!(join(Some(SECRET), "hello".into()).send().await.expect("an answer").status().as_u16(), 400);
    let response = join(Some(SECRET), body).send().await.expect("an answer");
    assert_eq!(response.json::<Value>().await.expect("JSON"), json!({"status": "success"}));
}
