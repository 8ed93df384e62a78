//! A worker beside a real Slurm of four nodes: requests are negotiated against it, run by `sbatch`, wait in
//! its queue, and what happened comes back.
//!
//! `tests/slurm/start.sh install` puts Slurm on the machine. Where it is missing this test is left out,
//! loudly, and fails where `CI` is set.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Fleet, Running, SECRET, program, text};

/// A running Slurm.
struct Slurm {
    root: TempDir,
    configuration: String,
}

fn script(command: &str, directory: &Path) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/start.sh");
    Command::new("bash").arg(path).arg(command).arg(directory).output().expect("bash runs")
}

impl Slurm {
    /// Starts one, unless Slurm is not installed, which is said on the terminal.
    fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("sbatch").exists()) {
            let message = "Slurm is not installed; run tests/slurm/start.sh install";
            assert!(std::env::var_os("CI").is_none(), "{message}");
            // Not eprintln!, which the test runner swallows when a test passes.
            let _ = writeln!(std::io::stderr(), "\nLEFT OUT: {message}");
            return None;
        }
        let root = tempfile::Builder::new().prefix("slurm-").tempdir().expect("a directory");
        let output = script("start", root.path());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let configuration = text(&output.stdout).trim().trim_start_matches("SLURM_CONF=").to_owned();
        Some(Self { root, configuration })
    }

    /// What one of its commands prints.
    fn ask(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(command).args(arguments).env("SLURM_CONF", &self.configuration).output();
        text(&output.expect("the command runs").stdout)
    }

    /// A worker beside it.
    fn worker(&self, fleet: &mut Fleet) {
        let (home, data) = (fleet.home.path(), fleet.home.path().join("cluster"));
        let mut command = Command::new(program("mcpserver"));
        command.args(["start", "--join", &fleet.url, "--join-secret", SECRET, "--port", "0"]);
        command.args(["--worker-id", "cluster", "--data-dir"]).arg(data);
        command.env("HOME", home).env("TMPDIR", home).env("SLURM_CONF", &self.configuration);
        command.env_remove("XDG_DATA_HOME").env_remove("MCPSERVER_TOKEN");
        let mut running = Running::start(&mut command);
        running.line_with("joined");
        fleet.workers.push(running);
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        script("stop", self.root.path());
    }
}

/// A job's id and its proposal in the answer to a negotiation.
fn awarded(answer: &Value) -> (String, &Value) {
    assert_eq!(answer["receipt"]["status"], "SUCCESS", "{answer:#}");
    assert_eq!(answer["receipt"]["worker_id"], "cluster", "{answer:#}");
    let id = answer["receipt"]["job_id"].as_str().expect("a job id").to_owned();
    (id, &answer["proposals"]["cluster"])
}

#[test]
fn a_request_is_negotiated_and_run_on_a_real_cluster() {
    let Some(slurm) = Slurm::start() else { return };
    let mut fleet = Fleet::start();
    slurm.worker(&mut fleet);
    let here = fleet.home.path().join("here");
    fleet.worker("here", &["--manager", "local", "--data-dir", &here.to_string_lossy()]);
    fleet.await_workers(2);

    // One machine has no two nodes, so the cluster wins on its merits.
    let what = ["sh", "-c", "echo on $SLURM_JOB_NUM_NODES nodes of $SLURM_JOB_PARTITION; exit 3"];
    let command =
        [&["negotiate", "run a command on 2 nodes for 5 minutes", "--yes", "--"], &what[..]].concat();
    let answer: Value = serde_json::from_slice(&fleet.ask(&command).stdout).expect("JSON");
    let (id, proposal) = awarded(&answer);
    assert_eq!(proposal["verdict"], "READY", "{proposal:#}");
    assert_eq!(answer["proposals"]["here"]["verdict"], "INCOMPATIBLE", "{answer:#}");
    let job = fleet.json(&["job", &id]);
    assert_eq!((&job["state"], &job["attempts"][0]["exit_code"]), (&"failed".into(), &3.into()), "{job:#}");
    assert!(job["observed"]["start_seconds"].as_f64() >= Some(0.0), "{job:#}");
    assert!(job["observed"]["runtime_seconds"].as_f64() >= Some(0.0), "{job:#}");
    assert_eq!(text(&fleet.client(&["logs", &id]).stdout).trim(), "on 2 nodes of short");
    // Twice the time that was stated is its limit there.
    let known = slurm.ask("squeue", &["-h", "-t", "all", "-o", "%j %T %l %D"]);
    assert_eq!(known.trim(), format!("parley-{id}.1 FAILED 10:00 2"));

    // All nodes are taken; the next one waits in the real queue.
    let long = ["negotiate", "run a command on 3 nodes", "--yes", "--no-wait", "--", "sleep", "1000"];
    let answer = fleet.json(&long);
    let (running, _) = awarded(&answer);
    fleet.await_json("the start", &["job", &running], |job| job["attempts"][0]["state"] == "running");
    let answer = fleet.json(&long);
    let (waiting, proposal) = awarded(&answer);
    assert_eq!(proposal["verdict"], "BUSY", "{proposal:#}");
    let start = proposal["promises"]["start_p50_seconds"].as_f64();
    assert!(start > Some(500.0) && start < Some(620.0), "Slurm expects it in ten minutes: {proposal:#}");
    let name = format!("parley-{waiting}.1");
    let state = || slurm.ask("squeue", &["-h", "-t", "all", "-o", "%T", "--name", &name]).trim().to_owned();
    fleet.await_json("the queue", &["job", &waiting], |_| state() == "PENDING");
    for id in [&waiting, &running] {
        assert!(fleet.ask(&["cancel", id]).status.success());
        fleet.await_json("the end", &["job", id], |job| job["state"] == "cancelled");
    }
    assert_eq!(state(), "CANCELLED");
    let job = fleet.json(&["job", &waiting]);
    assert!(job["observed"]["runtime_seconds"].is_null(), "{job:#}");
}

#[test]
fn a_slurm_that_is_asked_for_and_not_there_is_an_error() {
    let fleet = Fleet::start();
    let data = fleet.home.path().join("nowhere");
    let mut command = Command::new(program("mcpserver"));
    command.args(["start", "--join", &fleet.url, "--join-secret", SECRET, "--port", "0"]);
    command.args(["--worker-id", "nowhere", "--manager", "slurm", "--data-dir"]).arg(data);
    // Nothing of Slurm is on this search path.
    command.env("PATH", fleet.home.path()).env("HOME", fleet.home.path());
    let mut running = Running::start(&mut command);
    running.line_with("is not on the search path");
    assert_eq!(running.wait().code(), Some(78));
}
