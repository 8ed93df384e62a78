//! What a job cannot get away with on this machine. Where jobs have cgroups, the kernel holds the limits;
//! elsewhere what sampling and process groups can do is asserted instead, and the test says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use protocol::units::GiB;
use workload::local::{Containment, LocalMachine, LocalOptions};
use workload::read::RunState;
use workload::submit::{SubmitRequest, SubmitSide as _};

use crate::setting::{Setting, log_of, processes_of, seconds, status_of, wait_for, wait_for_text};

/// 200 MB, which the jobs here may have, and a program that takes ten times as much: `tail` keeps a line
/// that does not end. What is behind it would go on if only that program were ended.
const LIMIT_BYTES: f64 = 200e6;
const GREEDY: &str = "head -c 2000000000 /dev/zero | tail -n 1 | wc -c; sleep 300";

fn limit() -> GiB {
    GiB::saturating(LIMIT_BYTES / 1_073_741_824.0)
}

/// Whether jobs have cgroups; if not, says why.
pub fn has_cgroups(machine: &LocalMachine) -> bool {
    match machine.containment() {
        Containment::ProcessGroup { reason } => {
            eprintln!("jobs have no cgroups here, so what holds without them is tested: {reason}");
            false
        }
        _ => true,
    }
}

/// The directories of the cgroups of a process that were made for a job.
pub fn cgroups_of(pid: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let names: Vec<&str> = text.lines().filter_map(|line| line.rsplit('/').next()).collect();
    let ours = |path: &Path| path.file_name().is_some_and(|name| names.iter().any(|other| name == *other));
    let mut found = Vec::new();
    let mut next = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = next.pop() {
        let below = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        next.extend(
            below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
        let of_job = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with("parley-"));
        if of_job && ours(&directory) {
            found.push(directory);
        }
    }
    found
}

fn gone(paths: &[PathBuf]) -> bool {
    paths.iter().all(|path| !path.exists())
}

/// Whether a process is there and more than a zombie.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A job that leaves a process behind in a session of its own, without parent and environment, and then
/// does what `then` says. The process writes its number to the file `free`.
fn with_runaway(setting: &Setting, job: &str, then: &str) -> SubmitRequest {
    let runaway = "(setsid env -i /bin/sh -c 'echo $$ >free.new; mv free.new free; exec sleep 300' &)";
    setting.script(job, &format!("{runaway}; while [ ! -e free ]; do sleep 0.02; done; echo ready; {then}"))
}

/// The runaway of a job that is over: gone with the job, or else ended here.
fn end_of_runaway(setting: &Setting, machine: &LocalMachine, job: &str) {
    let pid = std::fs::read_to_string(setting.root().join("jobs").join(job).join("free")).unwrap();
    if has_cgroups(machine) {
        assert!(!runs(pid.trim()), "a process of {job} is left");
    } else {
        assert!(runs(pid.trim()), "nobody can find it without a cgroup");
        std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    }
}

#[tokio::test]
async fn a_job_that_takes_more_than_its_memory_ends_alone() {
    let setting = Setting::new();
    let machine = setting.open();
    let neighbour =
        setting.script("neighbour-of-greedy", "echo up; while [ ! -e go ]; do sleep 0.02; done; echo done");
    let go = neighbour.directory.join("go");
    let neighbour = machine.submit(neighbour).await.unwrap();
    wait_for_text(&machine.log_path(&neighbour).await.unwrap(), "up").await;
    let mut greedy = setting.script("greedy-alone", GREEDY);
    greedy.memory_limit = Some(limit());
    let greedy = machine.submit(greedy).await.unwrap();
    let status = wait_for(&machine, &greedy, RunState::Failed).await;
    let error = status.error.unwrap();
    assert_eq!(error.code, ErrorCode::JobFailed);
    assert!(error.message.contains("more than its memory of"), "{}", error.message);
    let peak = status.accounting.peak_memory_gib.unwrap().get();
    assert!(peak > 0.05, "{peak}");
    if has_cgroups(&machine) {
        assert!(peak <= limit().get(), "{peak} was held");
    }
    assert_eq!(processes_of("greedy-alone"), Vec::<String>::new());
    assert_eq!(status_of(&machine, &neighbour).await.state(), RunState::Running);
    std::fs::write(go, "").unwrap();
    wait_for(&machine, &neighbour, RunState::Completed).await;
    assert_eq!(log_of(&machine, &neighbour).await, "up\ndone\n");
}

#[tokio::test]
async fn the_memory_of_an_adopted_job_is_held_too() {
    let setting = Setting::new();
    let machine = setting.open();
    let mut request = setting
        .script("greedy-adopted", &format!("echo up; while [ ! -e go ]; do sleep 0.02; done; {GREEDY}"));
    request.memory_limit = Some(limit());
    let go = request.directory.join("go");
    let job = machine.submit(request).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), "up").await;
    machine.detach().await;
    let machine = setting.open();
    std::fs::write(go, "").unwrap();
    let status = wait_for(&machine, &job, RunState::Failed).await;
    assert!(status.error.unwrap().message.contains("more than its memory of"));
    assert_eq!(processes_of("greedy-adopted"), Vec::<String>::new());
}

#[tokio::test]
async fn memory_that_ran_out_while_nobody_watched_is_told() {
    let setting = Setting::new();
    let machine = setting.open();
    // The job itself is content: only the kernel knows.
    let script = "echo up; while [ ! -e go ]; do sleep 0.02; done; head -c 2000000000 /dev/zero | tail -n 1 | wc -c; exit 0";
    let mut request = setting.script("greedy-unwatched", script);
    request.memory_limit = Some(limit());
    let go = request.directory.join("go");
    let job = machine.submit(request).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), "up").await;
    let contained = has_cgroups(&machine);
    machine.detach().await;
    std::fs::write(go, "").unwrap();
    let start = Instant::now();
    while !processes_of("greedy-unwatched").is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let machine = setting.open();
    let status = status_of(&machine, &job).await;
    if contained {
        assert_eq!(status.state(), RunState::Failed);
        assert!(status.error.unwrap().message.contains("more than its memory of"));
    } else {
        assert_eq!(status.state(), RunState::Completed, "nobody held it");
    }
}

#[tokio::test]
async fn what_left_its_group_and_its_environment_goes_with_the_job() {
    let setting = Setting::new();
    let machine = setting.open();
    let cancelled = machine.submit(with_runaway(&setting, "runaway-cancelled", "sleep 300")).await.unwrap();
    wait_for_text(&machine.log_path(&cancelled).await.unwrap(), "ready").await;
    machine.cancel(&cancelled).await.unwrap();
    wait_for(&machine, &cancelled, RunState::Cancelled).await;
    end_of_runaway(&setting, &machine, "runaway-cancelled");

    let mut request = with_runaway(&setting, "runaway-limited", "trap '' TERM; while :; do sleep 0.05; done");
    request.time_limit = seconds(1.5);
    let limited = machine.submit(request).await.unwrap();
    wait_for(&machine, &limited, RunState::TimedOut).await;
    end_of_runaway(&setting, &machine, "runaway-limited");

    let ended = machine.submit(with_runaway(&setting, "runaway-ended", "exit 0")).await.unwrap();
    wait_for(&machine, &ended, RunState::Completed).await;
    end_of_runaway(&setting, &machine, "runaway-ended");
}

#[tokio::test]
async fn a_flood_of_processes_is_held() {
    let setting = Setting::new();
    let options = LocalOptions { process_limit: 12, ..setting.options() };
    let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
    let script = "i=0; while [ $i -lt 40 ]; do sleep 300 & i=$((i + 1)); done; echo all";
    let job = machine.submit(setting.script("fork-bomb", script)).await.unwrap();
    if has_cgroups(&machine) && machine.containment().to_string().contains("pids") {
        wait_for(&machine, &job, RunState::Failed).await;
        assert!(log_of(&machine, &job).await.to_lowercase().contains("fork"));
    } else {
        wait_for(&machine, &job, RunState::Completed).await;
    }
    assert_eq!(processes_of("fork-bomb"), Vec::<String>::new());
}

#[tokio::test]
async fn a_job_is_in_its_cgroup_from_its_first_moment_and_the_cgroup_goes_with_it() {
    let setting = Setting::new();
    let machine = setting.open();
    let mut request =
        setting.request("cgroup-member", &["sh", "-c", "cat /proc/self/cgroup; echo read; sleep 300"]);
    request.memory_limit = Some(limit());
    let job = machine.submit(request).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), "read").await;
    let at_first = log_of(&machine, &job).await;
    let now: Vec<Vec<PathBuf>> = processes_of("cgroup-member").iter().map(|pid| cgroups_of(pid)).collect();
    let cgroups = now.concat();
    if has_cgroups(&machine) {
        assert!(at_first.contains("-cgroup-member.1\n"), "{at_first}");
        let of_memory =
            |name: &str| cgroups.iter().find_map(|path| std::fs::read_to_string(path.join(name)).ok());
        let held = of_memory("memory.max").or_else(|| of_memory("memory.limit_in_bytes")).unwrap();
        // The kernel counts in pages.
        let held: f64 = held.trim().parse().unwrap();
        assert!((LIMIT_BYTES - 65_536.0..=LIMIT_BYTES).contains(&held), "{held}");
        if machine.containment().to_string().contains("cpu") {
            let share = of_memory("cpu.max").or_else(|| of_memory("cpu.cfs_quota_us")).unwrap();
            assert!(share.starts_with("100000"), "one core: {share}");
        }
    } else {
        assert_eq!(cgroups, Vec::<PathBuf>::new());
    }
    machine.cancel(&job).await.unwrap();
    wait_for(&machine, &job, RunState::Cancelled).await;
    machine.shutdown().await;
    assert!(gone(&cgroups), "{cgroups:?}");
}

#[tokio::test]
async fn empty_cgroups_of_this_worker_are_removed_at_start_and_no_others() {
    let setting = Setting::new();
    let machine = setting.open();
    let job = machine.submit(setting.script("beside-strays", "echo up; sleep 300")).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), "up").await;
    let cgroups = cgroups_of(&processes_of("beside-strays")[0]);
    let contained = has_cgroups(&machine);
    machine.detach().await;
    let beside = |path: &PathBuf, name: &str| path.with_file_name(name);
    let own_name = cgroups.first().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let stray_name = own_name.unwrap_or_default().replace("beside-strays.1", "stray.1");
    // A worker on another state directory, which began a job and did not come to put it there.
    let foreign_name = format!("parley-0123456789ab-{}.1", std::process::id());
    let strays: Vec<PathBuf> = cgroups.iter().map(|path| beside(path, &stray_name)).collect();
    let foreign: Vec<PathBuf> = cgroups.iter().map(|path| beside(path, &foreign_name)).collect();
    for path in strays.iter().chain(&foreign) {
        std::fs::create_dir(path).unwrap();
    }
    let machine = setting.open();
    let foreign_stays = foreign.iter().all(|path| path.exists());
    for path in &foreign {
        std::fs::remove_dir(path).unwrap();
    }
    assert!(gone(&strays) && foreign_stays, "{strays:?} {foreign:?}");
    assert!(cgroups.iter().all(|path| path.exists()) && cgroups.is_empty() != contained);
    assert_eq!(status_of(&machine, &job).await.state(), RunState::Running);
    machine.shutdown().await;
    assert!(gone(&cgroups), "{cgroups:?}");
}

#[tokio::test]
async fn without_cgroups_jobs_run_and_it_is_told_why() {
    let setting = Setting::new();
    let nowhere = setting.root().join("no-proc");
    for (cgroups_of, reason) in [(Some(nowhere), "cannot read"), (None, "the options say so")] {
        let options = LocalOptions { cgroups_of, ..setting.options() };
        let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
        let told = machine.containment().to_string();
        assert!(!has_cgroups(&machine) && told.contains(reason), "{told}");
        let name = if told.contains("options") { "cgroups-off" } else { "cgroups-nowhere" };
        let job = machine
            .submit(setting.script(name, "cat /proc/self/cgroup; sleep 300 & echo fine"))
            .await
            .unwrap();
        wait_for(&machine, &job, RunState::Completed).await;
        assert!(!log_of(&machine, &job).await.contains(&format!("{name}.1")));
        let mut greedy = setting.script(&format!("greedy-{name}"), GREEDY);
        greedy.memory_limit = Some(limit());
        let greedy = machine.submit(greedy).await.unwrap();
        let status = wait_for(&machine, &greedy, RunState::Failed).await;
        assert!(status.error.unwrap().message.contains("more than its memory of"), "by sampling");
    }
}

#[tokio::test]
async fn a_jobs_variables_act_on_its_own_program_only() {
    let setting = Setting::new();
    let machine = setting.open();
    let mut request = setting.request("names-preload", &["true"]);
    request.environment.insert("LD_PRELOAD".to_owned(), "/no/such library.so".to_owned());
    let job = machine.submit(request).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    // The loader complains for every program that is started with it.
    let log = log_of(&machine, &job).await;
    assert_eq!(log.matches("/no/such").count(), 1, "{log}");
    let mut request = setting.request("names-env", &["env"]);
    for name in ["record", "doors", "code", "with.dot", "BASH_FUNC_echo%%", "ENV", "PS4"] {
        request.environment.insert(name.to_owned(), format!("() {{ {name}; }}"));
    }
    let wanted = request.environment.clone();
    let job = machine.submit(request).await.unwrap();
    wait_for(&machine, &job, RunState::Completed).await;
    let log = log_of(&machine, &job).await;
    for (name, value) in wanted {
        assert!(log.lines().any(|line| line == format!("{name}={value}")), "{name}: {log}");
    }
    assert!(!log.contains("PARLEY_record") && !log.contains("PARLEY_doors"), "{log}");
}
