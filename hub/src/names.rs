//! Names of the workers' tools at the hub: `<worker>__<tool>`, at most 64 characters of
//! `[A-Za-z0-9_-]`, found again by map and never by taking the name apart.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::fleet::WorkerState;
use transport::host::ToolDefinition;

use crate::fleet::{Fleet, Member};

/// The longest name that common clients accept.
const LONGEST: usize = 64;

/// How names are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolNames {
    /// `<worker>__<tool>`.
    #[default]
    Namespaced,
    /// `<worker>_<tool>`, as the predecessor has them.
    Legacy,
}

/// The tools of all workers that give signs of life, under their names at the hub.
#[derive(Default)]
pub struct Catalogue {
    routes: HashMap<String, (Arc<Member>, Arc<ToolDefinition>)>,
    order: Vec<String>,
}

impl Catalogue {
    /// The catalogue of a fleet as it is now.
    #[must_use]
    pub fn of(fleet: &Fleet, names: ToolNames) -> Self {
        let mut catalogue = Self::default();
        for member in fleet.members() {
            if fleet.state(&member) == WorkerState::Offline {
                continue;
            }
            for tool in member.tools().iter() {
                let worker = member.particulars.worker_id.as_str();
                let name = exposed_name(names, worker, &tool.name);
                // Only a collision of hashes, or legacy names that run into each other, get here twice:
                // the first keeps the name, so that no call ever reaches another tool than before.
                if !catalogue.routes.contains_key(&name) {
                    catalogue.routes.insert(name.clone(), (member.clone(), tool.clone()));
                    catalogue.order.push(name);
                }
            }
        }
        catalogue
    }

    /// Where a name leads.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&(Arc<Member>, Arc<ToolDefinition>)> {
        self.routes.get(name)
    }

    /// The definitions under their names at the hub, in order.
    pub fn definitions(&self) -> impl Iterator<Item = ToolDefinition> + '_ {
        self.order.iter().filter_map(|name| {
            let (member, tool) = self.routes.get(name)?;
            let worker = &member.particulars.worker_id;
            let mut definition = (**tool).clone();
            definition.title = Some(format!("{worker}.{}", tool.title.as_deref().unwrap_or(&tool.name)));
            definition.name.clone_from(name);
            Some(definition)
        })
    }

    /// How many tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// A tool's name at the hub. Different (worker, tool) pairs get different names: a character that had
/// to be replaced, or a name that had to be cut, brings a hash of the pair with it.
#[must_use]
pub fn exposed_name(names: ToolNames, worker: &str, tool: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let clean: String = tool.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if names == ToolNames::Legacy {
        let plain = format!("{worker}_{clean}").replace('-', "_");
        return if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("n_{plain}") } else { plain };
    }
    let plain = format!("{worker}__{clean}");
    if plain.len() <= LONGEST && clean == tool && !tool.starts_with('_') {
        return plain;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{worker}\n{tool}").as_bytes());
    let hash: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let kept: String = plain.chars().take(LONGEST - 9).collect();
    format!("{kept}_{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_clients_accept() {
        let name = exposed_name(ToolNames::Namespaced, &"w".repeat(32), &"t".repeat(200));
        assert_eq!(name.len(), 64);
        assert_eq!(exposed_name(ToolNames::Namespaced, "hpc-1", "queue_depth"), "hpc-1__queue_depth");
        assert_eq!(exposed_name(ToolNames::Legacy, "hpc-1", "queue.depth"), "hpc_1_queue_depth");
    }

    #[test]
    fn different_tools_get_different_names() {
        let name = |worker, tool| exposed_name(ToolNames::Namespaced, worker, tool);
        assert_ne!(name("a", "b.c"), name("a", "b_c"));
        assert_ne!(name("a", "_b"), name("a-", "b"));
        assert_ne!(name("w", &"x".repeat(100)), name("w", &"x".repeat(101)));
    }
}
