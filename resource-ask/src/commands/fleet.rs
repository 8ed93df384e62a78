//! `trust`, `list`, `export`: what there is, and what is known of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use protocol::clock::{Clock, SystemClock};
use protocol::fleet::WorkerStatus;
use protocol::ids::WorkerId;
use protocol::trust::{TrustRecord, TrustState};
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::Listing;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::hub::{self, Answer, Hub, Items};
use crate::output::Document;
use crate::render::{Screen, fleet, text};

/// Shows what is known of each worker's honesty and delivery.
pub async fn trust(console: &Console, hub: &Hub) -> Result<Exit, Failure> {
    console.print(&Trust(hub.get("get_trust", hub::nothing()).await?))?;
    Ok(Exit::Done)
}

/// Lists what the hub can name, except jobs.
pub async fn list(console: &Console, hub: &Hub, what: Listing) -> Result<Exit, Failure> {
    let tool = match what {
        Listing::Workers => {
            console.print(&Workers(hub.get("get_fleet_status", hub::nothing()).await?))?;
            return Ok(Exit::Done);
        }
        Listing::Jobs => "list_jobs",
        Listing::Select => "list_strategies",
        Listing::Providers => "list_providers",
        Listing::Archetypes => "list_archetypes",
    };
    console.print(&Named(hub.get::<Items<Value>>(tool, hub::nothing()).await?.value.items))?;
    Ok(Exit::Done)
}

/// Writes the fleet's truth to a file, whole or not at all, or to standard output.
pub async fn export(console: &Console, hub: &Hub, output: Option<&Path>) -> Result<Exit, Failure> {
    let answer = hub.get::<Value>("export_fleet_truth", hub::nothing()).await?;
    let mut document = serde_json::to_string_pretty(&answer.raw).unwrap_or_default();
    document.push('\n');
    let Some(path) = output.filter(|path| *path != Path::new("-")) else {
        console.print_text(&document)?;
        return Ok(Exit::Done);
    };
    files::write_atomically(path, document.as_bytes())?;
    let workers = answer.raw["ground_truth"].as_object().map_or(0, serde_json::Map::len);
    console.note(&format!("{}: {}", path.display(), text::count(workers, "worker")));
    Ok(Exit::Done)
}

struct Trust(Answer<BTreeMap<WorkerId, TrustRecord>>);

impl Document for Trust {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        fleet::write_trust(out, screen, &self.0.value)
    }

    fn json(&self) -> Value {
        self.0.raw.clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        let state = |record: &TrustRecord| match record.state {
            TrustState::Newcomer => "newcomer",
            TrustState::Trusted => "trusted",
            TrustState::Quarantined => "quarantined",
        };
        self.0.value.iter().try_for_each(|(worker, record)| writeln!(out, "{worker} {}", state(record)))
    }
}

#[derive(Debug, Clone, Deserialize)]
struct FleetStatus {
    workers: Vec<WorkerStatus>,
}

struct Workers(Answer<FleetStatus>);

impl Document for Workers {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        fleet::write_workers(out, screen, &self.0.value.workers, SystemClock.now())
    }

    fn json(&self) -> Value {
        self.0.raw["workers"].clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.value.workers.iter().try_for_each(|worker| writeln!(out, "{}", worker.name))
    }
}

struct Named(Vec<Value>);

impl Document for Named {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        fleet::write_named(out, screen, &self.0)
    }

    fn json(&self) -> Value {
        Value::Array(self.0.clone())
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0
            .iter()
            .filter_map(|item| item.get("name").and_then(Value::as_str))
            .try_for_each(|name| writeln!(out, "{}", text::escape(name)))
    }
}
