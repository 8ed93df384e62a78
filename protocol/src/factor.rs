//! Factors: things worth having more of, each on a published reference scale.
//!
//! A factor's utility is anchored on its scale or on the request, never on the other proposals, so
//! adding or removing a proposal cannot reorder the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Number;

/// The factors that exist; the same names in calls, proposals and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorName {
    /// Expected cost of the work in US dollars.
    Cost,
    /// Seconds until the work can start (P90).
    StartTime,
    /// Seconds until the work is done (P90 start plus run time).
    FinishTime,
    /// How well the installed software fits: exact, compatible, or only through a container.
    SoftwareFit,
    /// Speed of the fabric in Gb/s.
    NetworkBandwidth,
    /// Memory of one GPU in GiB.
    GpuMemory,
    /// Free capacity as a multiple of what is asked for.
    CapacityHeadroom,
    /// Free storage in GiB.
    StorageFree,
}

impl FactorName {
    /// The name as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::StartTime => "start_time",
            Self::FinishTime => "finish_time",
            Self::SoftwareFit => "software_fit",
            Self::NetworkBandwidth => "network_bandwidth",
            Self::GpuMemory => "gpu_memory",
            Self::CapacityHeadroom => "capacity_headroom",
            Self::StorageFree => "storage_free",
        }
    }
}

impl std::fmt::Display for FactorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One factor as a call states it: its scale, never its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// Which factor.
    pub name: FactorName,
    /// The unit of its values (`usd`, `s`, `gbps`, `gib`, `ratio`, `class`).
    pub unit: String,
    /// How a value becomes a score.
    pub scale: Scale,
    /// The scale in words, with its reference points.
    pub reference: String,
}

/// How a value becomes a score between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scale {
    /// 1 when the value is not zero.
    Binary,
    /// Linear from `zero` (score 0) to `one` (score 1); `one` may be the smaller of the two.
    Range {
        /// The value that scores 0.
        zero: Number,
        /// The value that scores 1.
        one: Number,
    },
    /// As `Range`, on a logarithmic axis; both ends are positive.
    LogRange {
        /// The value that scores 0.
        zero: Number,
        /// The value that scores 1.
        one: Number,
    },
    /// `min(1, reference / value)`: less is better, and the reference or less scores 1.
    ReferenceOver {
        /// The value at or below which the score is 1.
        reference: Number,
    },
    /// 1 up to `soft`, then `(soft / value)^2`.
    SoftLimit {
        /// The value up to which the score is 1.
        soft: Number,
    },
}
