//! The gate: every hard constraint holds, or a reason with its code, what was wanted and what there
//! was. Nothing buys back a failed gate.
//!
//! In audit mode `before` a site whose truth the hub knows is judged by the truth, and a false claim
//! on a hard subject fails by itself. Every other site is judged by its verdict, the constraints that
//! it says are not met, and its promises. Of a site's text only the codes count.

use matching::unmet::{blocking, unmet};
use protocol::evaluation::{AuditFinding, AuditMode, AuditResult, Gate, Reason};
use protocol::proposal::{NoProposal, Proposal, ReasonCode, Reply, Verdict};
use protocol::requirement::Requirement;
use protocol::trust::{TrustRecord, TrustState};

use crate::belief::Belief;
use crate::score::shown;
use crate::stated::contradictions;
use crate::trust::QUARANTINE_LINE;

/// Reasons of one site that are kept in the record.
const REASONS_KEPT: usize = 32;

/// What the gate looks at beside the requirement.
#[derive(Debug, Clone, Copy)]
pub struct GateInput<'a> {
    /// What the worker answered.
    pub reply: &'a Reply,
    /// What is believed of its proposal, if it made one.
    pub belief: Option<&'a Belief<'a>>,
    /// What the audit found.
    pub findings: &'a [AuditFinding],
    /// What is known of its honesty and delivery.
    pub trust: &'a TrustRecord,
    /// Whether the request names this worker, which lets a quarantined one be chosen.
    pub named: bool,
    /// When false claims count.
    pub mode: AuditMode,
}

/// Judges one worker's answer by the hard constraints.
#[must_use]
pub fn gate(requirement: &Requirement, input: GateInput<'_>) -> Gate {
    let mut failed = Vec::new();
    match (input.reply, input.belief) {
        (Reply::Proposal(proposal), Some(belief)) => {
            failed.extend(verdict_reason(requirement, proposal));
            failed.extend(match belief.truth {
                Some(facts) => blocking(requirement, &unmet(requirement, facts)),
                None => stated_reasons(requirement, proposal, belief),
            });
            if input.mode == AuditMode::Before {
                failed.extend(false_claims(input.findings));
            }
        }
        (Reply::Proposal(_), None) => {}
        (Reply::Missing(missing), _) => failed.push(no_proposal(missing)),
    }
    if input.trust.state == TrustState::Quarantined && !input.named {
        failed.push(quarantined(input.trust));
    }
    failed.truncate(REASONS_KEPT);
    Gate { passed: failed.is_empty(), failed }
}

fn no_proposal(missing: &NoProposal) -> Reason {
    Reason {
        code: ReasonCode::NoProposal,
        wanted: "a proposal".to_owned(),
        had: format!("{} ({})", missing.outcome, missing.error.code),
    }
}

fn quarantined(trust: &TrustRecord) -> Reason {
    let (claim, delivery) = (trust.claim.expectation.get(), trust.delivery.expectation.get());
    Reason {
        code: ReasonCode::Quarantined,
        wanted: format!("trust of at least {QUARANTINE_LINE:.2} in claims and in delivery"),
        had: format!("{claim:.2} in claims, {delivery:.2} in delivery"),
    }
}

/// Only `READY` passes, and `BUSY` where the request can wait for capacity. How long it would wait is
/// a matter of the start.
fn verdict_reason(requirement: &Requirement, proposal: &Proposal) -> Option<Reason> {
    let had = proposal.verdict.to_string();
    let wanted = match proposal.verdict {
        Verdict::Ready => return None,
        Verdict::Busy => {
            let wait = Reason { code: ReasonCode::NodesBusy, wanted: String::new(), had: String::new() };
            if blocking(requirement, std::slice::from_ref(&wait)).is_empty() {
                return None;
            }
            "READY"
        }
        Verdict::Restricted | Verdict::Incompatible | Verdict::Unknown => "READY or BUSY",
    };
    Some(Reason { code: ReasonCode::VerdictNegative, wanted: wanted.to_owned(), had })
}

/// What an unaudited site itself says stands in the way, and what its claims and promises contradict.
/// A code tells; the words beside it are only shown.
fn stated_reasons(requirement: &Requirement, proposal: &Proposal, belief: &Belief<'_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = proposal
        .constraints
        .iter()
        .take(REASONS_KEPT)
        .map(|constraint| Reason {
            code: constraint.code,
            wanted: shown(&constraint.wanted),
            had: shown(&constraint.had),
        })
        .collect();
    if matches!(proposal.verdict, Verdict::Ready | Verdict::Busy) {
        for reason in contradictions(requirement, proposal, belief) {
            if reasons.iter().all(|known| known.code != reason.code) {
                reasons.push(reason);
            }
        }
    }
    blocking(requirement, &reasons)
}

fn false_claims(findings: &[AuditFinding]) -> impl Iterator<Item = Reason> {
    findings.iter().filter(|finding| finding.hard && finding.result == AuditResult::Over).map(|finding| {
        let truth = finding.truth.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        // An empty list, such as no version at all, has no words of its own.
        let truth = if truth.is_empty() { "nothing".to_owned() } else { truth };
        Reason {
            code: ReasonCode::ClaimFalse,
            wanted: format!("a true claim of {}", finding.subject),
            had: format!("{} claimed, {} true", shown(&finding.claimed.to_string()), shown(&truth)),
        }
    })
}

#[cfg(test)]
mod tests;
