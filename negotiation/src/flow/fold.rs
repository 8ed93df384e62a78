//! The state that stored events make, in life and after a restart alike.

use protocol::award::ReceiptStatus;
use protocol::event::{Event, StoredEvent};
use protocol::ids::{JobId, NegotiationId, WorkerId};
use protocol::proposal::Reply;
use protocol::units::Timestamp;

use super::{Flow, Offer, Phase, Standing};

impl Flow {
    /// The flow of a negotiation as its stored events tell it; events of others are passed over. A job
    /// that was accepted before the negotiation must be among them. Go on with
    /// [`super::FlowEvent::Recovered`].
    #[must_use]
    pub fn recover(id: NegotiationId, events: &[StoredEvent]) -> Self {
        let mut flow = Self::new(id);
        let named = events.iter().find_map(|stored| flow.job_named_by(&stored.event));
        for stored in events {
            match &stored.event {
                Event::JobAccepted { job } if Some(&job.job_id) == named.as_ref() => {
                    flow.job = Some(job.clone());
                }
                event => flow.apply(event, stored.at),
            }
        }
        flow
    }

    /// The job that this negotiation was opened for.
    fn job_named_by(&self, event: &Event) -> Option<JobId> {
        match event {
            Event::NegotiationOpened { negotiation } if negotiation.negotiation_id == self.id => {
                negotiation.job_id.clone()
            }
            _ => None,
        }
    }

    /// Takes in one stored event.
    pub(super) fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::NegotiationOpened { negotiation } if negotiation.negotiation_id == self.id => {
                self.phase = Phase::Asking;
                self.opened_at = at;
                self.requirement = negotiation.understanding.requirement.clone();
            }
            Event::NegotiationDecided { negotiation_id, proposals, selection, .. }
                if *negotiation_id == self.id =>
            {
                self.phase = if self.cancelled { Phase::Closed } else { Phase::Decided };
                self.replies.clone_from(proposals);
                self.selection.clone_from(selection);
            }
            Event::JobAccepted { job } if job.negotiation_id.as_ref() == Some(&self.id) => {
                self.job = Some(job.clone());
            }
            Event::AwardOffered { negotiation_id, attempt, worker_id, proposal_id, .. }
                if *negotiation_id == self.id =>
            {
                if self.last_attempt.is_none() {
                    self.order = self.order_from(Some(worker_id));
                }
                self.order.retain(|next| next != worker_id);
                self.phase = Phase::Awarding;
                self.last_attempt = Some(*attempt);
                self.offer = Some(Offer {
                    attempt: *attempt,
                    worker_id: worker_id.clone(),
                    proposal_id: proposal_id.clone(),
                    standing: Standing::Offered { maybe_sent_before: true },
                });
            }
            Event::AwardAnswered { negotiation_id, receipt } if *negotiation_id == self.id => {
                match receipt.status {
                    ReceiptStatus::Success => self.phase = Phase::Awarded,
                    ReceiptStatus::Failed => {
                        self.refused.insert(receipt.worker_id.clone());
                        self.offer = None;
                        if self.cancelled {
                            self.phase = Phase::Closed;
                        }
                    }
                }
            }
            Event::AwardsExhausted { negotiation_id, .. } if *negotiation_id == self.id => {
                self.phase = Phase::Exhausted;
                self.offer = None;
            }
            Event::CancelRequested { job_id }
                if self.job.as_ref().is_some_and(|job| job.job_id == *job_id) =>
            {
                self.cancelled = true;
                if self.phase == Phase::Decided {
                    self.phase = Phase::Closed;
                }
            }
            _ => {}
        }
    }

    /// Whom to award to, best first: the selection's order, or only the worker that a client chose
    /// against the selection.
    pub(super) fn order_from(&self, worker_id: Option<&WorkerId>) -> Vec<WorkerId> {
        let selected = self.selection.as_ref();
        let own_choice =
            worker_id.filter(|worker| selected.and_then(|one| one.worker_id.as_ref()) != Some(*worker));
        let order = match (own_choice, selected) {
            (Some(worker), _) => vec![worker.clone()],
            (None, Some(selection)) if selection.order.is_empty() => {
                selection.worker_id.iter().cloned().collect()
            }
            (None, Some(selection)) => selection.order.clone(),
            (None, None) => Vec::new(),
        };
        order
            .into_iter()
            .filter(|worker| self.replies.get(worker).and_then(Reply::proposal).is_some())
            .collect()
    }
}
