//! Points in time: "6pm tomorrow", "noon", "Friday 18:00", "2026-11-21", "end of the week", all in
//! UTC unless a zone is named.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp as Instant, ToSpan};
use protocol::units::Timestamp;

use crate::reading::Reading;
use crate::token::Kind;

/// The clock time of a day's end.
const DAY_END: ClockTime = ClockTime { seconds: 86_400 };

/// Seconds since midnight; 86,400 is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClockTime {
    seconds: i64,
}

/// Reads a point in time at `at`: seconds from `now` until it (negative when it is past), and the
/// position behind it.
#[must_use]
pub fn read(reading: &Reading<'_>, at: usize, now: Timestamp) -> Option<(f64, usize)> {
    let now = Instant::from_millisecond(now.as_millis()).ok()?;
    let today = now.to_zoned(TimeZone::UTC).datetime();
    let at = reading.skip(at, &["the", "on", "at", "about", "around", "roughly"]);
    if let Some((instant, end)) = stamp(reading, at) {
        return Some((seconds_between(now, instant), end));
    }
    let (date, clock, end, offset) = day_and_clock(reading, at, today)?;
    let seconds = |date: Date| -> Option<f64> {
        let midnight = DateTime::from_parts(date, Time::midnight());
        let instant = offset.to_timestamp(midnight).ok()?;
        #[expect(clippy::cast_precision_loss, reason = "at most a day of seconds")]
        Some(seconds_between(now, instant) + clock.seconds as f64)
    };
    let value = match date {
        Some(date) => seconds(date)?,
        // A bare clock time is the next one.
        None => {
            let first = seconds(today.date())?;
            if first > 0.0 { first } else { seconds(today.date().tomorrow().ok()?)? }
        }
    };
    Some((value, end))
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for any time within 285,000 years")]
    let millis = (to.as_millisecond() - from.as_millisecond()) as f64;
    millis / 1000.0
}

type DayAndClock = (Option<Date>, ClockTime, usize, Offset);

/// A day, a clock time, or both in either order.
fn day_and_clock(reading: &Reading<'_>, at: usize, now: DateTime) -> Option<DayAndClock> {
    if let Some((clock, offset, next)) = clock(reading, at) {
        let on = reading.skip(reading.skip_symbol(next, ","), &["on", "of"]);
        return Some(match day(reading, on, now) {
            Some((date, _, end)) => (Some(date), clock, end, offset),
            None => (None, clock, next, offset),
        });
    }
    let (date, part_end, next) = day(reading, at, now)?;
    let with = reading.skip(reading.skip_symbol(next, ","), &["at", "by", "around", "before"]);
    Some(match clock(reading, with) {
        Some((clock, offset, end)) => (Some(date), clock, end, offset),
        None => (Some(date), part_end, next, Offset::UTC),
    })
}

/// A day, and the clock time at which the named part of it ends.
fn day(reading: &Reading<'_>, at: usize, now: DateTime) -> Option<(Date, ClockTime, usize)> {
    let at = reading.skip(at, &["the", "coming"]);
    let today = now.date();
    let ahead = |days: i32| today.checked_add(days.days()).ok();
    let part = |at: usize| match reading.word(at) {
        "morning" => (ClockTime { seconds: 43_200 }, at + 1),
        "noon" | "lunch" | "lunchtime" | "midday" => (ClockTime { seconds: 43_200 }, at + 1),
        "afternoon" => (ClockTime { seconds: 64_800 }, at + 1),
        "evening" | "night" => (DAY_END, at + 1),
        _ => (DAY_END, at),
    };
    let (date, next) = match (reading.word(at), reading.word(at + 1)) {
        ("today", _) => (today, at + 1),
        ("tonight", _) => return Some((today, DAY_END, at + 1)),
        ("tomorrow", _) => (ahead(1)?, at + 1),
        ("this", "morning" | "afternoon" | "evening") => (today, at + 1),
        ("day", "after") if reading.word(at + 2) == "tomorrow" => (ahead(2)?, at + 3),
        ("end", "of") => return period_end(reading, at + 2, today),
        ("eod" | "cob", "tomorrow") => return Some((ahead(1)?, DAY_END, at + 2)),
        ("eod" | "cob", word) if weekday(word).is_some() => {
            return Some((ahead(days_until(today, weekday(word)?))?, DAY_END, at + 2));
        }
        ("eod" | "cob", _) => return Some((today, DAY_END, reading.skip(at + 1, &["today"]))),
        ("eow", _) => return Some((week_end(today)?, DAY_END, at + 1)),
        ("next" | "this", word) if weekday(word).is_some() => {
            (ahead(days_until(today, weekday(word)?))?, at + 2)
        }
        ("next", "week") => return Some((ahead(7)?, DAY_END, at + 2)),
        (word, _) if weekday(word).is_some() => (ahead(days_until(today, weekday(word)?))?, at + 1),
        _ => {
            return calendar_date(reading, at, today).map(|(date, next)| {
                let (clock, next) = part(next);
                (date, clock, next)
            });
        }
    };
    let (clock, next) = part(next);
    Some((date, clock, next))
}

fn period_end(reading: &Reading<'_>, at: usize, today: Date) -> Option<(Date, ClockTime, usize)> {
    let at = reading.skip(at, &["the", "this", "my", "business", "working"]);
    let date = match reading.word(at) {
        "day" | "today" => today,
        "tomorrow" => today.tomorrow().ok()?,
        "week" => week_end(today)?,
        "month" => today.last_of_month(),
        "year" => today.last_of_year(),
        _ => return None,
    };
    Some((date, DAY_END, at + 1))
}

/// The Sunday that ends the week of a day.
fn week_end(today: Date) -> Option<Date> {
    let days = 7 - i32::from(today.weekday().to_monday_one_offset());
    today.checked_add(days.days()).ok()
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// Days until the next such weekday; the one of today is a week away.
fn days_until(today: Date, weekday: Weekday) -> i32 {
    let days = i32::from(today.weekday().until(weekday));
    if days == 0 { 7 } else { days }
}

fn month(word: &str) -> Option<i8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.trim_end_matches('.');
    let index = NAMES.iter().position(|name| *name == word || word.len() >= 3 && name.starts_with(word))?;
    i8::try_from(index + 1).ok()
}

/// `2026-11-21`, `21 November 2026`, `Nov 21st`; without a year the next such day.
fn calendar_date(reading: &Reading<'_>, at: usize, today: Date) -> Option<(Date, usize)> {
    let integer = |at: usize| -> Option<i16> {
        let token = reading.free(at).filter(|token| token.kind == Kind::Number)?;
        token.text.parse().ok()
    };
    let iso = reading.symbol(at + 1) == Some('-') && reading.symbol(at + 3) == Some('-');
    if iso && let (Some(year), Some(month), Some(day)) = (integer(at), integer(at + 2), integer(at + 4)) {
        let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        return Some((date, at + 5));
    }
    if let Some(found) = dotted_date(reading, at) {
        return Some(found);
    }
    let ordinal = |at: usize| -> Option<(i8, usize)> {
        let day = i8::try_from(integer(at)?).ok()?;
        Some((
            day,
            if matches!(reading.glued_word(at + 1), "st" | "nd" | "rd" | "th") { at + 2 } else { at + 1 },
        ))
    };
    let (day, month, next) = if let Some(month) = month(reading.word(at)) {
        let (day, next) = ordinal(at + 1)?;
        (day, month, next)
    } else {
        let (day, next) = ordinal(at)?;
        let next = reading.skip(next, &["of"]);
        (day, month(reading.word(next))?, next + 1)
    };
    let after = reading.skip_symbol(next, ",");
    if let Some(year) = integer(after).filter(|year| (1970..=9998).contains(year)) {
        return Some((Date::new(year, month, day).ok()?, after + 1));
    }
    let this_year = Date::new(today.year(), month, day).ok()?;
    let date = if this_year >= today { this_year } else { Date::new(today.year() + 1, month, day).ok()? };
    Some((date, next))
}

/// `30.11.2026`, and `30/11/2026` or `11/30/2026` where only one reading gives a month.
fn dotted_date(reading: &Reading<'_>, at: usize) -> Option<(Date, usize)> {
    let text = reading.free(at).filter(|token| token.kind == Kind::Number)?.text;
    let (first, second, year, end) = if reading.symbol(at + 1) == Some('/')
        && reading.symbol(at + 3) == Some('/')
    {
        let part =
            |at: usize| reading.free(at).filter(|token| token.kind == Kind::Number).map(|token| token.text);
        (text, part(at + 2)?, part(at + 4)?, at + 5)
    } else {
        let mut parts = text.split('.');
        let found = (parts.next()?, parts.next()?, parts.next()?, at + 1);
        if parts.next().is_some() {
            return None;
        }
        found
    };
    let is_dotted = end == at + 1;
    let (first, second): (i8, i8) = (first.parse().ok()?, second.parse().ok()?);
    let (day, month) = match (first > 12, second > 12) {
        (true, false) => (first, second),
        (false, true) if !is_dotted => (second, first),
        (false, false) if is_dotted || first == second => (first, second),
        _ => return None,
    };
    let year = year.parse().ok().filter(|year| (1970..=9998).contains(year))?;
    Some((Date::new(year, month, day).ok()?, end))
}

/// `6pm`, `6:30 pm`, `18:00`, `noon`, `midnight`, with a zone behind it.
fn clock(reading: &Reading<'_>, at: usize) -> Option<(ClockTime, Offset, usize)> {
    match reading.word(at) {
        "noon" | "midday" => return Some(zoned(reading, ClockTime { seconds: 43_200 }, at + 1)),
        "midnight" => return Some(zoned(reading, DAY_END, at + 1)),
        _ => {}
    }
    let part = |at: usize| -> Option<i64> {
        let token = reading.free(at).filter(|token| token.kind == Kind::Number && token.text.len() <= 2)?;
        token.text.parse().ok()
    };
    let (hour, minutes, seconds, next) = match (part(at), reading.symbol(at + 1), part(at + 2)) {
        (Some(hour), Some(':'), Some(minutes)) => match (reading.symbol(at + 3), part(at + 4)) {
            (Some(':'), Some(seconds)) => (hour, minutes, seconds, at + 5),
            _ => (hour, minutes, 0, at + 3),
        },
        (Some(hour), ..) => (hour, 0, 0, at + 1),
        // "6.30pm"
        _ => {
            let text = reading.free(at).filter(|token| token.kind == Kind::Number)?.text;
            let (hour, minutes) = text.split_once('.')?;
            let half = matches!(reading.word(at + 1), "am" | "pm");
            (hour.parse().ok().filter(|_| half)?, minutes.parse().ok()?, 0, at + 1)
        }
    };
    let has_minutes = next > at + 1;
    let (hour, next) = match (reading.word(next), reading.symbol(next + 1)) {
        ("am" | "a.m", _) if (1..=12).contains(&hour) => (hour % 12, next + 1),
        ("pm" | "p.m", _) if (1..=12).contains(&hour) => (hour % 12 + 12, next + 1),
        ("in", _) if reading.word(next + 1) == "the" && (1..=12).contains(&hour) => {
            match reading.word(next + 2) {
                "morning" => (hour % 12, next + 3),
                "afternoon" | "evening" => (hour % 12 + 12, next + 3),
                _ => return None,
            }
        }
        ("o'clock", _) if hour <= 24 => (hour, next + 1),
        ("h" | "hrs", _) if !has_minutes && hour <= 24 && reading.tokens[next].glued && hour > 12 => {
            (hour, next + 1)
        }
        _ if has_minutes => (hour, next),
        _ => return None,
    };
    let in_range = (0..=24).contains(&hour) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    let seconds = hour * 3600 + minutes * 60 + seconds;
    (in_range && seconds <= 86_400).then(|| zoned(reading, ClockTime { seconds }, next))
}

/// Zones that people name by letters; all others are read as UTC and stay in the text.
fn zoned(reading: &Reading<'_>, clock: ClockTime, at: usize) -> (ClockTime, Offset, usize) {
    let minutes = match reading.word(at) {
        "utc" | "gmt" | "z" | "zulu" | "wet" => 0,
        "bst" | "cet" | "west" => 60,
        "cest" | "eet" => 120,
        "eest" | "msk" => 180,
        "ist" => 330,
        "jst" | "kst" => 540,
        "aest" => 600,
        "est" | "cdt" => -300,
        "edt" => -240,
        "cst" | "mdt" => -360,
        "mst" | "pdt" => -420,
        "pst" => -480,
        _ => return (clock, Offset::UTC, at),
    };
    (clock, Offset::from_seconds(minutes * 60).unwrap_or(Offset::UTC), at + 1)
}

/// A time stamp as programs write it: `2026-11-21T18:00:00Z`, `2026-11-21 18:00+01:00`.
fn stamp(reading: &Reading<'_>, at: usize) -> Option<(Instant, usize)> {
    let first = reading.free(at).filter(|token| token.kind == Kind::Number && token.text.len() == 4)?;
    let rest = &reading.text[first.byte..];
    let length = rest
        .char_indices()
        .take(40)
        .find(|(_, c)| !(c.is_ascii_digit() || "-:.TZtz+".contains(*c)))
        .map_or(rest.len().min(40), |(at, _)| at);
    let text = rest.get(..length)?.trim_end_matches(['.', ':', '-']);
    let instant: Instant = text.parse().ok().or_else(|| {
        let civil: DateTime = text.contains(['T', 't']).then(|| text.parse().ok()).flatten()?;
        Offset::UTC.to_timestamp(civil).ok()
    })?;
    let stop = first.byte + text.len();
    let end = (at + 1..reading.len()).find(|end| reading.tokens[*end].byte >= stop).unwrap_or(reading.len());
    Some((instant, end))
}
