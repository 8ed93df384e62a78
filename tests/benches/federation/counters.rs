//! What the kernel counts for a process, and what a hub counts of its store.

use std::time::Duration;

use crate::harness::Running;

/// Processor seconds that a process has used, its ended children not included.
pub fn processor_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name, in brackets, may hold anything; user and system time are fields 14 and 15.
    let fields: Vec<&str> =
        stat.rsplit(')').next().expect("fields after the name").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    // USER_HZ, which Linux has fixed at 100 on all common processors.
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    let seconds = ticks as f64 / 100.0;
    seconds
}

/// Memory of a process that is in use, in MiB.
pub fn memory_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// The machine's load over the last minute.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Commits of a hub's store and the seconds that they took.
#[derive(Debug, Clone, Copy)]
pub struct Commits {
    pub count: f64,
    pub seconds: f64,
}

impl Commits {
    pub async fn of(hub: &str) -> Self {
        let text = reqwest::get(format!("{hub}/metrics")).await.expect("the hub's metrics");
        let text = text.text().await.expect("text");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("the counter");
            line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
        };
        Self {
            count: value("parley_store_commits_total"),
            seconds: value("parley_store_commit_seconds_total"),
        }
    }
}

/// Waits until something is so; gives up loudly.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE * 4;
    while !so().await {
        assert!(std::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The processor seconds of several processes together.
pub fn together(processes: &[&Running]) -> f64 {
    processes.iter().map(|process| processor_seconds(process.id())).sum()
}
