//! The accept loop: limits and time-outs for each connection, no delay on small packets, and an end that
//! comes within a known time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Uri;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Connections that wait to be accepted: a hub calls a thousand workers of one listener at the same time,
/// and a connection that overflows this queue waits a whole second.
const BACKLOG: u32 = 4096;

/// A connection that sends no complete head for this long is closed. It also ends idle connections, so it
/// is longer than our own client keeps them.
const HEAD_TIME: Duration = Duration::from_secs(60);

const HEAD_BYTES: usize = 16 * 1024;

/// The limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeOptions {
    /// Connections at a time; further ones wait.
    pub connections: usize,
    /// How long requests in progress may take after the shutdown began.
    pub grace: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        // A process has to end within 10 s of SIGTERM, its last writes included.
        Self { connections: 8192, grace: Duration::from_secs(8) }
    }
}

/// What a request knows of its connection; an extension of every request that [`serve_http`] serves.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it came from.
    pub peer: SocketAddr,
    /// The target as it was sent, whatever nested routers make of it.
    pub target: Uri,
}

/// Listens at an address such as `127.0.0.1:0` or `localhost:8000`.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let mut last = None;
    for candidate in lookup_host(address).await? {
        let socket = if candidate.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Otherwise a server cannot start again on its port for a minute after it ended.
        socket.set_reuseaddr(true)?;
        match socket.bind(candidate).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the address names no interface")))
}

/// Serves a router until `shutdown` fires and the requests in progress are done, or the grace is over.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    options: ServeOptions,
) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(options.connections));
    let abandoned = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: wait for connections to end rather than spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, shutdown, abandoned) = (router.clone(), shutdown.clone(), abandoned.clone());
        connections.spawn(async move {
            tokio::select! {
                () = serve_connection(stream, peer, router, shutdown) => {}
                () = abandoned.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "closing connections that did not end in time");
        abandoned.cancel();
        connections.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Without it an answer in two small packets waits some 40 ms for the peer's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

async fn serve_connection<S>(stream: S, peer: SocketAddr, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let target = request.uri().clone();
        request.extensions_mut().insert(Connection { peer, target });
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_header_size(HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let mut draining = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, %peer, "a connection ended early");
                }
                return;
            }
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
