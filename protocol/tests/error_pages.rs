//! Every error code has a page under docs/errors that says what the code itself says, and no page is
//! about a code that does not exist.

use std::collections::BTreeSet;
use std::path::PathBuf;

use protocol::error::ErrorCode;
use schemars::schema_for;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/errors")
}

fn page(name: &str) -> String {
    // A page that is missing is an empty one: it fails at its heading, by name.
    std::fs::read_to_string(folder().join(format!("{name}.md"))).unwrap_or_default()
}

#[test]
fn all_lists_every_code() {
    let schema = schema_for!(ErrorCode).to_value();
    let variants = schema["oneOf"].as_array().unwrap();
    let in_schema: BTreeSet<&str> = variants.iter().filter_map(|variant| variant["const"].as_str()).collect();
    let listed: BTreeSet<String> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
    assert!(!in_schema.is_empty());
    assert_eq!(in_schema, listed.iter().map(String::as_str).collect());
}

#[test]
fn every_code_has_a_page_that_agrees_with_it() {
    for code in ErrorCode::ALL {
        let name = code.to_string();
        let page = page(&name);
        assert!(page.starts_with(&format!("# {name}\n")), "{name}: the heading is not the code");
        let again = if code.is_retryable() { "yes" } else { "no" };
        let facts = format!("\n| {} | {again} | ", code.status());
        assert!(page.contains(&facts), "{name}: the page does not say {facts:?}");
        for heading in ["## What happened", "## What to do"] {
            assert!(page.contains(heading), "{name}: {heading:?} is missing");
        }
    }
}

#[test]
fn no_page_is_without_a_code() {
    let mut known: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| format!("{code}.md")).collect();
    known.insert("README.md".to_owned());
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "docs/errors/{name} is about no code");
    }
}

#[test]
fn the_index_agrees_with_the_codes() {
    let index = page("README");
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(rows.len(), ErrorCode::ALL.len());
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        let name = code.to_string();
        let again = if code.is_retryable() { "yes" } else { "no" };
        assert!(row.starts_with(&format!("| [{name}]({name}.md) | ")), "{row} stands where {name} belongs");
        assert!(row.ends_with(&format!(" | {} | {again} |", code.status())), "{row}");
    }
}

#[test]
fn a_code_is_written_as_in_json() {
    for code in ErrorCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), Value::String(code.to_string()));
    }
}
