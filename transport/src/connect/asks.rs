//! What MCP asks of a server, written once for every way of asking: whatever [`Asks`] is a [`Link`].

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::rpc::{CallTool, Contents, ListPage, METHOD_NOT_FOUND, Page, ReadResource, ToolResult};
use crate::host::{
    Object, PromptDefinition, PromptOutcome, ResourceDefinition, TemplateDefinition, ToolDefinition,
    ToolOutcome,
};
use crate::link::{CallOptions, DEFAULT_LIMIT_BYTES, Link, LinkError};

/// A list that never ends is cut.
const MOST_PAGES: usize = 100;
const MOST_ITEMS: usize = 20_000;

/// A way to send one request of the protocol and to read its answer.
pub(crate) trait Asks: Send + Sync + 'static {
    /// Sends a request; `name` is the tool, the prompt or the URI that it is about.
    fn ask<P: Serialize + Send + Sync, T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        name: Option<&str>,
        params: P,
        options: &CallOptions,
    ) -> impl Future<Output = Result<T, LinkError>> + Send;

    /// See [`Link::changes`].
    fn watch(&self) -> watch::Receiver<u64>;

    /// See [`Link::close`].
    fn end(&self) -> impl Future<Output = ()> + Send;
}

async fn list<D: DeserializeOwned>(
    server: &impl Asks,
    method: &'static str,
    deadline: Instant,
) -> Result<Vec<D>, LinkError> {
    let options = CallOptions::until(deadline).limit(4 * DEFAULT_LIMIT_BYTES).repeatable();
    let mut items = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page: Page = match server.ask(method, None, ListPage { cursor }, &options).await {
            Err(LinkError::Worker { rpc_code: METHOD_NOT_FOUND, .. }) => return Ok(items),
            other => other?,
        };
        for item in page.tools {
            // One definition that cannot be read does not hide the others.
            match serde_json::from_value(item) {
                Ok(item) => items.push(item),
                Err(error) => tracing::warn!(%error, method, "skipped a definition that cannot be read"),
            }
        }
        cursor = page.next;
        if cursor.is_none() || items.len() >= MOST_ITEMS {
            break;
        }
    }
    Ok(items)
}

#[async_trait]
impl<A: Asks> Link for A {
    async fn tools(&self, deadline: Instant) -> Result<Vec<ToolDefinition>, LinkError> {
        list(self, "tools/list", deadline).await
    }

    async fn call(
        &self,
        tool: &str,
        arguments: &Object,
        options: CallOptions,
    ) -> Result<ToolOutcome, LinkError> {
        let params = CallTool { name: tool, arguments };
        let result: ToolResult = self.ask("tools/call", Some(tool), params, &options).await?;
        result.try_into()
    }

    async fn prompts(&self, deadline: Instant) -> Result<Vec<PromptDefinition>, LinkError> {
        list(self, "prompts/list", deadline).await
    }

    async fn get_prompt(
        &self,
        prompt: &str,
        arguments: &Object,
        deadline: Instant,
    ) -> Result<PromptOutcome, LinkError> {
        let params = CallTool { name: prompt, arguments };
        self.ask("prompts/get", Some(prompt), params, &CallOptions::until(deadline).repeatable()).await
    }

    async fn resources(&self, deadline: Instant) -> Result<Vec<ResourceDefinition>, LinkError> {
        list(self, "resources/list", deadline).await
    }

    async fn templates(&self, deadline: Instant) -> Result<Vec<TemplateDefinition>, LinkError> {
        list(self, "resources/templates/list", deadline).await
    }

    async fn read_resource(&self, uri: &str, deadline: Instant) -> Result<Vec<Value>, LinkError> {
        let options = CallOptions::until(deadline).repeatable();
        let result: Contents = self.ask("resources/read", Some(uri), ReadResource { uri }, &options).await?;
        Ok(result.contents)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.watch()
    }

    async fn close(&self) {
        self.end().await;
    }
}
