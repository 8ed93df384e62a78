//! What a client sends: plain language, typed fields, or both. Typed fields win over the text.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::factor::FactorName;
use crate::ids::WorkerId;
use crate::job::JobSpec;
use crate::requirement::Requirement;
use crate::understanding::Intent;
use crate::units::{Number, Seconds};

/// A request to find a place for some work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// The need in plain language; read once, at intake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The need as typed fields; each field given replaces what the text says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirement: Option<Requirement>,
    /// What to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// What matters most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// How much each factor matters, instead of an intent's weights; any positive numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<FactorName, Number>>,
    /// Ask only these workers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerId>,
    /// Selection strategies, tried in order until one chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<String>,
    /// Seconds until the answer is due, from 0.1 to 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Seconds>,
    /// Whether proposals carry the trace of provider calls.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verbose: bool,
}
