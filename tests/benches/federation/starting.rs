//! From the start of a process until it is of use.

use std::time::Instant;

use serde_json::json;

use crate::calling::{call, link};
use crate::counters::{memory_mib, until};
use crate::harness::{Fleet, Running, SECRET};
use crate::report::{Report, Target, quantile};

const ROUNDS: usize = 5;

pub async fn measure(report: &mut Report) {
    let mut times = (Vec::new(), Vec::new());
    let mut memory = 0.0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let fleet = Fleet::start();
        times.0.push(begun.elapsed().as_secs_f64() * 1e3);
        memory = memory_mib(fleet.hub.as_ref().expect("a hub").id());
        let hub = link(&fleet.url);
        call(&hub, "get_fleet_status", json!({})).await;
        let name = format!("late-{round}");
        let begun = Instant::now();
        let arguments = ["start", "--join", &fleet.url, "--join-secret", SECRET, "--port", "0"];
        let more = ["--worker-id", name.as_str(), "--mock", "hpc"];
        let _worker = Running::mcpserver(fleet.home.path(), &[&arguments[..], &more].concat());
        until("the worker's tools", async || {
            let status = call(&hub, "get_fleet_status", json!({})).await;
            status["workers"][0]["tools"].as_u64() > Some(0)
        })
        .await;
        times.1.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let part = "start";
    report.add(part, "hub ready, median", quantile(&times.0, 0.5), "ms", Target::AtMost(100.0));
    let tools = quantile(&times.1, 0.5);
    report.add(part, "a worker's tools at the hub, median", tools, "ms", Target::AtMost(300.0));
    report.add(part, "memory of an idle hub", memory, "MiB", Target::None);
}
