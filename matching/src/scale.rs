//! Scores of values on published scales: 0 is worst, 1 is best, never anything else.

use protocol::factor::Scale;

/// The score of a value on a scale, from 0 to 1. A value that is not a number scores 0.
#[must_use]
pub fn score(scale: &Scale, value: f64) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    match scale {
        Scale::Binary => f64::from(u8::from(value != 0.0)),
        Scale::Range { zero, one } => linear(zero.get(), one.get(), value),
        Scale::LogRange { zero, one } => logarithmic(zero.get(), one.get(), value),
        Scale::ReferenceOver { reference } => share(reference.get(), value),
        Scale::SoftLimit { soft } => {
            let share = share(soft.get(), value);
            share * share
        }
    }
}

fn linear(zero: f64, one: f64, value: f64) -> f64 {
    #[expect(clippy::float_cmp, reason = "equal ends make a step, and would divide by zero")]
    if zero == one {
        return f64::from(u8::from(value >= one));
    }
    // Halves keep the difference of the two ends of the number line finite.
    clamped((value / 2.0 - zero / 2.0) / (one / 2.0 - zero / 2.0))
}

fn logarithmic(zero: f64, one: f64, value: f64) -> f64 {
    if zero <= 0.0 || one <= 0.0 {
        // Not a logarithmic axis at all; the linear one at least keeps the ends.
        return linear(zero, one, value);
    }
    // No logarithm exists at or below zero, where the value lies beyond the smaller end.
    let value = if value <= 0.0 { zero.min(one) } else { value };
    linear(libm::log(zero), libm::log(one), libm::log(value))
}

/// `min(1, reference / value)`; nothing beyond a reference that is not positive scores anything.
fn share(reference: f64, value: f64) -> f64 {
    if value <= reference {
        1.0
    } else if reference <= 0.0 {
        0.0
    } else {
        clamped(reference / value)
    }
}

/// Zero for NaN, which only infinite values can still bring about here.
fn clamped(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::units::Number;

    use super::*;

    fn number(value: f64) -> Number {
        Number::saturating(value)
    }

    fn range(zero: f64, one: f64) -> Scale {
        Scale::Range { zero: number(zero), one: number(one) }
    }

    fn log_range(zero: f64, one: f64) -> Scale {
        Scale::LogRange { zero: number(zero), one: number(one) }
    }

    fn over(reference: f64) -> Scale {
        Scale::ReferenceOver { reference: number(reference) }
    }

    fn soft(soft: f64) -> Scale {
        Scale::SoftLimit { soft: number(soft) }
    }

    #[test]
    fn scores_are_as_published() {
        let table = [
            (Scale::Binary, 0.0, 0.0),
            (Scale::Binary, 0.2, 1.0),
            (range(0.0, 80.0), 40.0, 0.5),
            (range(0.0, 80.0), -1.0, 0.0),
            (range(0.0, 80.0), 160.0, 1.0),
            (range(10.0, 0.0), 2.5, 0.75),
            (range(3.0, 3.0), 2.9, 0.0),
            (range(3.0, 3.0), 3.0, 1.0),
            (range(f64::MIN, f64::MAX), 0.0, 0.5),
            (log_range(1.0, 100.0), 1.0, 0.0),
            (log_range(1.0, 100.0), 10.0, 0.5),
            (log_range(1.0, 100.0), 400.0, 1.0),
            (log_range(1.0, 100.0), 0.0, 0.0),
            (log_range(100.0, 1.0), 10.0, 0.5),
            (log_range(100.0, 1.0), 0.0, 1.0),
            (log_range(0.0, 10.0), 5.0, 0.5),
            (over(6.0), 6.0, 1.0),
            (over(6.0), 12.0, 0.5),
            (over(6.0), 0.0, 1.0),
            (over(0.0), 1.0, 0.0),
            (over(-1.0), 1.0, 0.0),
            (soft(3600.0), 3600.0, 1.0),
            (soft(3600.0), 7200.0, 0.25),
            (soft(0.0), 1.0, 0.0),
            (soft(-2.0), -1.0, 0.0),
            (range(0.0, 1.0), f64::NAN, 0.0),
            (range(0.0, 1.0), f64::INFINITY, 1.0),
        ];
        for (scale, value, expected) in table {
            let score = score(&scale, value);
            assert!((score - expected).abs() < 1e-12, "{scale:?} of {value}: {score}");
        }
    }

    fn any_scale() -> impl Strategy<Value = Scale> {
        let end = || prop_oneof![-1e6..1e6, 1e-6..1e6, any::<f64>()];
        prop_oneof![
            (end(), end()).prop_map(|(zero, one)| range(zero, one)),
            (end(), end()).prop_map(|(zero, one)| log_range(zero, one)),
            end().prop_map(over),
            end().prop_map(soft),
            Just(Scale::Binary),
        ]
    }

    /// Whether more of the value is better on this scale.
    fn rises(scale: &Scale) -> bool {
        match scale {
            Scale::Binary => true,
            Scale::Range { zero, one } | Scale::LogRange { zero, one } => zero <= one,
            Scale::ReferenceOver { .. } | Scale::SoftLimit { .. } => false,
        }
    }

    proptest! {
        #[test]
        fn every_score_is_between_0_and_1(scale in any_scale(), value in any::<f64>()) {
            let score = score(&scale, value);
            prop_assert!((0.0..=1.0).contains(&score), "{}", score);
        }

        #[test]
        fn scores_are_monotone(scale in any_scale(), a in 0.0..1e9, b in 0.0..1e9) {
            let (less, more) = if a <= b { (a, b) } else { (b, a) };
            let (less, more) = (score(&scale, less), score(&scale, more));
            let is_monotone = if rises(&scale) { less <= more } else { less >= more };
            prop_assert!(is_monotone, "{less} {more}");
        }
    }
}
