//! Failures and the exit codes that they become.
//!
//! A failure is one line for people; its [`Exit`] is for scripts and never changes its meaning.

use std::io;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::job::{Job, JobState};
use transport::link::LinkError;

use crate::render::text;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The job failed, or there is no such thing, or it is in the wrong state.
    Failed = 1,
    /// The command was not used as it is meant to be.
    Usage = 2,
    /// Nothing can run the work.
    NothingFits = 3,
    /// The hub cannot be reached.
    Unreachable = 4,
    /// The hub refuses: authentication, policy.
    Refused = 5,
    /// A fault of ours or of the hub's.
    Internal = 70,
}

impl Exit {
    /// The exit code that goes with an error of the hub.
    #[must_use]
    pub const fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Auth
            | ErrorCode::Skew
            | ErrorCode::Replay
            | ErrorCode::Challenge
            | ErrorCode::Scope
            | ErrorCode::Origin => Self::Refused,
            ErrorCode::Json
            | ErrorCode::Field
            | ErrorCode::Size
            | ErrorCode::Method
            | ErrorCode::EmptyRequest
            | ErrorCode::Tool
            | ErrorCode::Strategy
            | ErrorCode::JobIncomplete
            | ErrorCode::Job => Self::Usage,
            ErrorCode::NoWorker | ErrorCode::JobKindUnsupported => Self::NothingFits,
            ErrorCode::NotFound
            | ErrorCode::NameTaken
            | ErrorCode::Superseded
            | ErrorCode::State
            | ErrorCode::JobTerminal
            | ErrorCode::JobFailed
            | ErrorCode::JobTimeout
            | ErrorCode::Cancelled
            | ErrorCode::ProposalUnknown
            | ErrorCode::HoldExpired
            | ErrorCode::CapacityTaken
            | ErrorCode::Stale
            | ErrorCode::ChecksumMismatch
            | ErrorCode::IdempotencyConflict
            | ErrorCode::UpstreamTimeout
            | ErrorCode::UpstreamDown
            | ErrorCode::UpstreamBad
            | ErrorCode::UpstreamSize
            | ErrorCode::Busy => Self::Failed,
            ErrorCode::Storage | ErrorCode::Internal => Self::Internal,
        }
    }

    /// The exit code that goes with a job that was waited for.
    #[must_use]
    pub const fn of_job(job: &Job) -> Self {
        match job.state {
            JobState::Failed | JobState::Cancelled | JobState::Unknown => Self::Failed,
            JobState::Completed
            | JobState::Pending
            | JobState::Blocked
            | JobState::Negotiating
            | JobState::Running
            | JobState::Cancelling => Self::Done,
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was not used as it is meant to be.
    #[error("{0}")]
    Usage(String),
    /// The hub, or something behind it, reported an error.
    #[error("{} ({})", text::excerpt(&.0.message, 1000), .0.code)]
    Hub(ErrorBody),
    /// The hub cannot be reached.
    #[error("cannot reach the hub at {url}: {reason}; is it running, and is --url right?")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why.
        reason: String,
        /// Whether the request may have reached it.
        maybe_sent: bool,
    },
    /// The hub did not answer in time.
    #[error("the hub at {url} did not answer within {seconds:.0} s")]
    Late {
        /// Where it was asked.
        url: String,
        /// How long was waited.
        seconds: f64,
    },
    /// The hub refuses us.
    #[error("the hub at {url} refuses these credentials; give a token with --token or RESOURCE_ASK_TOKEN")]
    Refused {
        /// Where it was asked.
        url: String,
    },
    /// The hub's answer cannot be used.
    #[error("the hub's answer cannot be used: {0}")]
    Answer(String),
    /// Nothing can run the work; the reasons are in the message.
    #[error("{0}")]
    NothingFits(String),
    /// The answer "no" to the question whether to go on.
    #[error("nothing was dispatched")]
    Declined,
    /// Waiting was ended from the keyboard.
    #[error("interrupted; {0}")]
    Interrupted(String),
    /// A file cannot be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was attempted (`cannot write`).
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The network cannot be used at all.
    #[error("cannot start: {0}")]
    Start(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// What became of a call to the hub that brought no answer.
    #[must_use]
    pub fn of_link(error: &LinkError, url: &str, seconds: f64) -> Self {
        match error {
            LinkError::Timeout => Self::Late { url: url.to_owned(), seconds },
            LinkError::Refused | LinkError::ClosedEarly | LinkError::Redirected | LinkError::Cancelled => {
                let maybe_sent = !error.is_unsent();
                Self::Unreachable { url: url.to_owned(), reason: error.to_string(), maybe_sent }
            }
            LinkError::Unauthorized { code: ErrorCode::Auth, .. } => Self::Refused { url: url.to_owned() },
            LinkError::Unauthorized { code, .. } => Self::Hub(ErrorBody::new(*code, error.to_string())),
            LinkError::Http { status } => Self::Unreachable {
                url: url.to_owned(),
                reason: format!("HTTP {status} from something that is not a hub"),
                maybe_sent: true,
            },
            LinkError::Worker { code: Some(code), message, .. } => {
                Self::Hub(ErrorBody::new(*code, message.clone()))
            }
            LinkError::Worker { code: None, message, .. } => Self::Answer(text::excerpt(message, 600)),
            LinkError::BadJson | LinkError::BadSchema | LinkError::TooLarge { .. } => {
                Self::Answer(error.to_string())
            }
        }
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Hub(error) => Exit::of(error.code),
            Self::Unreachable { .. } | Self::Late { .. } => Exit::Unreachable,
            Self::Refused { .. } => Exit::Refused,
            Self::NothingFits(_) => Exit::NothingFits,
            Self::Declined | Self::Interrupted(_) | Self::File { .. } => Exit::Failed,
            Self::Answer(_) | Self::Start(_) | Self::Output(_) => Exit::Internal,
        }
    }

    /// Whether standard output was closed by its reader (`| head`), which is no failure.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// A mistake in the use of a command.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        assert_eq!(Exit::of(ErrorCode::NoWorker) as u8, 3);
        assert_eq!(Exit::of(ErrorCode::Auth) as u8, 5);
        assert_eq!(Exit::of(ErrorCode::Scope) as u8, 5);
        assert_eq!(Exit::of(ErrorCode::NotFound) as u8, 1);
        assert_eq!(Exit::of(ErrorCode::IdempotencyConflict) as u8, 1);
        assert_eq!(Exit::of(ErrorCode::EmptyRequest) as u8, 2);
        assert_eq!(Exit::of(ErrorCode::Internal) as u8, 70);
    }

    #[test]
    fn link_errors_become_the_right_failure() {
        let exit = |error: LinkError| Failure::of_link(&error, "http://h/mcp", 10.0).exit();
        assert_eq!(exit(LinkError::Refused), Exit::Unreachable);
        assert_eq!(exit(LinkError::Timeout), Exit::Unreachable);
        assert_eq!(exit(LinkError::Unauthorized { status: 401, code: ErrorCode::Auth }), Exit::Refused);
        assert_eq!(exit(LinkError::BadSchema), Exit::Internal);
        let scope =
            LinkError::Worker { rpc_code: -32600, code: Some(ErrorCode::Scope), message: "no".into() };
        assert_eq!(exit(scope), Exit::Refused);
    }

    #[test]
    fn messages_of_others_cannot_act_on_the_terminal() {
        let failure = Failure::Hub(ErrorBody::new(ErrorCode::State, "bad\u{1b}[2J\nnews"));
        assert_eq!(failure.to_string(), "bad\\u{1b}[2J\\nnews (STATE)");
    }
}
