//! A crash of the agent: the agent here is a process of its own, which is killed with SIGKILL, and
//! this process takes over its state directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use workload::local::{LocalMachine, LocalOptions};
use workload::read::{NativeId, ReadSide as _, RunState};
use workload::submit::{SubmitRequest, SubmitSide as _};

use crate::local_cgroups::{cgroups_of, has_cgroups};
use crate::setting::{
    Setting, log_of, processes_of, request_in, seconds, status_of, wait_for, wait_for_text,
};

const STATE: &str = "PARLEY_TEST_AGENT_STATE";
const ROOT: &str = "PARLEY_TEST_AGENT_ROOT";

/// Every job says in a file of its own that it was started, so that a second start would show.
/// Its name holds the test's own directory, as what belongs to a job is found by the job's name.
fn jobs(root: &Path) -> Vec<SubmitRequest> {
    let script = |job: &str, script: &str| {
        request_in(root, &name(root, job), &["sh", "-c", &format!("echo start >> starts; {script}")])
    };
    let mut limited = script("limited", "echo up; sleep 300");
    limited.time_limit = seconds(2.0);
    vec![
        // Ends with its own code after the crash; two cores are taken, so the rest waits in this order.
        script("survivor", "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 3"),
        limited,
        script("waiting", "echo late"),
    ]
}

/// Not a test of its own: the agent that is killed.
#[tokio::test]
#[ignore = "started by the tests of this file as a process of its own"]
async fn agent() {
    let (Some(state), Some(root)) = (std::env::var_os(STATE), std::env::var_os(ROOT)) else { return };
    let setting = Setting::new();
    let options = LocalOptions { state_directory: PathBuf::from(state), ..setting.options() };
    let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
    for request in jobs(Path::new(&root)) {
        machine.submit(request).await.unwrap();
    }
    println!("agent is ready");
    std::future::pending::<()>().await;
}

fn start_agent(setting: &Setting) -> Child {
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adoption::agent", "--ignored", "--nocapture"])
        .env(STATE, setting.state())
        .env(ROOT, setting.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(agent.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains("agent is ready")));
    agent
}

fn name(root: &Path, job: &str) -> String {
    let directory = root.file_name().unwrap().to_string_lossy();
    format!("{job}-{}", directory.trim_start_matches('.'))
}

fn id(setting: &Setting, job: &str) -> NativeId {
    NativeId(format!("{}.1", name(setting.root(), job)))
}

fn file(setting: &Setting, job: &str, file: &str) -> PathBuf {
    setting.root().join("jobs").join(name(setting.root(), job)).join(file)
}

fn processes(setting: &Setting, job: &str) -> Vec<String> {
    processes_of(&name(setting.root(), job))
}

async fn wait_until_gone(setting: &Setting, job: &str) {
    let start = Instant::now();
    while !processes(setting, job).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?} still run", processes(setting, job));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn starts(setting: &Setting, job: &str) -> usize {
    std::fs::read_to_string(file(setting, job, "starts")).map_or(0, |text| text.lines().count())
}

async fn crash(setting: &Setting) {
    let mut agent = start_agent(setting);
    wait_for_text(&file(setting, "survivor", "output.log"), "before").await;
    wait_for_text(&file(setting, "limited", "output.log"), "up").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn what_runs_is_adopted_and_what_waits_runs_once() {
    let setting = Setting::new();
    crash(&setting).await;
    let before = processes(&setting, "survivor");
    assert!(!before.is_empty(), "the job outlives its agent");

    let machine = setting.open();
    assert_eq!(status_of(&machine, &id(&setting, "survivor")).await.state(), RunState::Running);
    assert_eq!(status_of(&machine, &id(&setting, "waiting")).await.state(), RunState::Queued);
    assert_eq!(machine.capacity().await.unwrap().free.cores, 0);
    // The same submission again, as a worker makes it when it is not sure, changes nothing.
    for request in jobs(setting.root()) {
        machine.submit(request).await.unwrap();
    }
    // The limit goes on counting from the start of the job, not of this agent.
    wait_for(&machine, &id(&setting, "limited"), RunState::TimedOut).await;
    wait_for(&machine, &id(&setting, "waiting"), RunState::Completed).await;
    std::fs::write(file(&setting, "survivor", "go"), "").unwrap();
    let status = wait_for(&machine, &id(&setting, "survivor"), RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(3), "the exit code is on record");
    assert_eq!(log_of(&machine, &id(&setting, "survivor")).await, "before\nafter\n");
    for job in ["survivor", "limited", "waiting"] {
        assert_eq!(starts(&setting, job), 1, "{job}");
        assert_eq!(processes(&setting, job), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_ended_while_nobody_watched_has_its_exit_code() {
    let setting = Setting::new();
    crash(&setting).await;
    std::fs::write(file(&setting, "survivor", "go"), "").unwrap();
    wait_until_gone(&setting, "survivor").await;
    let machine = setting.open();
    let status = status_of(&machine, &id(&setting, "survivor")).await;
    assert_eq!((status.state(), status.accounting.exit_code), (RunState::Failed, Some(3)));
    machine.shutdown().await;
}

#[tokio::test]
async fn what_vanished_without_a_trace_is_unknown_and_not_run_again() {
    let setting = Setting::new();
    crash(&setting).await;
    for pid in processes(&setting, "survivor") {
        Command::new("kill").args(["-9", &pid]).stderr(Stdio::null()).status().unwrap();
    }
    wait_until_gone(&setting, "survivor").await;
    for _ in 0..2 {
        let machine = setting.open();
        let status = status_of(&machine, &id(&setting, "survivor")).await;
        assert_eq!((status.state(), status.accounting.exit_code), (RunState::Unknown, None));
        assert!(status.error.unwrap().message.contains("left no exit code"));
        machine.submit(jobs(setting.root()).remove(0)).await.unwrap();
        machine.detach().await;
    }
    assert_eq!(starts(&setting, "survivor"), 1);
    setting.open().shutdown().await;
}

#[tokio::test]
async fn an_adopted_job_can_be_cancelled() {
    let setting = Setting::new();
    crash(&setting).await;
    let machine = setting.open();
    let cgroups = cgroups_of(&processes(&setting, "survivor")[0]);
    machine.cancel(&id(&setting, "survivor")).await.unwrap();
    wait_for(&machine, &id(&setting, "survivor"), RunState::Cancelled).await;
    assert_eq!(processes(&setting, "survivor"), Vec::<String>::new());
    assert!(!cgroups.is_empty() || !has_cgroups(&machine), "it has cgroups that the earlier agent made");
    // Shutting down waits for the last of it.
    machine.shutdown().await;
    assert_eq!(cgroups.iter().filter(|path| path.exists()).count(), 0, "{cgroups:?}");
}

/// Cuts the journal behind each of its lines, as crashes at all moments would, and takes over each time.
#[tokio::test]
async fn a_crash_after_any_step_starts_nothing_twice() {
    let setting = Setting::new();
    let machine = setting.open();
    let request = setting.script(&name(setting.root(), "stepwise"), "echo start >> starts");
    let job = machine.submit(request).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    machine.detach().await;
    let journal = setting.state().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let steps = ["received", "starting", "started", "ended"];
    assert_eq!(lines.len(), steps.len(), "{text}");
    for (index, step) in steps.into_iter().enumerate().skip(1) {
        std::fs::write(&journal, format!("{}\n", lines[..=index].join("\n"))).unwrap();
        let machine = setting.open();
        let wanted = if step == "ended" { RunState::Completed } else { RunState::Unknown };
        assert_eq!(status_of(&machine, &job).await.state(), wanted, "after {step}");
        machine.detach().await;
        assert_eq!(starts(&setting, "stepwise"), 1, "after {step}");
    }
    // Only a job that was never about to start is started.
    std::fs::write(&journal, format!("{}\n", lines[0])).unwrap();
    let machine = setting.open();
    wait_for(&machine, &job, RunState::Completed).await;
    assert_eq!(starts(&setting, "stepwise"), 2);
}
