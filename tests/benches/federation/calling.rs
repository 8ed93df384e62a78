//! Calls of one worker's tool, at the worker and through the hub, side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use serde_json::{Value, json};
use transport::connect::{Connector, Credentials, Target as Server};
use transport::link::{CallOptions, Link};

use crate::asking::fleet;
use crate::counters::together;
use crate::harness::Fleet;
use crate::report::{Report, Target, quantile};

pub const CLIENTS: usize = 16;
/// Workers whose tools are called.
const CALLED: usize = 4;
/// How long each of the turns takes.
const TURN: Duration = Duration::from_millis(1500);

/// A client of its own, with its own connections.
pub fn link(root: &str) -> Arc<dyn Link> {
    let url = if root.ends_with("/mcp") { root.to_owned() } else { format!("{root}/mcp") };
    let connector = Connector::new("parley-bench", "0", Arc::new(SystemClock)).expect("a connector");
    connector.connect(Server::new(url, Credentials::Anonymous)).expect("a link")
}

/// Calls a tool, which must succeed; its structured result.
pub async fn call(link: &Arc<dyn Link>, tool: &str, arguments: Value) -> Value {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let options = CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(30)).limit(1 << 28);
    let outcome = link.call(tool, &arguments, options).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(!outcome.is_error, "{tool}: {:?}", outcome.structured);
    outcome.structured.unwrap_or_default()
}

/// The URL and the name of some workers.
pub async fn workers(fleet: &Fleet) -> Vec<(String, String)> {
    let status = call(&link(&fleet.url), "get_fleet_status", json!({})).await;
    let members = status["workers"].as_array().expect("a list").iter();
    let member = |member: &Value| {
        let text = |key: &str| member[key].as_str().unwrap_or_else(|| panic!("{key}: {member}")).to_owned();
        (text("url"), text("name"))
    };
    members.map(member).collect()
}

/// Measures one client's calls, and those of many at once.
pub async fn measure(rounds: usize, report: &mut Report) {
    let (fleet, _) = fleet(20).await;
    let workers = workers(&fleet).await;
    one_client(&fleet, &workers, rounds, report).await;
    many_clients(&fleet, &workers, rounds, report).await;
}

async fn one_client(fleet: &Fleet, workers: &[(String, String)], rounds: usize, report: &mut Report) {
    let hub = link(&fleet.url);
    let (url, name) = &workers[0];
    let (direct, proxied) = (link(url), format!("{name}__get_status"));
    let mut times = (Vec::new(), Vec::new());
    for round in 0..rounds * 250 {
        let begun = Instant::now();
        call(&direct, "get_status", json!({})).await;
        let middle = Instant::now();
        call(&hub, &proxied, json!({})).await;
        // The first ones open connections.
        if round >= 20 {
            times.0.push((middle - begun).as_secs_f64() * 1e3);
            times.1.push(middle.elapsed().as_secs_f64() * 1e3);
        }
    }
    let (direct, proxied) = (quantile(&times.0, 0.5), quantile(&times.1, 0.5));
    let part = "a call, one client";
    report.add(part, "median at the worker", direct, "ms", Target::None);
    report.add(part, "median through the hub", proxied, "ms", Target::None);
    report.add(part, "added by the hub", proxied - direct, "ms", Target::AtMost(0.5));
    report.add(part, "95th percentile through the hub", quantile(&times.1, 0.95), "ms", Target::None);
}

async fn many_clients(fleet: &Fleet, workers: &[(String, String)], rounds: usize, report: &mut Report) {
    let hub: Vec<_> = (0..CLIENTS)
        .map(|client| (link(&fleet.url), format!("{}__get_status", workers[client % CALLED].1)))
        .collect();
    let direct: Vec<_> =
        (0..CLIENTS).map(|client| (link(&workers[client % CALLED].0), "get_status".to_owned())).collect();
    let processes = [fleet.hub.as_ref().expect("a hub"), &fleet.workers[0]];
    let mut rates = (Vec::new(), Vec::new());
    let mut spent = (0.0, 0.0);
    let mut calls = (0.0, 0.0);
    for _ in 0..rounds {
        let before = together(&processes);
        let (count, seconds) = turn(&direct).await;
        let between = together(&processes);
        rates.0.push(count / seconds);
        calls.0 += count;
        spent.0 += between - before;
        let (count, seconds) = turn(&hub).await;
        rates.1.push(count / seconds);
        calls.1 += count;
        spent.1 += together(&processes) - between;
    }
    let (direct, proxied) = (quantile(&rates.0, 0.5), quantile(&rates.1, 0.5));
    let last = rates.1.last().copied().unwrap_or(f64::NAN) / rates.1[0];
    let part = "calls, 16 clients";
    report.add(part, "at the worker", direct, "/s", Target::None);
    report.add(part, "through the hub", proxied, "/s", Target::AtLeast(2500.0));
    report.add(part, "ratio", proxied / direct, "", Target::AtLeast(0.4));
    report.add(part, "last turn to first turn, through the hub", last, "", Target::None);
    report.add(part, "processor time, direct", spent.0 / calls.0 * 1e6, "us", Target::None);
    report.add(part, "processor time, through the hub", spent.1 / calls.1 * 1e6, "us", Target::None);
}

/// All clients call for a while; how many calls in how many seconds.
pub async fn turn(clients: &[(Arc<dyn Link>, String)]) -> (f64, f64) {
    let begun = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for (link, tool) in clients {
        let (link, tool) = (link.clone(), tool.clone());
        lanes.spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < TURN {
                call(&link, &tool, Value::Null).await;
                count += 1;
            }
            count
        });
    }
    let count: u32 = lanes.join_all().await.into_iter().sum();
    (f64::from(count), begun.elapsed().as_secs_f64())
}
