//! How many bars a second the engine walks: `cargo run --release -p jobs --example bars_per_second [BARS]`.
//! One core; prices are a seeded random walk; the best of seven rounds counts.

use std::time::Instant;

use jobs::backtest::engine::{Market, Terms, simulate};
use jobs::backtest::strategy::SmaCross;
use protocol::job::FillRule;

fn main() {
    let bars = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let closes = walk(bars);
    let terms = Terms { cash: 10_000.0, fee_rate: 0.000_1, slippage: 0.0, fill: FillRule::NextOpen };
    let mut best = f64::MAX;
    let mut last = None;
    for _ in 0..7 {
        let start = Instant::now();
        let run = simulate(Market { opens: None, closes: &closes }, terms, SmaCross::new(10, 50));
        best = best.min(start.elapsed().as_secs_f64());
        last = run.equity.last().map(|equity| (*equity, run.orders));
    }
    if let Some((equity, orders)) = last {
        println!(
            "{bars} bars in {best:.4} s: {:.2e} bars/s, {orders} orders, equity {equity}",
            bars as f64 / best
        );
    }
}

/// A multiplicative random walk from a 64-bit linear congruential generator (Knuth's constants).
fn walk(bars: usize) -> Vec<f64> {
    let mut state = 42u64;
    let mut price = 100.0;
    (0..bars)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            price *= 1.0 + ((state >> 33) as f64 / f64::from(1u32 << 31) - 0.5) * 0.004;
            price
        })
        .collect()
}
