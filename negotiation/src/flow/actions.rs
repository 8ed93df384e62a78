//! The list of actions while a step makes it.

use protocol::award::Reject;
use protocol::event::Event;
use protocol::ids::{NegotiationId, WorkerId};
use protocol::negotiation::Notice;
use protocol::proposal::Proposal;
use protocol::units::Timestamp;

use super::FlowAction;

/// Actions in the order in which they are to be done.
#[derive(Debug, Default)]
pub struct Actions(Vec<FlowAction>);

impl Actions {
    pub fn push(&mut self, action: FlowAction) {
        self.0.push(action);
    }

    pub fn notify(&mut self, notice: Notice) {
        self.push(FlowAction::Notify(notice));
    }

    pub fn store(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.push(FlowAction::Store(events));
        }
    }

    /// Releases a proposal's hold, if it still has one.
    pub fn reject(
        &mut self,
        negotiation_id: &NegotiationId,
        worker_id: &WorkerId,
        proposal: &Proposal,
        now: Timestamp,
    ) {
        if proposal.hold_until.is_some_and(|until| until > now) {
            let reject =
                Reject { negotiation_id: negotiation_id.clone(), proposal_id: proposal.proposal_id.clone() };
            self.push(FlowAction::SendReject { worker_id: worker_id.clone(), reject });
        }
    }

    pub fn into_inner(self) -> Vec<FlowAction> {
        self.0
    }
}
