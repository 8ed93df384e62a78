//! The worker's side: opening the connection, and answering over it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use protocol::signature::{HEADER_NONCE, HEADER_SIGNATURE, HUB_SENDER, verify};
use ring::rand::SecureRandom as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::answering::Answering;
use super::connection::{Connection, End, socket};
use super::handshake::{Ephemeral, Parties};
use super::{HEADER_KEY, IN_FLIGHT, PATH, Pace, accept_key};
use crate::connect::Credentials;
use crate::connect::exchange::read_refusal;
use crate::host::Host;
use crate::http::HttpClient;
use crate::link::LinkError;
use crate::sender::Sender;

/// Why there is no link.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DialError {
    /// The hub was not reached, or refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Whoever answered does not have the hub's key, or says something that does not fit.
    #[error("whoever answered is not the hub that was joined: {0}")]
    NotTheHub(&'static str),
    /// The system gives no randomness, or the client has no key to sign with.
    #[error("this worker cannot make a key for the link")]
    NoKey,
}

/// A connection that is open and has proved itself.
pub struct Dialled {
    connection: Connection<reqwest::Upgraded>,
}

/// Opens a link to the hub that `hub` is the signed client of; `hub_key` is the key that was pinned when
/// it was joined.
pub async fn dial(
    hub: &HttpClient,
    hub_key: &str,
    boot_id: &str,
    pace: Pace,
    deadline: Instant,
) -> Result<Dialled, DialError> {
    timeout_at(deadline, open(hub, hub_key, boot_id, pace)).await.unwrap_or(Err(LinkError::Timeout.into()))
}

async fn open(hub: &HttpClient, hub_key: &str, boot_id: &str, pace: Pace) -> Result<Dialled, DialError> {
    let (connector, credentials) = (hub.connector(), hub.credentials());
    let Credentials::Signed(signer) = credentials else { return Err(DialError::NoKey) };
    let own = Ephemeral::generate(&connector.random).map_err(|_| DialError::NoKey)?;
    let mut challenge = [0; 16];
    connector.random.fill(&mut challenge).map_err(|_| DialError::NoKey)?;
    let challenge = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(challenge)
    };
    let query = reqwest::Url::parse_with_params("http://h/", [("boot", boot_id), ("key", own.public())]);
    let query = query.ok().and_then(|url| url.query().map(str::to_owned)).ok_or(DialError::NoKey)?;
    let address = hub.below(&format!("{PATH}?{query}"))?;
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(value) = HeaderValue::try_from(&challenge) {
        headers.insert(SEC_WEBSOCKET_KEY, value);
    }
    let request = connector.request(Method::GET, &address, credentials, headers, &Bytes::new());
    let nonce = text(request.headers(), HEADER_NONCE).ok_or(DialError::NoKey)?.to_owned();
    let response = connector.execute(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(LinkError::from(read_refusal(response).await).into());
    }
    let answered = response.headers();
    if text(answered, SEC_WEBSOCKET_ACCEPT.as_str()) != Some(&accept_key(&challenge)) {
        return Err(DialError::NotTheHub("it answers another request"));
    }
    let theirs = text(answered, HEADER_KEY).ok_or(DialError::NotTheHub("it shows no key"))?.to_owned();
    let signature = text(answered, HEADER_SIGNATURE).ok_or(DialError::NotTheHub("it does not sign"))?;
    let worker_key = own.public().to_owned();
    let parties = Parties {
        worker_id: &signer.sender,
        boot_id,
        nonce: &nonce,
        worker_key: &worker_key,
        hub_key: &theirs,
    };
    if !verify(hub_key, &parties.transcript(), signature) {
        return Err(DialError::NotTheHub("its signature does not fit the key that was pinned"));
    }
    let seals = own.into_worker_seals(parties).map_err(|_| DialError::NotTheHub("its key is none"))?;
    let stream = response.upgrade().await.map_err(|_| LinkError::ClosedEarly)?;
    let connection = Connection { socket: socket(stream, Role::Client).await, seals, pace, pings: true };
    Ok(Dialled { connection })
}

impl Dialled {
    /// Answers the hub's calls from a host until the connection ends, and says why it did. When `closing`
    /// fires, the hub is told.
    pub async fn serve(self, host: Arc<dyn Host>, closing: &CancellationToken) -> End {
        let (outgoing, queue) = mpsc::channel(IN_FLIGHT);
        let answering = Answering::new(host.clone(), Sender::signed(HUB_SENDER), outgoing.clone());
        let announcing = Answering::announce(host.changes(), host.info(), outgoing);
        let running = self.connection.run(queue, answering, closing);
        tokio::pin!(running);
        tokio::select! {
            end = &mut running => return end,
            // The host never changes.
            () = announcing => {}
        }
        running.await
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
