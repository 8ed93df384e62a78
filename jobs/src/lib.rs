//! Runners of the built-in job kinds. A runner reads one data file, writes its results into one
//! directory, and says what it wrote; it knows no network, no hub and no clock.
//!
//! ```text
//! JobSpec --validate--> ok --run(directory, data file)--> JobReport{metrics, artifacts, summary, conventions}
//! ```
//!
//! The same specification and the same data give the same bytes in every file, on every machine.

pub mod backtest;
mod report;
mod validation;

use std::path::Path;

use protocol::job::{JobKind, JobSpec};

pub use report::{JobError, JobReport, Progress};
pub use validation::validate;

/// The kinds that [`run`] can run.
#[must_use]
pub const fn runnable_kinds() -> &'static [JobKind] {
    &[JobKind::Backtest]
}

/// Runs a job: reads the file `data`, which stands in for the specification's `data.uri`, and writes
/// the results into `directory`, which exists.
pub fn run(
    spec: &JobSpec,
    directory: &Path,
    data: &Path,
    sink: &mut dyn Progress,
) -> Result<JobReport, JobError> {
    validate(spec)?;
    match spec {
        JobSpec::Backtest(spec) => backtest::run(spec, directory, data, sink),
        JobSpec::Command(_) | JobSpec::MlExperiment(_) => {
            Err(JobError::KindUnsupported { kind: spec.kind() })
        }
    }
}
