//! Simulated sites: from an archetype, a worker's name and a seed comes one whole cluster, the same
//! on every machine and in every release that has the same [`VERSION`].
//!
//! ```text
//! Archetype --recipe--> Site (hardware, packages, prices: drawn once, one random stream per provider)
//! Site + tick + taken capacity --dynamics--> Facts (the truth: complete, with what is free now)
//! Facts + requirement --honesty--> Facts (what a liar says instead)
//! ```
//!
//! Everything is a pure function: no clock, no state, no platform arithmetic. A tick is 60 simulated
//! seconds. The hub regenerates a mock worker's truth from its identity and audits claims with it, so
//! a change that moves any drawn value must raise [`VERSION`]; the golden test says so.

pub mod archetype;
mod capacity;
pub mod catalogue;
mod dynamics;
pub mod fault;
mod hardware;
pub mod honesty;
mod metadata;
mod plan;
mod recipe;
pub mod site;
mod software;
mod start;
mod stream;

pub use archetype::{Archetype, UnknownArchetype, default_seed};
pub use fault::Fault;
pub use site::Site;

/// Version of the recipes. A site is a function of it, so the same version gives the same sites.
pub const VERSION: u32 = 1;

/// Simulated seconds in one tick.
pub const TICK_SECONDS: u32 = 60;
