//! A link to a host in the same process: a hub that is its own worker, and tests without sockets.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::error::{ErrorBody, ErrorCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::host::{
    CallContext, Host, Object, PromptDefinition, PromptOutcome, ResourceDefinition, TemplateDefinition,
    ToolDefinition, ToolOutcome,
};
use crate::link::{CallOptions, Link, LinkError};
use crate::progress::Progress;
use crate::sender::Sender;

struct LocalLink {
    host: Arc<dyn Host>,
    sender: Sender,
    closed: CancellationToken,
}

/// A link to `host` whose calls come from `sender`.
#[must_use]
pub fn link(host: Arc<dyn Host>, sender: Sender) -> Arc<dyn Link> {
    Arc::new(LocalLink { host, sender, closed: CancellationToken::new() })
}

impl LocalLink {
    async fn bounded<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, LinkError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(LinkError::Cancelled),
            result = timeout_at(deadline, work) => result.map_err(|_| LinkError::Timeout),
        }
    }
}

fn refused(error: ErrorBody) -> LinkError {
    let rpc_code = if error.code == ErrorCode::Internal { -32603 } else { -32000 };
    LinkError::Worker { rpc_code, code: Some(error.code), message: error.message }
}

#[async_trait]
impl Link for LocalLink {
    async fn tools(&self, deadline: Instant) -> Result<Vec<ToolDefinition>, LinkError> {
        Ok(self.bounded(deadline, self.host.tools(&self.sender)).await?.to_vec())
    }

    async fn call(
        &self,
        tool: &str,
        arguments: &Object,
        options: CallOptions,
    ) -> Result<ToolOutcome, LinkError> {
        let cancelled = CancellationToken::new();
        let context = CallContext {
            sender: self.sender.clone(),
            progress: options.progress.map_or_else(Progress::none, Progress::channel),
            cancelled: cancelled.clone(),
        };
        // What the host has spawned for this call hears of its end as it would over a socket.
        let _ends = cancelled.drop_guard();
        let work = self.host.call(tool, arguments.clone(), context);
        self.bounded(options.deadline, work).await?.map_err(refused)
    }

    async fn prompts(&self, deadline: Instant) -> Result<Vec<PromptDefinition>, LinkError> {
        Ok(self.bounded(deadline, self.host.prompts(&self.sender)).await?.to_vec())
    }

    async fn get_prompt(
        &self,
        prompt: &str,
        arguments: &Object,
        deadline: Instant,
    ) -> Result<PromptOutcome, LinkError> {
        let work = self.host.get_prompt(prompt, arguments.clone(), &self.sender);
        self.bounded(deadline, work).await?.map_err(refused)
    }

    async fn resources(&self, deadline: Instant) -> Result<Vec<ResourceDefinition>, LinkError> {
        Ok(self.bounded(deadline, self.host.resources(&self.sender)).await?.to_vec())
    }

    async fn templates(&self, deadline: Instant) -> Result<Vec<TemplateDefinition>, LinkError> {
        Ok(self.bounded(deadline, self.host.templates(&self.sender)).await?.to_vec())
    }

    async fn read_resource(&self, uri: &str, deadline: Instant) -> Result<Vec<Value>, LinkError> {
        self.bounded(deadline, self.host.read_resource(uri, &self.sender)).await?.map_err(refused)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.host.changes()
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}
