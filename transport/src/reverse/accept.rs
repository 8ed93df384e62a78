//! The hub's side: taking the connection that a worker opens.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use protocol::error::ErrorCode;
use protocol::signature::{HEADER_NONCE, HEADER_SIGNATURE, SigningKey};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::connection::{Connection, socket};
use super::handshake::{Ephemeral, Parties, Seals};
use super::{HEADER_KEY, Pace, accept_key};
use crate::admission::Rejection;
use crate::connect::Connector;
use crate::connect::reverse::ReverseLink;
use crate::connect::ways::Ways;

/// Our answer is on its way within this time, or the worker is gone.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// What the hub knows of the worker whose signed request it is.
pub struct Terms<'a> {
    /// The hub's key.
    pub key: &'a SigningKey,
    /// The worker's name.
    pub worker_id: &'a str,
    /// The worker's instance, which it has named in the request.
    pub boot_id: &'a str,
    /// The worker's ephemeral key, from the request.
    pub worker_key: &'a str,
    /// Signs of life.
    pub pace: Pace,
}

/// Takes a request for a link that an [`crate::admission::Admission`] has found to be the worker's own:
/// the answer to it, and word of the moment when calls go over the new connection. It is put into `ways`,
/// in place of an older one.
pub fn accept(
    request: &mut Request<Body>,
    terms: &Terms<'_>,
    connector: &Arc<Connector>,
    ways: &Arc<Ways>,
) -> Result<(Response, oneshot::Receiver<()>), Rejection> {
    let bad = |message: &str| Rejection::new(ErrorCode::Field, message);
    let challenge = websocket_key(request.headers())
        .ok_or_else(|| bad("this route takes WebSockets (version 13) only"))?;
    let answered = accept_key(challenge);
    let nonce = request.headers().get(HEADER_NONCE).and_then(|value| value.to_str().ok());
    let nonce = nonce.unwrap_or_default().to_owned();
    let (answer, seals) = agree(terms, &nonce, connector)?;
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| bad("this connection cannot become a WebSocket"))?;
    let (opened, is_open) = oneshot::channel();
    let (connector, ways, pace) = (connector.clone(), ways.clone(), terms.pace);
    let name = terms.worker_id.to_owned();
    tokio::spawn(async move {
        let Ok(Ok(stream)) = timeout(UPGRADE_TIME, upgrade).await else { return };
        let socket = socket(TokioIo::new(stream), Role::Server).await;
        let connection = Connection { socket, seals, pace, pings: false };
        if ways.take(ReverseLink::start(connection, connector, ways.changes_sender(), name)) {
            // Nobody may have waited for it.
            let _ = opened.send(());
        }
    });
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    for (name, value) in [
        (SEC_WEBSOCKET_ACCEPT.as_str(), &answered),
        (HEADER_KEY, &answer.key),
        (HEADER_SIGNATURE, &answer.signature),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(((StatusCode::SWITCHING_PROTOCOLS, headers).into_response(), is_open))
}

/// What the hub says of itself.
struct OwnAnswer {
    key: String,
    signature: String,
}

fn agree(terms: &Terms<'_>, nonce: &str, connector: &Connector) -> Result<(OwnAnswer, Seals), Rejection> {
    let own = Ephemeral::generate(&connector.random)
        .map_err(|_| Rejection::new(ErrorCode::Internal, "the hub cannot make a key for the link"))?;
    let key = own.public().to_owned();
    let parties = Parties {
        worker_id: terms.worker_id,
        boot_id: terms.boot_id,
        nonce,
        worker_key: terms.worker_key,
        hub_key: &key,
    };
    let signature = terms.key.sign(&parties.transcript());
    let is_key = URL_SAFE_NO_PAD.decode(terms.worker_key).is_ok_and(|bytes| bytes.len() == 32);
    let seals = own.into_hub_seals(parties).ok().filter(|_| is_key);
    let seals = seals.ok_or_else(|| {
        Rejection::new(ErrorCode::Field, "key must be an X25519 key of 32 bytes in base64url without padding")
    })?;
    Ok((OwnAnswer { key, signature }, seals))
}

/// The key of a request that asks for a WebSocket.
fn websocket_key(headers: &HeaderMap) -> Option<&str> {
    let has = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") && has(SEC_WEBSOCKET_VERSION, "13");
    headers.get(SEC_WEBSOCKET_KEY).filter(|_| asks)?.to_str().ok()
}
