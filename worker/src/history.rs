//! What was foreseen of the start of accepted work, what happened, and what that says of the next start.
//!
//! A *case* is one award: the manager's own estimate as it was, and how long the work then waited. The
//! estimate for the next award is the own one, moved by as much as comparable cases missed theirs:
//!
//! - *Split conformal prediction* (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
//!   2005) with normalised scores (Papadopoulos, Gammerman and Vovk, 2008) on the estimator's own quantiles
//!   (Romano, Patterson and Candès, Conformalized Quantile Regression, 2019). Whatever the estimator is
//!   worth, at least nine in ten starts come before the P90, as long as the queue behaves as it did.
//! - Without an estimate, the same figures are the quantiles of the observed waits, as batch queues are
//!   predicted by Brevik, Nurmi and Wolski (QBETS, 2007), from whom the classes of size are.
//! - Work that still waits, or was withdrawn while it waited, has waited *at least* so long. The product
//!   limit (Kaplan and Meier, 1958) counts that; leaving it out would make long waits look rare.
//!
//! The formula itself says what it needs: with fewer than nine starts there is no ninth in ten, and the
//! manager's own estimate stays as it is. Where too much waits longer than it said, for nobody knows how
//! long, the start is unknown.

mod journal;
#[cfg(test)]
mod negotiations;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod this_machine;

pub use journal::History;

use protocol::facts::{Allocation, Facts, Provenance, Scope, StartEstimate};
use protocol::requirement::Requirement;
use protocol::units::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::AttemptKey;

/// Only so many of the latest comparable starts count, so that a changed queue is soon seen.
const LATEST: usize = 60;
/// Older cases say nothing of the queue of today.
const OLDEST: u32 = 90 * 86_400;
/// Estimates of many minutes are missed in proportion to their length, short ones by seconds; in between,
/// the miss is measured against the estimate plus this many seconds.
const SHORT: f64 = 60.0;
/// A start within these seconds is a start at once: managers' clocks tell whole seconds, and their
/// schedulers look at the queue every few.
const AT_ONCE: f64 = 5.0;

/// What was known of a start when it was offered, and what the manager said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// When it was offered.
    pub at: Timestamp,
    /// The workload manager.
    pub manager: String,
    /// The manager's own estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartEstimate>,
    /// What the work takes.
    pub allocation: Allocation,
    /// Whether that was free.
    pub free: bool,
    /// Jobs that waited.
    pub waiting: u32,
}

/// How long work waited.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Until it started.
    Started(Seconds),
    /// It has not started yet, or was withdrawn before.
    AtLeast(Seconds),
}

/// One award that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Which attempt.
    pub key: AttemptKey,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What was foreseen.
    pub foreseen: Foreseen,
    /// What happened.
    pub wait: Wait,
}

/// What comparable cases make of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corrected {
    /// When the work starts; `None` where they refute the estimate without telling how long it takes instead.
    pub start: Option<StartEstimate>,
    /// How many starts that comes from.
    pub starts: usize,
    /// When the latest comparable case was accepted.
    pub latest: Timestamp,
}

impl Foreseen {
    /// What the facts say of the start of work that takes this allocation; `None` where they do not say
    /// how many jobs wait, because nothing could be compared with it.
    #[must_use]
    pub fn of(
        requirement: &Requirement,
        facts: &Facts,
        allocation: Allocation,
        at: Timestamp,
    ) -> Option<Self> {
        let workload = facts.workload.as_ref()?;
        let unmet = matching::unmet::unmet(requirement, facts);
        Some(Self {
            at,
            manager: workload.manager.clone(),
            start: workload.start,
            allocation,
            free: !unmet.iter().any(|reason| reason.code.is_about_capacity()),
            waiting: workload.queue_depth?,
        })
    }

    /// Whether what happened to one says something of the other. An estimate is compared with those of
    /// its own order of magnitude, since it knows of the size of the work already.
    fn is_comparable(&self, other: &Self) -> bool {
        let alike = match (self.start, other.start) {
            (Some(this), Some(other)) => magnitude(this.p90) == magnitude(other.p90),
            (None, None) => {
                self.free == other.free && size_class(&self.allocation) == size_class(&other.allocation)
            }
            _ => false,
        };
        alike && self.manager == other.manager && (self.waiting == 0) == (other.waiting == 0)
    }

    /// The manager's own figure; where it has none, zero, so that the miss is the wait itself.
    fn own(&self, figure: impl Fn(StartEstimate) -> Seconds) -> f64 {
        self.start.map_or(0.0, |start| figure(start).get().max(0.0))
    }
}

impl Wait {
    fn seconds(self) -> f64 {
        match self {
            Self::Started(seconds) | Self::AtLeast(seconds) => seconds.get().max(0.0),
        }
    }

    const fn has_started(self) -> bool {
        matches!(self, Self::Started(_))
    }
}

/// What cases, in any order, make of the estimate for a start; `None` where they do not suffice, and where
/// they agree that a start at once is one.
#[must_use]
pub fn correct(foreseen: &Foreseen, cases: &[Case], now: Timestamp) -> Option<Corrected> {
    let cases = latest_comparable(foreseen, cases, now);
    let has_estimate = foreseen.start.is_some();
    let own_p90 = foreseen.own(|start| start.p90);
    let p50 = corrected(foreseen, &cases, |start| start.p50, 0.5, Wait::has_started);
    let p90 = corrected(foreseen, &cases, |start| start.p90, 0.9, Wait::has_started);
    let start = match p50.zip(p90) {
        Some((_, p90)) if has_estimate && own_p90.max(p90) <= AT_ONCE => return None,
        Some((p50, p90)) => {
            Some(StartEstimate { p50: Seconds::saturating(p50), p90: Seconds::saturating(p90.max(p50)) })
        }
        None => {
            // As if all that waits started this moment; the truth is later.
            let at_least = corrected(foreseen, &cases, |start| start.p90, 0.9, |_| true)?;
            if !has_estimate || at_least <= own_p90 + AT_ONCE {
                return None;
            }
            None
        }
    };
    let starts = cases.iter().filter(|case| case.wait.has_started()).count();
    Some(Corrected { start, starts, latest: cases.first()?.accepted_at })
}

/// The latest cases first, back to the last start that counts. What waits does not use up the places: a
/// burst of awards must not push all that is known away.
fn latest_comparable<'a>(foreseen: &Foreseen, cases: &'a [Case], now: Timestamp) -> Vec<&'a Case> {
    let is_recent = |case: &Case| now.since(case.accepted_at) < Seconds::from(OLDEST);
    let mut comparable: Vec<&Case> =
        cases.iter().filter(|case| is_recent(case) && foreseen.is_comparable(&case.foreseen)).collect();
    comparable.sort_by(|a, b| (b.accepted_at, &b.key).cmp(&(a.accepted_at, &a.key)));
    let mut starts = 0;
    comparable.retain(|case| {
        let counts = starts < LATEST;
        starts += usize::from(counts && case.wait.has_started());
        counts
    });
    comparable
}

/// One figure of an estimate, moved by the quantile of what comparable cases missed theirs by. Waits that
/// are not exact are lower bounds.
fn corrected(
    foreseen: &Foreseen,
    cases: &[&Case],
    figure: impl Fn(StartEstimate) -> Seconds,
    share: f64,
    is_exact: impl Fn(Wait) -> bool,
) -> Option<f64> {
    let missed = cases.iter().map(|case| {
        let own = case.foreseen.own(&figure);
        ((case.wait.seconds() - own) / (own + SHORT), is_exact(case.wait))
    });
    let missed = quantile(missed.collect(), share)?;
    let own = foreseen.own(&figure);
    let seconds = own + missed * (own + SHORT);
    // Takes back what the way through the score adds to a whole number of seconds.
    let seconds = (seconds * 1000.0).round() / 1000.0;
    seconds.is_finite().then(|| seconds.max(0.0))
}

/// The least value that the next one stays at or below with this probability: the product limit over the
/// values and the next one, which counts as the largest. Values with `false` are only lower bounds. With
/// no such bound it is the `ceil(share * (n + 1))`-th smallest of `n` values.
fn quantile(mut values: Vec<(f64, bool)>, share: f64) -> Option<f64> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut later = 1.0;
    for (before, (value, exact)) in values.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "at most as many as count")]
        let left = (values.len() + 1 - before) as f64;
        if *exact {
            later *= 1.0 - 1.0 / left;
        }
        // The tolerance is for rounding: nine of ten are to be nine in ten.
        if *exact && 1.0 - later >= share - 1e-9 {
            return Some(*value);
        }
    }
    None
}

/// 0 below a minute, and one more for each factor of ten.
fn magnitude(seconds: Seconds) -> u32 {
    let mut limit = SHORT;
    let mut magnitude = 0;
    while seconds.get() >= limit && limit < f64::MAX / 10.0 {
        limit *= 10.0;
        magnitude += 1;
    }
    magnitude
}

/// Which sizes wait alike: the classes of QBETS by cores, with GPUs and without.
const fn size_class(allocation: &Allocation) -> (bool, u8) {
    let cores = match allocation.cores {
        0..=4 => 0,
        5..=16 => 1,
        17..=64 => 2,
        _ => 3,
    };
    (allocation.gpus > 0, cores)
}

impl Corrected {
    /// Where the estimate comes from, to stand beside the evidence of the providers.
    #[must_use]
    pub fn provenance(&self, foreseen: &Foreseen, now: Timestamp) -> Provenance {
        let (manager, starts) = (&foreseen.manager, self.starts);
        let source = match (foreseen.start, self.start) {
            (Some(start), None) => format!(
                "estimate of {manager} (P90 {}) left out: comparable work waits longer, nobody knows how long",
                start.p90
            ),
            (Some(start), Some(_)) => format!(
                "estimate of {manager} (P50 {}, P90 {}), corrected by {starts} comparable starts",
                start.p50, start.p90
            ),
            (None, _) => format!("waits before {starts} comparable starts; {manager} has no estimate"),
        };
        Provenance {
            source,
            scope: Scope::Site,
            digest: None,
            observed_at: self.latest,
            age_seconds: Seconds::saturating(now.since(self.latest).get().max(0.0)),
            problem: None,
        }
    }
}
