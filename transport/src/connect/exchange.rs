//! One request and its answer over the shared pool: credentials, bounds, and what failures mean.

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use protocol::error::Problem;

use super::rpc::{Incoming, RpcError, shorten};
use super::{Address, Connector, Credentials};
use crate::link::LinkError;

/// How much of a refusal is read.
const REFUSAL_LIMIT: usize = 64 * 1024;

impl Connector {
    /// Sends a request whose body is whole and returns the head of the answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        address: &Address,
        credentials: &Credentials,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, LinkError> {
        let mut request = self.request(method, address, credentials, headers, &body);
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        self.execute(request).await
    }

    /// A request without its body, with credentials over the bytes that `signed` names.
    pub(crate) fn request(
        &self,
        method: Method,
        address: &Address,
        credentials: &Credentials,
        mut headers: HeaderMap,
        signed: &[u8],
    ) -> reqwest::Request {
        match credentials {
            Credentials::Anonymous => {}
            Credentials::Bearer(token) => {
                // A token that cannot be a header value is as good as none: the server refuses it.
                if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}")) {
                    value.set_sensitive(true);
                    headers.insert(AUTHORIZATION, value);
                }
            }
            Credentials::Signed(signer) => {
                let now = self.clock.now();
                headers.extend(signer.sign(&self.random, now, method.as_str(), &address.target, signed));
            }
        }
        let mut request = reqwest::Request::new(method, address.url.clone());
        *request.headers_mut() = headers;
        request
    }

    pub(crate) async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, LinkError> {
        self.client.execute(request).await.map_err(|error| classify(&error))
    }
}

/// What a failure of the HTTP client means.
pub(crate) fn classify(error: &reqwest::Error) -> LinkError {
    if error.is_connect() {
        return LinkError::Refused;
    }
    if error.is_timeout() {
        return LinkError::Timeout;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<hyper::Error>() {
            if inner.is_parse_too_large() {
                return LinkError::TooLarge { limit: REFUSAL_LIMIT };
            }
            if inner.is_parse() {
                return LinkError::BadJson;
            }
        }
        cause = inner.source();
    }
    LinkError::ClosedEarly
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_bounded(response: &mut reqwest::Response, limit: usize) -> Result<Bytes, LinkError> {
    let too_large = LinkError::TooLarge { limit };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large);
    }
    let Some(first) = response.chunk().await.map_err(|error| classify(&error))? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(too_large);
    }
    // Most answers come in one piece, which is then not copied.
    let Some(second) = response.chunk().await.map_err(|error| classify(&error))? else {
        return Ok(first);
    };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
        next = response.chunk().await.map_err(|error| classify(&error))?;
    }
    Ok(body.freeze())
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The error of the protocol that its body holds.
    Rpc(RpcError),
    /// Anything else.
    Other(LinkError),
}

impl From<Refusal> for LinkError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rpc(error) => error.into(),
            Refusal::Other(error) => error,
        }
    }
}

/// What an answer that is not a success says.
pub(crate) async fn read_refusal(mut response: reqwest::Response) -> Refusal {
    let status = response.status();
    if status.is_redirection() {
        return Refusal::Other(LinkError::Redirected);
    }
    let kind = media_type(&response).to_owned();
    let body = match kind.as_str() {
        "application/json" | "application/problem+json" => {
            match read_bounded(&mut response, REFUSAL_LIMIT).await {
                Ok(body) => body,
                // The status is known whatever became of the body.
                Err(_) => Bytes::new(),
            }
        }
        _ => Bytes::new(),
    };
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let code = problem.map_or(protocol::error::ErrorCode::Auth, |problem| problem.code);
        return Refusal::Other(LinkError::Unauthorized { status: status.as_u16(), code });
    }
    if let Some(problem) = problem {
        return Refusal::Other(LinkError::Worker {
            rpc_code: i64::from(status.as_u16()),
            code: Some(problem.code),
            message: shorten(problem.detail),
        });
    }
    match serde_json::from_slice::<Incoming<'_, serde::de::IgnoredAny>>(&body) {
        Ok(Incoming { error: Some(error), .. }) => Refusal::Rpc(error),
        _ => Refusal::Other(LinkError::Http { status: status.as_u16() }),
    }
}

/// The media type of an answer, without parameters.
pub(crate) fn media_type(response: &reqwest::Response) -> &str {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map_or("", |value| value.split(';').next().unwrap_or_default().trim())
}
