//! The hub of the Python predecessor and ours, over the same workers and side by side: twenty simulated
//! clusters of ours, which also answer the predecessor's untyped calls. What differs is the hub alone.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use transport::link::Link;

use crate::asking::{PROMPT, fleet};
use crate::calling::{CLIENTS, call, link, turn, workers};
use crate::counters::until;
use crate::harness::{Running, SECRET};
use crate::report::{Report, Target, quantile};

const WORKERS: usize = 20;

/// The predecessor's hub, and how long it took to answer its first request.
struct Hub {
    url: String,
    ready_ms: f64,
    _process: Running,
}

impl Hub {
    /// Starts it; nothing when it is not installed.
    async fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the repository");
        let program = root.join("target/predecessor/bin/mcpserver");
        if !program.exists() {
            eprintln!("the predecessor is left out; tests/predecessor/install.sh installs it");
            return None;
        }
        // It cannot say which port it was given.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port().to_string();
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.args(["start", "--host", "127.0.0.1", "--port", &port, "--hub", "--hub-secret", SECRET]);
        let process = Running::start(command.env("NO_PROXY", "*"));
        let url = format!("http://127.0.0.1:{port}");
        let client = reqwest::Client::new();
        until("the predecessor's hub", async || client.get(format!("{url}/health")).send().await.is_ok())
            .await;
        Some(Self { url, ready_ms: begun.elapsed().as_secs_f64() * 1e3, _process: process })
    }

    /// Makes it known to a worker, and waits for the worker's tools.
    async fn register(&self, url: &str, name: &str, hub: &Arc<dyn Link>) {
        let body = json!({"id": name, "url": url}).to_string();
        let request = reqwest::Client::new()
            .post(format!("{}/register", self.url))
            .header("X-MCP-Token", SECRET)
            .header("content-type", "application/json");
        let response = request.body(body).send().await.expect("an answer");
        assert!(response.status().is_success(), "the predecessor's hub refuses {name}: {response:?}");
        let tool = tool_of(name);
        until("the worker's tools at the predecessor's hub", async || {
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
            let tools = hub.tools(deadline).await.unwrap_or_default();
            tools.iter().any(|listed| listed.name == tool)
        })
        .await;
    }
}

/// What the predecessor calls a worker's `get_status`.
fn tool_of(name: &str) -> String {
    format!("{}_get_status", name.replace('-', "_"))
}

async fn timed(link: &Arc<dyn Link>, tool: &str, arguments: Value) -> (f64, Value) {
    let begun = Instant::now();
    let answer = call(link, tool, arguments).await;
    (begun.elapsed().as_secs_f64() * 1e3, answer)
}

/// Negotiations and proxied calls at both hubs, turn by turn.
pub async fn measure(rounds: usize, report: &mut Report) {
    transport::crypto::install();
    let Some(theirs) = Hub::start().await else { return };
    let (fleet, _) = fleet(WORKERS).await;
    let (ours, their_link) = (link(&fleet.url), link(&theirs.url));
    let members = workers(&fleet).await;
    for (url, name) in &members {
        theirs.register(url, name, &their_link).await;
    }
    let (our_tool, their_tool) = (format!("{}__get_status", members[0].1), tool_of(&members[0].1));

    let mut asked = (Vec::new(), Vec::new());
    let mut called = (Vec::new(), Vec::new());
    for _ in 0..=rounds {
        let request = || json!({ "prompt": PROMPT });
        let (time, answer) = timed(&ours, "negotiate_job", request()).await;
        assert_eq!(answer["proposals"].as_object().map(serde_json::Map::len), Some(WORKERS), "{answer}");
        asked.0.push(time);
        let (time, answer) = timed(&their_link, "negotiate_job", request()).await;
        assert_eq!(answer["proposals"].as_object().map(serde_json::Map::len), Some(WORKERS), "{answer}");
        asked.1.push(time);
        for _ in 0..10 {
            called.0.push(timed(&ours, &our_tool, json!({})).await.0);
            called.1.push(timed(&their_link, &their_tool, json!({})).await.0);
        }
    }
    let clients =
        |root: &str, tool: &str| -> Vec<_> { (0..CLIENTS).map(|_| (link(root), tool.to_owned())).collect() };
    let (count, seconds) = turn(&clients(&fleet.url, &our_tool)).await;
    let our_rate = count / seconds;
    let (count, seconds) = turn(&clients(&theirs.url, &their_tool)).await;
    let their_rate = count / seconds;

    let part = "beside the predecessor's hub, 20 workers";
    let mut add = |what: &str, ours: f64, theirs: f64, unit: &'static str, times: f64| {
        report.add(part, &format!("{what}, here"), ours, unit, Target::None);
        report.add(part, &format!("{what}, there"), theirs, unit, Target::None);
        report.add(part, &format!("{what}, times better"), times, "", Target::AtLeast(1.0));
    };
    // The first round opens connections.
    let median = |times: &[f64], warm: usize| quantile(&times[warm..], 0.5);
    let (here, there) = (median(&asked.0, 1), median(&asked.1, 1));
    add("negotiation, median", here, there, "ms", there / here);
    let (here, there) = (median(&called.0, 10), median(&called.1, 10));
    add("proxied call, median", here, there, "ms", there / here);
    add("proxied calls of 16 clients", our_rate, their_rate, "/s", our_rate / their_rate);
    report.add(part, "hub ready, there", theirs.ready_ms, "ms", Target::None);
}
