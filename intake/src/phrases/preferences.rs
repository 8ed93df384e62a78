//! Wishes that are no demands: "preferably slurm", "infiniband would be nice". A requirement holds
//! hard constraints only, so these are listed instead of being made into one.

use crate::lexicon::{gpu_model, name_at};
use crate::reading::Reading;

const REASON: &str = "a preference; a requirement holds only what must be, and the intent what matters most";

const BEFORE: &[&str] = &["preferably", "ideally", "prefer", "preferring", "favouring", "hopefully"];

const FILLERS: &[&str] = &[
    "on",
    "with",
    "using",
    "in",
    "a",
    "an",
    "the",
    "to",
    "be",
    "via",
    "run",
    "have",
    "it",
    "by",
    "under",
    "use",
    "something",
    "some",
    "machine",
    "machines",
    "system",
    "cluster",
    "at",
    "nvidia",
    "and",
];

/// What makes a wish of the name in front of it.
const BEHIND: &[&[&str]] = &[
    &["if", "possible"],
    &["if", "available"],
    &["if", "you", "have", "it"],
    &["would", "be", "nice"],
    &["would", "be", "great"],
    &["would", "be", "good"],
    &["would", "be", "ideal"],
    &["is", "a", "plus"],
    &["is", "a", "bonus"],
    &["is", "preferred"],
    &["are", "preferred"],
    &["is", "nice", "to", "have"],
    &["nice", "to", "have"],
    &["is", "fine"],
    &["is", "ok"],
    &["is", "okay"],
    &["is", "acceptable"],
    &["would", "do"],
    &["will", "do"],
    &["would", "work"],
    &["works", "too"],
    &["preferred"],
    &["pref"],
    &["preferable"],
    &["preferably"],
    &["ideally"],
];

pub fn read(reading: &mut Reading<'_>) {
    for at in 0..reading.len() {
        if BEFORE.contains(&reading.word(at)) {
            let first = reading.skip(at + 1, FILLERS);
            let mut end = first;
            while let Some(next) = wish_at(reading, end) {
                end = next;
                let joined = reading.skip(end, &["or", "and"]);
                let joined = if joined == end { reading.skip_symbol(end, "/") } else { joined };
                if joined == end || wish_at(reading, joined).is_none() {
                    break;
                }
                end = joined;
            }
            if end > first {
                reading.refuse(at..end, REASON);
            }
        } else if let Some(next) = wish_at(reading, at) {
            let next = reading.skip(next, &["support", "storage", "network", "fabric", "interconnect"]);
            if let Some(end) = BEHIND.iter().find_map(|words| reading.follow(next, words)) {
                reading.refuse(at..end, REASON);
            }
        }
    }
}

/// A name that could be demanded.
fn wish_at(reading: &Reading<'_>, at: usize) -> Option<usize> {
    if gpu_model(reading.word(at)).is_some() {
        return Some(at + 1);
    }
    name_at(reading, at).map(|(_, _, next)| next)
}
