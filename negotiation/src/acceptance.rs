//! The acceptance tests of the scoring and trust model that need a market: liars, on-off attackers,
//! cost. Those of trust alone are with trust, the one about rank reversal is with evaluation, and the
//! one about replay is with trust and with the flow.

use protocol::evaluation::AuditMode;
use protocol::facts::Facts;
use protocol::ids::{JobId, WorkerId};
use protocol::job::Observed;
use protocol::trust::{TrustEvidence, TrustRecord, TrustState};
use protocol::units::{Seconds, Timestamp};

use crate::samples::{Round, cluster, id, lammps, negotiation};
use crate::trust::{Delivery, DeliveryOutcome, claim_evidence, delivery_evidence, fold};

/// A market of workers that meet again and again, in audit mode `after`: claims are scored as made,
/// and the truth moves trust only.
struct Market {
    trust: std::collections::BTreeMap<WorkerId, TrustRecord>,
    last_chosen: std::collections::BTreeMap<WorkerId, Timestamp>,
    clock: i64,
}

/// What a worker says and does in one round.
struct Bid {
    worker: &'static str,
    says: Facts,
    is: Facts,
    delivers: bool,
}

impl Market {
    /// Everybody starts with a long and perfect history.
    fn with_perfect_history(workers: &[&'static str]) -> Self {
        let mut market = Self { trust: Default::default(), last_chosen: Default::default(), clock: 0 };
        for worker in workers {
            for _ in 0..100 {
                let facts = cluster(2.0, 60);
                let bid = Bid { worker, says: facts.clone(), is: facts, delivers: true };
                market.learn_claims(&bid);
                market.learn_delivery(&bid);
            }
            assert!(market.trust[&id(worker)].claim.expectation.get() > 0.91);
        }
        market
    }

    fn learn(&mut self, evidence: Option<TrustEvidence>) {
        if let Some(evidence) = evidence {
            let record = self.trust.entry(evidence.worker_id.clone()).or_default();
            *record = fold(record, &evidence);
        }
    }

    fn round(&self, bids: &[Bid]) -> Round {
        let mut round = Round::new(lammps());
        round.mode = AuditMode::After;
        round.trust = self.trust.clone();
        round.last_chosen = self.last_chosen.clone();
        for bid in bids {
            round.answers(bid.worker, &bid.says);
            round.is_truly(bid.worker, bid.is.clone());
        }
        round
    }

    fn learn_claims(&mut self, bid: &Bid) {
        let round = self.round(std::slice::from_ref(bid));
        let findings = round.evaluate()[&id(bid.worker)].audit.clone();
        let at = Timestamp::from_millis(self.clock);
        self.learn(claim_evidence(&id(bid.worker), &negotiation("neg-1"), &findings, at));
    }

    fn learn_delivery(&mut self, bid: &Bid) {
        let round = Round::new(lammps());
        let promised = matching::promises::promises(&round.requirement, &bid.says);
        let real = matching::promises::promises(&round.requirement, &bid.is);
        let observed = Observed {
            start_seconds: real.start_p90_seconds,
            runtime_seconds: real.runtime_seconds,
            cost_usd: real.cost_usd,
            peak_memory_gib: None,
            gpu_hours: None,
        };
        let outcome = if bid.delivers { DeliveryOutcome::Delivered } else { DeliveryOutcome::SiteFailed };
        let job_id = JobId::parse("job-1").unwrap();
        let evidence = delivery_evidence(&Delivery {
            worker_id: &id(bid.worker),
            job_id: &job_id,
            negotiation_id: None,
            promised: &promised,
            observed: &observed,
            outcome,
            node_hours: 4.0,
            at: Timestamp::from_millis(self.clock),
        });
        self.learn(Some(evidence));
    }

    /// One negotiation: choose, audit every proposal, run at the winner.
    fn play(&mut self, strategy: &str, bids: &[Bid]) -> Option<String> {
        self.clock += 60_000;
        let winner = self.round(bids).winner(strategy);
        for bid in bids {
            self.learn_claims(bid);
            if winner.as_deref() == Some(bid.worker) {
                self.learn_delivery(bid);
                self.last_chosen.insert(id(bid.worker), Timestamp::from_millis(self.clock));
            }
        }
        winner
    }
}

fn honest(worker: &'static str, price: f64) -> Bid {
    let facts = cluster(price, 60);
    Bid { worker, says: facts.clone(), is: facts, delivers: true }
}

#[test]
fn acceptance_1_a_liar_at_half_the_price_wins_at_most_4_of_60_and_never_in_quarantine() {
    for strategy in ["min-cost", "weighted"] {
        let mut market = Market::with_perfect_history(&["honest", "liar"]);
        let (mut lies_won, mut honest_won) = (0, 0);
        for _ in 0..60 {
            let quarantined = market.trust[&id("liar")].state == TrustState::Quarantined;
            // It names half the price, and there is no LAMMPS and no delivery.
            let mut empty = cluster(2.0, 60);
            empty.software = Some(vec![]);
            let liar = Bid { worker: "liar", says: cluster(1.0, 60), is: empty, delivers: false };
            match market.play(strategy, &[honest("honest", 2.0), liar]).as_deref() {
                Some("liar") => {
                    assert!(!quarantined, "chosen in quarantine");
                    lies_won += 1;
                }
                Some("honest") => honest_won += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(lies_won <= 4, "{strategy}: {lies_won}");
        assert!(honest_won * 10 >= 60 * 9, "{strategy}: {honest_won}");
        assert_eq!(market.trust[&id("liar")].state, TrustState::Quarantined);
    }
}

#[test]
fn a_liar_that_no_audit_can_catch_is_caught_by_its_deliveries() {
    for (undercut, most) in [(0.9, 1), (0.7, 2), (0.5, 4)] {
        let mut market = Market::with_perfect_history(&["honest", "liar"]);
        let mut won = 0;
        for _ in 0..60 {
            let price = 2.0 * undercut;
            let liar = Bid { delivers: false, ..honest("liar", price) };
            if market.play("min-cost", &[honest("honest", 2.0), liar]).as_deref() == Some("liar") {
                won += 1;
            }
        }
        assert!(won <= most, "{won} wins at {undercut} of the price");
    }
}

#[test]
fn acceptance_6_an_on_off_attacker_loses_to_a_clean_equal_below_20_percent_undercut() {
    for undercut in [0.0, 0.1, 0.19] {
        let mut market = Market::with_perfect_history(&["clean", "on-off"]);
        let mut sum = 0.0;
        let mut won_after_the_first_lie = 0;
        let rounds = 200;
        for round in 0..rounds {
            let lies = round % 10 == 0;
            let price = 2.0 * (1.0 - undercut);
            let mut is = cluster(price, 60);
            if lies {
                is.software = Some(vec![]);
            }
            let attacker = Bid { worker: "on-off", says: cluster(price, 60), is, delivers: !lies };
            let winner = market.play("weighted", &[honest("clean", 2.0), attacker]);
            if round > 0 && winner.as_deref() == Some("on-off") {
                won_after_the_first_lie += 1;
            }
            sum += market.trust[&id("on-off")].claim.expectation.get();
        }
        let mean = sum / f64::from(rounds);
        assert!(mean <= 0.75, "{mean}");
        assert!(won_after_the_first_lie * 10 <= rounds, "{undercut}: {won_after_the_first_lie}");
    }
}

#[test]
fn acceptance_7_cost_is_linear_in_nodes_and_so_is_expected_cost_to_success() {
    let explained = |nodes: u32| {
        let mut requirement = lammps();
        requirement.compute.nodes = Some(nodes);
        requirement.time.duration_seconds = Some(Seconds::from(3_600));
        let mut round = Round::new(requirement);
        round.answers("a", &cluster(2.0, 60));
        round.is_truly("a", cluster(2.0, 60));
        round.input().belief(&id("a")).and_then(|belief| belief.cost()).unwrap()
    };
    for nodes in [1, 2, 4, 8, 32] {
        assert!((explained(nodes) - f64::from(nodes) * 2.0).abs() < 1e-9);
    }
}

#[test]
fn a_quarantined_worker_recovers_by_honest_answers_that_do_not_win() {
    let mut market = Market::with_perfect_history(&["honest", "reformed"]);
    for _ in 0..5 {
        let mut is = cluster(1.0, 60);
        is.software = Some(vec![]);
        let lie = Bid { worker: "reformed", says: cluster(1.0, 60), is, delivers: true };
        market.learn_claims(&lie);
    }
    assert_eq!(market.trust[&id("reformed")].state, TrustState::Quarantined);
    let mut rounds = 0;
    while market.trust[&id("reformed")].claim.expectation.get() < 0.8 {
        rounds += 1;
        assert!(rounds <= 20);
        market.play("weighted", &[honest("honest", 2.0), honest("reformed", 2.0)]);
    }
    assert_eq!(market.trust[&id("reformed")].state, TrustState::Trusted);
}
