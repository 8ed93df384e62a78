//! The decisions of a negotiation, all of them pure: no socket, no file, no clock.
//!
//! ```text
//! proposal + truth --audit--> findings --trust--> evidence --trust--> record
//!      |                         |                                      |
//!      +--------gate-------------+------------- score -----------------+
//!                    |
//!                 evaluate --select--> order --flow--> awards, at most one of them live
//!                    |
//!                 explain
//! ```
//!
//! Gate, then score, then commit: nothing buys back a failed gate. A utility is anchored on the
//! request or on its published scale, never on the other proposals. Trust multiplies. Text that a
//! worker wrote is shown to people and decides nothing.

pub mod audit;
pub mod belief;
pub mod evaluate;
pub mod explain;
pub mod flow;
pub mod gate;
pub mod method;
pub mod score;
pub mod select;
pub mod stated;
pub mod trust;

#[cfg(test)]
mod acceptance;
#[cfg(test)]
mod samples;
