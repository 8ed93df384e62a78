//! What a runner is given and what it gives back: progress, the report, the errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::artifact::ArtifactType;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::job::{JobKind, Metric};
use protocol::units::Number;

use crate::backtest::prices::PriceError;

/// Hears how far a job is. Both methods may do nothing; a runner never waits for them.
pub trait Progress {
    /// `done` of `total` steps are behind, and this is what comes next.
    fn step(&mut self, done: u64, total: u64, doing: &str);

    /// A metric has a value.
    fn metric(&mut self, metric: &Metric);
}

/// Nobody listens.
impl Progress for () {
    fn step(&mut self, _done: u64, _total: u64, _doing: &str) {}

    fn metric(&mut self, _metric: &Metric) {}
}

/// What a job produced.
#[derive(Debug, Clone, PartialEq)]
pub struct JobReport {
    /// Metrics by name. One that is not defined for this run, such as the Sharpe ratio of returns that
    /// are all equal, is absent.
    pub metrics: BTreeMap<String, Number>,
    /// The files in the job's directory, by name.
    pub artifacts: Vec<(String, ArtifactType)>,
    /// What a person should read first, a line each.
    pub summary: Vec<String>,
    /// How the figures are defined, by topic.
    pub conventions: Vec<(String, String)>,
}

/// A job could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The specification is refused.
    #[error(transparent)]
    Spec(#[from] ErrorBody),
    /// There is no runner for this kind here.
    #[error("jobs of kind {kind} are not run by this program; it runs {}", runnable())]
    KindUnsupported {
        /// The kind.
        kind: JobKind,
    },
    /// The data cannot be used.
    #[error("cannot use the prices in {}: {source}", path.display())]
    Prices {
        /// The data file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PriceError,
    },
    /// The data is not what the specification says it is.
    #[error("{} has the digest {found}, not {wanted} as the job says", path.display())]
    Checksum {
        /// The data file.
        path: PathBuf,
        /// The digest in the specification.
        wanted: String,
        /// The digest of the file.
        found: String,
    },
    /// The data file is larger than a runner reads.
    #[error("{} has {bytes} bytes; a job reads at most {limit}", path.display())]
    DataTooLarge {
        /// The data file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A result could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The chart could not be drawn.
    #[error("cannot draw the chart: {0}")]
    Chart(String),
}

impl JobError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Spec(body) => body.code,
            Self::KindUnsupported { .. } => ErrorCode::JobKindUnsupported,
            Self::Prices { .. } | Self::Read { .. } => ErrorCode::JobFailed,
            Self::Checksum { .. } => ErrorCode::ChecksumMismatch,
            Self::DataTooLarge { .. } => ErrorCode::Size,
            Self::Write { .. } => ErrorCode::Storage,
            Self::Chart(_) => ErrorCode::Internal,
        }
    }

    /// The error as it stands in a record.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Spec(body) => body.clone(),
            other => ErrorBody::new(other.code(), other.to_string()),
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}

fn runnable() -> String {
    crate::runnable_kinds().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
