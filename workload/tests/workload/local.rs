//! What is special to this machine as a workload manager: process groups, limits, shutdown.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::units::GiB;
use workload::error::WorkloadError;
use workload::local::{LocalMachine, LocalOptions};
use workload::read::{ReadSide, RunState};
use workload::submit::SubmitSide;

use crate::setting::{Setting, log_of, processes_of, seconds, status_of, wait_for, wait_for_text};
use crate::suite;

#[tokio::test]
async fn the_suite() {
    let setting = Setting::new();
    let differences = suite::Differences { finds_programs: true, resolution_seconds: 0.0, plans_ahead: true };
    suite::every_manager(&setting.open(), &setting, differences).await;
}

#[tokio::test]
async fn a_time_limit_takes_grandchildren_and_daemons_along() {
    let setting = Setting::new();
    let machine = setting.open();
    let mut request = setting.script(
        "family",
        "sleep 300 & (sleep 301 &) ; setsid sleep 302 & trap '' TERM; echo ready; while :; do sleep 0.05; done",
    );
    request.time_limit = seconds(0.5);
    let job = machine.submit(request).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), "ready").await;
    assert!(processes_of("family").len() >= 4);
    let status = wait_for(&machine, &job, RunState::TimedOut).await;
    assert_eq!(status.accounting.exit_code, Some(137), "SIGTERM was ignored, so SIGKILL came");
    assert_eq!(processes_of("family"), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_job_leaves_behind_goes_with_it() {
    let setting = Setting::new();
    let machine = setting.open();
    let script = "setsid sleep 300 & sleep 300 & echo left";
    let job = machine.submit(setting.script("leftovers", script)).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    assert_eq!(processes_of("leftovers"), Vec::<String>::new());
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_told() {
    let setting = Setting::new();
    let options = LocalOptions { log_limit_bytes: 100_000, ..setting.options() };
    let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
    let job = machine
        .submit(setting.script("flood", "echo first; head -c 300000000 /dev/zero | tr '\\0' x; echo last"))
        .await
        .unwrap();
    let status = wait_for(&machine, &job, RunState::Completed).await;
    assert!(status.log_dropped_bytes > 200_000_000, "{}", status.log_dropped_bytes);
    let log = log_of(&machine, &job).await;
    assert!(log.starts_with("first\nxxx") && log.ends_with("more were dropped]\n"), "{}", log.len());
    assert!(log.len() < 100_200, "{}", log.len());
    let short = machine.submit(setting.script("short", "echo all of it")).await.unwrap();
    assert_eq!(wait_for(&machine, &short, RunState::Completed).await.log_dropped_bytes, 0);
}

#[tokio::test]
async fn memory_is_measured_and_limited() {
    let setting = Setting::new();
    let machine = setting.open();
    let large = "dd if=/dev/zero of=/dev/null bs=200M count=3 2>/dev/null";
    let job = machine.submit(setting.script("measured", large)).await.unwrap();
    let peak = wait_for(&machine, &job, RunState::Completed).await.accounting.peak_memory_gib.unwrap().get();
    assert!((0.19..0.30).contains(&peak), "{peak}");
    // `tail` keeps a line that does not end.
    let mut request = setting.script("greedy", "head -c 700000000 /dev/zero | tail -n 1 | wc -c; sleep 300");
    request.memory_limit = Some(GiB::saturating(0.1));
    let job = machine.submit(request).await.unwrap();
    let status = wait_for(&machine, &job, RunState::Failed).await;
    assert!(status.error.unwrap().message.contains("more than its memory of 0.1 GiB"));
}

#[tokio::test]
async fn a_whole_node_is_everything() {
    let setting = Setting::new();
    let machine = setting.open();
    let mut whole = setting.script("whole", "sleep 300");
    whole.allocation = Allocation { nodes: 1, cores: 0, gpus: 0 };
    let whole = machine.submit(whole).await.unwrap();
    wait_for(&machine, &whole, RunState::Running).await;
    let capacity = machine.capacity().await.unwrap();
    assert_eq!((capacity.free.cores, capacity.free.gpus, capacity.free.memory_gib), (0, 0, Some(GiB::ZERO)));
    assert_eq!(machine.estimated_start(&Allocation::default()).await.unwrap(), None, "nobody knows");
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let setting = Setting::new();
    let options = LocalOptions { queue_limit: 1, ..setting.options() };
    let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
    let mut taken = Vec::new();
    for index in 0..3 {
        let job = machine.submit(setting.script(&format!("queue-{index}"), "sleep 300")).await.unwrap();
        if index < 2 {
            wait_for(&machine, &job, RunState::Running).await;
        }
        taken.push(job);
    }
    let refused = machine.submit(setting.script("queue-3", "sleep 300")).await.unwrap_err();
    assert!(matches!(refused, WorkloadError::QueueFull { length: 1 }), "{refused}");
    assert!(!machine.capacity().await.unwrap().accepting);
}

#[tokio::test]
async fn programs_are_not_read_by_a_shell() {
    let setting = Setting::new();
    let machine = setting.open();
    let words = ["printf", "%s\\n", "$HOME; echo `id`", "a  b", "'", "-n", ""];
    let job = machine.submit(setting.request("words", &words)).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    assert_eq!(log_of(&machine, &job).await, "$HOME; echo `id`\na  b\n'\n-n\n\n");
    // A shell's own words are not programs.
    let error = machine.submit(setting.request("builtin", &["exit", "0"])).await.unwrap_err();
    assert!(matches!(error, WorkloadError::ProgramNotFound { .. }), "{error}");
    // A program in the job's own directory is found by its relative path.
    let mut own = setting.request("own", &["./run.sh"]);
    let path = own.directory.join("run.sh");
    std::fs::write(&path, "#!/bin/sh\necho mine\n").unwrap();
    assert!(matches!(machine.dry_run(&own).await, Err(WorkloadError::ProgramNotFound { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    own.argv.push("argument".to_owned());
    let job = machine.submit(own).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    assert_eq!(log_of(&machine, &job).await, "mine\n");
}

#[tokio::test]
async fn a_link_in_place_of_the_log_is_not_followed() {
    let setting = Setting::new();
    let machine = setting.open();
    let request = setting.request("link", &["echo", "overwritten"]);
    let target = setting.root().join("precious");
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, request.directory.join("output.log")).unwrap();
    let job = machine.submit(request).await.unwrap();
    let status = wait_for(&machine, &job, RunState::Failed).await;
    assert!(status.error.unwrap().message.contains("output.log"));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(machine.capacity().await.unwrap().running, 0);
}

#[tokio::test]
async fn shutdown_cancels_everything_and_takes_no_more() {
    let setting = Setting::new();
    let machine = setting.open();
    let stubborn = machine
        .submit(setting.script("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
        .await
        .unwrap();
    wait_for_text(&machine.log_path(&stubborn).await.unwrap(), "ready").await;
    for index in 0..3 {
        machine.submit(setting.script(&format!("other-{index}"), "sleep 300")).await.unwrap();
    }
    let start = Instant::now();
    machine.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(5));
    for job in ["stubborn", "other-0", "other-1", "other-2"] {
        assert_eq!(processes_of(job), Vec::<String>::new());
    }
    let refused = machine.submit(setting.script("late", "true")).await.unwrap_err();
    assert!(matches!(refused, WorkloadError::ShuttingDown), "{refused}");
    // The next agent knows how they ended.
    let machine = setting.open();
    assert_eq!(status_of(&machine, &stubborn).await.state(), RunState::Cancelled);
}

#[tokio::test]
async fn dropping_the_machine_leaves_nothing_running() {
    let setting = Setting::new();
    let machine = setting.open();
    let job = machine.submit(setting.script("dropped", "sleep 300")).await.unwrap();
    wait_for(&machine, &job, RunState::Running).await;
    drop(machine);
    assert_eq!(processes_of("dropped"), Vec::<String>::new());
}

#[tokio::test]
async fn a_state_directory_has_one_agent() {
    let setting = Setting::new();
    let first = setting.open();
    let second = LocalMachine::open(setting.options(), Arc::new(SystemClock)).unwrap_err();
    assert!(matches!(second, WorkloadError::InUse(_)), "{second}");
    drop(first);
    setting.open();
}

#[tokio::test]
async fn a_secretary_gets_the_read_side_only() {
    let setting = Setting::new();
    let submit: Arc<dyn SubmitSide> = Arc::new(setting.open());
    let read: Arc<dyn ReadSide> = submit;
    assert_eq!(read.manager(), "machine");
    assert_eq!(read.capacity().await.unwrap().total.cores, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_short_jobs_all_end() {
    let setting = Setting::new();
    let options = LocalOptions {
        slots: workload::read::Slots { cores: 16, memory_gib: Some(GiB::from(1)), gpus: 0 },
        ..setting.options()
    };
    let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
    let mut jobs = Vec::new();
    for index in 0..100 {
        let code = (index % 3).to_string();
        let request = setting.script(&format!("many-{index}"), &format!("exit {code}"));
        jobs.push((machine.submit(request).await.unwrap(), index % 3));
    }
    for (job, code) in jobs {
        let state = if code == 0 { RunState::Completed } else { RunState::Failed };
        assert_eq!(wait_for(&machine, &job, state).await.accounting.exit_code, Some(code));
    }
    assert_eq!(std::fs::read_dir(setting.state().join("exits")).unwrap().count(), 0);
}
