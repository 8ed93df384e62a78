//! The same seed gives the same site, byte for byte, on every machine and in every release of one
//! version of the recipes. A digest that differs means: raise `archetypes::VERSION`, then run with
//! `UPDATE_GOLDEN=1`; the version stays where only the form of `Facts` is another and no value is.

use archetypes::{Archetype, Site, VERSION};
use protocol::facts::Allocation;
use protocol::ids::Digest;
use serde_json::Value;

use crate::{proposal, worker};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/digests.txt");

/// The value with the keys of every object sorted, so that the order of fields does not matter.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn digest(value: impl serde::Serialize) -> Digest {
    let canonical = serde_json::to_string(&sorted(serde_json::to_value(value).unwrap())).unwrap();
    Digest::of(canonical.as_bytes())
}

fn lines() -> String {
    let mut lines = format!("version {VERSION}\n");
    for archetype in Archetype::ALL {
        for (name, seed) in [("worker-1", 0), ("worker-1", 1), ("lab", u64::MAX)] {
            let site = Site::generate(&worker(name), archetype, seed);
            let mut add = |what: &str, digest: Digest| {
                lines.push_str(&format!("{name} {archetype} {seed} {what} {digest}\n"));
            };
            add("providers", digest(site.providers()));
            for tick in [0, 1, 1_000, 10_000_000] {
                add(&format!("tick={tick}"), digest(site.truth(tick, &[])));
            }
            let one = Allocation { nodes: 1, cores: 4, gpus: 0 };
            add("taken", digest(site.truth(7, &[(proposal(1), one)])));
            let happened = (site.start_delay(7, &one), site.runtime(&proposal(1), None));
            add("happened", digest(happened));
        }
    }
    lines
}

#[test]
fn sites_are_the_same_as_ever() {
    let lines = lines();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PATH, &lines).unwrap();
    }
    let recorded = std::fs::read_to_string(PATH).unwrap();
    for (now, then) in lines.lines().zip(recorded.lines()) {
        assert_eq!(now, then, "a drawn value moved: raise archetypes::VERSION and record anew");
    }
    assert_eq!(lines.lines().count(), recorded.lines().count());
}
