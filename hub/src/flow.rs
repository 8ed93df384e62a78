//! Performs what the negotiation's state machine decides: stores, sends, waits, and feeds what happens
//! back in. All decisions are `negotiation::flow::step`; everything here is input and output.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use negotiation::flow::{Flow, FlowAction, FlowEvent, Judgement, Wake, step};
use protocol::award::{Award, Receipt, ReceiptStatus};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{JobId, NegotiationId, PrincipalId, ProposalId, WorkerId};
use protocol::job::{AttemptNumber, Job};
use protocol::negotiation::Negotiation;
use protocol::proposal::Reply;
use protocol::units::{Seconds, Timestamp};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use transport::host::Object;
use transport::link::{CallOptions, Link, LinkError};

use crate::ask::Asked;
use crate::fleet::Member;
use crate::hub::Hub;
use crate::operations::Caller;
use crate::predecessor;
use crate::store::{Idempotent, advance_negotiation};

/// How long a worker may take to answer to an award, a void or a cancel.
const AWARD_TIME: Duration = Duration::from_secs(10);
/// The same for a predecessor's worker, whose model submits and then watches the job for at least 10 s;
/// less than clients wait.
const LEGACY_AWARD_TIME: Duration = Duration::from_secs(50);

/// One negotiation being performed.
pub(crate) struct Performance {
    hub: Hub,
    owner: PrincipalId,
    caller: Caller,
    flow: Flow,
    negotiation: Negotiation,
    asked: BTreeMap<WorkerId, Asked>,
    deadline: Instant,
    flights: JoinSet<(WorkerId, Reply)>,
    wakes: Vec<(Timestamp, Wake)>,
    happened: VecDeque<FlowEvent>,
    /// Remembered together with the first event that accepts the job.
    idempotent: Option<Idempotent>,
    /// The attempt whose award was out when the hub stopped: it may have been sent.
    interrupted: Option<AttemptNumber>,
}

impl Performance {
    /// A negotiation that is about to open.
    pub fn new(hub: Hub, negotiation: Negotiation, caller: Caller) -> Self {
        let flow = Flow::new(negotiation.negotiation_id.clone());
        Self::with(hub, flow, negotiation, caller)
    }

    fn with(hub: Hub, flow: Flow, negotiation: Negotiation, caller: Caller) -> Self {
        Self {
            hub,
            owner: negotiation.owner.clone(),
            interrupted: flow.live_award().map(|(_, attempt)| attempt),
            caller,
            flow,
            negotiation,
            asked: BTreeMap::new(),
            deadline: Instant::now(),
            flights: JoinSet::new(),
            wakes: Vec::new(),
            happened: VecDeque::new(),
            idempotent: None,
        }
    }

    /// A negotiation as the store has it.
    pub async fn recover(hub: &Hub, id: NegotiationId, caller: Caller) -> Result<Option<Self>, ErrorBody> {
        let events = hub.store().negotiation_events(id.clone()).await.map_err(|e| e.outward())?;
        let negotiation = hub.store().negotiation(None, id.clone()).await.map_err(|e| e.outward())?;
        Ok(negotiation
            .map(|negotiation| Self::with(hub.clone(), Flow::recover(id, &events), negotiation, caller)))
    }

    /// Asks everybody and judges the answers.
    pub async fn ask(&mut self, asked: Vec<Asked>, seconds: Seconds) -> Result<(), ErrorBody> {
        let calls = asked
            .iter()
            .map(|one| (one.member.particulars.worker_id.clone(), one.call.proposal_id.clone()))
            .collect();
        self.asked = asked.into_iter().map(|one| (one.member.particulars.worker_id.clone(), one)).collect();
        self.deadline = Instant::now() + Duration::from_secs_f64(seconds.get());
        let deadline = self.negotiation.created_at.plus(seconds);
        let negotiation = Box::new(self.negotiation.clone());
        self.happened.push_back(FlowEvent::Opened { negotiation, calls, deadline, job: None });
        self.perform().await
    }

    /// The negotiation as it stands.
    pub fn into_negotiation(self) -> Negotiation {
        self.negotiation
    }

    /// Awards a job; returns when a worker has accepted, all have refused, or it is in doubt, in which
    /// case the rest goes on in the background.
    pub async fn award(
        mut self,
        job: Job,
        worker_id: Option<WorkerId>,
        idempotent: Option<Idempotent>,
    ) -> Result<(), ErrorBody> {
        self.idempotent = idempotent;
        self.happened.push_back(FlowEvent::AwardRequested { job: Box::new(job), worker_id });
        // On its own, because the request ends when its client goes away: an award that stopped half-way
        // would stay in doubt until the hub starts again.
        let hub = self.hub.clone();
        let awarding = hub.tasks().spawn(self.go_on());
        awarding.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an award was broken off");
            Err(ErrorBody::new(ErrorCode::Internal, "the award was broken off; look at the job"))
        })
    }

    /// Goes on after a restart: asking is over because nobody waits for it, an award is brought to an end.
    pub async fn resume(mut self) -> Result<(), ErrorBody> {
        self.happened.push_back(FlowEvent::Recovered);
        self.go_on().await
    }

    async fn go_on(mut self) -> Result<(), ErrorBody> {
        self.perform().await?;
        if !self.flow.is_settled() {
            let hub = self.hub.clone();
            self.caller = Caller::default();
            hub.tasks().spawn(async move {
                while !self.flow.is_settled() && !self.hub.is_stopping() {
                    self.wait().await;
                    if let Err(error) = self.perform().await {
                        tracing::error!(%error, "an award in doubt could not be followed");
                        return;
                    }
                }
            });
        }
        Ok(())
    }

    /// Feeds in what has happened until nothing more happens by itself, or doubt would make the client
    /// wait longer than it should.
    async fn perform(&mut self) -> Result<(), ErrorBody> {
        loop {
            while let Some(event) = self.happened.pop_front() {
                let flow =
                    std::mem::replace(&mut self.flow, Flow::new(self.negotiation.negotiation_id.clone()));
                let (flow, actions) = step(flow, event, self.hub.now());
                self.flow = flow;
                for action in actions {
                    self.act(action).await?;
                }
            }
            if self.flow.is_settled() || self.flow.in_doubt() {
                return Ok(());
            }
            self.wait().await;
        }
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) {
        let now = self.hub.now();
        let next = self.wakes.iter().min_by_key(|(at, _)| *at).copied();
        let pause = next.map_or(60.0, |(at, _)| at.since(now).get().clamp(0.0, 60.0));
        let asking = !self.flights.is_empty();
        tokio::select! {
            Some(landed) = self.flights.join_next() => {
                if let Ok((worker_id, reply)) = landed {
                    self.happened.push_back(FlowEvent::Replied { worker_id, reply });
                }
            }
            () = tokio::time::sleep(Duration::from_secs_f64(pause)) => {
                if let Some(due) = next.filter(|(at, _)| *at <= self.hub.now()) {
                    self.wakes.retain(|wake| *wake != due);
                    self.happened.push_back(match due.1 {
                        Wake::Deadline => FlowEvent::DeadlinePassed,
                        Wake::RetryVoid(attempt) => FlowEvent::RetryVoid { attempt },
                    });
                }
            }
            () = self.caller.cancelled.cancelled(), if asking => {
                self.happened.push_back(FlowEvent::CancelRequested);
            }
        }
    }

    async fn act(&mut self, action: FlowAction) -> Result<(), ErrorBody> {
        match action {
            FlowAction::Store(mut events) => {
                events.extend(events.iter().filter_map(predecessor::unknown_end).collect::<Vec<_>>());
                let idempotent =
                    if events.iter().any(|e| matches!(e, protocol::event::Event::JobAccepted { .. })) {
                        self.idempotent.take()
                    } else {
                        None
                    };
                let store = self.hub.store();
                let stored = store.append_with(&self.owner, self.hub.now(), events, idempotent).await;
                let stored = stored.map_err(|error| error.outward())?;
                self.hub.tell(&stored);
                for event in stored {
                    advance_negotiation(&mut self.negotiation, event.event);
                }
            }
            FlowAction::SendCalls(calls) => {
                for worker_id in calls.into_keys() {
                    if let Some(asked) = self.asked.remove(&worker_id) {
                        let (hub, deadline) = (self.hub.clone(), self.deadline);
                        self.flights.spawn(async move { hub.ask_one(asked, deadline).await });
                    }
                }
            }
            // Nobody waits for the answer of a negotiation that a restart interrupted.
            FlowAction::AskAgain => self.happened.push_back(FlowEvent::CancelRequested),
            FlowAction::StopWaiting => self.flights.abort_all(),
            FlowAction::Judge => {
                let replies = self.flow.replies();
                self.hub.note_holds(&self.negotiation, replies);
                let judgement: Judgement = self.hub.judge(&self.negotiation, replies).await?;
                self.happened.push_back(FlowEvent::Judged(Box::new(judgement)));
            }
            FlowAction::SendAward { worker_id, award } => {
                let is_again = self.interrupted == Some(award.attempt);
                let event = self.hub.send_award(&worker_id, &award, is_again).await;
                self.happened.push_back(event);
            }
            FlowAction::SendVoid { worker_id, proposal_id, job_id, attempt } => {
                let event = self.hub.send_void(&worker_id, &proposal_id, &job_id, attempt).await;
                self.happened.push_back(event);
            }
            FlowAction::SendReject { worker_id, reject } => {
                self.hub.taken().release(&worker_id, &reject.proposal_id);
                self.hub.send_quietly(&worker_id, "reject_proposal", json!(reject));
            }
            FlowAction::SendCancel { worker_id, job_id, attempt } => {
                let arguments = json!({"job_id": job_id, "attempt": attempt});
                self.hub.send_quietly(&worker_id, "cancel_job", arguments);
            }
            FlowAction::ShowDoubt { worker_id, job_id, attempt } => {
                tracing::warn!(worker = %worker_id, job = %job_id, %attempt, "an award is in doubt");
            }
            FlowAction::WakeAt { at, wake } => self.wakes.push((at, wake)),
            FlowAction::Notify(notice) => self.caller.notify(|| notice),
        }
        Ok(())
    }
}

impl Hub {
    fn link(&self, worker_id: &WorkerId) -> Option<Arc<dyn Link>> {
        self.fleet().get(worker_id).map(|member| member.link.clone())
    }

    /// Offers an award and says what came of it. `is_again` says that it may have been sent before.
    async fn send_award(&self, worker_id: &WorkerId, award: &Award, is_again: bool) -> FlowEvent {
        let attempt = award.attempt;
        let Some(member) = self.fleet().get(worker_id) else { return FlowEvent::AwardNotSent { attempt } };
        if member.particulars.key.is_none() {
            return self.send_legacy_award(&member, award, is_again).await;
        }
        let link = &member.link;
        let allocation = self.allocation_of(worker_id, &award.requirement);
        self.taken().award(worker_id, &award.proposal_id, allocation, self.now());
        let event = match receipt(&**link, "submit", json!({ "award": award })).await {
            Ok(receipt) if receipt.job_id == award.job_id && receipt.attempt == attempt => {
                FlowEvent::AwardAnswered { receipt }
            }
            Err(error) if error.is_unsent() => FlowEvent::AwardNotSent { attempt },
            Ok(_) | Err(_) => FlowEvent::AwardUnanswered { attempt },
        };
        // Without an answer the worker may have accepted: its capacity stays taken until a void is confirmed.
        let refused = matches!(&event, FlowEvent::AwardNotSent { .. })
            || matches!(&event, FlowEvent::AwardAnswered { receipt } if receipt.status == ReceiptStatus::Failed);
        if refused {
            self.taken().release(worker_id, &award.proposal_id);
        }
        event
    }

    /// Hands an award to a predecessor's worker as text. It starts a job for each text and knows none
    /// of them again, so nothing is sent twice, and what brings no answer stays in doubt.
    async fn send_legacy_award(&self, member: &Member, award: &Award, is_again: bool) -> FlowEvent {
        let worker_id = &member.particulars.worker_id;
        let in_doubt = |why: &str| predecessor::in_doubt(award, worker_id, why, self.now());
        if is_again {
            return FlowEvent::AwardAnswered { receipt: in_doubt(predecessor::INTERRUPTED) };
        }
        let arguments = json!({ "request": predecessor::render_award(award) });
        let arguments: Object = arguments.as_object().cloned().unwrap_or_default();
        let options = CallOptions::until(Instant::now() + LEGACY_AWARD_TIME);
        let receipt = match member.link.call("submit", &arguments, options).await {
            Ok(outcome) => predecessor::read_receipt(award, worker_id, &outcome, self.now()),
            Err(error) if error.is_unsent() => {
                return FlowEvent::AwardNotSent { attempt: award.attempt };
            }
            Err(error) => in_doubt(&error.to_string()),
        };
        FlowEvent::AwardAnswered { receipt }
    }

    /// Withdraws an award and says what came of it.
    async fn send_void(
        &self,
        worker_id: &WorkerId,
        proposal_id: &ProposalId,
        job_id: &JobId,
        attempt: AttemptNumber,
    ) -> FlowEvent {
        let Some(member) = self.fleet().get(worker_id) else { return FlowEvent::VoidUnanswered { attempt } };
        if member.particulars.key.is_none() {
            // It takes nothing back: whether the award was sent cannot be told, and it is too late.
            let (job_id, proposal_id) = (job_id.clone(), proposal_id.clone());
            let why = predecessor::INTERRUPTED;
            let receipt = predecessor::unfollowed(job_id, worker_id, attempt, proposal_id, why, self.now());
            return FlowEvent::VoidAnswered { receipt };
        }
        let arguments = json!({"job_id": job_id, "attempt": attempt});
        match receipt(&*member.link, "void_attempt", arguments).await {
            Ok(receipt) => {
                if receipt.status == ReceiptStatus::Failed {
                    self.taken().release(worker_id, proposal_id);
                }
                FlowEvent::VoidAnswered { receipt }
            }
            Err(_) => FlowEvent::VoidUnanswered { attempt },
        }
    }

    /// Calls a worker's tool in the background; what it does can be done again or not at all.
    pub(crate) fn send_quietly(
        &self,
        worker_id: &WorkerId,
        tool: &'static str,
        arguments: serde_json::Value,
    ) {
        let Some(link) = self.link(worker_id) else { return };
        self.tasks().spawn(async move {
            let arguments: Object = arguments.as_object().cloned().unwrap_or_default();
            let options = CallOptions::until(Instant::now() + AWARD_TIME).repeatable();
            if let Err(error) = link.call(tool, &arguments, options).await {
                tracing::debug!(tool, %error, "a worker could not be told");
            }
        });
    }

    /// Asks the worker of a job's latest attempt to stop it.
    pub(crate) async fn send_cancel(&self, job: &Job) {
        if let Some(attempt) = job.attempts.last().filter(|attempt| !attempt.state.is_terminal()) {
            let arguments = json!({"job_id": job.job_id, "attempt": attempt.attempt});
            self.send_quietly(&attempt.worker_id, "cancel_job", arguments);
        }
    }

    /// Brings a negotiation to an end that a restart interrupted.
    pub(crate) async fn resume(&self, id: NegotiationId) {
        let resumed = match Performance::recover(self, id.clone(), Caller::default()).await {
            Ok(Some(performance)) => performance.resume().await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = resumed {
            tracing::error!(negotiation = %id, %error, "a negotiation could not be resumed");
        }
    }
}

/// Calls a tool that answers with a receipt.
async fn receipt(link: &dyn Link, tool: &str, arguments: serde_json::Value) -> Result<Receipt, LinkError> {
    let arguments: Object = arguments.as_object().cloned().unwrap_or_default();
    let options = CallOptions::until(Instant::now() + AWARD_TIME);
    let outcome = link.call(tool, &arguments, options).await?;
    let structured = outcome.structured.as_ref().and_then(|value| value.get("receipt"));
    structured.and_then(|receipt| serde_json::from_value(receipt.clone()).ok()).ok_or(LinkError::BadSchema)
}

/// The error of a negotiation whose client went away.
pub(crate) fn gone() -> ErrorBody {
    ErrorBody::new(ErrorCode::Cancelled, "the client went away while workers were being asked")
}
