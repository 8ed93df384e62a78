//! What every workload manager has to do. It runs real programs of any POSIX system.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use protocol::error::ErrorCode;
use protocol::facts::{Allocation, StartEstimate};
use workload::error::WorkloadError;
use workload::read::{NativeId, RunState};
use workload::submit::SubmitSide;

use crate::setting::{Setting, log_of, seconds, status_of, wait_for};

/// What managers may differ in.
#[derive(Debug, Clone, Copy)]
pub struct Differences {
    /// Whether it looks for programs itself, or leaves that to its nodes.
    pub finds_programs: bool,
    /// How exact its times are, in seconds.
    pub resolution_seconds: f64,
    /// Whether it tells when work would start that has to wait.
    pub plans_ahead: bool,
}

/// One manager at a time: the jobs of the suite have the same names everywhere, and the local machine ends every
/// process that carries the name of a job that it ends.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs the whole suite on a manager with an even number of cores and nothing running.
pub async fn every_manager(side: &dyn SubmitSide, setting: &Setting, differences: Differences) {
    let _turn = TURN.lock().await;
    a_program_runs_to_its_end(side, setting).await;
    exit_codes_are_kept(side, setting).await;
    the_job_sees_a_clean_environment(side, setting).await;
    an_attempt_is_submitted_once(side, setting).await;
    what_cannot_run_is_refused(side, setting, differences).await;
    a_running_job_is_cancelled(side, setting).await;
    a_time_limit_ends_a_job(side, setting, differences).await;
    jobs_wait_for_their_slots(side, setting, differences).await;
    unknown_jobs_are_told(side).await;
    everything_is_free_again(side).await;
}

async fn everything_is_free_again(side: &dyn SubmitSide) {
    let start = Instant::now();
    loop {
        let capacity = side.capacity().await.unwrap();
        assert!(capacity.accepting);
        if (capacity.running, capacity.queued, capacity.free) == (0, 0, capacity.total) {
            return;
        }
        // A manager may take a moment to clean its nodes.
        assert!(start.elapsed() < Duration::from_secs(30), "{capacity:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// When work on one core would start. A manager may take a moment to plan those who wait before it.
async fn planned_start(side: &dyn SubmitSide) -> StartEstimate {
    let start = Instant::now();
    loop {
        if let Some(start) = side.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 0 }).await.unwrap()
        {
            return start;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "nobody can tell when work would start");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_program_runs_to_its_end(side: &dyn SubmitSide, setting: &Setting) {
    let job = side.submit(setting.script("end-1", "echo out; echo err >&2; echo kept > file")).await.unwrap();
    let status = wait_for(side, &job, RunState::Completed).await;
    let accounting = &status.accounting;
    assert_eq!((accounting.exit_code, status.error), (Some(0), None));
    let (started, ended) = (accounting.started_at.unwrap(), accounting.ended_at.unwrap());
    assert!(accounting.received_at <= started && started <= ended);
    let observed = accounting.observed();
    assert!(observed.start_seconds.is_some() && observed.runtime_seconds.is_some());
    assert_eq!(log_of(side, &job).await, "out\nerr\n");
    assert_eq!(std::fs::read_to_string(setting.root().join("jobs/end-1/file")).unwrap(), "kept\n");
    assert_eq!(side.accounting(&job).await.unwrap(), *accounting);
    side.cancel(&job).await.unwrap();
    assert_eq!(status_of(side, &job).await.state(), RunState::Completed);
}

async fn exit_codes_are_kept(side: &dyn SubmitSide, setting: &Setting) {
    for (name, script, code) in
        [("code-3", "exit 3", 3), ("code-255", "exit 255", 255), ("signal-9", "kill -9 $$", 137)]
    {
        let job = side.submit(setting.script(name, script)).await.unwrap();
        let status = wait_for(side, &job, RunState::Failed).await;
        assert_eq!(status.accounting.exit_code, Some(code), "{name}");
        assert_eq!(status.error.unwrap().code, ErrorCode::JobFailed);
    }
}

async fn the_job_sees_a_clean_environment(side: &dyn SubmitSide, setting: &Setting) {
    let mut request = setting.script("clean", "env; read line; echo \"input ends: $?\"");
    request.environment.insert("GREETING".to_owned(), "a b=c\nd".to_owned());
    let directory = request.directory.clone();
    let job = side.submit(request).await.unwrap();
    wait_for(side, &job, RunState::Completed).await;
    let log = log_of(side, &job).await;
    let has = |line: &str| log.lines().any(|other| other == line);
    assert!(has("PARLEY_JOB_ID=clean") && has("PARLEY_ATTEMPT=1"), "{log}");
    assert!(log.contains(&format!("PARLEY_METRICS={}", directory.display())), "{log}");
    assert!(has("GREETING=a b=c") && has("input ends: 1"), "{log}");
    // The test runner's own variables are not for jobs.
    assert!(!log.contains("CARGO"), "{log}");
}

async fn an_attempt_is_submitted_once(side: &dyn SubmitSide, setting: &Setting) {
    let request = setting.script("once", "echo started >> starts");
    let first = side.submit(request.clone()).await.unwrap();
    let again = side.submit(request.clone()).await.unwrap();
    assert_eq!(first, again);
    wait_for(side, &first, RunState::Completed).await;
    assert_eq!(side.submit(request.clone()).await.unwrap(), first);
    let mut other = request.clone();
    other.argv.push("more".to_owned());
    assert!(matches!(side.submit(other).await, Err(WorkloadError::Conflict { .. })));
    let mut next = request;
    next.attempt = next.attempt.next();
    let second = side.submit(next).await.unwrap();
    assert_ne!(first, second);
    wait_for(side, &second, RunState::Completed).await;
    let starts = std::fs::read_to_string(setting.root().join("jobs/once/starts")).unwrap();
    assert_eq!(starts, "started\nstarted\n");
}

async fn what_cannot_run_is_refused(side: &dyn SubmitSide, setting: &Setting, differences: Differences) {
    let missing = setting.request("missing", &["no-such-program-anywhere"]);
    if differences.finds_programs {
        let error = side.dry_run(&missing).await.unwrap_err();
        assert!(matches!(error, WorkloadError::ProgramNotFound { .. }), "{error}");
        assert_eq!(side.submit(missing).await.unwrap_err().code(), ErrorCode::Job);
    } else {
        let job = side.submit(missing).await.unwrap();
        let status = wait_for(side, &job, RunState::Failed).await;
        assert_eq!(status.accounting.exit_code, Some(127));
    }
    let mut large = setting.request("large", &["true"]);
    large.allocation = Allocation { nodes: 0, cores: 1_000_000, gpus: 0 };
    assert!(matches!(
        side.dry_run(&large).await,
        Err(WorkloadError::Refused { field: "allocation.cores", .. })
    ));
    let mut empty = setting.request("empty", &[]);
    assert!(matches!(side.submit(empty.clone()).await, Err(WorkloadError::Refused { field: "argv", .. })));
    empty.argv = vec!["true".to_owned()];
    empty.environment.insert("PARLEY_JOB_ID".to_owned(), "another".to_owned());
    assert!(matches!(
        side.submit(empty.clone()).await,
        Err(WorkloadError::Refused { field: "environment", .. })
    ));
    empty.environment.clear();
    empty.directory = setting.root().join("no-such-directory");
    assert!(matches!(side.submit(empty).await, Err(WorkloadError::Refused { field: "directory", .. })));
    let fine = side.dry_run(&setting.request("fine", &["true"])).await.unwrap();
    assert!(fine.starts_now && fine.takes.cores == 1);
    assert!(side.queue().await.unwrap().is_empty(), "nothing that was refused may be in the queue");
}

async fn a_running_job_is_cancelled(side: &dyn SubmitSide, setting: &Setting) {
    let job = side.submit(setting.script("cancelled", "echo ready; sleep 300")).await.unwrap();
    wait_for(side, &job, RunState::Running).await;
    side.cancel(&job).await.unwrap();
    side.cancel(&job).await.unwrap();
    let status = wait_for(side, &job, RunState::Cancelled).await;
    assert_eq!(status.error.unwrap().code, ErrorCode::Cancelled);
}

async fn a_time_limit_ends_a_job(side: &dyn SubmitSide, setting: &Setting, differences: Differences) {
    let mut request = setting.script("limited", "sleep 300");
    request.time_limit = seconds(0.2);
    let job = side.submit(request).await.unwrap();
    let status = wait_for(side, &job, RunState::TimedOut).await;
    assert_eq!(status.error.unwrap().code, ErrorCode::JobTimeout);
    let runtime = status.accounting.observed().runtime_seconds.unwrap().get();
    assert!((0.15 - differences.resolution_seconds..10.0).contains(&runtime), "{runtime}");
}

async fn jobs_wait_for_their_slots(side: &dyn SubmitSide, setting: &Setting, differences: Differences) {
    let mut jobs: Vec<NativeId> = Vec::new();
    let half = side.capacity().await.unwrap().total.cores / 2;
    for index in 0..4 {
        let mut request = setting.script(&format!("slot-{index}"), "sleep 300");
        request.time_limit = seconds(600.0);
        request.allocation.cores = half;
        jobs.push(side.submit(request).await.unwrap());
    }
    wait_for(side, &jobs[0], RunState::Running).await;
    wait_for(side, &jobs[1], RunState::Running).await;
    let queue = side.queue().await.unwrap();
    let states: Vec<RunState> = queue.iter().map(|job| job.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Running, RunState::Queued, RunState::Queued]);
    assert_eq!(queue.iter().map(|job| job.native.clone()).collect::<Vec<_>>(), jobs);
    let capacity = side.capacity().await.unwrap();
    assert_eq!((capacity.free.cores, capacity.running, capacity.queued), (0, 2, 2));
    if differences.plans_ahead {
        let start = planned_start(side).await;
        assert!((590.0..=1200.0).contains(&start.p90.get()), "{start:?}");
    } else {
        let one = Allocation { nodes: 0, cores: 1, gpus: 0 };
        assert_eq!(side.estimated_start(&one).await.unwrap(), None);
    }
    side.cancel(&jobs[2]).await.unwrap();
    let status = wait_for(side, &jobs[2], RunState::Cancelled).await;
    assert_eq!(status.accounting.started_at, None);
    side.cancel(&jobs[0]).await.unwrap();
    wait_for(side, &jobs[3], RunState::Running).await;
    let known: BTreeSet<NativeId> = side.status(&jobs).await.unwrap().into_keys().collect();
    assert_eq!(known, jobs.iter().cloned().collect());
    side.cancel(&jobs[1]).await.unwrap();
    side.cancel(&jobs[3]).await.unwrap();
    for job in [&jobs[0], &jobs[1], &jobs[3]] {
        wait_for(side, job, RunState::Cancelled).await;
    }
}

async fn unknown_jobs_are_told(side: &dyn SubmitSide) {
    let nobody = NativeId("nobody.1".to_owned());
    assert!(side.status(std::slice::from_ref(&nobody)).await.unwrap().is_empty());
    assert!(matches!(side.cancel(&nobody).await, Err(WorkloadError::UnknownJob { .. })));
    assert!(matches!(side.accounting(&nobody).await, Err(WorkloadError::UnknownJob { .. })));
    assert!(matches!(side.log_path(&nobody).await, Err(WorkloadError::UnknownJob { .. })));
}
