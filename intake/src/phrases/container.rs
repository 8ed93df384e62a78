//! Container runtimes: "via singularity", "docker or podman", "in a container".

use crate::lexicon::Category;
use crate::meaning::{Meaning, NameList};
use crate::phrases::network::named;
use crate::reading::Reading;

const TAILS: &[&str] = &["container", "containers", "image", "images", "runtime", "runtimes"];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = named(reading, at, Category::Runtime, NameList::Container, TAILS)
            .or_else(|| any(reading, at))
            .unwrap_or(at + 1);
    }
}

/// "in a container", "containerised", "container runtime".
fn any(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if !matches!(reading.word(at), "container" | "containers" | "containerised") {
        return None;
    }
    let end = reading.skip(at + 1, &["runtime", "runtimes", "support", "image", "job", "workload"]);
    let start = if matches!(reading.word_before(at, 1), "a" | "any") { at - 1 } else { at };
    let start =
        if matches!(reading.word_before(start, 1), "in" | "via" | "inside") { start - 1 } else { start };
    reading.find(start..end, Meaning::AnyContainer);
    Some(end)
}
