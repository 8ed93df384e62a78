//! Ways to make one score of several utilities. The weighted product is the product's own; the others
//! are there for comparison only.
//!
//! `AdditiveMinMax` and `Topsis` normalise by the candidates, so a losing bid that appears or
//! disappears can reverse the order of the others (Belton and Gear 1983): with untrusted bidders that
//! is an attack. A test shows a case of each.

use crate::score::weighted_product;

/// A way to make one score of several utilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// `prod u_i^w_i`.
    #[default]
    WeightedProduct,
    /// `sum w_i u_i` on absolute utilities.
    Additive,
    /// `sum w_i (u_i - min_i) / (max_i - min_i)` over the candidates.
    AdditiveMinMax,
    /// Closeness to the best candidate values and distance from the worst (Hwang and Yoon 1981).
    Topsis,
}

impl Method {
    /// Whether a score depends on the other candidates.
    #[must_use]
    pub const fn is_relative(self) -> bool {
        matches!(self, Self::AdditiveMinMax | Self::Topsis)
    }
}

/// One score for each candidate (a row of utilities, one for each weight).
#[must_use]
pub fn aggregate(method: Method, rows: &[&[f64]], weights: &[f64]) -> Vec<f64> {
    match method {
        Method::WeightedProduct => {
            rows.iter().map(|row| weighted_product(row.iter().copied(), weights)).collect()
        }
        Method::Additive => rows.iter().map(|row| dot(row, weights)).collect(),
        Method::AdditiveMinMax => {
            let ranges: Vec<(f64, f64)> = (0..weights.len()).map(|factor| range(rows, factor)).collect();
            let scaled = |row: &&[f64]| {
                row.iter()
                    .zip(&ranges)
                    .zip(weights)
                    .map(|((utility, (low, high)), weight)| {
                        weight * if high > low { (utility - low) / (high - low) } else { 1.0 }
                    })
                    .sum()
            };
            rows.iter().map(scaled).collect()
        }
        Method::Topsis => topsis(rows, weights),
    }
}

fn dot(row: &[f64], weights: &[f64]) -> f64 {
    row.iter().zip(weights).map(|(utility, weight)| utility * weight).sum()
}

fn range(rows: &[&[f64]], factor: usize) -> (f64, f64) {
    rows.iter()
        .filter_map(|row| row.get(factor))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

fn topsis(rows: &[&[f64]], weights: &[f64]) -> Vec<f64> {
    let norms: Vec<f64> = (0..weights.len())
        .map(|factor| {
            let squares: f64 = rows.iter().filter_map(|row| row.get(factor)).map(|value| value * value).sum();
            libm::sqrt(squares).max(f64::MIN_POSITIVE)
        })
        .collect();
    let scaled: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            row.iter().zip(&norms).zip(weights).map(|((value, norm), weight)| weight * value / norm).collect()
        })
        .collect();
    let views: Vec<&[f64]> = scaled.iter().map(Vec::as_slice).collect();
    let (worst, best): (Vec<f64>, Vec<f64>) = (0..weights.len()).map(|factor| range(&views, factor)).unzip();
    let distance = |row: &[f64], ideal: &[f64]| {
        let squares: f64 =
            row.iter().zip(ideal).map(|(value, ideal)| (value - ideal) * (value - ideal)).sum();
        libm::sqrt(squares)
    };
    views
        .iter()
        .map(|row| {
            let (from_worst, to_best) = (distance(row, &worst), distance(row, &best));
            let whole = from_worst + to_best;
            if whole > 0.0 { from_worst / whole } else { 1.0 }
        })
        .collect()
}
