//! Error codes: stable, UPPER_SNAKE, the same in MCP, REST and the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, for programs. Each code has a page under docs/errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Credentials are missing or wrong; deliberately the same for every reason.
    Auth,
    /// The clocks differ by more than 120 s.
    Skew,
    /// A signed request was used before.
    Replay,
    /// A join challenge is unknown, used or expired.
    Challenge,
    /// The principal lacks the scope.
    Scope,
    /// The Host or Origin header is not allowed.
    Origin,
    /// No such thing, or not yours.
    NotFound,
    /// The worker's name belongs to another key or URL.
    NameTaken,
    /// A newer instance of the worker has joined.
    Superseded,
    /// The body is not JSON.
    Json,
    /// A field has a wrong type or value.
    Field,
    /// The body is too large.
    Size,
    /// The method is not allowed here.
    Method,
    /// The request says nothing that could be acted on.
    EmptyRequest,
    /// No such tool.
    Tool,
    /// No such strategy.
    Strategy,
    /// The state does not allow it.
    State,
    /// The job is already over.
    JobTerminal,
    /// Nothing can run the work.
    NoWorker,
    /// The request names no work to run.
    JobIncomplete,
    /// The worker does not run this kind of job.
    JobKindUnsupported,
    /// The job's specification is refused.
    Job,
    /// The job ended with a failure of its own.
    JobFailed,
    /// The job ran into its time limit.
    JobTimeout,
    /// The job was cancelled.
    Cancelled,
    /// The award does not fit the proposal, or there is no such proposal.
    ProposalUnknown,
    /// The hold ended before the award came.
    HoldExpired,
    /// The capacity went to somebody else.
    CapacityTaken,
    /// The report is of an older attempt or of somebody else's.
    Stale,
    /// An artifact's bytes have another digest.
    ChecksumMismatch,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// The worker did not answer in time.
    UpstreamTimeout,
    /// The worker could not be reached.
    UpstreamDown,
    /// The worker's answer was not usable.
    UpstreamBad,
    /// The worker's answer was too large.
    UpstreamSize,
    /// Too much at once; try again.
    Busy,
    /// Storage is full or cannot be written; nothing was accepted.
    Storage,
    /// A fault of ours.
    Internal,
}

impl ErrorCode {
    /// Every code, in the order of their definition.
    pub const ALL: [Self; 38] = [
        Self::Auth,
        Self::Skew,
        Self::Replay,
        Self::Challenge,
        Self::Scope,
        Self::Origin,
        Self::NotFound,
        Self::NameTaken,
        Self::Superseded,
        Self::Json,
        Self::Field,
        Self::Size,
        Self::Method,
        Self::EmptyRequest,
        Self::Tool,
        Self::Strategy,
        Self::State,
        Self::JobTerminal,
        Self::NoWorker,
        Self::JobIncomplete,
        Self::JobKindUnsupported,
        Self::Job,
        Self::JobFailed,
        Self::JobTimeout,
        Self::Cancelled,
        Self::ProposalUnknown,
        Self::HoldExpired,
        Self::CapacityTaken,
        Self::Stale,
        Self::ChecksumMismatch,
        Self::IdempotencyConflict,
        Self::UpstreamTimeout,
        Self::UpstreamDown,
        Self::UpstreamBad,
        Self::UpstreamSize,
        Self::Busy,
        Self::Storage,
        Self::Internal,
    ];

    /// The HTTP status that goes with the code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Auth | Self::Skew | Self::Replay => 401,
            Self::Scope | Self::Origin => 403,
            Self::NotFound | Self::Tool => 404,
            Self::Method => 405,
            Self::NameTaken
            | Self::Superseded
            | Self::State
            | Self::JobTerminal
            | Self::NoWorker
            | Self::ProposalUnknown
            | Self::HoldExpired
            | Self::CapacityTaken
            | Self::Stale => 409,
            Self::Challenge => 410,
            Self::Size => 413,
            Self::Json => 400,
            Self::Field
            | Self::EmptyRequest
            | Self::Strategy
            | Self::JobIncomplete
            | Self::JobKindUnsupported
            | Self::Job
            | Self::JobFailed
            | Self::JobTimeout
            | Self::Cancelled
            | Self::ChecksumMismatch
            | Self::IdempotencyConflict => 422,
            Self::UpstreamTimeout => 504,
            Self::UpstreamDown | Self::UpstreamBad | Self::UpstreamSize => 502,
            Self::Busy => 503,
            Self::Storage => 507,
            Self::Internal => 500,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Storage
                | Self::UpstreamTimeout
                | Self::UpstreamDown
                | Self::Challenge
                | Self::CapacityTaken
        )
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// An error as it stands inside other records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, which value, what to do.
    pub message: String,
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ErrorBody {}

impl ErrorBody {
    /// An error with its message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// An error as an HTTP body (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:parley:error:CODE`.
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The code.
    pub code: ErrorCode,
    /// What, which value, what to do.
    pub detail: String,
    /// Joins this answer with the hub's log.
    pub request_id: String,
}

impl Problem {
    /// The problem document of an error.
    #[must_use]
    pub fn new(error: &ErrorBody, request_id: &str) -> Self {
        let code = error.code.to_string();
        Self {
            r#type: format!("urn:parley:error:{code}"),
            title: code.to_lowercase().replace('_', " "),
            status: error.code.status(),
            code: error.code,
            detail: error.message.clone(),
            request_id: request_id.to_owned(),
        }
    }
}
