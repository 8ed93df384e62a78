//! The negotiation as a state machine: `step(flow, event, now) -> (flow, actions)`.
//!
//! The hub feeds in what happens and performs the actions in order. `Store` comes before every send
//! that depends on it, and the state that matters is a fold over the stored events, so a hub that
//! crashes anywhere goes on with [`Flow::recover`] and [`FlowEvent::Recovered`] and decides the same.
//!
//! At most one award is live. An award without an answer is in doubt: it is withdrawn with a void,
//! which a worker that never saw the award remembers as a tombstone, and only an answered void lets
//! the flow go on to the next worker. As long as the void is not answered the job stays where it is.

mod actions;
mod event;
mod fold;
mod offer;

pub use event::{FlowAction, FlowEvent, Judgement, Wake};

use std::collections::{BTreeMap, BTreeSet};

use protocol::error::ErrorCode;
use protocol::evaluation::Selection;
use protocol::event::Event;
use protocol::ids::{NegotiationId, ProposalId, WorkerId};
use protocol::job::{AttemptNumber, Job};
use protocol::negotiation::{Negotiation, Notice, Stage};
use protocol::proposal::{Outcome, Reply};
use protocol::requirement::Requirement;
use protocol::units::Timestamp;

use actions::Actions;

/// Where a negotiation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not opened yet.
    New,
    /// Calls are out.
    Asking,
    /// All answers that count are in; the hub judges them.
    Judging,
    /// Judged; no award was asked for so far, or none is possible.
    Decided,
    /// An award is offered, or the next one is about to be.
    Awarding,
    /// A worker accepted.
    Awarded,
    /// Every worker in the order refused.
    Exhausted,
    /// Cancelled before a worker accepted.
    Closed,
}

/// The award that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    attempt: AttemptNumber,
    worker_id: WorkerId,
    proposal_id: ProposalId,
    standing: Standing,
}

/// How sure the hub is of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Waiting for the receipt. After a restart nobody knows whether it was sent before.
    Offered { maybe_sent_before: bool },
    /// Withdrawn; waiting for the worker to confirm. A receipt that arrives now may be older than the
    /// withdrawal and proves nothing.
    Voiding { unanswered: u32 },
}

/// One negotiation on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    id: NegotiationId,
    phase: Phase,
    opened_at: Timestamp,
    requirement: Requirement,
    calls: BTreeMap<WorkerId, ProposalId>,
    replies: BTreeMap<WorkerId, Reply>,
    selection: Option<Selection>,
    job: Option<Box<Job>>,
    /// Who is next, best first.
    order: Vec<WorkerId>,
    offer: Option<Offer>,
    last_attempt: Option<AttemptNumber>,
    refused: BTreeSet<WorkerId>,
    cancelled: bool,
    late: u32,
}

/// Takes one event; gives the next state and what is to be done, in this order. An event that does not
/// fit the state (late, repeated, of another attempt) changes nothing.
#[must_use]
pub fn step(mut flow: Flow, event: FlowEvent, now: Timestamp) -> (Flow, Vec<FlowAction>) {
    let mut actions = Actions::default();
    flow.on_event(event, now, &mut actions);
    (flow, actions.into_inner())
}

impl Flow {
    /// A negotiation that has not begun.
    #[must_use]
    pub fn new(id: NegotiationId) -> Self {
        Self {
            id,
            phase: Phase::New,
            opened_at: Timestamp::from_millis(0),
            requirement: Requirement::default(),
            calls: BTreeMap::new(),
            replies: BTreeMap::new(),
            selection: None,
            job: None,
            order: Vec::new(),
            offer: None,
            last_attempt: None,
            refused: BTreeSet::new(),
            cancelled: false,
            late: 0,
        }
    }

    /// How far it has come, as clients see it.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.phase {
            Phase::New | Phase::Asking | Phase::Judging => Stage::Asking,
            Phase::Decided | Phase::Closed => Stage::Decided,
            Phase::Awarding => Stage::Awarding,
            Phase::Awarded => Stage::Awarded,
            Phase::Exhausted => Stage::Refused,
        }
    }

    /// Whether nothing more will be done unless a client asks for it.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Decided | Phase::Awarded | Phase::Exhausted | Phase::Closed)
    }

    /// Whether an award may be asked for: it is decided and has not placed a job.
    #[must_use]
    pub fn can_be_awarded(&self) -> bool {
        self.phase == Phase::Decided && self.job.is_none()
    }

    /// What each asked worker answered; those that have not yet are absent.
    #[must_use]
    pub const fn replies(&self) -> &BTreeMap<WorkerId, Reply> {
        &self.replies
    }

    /// The choice, once it is made.
    #[must_use]
    pub const fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    /// Replies that came too late, twice, or from nobody who was asked.
    #[must_use]
    pub const fn late(&self) -> u32 {
        self.late
    }

    /// The worker and the attempt of the award that is out or was accepted.
    #[must_use]
    pub fn live_award(&self) -> Option<(&WorkerId, AttemptNumber)> {
        self.offer.as_ref().map(|offer| (&offer.worker_id, offer.attempt))
    }

    /// Whether the award that is out could neither be confirmed nor withdrawn so far.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.offer
            .as_ref()
            .is_some_and(|offer| matches!(offer.standing, Standing::Voiding { unanswered } if unanswered > 0))
    }

    fn on_event(&mut self, event: FlowEvent, now: Timestamp, actions: &mut Actions) {
        match event {
            FlowEvent::Opened { negotiation, calls, deadline, job } => {
                self.on_opened(negotiation, calls, deadline, job, now, actions);
            }
            FlowEvent::AskedAgain { calls, deadline } => self.on_asked_again(calls, deadline, actions),
            FlowEvent::Replied { worker_id, reply } => self.on_replied(worker_id, reply, now, actions),
            FlowEvent::DeadlinePassed => self.on_deadline_passed(actions),
            FlowEvent::Judged(judgement) => self.on_judged(*judgement, now, actions),
            FlowEvent::AwardRequested { job, worker_id } => {
                self.on_award_requested(job, worker_id, now, actions);
            }
            FlowEvent::AwardAnswered { receipt } => self.on_award_answered(receipt, now, actions),
            FlowEvent::AwardNotSent { attempt } => self.on_award_not_sent(attempt, now, actions),
            FlowEvent::AwardUnanswered { attempt } => self.on_award_unanswered(attempt, actions),
            FlowEvent::VoidAnswered { receipt } => self.on_void_answered(receipt, now, actions),
            FlowEvent::VoidUnanswered { attempt } => self.on_void_unanswered(attempt, now, actions),
            FlowEvent::AttemptSeen { worker_id, attempt, state } => {
                self.on_attempt_seen(&worker_id, attempt, state, now, actions);
            }
            FlowEvent::RetryVoid { attempt } => self.on_retry_void(attempt, actions),
            FlowEvent::CancelRequested => self.on_cancel_requested(now, actions),
            FlowEvent::Recovered => self.on_recovered(now, actions),
        }
    }

    fn on_opened(
        &mut self,
        mut negotiation: Box<Negotiation>,
        calls: BTreeMap<WorkerId, ProposalId>,
        deadline: Timestamp,
        job: Option<Box<Job>>,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        if self.phase != Phase::New || negotiation.negotiation_id != self.id {
            return;
        }
        let notice = Notice::Asked {
            negotiation_id: self.id.clone(),
            understanding: Box::new(negotiation.understanding.clone()),
            workers: calls.keys().cloned().collect(),
            excluded: negotiation.excluded.clone(),
        };
        // Recovery finds the job by this.
        negotiation.job_id = job.as_ref().map(|job| job.job_id.clone());
        self.job = job;
        self.store(vec![Event::NegotiationOpened { negotiation }], now, actions);
        actions.notify(notice);
        self.send_calls(calls, deadline, actions);
    }

    fn on_asked_again(
        &mut self,
        calls: BTreeMap<WorkerId, ProposalId>,
        deadline: Timestamp,
        actions: &mut Actions,
    ) {
        if self.phase == Phase::Asking && self.calls.is_empty() {
            self.send_calls(calls, deadline, actions);
        }
    }

    fn send_calls(
        &mut self,
        calls: BTreeMap<WorkerId, ProposalId>,
        deadline: Timestamp,
        actions: &mut Actions,
    ) {
        self.calls = calls;
        if self.calls.is_empty() {
            self.judge(actions);
        } else {
            actions.push(FlowAction::SendCalls(self.calls.clone()));
            actions.push(FlowAction::WakeAt { at: deadline, wake: Wake::Deadline });
        }
    }

    fn judge(&mut self, actions: &mut Actions) {
        self.phase = Phase::Judging;
        actions.push(FlowAction::Judge);
    }

    fn on_replied(&mut self, worker_id: WorkerId, reply: Reply, now: Timestamp, actions: &mut Actions) {
        let is_ours = |proposal_id: &ProposalId| {
            reply.proposal().is_none_or(|proposal| proposal.proposal_id == *proposal_id)
        };
        // An answer with another id belongs to a round of before a restart.
        if !self.calls.get(&worker_id).is_some_and(is_ours) {
            self.late = self.late.saturating_add(1);
            return;
        }
        if self.phase != Phase::Asking || self.replies.contains_key(&worker_id) {
            self.late = self.late.saturating_add(1);
            // The worker may hold capacity for an answer that nobody waits for any more; a copy of an
            // answer that did count must not release its hold.
            let counted = self.replies.get(&worker_id).is_some_and(|first| first.proposal().is_some());
            if !counted && let Some(proposal) = reply.proposal() {
                actions.reject(&self.id, &worker_id, proposal, now);
            }
            return;
        }
        let answer = match &reply {
            Reply::Proposal(proposal) => proposal.verdict.to_string(),
            Reply::Missing(missing) => missing.outcome.to_string(),
        };
        self.replies.insert(worker_id.clone(), reply);
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (answered, asked) = (count(self.replies.len()), count(self.calls.len()));
        actions.notify(Notice::Answered { worker_id, answer, answered, asked });
        if answered == asked {
            self.judge(actions);
        }
    }

    fn on_deadline_passed(&mut self, actions: &mut Actions) {
        // Without calls there is nothing to wait for: a restarted negotiation that is asked again.
        if self.phase == Phase::Asking && !self.calls.is_empty() {
            self.fill_missing("no answer by the deadline");
            actions.push(FlowAction::StopWaiting);
            self.judge(actions);
        }
    }

    fn fill_missing(&mut self, why: &str) {
        for worker_id in self.calls.keys() {
            if !self.replies.contains_key(worker_id) {
                let reply = Reply::missing(Outcome::Timeout, ErrorCode::UpstreamTimeout, why);
                self.replies.insert(worker_id.clone(), reply);
            }
        }
    }

    fn on_judged(&mut self, judgement: Judgement, now: Timestamp, actions: &mut Actions) {
        if self.phase != Phase::Judging {
            return;
        }
        let nobody = judgement.selection.as_ref().is_some_and(|selection| selection.worker_id.is_none());
        let notice = judgement.selection.clone().map(|selection| Notice::Selected { selection });
        let decided = Event::NegotiationDecided {
            negotiation_id: self.id.clone(),
            proposals: self.replies.clone(),
            evaluations: judgement.evaluations,
            selection: judgement.selection,
            elapsed_seconds: now.since(self.opened_at),
            evidence: judgement.evidence,
        };
        self.store(vec![decided], now, actions);
        if let Some(notice) = notice {
            actions.notify(notice);
        }
        if self.job.is_some() {
            self.begin_award(None, false, now, actions);
        } else if nobody {
            self.reject_others(None, now, actions);
        }
    }

    fn on_award_requested(
        &mut self,
        mut job: Box<Job>,
        worker_id: Option<WorkerId>,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        if self.can_be_awarded() {
            // Recovery finds the job by this.
            job.negotiation_id = Some(self.id.clone());
            self.job = Some(job);
            self.begin_award(worker_id, true, now, actions);
        }
    }

    fn on_cancel_requested(&mut self, now: Timestamp, actions: &mut Actions) {
        match self.phase {
            Phase::New | Phase::Exhausted | Phase::Closed => {}
            Phase::Asking | Phase::Judging => {
                self.cancel_asking(now, actions);
            }
            Phase::Decided => {
                let events: Vec<Event> = self.cancel_event().into_iter().collect();
                self.store(events, now, actions);
                self.close(now, actions);
            }
            Phase::Awarding => self.cancel_offer(now, actions),
            Phase::Awarded => self.cancel_awarded(now, actions),
        }
    }

    fn cancel_asking(&mut self, now: Timestamp, actions: &mut Actions) {
        self.fill_missing("the negotiation was cancelled");
        let mut events: Vec<Event> = self.cancel_event().into_iter().collect();
        events.push(Event::NegotiationDecided {
            negotiation_id: self.id.clone(),
            proposals: self.replies.clone(),
            evaluations: BTreeMap::new(),
            selection: None,
            elapsed_seconds: now.since(self.opened_at),
            evidence: Vec::new(),
        });
        self.store(events, now, actions);
        actions.push(FlowAction::StopWaiting);
        self.close(now, actions);
    }

    fn cancel_event(&self) -> Option<Event> {
        let job = self.job.as_ref().filter(|_| !self.cancelled)?;
        Some(Event::CancelRequested { job_id: job.job_id.clone() })
    }

    fn close(&mut self, now: Timestamp, actions: &mut Actions) {
        self.phase = Phase::Closed;
        self.offer = None;
        self.reject_others(None, now, actions);
    }

    /// Stores events and takes them in, by the same fold that recovery uses.
    fn store(&mut self, events: Vec<Event>, now: Timestamp, actions: &mut Actions) {
        for event in &events {
            self.apply(event, now);
        }
        actions.store(events);
    }

    /// Releases the holds of every proposal but one.
    fn reject_others(&self, winner: Option<&WorkerId>, now: Timestamp, actions: &mut Actions) {
        for (worker_id, reply) in &self.replies {
            if Some(worker_id) != winner
                && !self.refused.contains(worker_id)
                && let Some(proposal) = reply.proposal()
            {
                actions.reject(&self.id, worker_id, proposal, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
