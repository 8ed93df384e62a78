//! The backtest: prices in, one strategy over them, figures and files out.
//!
//! ```text
//! CSV --prices--> Prices --strategy, engine--> Run --metrics--> Figures --files, chart--> artifacts
//! ```

mod chart;
pub mod engine;
mod files;
pub mod metrics;
pub mod prices;
pub mod strategy;

use std::collections::BTreeMap;
use std::path::Path;

use protocol::ids::Digest;
use protocol::job::{BacktestSpec, Metric, Strategy};
use protocol::units::Number;

use self::engine::{Market, Run, Terms};
use self::metrics::Figures;
use self::prices::{PriceError, Prices};
use crate::report::{JobError, JobReport, Progress};

/// The largest price file that is read, in bytes.
pub const LARGEST_FILE: u64 = 512 * 1024 * 1024;

/// Everything that the files of a backtest are made from.
struct Outcome<'a> {
    spec: &'a BacktestSpec,
    digest: Digest,
    prices: Prices,
    run: Run,
    drawdowns: Vec<f64>,
    figures: Figures,
    /// Equity of buying and holding over the same bars on the same terms.
    benchmark: Vec<f64>,
    conventions: Vec<(String, String)>,
    warnings: Vec<String>,
}

/// Runs a backtest whose specification is already validated.
pub(crate) fn run(
    spec: &BacktestSpec,
    directory: &Path,
    data: &Path,
    sink: &mut dyn Progress,
) -> Result<JobReport, JobError> {
    sink.step(0, 3, "reading prices");
    let (prices, digest) = load(spec, data)?;
    sink.step(1, 3, "trading");
    let outcome = evaluate(spec, prices, digest);
    for (bar, equity) in series(&outcome.run.equity) {
        sink.metric(&Metric { name: "equity".to_owned(), value: equity, step: Some(bar as u64) });
    }
    sink.step(2, 3, "writing results");
    let artifacts = files::write(&outcome, directory)?;
    let metrics: BTreeMap<String, Number> = outcome
        .figures
        .iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Number::new(value?).ok()?)))
        .collect();
    for (name, value) in &metrics {
        sink.metric(&Metric { name: name.clone(), value: *value, step: None });
    }
    sink.step(3, 3, "done");
    Ok(JobReport { metrics, artifacts, summary: files::summary(&outcome), conventions: outcome.conventions })
}

fn load(spec: &BacktestSpec, data: &Path) -> Result<(Prices, Digest), JobError> {
    let bytes_on_disk = std::fs::metadata(data).map_err(JobError::read(data))?.len();
    if bytes_on_disk > LARGEST_FILE {
        return Err(JobError::DataTooLarge {
            path: data.to_owned(),
            bytes: bytes_on_disk,
            limit: LARGEST_FILE,
        });
    }
    let bytes = std::fs::read(data).map_err(JobError::read(data))?;
    let digest = Digest::of(&bytes);
    if let Some(wanted) = spec.data.sha256.as_ref().filter(|wanted| **wanted != digest) {
        return Err(JobError::Checksum {
            path: data.to_owned(),
            wanted: wanted.to_string(),
            found: digest.to_string(),
        });
    }
    let refuse = |source: PriceError| JobError::Prices { path: data.to_owned(), source };
    let prices = prices::read(&bytes, spec.data.time_column.as_deref(), spec.data.target.as_deref())
        .map_err(refuse)?;
    let needed = strategy::bars_needed(&spec.strategy);
    if prices.len() < needed {
        let (bars, missing) = (prices.len(), prices.missing.len());
        return Err(refuse(PriceError::TooFewBars { bars, needed, missing }));
    }
    Ok((prices, digest))
}

/// Trades the strategy and the benchmark, and computes the figures; no file is touched.
fn evaluate(spec: &BacktestSpec, prices: Prices, digest: Digest) -> Outcome<'_> {
    let cash = spec.portfolio.cash.get();
    let run = trade(spec, &spec.strategy, &prices);
    let benchmark = trade(spec, &Strategy::BuyAndHold, &prices).equity;
    let periods = spec.annualisation.map_or_else(|| metrics::periods_per_year(&prices), Number::get);
    let figures = metrics::figures(&run, &prices, cash, periods);
    let conventions =
        metrics::conventions(periods, spec.annualisation.is_some(), spec.fill, prices.opens.is_none());
    let warnings = warnings(&prices, &run);
    let drawdowns = metrics::drawdowns(&run.equity, cash);
    Outcome { spec, digest, prices, run, drawdowns, figures, benchmark, conventions, warnings }
}

fn trade(spec: &BacktestSpec, strategy: &Strategy, prices: &Prices) -> Run {
    let market = Market { opens: prices.opens.as_deref(), closes: &prices.closes };
    let terms = Terms {
        cash: spec.portfolio.cash.get(),
        fee_rate: spec.costs.fee_rate.get(),
        slippage: spec.costs.slippage_bps.get() / 10_000.0,
        fill: spec.fill,
    };
    match *strategy {
        Strategy::BuyAndHold => engine::simulate(market, terms, strategy::BuyAndHold),
        Strategy::SmaCross { fast, slow } => {
            engine::simulate(market, terms, strategy::SmaCross::new(fast as usize, slow as usize))
        }
    }
}

/// The equity curve in a few points, the last bar among them, for whoever follows the job's metrics.
fn series(equity: &[f64]) -> impl Iterator<Item = (usize, Number)> + '_ {
    const POINTS: usize = 200;
    let stride = equity.len().div_ceil(POINTS).max(1);
    let last = equity.len().saturating_sub(1);
    equity
        .iter()
        .enumerate()
        .filter(move |(bar, _)| bar % stride == 0 || *bar == last)
        .filter_map(|(bar, value)| Some((bar, Number::new(*value).ok()?)))
}

/// What a reader of the figures has to know about the data.
fn warnings(prices: &Prices, run: &Run) -> Vec<String> {
    let mut warnings = Vec::new();
    let list = |times: Vec<String>, all: usize| {
        let more = if all > times.len() { ", ..." } else { "" };
        format!("{}{more}", times.join(", "))
    };
    if !prices.missing.is_empty() {
        let first =
            prices.missing.iter().take(3).map(|time| prices::time_text(*time, prices.intraday)).collect();
        let count = prices.missing.len();
        warnings.push(format!("{count} rows without a price were left out: {}", list(first, count)));
    }
    let untradable = prices.untradable();
    if !untradable.is_empty() {
        let first = untradable.iter().take(3).map(|&bar| prices.time_text(bar)).collect();
        let count = untradable.len();
        warnings.push(format!(
            "{count} bars have a price of zero or less, at which nothing is traded: {}",
            list(first, count)
        ));
    }
    if run.orders_delayed > 0 {
        warnings.push(format!("orders waited at {} such bars", run.orders_delayed));
    }
    if let Some(ruin) = run.ruin {
        warnings.push(format!(
            "the account was ruined on {} at a price of {}; {:.2} lost beyond it are not in the figures",
            prices.time_text(ruin.bar),
            prices.closes[ruin.bar],
            ruin.uncovered_loss
        ));
    }
    warnings
}
