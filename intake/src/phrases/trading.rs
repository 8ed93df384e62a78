//! Backtests: "backtest an SMA crossover on prices.csv, fast 20 slow 100, fee 0.1%, with $50,000".

use protocol::job::{BacktestSpec, Costs, DataRef, FillRule, JobSpec, Portfolio, Strategy};
use protocol::units::Number;

use crate::meaning::Meaning;
use crate::number;
use crate::phrases::experiments::{Detail, column_at, data_paths, record_job};
use crate::reading::Reading;
use crate::token::Kind;

const TRIGGERS: &[&str] = &["backtest", "backtests", "backtesting", "backtested", "backtester"];

/// Strategies that people ask for and that do not exist here.
const OTHER_STRATEGIES: &[&str] = &[
    "rsi",
    "macd",
    "momentum",
    "mean-reversion",
    "bollinger",
    "pairs",
    "ema",
    "wma",
    "breakout",
    "donchian",
    "turtle",
    "arbitrage",
    "grid",
    "martingale",
    "stochastic",
    "ichimoku",
    "vwap",
    "scalping",
    "dca",
    "reversion",
    "trend-following",
    "carry",
    "ml",
    "options",
    "straddle",
];

pub fn read(reading: &mut Reading<'_>) {
    let Some((at, trigger_end)) = trigger(reading) else { return };
    let mut details = Vec::new();
    if trigger_end > at {
        details.push(Detail { tokens: at..trigger_end, path: "job.kind".to_owned() });
    }
    reading.take(at..trigger_end);
    let strategy = strategy(reading, &mut details);
    let mut data = DataRef::default();
    data_paths(reading, &mut data, &mut details);
    column_at(reading, &["column", "prices", "price"], &mut details)
        .into_iter()
        .for_each(|name| data.target = Some(name));
    let spec = BacktestSpec {
        data,
        strategy: strategy.clone().unwrap_or_default(),
        portfolio: portfolio(reading, &mut details),
        costs: costs(reading, &mut details),
        fill: fill(reading, &mut details),
        annualisation: annualisation(reading, &mut details),
    };
    if strategy.is_none() && refuse_other_strategy(reading) {
        // Another strategy than the one that was asked for must never run in its place.
        for detail in details {
            reading.find(detail.tokens, Meaning::JobDetail(detail.path));
        }
        reading.find_pieces(Vec::new(), Meaning::Missing("job.spec.strategy"));
        return;
    }
    let missing: &[&str] = if spec.data.uri.is_empty() { &["job.spec.data.uri"] } else { &[] };
    record_job(reading, JobSpec::Backtest(spec), details, missing);
}

fn trigger(reading: &Reading<'_>) -> Option<(usize, usize)> {
    let said = (0..reading.len()).find_map(|at| {
        if TRIGGERS.contains(&reading.word(at)) {
            return Some((at, at + 1));
        }
        let split =
            reading.word(at) == "back" && matches!(reading.word(at + 1), "test" | "testing" | "tests");
        split.then_some((at, at + 2))
    });
    // "buy and hold on prices.csv" is one without the word.
    said.or_else(|| {
        let has_prices = reading.tokens.iter().enumerate().any(|(at, token)| {
            token.kind == Kind::Path
                && reading.is_free(at)
                && [".csv", ".parquet"].iter().any(|end| token.text.ends_with(end))
        });
        let named =
            |at: usize| buy_and_hold(reading, at).or_else(|| crossover(reading, at).map(|(next, _)| next));
        (0..reading.len()).filter(|_| has_prices).find_map(|at| named(at).map(|_| (at, at)))
    })
}

fn strategy(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> Option<Strategy> {
    for at in 0..reading.len() {
        if let Some(next) = buy_and_hold(reading, at) {
            push(reading, details, at..next, "job.spec.strategy");
            return Some(Strategy::BuyAndHold);
        }
        let Some((next, default)) = crossover(reading, at) else { continue };
        let behind = windows(reading, next).or_else(|| named_windows(reading));
        let before = windows_before(reading, at);
        push(reading, details, at..next, "job.spec.strategy");
        let (fast, slow) = match behind.or(before) {
            Some((tokens, fast, slow)) => {
                for range in tokens {
                    push(reading, details, range, "job.spec.strategy.params");
                }
                (fast, slow)
            }
            None => default,
        };
        return Some(Strategy::SmaCross { fast, slow });
    }
    // "fast=5 slow=20" names the crossover by its parameters.
    let (tokens, fast, slow) = named_windows(reading)?;
    for range in tokens {
        push(reading, details, range, "job.spec.strategy.params");
    }
    Some(Strategy::SmaCross { fast, slow })
}

fn push(reading: &mut Reading<'_>, details: &mut Vec<Detail>, tokens: std::ops::Range<usize>, path: &str) {
    reading.take(tokens.clone());
    details.push(Detail { tokens, path: path.to_owned() });
}

fn buy_and_hold(reading: &Reading<'_>, at: usize) -> Option<usize> {
    match reading.word(at) {
        "buy-and-hold" | "buy-n-hold" => Some(at + 1),
        "buy" if reading.symbol(at + 1) == Some('&') && reading.word(at + 2) == "hold" => Some(at + 3),
        "buy" => reading.follow(at + 1, &["and", "hold"]).or_else(|| reading.follow(at + 1, &["n", "hold"])),
        _ => None,
    }
}

/// The name of the crossover strategy, and the windows that the name implies.
fn crossover(reading: &Reading<'_>, at: usize) -> Option<(usize, (u32, u32))> {
    let Strategy::SmaCross { fast, slow } = Strategy::default() else { return None };
    let tail = |at: usize| {
        reading.skip(
            at,
            &["cross", "crossover", "crossovers", "crossing", "cross-over", "over", "strategy", "system"],
        )
    };
    let found = match (reading.word(at), reading.word(at + 1), reading.word(at + 2)) {
        ("sma" | "smas" | "ma" | "sma-cross" | "sma_cross" | "sma-crossover" | "sma_crossover", ..) => {
            Some(at + 1)
        }
        ("simple", "moving", "average" | "averages") => Some(at + 3),
        ("moving", "average" | "averages", _) => Some(at + 2),
        ("moving-average" | "moving-averages", ..) => Some(at + 1),
        ("crossover" | "cross-over", ..) => Some(at + 1),
        ("golden", "cross" | "crossover", _) => return Some((at + 2, (50, 200))),
        _ => None,
    };
    found.map(|next| (tail(next), (fast, slow)))
}

type Windows = (Vec<std::ops::Range<usize>>, u32, u32);

/// "10/50", "(20, 100)", "20-day and 50-day", "of 20 and 100 days", near the strategy's name.
fn windows(reading: &Reading<'_>, from: usize) -> Option<Windows> {
    (from..(from + 8).min(reading.len()))
        .take_while(|at| !matches!(reading.any_symbol(*at), Some('.' | ';' | '\n')))
        .find_map(|at| pair(reading, at))
}

fn windows_before(reading: &Reading<'_>, name: usize) -> Option<Windows> {
    (name.saturating_sub(9)..name).find_map(|at| {
        let (tokens, fast, slow) = pair(reading, at)?;
        // In "50/200 SMA" the name was read as the unit.
        let end = tokens.first().map_or(name, |range| range.end);
        (end <= name + 1).then(|| (std::iter::once(at..end.min(name)).collect(), fast, slow))
    })
}

fn is_bar(word: &str) -> bool {
    matches!(
        word,
        "day"
            | "days"
            | "bar"
            | "bars"
            | "period"
            | "periods"
            | "d"
            | "week"
            | "weeks"
            | "hour"
            | "hours"
            | "sma"
            | "ma"
            | "minute"
    )
}

fn window_number(reading: &Reading<'_>, at: usize) -> Option<(u32, usize)> {
    let at = if reading.word(at) == "the" { at + 1 } else { at };
    let (count, next) = number::read_count(reading, at).filter(|(count, _)| (1..=100_000).contains(count))?;
    let unit = if reading.symbol(next) == Some('-') { next + 1 } else { next };
    Some((count, if is_bar(reading.word(unit)) { unit + 1 } else { next }))
}

fn pair(reading: &Reading<'_>, at: usize) -> Option<Windows> {
    if at.checked_sub(1).is_some_and(|before| reading.any_symbol(before) == Some('$')) {
        return None;
    }
    let (fast, next) = window_number(reading, at)?;
    let mut joined = reading.skip_symbol(next, "/,-:\u{2013}");
    if joined == next {
        joined = reading.skip(
            next,
            &["and", "vs", "versus", "over", "by", "x", "against", "crossing", "with", "slow", "to"],
        );
    } else {
        joined = reading.skip(joined, &["and"]);
    }
    if joined == next {
        return None;
    }
    let (slow, end) = window_number(reading, joined)?;
    (fast != slow).then(|| (std::iter::once(at..end).collect(), fast.min(slow), fast.max(slow)))
}

/// "fast 20 slow 100", "fast=20, slow=100", "slow window of 100 and a fast one of 20".
fn named_windows(reading: &Reading<'_>) -> Option<Windows> {
    let value = |names: &[&str]| {
        (0..reading.len()).filter(|at| names.contains(&reading.word(*at))).find_map(|at| {
            let mut next = reading
                .skip(at + 1, &["window", "period", "average", "ma", "sma", "length", "is", "of", "one"]);
            next = if matches!(reading.operator(next), "=" | "==") {
                next + 1
            } else {
                reading.skip_symbol(next, ":")
            };
            window_number(reading, next).map(|(count, end)| (at..end, count)).or_else(|| {
                let before = at.checked_sub(1)?;
                let (count, end) = window_number(reading, before)?;
                (end == at).then_some((before..at + 1, count))
            })
        })
    };
    let (fast_tokens, fast) = value(&["fast", "short"])?;
    let (slow_tokens, slow) = value(&["slow", "long"])?;
    Some((vec![fast_tokens, slow_tokens], fast, slow))
}

fn portfolio(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> Portfolio {
    for at in 0..reading.len() {
        if let Some((cash, tokens)) = cash_at(reading, at) {
            push(reading, details, tokens, "job.spec.portfolio.cash");
            return Portfolio { cash: Number::saturating(cash) };
        }
    }
    Portfolio::default()
}

/// "with $50,000", "starting capital 50k", "cash = 100000", "$10k of starting cash".
fn cash_at(reading: &Reading<'_>, at: usize) -> Option<(f64, std::ops::Range<usize>)> {
    let noun =
        |word: &str| matches!(word, "cash" | "capital" | "equity" | "bankroll" | "principal" | "portfolio");
    let adjectives: &[&str] = &["starting", "initial", "start", "of", "in", "a", "an", "account", "value"];
    if noun(reading.word(at)) || matches!(reading.word(at), "starting" | "initial" | "start") {
        let mut next = at;
        while noun(reading.word(next))
            || adjectives.contains(&reading.word(next))
            || matches!(reading.word(next), "with" | "is")
        {
            next += 1;
        }
        next = if matches!(reading.operator(next), "=" | "==") {
            next + 1
        } else {
            reading.skip_symbol(next, ":")
        };
        let (amount, end) = money_amount(reading, next)?;
        return Some((amount, at..end));
    }
    let is_amount = reading.symbol(at) == Some('$') || number::read(reading, at).is_some();
    if !is_amount {
        return None;
    }
    let (amount, end) = money_amount(reading, at)?;
    let behind = reading.skip(end, adjectives);
    if noun(reading.word(behind)) {
        return Some((amount, at..behind + 1));
    }
    // "with $50,000": a plain sum in dollars that no word makes a budget.
    let plain = reading.symbol(at) == Some('$') && reading.word_before(at, 1) == "with";
    plain.then(|| (amount, at - 1..end))
}

fn money_amount(reading: &Reading<'_>, at: usize) -> Option<(f64, usize)> {
    let first = reading.skip_symbol(at, "$\u{20ac}\u{a3}");
    let (value, next) = number::read(reading, first)?;
    Some((value, reading.skip(next, &["dollars", "dollar", "usd", "bucks", "eur", "euros"])))
}

fn costs(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> Costs {
    let mut costs = Costs::default();
    let fees: &[&str] = &["fee", "fees", "commission", "commissions", "fee-rate", "fee_rate"];
    for at in 0..reading.len() {
        let word = reading.word(at);
        let (is_fee, is_slip) = (fees.contains(&word), word == "slippage");
        if !is_fee && !is_slip {
            continue;
        }
        let none = matches!(reading.word_before(at, 1), "no" | "without" | "zero");
        let rate = rate_behind(reading, at + 1).or_else(|| rate_before(reading, at));
        let (tokens, rate) = match rate {
            Some((start, end, rate)) => (start.min(at)..end.max(at + 1), rate),
            None if none => (at - 1..at + 1, Rate::Plain(0.0)),
            None => continue,
        };
        let path = if is_fee { "job.spec.costs.fee_rate" } else { "job.spec.costs.slippage_bps" };
        match (is_fee, rate) {
            (true, Rate::Plain(share)) => costs.fee_rate = Number::saturating(share),
            (true, Rate::Percent(percent)) => costs.fee_rate = Number::saturating(shifted(percent, -2)),
            (true, Rate::Points(points)) => costs.fee_rate = Number::saturating(shifted(points, -4)),
            (false, Rate::Percent(percent)) => costs.slippage_bps = Number::saturating(shifted(percent, 2)),
            (false, Rate::Points(points) | Rate::Plain(points)) => {
                costs.slippage_bps = Number::saturating(points)
            }
        }
        push(reading, details, tokens, path);
    }
    costs
}

#[derive(Clone, Copy)]
enum Rate {
    Percent(f64),
    Points(f64),
    Plain(f64),
}

/// Moves the decimal point in the number's own digits, so that 0.1 % is 0.001 exactly.
pub fn shifted(value: f64, places: i32) -> f64 {
    format!("{value}e{places}").parse().unwrap_or(value)
}

fn rate_at(reading: &Reading<'_>, at: usize) -> Option<(usize, Rate)> {
    let (value, next) = number::read(reading, at)?;
    if reading.symbol(next) == Some('%') || matches!(reading.word(next), "percent" | "pct") {
        return Some((next + 1, Rate::Percent(value)));
    }
    if matches!(reading.word(next), "bps" | "bp" | "pips") {
        return Some((next + 1, Rate::Points(value)));
    }
    if reading.follow(next, &["basis", "points"]).is_some() {
        return Some((next + 2, Rate::Points(value)));
    }
    Some((next, Rate::Plain(value)))
}

fn rate_behind(reading: &Reading<'_>, at: usize) -> Option<(usize, usize, Rate)> {
    let mut next = reading.skip(at, &["rate", "of", "is", "at", "per", "trade", "about"]);
    next =
        if matches!(reading.operator(next), "=" | "==") { next + 1 } else { reading.skip_symbol(next, ":") };
    rate_at(reading, next).map(|(end, rate)| (at - 1, end, rate))
}

fn rate_before(reading: &Reading<'_>, noun: usize) -> Option<(usize, usize, Rate)> {
    let skipped = (0..3).find(|back| {
        !matches!(reading.word_before(noun, back + 1), "trading" | "transaction" | "in" | "of" | "per-trade")
    })?;
    let end = noun - skipped;
    (1..=4).find_map(|back| {
        let start = end.checked_sub(back)?;
        let (next, rate) = rate_at(reading, start)?;
        (next == end && !matches!(rate, Rate::Plain(_))).then_some((start, noun + 1, rate))
    })
}

fn fill(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> FillRule {
    for at in 0..reading.len() {
        let next = reading
            .skip(at + 1, &["at", "the", "on", "orders", "of", "same", "bar's", "s", "day's", "bar", "in"]);
        let is_fill =
            matches!(reading.word(at), "fill" | "fills" | "filled" | "filling" | "execute" | "executed");
        if is_fill && reading.word(next) == "close" {
            push(reading, details, at..next + 1, "job.spec.fill");
            return FillRule::Close;
        }
        if is_fill
            && let Some(end) = reading
                .follow(next, &["next", "open"])
                .or_else(|| reading.follow(next, &["next", "bar's", "open"]))
        {
            push(reading, details, at..end, "job.spec.fill");
            return FillRule::NextOpen;
        }
    }
    FillRule::default()
}

fn annualisation(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> Option<Number> {
    for at in 0..reading.len() {
        let (tokens, value) = if matches!(reading.word(at), "annualisation" | "annualised" | "annualise") {
            let mut next = reading.skip(at + 1, &["factor", "of", "with", "at", "over", "is", "on", "by"]);
            next = if matches!(reading.operator(next), "=" | "==") {
                next + 1
            } else {
                reading.skip_symbol(next, ":")
            };
            let Some((value, end)) = number::read(reading, next) else { continue };
            (at..reading.skip(end, &["days", "periods"]), value)
        } else if let Some((value, next)) = number::read(reading, at)
            && let Some(end) = ["days", "periods", "bars"].iter().find_map(|noun| {
                [&[*noun, "per", "year"][..], &[*noun, "a", "year"]]
                    .iter()
                    .find_map(|words| reading.follow(next, words))
            })
        {
            (at..end, value)
        } else {
            continue;
        };
        push(reading, details, tokens, "job.spec.annualisation");
        return Some(Number::saturating(value));
    }
    None
}

/// Lists the strategy that was asked for when it is none of ours.
fn refuse_other_strategy(reading: &mut Reading<'_>) -> bool {
    let Some(at) = (0..reading.len()).find(|at| OTHER_STRATEGIES.contains(&reading.word(*at))) else {
        return unnamed_strategy(reading);
    };
    let end =
        reading.skip(at + 1, &["strategy", "crossover", "trading", "bands", "reversion", "cross", "rule"]);
    reading.refuse(at..end, "no such strategy; there are sma_cross and buy_and_hold");
    true
}

/// "my XYZ strategy": a strategy with a name that is not known.
fn unnamed_strategy(reading: &mut Reading<'_>) -> bool {
    let named = |reading: &Reading<'_>, at: usize| {
        matches!(reading.word(at), "strategy" | "strategies")
            && at > 0
            && reading.free(at - 1).is_some_and(|token| token.kind == Kind::Word)
            && !crate::english::is_plain(reading.word(at - 1))
    };
    let Some(at) = (0..reading.len()).find(|at| named(reading, *at)) else { return false };
    reading.refuse(at - 1..at + 1, "no such strategy; there are sma_cross and buy_and_hold");
    true
}
