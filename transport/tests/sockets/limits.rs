//! Limits of a listener: heads, sessions, connections, and the time that ending takes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use transport::admission::Everyone;
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, Mount, ServeOptions, bind, mcp_router, serve_http};

use crate::support::{Fixture, Server, call, link, refuse_newer, within};

/// Sends bytes and reads the first line of the answer.
async fn status_line(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0; 256];
    let count = within(stream.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn heads_are_bounded_and_unambiguous() {
    let server = Server::start(|_| Router::new().route("/", get(|| async { "ok" }))).await;
    let ask = |extra: String| format!("GET / HTTP/1.1\r\nhost: localhost\r\n{extra}\r\n");
    assert_eq!(status_line(&server, ask(String::new()).as_bytes()).await, "HTTP/1.1 200 OK");
    let long = ask(format!("x-a: {}\r\n", "b".repeat(20_000)));
    assert!(status_line(&server, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = ask("x-a: b\r\n".repeat(200));
    assert!(status_line(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let both = ask("content-length: 5\r\ntransfer-encoding: chunked\r\nconnection: close\r\n".into());
    let smuggled = format!("{both}0\r\n\r\nGET /other HTTP/1.1\r\n\r\n");
    // The length is ignored and nothing after the chunks is read as a second request.
    assert_eq!(status_line(&server, smuggled.as_bytes()).await, "HTTP/1.1 200 OK");
    server.stop().await;
}

#[tokio::test]
async fn sessions_are_limited() {
    let (host, _) = Fixture::new();
    let server = Server::start(move |shutdown| {
        let mount = Mount { host, admission: Arc::new(Everyone) };
        let options = McpOptions { sessions: 1, ..McpOptions::new(Guard::loopback(), shutdown) };
        refuse_newer(mcp_router("/mcp", mount, options), Arc::default())
    })
    .await;
    let (first, second) = (link(&server.url()), link(&server.url()));
    assert!(call(&first, "echo").await.is_ok());
    assert!(call(&second, "echo").await.is_err());
    first.close().await;
    assert!(call(&second, "echo").await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn sessions_do_not_limit_the_newer_generation() {
    let (host, _) = Fixture::new();
    let server = Server::start(move |shutdown| {
        let mount = Mount { host, admission: Arc::new(Everyone) };
        mcp_router("/mcp", mount, McpOptions { sessions: 0, ..McpOptions::new(Guard::loopback(), shutdown) })
    })
    .await;
    assert!(call(&link(&server.url()), "echo").await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_listener_ends_in_time_whatever_its_handlers_do() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { std::future::pending::<()>().await }));
    let shutdown = CancellationToken::new();
    let options = ServeOptions { grace: Duration::from_millis(50), ..ServeOptions::default() };
    let running = tokio::spawn(serve_http(listener, router, shutdown.clone(), options));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // A second connection that is idle.
    let _idle = TcpStream::connect(address).await.unwrap();
    shutdown.cancel();
    within(running).await.unwrap();
    assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_room() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let options = ServeOptions { connections: 1, ..ServeOptions::default() };
    let router = Router::new().route("/", get(|| async { "ok" }));
    let running = tokio::spawn(serve_http(listener, router, shutdown.clone(), options));
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(request).await.unwrap();
    assert!(within(first.read(&mut [0; 64])).await.unwrap() > 0);
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(request).await.unwrap();
    drop(first);
    assert!(within(second.read(&mut [0; 64])).await.unwrap() > 0);
    shutdown.cancel();
    within(running).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let first = bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    assert_eq!(bind(&address).await.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    assert!(bind("no-such-host.invalid:1").await.is_err());
}
