//! The files of a backtest. Numbers are written in their shortest exact form and nothing depends on
//! the clock or the machine, so the same job gives the same bytes.

use std::fmt::Write as _;
use std::path::Path;

use protocol::artifact::ArtifactType;
use serde_json::{Map, Value, json};

use super::engine::TradeEnd;
use super::{Outcome, chart, strategy};
use crate::report::JobError;

/// Writes every file, and names them.
pub(super) fn write(
    outcome: &Outcome<'_>,
    directory: &Path,
) -> Result<Vec<(String, ArtifactType)>, JobError> {
    let files = [
        ("metrics.json", ArtifactType::Metrics, pretty(&metrics(outcome))),
        ("equity-and-drawdown.svg", ArtifactType::Plot, chart::draw(outcome)?),
        ("report.md", ArtifactType::Report, report(outcome)),
        ("equity.csv", ArtifactType::Data, equity(outcome)),
        ("trades.csv", ArtifactType::Data, trades(outcome)),
        ("result.json", ArtifactType::Report, pretty(&result(outcome))),
    ];
    let mut written = Vec::with_capacity(files.len());
    for (name, kind, content) in files {
        let path = directory.join(name);
        std::fs::write(&path, content).map_err(JobError::write(&path))?;
        written.push((name.to_owned(), kind));
    }
    Ok(written)
}

/// What a person should read first.
pub(super) fn summary(outcome: &Outcome<'_>) -> Vec<String> {
    let figure = |name: &str| outcome.figures.get(name);
    let percent =
        |name: &str| figure(name).map_or("n/a".to_owned(), |value| format!("{:.2} %", value * 100.0));
    let mut lines = vec![
        format!(
            "{} on {} ({} bars, {} to {})",
            strategy::describe(&outcome.spec.strategy),
            outcome.prices.price_column,
            outcome.prices.len(),
            first_time(outcome),
            last_time(outcome),
        ),
        format!(
            "equity from {:.2} to {:.2}, total return {}, a year {}; buying and holding gives {:.2}",
            outcome.spec.portfolio.cash.get(),
            figure("final_equity").unwrap_or_default(),
            percent("total_return"),
            percent("cagr"),
            outcome.benchmark.last().copied().unwrap_or_default(),
        ),
        format!(
            "Sharpe {}, largest drawdown {}, {} trades, {:.2} paid in fees",
            figure("sharpe").map_or("n/a".to_owned(), |value| format!("{value:.3}")),
            percent("max_drawdown"),
            outcome.run.trades.len(),
            outcome.run.fees,
        ),
    ];
    lines.extend(outcome.warnings.iter().map(|warning| format!("note: {warning}")));
    lines
}

fn first_time(outcome: &Outcome<'_>) -> String {
    outcome.prices.time_text(0)
}

fn last_time(outcome: &Outcome<'_>) -> String {
    outcome.prices.time_text(outcome.prices.len().saturating_sub(1))
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The figures alone, flat; one that is not defined is null.
fn metrics(outcome: &Outcome<'_>) -> Value {
    let number = |value: Option<f64>| match value {
        // Counts stay whole numbers for every JSON reader.
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => Value::from(value as i64),
        Some(value) => Value::from(value),
        None => Value::Null,
    };
    Value::Object(outcome.figures.iter().map(|(name, value)| (name.to_owned(), number(value))).collect())
}

fn result(outcome: &Outcome<'_>) -> Value {
    let prices = &outcome.prices;
    let conventions: Map<String, Value> =
        outcome.conventions.iter().map(|(topic, rule)| (topic.clone(), Value::from(rule.as_str()))).collect();
    json!({
        "status": "completed",
        "kind": "backtest",
        "bars": prices.len(),
        "metrics": metrics(outcome),
        "benchmark": {"strategy": "buy_and_hold", "final_equity": outcome.benchmark.last()},
        "ruin": outcome.run.ruin.map(|ruin| json!({
            "time": prices.time_text(ruin.bar),
            "price": prices.closes[ruin.bar],
            "uncovered_loss": ruin.uncovered_loss,
        })),
        "data": {
            "sha256": outcome.digest,
            "time_column": prices.time_column,
            "price_column": prices.price_column,
            "first": first_time(outcome),
            "last": last_time(outcome),
            "rows_without_price": prices.missing.len(),
            "bars_not_tradable": prices.untradable().len(),
        },
        "strategy": outcome.spec.strategy,
        "portfolio": outcome.spec.portfolio,
        "costs": outcome.spec.costs,
        "fill": outcome.spec.fill,
        "conventions": conventions,
        "warnings": outcome.warnings,
    })
}

fn equity(outcome: &Outcome<'_>) -> String {
    let mut text = String::with_capacity(outcome.prices.len() * 64);
    text.push_str("time,price,equity,drawdown,buy_and_hold\n");
    for bar in 0..outcome.prices.len() {
        let _infallible = writeln!(
            text,
            "{},{},{},{},{}",
            outcome.prices.time_text(bar),
            outcome.prices.closes[bar],
            outcome.run.equity[bar],
            outcome.drawdowns[bar],
            outcome.benchmark[bar],
        );
    }
    text
}

fn trades(outcome: &Outcome<'_>) -> String {
    let mut text = String::from(
        "trade,entry_time,entry_price,exit_time,exit_price,units,fees,profit,profit_share,end\n",
    );
    for (index, trade) in outcome.run.trades.iter().enumerate() {
        let _infallible = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{}",
            index + 1,
            outcome.prices.time_text(trade.entry_bar),
            trade.entry_price,
            outcome.prices.time_text(trade.exit_bar),
            trade.exit_price,
            trade.units,
            trade.fees,
            trade.profit,
            trade.profit_share(),
            match trade.end {
                TradeEnd::Closed => "closed",
                TradeEnd::Open => "open",
                TradeEnd::Ruined => "ruined",
            },
        );
    }
    text
}

fn report(outcome: &Outcome<'_>) -> String {
    let mut text = format!("# Backtest: {}\n\n", strategy::describe(&outcome.spec.strategy));
    let lines = summary(outcome);
    for line in &lines {
        let _infallible = writeln!(text, "- {}", plain(line));
    }
    text.push_str(
        "\n![Equity and drawdown](equity-and-drawdown.svg)\n\n## Figures\n\n| figure | value |\n|---|---|\n",
    );
    for (name, value) in outcome.figures.iter() {
        let shown = value.map_or("not defined".to_owned(), |value| {
            if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.6}") }
        });
        let _infallible = writeln!(text, "| {name} | {shown} |");
    }
    text.push_str("\n## Conventions\n\n");
    for (topic, rule) in &outcome.conventions {
        let _infallible = writeln!(text, "- **{topic}**: {rule}");
    }
    let _infallible = writeln!(
        text,
        "\nData: columns {} and {}, `{}`.",
        plain(&format!("{:?}", outcome.prices.time_column)),
        plain(&format!("{:?}", outcome.prices.price_column)),
        outcome.digest
    );
    text
}

/// Names come from the data file; in a report they are text, not markup.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() || "<>[]`|".contains(c) { '_' } else { c }).collect()
}
