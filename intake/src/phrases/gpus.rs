//! GPUs: "8 H100s", "4 A100 each", "2x RTX 4090", "GPUs with 40 GB", "CPU or 3 GPU per node".

use std::ops::Range;

use protocol::requirement::GpuScope;

use crate::lexicon::{gpu_model, is_gpu_noun};
use crate::meaning::{Bound, Bounded, GpuMention, Meaning, Measure};
use crate::number;
use crate::quantity::{Per, bound_after, bound_before, per_after, size};
use crate::reading::Reading;

const VENDORS: &[&str] =
    &["nvidia", "tesla", "geforce", "instinct", "quadro", "hopper", "ampere", "ada", "blackwell", "volta"];
const ADJECTIVES: &[&str] = &[
    "modern",
    "big",
    "large",
    "fast",
    "powerful",
    "dedicated",
    "free",
    "available",
    "data-centre",
    "datacentre",
    "full",
    "separate",
    "physical",
    "cuda-capable",
    "beefy",
    "decent",
    "good",
    "hefty",
    "strong",
    "new",
    "nice",
    "high-end",
    "whole",
    "discrete",
    "cuda",
];
const FORM_FACTORS: &[&str] = &[
    "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "pcie", "pci-e", "nvl", "hbm", "hbm2", "hbm2e", "hbm3", "hbm3e",
    "nvlink", "gen5",
];
const MEMORY_NOUNS: &[&str] = &["memory", "vram", "ram", "hbm", "mem"];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = flags(reading, at)
            .or_else(|| mention(reading, at))
            .or_else(|| memory(reading, at))
            .unwrap_or(at + 1);
    }
}

/// The model at `at`: `H100`, `RTX 4090`, `A100-80GB`, and the memory that the word itself states.
fn model_at(reading: &Reading<'_>, at: usize) -> Option<(String, Option<f64>, usize)> {
    let word = reading.word(at);
    let rtx = match word {
        "rtx" | "gtx" => Some((reading.skip_symbol(at + 1, "-"), word)),
        _ => None,
    };
    if let Some((digits, brand)) = rtx {
        let token = reading.free(digits)?;
        let text = token.lower.trim_end_matches('s');
        let known = text.starts_with(|c: char| c.is_ascii_digit()) || gpu_model(text).is_some();
        let brand = if text.starts_with(|c: char| c.is_ascii_digit()) { brand } else { "" };
        let end = reading.skip(digits + 1, &["s", "ti", "super", "ada"]);
        return known.then(|| (format!("{brand}{text}"), None, end));
    }
    let model = gpu_model(word)?;
    let mut memory = None;
    for part in word.split('-').skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        if !digits.is_empty() && matches!(&part[digits.len()..], "gb" | "g" | "gib") {
            let scale = if part.ends_with("gib") { 1.0 } else { 1e9 / 1_073_741_824.0 };
            memory = digits.parse::<f64>().ok().map(|value| value * scale);
        }
    }
    Some((model.to_owned(), memory, at + 1))
}

fn noun_at(reading: &Reading<'_>, at: usize) -> Option<usize> {
    let word = reading.word(at);
    if is_gpu_noun(word) {
        let gpu_then_card = matches!(reading.word(at + 1), "card" | "cards" | "device" | "devices");
        return Some(if gpu_then_card { at + 2 } else { at + 1 });
    }
    let cards = matches!(reading.word(at + 1), "card" | "cards");
    (matches!(word, "graphics" | "video") && cards).then_some(at + 2)
}

/// What is known while one mention is put together.
struct Draft {
    tokens: Range<usize>,
    gpus: GpuMention,
    has_noun: bool,
}

fn mention(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let mut draft = core(reading, at)?;
    let anchor = draft.tokens.start;
    size_and_count(reading, &mut draft);
    nodes_times(reading, &mut draft);
    let on_nodes = nodes_behind(reading, &mut draft, anchor);
    if !on_nodes {
        behind(reading, &mut draft);
    }
    cpu_alternative(reading, &mut draft);
    let end = draft.tokens.end;
    if let Some(bad) = draft.gpus.count.filter(|count| count.value == 0) {
        let _ = bad;
        reading.find(draft.tokens, Meaning::NoGpus);
    } else {
        reading.find(draft.tokens, Meaning::Gpus(draft.gpus));
    }
    Some(end)
}

/// The noun and the model, in either order: `H100`, `H100 GPUs`, `GPUs (A100)`, `GPU: H100`.
fn core(reading: &mut Reading<'_>, at: usize) -> Option<Draft> {
    let mut gpus = GpuMention::default();
    let mut end;
    let mut has_noun = false;
    if let Some((model, memory, next)) = model_at(reading, at) {
        gpus.model = Some(model);
        gpus.memory_gib = memory;
        end = trailing_size(reading, reading.skip(next, FORM_FACTORS), &mut gpus);
        if let Some(next) = noun_at(reading, end) {
            has_noun = true;
            end = next;
        } else if matches!(reading.word(end), "card" | "cards") {
            end += 1;
        }
    } else {
        end = noun_at(reading, at)?;
        has_noun = true;
        if let Some(next) = gpu_memory_noun(reading, end) {
            return gpu_memory(reading, at, next);
        }
        let mut next = reading.skip_symbol(end, ":(");
        if reading.operator(next) == "=" {
            next += 1;
        }
        next = reading.skip(
            next,
            &[
                "of", "type", "model", "kind", "like", "e.g", "nvidia", "such", "as", "is", "tesla", "must",
                "be", "should", "a", "an",
            ],
        );
        if let Some((model, memory, after)) = model_at(reading, next) {
            gpus.model = Some(model);
            gpus.memory_gib = memory;
            end = trailing_size(reading, reading.skip(after, FORM_FACTORS), &mut gpus);
            end = reading.skip_symbol(end, ")");
        }
    }
    let mut start = at;
    while start > 0 && VENDORS.contains(&reading.word(start - 1)) {
        start -= 1;
    }
    // "A100 or H100": a requirement names one model.
    let other = reading.skip_symbol(reading.skip(end, &["or"]), "/");
    if gpus.model.is_some()
        && other > end
        && let Some((_, _, next)) = model_at(reading, reading.skip(other, &["nvidia", "tesla", "an", "a"]))
    {
        let next = noun_at(reading, next).unwrap_or(next);
        gpus.model = None;
        reading.refuse(start..next, "only one GPU model can be demanded");
        end = next;
    }
    // "A100 or better": another model would do, so none can be demanded.
    if gpus.model.is_some()
        && reading.word(end) == "or"
        && matches!(
            reading.word(end + 1),
            "better" | "newer" | "equivalent" | "similar" | "higher" | "faster" | "comparable"
        )
    {
        gpus.model = None;
        reading.refuse(
            start..end + 2,
            "which GPU models are as good is not known here; name one, or its memory",
        );
        end += 2;
    }
    Some(Draft { tokens: start..end, gpus, has_noun })
}

/// `80GB`, `-80GB`, `(80 GB)` behind a model.
fn trailing_size(reading: &Reading<'_>, at: usize, gpus: &mut GpuMention) -> usize {
    let open = reading.skip_symbol(at, "-(");
    let Some((gib, next)) = size(reading, open) else { return at };
    // "H100, 512 GB of memory" has a comma; "H100 512 GB RAM" speaks of the node.
    let next = reading.skip(next, &["of"]);
    if matches!(reading.word(next), "ram" | "memory" | "disk" | "storage" | "scratch")
        && reading.word(next + 1) != "each"
        || gib > 300.0
    {
        return at;
    }
    gpus.memory_gib = Some(gib);
    let next = reading.skip(next, &["vram", "hbm", "version", "variant", "model", "variants", "versions"]);
    if reading.symbol(at) == Some('(') { reading.skip_symbol(next, ")") } else { next }
}

/// What stands in front: `8`, `8x`, `eight 80GB`, `at least 4`, `a`, `CPU or 3`.
fn size_and_count(reading: &Reading<'_>, draft: &mut Draft) {
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
    match count {
        Some((count, from)) => {
            let (bound, strict, bound_start) = bound_before(reading, from);
            let value = if strict { strictly(bound, count) } else { count };
            draft.gpus.count = Some(Bounded { bound, value });
            start = bound_start;
        }
        None if times => {}
        None => match reading.word_before(start, 1) {
            "a" | "an" | "single" => {
                draft.gpus.count = Some(Bounded { bound: Bound::Exact, value: 1 });
                start -= 1;
                if reading.word_before(start, 1) == "a" {
                    start -= 1;
                }
            }
            "dual" => {
                draft.gpus.count = Some(Bounded { bound: Bound::Exact, value: 2 });
                start -= 1;
            }
            "quad" => {
                draft.gpus.count = Some(Bounded { bound: Bound::Exact, value: 4 });
                start -= 1;
            }
            "multi" | "multiple" | "several" | "some" if draft.has_noun => {
                if reading.word_before(start, 1) != "some" {
                    draft.gpus.count = Some(Bounded { bound: Bound::AtLeast, value: 2 });
                }
                start -= 1;
            }
            _ if reading.symbol(start.wrapping_sub(1)) == Some('-')
                && matches!(reading.word_before(start, 2), "multi" | "single" | "dual" | "quad") =>
            {
                let value = match reading.word_before(start, 2) {
                    "single" => 1,
                    "quad" => 4,
                    _ => 2,
                };
                let bound =
                    if reading.word_before(start, 2) == "multi" { Bound::AtLeast } else { Bound::Exact };
                draft.gpus.count = Some(Bounded { bound, value });
                start -= 2;
            }
            _ => {}
        },
    }
    draft.tokens.start = start;
}

/// "2x8 H100", "3 x 4 GPU": nodes times GPUs on each.
fn nodes_times(reading: &mut Reading<'_>, draft: &mut Draft) {
    let start = draft.tokens.start;
    if draft.gpus.count.is_none() || reading.word_before(start, 1) != "x" {
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

fn is_node(word: &str) -> bool {
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
fn nodes_behind(reading: &mut Reading<'_>, draft: &mut Draft, anchor: usize) -> bool {
    let node = draft.tokens.end;
    if !is_node(reading.word(node)) {
        return false;
    }
    let touches = anchor > 0
        && (reading.tokens[anchor].glued || reading.word(anchor - 1) == "x" && draft.gpus.model.is_some());
    let times_known = draft.gpus.per == Some(GpuScope::Node);
    draft.gpus.per = Some(GpuScope::Node);
    draft.tokens.end = node + 1;
    let Some(count) = draft.gpus.count.filter(|_| !times_known) else { return true };
    let is_article = matches!(reading.word(draft.tokens.start), "a" | "an" | "single");
    if is_article || !touches {
        // The number counts the nodes; each has at least one GPU.
        draft.gpus.count = None;
        let is_plain_article =
            matches!(reading.word(draft.tokens.start), "a" | "an") && !reading.word(node).ends_with('s');
        if matches!(reading.word(node), "node" | "nodes") || !is_plain_article {
            let tokens = draft.tokens.start..node + 1;
            let meaning = Meaning::Measure(
                Measure::Nodes,
                Bounded { bound: count.bound, value: f64::from(count.value) },
            );
            reading.findings.push(crate::meaning::Finding {
                pieces: vec![crate::meaning::Piece { tokens, leaf: "" }],
                meaning,
            });
        }
        return true;
    }
    // "two 8-GPU nodes", "2x 8-GPU nodes"
    let before = if reading.word_before(draft.tokens.start, 1) == "x" {
        draft.tokens.start - 1
    } else {
        draft.tokens.start
    };
    let nodes = (1..=3).rev().find_map(|back| {
        let from = before.checked_sub(back)?;
        let (nodes, next) = number::read_count(reading, from)?;
        (next == before).then_some((nodes, from))
    });
    if let Some((nodes, from)) = nodes {
        reading.find(
            from..before,
            Meaning::Measure(Measure::Nodes, Bounded { bound: Bound::Exact, value: f64::from(nodes) }),
        );
    } else if matches!(reading.word_before(draft.tokens.start, 1), "a" | "an" | "single")
        && reading.word(node) == "node"
    {
        reading.find(
            draft.tokens.start - 1..draft.tokens.start,
            Meaning::Measure(Measure::Nodes, Bounded { bound: Bound::Exact, value: 1.0 }),
        );
    }
    true
}

/// What stands behind: bounds, scopes, memory, "optional".
fn behind(reading: &Reading<'_>, draft: &mut Draft) {
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
fn cpu_alternative(reading: &Reading<'_>, draft: &mut Draft) {
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

fn gpu_memory_noun(reading: &Reading<'_>, at: usize) -> Option<usize> {
    MEMORY_NOUNS.contains(&reading.word(at)).then_some(at + 1)
}

/// "GPU memory of 40 GB", "GPU RAM >= 24GB"; the size may stand in front.
fn gpu_memory(reading: &Reading<'_>, at: usize, next: usize) -> Option<Draft> {
    let value = reading.skip(next, &["of", "is", "at", "least", "should", "be", "must", "minimum"]);
    let value = if reading.operator(value).is_empty() { reading.skip_symbol(value, ":") } else { value + 1 };
    if let Some((gib, end)) = size(reading, value) {
        let gpus = GpuMention { memory_gib: Some(gib), ..GpuMention::default() };
        return Some(Draft { tokens: at..end, gpus, has_noun: true });
    }
    (2..=4).find_map(|back| {
        let from = at.checked_sub(back)?;
        let (gib, end) = size(reading, from)?;
        let end = reading.skip(end, &["of"]);
        let gpus = GpuMention { memory_gib: Some(gib), ..GpuMention::default() };
        (end == at).then(|| {
            let (_, _, start) = bound_before(reading, from);
            Draft { tokens: start..next, gpus, has_noun: true }
        })
    })
}

/// "40 GB of VRAM", "24GB vram": GPU memory without the word GPU.
fn memory(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (gib, next) = size(reading, at)?;
    let next = reading.skip(next, &["of", "or", "more", "gpu"]);
    if !matches!(reading.word(next), "vram" | "hbm") {
        return None;
    }
    let (_, _, start) = bound_before(reading, at);
    let end = per_after(reading, next + 1).map_or(next + 1, |(_, end)| end);
    reading.find(start..end, Meaning::Gpus(GpuMention { memory_gib: Some(gib), ..GpuMention::default() }));
    Some(end)
}

/// Batch flags and keys: `--gpus-per-node=4`, `--gres=gpu:a100:4`, `gpus=4`, `gpus: 4`, `gpu_count: 2`.
fn flags(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let word = reading.word(at);
    let sign = |at: usize| {
        (matches!(reading.operator(at), "=" | "==") || reading.symbol(at) == Some(':')).then_some(at + 1)
    };
    let mut gpus = GpuMention::default();
    let end = match word {
        "gres" => {
            let value = sign(at + 1).unwrap_or(at + 1);
            if reading.word(value) != "gpu" {
                return None;
            }
            let mut end = value + 1;
            if reading.symbol(end) == Some(':') && gpu_model(reading.word(end + 1)).is_some() {
                gpus.model = gpu_model(reading.word(end + 1)).map(str::to_owned);
                end += 2;
            }
            let mut count = 1;
            if reading.symbol(end) == Some(':')
                && let Some((value, next)) = number::read_count(reading, end + 1)
            {
                count = value;
                end = next;
            }
            gpus.count = Some(Bounded { bound: Bound::Exact, value: count });
            gpus.per = Some(GpuScope::Node);
            end
        }
        "gpus-per-node" | "gpus_per_node" | "gpu_per_node" | "gpus" | "gpu" | "gpu_count" | "num_gpus"
        | "ngpus" | "n_gpus" | "gpu-count" => {
            let flag =
                reading.symbol(at.wrapping_sub(1)) == Some('-') && matches!(word, "gpus-per-node" | "gpus");
            let value = match sign(at + 1) {
                Some(value) => value,
                None if flag || word.contains("per") => at + 1,
                None => return None,
            };
            let (count, next) = number::read_count(reading, value)?;
            let times = reading.skip(next, &["x"]);
            gpus.count = Some(Bounded { bound: Bound::Exact, value: count });
            gpus.per = word.contains("per").then_some(GpuScope::Node);
            match model_at(reading, times) {
                Some((model, memory, end)) => {
                    gpus.model = Some(model);
                    gpus.memory_gib = memory;
                    trailing_size(reading, end, &mut gpus)
                }
                None if times > next => return None,
                None => next,
            }
        }
        _ => return None,
    };
    let mut start = at;
    while reading.symbol(start.wrapping_sub(1)) == Some('-') {
        start -= 1;
    }
    let zero = gpus.count.is_some_and(|count| count.value == 0);
    let end = match per_after(reading, end) {
        Some((Per::Node | Per::Each, next)) => {
            gpus.per = Some(GpuScope::Node);
            next
        }
        Some((Per::Total, next)) => next,
        _ => end,
    };
    reading.find(start..end, if zero { Meaning::NoGpus } else { Meaning::Gpus(gpus) });
    Some(end)
}
