//! Workload managers under test: one suite that each has to pass, and what is special to each.

#![expect(clippy::unwrap_used, reason = "a test helper may fail its test")]

mod adoption;
mod bad_days;
mod flux;
mod gridengine;
mod gridengine_recordings;
mod htcondor;
mod kubernetes;
mod local;
mod local_cgroups;
mod local_gpus;
mod pbs;
mod recordings;
mod setting;
mod site;
mod slurm;
mod suite;
mod torque;
