//! One site and the process that represents it: joins the hub, answers calls, holds what it offered,
//! accepts awards, runs the work, reports.
//!
//! ```text
//! hub --call--> host --> answer: secretary looks, proposes; offers: hold
//! hub --award--> host --> awards: checked against the offer, ledger, receipt
//!                          runner: inputs, workload manager or simulation, reports, artifacts --> hub
//!                          history: what was foreseen of starts, what happened
//! membership: join, heartbeat, re-join                                                        --> hub
//! ```

mod answer;
mod awards;
mod history;
mod host;
mod ledger;
mod membership;
pub mod misbehave;
mod offers;
mod outputs;
mod plain;
pub mod reach;
mod report;
mod runner;
mod simulated;
mod site;
mod worker;

pub use host::WorkerHost;
pub use ledger::{Ledger, LedgerError};
pub use membership::{JoinError, Membership};
pub use site::{Mock, Site};
pub use worker::{Worker, WorkerConfig};
