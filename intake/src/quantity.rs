//! Quantities with a unit: sizes, durations, bounds, and what a quantity is counted per.

use crate::meaning::Bound;
use crate::number::{self, Read};
use crate::reading::Reading;
use crate::token::Kind;

const GIB: f64 = 1_073_741_824.0;

/// Bytes of a unit of size. A bare letter is the decimal unit that people shorten.
fn size_unit(word: &str) -> Option<f64> {
    Some(match word {
        "kb" | "kilobyte" | "kilobytes" => 1e3,
        "kib" => 1024.0,
        "mb" | "megabyte" | "megabytes" | "meg" | "megs" => 1e6,
        "mib" | "mebibyte" | "mebibytes" | "mi" => 1_048_576.0,
        "gb" | "g" | "gig" | "gigs" | "gigabyte" | "gigabytes" | "gbyte" | "gbytes" => 1e9,
        "gib" | "gibibyte" | "gibibytes" | "gi" => GIB,
        "tb" | "t" | "terabyte" | "terabytes" | "tbyte" | "tbytes" => 1e12,
        "tib" | "tebibyte" | "tebibytes" | "ti" => 1024.0 * GIB,
        "pb" | "petabyte" | "petabytes" => 1e15,
        "pib" | "pebibyte" | "pebibytes" => 1_048_576.0 * GIB,
        _ => return None,
    })
}

/// Reads `80GB`, `2 TiB`, `two terabytes`, `1.5-TB` as GiB.
#[must_use]
pub fn size(reading: &Reading<'_>, at: usize) -> Read<f64> {
    let (value, next) = match (number::read(reading, at), reading.word(at), reading.word(at + 1)) {
        (Some(read), ..) => read,
        (None, "half", "a") => (0.5, at + 2),
        (None, "a" | "an", _) => (1.0, at + 1),
        _ => return None,
    };
    let unit_at = if reading.symbol(next) == Some('-') { next + 1 } else { next };
    let word = reading.word(unit_at);
    // A single letter is a unit only where it touches the number.
    if word.len() == 1 && !reading.tokens[unit_at].glued {
        return None;
    }
    let unit = size_unit(word)?;
    // "80 GB/s" is a speed.
    if reading.symbol(unit_at + 1) == Some('/') && matches!(reading.word(unit_at + 2), "s" | "sec" | "second")
    {
        return None;
    }
    Some((value * unit / GIB, unit_at + 1))
}

/// Seconds of a unit of time; one letter only where it touches the number.
fn time_unit(word: &str, glued: bool) -> Option<f64> {
    Some(match word {
        "s" | "m" if !glued => return None,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" if !glued => return None,
        "d" | "day" | "days" => 86_400.0,
        "w" if !glued => return None,
        "w" | "week" | "weeks" => 604_800.0,
        "fortnight" | "fortnights" => 1_209_600.0,
        "month" | "months" => 2_592_000.0,
        _ => return None,
    })
}

/// Reads `3 hours`, `90min`, `1h30m`, `2-hour`, `an hour and a half`, `half an hour` as seconds.
#[must_use]
pub fn duration(reading: &Reading<'_>, at: usize) -> Read<f64> {
    let (mut seconds, mut next) = one_duration(reading, at)?;
    // "1h30m", "1 hour 30 minutes", "2 hours and 15 minutes"
    for _ in 0..3 {
        let joined = reading.skip(next, &["and"]);
        let more = one_duration(reading, joined).filter(|(more, _)| *more < seconds && *more < 86_400.0);
        let Some((more, end)) = more else { break };
        // "and a half" was read with the hour before it; "30 minutes" must really be shorter.
        seconds += more;
        next = end;
    }
    Some((seconds, next))
}

fn one_duration(reading: &Reading<'_>, at: usize) -> Read<f64> {
    match reading.word(at) {
        // "half an hour", "half a day"
        "half" if matches!(reading.word(at + 1), "a" | "an") => {
            let unit = time_unit(reading.word(at + 2), false)?;
            return Some((unit / 2.0, at + 3));
        }
        "quarter" => {
            let next = reading.skip(at + 1, &["of"]);
            let next = reading.skip(next, &["a", "an"]);
            return time_unit(reading.word(next), false).map(|unit| (unit / 4.0, next + 1));
        }
        "a" | "an" if reading.word(at + 1) == "quarter" => return one_duration(reading, at + 1),
        "a" | "an" | "one" if reading.word(at + 1) == "half" => {
            return time_unit(reading.word(at + 2), false).map(|unit| (unit / 2.0, at + 3));
        }
        _ => {}
    }
    let (value, next) = match number::read(reading, at) {
        Some(read) => read,
        None if matches!(reading.word(at), "a" | "an") => (1.0, at + 1),
        // "within the hour"
        None if reading.word(at) == "the" && reading.word_before(at, 1) == "within" => (1.0, at + 1),
        None => return None,
    };
    // "2 and a half hours"
    let (value, next) = match reading.follow(next, &["and", "a", "half"]) {
        Some(after) if time_unit(reading.word(after), false).is_some() => (value + 0.5, after),
        _ => (value, next),
    };
    let next = if reading.symbol(next) == Some('-') { next + 1 } else { next };
    let next = reading.skip(next, &["full", "whole", "more"]);
    let glued = reading.tokens.get(next).is_some_and(|token| token.glued);
    let unit = time_unit(reading.word(next), glued)?;
    // "an hour and a half"
    match reading.follow(next + 1, &["and", "a", "half"]) {
        Some(after) if time_unit(reading.word(after), false).is_none() => Some(((value + 0.5) * unit, after)),
        _ => Some((value * unit, next + 1)),
    }
}

/// Reads a wall-clock length as batch systems write it: `02:00:00`, `1-12:00:00`.
#[must_use]
pub fn clock_length(reading: &Reading<'_>, at: usize) -> Read<f64> {
    let part = |at: usize| -> Option<f64> {
        let token =
            reading.free(at).filter(|token| token.kind == Kind::Number && !token.text.contains('.'))?;
        number::digits_value(token.text)
    };
    let (days, at) = match (part(at), reading.symbol(at + 1)) {
        (Some(days), Some('-')) if reading.symbol(at + 3) == Some(':') => (days, at + 2),
        _ => (0.0, at),
    };
    let (hours, minutes) = (part(at)?, part(at + 2)?);
    if reading.symbol(at + 1) != Some(':') || minutes >= 60.0 {
        return None;
    }
    let base = days * 86_400.0 + hours * 3600.0 + minutes * 60.0;
    match (reading.symbol(at + 3), part(at + 4)) {
        (Some(':'), Some(seconds)) if seconds < 60.0 => Some((base + seconds, at + 5)),
        _ => Some((base, at + 3)),
    }
}

/// A bound in words or as an operator that ends right before `at`, and where it begins. `strict`
/// tells "more than" from "at least".
#[must_use]
pub fn bound_before(reading: &Reading<'_>, at: usize) -> (Bound, bool, usize) {
    let operator = at.checked_sub(1).map_or("", |before| reading.operator(before));
    let symbolic = match operator {
        ">=" => Some((Bound::AtLeast, false)),
        ">" => Some((Bound::AtLeast, true)),
        "<=" => Some((Bound::AtMost, false)),
        "<" => Some((Bound::AtMost, true)),
        "==" | "=" | "~" => Some((Bound::Exact, false)),
        _ => None,
    };
    if let Some((bound, strict)) = symbolic {
        return (bound, strict, at - 1);
    }
    let at = if reading.word_before(at, 1) == "of" && at >= 2 { at - 1 } else { at };
    let (one, two, three) =
        (reading.word_before(at, 1), reading.word_before(at, 2), reading.word_before(at, 3));
    let found = match (three, two, one) {
        ("no" | "not", "less" | "fewer", "than") => Some((Bound::AtLeast, false, 3)),
        ("no" | "not", "more", "than") => Some((Bound::AtMost, false, 3)),
        (_, "at", "least") | (_, "a", "minimum") => Some((Bound::AtLeast, false, 2)),
        (_, "at", "most") | (_, "a", "maximum") | (_, "up", "to") => Some((Bound::AtMost, false, 2)),
        (_, "more", "than") | (_, "greater", "than") => Some((Bound::AtLeast, true, 2)),
        (_, "less" | "fewer", "than") => Some((Bound::AtMost, true, 2)),
        (_, _, "at-least" | "minimum" | "min" | "over" | "above") => Some((Bound::AtLeast, false, 1)),
        (_, _, "maximum" | "max" | "under" | "below") => Some((Bound::AtMost, false, 1)),
        (
            _,
            _,
            "exactly" | "precisely" | "about" | "around" | "roughly" | "approximately" | "approx" | "just",
        ) => Some((Bound::Exact, false, 1)),
        _ => None,
    };
    found.map_or((Bound::Exact, false, at), |(bound, strict, words)| (bound, strict, at - words))
}

/// A bound that stands behind a quantity ("3 or more", "3+", "at least"), and where it ends.
#[must_use]
pub fn bound_after(reading: &Reading<'_>, at: usize) -> Option<(Bound, usize)> {
    if reading.symbol(at) == Some('+') && reading.tokens[at].glued {
        return Some((Bound::AtLeast, at + 1));
    }
    match (reading.word(at), reading.word(at + 1)) {
        ("or", "more" | "above" | "greater" | "better" | "higher") | ("at", "least" | "minimum") => {
            Some((Bound::AtLeast, at + 2))
        }
        ("or", "less" | "fewer" | "below") | ("at", "most" | "maximum") => Some((Bound::AtMost, at + 2)),
        ("minimum" | "min", _) => Some((Bound::AtLeast, at + 1)),
        ("maximum" | "max" | "tops", _) => Some((Bound::AtMost, at + 1)),
        ("plus", _) => Some((Bound::AtLeast, at + 1)),
        _ => None,
    }
}

/// What a quantity is counted per.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// For each node.
    Node,
    /// For each core.
    Core,
    /// For each process.
    Task,
    /// For each GPU.
    Gpu,
    /// Over all nodes.
    Total,
    /// For each of what was named last ("each").
    Each,
}

/// A scope right behind a quantity: `per node`, `/node`, `each`, `in total`.
#[must_use]
pub fn per_after(reading: &Reading<'_>, at: usize) -> Option<(Per, usize)> {
    let noun = |at: usize| -> Option<(Per, usize)> {
        // "per compute node", "per CPU core", "per MPI rank"
        let adjective = matches!(reading.word(at), "compute" | "cluster" | "cpu" | "gpu" | "mpi");
        let named = matches!(reading.word(at + 1), "node" | "core" | "rank" | "task" | "process");
        let at = if adjective && named { at + 1 } else { at };
        Some(match reading.word(at) {
            "node" | "nodes" | "machine" | "machines" | "server" | "servers" | "host" | "hosts" | "box"
            | "instance" | "vm" => (Per::Node, at + 1),
            "core" | "cpu" | "vcpu" | "cpus" | "cores" | "thread" => (Per::Core, at + 1),
            "task" | "rank" | "process" | "tasks" | "ranks" | "proc" => (Per::Task, at + 1),
            "gpu" | "gpus" | "card" | "device" | "accelerator" => (Per::Gpu, at + 1),
            word if crate::lexicon::gpu_model(word).is_some() => (Per::Gpu, at + 1),
            _ => return None,
        })
    };
    if reading.symbol(at) == Some('(')
        && let Some((per, next)) = per_after(reading, at + 1)
    {
        return (reading.symbol(next) == Some(')')).then_some((per, next + 1));
    }
    if matches!(reading.symbol(at), Some('/')) {
        return noun(at + 1);
    }
    match (reading.word(at), reading.word(at + 1)) {
        ("per" | "each" | "every", _) if noun(at + 1).is_some() => noun(at + 1),
        ("a", _) => noun(at + 1),
        ("on" | "in" | "for", "each" | "every") => noun(at + 2).or(Some((Per::Each, at + 2))),
        ("each" | "apiece", _) => Some((Per::Each, at + 1)),
        ("in", "total" | "all") => Some((Per::Total, at + 2)),
        ("total" | "overall" | "altogether" | "combined", _) => Some((Per::Total, at + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_gib() {
        let gib = |text: &str| size(&Reading::new(text), 0).map(|(gib, _)| gib);
        assert_eq!(gib("80GB"), Some(80e9 / GIB));
        assert_eq!(gib("2 TiB"), Some(2048.0));
        assert_eq!(gib("two terabytes"), Some(2e12 / GIB));
        assert_eq!(gib("64G"), Some(64e9 / GIB));
        assert_eq!(gib("64Gi"), Some(64.0));
        assert_eq!(gib("64 g"), None);
        assert_eq!(gib("100 GB/s"), None);
    }

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(&Reading::new(text), 0).map(|(seconds, _)| seconds);
        for (text, expected) in [
            ("3 hours", 10_800.0),
            ("90min", 5400.0),
            ("1h30m", 5400.0),
            ("1 hour and 30 minutes", 5400.0),
            ("2-hour", 7200.0),
            ("half an hour", 1800.0),
            ("an hour and a half", 5400.0),
            ("2 and a half hours", 9000.0),
            ("a quarter of an hour", 900.0),
            ("a couple of days", 172_800.0),
            ("1.5 days", 129_600.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        assert_eq!(seconds("3 m"), None);
    }

    #[test]
    fn lengths_on_the_clock() {
        let seconds = |text: &str| clock_length(&Reading::new(text), 0).map(|(seconds, _)| seconds);
        assert_eq!(seconds("02:00:00"), Some(7200.0));
        assert_eq!(seconds("1-12:00:00"), Some(129_600.0));
        assert_eq!(seconds("12:75"), None);
    }
}
