//! What can go wrong between a worker and its workload manager, and which of it is worth a retry.

use std::path::PathBuf;

use protocol::error::{ErrorBody, ErrorCode};

use crate::read::NativeId;

/// A workload manager refused, or could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The request can never run here, whatever else runs.
    #[error("{field} is refused: {reason}")]
    Refused {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it and what would do.
        reason: String,
    },
    /// The program is not on the machine, or is not executable.
    #[error("program {program:?} is not an executable on the search path of jobs")]
    ProgramNotFound {
        /// As the request names it.
        program: String,
    },
    /// The job and attempt are known here with another request.
    #[error("job {native} is already here with another request; an attempt is submitted once")]
    Conflict {
        /// The job.
        native: NativeId,
    },
    /// The queue is full.
    #[error("the queue holds {length} jobs, as many as it takes; try again later")]
    QueueFull {
        /// Jobs that wait.
        length: usize,
    },
    /// No such job.
    #[error("no job {native} is known here")]
    UnknownJob {
        /// The id that was asked for.
        native: NativeId,
    },
    /// The manager's command is not on this machine.
    #[error("{command} is not on the search path")]
    CommandMissing {
        /// Its name.
        command: &'static str,
    },
    /// The manager's command did not answer in time.
    #[error("{command} did not answer within {} s", after.as_secs_f64())]
    Silent {
        /// Its name.
        command: &'static str,
        /// How long it was waited for.
        after: std::time::Duration,
    },
    /// The manager's command failed.
    #[error("{command} failed: {problem}")]
    CommandFailed {
        /// Its name.
        command: &'static str,
        /// What it said.
        problem: String,
    },
    /// The manager's command answered in a form that is not understood.
    #[error("the answer of {command} is not understood: {problem}")]
    NotUnderstood {
        /// Its name.
        command: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The manager cannot be reached, or takes nothing at the moment.
    #[error("the workload manager takes nothing at the moment: {problem}")]
    Unavailable {
        /// What it said.
        problem: String,
    },
    /// A submission was not answered, and no job of it can be found; it was withdrawn.
    #[error("the submission was not answered and no job of it was found; it was withdrawn: {problem}")]
    Doubtful {
        /// What happened to the submission.
        problem: String,
    },
    /// The manager is shutting down or its loop ended.
    #[error("the workload manager is shutting down")]
    ShuttingDown,
    /// Another process owns the state directory.
    #[error("state directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The journal holds a line that is not a record, before its last line.
    #[error("journal {} is damaged at line {line}; move it away to start without its jobs", path.display())]
    JournalDamaged {
        /// The journal.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file could not be read or written.
    #[error("{what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl WorkloadError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { .. } | Self::ProgramNotFound { .. } => ErrorCode::Job,
            Self::Conflict { .. } => ErrorCode::IdempotencyConflict,
            Self::QueueFull { .. } | Self::ShuttingDown | Self::Unavailable { .. } => ErrorCode::Busy,
            Self::Silent { .. } | Self::Doubtful { .. } => ErrorCode::UpstreamTimeout,
            Self::CommandMissing { .. } => ErrorCode::UpstreamDown,
            Self::CommandFailed { .. } | Self::NotUnderstood { .. } => ErrorCode::UpstreamBad,
            Self::UnknownJob { .. } => ErrorCode::NotFound,
            Self::InUse(_) => ErrorCode::State,
            Self::JournalDamaged { .. } | Self::Io { .. } => ErrorCode::Storage,
        }
    }

    /// The error as it stands in a record; the message is for the caller.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody::new(self.code(), self.to_string())
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
