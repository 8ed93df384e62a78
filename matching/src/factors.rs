//! The published reference scale of each factor, anchored on the request.
//!
//! No scale depends on any proposal, so that adding or removing one never changes the score of
//! another. The scales keep telling sites apart over the range that matters: a scale on which every
//! acceptable site scores 1 would leave the choice to chance.

use protocol::factor::{Factor, FactorName, Scale};
use protocol::requirement::{Requirement, Urgency};
use protocol::units::{Number, Seconds};

use crate::fit::Ask;
use crate::promises::{runtime_or_assumed, stated_runtime};
use crate::wording;

/// Catalogue prices in US dollars for an hour of one node, one GPU and one core: about the lowest that
/// public clouds list (spot market, small general-purpose machines, older accelerators). Most sites
/// are dearer, and score by how much.
const NODE_HOUR: f64 = 0.50;
const GPU_HOUR: f64 = 0.50;
const CORE_HOUR: f64 = 0.01;

/// The share of the budget at which the cost scores 1, where the catalogue is dearer than that.
const BUDGET_SHARE: f64 = 0.25;

/// A start within a minute is as good as any.
const BEST_START: f64 = 60.0;
/// A start after a day scores 0.
const WORST_START: f64 = 86_400.0;
/// A start within this time is as good as any for work that can wait.
const FLEXIBLE_START: f64 = 8.0 * 3600.0;

/// The end of a short job is not scored more finely than this.
const BEST_FINISH: f64 = 300.0;

const GIGABIT_ETHERNET: f64 = 1.0;
const FAST_INFINIBAND: f64 = 100.0;

/// The memory of one GPU that scores 1 when the request names none, in GiB.
const LARGE_GPU_MEMORY: f64 = 80.0;

/// Free storage that scores 0 and 1 when the request names none, in GiB.
const LITTLE_STORAGE: f64 = 10.0;
const MUCH_STORAGE: f64 = 10_240.0;

/// Scores of the software fit.
pub(crate) const EXACT_FIT: f64 = 1.0;
pub(crate) const COMPATIBLE_FIT: f64 = 0.7;
pub(crate) const CONTAINER_FIT: f64 = 0.4;

/// The named factors with their scales for this requirement, in the order of the names.
#[must_use]
pub fn factors(requirement: &Requirement, names: impl IntoIterator<Item = FactorName>) -> Vec<Factor> {
    names.into_iter().map(|name| factor(requirement, name)).collect()
}

fn factor(requirement: &Requirement, name: FactorName) -> Factor {
    match name {
        FactorName::Cost => cost(requirement),
        FactorName::StartTime => start_time(requirement),
        FactorName::FinishTime => finish_time(requirement),
        FactorName::SoftwareFit => described(
            name,
            "class",
            range(0.0, 1.0),
            format!(
                "{EXACT_FIT} = the version that is asked for, {COMPATIBLE_FIT} = another version that will do, \
                 {CONTAINER_FIT} = only through a container, 0 = not at all"
            ),
        ),
        FactorName::NetworkBandwidth => described(
            name,
            "gbps",
            log_range(GIGABIT_ETHERNET, FAST_INFINIBAND),
            "0.0 = 1 Gb/s Ethernet, 0.5 = 10 Gb/s, 1.0 = 100 Gb/s InfiniBand or faster, on a logarithmic axis"
                .to_owned(),
        ),
        FactorName::GpuMemory => gpu_memory(requirement),
        FactorName::CapacityHeadroom => described(
            name,
            "ratio",
            range(1.0, 2.0),
            "0.0 = exactly what is asked for is free, 1.0 = twice that or more".to_owned(),
        ),
        FactorName::StorageFree => storage_free(requirement),
    }
}

fn described(name: FactorName, unit: &str, scale: Scale, reference: String) -> Factor {
    Factor { name, unit: unit.to_owned(), scale, reference }
}

fn range(zero: f64, one: f64) -> Scale {
    Scale::Range { zero: Number::saturating(zero), one: Number::saturating(one) }
}

fn log_range(zero: f64, one: f64) -> Scale {
    Scale::LogRange { zero: Number::saturating(zero), one: Number::saturating(one) }
}

fn soft_limit(soft: f64) -> Scale {
    Scale::SoftLimit { soft: Number::saturating(soft) }
}

fn cost(requirement: &Requirement) -> Factor {
    let ask = Ask::of(requirement);
    let hours = runtime_or_assumed(requirement) / 3600.0;
    let gpus = ask.total_gpus();
    let mut parts = Vec::new();
    let mut per_hour = 0.0;
    let mut add = |count: f64, what: &str, price: f64| {
        if count > 0.0 {
            per_hour += count * price;
            parts.push(format!("{} {what}-hours at {price:.2} USD", wording::number(count * hours)));
        }
    };
    match ask.nodes {
        Some(nodes) => add(nodes.into(), "node", NODE_HOUR),
        None => add(ask.cores.unwrap_or(1).into(), "core", CORE_HOUR),
    }
    add(gpus, "GPU", GPU_HOUR);
    let catalogue = per_hour * hours;
    let budget =
        requirement.budget_usd.map(|budget| budget.get() * BUDGET_SHARE).filter(|share| *share > 0.0);

    let assumed =
        if stated_runtime(requirement).is_some() { "" } else { ", for one hour as no run time is stated" };
    let (reference, source) = match budget {
        Some(share) if share < catalogue => (share, "a quarter of the budget".to_owned()),
        _ => (catalogue, format!("catalogue price of {}", parts.join(" and "))),
    };
    let words = format!(
        "1.0 = {} USD or less ({source}{assumed}), 0.5 = twice that, 0.1 = ten times that",
        wording::number(reference)
    );
    described(
        FactorName::Cost,
        "usd",
        Scale::ReferenceOver { reference: Number::saturating(reference) },
        words,
    )
}

fn start_time(requirement: &Requirement) -> Factor {
    let name = FactorName::StartTime;
    if requirement.time.urgency == Some(Urgency::Flexible) {
        let words = "1.0 = P90 start within 8 h as the work can wait, 0.25 = twice that".to_owned();
        return described(name, "s", soft_limit(FLEXIBLE_START), words);
    }
    let words =
        "1.0 = P90 start within 60 s, 0.44 = 1 h, 0.0 = a day or more, on a logarithmic axis".to_owned();
    described(name, "s", log_range(WORST_START, BEST_START), words)
}

fn finish_time(requirement: &Requirement) -> Factor {
    let runtime = runtime_or_assumed(requirement);
    let at_best = (runtime + BEST_START).max(BEST_FINISH);
    let deadline = requirement.time.deadline_seconds.filter(|deadline| *deadline > Seconds::ZERO);
    let soft = deadline.map_or(at_best, |deadline| deadline.get().min(at_best));
    let assumed =
        if stated_runtime(requirement).is_some() { "" } else { ", taken as one hour as none is stated" };
    let words = format!(
        "1.0 = done within {} (a start at once and the run time{assumed}), 0.25 = twice that",
        wording::duration(soft)
    );
    described(FactorName::FinishTime, "s", soft_limit(soft), words)
}

fn gpu_memory(requirement: &Requirement) -> Factor {
    let gpus = requirement.compute.gpus.as_ref();
    let asked = gpus.and_then(|gpus| gpus.memory_gib).map(|size| size.get()).filter(|size| *size > 0.0);
    let (one, words) = match asked {
        Some(size) => {
            let one = 2.0 * size;
            (
                one,
                format!(
                    "0.0 = none, 0.5 = {} GiB as asked for, 1.0 = twice that or more",
                    wording::number(size)
                ),
            )
        }
        None => (LARGE_GPU_MEMORY, "0.0 = none, 1.0 = 80 GiB or more".to_owned()),
    };
    described(FactorName::GpuMemory, "gib", range(0.0, one), words)
}

fn storage_free(requirement: &Requirement) -> Factor {
    let asked = requirement.storage.iter().filter_map(|need| need.free_gib).map(|size| size.get());
    let asked = asked.fold(0.0, f64::max);
    let (zero, one, words) = if asked > 0.0 {
        let words = format!(
            "0.0 = a tenth of the {} GiB asked for, 0.5 = as asked for, 1.0 = ten times that or more, \
             on a logarithmic axis",
            wording::number(asked)
        );
        (asked / 10.0, asked * 10.0, words)
    } else {
        let words = "0.0 = 10 GiB or less, 1.0 = 10 TiB or more, on a logarithmic axis".to_owned();
        (LITTLE_STORAGE, MUCH_STORAGE, words)
    };
    described(FactorName::StorageFree, "gib", log_range(zero, one), words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::samples::requirement;
    use crate::scale::score;

    const ALL: [FactorName; 8] = [
        FactorName::Cost,
        FactorName::StartTime,
        FactorName::FinishTime,
        FactorName::SoftwareFit,
        FactorName::NetworkBandwidth,
        FactorName::GpuMemory,
        FactorName::CapacityHeadroom,
        FactorName::StorageFree,
    ];

    fn score_of(name: FactorName, json: serde_json::Value, value: f64) -> f64 {
        let factor = factors(&requirement(json), [name]).remove(0);
        (score(&factor.scale, value) * 100.0).round() / 100.0
    }

    #[test]
    fn scores_are_anchored_on_the_request() {
        use FactorName::*;
        let three_nodes = json!({"compute": {"nodes": 3}, "time": {"duration_seconds": 7200}});
        let gpus = json!({"compute": {"nodes": 2, "gpus": {"count": 4, "per": "node", "memory_gib": 80}}});
        let table = [
            // 3 nodes x 2 h x 0.50 USD
            (Cost, three_nodes.clone(), 3.0, 1.0),
            (Cost, three_nodes.clone(), 6.0, 0.5),
            (Cost, three_nodes.clone(), 30.0, 0.1),
            // 2 nodes and 8 GPUs for the assumed hour
            (Cost, gpus.clone(), 10.0, 0.5),
            (Cost, json!({"compute": {"cores": 100}}), 2.0, 0.5),
            (Cost, json!({}), 0.02, 0.5),
            (Cost, json!({"compute": {"nodes": 100}, "budget_usd": 40}), 40.0, 0.25),
            (Cost, json!({"compute": {"nodes": 2}, "budget_usd": 40}), 2.0, 0.5),
            (StartTime, json!({}), 0.0, 1.0),
            (StartTime, json!({}), 60.0, 1.0),
            (StartTime, json!({}), 3600.0, 0.44),
            (StartTime, json!({}), 86_400.0, 0.0),
            (StartTime, json!({"time": {"urgency": "flexible"}}), 28_800.0, 1.0),
            (StartTime, json!({"time": {"urgency": "flexible"}}), 57_600.0, 0.25),
            (FinishTime, three_nodes.clone(), 7260.0, 1.0),
            (FinishTime, three_nodes.clone(), 14_520.0, 0.25),
            (FinishTime, json!({}), 3660.0, 1.0),
            (FinishTime, json!({"time": {"deadline_seconds": 1800}}), 3600.0, 0.25),
            (FinishTime, json!({"time": {"duration_seconds": 1}}), 300.0, 1.0),
            (SoftwareFit, json!({}), 0.7, 0.7),
            (NetworkBandwidth, json!({}), 1.0, 0.0),
            (NetworkBandwidth, json!({}), 10.0, 0.5),
            (NetworkBandwidth, json!({}), 200.0, 1.0),
            (GpuMemory, gpus, 80.0, 0.5),
            (GpuMemory, json!({}), 40.0, 0.5),
            (CapacityHeadroom, json!({}), 1.0, 0.0),
            (CapacityHeadroom, json!({}), 1.5, 0.5),
            (StorageFree, json!({"storage": [{"free_gib": 2048}, {"kind": "nfs"}]}), 2048.0, 0.5),
            (StorageFree, json!({}), 320.0, 0.5),
        ];
        for (name, request, value, expected) in table {
            let got = score_of(name, request.clone(), value);
            assert!((got - expected).abs() < 1e-9, "{name} of {value} for {request}: {got}");
        }
    }

    #[test]
    fn a_reference_says_its_scale_in_words() {
        let asked = requirement(json!({"compute": {"nodes": 3, "gpus": {"count": 8}}}));
        let factor = factors(&asked, [FactorName::Cost]).remove(0);
        assert_eq!(
            factor.reference,
            "1.0 = 5.5 USD or less (catalogue price of 3 node-hours at 0.50 USD and 8 GPU-hours at 0.50 USD, \
             for one hour as no run time is stated), 0.5 = twice that, 0.1 = ten times that"
        );
        for factor in factors(&asked, ALL) {
            assert!(factor.reference.contains("1.0") || factor.name == FactorName::SoftwareFit, "{factor:?}");
        }
    }

    #[test]
    fn factors_come_in_the_order_of_the_names() {
        let names: Vec<FactorName> =
            factors(&Requirement::default(), ALL).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ALL);
        assert!(factors(&Requirement::default(), []).is_empty());
    }

    proptest! {
        // A worker may get numbers that no sensible request has; no scale may break on them.
        #[test]
        fn every_scale_scores_within_bounds(
            nodes in any::<u32>(),
            gpus in any::<u32>(),
            duration in 0.0..1e12,
            budget in -1.0..1e12,
            free in -1.0..1e300,
            value in any::<f64>(),
        ) {
            let asked = requirement(json!({
                "compute": {"nodes": nodes, "gpus": {"count": gpus, "per": "node", "memory_gib": free}},
                "storage": [{"free_gib": free}], "budget_usd": budget,
                "time": {"duration_seconds": duration, "deadline_seconds": budget}
            }));
            for factor in factors(&asked, ALL) {
                let score = score(&factor.scale, value);
                prop_assert!((0.0..=1.0).contains(&score), "{factor:?}: {score}");
            }
        }
    }
}
