//! The acceptance tests of the trust model that need no market, and its edges.

use proptest::prelude::*;
use protocol::claim::ClaimValue;
use protocol::error::ErrorCode;
use protocol::units::Usd;

use super::*;

const DAY: f64 = 86_400.0;

fn worker() -> WorkerId {
    WorkerId::parse("hpc-1").unwrap()
}

fn negotiation() -> NegotiationId {
    NegotiationId::parse("neg-1").unwrap()
}

fn evidence(aspect: TrustAspect, good: f64, bad: f64, at: Timestamp) -> TrustEvidence {
    TrustEvidence {
        worker_id: worker(),
        aspect,
        good: Number::saturating(good),
        bad: Number::saturating(bad),
        at,
        because: TrustSource { negotiation_id: None, job_id: None, finding: String::new() },
    }
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_millis(1_000 * i64::from(second))
}

fn claim(record: &TrustRecord) -> f64 {
    record.claim.expectation.get()
}

/// Folds claim evidence, all within a second so that no idle time interferes.
fn claims(record: &TrustRecord, pieces: impl IntoIterator<Item = (f64, f64)>) -> TrustRecord {
    pieces.into_iter().fold(record.clone(), |record, (good, bad)| {
        fold(&record, &evidence(TrustAspect::Claim, good, bad, at(0)))
    })
}

fn honest(times: usize) -> Vec<(f64, f64)> {
    vec![(1.0, 0.0); times]
}

fn lies(times: usize) -> Vec<(f64, f64)> {
    vec![(0.0, SEVERITY); times]
}

fn finding(subject: &str, claimed: ClaimValue, truth: ClaimValue, result: AuditResult) -> AuditFinding {
    AuditFinding { subject: subject.to_owned(), claimed, truth: Some(truth), result, hard: true }
}

fn number(value: f64) -> ClaimValue {
    ClaimValue::Quantity(Number::saturating(value))
}

fn judge(findings: &[AuditFinding]) -> Option<(f64, f64)> {
    claim_evidence(&worker(), &negotiation(), findings, at(0)).map(|e| (e.good.get(), e.bad.get()))
}

#[test]
fn an_honest_worker_settles_at_0_917_and_one_over_claim_takes_it_to_0_71() {
    let steady = claims(&TrustRecord::default(), honest(200));
    assert!((claim(&steady) - 11.0 / 12.0).abs() < 1e-6);
    assert_eq!(steady.state, TrustState::Trusted);
    assert!((claim(&claims(&steady, lies(1))) - 0.714).abs() < 1e-3);
}

#[test]
fn acceptance_2_twenty_honest_negotiations_heal_five_over_claims_and_twelve_heal_one() {
    let steady = claims(&TrustRecord::default(), honest(200));
    let five = claims(&steady, lies(5));
    assert_eq!(five.state, TrustState::Quarantined);
    assert!(claim(&claims(&five, honest(20))) >= 0.8);
    assert!(claim(&claims(&claims(&steady, lies(1)), honest(12))) >= 0.85);
}

#[test]
fn acceptance_3_an_under_claimer_stays_above_an_over_claimer_of_equal_rate() {
    let mixed = |bad: (f64, f64)| {
        let round: Vec<_> = (0..60).map(|i| if i % 4 == 0 { bad } else { (1.0, 0.0) }).collect();
        claims(&TrustRecord::default(), round)
    };
    let under = judge(&[finding("verdict", number(0.0), number(1.0), AuditResult::Under)]).unwrap();
    let over =
        judge(&[finding("verdict", ClaimValue::Flag(true), ClaimValue::Flag(false), AuditResult::Over)])
            .unwrap();
    assert_eq!((under, over), ((0.0, 1.0), (0.0, SEVERITY)));
    assert!(claim(&mixed(under)) > claim(&mixed(over)) + 0.1);
}

#[test]
fn acceptance_5_a_thousand_true_trivia_weigh_no_more_than_one_negotiation() {
    let fact = finding("software.zlib", ClaimValue::Flag(true), ClaimValue::Flag(true), AuditResult::Match);
    let flood = vec![fact.clone(); 1000];
    assert_eq!(judge(&flood), judge(std::slice::from_ref(&fact)));
    let mut with_a_lie = flood;
    with_a_lie.push(finding(
        "compute.gpus",
        ClaimValue::Flag(true),
        ClaimValue::Flag(false),
        AuditResult::Over,
    ));
    assert_eq!(judge(&with_a_lie), Some((0.0, SEVERITY)));
}

#[test]
fn acceptance_6_a_worker_that_lies_once_in_ten_stays_at_or_below_0_75_on_average() {
    let mut record = claims(&TrustRecord::default(), honest(200));
    let mut sum = 0.0;
    for round in 0..200 {
        record = claims(&record, if round % 10 == 0 { lies(1) } else { honest(1) });
        sum += claim(&record);
    }
    // It swings between 0.63 behind a lie and 0.79 in front of the next one.
    assert!(sum / 200.0 <= 0.75, "{}", sum / 200.0);
    assert!(claim(&claims(&record, lies(1))) < 0.64);
}

#[test]
fn numbers_are_judged_by_their_error_beyond_the_tolerance() {
    let over = |claimed, truth| {
        judge(&[finding("compute.nodes_free", number(claimed), number(truth), AuditResult::Over)]).unwrap().1
    };
    assert!((over(15.0, 10.0) - 1.2).abs() < 1e-9);
    assert!((over(1e308, 10.0) - SEVERITY).abs() < 1e-9);
    assert!((over(4.0, 0.0) - SEVERITY * 0.9).abs() < 1e-9);
    assert!((over(-1e308, 1e308) - SEVERITY).abs() < 1e-9);
}

#[test]
fn what_cannot_be_checked_teaches_nothing() {
    assert_eq!(judge(&[]), None);
    let unknown = finding("compute.nodes", number(1.0), number(1.0), AuditResult::Unchecked);
    assert_eq!(judge(&[unknown]), None);
}

#[test]
fn the_evidence_of_one_negotiation_is_shared_by_its_claims() {
    let good = finding("a", number(1.0), number(1.0), AuditResult::Match);
    let modest = finding("b", number(1.0), number(9.0), AuditResult::Under);
    assert_eq!(judge(&[good.clone(), good.clone(), good, modest]), Some((0.75, 0.25)));
}

#[test]
fn time_outs_move_availability_only() {
    let reply = Reply::missing(Outcome::Timeout, ErrorCode::UpstreamTimeout, "no answer");
    let piece = availability_evidence(&worker(), &negotiation(), &reply, at(0)).unwrap();
    let record = fold(&TrustRecord::default(), &piece);
    assert_eq!(record.claim, BetaPair::default());
    assert_eq!(record.delivery, BetaPair::default());
    assert!(record.availability.expectation.get() < 0.5);
    let not_asked = Reply::missing(Outcome::NotAsked, ErrorCode::Busy, "too many calls");
    assert_eq!(availability_evidence(&worker(), &negotiation(), &not_asked, at(0)), None);
}

#[test]
fn idle_fame_fades_with_a_half_life_of_14_days() {
    let steady = claims(&TrustRecord::default(), honest(200));
    let later = as_of(&steady, at(0).plus(Seconds::saturating(14.0 * DAY)));
    assert!((later.claim.r.get() - steady.claim.r.get() / 2.0).abs() < 1e-9);
    let much_later = as_of(&steady, at(0).plus(Seconds::saturating(3650.0 * DAY)));
    assert!((claim(&much_later) - 0.5).abs() < 1e-3);
    assert_eq!(much_later.state, TrustState::Newcomer);
    assert_eq!(as_of(&steady, at(0)), steady);
}

#[test]
fn a_newcomer_becomes_trusted_with_evidence_and_quarantine_asks_for_canaries() {
    let newcomer = TrustRecord::default();
    assert_eq!(newcomer.state, TrustState::Newcomer);
    let trusted = claims(&newcomer, honest(3));
    assert_eq!(trusted.state, TrustState::Trusted);
    let liar = claims(&newcomer, lies(1));
    assert_eq!(liar.state, TrustState::Quarantined);
    let hour = Seconds::from(3600);
    assert!(canary_due(&liar, None, at(0), hour));
    assert!(!canary_due(&liar, Some(at(0)), at(3599), hour));
    assert!(canary_due(&liar, Some(at(0)), at(3600), hour));
    assert!(!canary_due(&trusted, None, at(0), hour));
}

fn delivery<'a>(
    worker_id: &'a WorkerId,
    job_id: &'a JobId,
    promised: &'a Promises,
    observed: &'a Observed,
    outcome: DeliveryOutcome,
    node_hours: f64,
) -> Delivery<'a> {
    Delivery { worker_id, job_id, negotiation_id: None, promised, observed, outcome, node_hours, at: at(0) }
}

#[test]
fn delivery_is_the_mean_of_the_promises_kept_times_the_stake() {
    let (id, job) = (worker(), JobId::parse("job-1").unwrap());
    let promised = Promises {
        start_p50_seconds: None,
        start_p90_seconds: Some(Seconds::from(100)),
        runtime_seconds: Some(Seconds::from(1000)),
        cost_usd: Some(Usd::from(10)),
    };
    let observed = Observed {
        start_seconds: Some(Seconds::from(90)),
        runtime_seconds: Some(Seconds::from(1100)),
        cost_usd: Some(Usd::from(22)),
        peak_memory_gib: None,
        gpu_hours: None,
    };
    let judged =
        delivery_evidence(&delivery(&id, &job, &promised, &observed, DeliveryOutcome::Delivered, 15.0));
    let kept = (1.0 + 1.0 + (11.0 + 0.01) / 22.0) / 3.0;
    assert!((judged.good.get() - kept).abs() < 1e-9);
    assert!((judged.bad.get() - SEVERITY * (1.0 - kept)).abs() < 1e-9);
    let failed =
        delivery_evidence(&delivery(&id, &job, &promised, &observed, DeliveryOutcome::SiteFailed, 0.0));
    assert_eq!((failed.good.get(), failed.bad.get()), (0.0, SEVERITY * 0.25));
}

#[test]
fn many_cheap_jobs_cannot_launder_one_large_failure() {
    let (id, job) = (worker(), JobId::parse("job-1").unwrap());
    let (promised, observed) = (Promises::default(), Observed::default());
    let cheap =
        delivery_evidence(&delivery(&id, &job, &promised, &observed, DeliveryOutcome::Delivered, 0.01));
    let large =
        delivery_evidence(&delivery(&id, &job, &promised, &observed, DeliveryOutcome::SiteFailed, 1000.0));
    let mut record = TrustRecord::default();
    for _ in 0..100 {
        record = fold(&record, &cheap);
    }
    record = fold(&record, &large);
    assert_eq!(record.state, TrustState::Quarantined);
    for _ in 0..3 {
        record = fold(&record, &cheap);
    }
    assert_eq!(record.state, TrustState::Quarantined);
}

#[test]
fn only_the_site_is_blamed_for_the_site() {
    assert_eq!(DeliveryOutcome::of(AttemptState::Succeeded, None), Some(DeliveryOutcome::Delivered));
    assert_eq!(DeliveryOutcome::of(AttemptState::Lost, None), Some(DeliveryOutcome::SiteFailed));
    assert_eq!(DeliveryOutcome::of(AttemptState::Failed, Some(ErrorCode::JobFailed)), None);
    assert_eq!(
        DeliveryOutcome::of(AttemptState::Failed, Some(ErrorCode::Storage)),
        Some(DeliveryOutcome::SiteFailed)
    );
    for state in
        [AttemptState::Cancelled, AttemptState::TimedOut, AttemptState::Unknown, AttemptState::Running]
    {
        assert_eq!(DeliveryOutcome::of(state, None), None);
    }
}

proptest! {
    #[test]
    fn waiting_never_lifts_a_bad_name_above_the_prior(
        rounds in prop::collection::vec((0.0..1.0_f64, 0.0..3.0_f64), 1..30), days in 0.0..10_000.0_f64,
    ) {
        let record = claims(&TrustRecord::default(), rounds);
        let later = as_of(&record, at(0).plus(Seconds::saturating(days * DAY)));
        if claim(&record) < 0.5 {
            prop_assert!(claim(&later) >= claim(&record) - 1e-12 && claim(&later) <= 0.5);
        } else {
            prop_assert!(claim(&later) <= claim(&record) + 1e-12 && claim(&later) >= 0.5);
        }
    }

    #[test]
    fn expectations_stay_between_0_and_1_whatever_the_evidence(
        pieces in prop::collection::vec((any::<f64>(), any::<f64>(), any::<i64>()), 0..40),
    ) {
        let mut record = TrustRecord::default();
        for (good, bad, millis) in pieces {
            record = fold(&record, &evidence(TrustAspect::Delivery, good, bad, Timestamp::from_millis(millis)));
            let expectation = record.delivery.expectation.get();
            prop_assert!((0.0..=1.0).contains(&expectation));
        }
    }

    #[test]
    fn the_record_is_a_fold_that_can_be_replayed(
        pieces in prop::collection::vec((0..3_u8, 0.0..1.0_f64, 0.0..3.0_f64, 0..100_000_u32), 0..40),
    ) {
        let log: Vec<_> = pieces
            .into_iter()
            .map(|(aspect, good, bad, second)| {
                let aspect = [TrustAspect::Claim, TrustAspect::Delivery, TrustAspect::Availability][usize::from(aspect)];
                evidence(aspect, good, bad, at(second))
            })
            .collect();
        let lived = log.iter().fold(TrustRecord::default(), |record, piece| fold(&record, piece));
        let stored: Vec<String> = log.iter().map(|piece| serde_json::to_string(piece).unwrap()).collect();
        let replayed = stored.iter().fold(TrustRecord::default(), |record, line| {
            fold(&record, &serde_json::from_str(line).unwrap())
        });
        prop_assert_eq!(lived, replayed);
    }
}
