//! Awards: offering one, taking the answer, withdrawing it in doubt, going on to the next.

use protocol::award::{Award, Receipt, ReceiptStatus};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::ids::WorkerId;
use protocol::job::{AttemptNumber, AttemptState, Job};
use protocol::negotiation::Notice;
use protocol::proposal::Reply;
use protocol::units::{Seconds, Timestamp};

use super::actions::Actions;
use super::{Flow, FlowAction, Offer, Phase, Standing, Wake};

/// Voids that are sent by the clock; later ones only when the worker is back.
const VOIDS_BY_CLOCK: u32 = 10;

impl Flow {
    /// Stores the job, unless it was accepted before, and offers it to the first in the order.
    pub(super) fn begin_award(
        &mut self,
        worker_id: Option<WorkerId>,
        job_is_new: bool,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        self.order = self.order_from(worker_id.as_ref());
        let accepted = self.job.clone().filter(|_| job_is_new).map(|job| Event::JobAccepted { job });
        self.offer_next(accepted.into_iter().collect(), now, actions);
    }

    /// Stores what led here together with the next offer, so that no crash can fall in between, and
    /// sends the award. Without anybody left the awards are exhausted.
    fn offer_next(&mut self, mut events: Vec<Event>, now: Timestamp, actions: &mut Actions) {
        let Some(job) = self.job.clone() else { return };
        let next = self.order.iter().find_map(|worker| {
            let proposal = self.replies.get(worker).and_then(Reply::proposal)?;
            Some((worker.clone(), proposal.proposal_id.clone(), proposal.promises))
        });
        let Some((worker_id, proposal_id, promised)) = next else {
            events
                .push(Event::AwardsExhausted { negotiation_id: self.id.clone(), job_id: job.job_id.clone() });
            self.store(events, now, actions);
            self.reject_others(None, now, actions);
            return;
        };
        let attempt = self
            .last_attempt
            .or_else(|| job.attempts.iter().map(|attempt| attempt.attempt).max())
            .map_or(AttemptNumber::FIRST, AttemptNumber::next);
        events.push(Event::AwardOffered {
            negotiation_id: self.id.clone(),
            job_id: job.job_id.clone(),
            attempt,
            worker_id: worker_id.clone(),
            proposal_id,
            promised,
        });
        self.store(events, now, actions);
        if let Some(offer) = &mut self.offer {
            offer.standing = Standing::Offered { maybe_sent_before: false };
        }
        actions.notify(Notice::Awarding { worker_id });
        self.send_award(&job, actions);
    }

    fn send_award(&self, job: &Job, actions: &mut Actions) {
        if let Some(offer) = &self.offer {
            let award = Award {
                negotiation_id: self.id.clone(),
                proposal_id: offer.proposal_id.clone(),
                job_id: job.job_id.clone(),
                attempt: offer.attempt,
                requirement: self.requirement.clone(),
                job: job.spec.clone(),
            };
            actions
                .push(FlowAction::SendAward { worker_id: offer.worker_id.clone(), award: Box::new(award) });
        }
    }

    fn send_void(&self, actions: &mut Actions) {
        if let (Some(offer), Some(job)) = (&self.offer, &self.job) {
            actions.push(FlowAction::SendVoid {
                worker_id: offer.worker_id.clone(),
                proposal_id: offer.proposal_id.clone(),
                job_id: job.job_id.clone(),
                attempt: offer.attempt,
            });
        }
    }

    /// The offer that is out and waits, if it is the one of this attempt.
    fn waiting_offer(&self, attempt: AttemptNumber) -> Option<&Offer> {
        let offer = self.offer.as_ref().filter(|_| self.phase == Phase::Awarding)?;
        (offer.attempt == attempt).then_some(offer)
    }

    /// The standing of the offer that a receipt is about. Job and attempt name it; a worker that
    /// answers to a void of an award that it never saw cannot know the proposal, which is filled in.
    fn is_about_offer(&self, receipt: &mut Receipt) -> Option<Standing> {
        let offer = self.waiting_offer(receipt.attempt)?;
        let job = self.job.as_ref()?;
        if offer.worker_id != receipt.worker_id || job.job_id != receipt.job_id {
            return None;
        }
        receipt.proposal_id.clone_from(&offer.proposal_id);
        Some(offer.standing)
    }

    pub(super) fn on_award_answered(&mut self, mut receipt: Receipt, now: Timestamp, actions: &mut Actions) {
        match (self.is_about_offer(&mut receipt), receipt.status) {
            (Some(_), ReceiptStatus::Failed) => self.refuse(receipt, now, actions),
            (Some(Standing::Offered { .. }), ReceiptStatus::Success) => self.accept(receipt, now, actions),
            // An acceptance that crosses our void on the way: the void's own answer decides.
            (Some(Standing::Voiding { .. }), ReceiptStatus::Success) | (None, _) => {}
        }
    }

    pub(super) fn on_void_answered(&mut self, mut receipt: Receipt, now: Timestamp, actions: &mut Actions) {
        match (self.is_about_offer(&mut receipt), receipt.status) {
            (Some(_), ReceiptStatus::Failed) => self.refuse(receipt, now, actions),
            (Some(Standing::Voiding { .. }), ReceiptStatus::Success) => self.accept(receipt, now, actions),
            // The answer to a void of before a restart, while the award is being sent again.
            (Some(Standing::Offered { .. }), ReceiptStatus::Success) | (None, _) => {}
        }
    }

    fn accept(&mut self, receipt: Receipt, now: Timestamp, actions: &mut Actions) {
        let winner = receipt.worker_id.clone();
        let notice = Notice::Receipt { receipt: receipt.clone() };
        self.store(vec![Event::AwardAnswered { negotiation_id: self.id.clone(), receipt }], now, actions);
        actions.notify(notice);
        if self.cancelled {
            self.send_cancel(actions);
        }
        self.reject_others(Some(&winner), now, actions);
    }

    /// The attempt will never start there; the next in the order may be asked.
    fn refuse(&mut self, receipt: Receipt, now: Timestamp, actions: &mut Actions) {
        actions.notify(Notice::Receipt { receipt: receipt.clone() });
        let answered = Event::AwardAnswered { negotiation_id: self.id.clone(), receipt };
        if self.cancelled {
            self.store(vec![answered], now, actions);
            self.close(now, actions);
        } else {
            self.offer_next(vec![answered], now, actions);
        }
    }

    /// The receipt that the hub writes itself where the worker's word is known without one.
    fn own_receipt(&self, error: Option<ErrorBody>, now: Timestamp) -> Option<Receipt> {
        let (offer, job) = (self.offer.as_ref()?, self.job.as_ref()?);
        Some(Receipt {
            status: if error.is_some() { ReceiptStatus::Failed } else { ReceiptStatus::Success },
            job_id: job.job_id.clone(),
            worker_id: offer.worker_id.clone(),
            attempt: offer.attempt,
            proposal_id: offer.proposal_id.clone(),
            received_at: now,
            error,
        })
    }

    pub(super) fn on_award_not_sent(
        &mut self,
        attempt: AttemptNumber,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        match self.waiting_offer(attempt).map(|offer| offer.standing) {
            Some(Standing::Offered { maybe_sent_before: false }) => {
                let error = ErrorBody::new(ErrorCode::UpstreamDown, "the worker could not be reached");
                if let Some(receipt) = self.own_receipt(Some(error), now) {
                    self.refuse(receipt, now, actions);
                }
            }
            Some(Standing::Offered { maybe_sent_before: true }) => self.withdraw(actions),
            Some(Standing::Voiding { .. }) | None => {}
        }
    }

    pub(super) fn on_award_unanswered(&mut self, attempt: AttemptNumber, actions: &mut Actions) {
        let standing = self.waiting_offer(attempt).map(|offer| offer.standing);
        if matches!(standing, Some(Standing::Offered { .. })) {
            self.withdraw(actions);
        }
    }

    fn withdraw(&mut self, actions: &mut Actions) {
        if let Some(offer) = &mut self.offer {
            offer.standing = Standing::Voiding { unanswered: 0 };
        }
        self.send_void(actions);
    }

    pub(super) fn on_void_unanswered(
        &mut self,
        attempt: AttemptNumber,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        let Some(Standing::Voiding { unanswered }) = self.waiting_offer(attempt).map(|one| one.standing)
        else {
            return;
        };
        if let Some(offer) = &mut self.offer {
            offer.standing = Standing::Voiding { unanswered: unanswered.saturating_add(1) };
        }
        if let (0, Some(offer), Some(job)) = (unanswered, &self.offer, &self.job) {
            actions.push(FlowAction::ShowDoubt {
                worker_id: offer.worker_id.clone(),
                job_id: job.job_id.clone(),
                attempt,
            });
        }
        if unanswered < VOIDS_BY_CLOCK {
            let wait = Seconds::from(60.min(1 << unanswered));
            actions.push(FlowAction::WakeAt { at: now.plus(wait), wake: Wake::RetryVoid(attempt) });
        }
    }

    pub(super) fn on_retry_void(&mut self, attempt: AttemptNumber, actions: &mut Actions) {
        let standing = self.waiting_offer(attempt).map(|offer| offer.standing);
        if matches!(standing, Some(Standing::Voiding { .. })) {
            self.send_void(actions);
        }
    }

    /// A report is as good as a receipt; while a void is out only one that proves a start.
    pub(super) fn on_attempt_seen(
        &mut self,
        worker_id: &WorkerId,
        attempt: AttemptNumber,
        state: AttemptState,
        now: Timestamp,
        actions: &mut Actions,
    ) {
        let Some(offer) = self.waiting_offer(attempt).filter(|offer| offer.worker_id == *worker_id) else {
            return;
        };
        let accepted = match state {
            AttemptState::Running
            | AttemptState::Succeeded
            | AttemptState::Failed
            | AttemptState::TimedOut => true,
            AttemptState::Queued => matches!(offer.standing, Standing::Offered { .. }),
            AttemptState::Rejected => {
                let error = ErrorBody::new(ErrorCode::State, "the worker reported the attempt as rejected");
                if let Some(receipt) = self.own_receipt(Some(error), now) {
                    self.refuse(receipt, now, actions);
                }
                return;
            }
            AttemptState::Offered
            | AttemptState::Cancelled
            | AttemptState::Disconnected
            | AttemptState::Lost
            | AttemptState::Unknown => false,
        };
        if accepted && let Some(receipt) = self.own_receipt(None, now) {
            self.accept(receipt, now, actions);
        }
    }

    pub(super) fn cancel_offer(&mut self, now: Timestamp, actions: &mut Actions) {
        let events: Vec<Event> = self.cancel_event().into_iter().collect();
        self.store(events, now, actions);
        let standing = self.offer.as_ref().map(|offer| offer.standing);
        match standing {
            Some(Standing::Offered { .. }) => self.withdraw(actions),
            Some(Standing::Voiding { .. }) => {}
            None => self.close(now, actions),
        }
    }

    pub(super) fn cancel_awarded(&mut self, now: Timestamp, actions: &mut Actions) {
        let events: Vec<Event> = self.cancel_event().into_iter().collect();
        self.store(events, now, actions);
        self.send_cancel(actions);
    }

    fn send_cancel(&self, actions: &mut Actions) {
        if let (Some(offer), Some(job)) = (&self.offer, &self.job) {
            actions.push(FlowAction::SendCancel {
                worker_id: offer.worker_id.clone(),
                job_id: job.job_id.clone(),
                attempt: offer.attempt,
            });
        }
    }

    /// Takes up what a restart interrupted. Everything that is sent again is harmless to send twice.
    pub(super) fn on_recovered(&mut self, now: Timestamp, actions: &mut Actions) {
        match self.phase {
            Phase::New => {}
            Phase::Asking | Phase::Judging if self.cancelled => self.cancel_asking(now, actions),
            Phase::Asking | Phase::Judging => {
                self.phase = Phase::Asking;
                self.calls.clear();
                self.replies.clear();
                actions.push(FlowAction::AskAgain);
            }
            Phase::Decided => {
                if self.job.is_some() {
                    self.begin_award(None, false, now, actions);
                } else if self.selection.as_ref().is_none_or(|one| one.worker_id.is_none()) {
                    self.reject_others(None, now, actions);
                }
            }
            Phase::Awarding => match (&self.offer, self.cancelled) {
                (Some(_), true) => self.withdraw(actions),
                (Some(_), false) => {
                    if let Some(job) = self.job.clone() {
                        self.send_award(&job, actions);
                    }
                }
                (None, true) => self.close(now, actions),
                (None, false) => self.offer_next(Vec::new(), now, actions),
            },
            Phase::Awarded => {
                if self.cancelled {
                    self.send_cancel(actions);
                }
                let winner = self.offer.as_ref().map(|offer| offer.worker_id.clone());
                self.reject_others(winner.as_ref(), now, actions);
            }
            Phase::Exhausted | Phase::Closed => self.reject_others(None, now, actions),
        }
    }
}
