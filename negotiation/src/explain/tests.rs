//! Explanations of small markets, and that what they say would have happened does happen.

use std::sync::Arc;

use protocol::evaluation::{AuditMode, Reason};
use protocol::factor::FactorName;
use protocol::facts::{Flag, FlagKind};
use protocol::ids::PrincipalId;
use protocol::negotiation::{Mode, Stage};
use protocol::proposal::{ReasonCode, Reply};
use protocol::request::Request;
use protocol::understanding::{Intent, Understanding};
use protocol::units::{Seconds, Timestamp};

use super::*;
use crate::samples::{Round, cluster, id, lammps, negotiation};

/// The stored record of a round.
fn record(round: &Round, strategy: &str) -> Negotiation {
    Negotiation {
        negotiation_id: negotiation("neg-1"),
        owner: PrincipalId::parse("ann").unwrap(),
        created_at: Timestamp::from_millis(0),
        mode: Mode::Select,
        stage: Stage::Decided,
        request: Request::default(),
        understanding: Understanding {
            requirement: round.requirement.clone(),
            intent: Intent::Balanced,
            weights: round.weights.clone(),
            ..Understanding::default()
        },
        audit_mode: AuditMode::Before,
        as_of_tick: 0,
        proposals: round.proposals.clone(),
        evaluations: round.evaluate(),
        excluded: [(
            id("cloudy"),
            vec![Reason { code: ReasonCode::Excluded, wanted: "not cloud".into(), had: "cloud".into() }],
        )]
        .into(),
        selection: round.select(&[strategy]).ok(),
        receipt: None,
        job_id: None,
        elapsed_seconds: Seconds::ZERO,
    }
}

/// Three unaudited bids: `best` wins, `second` is dearer and ill, `no-lammps` cannot.
fn market() -> Round {
    let mut round = Round::new(lammps());
    round.answers("best", &cluster(2.0, 60));
    let mut ill = cluster(2.2, 60);
    ill.flags = vec![Flag { kind: FlagKind::Preemptible, evidence: "spot market".into() }];
    round.answers("second", &ill);
    let mut without = cluster(1.0, 60);
    without.software = Some(vec![]);
    round.answers("no-lammps", &without);
    round
}

fn what_if(round: &Round, worker: &str) -> Vec<WhatIf> {
    explain(&record(round, "weighted")).workers[&id(worker)].what_if.clone()
}

#[test]
fn each_worker_of_the_fleet_is_explained() {
    let explanation = explain(&record(&market(), "weighted"));
    let standings: Vec<_> =
        explanation.workers.iter().map(|(worker, one)| (worker.to_string(), one.standing)).collect();
    assert_eq!(
        standings,
        [
            ("best".to_owned(), Standing::Chosen),
            ("cloudy".to_owned(), Standing::NotAsked),
            ("no-lammps".to_owned(), Standing::Failed),
            ("second".to_owned(), Standing::Passed),
        ]
    );
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
}

#[test]
fn a_cost_below_the_named_one_puts_the_loser_first() {
    let round = market();
    let Some(WhatIf::FirstWith { factor, value, more, unit }) = what_if(&round, "second").first().cloned()
    else {
        panic!("a cost would have done")
    };
    assert_eq!((factor, more, unit.as_str()), (FactorName::Cost, false, "usd"));
    for (price, wins) in [(value.get() * 0.99, true), (value.get() * 1.01, false)] {
        let mut cheaper = round.clone();
        if let Some(Reply::Proposal(proposal)) = cheaper.proposals.get_mut(&id("second")) {
            let proposal = Arc::make_mut(proposal);
            proposal.promises.cost_usd = Some(protocol::units::Usd::saturating(price));
            if let Some(score) = proposal.factors.get_mut(&FactorName::Cost) {
                score.value = Number::saturating(price);
            }
        }
        assert_eq!(cheaper.winner("weighted").as_deref() == Some("second"), wins, "at {price}");
    }
}

#[test]
fn without_its_flag_the_loser_is_still_behind_and_with_a_small_gap_it_is_first() {
    let flag = WhatIf::Flag { flag: FlagKind::Preemptible };
    assert!(!what_if(&market(), "best").contains(&flag));
    let mut close = market();
    let mut ill = cluster(1.9, 60);
    ill.flags = vec![Flag { kind: FlagKind::Preemptible, evidence: "spot market".into() }];
    close.answers("second", &ill);
    assert!(what_if(&close, "second").contains(&flag));
    close.answers("second", &cluster(1.9, 60));
    assert_eq!(close.winner("weighted").as_deref(), Some("second"));
}

#[test]
fn the_named_trust_would_have_been_enough() {
    use protocol::trust::BetaPair;
    let round = market();
    let changes = what_if(&round, "second");
    let (mut claims, mut deliveries) = (0, 0);
    for change in &changes {
        let mut trusted = round.clone();
        let record = trusted.trust.entry(id("second")).or_default();
        // A pair whose expectation is the needed one and a little more.
        let pair = |needed: &Number| {
            let expectation = needed.get() * 1.001;
            BetaPair::new(1000.0 * expectation - 1.0, 1000.0 * (1.0 - expectation) - 1.0)
        };
        match change {
            WhatIf::ClaimTrust { had, needed } => {
                claims += 1;
                assert_eq!(had.get(), 0.5);
                record.claim = pair(needed);
            }
            WhatIf::DeliveryTrust { had, needed } => {
                deliveries += 1;
                assert_eq!(had.get(), 0.5);
                record.delivery = pair(needed);
            }
            _ => continue,
        }
        assert_eq!(trusted.winner("weighted").as_deref(), Some("second"), "{change:?}");
    }
    assert_eq!((claims, deliveries), (1, 1));
}

#[test]
fn the_winner_learns_how_far_it_could_have_gone() {
    let round = market();
    let changes = what_if(&round, "best");
    let Some(WhatIf::FirstUntil { value, .. }) =
        changes.iter().find(|one| matches!(one, WhatIf::FirstUntil { factor: FactorName::Cost, .. }))
    else {
        panic!("{changes:?}")
    };
    for (price, wins) in [(value.get() * 0.99, true), (value.get() * 1.01, false)] {
        let mut dearer = round.clone();
        dearer.answers("best", &cluster(price / 4.0, 60));
        assert_eq!(dearer.winner("weighted").as_deref() == Some("best"), wins);
    }
}

#[test]
fn a_failed_gate_tells_the_place_that_it_cost() {
    let changes = what_if(&market(), "no-lammps");
    assert_eq!(
        changes,
        [WhatIf::Gates {
            codes: vec![ReasonCode::VerdictNegative, ReasonCode::SoftwareMissing],
            rank: Some(1)
        }]
    );
}

#[test]
fn other_strategies_do_not_pretend_to_go_by_the_score() {
    let explanation = explain(&record(&market(), "soonest"));
    assert!(explanation.workers[&id("second")].what_if.is_empty());
    assert!(!explanation.workers[&id("no-lammps")].what_if.is_empty());
}

#[test]
fn a_lie_stands_beside_the_truth() {
    let mut round = market();
    let mut lie = cluster(1.0, 60);
    lie.software = Some(vec![]);
    round.answers("liar", &cluster(1.0, 60));
    round.is_truly("liar", lie);
    let explanation = explain(&record(&round, "weighted"));
    let liar = &explanation.workers[&id("liar")];
    assert_eq!(liar.standing, Standing::Failed);
    assert!(liar.gate.failed.iter().any(|reason| reason.code == ReasonCode::ClaimFalse));
    let finding = &liar.untrue[0];
    assert_eq!((finding.subject.as_str(), finding.result), ("software.lammps", AuditResult::Over));
    assert_eq!(finding.claimed.to_string(), "20230802");
}

#[test]
fn an_empty_negotiation_is_explained_too() {
    let explanation = explain(&record(&Round::new(lammps()), "weighted"));
    assert!(explanation.selection.unwrap().explanation.starts_with("nobody was asked"));
    assert!(explanation.workers.values().all(|worker| worker.standing == Standing::NotAsked));
}
