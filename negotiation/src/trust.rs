//! Trust is a fold over evidence: two Beta pairs and an availability rate per worker, with forgetting
//! (Josang and Ismail 2002: the beta reputation system).
//!
//! Each piece of evidence multiplies what was known by 0.9 and adds its good and bad parts; what is
//! not renewed decays towards the prior with a half-life of 14 days. Severity 3 for an over-claim and
//! 1 for an under-claim separate a lie from noise: one over-claim takes a worker of long standing
//! from 0.92 to 0.71, and 12 honest negotiations bring it back to 0.85.

use matching::claims::{TOLERANCE, relative_error};
use protocol::error::ErrorCode;
use protocol::evaluation::{AuditFinding, AuditResult};
use protocol::ids::{JobId, NegotiationId, WorkerId};
use protocol::job::{AttemptState, Observed};
use protocol::proposal::{Outcome, Promises, Reply};
use protocol::trust::{BetaPair, TrustAspect, TrustEvidence, TrustRecord, TrustSource, TrustState};
use protocol::units::{Number, Seconds, Timestamp};

/// What one piece of evidence leaves of those before it.
pub const MEMORY: f64 = 0.9;
/// How much worse an over-claim is than a true claim is good.
pub const SEVERITY: f64 = 3.0;
/// Below this expectation of claim honesty or of delivery a worker is quarantined.
pub const QUARANTINE_LINE: f64 = 0.4;
/// Time in which unrenewed evidence loses half its weight.
pub const HALF_LIFE_SECONDS: f64 = 14.0 * 86_400.0;
/// Total evidence below which a worker is a newcomer: as much as the prior itself weighs.
const ENOUGH_EVIDENCE: f64 = 2.0;
/// The most that one piece of evidence may carry: the severity times the largest stake.
const LARGEST_EVIDENCE: f64 = 6.0;
/// A start this much later than promised is the award's own way through the network.
const START_GRACE_SECONDS: f64 = 5.0;

/// The record after one more piece of evidence. Evidence that is older than the record's last counts
/// in full and does not turn time back.
#[must_use]
pub fn fold(record: &TrustRecord, evidence: &TrustEvidence) -> TrustRecord {
    let mut next = decayed(record, evidence.at);
    let good = evidence.good.get().clamp(0.0, LARGEST_EVIDENCE);
    let bad = evidence.bad.get().clamp(0.0, LARGEST_EVIDENCE);
    let pair = match evidence.aspect {
        TrustAspect::Claim => &mut next.claim,
        TrustAspect::Delivery => &mut next.delivery,
        TrustAspect::Availability => &mut next.availability,
    };
    *pair = BetaPair::new(MEMORY * pair.r.get() + good, MEMORY * pair.s.get() + bad);
    next.updated_at = Some(record.updated_at.map_or(evidence.at, |last| last.max(evidence.at)));
    next.state = state(&next);
    next
}

/// The record as it stands at a later time without new evidence. Both sides of a pair shrink by the
/// same factor, so the expectation moves towards 0.5 and never across it: waiting alone cannot make
/// a bad name good.
#[must_use]
pub fn as_of(record: &TrustRecord, now: Timestamp) -> TrustRecord {
    let mut next = decayed(record, now);
    next.state = state(&next);
    next
}

fn decayed(record: &TrustRecord, now: Timestamp) -> TrustRecord {
    let idle = record.updated_at.map_or(0.0, |last| now.since(last).get().max(0.0));
    if idle == 0.0 {
        return record.clone();
    }
    let left = libm::exp2(-idle / HALF_LIFE_SECONDS);
    let shrink = |pair: &BetaPair| BetaPair::new(left * pair.r.get(), left * pair.s.get());
    TrustRecord {
        claim: shrink(&record.claim),
        delivery: shrink(&record.delivery),
        availability: shrink(&record.availability),
        state: record.state,
        updated_at: record.updated_at,
    }
}

fn state(record: &TrustRecord) -> TrustState {
    let known: f64 = [record.claim.r, record.claim.s, record.delivery.r, record.delivery.s]
        .into_iter()
        .map(Number::get)
        .sum();
    let worst = record.claim.expectation.get().min(record.delivery.expectation.get());
    if worst < QUARANTINE_LINE {
        TrustState::Quarantined
    } else if known < ENOUGH_EVIDENCE {
        TrustState::Newcomer
    } else {
        TrustState::Trusted
    }
}

/// Whether a quarantined worker is due for a canary, a small job by which it can recover.
#[must_use]
pub fn canary_due(
    record: &TrustRecord,
    last_canary: Option<Timestamp>,
    now: Timestamp,
    interval: Seconds,
) -> bool {
    record.state == TrustState::Quarantined
        && last_canary.is_none_or(|last| now.since(last).get() >= interval.get())
}

/// What one negotiation teaches about a worker's honesty: evidence 1 in total over the claims that
/// could be checked, however many they are, so that true trivia cannot farm trust. None when nothing
/// could be checked.
#[must_use]
pub fn claim_evidence(
    worker_id: &WorkerId,
    negotiation_id: &NegotiationId,
    findings: &[AuditFinding],
    at: Timestamp,
) -> Option<TrustEvidence> {
    let mut matches = 0_u32;
    let mut unders = 0_u32;
    let mut worst: Option<(f64, &AuditFinding)> = None;
    for finding in findings {
        match finding.result {
            AuditResult::Match => matches += 1,
            AuditResult::Under => unders += 1,
            AuditResult::Over => {
                let severity = over_claim(finding);
                if worst.is_none_or(|(most, _)| severity > most) {
                    worst = Some((severity, finding));
                }
            }
            AuditResult::Unchecked => {}
        }
    }
    let (good, bad, finding) = if let Some((severity, finding)) = worst {
        (0.0, severity, format!("over-claim of {}", finding.subject))
    } else {
        let checked = matches + unders;
        if checked == 0 {
            return None;
        }
        let share = |count: u32| f64::from(count) / f64::from(checked);
        let finding = if unders == 0 {
            format!("{checked} claims checked, all true")
        } else {
            format!("{checked} claims checked, {unders} too modest")
        };
        (share(matches), share(unders), finding)
    };
    Some(TrustEvidence {
        worker_id: worker_id.clone(),
        aspect: TrustAspect::Claim,
        good: Number::saturating(good),
        bad: Number::saturating(bad),
        at,
        because: TrustSource { negotiation_id: Some(negotiation_id.clone()), job_id: None, finding },
    })
}

/// How bad an over-claim is: a yes or a version is 3, a number 3 times its error beyond the tolerance.
fn over_claim(finding: &AuditFinding) -> f64 {
    let error = finding.truth.as_ref().and_then(|truth| relative_error(&finding.claimed, truth));
    SEVERITY * error.map_or(1.0, |error| (error - TOLERANCE).clamp(0.0, 1.0))
}

/// What a call teaches about a worker's availability: it answered, or it did not. A worker that was
/// never asked has shown nothing.
#[must_use]
pub fn availability_evidence(
    worker_id: &WorkerId,
    negotiation_id: &NegotiationId,
    reply: &Reply,
    at: Timestamp,
) -> Option<TrustEvidence> {
    let (good, bad, finding) = match reply {
        Reply::Proposal(_) => (1.0, 0.0, "answered".to_owned()),
        Reply::Missing(missing) if missing.outcome == Outcome::NotAsked => return None,
        Reply::Missing(missing) => (0.0, 1.0, format!("no proposal: {}", missing.outcome)),
    };
    Some(TrustEvidence {
        worker_id: worker_id.clone(),
        aspect: TrustAspect::Availability,
        good: Number::saturating(good),
        bad: Number::saturating(bad),
        at,
        because: TrustSource { negotiation_id: Some(negotiation_id.clone()), job_id: None, finding },
    })
}

/// How an attempt ended, as far as its site is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The work was done.
    Delivered,
    /// The work was not done, and that is the site's fault.
    SiteFailed,
}

impl DeliveryOutcome {
    /// The outcome of an attempt in some state; none where the site is not to blame or to praise: the
    /// job's own failure, its time limit, a cancel, doubt, or an attempt that is not over.
    #[must_use]
    pub fn of(state: AttemptState, error: Option<ErrorCode>) -> Option<Self> {
        match state {
            AttemptState::Succeeded => Some(Self::Delivered),
            AttemptState::Lost => Some(Self::SiteFailed),
            AttemptState::Failed => match error {
                Some(
                    ErrorCode::Internal
                    | ErrorCode::Storage
                    | ErrorCode::Busy
                    | ErrorCode::UpstreamDown
                    | ErrorCode::UpstreamTimeout
                    | ErrorCode::UpstreamBad
                    | ErrorCode::UpstreamSize
                    | ErrorCode::CapacityTaken,
                ) => Some(Self::SiteFailed),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A finished attempt, to be compared with what was promised.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Who ran it.
    pub worker_id: &'a WorkerId,
    /// The job.
    pub job_id: &'a JobId,
    /// The negotiation that placed it.
    pub negotiation_id: Option<&'a NegotiationId>,
    /// What the winning proposal promised.
    pub promised: &'a Promises,
    /// What was observed.
    pub observed: &'a Observed,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// Nodes times hours: the stake.
    pub node_hours: f64,
    /// When it ended.
    pub at: Timestamp,
}

/// What a finished attempt teaches about its site: the mean degree to which each promise was kept,
/// weighted by the stake, so that many cheap jobs cannot launder one large failure.
#[must_use]
pub fn delivery_evidence(delivery: &Delivery<'_>) -> TrustEvidence {
    let (kept, finding) = match delivery.outcome {
        DeliveryOutcome::SiteFailed => (0.0, "the site did not deliver".to_owned()),
        DeliveryOutcome::Delivered => {
            let kept = promises_kept(delivery.promised, delivery.observed);
            (kept, format!("delivered, promises kept to {:.0} %", 100.0 * kept))
        }
    };
    let stake = stake(delivery.node_hours);
    TrustEvidence {
        worker_id: delivery.worker_id.clone(),
        aspect: TrustAspect::Delivery,
        good: Number::saturating(stake * kept),
        bad: Number::saturating(SEVERITY * stake * (1.0 - kept)),
        at: delivery.at,
        because: TrustSource {
            negotiation_id: delivery.negotiation_id.cloned(),
            job_id: Some(delivery.job_id.clone()),
            finding,
        },
    }
}

/// `clamp(log2(1 + node hours) / 4, 0.25, 2)`.
fn stake(node_hours: f64) -> f64 {
    (libm::log2(1.0 + node_hours.clamp(0.0, 1e9)) / 4.0).clamp(0.25, 2.0)
}

/// The mean over the promises that were made and can be compared; work without any was done in full.
fn promises_kept(promised: &Promises, observed: &Observed) -> f64 {
    let start = promised.start_p90_seconds.zip(observed.start_seconds);
    let runtime = promised.runtime_seconds.zip(observed.runtime_seconds);
    let cost = promised.cost_usd.zip(observed.cost_usd);
    let degrees = [
        start.map(|(p, o)| kept(p.get(), o.get(), START_GRACE_SECONDS)),
        runtime.map(|(p, o)| kept(p.get(), o.get(), START_GRACE_SECONDS)),
        cost.map(|(p, o)| kept(p.get(), o.get(), 0.01)),
    ];
    let (sum, count) =
        degrees.into_iter().flatten().fold((0.0, 0.0), |(sum, count), degree| (sum + degree, count + 1.0));
    if count == 0.0 { 1.0 } else { sum / count }
}

/// `min(1, promised with its tolerance / actual)`, for quantities of which less is better.
fn kept(promised: f64, actual: f64, grace: f64) -> f64 {
    let allowed = (1.0 + TOLERANCE) * promised.max(0.0) + grace;
    if actual <= allowed { 1.0 } else { (allowed / actual).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests;
