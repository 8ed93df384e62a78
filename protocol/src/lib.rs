//! Every message and record that crosses a crate boundary, in the order in which a request flows.
//!
//! ```text
//! request --intake--> understanding (requirement, factors, job) --hub--> call --worker--> facts
//!   --secretary--> proposal --hub--> evaluation, selection --hub--> award --worker--> receipt
//!   --> job (attempts, metrics, artifacts) --hub--> trust, and an event for each step
//! ```
//!
//! The types are plain and serialisable; nothing here opens a socket or reads a file, and only
//! [`clock::SystemClock`] knows the time.

pub mod artifact;
pub mod award;
pub mod call;
pub mod claim;
pub mod clock;
pub mod error;
pub mod evaluation;
pub mod event;
pub mod factor;
pub mod facts;
pub mod fleet;
pub mod ids;
pub mod job;
pub mod join;
pub mod negotiation;
pub mod proposal;
pub mod request;
pub mod requirement;
pub mod schema;
pub mod signature;
pub mod text;
pub mod trust;
pub mod understanding;
pub mod units;
