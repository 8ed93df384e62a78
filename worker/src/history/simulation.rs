//! Whether corrected estimates keep what they say, over a long run of awards with a fixed seed: coverage,
//! and the pinball loss, the proper score of a quantile (Gneiting and Raftery, 2007), against the
//! manager's own estimates.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::tests::key;
use super::*;

const ROUNDS: u32 = 4000;

/// What a long run of awards shows of one way to estimate.
#[derive(Debug, Default)]
struct Record {
    rounds: f64,
    below_p50: f64,
    below_p90: f64,
    loss_p90: f64,
}

impl Record {
    fn note(&mut self, start: StartEstimate, wait: f64) {
        self.rounds += 1.0;
        self.below_p50 += f64::from(u8::from(wait <= start.p50.get()));
        self.below_p90 += f64::from(u8::from(wait <= start.p90.get()));
        let late = wait - start.p90.get();
        self.loss_p90 += (0.9 * late).max(-0.1 * late);
    }

    fn coverage(&self) -> (f64, f64) {
        (self.below_p50 / self.rounds, self.below_p90 / self.rounds)
    }
}

struct Queue(ChaCha20Rng);

impl Queue {
    fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// Evenly between two numbers.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }
}

/// The manager's estimates and the corrected ones where `round` gives, for each award, the estimate, how
/// long the work really waits, and for how long its owner is ready to wait.
fn run(mut round: impl FnMut(&mut Queue) -> (Option<f64>, f64, f64)) -> (Record, Record) {
    let mut queue = Queue::new(7);
    let (mut own, mut corrected) = (Record::default(), Record::default());
    let mut cases: Vec<Case> = Vec::new();
    for number in 0..ROUNDS {
        let now = Timestamp::from_millis(1_795_000_000_000).plus(Seconds::from(60 * number));
        let (estimate, wait, patience) = round(&mut queue);
        let estimate = estimate.map(Seconds::saturating);
        let foreseen = Foreseen {
            at: now,
            manager: "slurm".to_owned(),
            start: estimate.map(|estimate| StartEstimate { p50: estimate, p90: estimate }),
            allocation: Allocation { nodes: 1, cores: 16, gpus: 0 },
            free: false,
            waiting: 1 + number % 7,
        };
        if let Some(found) = correct(&foreseen, &cases, now).and_then(|found| found.start) {
            corrected.note(found, wait);
            if let Some(start) = foreseen.start {
                own.note(start, wait);
            }
        }
        let wait = if wait <= patience {
            Wait::Started(Seconds::saturating(wait))
        } else {
            Wait::AtLeast(Seconds::saturating(patience))
        };
        cases.push(Case { key: key(number), accepted_at: now, foreseen, wait });
        // As many as the worker keeps.
        let surplus = cases.len().saturating_sub(1000);
        cases.drain(..surplus);
    }
    (own, corrected)
}

fn check(what: &str, corrected: &Record) {
    let (p50, p90) = corrected.coverage();
    assert!((0.45..=0.56).contains(&p50), "{what}: half of the starts, {p50}");
    assert!((0.88..=0.93).contains(&p90), "{what}: nine in ten starts, {p90}");
    assert!(corrected.rounds > 0.9 * f64::from(ROUNDS), "{what}: {} rounds", corrected.rounds);
}

#[test]
fn an_estimate_that_is_always_too_early_or_too_late_comes_to_cover_nine_in_ten() {
    for factor in [0.1, 0.5, 2.0, 5.0, 20.0] {
        let (own, corrected) = run(|queue| {
            let estimate = queue.between(0.0, 36_000.0);
            (Some(estimate), factor * estimate * queue.between(0.5, 1.5), f64::INFINITY)
        });
        check(&format!("factor {factor}"), &corrected);
        let (_, covered) = own.coverage();
        assert!(!(0.6..0.99).contains(&covered), "factor {factor}: the estimate itself covers {covered}");
        assert!(corrected.loss_p90 < own.loss_p90, "factor {factor}");
    }
}

#[test]
fn short_estimates_are_corrected_by_seconds() {
    let (_, corrected) = run(|queue| {
        let estimate = queue.between(0.0, 50.0);
        (Some(estimate), estimate + queue.between(10.0, 200.0), f64::INFINITY)
    });
    check("a delay", &corrected);
}

#[test]
fn a_site_without_estimates_learns_its_waits() {
    let (_, corrected) = run(|queue| (None, queue.between(0.0, 1.0).powi(3) * 86_400.0, f64::INFINITY));
    check("no estimates", &corrected);
}

#[test]
fn withdrawn_work_does_not_make_long_waits_look_rare() {
    let (_, corrected) = run(|queue| {
        (
            None,
            queue.between(0.0, 7200.0),
            if queue.between(0.0, 1.0) < 0.4 { queue.between(0.0, 7200.0) } else { f64::INFINITY },
        )
    });
    check("withdrawn", &corrected);
}

#[test]
fn a_changed_queue_is_learned_anew() {
    let mut number = 0;
    let (_, corrected) = run(|queue| {
        number += 1;
        let factor = if number < ROUNDS / 2 { 1.0 } else { 6.0 };
        let estimate = queue.between(600.0, 5000.0);
        (Some(estimate), factor * estimate * queue.between(0.5, 1.5), f64::INFINITY)
    });
    let (_, p90) = corrected.coverage();
    assert!((0.87..=0.93).contains(&p90), "{p90}");
}
