//! What a requirement asks of a site, held against what is known of the site. Pure: no I/O, no clock.
//!
//! ```text
//! requirement + facts --unmet--> reasons --verdict--> READY | BUSY | UNKNOWN | INCOMPATIBLE
//!                     --allocation--> capacity that the work takes --promises--> start, run time, cost
//!                     --values--> a value for each factor --scale--> a score from 0 to 1
//!                     --claims--> checkable statements, compared with the same made from the truth
//! ```
//!
//! The secretary, the hub's gate, the hub's audit and the oracle of the experiments all call the same
//! functions, so that they cannot disagree about what a requirement means.

pub mod allocation;
pub mod claims;
pub mod factors;
pub mod promises;
pub mod scale;
pub mod unmet;
pub mod values;
pub mod version;

mod fit;
mod names;
mod site;
mod wording;

#[cfg(test)]
mod samples;
