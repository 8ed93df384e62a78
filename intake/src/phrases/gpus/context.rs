//! What stands behind and around GPUs: scopes, memory, whether they may be left out.

use protocol::requirement::GpuScope;

use super::counts::is_node;
use super::{Draft, MEMORY_NOUNS};
use crate::meaning::{Bound, Bounded};
use crate::number;
use crate::quantity::{Per, bound_after, per_after, size};
use crate::reading::Reading;

/// What stands behind: bounds, scopes, memory, "optional".
pub(super) fn behind(reading: &Reading<'_>, draft: &mut Draft) {
    let mut end = draft.tokens.end;
    for _ in 0..4 {
        // "H100 80GB x 4"
        if draft.gpus.count.is_none()
            && reading.word(end) == "x"
            && let Some((value, next)) = number::read_count(reading, end + 1)
        {
            draft.gpus.count = Some(Bounded { bound: Bound::Exact, value });
            end = next;
            continue;
        }
        if let Some((bound, next)) = bound_after(reading, end)
            && let Some(count) = &mut draft.gpus.count
            && !matches!(reading.word(end), "minimum" | "min" | "maximum" | "max")
        {
            count.bound = bound;
            end = next;
            continue;
        }
        if draft.gpus.per.is_none()
            && let Some((per, next)) = per_after(reading, end)
        {
            draft.gpus.per = match per {
                Per::Node | Per::Each => Some(GpuScope::Node),
                Per::Total => Some(GpuScope::Total),
                Per::Core | Per::Task | Per::Gpu => None,
            };
            if draft.gpus.per.is_none() {
                break;
            }
            end = next;
            continue;
        }
        if let Some((gib, next)) = memory_clause(reading, end) {
            draft.gpus.memory_gib = Some(gib);
            end = next;
            continue;
        }
        if let Some(next) = optional_clause(reading, end) {
            draft.gpus.optional = true;
            end = next;
            continue;
        }
        break;
    }
    draft.tokens.end = end;
    // "3 nodes with 4 A100", "nodes with 8 GPUs": the nodes have them.
    let with = draft.tokens.start;
    if draft.gpus.per.is_none() && draft.gpus.count.is_some() {
        let attached = match (reading.any_word_before(with, 2), reading.any_word_before(with, 1)) {
            (node, "with" | "having" | "containing" | "of") => is_node(node) || each_scope(reading, with),
            ("each" | "every", "have" | "has") => true,
            _ => each_scope(reading, with),
        };
        if attached {
            draft.gpus.per = Some(GpuScope::Node);
        }
    }
}

/// Whether "each with", "each having" or "with ... each" governs the quantity at `at`.
#[must_use]
pub fn each_scope(reading: &Reading<'_>, at: usize) -> bool {
    for back in 1..=14 {
        let Some(before) = at.checked_sub(back) else { return false };
        if reading.is_stop(before) || reading.any_symbol(before) == Some('\n') {
            return false;
        }
        match reading.any_word(before) {
            "each" | "every" => {
                let next = reading.any_word(before + 1);
                return matches!(
                    next,
                    "with" | "having" | "has" | "containing" | "of" | "have" | "providing"
                ) || is_node(next)
                    && matches!(reading.any_word(before + 2), "with" | "having" | "has");
            }
            "for" | "using" | "run" | "total" | "in" => return false,
            _ => {}
        }
    }
    false
}

/// "with 80 GB", "with at least 40GB of VRAM each", "of 80 GB each", "(80 GB each)".
fn memory_clause(reading: &Reading<'_>, at: usize) -> Option<(f64, usize)> {
    let with = reading.skip_symbol(at, "(,");
    let first = reading.skip(
        with,
        &[
            "each", "with", "having", "of", "that", "have", "has", "at", "least", "minimum", "over", "more",
            "than",
        ],
    );
    let bracket = reading.symbol(at) == Some('(');
    if first == with && !bracket {
        return None;
    }
    let first = if reading.operator(first).is_empty() { first } else { first + 1 };
    let (gib, next) = size(reading, first)?;
    let mut end = bound_after(reading, next).map_or(next, |(_, end)| end);
    end = reading.skip(end, &["of", "gpu", "device", "graphics"]);
    let noun = reading.word(end);
    let memory = MEMORY_NOUNS.contains(&noun);
    if memory {
        end += 1;
    }
    let per = per_after(reading, end);
    let each = matches!(per, Some((Per::Each | Per::Gpu, _)));
    if each && let Some((_, next)) = per {
        end = next;
    }
    // "GPUs with 512 GB of memory" may speak of the node; "VRAM" and "each" cannot, and no GPU has
    // more than 300 GB.
    let gpu_noun = matches!(noun, "vram" | "hbm")
        || matches!(reading.word(next), "gpu" | "device")
        || reading.word(next + 1) == "gpu";
    let plausible = gib <= 300.0 && !matches!(per, Some((Per::Node | Per::Core | Per::Task | Per::Total, _)));
    let other_noun = matches!(
        noun,
        "scratch" | "disk" | "storage" | "system" | "host" | "free" | "local" | "lustre" | "nfs" | "space"
    );
    if other_noun || !plausible || memory && noun == "ram" && !each && !gpu_noun {
        return None;
    }
    let end = if bracket { reading.skip_symbol(end, ")") } else { end };
    Some((gib, end))
}

/// "optional", "if available", "or CPU", "but not required".
fn optional_clause(reading: &Reading<'_>, at: usize) -> Option<usize> {
    let first = reading.skip_symbol(at, "(,");
    let first = reading.skip(first, &["is", "are", "but", "which"]);
    for words in [
        &["optional"][..],
        &["optionally"],
        &["if", "available"],
        &["if", "possible"],
        &["if", "you", "have", "one"],
        &["if", "you", "have", "them"],
        &["if", "there", "is", "one"],
        &["if", "any"],
        &["not", "required"],
        &["not", "strictly", "required"],
        &["not", "mandatory"],
        &["not", "essential"],
        &["would", "be", "nice"],
        &["would", "help"],
        &["would", "be", "a", "plus"],
        &["a", "plus"],
        &["preferred"],
        &["nice", "to", "have"],
        &["or", "without"],
        &["or", "cpu"],
        &["or", "cpus"],
        &["or", "on", "cpu"],
        &["or", "on", "cpus"],
        &["or", "a", "cpu"],
        &["or", "just", "cpu"],
        &["or", "just", "cpus"],
        &["or", "else", "cpu"],
        &["or", "fall", "back", "to", "cpu"],
        &["or", "plain", "cpu"],
        &["or", "plain", "cpus"],
    ] {
        if let Some(end) = reading.follow(first, words) {
            let end = reading.skip(end, &["only", "nodes", "node"]);
            return Some(if reading.symbol(at) == Some('(') { reading.skip_symbol(end, ")") } else { end });
        }
    }
    // "GPU/CPU"
    (reading.symbol(at) == Some('/') && matches!(reading.word(at + 1), "cpu" | "cpus")).then_some(at + 2)
}

/// "CPU or", "CPU and", "CPUs/", "either CPU or", "optionally", "preferably" in front.
pub(super) fn cpu_alternative(reading: &Reading<'_>, draft: &mut Draft) {
    let mut start = draft.tokens.start;
    let mut before = start;
    while before > 0 && matches!(reading.word(before - 1), "a" | "an" | "on" | "with" | "using") {
        before -= 1;
    }
    let joint = before.checked_sub(1).map(|at| (reading.word(at), reading.symbol(at)));
    match joint {
        Some(("or" | "and", _)) if matches!(reading.word_before(before, 2), "cpu" | "cpus") => {
            draft.gpus.optional |= reading.word(before - 1) == "or";
            start = before - 2;
            if reading.word_before(start, 1) == "either" {
                start -= 1;
            }
        }
        Some((_, Some('/'))) if matches!(reading.word_before(before, 2), "cpu" | "cpus") => {
            draft.gpus.optional = true;
            start = before - 2;
        }
        Some(("optionally" | "preferably" | "ideally", _)) => {
            draft.gpus.optional = true;
            start = before - 1;
        }
        _ => {}
    }
    draft.tokens.start = start;
}
