//! Constraints on start, end, run time and cost.

use protocol::evaluation::Reason;
use protocol::facts::Facts;
use protocol::proposal::ReasonCode;
use protocol::requirement::{Requirement, TimeNeed, Urgency};
use protocol::units::Seconds;

use super::reason;
use crate::promises::{cost_per_hour, runtime_or_assumed, stated_runtime};
use crate::site::Site;
use crate::wording;

/// A start within this many seconds is a start at once: a scheduler's own cycle and the preparation of
/// a node take minutes without any queue.
pub(crate) const AT_ONCE: f64 = 300.0;

/// Floating-point slack, so that a cost of exactly the budget is within it.
const ROUNDING: f64 = 1e-9;

/// Whether no wait at all is acceptable.
pub(crate) fn must_start_at_once(time: &TimeNeed) -> bool {
    time.urgency == Some(Urgency::Immediate)
        || time.start_by_seconds.is_some_and(|limit| limit <= Seconds::ZERO)
}

pub(super) fn time(requirement: &Requirement, site: Site<'_>) -> Vec<Reason> {
    let start = site.workload().and_then(|workload| workload.start).map(|start| start.p90.get());
    let mut reasons = Vec::new();
    reasons.extend(start_is_late(&requirement.time, start, site));
    reasons.extend(end_is_late(requirement, start, site));
    reasons.extend(run_is_long(requirement, site));
    reasons
}

fn start_in_words(p90: f64) -> String {
    format!("P90 start in {}", wording::duration(p90))
}

fn start_is_late(time: &TimeNeed, start: Option<f64>, site: Site<'_>) -> Option<Reason> {
    let at_once = must_start_at_once(time).then_some(AT_ONCE);
    let stated = time.start_by_seconds.map(|limit| limit.get()).filter(|limit| *limit > 0.0);
    let words = stated.map_or_else(
        || "start at once".to_owned(),
        |limit| format!("start within {}", wording::duration(limit)),
    );
    match (start, at_once, stated) {
        (_, None, None) => None,
        (Some(p90), at_once, stated) => {
            let limit = at_once.unwrap_or(f64::MAX).min(stated.unwrap_or(f64::MAX));
            (p90 > limit).then(|| reason(ReasonCode::StartTooLate, words, start_in_words(p90)))
        }
        // No queue was seen to stand between the work and capacity that is free now; if none is free,
        // the reason for that is given already.
        (None, Some(_), None) => None,
        (None, _, Some(_)) => Some(reason(ReasonCode::FactUnknown, words, site.unknown("start estimate"))),
    }
}

fn end_is_late(requirement: &Requirement, start: Option<f64>, site: Site<'_>) -> Option<Reason> {
    let deadline = requirement.time.deadline_seconds?.get();
    let wanted = format!("done within {}", wording::duration(deadline));
    // A run time that the request does not state cannot be held against the site; the start can.
    let runtime = stated_runtime(requirement).map_or(0.0, |runtime| runtime.get());
    if runtime > deadline {
        let had = format!("run time {}", wording::duration(runtime));
        return Some(reason(ReasonCode::DeadlineMissed, wanted, had));
    }
    let Some(p90) = start else {
        return Some(reason(ReasonCode::FactUnknown, wanted, site.unknown("start estimate")));
    };
    (p90 + runtime > deadline).then(|| {
        let had = format!("{}, run time {}", start_in_words(p90), wording::duration(runtime));
        let had = if runtime > 0.0 { had } else { start_in_words(p90) };
        reason(ReasonCode::DeadlineMissed, wanted, had)
    })
}

fn run_is_long(requirement: &Requirement, site: Site<'_>) -> Option<Reason> {
    let runtime = stated_runtime(requirement)?;
    let limit = site.workload()?.time_limit?;
    (runtime > limit).then(|| {
        let wanted = format!("run time {}", wording::duration(runtime.get()));
        reason(ReasonCode::TimeLimit, wanted, format!("at most {}", wording::duration(limit.get())))
    })
}

pub(super) fn budget(requirement: &Requirement, facts: &Facts) -> Option<Reason> {
    let budget = requirement.budget_usd?.get();
    let wanted = format!("at most {} USD", wording::number(budget));
    let Some(per_hour) = cost_per_hour(requirement, facts) else {
        // Where the work does not fit there is nothing to price, and that reason is given already.
        let site = Site::of(facts);
        let fits_nowhere =
            site.compute().is_some() && crate::allocation::allocation(requirement, facts).is_none();
        return (!fits_nowhere).then(|| reason(ReasonCode::FactUnknown, wanted, site.unknown("price")));
    };
    let cost = per_hour * runtime_or_assumed(requirement) / 3600.0;
    (cost > budget + budget.abs() * ROUNDING).then(|| {
        let had = format!("{} USD", wording::number(cost));
        let had = if stated_runtime(requirement).is_some() {
            had
        } else {
            format!("{had} for one hour, as the request states no run time")
        };
        reason(ReasonCode::OverBudget, wanted, had)
    })
}
