//! The hub over HTTP: routes of clients, routes of workers, and MCP, each behind its own admission.

mod client;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::join::JOIN_BODY_LIMIT;
use protocol::signature::{HUB_SENDER, RequestParts};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use transport::admission::{Admission, BearerTokens, Incoming, Rejection, problem};
use transport::sender::Sender;
use transport::serve::gate::guarded;
use transport::serve::guard::Guard;
use transport::serve::{BodyMode, McpOptions, Mount, admitted, mcp_router};

use crate::hub::Hub;
use crate::mcp::HubHost;
use crate::principal::Principal;

/// The largest body of a client's request.
const CLIENT_BODY_LIMIT: usize = 1024 * 1024;
/// The largest report of a worker.
const REPORT_LIMIT: usize = 1024 * 1024;

/// Everything that a hub serves, with MCP at `mcp_path`.
pub fn router(hub: &Hub, guard: Guard, mcp_path: &str, shutdown: CancellationToken) -> Router {
    let clients: Arc<dyn Admission> = Arc::new(ClientAdmission(
        hub.token().map(|token| BearerTokens::new([(token, Principal::client().id.to_string())])),
    ));
    let workers: Arc<dyn Admission> = Arc::new(WorkerAdmission(hub.clone()));
    let options = McpOptions::new(guard.clone(), shutdown);
    let mount = Mount { host: Arc::new(HubHost::new(hub.clone())), admission: clients.clone() };
    let mcp = mcp_router(mcp_path, mount, options);
    let guard = Arc::new(guard);
    let public = Router::new()
        .route("/health", get(client::health))
        .route("/health/ready", get(client::ready))
        .route("/v1/join/start", post(worker::join_start))
        .route("/v1/join/finish", post(worker::join_finish))
        .route("/register", post(worker::register))
        .layer(axum::extract::DefaultBodyLimit::max(JOIN_BODY_LIMIT));
    let worker_calls = Router::new()
        .route("/v1/heartbeat", post(worker::heartbeat))
        .route("/v1/leave", post(worker::leave))
        .route("/v1/attempts/report", post(worker::report));
    let worker_bytes = Router::new()
        .route(transport::reverse::PATH, get(worker::link))
        .route("/v1/artifacts/{digest}", put(worker::upload))
        .route("/v1/inputs/{artifact_id}", get(worker::download));
    let client_calls = Router::new()
        .route("/workers", get(client::workers))
        .route("/negotiations", get(client::negotiations).post(client::negotiate))
        .route("/negotiations/{id}", get(client::negotiation))
        .route("/negotiations/{id}/explanation", get(client::explanation))
        .route("/jobs", get(client::jobs).post(client::submit))
        .route("/jobs/{id}", get(client::job))
        .route("/jobs/{id}", delete(client::cancel))
        .route("/jobs/{id}/log", get(client::log))
        .route("/artifacts", get(client::artifacts))
        .route("/artifacts/{id}", get(client::artifact))
        .route("/trust", get(client::trust))
        .route("/tools/list", get(client::tools))
        .route("/prompts/list", get(client::prompts))
        .route("/resources/list", get(client::resources))
        .route("/metrics", get(client::metrics))
        .route("/openapi.json", get(client::openapi));
    let client_bytes = Router::new()
        .route("/artifacts/content", post(client::upload))
        .route("/artifacts/{id}/content", get(client::content))
        .layer(axum::extract::DefaultBodyLimit::disable());
    let whole = BodyMode::Whole;
    guarded(public.with_state(hub.clone()), guard.clone())
        .merge(admitted(
            worker_calls.with_state(hub.clone()),
            guard.clone(),
            workers.clone(),
            whole(REPORT_LIMIT),
        ))
        .merge(admitted(worker_bytes.with_state(hub.clone()), guard.clone(), workers, BodyMode::Streamed))
        .merge(admitted(
            client_calls.with_state(hub.clone()),
            guard.clone(),
            clients.clone(),
            whole(CLIENT_BODY_LIMIT),
        ))
        .merge(admitted(client_bytes.with_state(hub.clone()), guard, clients, BodyMode::Streamed))
        .merge(mcp)
        .fallback(|| async {
            Failure(ErrorBody::new(
                ErrorCode::NotFound,
                "there is no such route; GET /openapi.json lists them",
            ))
        })
        .method_not_allowed_fallback(|| async {
            Failure(ErrorBody::new(ErrorCode::Method, "this route does not take that method"))
        })
}

/// An error as an answer.
pub struct Failure(pub ErrorBody);

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        problem(&self.0)
    }
}

/// Reads a JSON body; an error says what does not fit.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ErrorBody> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (code, what) = match error.classify() {
            serde_json::error::Category::Data => (ErrorCode::Field, "the body does not fit"),
            _ => (ErrorCode::Json, "the body is not JSON"),
        };
        ErrorBody::new(code, format!("{what}: {error}"))
    })
}

/// Clients: whoever has the token, or on a hub without one, whoever reaches it.
struct ClientAdmission(Option<BearerTokens>);

#[async_trait]
impl Admission for ClientAdmission {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        match &self.0 {
            Some(tokens) => Ok(tokens.admit(incoming).await?.with_principal(Principal::client())),
            None => Ok(Sender::anonymous().with_principal(Principal::local()).from_peer(incoming.peer)),
        }
    }
}

/// Workers: whoever signs with the key that joined.
struct WorkerAdmission(Hub);

#[async_trait]
impl Admission for WorkerAdmission {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let parts = RequestParts {
            method: incoming.method.as_str(),
            path: incoming.target,
            body: incoming.body,
            audience: HUB_SENDER,
        };
        let member = self.0.signer(incoming.headers, parts)?;
        let id = member.particulars.worker_id.to_string();
        Ok(Sender::signed(id).with_principal(member).from_peer(incoming.peer))
    }
}
