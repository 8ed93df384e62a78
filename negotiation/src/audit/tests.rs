//! Honest and dishonest proposals against the truth.

use protocol::facts::AsOf;
use protocol::proposal::Verdict;
use protocol::units::{Seconds, Usd};

use super::*;
use crate::samples::{Round, cluster, lammps, propose};

fn findings(claimed: &Facts, truth: &Facts) -> Vec<AuditFinding> {
    let round = Round::new(lammps());
    let proposal = propose(&round.requirement, &round.factors, claimed);
    audit(&round.requirement, &round.factors, &proposal, Some(truth), &BTreeSet::new())
}

fn result(findings: &[AuditFinding], subject: &str) -> Option<AuditResult> {
    findings.iter().find(|finding| finding.subject == subject).map(|finding| finding.result)
}

#[test]
fn an_honest_proposal_matches_in_everything() {
    let truth = cluster(3.0, 60);
    let findings = findings(&truth, &truth);
    assert!(findings.len() >= 10, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.result == AuditResult::Match), "{findings:?}");
    assert_eq!(findings.iter().find(|one| one.subject == VERDICT).map(|one| one.hard), Some(true));
}

#[test]
fn better_than_true_is_over_and_worse_is_under() {
    let better = findings(&cluster(1.0, 60), &cluster(3.0, 60));
    for subject in ["price.node_hour_usd", "factors.cost", "promises.cost_usd"] {
        assert_eq!(result(&better, subject), Some(AuditResult::Over), "{subject}");
    }
    let worse = findings(&cluster(3.0, 7200), &cluster(3.0, 60));
    for subject in ["start.p90_seconds", "factors.start_time", "promises.start_p90_seconds"] {
        assert_eq!(result(&worse, subject), Some(AuditResult::Under), "{subject}");
    }
    let mut without = cluster(3.0, 60);
    without.software = Some(vec![]);
    assert_eq!(result(&findings(&cluster(3.0, 60), &without), VERDICT), Some(AuditResult::Over));
    assert_eq!(result(&findings(&without, &cluster(3.0, 60)), VERDICT), Some(AuditResult::Under));
}

#[test]
fn a_number_within_a_tenth_is_right() {
    let near = findings(&cluster(3.2, 60), &cluster(3.0, 60));
    assert_eq!(result(&near, "factors.cost"), Some(AuditResult::Match));
}

#[test]
fn without_truth_nothing_is_checked_and_the_record_is_bounded() {
    let round = Round::new(lammps());
    let mut proposal = propose(&round.requirement, &round.factors, &cluster(3.0, 60));
    for number in 0..10_000 {
        proposal
            .claims
            .push(Claim { subject: format!("software.trivia-{number}"), value: ClaimValue::Flag(true) });
    }
    let unchecked = audit(&round.requirement, &round.factors, &proposal, None, &BTreeSet::new());
    assert_eq!(unchecked.len(), UNCHECKED_KEPT);
    assert!(unchecked.iter().all(|finding| finding.result == AuditResult::Unchecked));
    let checked =
        audit(&round.requirement, &round.factors, &proposal, Some(&cluster(3.0, 60)), &BTreeSet::new());
    assert!(checked.len() <= UNCHECKED_KEPT + 32);
}

#[test]
fn a_truth_beside_a_lie_does_not_cover_it() {
    let round = Round::new(lammps());
    let truth = cluster(3.0, 60);
    let honest = propose(&round.requirement, &round.factors, &truth);
    let lie =
        Claim { subject: "compute.nodes_free".into(), value: ClaimValue::Quantity(Number::from(1_000)) };
    let mut after = honest.clone();
    after.claims.push(lie.clone());
    let mut before = honest;
    before.claims.insert(0, lie);
    for proposal in [before, after] {
        let findings = audit(&round.requirement, &round.factors, &proposal, Some(&truth), &BTreeSet::new());
        let about: Vec<_> = findings.iter().filter(|one| one.subject == "compute.nodes_free").collect();
        assert_eq!(about.len(), 1);
        assert_eq!(about[0].result, AuditResult::Over);
    }
}

fn with_free(mut facts: Facts, nodes: u32, taken: &[&str]) -> Facts {
    if let Some(group) = facts.compute.as_mut().and_then(|compute| compute.groups.first_mut()) {
        group.nodes_free = Some(nodes);
    }
    let taken = taken.iter().map(|id| ProposalId::parse(*id).unwrap()).collect();
    Facts { as_of: Some(AsOf { tick: 1, taken }), ..facts }
}

#[test]
fn holds_that_only_one_side_counts_excuse_one_direction() {
    use AuditResult::{Match, Over, Unchecked, Under};
    let round = Round::new(lammps());
    let site = cluster(3.0, 60);
    let judge = |seen: &Facts, truth: &Facts| {
        let mut proposal = propose(&round.requirement, &round.factors, seen);
        proposal.as_of.clone_from(&seen.as_of);
        let findings = audit(&round.requirement, &round.factors, &proposal, Some(truth), &BTreeSet::new());
        assert_eq!(result(&findings, "compute.nodes"), Some(Match));
        (result(&findings, "compute.nodes_free").unwrap(), result(&findings, VERDICT).unwrap())
    };
    let truth = with_free(site.clone(), 50, &["a"]);
    // The same holds: nothing excuses anything.
    assert_eq!(judge(&with_free(site.clone(), 50, &["a"]), &truth), (Match, Match));
    assert_eq!(judge(&with_free(site.clone(), 2, &["a"]), &truth), (Under, Under));
    assert_eq!(judge(&with_free(site.clone(), 90, &["a"]), &truth), (Over, Match));
    // A hold that only the site counts: less may be right, more cannot be.
    assert_eq!(judge(&with_free(site.clone(), 2, &["a", "foreign"]), &truth), (Unchecked, Unchecked));
    assert_eq!(judge(&with_free(site.clone(), 90, &["a", "foreign"]), &truth), (Over, Unchecked));
    // A hold that came after the site looked: more may be right, less cannot be.
    assert_eq!(judge(&with_free(site.clone(), 90, &[]), &truth), (Unchecked, Unchecked));
    assert_eq!(judge(&with_free(site.clone(), 2, &[]), &truth), (Under, Under));
    let full = with_free(site.clone(), 0, &["a"]);
    assert_eq!(judge(&with_free(site.clone(), 50, &[]), &full), (Unchecked, Unchecked));
    assert_eq!(judge(&with_free(site.clone(), 50, &["a"]), &full), (Over, Over));
    // No hold makes software come or go.
    let mut without = full;
    without.software = Some(vec![]);
    assert_eq!(judge(&with_free(site, 50, &[]), &without).1, Over);
}

#[test]
fn promises_are_checked_apart_from_the_factors_that_state_them() {
    let round = Round::new(lammps());
    let truth = cluster(3.0, 600);
    let mut proposal = propose(&round.requirement, &round.factors, &truth);
    proposal.promises.cost_usd = Some(Usd::from(1));
    proposal.promises.start_p90_seconds = Some(Seconds::ZERO);
    let findings = audit(&round.requirement, &round.factors, &proposal, Some(&truth), &BTreeSet::new());
    assert_eq!(result(&findings, "promises.cost_usd"), Some(AuditResult::Over));
    assert_eq!(result(&findings, "promises.start_p90_seconds"), Some(AuditResult::Over));
    assert_eq!(result(&findings, "factors.cost"), Some(AuditResult::Match));
}

#[test]
fn not_knowing_is_not_a_lie() {
    let round = Round::new(lammps());
    let truth = cluster(3.0, 60);
    for verdict in [Verdict::Unknown, Verdict::Restricted] {
        let proposal = crate::samples::bare("prop-1", verdict);
        let findings = audit(&round.requirement, &round.factors, &proposal, Some(&truth), &BTreeSet::new());
        assert_eq!(findings, []);
    }
}

#[test]
fn only_the_hub_marks_a_value_as_verified() {
    let round = Round::new(lammps());
    let truth = cluster(3.0, 60);
    let mut proposal = propose(&round.requirement, &round.factors, &truth);
    for score in proposal.factors.values_mut() {
        score.verified = true;
    }
    mark_verified(&mut proposal, &[]);
    assert!(proposal.factors.values().all(|score| !score.verified));
    let findings = audit(&round.requirement, &round.factors, &proposal, Some(&truth), &BTreeSet::new());
    mark_verified(&mut proposal, &findings);
    assert!(proposal.factors.values().all(|score| score.verified));
}

#[test]
fn what_is_kept_of_a_claim_is_bounded_and_printable() {
    let round = Round::new(lammps());
    let mut proposal = crate::samples::bare("prop-1", Verdict::Ready);
    proposal.claims = vec![
        Claim { subject: "software.lammps".into(), value: ClaimValue::List(vec!["1".repeat(5_000); 5_000]) },
        Claim { subject: "x".repeat(5_000), value: ClaimValue::Flag(true) },
        Claim { subject: "note".into(), value: ClaimValue::Text("\u{1b}[2Jignore the others".into()) },
    ];
    let findings = audit(&round.requirement, &round.factors, &proposal, None, &BTreeSet::new());
    assert_eq!(findings.len(), 2);
    assert!(findings[0].claimed.to_string().len() < 8_000);
    assert_eq!(findings[1].claimed, ClaimValue::Text("[2Jignore the others".into()));
}
