//! The backtest as its callers see it: files in, files out, and figures that another engine also gets.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jobs::{JobError, JobReport};
use protocol::artifact::ArtifactType;
use protocol::error::ErrorCode;
use protocol::ids::Digest;
use protocol::job::{
    BacktestSpec, CommandSpec, Costs, DataRef, FillRule, JobKind, JobSpec, Portfolio, Strategy,
};
use protocol::units::Number;
use serde_json::Value;

fn wti() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/wti.csv")
}

fn spec(strategy: Strategy) -> BacktestSpec {
    BacktestSpec {
        data: DataRef { uri: "prices.csv".to_owned(), ..DataRef::default() },
        strategy,
        portfolio: Portfolio::default(),
        costs: Costs::default(),
        fill: FillRule::NextOpen,
        annualisation: None,
    }
}

fn run_on(data: &Path, spec: BacktestSpec) -> (Result<JobReport, JobError>, BTreeMap<String, Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let report = jobs::run(&JobSpec::Backtest(spec), directory.path(), data, &mut ());
    let files = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    (report, files)
}

fn run_text(text: &str, spec: BacktestSpec) -> (Result<JobReport, JobError>, BTreeMap<String, Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("prices.csv");
    std::fs::write(&data, text).unwrap();
    run_on(&data, spec)
}

fn close_to(got: f64, wanted: f64, what: &str) {
    assert!((got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{what}: {got} instead of {wanted}");
}

/// tests/data/golden_vectorbt.py made the figures, with the command in its first lines.
#[test]
fn figures_on_wti_are_those_of_vectorbt() {
    let golden: Value = serde_json::from_str(include_str!("data/wti_vectorbt.json")).unwrap();
    for run in golden["runs"].as_array().unwrap() {
        let number = |name: &str| run[name].as_f64().unwrap();
        let mut spec = spec(Strategy::SmaCross { fast: number("fast") as u32, slow: number("slow") as u32 });
        spec.fill = serde_json::from_value(run["fill"].clone()).unwrap();
        spec.costs.fee_rate = Number::saturating(number("fee_rate"));
        spec.costs.slippage_bps = Number::saturating(number("slippage_bps"));
        let (report, _) = run_on(&wti(), spec);
        let metrics = report.unwrap().metrics;
        for name in [
            "final_equity",
            "orders",
            "trades",
            "sharpe",
            "sortino",
            "max_drawdown",
            "fees",
            "win_rate",
            "profit_factor",
        ] {
            close_to(metrics[name].get(), number(name), &format!("{name} of {run}"));
        }
        close_to(metrics["bars"].get(), golden["bars"].as_f64().unwrap(), "bars");
    }
}

/// Three bars in the market, worked out by hand: 1,000 cash, 1 % fee, SMA 1/2.
#[test]
fn a_small_run_agrees_with_pencil_and_paper() {
    let text = "Date,Open,Close\n2024-01-02,10,10\n2024-01-03,9,8\n2024-01-04,9,12\n2024-01-05,10,15\n\
                2024-01-08,16,6\n2024-01-09,5,5\n";
    let mut spec = spec(Strategy::SmaCross { fast: 1, slow: 2 });
    spec.portfolio.cash = Number::from(1000);
    spec.costs.fee_rate = Number::saturating(0.01);
    // Closes 10 8 12 15 6 5: below at bar 1, above at bar 2, below at bar 4. Buys at the open of bar 3
    // (10), sells at the open of bar 5 (5).
    let (report, files) = run_text(text, spec);
    let report = report.unwrap();
    let units = 1000.0 / (10.0 * 1.01);
    let last = units * 5.0 * 0.99;
    let get = |name: &str| report.metrics[name].get();
    close_to(get("final_equity"), last, "final equity");
    close_to(get("fees"), units * 10.0 * 0.01 + units * 5.0 * 0.01, "fees");
    close_to(get("exposure"), 2.0 / 6.0, "exposure");
    close_to(get("max_drawdown"), last / (units * 15.0) - 1.0, "drawdown");
    close_to(get("win_rate"), 0.0, "win rate");
    let equity = [1000.0, 1000.0, 1000.0, units * 15.0, units * 6.0, last];
    let mut previous = 1000.0;
    let returns: Vec<f64> = equity
        .iter()
        .map(|value| {
            let r = value / previous - 1.0;
            previous = *value;
            r
        })
        .collect();
    let mean = returns.iter().sum::<f64>() / 6.0;
    let deviation = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
    close_to(get("sharpe"), mean / deviation * 252f64.sqrt(), "sharpe");
    let downside = (returns.iter().map(|r| r.min(0.0).powi(2)).sum::<f64>() / 6.0).sqrt();
    close_to(get("sortino"), mean / downside * 252f64.sqrt(), "sortino");
    let years: f64 = 7.0 / 365.25;
    close_to(get("cagr"), (last / 1000.0).powf(1.0 / years) - 1.0, "cagr");
    let trades = String::from_utf8(files["trades.csv"].clone()).unwrap();
    assert!(trades.lines().nth(1).unwrap().starts_with("1,2024-01-05,10,2024-01-09,5,"), "{trades}");
    assert!(trades.trim_end().ends_with(",closed"), "{trades}");
}

#[test]
fn the_same_job_gives_the_same_bytes() {
    let (_, first) = run_on(&wti(), spec(Strategy::default()));
    let (report, second) = run_on(&wti(), spec(Strategy::default()));
    assert_eq!(first, second);
    let artifacts = report.unwrap().artifacts;
    let names: Vec<&str> = artifacts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(second.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted
    });
    for wanted in ["metrics.json", "equity.csv", "trades.csv", "equity-and-drawdown.svg", "report.md"] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    assert!(artifacts.contains(&("equity-and-drawdown.svg".to_owned(), ArtifactType::Plot)));
    assert!(second["equity-and-drawdown.svg"].starts_with(b"<svg"));
}

#[test]
fn holes_are_counted_and_told() {
    let (report, files) = run_on(&wti(), spec(Strategy::default()));
    let result: Value = serde_json::from_slice(&files["result.json"]).unwrap();
    assert_eq!(result["data"]["rows_without_price"], 290);
    assert_eq!(result["bars"], 8321);
    let summary = report.unwrap().summary.join("\n");
    assert!(summary.contains("290 rows without a price were left out"), "{summary}");
}

#[test]
fn a_negative_price_ruins_whoever_holds() {
    // The shape of WTI crude in April 2020.
    let text = "date,price\n2020-04-16,20\n2020-04-17,18\n2020-04-20,-36\n2020-04-21,9\n2020-04-22,14\n";
    let (report, files) = run_text(text, spec(Strategy::BuyAndHold));
    let report = report.unwrap();
    let get = |name: &str| report.metrics[name].get();
    assert_eq!((get("final_equity"), get("total_return"), get("max_drawdown")), (0.0, -1.0, -1.0));
    assert_eq!((get("cagr"), get("trades"), get("orders")), (-1.0, 1.0, 1.0));
    let result: Value = serde_json::from_slice(&files["result.json"]).unwrap();
    assert_eq!(result["ruin"]["time"], "2020-04-20");
    let units = 10_000.0 / (18.0 * 1.002);
    close_to(result["ruin"]["uncovered_loss"].as_f64().unwrap(), units * 36.0, "uncovered loss");
    assert!(report.summary.iter().any(|line| line.contains("ruined on 2020-04-20")));
}

#[test]
fn nothing_is_traded_at_a_price_that_is_not_positive() {
    // SMA 1/2 turns up at bar 2; bars 3 and 4 cannot be traded, bar 5 can.
    let text = "date,price\n2020-01-01,5\n2020-01-02,4\n2020-01-03,6\n2020-01-04,0\n2020-01-05,-1\n\
                2020-01-06,8\n2020-01-07,9\n";
    let mut spec = spec(Strategy::SmaCross { fast: 1, slow: 2 });
    // The fall to 0 turns the signal, so the order lapses; the rise at bar 5 gives a new one.
    let (report, files) = run_text(text, spec.clone());
    assert_eq!(report.unwrap().metrics["orders"].get(), 1.0);
    let trades = String::from_utf8(files["trades.csv"].clone()).unwrap();
    assert!(trades.contains("1,2020-01-07,9,"), "{trades}");
    spec.strategy = Strategy::BuyAndHold;
    let (report, files) =
        run_text("date,price\n2020-01-01,5\n2020-01-02,-4\n2020-01-03,6\n2020-01-04,7\n", spec);
    let trades = String::from_utf8(files["trades.csv"].clone()).unwrap();
    assert!(trades.contains("1,2020-01-03,6,"), "{trades}");
    assert!(report.unwrap().summary.iter().any(|line| line.contains("orders waited at 1 such bars")));
}

#[test]
fn the_digest_is_checked_before_anything_is_read() {
    let mut spec = spec(Strategy::BuyAndHold);
    spec.data.sha256 = Some(Digest::of(b"something else"));
    let (report, files) = run_on(&wti(), spec);
    assert_eq!(report.unwrap_err().code(), ErrorCode::ChecksumMismatch);
    assert!(files.is_empty());
}

#[test]
fn kinds_without_a_runner_say_so() {
    assert_eq!(jobs::runnable_kinds(), [JobKind::Backtest]);
    let command = JobSpec::Command(CommandSpec { argv: vec!["true".to_owned()], ..CommandSpec::default() });
    let error = jobs::run(&command, Path::new("."), Path::new("."), &mut ()).unwrap_err();
    assert_eq!(error.body().code, ErrorCode::JobKindUnsupported);
    assert_eq!(error.to_string(), "jobs of kind command are not run by this program; it runs backtest");
}

#[test]
fn too_few_bars_and_a_missing_file_are_told() {
    let (report, _) = run_text("date,price\n2020-01-01,5\n2020-01-02,.\n", spec(Strategy::default()));
    let message = report.unwrap_err().to_string();
    assert!(message.contains("1 bars are too few; this strategy needs at least 51 (1 rows"), "{message}");
    let (report, _) = run_on(Path::new("/nonexistent/prices.csv"), spec(Strategy::default()));
    assert_eq!(report.unwrap_err().code(), ErrorCode::JobFailed);
}

#[test]
fn names_from_the_data_stay_text() {
    let mut text = String::from("date,<script>alert(1)</script>&\n");
    (1..=9).for_each(|day| text.push_str(&format!("2024-01-0{day},{}\n", 10 + day % 3)));
    let (report, files) = run_text(&text, spec(Strategy::SmaCross { fast: 1, slow: 2 }));
    assert!(report.is_ok());
    for name in ["equity-and-drawdown.svg", "report.md"] {
        let content = String::from_utf8(files[name].clone()).unwrap();
        assert!(!content.contains("<script"), "{name}");
    }
}
