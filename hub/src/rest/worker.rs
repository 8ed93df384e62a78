//! Routes of workers: joining, signs of life, reports, bytes.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{ArtifactId, Digest};
use protocol::join::{HeartbeatAccepted, JoinAccepted, JoinChallenge};
use serde::Deserialize;
use serde_json::json;
use tokio_util::io::ReaderStream;
use transport::sender::Sender;

use super::{Failure, body};
use crate::fleet::Member;
use crate::hub::Hub;
use crate::reports::ReportAccepted;

fn member(sender: &Sender) -> Result<&Arc<Member>, ErrorBody> {
    sender
        .principal::<Arc<Member>>()
        .ok_or_else(|| ErrorBody::new(ErrorCode::Auth, "authentication is required"))
}

pub async fn join_start(State(hub): State<Hub>, bytes: Bytes) -> Result<Json<JoinChallenge>, Failure> {
    Ok(Json(hub.join_start(body(&bytes)?)?))
}

pub async fn join_finish(State(hub): State<Hub>, bytes: Bytes) -> Result<Json<JoinAccepted>, Failure> {
    Ok(Json(hub.join_finish(&body(&bytes)?).await?))
}

/// The predecessor's join; its answers are the predecessor's too.
pub async fn register(State(hub): State<Hub>, headers: HeaderMap, bytes: Bytes) -> Response {
    let token = headers.get("x-mcp-token").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let result = match body(&bytes) {
        Ok(registration) => hub.join_legacy(token.as_deref().unwrap_or_default(), registration).await,
        // Whoever does not know the secret learns nothing about the body.
        Err(error) if token.as_deref().is_some_and(|token| hub.joins().token_fits(token)) => Err(error),
        Err(_) => Err(crate::join::wrong_secret()),
    };
    match result {
        Ok(_) => Json(json!({"status": "success"})).into_response(),
        Err(error) if error.code == ErrorCode::Auth => {
            (StatusCode::FORBIDDEN, Json(json!({"detail": "Forbidden"}))).into_response()
        }
        Err(error) => Failure(error).into_response(),
    }
}

pub async fn heartbeat(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    bytes: Bytes,
) -> Result<Json<HeartbeatAccepted>, Failure> {
    Ok(Json(hub.heartbeat(member(&sender)?, &body(&bytes)?).await?))
}

pub async fn leave(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
) -> Result<Json<serde_json::Value>, Failure> {
    hub.leave(member(&sender)?).await?;
    Ok(Json(json!({"status": "left"})))
}

#[derive(Deserialize)]
pub struct LinkQuery {
    /// The worker's instance.
    boot: String,
    /// Its key for this link.
    key: String,
}

/// Turns the connection into the worker's link.
pub async fn link(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    query: Result<Query<LinkQuery>, QueryRejection>,
    mut request: Request,
) -> Result<Response, Failure> {
    let Query(LinkQuery { boot, key }) =
        query.map_err(|error| ErrorBody::new(ErrorCode::Field, error.body_text()))?;
    match hub.take_link(member(&sender)?, &boot, &key, &mut request) {
        Ok(response) => Ok(response),
        Err(refused) => Ok(refused.into_response()),
    }
}

pub async fn report(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    bytes: Bytes,
) -> Result<Json<ReportAccepted>, Failure> {
    Ok(Json(hub.report(member(&sender)?, body(&bytes)?).await?))
}

/// Takes the bytes of an artifact; the path, which is signed, names their digest.
pub async fn upload(
    State(hub): State<Hub>,
    Extension(_): Extension<Sender>,
    Path(digest): Path<Digest>,
    stream: Body,
) -> Result<Json<serde_json::Value>, Failure> {
    if hub.files().has(&digest).await {
        return Ok(Json(json!({"digest": digest})));
    }
    let name = format!("{:032x}", hub.draw());
    let (digest, size) = hub.files().store(&name, Some(&digest), stream.into_data_stream()).await?;
    Ok(Json(json!({"digest": digest, "size_bytes": size})))
}

/// Gives a worker the input of work that it has.
pub async fn download(
    State(hub): State<Hub>,
    Extension(sender): Extension<Sender>,
    Path(artifact): Path<ArtifactId>,
) -> Result<Response, Failure> {
    let digest = hub.may_fetch(member(&sender)?, &artifact).await?;
    let file = hub.files().open_artifact(&digest).await?;
    Ok(Body::from_stream(ReaderStream::new(file)).into_response())
}
