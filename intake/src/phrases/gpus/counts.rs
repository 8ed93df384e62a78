//! What stands in front of GPUs: how many there are, of which size, and on how many nodes.

use std::ops::Range;

use protocol::requirement::GpuScope;

use super::{ADJECTIVES, Draft, VENDORS};
use crate::meaning::{Bound, Bounded, Meaning, Measure};
use crate::number;
use crate::quantity::{bound_before, size};
use crate::reading::Reading;

/// What stands in front: `8`, `8x`, `eight 80GB`, `at least 4`, `a`, `CPU or 3`.
pub(super) fn size_and_count(reading: &Reading<'_>, draft: &mut Draft) {
    let mut start = draft.tokens.start;
    while start > 0
        && (VENDORS.contains(&reading.word(start - 1)) || ADJECTIVES.contains(&reading.word(start - 1)))
    {
        start -= 1;
    }
    // "80GB H100", "80 GB-GPU"
    if draft.gpus.memory_gib.is_none() {
        for back in 2..=4 {
            let Some(from) = start.checked_sub(back) else { break };
            if let Some((gib, next)) = size(reading, from)
                && (next == start || next + 1 == start && reading.symbol(next) == Some('-'))
            {
                draft.gpus.memory_gib = Some(gib);
                start = from;
                break;
            }
        }
    }
    while start > 0
        && (VENDORS.contains(&reading.word(start - 1)) || ADJECTIVES.contains(&reading.word(start - 1)))
    {
        start -= 1;
    }
    let mut before = start;
    let mut times = false;
    if before > 0
        && (reading.word(before - 1) == "x"
            || reading.symbol(before - 1) == Some('-') && reading.tokens[before - 1].glued)
    {
        times = true;
        before -= 1;
    }
    if before > 0 && reading.word(before - 1) == "of" && reading.word_before(before, 2) != "type" {
        before -= 1;
    }
    let count = (1..=4).rev().find_map(|back| {
        let from = before.checked_sub(back)?;
        let (count, next) = number::read_count(reading, from)?;
        (next == before && !is_part_of_number(reading, from)).then_some((count, from))
    });
    if let Some((count, from)) = count {
        let (bound, strict, bound_start) = bound_before(reading, from);
        let value = if strict { strictly(bound, count) } else { count };
        draft.gpus.count = Some(Bounded { bound, value });
        draft.counts_gpus = times && (draft.gpus.model.is_some() || reading.symbol(before) == Some('-'));
        draft.tokens.start = bound_start;
        return;
    }
    draft.tokens.start = start;
    if !times || reading.symbol(before) == Some('-') {
        worded_count(reading, draft, before);
    }
}

/// "a GPU", "a single A100", "dual-GPU", "quad A100", "multiple GPUs".
fn worded_count(reading: &Reading<'_>, draft: &mut Draft, at: usize) {
    let exact = |value| Some(Bounded { bound: Bound::Exact, value });
    let several = Some(Bounded { bound: Bound::AtLeast, value: 2 });
    let (count, counts_gpus) = match reading.word_before(at, 1) {
        "a" | "an" => (exact(1), false),
        "single" => (exact(1), at < draft.tokens.start),
        "dual" => (exact(2), true),
        "quad" => (exact(4), true),
        "multi" | "multiple" | "several" if draft.has_noun => (several, true),
        "some" if draft.has_noun => (None, false),
        _ => return,
    };
    draft.gpus.count = count;
    draft.counts_gpus = counts_gpus;
    draft.tokens.start = at - 1;
    if reading.word_before(at - 1, 1) == "a" && !counts_gpus {
        draft.tokens.start -= 1;
    }
}

/// "2x8 H100", "3 x 4 GPU": nodes times GPUs on each.
pub(super) fn nodes_times(reading: &mut Reading<'_>, draft: &mut Draft) {
    let start = draft.tokens.start;
    if draft.gpus.count.is_none() || reading.word_before(start, 1) != "x" {
        return;
    }
    // "2 nodes x 4 GPUs": the nodes are counted by themselves.
    if is_node(reading.word_before(start, 2)) {
        draft.gpus.per = Some(GpuScope::Node);
        return;
    }
    let nodes = (2..=4).rev().find_map(|back| {
        let from = start.checked_sub(back)?;
        let (nodes, next) = number::read_count(reading, from)?;
        (next + 1 == start).then_some((nodes, from))
    });
    if let Some((nodes, from)) = nodes {
        draft.gpus.per = Some(GpuScope::Node);
        let value = Bounded { bound: Bound::Exact, value: f64::from(nodes) };
        reading.find(from..start, Meaning::Measure(Measure::Nodes, value));
    }
}

/// Whether the number at `at` is only the end of a longer one ("2.5 GPUs" never reads as 5).
fn is_part_of_number(reading: &Reading<'_>, at: usize) -> bool {
    at > 0 && reading.tokens[at].glued && matches!(reading.any_symbol(at - 1), Some('.' | '-' | '/' | ':'))
        || at > 0
            && number::word_value(reading.word(at - 1)).is_some()
            && number::read(reading, at - 1).is_some_and(|(_, next)| next > at)
        || at > 0 && matches!(reading.word(at), "hundred" | "thousand" | "dozen")
}

/// A count that is strictly bounded, as a plain bound.
pub fn strictly(bound: Bound, count: u32) -> u32 {
    match bound {
        Bound::AtLeast => count.saturating_add(1),
        Bound::AtMost => count.saturating_sub(1),
        Bound::Exact => count,
    }
}

pub(super) fn is_node(word: &str) -> bool {
    matches!(
        word,
        "node"
            | "nodes"
            | "machine"
            | "machines"
            | "server"
            | "servers"
            | "box"
            | "boxes"
            | "instance"
            | "instances"
            | "host"
            | "hosts"
    )
}

/// "two 8-GPU nodes", "4 GPU nodes", "an 8xH100 node": what is counted may be the nodes.
pub(super) fn nodes_behind(reading: &mut Reading<'_>, draft: &mut Draft) -> bool {
    let node = draft.tokens.end;
    if !is_node(reading.word(node)) {
        return false;
    }
    let nodes_known = draft.gpus.per == Some(GpuScope::Node);
    draft.gpus.per = Some(GpuScope::Node);
    draft.tokens.end = node + 1;
    if nodes_known {
        return true;
    }
    let is_node_noun = matches!(reading.word(node), "node" | "nodes");
    let start = draft.tokens.start;
    if draft.counts_gpus {
        // "two 8-GPU nodes", "2x 8-GPU nodes", "an 8xH100 node"
        let before = if reading.word_before(start, 1) == "x" { start - 1 } else { start };
        let nodes = (1..=3).rev().find_map(|back| {
            let from = before.checked_sub(back)?;
            let (nodes, next) = number::read_count(reading, from)?;
            (next == before).then_some((nodes, from))
        });
        if let Some((nodes, from)) = nodes {
            count_nodes(reading, from..before, Bounded { bound: Bound::Exact, value: nodes });
        } else if matches!(reading.word_before(start, 1), "a" | "an" | "single")
            && reading.word(node) == "node"
        {
            count_nodes(reading, start - 1..start, Bounded { bound: Bound::Exact, value: 1 });
        }
    } else if let Some(count) = draft.gpus.count.take() {
        // The number counts the nodes; each has at least one GPU. "A GPU machine" counts nothing.
        let is_article = matches!(reading.word(start), "a" | "an");
        if is_node_noun || !is_article {
            count_nodes(reading, start..node + 1, count);
        }
    }
    true
}

fn count_nodes(reading: &mut Reading<'_>, tokens: Range<usize>, count: Bounded<u32>) {
    let value = Bounded { bound: count.bound, value: f64::from(count.value) };
    reading.find(tokens, Meaning::Measure(Measure::Nodes, value));
}
