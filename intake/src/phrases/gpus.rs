//! GPUs: "8 H100s", "4 A100 each", "2x RTX 4090", "GPUs with 40 GB", "CPU or 3 GPU per node".
//!
//! A mention is built around its noun or model: `counts` reads what stands in front, `context` what
//! stands behind and around it; `keys` reads batch flags and `key: value` pairs.

mod context;
mod counts;
mod keys;

use std::ops::Range;

use crate::lexicon::{gpu_model, is_gpu_noun};
use crate::meaning::{GpuMention, Meaning};
use crate::quantity::size;
use crate::reading::Reading;

pub use context::each_scope;
pub use counts::strictly;

const VENDORS: &[&str] = &[
    "nvidia",
    "amd",
    "intel",
    "radeon",
    "tesla",
    "geforce",
    "instinct",
    "quadro",
    "hopper",
    "ampere",
    "ada",
    "blackwell",
    "volta",
];
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
        at = keys::flags(reading, at)
            .or_else(|| mention(reading, at))
            .or_else(|| keys::memory(reading, at))
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
    /// Whether the count can only be one of GPUs: `8xH100`, `4-GPU`, `dual`.
    counts_gpus: bool,
}

fn mention(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let mut draft = core(reading, at)?;
    counts::size_and_count(reading, &mut draft);
    counts::nodes_times(reading, &mut draft);
    let on_nodes = counts::nodes_behind(reading, &mut draft);
    if !on_nodes {
        context::behind(reading, &mut draft);
    }
    context::cpu_alternative(reading, &mut draft);
    refuse_bare_maker(reading, &draft);
    let end = draft.tokens.end;
    if draft.gpus.count.is_some_and(|count| count.value == 0) {
        reading.find(draft.tokens, Meaning::NoGpus);
    } else {
        reading.find(draft.tokens, Meaning::Gpus(draft.gpus));
    }
    Some(end)
}

/// "AMD GPUs": facts tell models apart, not makers.
fn refuse_bare_maker(reading: &mut Reading<'_>, draft: &Draft) {
    let maker = draft.tokens.clone().find(|at| VENDORS.contains(&reading.word(*at)));
    if let Some(at) = maker.filter(|_| draft.gpus.model.is_none()) {
        reading.refuse(at..at + 1, "the maker of a GPU cannot be demanded; name the model");
    }
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
        if let Some(next) = keys::gpu_memory_noun(reading, end) {
            return keys::gpu_memory(reading, at, next);
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
    Some(Draft { tokens: start..end, gpus, has_noun, counts_gpus: false })
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
