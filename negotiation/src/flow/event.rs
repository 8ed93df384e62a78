//! What happens to a negotiation, and what the hub is to do about it.

use std::collections::BTreeMap;

use protocol::award::{Award, Receipt, Reject};
use protocol::evaluation::{Evaluation, Selection};
use protocol::event::Event;
use protocol::ids::{JobId, ProposalId, WorkerId};
use protocol::job::{AttemptNumber, AttemptState, Job};
use protocol::negotiation::{Negotiation, Notice};
use protocol::proposal::Reply;
use protocol::trust::TrustEvidence;
use protocol::units::Timestamp;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum FlowEvent {
    /// A client asked.
    Opened {
        /// The negotiation, still without answers.
        negotiation: Box<Negotiation>,
        /// Whom to ask, each with the id that its proposal must carry.
        calls: BTreeMap<WorkerId, ProposalId>,
        /// When the answers are due.
        deadline: Timestamp,
        /// A job that was accepted and stored before (`negotiation.job_id`): it is awarded as soon as
        /// the choice is made, without waiting for a client.
        job: Option<Box<Job>>,
    },
    /// The answer to [`FlowAction::AskAgain`]: fresh calls.
    AskedAgain {
        /// Whom to ask.
        calls: BTreeMap<WorkerId, ProposalId>,
        /// When the answers are due.
        deadline: Timestamp,
    },
    /// A worker answered a call, or it is known that it will not.
    Replied {
        /// The worker.
        worker_id: WorkerId,
        /// Its answer.
        reply: Reply,
    },
    /// The deadline is here.
    DeadlinePassed,
    /// The answer to [`FlowAction::Judge`].
    Judged(Box<Judgement>),
    /// A client wants the work done.
    AwardRequested {
        /// The job, not stored yet.
        job: Box<Job>,
        /// The worker to award it to; absent means the selection. A worker other than the selected
        /// one is the client's own choice, and its refusal falls through to nobody.
        worker_id: Option<WorkerId>,
    },
    /// A worker answered an award.
    AwardAnswered {
        /// Its answer.
        receipt: Receipt,
    },
    /// The award provably never left the hub, such as when no connection could be made.
    AwardNotSent {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// The award was or may have been sent, and no answer came.
    AwardUnanswered {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// A worker answered a void: `FAILED` means that the attempt will never start there, `SUCCESS`
    /// that it is too late.
    VoidAnswered {
        /// Its answer.
        receipt: Receipt,
    },
    /// The void could not be delivered, or no answer came.
    VoidUnanswered {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// A worker reported about an attempt by itself.
    AttemptSeen {
        /// The worker.
        worker_id: WorkerId,
        /// The attempt.
        attempt: AttemptNumber,
        /// Where it stands.
        state: AttemptState,
    },
    /// It is time to send the void again, or the worker is back.
    RetryVoid {
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// A client wants the work, or the negotiation, to stop.
    CancelRequested,
    /// The hub restarted; the flow comes from [`super::Flow::recover`].
    Recovered,
}

/// What the hub made of the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The judgement of each.
    pub evaluations: BTreeMap<WorkerId, Evaluation>,
    /// The choice; absent where none was asked for.
    pub selection: Option<Selection>,
    /// What it taught about the workers.
    pub evidence: Vec<TrustEvidence>,
}

/// What the hub is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum FlowAction {
    /// Store these events in one transaction. If that fails, nothing behind it may be done.
    Store(Vec<Event>),
    /// Send a call to each; feed in each answer as `Replied`.
    SendCalls(BTreeMap<WorkerId, ProposalId>),
    /// The hub restarted while calls were out: draw new proposal ids for whom the fleet has now and
    /// feed in `AskedAgain`, or `CancelRequested` where nobody waits for the answer any more.
    AskAgain,
    /// Drop the calls that are still out.
    StopWaiting,
    /// Audit, evaluate and select; feed in `Judged`.
    Judge,
    /// Offer the award; feed in `AwardAnswered`, `AwardNotSent` or `AwardUnanswered`. Sending the same
    /// award twice is harmless: a worker answers to an attempt that it knows as before.
    SendAward {
        /// To this worker.
        worker_id: WorkerId,
        /// The award.
        award: Box<Award>,
    },
    /// Withdraw an award; feed in `VoidAnswered` or `VoidUnanswered`.
    SendVoid {
        /// From this worker.
        worker_id: WorkerId,
        /// The proposal that was awarded.
        proposal_id: ProposalId,
        /// The job.
        job_id: JobId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// Tell a worker that its proposal was not chosen.
    SendReject {
        /// The worker.
        worker_id: WorkerId,
        /// Which proposal.
        reject: Reject,
    },
    /// Stop an attempt that was accepted.
    SendCancel {
        /// The worker.
        worker_id: WorkerId,
        /// The job.
        job_id: JobId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// The award could neither be confirmed nor withdrawn: show the job as stale at this worker.
    ShowDoubt {
        /// The worker.
        worker_id: WorkerId,
        /// The job.
        job_id: JobId,
        /// The attempt.
        attempt: AttemptNumber,
    },
    /// Feed in an event at some time.
    WakeAt {
        /// When.
        at: Timestamp,
        /// Which event.
        wake: Wake,
    },
    /// Tell the client that waits.
    Notify(Notice),
}

/// What to feed in when a time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// `DeadlinePassed`.
    Deadline,
    /// `RetryVoid` for an attempt.
    RetryVoid(AttemptNumber),
}
