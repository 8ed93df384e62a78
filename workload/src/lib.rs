//! Workload managers: what gives work its cores and runs it. Each has a read side, which a secretary
//! may use, and a submit side, which only the worker that runs accepted work holds.
//!
//! ```text
//! worker --SubmitRequest--> SubmitSide::submit --NativeId--> SubmitSide::status (many at once) --> Status
//! secretary --> ReadSide::{capacity, queue, estimated_start, accounting}
//! ```
//!
//! A **native id** is the manager's own name for a job. A **run state** is where the manager says that
//! it stands. [`local::LocalMachine`] makes this machine a workload manager of its own;
//! [`slurm::Slurm`], [`flux::Flux`], [`pbs::Pbs`], [`gridengine::GridEngine`] and [`htcondor::HtCondor`]
//! drive Slurm, Flux, PBS, Grid Engine and HTCondor through their commands, [`kubernetes::Kubernetes`] a
//! cluster through its API.

mod attempts;
pub mod error;
pub mod flux;
pub mod gridengine;
mod hostname;
pub mod htcondor;
pub mod kubernetes;
pub mod local;
pub mod pbs;
pub mod program;
pub mod read;
pub mod slurm;
pub mod submit;

pub use error::WorkloadError;
pub use read::ReadSide;
pub use submit::SubmitSide;
