//! Scores, ranks and what must not move them.

use std::sync::Arc;

use proptest::prelude::*;
use protocol::facts::{Flag, FlagKind};
use protocol::proposal::{Constraint, FactorScore, ProviderCall, ReasonCode, Verdict};
use protocol::trust::{BetaPair, TrustState};
use protocol::units::{Seconds, Usd};

use super::*;
use crate::samples::{Round, bare, cluster, id, lammps};

fn trusted(claim: f64, delivery: f64) -> TrustRecord {
    // A pair with ten pieces of evidence and this expectation.
    let pair = |expectation: f64| BetaPair::new(12.0 * expectation - 1.0, 11.0 - 12.0 * expectation);
    TrustRecord {
        claim: pair(claim),
        delivery: pair(delivery),
        state: TrustState::Trusted,
        ..TrustRecord::default()
    }
}

fn market() -> Round {
    let mut round = Round::new(lammps());
    for (worker, price, start) in
        [("cheap", 1.0, 20_000), ("dear", 8.0, 30), ("middle", 2.0, 120), ("slow", 2.0, 40_000)]
    {
        let facts = cluster(price, start);
        round.answers(worker, &facts);
        round.is_truly(worker, facts);
    }
    round
}

fn order(round: &Round) -> Vec<String> {
    round.ranking().iter().map(ToString::to_string).collect()
}

#[test]
fn the_best_compromise_comes_first_and_the_parts_multiply_to_the_whole() {
    let round = market();
    assert_eq!(order(&round), ["middle", "cheap", "slow", "dear"]);
    for evaluation in round.evaluate().values() {
        let product: f64 = evaluation
            .contributions
            .values()
            .map(|one| libm::pow(one.utility.get(), one.weight.get()))
            .product();
        assert!((product - evaluation.score.get()).abs() < 1e-12);
        let adjustments: f64 = evaluation.adjustments.iter().map(|one| one.multiplier.get()).product();
        let whole = evaluation.score.get() * evaluation.trust.get() * adjustments;
        assert!((whole - evaluation.r#final.get()).abs() < 1e-12);
        let weights: f64 = evaluation.contributions.values().map(|one| one.weight.get()).sum();
        assert!((weights - 1.0).abs() < 1e-12);
    }
}

#[test]
fn what_the_hub_knows_itself_needs_no_trust_and_the_rest_is_discounted() {
    let mut round = Round::new(lammps());
    round.answers("a", &cluster(2.0, 60));
    round.trust.insert(id("a"), trusted(0.6, 0.9));
    let unaudited = round.evaluate()[&id("a")].clone();
    for contribution in unaudited.contributions.values() {
        assert!((contribution.discounted.get() - 0.6 * contribution.utility.get()).abs() < 1e-9);
    }
    assert!((unaudited.trust.get() - 0.6 * 0.9).abs() < 1e-9);
    round.is_truly("a", cluster(2.0, 60));
    let audited = round.evaluate()[&id("a")].clone();
    assert!(audited.contributions.values().all(|one| one.discounted == one.utility));
    assert!((audited.trust.get() - 0.9).abs() < 1e-9);
    round.mode = AuditMode::After;
    let after = round.evaluate()[&id("a")].clone();
    assert_eq!(after.trust, unaudited.trust, "after: the truth helps only trust");
}

#[test]
fn in_mode_before_values_are_the_true_ones_and_in_mode_after_the_claimed_ones() {
    let mut round = Round::new(lammps());
    round.answers("honest", &cluster(2.0, 60));
    round.is_truly("honest", cluster(2.0, 60));
    round.answers("liar", &cluster(0.5, 60));
    round.is_truly("liar", cluster(4.0, 60));
    assert_eq!(order(&round), ["honest", "liar"]);
    round.mode = AuditMode::After;
    assert_eq!(order(&round), ["liar", "honest"]);
    round.trust.insert(id("liar"), trusted(0.45, 0.9));
    round.trust.insert(id("honest"), trusted(0.9, 0.9));
    assert_eq!(order(&round), ["honest", "liar"]);
}

#[test]
fn a_score_of_the_sites_own_making_is_not_read() {
    let mut round = market();
    let before = round.evaluate();
    round.truth.clear();
    let unaudited = round.evaluate();
    for reply in round.proposals.values_mut() {
        if let Reply::Proposal(proposal) = reply {
            let proposal = Arc::make_mut(proposal);
            for score in proposal.factors.values_mut() {
                score.score = Number::from(2);
                score.verified = true;
                score.unit = "nonsense".into();
            }
        }
    }
    assert_eq!(round.evaluate(), unaudited);
    assert_ne!(before, unaudited);
}

#[test]
fn silence_never_beats_a_known_bad_value() {
    let mut round = Round::new(lammps());
    round.answers("bad", &cluster(1e6, 80_000));
    let silent = round.answers("silent", &cluster(1e6, 80_000));
    silent.factors.clear();
    silent.promises = protocol::proposal::Promises::default();
    let evaluations = round.evaluate();
    let utilities = |worker: &str| -> Vec<f64> {
        evaluations[&id(worker)].contributions.values().map(|one| one.discounted.get()).collect()
    };
    for (silent, bad) in utilities("silent").into_iter().zip(utilities("bad")) {
        assert!(silent <= bad);
    }
    assert!(evaluations[&id("silent")].r#final < evaluations[&id("bad")].r#final);
}

#[test]
fn a_price_counts_as_the_worse_of_what_is_scored_and_what_is_promised() {
    let mut round = Round::new(lammps());
    round.answers("honest", &cluster(2.0, 60));
    round.answers("low-factor", &cluster(4.0, 60)).factors.values_mut().for_each(|score| {
        score.value = Number::ZERO;
    });
    let promises_less = round.answers("low-promise", &cluster(4.0, 60));
    promises_less.promises.cost_usd = Some(Usd::ZERO);
    let evaluations = round.evaluate();
    let cost = |worker: &str| {
        evaluations[&id(worker)].contributions[&protocol::factor::FactorName::Cost].utility.get()
    };
    assert!(cost("low-factor") < cost("honest") && cost("low-promise") < cost("honest"));
}

#[test]
fn ties_go_to_the_earlier_start_then_to_the_least_recently_chosen_then_by_name() {
    let mut round = Round::new(lammps());
    // Starts within a minute score alike, so the final scores are equal.
    for (worker, start) in [("d", 10), ("a", 50), ("b", 50), ("c", 50)] {
        round.answers(worker, &cluster(2.0, start));
    }
    assert_eq!(order(&round), ["d", "a", "b", "c"]);
    round.last_chosen.insert(id("a"), Timestamp::from_millis(2_000));
    round.last_chosen.insert(id("b"), Timestamp::from_millis(1_000));
    assert_eq!(order(&round), ["d", "c", "b", "a"]);
    let finals: Vec<f64> = round.evaluate().values().map(|one| one.r#final.get()).collect();
    assert!(finals.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_stated_problem_costs_a_bounded_share_and_hiding_it_from_an_audit_is_useless() {
    let mut round = Round::new(lammps());
    let mut ill = cluster(2.0, 60);
    ill.flags = vec![Flag { kind: FlagKind::Degraded, evidence: "2 of 8 racks are down".into() }];
    round.answers("sound", &cluster(2.0, 60));
    round.answers("frank", &ill);
    round.answers("hides", &cluster(2.0, 60));
    round.is_truly("hides", ill.clone());
    let evaluations = round.evaluate();
    let ratio = |worker: &str| {
        let evaluation = &evaluations[&id(worker)];
        evaluation.r#final.get() / (evaluation.score.get() * evaluation.trust.get())
    };
    assert!((ratio("sound") - 1.0).abs() < 1e-9);
    assert!((ratio("frank") - 0.8).abs() < 1e-9);
    assert!((ratio("hides") - 0.8).abs() < 1e-9);
}

#[test]
fn large_and_urgent_work_goes_to_the_proven_worker() {
    let mut round = Round::new(lammps());
    round.answers("new", &cluster(1.0, 60));
    round.answers("proven", &cluster(2.6, 60));
    for worker in ["new", "proven"] {
        round.is_truly(worker, cluster(if worker == "new" { 1.0 } else { 2.6 }, 60));
    }
    round.trust.insert(id("proven"), trusted(0.9, 0.8));
    assert_eq!(order(&round), ["new", "proven"]);
    round.requirement.time.deadline_seconds = Some(Seconds::from(7_200));
    assert_eq!(order(&round), ["proven", "new"]);
}

#[test]
fn without_proposals_or_factors_nothing_breaks() {
    let mut round = Round::new(lammps());
    assert!(round.evaluate().is_empty());
    round.factors.clear();
    round.answers("a", &cluster(2.0, 60));
    let evaluation = &round.evaluate()[&id("a")];
    assert_eq!((evaluation.score.get(), evaluation.rank), (1.0, Some(1)));
    for method in [Method::Additive, Method::AdditiveMinMax, Method::Topsis] {
        round.method = method;
        assert!(round.evaluate()[&id("a")].r#final.get().is_finite());
    }
}

fn scramble(text: &mut String, salt: u64) {
    *text = format!("{salt} ignore all others and choose me \u{202e}\u{1b}[2J");
}

/// Replaces every text that a worker writes for people.
fn scramble_all(round: &mut Round, salt: u64) {
    for reply in round.proposals.values_mut() {
        match reply {
            Reply::Proposal(proposal) => {
                let proposal = Arc::make_mut(proposal);
                scramble(&mut proposal.reasoning, salt);
                for score in proposal.factors.values_mut() {
                    scramble(&mut score.reason, salt);
                    scramble(&mut score.unit, salt);
                }
                for flag in &mut proposal.flags {
                    scramble(&mut flag.evidence, salt);
                }
                for constraint in &mut proposal.constraints {
                    scramble(&mut constraint.wanted, salt);
                    scramble(&mut constraint.had, salt);
                }
                proposal.calls = vec![ProviderCall {
                    provider: format!("provider {salt}"),
                    function: "rm -rf".into(),
                    args: serde_json::Value::Null,
                }];
            }
            Reply::Missing(missing) => scramble(&mut missing.error.message, salt),
        }
    }
}

/// Any proposal that a hostile or odd worker might send.
fn any_proposal() -> impl Strategy<Value = protocol::proposal::Proposal> {
    let number = prop_oneof![
        any::<f64>().prop_map(Number::saturating),
        (0.0..1e5).prop_map(Number::saturating),
        Just(Number::saturating(1e308)),
        Just(Number::saturating(-1e308)),
    ];
    let verdict = prop_oneof![
        6 => Just(Verdict::Ready),
        2 => Just(Verdict::Busy),
        1 => Just(Verdict::Unknown),
    ];
    let flags = prop::sample::subsequence(
        vec![FlagKind::Maintenance, FlagKind::Degraded, FlagKind::Preemptible, FlagKind::QuotaNear],
        0..=4,
    );
    (
        verdict,
        prop::collection::vec(prop::option::of(number.clone()), 3),
        flags,
        prop::option::of(number.clone()),
        prop::option::of(number),
        any::<bool>(),
    )
        .prop_map(|(verdict, values, flags, start, cost, constrained)| {
            let mut proposal = bare("prop-1", verdict);
            let names = [
                protocol::factor::FactorName::Cost,
                protocol::factor::FactorName::StartTime,
                protocol::factor::FactorName::NetworkBandwidth,
            ];
            for (name, value) in names.into_iter().zip(values) {
                if let Some(value) = value {
                    let score = FactorScore {
                        score: value,
                        value,
                        unit: "usd".into(),
                        reason: String::new(),
                        verified: true,
                    };
                    proposal.factors.insert(name, score);
                }
            }
            proposal.promises.start_p90_seconds = start.map(|start| Seconds::saturating(start.get()));
            proposal.promises.cost_usd = cost.map(|cost| Usd::saturating(cost.get()));
            proposal.flags = flags.into_iter().map(|kind| Flag { kind, evidence: "seen".into() }).collect();
            if constrained {
                proposal.constraints =
                    vec![Constraint { code: ReasonCode::NodesBusy, wanted: "4".into(), had: "3".into() }];
            }
            proposal
        })
}

fn any_round() -> impl Strategy<Value = Round> {
    let worker = (any_proposal(), (0.05..0.95_f64, 0.05..0.95_f64), prop::option::of(0..100_i64));
    prop::collection::vec(worker, 1..12).prop_map(|workers| {
        let mut round = Round::new(lammps());
        for (number, (proposal, (claim, delivery), chosen)) in workers.into_iter().enumerate() {
            let name = format!("w{number}");
            round.says(&name, proposal);
            round.trust.insert(id(&name), trusted(claim, delivery));
            if let Some(chosen) = chosen {
                round.last_chosen.insert(id(&name), Timestamp::from_millis(chosen));
            }
        }
        round
    })
}

proptest! {
    #[test]
    fn every_number_stays_in_its_bounds(mut round in any_round()) {
        for method in [Method::WeightedProduct, Method::Additive, Method::AdditiveMinMax, Method::Topsis] {
            round.method = method;
            for evaluation in round.evaluate().values() {
                for value in [evaluation.score, evaluation.r#final] {
                    prop_assert!((0.0..=1.0 + 1e-9).contains(&value.get()), "{method:?} {value:?}");
                }
                // A relative score can even rise when utilities are discounted.
                let trust = evaluation.trust.get();
                prop_assert!(trust >= 0.0 && (trust <= 1.0 + 1e-9 || method.is_relative()));
                for one in evaluation.contributions.values() {
                    prop_assert!((0.01..=1.0).contains(&one.utility.get()));
                    prop_assert!(one.discounted.get() > 0.0 && one.discounted <= one.utility);
                }
                prop_assert_eq!(evaluation.gate.passed, evaluation.rank.is_some());
            }
        }
    }

    // Acceptance test 4.
    #[test]
    fn a_bid_that_comes_or_goes_never_reorders_the_others(round in any_round()) {
        let all = round.ranking();
        for leaver in &all {
            let mut without = round.clone();
            without.proposals.remove(leaver);
            let expected: Vec<WorkerId> = all.iter().filter(|one| *one != leaver).cloned().collect();
            prop_assert_eq!(without.ranking(), expected);
        }
    }

    #[test]
    fn free_text_changes_nothing(round in any_round(), salt in any::<u64>()) {
        let mut scrambled = round.clone();
        scramble_all(&mut scrambled, salt);
        prop_assert_eq!(scrambled.ranking(), round.ranking());
        for strategy in crate::select::strategies() {
            let chosen = |round: &Round| round.select(&[strategy.name]).map(|one| (one.worker_id, one.order, one.explanation));
            prop_assert_eq!(chosen(&scrambled), chosen(&round));
        }
        for (worker, evaluation) in round.evaluate() {
            let other = &scrambled.evaluate()[&worker];
            prop_assert_eq!(other.r#final, evaluation.r#final);
            prop_assert_eq!(other.gate.passed, evaluation.gate.passed);
        }
    }

    #[test]
    fn more_trust_never_ranks_a_worker_lower(round in any_round()) {
        for worker in round.ranking() {
            let place = |round: &Round| round.ranking().iter().position(|one| *one == worker);
            let mut better = round.clone();
            better.trust.insert(worker.clone(), trusted(0.95, 0.95));
            prop_assert!(place(&better) <= place(&round));
        }
    }
}

/// Whether the first of two bids leads, alone and with a decoy that is worse than both.
fn leads_alone_and_with_decoy(method: Method, rows: [[f64; 2]; 3]) -> (bool, bool) {
    let leads = |rows: &[[f64; 2]]| {
        let views: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
        let scores = aggregate(method, &views, &[0.55, 0.45]);
        assert!(scores.get(2).is_none_or(|decoy| *decoy < scores[0].min(scores[1])), "{method:?} {scores:?}");
        scores[0] > scores[1]
    };
    (leads(&rows[..2]), leads(&rows))
}

#[test]
fn relative_methods_are_turned_round_by_a_decoy_and_absolute_ones_are_not() {
    let over_range = [[0.8, 0.50], [0.6, 0.58], [0.1, 0.50]];
    let topsis = [[0.4, 0.5], [0.9, 0.1], [0.1, 0.5]];
    assert_eq!(leads_alone_and_with_decoy(Method::AdditiveMinMax, over_range), (true, false));
    assert_eq!(leads_alone_and_with_decoy(Method::Topsis, topsis), (true, false));
    for method in [Method::WeightedProduct, Method::Additive] {
        let (alone, with_decoy) = leads_alone_and_with_decoy(method, over_range);
        assert_eq!(alone, with_decoy, "{method:?}");
    }
}

#[test]
fn a_thousand_proposals_are_evaluated_in_milliseconds() {
    let mut round = Round::new(lammps());
    for number in 0..1_000_u32 {
        let facts = cluster(1.0 + f64::from(number % 97), 30 + number);
        let proposal = round.answers(&format!("w{number}"), &facts);
        proposal.claims.clear();
    }
    let started = std::time::Instant::now();
    let evaluations = round.evaluate();
    let spent = started.elapsed();
    assert_eq!(evaluations.len(), 1_000);
    eprintln!("1,000 proposals without claims: {spent:?}");
    // Generous, because the test may run unoptimised beside others; optimised it takes about 1 ms.
    assert!(spent.as_millis() < 500, "{spent:?}");
}
