//! Requests in all the ways people write them, each with exactly what is understood.
//!
//! `tests/data/requests.json` holds the table. `UPDATE_REQUESTS=1` rewrites what is expected from what
//! is read; the diff is then to be read like code. A prompt without `requirement` is a new one.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

use std::path::Path;

use intake::{Vocabulary, understand};
use protocol::request::Request;
use protocol::understanding::{Intent, Understanding};
use protocol::units::Timestamp;
use serde_json::{Value, json};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/requests.json");

fn read(prompt: &str) -> Understanding {
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let request = Request { prompt: Some(prompt.to_owned()), ..Request::default() };
    understand(&request, &Vocabulary::shipped(), now)
}

/// What the table holds of an understanding; what is empty is left out.
fn row(prompt: &str) -> Value {
    let understanding = read(prompt);
    let mut row = json!({"prompt": prompt, "requirement": understanding.requirement});
    if understanding.intent != Intent::Balanced {
        row["intent"] = json!(understanding.intent);
    }
    if let Some(job) = &understanding.job {
        row["job"] = json!(job);
    }
    if !understanding.missing.is_empty() {
        row["missing"] = json!(understanding.missing);
    }
    if !understanding.not_understood.is_empty() {
        let texts: Vec<&str> = understanding.not_understood.iter().map(|part| part.text.as_str()).collect();
        row["not_understood"] = json!(texts);
    }
    row
}

fn table() -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(TABLE).unwrap()).unwrap()
}

#[test]
fn each_request_is_understood_exactly() {
    let rows = table();
    assert!(rows.len() >= 80, "{}", rows.len());
    let read: Vec<Value> = rows.iter().map(|expected| row(expected["prompt"].as_str().unwrap())).collect();
    if std::env::var_os("UPDATE_REQUESTS").is_some() {
        let lines: Vec<String> = read.iter().map(|row| format!("  {row}")).collect();
        std::fs::write(Path::new(TABLE), format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
        return;
    }
    let wrong: Vec<String> = rows
        .iter()
        .zip(&read)
        .filter(|(expected, read)| expected != read)
        .map(|(expected, read)| format!("expected {expected}\n    read {read}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
