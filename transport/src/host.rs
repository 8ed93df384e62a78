//! What an MCP server serves, in plain types: a [`Host`] has tools, and may have prompts and resources.
//!
//! The hub, a worker and a test fixture each implement [`Host`] once; [`crate::serve`] puts it on HTTP or
//! on standard input and output in both protocol generations. The definitions have the JSON shape of the
//! protocol, so that a [`crate::link::Link`] reads the same types back.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::error::{ErrorBody, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::sender::Sender;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

/// Who a host is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// Its name, for programs.
    pub name: String,
    /// Its name, for people.
    pub title: Option<String>,
    /// Its version.
    pub version: String,
    /// How to use it, for a model.
    pub instructions: Option<String>,
    /// Whether it has prompts.
    pub prompts: bool,
    /// Whether it has resources.
    pub resources: bool,
}

/// One tool as the protocol lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolDefinition {
    /// `[A-Za-z0-9_-]{1,64}`; some clients refuse a whole server over one other character.
    pub name: String,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does and when to use it.
    #[serde(default)]
    pub description: String,
    /// JSON schema of the arguments; an object.
    pub input_schema: Arc<Object>,
    /// JSON schema of the structured result; with it, a structured result is a must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Arc<Object>>,
    /// Hints about its effects.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Anything else, under names with a prefix.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Object>,
}

/// Hints about a tool's effects; absent ones have the protocol's cautious defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotations {
    /// It changes nothing.
    #[serde(rename = "readOnlyHint", default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// What it changes may be lost.
    #[serde(rename = "destructiveHint", default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing more.
    #[serde(rename = "idempotentHint", default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// It deals with things outside the host.
    #[serde(rename = "openWorldHint", default, skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

impl Annotations {
    /// A tool that only looks.
    pub const READ_ONLY: Self = Self {
        read_only: Some(true),
        destructive: Some(false),
        idempotent: Some(true),
        open_world: Some(false),
    };

    /// Whether no hint is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a tool call brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolOutcome {
    /// The structured result.
    #[serde(rename = "structuredContent", default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// Content blocks of the protocol, such as `{"type": "text", "text": "..."}`.
    #[serde(default)]
    pub content: Vec<Value>,
    /// Whether the tool ran and failed.
    #[serde(default)]
    pub is_error: bool,
    /// Anything else.
    #[serde(rename = "_meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Object>,
}

impl ToolOutcome {
    /// A structured result and nothing else: the cheapest, for callers that are programs of ours.
    #[must_use]
    pub fn structured(value: Value) -> Self {
        Self { structured: Some(value), ..Self::default() }
    }

    /// A structured result and the same as text, which the protocol recommends for older clients.
    #[must_use]
    pub fn json(value: Value) -> Self {
        let text = value.to_string();
        Self { structured: Some(value), ..Self::text(text) }
    }

    /// Text only.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![text_block(text)], ..Self::default() }
    }

    /// A failure of the tool that the caller should read, structured as `{"error": {code, message}}`.
    #[must_use]
    pub fn failed(error: &ErrorBody) -> Self {
        Self {
            structured: Some(serde_json::json!({ "error": error })),
            content: vec![text_block(error.to_string())],
            is_error: true,
            meta: None,
        }
    }

    /// The first text block.
    #[must_use]
    pub fn first_text(&self) -> Option<&str> {
        self.content.iter().find_map(|block| block.get("text")?.as_str())
    }
}

/// A text block of the protocol.
#[must_use]
pub fn text_block(text: impl Into<String>) -> Value {
    serde_json::json!({ "type": "text", "text": text.into() })
}

/// One prompt as the protocol lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptDefinition {
    /// Its name.
    pub name: String,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<PromptArgument>,
}

/// One argument of a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
}

/// A prompt with its arguments filled in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptOutcome {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Messages of the protocol: `{"role": "user", "content": {block}}`.
    pub messages: Vec<Value>,
}

/// One resource as the protocol lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDefinition {
    /// Its URI.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A family of resources, as an RFC 6570 template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateDefinition {
    /// The template of the URIs.
    pub uri_template: String,
    /// Its name.
    pub name: String,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the resources are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Their media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// What a call knows besides its arguments.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Who calls.
    pub sender: Sender,
    /// Where to report progress; reports vanish when the caller asked for none.
    pub progress: Progress,
    /// Fires when the caller gives up: stop working.
    pub cancelled: CancellationToken,
}

impl CallContext {
    /// A context for calls inside the process: no progress, never cancelled.
    #[must_use]
    pub fn of(sender: Sender) -> Self {
        Self { sender, progress: Progress::none(), cancelled: CancellationToken::new() }
    }
}

/// Something that can be served over MCP.
///
/// An `Err` is an answer of the protocol (unknown tool, bad arguments, not permitted); a tool that ran
/// and failed answers `Ok` with [`ToolOutcome::failed`], so that a model can read why.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Who it is; cheap, asked with every request.
    fn info(&self) -> HostInfo;

    /// The tools that this sender may see, in a stable order.
    async fn tools(&self, sender: &Sender) -> Arc<Vec<ToolDefinition>>;

    /// Calls a tool.
    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody>;

    /// A number that changes when the tools, prompts or resources do. The default never changes.
    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// The prompts.
    async fn prompts(&self, _sender: &Sender) -> Arc<Vec<PromptDefinition>> {
        Arc::default()
    }

    /// Fills a prompt in.
    async fn get_prompt(
        &self,
        prompt: &str,
        _arguments: Object,
        _sender: &Sender,
    ) -> Result<PromptOutcome, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no prompt {prompt:?}")))
    }

    /// The resources.
    async fn resources(&self, _sender: &Sender) -> Arc<Vec<ResourceDefinition>> {
        Arc::default()
    }

    /// The families of resources.
    async fn templates(&self, _sender: &Sender) -> Arc<Vec<TemplateDefinition>> {
        Arc::default()
    }

    /// Reads a resource: contents of the protocol, `{"uri", "mimeType", "text" or "blob"}`.
    async fn read_resource(&self, uri: &str, _sender: &Sender) -> Result<Vec<Value>, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no resource {uri:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_the_shape_of_the_protocol() {
        let tool = ToolDefinition {
            name: "get_status".into(),
            title: None,
            description: "d".into(),
            input_schema: Arc::default(),
            output_schema: None,
            annotations: Annotations::READ_ONLY,
            meta: None,
        };
        let json = serde_json::to_value(&tool).unwrap();
        assert_eq!(json["inputSchema"], serde_json::json!({}));
        assert_eq!(json["annotations"]["readOnlyHint"], true);
        assert!(json.get("_meta").is_none());
        assert_eq!(serde_json::from_value::<ToolDefinition>(json).unwrap(), tool);
    }

    #[test]
    fn a_failure_says_its_code_and_is_readable() {
        let outcome = ToolOutcome::failed(&ErrorBody::new(ErrorCode::NoWorker, "nothing fits"));
        assert!(outcome.is_error);
        assert_eq!(outcome.structured.as_ref().unwrap()["error"]["code"], "NO_WORKER");
        assert_eq!(outcome.first_text(), Some("nothing fits (NO_WORKER)"));
    }
}
