//! Labels that the worker must carry: "label site=lab", "labelled gpu: yes", "region=eu-west",
//! "in region eu-west-1", "at site lab".

use std::ops::Range;

use crate::meaning::Meaning;
use crate::reading::Reading;
use crate::token::Kind;

/// Keys that sites label their workers with, understood without the word "label".
const KEYS: &[&str] = &[
    "site",
    "region",
    "zone",
    "rack",
    "datacenter",
    "datacentre",
    "dc",
    "env",
    "team",
    "tier",
    "partition",
    "owner",
    "pool",
    "room",
    "campus",
    "country",
];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = labelled(reading, at).or_else(|| keyed(reading, at)).unwrap_or(at + 1);
    }
}

/// "labels a=b, c=d", "labelled a: b", "with the label a=b".
fn labelled(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if !matches!(reading.word(at), "label" | "labels" | "labelled" | "tag" | "tagged" | "tags") {
        return None;
    }
    let negated = (1..=3)
        .any(|back| matches!(reading.word_before(at, back), "not" | "without" | "no" | "avoid" | "exclude"));
    let mut next = reading.skip_symbol(at + 1, ":");
    next = reading.skip(next, &["with", "as", "the"]);
    let mut last = None;
    while let Some((key, value, end)) = pair(reading, next) {
        let start = if last.is_none() { at } else { next };
        if negated {
            reading.refuse(start..end, "workers cannot be excluded by label");
        } else {
            record(reading, start..end, key, value);
        }
        last = Some(end);
        let joined = reading.skip(reading.skip_symbol(end, ","), &["and"]);
        if joined == end {
            break;
        }
        next = joined;
    }
    last
}

/// "region=eu", "at site lab", "in the eu-west region" is left alone.
fn keyed(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if !KEYS.contains(&reading.word(at)) {
        return None;
    }
    if let Some((key, value, end)) = pair(reading, at) {
        record(reading, at..end, key, value);
        return Some(end);
    }
    // "in the eu-west region"
    let name = at.checked_sub(1)?;
    let named = reading
        .free(name)
        .filter(|token| token.kind == Kind::Word && !crate::english::is_plain(&token.lower));
    if let Some(value) = named.map(|token| token.lower.clone().into_owned())
        && matches!(reading.word_before(name, 1), "the" | "in" | "at")
        && matches!(
            reading.word(at),
            "region" | "zone" | "site" | "datacentre" | "datacenter" | "campus" | "partition"
        )
    {
        let start = if reading.word_before(name, 1) == "the" { name - 1 } else { name };
        if matches!(reading.word_before(start, 1), "in" | "at" | "on" | "from") || start == name {
            let key = reading.word(at).to_owned();
            record(reading, start..at + 1, key, value);
            return Some(at + 1);
        }
    }
    let placed = matches!(reading.word_before(at, 1), "in" | "at" | "on" | "from")
        || matches!(reading.word_before(at, 1), "the")
            && matches!(reading.word_before(at, 2), "in" | "at" | "on" | "from");
    let token = reading
        .free(at + 1)
        .filter(|token| token.kind == Kind::Word && !crate::english::is_plain(&token.lower))?;
    if !placed || reading.word_before(at, 2) == "not" {
        return None;
    }
    let (key, value) = (reading.word(at).to_owned(), token.lower.clone().into_owned());
    record(reading, at..at + 2, key, value);
    Some(at + 2)
}

fn record(reading: &mut Reading<'_>, tokens: Range<usize>, key: String, value: String) {
    reading.find(tokens, Meaning::Label(key, value));
}

/// `key=value` or `key: value`; the value may be quoted or a number.
fn pair(reading: &Reading<'_>, at: usize) -> Option<(String, String, usize)> {
    let key = reading.free(at).filter(|token| token.kind == Kind::Word)?;
    let sign = matches!(reading.operator(at + 1), "=" | "==") || reading.symbol(at + 1) == Some(':');
    if !sign {
        return None;
    }
    let mut end = at + 2;
    if let Some(quote) = reading.symbol(end).filter(|c| "\"'`".contains(*c)) {
        let close =
            (end + 1..(end + 10).min(reading.len())).find(|close| reading.symbol(*close) == Some(quote))?;
        let value = reading.source(&(end + 1..close));
        return (!value.is_empty()).then(|| (key.text.to_owned(), value.to_owned(), close + 1));
    }
    reading.free(end).filter(|token| matches!(token.kind, Kind::Word | Kind::Number | Kind::Path))?;
    end += 1;
    // `eu-1`, `gen9.2`: what touches the value belongs to it.
    while reading.free(end).is_some_and(|token| {
        end - at < 64
            && token.glued
            && (matches!(token.kind, Kind::Word | Kind::Number)
                || token.text == "-" && reading.tokens.get(end + 1).is_some_and(|next| next.glued))
    }) {
        end += 1;
    }
    Some((key.text.to_owned(), reading.source(&(at + 2..end)).to_owned(), end))
}
