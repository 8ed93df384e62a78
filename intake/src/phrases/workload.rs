//! Workload managers and kinds of site: "slurm or flux", "on kubernetes", "cloud only".

use crate::lexicon::{Category, name_at};
use crate::meaning::{Meaning, NameList};
use crate::phrases::exclusions::other_sites;
use crate::phrases::network::named;
use crate::reading::Reading;

const TAILS: &[&str] = &[
    "cluster",
    "clusters",
    "scheduler",
    "job",
    "jobs",
    "queue",
    "site",
    "sites",
    "system",
    "systems",
    "batch",
    "workload",
    "manager",
    "managed",
];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = named(reading, at, Category::Manager, NameList::Workload, TAILS)
            .or_else(|| site(reading, at))
            .unwrap_or(at + 1);
    }
}

/// "on the cloud", "cloud only", "on an HPC cluster", "on-premises": the other kinds are out.
fn site(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if matches!(reading.word(at), "on-prem" | "on-premises" | "on-premise" | "onprem") {
        let end = reading.skip(at + 1, &["only", "cluster", "hardware", "machines", "resources"]);
        reading.find(at..end, Meaning::Forbid(NameList::Archetypes, "cloud".to_owned()));
        return Some(end);
    }
    let (Category::Site, kind, next) = name_at(reading, at)? else { return None };
    // "an HPC job" and "cloud-resolving model" say nothing about where to run.
    let placed_at = (1..=3).find(|back| {
        matches!(
            reading.word_before(at, *back),
            "on" | "in" | "at" | "onto" | "only" | "to" | "use" | "using"
        ) && (1..*back).all(|between| {
            matches!(
                reading.word_before(at, between),
                "a" | "an" | "the" | "some" | "our" | "any" | "to" | "in" | "on"
            )
        })
    });
    let only = reading.word(next) == "only" || reading.word_before(at, 1) == "only";
    let names_work = matches!(
        reading.word(next),
        "job"
            | "jobs"
            | "workload"
            | "workloads"
            | "code"
            | "codes"
            | "simulation"
            | "simulations"
            | "application"
            | "applications"
            | "benchmark"
            | "model"
            | "users"
            | "user"
    );
    if names_work || placed_at.is_none() && !only {
        return None;
    }
    let start = placed_at.map_or(at, |back| at - back);
    let end = reading
        .skip(next, &["only", "cluster", "clusters", "sites", "resources", "instances", "nodes", "machines"]);
    for other in other_sites(kind) {
        reading.find(start..end, Meaning::Forbid(NameList::Archetypes, other.to_owned()));
    }
    Some(end)
}
