//! What this worker has offered, and the capacity that its offers hold and its awards take.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::award::{Award, Reject};
use protocol::call::Call;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::facts::Allocation;
use protocol::ids::ProposalId;
use protocol::proposal::{Proposal, Verdict};
use protocol::units::{Seconds, Timestamp, Usd};

use crate::history::Foreseen;

/// Offers that are remembered at most; the oldest without a hold are forgotten first.
const MOST_OFFERS: usize = 20_000;
/// How long an offer without a hold is remembered.
const OFFER_SECONDS: u32 = 600;

/// What goes from an offer to its award without being part of the proposal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// What the work takes; none where it is not known that it fits.
    pub allocation: Option<Allocation>,
    /// What a real site charges for an hour of it.
    pub usd_per_hour: Option<Usd>,
    /// What was known of its start at a real site.
    pub foreseen: Option<Foreseen>,
}

/// One offer.
#[derive(Debug, Clone)]
struct Offer {
    call: Call,
    terms: Terms,
    /// It promised to wait for its turn, so that its award needs nothing free.
    queues: bool,
    offered_at: Timestamp,
    hold_until: Option<Timestamp>,
}

/// All offers and takings of one worker. One lock covers looking and placing a hold, so that two calls
/// never hold the same capacity.
#[derive(Debug, Default)]
pub struct Offers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    offers: BTreeMap<ProposalId, Offer>,
    awarded: BTreeMap<ProposalId, Allocation>,
}

/// The state while it is looked at and changed in one go.
pub struct Ledgering<'a>(MutexGuard<'a, State>);

impl Offers {
    /// Takes the lock and forgets what has ended.
    pub fn begin(&self, now: Timestamp) -> Ledgering<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lifetime = Seconds::from(OFFER_SECONDS);
        state.offers.retain(|_, offer| {
            offer.hold_until.is_some_and(|until| until > now) || now.since(offer.offered_at) < lifetime
        });
        Ledgering(state)
    }

    /// Releases the hold of a proposal that was not chosen.
    pub fn reject(&self, reject: &Reject) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.offers.remove(&reject.proposal_id);
    }

    /// Frees the capacity of work that has ended.
    pub fn finished(&self, proposal: &ProposalId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.awarded.remove(proposal);
    }

    /// Takes capacity for work that runs already, after a restart.
    pub fn resume(&self, proposal: ProposalId, allocation: Allocation) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.awarded.insert(proposal, allocation);
    }
}

impl Ledgering<'_> {
    /// The capacity that live holds take.
    pub fn held(&self, now: Timestamp) -> Vec<(ProposalId, Allocation)> {
        let held =
            self.0.offers.iter().filter(|(_, offer)| offer.hold_until.is_some_and(|until| until > now));
        held.filter_map(|(id, offer)| Some((id.clone(), offer.terms.allocation?))).collect()
    }

    /// The capacity that live holds and running work take.
    pub fn taken(&self, now: Timestamp) -> Vec<(ProposalId, Allocation)> {
        let mut taken = self.held(now);
        let awarded = self.0.awarded.iter().map(|(id, allocation)| (id.clone(), *allocation));
        taken.extend(awarded);
        taken
    }

    /// Remembers an offer, with its hold when it has one.
    pub fn offer(&mut self, call: &Call, proposal: &Proposal, terms: Terms, now: Timestamp) {
        if self.0.offers.len() >= MOST_OFFERS {
            let oldest = self.0.offers.iter().filter(|(_, offer)| offer.hold_until.is_none());
            let oldest = oldest.min_by_key(|(_, offer)| offer.offered_at).map(|(id, _)| id.clone());
            if let Some(id) = oldest.or_else(|| self.0.offers.keys().next().cloned()) {
                self.0.offers.remove(&id);
            }
        }
        let hold_until = proposal.hold_until.filter(|_| terms.allocation.is_some());
        let queues = proposal.verdict == Verdict::Busy;
        let offer = Offer { call: call.clone(), terms, queues, offered_at: now, hold_until };
        self.0.offers.insert(proposal.proposal_id.clone(), offer);
    }

    /// Turns an offer into an award; refused when it does not fit what was offered, or when its
    /// capacity has gone meanwhile. The offer of a busy site waits for its turn instead. `fits` says
    /// whether an allocation is free beside what is taken.
    pub fn award(
        &mut self,
        award: &Award,
        now: Timestamp,
        fits: impl FnOnce(&Allocation, &[(ProposalId, Allocation)]) -> bool,
    ) -> Result<Terms, ErrorBody> {
        let refuse = |code, message: &str| Err(ErrorBody::new(code, message));
        let Some(offer) = self.0.offers.get(&award.proposal_id) else {
            return refuse(ErrorCode::ProposalUnknown, "this worker has no such proposal, or it has ended");
        };
        if offer.call.negotiation_id != award.negotiation_id || offer.call.requirement != award.requirement {
            return refuse(ErrorCode::ProposalUnknown, "the award does not fit what was proposed");
        }
        if let Some(outline) = &offer.call.job
            && (outline.kind != award.job.kind() || outline.digest != award.job.digest())
        {
            return refuse(ErrorCode::ProposalUnknown, "the job is not the one that was proposed for");
        }
        let allocation = offer.terms.allocation.unwrap_or_default();
        let held = offer.hold_until.is_some_and(|until| until > now);
        if !held && !offer.queues && !fits(&allocation, &self.taken(now)) {
            return refuse(ErrorCode::CapacityTaken, "the capacity was not held and is gone; ask again");
        }
        self.0.awarded.insert(award.proposal_id.clone(), allocation);
        let terms = self.0.offers.remove(&award.proposal_id).map(|offer| offer.terms);
        Ok(Terms { allocation: Some(allocation), ..terms.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An offer with this verdict is awarded after its capacity has gone.
    fn awarded_when_nothing_is_free(verdict: &str) -> Result<Terms, ErrorBody> {
        let requirement = protocol::requirement::Requirement::default();
        let call: Call = serde_json::from_value(json!({
            "negotiation_id": "neg-1", "proposal_id": "prop-1", "requirement": requirement, "factors": [],
            "deadline_seconds": 5.0, "as_of_tick": 0, "verbose": false,
        }))
        .unwrap();
        let proposal: Proposal =
            serde_json::from_value(json!({"proposal_id": "prop-1", "verdict": verdict})).unwrap();
        let award: Award = serde_json::from_value(json!({
            "negotiation_id": "neg-1", "proposal_id": "prop-1", "job_id": "job-1", "attempt": 1,
            "requirement": requirement, "job": {"kind": "command", "spec": {"argv": ["true"]}},
        }))
        .unwrap();
        let (offers, now) = (Offers::default(), Timestamp::from_millis(1_000_000));
        let one = Allocation { nodes: 1, cores: 4, gpus: 0 };
        let terms = Terms { allocation: Some(one), ..Terms::default() };
        offers.begin(now).offer(&call, &proposal, terms, now);
        offers.begin(now).award(&award, now, |_, _| false)
    }

    #[test]
    fn a_ready_offer_needs_its_capacity_and_a_busy_one_waits_for_it() {
        assert_eq!(awarded_when_nothing_is_free("READY").unwrap_err().code, ErrorCode::CapacityTaken);
        assert_eq!(awarded_when_nothing_is_free("BUSY").unwrap().allocation.unwrap().cores, 4);
    }
}
