//! What intake made of a request: the requirement, the intent, the weights, the job, and for each of
//! them the words it came from, together with every word that could not be used.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::factor::FactorName;
use crate::job::JobSpec;
use crate::requirement::Requirement;
use crate::units::Number;

/// What the asker wants most.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A bit of everything.
    #[default]
    Balanced,
    /// As little money as possible.
    Cheapest,
    /// As early a start as possible.
    Soonest,
    /// As early an end as possible.
    Fastest,
}

impl std::fmt::Display for Intent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Balanced => "balanced",
            Self::Cheapest => "cheapest",
            Self::Soonest => "soonest",
            Self::Fastest => "fastest",
        })
    }
}

/// How much each factor matters; they sum to 1. Known to the hub and the asker, never to a worker:
/// no message to a worker has a field of this type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Weights(pub BTreeMap<FactorName, Number>);

/// A request, understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Understanding {
    /// The hard constraints.
    pub requirement: Requirement,
    /// What matters most.
    pub intent: Intent,
    /// How much each factor matters.
    pub weights: Weights,
    /// What to run, when the request says so.
    pub job: Option<JobSpec>,
    /// The used parts of the text.
    pub spans: Vec<Span>,
    /// The parts that could not be used: unknown demands, both sides of a contradiction, and text
    /// that tries to instruct the system.
    pub not_understood: Vec<NotUnderstood>,
    /// What the work needs and the request does not say, as paths (`job.spec.data.uri`).
    pub missing: Vec<String>,
}

/// A part of the text and the field that it became. Offsets count Unicode scalar values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The words.
    pub text: String,
    /// Offset of the first character.
    pub start: usize,
    /// Offset behind the last character.
    pub end: usize,
    /// The field, as a path (`requirement.compute.nodes`).
    pub path: String,
}

/// A part of the text that could not be used. Offsets count Unicode scalar values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotUnderstood {
    /// The words.
    pub text: String,
    /// Offset of the first character.
    pub start: usize,
    /// Offset behind the last character.
    pub end: usize,
    /// Why they could not be used.
    pub reason: String,
}
