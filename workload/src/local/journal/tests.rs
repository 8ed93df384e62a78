use std::collections::BTreeMap;

use protocol::facts::Allocation;

use super::*;
use crate::submit::Placement;

fn request(job: &str) -> Box<SubmitRequest> {
    Box::new(SubmitRequest {
        job_id: JobId::parse(job).unwrap(),
        attempt: AttemptNumber::FIRST,
        argv: vec!["true".to_owned()],
        environment: BTreeMap::new(),
        directory: PathBuf::from("/jobs").join(job),
        allocation: Allocation::default(),
        placement: Placement::default(),
        memory_limit: None,
        time_limit: None,
    })
}

fn id(job: &str) -> NativeId {
    NativeId(format!("{job}.1"))
}

fn record(job: &str, second: i64, step: Step) -> Record {
    Record { native: id(job), at: Timestamp::from_millis(second * 1000), step }
}

fn outcome(state: RunState) -> Outcome {
    Outcome { state, exit_code: Some(0), peak_memory_bytes: Some(1 << 20), error: None, log_dropped_bytes: 0 }
}

fn process() -> ProcessIdentity {
    ProcessIdentity { pid: 77, start_ticks: 1234, boot_id: "boot".to_owned() }
}

/// A device by its place in the list, and a cgroup.
fn given() -> Given {
    let cgroup = r#"{"version": "v1", "memory": "/memory/a", "pids": "/pids/a"}"#;
    Given { gpus: vec![Written::Place(1)], cgroup: Some(serde_json::from_str(cgroup).unwrap()) }
}

/// A job that went the whole way, one that runs and is being stopped, one that waits.
fn story() -> Vec<Record> {
    vec![
        record("a", 1, Step::Received { request: request("a") }),
        record("a", 2, Step::Starting(given())),
        record("a", 2, Step::Started { process: process() }),
        record("b", 3, Step::Received { request: request("b") }),
        record("a", 4, Step::Ended { outcome: outcome(RunState::Completed) }),
        record("b", 5, Step::Starting(Given::default())),
        record("b", 5, Step::Started { process: process() }),
        record("b", 6, Step::Stopping { why: StopReason::Cancelled }),
        record("c", 7, Step::Received { request: request("c") }),
    ]
}

fn shown(jobs: &Jobs) -> String {
    jobs.iter().map(|(native, job)| format!("{native} {job:?}\n")).collect()
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut wanted = Jobs::default();
    let (mut journal, jobs) = Journal::open(directory.path()).unwrap();
    assert_eq!(shown(&jobs), "");
    for record in story() {
        journal.append(&record).unwrap();
        wanted.apply(&record);
    }
    drop(journal);
    for _ in 0..2 {
        let (_, jobs) = Journal::open(directory.path()).unwrap();
        assert_eq!(shown(&jobs), shown(&wanted));
    }
}

#[test]
fn a_torn_last_line_is_a_step_that_was_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    story().iter().for_each(|record| journal.append(record).unwrap());
    let path = directory.path().join("journal.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let lines: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (_, jobs) = Journal::open(directory.path()).unwrap();
        let mut wanted = Jobs::default();
        let complete = lines.iter().filter(|end| **end <= cut).count();
        story()[..complete].iter().for_each(|record| wanted.apply(record));
        assert_eq!(shown(&jobs), shown(&wanted), "cut at {cut}");
    }
}

#[test]
fn damage_before_the_end_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    story().iter().for_each(|record| journal.append(record).unwrap());
    let path = directory.path().join("journal.jsonl");
    let text =
        std::fs::read_to_string(&path).unwrap().replacen("\"step\":\"started\"", "\"step\":\"????\"", 1);
    std::fs::write(&path, text).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(matches!(error, WorkloadError::JournalDamaged { line: 3, .. }), "{error}");
}

#[test]
fn what_happened_first_stands() {
    let mut jobs = Jobs::default();
    story().iter().for_each(|record| jobs.apply(record));
    let before = shown(&jobs);
    jobs.apply(&record("a", 9, Step::Ended { outcome: outcome(RunState::Failed) }));
    jobs.apply(&record("a", 9, Step::Started { process: process() }));
    jobs.apply(&record("b", 9, Step::Stopping { why: StopReason::TimeLimit }));
    jobs.apply(&record("b", 9, Step::Received { request: request("b") }));
    jobs.apply(&record("c", 9, Step::Started { process: process() }));
    jobs.apply(&record("nobody", 9, Step::Ended { outcome: outcome(RunState::Failed) }));
    assert_eq!(shown(&jobs), before);
}

#[test]
fn the_oldest_ended_jobs_are_forgotten_and_no_open_one() {
    let mut jobs = Jobs::default();
    story().iter().for_each(|record| jobs.apply(record));
    for job in ["d", "e"] {
        jobs.apply(&record(job, 9, Step::Received { request: request(job) }));
        jobs.apply(&record(job, 9, Step::Ended { outcome: outcome(RunState::Cancelled) }));
    }
    jobs.forget(1);
    let left: Vec<String> = jobs.iter().map(|(native, _)| native.to_string()).collect();
    assert_eq!(left, ["b.1", "c.1", "e.1"]);
}

#[test]
fn ids_can_be_read_back() {
    let (job, attempt) = attempt_of(&native_id(&JobId::parse("job-1").unwrap(), AttemptNumber(3))).unwrap();
    assert_eq!((job.as_str(), attempt), ("job-1", AttemptNumber(3)));
    assert_eq!(attempt_of(&NativeId("4711".to_owned())), None);
}

#[test]
fn what_earlier_versions_wrote_is_read() {
    let line = r#"{"native":"a.1","at":"2025-01-01T00:00:00Z","step":"starting","gpus":[1]}"#;
    let read: Record = serde_json::from_str(line).unwrap();
    assert_eq!(read.step, Step::Starting(Given { gpus: vec![Written::Place(1)], cgroup: None }));
}
