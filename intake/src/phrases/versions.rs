//! Versions and their constraints, as they stand behind a package's name.

use std::ops::Range;

use crate::reading::Reading;
use crate::token::Kind;

/// The longest version that is taken for one.
const MAX_VERSION: usize = 64;

/// A constraint and the tokens that state it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// `>=1.2`, or several joined with commas; nothing where the versions are alternatives.
    pub text: Option<String>,
    /// The tokens.
    pub tokens: Range<usize>,
}

/// Words that count or measure, so that the number in front of them is no version.
fn is_unit(reading: &Reading<'_>, at: usize) -> bool {
    matches!(
        reading.any_word(at),
        "node"
            | "nodes"
            | "core"
            | "cores"
            | "cpu"
            | "cpus"
            | "gpu"
            | "gpus"
            | "task"
            | "tasks"
            | "rank"
            | "ranks"
            | "process"
            | "processes"
            | "gb"
            | "gib"
            | "tb"
            | "tib"
            | "mb"
            | "g"
            | "t"
            | "k"
            | "hour"
            | "hours"
            | "h"
            | "hr"
            | "min"
            | "mins"
            | "minute"
            | "minutes"
            | "day"
            | "days"
            | "week"
            | "weeks"
            | "s"
            | "sec"
            | "seconds"
            | "dollar"
            | "dollars"
            | "usd"
            | "bucks"
            | "x"
            | "times"
            | "vcpus"
            | "threads"
            | "trees"
            | "machines"
            | "servers"
            | "epochs"
            | "steps"
            | "iterations"
            | "jobs"
            | "runs"
            | "replicas"
            | "simulations"
            | "copies"
            | "samples"
            | "files"
            | "pm"
            | "am"
            | "atoms"
            | "particles"
            | "cells"
            | "percent"
            | "users"
            | "instances"
            | "different"
            | "gbps"
            | "million"
            | "billion"
            | "thousand"
            | "ns"
            | "ps"
            | "parameters"
            | "layers"
            | "images"
            | "molecules"
            | "residues"
            | "timesteps"
            | "mpi"
            | "way"
            | "cards"
            | "more"
            | "other"
            | "of"
            | "large"
    ) || crate::lexicon::gpu_model(reading.any_word(at)).is_some()
        || reading.any_symbol(at).is_some_and(|c| "%$".contains(c))
}

/// A bare version at `at`: glued digits, letters, dots, hyphens; a trailing full stop is not part of it.
#[must_use]
pub fn version_at(reading: &Reading<'_>, at: usize) -> Option<(String, usize)> {
    let quoted = reading.skip_symbol(at, "'\"`");
    let first_at = match reading.word(quoted) {
        "v" if reading
            .tokens
            .get(quoted + 1)
            .is_some_and(|token| token.glued && token.kind == Kind::Number) =>
        {
            quoted + 1
        }
        _ => quoted,
    };
    let first = reading.free(first_at)?;
    let starts = match first.kind {
        Kind::Number => true,
        // "v1.2", "r2023b", "c8.1"
        Kind::Word => {
            let tail = first.lower.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            first.lower.len() - tail.len() <= 1 && tail.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    };
    if !starts || !reading.is_free(first_at) {
        return None;
    }
    if let Some(found) = spaced_date(reading, first_at) {
        return Some(found);
    }
    let mut end = first_at + 1;
    while let Some(token) = reading.free(end).filter(|token| token.glued && end - first_at < MAX_VERSION) {
        let next_glued = reading
            .free(end + 1)
            .is_some_and(|next| next.glued && matches!(next.kind, Kind::Number | Kind::Word));
        let continues = match token.kind {
            Kind::Word => {
                token.text.is_ascii() && token.text != "x"
                    || token.text == "x" && reading.any_symbol(end - 1) == Some('.')
            }
            Kind::Number => true,
            Kind::Symbol => matches!(token.text, "." | "-" | "+" | "_") && next_glued,
            Kind::Operator | Kind::Path => false,
        };
        if !continues {
            break;
        }
        end += 1;
    }
    let text = reading.source(&(first_at..end));
    let text = match text.strip_prefix(['v', 'V']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => text,
    };
    // "2.x" is the series 2.
    let text = text.strip_suffix(".x").or_else(|| text.strip_suffix(".X")).unwrap_or(text);
    let end = if quoted > at { reading.skip_symbol(end, "'\"`") } else { end };
    let plain = text.len() <= MAX_VERSION
        && !text.contains(',')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+_".contains(c));
    plain.then(|| (text.to_owned(), end))
}

/// "2 Aug 2023", as LAMMPS names its versions, without the spaces.
fn spaced_date(reading: &Reading<'_>, at: usize) -> Option<(String, usize)> {
    let number = |at: usize, digits: std::ops::RangeInclusive<usize>| {
        let token = reading.free(at).filter(|token| token.kind == Kind::Number)?;
        (digits.contains(&token.text.len()) && !token.text.contains(['.', ','])).then_some(token.text)
    };
    let (day, year) = (number(at, 1..=2)?, number(at + 2, 4..=4)?);
    let month = reading.free(at + 1).filter(|token| is_month(&token.lower))?;
    Some((format!("{day}{}{year}", month.text), at + 3))
}

fn is_month(word: &str) -> bool {
    matches!(
        word.get(..3),
        Some("jan" | "feb" | "mar" | "apr" | "may" | "jun" | "jul" | "aug" | "sep" | "oct" | "nov" | "dec")
    ) && word.len() <= 9
}

/// A version in a place where only its form tells it from a count.
fn bare_version(reading: &Reading<'_>, at: usize) -> Option<(String, usize)> {
    let (text, end) = version_at(reading, at)?;
    // "3 nodes", "8x A100", "2-node", "80GB"
    let series =
        reading.any_word(end.wrapping_sub(1)) == "x" && reading.any_symbol(end.wrapping_sub(2)) == Some('.');
    let glued_unit =
        end > at + 1 && is_unit(reading, end - 1) && !series && reading.any_word(end - 1) != "mpi";
    if is_unit(reading, end)
        || glued_unit
        || reading.any_symbol(end) == Some('-') && is_unit(reading, end + 1)
    {
        return None;
    }
    Some((text, end))
}

/// The constraint behind a name: operators, words, a bare version, several joined ones.
#[must_use]
pub fn constraint_at(reading: &Reading<'_>, at: usize) -> Option<Constraint> {
    let open = reading.symbol(at) == Some('(');
    let first =
        if open { reading.skip(at + 1, &["stable", "release"]) } else { reading.skip_symbol(at, ",") };
    let announced = version_noun(reading, first);
    let start = announced.unwrap_or(first);
    let (mut parts, mut end) = joined(reading, start, announced.is_some() || open)?;
    if first > at && !open && announced.is_none() {
        // "gromacs, 2023" lists things; "gromacs, version 2023" and "gromacs, >= 2023" state one.
        let worded = worded_operator(reading, first).is_some_and(|(operator, _)| !operator.is_empty());
        if reading.operator(first).is_empty() && !(worded && parts.iter().all(|part| looks_dated(part))) {
            return None;
        }
    }
    if open {
        if reading.symbol(end) != Some(')') {
            return None;
        }
        end += 1;
    }
    parts.dedup();
    let tokens = at_skipping_comma(reading, at)..end;
    // "2022 or 2023": joined comparisons must all hold, so alternatives have no form.
    if let Some(other) = alternative(reading, end) {
        return Some(Constraint { text: None, tokens: tokens.start..other });
    }
    Some(Constraint { text: Some(parts.join(",")), tokens })
}

/// Whether a version has the form of one wherever it stands: dotted, or with a year.
fn looks_dated(part: &str) -> bool {
    let version = part.trim_start_matches(|c: char| "<>=~^".contains(c));
    version.contains('.') || version.len() >= 4
}

/// "or 2023" behind a version.
fn alternative(reading: &Reading<'_>, at: usize) -> Option<usize> {
    let next = if reading.word(at) == "or" { at + 1 } else { return None };
    let next = if reading.operator(next) == "==" { next + 1 } else { reading.skip(next, &["version"]) };
    bare_version(reading, next).map(|(_, end)| end)
}

fn at_skipping_comma(reading: &Reading<'_>, at: usize) -> usize {
    if reading.symbol(at) == Some(',') { at + 1 } else { at }
}

/// "version", "in version", "with version", "ver.", "release": the position behind them.
fn version_noun(reading: &Reading<'_>, at: usize) -> Option<usize> {
    let noun = reading.skip(at, &["in", "with", "at", "of", "the", "whose", "is", "any", "a"]);
    let noun = if matches!(reading.word(noun), "version" | "versions" | "ver" | "vers" | "release" | "v") {
        noun
    } else {
        at
    };
    if !matches!(reading.word(noun), "version" | "versions" | "ver" | "vers" | "release" | "v") {
        return None;
    }
    let next = reading.skip_symbol(noun + 1, ".:");
    Some(reading.skip(next, &["is", "of", "must", "should", "be", "number", "has", "to"]))
}

/// One or more bounds: ">=2, <3", ">= 2 and < 3", "between 2 and 3", "2 or later".
fn joined(reading: &Reading<'_>, at: usize, announced: bool) -> Option<(Vec<String>, usize)> {
    if reading.word(at) == "between" || reading.word(at) == "from" && announced {
        let (low, next) = version_at(reading, at + 1)?;
        let upper = match reading.word(next) {
            "and" | "to" => next + 1,
            _ => return None,
        };
        let (high, end) = bare_version(reading, upper)?;
        return Some((vec![format!(">={low}"), format!("<={high}")], end));
    }
    if let Some(range) = plain_range(reading, at) {
        return Some(range);
    }
    let (first, mut end) = one(reading, at, announced)?;
    let mut parts = vec![first];
    for _ in 0..4 {
        let comma = reading.skip_symbol(end, ",");
        let next = reading.skip(comma, &["and", "but"]);
        let next = if next > end { reading.skip(next, &["also"]) } else { next };
        let operator = reading.operator(next);
        let worded = matches!(
            (reading.word(next), reading.word(next + 1)),
            ("below", _)
                | ("under", _)
                | ("before", _)
                | ("older" | "newer" | "less" | "greater" | "more" | "lower" | "higher", "than")
                | ("at", "least" | "most")
        );
        let glued = next == end && !operator.is_empty();
        if !glued && (next == end || operator.is_empty() && !worded || operator == "=") {
            break;
        }
        let Some((more, after)) = one(reading, next, announced) else { break };
        parts.push(more);
        end = after;
    }
    Some((parts, end))
}

/// "2022 - 2024", "2022 to 2024".
fn plain_range(reading: &Reading<'_>, at: usize) -> Option<(Vec<String>, usize)> {
    let (low, next) = bare_version(reading, at)?;
    let joins = matches!(reading.symbol(next), Some('-' | '\u{2013}'))
        || matches!(reading.word(next), "to" | "through");
    let (high, end) = bare_version(reading, next + 1).filter(|_| joins)?;
    Some((vec![format!(">={low}"), format!("<={high}")], end))
}

/// One bound.
fn one(reading: &Reading<'_>, at: usize, announced: bool) -> Option<(String, usize)> {
    let operator = reading.operator(at);
    if !operator.is_empty() {
        let after = version_noun(reading, at + 1).unwrap_or(at + 1);
        let (version, end) = version_at(reading, after)?;
        if is_unit(reading, end) && operator != "==" || is_quantity(reading, end) {
            return None;
        }
        let operator = match operator {
            "=" => "==",
            "!=" => return None,
            operator => operator,
        };
        return Some((format!("{operator}{version}"), end));
    }
    // "lammps@2023", "gromacs/2023.1"
    if matches!(reading.symbol(at), Some('@' | '/')) && reading.tokens[at].glued {
        let glued = reading.tokens.get(at + 1).is_some_and(|token| token.glued);
        let after = if reading.operator(at + 1) == "=" { at + 2 } else { at + 1 };
        let (version, end) = version_at(reading, after).filter(|_| glued)?;
        // Spack's "@2023:" is a lower bound.
        if reading.symbol(end) == Some(':') && reading.tokens[end].glued && reading.symbol(at) == Some('@') {
            let upper = reading
                .tokens
                .get(end + 1)
                .filter(|token| token.glued)
                .and_then(|_| version_at(reading, end + 1));
            return Some(match upper {
                Some((upper, end)) => (format!(">={version},<={upper}"), end),
                None if reading.tokens.get(end + 1).is_none_or(|token| !token.glued)
                    && reading.tokens.get(end + 1).is_some() =>
                {
                    (format!(">={version}"), end + 1)
                }
                None => (format!("=={version}"), end),
            });
        }
        return Some((format!("=={version}"), end));
    }
    let (worded, next) = worded_operator(reading, at)?;
    let next = version_noun(reading, next).unwrap_or(next);
    let (version, end) = match worded {
        "" if announced => version_at(reading, next)?,
        _ => bare_version(reading, next)?,
    };
    // A number alone is a version only where nothing else could be meant by it.
    if is_time(reading, next, end) {
        return None;
    }
    let (trailing, end) = trailing_operator(reading, end);
    let operator = match (worded, trailing) {
        ("", "") => "==",
        ("", trailing) => trailing,
        (worded, _) => worded,
    };
    Some((format!("{operator}{version}"), end))
}

/// "18:00", "2026-11-21": a point in time rather than a version.
fn is_time(reading: &Reading<'_>, at: usize, end: usize) -> bool {
    let has_colon = reading.any_symbol(end) == Some(':')
        && reading.tokens.get(end + 1).is_some_and(|token| token.kind == Kind::Number);
    let is_date = reading.source(&(at..end)).split('-').map(str::len).eq([4, 2, 2]);
    has_colon
        || is_date && matches!(reading.any_word_before(at, 1), "before" | "after" | "by" | "from" | "since")
}

fn is_quantity(reading: &Reading<'_>, at: usize) -> bool {
    matches!(reading.any_word(at), "nodes" | "cores" | "gpus" | "gb" | "gib" | "hours" | "dollars")
}

/// "at least", "newer than", "up to", "exactly", or nothing.
fn worded_operator(reading: &Reading<'_>, at: usize) -> Option<(&'static str, usize)> {
    let at = reading.skip(at, &["is", "must", "should", "be"]);
    let found = match (reading.word(at), reading.word(at + 1), reading.word(at + 2)) {
        ("at", "least", _) => (">=", at + 2),
        ("at-least" | "min" | "minimum" | "from" | "since", ..) => (">=", reading.skip(at + 1, &["of"])),
        ("no" | "not", "older" | "less" | "lower" | "earlier", "than") => (">=", at + 3),
        ("greater" | "higher" | "more" | "newer" | "later", "than", "or") => {
            (">=", reading.skip(at + 3, &["equal", "to"]))
        }
        ("less" | "lower" | "older" | "earlier", "than", "or") => {
            ("<=", reading.skip(at + 3, &["equal", "to"]))
        }
        ("equal", "to", _) => ("==", at + 2),
        ("newer" | "later" | "greater" | "higher" | "more" | "bigger", "than", _) => (">", at + 2),
        ("above" | "after" | "over", ..) => (">", at + 1),
        ("no" | "not", "newer" | "later" | "higher" | "greater" | "more", "than") => ("<=", at + 3),
        ("at", "most", _) | ("up", "to", _) => ("<=", at + 2),
        ("max" | "maximum", ..) => ("<=", reading.skip(at + 1, &["of"])),
        ("older" | "earlier" | "lower" | "less" | "prior", "than" | "to", _) => ("<", at + 2),
        ("before" | "below" | "under" | "pre", ..) => ("<", at + 1),
        ("exactly" | "precisely" | "specifically" | "strictly", ..) => {
            ("==", reading.skip(at + 1, &["version"]))
        }
        ("compatible", "with", _) => ("~", at + 2),
        _ => ("", at),
    };
    Some(found)
}

/// "2023 or later", "2023+", "2.1 and up", "3.9 or older", "and above".
fn trailing_operator(reading: &Reading<'_>, at: usize) -> (&'static str, usize) {
    if reading.symbol(at) == Some('+') && reading.tokens[at].glued {
        return (">=", at + 1);
    }
    let joined = if matches!(reading.word(at), "or" | "and") { at + 1 } else { reading.skip_symbol(at, "(") };
    let joined = reading.skip(joined, &["anything", "any", "something"]);
    if joined == at && !matches!(reading.word(at), "onwards" | "onward" | "upwards") {
        return if reading.word(at) == "exactly" { ("==", at + 1) } else { ("", at) };
    }
    if reading.word(joined + 1) == "than" {
        return ("", at);
    }
    match reading.word(joined) {
        "later" | "newer" | "above" | "higher" | "up" | "upwards" | "onwards" | "onward" | "greater"
        | "better" | "more" | "beyond" | "over" | "after" => {
            (">=", reading.skip(joined + 1, &["version", "versions", "releases"]))
        }
        "older" | "earlier" | "below" | "lower" | "before" | "less" => {
            ("<=", reading.skip(joined + 1, &["version", "versions"]))
        }
        _ => ("", at),
    }
}
