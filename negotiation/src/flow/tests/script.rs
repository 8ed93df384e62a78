//! The steps of one negotiation, and its samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::award::{Receipt, ReceiptStatus};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::evaluation::{AuditMode, Selection};
use protocol::event::Event;
use protocol::ids::{JobId, PrincipalId, ProposalId, WorkerId};
use protocol::job::{AttemptNumber, AttemptState, CommandSpec, Job, JobKind, JobSpec, JobState, Observed};
use protocol::negotiation::{Mode, Negotiation, Notice, Stage};
use protocol::proposal::{Outcome, Promises, Proposal, Reply, Verdict};
use protocol::request::Request;
use protocol::understanding::Understanding;
use protocol::units::{Seconds, Timestamp};

use crate::flow::{Flow, FlowAction, FlowEvent, Judgement, Wake, step};
use crate::samples::{bare, id, negotiation as negotiation_id};

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * second)
}

pub fn proposal_id(worker: &WorkerId) -> ProposalId {
    ProposalId::parse(format!("prop-{worker}")).unwrap()
}

/// A proposal with a hold that lasts for an hour.
pub fn held(worker: &WorkerId) -> Proposal {
    Proposal { hold_until: Some(at(3_600)), ..bare(proposal_id(worker).as_str(), Verdict::Ready) }
}

pub fn replied(worker: &WorkerId) -> FlowEvent {
    FlowEvent::Replied { worker_id: worker.clone(), reply: Reply::Proposal(Arc::new(held(worker))) }
}

pub fn negotiation() -> Negotiation {
    Negotiation {
        negotiation_id: negotiation_id("neg-1"),
        owner: PrincipalId::parse("ann").unwrap(),
        created_at: at(0),
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
    }
}

pub fn job() -> Box<Job> {
    Box::new(Job {
        job_id: JobId::parse("job-1").unwrap(),
        kind: JobKind::Command,
        state: JobState::Negotiating,
        stale: false,
        worker_id: None,
        negotiation_id: None,
        owner: PrincipalId::parse("ann").unwrap(),
        created_at: at(0),
        ended_at: None,
        spec: JobSpec::Command(CommandSpec::default()),
        attempts: Vec::new(),
        promised: Promises::default(),
        observed: Observed::default(),
        metrics: BTreeMap::new(),
        artifacts: Vec::new(),
        error: None,
    })
}

pub fn opened(workers: &[WorkerId], job: Option<Box<Job>>) -> FlowEvent {
    FlowEvent::Opened {
        negotiation: Box::new(negotiation()),
        calls: workers.iter().map(|worker| (worker.clone(), proposal_id(worker))).collect(),
        deadline: at(10),
        job,
    }
}

/// Chooses by name among those that made a proposal.
pub fn judge(flow: &Flow) -> FlowEvent {
    let order: Vec<WorkerId> = flow
        .replies()
        .iter()
        .filter(|(_, reply)| reply.proposal().is_some())
        .map(|(worker, _)| worker.clone())
        .collect();
    let selection = Selection {
        worker_id: order.first().cloned(),
        strategy: "weighted".to_owned(),
        explanation: String::new(),
        order,
    };
    FlowEvent::Judged(Box::new(Judgement {
        evaluations: BTreeMap::new(),
        selection: Some(selection),
        evidence: Vec::new(),
    }))
}

pub fn receipt(worker: &WorkerId, attempt: u32, status: ReceiptStatus) -> Receipt {
    let refusal = || ErrorBody::new(ErrorCode::CapacityTaken, "taken");
    Receipt {
        status,
        job_id: JobId::parse("job-1").unwrap(),
        worker_id: worker.clone(),
        attempt: AttemptNumber(attempt),
        proposal_id: proposal_id(worker),
        received_at: at(20),
        error: (status == ReceiptStatus::Failed).then(refusal),
    }
}

/// A flow under test, with what it stored and did so far.
struct Played {
    flow: Flow,
    stored: Vec<Event>,
    actions: Vec<FlowAction>,
}

impl Played {
    /// Opened with three workers.
    fn opened(job: Option<Box<Job>>) -> Self {
        let mut played =
            Self { flow: Flow::new(negotiation_id("neg-1")), stored: Vec::new(), actions: Vec::new() };
        played.feed(opened(&workers(), job));
        played
    }

    /// Judged, with a proposal of each.
    fn decided(job: Option<Box<Job>>) -> Self {
        let mut played = Self::opened(job);
        for worker in workers() {
            played.feed(replied(&worker));
        }
        let judged = judge(&played.flow);
        played.feed(judged);
        played
    }

    /// With an award out at `a`.
    fn awarding() -> Self {
        let mut played = Self::decided(None);
        played.feed(FlowEvent::AwardRequested { job: job(), worker_id: None });
        played
    }

    /// Feeds one event; `actions` are those of this event alone.
    fn feed(&mut self, event: FlowEvent) {
        let (flow, actions) = step(self.flow.clone(), event, at(30));
        for action in &actions {
            if let FlowAction::Store(events) = action {
                self.stored.extend(events.iter().cloned());
            }
        }
        (self.flow, self.actions) = (flow, actions);
    }

    fn did(&self, what: impl Fn(&FlowAction) -> bool) -> bool {
        self.actions.iter().any(what)
    }

    fn awarded_to(&self) -> Option<&WorkerId> {
        self.actions.iter().find_map(|action| match action {
            FlowAction::SendAward { worker_id, .. } => Some(worker_id),
            _ => None,
        })
    }

    fn rejected(&self) -> Vec<&str> {
        self.actions
            .iter()
            .filter_map(|action| match action {
                FlowAction::SendReject { worker_id, .. } => Some(worker_id.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub fn workers() -> Vec<WorkerId> {
    ["a", "b", "c"].map(id).to_vec()
}

const ACCEPTS: ReceiptStatus = ReceiptStatus::Success;
const REFUSES: ReceiptStatus = ReceiptStatus::Failed;

fn answered(worker: &str, attempt: u32, status: ReceiptStatus) -> FlowEvent {
    FlowEvent::AwardAnswered { receipt: receipt(&id(worker), attempt, status) }
}

fn void_answered(worker: &str, attempt: u32, status: ReceiptStatus) -> FlowEvent {
    FlowEvent::VoidAnswered { receipt: receipt(&id(worker), attempt, status) }
}

#[test]
fn calls_go_out_behind_the_stored_opening() {
    let played = Played::opened(None);
    assert!(matches!(&played.actions[0], FlowAction::Store(events)
        if matches!(events.as_slice(), [Event::NegotiationOpened { .. }])));
    assert!(
        matches!(&played.actions[1], FlowAction::Notify(Notice::Asked { workers, .. }) if workers.len() == 3)
    );
    assert!(matches!(&played.actions[2], FlowAction::SendCalls(calls) if calls.len() == 3));
    assert_eq!(played.actions[3], FlowAction::WakeAt { at: at(10), wake: Wake::Deadline });
    assert_eq!(played.flow.stage(), Stage::Asking);
}

#[test]
fn the_last_answer_or_the_deadline_starts_the_judgement() {
    let mut played = Played::opened(None);
    played.feed(replied(&id("a")));
    played.feed(replied(&id("a")));
    played.feed(replied(&id("stranger")));
    assert_eq!((played.flow.late(), played.flow.replies().len()), (2, 1));
    let mut all = Played::opened(None);
    for worker in workers() {
        all.feed(replied(&worker));
    }
    assert!(all.did(|action| *action == FlowAction::Judge));
    played.feed(FlowEvent::DeadlinePassed);
    assert!(played.did(|action| *action == FlowAction::StopWaiting));
    assert!(played.did(|action| *action == FlowAction::Judge));
    let missing = played
        .flow
        .replies()
        .values()
        .filter(|reply| matches!(reply, Reply::Missing(missing) if missing.outcome == Outcome::Timeout));
    assert_eq!(missing.count(), 2);
}

#[test]
fn nobody_to_ask_is_judged_at_once() {
    let (flow, actions) = step(Flow::new(negotiation_id("neg-1")), opened(&[], None), at(0));
    assert_eq!(actions.last(), Some(&FlowAction::Judge));
    let (flow, _) = step(flow.clone(), judge(&flow), at(1));
    assert!(flow.is_settled());
}

#[test]
fn a_late_proposal_is_counted_and_its_hold_released() {
    let mut played = Played::opened(None);
    played.feed(replied(&id("a")));
    played.feed(FlowEvent::DeadlinePassed);
    played.feed(replied(&id("b")));
    assert_eq!((played.flow.late(), played.rejected()), (1, vec!["b"]));
    played.feed(replied(&id("a")));
    assert_eq!(played.rejected(), Vec::<&str>::new(), "a copy of an answer that counted");
    assert!(matches!(played.flow.replies()[&id("b")], Reply::Missing(_)));
}

#[test]
fn an_answer_of_an_earlier_round_does_not_count() {
    let mut played = Played::opened(None);
    let foreign = Reply::Proposal(Arc::new(bare("prop-of-yesterday", Verdict::Ready)));
    played.feed(FlowEvent::Replied { worker_id: id("a"), reply: foreign });
    assert_eq!((played.flow.late(), played.flow.replies().len()), (1, 0));
}

#[test]
fn asking_alone_ends_with_the_decision() {
    let played = Played::decided(None);
    assert!(
        matches!(played.stored.last(), Some(Event::NegotiationDecided { proposals, .. }) if proposals.len() == 3)
    );
    assert_eq!((played.flow.stage(), played.awarded_to()), (Stage::Decided, None));
    assert!(played.flow.is_settled() && played.flow.can_be_awarded());
}

#[test]
fn holds_are_released_when_nobody_can_be_chosen() {
    let mut played = Played::opened(None);
    for worker in workers() {
        played.feed(replied(&worker));
    }
    let nobody = Selection {
        worker_id: None,
        strategy: "weighted".to_owned(),
        explanation: String::new(),
        order: Vec::new(),
    };
    let judgement = Judgement { evaluations: BTreeMap::new(), selection: Some(nobody), evidence: Vec::new() };
    played.feed(FlowEvent::Judged(Box::new(judgement)));
    assert_eq!(played.rejected(), ["a", "b", "c"]);
}

#[test]
fn the_job_and_its_offer_are_stored_together_before_the_award_is_sent() {
    let played = Played::awarding();
    assert!(matches!(&played.actions[0], FlowAction::Store(events)
        if matches!(events.as_slice(), [Event::JobAccepted { .. }, Event::AwardOffered { .. }])));
    assert_eq!(played.awarded_to(), Some(&id("a")));
    assert_eq!(played.flow.live_award(), Some((&id("a"), AttemptNumber(1))));
}

#[test]
fn a_job_that_was_accepted_before_is_awarded_without_a_client() {
    let played = Played::decided(Some(job()));
    assert_eq!(played.awarded_to(), Some(&id("a")));
    assert!(!played.stored.iter().any(|event| matches!(event, Event::JobAccepted { .. })));
    assert!(matches!(&played.stored[0], Event::NegotiationOpened { negotiation }
        if negotiation.job_id == Some(job().job_id)));
}

#[test]
fn an_accepted_award_is_stored_and_the_others_are_released() {
    let mut played = Played::awarding();
    played.feed(answered("a", 1, ACCEPTS));
    assert!(matches!(&played.actions[0], FlowAction::Store(events)
        if matches!(events.as_slice(), [Event::AwardAnswered { .. }])));
    assert_eq!((played.rejected(), played.flow.stage()), (vec!["b", "c"], Stage::Awarded));
    played.feed(answered("a", 1, REFUSES));
    assert_eq!(played.actions, [], "the first answer stands");
}

#[test]
fn a_refusal_goes_on_to_the_next_and_the_last_one_exhausts_the_order() {
    let mut played = Played::awarding();
    played.feed(answered("a", 1, REFUSES));
    assert_eq!(played.awarded_to(), Some(&id("b")));
    assert_eq!(played.flow.live_award(), Some((&id("b"), AttemptNumber(2))));
    played.feed(answered("a", 1, ACCEPTS));
    assert_eq!(played.actions, [], "an answer of an attempt that is over");
    played.feed(answered("b", 2, REFUSES));
    played.feed(answered("c", 3, REFUSES));
    assert!(matches!(played.stored.last(), Some(Event::AwardsExhausted { .. })));
    assert_eq!((played.flow.stage(), played.flow.live_award()), (Stage::Refused, None));
}

#[test]
fn only_the_worker_that_was_asked_can_answer() {
    let mut played = Played::awarding();
    for foreign in [answered("b", 1, ACCEPTS), answered("a", 2, ACCEPTS)] {
        played.feed(foreign);
        assert_eq!(played.actions, []);
    }
    let mut other_job = receipt(&id("a"), 1, ACCEPTS);
    other_job.job_id = JobId::parse("job-2").unwrap();
    played.feed(FlowEvent::AwardAnswered { receipt: other_job });
    assert_eq!(played.actions, []);
}

#[test]
fn a_silent_worker_is_asked_to_void_before_the_next_is_asked() {
    let mut played = Played::awarding();
    played.feed(FlowEvent::AwardUnanswered { attempt: AttemptNumber(1) });
    assert!(matches!(&played.actions[..], [FlowAction::SendVoid { .. }]));
    played.feed(answered("a", 1, ACCEPTS));
    assert_eq!(played.actions, [], "this acceptance may be older than the void");
    let mut voided = Played { flow: played.flow.clone(), stored: Vec::new(), actions: Vec::new() };
    // A worker that never saw the award does not know its proposal.
    let mut tombstone = receipt(&id("a"), 1, REFUSES);
    tombstone.proposal_id = ProposalId::mint(0);
    voided.feed(FlowEvent::VoidAnswered { receipt: tombstone });
    assert_eq!(voided.awarded_to(), Some(&id("b")));
    assert!(matches!(&voided.stored[0], Event::AwardAnswered { receipt, .. }
        if receipt.proposal_id == proposal_id(&id("a"))));
    played.feed(void_answered("a", 1, ACCEPTS));
    assert_eq!((played.awarded_to(), played.flow.stage()), (None, Stage::Awarded));
}

#[test]
fn a_void_without_an_answer_keeps_the_job_where_it_is() {
    let mut played = Played::awarding();
    played.feed(FlowEvent::AwardUnanswered { attempt: AttemptNumber(1) });
    let mut waits = Vec::new();
    for round in 0..20 {
        played.feed(FlowEvent::VoidUnanswered { attempt: AttemptNumber(1) });
        assert_eq!(played.did(|action| matches!(action, FlowAction::ShowDoubt { .. })), round == 0);
        assert!(played.flow.in_doubt());
        assert_eq!(played.awarded_to(), None);
        if let Some(FlowAction::WakeAt { at: when, .. }) = played.actions.last() {
            waits.push(when.since(at(30)).get());
            played.feed(FlowEvent::RetryVoid { attempt: AttemptNumber(1) });
            assert!(matches!(&played.actions[..], [FlowAction::SendVoid { .. }]));
        }
    }
    assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]);
    // The worker comes back much later.
    played.feed(FlowEvent::RetryVoid { attempt: AttemptNumber(1) });
    assert!(matches!(&played.actions[..], [FlowAction::SendVoid { .. }]));
    played.feed(void_answered("a", 1, REFUSES));
    assert_eq!(played.awarded_to(), Some(&id("b")));
}

#[test]
fn an_award_that_never_left_is_no_doubt() {
    let mut played = Played::awarding();
    played.feed(FlowEvent::AwardNotSent { attempt: AttemptNumber(1) });
    assert_eq!(played.awarded_to(), Some(&id("b")));
    assert!(played.stored.iter().any(|event| matches!(event, Event::AwardAnswered { receipt, .. }
        if receipt.error.as_ref().is_some_and(|error| error.code == ErrorCode::UpstreamDown))));
}

#[test]
fn a_report_counts_as_an_acceptance() {
    let seen = |state| FlowEvent::AttemptSeen { worker_id: id("a"), attempt: AttemptNumber(1), state };
    let mut played = Played::awarding();
    played.feed(seen(AttemptState::Queued));
    assert_eq!(played.flow.stage(), Stage::Awarded);
    let mut voiding = Played::awarding();
    voiding.feed(FlowEvent::AwardUnanswered { attempt: AttemptNumber(1) });
    voiding.feed(seen(AttemptState::Queued));
    assert_eq!(voiding.flow.stage(), Stage::Awarding, "what waits may still be voided");
    voiding.feed(seen(AttemptState::Running));
    assert_eq!(voiding.flow.stage(), Stage::Awarded, "what runs cannot be");
    let mut rejected = Played::awarding();
    rejected.feed(seen(AttemptState::Rejected));
    assert_eq!(rejected.awarded_to(), Some(&id("b")));
    let mut foreign = Played::awarding();
    let other = id("b");
    foreign.feed(FlowEvent::AttemptSeen {
        worker_id: other,
        attempt: AttemptNumber(1),
        state: AttemptState::Running,
    });
    assert_eq!(foreign.actions, []);
}

#[test]
fn a_client_may_choose_against_the_selection_and_then_nobody_is_next() {
    let mut played = Played::decided(None);
    played.feed(FlowEvent::AwardRequested { job: job(), worker_id: Some(id("b")) });
    assert_eq!(played.awarded_to(), Some(&id("b")));
    played.feed(answered("b", 1, REFUSES));
    assert_eq!(played.flow.stage(), Stage::Refused);
    let mut nowhere = Played::decided(None);
    nowhere.feed(FlowEvent::AwardRequested { job: job(), worker_id: Some(id("z")) });
    assert_eq!(nowhere.flow.stage(), Stage::Refused);
    played.feed(FlowEvent::AwardRequested { job: job(), worker_id: None });
    assert_eq!(played.actions, [], "one job for each negotiation");
}

#[test]
fn cancelling_closes_what_is_open_and_releases_every_hold() {
    let mut asking = Played::opened(None);
    asking.feed(replied(&id("a")));
    asking.feed(FlowEvent::CancelRequested);
    assert!(asking.did(|action| *action == FlowAction::StopWaiting));
    assert_eq!((asking.rejected(), asking.flow.stage()), (vec!["a"], Stage::Decided));
    asking.feed(replied(&id("b")));
    assert_eq!(asking.rejected(), ["b"]);
    asking.feed(FlowEvent::AwardRequested { job: job(), worker_id: None });
    assert_eq!(asking.actions, []);

    let mut decided = Played::decided(None);
    decided.feed(FlowEvent::CancelRequested);
    assert_eq!(decided.rejected(), ["a", "b", "c"]);

    let mut accepted = Played::awarding();
    accepted.feed(answered("a", 1, ACCEPTS));
    accepted.feed(FlowEvent::CancelRequested);
    assert!(accepted.did(|action| matches!(action, FlowAction::SendCancel { .. })));
    let requests = |played: &Played| {
        played.stored.iter().filter(|event| matches!(event, Event::CancelRequested { .. })).count()
    };
    accepted.feed(FlowEvent::CancelRequested);
    assert_eq!(requests(&accepted), 1);
}

#[test]
fn cancelling_an_offer_voids_it_and_moves_to_nobody() {
    let mut voided = Played::awarding();
    voided.feed(FlowEvent::CancelRequested);
    assert!(matches!(&voided.actions[..], [FlowAction::Store(_), FlowAction::SendVoid { .. }]));
    let mut late = Played { flow: voided.flow.clone(), stored: Vec::new(), actions: Vec::new() };
    voided.feed(void_answered("a", 1, REFUSES));
    assert_eq!((voided.awarded_to(), voided.rejected()), (None, vec!["b", "c"]));
    assert!(voided.flow.is_settled());
    late.feed(void_answered("a", 1, ACCEPTS));
    assert!(late.did(|action| matches!(action, FlowAction::SendCancel { .. })));
    assert_eq!(late.flow.stage(), Stage::Awarded);
}

#[test]
fn attempts_of_an_earlier_negotiation_are_counted_on() {
    let mut again = job();
    again.attempts.push(protocol::job::Attempt {
        attempt: AttemptNumber(4),
        worker_id: id("z"),
        proposal_id: ProposalId::parse("prop-z").unwrap(),
        state: AttemptState::Lost,
        offered_at: at(0),
        started_at: None,
        ended_at: None,
        exit_code: None,
    });
    let played = Played::decided(Some(again));
    assert_eq!(played.flow.live_award(), Some((&id("a"), AttemptNumber(5))));
}
