use proptest::prelude::*;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

pub(super) fn key(number: u32) -> AttemptKey {
    (JobId::parse(format!("job-{number}")).unwrap(), AttemptNumber::FIRST)
}

fn start(p50: f64, p90: f64) -> Option<StartEstimate> {
    Some(StartEstimate { p50: Seconds::saturating(p50), p90: Seconds::saturating(p90) })
}

fn foreseen(start: Option<StartEstimate>) -> Foreseen {
    let allocation = Allocation { nodes: 0, cores: 8, gpus: 0 };
    Foreseen { at: NOW, manager: "slurm".to_owned(), start, allocation, free: false, waiting: 3 }
}

/// Cases of equal foresight, a minute between each and the next.
fn cases(foreseen: &Foreseen, waits: impl IntoIterator<Item = Wait>) -> Vec<Case> {
    let cases = (0_u32..).zip(waits).map(|(number, wait)| Case {
        key: key(number),
        accepted_at: NOW.plus(Seconds::from(60 * number)),
        foreseen: foreseen.clone(),
        wait,
    });
    cases.collect()
}

fn started(seconds: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Wait> {
    seconds.into_iter().map(|seconds| Wait::Started(Seconds::from(seconds)))
}

fn figures(foreseen: &Foreseen, cases: &[Case]) -> Option<(f64, f64)> {
    let corrected = correct(foreseen, cases, NOW.plus(Seconds::from(6000)))?;
    corrected.start.map(|start| (start.p50.get(), start.p90.get()))
}

#[test]
fn waits_without_an_estimate_are_their_own_quantiles() {
    let none = foreseen(None);
    let waits = |count| cases(&none, started((1..=count).map(|minute| 60 * minute)));
    assert_eq!(figures(&none, &waits(8)), None, "there is no ninth in ten of eight");
    assert_eq!(figures(&none, &waits(9)), Some((300.0, 540.0)));
    assert_eq!(figures(&none, &waits(19)), Some((600.0, 1080.0)));
    // Only the latest sixty count.
    assert_eq!(figures(&none, &waits(80)), Some((60.0 * 51.0, 60.0 * 75.0)));
}

#[test]
fn an_estimate_is_moved_by_what_comparable_ones_were_missed_by() {
    let hour = foreseen(start(3600.0, 3600.0));
    let always_double = cases(&hour, started([7200; 12]));
    let (p50, p90) = figures(&hour, &always_double).unwrap();
    assert_eq!((p50, p90), (7200.0, 7200.0));
    let longer = foreseen(start(5400.0, 5400.0));
    let (_, p90) = figures(&longer, &always_double).unwrap();
    assert!((p90 / 10_800.0 - 1.0).abs() < 0.02, "twice as late again: {p90}");
    let too_late = cases(&hour, started([600; 12]));
    assert_eq!(figures(&hour, &too_late), Some((600.0, 600.0)), "estimates that are too late come nearer");
}

#[test]
fn only_what_is_comparable_counts() {
    let asked = foreseen(start(3600.0, 3600.0));
    let others = [
        Foreseen { waiting: 0, ..asked.clone() },
        Foreseen { manager: "flux".to_owned(), ..asked.clone() },
        Foreseen { start: None, ..asked.clone() },
        Foreseen { start: start(30.0, 30.0), ..asked.clone() },
    ];
    for other in others {
        assert_eq!(figures(&asked, &cases(&other, started([7200; 20]))), None, "{other:?}");
    }
    let asked = foreseen(None);
    let large = Allocation { nodes: 4, cores: 256, gpus: 0 };
    let gpus = Allocation { gpus: 1, ..asked.allocation };
    let others = [
        Foreseen { allocation: large, ..asked.clone() },
        Foreseen { allocation: gpus, ..asked.clone() },
        Foreseen { free: true, ..asked.clone() },
        Foreseen { waiting: 0, ..asked.clone() },
    ];
    for other in others {
        assert_eq!(figures(&asked, &cases(&other, started([7200; 20]))), None, "{other:?}");
    }
    let old = cases(&asked, started([7200; 20]));
    let later = NOW.plus(Seconds::from(OLDEST + 6000));
    assert_eq!(correct(&asked, &old, later), None);
}

#[test]
fn a_start_at_once_stays_one_until_such_starts_were_late() {
    let at_once = Foreseen { waiting: 0, free: true, ..foreseen(start(0.0, 0.0)) };
    assert_eq!(figures(&at_once, &cases(&at_once, started([2; 20]))), None);
    assert_eq!(figures(&at_once, &cases(&at_once, started([90; 20]))), Some((90.0, 90.0)));
}

#[test]
fn work_that_still_waits_counts() {
    let none = foreseen(None);
    let waits = started([60; 9]).chain([Wait::AtLeast(Seconds::from(30)); 5]);
    assert_eq!(figures(&none, &cases(&none, waits)), Some((60.0, 60.0)), "they may start in a moment");
    let waits = started([60; 9]).chain([Wait::AtLeast(Seconds::from(4000)); 5]);
    assert_eq!(figures(&none, &cases(&none, waits)), None, "nine in fourteen are not nine in ten");
    let waits = started([60, 60, 60, 60, 60, 5000, 5000, 5000, 5000, 5000, 6000, 6000, 6000, 6000])
        .chain([Wait::AtLeast(Seconds::from(4000)); 5]);
    assert_eq!(figures(&none, &cases(&none, waits)), Some((5000.0, 6000.0)));
}

#[test]
fn an_estimate_that_waiting_work_refutes_is_unknown() {
    let minutes = foreseen(start(120.0, 300.0));
    let after = |waited: u32| {
        let waits = started([300; 9]).chain([Wait::AtLeast(Seconds::from(waited)); 5]);
        correct(&minutes, &cases(&minutes, waits), NOW)
    };
    assert_eq!(after(302), None, "they may start in a moment");
    let refuted = after(4000).unwrap();
    assert_eq!(refuted.start, None);
    assert_eq!(
        refuted.provenance(&minutes, NOW).source,
        "estimate of slurm (P90 300 s) left out: comparable work waits longer, nobody knows how long"
    );
}

#[test]
fn a_burst_of_awards_pushes_nothing_away() {
    let none = foreseen(None);
    let waits = started([600; 12]).chain([Wait::AtLeast(Seconds::from(1)); 200]);
    assert_eq!(figures(&none, &cases(&none, waits)), Some((600.0, 600.0)));
}

#[test]
fn the_evidence_says_where_the_figures_come_from() {
    let hour = foreseen(start(3600.0, 5400.0));
    let cases = cases(&hour, started([7200; 12]));
    let now = NOW.plus(Seconds::from(6000));
    let provenance = correct(&hour, &cases, now).unwrap().provenance(&hour, now);
    assert_eq!(
        provenance.source,
        "estimate of slurm (P50 3600 s, P90 5400 s), corrected by 12 comparable starts"
    );
    assert_eq!(provenance.age_seconds, Seconds::from(6000 - 11 * 60));
}

fn any_wait() -> impl Strategy<Value = Wait> {
    let seconds = prop_oneof![
        (-10_i32..100_000).prop_map(f64::from),
        Just(0.0),
        Just(f64::MAX),
        Just(f64::MIN),
        0.0..1e-3
    ];
    (seconds, any::<bool>()).prop_map(|(seconds, started)| {
        let seconds = Seconds::saturating(seconds);
        if started { Wait::Started(seconds) } else { Wait::AtLeast(seconds) }
    })
}

fn any_start() -> impl Strategy<Value = Option<StartEstimate>> {
    let seconds = prop_oneof![4 => 0.0..50_000.0, 1 => Just(f64::MAX), 1 => Just(-1.0)];
    proptest::option::of((seconds.clone(), seconds).prop_map(|(p50, p90)| start(p50, p90).unwrap()))
}

proptest! {
    #[test]
    fn figures_are_ordered_finite_and_no_matter_of_order(
        asked in any_start(),
        all in proptest::collection::vec((any_start(), any_wait(), 0_u32..5000), 0..120),
        turn in 0_usize..120,
    ) {
        let asked = foreseen(asked);
        let mut all: Vec<Case> = (0..).zip(all).map(|(number, (start, wait, at))| Case {
            key: key(number),
            accepted_at: NOW.plus(Seconds::from(at)),
            foreseen: foreseen(start),
            wait,
        }).collect();
        let corrected = figures(&asked, &all);
        if let Some((p50, p90)) = corrected {
            prop_assert!(p50.is_finite() && p90.is_finite());
            prop_assert!(0.0 <= p50 && p50 <= p90);
        }
        let turn = turn.min(all.len());
        all.rotate_left(turn);
        all.reverse();
        prop_assert_eq!(figures(&asked, &all), corrected);
    }

    #[test]
    fn longer_waits_never_give_an_earlier_start(
        waits in proptest::collection::vec(0_u32..100_000, 9..70),
        longer in 0_u32..10_000,
    ) {
        let hour = foreseen(start(3600.0, 3600.0));
        let before = figures(&hour, &cases(&hour, started(waits.clone()))).unwrap();
        let after = started(waits.into_iter().map(|wait| wait + longer));
        let after = figures(&hour, &cases(&hour, after)).unwrap();
        prop_assert!(before.0 <= after.0 && before.1 <= after.1);
    }

    #[test]
    fn a_damaged_file_costs_cases_and_nothing_else(at in 0_usize..4000, byte in any::<u8>(), cut in 0_usize..4000) {
        let directory = tempfile::tempdir().unwrap();
        let hour = foreseen(start(3600.0, 3600.0));
        let history = History::open(directory.path()).unwrap();
        for case in cases(&hour, started([7200; 12])) {
            history.expect(&case.key, case.foreseen, case.accepted_at);
            history.waited(&case.key, case.wait);
        }
        let path = directory.path().join("history.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        std::fs::write(&path, bytes).unwrap();
        let history = History::open(directory.path()).unwrap();
        prop_assert!(history.len() <= 12);
        let next = key(99);
        history.expect(&next, hour.clone(), NOW);
        history.waited(&next, Wait::Started(Seconds::ZERO));
        let had = history.len();
        prop_assert_eq!(History::open(directory.path()).unwrap().len(), had);
    }
}

#[test]
fn the_history_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let hour = foreseen(start(3600.0, 3600.0));
    let history = History::open(directory.path()).unwrap();
    let now = NOW.plus(Seconds::from(6000));
    for case in cases(&hour, started([7200; 12])) {
        history.expect(&case.key, case.foreseen.clone(), case.accepted_at);
        history.waited(&case.key, case.wait);
        history.waited(&case.key, Wait::Started(Seconds::ZERO));
    }
    let (withdrawn, open) = (key(50), key(51));
    history.expect(&withdrawn, hour.clone(), NOW);
    history.forget(&withdrawn);
    history.expect(&open, hour.clone(), NOW);
    let before = history.correct(&hour, now).unwrap();
    assert_eq!((before.start.unwrap().p90.get(), before.starts), (7200.0, 12));
    let path = directory.path().join("history.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"change\":\"waited\",\"job_id\":\"job-5");
    std::fs::write(&path, &bytes).unwrap();
    let after = History::open(directory.path()).unwrap();
    assert_eq!(after.correct(&hour, now), Some(before));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 27, "the unfinished line is gone");
    assert_eq!(after.waiting(), 1);
    after.keep_waiting(&std::collections::BTreeSet::new());
    assert_eq!(after.waiting(), 0);
}

#[test]
fn the_file_stays_small() {
    let directory = tempfile::tempdir().unwrap();
    let hour = foreseen(start(3600.0, 3600.0));
    let history = History::open(directory.path()).unwrap();
    let mut longest = 0;
    for case in cases(&hour, started([7200; 9000])) {
        history.expect(&case.key, case.foreseen, case.accepted_at);
        history.waited(&case.key, case.wait);
        longest = longest.max(std::fs::metadata(directory.path().join("history.jsonl")).unwrap().len());
    }
    assert!(longest < 4 * 1024 * 1024, "{longest} bytes");
    let before = history.len();
    drop(history);
    let after = History::open(directory.path()).unwrap();
    assert_eq!((before, after.len()), (1000, 1000));
    assert_eq!(
        after.correct(&hour, NOW.plus(Seconds::from(600_000))).unwrap().start.unwrap().p90.get(),
        7200.0
    );
    let names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["history.jsonl"]);
}
