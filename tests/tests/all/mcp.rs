//! The hub as an MCP server, through our own client: tools that come and go, calls passed through.

use std::sync::Arc;
use std::time::Duration;

use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use transport::connect::{Connector, Credentials, Target};
use transport::host::Object;
use transport::link::{CallOptions, Link};

use crate::harness::Fleet;

fn connect(url: &str) -> Arc<dyn Link> {
    let connector = Connector::new("parley-tests", "0", Arc::new(SystemClock)).expect("a connector");
    connector.connect(Target::new(url, Credentials::Anonymous)).expect("a link")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn call(link: &dyn Link, tool: &str, arguments: Value) -> transport::host::ToolOutcome {
    let arguments: Object = arguments.as_object().cloned().expect("an object");
    link.call(tool, &arguments, CallOptions::until(soon())).await.expect("an answer")
}

#[tokio::test]
async fn workers_tools_are_namespaced_and_passed_through() {
    let mut fleet = Fleet::start();
    fleet.worker("lab-1", &["--mock", "hpc", "--seed", "3"]);
    fleet.await_workers(1);
    let hub = connect(&format!("{}/mcp", fleet.url));
    let tools = hub.tools(soon()).await.expect("tools");
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert!(names.contains(&"negotiate_job") && names.contains(&"lab-1__get_status"), "{names:?}");
    for tool in &tools {
        assert!(tool.name.len() <= 64, "{}", tool.name);
        assert!(
            tool.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'),
            "{}",
            tool.name
        );
        assert!(!tool.description.is_empty(), "{} has no description", tool.name);
    }
    let workers = fleet.json(&["list", "workers"]);
    let direct = connect(workers[0]["url"].as_str().expect("a url"));
    let through = call(&*hub, "lab-1__export_provider_metadata", json!({})).await;
    let straight = call(&*direct, "export_provider_metadata", json!({})).await;
    assert_eq!(through, straight);
}

#[tokio::test]
async fn a_client_without_the_hubs_key_cannot_award() {
    let mut fleet = Fleet::start();
    fleet.worker("lab-1", &["--mock", "hpc"]);
    fleet.await_workers(1);
    let workers = fleet.json(&["list", "workers"]);
    let direct = connect(workers[0]["url"].as_str().expect("a url"));
    for tool in ["submit", "void_attempt", "cancel_job", "reject_proposal"] {
        let refused = direct.call(tool, &Object::new(), CallOptions::until(soon())).await;
        let refused = refused.expect_err("only the hub may change anything");
        assert_eq!(refused.code(), ErrorCode::Scope, "{tool}: {refused}");
    }
    // Nor through the hub: it passes on the call, not its own authority to award.
    let hub = connect(&format!("{}/mcp", fleet.url));
    let award = call(&*hub, "lab-1__submit", json!({"award": {}})).await;
    assert!(award.is_error, "{award:?}");
}

#[tokio::test]
async fn tools_appear_and_disappear_with_their_worker() {
    let mut fleet = Fleet::start();
    let hub = connect(&format!("{}/mcp", fleet.url));
    let mut changes = hub.changes();
    let count = async || hub.tools(soon()).await.expect("tools").len();
    let alone = count().await;
    fleet.worker("lab-1", &["--mock", "standalone"]);
    while count().await == alone {
        tokio::time::timeout(Duration::from_secs(10), changes.changed())
            .await
            .expect("in time")
            .expect("open");
    }
    let worker = fleet.workers.pop().expect("the worker");
    assert_eq!(worker.terminate().code(), Some(0));
    while count().await != alone {
        tokio::time::timeout(Duration::from_secs(10), changes.changed())
            .await
            .expect("in time")
            .expect("open");
    }
}
