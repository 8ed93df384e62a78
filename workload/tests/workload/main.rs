//! Workload managers under test: one suite that each has to pass, and what is special to each.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

mod adoption;
mod flux;
mod gridengine;
mod gridengine_recordings;
mod htcondor;
mod local;
mod recordings;
mod setting;
mod site;
mod slurm;
mod suite;
