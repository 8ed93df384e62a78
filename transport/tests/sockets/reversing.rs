//! A hub that takes links, a worker that opens one, and a proxy between them that may meddle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use protocol::clock::{Clock as _, SystemClock};
use protocol::signature::SigningKey;
use ring::rand::SystemRandom;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::connect::ways::Ways;
use transport::connect::{Connector, Credentials, Target};
use transport::link::Link as _;
use transport::nonces::NonceStore;
use transport::reverse::accept::{Terms, accept};
use transport::reverse::connection::End;
use transport::reverse::dial::{DialError, Dialled, dial};
use transport::reverse::{PATH, Pace};
use transport::serve::guard::Guard;
use transport::serve::{BodyMode, admitted};
use transport::signed::{SignedAdmission, Signer};

use crate::support::{Fixture, LONG, Server, connector, soon, within};

pub const PACE: Pace = Pace { ping: LONG, silence: LONG };

pub fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(&SystemRandom::new()).unwrap().0)
}

/// A hub with one worker that it knows.
pub struct Hub {
    pub server: Server,
    pub key: Arc<SigningKey>,
    pub worker_key: Arc<SigningKey>,
}

impl Hub {
    pub async fn start(ways: Arc<Ways>) -> Self {
        let (hub_key, worker_key) = (key(), key());
        let known = worker_key.public().to_owned();
        let admission = Arc::new(SignedAdmission::new(
            "hub",
            Arc::new(move |sender: &str| (sender == "w").then(|| known.clone())),
            Arc::new(NonceStore::new(SystemClock.now())),
            Arc::new(SystemClock),
        ));
        let (signing, reached, connector) = (Arc::clone(&hub_key), Arc::clone(&ways), connector());
        let route = get(move |request: Request| {
            let (signing, reached, connector) = (signing.clone(), reached.clone(), connector.clone());
            async move { take(request, &signing, &connector, &reached) }
        });
        let routes = Router::new().route(PATH, route);
        let guard = Arc::new(Guard::loopback());
        let server = Server::start(move |_| admitted(routes, guard, admission, BodyMode::Streamed)).await;
        Self { server, key: hub_key, worker_key }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Opens a link as the worker does.
    pub async fn dial(&self, url: &str) -> Result<Dialled, DialError> {
        self.dial_as(url, &self.worker_key, self.key.public(), "boot").await
    }

    pub async fn dial_as(
        &self,
        url: &str,
        worker_key: &Arc<SigningKey>,
        hub_key: &str,
        boot: &str,
    ) -> Result<Dialled, DialError> {
        let signer = Signer { key: Arc::clone(worker_key), sender: "w".into(), audience: "hub".into() };
        let client = connector().http(Target::new(url, Credentials::Signed(signer))).unwrap();
        dial(&client, hub_key, boot, PACE, soon()).await
    }
}

fn take(
    mut request: Request<Body>,
    key: &SigningKey,
    connector: &Arc<Connector>,
    ways: &Arc<Ways>,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default();
    let (boot, worker_key) = (value("boot=").to_owned(), value("key=").to_owned());
    let terms = Terms { key, worker_id: "w", boot_id: &boot, worker_key: &worker_key, pace: PACE };
    match accept(&mut request, &terms, connector, ways) {
        Ok((response, _)) => response,
        Err(refused) => refused.into_response(),
    }
}

/// Waits until the worker's link is the way to it.
pub async fn linked(ways: &Ways) {
    let mut changes = ways.changes();
    while !ways.is_dialled() {
        within(changes.changed()).await.unwrap();
    }
}

/// A hub and a worker with a link between them.
pub struct Reversed {
    pub hub: Hub,
    pub ways: Arc<Ways>,
    pub closing: CancellationToken,
    pub serving: JoinHandle<End>,
}

impl Reversed {
    pub async fn start(host: Arc<Fixture>) -> Self {
        Self::start_beside(host, Ways::new(None), Meddling::Nothing).await
    }

    pub async fn start_beside(host: Arc<Fixture>, ways: Arc<Ways>, meddling: Meddling) -> Self {
        let hub = Hub::start(Arc::clone(&ways)).await;
        let url = meddle(&hub, meddling).await;
        let dialled = hub.dial(&url).await.unwrap();
        let closing = CancellationToken::new();
        let told = closing.clone();
        let serving = tokio::spawn(async move { dialled.serve(host, &told).await });
        linked(&ways).await;
        Self { hub, ways, closing, serving }
    }

    pub async fn stop(self) {
        self.closing.cancel();
        assert!(matches!(within(self.serving).await.unwrap(), End::Told | End::Closed { .. }));
        self.hub.server.stop().await;
    }
}

/// What a proxy does to the frames that one side sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    Nothing,
    /// Changes a byte of the payload.
    Alter(Side),
    /// Sends each frame twice.
    Repeat(Side),
    /// Leaves the first frame out.
    Drop(Side),
    /// Sends the second frame before the first.
    Swap(Side),
    /// Sends the other side's frames back to it.
    Reflect(Side),
}

/// Whose frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Hub,
    Worker,
}

/// The URL of a proxy before the hub.
async fn meddle(hub: &Hub, meddling: Meddling) -> String {
    if meddling == Meddling::Nothing {
        return hub.url();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, hub) = (listener.local_addr().unwrap(), hub.server.address);
    tokio::spawn(async move {
        let (worker, _) = listener.accept().await.unwrap();
        let hub = TcpStream::connect(hub).await.unwrap();
        let (mut from_worker, mut to_worker) = worker.into_split();
        let (mut from_hub, mut to_hub) = hub.into_split();
        pass_head(&mut from_worker, &mut to_hub).await;
        pass_head(&mut from_hub, &mut to_worker).await;
        let of = |side| match meddling {
            Meddling::Alter(one) | Meddling::Repeat(one) | Meddling::Drop(one) | Meddling::Swap(one)
                if one == side =>
            {
                meddling
            }
            _ => Meddling::Nothing,
        };
        if let Meddling::Reflect(_) = meddling {
            reflect(&mut from_hub, &mut to_hub).await;
            return;
        }
        tokio::join!(
            pass_frames(&mut from_hub, &mut to_worker, of(Side::Hub)),
            pass_frames(&mut from_worker, &mut to_hub, of(Side::Worker)),
        );
    });
    format!("http://{address}")
}

async fn pass_head(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    to.write_all(&head).await.unwrap();
}

/// One WebSocket frame, as its bytes and where its payload begins.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(Vec<u8>, usize)> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).await.ok()?;
    let more = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = vec![0; more];
    from.read_exact(&mut length).await.ok()?;
    let size = match more {
        0 => usize::from(frame[1] & 0x7f),
        _ => length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)),
    };
    let mask = if frame[1] & 0x80 == 0 { 0 } else { 4 };
    let mut rest = vec![0; mask + size];
    from.read_exact(&mut rest).await.ok()?;
    let payload = 2 + more + mask;
    Some(([frame, length, rest].concat(), payload))
}

async fn pass_frames(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    meddling: Meddling,
) {
    let mut held = None;
    let seen = AtomicUsize::new(0);
    while let Some((mut frame, payload)) = read_frame(from).await {
        let is_data = frame[0] & 0x0f == 2;
        let is_first = is_data && seen.fetch_add(1, Ordering::SeqCst) == 0;
        let parts = match meddling {
            Meddling::Alter(_) if is_data => {
                frame[payload + 3] ^= 1;
                vec![frame]
            }
            Meddling::Repeat(_) if is_data => vec![frame.clone(), frame],
            Meddling::Drop(_) if is_first => Vec::new(),
            Meddling::Swap(_) if is_first => {
                held = Some(frame);
                Vec::new()
            }
            _ => [Some(frame), held.take()].into_iter().flatten().collect(),
        };
        for part in parts {
            if to.write_all(&part).await.is_err() {
                return;
            }
        }
    }
}

/// Gives the hub its own frames back, masked as a worker's.
async fn reflect(from_hub: &mut (impl AsyncRead + Unpin), to_hub: &mut (impl AsyncWrite + Unpin)) {
    while let Some((mut frame, payload)) = read_frame(from_hub).await {
        frame[1] |= 0x80;
        // A mask of zeros changes nothing.
        frame.splice(payload..payload, [0; 4]);
        if to_hub.write_all(&frame).await.is_err() {
            return;
        }
    }
}
