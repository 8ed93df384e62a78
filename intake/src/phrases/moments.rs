//! When: "due in 3 hours", "by 6pm tomorrow", "start within 10 minutes", "for 2 hours".

use std::ops::Range;

use protocol::units::Timestamp;

use crate::meaning::{Meaning, Moment};
use crate::phrases::points;
use crate::quantity::{clock_length, duration};
use crate::reading::Reading;

const PAST: &str = "this time is already past";

pub fn read(reading: &mut Reading<'_>, now: Timestamp) {
    let mut at = 0;
    while at < reading.len() {
        at = node_hours(reading, at)
            .or_else(|| wall_time(reading, at))
            .or_else(|| length(reading, at))
            .or_else(|| point(reading, at, now))
            .unwrap_or(at + 1);
    }
}

/// "100 GPU hours", "500 node-hours": an amount of computing, which no field holds.
fn node_hours(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (_, next) = crate::number::read(reading, at)?;
    let one_word = matches!(
        reading.word(next),
        "node-hours"
            | "core-hours"
            | "gpu-hours"
            | "cpu-hours"
            | "node-hour"
            | "gpu-hour"
            | "core-hour"
            | "cpu-hour"
    );
    let two_words = matches!(reading.word(next), "node" | "core" | "gpu" | "cpu")
        && matches!(reading.word(next + 1), "hours" | "hour");
    let end = if one_word {
        next + 1
    } else if two_words {
        next + 2
    } else {
        return None;
    };
    reading.refuse(
        at..end,
        "an amount of computing time cannot be demanded; give the number of nodes and how long",
    );
    Some(end)
}

/// "walltime 02:00:00", "--time=2:00:00", "time limit: 1-00:00:00".
fn wall_time(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    // "01:30:00" by itself is how batch systems write a length.
    if reading.symbol(at + 1) == Some(':')
        && reading.symbol(at + 3) == Some(':')
        && !matches!(reading.any_word_before(at, 1), "at" | "by" | "before" | "until" | "than" | "due" | "on")
        && at
            .checked_sub(1)
            .is_none_or(|before| !reading.tokens[at].glued || reading.any_symbol(before) == Some('('))
        && let Some((seconds, end)) = clock_length(reading, at)
    {
        record(reading, at..end, Moment::Duration, seconds);
        return Some(end);
    }
    let next = match (reading.word(at), reading.word(at + 1)) {
        ("wall" | "run", "time" | "clock") | ("time", "limit") => at + 2,
        ("t", _) if reading.symbol(at.wrapping_sub(1)) == Some('-') && reading.tokens[at].glued => at + 1,
        (
            "walltime" | "wall-time" | "wallclock" | "runtime" | "time" | "timelimit" | "time_limit"
            | "duration",
            _,
        ) => at + 1,
        _ => return None,
    };
    let next = reading.skip(
        next,
        &[
            "limit",
            "of",
            "is",
            "time",
            "at",
            "most",
            "about",
            "around",
            "max",
            "maximum",
            "under",
            "up",
            "to",
            "requested",
        ],
    );
    let value = if reading.operator(next).is_empty() { reading.skip_symbol(next, ":") } else { next + 1 };
    let flag = reading.symbol(at.wrapping_sub(1)) == Some('-');
    let (seconds, end) = clock_length(reading, value).or_else(|| duration(reading, value))?;
    let explicit = value > at + 1 || flag || !matches!(reading.word(at), "time");
    if !explicit {
        return None;
    }
    let mut start = at;
    while reading.symbol(start.wrapping_sub(1)) == Some('-')
        || matches!(reading.word_before(start, 1), "max" | "maximum" | "expected" | "estimated")
    {
        start -= 1;
    }
    record(reading, start..end, Moment::Duration, seconds);
    Some(end)
}

fn record(reading: &mut Reading<'_>, tokens: Range<usize>, moment: Moment, seconds: f64) {
    reading.find(tokens, Meaning::Time(moment, seconds));
}

/// Words in front of a length of time that bound it.
const BOUNDS: &[&str] = &[
    "about",
    "around",
    "roughly",
    "approximately",
    "at",
    "most",
    "no",
    "more",
    "than",
    "less",
    "under",
    "up",
    "to",
    "max",
    "maximum",
    "the",
    "next",
    "over",
    "longer",
    "later",
    "not",
    "a",
    "of",
    "is",
    "just",
    "only",
    "exactly",
    "nearly",
    "almost",
    "approx",
    "another",
    "coming",
    "following",
    "be",
    "within",
    "least",
];

/// A length of time; the words around it say what it is the length of.
fn length(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (seconds, next) = duration(reading, at)?;
    if matches!(reading.word_before(at, 1), "every" | "last" | "past" | "previous")
        || reading.word(next) == "ago"
    {
        return None;
    }
    let mut lead = range_start(reading, at);
    while lead > 0
        && (BOUNDS.contains(&reading.word(lead - 1))
            || !reading.operator(lead - 1).is_empty()
            || reading.symbol(lead - 1) == Some(':'))
    {
        lead -= 1;
    }
    let bounds: Vec<&str> = (lead..at).map(|at| reading.word(at)).collect();
    let within = bounds.contains(&"within") || bounds.contains(&"next");
    if let Some(found) = behind(reading, lead, next, at) {
        let (moment, tokens) = found;
        let end = tokens.end;
        record(reading, tokens, moment, seconds);
        return Some(end);
    }
    let (moment, start) =
        before(reading, lead, within, bounds.contains(&"under") || bounds.contains(&"less"));
    let start = start.unwrap_or_else(|| if bounds.is_empty() { at } else { trimmed(reading, lead, at) });
    let end = reading.skip(next, &["from", "now", "max", "maximum", "tops", "total"]);
    let end = if reading.word(next) == "from" && reading.word(next + 1) != "now" { next } else { end };
    let starts_behind = (next..next + 6)
        .take_while(|at| !reading.is_break(*at))
        .any(|at| matches!(reading.word(at), "start" | "begin" | "launch" | "starting"));
    let moment = if within && starts_behind && moment == Moment::Deadline { Moment::StartBy } else { moment };
    let moment = if reading.word(next) == "from" && end > next && moment == Moment::Duration {
        Moment::Deadline
    } else {
        moment
    };
    record(reading, start..end, moment, seconds);
    Some(end)
}

/// "2-3 hours", "between 2 and 3 hours": where the range begins. Its upper end is what it may come to.
fn range_start(reading: &Reading<'_>, at: usize) -> usize {
    let joins = matches!(reading.word_before(at, 1), "and" | "to" | "or")
        || at > 0 && matches!(reading.symbol(at - 1), Some('-' | '\u{2013}'));
    let low = at
        .checked_sub(2)
        .filter(|low| joins && crate::number::read(reading, *low).is_some_and(|(_, next)| next == at - 1));
    match low {
        Some(low) if matches!(reading.word_before(low, 1), "between" | "from") => low - 1,
        // Without "between", an "and" joins two demands.
        Some(low) if reading.word_before(at, 1) != "and" => low,
        _ => at,
    }
}

/// Leaves words such as "a" and "the" in front of a span alone.
fn trimmed(reading: &Reading<'_>, lead: usize, at: usize) -> usize {
    (lead..at)
        .find(|at| {
            let is_number = reading.free(*at).is_some_and(|token| token.kind == crate::token::Kind::Number);
            is_number || !matches!(reading.word(*at), "the" | "a" | "is" | "be" | "of" | "to" | "")
        })
        .unwrap_or(at)
}

/// What the words behind a length make of it.
fn behind(reading: &Reading<'_>, lead: usize, next: usize, at: usize) -> Option<(Moment, Range<usize>)> {
    let start = trimmed(reading, lead, at);
    match (reading.word(next), reading.word(next + 1)) {
        ("deadline", _) => Some((Moment::Deadline, start..next + 1)),
        ("until" | "before" | "till", "the" | "deadline" | "it" | "submission")
            if reading.word(next + 1) == "deadline" || reading.word(next + 2) == "deadline" =>
        {
            Some((
                Moment::Deadline,
                start
                    ..reading.skip(next, &["until", "before", "till", "the", "my", "submission", "deadline"]),
            ))
        }
        ("to", "finish" | "complete" | "deadline") if reading.word_before(lead, 1) == "have" => {
            Some((Moment::Deadline, start..next + 2))
        }
        ("left", _) => Some((Moment::Deadline, start..next + 1)),
        (
            "long" | "runtime" | "walltime" | "job" | "run" | "simulation" | "session" | "reservation"
            | "allocation" | "slot",
            _,
        ) => Some((Moment::Duration, start..next + 1)),
        (
            "of",
            "runtime" | "walltime" | "compute" | "computing" | "run" | "wall" | "work" | "computation"
            | "training",
        ) => {
            let end = reading.skip(
                next + 1,
                &[
                    "runtime",
                    "walltime",
                    "compute",
                    "computing",
                    "run",
                    "wall",
                    "time",
                    "work",
                    "computation",
                    "training",
                ],
            );
            Some((Moment::Duration, start..end))
        }
        _ => None,
    }
}

/// What the words in front of a length make of it, and where they begin.
fn before(reading: &Reading<'_>, lead: usize, within: bool, under: bool) -> (Moment, Option<usize>) {
    let mut at = lead;
    let mut preposition = "";
    while let word @ ("in" | "within" | "for" | "by" | "after" | "it" | "this" | "them" | "that" | "results"
    | "everything") = reading.word_before(at, 1)
    {
        if matches!(word, "in" | "within" | "for" | "by" | "after") {
            preposition = match word {
                "in" | "within" => "in",
                "for" => "for",
                _ => "by",
            };
        }
        at -= 1;
    }
    let one = reading.word_before(at, 1);
    let two = reading.word_before(at, 2);
    let started = |word: &str| {
        matches!(
            word,
            "start"
                | "starts"
                | "started"
                | "starting"
                | "begin"
                | "begins"
                | "beginning"
                | "launch"
                | "launched"
                | "launches"
                | "kick"
                | "queue"
                | "queued"
                | "queueing"
                | "wait"
                | "waiting"
                | "waits"
                | "pending"
        )
    };
    let ended = |word: &str| {
        matches!(
            word,
            "due"
                | "deadline"
                | "done"
                | "finish"
                | "finished"
                | "finishes"
                | "finishing"
                | "complete"
                | "completed"
                | "completes"
                | "completing"
                | "completion"
                | "ready"
                | "result"
                | "answer"
                | "needed"
                | "need"
                | "back"
                | "delivered"
                | "over"
                | "end"
                | "ends"
                | "ended"
                | "turnaround"
                | "have"
                | "closes"
                | "submit"
                | "submission"
                | "available"
        )
    };
    let lasted = |word: &str| {
        matches!(
            word,
            "take"
                | "takes"
                | "taking"
                | "last"
                | "lasts"
                | "lasting"
                | "run"
                | "runs"
                | "running"
                | "runtime"
                | "walltime"
                | "duration"
                | "length"
        )
    };
    let sign = |at: usize| at;
    if started(one) && (preposition != "for" || matches!(one, "wait" | "queue")) {
        return (Moment::StartBy, Some(sign(at - 1)));
    }
    if one == "time" && matches!(two, "wait" | "queue" | "waiting" | "queueing" | "start") {
        return (Moment::StartBy, Some(at - 2));
    }
    if matches!(one, "delay") && matches!(two, "start" | "queue") {
        return (Moment::StartBy, Some(at - 2));
    }
    if ended(one) && preposition != "for" {
        return (Moment::Deadline, Some(at - 1));
    }
    if one == "time" && matches!(two, "run" | "wall" | "execution" | "compute") {
        return (Moment::Duration, Some(at - 2));
    }
    if lasted(one) && preposition != "in" && !within {
        return (
            Moment::Duration,
            Some(if preposition.is_empty() && matches!(one, "run" | "running") { lead } else { at - 1 }),
        );
    }
    match preposition {
        "for" => (Moment::Duration, Some(lead - usize::from(reading.word_before(lead, 1) == "for"))),
        "in" | "by" => (Moment::Deadline, Some(at.max(lead.saturating_sub(1)))),
        _ if within => (Moment::Deadline, None),
        _ if under && matches!(one, "in") => (Moment::Deadline, None),
        _ => (Moment::Duration, None),
    }
}

/// "by 6pm tomorrow", "before Friday", "due tomorrow", "start by 18:00".
fn point(reading: &mut Reading<'_>, at: usize, now: Timestamp) -> Option<usize> {
    let word = reading.word(at);
    let (moment, mut next) = match word {
        "by" | "before" | "until" | "till" => (Moment::Deadline, at + 1),
        "due" => (Moment::Deadline, reading.skip(at + 1, &["on", "at", "by", "is", "before"])),
        "deadline" => (Moment::Deadline, reading.skip(at + 1, &["is", "on", "at", "of", "by", "tomorrow's"])),
        "no" | "not" if reading.follow(at + 1, &["later", "than"]).is_some() => (Moment::Deadline, at + 3),
        "tomorrow" | "today" | "tonight" | "friday" | "monday" | "tuesday" | "wednesday" | "thursday"
        | "saturday" | "sunday" | "this" | "eod" => {
            return bare_day(reading, at, now);
        }
        "at" | "after" | "from" => return late_start(reading, at, now),
        _ => return None,
    };
    if word == "deadline" {
        next = reading.skip_symbol(next, ":");
    }
    let (seconds, end) = points::read(reading, next, now)?;
    if matches!(word, "before" | "until" | "till") && reading.word_before(at, 1) == "not" {
        reading.refuse(at - 1..end, "an earliest start cannot be demanded");
        return Some(end);
    }
    let mut start = at;
    let mut moment = moment;
    for back in 1..=3 {
        match reading.word_before(at, back) {
            "start" | "starts" | "started" | "starting" | "begin" | "begins" | "beginning" | "launched"
            | "launch" | "kick" | "running" => {
                moment = Moment::StartBy;
                start = at - back;
                break;
            }
            "done" | "finish" | "finished" | "finishes" | "complete" | "completed" | "ready" | "due"
            | "needed" | "need" | "results" | "back" | "deadline" | "over" | "ended" | "delivered" => {
                start = at - back;
                break;
            }
            "be" | "it" | "this" | "must" | "is" | "to" | "has" | "off" | "them" => {}
            _ => break,
        }
    }
    if seconds <= 0.0 {
        reading.refuse(start..end, PAST);
    } else {
        record(reading, start..end, moment, seconds);
    }
    Some(end)
}

/// "need it tomorrow", "results today", "run it tonight".
fn bare_day(reading: &mut Reading<'_>, at: usize, now: Timestamp) -> Option<usize> {
    let (seconds, end) = points::read(reading, at, now)?;
    let mut start = at;
    let mut moment = None;
    for back in 1..=5 {
        match reading.word_before(at, back) {
            "due" | "need" | "needed" | "results" | "finish" | "finished" | "done" | "ready" | "deadline"
            | "complete" | "completed" | "back" => {
                moment = Some(Moment::Deadline);
                start = at - back;
                break;
            }
            "start" | "starts" | "starting" | "run" | "begin" | "launch" | "execute" | "go" | "started" => {
                moment = Some(Moment::StartBy);
                start = at - back;
                break;
            }
            "" => break,
            _ => {}
        }
    }
    // "2 hours, tonight": a day by itself is when it runs; "the demo is tomorrow" is when it is over.
    let is_event = matches!(reading.any_word_before(at, 1), "is" | "are");
    let moment = moment.unwrap_or(if is_event { Moment::Deadline } else { Moment::StartBy });
    // "run lammps today" has the package between; only the day is the time's.
    let start =
        if moment == Moment::StartBy || (start..at).any(|at| !reading.is_free(at)) { at } else { start };
    if seconds <= 0.0 {
        reading.refuse(start..end, PAST);
    } else {
        record(reading, start..end, moment, seconds);
    }
    Some(end)
}

/// "start at 6pm", "not before Monday": an earliest start, which no field holds.
fn late_start(reading: &mut Reading<'_>, at: usize, now: Timestamp) -> Option<usize> {
    let starts = (1..=3).any(|back| {
        matches!(reading.word_before(at, back), "start" | "starts" | "starting" | "begin" | "run" | "launch")
    });
    let (seconds, end) = points::read(reading, at + 1, now)?;
    if reading.word(at) == "at" && !starts {
        let due = (1..=3).any(|back| {
            matches!(reading.word_before(at, back), "due" | "deadline" | "closes" | "submission")
        });
        if due && seconds > 0.0 {
            record(reading, at..end, Moment::Deadline, seconds);
            return Some(end);
        }
        return None;
    }
    reading.refuse(at..end, "an earliest start cannot be demanded");
    Some(end)
}
