//! Strategies: what a series of closes says, one bar after the other, each in constant time.

use std::cmp::Ordering;

use protocol::job::Strategy;

/// What a bar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Nothing new.
    Keep,
    /// Be long.
    Enter,
    /// Be in cash.
    Exit,
}

/// A source of signals; called for each bar in order, exactly once.
pub trait SignalSource {
    /// What the close of `bar` says; it may look at the closes up to and including `bar`.
    fn at(&mut self, bar: usize, closes: &[f64]) -> Signal;
}

/// Bars that a strategy needs before its first signal can be filled.
#[must_use]
pub fn bars_needed(strategy: &Strategy) -> usize {
    match strategy {
        Strategy::BuyAndHold => 2,
        Strategy::SmaCross { slow, .. } => *slow as usize + 1,
    }
}

/// The strategy in words.
#[must_use]
pub fn describe(strategy: &Strategy) -> String {
    match strategy {
        Strategy::BuyAndHold => "buy and hold".to_owned(),
        Strategy::SmaCross { fast, slow } => format!("SMA cross {fast}/{slow}"),
    }
}

/// Enters with the first bar and never leaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuyAndHold;

impl SignalSource for BuyAndHold {
    fn at(&mut self, bar: usize, _closes: &[f64]) -> Signal {
        if bar == 0 { Signal::Enter } else { Signal::Keep }
    }
}

/// Enters when the fast simple moving average rises above the slow one, exits when it falls below.
/// Where the averages stand when the slow one first exists is no crossing.
#[derive(Debug, Clone)]
pub struct SmaCross {
    fast: MovingAverage,
    slow: MovingAverage,
    previous: Option<Ordering>,
}

impl SmaCross {
    /// Averages over this many bars.
    #[must_use]
    pub const fn new(fast: usize, slow: usize) -> Self {
        Self { fast: MovingAverage::new(fast), slow: MovingAverage::new(slow), previous: None }
    }
}

impl SignalSource for SmaCross {
    fn at(&mut self, bar: usize, closes: &[f64]) -> Signal {
        let fast = self.fast.at(bar, closes);
        let slow = self.slow.at(bar, closes);
        if bar + 1 < self.slow.bars {
            return Signal::Keep;
        }
        let now = compare(fast, slow);
        let before = self.previous.replace(now);
        match (before, now) {
            (Some(Ordering::Less | Ordering::Equal), Ordering::Greater) => Signal::Enter,
            (Some(Ordering::Greater | Ordering::Equal), Ordering::Less) => Signal::Exit,
            _ => Signal::Keep,
        }
    }
}

/// Averages of the same prices over different windows differ in their last bits; without this
/// tolerance a flat stretch of prices would trade on rounding.
fn compare(fast: f64, slow: f64) -> Ordering {
    let difference = fast - slow;
    if difference.abs() <= 1e-12 * fast.abs().max(slow.abs()) {
        Ordering::Equal
    } else if difference > 0.0 {
        Ordering::Greater
    } else {
        Ordering::Less
    }
}

/// A mean over the last bars, from a running sum.
#[derive(Debug, Clone)]
struct MovingAverage {
    bars: usize,
    scale: f64,
    sum: RunningSum,
}

impl MovingAverage {
    const fn new(bars: usize) -> Self {
        Self { bars, scale: bars as f64, sum: RunningSum::new() }
    }

    /// The mean of the last `bars` closes; meaningless before there are as many.
    fn at(&mut self, bar: usize, closes: &[f64]) -> f64 {
        self.sum.add(closes[bar]);
        if bar >= self.bars {
            self.sum.add(-closes[bar - self.bars]);
        }
        self.sum.total() / self.scale
    }
}

/// A sum that remembers what rounding took (Knuth's two-sum), so that a million bars of adding and
/// taking away leave no drift.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunningSum {
    sum: f64,
    lost: f64,
}

impl RunningSum {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0.0, lost: 0.0 }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let taken = sum - self.sum;
        self.lost += (self.sum - (sum - taken)) + (value - taken);
        self.sum = sum;
    }

    /// The sum.
    #[inline]
    #[must_use]
    pub fn total(&self) -> f64 {
        self.sum + self.lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signals(mut source: impl SignalSource, closes: &[f64]) -> Vec<Signal> {
        (0..closes.len()).map(|bar| source.at(bar, closes)).collect()
    }

    #[test]
    fn a_cross_needs_both_averages_on_the_bar_before() {
        use Signal::{Enter, Exit, Keep};
        // SMA 1 against SMA 2: (5, -), (6, 5.5) above at once and no cross, (4, 5) below, (7, 5.5) above.
        let got = signals(SmaCross::new(1, 2), &[5.0, 6.0, 4.0, 7.0]);
        assert_eq!(got, [Keep, Keep, Exit, Enter]);
    }

    #[test]
    fn flat_prices_never_cross() {
        let mut closes: Vec<f64> = (0..60).map(|bar| f64::from(bar % 7) * 0.1 + 0.3).collect();
        closes.extend([0.1; 400]);
        let got = signals(SmaCross::new(10, 50), &closes);
        assert!(got[111..].iter().all(|signal| *signal == Signal::Keep));
    }

    proptest! {
        #[test]
        fn running_averages_equal_those_summed_afresh(
            closes in prop::collection::vec(-50.0..5_000.0f64, 1..200),
            bars in 1usize..40,
        ) {
            let mut average = MovingAverage::new(bars);
            for bar in 0..closes.len() {
                let got = average.at(bar, &closes);
                if bar + 1 >= bars {
                    let afresh = closes[bar + 1 - bars..=bar].iter().sum::<f64>() / bars as f64;
                    prop_assert!((got - afresh).abs() <= 1e-9, "{got} {afresh}");
                }
            }
        }

        #[test]
        fn no_signal_looks_ahead(
            closes in prop::collection::vec(1.0..100.0f64, 20..80),
            change in 1.0..100.0f64,
        ) {
            let whole = signals(SmaCross::new(3, 7), &closes);
            let mut other = closes.clone();
            let last = other.len() - 1;
            other[last] = change;
            prop_assert_eq!(&signals(SmaCross::new(3, 7), &other)[..last], &whole[..last]);
        }
    }
}
