//! OpenPBS: what 23.06.06 printed, replayed by fake commands, and the whole suite on a real one where
//! `PARLEY_TEST_PBS` is set. No distribution packages PBS.

mod recorded;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::clock::{Clock, FixedClock, SystemClock};
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use protocol::units::GiB;
use serde_json::Value;
use workload::error::WorkloadError;
use workload::pbs::{Pbs, PbsOptions, PbsReader};
use workload::read::{NativeId, ReadSide, RunState};
use workload::submit::SubmitSide;

use self::recorded::{RECORDED_AT, Recorded, all_jobs, document, finished_as, only, recording};
use crate::setting::{Setting, log_of, seconds, status_of, wait_for};
use crate::site::{fake, outside};
use crate::suite;

/// The PBS of this machine, where `PARLEY_TEST_PBS` says that jobs may be submitted to it. Nothing else may
/// be running there, its scheduler has to plan those who wait (`strict_ordering`), and it needs a GPU.
fn real() -> Option<PbsOptions> {
    if std::env::var_os("PARLEY_TEST_PBS").is_none() {
        outside("no real PBS; set PARLEY_TEST_PBS where jobs may be submitted to one");
        return None;
    }
    let mut options = PbsOptions::of_process();
    options.refresh = Duration::from_millis(50);
    Some(options)
}

#[tokio::test]
async fn a_real_one() {
    let Some(options) = real() else { return };
    let setting = Setting::new();
    let pbs = Pbs::open(options.clone(), setting.state(), Arc::new(SystemClock)).unwrap();
    let differences =
        suite::Differences { finds_programs: false, resolution_seconds: 1.0, plans_ahead: true };
    suite::every_manager(&pbs, &setting, differences).await;

    // What takes too long is ended, with memory and a GPU of its own.
    let mut request = setting.script("overtime", "sleep 300");
    request.time_limit = seconds(1.0);
    request.memory_limit = Some(GiB::saturating(0.1));
    request.allocation.gpus = 1;
    let job = pbs.submit(request).await.unwrap();
    wait_for(&pbs, &job, RunState::TimedOut).await;
    // A whole node, and two processes on it.
    let mut request = setting.script("whole", "wc -l <\"$PBS_NODEFILE\"");
    request.allocation = Allocation { nodes: 1, cores: 0, gpus: 0 };
    request.placement.tasks = Some(2);
    let job = pbs.submit(request).await.unwrap();
    wait_for(&pbs, &job, RunState::Completed).await;
    assert_eq!(log_of(&pbs, &job).await.trim(), "2");

    // The answer to a submission gets lost, once with a job and once without.
    let fakes = setting.root().join("fakes");
    std::fs::create_dir(&fakes).unwrap();
    let qsub = options.commands.find("qsub").unwrap();
    let mut lossy = options;
    lossy.commands.search_path.insert(0, fakes.clone());
    drop(pbs);
    let pbs = Pbs::open(lossy, setting.state(), Arc::new(SystemClock)).unwrap();
    fake(
        &fakes,
        "qsub",
        &format!("{} \"$@\" >/dev/null; echo 'qsub: End of File' >&2; exit 1", qsub.display()),
    );
    let job = pbs.submit(setting.script("found", "exit 4")).await.unwrap();
    let status = wait_for(&pbs, &job, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(4));
    fake(&fakes, "qsub", "echo 'qsub: End of File' >&2; exit 1");
    let error = pbs.submit(setting.script("lost", "true")).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Doubtful { .. }), "{error}");
}

#[tokio::test]
async fn the_site_is_seen_as_it_was() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    let inventory = reader.inventory().await.unwrap().unwrap();
    assert_eq!((inventory.version.as_deref(), reader.manager()), (Some("23.06.06"), "pbs"));
    let limit = |name: &str| {
        inventory.partitions.iter().find(|queue| queue.name == name).map(|queue| queue.time_limit)
    };
    assert_eq!(
        (limit("workq"), limit("gpu"), limit("route")),
        (Some(None), Some(seconds(7200.0)), Some(None))
    );
    // One is not started, the other takes nothing.
    assert_eq!((limit("batch"), limit("closed")), (None, None));
    // node2 is down, node3 offline; node1 has four vnodes, and one more without cores.
    assert_eq!((inventory.nodes_out, inventory.groups.len()), (2, 1));
    let group = &inventory.groups[0];
    assert_eq!(
        (group.nodes, group.nodes_free, group.cores_per_node, group.cores_free),
        (1, Some(0), 32, Some(9))
    );
    assert_eq!((group.gpus_per_node, group.gpus_free, group.gpu_model.as_deref()), (2, Some(1), None));
    assert_eq!(group.memory_gib_per_node, Some(GiB::from(64)));
    let capacity = reader.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.total.memory_gib), (32, Some(GiB::from(64))));
    assert_eq!(
        (capacity.free.cores, capacity.free.gpus, capacity.free.memory_gib),
        (9, 1, Some(GiB::from(40)))
    );
    assert_eq!((capacity.running, capacity.queued, capacity.time_limit), (8, 11, None));
    assert!(capacity.accepting);
}

#[tokio::test]
async fn the_queue_has_running_jobs_first_then_those_that_are_planned() {
    let recorded = Recorded::new();
    let queue = recorded.reader().queue().await.unwrap();
    let ids: Vec<&str> = queue.iter().map(|job| job.native.0.trim_end_matches(".node1")).collect();
    // 26[] is an array: its jobs stand for it. 9 waits in a queue that is not started.
    assert_eq!(
        ids,
        [
            "4", "10", "11", "18", "24", "25", "26[1]", "26[2]", "12", "15", "20", "21", "3", "9", "26[3]",
            "26[4]", "6", "7", "8", "13", "19"
        ]
    );
    let job = queue.iter().find(|job| job.native.0 == "4.node1").unwrap();
    assert_eq!((job.state, job.takes.cores, job.takes.gpus), (RunState::Running, 2, 1));
    assert_eq!((job.takes.memory_gib, job.time_limit), (Some(GiB::from(2)), seconds(1800.0)));
    assert_eq!(job.started_at.unwrap().to_string(), "2026-11-20T19:24:24.000Z");
    let waits = queue.iter().find(|job| job.native.0 == "26[3].node1").unwrap();
    assert_eq!((waits.state, waits.started_at), (RunState::Queued, None));
    let no_memory = queue.iter().find(|job| job.native.0 == "11.node1").unwrap();
    assert_eq!(no_memory.takes.memory_gib, None);
}

#[tokio::test]
async fn a_start_is_told_where_all_that_wait_are_planned() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    let start = async |nodes, cores, gpus| {
        let estimate = reader.estimated_start(&Allocation { nodes, cores, gpus }).await.unwrap();
        estimate.map(|start| (start.p50.get(), start.p90.get()))
    };
    // The scheduler has planned five jobs, and others wait as well.
    assert_eq!(start(0, 1, 0).await, None);
    let state = |job: &Value, letter: &str| job["job_state"] == letter;
    let planned = only(all_jobs(), |id, job| {
        !state(job, "Q") || job["estimated"]["start_time"].is_string() || id == "13.node1" || id == "9.node1"
    });
    recorded.prints("jobs", planned.to_string());
    // Job 21 gets everything at 21:44:24 for half an hour, so no core is free for good before that is over.
    assert_eq!(start(0, 1, 0).await, Some((10_108.0, 10_108.0)));
    // With nobody waiting there is room at once, or when enough of what runs is over.
    recorded.prints("jobs", only(all_jobs(), |_, job| state(job, "R")).to_string());
    assert_eq!((start(0, 1, 0).await, start(0, 9, 0).await), (Some((0.0, 0.0)), Some((0.0, 0.0))));
    // Job 4 has the other GPU until 19:54:24, and jobs of an hour run last.
    assert_eq!(start(0, 1, 2).await, Some((1708.0, 1708.0)));
    assert_eq!(
        (start(1, 0, 0).await, start(0, 32, 0).await),
        (Some((3536.0, 3536.0)), Some((3536.0, 3536.0)))
    );
    assert_eq!((start(0, 33, 0).await, start(2, 0, 0).await), (None, None), "it would never start");
    recorded.prints("server", recording("scheduling-off-qstat-Bf.json"));
    assert_eq!(start(0, 1, 0).await, None, "nothing is being started");
    let mut hidden = document("qstat-Bf.json");
    hidden["Server"]["node1"]["query_other_jobs"] = "False".into();
    recorded.prints("server", hidden.to_string());
    assert_eq!(start(0, 1, 0).await, None, "others may be waiting");
}

#[tokio::test]
async fn reservations_and_offline_nodes_are_not_free() {
    let recorded = Recorded::new();
    recorded.prints("jobs", recording("empty-qstat-f.json"));
    recorded.prints("nodes", recording("pbsnodes-av-busy.json"));
    let reader = recorded.reader();
    let gpu = Allocation { nodes: 0, cores: 1, gpus: 1 };
    // The vnode with the GPUs is reserved for somebody.
    assert_eq!(reader.estimated_start(&gpu).await.unwrap(), None);
    recorded.prints("nodes", recording("pbsnodes-av-offline-with-jobs.json"));
    assert!(reader.capacity().await.unwrap().total.cores < 32);
}

#[tokio::test]
async fn ends_are_told_as_pbs_tells_them() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    for (number, state, exit_code, ran, peak) in [
        ("0", RunState::Completed, Some(0), true, Some(6008.0)),
        ("1", RunState::Failed, Some(3), true, None),
        ("2", RunState::TimedOut, None, true, Some(5020.0)),
        ("14", RunState::Cancelled, None, false, None),
        ("17", RunState::Cancelled, None, true, Some(4644.0)),
        ("23", RunState::Cancelled, None, false, None),
        ("4", RunState::Running, None, true, None),
        ("7", RunState::Queued, None, false, None),
    ] {
        let id = format!("{number}.node1");
        recorded.prints("known", finished_as(number, &id));
        let accounting = reader.accounting(&NativeId(id)).await.unwrap();
        assert_eq!((accounting.state, accounting.exit_code), (state, exit_code), "{number}");
        assert_eq!(accounting.started_at.is_some(), ran, "{number}");
        assert_eq!(accounting.ended_at.is_some(), state.is_terminal(), "{number}");
        let peak = peak.map(|kib: f64| GiB::saturating(kib / 1_048_576.0));
        assert_eq!(accounting.peak_memory_gib, peak, "{number}");
    }
    recorded.prints("known", "");
    recorded.fails("known", 153, recording("qstat-unknown.json.stderr"));
    for nobody in ["99999.node1", "--help", "", "all", "1;2"] {
        let error = reader.accounting(&NativeId(nobody.to_owned())).await.unwrap_err();
        assert!(matches!(error, WorkloadError::UnknownJob { .. }), "{nobody}: {error}");
    }
    assert_eq!(recorded.lines("asked"), 9, "what is no id is not given to a command");
    // A server without a history knows what is there.
    recorded.fails("known", 0, "qstat: PBS is not configured to maintain job history 18.node1");
    recorded.prints("current", finished_as("18", "18.node1"));
    let accounting = reader.accounting(&NativeId("18.node1".to_owned())).await.unwrap();
    assert_eq!(accounting.state, RunState::Running);
}

#[tokio::test]
async fn a_job_is_forgotten_when_pbs_says_so() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    let mut jobs = Vec::new();
    for number in ["18", "99999", "1"] {
        recorded.prints("submit", format!("{number}.node1\n"));
        jobs.push(pbs.submit(setting.request(&format!("job-{number}"), &["true"])).await.unwrap());
    }
    recorded.prints("known", finished_as("18", "18.node1"));
    recorded.fails("known", 35, recording("qstat-mixed-known-unknown.json.stderr"));
    let statuses = pbs.status(&jobs).await.unwrap();
    let states: Vec<RunState> = jobs.iter().map(|job| statuses[job].state()).collect();
    assert_eq!(states, [RunState::Running, RunState::Unknown, RunState::Unknown]);
    // One that is neither listed nor complained about may still be there.
    recorded.works_again("known");
    let silent = setting.request("silent", &["true"]);
    recorded.prints("submit", "19.node1\n");
    let silent = pbs.submit(silent).await.unwrap();
    let error = pbs.status(&[jobs[0].clone(), silent]).await.unwrap_err();
    assert!(matches!(error, WorkloadError::NotUnderstood { command: "qstat", .. }), "{error}");
}

#[tokio::test]
async fn an_attempt_is_submitted_once_and_followed() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    let mut request = setting
        .request("once", &["printf", "<%s>", "$(touch broken)", "a\nb", "\"'", "", "--x", "a,b=c\\\u{1}"]);
    request.environment.insert("GREETING".to_owned(), "$HOME `id`\n'\",;".to_owned());
    request.time_limit = seconds(90.5);
    request.memory_limit = Some(GiB::saturating(0.75));
    let native = pbs.submit(request.clone()).await.unwrap();
    assert_eq!(native.0, "27.node1");
    assert_eq!(pbs.submit(request.clone()).await.unwrap(), native);
    assert_eq!(recorded.lines("submitted"), 1);
    let mut other = request.clone();
    other.argv.push("more".to_owned());
    assert!(matches!(pbs.submit(other).await, Err(WorkloadError::Conflict { .. })));

    // What was handed over has nothing of the user's in it.
    let directory = request.directory.display();
    let said = std::fs::read_to_string(recorded.file("submitted")).unwrap();
    assert_eq!(
        said.trim_end(),
        format!(
            "-j oe -o /dev/null -r n -m n -N parley-once.1 -q workq -l select=1:ncpus=1:mem=768mb -l place=free \
             -l walltime=91 -- /bin/bash {directory}/.parley-1.launch {directory}/.parley-1.words output.log"
        )
    );
    // Run as PBS runs it.
    let run = || {
        let words = said.trim_end().split(" -- /bin/bash ").nth(1).unwrap().split(' ');
        Command::new("/bin/bash")
            .args(words)
            .current_dir("/")
            .env_clear()
            .env("PBS_JOBID", "27.node1")
            .status()
            .unwrap()
    };
    assert!(run().success());
    assert_eq!(log_of(&pbs, &native).await, "<$(touch broken)><a\nb><\"'><><--x><a,b=c\\\u{1}>");
    assert!(
        !request.directory.join("broken").exists() && !request.directory.join(".parley-1.words").exists()
    );
    assert_eq!(run().code(), Some(125), "a second start ends by itself");

    recorded.prints("known", finished_as("4", &native.0));
    assert_eq!(status_of(&pbs, &native).await.state(), RunState::Running);
    recorded.prints("known", "");
    recorded.fails("known", 153, "qstat: Unknown Job Id 27.node1\n");
    let forgotten = status_of(&pbs, &native).await;
    assert_eq!((forgotten.state(), forgotten.accounting.exit_code), (RunState::Completed, Some(0)));
    // A new worker over the same directory knows it, and asks nobody.
    let asked = recorded.lines("asked");
    drop(pbs);
    let pbs = recorded.open(&setting);
    assert_eq!(pbs.submit(request).await.unwrap(), native);
    assert_eq!(status_of(&pbs, &native).await, forgotten);
    assert_eq!((recorded.lines("asked"), recorded.lines("submitted")), (asked, 1));
}

#[tokio::test]
async fn many_are_asked_about_at_once() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let mut options = recorded.options();
    options.refresh = Duration::from_secs(600);
    let pbs = Pbs::open(options, setting.state(), Arc::new(SystemClock)).unwrap();
    let mut jobs = Vec::new();
    for number in ["1", "2", "17", "0"] {
        recorded.prints("submit", format!("{number}.node1\n"));
        jobs.push(pbs.submit(setting.request(&format!("job-{number}"), &["true"])).await.unwrap());
    }
    recorded.prints("known", recording("qstat-xf.txt"));
    for _ in 0..3 {
        let statuses = pbs.status(&jobs).await.unwrap();
        let errors: Vec<_> =
            jobs.iter().map(|job| statuses[job].error.clone().map(|error| error.code)).collect();
        let expected =
            [Some(ErrorCode::JobFailed), Some(ErrorCode::JobTimeout), Some(ErrorCode::Cancelled), None];
        assert_eq!(errors, expected);
    }
    assert_eq!(recorded.lines("asked"), 1);
    let nobody = NativeId("9.node1".to_owned());
    assert!(pbs.status(std::slice::from_ref(&nobody)).await.unwrap().is_empty());
    assert!(matches!(pbs.cancel(&nobody).await, Err(WorkloadError::UnknownJob { .. })));
}

#[tokio::test]
async fn what_is_over_can_be_cancelled() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    let job = pbs.submit(setting.request("over", &["true"])).await.unwrap();
    recorded.prints("cancel", "");
    pbs.cancel(&job).await.unwrap();
    for (code, file) in [(35, "qdel-finished"), (153, "qdel-unknown")] {
        recorded.fails("cancel", code, recording(&format!("{file}.txt.stderr")));
        pbs.cancel(&job).await.unwrap();
    }
    recorded.fails("cancel", 159, recording("qdel-other-user.txt.stderr"));
    assert!(matches!(pbs.cancel(&job).await, Err(WorkloadError::CommandFailed { .. })));
    recorded.fails("cancel", 162, recording("serverdown-qdel.txt.stderr"));
    assert!(matches!(pbs.cancel(&job).await, Err(WorkloadError::Unavailable { .. })));
    assert_eq!(recorded.lines("cancelled"), 5);
}

#[tokio::test]
async fn a_cancelled_job_that_is_forgotten_was_cancelled() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    let job = pbs.submit(setting.request("cancelled", &["true"])).await.unwrap();
    recorded.prints("cancel", "");
    pbs.cancel(&job).await.unwrap();
    recorded.prints("known", "");
    recorded.fails("known", 153, "qstat: Unknown Job Id 27.node1\n");
    let status = status_of(&pbs, &job).await;
    assert_eq!((status.state(), status.error.unwrap().code), (RunState::Cancelled, ErrorCode::Cancelled));
}

#[tokio::test]
async fn a_refused_job_may_be_submitted_again() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    let request = setting.request("again", &["true"]);
    let files = || std::fs::read_dir(&request.directory).unwrap().count();
    recorded.fails("submit", 188, recording("qsub-err-max.txt.stderr"));
    let error = pbs.submit(request.clone()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "limits", .. }), "{error}");
    recorded.fails("submit", 162, recording("serverdown-qsub.txt.stderr"));
    assert!(matches!(pbs.submit(request.clone()).await, Err(WorkloadError::Unavailable { .. })));
    assert_eq!(files(), 0, "nothing of it is left");
    recorded.works_again("submit");
    pbs.submit(request).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_found_or_withdrawn() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = recorded.open(&setting);
    recorded.prints("submit", "");
    recorded.fails("submit", 1, "qsub: End of File");
    recorded.prints("named", "31.node1\n");
    let found = pbs.submit(setting.request("found", &["true"])).await.unwrap();
    assert_eq!(found.0, "31.node1");
    // Where no history is kept, those that wait or run are looked at.
    recorded.fails("named", 0, "qselect: PBS is not configured to maintain job history");
    recorded.prints("named", "");
    recorded.prints("named-current", "32.node1\n");
    let found = pbs.submit(setting.request("current", &["true"])).await.unwrap();
    assert_eq!(found.0, "32.node1");

    recorded.prints("named-current", "");
    let lost = setting.request("lost", &["true"]);
    assert!(matches!(pbs.submit(lost.clone()).await, Err(WorkloadError::Doubtful { .. })));
    assert!(lost.directory.join(".parley-1").is_dir(), "a late start ends at this");
    assert!(!lost.directory.join(".parley-1.words").exists(), "and its words are nowhere");
    recorded.works_again("submit");
    recorded.prints("submit", recording("qsub-ok.txt"));
    assert!(matches!(pbs.submit(lost).await, Err(WorkloadError::Doubtful { .. })));
    assert_eq!(recorded.lines("submitted"), 3);
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let pbs = Pbs::open(recorded.options(), setting.state(), Arc::new(FixedClock(RECORDED_AT))).unwrap();
    let mut request = setting.request("dry", &["true"]);
    request.allocation = Allocation { nodes: 0, cores: 2, gpus: 1 };
    // There is room, and others wait before it.
    let dry = pbs.dry_run(&request).await.unwrap();
    assert_eq!((dry.takes.cores, dry.takes.gpus, dry.starts_now), (2, 1, false));
    recorded.prints("jobs", recording("empty-qstat-f.json"));
    assert!(pbs.dry_run(&request).await.unwrap().starts_now);
    request.allocation.gpus = 2;
    assert!(!pbs.dry_run(&request).await.unwrap().starts_now);
    request.placement.partition = Some("gpu".to_owned());
    request.time_limit = seconds(7201.0);
    assert!(matches!(pbs.dry_run(&request).await, Err(WorkloadError::Refused { field: "time_limit", .. })));
    request.time_limit = None;
    request.allocation.cores = 17;
    assert!(matches!(
        pbs.dry_run(&request).await,
        Err(WorkloadError::Refused { field: "allocation.cores", .. })
    ));
    request.placement.partition = Some("closed".to_owned());
    assert!(matches!(
        pbs.dry_run(&request).await,
        Err(WorkloadError::Refused { field: "placement.partition", .. })
    ));
    request.directory = PathBuf::from("/a b");
    assert!(matches!(pbs.dry_run(&request).await, Err(WorkloadError::Refused { field: "directory", .. })));
    request.directory = PathBuf::from("/a");
    request.environment.insert("-S".to_owned(), "true".to_owned());
    assert!(matches!(pbs.dry_run(&request).await, Err(WorkloadError::Refused { field: "environment", .. })));
    assert_eq!(recorded.lines("submitted"), 0);
}

#[tokio::test]
async fn a_server_that_is_down_has_no_empty_queue() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    recorded.prints("jobs", recording("serverdown-qstat.json"));
    recorded.fails("jobs", 255, recording("serverdown-qstat.json.stderr"));
    assert!(matches!(reader.queue().await, Err(WorkloadError::Unavailable { .. })));
    recorded.prints("nodes", "");
    recorded.fails("nodes", 1, recording("serverdown-pbsnodes.json.stderr"));
    assert!(matches!(reader.capacity().await, Err(WorkloadError::Unavailable { .. })));
    recorded.works_again("jobs");
    recorded.prints("jobs", recording("empty-qstat-f.json"));
    assert!(reader.queue().await.unwrap().is_empty());
}

#[tokio::test]
async fn broken_json_is_read_as_text() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    let jobs = async || {
        let queue = reader.queue().await.unwrap();
        queue.into_iter().map(|job| job.native.0).collect::<Vec<_>>()
    };
    // Bytes that are no UTF-8 in a variable, then a control character in one.
    recorded.prints("jobs", recording("qstat-f-with-invalid.json"));
    assert!(jobs().await.len() > 15);
    recorded.prints("jobs", recording("qstat-f-env-5.json"));
    assert_eq!(jobs().await, ["52.node1"]);
    // What nothing can be made of, and older versions that print no JSON.
    let array = only(document("qstat-f.json"), |id, _| id == "26[].node1");
    assert_eq!(array["Jobs"].as_object().unwrap().len(), 1);
    recorded.prints("jobs.txt", recording("qstat-f.txt"));
    recorded.prints("jobs", &recording("qstat-f.json")[..5000]);
    let as_text = jobs().await;
    recorded.prints("jobs", "");
    recorded.fails("jobs", 2, "qstat: invalid option -- 'F'\nusage:\nqstat [-f] [-J]");
    assert_eq!(jobs().await, as_text);
    recorded.works_again("jobs");
    recorded.prints("jobs", recording("qstat-f.json"));
    assert_eq!(jobs().await, as_text);
    let before = reader.inventory().await.unwrap();
    for (name, file) in [("server", "qstat-Bf"), ("queues", "qstat-Qf"), ("nodes", "pbsnodes-av")] {
        recorded.prints(name, "{");
        recorded.prints(&format!("{name}.txt"), recording(&format!("{file}.txt")));
    }
    assert_eq!(reader.inventory().await.unwrap(), before);
    // Nor does the text say anything.
    for (name, text) in [("jobs", "nonsense"), ("nodes", "nonsense"), ("server", ""), ("queues", "{}")] {
        recorded.prints(name, text);
        recorded.prints(&format!("{name}.txt"), text);
    }
    assert!(matches!(reader.queue().await, Err(WorkloadError::NotUnderstood { command: "qstat", .. })));
    assert!(matches!(reader.capacity().await, Err(WorkloadError::NotUnderstood { .. })));
}

#[tokio::test]
async fn a_silent_or_missing_command_is_a_typed_reason() {
    let recorded = Recorded::new();
    let mut options = recorded.options();
    options.commands.deadline = Duration::from_millis(200);
    fake(recorded.root.path(), "pbsnodes", "sleep 300");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = PbsReader::new(options.clone(), clock.clone());
    assert!(matches!(reader.capacity().await, Err(WorkloadError::Silent { command: "pbsnodes", .. })));
    fake(recorded.root.path(), "qstat", "echo 'SGE 8.1.9'");
    assert!(matches!(
        PbsReader::new(options.clone(), clock.clone()).queue().await,
        Err(WorkloadError::NotUnderstood { .. })
    ));
    options.commands.search_path = vec![recorded.file("nothing")];
    assert!(!options.is_installed());
    assert!(matches!(
        PbsReader::new(options, clock).queue().await,
        Err(WorkloadError::CommandMissing { command: "qstat" })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    /// No panic, and nothing but what the recording has: no other ids, no more nodes, cores or GPUs.
    #[test]
    fn damaged_listings_invent_nothing(
        cut in any::<prop::sample::Index>(),
        at in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:= \t\n".to_vec())), 0..8),
        (name, file) in prop::sample::select(vec![
            ("jobs", "qstat-f.json"), ("nodes", "pbsnodes-av.json"), ("queues", "qstat-Qf.json"), ("server", "qstat-Bf.json"),
            ("jobs.txt", "qstat-f.txt"), ("nodes.txt", "pbsnodes-av.txt"), ("queues.txt", "qstat-Qf.txt"),
        ]),
    ) {
        let recorded = Recorded::new();
        let mut bytes = recording(file);
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        recorded.prints(name, &bytes);
        if let Some(json) = name.strip_suffix(".txt") {
            recorded.prints(json, "");
        }
        let reader = recorded.reader();
        let ids: Vec<String> = all_jobs()["Jobs"].as_object().unwrap().keys().cloned().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for job in reader.queue().await.unwrap_or_default() {
                // A name that was cut is no other job's.
                assert!(ids.iter().any(|id| id.starts_with(job.native.0.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))), "{job:?}");
                assert!(job.takes.gpus <= 8, "{job:?}");
            }
            if let Ok(Some(inventory)) = reader.inventory().await {
                let cores: u32 = inventory.groups.iter().map(|group| group.nodes * group.cores_per_node).sum();
                assert!(cores <= 40, "{inventory:?}");
                assert!(inventory.groups.iter().all(|group| group.cores_free <= Some(group.nodes * group.cores_per_node)));
            }
            if let Ok(capacity) = reader.capacity().await {
                assert!(capacity.total.cores <= 40 && capacity.free.cores <= capacity.total.cores, "{capacity:?}");
            }
            let _ = reader.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 0 }).await;
        });
    }
}
