//! What the hub believes of one proposal: the truth where it knows it and this round goes by it,
//! the site's own statement otherwise. Gate, score and strategies all read the same belief.

use matching::promises::promises;
use matching::values::factor_value;
use protocol::claim::ClaimValue;
use protocol::evaluation::AuditMode;
use protocol::factor::{Factor, FactorName};
use protocol::facts::{Facts, Flag};
use protocol::proposal::{Promises, Proposal};
use protocol::requirement::Requirement;
use protocol::units::{Seconds, Usd};

use crate::score;

/// The claim in which a site states how many jobs wait in its queue.
pub const QUEUE_DEPTH: &str = "queue.depth";

/// What the hub believes of one proposal.
#[derive(Debug, Clone, Copy)]
pub struct Belief<'a> {
    /// The truth, where this round goes by it.
    pub truth: Option<&'a Facts>,
    /// Start, run time and cost; what is unknown or impossible is `None`.
    pub promises: Promises,
    /// Qualitative problems.
    pub flags: &'a [Flag],
    requirement: &'a Requirement,
    proposal: &'a Proposal,
}

/// A factor's utility and how much of it the hub has verified.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Utility {
    /// From 0.01 to 1.
    pub utility: f64,
    /// Verified share, from 0 to 1.
    pub verified: f64,
}

impl<'a> Belief<'a> {
    /// What is believed of a proposal; in audit mode `after` the truth is left aside.
    #[must_use]
    pub fn of(
        requirement: &'a Requirement,
        proposal: &'a Proposal,
        truth: Option<&'a Facts>,
        mode: AuditMode,
    ) -> Self {
        let truth = truth.filter(|_| mode == AuditMode::Before);
        let stated = truth.map_or(proposal.promises, |facts| promises(requirement, facts));
        Self {
            truth,
            promises: possible(stated),
            flags: truth.map_or(&proposal.flags, |facts| &facts.flags),
            requirement,
            proposal,
        }
    }

    /// The utility of one factor, scored on the scale of the call and never as the site scored itself.
    ///
    /// A value that is absent or impossible has the least utility and keeps its weight, so that
    /// silence never beats a known bad value. Cost and times count as the worse of the factor's value
    /// and what the promises say, because only promises are compared with what is delivered.
    #[must_use]
    pub fn utility(&self, factor: &Factor) -> Utility {
        if self.truth.is_some() {
            let value = self.value(factor.name);
            return Utility {
                utility: score::utility(&factor.scale, value),
                verified: f64::from(u8::from(value.is_some())),
            };
        }
        let utility = score::utility(&factor.scale, self.value(factor.name));
        let promised = match factor.name {
            FactorName::Cost => self.promises.cost_usd.map(Usd::get),
            FactorName::StartTime => self.promises.start_p90_seconds.map(Seconds::get),
            FactorName::FinishTime => {
                let (start, runtime) = (self.promises.start_p90_seconds, self.promises.runtime_seconds);
                start.zip(runtime).map(|(start, runtime)| start.get() + runtime.get())
            }
            _ => None,
        };
        let utility = match promised {
            Some(promised) => utility.min(score::utility(&factor.scale, Some(promised))),
            None => utility,
        };
        Utility { utility, verified: 0.0 }
    }

    /// The value of a factor: the true one, or else the one that the site states.
    fn value(&self, name: FactorName) -> Option<f64> {
        match self.truth {
            Some(facts) => factor_value(name, self.requirement, facts, &self.promises),
            None => self.proposal.factors.get(&name).map(|score| score.value.get()),
        }
    }

    /// Seconds until the P90 start.
    #[must_use]
    pub fn start(&self) -> Option<f64> {
        let promised = self.promises.start_p90_seconds.map(Seconds::get);
        promised.or_else(|| self.value(FactorName::StartTime)).filter(|start| *start >= 0.0)
    }

    /// US dollars for the work; where no run time is known, for one hour of it.
    #[must_use]
    pub fn cost(&self) -> Option<f64> {
        let promised = self.promises.cost_usd.map(Usd::get);
        promised.or_else(|| self.value(FactorName::Cost)).filter(|cost| *cost >= 0.0)
    }

    /// Jobs that wait at the site, if anyone can tell.
    #[must_use]
    pub fn queue_depth(&self) -> Option<f64> {
        if let Some(facts) = self.truth {
            return facts.workload.as_ref()?.queue_depth.map(f64::from);
        }
        self.proposal.claims.iter().find(|claim| claim.subject == QUEUE_DEPTH).and_then(|claim| match &claim
            .value
        {
            ClaimValue::Quantity(number) if number.get() >= 0.0 => Some(number.get()),
            _ => None,
        })
    }
}

/// Promises without those that cannot be: time and money below zero.
fn possible(promises: Promises) -> Promises {
    let time = |seconds: Option<Seconds>| seconds.filter(|seconds| seconds.get() >= 0.0);
    Promises {
        start_p50_seconds: time(promises.start_p50_seconds),
        start_p90_seconds: time(promises.start_p90_seconds),
        runtime_seconds: time(promises.runtime_seconds),
        cost_usd: promises.cost_usd.filter(|cost| cost.get() >= 0.0),
    }
}
