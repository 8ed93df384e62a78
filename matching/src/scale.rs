//! Scores of values on published scales.

use protocol::factor::Scale;

/// The score of a value on a scale, from 0 to 1.
#[must_use]
pub fn score(scale: &Scale, value: f64) -> f64 {
    let _ = scale;
    value.clamp(0.0, 1.0)
}
