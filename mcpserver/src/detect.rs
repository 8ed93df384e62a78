//! `mcpserver detect` and `mcpserver providers`: what a secretary sees here, and what it can look with.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use protocol::clock::{Clock, SystemClock};
use protocol::facts::Scope;
use resource_ask::render::Screen;
use resource_ask::render::grid::{Cell, Column, Grid, Tone};
use resource_ask::render::text;
use secretary::Category;
use secretary::detection::Detection;
use secretary::provider::Provider;
use secretary::providers::{detect as look, real_providers};
use secretary::real::host::Host;
use secretary::real::machine::Machine;
use serde_json::{Value, json};
use workload::ReadSide;

use crate::exit::Failure;
use crate::managers;
use crate::site::manager_of_simulated;
use crate::start::passing_directory;

/// Characters of a provider's metadata that a table shows.
const SHOWN: usize = 400;

/// Every provider that there is. The workload manager of this machine is looked at through one that is
/// made for it and goes again, with nothing in its queue.
fn providers_here() -> Result<(Vec<Arc<dyn Provider>>, tempfile::TempDir), Failure> {
    let directory = passing_directory()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let machine = manager_of_simulated(directory.path(), clock.clone())?;
    let manager: Arc<dyn ReadSide> = machine;
    let mut providers = real_providers(&Host::this(), Some(manager));
    for manager in managers::readers(&clock) {
        providers.push(Arc::new(Machine::new(manager)));
    }
    Ok((providers, directory))
}

/// Looks for providers and prints what was found.
pub async fn detect(category: Option<Category>, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let (providers, _directory) = providers_here()?;
    let wanted: Vec<Arc<dyn Provider>> = providers
        .iter()
        .filter(|provider| {
            category.is_none_or(|category| category == provider.category())
                && name.is_none_or(|name| name == provider.name())
        })
        .cloned()
        .collect();
    if let (Some(name), true) = (name, wanted.is_empty()) {
        let mut names: Vec<&str> = providers
            .iter()
            .filter(|provider| category.is_none_or(|category| category == provider.category()))
            .map(|provider| provider.name())
            .collect();
        names.sort_unstable();
        let message = format!("there is no provider {name:?} here; there are {}", names.join(", "));
        return Err(Failure::Usage(message));
    }
    let found: Vec<Detection> = look(wanted).await.into_iter().map(|(_, detection)| detection).collect();
    let mut out = Vec::new();
    if json {
        write_json(&mut out, &json!(found))?;
    } else {
        write_detections(&mut out, &Screen::of_stdout(), &found, name.is_some())?;
    }
    Ok(io::stdout().write_all(&out)?)
}

/// Prints every provider and its tools, without looking.
pub fn providers(json: bool) -> Result<(), Failure> {
    let (providers, _directory) = providers_here()?;
    let mut out = Vec::new();
    if json {
        let list: Vec<Value> = providers
            .iter()
            .map(|provider| {
                let tools: Vec<Value> = provider
                    .tools()
                    .iter()
                    .map(|tool| {
                        json!({"name": format!("{}_{}", provider.name(), tool.name),
                            "description": tool.description, "input_schema": *tool.input_schema})
                    })
                    .collect();
                json!({"name": provider.name(), "category": provider.category(), "tools": tools})
            })
            .collect();
        write_json(&mut out, &Value::Array(list))?;
    } else {
        let screen = Screen::of_stdout();
        let columns = [Column::Label("category"), Column::Label("provider"), Column::Prose("tools")];
        let mut grid = Grid::new(&screen, &columns);
        for provider in &providers {
            let tools: Vec<&str> = provider.tools().iter().map(|tool| tool.name).collect();
            grid.row(vec![
                provider.category().as_str().into(),
                provider.name().into(),
                tools.join(", ").into(),
            ]);
        }
        grid.write(&mut out)?;
    }
    Ok(io::stdout().write_all(&out)?)
}

fn write_json(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// What is here in a table; what is not in a line for each category. A provider that was asked for by
/// name is shown in full.
fn write_detections(
    out: &mut dyn Write,
    screen: &Screen,
    found: &[Detection],
    in_full: bool,
) -> io::Result<()> {
    let columns = [
        Column::Label("category"),
        Column::Label("provider"),
        Column::Label("speaks of"),
        Column::Prose("what it says"),
    ];
    let mut grid = Grid::new(screen, &columns);
    let mut absent: BTreeMap<Category, Vec<&str>> = BTreeMap::new();
    for detection in found {
        let said = match &detection.problem {
            Some(problem) => Cell::new(Tone::Bad, text::excerpt(problem, SHOWN)),
            None if detection.present && in_full => Cell::from(text::escape(&outline(&detection.metadata))),
            None if detection.present => Cell::from(text::excerpt(&outline(&detection.metadata), SHOWN)),
            None => {
                absent.entry(detection.category).or_default().push(&detection.name);
                continue;
            }
        };
        let scope = match detection.scope {
            _ if !detection.present => "",
            Scope::Host => "this machine",
            Scope::Site => "the site",
        };
        grid.row(vec![
            detection.category.as_str().into(),
            Cell::new(Tone::Strong, &detection.name),
            scope.into(),
            said,
        ]);
    }
    if grid.is_empty() {
        writeln!(out, "  nothing of it is here")?;
    } else {
        grid.write(out)?;
    }
    if !absent.is_empty() {
        writeln!(out)?;
        screen.heading(out, "not here")?;
        for (category, names) in absent {
            writeln!(out, "  {category}: {}", names.join(", "))?;
        }
    }
    Ok(())
}

/// A JSON value for people: `name value, name value`, without quotes and braces at the top.
fn outline(value: &Value) -> String {
    match value {
        Value::Null => text::UNKNOWN.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), text::number),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Array(items) => match items.as_slice() {
            [] => "none".to_owned(),
            items => items.iter().map(inner).collect::<Vec<_>>().join(", "),
        },
        Value::Object(fields) => {
            let shown =
                fields.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), inner(value)));
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

fn inner(value: &Value) -> String {
    match value {
        Value::Array(items) if items.len() != 1 => format!("[{}]", outline(value)),
        Value::Object(_) => format!("({})", outline(value)),
        _ => outline(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_readable() {
        let metadata =
            json!({"model": "X", "cores": 2, "flags": ["avx2", "sse4"], "gpus": [{"model": "h100"}]});
        assert_eq!(outline(&metadata), "model X, cores 2, flags [avx2, sse4], gpus (model h100)");
        assert_eq!(outline(&json!({})), "");
        assert_eq!(outline(&json!([])), "none");
    }
}
