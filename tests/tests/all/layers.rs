//! Imports point down only: each crate may use the crates of lower layers that its layer allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each crate may import. `hub` and `worker` never import each other; crates of the first layer
/// import nothing but `protocol`; `intake` and the archetypes know no socket and no file.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("matching", &["protocol"]),
    ("archetypes", &["protocol"]),
    ("intake", &["protocol"]),
    ("transport", &["protocol"]),
    ("workload", &["protocol"]),
    ("jobs", &["protocol"]),
    ("negotiation", &["protocol", "matching"]),
    ("secretary", &["protocol", "matching", "archetypes", "workload"]),
    (
        "worker",
        &["protocol", "matching", "archetypes", "intake", "jobs", "secretary", "transport", "workload"],
    ),
    ("hub", &["protocol", "matching", "archetypes", "intake", "negotiation", "transport"]),
    ("resource-ask", &["protocol", "matching", "intake", "negotiation", "transport"]),
    (
        "mcpserver",
        &[
            "protocol",
            "archetypes",
            "intake",
            "jobs",
            "secretary",
            "transport",
            "workload",
            "worker",
            "hub",
            "negotiation",
            "resource-ask",
        ],
    ),
];

/// Crates that must stay free of input, output and clocks, and what they may therefore not import.
const PURE: &[&str] = &["protocol", "matching", "archetypes", "intake", "negotiation"];
const IMPURE: &[&str] = &["tokio", "axum", "reqwest", "rmcp", "rusqlite", "nix", "sysinfo"];

fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).expect("a manifest");
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn imports_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, may) in &allowed {
        let found = dependencies(&root.join(name).join("Cargo.toml"));
        for dependency in found.iter().filter(|one| allowed.contains_key(one.as_str())) {
            if !may.contains(&dependency.as_str()) {
                wrong.push(format!("{name} imports {dependency}"));
            }
        }
        if PURE.contains(name) {
            wrong.extend(
                IMPURE.iter().filter(|one| found.contains(**one)).map(|one| format!("{name} imports {one}")),
            );
        }
        if *name != "transport" && found.contains("rmcp") {
            wrong.push(format!("{name} imports rmcp; only transport may"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_has_a_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("the root manifest");
    let members =
        manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split(['"', ',', '\n', ' ']).filter(|part| !part.is_empty()) {
        assert!(
            member == "tests" || ALLOWED.iter().any(|(name, _)| *name == member),
            "{member} has no layer"
        );
    }
}
