//! Servers that go away and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use transport::link::{CallOptions, LinkError};

use crate::support::{Fixture, Server, call, link, object, older, open, soon, within};

#[tokio::test]
async fn a_link_outlives_its_server() {
    for is_older in [false, true] {
        let (host, _) = Fixture::new();
        let opened = Arc::new(AtomicUsize::new(0));
        let start = async |address: &str| {
            if is_older {
                Server::start_at(address, older(Arc::clone(&host), Arc::clone(&opened))).await
            } else {
                Server::start_at(address, open(Arc::clone(&host))).await
            }
        };
        let server = start("127.0.0.1:0").await;
        let (address, url) = (server.address.to_string(), server.url());
        let link = link(&url);
        let mut changes = link.changes();
        within(changes.changed()).await.unwrap();
        changes.mark_unchanged();
        call(&link, "echo").await.unwrap();
        server.stop().await;
        assert_eq!(call(&link, "echo").await, Err(LinkError::Refused));

        let server = start(&address).await;
        assert!(call(&link, "echo").await.is_ok(), "older: {is_older}");
        // The gap may have hidden a change.
        within(changes.changed()).await.unwrap();
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_may_change_its_generation() {
    let (host, _) = Fixture::new();
    let server = Server::start(older(Arc::clone(&host), Arc::default())).await;
    let (address, link) = (server.address.to_string(), link(&server.url()));
    call(&link, "echo").await.unwrap();
    server.stop().await;
    let server = Server::start_at(&address, open(Arc::clone(&host))).await;
    call(&link, "echo").await.unwrap();
    server.stop().await;
    let server = Server::start_at(&address, older(host, Arc::default())).await;
    call(&link, "echo").await.unwrap();
    server.stop().await;
}

/// Closes the first connection after it has read a request, and answers on the next.
#[tokio::test]
async fn only_a_repeatable_call_is_sent_again() {
    for (is_repeatable, expected) in [(false, 1), (true, 2)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 16384];
                if stream.read(&mut buffer).await.unwrap_or(0) > 0
                    && counted.fetch_add(1, Ordering::SeqCst) > 0
                {
                    let head =
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                    let _ = stream.write_all(format!("{head}{{}}").as_bytes()).await;
                }
            }
        });
        let link = link(&format!("http://{address}/mcp"));
        let mut options = CallOptions::until(soon());
        options.repeatable = is_repeatable;
        let error = link.call("echo", &object(serde_json::json!({})), options).await.unwrap_err();
        let second = if is_repeatable { LinkError::BadSchema } else { LinkError::ClosedEarly };
        assert_eq!(error, second);
        assert_eq!(requests.load(Ordering::SeqCst), expected);
    }
}
