//! Routes of clients. Each is an operation with its arguments taken from path, query and body.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use protocol::artifact::{Artifact, ArtifactType};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{ArtifactId, Digest};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::io::ReaderStream;
use transport::host::Host as _;
use transport::sender::Sender;

use super::{Failure, body};
use crate::hub::Hub;
use crate::mcp::HubHost;
use crate::operations::{Caller, OperationName, operations};
use crate::principal::{Principal, Scope};

type Answer = Result<Json<Value>, Failure>;

fn principal(sender: &Sender) -> Result<&Principal, ErrorBody> {
    sender
        .principal::<Principal>()
        .ok_or_else(|| ErrorBody::new(ErrorCode::Auth, "authentication is required"))
}

async fn run(hub: &Hub, sender: &Sender, name: OperationName, arguments: Value) -> Answer {
    let result = hub.invoke(principal(sender)?, name, arguments, &Caller::default()).await?;
    Ok(Json(result))
}

/// Query parameters as arguments: numbers and booleans as such, the rest as text.
fn arguments(query: Map<String, Value>) -> Value {
    let typed = |value: Value| match value {
        Value::String(text) => serde_json::from_str(&text)
            .ok()
            .filter(|value: &Value| value.is_number() || value.is_boolean())
            .unwrap_or(Value::String(text)),
        other => other,
    };
    Value::Object(query.into_iter().map(|(key, value)| (key, typed(value))).collect())
}

pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "service": "parley-hub", "version": env!("CARGO_PKG_VERSION")}))
}

/// Ready when the store answers and the hub is not ending.
pub async fn ready(State(hub): State<Hub>) -> Response {
    let store = hub.store().negotiations(None, 1).await.is_ok();
    let ready = store && !hub.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = json!({"status": if ready { "ok" } else { "not ready" }, "store": store,
        "stopping": hub.is_stopping(), "workers": hub.fleet().members().len()});
    (status, Json(checks)).into_response()
}

pub async fn workers(State(hub): State<Hub>, Extension(sender): Extension<Sender>) -> Answer {
    run(&hub, &sender, OperationName::GetFleetStatus, Value::Null).await
}

pub async fn trust(State(hub): State<Hub>, Extension(sender): Extension<Sender>) -> Answer {
    run(&hub, &sender, OperationName::GetTrust, Value::Null).await
}

pub async fn negotiations(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Query(query): Query<Map<String, Value>>,
) -> Answer {
    run(&hub, &sender, OperationName::ListNegotiations, arguments(query)).await
}

pub async fn negotiate(State(hub): State<Hub>, Extension(sender): Extension<Sender>, bytes: Bytes) -> Answer {
    run(&hub, &sender, OperationName::NegotiateJob, body(&bytes)?).await
}

pub async fn negotiation(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Answer {
    run(&hub, &sender, OperationName::GetNegotiation, json!({"negotiation_id": id})).await
}

pub async fn explanation(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Answer {
    run(&hub, &sender, OperationName::ExplainNegotiation, json!({"negotiation_id": id})).await
}

pub async fn jobs(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Query(query): Query<Map<String, Value>>,
) -> Answer {
    run(&hub, &sender, OperationName::ListJobs, arguments(query)).await
}

/// Negotiates and awards in one call; the body is that of `dispatch_job`.
pub async fn submit(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    bytes: Bytes,
) -> Result<Response, Failure> {
    let Json(answer) = run(&hub, &sender, OperationName::DispatchJob, body(&bytes)?).await?;
    let location = format!("/jobs/{}", answer["job_id"].as_str().unwrap_or_default());
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(answer)).into_response())
}

pub async fn job(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Answer {
    run(&hub, &sender, OperationName::GetJob, json!({"job_id": id})).await
}

pub async fn cancel(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Answer {
    run(&hub, &sender, OperationName::CancelJob, json!({"job_id": id})).await
}

#[derive(Deserialize)]
pub struct LogQuery {
    #[serde(default)]
    offset: u64,
}

/// A page of a job's log as text; the next page begins at the offset in `x-parley-next-offset`.
pub async fn log(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let arguments = json!({"job_id": id, "offset": query.offset});
    let Json(page) = run(&hub, &sender, OperationName::GetJobLogs, arguments).await?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/plain; charset=utf-8".to_owned()),
        ("x-parley-next-offset", page["next_offset"].to_string()),
        ("x-parley-complete", page["complete"].to_string()),
    ];
    Ok((headers, page["text"].as_str().unwrap_or_default().to_owned()).into_response())
}

pub async fn artifacts(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Query(query): Query<Map<String, Value>>,
) -> Answer {
    run(&hub, &sender, OperationName::ListArtifacts, arguments(query)).await
}

pub async fn artifact(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Answer {
    run(&hub, &sender, OperationName::GetArtifact, json!({"artifact_id": id})).await
}

#[derive(Deserialize)]
pub struct UploadQuery {
    name: String,
    #[serde(rename = "type")]
    artifact_type: Option<ArtifactType>,
}

/// Stores a client's file; the answer is its record.
pub async fn upload(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Query(query): Query<UploadQuery>,
    stream: Body,
) -> Result<Json<Artifact>, Failure> {
    let principal = principal(&sender)?;
    let name = query.name;
    let digest = Digest::of(name.as_bytes());
    let work = async {
        let plain = !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\\']) && name != "..";
        if !plain || name.chars().any(char::is_control) {
            let message = "name must be a file name of 1 to 255 bytes without a path";
            return Err(ErrorBody::new(ErrorCode::Field, message));
        }
        let temporary = format!("{:032x}", hub.draw());
        let (digest, size) = hub.files().store(&temporary, None, stream.into_data_stream()).await?;
        let artifact_type = query.artifact_type.unwrap_or(ArtifactType::Data);
        hub.register_upload(principal, name.clone(), artifact_type, digest, size).await
    };
    Ok(Json(hub.pass(principal, "upload_artifact", Scope::Negotiate, digest, work).await?))
}

/// The bytes of an artifact.
pub async fn content(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<ArtifactId>,
) -> Result<Response, Failure> {
    let principal = principal(&sender)?;
    let digest = Digest::of(id.as_str().as_bytes());
    let work = async {
        let artifact = hub.find_artifact(principal, &id).await?;
        let file = hub.files().open_artifact(&artifact.digest).await?;
        Ok((artifact, file))
    };
    let (artifact, file) = hub.pass(principal, "read_artifact", Scope::Read, digest, work).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, artifact.size_bytes.to_string()),
        (header::ETAG, format!("\"{}\"", artifact.digest)),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

pub async fn tools(State(hub): State<Hub>, Extension(sender): Extension<Sender>) -> Json<Value> {
    let host = HubHost::new(hub);
    Json(json!({"tools": *host.tools(&sender).await}))
}

pub async fn prompts(State(hub): State<Hub>, Extension(sender): Extension<Sender>) -> Json<Value> {
    let host = HubHost::new(hub);
    Json(json!({"prompts": *host.prompts(&sender).await}))
}

pub async fn resources(State(hub): State<Hub>, Extension(sender): Extension<Sender>) -> Json<Value> {
    let host = HubHost::new(hub);
    Json(json!({"resources": *host.resources(&sender).await}))
}

/// A few figures in Prometheus' text form.
pub async fn metrics(State(hub): State<Hub>) -> Response {
    let (commits, microseconds) = hub.store().commit_times().totals();
    #[expect(clippy::cast_precision_loss, reason = "seconds with enough digits")]
    let seconds = microseconds as f64 / 1e6;
    let mut text = format!(
        "# TYPE parley_store_commits_total counter\nparley_store_commits_total {commits}\n\
         # TYPE parley_store_commit_seconds_total counter\nparley_store_commit_seconds_total {seconds}\n\
         # TYPE parley_workers gauge\n"
    );
    let mut states = std::collections::BTreeMap::new();
    for member in hub.fleet().members() {
        *states.entry(hub.fleet().state(&member).to_string()).or_insert(0_u32) += 1;
    }
    for (state, count) in states {
        text.push_str(&format!("parley_workers{{state=\"{state}\"}} {count}\n"));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The routes and the operations behind them.
pub async fn openapi() -> Json<Value> {
    let find = |name: &str| operations().iter().find(|operation| operation.name == name);
    let mut paths = Map::new();
    for (method, path, operation) in [
        ("get", "/workers", "get_fleet_status"),
        ("get", "/negotiations", "list_negotiations"),
        ("post", "/negotiations", "negotiate_job"),
        ("get", "/negotiations/{id}", "get_negotiation"),
        ("get", "/negotiations/{id}/explanation", "explain_negotiation"),
        ("get", "/jobs", "list_jobs"),
        ("post", "/jobs", "dispatch_job"),
        ("get", "/jobs/{id}", "get_job"),
        ("delete", "/jobs/{id}", "cancel_job"),
        ("get", "/jobs/{id}/log", "get_job_logs"),
        ("get", "/artifacts", "list_artifacts"),
        ("get", "/artifacts/{id}", "get_artifact"),
        ("get", "/trust", "get_trust"),
    ] {
        let Some(operation) = find(operation) else { continue };
        let mut entry = json!({
            "operationId": operation.name,
            "description": operation.description,
            "responses": {
                "200": {"description": "done", "content": {"application/json": {"schema": *operation.output}}},
                "default": {"description": "refused", "content": {"application/problem+json": {}}},
            },
        });
        if method == "post" {
            entry["requestBody"] = json!({"content": {"application/json": {"schema": *operation.input}}});
        }
        let place = paths.entry(path).or_insert_with(|| json!({}));
        place[method] = entry;
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": {"title": "Parley hub", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
    }))
}
