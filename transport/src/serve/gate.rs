//! The gates before every route: Host and Origin, encoding, size and time of the body, admission.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use protocol::error::ErrorCode;
use tokio::sync::Semaphore;

use super::guard::Guard;
use super::listener::Connection;
use crate::admission::{Admission, Incoming, Rejection};

/// A body must be complete within this time.
const BODY_TIME: Duration = Duration::from_secs(15);

/// What of a body beyond its limit is read and thrown away, and for how long, so that its sender has
/// sent it and reads the refusal instead of a broken connection (RFC 9112, section 9.6).
const UNREAD_BODY: usize = 16 * 1024 * 1024;
const UNREAD_TIME: Duration = Duration::from_secs(2);

/// Bodies of more than this take part in [`LARGE_BODIES`].
const SMALL_BODY: usize = 64 * 1024;

/// Memory for large bodies whose senders are not known yet, in MiB for the whole process: thousands of
/// connections that each send as much as they may would take all there is. Small requests never wait.
static LARGE_BODIES: Semaphore = Semaphore::const_new(256);

/// What of the body takes part in the admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// All of it, up to this many bytes; the handler finds it whole.
    Whole(usize),
    /// None: the handler streams it and checks it itself. A signature covers the empty body, so the path
    /// has to name the digest of what is sent.
    Streamed,
}

/// Puts the gates before all routes of a router. Handlers find the
/// [`crate::sender::Sender`] as an extension. Routes that
/// are public, such as `/health`, stay in a router of their own behind [`guarded`].
pub fn admitted(router: Router, guard: Arc<Guard>, admission: Arc<dyn Admission>, body: BodyMode) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let (guard, admission) = (Arc::clone(&guard), Arc::clone(&admission));
        async move {
            match pass(request, &guard, admission.as_ref(), body).await {
                Ok(request) => next.run(request).await,
                Err(refused) => refused,
            }
        }
    }))
}

/// Puts only the check of Host and Origin before all routes of a router.
pub fn guarded(router: Router, guard: Arc<Guard>) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let guard = Arc::clone(&guard);
        async move {
            match guard.check(request.uri(), request.headers()) {
                Ok(()) => next.run(request).await,
                Err(refused) => refused.into_response(),
            }
        }
    }))
}

/// Lets a request pass, with its sender as an extension, or says why not.
async fn pass(
    request: Request,
    guard: &Guard,
    admission: &dyn Admission,
    mode: BodyMode,
) -> Result<Request, Response> {
    match mode {
        BodyMode::Whole(limit) => {
            let (parts, body) = pass_whole(request, guard, admission, limit).await?;
            Ok(Request::from_parts(parts, Body::from(body)))
        }
        BodyMode::Streamed => {
            guard.check(request.uri(), request.headers()).map_err(Rejection::into_response)?;
            let (mut parts, stream) = request.into_parts();
            admit(&mut parts, b"", admission).await?;
            Ok(Request::from_parts(parts, stream))
        }
    }
}

/// The same for a request whose body is read here.
pub(super) async fn pass_whole(
    request: Request,
    guard: &Guard,
    admission: &dyn Admission,
    limit: usize,
) -> Result<(Parts, Bytes), Response> {
    guard.check(request.uri(), request.headers()).map_err(Rejection::into_response)?;
    let (mut parts, stream) = request.into_parts();
    let body = read(&parts.headers, stream, limit).await?;
    admit(&mut parts, &body, admission).await?;
    Ok((parts, body))
}

async fn admit(parts: &mut Parts, body: &[u8], admission: &dyn Admission) -> Result<(), Response> {
    let connection = parts.extensions.get::<Connection>();
    let target = connection.map_or(&parts.uri, |connection| &connection.target);
    let incoming = Incoming {
        method: &parts.method,
        target: target.path_and_query().map_or("/", |target| target.as_str()),
        headers: &parts.headers,
        body,
        peer: connection.map(|connection| connection.peer),
    };
    let sender = admission.admit(incoming).await.map_err(Rejection::into_response)?;
    parts.extensions.insert(sender);
    Ok(())
}

async fn read(headers: &HeaderMap, stream: Body, limit: usize) -> Result<Bytes, Response> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response());
    }
    let too_large =
        || Rejection::new(ErrorCode::Size, format!("the body is larger than {limit} bytes")).into_response();
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut chunks = stream.into_data_stream();
    if announced.is_some_and(|length| length > limit as u64) {
        discard(&mut chunks).await;
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, collect(&mut chunks, limit)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => {
            discard(&mut chunks).await;
            Err(too_large())
        }
        // The sender went away or broke the framing; nobody will read this answer.
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST.into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

/// Throws away the rest of a body that is refused, within bounds.
async fn discard(chunks: &mut BodyDataStream) {
    let all = async {
        let mut read = 0;
        while read < UNREAD_BODY
            && let Some(Ok(chunk)) = chunks.next().await
        {
            read += chunk.len();
        }
    };
    // Whoever sends more, or slower, sees its connection close.
    let _ = tokio::time::timeout(UNREAD_TIME, all).await;
}

/// All of a body; nothing when it is larger than the limit. A body in one piece is not copied.
async fn collect(chunks: &mut BodyDataStream, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let Some(first) = chunks.next().await.transpose()? else {
        return Ok(Some(Bytes::new()));
    };
    if first.len() > limit {
        return Ok(None);
    }
    let Some(second) = chunks.next().await.transpose()? else {
        return Ok(Some(first));
    };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    let mut room = None;
    while let Some(chunk) = next {
        let length = body.len().saturating_add(chunk.len());
        if length > limit {
            return Ok(None);
        }
        if length > SMALL_BODY && room.is_none() {
            let mebibytes = u32::try_from(limit.div_ceil(1024 * 1024)).unwrap_or(u32::MAX).clamp(1, 256);
            // The semaphore is never closed.
            room = LARGE_BODIES.acquire_many(mebibytes).await.ok();
        }
        body.extend_from_slice(&chunk);
        next = chunks.next().await.transpose()?;
    }
    Ok(Some(body.freeze()))
}
