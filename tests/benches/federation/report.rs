//! Figures, their targets, and how they are shown.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Told for its own sake.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::None => None,
        }
    }
}

struct Row {
    part: String,
    name: String,
    value: f64,
    unit: &'static str,
    target: Target,
}

/// All figures of a run, told on the error stream as they come.
pub struct Report {
    rows: Vec<Row>,
    load_before: String,
}

impl Report {
    pub fn new() -> Self {
        Self { rows: Vec::new(), load_before: crate::counters::load() }
    }

    pub fn add(&mut self, part: &str, name: &str, value: f64, unit: &'static str, target: Target) {
        let row = Row { part: part.to_owned(), name: name.to_owned(), value, unit, target };
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    /// A table of plain text.
    pub fn text(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!(
            "{processors} processors, load before {}, after {}\n\n",
            self.load_before,
            crate::counters::load()
        );
        let mut part = "";
        for row in &self.rows {
            if row.part != part {
                part = &row.part;
                let _ = writeln!(text, "{part}");
            }
            let _ = writeln!(text, "{}", line(row));
        }
        let missed = self.rows.iter().filter(|row| row.target.is_met(row.value) == Some(false)).count();
        let _ = writeln!(text, "\n{missed} of {} targets missed", self.targets());
        text
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let target = match row.target {
                Target::AtMost(most) => json!({ "at_most": most }),
                Target::AtLeast(least) => json!({ "at_least": least }),
                Target::None => Value::Null,
            };
            json!({"part": row.part, "name": row.name, "value": row.value, "unit": row.unit,
                "target": target, "met": row.target.is_met(row.value)})
        });
        json!({"load_before": self.load_before, "load_after": crate::counters::load(),
            "figures": rows.collect::<Vec<_>>()})
    }

    fn targets(&self) -> usize {
        self.rows.iter().filter(|row| row.target.is_met(row.value).is_some()).count()
    }
}

fn line(row: &Row) -> String {
    let target = match row.target {
        Target::AtMost(most) => format!("<= {}", number(most)),
        Target::AtLeast(least) => format!(">= {}", number(least)),
        Target::None => String::new(),
    };
    let verdict = match row.target.is_met(row.value) {
        Some(true) => "ok",
        Some(false) => "MISSED",
        None => "",
    };
    let line = format!(
        "  {:<44} {:>10} {:<8} {:>10}  {verdict}",
        format!("{}", row.name),
        number(row.value),
        row.unit,
        target
    );
    line.trim_end().to_owned()
}

/// Three digits that count.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// The value below which a share of the samples lies.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let place = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
