//! Trust: two Beta pairs per worker (Josang and Ismail 2002), claim honesty and delivery, and an
//! availability rate. The hub folds evidence into them; nothing else changes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, NegotiationId, WorkerId};
use crate::units::{Number, Timestamp};

/// Evidence for and against: `E = (r + 1) / (r + s + 2)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BetaPair {
    /// Evidence for.
    pub r: Number,
    /// Evidence against.
    pub s: Number,
    /// The expectation.
    pub expectation: Number,
}

impl BetaPair {
    /// The pair with its expectation.
    #[must_use]
    pub fn new(r: f64, s: f64) -> Self {
        Self {
            r: Number::saturating(r),
            s: Number::saturating(s),
            expectation: Number::saturating((r + 1.0) / (r + s + 2.0)),
        }
    }
}

impl Default for BetaPair {
    fn default() -> Self {
        Self::new(0.0, 0.0)
    }
}

/// Whether a worker may be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustState {
    /// Not enough evidence yet.
    #[default]
    Newcomer,
    /// May be chosen.
    Trusted,
    /// Not chosen unless named.
    Quarantined,
}

/// What is known of one worker's honesty and delivery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustRecord {
    /// Whether its claims are true.
    pub claim: BetaPair,
    /// Whether it delivers what it promises.
    pub delivery: BetaPair,
    /// Share of calls that it answered properly and in time.
    pub availability: BetaPair,
    /// Whether it may be chosen.
    pub state: TrustState,
    /// When the last evidence came, for the decay of idle history.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

/// One piece of evidence, from which trust is a fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustEvidence {
    /// Whom it is about.
    pub worker_id: WorkerId,
    /// Which record it moves.
    pub aspect: TrustAspect,
    /// Evidence for.
    pub good: Number,
    /// Evidence against.
    pub bad: Number,
    /// When.
    pub at: Timestamp,
    /// The negotiation or job that it comes from, and what was found, for people.
    pub because: TrustSource,
}

/// Which record a piece of evidence moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustAspect {
    /// Claim honesty.
    Claim,
    /// Delivery.
    Delivery,
    /// Availability.
    Availability,
}

/// Where a piece of evidence comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustSource {
    /// The negotiation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negotiation_id: Option<NegotiationId>,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// What was found.
    pub finding: String,
}
