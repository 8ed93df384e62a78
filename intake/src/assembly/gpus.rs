//! Several mentions of GPUs become one need.

use protocol::requirement::{GpuNeed, GpuScope};
use protocol::units::GiB;

use crate::assembly::Assembled;
use crate::assembly::amounts::combine;
use crate::meaning::{Bounded, Finding, GpuMention, Meaning};
use crate::number::as_count;

const PATH: &str = "requirement.compute.gpus";

/// Fills the GPU part of the requirement.
pub fn assemble(findings: &[Finding], assembled: &mut Assembled) {
    let denials: Vec<&Finding> =
        findings.iter().filter(|finding| finding.meaning == Meaning::NoGpus).collect();
    let mentions: Vec<(&Finding, &GpuMention)> = findings
        .iter()
        .filter_map(|finding| match &finding.meaning {
            Meaning::Gpus(mention) => Some((finding, mention)),
            _ => None,
        })
        .collect();
    let sides = || mentions.iter().map(|(finding, _)| *finding).chain(denials.iter().copied());
    // "CPU or GPU, no GPUs needed": what may be left out is left out.
    if mentions.is_empty() || !denials.is_empty() && mentions.iter().all(|(_, mention)| mention.optional) {
        for finding in sides() {
            assembled.fill(finding, PATH);
        }
        return;
    }
    let need =
        if denials.is_empty() { merge(&mentions, &mut assembled.requirement.compute.nodes) } else { None };
    match need {
        Some(need) => {
            assembled.requirement.compute.gpus = Some(need);
            for finding in sides() {
                assembled.fill(finding, PATH);
            }
        }
        None => assembled.contradict(sides(), "GPUs"),
    }
}

/// One need from all mentions, or nothing when they contradict each other.
fn merge(mentions: &[(&Finding, &GpuMention)], nodes: &mut Option<u32>) -> Option<GpuNeed> {
    let (count, per) = count(mentions, nodes)?;
    let mut models = mentions.iter().filter_map(|(_, mention)| mention.model.as_ref());
    let model = models.next().cloned();
    if models.any(|other| Some(other) != model.as_ref()) {
        return None;
    }
    let memory = mentions.iter().filter_map(|(_, mention)| mention.memory_gib).reduce(f64::max);
    Some(GpuNeed {
        count,
        per,
        model,
        memory_gib: memory.map(GiB::saturating),
        optional: mentions.iter().any(|(_, mention)| mention.optional),
    })
}

fn count(mentions: &[(&Finding, &GpuMention)], nodes: &mut Option<u32>) -> Option<(u32, GpuScope)> {
    let of = |scope: GpuScope| {
        let said = mentions.iter().filter_map(move |(_, mention)| {
            let count = mention.count?;
            (mention.per.unwrap_or(GpuScope::Total) == scope)
                .then_some(Bounded { bound: count.bound, value: f64::from(count.value) })
        });
        let bounds: Vec<_> = said.collect();
        (bounds.is_empty(), combine(bounds.iter().copied()).and_then(as_count))
    };
    let ((no_total, total), (no_each, each)) = (of(GpuScope::Total), of(GpuScope::Node));
    if !no_total && total.is_none() || !no_each && each.is_none() {
        return None;
    }
    match (total, each) {
        (Some(total), Some(each)) => {
            // "16 GPUs, 8 per node" says how many nodes there are; it must fit what is said of them.
            let implied = (each > 0 && total.is_multiple_of(each)).then(|| total / each)?;
            if nodes.is_some_and(|nodes| nodes != implied) {
                return if total == each { Some((each, GpuScope::Node)) } else { None };
            }
            *nodes = Some(implied);
            Some((each, GpuScope::Node))
        }
        (Some(total), None) => Some((total, GpuScope::Total)),
        (None, Some(each)) => Some((each, GpuScope::Node)),
        (None, None) => {
            let per_node = mentions.iter().any(|(_, mention)| mention.per == Some(GpuScope::Node));
            Some((1, if per_node { GpuScope::Node } else { GpuScope::Total }))
        }
    }
}
