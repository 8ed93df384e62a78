//! Capacity that holds and awards of this hub take at mock sites, so that the hub can regenerate a
//! site's truth by itself: truth = site(tick) - taken.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::facts::Allocation;
use protocol::ids::{ProposalId, WorkerId};
use protocol::units::Timestamp;

/// What is taken where.
#[derive(Default)]
pub struct Taken {
    by_worker: Mutex<BTreeMap<WorkerId, BTreeMap<ProposalId, Taking>>>,
}

#[derive(Clone, Copy)]
struct Taking {
    allocation: Allocation,
    standing: Standing,
}

#[derive(Clone, Copy)]
enum Standing {
    /// A hold that ends by itself.
    Held { until: Timestamp },
    /// Awarded: taken until the work ends.
    Awarded { at: Timestamp },
}

impl Taken {
    /// Notes the hold that a proposal came with.
    pub fn hold(&self, worker: &WorkerId, proposal: &ProposalId, allocation: Allocation, until: Timestamp) {
        self.change(worker, |all| {
            all.insert(proposal.clone(), Taking { allocation, standing: Standing::Held { until } })
        });
    }

    /// Notes that a proposal was awarded: its capacity is taken until the work ends.
    pub fn award(&self, worker: &WorkerId, proposal: &ProposalId, allocation: Allocation, at: Timestamp) {
        let standing = Standing::Awarded { at };
        self.change(worker, |all| all.insert(proposal.clone(), Taking { allocation, standing }));
    }

    /// Notes that a hold was released or the work ended.
    pub fn release(&self, worker: &WorkerId, proposal: &ProposalId) {
        self.change(worker, |all| all.remove(proposal));
    }

    /// Drops the holds that have ended.
    pub fn expire(&self, now: Timestamp) {
        let mut by_worker = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        for all in by_worker.values_mut() {
            all.retain(|_, taking| !matches!(taking.standing, Standing::Held { until } if until <= now));
        }
        by_worker.retain(|_, all| !all.is_empty());
    }

    /// What is taken at one worker.
    #[must_use]
    pub fn of(&self, worker: &WorkerId) -> Vec<(ProposalId, Allocation)> {
        let by_worker = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        let all = by_worker.get(worker);
        all.into_iter().flatten().map(|(id, taking)| (id.clone(), taking.allocation)).collect()
    }

    /// What was taken when a worker looked: the holds and awards that it lists and that we know, and
    /// every award that was in force before the call, listed or not. A hold that came later, or one that
    /// the worker made up, is not among them.
    #[must_use]
    pub fn seen_by(
        &self,
        worker: &WorkerId,
        listed: &[ProposalId],
        called_at: Timestamp,
    ) -> Vec<(ProposalId, Allocation)> {
        let by_worker = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        let all = by_worker.get(worker).into_iter().flatten();
        all.filter(|(id, taking)| {
            listed.contains(id) || matches!(taking.standing, Standing::Awarded { at } if at < called_at)
        })
        .map(|(id, taking)| (id.clone(), taking.allocation))
        .collect()
    }

    fn change<T>(&self, worker: &WorkerId, change: impl FnOnce(&mut BTreeMap<ProposalId, Taking>) -> T) {
        let mut by_worker = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        change(by_worker.entry(worker.clone()).or_default());
    }
}
