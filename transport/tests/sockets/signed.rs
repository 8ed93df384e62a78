//! Signed requests: accepted once, from the right sender, for the right receiver, unchanged.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::clock::{Clock as _, FixedClock, SystemClock};
use protocol::error::ErrorCode;
use protocol::signature::{HEADER_SENDER, SigningKey};
use protocol::units::{Seconds, Timestamp};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use transport::admission::{Admission, BearerTokens, ByCredential, LocalOnly};
use transport::connect::{Connector, Credentials, Target};
use transport::link::{Link, LinkError};
use transport::nonces::NonceStore;
use transport::signed::{SignedAdmission, Signer};

use crate::support::{Fixture, Server, call, mcp, refuse_newer, soon, within};

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(&SystemRandom::new()).unwrap().0)
}

fn admission(key: &SigningKey, now: Timestamp) -> Arc<dyn Admission> {
    let public = key.public().to_owned();
    Arc::new(SignedAdmission::new(
        "w1",
        Arc::new(move |sender: &str| (sender == "hub").then(|| public.clone())),
        Arc::new(NonceStore::new(Timestamp::from_millis(0))),
        Arc::new(FixedClock(now)),
    ))
}

async fn server(admission: Arc<dyn Admission>) -> Server {
    let (host, _) = Fixture::new();
    Server::start(move |shutdown| mcp(host, admission, shutdown)).await
}

fn signer(key: &Arc<SigningKey>) -> Signer {
    Signer { key: Arc::clone(key), sender: "hub".into(), audience: "w1".into() }
}

fn link_as(server: &Server, credentials: Credentials, now: Timestamp) -> Arc<dyn Link> {
    let connector = Connector::new("tests", "1", Arc::new(FixedClock(now))).unwrap();
    connector.connect(Target::new(server.url(), credentials)).unwrap()
}

#[tokio::test]
async fn a_worker_hears_its_hub_and_nobody_else() {
    let (key, now) = (key(), SystemClock.now());
    let server = server(admission(&key, now)).await;
    let refused = LinkError::Unauthorized { status: 401, code: ErrorCode::Auth };

    let hub = link_as(&server, Credentials::Signed(signer(&key)), now);
    for _ in 0..3 {
        assert_eq!(call(&hub, "who").await.unwrap().first_text(), Some("Signed(\"hub\")"));
    }
    assert!(hub.tools(soon()).await.is_ok());

    let wrong = [
        Credentials::Anonymous,
        Credentials::Bearer("secret".into()),
        Credentials::Signed(signer(&self::key())),
        Credentials::Signed(Signer { sender: "mallory".into(), ..signer(&key) }),
        Credentials::Signed(Signer { audience: "w2".into(), ..signer(&key) }),
    ];
    for credentials in wrong {
        let shown = format!("{credentials:?}");
        assert_eq!(call(&link_as(&server, credentials, now), "who").await, Err(refused.clone()), "{shown}");
    }
    server.stop().await;
}

#[tokio::test]
async fn clocks_may_differ_by_two_minutes() {
    let (key, now) = (key(), SystemClock.now());
    for (seconds, accepted) in [(-120.0, true), (120.0, true), (-121.0, false), (121.0, false)] {
        let server = server(admission(&key, now)).await;
        let then = now.plus(Seconds::saturating(seconds));
        let result = call(&link_as(&server, Credentials::Signed(signer(&key)), then), "who").await;
        assert_eq!(result.is_ok(), accepted, "{seconds}");
        if let Err(error) = result {
            assert_eq!(error.code(), ErrorCode::Skew);
        }
        server.stop().await;
    }
}

/// One signed request as it would be seen on the wire.
struct Captured {
    headers: HeaderMap,
    body: String,
}

fn capture(key: &Arc<SigningKey>, now: Timestamp, tool: &str) -> Captured {
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}})
        .to_string();
    let mut headers: HeaderMap =
        signer(key).sign(&SystemRandom::new(), now, "POST", "/mcp", body.as_bytes()).into_iter().collect();
    let pairs = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    for (name, value) in pairs {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
    }
    Captured { headers, body }
}

async fn send(server: &Server, path: &str, captured: &Captured) -> (u16, Value) {
    let response = reqwest::Client::new()
        .post(format!("http://{}{path}", server.address))
        .headers(captured.headers.clone())
        .body(captured.body.clone())
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_captured_request_is_worth_nothing() {
    transport::crypto::install();
    let (key, now) = (key(), SystemClock.now());
    let server = server(admission(&key, now)).await;
    let captured = capture(&key, now, "who");
    let (status, body) = send(&server, "/mcp", &captured).await;
    assert_eq!((status, &body["result"]["content"][0]["text"]), (200, &json!("Signed(\"hub\")")));
    let (status, problem) = send(&server, "/mcp", &captured).await;
    assert_eq!((status, &problem["code"]), (401, &json!("REPLAY")));
    assert_eq!(problem["status"], 401);
    assert!(!problem["request_id"].as_str().unwrap().is_empty());

    // Changed on the way: the body, the path, the sender.
    let mut body = capture(&key, now, "who");
    body.body = body.body.replace("who", "hit");
    let path = capture(&key, now, "who");
    let mut sender = capture(&key, now, "who");
    sender.headers.insert(HEADER_SENDER, HeaderValue::from_static("hu"));
    for (path, captured) in [("/mcp", body), ("/mcp?x=1", path), ("/mcp", sender)] {
        let (status, problem) = send(&server, path, &captured).await;
        assert_eq!((status, &problem["code"]), (401, &json!("AUTH")), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn sessions_are_signed_too() {
    let (key, now) = (key(), SystemClock.now());
    let (host, _) = Fixture::new();
    let (admission, inner) = (admission(&key, now), Arc::clone(&host));
    let server =
        Server::start(move |shutdown| refuse_newer(mcp(inner, admission, shutdown), Arc::default())).await;
    let hub = link_as(&server, Credentials::Signed(signer(&key)), now);
    let mut changes = hub.changes();
    within(changes.changed()).await.unwrap();
    changes.mark_unchanged();
    assert_eq!(call(&hub, "who").await.unwrap().first_text(), Some("Signed(\"hub\")"));
    host.add_tool();
    within(changes.changed()).await.unwrap();
    hub.close().await;
    let stranger = link_as(&server, Credentials::Anonymous, now);
    assert!(matches!(call(&stranger, "who").await, Err(LinkError::Unauthorized { status: 401, .. })));
    server.stop().await;
}

#[tokio::test]
async fn a_hub_takes_tokens_and_local_callers() {
    let admission: Arc<dyn Admission> = Arc::new(ByCredential {
        signed: None,
        bearer: Some(Arc::new(BearerTokens::new([("secret", "ann".to_owned())]))),
        bare: Some(Arc::new(LocalOnly)),
    });
    let server = server(admission).await;
    let now = SystemClock.now();
    let named = link_as(&server, Credentials::Bearer("secret".into()), now);
    assert_eq!(call(&named, "who").await.unwrap().first_text(), Some("Token(\"ann\")"));
    let local = link_as(&server, Credentials::Anonymous, now);
    assert_eq!(call(&local, "who").await.unwrap().first_text(), Some("Anonymous"));
    let wrong = link_as(&server, Credentials::Bearer("wrong".into()), now);
    assert!(matches!(call(&wrong, "who").await, Err(LinkError::Unauthorized { status: 401, .. })));
    let signed = link_as(&server, Credentials::Signed(signer(&key())), now);
    assert!(matches!(call(&signed, "who").await, Err(LinkError::Unauthorized { status: 401, .. })));
    server.stop().await;
}
