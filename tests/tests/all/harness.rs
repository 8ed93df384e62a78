//! Starts the real programs and stops them whatever happens. Waiting is for a line, an exit or an
//! answer, each with a deadline; nothing sleeps for luck.

#[path = "running.rs"]
mod running;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use running::{PATIENCE, Running};

/// The join secret of every test.
pub const SECRET: &str = "a secret of the tests";

/// The path of one of our programs, next to this test binary.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test binary");
    let directory = own.parent().and_then(Path::parent).expect("target/PROFILE");
    let path = directory.join(name);
    assert!(path.exists(), "{} is missing; run cargo build --release --workspace first", path.display());
    path
}

impl Running {
    /// Starts `mcpserver` with arguments and its data under `home`.
    pub fn mcpserver(home: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program("mcpserver"));
        // What a killed program leaves behind goes with the test's own directory.
        command.args(arguments).env("HOME", home).env("TMPDIR", home);
        command.env_remove("XDG_DATA_HOME").env_remove("MCPSERVER_TOKEN");
        Self::start(&mut command)
    }
}

/// A hub with its own directory, and whatever joins it.
pub struct Fleet {
    pub home: TempDir,
    pub hub: Option<Running>,
    pub url: String,
    pub workers: Vec<Running>,
}

impl Fleet {
    /// A hub alone.
    pub fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut fleet = Self { home, hub: None, url: String::new(), workers: Vec::new() };
        fleet.start_hub("0", &[]);
        fleet
    }

    /// Starts the hub on a port, over the same directory as before.
    pub fn start_hub(&mut self, port: &str, more: &[&str]) {
        let data = self.home.path().join("hub");
        let data = data.to_string_lossy();
        let mut arguments =
            vec!["start", "--hub", "--hub-secret", SECRET, "--port", port, "--data-dir", &data];
        arguments.extend(more);
        let mut hub = Running::mcpserver(self.home.path(), &arguments);
        self.url = hub.word_after("hub listening on ");
        self.hub = Some(hub);
    }

    /// The hub's port.
    pub fn port(&self) -> String {
        self.url.rsplit(':').next().expect("a port").trim_end_matches('/').to_owned()
    }

    /// Adds simulated clusters in one process.
    pub fn simulate(&mut self, workers: usize, more: &[&str]) {
        let count = workers.to_string();
        let mut arguments =
            vec!["simulate", "--join", &self.url, "--join-secret", SECRET, "--workers", &count];
        arguments.extend(["--seed", "7", "--time-scale", "100000"]);
        arguments.extend(more);
        let running = Running::mcpserver(self.home.path(), &arguments);
        self.workers.push(running);
        self.await_workers(workers);
    }

    /// Adds one worker; simulated when `more` says so.
    pub fn worker(&mut self, id: &str, more: &[&str]) {
        self.member(id, &[&["--port", "0"], more].concat());
    }

    /// Adds one worker that is reached over its link only.
    pub fn outbound_worker(&mut self, id: &str, more: &[&str]) {
        self.member(id, &[&["--outbound"], more].concat());
    }

    fn member(&mut self, id: &str, more: &[&str]) {
        let url = self.url.clone();
        let mut arguments = vec!["start", "--join", &url, "--join-secret", SECRET, "--worker-id", id];
        arguments.extend(more);
        let mut running = Running::mcpserver(self.home.path(), &arguments);
        running.line_with("joined");
        self.workers.push(running);
    }

    /// Waits until so many workers are online with their tools.
    pub fn await_workers(&self, count: usize) {
        self.await_json("the workers", &["list", "workers"], |list| {
            let online = |worker: &&Value| worker["state"] == "online" && worker["tools"].as_u64() > Some(0);
            list.as_array().is_some_and(|workers| workers.iter().filter(online).count() >= count)
        });
    }

    /// Runs a client command until its JSON satisfies a condition.
    pub fn await_json(&self, what: &str, arguments: &[&str], done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.ask(arguments);
            let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if done(&json) {
                return json;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not come; last: {json:#} {}",
                text(&output.stderr)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a client command with `--json`.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        self.client(&[&["--json"], arguments].concat())
    }

    /// Runs a client command.
    pub fn client(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("resource-ask"));
        command.env("HOME", self.home.path()).env("RESOURCE_ASK_URL", format!("{}/mcp", self.url));
        command.env_remove("RESOURCE_ASK_TOKEN").stdin(Stdio::null()).current_dir(self.home.path());
        command.args(arguments).output().expect("resource-ask runs")
    }

    /// Runs a client command that must succeed, and reads its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {} {}", output.status, text(&output.stderr));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output.stdout)))
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
