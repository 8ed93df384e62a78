//! The JSON of MCP as a caller writes and reads it.

use std::borrow::Cow;

use protocol::error::ErrorCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::{Object, ToolOutcome};
use crate::link::LinkError;

/// The stateless generation.
pub(crate) const STATELESS: &str = "2026-07-28";
/// The newest version of the generation with sessions.
pub(crate) const WITH_SESSIONS: &str = "2025-11-25";

/// The server does not serve the version that we named.
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
/// There is no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// Errors that only a server of the stateless generation gives.
pub(crate) const STATELESS_ERRORS: [i64; 2] = [-32020, -32021];

/// The longest message of a server that is passed on.
const LONGEST_MESSAGE: usize = 2000;

#[derive(Serialize)]
pub(crate) struct Outgoing<'a, P> {
    pub(crate) jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    pub(crate) method: &'a str,
    pub(crate) params: Params<'a, P>,
}

#[derive(Serialize)]
pub(crate) struct Params<'a, P> {
    #[serde(flatten)]
    pub(crate) own: P,
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    pub(crate) meta: Meta<'a>,
}

/// What the stateless generation says with every request.
#[derive(Serialize, Default)]
pub(crate) struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion", skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<&'static str>,
    #[serde(rename = "io.modelcontextprotocol/clientInfo", skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientInfo<'a>>,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities", skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Nothing>,
    #[serde(rename = "progressToken", skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<u64>,
}

impl Meta<'_> {
    fn is_empty(&self) -> bool {
        self.version.is_none() && self.progress.is_none()
    }
}

#[derive(Serialize, Clone, Copy)]
pub(crate) struct ClientInfo<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

/// `{}`.
#[derive(Serialize, Clone, Copy, Default)]
pub(crate) struct Nothing {}

#[derive(Serialize)]
pub(crate) struct CallTool<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a Object,
}

#[derive(Serialize)]
pub(crate) struct ListPage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ReadResource<'a> {
    pub(crate) uri: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialize<'a> {
    pub(crate) protocol_version: &'static str,
    pub(crate) capabilities: Nothing,
    pub(crate) client_info: ClientInfo<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cancelled {
    pub(crate) request_id: u64,
    pub(crate) reason: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Listen {
    pub(crate) notifications: Wanted,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    pub(crate) tools_list_changed: bool,
    pub(crate) prompts_list_changed: bool,
    pub(crate) resources_list_changed: bool,
}

/// Any message of a server: an answer (`result` or `error`), a notification (`method`), or a request of
/// its own (`method` and `id`), which is not answered because we declare no capability for one.
#[derive(Deserialize)]
pub(crate) struct Incoming<'a, T> {
    #[serde(default)]
    pub(crate) id: Option<Value>,
    #[serde(default, borrow)]
    pub(crate) method: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) params: Option<Value>,
    // Without this the derive would demand `T: Default`.
    #[serde(default = "Option::default")]
    pub(crate) result: Option<T>,
    #[serde(default)]
    pub(crate) error: Option<RpcError>,
}

#[derive(Deserialize, Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) data: Option<Value>,
}

impl From<RpcError> for LinkError {
    fn from(error: RpcError) -> Self {
        let code = error.data.as_ref().and_then(|data| ErrorCode::deserialize(data.get("code")?).ok());
        Self::Worker { rpc_code: error.code, code, message: shorten(error.message) }
    }
}

/// Cuts text from outside to a length that can be shown and stored.
pub(crate) fn shorten(mut text: String) -> String {
    if let Some((position, _)) = text.char_indices().nth(LONGEST_MESSAGE) {
        text.truncate(position);
    }
    text
}

/// Reads one message.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Incoming<'_, T>, LinkError> {
    serde_json::from_slice(bytes).map_err(|error| classify(&error))
}

/// Whether bytes are no JSON at all or JSON of another shape.
pub(crate) fn classify(error: &serde_json::Error) -> LinkError {
    if error.is_data() { LinkError::BadSchema } else { LinkError::BadJson }
}

/// The result of a tool call, as lenient as it may be: content or a structured result must be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolResult {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    content: Option<Vec<Value>>,
    #[serde(default)]
    structured_content: Option<Value>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(default, rename = "_meta")]
    meta: Option<Object>,
}

impl TryFrom<ToolResult> for ToolOutcome {
    type Error = LinkError;

    fn try_from(result: ToolResult) -> Result<Self, LinkError> {
        // Another type asks us for input, which we never offered to give.
        let complete = result.result_type.is_none_or(|kind| kind == "complete");
        if !complete || (result.content.is_none() && result.structured_content.is_none()) {
            return Err(LinkError::BadSchema);
        }
        Ok(Self {
            structured: result.structured_content,
            content: result.content.unwrap_or_default(),
            is_error: result.is_error.unwrap_or(false),
            meta: result.meta,
        })
    }
}

/// One page of any list.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default, alias = "prompts", alias = "resources", alias = "resourceTemplates")]
    pub(crate) tools: Vec<Value>,
    #[serde(default, rename = "nextCursor")]
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Contents {
    pub(crate) contents: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Initialized {
    pub(crate) protocol_version: String,
}

/// The parameters of a progress notification.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProgressParams {
    pub(crate) progress_token: Value,
    pub(crate) progress: f64,
    #[serde(default)]
    pub(crate) total: Option<f64>,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: &str) -> Result<ToolOutcome, LinkError> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        read::<ToolResult>(text.as_bytes())?.result.ok_or(LinkError::BadSchema)?.try_into()
    }

    #[test]
    fn a_result_without_content_is_none() {
        assert!(outcome(r#"{"content":[]}"#).is_ok());
        assert!(outcome(r#"{"structuredContent":{"a":1}}"#).is_ok());
        assert_eq!(outcome("{}"), Err(LinkError::BadSchema));
        assert_eq!(outcome("[]"), Err(LinkError::BadSchema));
        assert_eq!(outcome("null"), Err(LinkError::BadSchema));
        assert_eq!(outcome(r#"{"content":[],"resultType":"input_required"}"#), Err(LinkError::BadSchema));
        assert_eq!(outcome(r#"{"content":[]"#), Err(LinkError::BadJson));
    }

    #[test]
    fn our_own_code_is_read_from_an_error() {
        let error: RpcError =
            serde_json::from_str(r#"{"code":-32000,"message":"m","data":{"code":"HOLD_EXPIRED"}}"#).unwrap();
        assert_eq!(LinkError::from(error).code(), ErrorCode::HoldExpired);
        let error: RpcError =
            serde_json::from_str(r#"{"code":-32000,"message":"m","data":{"code":"X"}}"#).unwrap();
        assert_eq!(LinkError::from(error).code(), ErrorCode::UpstreamBad);
    }
}
