//! Main memory: "256 GB of memory", "64GB RAM per node", "4 GB per core", `--mem=64G`.

use crate::lexicon::has_memory;
use crate::meaning::{Bounded, Finding, GpuMention, Meaning, Measure};
use crate::phrases::compute::{of_nodes, shares_scope};
use crate::phrases::gpus::each_scope;
use crate::quantity::{Per, bound_after, bound_before, per_after, size};
use crate::reading::Reading;

const NOUNS: &[&str] = &["memory", "ram", "mem", "dram", "memroy"];

/// Nouns behind a size that make it something else than memory.
const OTHER_NOUNS: &[&str] = &[
    "dataset",
    "datasets",
    "data",
    "file",
    "files",
    "input",
    "output",
    "image",
    "images",
    "model",
    "checkpoint",
    "checkpoints",
    "upload",
    "download",
    "traffic",
    "cache",
    "swap",
    "results",
];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = keyed(reading, at).or_else(|| sized(reading, at)).unwrap_or(at + 1);
    }
}

/// "256 GB of memory per node", or a bare "256 GB".
fn sized(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (gib, next) = size(reading, at)?;
    let (mut bound, _, mut start) = bound_before(reading, at);
    let mut end = next;
    if let Some((behind, after)) = bound_after(reading, end) {
        bound = behind;
        end = after;
    }
    let noun = reading.skip(
        end,
        &["of", "main", "system", "total", "host", "cpu", "node", "free", "physical", "shared", "in"],
    );
    let noun = reading.skip_symbol(noun, "-");
    if NOUNS.contains(&reading.word(noun)) {
        end = noun + 1;
    } else if measures_something_else(reading, at, end, noun) {
        return None;
    } else if let Some(before) = noun_before(reading, start) {
        start = before;
    } else if let Some(next) = of_each_gpu(reading, end, gib) {
        // "4 A100 per node, 80 GB each" speaks of the GPUs.
        reading
            .find(start..next, Meaning::Gpus(GpuMention { memory_gib: Some(gib), ..GpuMention::default() }));
        return Some(next);
    }
    if let Some((behind, after)) = bound_after(reading, end) {
        bound = behind;
        end = after;
    }
    let (measure, end) = scoped(reading, start, end);
    reading.find(start..end, Meaning::Measure(measure, Bounded { bound, value: gib }));
    Some(end)
}

/// "2 TB of data", "the data (3 TB)": the size of something that is no memory.
fn measures_something_else(reading: &Reading<'_>, at: usize, end: usize, noun: usize) -> bool {
    let bracketed = reading.symbol(at.wrapping_sub(1)) == Some('(');
    let before = if bracketed { reading.word_before(at, 2) } else { reading.word_before(at, 1) };
    [reading.word(noun), reading.word(end), before].iter().any(|word| OTHER_NOUNS.contains(word))
}

/// The position behind "each", where the GPU model that the text names is sold with this much memory.
fn of_each_gpu(reading: &Reading<'_>, end: usize, gib: f64) -> Option<usize> {
    let Some((Per::Each | Per::Gpu, next)) = per_after(reading, end) else { return None };
    let sold_so = |finding: &Finding| match &finding.meaning {
        Meaning::Gpus(GpuMention { model: Some(model), memory_gib: None, .. }) => has_memory(model, gib),
        _ => false,
    };
    reading.findings.iter().rev().take(64).any(sold_so).then_some(next)
}

/// "memory of", "RAM:" in front of a size.
fn noun_before(reading: &Reading<'_>, at: usize) -> Option<usize> {
    let mut before = at;
    while before > 0
        && (matches!(reading.word(before - 1), "of" | "is" | "total" | "size" | "with")
            || matches!(reading.symbol(before - 1), Some(':')))
    {
        before -= 1;
    }
    let noun = before.checked_sub(1)?;
    NOUNS.contains(&reading.word(noun)).then_some(noun)
}

fn scoped(reading: &Reading<'_>, start: usize, end: usize) -> (Measure, usize) {
    match per_after(reading, end) {
        Some((Per::Node | Per::Each, next)) => (Measure::MemoryPerNode, next),
        Some((Per::Core, next)) => (Measure::MemoryPerCore, next),
        Some((Per::Task, next)) => (Measure::MemoryPerTask, next),
        Some((Per::Total, next)) => (Measure::Memory, next),
        Some((Per::Gpu, _)) | None => {
            let nodes = matches!(reading.any_word_before(start, 1), "with" | "having" | "of")
                && reading.any_word_before(start, 2) == "nodes"
                && !is_counted(reading, start - 2);
            if each_scope(reading, start) || shares_scope(reading, end) || of_nodes(reading, start) || nodes {
                (Measure::MemoryPerNode, end)
            } else {
                (Measure::Memory, end)
            }
        }
    }
}

/// Whether a number stands in front of the noun at `at`.
fn is_counted(reading: &Reading<'_>, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| {
        reading.tokens[before].kind == crate::token::Kind::Number
            || crate::number::word_value(reading.any_word(before)).is_some()
    })
}

/// `--mem=64G`, `mem: 64GB`, `memory=256`, `--mem-per-cpu=4G`; a batch system's `G` is a GiB.
fn keyed(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let measure = match reading.word(at) {
        "mem" | "memory" | "ram" | "memory_gb" | "memory_gib" => Measure::Memory,
        "mem-per-cpu" | "mem_per_cpu" | "memory_per_core" => Measure::MemoryPerCore,
        "mem-per-node" | "memory_per_node" | "memory-per-node" => Measure::MemoryPerNode,
        _ => return None,
    };
    let flag = reading.symbol(at.wrapping_sub(1)) == Some('-') && reading.tokens[at].glued;
    let value = match (reading.operator(at + 1), reading.symbol(at + 1)) {
        ("", Some(':')) => at + 2,
        ("", _) if flag => at + 1,
        ("", _) => return None,
        _ => at + 2,
    };
    let (gib, end) = match size(reading, value) {
        Some((_, end)) if flag && reading.word(end - 1) == "g" => {
            crate::number::read(reading, value).map(|(gib, _)| (gib, end))?
        }
        Some(found) => found,
        None => return None,
    };
    let bound = match reading.operator(at + 1) {
        ">=" | ">" => crate::meaning::Bound::AtLeast,
        "<=" | "<" => crate::meaning::Bound::AtMost,
        _ => crate::meaning::Bound::Exact,
    };
    let mut start = at;
    while reading.symbol(start.wrapping_sub(1)) == Some('-') {
        start -= 1;
    }
    // Slurm's --mem is what each node gets.
    let measure = if flag && measure == Measure::Memory { Measure::MemoryPerNode } else { measure };
    let (scope, end) = if measure == Measure::Memory { scoped(reading, start, end) } else { (measure, end) };
    reading.find(start..end, Meaning::Measure(scope, Bounded { bound, value: gib }));
    Some(end)
}
