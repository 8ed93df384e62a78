use std::collections::BTreeMap;

use protocol::award::{Receipt, ReceiptStatus};
use protocol::error::ErrorCode;
use protocol::evaluation::AuditMode;
use protocol::event::Event;
use protocol::fleet::Manifest;
use protocol::ids::{Digest, JobId, NegotiationId, PrincipalId, ProposalId, WorkerId};
use protocol::job::{
    AttemptNumber, AttemptReport, AttemptState, CommandSpec, Job, JobKind, JobSpec, JobState, Observed,
};
use protocol::negotiation::{Mode, Negotiation, Stage};
use protocol::proposal::Promises;
use protocol::request::Request;
use protocol::trust::{TrustAspect, TrustEvidence, TrustSource};
use protocol::understanding::Understanding;
use protocol::units::{Number, Seconds, Timestamp};

use super::{Idempotent, JobFilter, Store, StoreError};

fn owner(name: &str) -> PrincipalId {
    PrincipalId::parse(name).unwrap()
}

fn worker() -> WorkerId {
    WorkerId::parse("w").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn joined() -> Event {
    Event::WorkerJoined {
        worker_id: worker(),
        key: Some("key".into()),
        url: Some("http://127.0.0.1:1/mcp".into()),
        labels: BTreeMap::new(),
        manifest: Box::new(Manifest::default()),
        boot_id: "boot".into(),
    }
}

fn opened(id: &NegotiationId, owner: &PrincipalId) -> Event {
    Event::NegotiationOpened {
        negotiation: Box::new(Negotiation {
            negotiation_id: id.clone(),
            owner: owner.clone(),
            created_at: at(1),
            mode: Mode::Negotiate,
            stage: Stage::Asking,
            request: Request::default(),
            understanding: Understanding::default(),
            audit_mode: AuditMode::Before,
            as_of_tick: 0,
            proposals: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            excluded: BTreeMap::new(),
            selection: None,
            receipt: None,
            job_id: None,
            elapsed_seconds: Seconds::ZERO,
        }),
    }
}

fn evidence(bad: u32) -> TrustEvidence {
    TrustEvidence {
        worker_id: worker(),
        aspect: TrustAspect::Claim,
        good: Number::saturating(0.1),
        bad: Number::from(bad),
        at: at(2),
        because: TrustSource { negotiation_id: None, job_id: None, finding: "a test".into() },
    }
}

fn decided(id: &NegotiationId) -> Event {
    Event::NegotiationDecided {
        negotiation_id: id.clone(),
        proposals: BTreeMap::new(),
        evaluations: BTreeMap::new(),
        selection: None,
        elapsed_seconds: Seconds::from(1),
        evidence: vec![evidence(1), evidence(0)],
    }
}

fn job(id: &JobId, negotiation: &NegotiationId, owner: &PrincipalId) -> Job {
    Job {
        job_id: id.clone(),
        kind: JobKind::Command,
        state: JobState::Negotiating,
        stale: false,
        worker_id: None,
        negotiation_id: Some(negotiation.clone()),
        owner: owner.clone(),
        created_at: at(3),
        ended_at: None,
        spec: JobSpec::Command(CommandSpec::default()),
        attempts: Vec::new(),
        promised: Promises::default(),
        observed: Observed::default(),
        metrics: BTreeMap::new(),
        artifacts: Vec::new(),
        error: None,
    }
}

fn offered(negotiation: &NegotiationId, job: &JobId) -> Event {
    Event::AwardOffered {
        negotiation_id: negotiation.clone(),
        job_id: job.clone(),
        attempt: AttemptNumber::FIRST,
        worker_id: worker(),
        proposal_id: ProposalId::mint(1),
        promised: Promises::default(),
    }
}

fn answered(negotiation: &NegotiationId, job: &JobId, status: ReceiptStatus) -> Event {
    Event::AwardAnswered {
        negotiation_id: negotiation.clone(),
        receipt: Receipt {
            status,
            job_id: job.clone(),
            worker_id: worker(),
            attempt: AttemptNumber::FIRST,
            proposal_id: ProposalId::mint(1),
            received_at: at(4),
            error: None,
        },
    }
}

fn reported(job: &JobId, sequence: u64, state: AttemptState) -> Event {
    Event::AttemptReported {
        worker_id: worker(),
        report: Box::new(AttemptReport {
            job_id: job.clone(),
            attempt: AttemptNumber::FIRST,
            sequence,
            reported_at: at(5),
            state,
            log: String::new(),
            log_offset: 0,
            metrics: Vec::new(),
            observed: Observed::default(),
            exit_code: Some(0),
            artifacts: Vec::new(),
            error: None,
        }),
        evidence: vec![evidence(2)],
    }
}

/// A whole life: a worker, a negotiation, a job that ends.
async fn a_life(store: &Store, owner: &PrincipalId) -> (NegotiationId, JobId) {
    let (negotiation, id) = (NegotiationId::mint(7), JobId::mint(9));
    let append = |events| store.append(owner, at(1), events);
    append(vec![joined()]).await.unwrap();
    append(vec![opened(&negotiation, owner)]).await.unwrap();
    append(vec![decided(&negotiation)]).await.unwrap();
    let accepted = Event::JobAccepted { job: Box::new(job(&id, &negotiation, owner)) };
    append(vec![accepted, offered(&negotiation, &id)]).await.unwrap();
    append(vec![answered(&negotiation, &id, ReceiptStatus::Success)]).await.unwrap();
    append(vec![reported(&id, 1, AttemptState::Running)]).await.unwrap();
    append(vec![reported(&id, 2, AttemptState::Succeeded)]).await.unwrap();
    (negotiation, id)
}

#[tokio::test]
async fn what_was_answered_for_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let me = owner("me");
    let (negotiation, id) = {
        let store = Store::open(directory.path()).unwrap();
        let ids = a_life(&store, &me).await;
        store.close().await;
        ids
    };
    let store = Store::open(directory.path()).unwrap();
    let job = store.job(None, id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Completed);
    assert_eq!(job.attempts.len(), 1);
    let found = store.negotiation(None, negotiation).await.unwrap().unwrap();
    assert_eq!(found.stage, Stage::Awarded);
    assert_eq!(found.receipt.unwrap().status, ReceiptStatus::Success);
    assert!(store.trust().await.unwrap()[&worker()].claim.expectation.get() < 0.5);
    assert!(store.workers().await.unwrap()[0].present);
    assert_eq!(store.last_chosen().await.unwrap()[&worker()], at(1));
    assert_eq!(store.append(&me, at(9), vec![joined()]).await.unwrap()[0].sequence, 9);
}

#[tokio::test]
async fn replaying_the_log_gives_the_same_state() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    a_life(&store, &owner("me")).await;
    assert!(store.replays_to_itself().await.unwrap());
}

#[tokio::test]
async fn a_terminal_job_never_changes_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let me = owner("me");
    let (negotiation, id) = a_life(&store, &me).await;
    let before = store.job(None, id.clone()).await.unwrap().unwrap();
    let late = vec![
        Event::CancelRequested { job_id: id.clone() },
        reported(&id, 3, AttemptState::Failed),
        Event::AwardsExhausted { negotiation_id: negotiation.clone(), job_id: id.clone() },
        answered(&negotiation, &id, ReceiptStatus::Failed),
    ];
    store.append(&me, at(8), late).await.unwrap();
    assert_eq!(store.job(None, id).await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn nobody_reads_what_belongs_to_somebody_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (mine, theirs) = (owner("mine"), owner("theirs"));
    let (negotiation, id) = a_life(&store, &mine).await;
    assert!(store.job(Some(theirs.clone()), id.clone()).await.unwrap().is_none());
    assert!(store.negotiation(Some(theirs.clone()), negotiation).await.unwrap().is_none());
    let all = JobFilter { state: None, limit: 10 };
    assert!(store.jobs(Some(theirs.clone()), all).await.unwrap().is_empty());
    assert_eq!(store.jobs(Some(mine), all).await.unwrap().len(), 1);
    assert!(store.negotiations(Some(theirs), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_idempotency_key_is_taken_once_and_its_events_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let me = owner("me");
    let key =
        |job| Idempotent { key: "a-long-key".into(), digest: Digest::of(b"x"), job_id: JobId::mint(job) };
    store.append_with(&me, at(1), vec![joined()], Some(key(1))).await.unwrap();
    let again = store.append_with(&me, at(1), vec![joined()], Some(key(2))).await;
    assert!(matches!(again, Err(StoreError::Database(_))));
    let (_, job) = store.idempotent(me.clone(), "a-long-key".into()).await.unwrap().unwrap();
    assert_eq!(job, JobId::mint(1));
    // The refused append took no number.
    assert_eq!(store.append(&me, at(1), vec![joined()]).await.unwrap()[0].sequence, 2);
}

#[tokio::test]
async fn a_directory_has_one_hub() {
    let directory = tempfile::tempdir().unwrap();
    let _store = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse(_))));
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("parley.db");
    std::fs::write(&path, "this is no database, but it is somebody's file").unwrap();
    let Err(error) = Store::open(directory.path()) else { panic!("it opened") };
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(error.outward().code, ErrorCode::Internal);
    assert_eq!(std::fs::read(&path).unwrap().len(), 46);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().close().await;
    let path = directory.path().join("parley.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::TooNew { found: 99, .. })));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_one_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(Store::open(&file.join("sub")), Err(StoreError::Directory { .. })));
}

#[tokio::test]
async fn many_appends_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let me = owner("me");
    let appends = (0..200).map(|_| store.append(&me, at(1), vec![joined()]));
    let stored = futures::future::join_all(appends).await;
    let mut numbers: Vec<u64> = stored.into_iter().map(|one| one.unwrap()[0].sequence).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    assert!(store.commit_times().totals().0 < 200);
}
