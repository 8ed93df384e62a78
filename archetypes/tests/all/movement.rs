//! How truth moves with ticks, taken capacity and requirements.

use std::collections::BTreeSet;

use archetypes::Site;
use proptest::prelude::*;
use protocol::facts::{Allocation, Facts, NodeGroup};
use protocol::requirement::{ComputeNeed, Requirement, SoftwareNeed};
use protocol::units::Seconds;

use crate::{proposal, sites};

fn groups(facts: &Facts) -> &[NodeGroup] {
    &facts.compute.as_ref().unwrap().groups
}

fn sums(facts: &Facts) -> (u32, u32, u32) {
    groups(facts).iter().fold((0, 0, 0), |sum, group| {
        (
            sum.0 + group.nodes_free.unwrap(),
            sum.1 + group.cores_free.unwrap(),
            sum.2 + group.gpus_free.unwrap(),
        )
    })
}

fn nodes(count: u32) -> Requirement {
    Requirement {
        compute: ComputeNeed { nodes: Some(count), ..ComputeNeed::default() },
        ..Requirement::default()
    }
}

#[test]
fn free_capacity_moves_and_never_jumps() {
    let mut still = 0;
    for site in sites(4) {
        let free = |tick: u64| sums(&site.truth_for(&Requirement::default(), tick, &[])).1;
        let facts = site.truth(0, &[]);
        let total: u32 = groups(&facts).iter().map(|group| group.nodes * group.cores_per_node).sum();
        let node = groups(&facts).iter().map(|group| group.cores_per_node).max().unwrap();
        for tick in 0..400 {
            let (here, next) = (free(tick), free(tick + 1));
            assert!(
                here.abs_diff(next) <= total / 20 + 2 * node,
                "{} at {tick}: {here}, {next}",
                site.worker()
            );
        }
        let seen: BTreeSet<u32> = (0..200).map(|step| free(step * 311)).collect();
        still += u32::from(seen.len() == 1);
    }
    assert!(still <= 1, "only a quiet desk may have nothing on it for six weeks");
}

#[test]
fn the_same_moment_is_the_same_however_often_it_is_asked_for() {
    for site in sites(3) {
        let first = site.truth(500, &[]);
        let _ = site.truth(501, &[]);
        assert_eq!(site.clone().truth(500, &[]), first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_taken_is_gone_and_nothing_else(place: u16, tick in 0..50_000_u64, nodes in 0..400_u32, share in 0..500_u32) {
        let site = crate::site(place.into());
        let before = site.truth(tick, &[]);
        let group = groups(&before).iter().find(|group| group.gpus_per_node == 0);
        prop_assume!(group.is_some());
        let cores = group.unwrap().cores_per_node;
        for allocation in [
            Allocation { nodes: nodes.max(1), cores: nodes.max(1) * cores, gpus: 0 },
            Allocation { nodes: 0, cores: share, gpus: 0 },
        ] {
            let after = site.truth(tick, &[(proposal(1), allocation)]);
            let (was, is) = (sums(&before), sums(&after));
            prop_assert_eq!(after.as_of.as_ref().unwrap().taken.clone(), vec![proposal(1)]);
            let gone = was.1 - is.1;
            prop_assert!(gone <= allocation.cores);
            if groups(&before).iter().any(|g| g.nodes_free >= Some(allocation.nodes) && g.cores_free >= Some(allocation.cores)) {
                prop_assert_eq!(gone, allocation.cores);
                if allocation.nodes > 0 {
                    prop_assert_eq!(was.0 - is.0, allocation.nodes);
                }
            }
            for (was, is) in groups(&before).iter().zip(groups(&after)) {
                prop_assert_eq!(was.nodes, is.nodes);
                prop_assert!(is.cores_free.unwrap() >= is.nodes_free.unwrap() * is.cores_per_node);
                prop_assert!(is.gpus_free.unwrap() >= is.nodes_free.unwrap() * is.gpus_per_node);
            }
        }
    }

    #[test]
    fn truth_for_a_requirement_is_a_part_of_the_truth(place: u16, tick in 0..50_000_u64, nodes in proptest::option::of(1..50_u32)) {
        let site = crate::site(place.into());
        let whole = site.truth(tick, &[]);
        let some = whole.software.as_ref().unwrap()[0].name.clone();
        let names = [some.as_str(), "gromacs", "Scikit_Learn", "no-such-package", some.as_str()];
        let software = names.map(|name| SoftwareNeed { name: name.into(), constraint: None }).to_vec();
        let requirement = Requirement {
            software,
            compute: ComputeNeed { nodes, ..ComputeNeed::default() },
            ..Requirement::default()
        };
        let mut part = site.truth_for(&requirement, tick, &[]);
        let expected: Vec<_> = whole
            .software
            .as_ref()
            .unwrap()
            .iter()
            .filter(|package| [some.as_str(), "gromacs", "scikit-learn"].contains(&package.name.as_str()))
            .cloned()
            .collect();
        prop_assert_eq!(part.software.as_ref(), Some(&expected));
        // Everything else is the same, but for the start, which is that of the asked size.
        part.software.clone_from(&whole.software);
        part.workload.as_mut().unwrap().start = whole.workload.as_ref().unwrap().start;
        prop_assert_eq!(part, whole);
    }
}

#[test]
fn work_that_fits_starts_at_once_and_larger_work_waits_longer() {
    let mut waited = 0;
    for site in sites(10) {
        for tick in (0..20_000).step_by(977) {
            let facts = site.truth_for(&Requirement::default(), tick, &[]);
            let largest = groups(&facts).iter().max_by_key(|group| group.nodes_free).unwrap();
            let free = largest.nodes_free.unwrap();
            let start = |count: u32| site.truth_for(&nodes(count), tick, &[]).workload.unwrap().start;
            if free > 0 {
                assert_eq!(start(free).map(|start| start.p90), Some(Seconds::ZERO));
            }
            let most = groups(&facts).iter().map(|group| group.nodes).max().unwrap();
            if free < most {
                let (next, all) = (start(free + 1).unwrap(), start(most).unwrap());
                assert!(next.p50 > Seconds::ZERO && next.p90 > next.p50);
                assert!(all.p50 >= next.p50);
                waited += 1;
            }
            assert_eq!(start(most + 1), None, "nobody can tell when work starts that never fits");
        }
    }
    assert!(waited > 100);
}

#[test]
fn nine_in_ten_starts_keep_the_p90() {
    let (mut kept, mut all) = (0_u32, 0_u32);
    for site in sites(20) {
        for tick in (0..100_000).step_by(499) {
            let facts = site.truth_for(&Requirement::default(), tick, &[]);
            let Some(group) = groups(&facts).iter().find(|group| group.nodes_free < Some(group.nodes)) else {
                continue;
            };
            let count = group.nodes_free.unwrap() + 1 + (tick as u32 % 3) * (group.nodes / 4);
            let Some(start) = site.truth_for(&nodes(count), tick, &[]).workload.unwrap().start else {
                continue;
            };
            let cores = count * group.cores_per_node;
            let delay = site.start_delay(tick, &Allocation { nodes: count, cores, gpus: 0 });
            if start.p50 == Seconds::ZERO {
                assert_eq!(delay, Seconds::ZERO);
            } else {
                all += 1;
                kept += u32::from(delay <= start.p90);
            }
        }
    }
    let share = f64::from(kept) / f64::from(all);
    assert!(all > 3_000 && (0.885..0.915).contains(&share), "{kept} of {all}");
}

#[test]
fn run_times_keep_near_the_promise() {
    let promised = Seconds::from(3_600);
    let mut late = 0_u32;
    let mut all = 0_u32;
    for site in sites(10) {
        for number in 0..100 {
            let took = site.runtime(&proposal(number), Some(promised));
            assert!((1_800.0..9_000.0).contains(&took.get()), "{took}");
            late += u32::from(took.get() > 1.1 * promised.get());
            all += 1;
        }
        assert!(site.runtime(&proposal(1), None).get() > 60.0);
        assert_eq!(site.runtime(&proposal(1), Some(Seconds::ZERO)), Seconds::ZERO);
        assert_eq!(site.runtime(&proposal(2), None), site.runtime(&proposal(2), None));
    }
    assert!((all / 50..all / 10).contains(&late), "{late} of {all} run more than a tenth over");
}

#[test]
fn more_taken_never_starts_sooner() {
    for site in sites(10) {
        let taken: Vec<_> =
            (0..30).map(|number| (proposal(number), Allocation { nodes: 20, cores: 0, gpus: 0 })).collect();
        let wait = |site: &Site, count: usize| {
            site.truth_for(&nodes(1), 3, &taken[..count]).workload.unwrap().start.unwrap().p50
        };
        assert!((0..30).all(|count| wait(&site, count) <= wait(&site, count + 1)));
        assert!(
            site.start_delay_after(3, &taken, &Allocation { nodes: 1, cores: 1, gpus: 0 }) >= Seconds::ZERO
        );
    }
}
