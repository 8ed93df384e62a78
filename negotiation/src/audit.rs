//! Compares what a proposal says with what the hub knows to be true.
//!
//! Three kinds of statement are checked: the claims on subjects that matter to the requirement, the
//! verdict (subject `verdict`), and the numbers that the decision uses (`factors.NAME`,
//! `promises.NAME`). Everything else stays unchecked and teaches nothing.
//!
//! What is free depends on the holds and awards in force at the moment when the site looked, and the
//! hub may have seen others. Holds that only the site counts excuse a claim of less than the truth,
//! holds that only the truth counts a claim of more; the other direction is false in any case.

use std::collections::{BTreeMap, BTreeSet};

use matching::claims::{TOLERANCE, claims, compare, is_hard};
use matching::promises::promises;
use matching::unmet::{unmet, verdict};
use matching::values::factor_value;
use protocol::claim::{Claim, ClaimValue};
use protocol::evaluation::{AuditFinding, AuditResult};
use protocol::factor::{Factor, FactorName, Scale};
use protocol::facts::Facts;
use protocol::ids::ProposalId;
use protocol::proposal::{Proposal, Verdict};
use protocol::requirement::Requirement;
use protocol::units::Number;

use crate::score::shown;

/// Claims of one proposal that are looked at; the rest is ignored.
pub const CLAIMS_CONSIDERED: usize = 512;
/// Unchecked claims that are kept in the record.
pub const UNCHECKED_KEPT: usize = 64;
/// Longest subject of a claim; no subject of ours is longer.
const SUBJECT_LENGTH: usize = 128;
/// Items of a list that are kept in the record.
const LIST_KEPT: usize = 32;
/// The subject of the verdict.
pub const VERDICT: &str = "verdict";
/// In front of a factor's name in the subject of its value.
const FACTORS: &str = "factors.";

/// Compares a proposal with the truth. Without truth every claim is unchecked.
///
/// `known_taken` are the proposals whose holds and awards went into `truth`.
#[must_use]
pub fn audit(
    requirement: &Requirement,
    factors: &[Factor],
    proposal: &Proposal,
    truth: Option<&Facts>,
    known_taken: &BTreeSet<ProposalId>,
) -> Vec<AuditFinding> {
    let Some(facts) = truth else {
        return considered(proposal)
            .take(UNCHECKED_KEPT)
            .map(|claim| finding(requirement, claim, None, AuditResult::Unchecked))
            .collect();
    };
    let doubt = Doubt::of(proposal, facts, known_taken);
    let mut findings = audit_claims(requirement, proposal, facts, doubt);
    findings.extend(audit_verdict(requirement, proposal, facts, doubt));
    findings.extend(audit_numbers(requirement, factors, proposal, facts, doubt));
    findings
}

/// How the holds and awards that the site counted differ from those in the truth.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// The site counts some that the truth does not.
    more_taken: bool,
    /// The truth counts some that the site does not.
    fewer_taken: bool,
}

impl Doubt {
    fn of(proposal: &Proposal, truth: &Facts, known: &BTreeSet<ProposalId>) -> Self {
        let seen = proposal.as_of.as_ref().map_or(&[][..], |as_of| &as_of.taken);
        let real = truth.as_of.as_ref().map_or(&[][..], |as_of| &as_of.taken);
        let counted: BTreeSet<&ProposalId> = seen.iter().collect();
        Self {
            more_taken: seen.iter().any(|id| !known.contains(id) && !real.contains(id)),
            fewer_taken: real.iter().any(|id| !counted.contains(id)),
        }
    }

    /// A result about capacity, as far as it can be told.
    fn weigh(self, result: AuditResult) -> AuditResult {
        let is_open = match result {
            AuditResult::Over => self.fewer_taken,
            AuditResult::Under => self.more_taken,
            AuditResult::Match => self.more_taken || self.fewer_taken,
            AuditResult::Unchecked => false,
        };
        if is_open { AuditResult::Unchecked } else { result }
    }
}

/// Sets each factor's `verified` to whether the hub found the stated value to be true. What the site
/// wrote there itself does not count.
pub fn mark_verified(proposal: &mut Proposal, findings: &[AuditFinding]) {
    for (name, score) in &mut proposal.factors {
        score.verified = findings.iter().any(|finding| {
            finding.result == AuditResult::Match
                && finding.subject.strip_prefix(FACTORS) == Some(name.as_str())
        });
    }
}

fn considered(proposal: &Proposal) -> impl Iterator<Item = &Claim> {
    let mut seen = BTreeSet::new();
    proposal
        .claims
        .iter()
        .take(CLAIMS_CONSIDERED)
        .filter(|claim| claim.subject.len() <= SUBJECT_LENGTH)
        .filter(move |claim| seen.insert((claim.subject.as_str(), claim.value.to_string())))
}

/// One finding for each subject. A subject that is claimed twice is judged by the worse claim, so that
/// a truth beside a lie does not cover it.
fn audit_claims(
    requirement: &Requirement,
    proposal: &Proposal,
    facts: &Facts,
    doubt: Doubt,
) -> Vec<AuditFinding> {
    let truth: BTreeMap<String, ClaimValue> =
        claims(requirement, facts).into_iter().map(|claim| (claim.subject, claim.value)).collect();
    let mut findings: Vec<AuditFinding> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unchecked = 0;
    for claim in considered(proposal) {
        let Some(true_value) = truth.get(&claim.subject) else {
            if unchecked < UNCHECKED_KEPT {
                unchecked += 1;
                findings.push(finding(requirement, claim, None, AuditResult::Unchecked));
            }
            continue;
        };
        let result = compare(requirement, claim, true_value);
        let result = if is_about_capacity(&claim.subject) { doubt.weigh(result) } else { result };
        let found = finding(requirement, claim, Some(true_value.clone()), result);
        match places.get(claim.subject.as_str()) {
            None => {
                places.insert(&claim.subject, findings.len());
                findings.push(found);
            }
            Some(place) => {
                if let Some(before) =
                    findings.get_mut(*place).filter(|f| weight(found.result) > weight(f.result))
                {
                    *before = found;
                }
            }
        }
    }
    findings
}

fn weight(result: AuditResult) -> u8 {
    match result {
        AuditResult::Unchecked => 0,
        AuditResult::Match => 1,
        AuditResult::Under => 2,
        AuditResult::Over => 3,
    }
}

/// Subjects that holds and awards move: what is free to compute on, the queue, the start.
#[must_use]
pub fn is_about_capacity(subject: &str) -> bool {
    (subject.starts_with("compute.") && subject.ends_with("_free"))
        || subject.starts_with("start.")
        || subject.starts_with("queue.")
}

fn audit_verdict(
    requirement: &Requirement,
    proposal: &Proposal,
    facts: &Facts,
    doubt: Doubt,
) -> Option<AuditFinding> {
    let truth = verdict(&unmet(requirement, facts));
    let ability = |verdict: Verdict| match verdict {
        Verdict::Ready => Some(2_u8),
        Verdict::Busy => Some(1),
        Verdict::Incompatible => Some(0),
        Verdict::Restricted | Verdict::Unknown => None,
    };
    let (claimed, real) = (ability(proposal.verdict)?, ability(truth)?);
    let result = match claimed.cmp(&real) {
        std::cmp::Ordering::Equal => AuditResult::Match,
        std::cmp::Ordering::Greater => AuditResult::Over,
        std::cmp::Ordering::Less => AuditResult::Under,
    };
    // Whether it can at all does not depend on holds; whether it can now does.
    let is_about_now = claimed.min(real) > 0;
    Some(AuditFinding {
        subject: VERDICT.to_owned(),
        claimed: ClaimValue::Text(proposal.verdict.to_string()),
        truth: Some(ClaimValue::Text(truth.to_string())),
        result: if is_about_now { doubt.weigh(result) } else { result },
        hard: true,
    })
}

/// The factor values and the promises, which are the numbers that the decision uses.
fn audit_numbers(
    requirement: &Requirement,
    factors: &[Factor],
    proposal: &Proposal,
    facts: &Facts,
    doubt: Doubt,
) -> Vec<AuditFinding> {
    let truth = promises(requirement, facts);
    let stated = &proposal.promises;
    let times = [
        ("promises.start_p90_seconds", stated.start_p90_seconds, truth.start_p90_seconds, true),
        ("promises.runtime_seconds", stated.runtime_seconds, truth.runtime_seconds, false),
    ];
    let times = times.into_iter().filter_map(|(subject, stated, truth, about_capacity)| {
        let result = compare_numbers(stated?.get(), truth?.get(), false);
        let result = if about_capacity { doubt.weigh(result) } else { result };
        Some(number_finding(subject.to_owned(), stated?.get(), truth?.get(), result))
    });
    let cost = stated.cost_usd.zip(truth.cost_usd).map(|(stated, truth)| {
        let result = compare_numbers(stated.get(), truth.get(), false);
        number_finding("promises.cost_usd".to_owned(), stated.get(), truth.get(), result)
    });
    let values = factors.iter().filter_map(|factor| {
        let stated = proposal.factors.get(&factor.name)?.value.get();
        let truth = factor_value(factor.name, requirement, facts, &truth)?;
        let result = compare_numbers(stated, truth, more_is_better(&factor.scale));
        let about_capacity = matches!(
            factor.name,
            FactorName::CapacityHeadroom | FactorName::StartTime | FactorName::FinishTime
        );
        let result = if about_capacity { doubt.weigh(result) } else { result };
        Some(number_finding(format!("{FACTORS}{}", factor.name), stated, truth, result))
    });
    values.chain(times).chain(cost).collect()
}

fn number_finding(subject: String, claimed: f64, truth: f64, result: AuditResult) -> AuditFinding {
    AuditFinding {
        subject,
        claimed: ClaimValue::Quantity(Number::saturating(claimed)),
        truth: Some(ClaimValue::Quantity(Number::saturating(truth))),
        result,
        hard: false,
    }
}

fn compare_numbers(claimed: f64, truth: f64, more_is_better: bool) -> AuditResult {
    // A cent, or a hundredth of a second, is rounding and not a statement.
    let slack = TOLERANCE * truth.abs() + 0.01;
    if (claimed - truth).abs() <= slack {
        AuditResult::Match
    } else if (claimed > truth) == more_is_better {
        AuditResult::Over
    } else {
        AuditResult::Under
    }
}

/// Whether larger values score higher.
#[must_use]
pub fn more_is_better(scale: &Scale) -> bool {
    match scale {
        Scale::Binary => true,
        Scale::Range { zero, one } | Scale::LogRange { zero, one } => one.get() >= zero.get(),
        Scale::ReferenceOver { .. } | Scale::SoftLimit { .. } => false,
    }
}

fn finding(
    requirement: &Requirement,
    claim: &Claim,
    truth: Option<ClaimValue>,
    result: AuditResult,
) -> AuditFinding {
    AuditFinding {
        subject: shown(&claim.subject),
        claimed: bounded(&claim.value),
        truth,
        result,
        hard: is_hard(requirement, &claim.subject),
    }
}

/// A claim's value as it is kept: of a long text or list the beginning.
fn bounded(value: &ClaimValue) -> ClaimValue {
    match value {
        ClaimValue::Flag(_) | ClaimValue::Quantity(_) => value.clone(),
        ClaimValue::Text(text) => ClaimValue::Text(shown(text)),
        ClaimValue::List(items) => {
            ClaimValue::List(items.iter().take(LIST_KEPT).map(|item| shown(item)).collect())
        }
    }
}

#[cfg(test)]
mod tests;
