//! Negotiations: one client, a fleet of simulated clusters with the rules secretary, real MCP all the way.

use std::time::Instant;

use serde_json::{Value, json};

use crate::calling::{call, link};
use crate::counters::{Commits, memory_mib, processor_seconds, until};
use crate::harness::{Fleet, Running, SECRET};
use crate::report::{Report, Target, quantile};

/// What is asked for: software, size and intent, so that everything of a proposal is needed.
pub const PROMPT: &str = "run lammps on 2 nodes with 8 cores per node, cheapest";

/// After this time the hub's memory is what it needs for its fleet, and not for its last answer.
const REST: std::time::Duration = std::time::Duration::from_secs(10);

/// A hub, and simulated workers whose tools are all there.
pub async fn fleet(workers: usize) -> (Fleet, f64) {
    let mut fleet = Fleet::start();
    let count = workers.to_string();
    let home = fleet.home.path().to_owned();
    let begun = Instant::now();
    let arguments = ["simulate", "--join", &fleet.url, "--join-secret", SECRET, "--workers", &count];
    fleet.workers.push(Running::mcpserver(&home, &[&arguments[..], &["--seed", "7"]].concat()));
    let hub = link(&fleet.url);
    until("every worker's tools", async || {
        let status = call(&hub, "get_fleet_status", json!({})).await;
        let members = status["workers"].as_array().map_or(&[][..], Vec::as_slice);
        members.iter().filter(|member| member["tools"].as_u64() > Some(0)).count() == workers
    })
    .await;
    (fleet, begun.elapsed().as_secs_f64())
}

/// Negotiates again and again.
pub async fn measure(workers: usize, rounds: usize, report: &mut Report) {
    let part = format!("negotiate with {workers} workers");
    let (fleet, joined) = fleet(workers).await;
    let hub = fleet.hub.as_ref().expect("a hub").id();
    let simulation = fleet.workers[0].id();
    let joined_memory = memory_mib(hub);
    let client = link(&fleet.url);
    let ask = async || {
        let begun = Instant::now();
        let answer = call(&client, "negotiate_job", json!({ "prompt": PROMPT })).await;
        (begun.elapsed().as_secs_f64() * 1e3, answer)
    };
    for _ in 0..2 {
        check(&ask().await.1, workers);
    }
    let commits = Commits::of(&fleet.url).await;
    let before = [hub, simulation, std::process::id()].map(processor_seconds);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (time, answer) = ask().await;
        check(&answer, workers);
        times.push(time);
    }
    let after = [hub, simulation, std::process::id()].map(processor_seconds);
    let now = Commits::of(&fleet.url).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of rounds")]
    let each = 1e3 / rounds as f64;
    let (most, per_round) = match workers {
        0..=20 => (10.0, (now.count - commits.count) * each / 1e3),
        21..=100 => (40.0, (now.count - commits.count) * each / 1e3),
        _ => (400.0, (now.count - commits.count) * each / 1e3),
    };
    let median = quantile(&times, 0.5);
    report.add(&part, "median", median, "ms", Target::AtMost(most));
    report.add(&part, "95th percentile", quantile(&times, 0.95), "ms", Target::None);
    report.add(&part, "of it in commits", (now.seconds - commits.seconds) * each, "ms", Target::None);
    report.add(&part, "commits", per_round, "", Target::AtMost(2.0));
    for (name, before, after) in
        [("hub", before[0], after[0]), ("workers", before[1], after[1]), ("client", before[2], after[2])]
    {
        report.add(&part, &format!("processor time, {name}"), (after - before) * each, "ms", Target::None);
    }
    report.add(&part, "all joined, with their tools", joined, "s", Target::None);
    let most = if workers == 1000 { Target::AtMost(150.0) } else { Target::None };
    report.add(&part, "memory of the hub, all joined", joined_memory, "MiB", most);
    // What the allocator keeps for the next answer is in it.
    report.add(&part, "memory of the hub, right after", memory_mib(hub), "MiB", Target::None);
    if workers == 1000 {
        tokio::time::sleep(REST).await;
        report.add(&part, "memory of the hub, 10 s later", memory_mib(hub), "MiB", most);
    }
}

/// Everybody is accounted for and somebody was chosen.
fn check(answer: &Value, workers: usize) {
    let size = |key: &str| answer[key].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(size("proposals") + size("excluded"), workers, "{answer}");
    let missing = answer["proposals"].as_object().expect("proposals").values();
    let missing: Vec<&Value> = missing.filter(|reply| reply.get("outcome").is_some()).collect();
    assert!(missing.is_empty(), "some workers did not answer: {missing:?}");
    assert!(answer["selection"]["worker_id"].is_string(), "nobody was chosen");
}
