//! The fleet: its workers, what is known of their honesty, and lists of whatever the hub can name.

use std::collections::BTreeMap;
use std::io::{self, Write};

use protocol::fleet::{WorkerState, WorkerStatus};
use protocol::ids::WorkerId;
use protocol::trust::{BetaPair, TrustRecord, TrustState};
use protocol::units::Timestamp;
use serde_json::Value;

use super::grid::{Cell, Column, Grid, Screen, Tone};
use super::proposals::trust_tone;
use super::text;

/// Writes one line for each worker.
pub fn write_workers(
    out: &mut dyn Write,
    screen: &Screen,
    workers: &[WorkerStatus],
    now: Timestamp,
) -> io::Result<()> {
    if workers.is_empty() {
        return writeln!(out, "  no worker has joined the fleet");
    }
    let mut grid = Grid::new(
        screen,
        &[
            Column::Label("worker"),
            Column::Label("state"),
            Column::Label("site"),
            Column::Label("manager"),
            Column::Figure("seen"),
            Column::Figure("claims"),
            Column::Figure("delivery"),
            Column::Prose("labels"),
        ],
    );
    for worker in workers {
        let tone = match worker.state {
            WorkerState::Online => Tone::Good,
            WorkerState::Suspect | WorkerState::Draining => Tone::Doubtful,
            WorkerState::Offline => Tone::Faint,
            WorkerState::Quarantined => Tone::Bad,
        };
        let labels: Vec<String> = worker.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        grid.row(vec![
            worker.name.as_str().into(),
            Cell::new(tone, worker.state.to_string()),
            text::excerpt(worker.archetype.as_deref().unwrap_or(""), 16).into(),
            text::excerpt(worker.workload.as_deref().unwrap_or(""), 16).into(),
            format!("{} ago", text::seconds(now.since(worker.last_seen))).into(),
            expectation(&worker.trust.claim),
            expectation(&worker.trust.delivery),
            text::excerpt(&labels.join(", "), 100).into(),
        ]);
    }
    grid.write(out)
}

fn expectation(pair: &BetaPair) -> Cell {
    let value = pair.expectation.get();
    Cell::new(trust_tone(value), text::share(value))
}

fn evidence(pair: &BetaPair) -> Cell {
    let digits = |value: f64| text::number((value * 100.0).round() / 100.0);
    Cell::new(Tone::Faint, format!("+{} −{}", digits(pair.r.get()), digits(pair.s.get())))
}

/// Writes what is known of each worker's honesty, delivery and availability, with the evidence for and
/// against; the least trusted come last.
pub fn write_trust(
    out: &mut dyn Write,
    screen: &Screen,
    trust: &BTreeMap<WorkerId, TrustRecord>,
) -> io::Result<()> {
    if trust.is_empty() {
        return writeln!(out, "  nothing is known of any worker yet");
    }
    let mut sorted: Vec<(&WorkerId, &TrustRecord)> = trust.iter().collect();
    let weight = |record: &TrustRecord| record.claim.expectation.get() * record.delivery.expectation.get();
    sorted.sort_by(|a, b| weight(b.1).total_cmp(&weight(a.1)).then(a.0.cmp(b.0)));
    let mut grid = Grid::new(
        screen,
        &[
            Column::Prose("worker"),
            Column::Label("state"),
            Column::Figure("claims"),
            Column::Label("evidence"),
            Column::Figure("delivery"),
            Column::Label("evidence"),
            Column::Figure("available"),
        ],
    );
    for (worker, record) in sorted {
        grid.row(vec![
            worker.as_str().into(),
            trust_state(record.state),
            expectation(&record.claim),
            evidence(&record.claim),
            expectation(&record.delivery),
            evidence(&record.delivery),
            expectation(&record.availability),
        ]);
    }
    grid.write(out)
}

fn trust_state(state: TrustState) -> Cell {
    match state {
        TrustState::Newcomer => Cell::from("newcomer"),
        TrustState::Trusted => Cell::new(Tone::Good, "trusted"),
        TrustState::Quarantined => Cell::new(Tone::Bad, "quarantined"),
    }
}

/// Writes any list of objects that have a `name`: one line each, the other fields behind it.
pub fn write_named(out: &mut dyn Write, screen: &Screen, items: &[Value]) -> io::Result<()> {
    if items.is_empty() {
        return writeln!(out, "  nothing");
    }
    let mut grid = Grid::new(screen, &[Column::Label(""), Column::Prose("")]);
    for item in items {
        let Some(fields) = item.as_object() else {
            grid.row(vec![plain(item).into()]);
            continue;
        };
        let name = fields.get("name").map(plain).unwrap_or_default();
        let rest: Vec<String> = fields
            .iter()
            .filter(|(key, value)| *key != "name" && !says_nothing(value))
            .map(|(key, value)| {
                // A sentence speaks for itself; anything else needs its name.
                let prose = value.as_str().is_some_and(|text| text.contains(' '));
                if prose { plain(value) } else { format!("{}: {}", text::excerpt(key, 40), plain(value)) }
            })
            .collect();
        grid.row(vec![Cell::new(Tone::Strong, name), rest.join("; ").into()]);
    }
    grid.write(out)
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A JSON value in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text::excerpt(text, 300),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), text::number),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            text::excerpt(&items.iter().map(plain).collect::<Vec<_>>().join(", "), 300)
        }
        Value::Null => String::new(),
        other => text::excerpt(&other.to_string(), 300),
    }
}
