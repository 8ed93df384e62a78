//! Answering a call: look, propose, hold. A simulated site looks and holds under one lock, so that two
//! calls never hold the same capacity; a real one looks first and checks again when it holds.

use std::time::Duration;

use archetypes::Fault;
use protocol::call::Call;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::facts::{Allocation, Facts};
use protocol::ids::ProposalId;
use protocol::proposal::{Proposal, ProviderCall, Verdict};
use protocol::requirement::Requirement;
use protocol::units::{Seconds, Timestamp, Usd};
use tokio::time::Instant;

use crate::history::Foreseen;
use crate::offers::Terms;
use crate::site::Mock;
use crate::worker::Worker;

/// A proposal leaves the worker this long before the deadline, with what is not known by then as unknown.
const HEAD_START: Duration = Duration::from_millis(500);
/// Where the evidence of a proposal says that the start is the history's and not the manager's own.
const HISTORY: &str = "start-history";

impl Worker {
    /// Answers a call.
    pub(crate) async fn answer(&self, mut call: Call) -> Result<Proposal, ErrorBody> {
        call.verbose |= self.config().verbose;
        let seconds = call.deadline_seconds.get().clamp(0.0, 3600.0);
        let total = Duration::from_secs_f64(seconds);
        // Short deadlines keep half for looking rather than nothing.
        let left = total.checked_sub(HEAD_START).unwrap_or_default().max(total / 2);
        let deadline = Instant::now() + left;
        match &self.site().mock {
            Some(mock) => self.answer_as_mock(mock, &call, deadline, total).await,
            None => self.answer_as_real(&call, deadline).await,
        }
    }

    async fn answer_as_mock(
        &self,
        mock: &Mock,
        call: &Call,
        deadline: Instant,
        total: Duration,
    ) -> Result<Proposal, ErrorBody> {
        match mock.fault {
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Slow) => tokio::time::sleep(total + Duration::from_secs(1)).await,
            Some(Fault::Error) => {
                return Err(ErrorBody::new(ErrorCode::Internal, "the secretary of this site is broken"));
            }
            _ => {}
        }
        let now = self.now();
        // The same tick as the hub's, unless the call comes from elsewhere and names none.
        let taken = self.offers().begin(now).taken(now);
        let looked = self.site().providers.investigate(call, &taken, deadline).await;
        let (told, calls) = if mock.lies(&call.negotiation_id) {
            let seed = mock.site.identity().seed;
            (archetypes::honesty::overclaim(&looked.facts, &call.requirement, seed), looked.calls)
        } else {
            (looked.facts, looked.calls)
        };
        let mut offers = self.offers().begin(now);
        let since = offers.taken(now);
        let fits = |allocation: &Allocation| {
            // A hold that another call placed while this one looked makes the look stale.
            since.len() == taken.len() || fits_site(mock, call.as_of_tick, allocation, &since)
        };
        let proposal = propose(call, &told, calls, now, fits);
        let allocation = matching::allocation::allocation(&call.requirement, &told);
        offers.offer(call, &proposal, Terms { allocation, ..Terms::default() }, now);
        Ok(proposal)
    }

    async fn answer_as_real(&self, call: &Call, deadline: Instant) -> Result<Proposal, ErrorBody> {
        let now = self.now();
        // What was awarded is in the manager's own figures already, or will be in a moment.
        let (held, taken) = {
            let offers = self.offers().begin(now);
            (offers.held(now), offers.taken(now))
        };
        let mut looked = self.site().providers.investigate(call, &held, deadline).await;
        looked.facts.prices = looked.facts.prices.or(self.site().prices);
        let now = self.now();
        let terms = terms(&call.requirement, &looked.facts, now);
        if let Some(foreseen) = &terms.foreseen {
            self.correct_start(foreseen, &mut looked.facts, now);
        }
        let mut offers = self.offers().begin(now);
        let unchanged = offers.taken(now).len() == taken.len();
        let mut proposal = propose(call, &looked.facts, looked.calls, now, |_| unchanged);
        // Others may take what we keep in our own books only.
        proposal.hold_is_firm = proposal.hold_is_firm.map(|firm| firm && !self.site().has_own_queue());
        offers.offer(call, &proposal, terms, now);
        Ok(proposal)
    }

    /// Puts what the history makes of a start in the place of the manager's own estimate.
    fn correct_start(&self, foreseen: &Foreseen, facts: &mut Facts, now: Timestamp) {
        let Some(workload) = &mut facts.workload else { return };
        // On this machine nobody else decides: what fits and has nobody before it starts at once.
        if !self.site().has_own_queue() && foreseen.free && foreseen.waiting == 0 {
            return;
        }
        if let Some(corrected) = self.history().correct(foreseen, now) {
            workload.start = corrected.start;
            facts.provenance.insert(HISTORY.to_owned(), corrected.provenance(foreseen, now));
        }
    }

    /// Whether an allocation is free beside what is taken, when an award comes without a hold.
    pub(crate) fn still_fits(
        &self,
        call_tick: u64,
        allocation: &Allocation,
        taken: &[(ProposalId, Allocation)],
    ) -> bool {
        match &self.site().mock {
            Some(mock) => fits_site(mock, call_tick, allocation, taken),
            // A real workload manager queues what does not fit now.
            None => true,
        }
    }
}

/// Proposes, with a hold where one was asked for, the site is ready, and its capacity is still free.
fn propose(
    call: &Call,
    facts: &Facts,
    calls: Vec<ProviderCall>,
    now: Timestamp,
    fits: impl FnOnce(&Allocation) -> bool,
) -> Proposal {
    let allocation = matching::allocation::allocation(&call.requirement, facts);
    let ready = matching::unmet::verdict(&matching::unmet::unmet(&call.requirement, facts)) == Verdict::Ready;
    let hold_until = call
        .hold_seconds
        .filter(|_| ready && allocation.as_ref().is_some_and(fits))
        .map(|seconds| now.plus(seconds));
    let mut proposal = secretary::rules::propose(call, facts, calls, hold_until);
    proposal.hold_is_firm = hold_until.map(|_| true);
    proposal
}

/// What an award of this offer will need to know; the start as the site's own tools see it.
fn terms(requirement: &Requirement, facts: &Facts, now: Timestamp) -> Terms {
    let allocation = matching::allocation::allocation(requirement, facts);
    Terms {
        allocation,
        usd_per_hour: usd_per_hour(requirement, facts),
        foreseen: allocation.and_then(|takes| Foreseen::of(requirement, facts, takes, now)),
    }
}

/// The price of an hour, by the same rule as the promise for the whole work.
fn usd_per_hour(requirement: &Requirement, facts: &Facts) -> Option<Usd> {
    let mut hour = requirement.clone();
    hour.time.duration_seconds = Some(Seconds::from(3600));
    matching::promises::promises(&hour, facts).cost_usd
}

/// Whether a simulated site has an allocation free beside what is taken.
fn fits_site(mock: &Mock, tick: u64, allocation: &Allocation, taken: &[(ProposalId, Allocation)]) -> bool {
    let requirement = Requirement::default();
    let facts = mock.site.truth_for(&requirement, tick, taken);
    facts.compute.is_some_and(|compute| {
        compute.groups.iter().any(|group| {
            group.nodes_free.is_none_or(|free| free >= allocation.nodes)
                && group.cores_free.is_none_or(|free| free >= allocation.cores)
                && group.gpus_free.is_none_or(|free| free >= allocation.gpus)
        })
    })
}
