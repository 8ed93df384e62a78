//! What the hub made of a proposal: gates, audit, contributions, adjustments, score, trust, rank; and
//! the selection among several.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::claim::ClaimValue;
use crate::factor::FactorName;
use crate::facts::FlagKind;
use crate::ids::WorkerId;
use crate::proposal::ReasonCode;
use crate::units::Number;

/// When false claims count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditMode {
    /// A false hard claim fails the gate, and factor values are replaced by the truth.
    #[default]
    Before,
    /// Truth only moves trust; this round is scored as claimed.
    After,
}

/// The hub's judgement of one proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// Hard pass or fail.
    pub gate: Gate,
    /// Claims compared with the truth.
    pub audit: Vec<AuditFinding>,
    /// What each factor contributes.
    pub contributions: BTreeMap<FactorName, Contribution>,
    /// Penalties for stated problems.
    pub adjustments: Vec<Adjustment>,
    /// The weighted product before trust and adjustments.
    pub score: Number,
    /// The trust that multiplied it.
    pub trust: Number,
    /// Score with trust and adjustments; 0 when the gate failed.
    pub r#final: Number,
    /// Place among the proposals that passed, counted from 1.
    pub rank: Option<u32>,
}

/// The hard constraints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Whether every one holds.
    pub passed: bool,
    /// Those that do not.
    pub failed: Vec<Reason>,
}

/// Why not: a code, what was wanted, what there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The code.
    pub code: ReasonCode,
    /// What was wanted.
    pub wanted: String,
    /// What there was.
    pub had: String,
}

/// One claim compared with the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditFinding {
    /// What the claim is about.
    pub subject: String,
    /// What it says.
    pub claimed: ClaimValue,
    /// What is true, where the hub knows.
    pub truth: Option<ClaimValue>,
    /// How the two compare.
    pub result: AuditResult,
    /// Whether the requirement has a hard constraint on the subject.
    #[serde(default)]
    pub hard: bool,
}

/// How a claim compares with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It is true.
    Match,
    /// It promises more than there is.
    Over,
    /// It promises less than there is.
    Under,
    /// The hub cannot tell.
    Unchecked,
}

/// What one factor contributes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contribution {
    /// Utility from 0.01 to 1.
    pub utility: Number,
    /// The factor's weight.
    pub weight: Number,
    /// The utility after discounting its unverified share by claim trust.
    pub discounted: Number,
}

/// A bounded penalty for a stated problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Adjustment {
    /// The problem.
    pub flag: FlagKind,
    /// The multiplier, from 0.5 to 1.
    pub multiplier: Number,
    /// What shows the problem.
    pub evidence: String,
}

/// The choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// The chosen worker; none when nothing can run the work.
    pub worker_id: Option<WorkerId>,
    /// The strategy that chose.
    pub strategy: String,
    /// Why, in one or two sentences.
    pub explanation: String,
    /// The workers that an award may fall through to, best first, the chosen one included.
    #[serde(default)]
    pub order: Vec<WorkerId>,
}
