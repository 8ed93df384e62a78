//! A [`Link`] to one MCP server: what the hub has to each worker, and a client to its hub. Whether it is
//! a direct connection or one that the worker opened, the caller cannot tell.

use async_trait::async_trait;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::proposal::Outcome;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::host::{
    Object, PromptDefinition, PromptOutcome, ResourceDefinition, TemplateDefinition, ToolDefinition,
    ToolOutcome,
};
use crate::progress::ProgressUpdate;

/// How much of an answer a link reads unless told otherwise.
pub const DEFAULT_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// How one call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// The answer must be complete by then.
    pub deadline: Instant,
    /// More bytes than this are not read.
    pub limit_bytes: usize,
    /// Where progress goes; asking for it makes the call a little dearer.
    pub progress: Option<mpsc::Sender<ProgressUpdate>>,
    /// Whether the call may be sent again when the connection broke before any answer came.
    pub repeatable: bool,
}

impl CallOptions {
    /// A call without progress, sent once.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, limit_bytes: DEFAULT_LIMIT_BYTES, progress: None, repeatable: false }
    }

    /// With another limit on the answer.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit_bytes = bytes;
        self
    }

    /// With progress.
    #[must_use]
    pub fn progress(mut self, updates: mpsc::Sender<ProgressUpdate>) -> Self {
        self.progress = Some(updates);
        self
    }

    /// A call that does no harm when it arrives twice.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// Nothing complete by the deadline.
    #[error("no answer by the deadline")]
    Timeout,
    /// No connection.
    #[error("no connection")]
    Refused,
    /// The answer is not JSON, or not HTTP.
    #[error("the answer is not JSON")]
    BadJson,
    /// The answer is JSON of another shape.
    #[error("the answer has an unexpected shape")]
    BadSchema,
    /// The answer is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The connection closed in the middle.
    #[error("the connection closed before the answer was complete")]
    ClosedEarly,
    /// The server does not accept our credentials.
    #[error("the server refuses our credentials (HTTP {status}, {code})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// What the server says, when it is one of ours; else [`ErrorCode::Auth`].
        code: ErrorCode,
    },
    /// The server points elsewhere; nothing is followed.
    #[error("the server redirects, which is not followed")]
    Redirected,
    /// An HTTP status that says nothing more.
    #[error("the server answered HTTP {status}")]
    Http {
        /// The status.
        status: u16,
    },
    /// The server reported an error of its own.
    #[error("{message}")]
    Worker {
        /// The code of the protocol (JSON-RPC); the HTTP status when the answer was a problem document.
        rpc_code: i64,
        /// Our code, when the server is one of ours.
        code: Option<ErrorCode>,
        /// What it says; text from outside.
        message: String,
    },
    /// The link is closed.
    #[error("the link is closed")]
    Cancelled,
}

impl LinkError {
    /// The outcome that a proposal gets.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout => Outcome::Timeout,
            Self::Refused => Outcome::Refused,
            Self::BadJson => Outcome::BadJson,
            Self::BadSchema => Outcome::BadSchema,
            Self::TooLarge { .. } => Outcome::TooLarge,
            Self::ClosedEarly => Outcome::ClosedEarly,
            Self::Unauthorized { .. } | Self::Redirected | Self::Http { .. } | Self::Worker { .. } => {
                Outcome::WorkerError
            }
            Self::Cancelled => Outcome::NotAsked,
        }
    }

    /// The code that a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Timeout => ErrorCode::UpstreamTimeout,
            Self::Refused => ErrorCode::UpstreamDown,
            Self::BadJson | Self::BadSchema | Self::ClosedEarly | Self::Redirected | Self::Http { .. } => {
                ErrorCode::UpstreamBad
            }
            Self::TooLarge { .. } => ErrorCode::UpstreamSize,
            Self::Unauthorized { code, .. } => *code,
            Self::Worker { code, .. } => code.unwrap_or(ErrorCode::UpstreamBad),
            Self::Cancelled => ErrorCode::Cancelled,
        }
    }

    /// Code and message together.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody::new(self.code(), self.to_string())
    }

    /// Whether the request certainly never reached the server's code.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        matches!(self, Self::Refused | Self::Unauthorized { .. } | Self::Redirected | Self::Cancelled)
    }
}

/// A link to one MCP server. Dropping a future cancels what it asked for.
#[async_trait]
pub trait Link: Send + Sync + 'static {
    /// Lists the tools, all pages.
    async fn tools(&self, deadline: Instant) -> Result<Vec<ToolDefinition>, LinkError>;

    /// Calls a tool.
    async fn call(
        &self,
        tool: &str,
        arguments: &Object,
        options: CallOptions,
    ) -> Result<ToolOutcome, LinkError>;

    /// Lists the prompts, all pages; none when the server has no prompts.
    async fn prompts(&self, deadline: Instant) -> Result<Vec<PromptDefinition>, LinkError>;

    /// Fills a prompt in.
    async fn get_prompt(
        &self,
        prompt: &str,
        arguments: &Object,
        deadline: Instant,
    ) -> Result<PromptOutcome, LinkError>;

    /// Lists the resources, all pages; none when the server has no resources.
    async fn resources(&self, deadline: Instant) -> Result<Vec<ResourceDefinition>, LinkError>;

    /// Lists the families of resources, all pages.
    async fn templates(&self, deadline: Instant) -> Result<Vec<TemplateDefinition>, LinkError>;

    /// Reads a resource.
    async fn read_resource(&self, uri: &str, deadline: Instant) -> Result<Vec<Value>, LinkError>;

    /// A number that changes when the server says that its lists changed, and after a gap in which it
    /// may have. The first call starts a subscription in the background, so it needs a runtime; a link
    /// without one costs nothing while nobody calls.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Ends the link; calls in flight and later ones fail with [`LinkError::Cancelled`].
    async fn close(&self);
}
