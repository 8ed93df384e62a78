//! Looking at the fleet: workers, trust, truth, and the lists of what exists.

use std::collections::BTreeMap;

use archetypes::Archetype;
use protocol::error::ErrorBody;
use protocol::facts::Facts;
use protocol::fleet::{WorkerState, WorkerStatus};
use protocol::ids::WorkerId;
use protocol::trust::{TrustRecord, TrustState};
use protocol::units::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fleet::Member;
use crate::hub::Hub;
use crate::predecessor::truth_by_provider;

/// Which workers to show.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetArguments {
    /// Only workers with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only workers whose name comes after this one.
    pub after: Option<WorkerId>,
    /// At most this many; all when absent.
    pub limit: Option<u32>,
}

/// The workers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FleetStatus {
    /// By name.
    pub workers: Vec<WorkerStatus>,
    /// How many there are in all.
    pub total: usize,
}

/// Trust by worker.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Trust(BTreeMap<WorkerId, TrustRecord>);

/// A list of things with a name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Items {
    /// Each has at least a `name`.
    pub items: Vec<Value>,
}

/// Everything that is true of the simulated sites, and the metadata of the real ones.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Export {
    /// When it was made.
    pub timestamp: Timestamp,
    /// By worker.
    pub ground_truth: BTreeMap<WorkerId, WorkerTruth>,
    /// The worker ids of each kind of site.
    pub archetypes: BTreeMap<String, Vec<WorkerId>>,
    /// How many workers of each kind of site.
    pub counts: BTreeMap<String, usize>,
}

/// What is true of one worker.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WorkerTruth {
    /// By category and provider: what is true of a mock site, the static metadata of a real one.
    pub truth: BTreeMap<String, BTreeMap<String, Value>>,
    /// The same as the complete facts, for a mock site.
    pub facts: Option<Facts>,
    /// Its providers by category.
    pub registry: BTreeMap<String, Vec<String>>,
    /// Their static metadata, and the kind of site.
    pub metadata: Value,
}

fn registry(member: &Member) -> BTreeMap<String, Vec<String>> {
    let providers = &member.particulars.manifest.providers;
    providers
        .iter()
        .map(|(category, members)| (category.clone(), members.keys().cloned().collect()))
        .collect()
}

impl Hub {
    pub(super) async fn get_fleet_status(&self, arguments: FleetArguments) -> Result<FleetStatus, ErrorBody> {
        let trust = self.store().trust().await.map_err(|e| e.outward())?;
        let members = self.fleet().members();
        let limit = arguments.limit.map_or(usize::MAX, |limit| limit as usize);
        let workers = members
            .iter()
            .filter(|member| {
                let labels = &member.particulars.labels;
                arguments.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
            .filter(|member| {
                arguments.after.as_ref().is_none_or(|after| member.particulars.worker_id > *after)
            })
            .take(limit)
            .map(|member| self.worker_status(member, trust.get(&member.particulars.worker_id)))
            .collect();
        Ok(FleetStatus { workers, total: members.len() })
    }

    fn worker_status(&self, member: &Member, trust: Option<&TrustRecord>) -> WorkerStatus {
        let particulars = &member.particulars;
        let trust = trust.cloned().unwrap_or_default();
        let state = match self.fleet().state(member) {
            WorkerState::Online if trust.state == TrustState::Quarantined => WorkerState::Quarantined,
            state => state,
        };
        WorkerStatus {
            name: particulars.worker_id.clone(),
            state,
            labels: particulars.labels.clone(),
            url: particulars.url.clone(),
            linked: member.ways.is_dialled(),
            protocol: particulars.protocol().to_owned(),
            last_seen: member.last_seen(),
            archetype: particulars.manifest.archetype.clone(),
            workload: particulars.manifest.workload.clone(),
            providers: registry(member),
            tools: member.tools().len(),
            trust,
        }
    }

    pub(super) async fn get_trust(&self) -> Result<Trust, ErrorBody> {
        let mut trust = self.store().trust().await.map_err(|e| e.outward())?;
        for member in self.fleet().members() {
            trust.entry(member.particulars.worker_id.clone()).or_default();
        }
        Ok(Trust(trust))
    }

    pub(super) async fn export_fleet_truth(&self) -> Result<Export, ErrorBody> {
        let tick = self.tick();
        let mut ground_truth = BTreeMap::new();
        let mut archetypes: BTreeMap<String, Vec<WorkerId>> = BTreeMap::new();
        for member in self.fleet().members() {
            let particulars = &member.particulars;
            let id = particulars.worker_id.clone();
            let kind = particulars.manifest.archetype.clone().unwrap_or_else(|| "unknown".to_owned());
            archetypes.entry(kind.clone()).or_default().push(id.clone());
            let taken = self.taken().of(&id);
            let facts = member.site.as_ref().map(|site| site.truth(tick, &taken));
            let providers = &particulars.manifest.providers;
            ground_truth.insert(
                id,
                WorkerTruth {
                    truth: facts.as_ref().map_or_else(|| providers.clone(), truth_by_provider),
                    facts,
                    registry: registry(&member),
                    metadata: json!({
                        "archetype": kind,
                        "mock": particulars.manifest.mock,
                        "providers": particulars.manifest.providers,
                    }),
                },
            );
        }
        let counts = archetypes.iter().map(|(kind, ids)| (kind.clone(), ids.len())).collect();
        Ok(Export { timestamp: self.now(), ground_truth, archetypes, counts })
    }

    pub(super) fn list_strategies(&self) -> Items {
        let strategies = negotiation::select::strategies();
        Items { items: strategies.iter().filter_map(|info| serde_json::to_value(info).ok()).collect() }
    }

    pub(super) fn list_providers(&self) -> Items {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for member in self.fleet().members() {
            for (category, names) in registry(&member) {
                for name in names {
                    *counts.entry((category.clone(), name)).or_default() += 1;
                }
            }
        }
        let item =
            |((category, name), workers)| json!({"name": name, "category": category, "workers": workers});
        Items { items: counts.into_iter().map(item).collect() }
    }

    pub(super) fn list_archetypes(&self) -> Items {
        let item = |archetype: &Archetype| json!({"name": archetype.to_string()});
        Items { items: Archetype::ALL.iter().map(item).collect() }
    }
}
