//! GPUs as keys and flags (`gpus: 4`, `--gres=gpu:a100:4`), and GPU memory by itself.

use protocol::requirement::GpuScope;

use super::{Draft, MEMORY_NOUNS, model_at, trailing_size};
use crate::lexicon::gpu_model;
use crate::meaning::{Bound, Bounded, GpuMention, Meaning};
use crate::number;
use crate::quantity::{Per, bound_before, per_after, size};
use crate::reading::Reading;

pub(super) fn gpu_memory_noun(reading: &Reading<'_>, at: usize) -> Option<usize> {
    MEMORY_NOUNS.contains(&reading.word(at)).then_some(at + 1)
}

/// "GPU memory of 40 GB", "GPU RAM >= 24GB"; the size may stand in front.
pub(super) fn gpu_memory(reading: &Reading<'_>, at: usize, next: usize) -> Option<Draft> {
    let value = reading.skip(next, &["of", "is", "at", "least", "should", "be", "must", "minimum"]);
    let value = if reading.operator(value).is_empty() { reading.skip_symbol(value, ":") } else { value + 1 };
    if let Some((gib, end)) = size(reading, value) {
        let gpus = GpuMention { memory_gib: Some(gib), ..GpuMention::default() };
        return Some(Draft { tokens: at..end, gpus, has_noun: true, counts_gpus: false });
    }
    (2..=4).find_map(|back| {
        let from = at.checked_sub(back)?;
        let (gib, end) = size(reading, from)?;
        let end = reading.skip(end, &["of"]);
        let gpus = GpuMention { memory_gib: Some(gib), ..GpuMention::default() };
        (end == at).then(|| {
            let (_, _, start) = bound_before(reading, from);
            Draft { tokens: start..next, gpus, has_noun: true, counts_gpus: false }
        })
    })
}

/// "40 GB of VRAM", "24GB vram": GPU memory without the word GPU.
pub(super) fn memory(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
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
pub(super) fn flags(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
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
        "gpu_model" | "gpu-model" | "gpu_type" | "gpu-type" => {
            let (model, memory, end) = model_at(reading, sign(at + 1)?)?;
            gpus.model = Some(model);
            gpus.memory_gib = memory;
            trailing_size(reading, end, &mut gpus)
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
