//! What it may cost: "$40", "40 dollars", "under 5 USD", "budget of 1.5k".

use crate::meaning::Meaning;
use crate::number;
use crate::quantity::{bound_after, bound_before};
use crate::reading::Reading;

const BUDGET_WORDS: &[&str] =
    &["budget", "cost", "costs", "price", "spend", "spending", "pay", "cap", "ceiling", "limit"];

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = amount(reading, at)
            .or_else(|| bare_budget(reading, at))
            .or_else(|| free(reading, at))
            .unwrap_or(at + 1);
    }
}

fn currency_word(word: &str) -> Option<f64> {
    Some(match word {
        "dollar" | "dollars" | "usd" | "bucks" | "buck" => 1.0,
        "cent" | "cents" => 0.01,
        _ => return None,
    })
}

fn is_foreign(word: &str) -> bool {
    matches!(
        word,
        "eur"
            | "euro"
            | "euros"
            | "gbp"
            | "pound"
            | "pounds"
            | "quid"
            | "chf"
            | "francs"
            | "yen"
            | "jpy"
            | "cny"
            | "yuan"
            | "rupees"
            | "cad"
            | "aud"
    )
}

/// An amount with its currency: `$40`, `US$ 40`, `40$`, `40 dollars`, `USD 40`.
fn amount(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let us = matches!(reading.word(at), "us" | "usd" | "a") && reading.symbol(at + 1) == Some('$');
    let sign = if us { at + 1 } else { at };
    if reading.symbol(sign) == Some('$')
        || reading.word(at) == "usd" && number::read(reading, at + 1).is_some()
    {
        let (value, mut next) = number::read(reading, sign + 1)?;
        let mut value = value;
        if reading.glued_word(next) == "m" {
            value *= 1e6;
            next += 1;
        }
        next = reading.skip(next, &["usd", "dollars", "us"]);
        return Some(record(reading, at, next, value));
    }
    if reading.symbol(at).is_some_and(|c| "\u{20ac}\u{a3}\u{a5}\u{20b9}".contains(c)) {
        let (_, next) = number::read(reading, at + 1)?;
        reading.refuse(at..next, "a budget is in US dollars");
        return Some(next);
    }
    let (value, next) = number::read(reading, at)?;
    if reading.symbol(next) == Some('$') {
        return Some(record(reading, at, next + 1, value));
    }
    if reading.symbol(next).is_some_and(|c| "\u{20ac}\u{a3}\u{a5}".contains(c))
        || is_foreign(reading.word(next))
    {
        reading.refuse(at..next + 1, "a budget is in US dollars");
        return Some(next + 1);
    }
    let unit = reading.skip(next, &["us", "american"]);
    let factor = currency_word(reading.word(unit))?;
    Some(record(reading, at, unit + 1, value * factor))
}

/// "budget 40", "budget: 40", "max cost of 25".
fn bare_budget(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    if !matches!(reading.word(at), "budget" | "budget_usd" | "max_cost" | "cost" | "price") {
        return None;
    }
    let plain = matches!(reading.word(at), "cost" | "price");
    let mut next = reading.skip(
        at + 1,
        &[
            "of", "is", "at", "most", "max", "maximum", "limit", "cap", "about", "up", "to", "under",
            "below", "limited",
        ],
    );
    next = match (reading.operator(next), reading.symbol(next)) {
        ("=" | "<=" | "<" | "==", _) | (_, Some(':')) => next + 1,
        _ if plain && next == at + 1 => return None,
        _ => next,
    };
    let (value, end) = number::read(reading, next)?;
    let is_money = reading.is_break(end)
        || matches!(reading.word(end), "" | "and" | "for" | "max" | "total" | "at" | "with" | "on");
    let shares = reading.symbol(end) == Some('%');
    (is_money && !shares).then(|| {
        reading.find(at..end, Meaning::Budget(value));
        end
    })
}

/// "for free", "free of charge", "at no cost".
fn free(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let end = reading
        .follow(at, &["for", "free"])
        .or_else(|| reading.follow(at, &["free", "of", "charge"]))
        .or_else(|| reading.follow(at, &["at", "no", "cost"]))
        .or_else(|| reading.follow(at, &["costs", "nothing"]))?;
    reading.find(at..end, Meaning::Budget(0.0));
    Some(end)
}

/// Records an amount, unless it is a rate, together with the words that make it a budget.
fn record(reading: &mut Reading<'_>, amount: usize, end: usize, value: f64) -> usize {
    let unit_at = match (reading.symbol(end), reading.word(end)) {
        (Some('/'), _) => Some(end + 1),
        (_, "per" | "an" | "a" | "each" | "every") => Some(end + 1),
        _ => None,
    };
    let is_rate = unit_at.is_some_and(|at| {
        matches!(
            reading.word(at),
            "hour"
                | "hr"
                | "h"
                | "day"
                | "node"
                | "core"
                | "gpu"
                | "node-hour"
                | "core-hour"
                | "gpu-hour"
                | "month"
                | "minute"
                | "run"
                | "job"
        )
    });
    if let Some(unit) = unit_at.filter(|_| is_rate) {
        if matches!(reading.word(unit), "run" | "job") {
            reading.find(amount..unit + 1, Meaning::Budget(value));
        } else {
            reading.refuse(
                amount..unit + 1,
                "a price per unit cannot be demanded; give the budget for the whole",
            );
        }
        return unit + 1;
    }
    let (_, _, mut start) = bound_before(reading, amount);
    for _ in 0..4 {
        let Some(before) = start.checked_sub(1) else { break };
        let word = reading.word(before);
        let is_sign = reading.symbol(before) == Some(':') || reading.operator(before) == "=";
        let carries_on = matches!(
            word,
            "of" | "is" | "a" | "for" | "my" | "total" | "our" | "the" | "to" | "me" | "most" | "than"
        ) || is_sign;
        if BUDGET_WORDS.contains(&word) {
            start = before;
            break;
        }
        let budget_ahead = (1..=4)
            .any(|back| before.checked_sub(back).is_some_and(|at| BUDGET_WORDS.contains(&reading.word(at))));
        if !carries_on || !budget_ahead {
            break;
        }
        start = before;
    }
    let mut end = bound_after(reading, end).map_or(end, |(_, next)| next);
    end = reading.skip(end, &["budget", "total", "limit", "cap"]);
    let value = if value >= 0.0 { value } else { 0.0 };
    reading.find(start..end, Meaning::Budget(value));
    end
}
