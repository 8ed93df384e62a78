//! The hub: workers join it, clients ask it, it decides, awards, keeps everything and forgets nothing.
//!
//! ```text
//! faces        rest, mcp -----> operations: invoke(principal, operation, arguments)
//! operations   negotiate, dispatch, jobs, artifacts, fleet
//! flow         ask (calls to workers) -> negotiation (pure decisions) -> award -> reports -> trust
//! fleet        join, membership, names of workers' tools
//! store        events first, then projections; files for artifacts and logs
//! ```

mod ask;
pub mod entropy;
pub mod files;
pub mod fleet;
mod flow;
pub mod hub;
mod join;
mod mcp;
mod membership;
pub mod names;
pub mod operations;
mod predecessor;
pub mod principal;
mod reports;
mod rest;
pub mod store;
mod taken;

pub use hub::{Hub, HubConfig, StartError};
pub use rest::router;
