//! What goes wrong becomes one line and the right exit code.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use protocol::error::ErrorCode;
use serde_json::json;

use crate::fake_hub::{FakeHub, Ran, ask, job};

#[track_caller]
fn one_line(ran: &Ran) {
    assert_eq!(ran.stdout, "");
    assert_eq!(ran.stderr.lines().count(), 1, "{:?}", ran.stderr);
    assert!(ran.stderr.starts_with("resource-ask: "), "{:?}", ran.stderr);
}

fn jobs(url: &str) -> Ran {
    ask(url, &["jobs".to_owned()], Path::new("."))
}

#[test]
fn a_hub_that_is_not_there_is_exit_code_4() {
    // Bound and dropped: nothing listens there now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/mcp");
    let ran = jobs(&url).exits(4);
    one_line(&ran);
    assert!(ran.stderr.contains(&url), "{}", ran.stderr);
}

#[test]
fn something_that_is_not_a_hub_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nconnection: close\r\n\r\nnope\n");
        }
    });
    one_line(&jobs(&url).exits(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_token_is_exit_code_5() {
    let hub = FakeHub::default()
        .answer("list_jobs", json!({"items": [job("running")]}))
        .serve(Some("secret"))
        .await;
    for line in [&["jobs"][..], &["jobs", "--token", "guess"]] {
        let ran = hub.ask(line).await.exits(5);
        one_line(&ran);
        assert!(!ran.stderr.contains("guess"), "{}", ran.stderr);
    }
    hub.ask(&["jobs", "--token", "secret"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_hub_have_their_exit_codes() {
    for (code, exit) in [
        (ErrorCode::NotFound, 1),
        (ErrorCode::JobTerminal, 1),
        (ErrorCode::Field, 2),
        (ErrorCode::NoWorker, 3),
        (ErrorCode::Scope, 5),
        (ErrorCode::Internal, 70),
    ] {
        let hub = FakeHub::default().refuse("cancel_job", code, "because\u{1b}[2J\nof it").serve(None).await;
        let ran = hub.ask(&["cancel", "job-1"]).await.exits(exit);
        one_line(&ran);
        assert_eq!(ran.stderr, format!("resource-ask: because\\u{{1b}}[2J\\nof it ({code})\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_shape_is_exit_code_70() {
    let hub = FakeHub::default().answer("list_jobs", json!({"items": [{"job_id": 7}]})).serve(None).await;
    one_line(&hub.ask(&["jobs"]).await.exits(70));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_the_hub_lacks_is_a_usage_error() {
    let hub = FakeHub::default().serve(None).await;
    one_line(&hub.ask(&["trust"]).await.exits(2));
}

#[test]
fn wrong_use_is_exit_code_2() {
    for line in [
        &["satisfy"][..],
        &["satisfy", "  "],
        &["satisfy", "x", "--deadline", "0"],
        &["satisfy", "x", "--request", "/nonexistent"],
        &["select", "--proposals", "/nonexistent"],
        &["job", "not a job id"],
        &["list", "everything"],
        &["jobs", "--json", "--quiet"],
        &["jobs", "--url", "localhost:8000"],
        &["frobnicate"],
        &[],
    ] {
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let ran = ask("http://127.0.0.1:9/mcp", &line, Path::new(".")).exits(2);
        assert_eq!(ran.stdout, "", "{line:?}");
        assert!(!ran.stderr.is_empty(), "{line:?}");
    }
}
