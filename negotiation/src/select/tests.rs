//! Each strategy, pipelines, and what every strategy keeps to.

use protocol::claim::{Claim, ClaimValue};
use protocol::facts::Facts;
use protocol::trust::{BetaPair, TrustState};
use protocol::units::{Number, Seconds};

use super::*;
use crate::samples::{Round, bare, cluster, id, lammps};

fn with_queue(mut facts: Facts, depth: u32) -> Facts {
    if let Some(workload) = &mut facts.workload {
        workload.queue_depth = Some(depth);
    }
    facts
}

/// Audited sites: one cheap with a long wait, one dear at once, one in the middle.
fn market() -> Round {
    let mut round = Round::new(lammps());
    for (worker, price, start, queue) in
        [("cheap", 1.0, 20_000, 40), ("dear", 8.0, 30, 9), ("middle", 2.0, 600, 3)]
    {
        let facts = with_queue(cluster(price, start), queue);
        round.answers(worker, &facts);
        round.is_truly(worker, facts);
    }
    round
}

fn order(round: &Round, strategy: &str) -> Vec<String> {
    round.select(&[strategy]).unwrap().order.iter().map(ToString::to_string).collect()
}

#[test]
fn every_strategy_orders_by_its_own_measure() {
    let round = market();
    assert_eq!(order(&round, "weighted"), ["middle", "cheap", "dear"]);
    assert_eq!(order(&round, "soonest"), ["dear", "middle", "cheap"]);
    assert_eq!(order(&round, "queue-depth"), ["middle", "dear", "cheap"]);
    assert_eq!(order(&round, "min-cost"), ["cheap", "middle", "dear"]);
    assert_eq!(order(&round, "run-anytime"), ["cheap", "middle", "dear"]);
    assert_eq!(order(&round, "first-ready"), ["cheap", "dear", "middle"]);
    assert_eq!(order(&round, "random").len(), 3);
}

#[test]
fn every_listed_strategy_exists_and_only_those() {
    let round = market();
    assert_eq!(strategies().len(), Strategy::ALL.len());
    for (info, (name, _)) in strategies().iter().zip(Strategy::ALL) {
        assert_eq!(info.name, name);
        assert!(round.select(&[info.name]).unwrap().worker_id.is_some());
    }
    let error = round.select(&["weighted", &"x".repeat(500)]).unwrap_err();
    assert_eq!((error.shown.len(), error.known.len()), (64, 7));
    assert!(error.to_string().contains("min-cost"));
    assert!(round.select(&["agentic"]).is_err());
}

#[test]
fn the_default_is_weighted() {
    let selection = market().select(&[]).unwrap();
    assert_eq!((selection.strategy.as_str(), selection.worker_id), (DEFAULT, Some(id("middle"))));
    assert_eq!(
        selection.explanation.split(" (").next(),
        Some("middle has the highest final score"),
        "{}",
        selection.explanation
    );
}

#[test]
fn random_is_a_repeatable_draw_that_nobody_can_steer() {
    let round = market();
    let evaluations = round.evaluate();
    let draw = |negotiation: &str| {
        let id = crate::samples::negotiation(negotiation);
        select(&id, &["random".to_owned()], &round.input(), &evaluations).unwrap().order
    };
    assert_eq!(draw("neg-7"), draw("neg-7"));
    let firsts: std::collections::BTreeSet<_> =
        (0..50).map(|number| draw(&format!("neg-{number}"))[0].clone()).collect();
    assert_eq!(firsts.len(), 3, "each wins some draw");
    let mut fewer = round.clone();
    fewer.proposals.remove(&id("dear"));
    let rest: Vec<_> = draw("neg-1").into_iter().filter(|worker| *worker != id("dear")).collect();
    assert_eq!(fewer.select(&["random"]).unwrap().order, rest);
}

#[test]
fn what_is_unknown_comes_last_and_a_pipeline_falls_through() {
    let mut round = Round::new(lammps());
    round.says("silent", bare("prop-1", Verdict::Ready));
    let nobody = round.select(&["soonest"]).unwrap();
    assert_eq!(nobody.worker_id, None);
    assert_eq!(nobody.explanation, "1 passed the gates, and none states what the strategy goes by");
    let fallen = round.select(&["soonest", "queue-depth", "weighted"]).unwrap();
    assert_eq!((fallen.worker_id, fallen.strategy.as_str()), (Some(id("silent")), "weighted"));
    assert!(fallen.explanation.ends_with("(soonest, queue-depth found nobody)"), "{}", fallen.explanation);
    round.says("a-speaks", bare("prop-1", Verdict::Ready)).promises.start_p90_seconds =
        Some(Seconds::from(90_000));
    assert_eq!(order(&round, "soonest"), ["a-speaks", "silent"]);
}

#[test]
fn first_ready_leaves_out_those_that_are_busy() {
    let mut round = Round::new(lammps());
    round.says("a", bare("prop-1", Verdict::Busy));
    round.says("b", bare("prop-1", Verdict::Ready));
    assert_eq!(order(&round, "first-ready"), ["b"]);
    round.proposals.remove(&id("b"));
    assert_eq!(round.select(&["first-ready"]).unwrap().worker_id, None);
    assert_eq!(round.winner("run-anytime").as_deref(), Some("a"));
}

#[test]
fn the_queue_of_an_unaudited_site_is_the_one_that_it_claims() {
    let mut round = Round::new(lammps());
    for (worker, depth) in [("a", 7.0), ("b", 2.0), ("c", -5.0)] {
        let value = ClaimValue::Quantity(Number::saturating(depth));
        round.says(worker, bare("prop-1", Verdict::Ready)).claims =
            vec![Claim { subject: "queue.depth".into(), value }];
    }
    assert_eq!(order(&round, "queue-depth"), ["b", "a", "c"]);
}

#[test]
fn soonest_breaks_ties_by_the_queue_and_queue_depth_by_the_start() {
    let mut round = Round::new(lammps());
    for (worker, start, queue) in [("a", 60, 5), ("b", 60, 2), ("c", 30, 5)] {
        let facts = with_queue(cluster(2.0, start), queue);
        round.answers(worker, &facts);
        round.is_truly(worker, facts);
    }
    assert_eq!(order(&round, "soonest"), ["c", "b", "a"]);
    assert_eq!(order(&round, "queue-depth"), ["b", "c", "a"]);
}

#[test]
fn an_audited_lie_about_the_start_wins_nothing() {
    let mut round = Round::new(lammps());
    round.answers("honest", &cluster(2.0, 60));
    round.is_truly("honest", cluster(2.0, 60));
    round.answers("liar", &cluster(2.0, 0));
    round.is_truly("liar", cluster(2.0, 600));
    assert_eq!(round.winner("soonest").as_deref(), Some("honest"));
    round.mode = AuditMode::After;
    assert_eq!(round.winner("soonest").as_deref(), Some("liar"));
}

#[test]
fn min_cost_counts_the_failed_tries() {
    let mut round = market();
    assert_eq!(round.winner("min-cost").as_deref(), Some("cheap"));
    let unreliable = TrustRecord {
        delivery: BetaPair::new(1.0, 9.0),
        state: TrustState::Trusted,
        ..TrustRecord::default()
    };
    round.trust.insert(id("cheap"), unreliable);
    assert_eq!(round.winner("min-cost").as_deref(), Some("middle"));
}

#[test]
fn min_cost_distrusts_a_price_that_it_cannot_check() {
    let mut round = Round::new(lammps());
    for (worker, price) in [("audited", 2.0), ("unknown", 1.5)] {
        let proven = TrustRecord { delivery: BetaPair::new(10.0, 0.0), ..TrustRecord::default() };
        round.trust.insert(id(worker), proven);
        round.answers(worker, &cluster(price, 60));
    }
    round.is_truly("audited", cluster(2.0, 60));
    assert_eq!(round.winner("min-cost").as_deref(), Some("audited"));
    round.trust.get_mut(&id("unknown")).unwrap().claim = BetaPair::new(20.0, 0.0);
    assert_eq!(round.winner("min-cost").as_deref(), Some("unknown"));
}

#[test]
fn nobody_is_explained_by_the_reasons() {
    let mut round = Round::new(lammps());
    assert_eq!(round.select(&[]).unwrap().explanation, "nobody was asked");
    let mut without = cluster(2.0, 60);
    without.software = Some(vec![]);
    for worker in ["a", "b"] {
        round.answers(worker, &without);
        round.is_truly(worker, without.clone());
    }
    let selection = round.select(&["min-cost", "weighted"]).unwrap();
    assert_eq!((selection.worker_id, selection.order.len()), (None, 0));
    assert_eq!(
        selection.explanation,
        "none of 2 passed the gates: 2 x SOFTWARE_MISSING, 2 x VERDICT_NEGATIVE"
    );
}

#[test]
fn an_order_is_bounded_and_holds_only_those_that_passed() {
    let mut round = market();
    for number in 0..100 {
        round.says(&format!("x{number}"), bare("prop-1", Verdict::Ready));
        round.says(&format!("y{number}"), bare("prop-1", Verdict::Incompatible));
    }
    let evaluations = round.evaluate();
    for info in strategies() {
        let selection = round.select(&[info.name]).unwrap();
        assert!(selection.order.len() <= LONGEST_ORDER);
        assert_eq!(selection.order.first(), selection.worker_id.as_ref());
        assert!(selection.order.iter().all(|worker| evaluations[worker].gate.passed), "{}", info.name);
    }
}
