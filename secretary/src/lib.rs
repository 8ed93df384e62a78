//! The secretary: the part of a worker that looks and answers. It reads only; by type it cannot submit.
//!
//! ```text
//! Call --Providers::investigate--> Investigation (facts with provenance, trace of provider calls)
//!      --rules::propose--> Proposal (verdict, scores, promises, claims, evidence)
//! ```
//!
//! A **provider** is one source of facts. Observing means asking its own read tools, so the trace of a
//! proposal is what really happened. The real providers read this machine; the simulated ones answer
//! from the truth of an archetype's site.

pub mod blocking;
pub mod detection;
pub mod interest;
pub mod mock;
pub mod observation;
pub mod program;
pub mod provider;
pub mod providers;
pub mod real;
pub mod rules;
mod sentence;

pub use observation::Investigation;
pub use provider::{Category, Provider, ProviderError};
pub use providers::{Moment, OutsideTool, Providers};
