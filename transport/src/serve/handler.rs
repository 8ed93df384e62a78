//! The face of a [`Host`] towards rmcp: one for each session of the older generation, one for each request
//! of the newer.

use std::sync::{Arc, OnceLock};

use protocol::error::{ErrorBody, ErrorCode};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Extensions,
    GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, MetaObject, PaginatedRequestParams,
    Prompt, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool, ToolAnnotations,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::host::{CallContext, Host, ToolDefinition, ToolOutcome};
use crate::progress::Progress;
use crate::sender::Sender;

/// Items on one page of a list. Many clients read only the first page, so it is large.
const PAGE: usize = 1000;

pub(super) struct Face {
    host: Arc<dyn Host>,
    /// Who sends when the transport does not say.
    sender: Sender,
    /// Ends the task that tells this session about changes, when the session ends.
    announcer: OnceLock<DropGuard>,
}

impl Face {
    pub(super) fn new(host: Arc<dyn Host>, sender: Sender) -> Self {
        Self { host, sender, announcer: OnceLock::new() }
    }

    /// The sender that the admission put into the HTTP request.
    fn sender(&self, extensions: &Extensions) -> Sender {
        extensions
            .get::<http::request::Parts>()
            .and_then(|parts| parts.extensions.get::<Sender>())
            .unwrap_or(&self.sender)
            .clone()
    }
}

impl ServerHandler for Face {
    fn get_info(&self) -> ServerConfig {
        let info = self.host.info();
        let mut capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        if info.prompts {
            let prompts =
                ServerCapabilities::builder().enable_prompts().enable_prompts_list_changed().build();
            capabilities.prompts = prompts.prompts;
        }
        if info.resources {
            let resources =
                ServerCapabilities::builder().enable_resources().enable_resources_list_changed().build();
            capabilities.resources = resources.resources;
        }
        let mut identity = Implementation::new(info.name, info.version);
        identity.title = info.title;
        let mut config = ServerConfig::new(capabilities).with_server_info(identity);
        config.instructions = info.instructions;
        config
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let progress = match context.meta.get_progress_token() {
            Some(token) => Progress::peer(context.peer.clone(), token),
            None => Progress::none(),
        };
        let call =
            CallContext { sender: self.sender(&context.extensions), progress, cancelled: context.ct.clone() };
        let arguments = request.arguments.unwrap_or_default();
        tokio::select! {
            biased;
            result = self.host.call(&request.name, arguments, call) => {
                result.map_err(|error| rpc_error(&error)).and_then(call_result)
            }
            () = context.ct.cancelled() => {
                Err(rpc_error(&ErrorBody::new(ErrorCode::Cancelled, "the caller gave up")))
            }
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let all = self.host.tools(&self.sender(&context.extensions)).await;
        let (page, next) = page(&all, request)?;
        let mut result = ListToolsResult::with_all_items(page.iter().map(tool).collect())
            .with_ttl_ms(0)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = next;
        Ok(result)
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let all = self.host.prompts(&self.sender(&context.extensions)).await;
        let (page, next) = page(&all, request)?;
        let items = page.iter().map(convert::<_, Prompt>).collect::<Result<_, _>>()?;
        let mut result =
            ListPromptsResult::with_all_items(items).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        result.next_cursor = next;
        Ok(result)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let sender = self.sender(&context.extensions);
        let arguments = request.arguments.unwrap_or_default();
        let outcome = self
            .host
            .get_prompt(&request.name, arguments, &sender)
            .await
            .map_err(|error| rpc_error(&error))?;
        let messages = outcome.messages.iter().map(convert).collect::<Result<_, _>>()?;
        let mut result = GetPromptResult::new(messages);
        result.description = outcome.description;
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let all = self.host.resources(&self.sender(&context.extensions)).await;
        let (page, next) = page(&all, request)?;
        let items = page.iter().map(convert::<_, Resource>).collect::<Result<_, _>>()?;
        let mut result =
            ListResourcesResult::with_all_items(items).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        result.next_cursor = next;
        Ok(result)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let all = self.host.templates(&self.sender(&context.extensions)).await;
        let (page, next) = page(&all, request)?;
        let items = page.iter().map(convert::<_, ResourceTemplate>).collect::<Result<_, _>>()?;
        let mut result = ListResourceTemplatesResult::with_all_items(items)
            .with_ttl_ms(0)
            .with_cache_scope(CacheScope::Private);
        result.next_cursor = next;
        Ok(result)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let sender = self.sender(&context.extensions);
        let contents =
            self.host.read_resource(&request.uri, &sender).await.map_err(|error| match error.code {
                ErrorCode::NotFound => {
                    ErrorData::resource_not_found(error.message.clone(), Some(data(&error)))
                }
                _ => rpc_error(&error),
            })?;
        let contents = contents.iter().map(convert::<_, ResourceContents>).collect::<Result<_, _>>()?;
        let result = ReadResourceResult::new(contents).with_ttl_ms(0).with_cache_scope(CacheScope::Private);
        Ok(result.into())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        accepted.resource_subscriptions = None;
        Some(accepted)
    }

    /// Changes for the newer generation: one open answer, which ends with the request.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.host.changes();
        changes.mark_unchanged();
        let accepted = context.accepted().clone();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() {
                    // The host never changes again; the subscription stays until its owner ends it.
                    context.cancelled().await;
                    return Ok(());
                },
            }
            let sink = context.sink();
            // A send fails only when the subscription is over, which the loop is about to see.
            if accepted.tools_list_changed == Some(true) {
                let _ = sink.notify_tool_list_changed().await;
            }
            if accepted.prompts_list_changed == Some(true) {
                let _ = sink.notify_prompt_list_changed().await;
            }
            if accepted.resources_list_changed == Some(true) {
                let _ = sink.notify_resource_list_changed().await;
            }
        }
    }

    /// Changes for the older generation: a task for each session, which ends with this face.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let token = CancellationToken::new();
        if self.announcer.set(token.clone().drop_guard()).is_err() {
            return;
        }
        let (info, peer) = (self.host.info(), context.peer);
        let mut changes = self.host.changes();
        changes.mark_unchanged();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = token.cancelled() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                let mut sent = peer.notify_tool_list_changed().await.is_ok();
                if info.prompts {
                    sent &= peer.notify_prompt_list_changed().await.is_ok();
                }
                if info.resources {
                    sent &= peer.notify_resource_list_changed().await.is_ok();
                }
                if !sent {
                    return;
                }
            }
        });
    }
}

/// One page of a list and the cursor of the next. A cursor is the number of items before the page.
fn page<T>(all: &[T], request: Option<PaginatedRequestParams>) -> Result<(&[T], Option<String>), ErrorData> {
    let start = match request.and_then(|request| request.cursor) {
        None => 0,
        Some(cursor) => cursor
            .parse::<usize>()
            .ok()
            .filter(|start| *start <= all.len())
            .ok_or_else(|| ErrorData::invalid_params("the cursor is not one of ours", None))?,
    };
    let end = all.len().min(start.saturating_add(PAGE));
    let next = (end < all.len()).then(|| end.to_string());
    Ok((all.get(start..end).unwrap_or_default(), next))
}

fn tool(definition: &ToolDefinition) -> Tool {
    let mut tool = Tool::new(
        definition.name.clone(),
        definition.description.clone(),
        Arc::clone(&definition.input_schema),
    );
    tool.title.clone_from(&definition.title);
    tool.output_schema.clone_from(&definition.output_schema);
    if !definition.annotations.is_empty() {
        let hints = definition.annotations;
        tool.annotations = Some(ToolAnnotations::from_raw(
            None,
            hints.read_only,
            hints.destructive,
            hints.idempotent,
            hints.open_world,
        ));
    }
    tool.meta = definition.meta.clone().map(MetaObject);
    tool
}

fn call_result(outcome: ToolOutcome) -> Result<CallToolResponse, ErrorData> {
    let content = outcome.content.iter().map(convert::<_, ContentBlock>).collect::<Result<Vec<_>, _>>()?;
    let mut result = CallToolResult::success(content);
    result.structured_content = outcome.structured;
    result.is_error = Some(outcome.is_error);
    result.meta = outcome.meta.map(MetaObject);
    Ok(result.into())
}

/// Reads one of our plain values as the type of rmcp that has the same JSON.
fn convert<T: Serialize, R: DeserializeOwned>(value: &T) -> Result<R, ErrorData> {
    serde_json::to_value(value).and_then(serde_json::from_value).map_err(|error| {
        tracing::error!(%error, "a host gave something that the protocol does not know");
        ErrorData::internal_error("the server made an answer that the protocol does not know", None)
    })
}

/// An error of ours as one of the protocol; our own code travels in `data`.
fn rpc_error(error: &ErrorBody) -> ErrorData {
    let code = rmcp::model::ErrorCode(rpc_code(error.code));
    ErrorData::new(code, error.message.clone(), Some(data(error)))
}

/// The protocol's code for one of ours.
pub(crate) const fn rpc_code(code: ErrorCode) -> i32 {
    match code {
        ErrorCode::Internal => -32603,
        ErrorCode::Method => -32601,
        // The parameters do not fit.
        ErrorCode::Tool
        | ErrorCode::Field
        | ErrorCode::NotFound
        | ErrorCode::EmptyRequest
        | ErrorCode::Json
        | ErrorCode::Strategy
        | ErrorCode::Job => -32602,
        // The range that JSON-RPC leaves to servers.
        _ => -32000,
    }
}

fn data(error: &ErrorBody) -> serde_json::Value {
    serde_json::json!({ "code": error.code })
}
