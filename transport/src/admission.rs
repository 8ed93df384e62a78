//! Who may come in: an [`Admission`] looks at a whole request, the body included, and names its sender
//! or refuses it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use protocol::error::{ErrorBody, ErrorCode, Problem};
use protocol::ids::Digest;

use crate::sender::Sender;

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, as sent.
    pub target: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The whole body, within the server's limit.
    pub body: &'a [u8],
    /// The address that the connection came from.
    pub peer: Option<SocketAddr>,
}

/// Decides who a request is from and whether it may come in.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Names the sender or refuses. Everything that an outsider could probe for must be refused alike.
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection>;
}

/// A refusal, answered as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// What to tell; the status goes with its code.
    pub error: ErrorBody,
    /// The `WWW-Authenticate` header, with 401.
    pub challenge: Option<String>,
}

impl Rejection {
    /// A refusal.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { error: ErrorBody::new(code, message), challenge: None }
    }

    /// The refusal of missing or wrong credentials, the same for every reason.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(ErrorCode::Auth, "authentication is required")
    }
}

impl From<ErrorBody> for Rejection {
    fn from(error: ErrorBody) -> Self {
        Self { error, challenge: None }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = problem(&self.error);
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An error as an `application/problem+json` answer, with a fresh request id.
#[must_use]
pub fn problem(error: &ErrorBody) -> Response {
    let document = Problem::new(error, &crate::signed::random_text());
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&document).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// Admits everybody, unnamed. For tests and for servers that are closed in another way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everyone;

#[async_trait]
impl Admission for Everyone {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        Ok(Sender::anonymous().from_peer(incoming.peer))
    }
}

/// Admits whoever connects from this machine, unnamed. It needs a [`crate::serve::guard::Guard`] in front:
/// a browser on this machine can be made to connect by any page.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalOnly;

#[async_trait]
impl Admission for LocalOnly {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let sender = Sender::anonymous().from_peer(incoming.peer);
        if sender.is_local() { Ok(sender) } else { Err(Rejection::unauthenticated()) }
    }
}

/// Admits whoever shows one of some static bearer tokens.
pub struct BearerTokens {
    /// Digests rather than tokens: comparing them tells nothing about a token by its timing.
    digests: Vec<(Digest, String)>,
    challenge: String,
}

impl BearerTokens {
    /// Tokens, each with the name of the principal that it stands for.
    #[must_use]
    pub fn new<'a>(tokens: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let digests = tokens.into_iter().map(|(token, name)| (Digest::of(token.as_bytes()), name)).collect();
        Self { digests, challenge: "Bearer".to_owned() }
    }

    /// With another `WWW-Authenticate` header.
    #[must_use]
    pub fn challenge(mut self, challenge: impl Into<String>) -> Self {
        self.challenge = challenge.into();
        self
    }
}

#[async_trait]
impl Admission for BearerTokens {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let found = bearer(incoming.headers).and_then(|token| {
            let shown = Digest::of(token.as_bytes());
            self.digests.iter().find(|(digest, _)| *digest == shown)
        });
        match found {
            Some((_, name)) => Ok(Sender::token(name).from_peer(incoming.peer)),
            None => {
                Err(Rejection { challenge: Some(self.challenge.clone()), ..Rejection::unauthenticated() })
            }
        }
    }
}

/// The bearer token of a request, if it shows exactly one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Sends each request to the admission that fits what it shows: a signature, a bearer token, or nothing.
/// A credential that is shown and wrong is refused, never passed over.
pub struct ByCredential {
    /// For requests that carry a signature; without it they are refused.
    pub signed: Option<Arc<dyn Admission>>,
    /// For requests that carry an `Authorization` header; without it they are refused.
    pub bearer: Option<Arc<dyn Admission>>,
    /// For requests that carry neither; without it they are refused.
    pub bare: Option<Arc<dyn Admission>>,
}

#[async_trait]
impl Admission for ByCredential {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let chosen = if crate::signed::is_signed(incoming.headers) {
            &self.signed
        } else if incoming.headers.contains_key(header::AUTHORIZATION) {
            &self.bearer
        } else {
            &self.bare
        };
        match chosen {
            Some(admission) => admission.admit(incoming).await,
            None => Err(Rejection {
                challenge: self.bearer.is_some().then(|| "Bearer".to_owned()),
                ..Rejection::unauthenticated()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admit(
        admission: &dyn Admission,
        authorization: Option<&str>,
        peer: &str,
    ) -> Result<Sender, Rejection> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let peer = Some(peer.parse().unwrap());
        let incoming = Incoming { method: &Method::POST, target: "/", headers: &headers, body: b"", peer };
        admission.admit(incoming).await
    }

    #[tokio::test]
    async fn a_wrong_token_is_refused_even_from_this_machine() {
        let admission = ByCredential {
            signed: None,
            bearer: Some(Arc::new(BearerTokens::new([("secret", "ann".to_owned())]))),
            bare: Some(Arc::new(LocalOnly)),
        };
        let local = "127.0.0.1:5";
        let named = admit(&admission, Some("Bearer secret"), "10.0.0.1:5").await.unwrap();
        assert_eq!(named.identity, crate::sender::Identity::Token("ann".into()));
        assert!(admit(&admission, None, local).await.is_ok());
        assert!(admit(&admission, None, "10.0.0.1:5").await.is_err());
        for wrong in ["Bearer wrong", "Bearer ", "Basic secret", "secret"] {
            let refused = admit(&admission, Some(wrong), local).await.unwrap_err();
            assert_eq!(refused.error.code, ErrorCode::Auth, "{wrong}");
        }
    }
}
