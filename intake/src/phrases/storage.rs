//! File systems and space: "2 TB of scratch", "lustre with 500 GB free", "nfs backend".

use std::ops::Range;

use crate::lexicon::{ANY_FILE_SYSTEM, Category, name_at};
use crate::meaning::Meaning;
use crate::quantity::{bound_after, bound_before, size};
use crate::reading::Reading;
use crate::token::Kind;

const TAILS: &[&str] = &[
    "storage",
    "space",
    "file",
    "system",
    "filesystem",
    "file-system",
    "backend",
    "mount",
    "mounts",
    "mounted",
    "bucket",
    "buckets",
    "disk",
    "volume",
    "share",
    "available",
    "free",
    "access",
    "drive",
    "drives",
    "ssd",
    "nvme",
    "scratch",
    "back-end",
    "directory",
    "area",
    "partition",
    "fs",
];

/// Words for space that name no kind of file system.
const PLAIN_SPACE: &[&str] =
    &["storage", "disk", "space", "ssd", "nvme", "hdd", "drive", "volume", "filesystem", "disks"];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = sized(reading, at).or_else(|| named(reading, at)).unwrap_or(at + 1);
    }
}

/// A size with a file system or a word for space behind it.
fn sized(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (gib, next) = size(reading, at)?;
    let behind = bound_after(reading, next).map_or(next, |(_, end)| end);
    let noun = reading.skip(
        behind,
        &[
            "of",
            "free",
            "available",
            "on",
            "in",
            "the",
            "a",
            "an",
            "fast",
            "shared",
            "parallel",
            "high-speed",
            "temporary",
            "temp",
            "persistent",
            "worth",
            "permanent",
            "usable",
            "extra",
            "empty",
            "spare",
        ],
    );
    let (_, _, start) = bound_before(reading, at);
    let (kind, end) = match name_at(reading, noun) {
        Some((Category::FileSystem, kind, end)) => (kind, end),
        _ if is_scratch_path(reading, noun) => ("scratch", noun + 1),
        _ if PLAIN_SPACE.contains(&reading.word(noun)) => {
            // "2 TB of storage on lustre", "500 GB disk space on NFS"
            let end = reading.skip(noun, TAILS);
            let on = reading.skip(end, &["on", "in", "the", "a", "an", "from", "using", "via", "under"]);
            match name_at(reading, on) {
                Some((Category::FileSystem, kind, end)) if on > end => (kind, end),
                Some((Category::FileSystem, kind, next)) if on != end => (kind, next),
                _ => (ANY_FILE_SYSTEM, end),
            }
        }
        _ if matches!(reading.word(behind), "free" | "available")
            && !matches!(reading.word(behind + 1), "memory" | "ram" | "vram") =>
        {
            (ANY_FILE_SYSTEM, behind + 1)
        }
        _ => return None,
    };
    let end = reading.skip(end, TAILS);
    record(reading, start..end, kind, Some(gib));
    Some(end)
}

fn is_scratch_path(reading: &Reading<'_>, at: usize) -> bool {
    reading.free(at).is_some_and(|token| {
        token.kind == Kind::Path && matches!(token.text.trim_end_matches('/'), "/scratch" | "/tmp" | "/work")
    })
}

/// A file system by name, with an optional size behind it.
fn named(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if let Some(end) = plain_with_size(reading, at) {
        return Some(end);
    }
    let (Category::FileSystem, kind, next) = name_at(reading, at)? else { return None };
    let mut start = at;
    while start > 0 && matches!(reading.word(start - 1), "fast" | "shared" | "parallel") {
        start -= 1;
    }
    let mut end = reading.skip(next, TAILS);
    // "lustre or nfs": the field holds what must be there, all of it.
    let joined = reading.skip(end, &["or"]);
    if joined > end
        && let Some((Category::FileSystem, other, next)) = name_at(reading, joined)
        && other != kind
    {
        let end = reading.skip(next, TAILS);
        reading.refuse(
            start..end,
            "file systems cannot be alternatives of each other; name the one that is needed",
        );
        return Some(end);
    }
    let free_gib = size_behind(reading, end).map(|(gib, next)| {
        end = next;
        gib
    });
    if kind == "scratch" && free_gib.is_none() && reading.word_before(start, 1) == "from" {
        // "from scratch" is no file system.
        return None;
    }
    record(reading, start..end, kind, free_gib);
    Some(end)
}

/// "with 2 TB free", "(2 TB)", ": 500 GB", "of 1 TiB or more".
fn size_behind(reading: &Reading<'_>, at: usize) -> Option<(f64, usize)> {
    let open = reading.skip_symbol(at, "(:");
    let first = reading.skip(
        open,
        &[
            "with",
            "of",
            "having",
            "at",
            "least",
            "minimum",
            "more",
            "than",
            "over",
            "containing",
            "that",
            "has",
        ],
    );
    let first = if reading.operator(first).is_empty() { first } else { first + 1 };
    if first == at {
        return None;
    }
    let (gib, next) = size(reading, first)?;
    let next = bound_after(reading, next).map_or(next, |(_, end)| end);
    let noun = reading.skip(next, &["of"]);
    if matches!(reading.word(noun), "memory" | "ram" | "mem" | "vram") {
        return None;
    }
    let next = reading.skip(reading.skip(next, &["of", "free", "available"]), TAILS);
    Some((gib, if reading.symbol(at) == Some('(') { reading.skip_symbol(next, ")") } else { next }))
}

/// "storage: 2 TB", "disk space of 500 GB", "free space >= 1TB".
fn plain_with_size(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if !PLAIN_SPACE.contains(&reading.word(at)) {
        return None;
    }
    let end = reading.skip(at, TAILS);
    let (gib, end) = size_behind(reading, end).or_else(|| {
        reading
            .tokens
            .get(end)
            .filter(|_| !reading.operator(end).is_empty())
            .and_then(|_| size(reading, end + 1))
    })?;
    let mut start = at;
    while start > 0
        && matches!(reading.word(start - 1), "free" | "fast" | "shared" | "parallel" | "local" | "disk")
    {
        start -= 1;
    }
    record(reading, start..end, ANY_FILE_SYSTEM, Some(gib));
    Some(end)
}

fn record(reading: &mut Reading<'_>, tokens: Range<usize>, kind: &str, free_gib: Option<f64>) {
    let kind = (kind != ANY_FILE_SYSTEM).then(|| kind.to_owned());
    reading.find(tokens, Meaning::Storage { kind, free_gib });
}
