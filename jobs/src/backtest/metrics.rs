//! Figures of a run, and how each is defined. A figure that is not defined for a run (a ratio with
//! nothing in its denominator) is absent, never zero or infinite.

use protocol::job::FillRule;

use super::engine::{Run, TradeEnd};
use super::prices::Prices;
use super::strategy::RunningSum;

const DAY_MILLIS: f64 = 86_400_000.0;
const YEAR_MILLIS: f64 = 365.25 * DAY_MILLIS;

/// The figures of one run, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<(&'static str, Option<f64>)>);

impl Figures {
    /// Name and value of each figure.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + '_ {
        self.0.iter().copied()
    }

    /// One figure, if it is defined.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(other, _)| *other == name).and_then(|(_, value)| *value)
    }

    fn put(&mut self, name: &'static str, value: Option<f64>) {
        self.0.push((name, value.filter(|value| value.is_finite())));
    }
}

/// Periods in a year when the specification does not say: 252 for days, 52 for weeks, 12 for months,
/// and for anything else as many as the series has in its average year.
#[must_use]
pub fn periods_per_year(prices: &Prices) -> f64 {
    let mut gaps: Vec<i64> =
        prices.times.windows(2).map(|pair| pair[1].as_millis() - pair[0].as_millis()).collect();
    if gaps.is_empty() {
        return 252.0;
    }
    let middle = gaps.len() / 2;
    let (_, median, _) = gaps.select_nth_unstable(middle);
    let days = *median as f64 / DAY_MILLIS;
    if (days - 1.0).abs() < 0.05 {
        252.0
    } else if (days - 7.0).abs() < 0.5 {
        52.0
    } else if (28.0..=31.0).contains(&days) {
        12.0
    } else {
        ((prices.len() - 1) as f64 / years(prices)).round().max(1.0)
    }
}

/// Calendar years from the first bar to the last.
fn years(prices: &Prices) -> f64 {
    match (prices.times.first(), prices.times.last()) {
        (Some(first), Some(last)) => (last.as_millis() - first.as_millis()) as f64 / YEAR_MILLIS,
        _ => 0.0,
    }
}

/// Drawdown at each bar: equity over its highest value so far (the starting cash included), less one.
#[must_use]
pub fn drawdowns(equity: &[f64], cash: f64) -> Vec<f64> {
    let mut peak = cash;
    equity
        .iter()
        .map(|&value| {
            peak = peak.max(value);
            value / peak - 1.0
        })
        .collect()
}

/// Computes every figure.
#[must_use]
pub fn figures(run: &Run, prices: &Prices, cash: f64, periods: f64) -> Figures {
    let final_equity = run.equity.last().copied().unwrap_or(cash);
    let years = years(prices);
    let returns = Returns::of(&run.equity, cash);
    let worst = drawdowns(&run.equity, cash).into_iter().fold(0.0, f64::min);
    let cagr = (years > 0.0).then(|| libm::pow(final_equity / cash, 1.0 / years) - 1.0);
    let root = periods.sqrt();

    let finished: Vec<f64> =
        run.trades.iter().filter(|trade| trade.end != TradeEnd::Open).map(|trade| trade.profit).collect();
    let gains: f64 = finished.iter().filter(|profit| **profit > 0.0).sum();
    let losses: f64 = finished.iter().filter(|profit| **profit < 0.0).sum();
    let wins = finished.iter().filter(|profit| **profit > 0.0).count();
    let mean_equity = mean(&run.equity);

    let mut figures = Figures::default();
    figures.put("final_equity", Some(final_equity));
    figures.put("total_return", Some(final_equity / cash - 1.0));
    figures.put("cagr", cagr);
    figures.put("volatility", returns.deviation.map(|deviation| deviation * root));
    figures.put("sharpe", ratio(returns.mean, returns.deviation).map(|sharpe| sharpe * root));
    figures.put("sortino", ratio(returns.mean, Some(returns.downside)).map(|sortino| sortino * root));
    figures.put("max_drawdown", Some(worst));
    figures.put("calmar", cagr.and_then(|cagr| ratio(cagr, Some(-worst))));
    figures.put("exposure", ratio(run.bars_held as f64, Some(run.equity.len() as f64)));
    figures.put(
        "turnover",
        ratio(run.traded_value, Some(mean_equity)).and_then(|times| ratio(times, Some(years))),
    );
    figures.put("orders", Some(run.orders as f64));
    figures.put("trades", Some(run.trades.len() as f64));
    figures.put("win_rate", ratio(wins as f64, Some(finished.len() as f64)));
    figures.put("profit_factor", ratio(gains, Some(-losses)));
    figures.put("fees", Some(run.fees));
    figures.put("bars", Some(run.equity.len() as f64));
    figures
}

/// How the figures and the fills are defined, by topic.
#[must_use]
pub fn conventions(periods: f64, given: bool, fill: FillRule, single_price: bool) -> Vec<(String, String)> {
    let source = if given { "as the job says" } else { "from the spacing of the bars" };
    let fill = match (fill, single_price) {
        (FillRule::Close, _) => "at the close of the bar that gives the signal (looks ahead by one price)",
        (FillRule::NextOpen, false) => "at the open of the bar after the signal",
        (FillRule::NextOpen, true) => {
            "at the price of the bar after the signal, as the series has one price per bar"
        }
    };
    [
        ("fills", fill.to_owned()),
        ("sizing", "all cash in or all units out; fractional units; long only; no interest on cash".to_owned()),
        ("costs", "the fee is a share of each order's value; slippage worsens each price".to_owned()),
        ("annualisation", format!("{periods} periods in a year, {source}")),
        (
            "returns",
            "simple, one for each bar; the first bar's, against the starting cash, is included".to_owned(),
        ),
        ("sharpe", "mean over standard deviation (n - 1), times the root of annualisation; no risk-free rate".to_owned()),
        (
            "sortino",
            "mean over the root of the mean squared negative return (all bars), times the root of annualisation"
                .to_owned(),
        ),
        ("cagr", "over calendar time, years of 365.25 days".to_owned()),
        ("max_drawdown", "largest fall below the highest equity so far, as a negative share".to_owned()),
        ("calmar", "cagr over the size of max_drawdown".to_owned()),
        ("exposure", "share of bars at whose close a position is held".to_owned()),
        ("turnover", "value of all orders over mean equity, for each year".to_owned()),
        (
            "trades",
            "round trips, one still open at the end included; win_rate and profit_factor count finished ones".to_owned(),
        ),
        ("missing_prices", "a row without a price is left out and counted".to_owned()),
        (
            "non_positive_prices",
            "nothing is traded at a price of zero or less, the order waits; a position is marked at it, and an account \
             at or below zero is ruined: equity 0 from there on"
                .to_owned(),
        ),
    ]
    .into_iter()
    .map(|(topic, rule)| (topic.to_owned(), rule))
    .collect()
}

/// Mean, deviation and downside of the returns of each bar.
struct Returns {
    mean: f64,
    deviation: Option<f64>,
    downside: f64,
}

impl Returns {
    fn of(equity: &[f64], cash: f64) -> Self {
        let mut previous = cash;
        let returns: Vec<f64> = equity
            .iter()
            .map(|&value| {
                // Nothing is earned on nothing: after a ruin all returns are zero.
                let change = if previous > 0.0 { value / previous - 1.0 } else { 0.0 };
                previous = value;
                change
            })
            .collect();
        let mean = mean(&returns);
        let squares = sum(returns.iter().map(|change| (change - mean) * (change - mean)));
        let deviation = (returns.len() > 1).then(|| (squares / (returns.len() - 1) as f64).sqrt());
        let below = sum(returns.iter().map(|change| change.min(0.0) * change.min(0.0)));
        let downside = if returns.is_empty() { 0.0 } else { (below / returns.len() as f64).sqrt() };
        Self { mean, deviation, downside }
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { sum(values.iter().copied()) / values.len() as f64 }
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut total = RunningSum::new();
    values.for_each(|value| total.add(value));
    total.total()
}

/// The ratio, unless its denominator is too small to mean anything.
fn ratio(numerator: f64, denominator: Option<f64>) -> Option<f64> {
    denominator.filter(|value| value.abs() > 1e-15).map(|value| numerator / value)
}
