//! Fabrics: "with infiniband", "infiniband or omni-path", "low-latency interconnect".

use crate::lexicon::{Category, name_at};
use crate::meaning::{Meaning, NameList};
use crate::number;
use crate::reading::Reading;

const TAILS: &[&str] = &[
    "network",
    "networking",
    "fabric",
    "interconnect",
    "connectivity",
    "connection",
    "connections",
    "connected",
    "links",
    "link",
];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = named(reading, at, Category::Fabric, NameList::Network, TAILS)
            .or_else(|| fast_fabric(reading, at))
            .or_else(|| speed(reading, at))
            .unwrap_or(at + 1);
    }
}

/// Names of one category with "or", "and", commas or slashes between them.
pub fn named(
    reading: &mut Reading<'_>,
    at: usize,
    category: Category,
    list: NameList,
    tails: &[&str],
) -> Option<usize> {
    let next_name = |at: usize| match name_at(reading, at) {
        Some((found, name, next)) if found == category => Some((name, next)),
        _ => None,
    };
    let (first, next) = next_name(at)?;
    let mut names = vec![first.to_owned()];
    let mut end = reading.skip(next, tails);
    loop {
        let comma = reading.skip_symbol(end, ",/|");
        let joined = reading.skip(comma, &["or", "and"]);
        if joined == end {
            break;
        }
        let Some((name, next)) =
            next_name(reading.skip(joined, &["the", "a", "an", "on", "via", "with", "either"]))
        else {
            break;
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        end = reading.skip(next, tails);
    }
    let start = if reading.word_before(at, 1) == "either" { at - 1 } else { at };
    reading.find(start..end, Meaning::Accept(list, names));
    Some(end)
}

/// "high-speed interconnect", "low latency network", "fast fabric": one of the fast ones.
fn fast_fabric(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let next = match (reading.word(at), reading.word(at + 1)) {
        ("low" | "lowest", "latency") | ("high", "speed" | "bandwidth" | "performance") => at + 2,
        (
            "low-latency" | "high-speed" | "high-bandwidth" | "high-performance" | "fast" | "rdma"
            | "rdma-capable",
            _,
        ) => at + 1,
        _ => return None,
    };
    let next = reading.skip(next, &["rdma", "cluster"]);
    if !matches!(reading.word(next), "interconnect" | "network" | "fabric" | "networking" | "interconnects") {
        return None;
    }
    let end = reading.skip(next, TAILS);
    let names = vec!["infiniband".to_owned(), "omni-path".to_owned()];
    reading.find(at..end, Meaning::Accept(NameList::Network, names));
    Some(end)
}

/// "100 Gb/s", "200Gbps": no field holds a speed; it is listed.
fn speed(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (_, next) = number::read(reading, at)?;
    let word = reading.word(next);
    let end = match word {
        "gbps" | "mbps" | "gbit" | "gbits" | "gbe" | "tbps" => next + 1,
        "gb" | "gbit/s" | "mb"
            if reading.symbol(next + 1) == Some('/') && matches!(reading.word(next + 2), "s" | "sec") =>
        {
            next + 3
        }
        "g" if reading.word(next + 1) == "ethernet" => next + 1,
        _ => return None,
    };
    let end = if reading.symbol(end) == Some('/') && reading.word(end + 1) == "s" { end + 2 } else { end };
    let (_, _, start) = crate::quantity::bound_before(reading, at);
    reading.refuse(start..end, "a speed cannot be demanded; name the fabric");
    Some(end)
}
