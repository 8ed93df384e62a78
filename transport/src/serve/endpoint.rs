//! One host on HTTP: the gates, then rmcp's service for both protocol generations.
//!
//! The newer generation is stateless and answers with plain JSON unless a call reports progress; the older
//! one has sessions, which are what carries list changes to its clients.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, header};
use protocol::error::ErrorCode;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::de::IgnoredAny;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::gate::pass_whole;
use super::handler::Face;
use super::{McpOptions, Mount};
use crate::admission::Rejection;
use crate::sender::Sender;

/// A session without a request for this long is forgotten.
const SESSION_TIME: Duration = Duration::from_secs(3600);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

pub(super) struct Endpoint {
    mount: Mount,
    service: StreamableHttpService<Face, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    /// Ends the sessions of a host that is no longer served.
    _ends: DropGuard,
}

impl Endpoint {
    pub(super) fn new(mount: Mount, options: &McpOptions) -> Self {
        let token: CancellationToken = options.shutdown.child_token();
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(true)
            .with_json_response(true)
            .with_max_request_body_bytes(options.body_limit)
            .with_cancellation_token(token.clone())
            // Host and Origin are checked by our own guard, which stands before every route.
            .disable_allowed_hosts()
            .disable_allowed_origins();
        let mut sessions = LocalSessionManager::default();
        // Many clients do not open a new session when theirs is gone, and people pause longer than the
        // five minutes that are the default.
        sessions.session_config.keep_alive = Some(SESSION_TIME);
        let sessions = Arc::new(sessions);
        let host = Arc::clone(&mount.host);
        let factory = move || Ok(Face::new(Arc::clone(&host), Sender::anonymous()));
        let service = StreamableHttpService::new(factory, Arc::clone(&sessions), config);
        Self { mount, service, sessions, _ends: token.drop_guard() }
    }

    pub(super) fn serves(&self, mount: &Mount) -> bool {
        Arc::ptr_eq(&self.mount.host, &mount.host) && Arc::ptr_eq(&self.mount.admission, &mount.admission)
    }

    pub(super) async fn answer(&self, request: Request, options: &McpOptions) -> Response {
        let admission = self.mount.admission.as_ref();
        let (parts, body) = match pass_whole(request, &options.guard, admission, options.body_limit).await {
            Ok(passed) => passed,
            Err(refused) => return refused,
        };
        if opens_session(&parts) && self.sessions.sessions.read().await.len() >= options.sessions {
            return Rejection::new(ErrorCode::Busy, "too many sessions at once; try again").into_response();
        }
        let is_json = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let response = self.service.handle(Request::from_parts(parts, Body::from(body.clone()))).await;
        if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json {
            return unreadable(&body);
        }
        response.map(Body::new)
    }
}

/// A POST without a session that names no newer version can only be the start of a session.
fn opens_session(parts: &Parts) -> bool {
    let version = parts.headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
    parts.method == Method::POST
        && !parts.headers.contains_key(SESSION)
        && version.is_none_or(|version| version < "2026-07-28")
}

/// rmcp answers a body that it cannot read with 415 and the parser's words; the protocol wants 400 and a
/// JSON-RPC error.
fn unreadable(body: &[u8]) -> Response {
    let (code, message) = if serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        (-32600, "the body is not one JSON-RPC message")
    } else {
        (-32700, "the body is not JSON")
    };
    let error =
        serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], error.to_string()).into_response()
}
