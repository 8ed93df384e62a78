//! The fleet as the hub sees it: who joined, what it said when it joined, how it does.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;
use crate::job::JobKind;
use crate::trust::TrustRecord;
use crate::units::Timestamp;

/// Static facts that a worker reports when it joins (level 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Manifest {
    /// The worker's software and version (`parley 0.1.0`).
    pub software: String,
    /// The kind of site, if it is one of the archetypes.
    pub archetype: Option<String>,
    /// How to regenerate the site's truth; real sites have none.
    pub mock: Option<MockIdentity>,
    /// The kinds of job that it runs.
    pub job_kinds: BTreeSet<JobKind>,
    /// The workload manager that jobs go to.
    pub workload: Option<String>,
    /// Whether the worker has a secretary; without one it is never asked.
    pub has_secretary: bool,
    /// Static facts of each provider: category, provider, metadata.
    pub providers: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// What a mock site is a function of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MockIdentity {
    /// The archetype (`hpc`, `cloud`, `standalone`).
    pub archetype: String,
    /// Version of the archetype's recipe.
    pub archetype_version: u32,
    /// The seed.
    pub seed: u64,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Heartbeats arrive.
    Online,
    /// Heartbeats are late; it gets no new work.
    Suspect,
    /// Its lease ended.
    Offline,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// Its trust is below the line.
    Quarantined,
}

impl std::fmt::Display for WorkerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// One worker as `get_fleet_status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub name: WorkerId,
    /// Where it stands.
    pub state: WorkerState,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where the hub reaches it; none when it is reached over its link only.
    pub url: Option<String>,
    /// Whether it has a link open, over which the hub calls it then.
    #[serde(default)]
    pub linked: bool,
    /// How it joined: `signed` or `legacy`.
    pub protocol: String,
    /// Its last sign of life.
    pub last_seen: Timestamp,
    /// The kind of site.
    pub archetype: Option<String>,
    /// The workload manager.
    pub workload: Option<String>,
    /// Its providers by category.
    pub providers: BTreeMap<String, Vec<String>>,
    /// How many tools it has.
    pub tools: usize,
    /// What is known of its honesty and delivery.
    pub trust: TrustRecord,
}
