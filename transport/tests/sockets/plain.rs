//! Plain routes: JSON and files, behind the same gates.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use protocol::clock::{Clock as _, SystemClock};
use protocol::error::ErrorCode;
use protocol::ids::Digest;
use protocol::signature::SigningKey;
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use transport::admission::{Admission, Everyone};
use transport::connect::{Credentials, Target};
use transport::http::{Bounds, HttpClient};
use transport::link::LinkError;
use transport::nonces::NonceStore;
use transport::sender::Sender;
use transport::serve::gate::guarded;
use transport::serve::guard::Guard;
use transport::serve::{BodyMode, admitted};
use transport::signed::{SignedAdmission, Signer};

use crate::support::{Server, connector, soon};

const LIMIT: usize = 512 * 1024;

async fn echo(Extension(sender): Extension<Sender>, Json(body): Json<Value>) -> Json<Value> {
    Json(json!({"sender": sender.signer(), "body": body}))
}

/// Takes a file in pieces and checks it against the digest that its path names.
async fn store(Path(digest): Path<String>, request: Request) -> Json<Value> {
    let bytes: Vec<u8> = request
        .into_body()
        .into_data_stream()
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
        .unwrap();
    Json(json!({"matches": Digest::of(&bytes).as_str() == digest, "size": bytes.len()}))
}

fn router(admission: Arc<dyn Admission>) -> Router {
    let guard = Arc::new(Guard::loopback());
    let json = Router::new().route("/v1/echo", post(echo)).route("/v1/nothing", post(|| async {}));
    let json = admitted(json, Arc::clone(&guard), Arc::clone(&admission), BodyMode::Whole(LIMIT));
    let files = Router::new().route("/v1/files/{digest}", put(store));
    let files = admitted(files, Arc::clone(&guard), admission, BodyMode::Streamed);
    let public = Router::new().route("/health", get(|| async { Json(json!({"status": "ok"})) })).route(
        "/zeros",
        get(|| async {
            Body::from_stream(stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![0; 1024]))))
        }),
    );
    json.merge(files).merge(guarded(public, guard))
}

fn bounds() -> Bounds {
    Bounds::new(soon(), 64 * 1024)
}

fn client(server: &Server, credentials: Credentials) -> HttpClient {
    connector().http(Target::new(format!("http://{}/", server.address), credentials)).unwrap()
}

#[tokio::test]
async fn a_signed_request_reaches_its_route_once() {
    let key = Arc::new(SigningKey::generate(&SystemRandom::new()).unwrap().0);
    let public = key.public().to_owned();
    let admission: Arc<dyn Admission> = Arc::new(SignedAdmission::new(
        "hub",
        Arc::new(move |sender: &str| (sender == "w1").then(|| public.clone())),
        Arc::new(NonceStore::new(SystemClock.now())),
        Arc::new(SystemClock),
    ));
    let server = Server::start(|_| router(admission)).await;
    let signer = Signer { key, sender: "w1".into(), audience: "hub".into() };
    let worker = client(&server, Credentials::Signed(signer));
    let answer: Value = worker.post_json("/v1/echo?q=a%20b", &json!({"x": 1}), bounds()).await.unwrap();
    assert_eq!(answer, json!({"sender": "w1", "body": {"x": 1}}));
    worker.post_json::<_, ()>("/v1/nothing", &json!({}), bounds()).await.unwrap();

    let bytes = vec![7_u8; 100_000];
    let path = format!("/v1/files/{}", Digest::of(&bytes));
    let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    let stored: Value =
        worker.put_stream(&path, bytes.len() as u64, stream::iter(pieces).boxed(), bounds()).await.unwrap();
    assert_eq!(stored, json!({"matches": true, "size": 100_000}));

    let stranger = worker.with_credentials(Credentials::Anonymous);
    let refused = stranger.post_json::<_, Value>("/v1/echo", &json!({}), bounds()).await.unwrap_err();
    assert_eq!(refused, LinkError::Unauthorized { status: 401, code: ErrorCode::Auth });
    let health: Value = stranger.get_json("health", bounds()).await.unwrap();
    assert_eq!(health["status"], "ok");
    server.stop().await;
}

#[tokio::test]
async fn bodies_and_answers_are_bounded() {
    let server = Server::start(|_| router(Arc::new(Everyone))).await;
    let client = client(&server, Credentials::Anonymous);
    let large = json!({"x": "y".repeat(LIMIT)});
    let error = client.post_json::<_, Value>("/v1/echo", &large, bounds()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Size);
    // More than the buffers of a connection hold: the sender hears of the refusal all the same.
    let larger = json!({"x": "y".repeat(8 * 1024 * 1024)});
    let error = client.post_json::<_, Value>("/v1/echo", &larger, bounds()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Size);

    // As much as is allowed passes, in many pieces.
    let most = json!({"x": "y".repeat(LIMIT - 8)});
    assert!(client.post_json::<_, Value>("/v1/echo", &most, Bounds::new(soon(), 2 * LIMIT)).await.is_ok());

    // Without a length in front the limit holds as well.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/echo", server.address);
    let chunks = stream::iter((0..1000).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000])));
    let response = http.post(&url).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(response.status(), 413);
    let response = http.post(&url).header("content-encoding", "gzip").body("{}").send().await.unwrap();
    assert_eq!(response.status(), 415);

    let small = Bounds::new(soon(), 10_000);
    let mut download = client.get_stream("/zeros", small).await.unwrap();
    let error = loop {
        match download.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("all of it came"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, LinkError::TooLarge { limit: 10_000 });
    let whole: Vec<_> =
        client.get_stream("/zeros", bounds()).await.unwrap().into_stream().try_collect().await.unwrap();
    assert_eq!(whole.iter().map(bytes::Bytes::len).sum::<usize>(), 64 * 1024);
    server.stop().await;
}

#[tokio::test]
async fn every_route_checks_host_and_origin() {
    transport::crypto::install();
    let server = Server::start(|_| router(Arc::new(Everyone))).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let own = format!("http://{}", server.address);
    for path in ["/health", "/v1/echo", "/v1/files/x"] {
        let ask =
            |name: &str, value: &str| http.get(format!("{own}{path}")).header(name, value.to_owned()).send();
        assert_eq!(ask("host", "evil.example").await.unwrap().status(), 403, "{path}");
        let refused = ask("origin", "http://evil.example").await.unwrap();
        assert_eq!(refused.status(), 403, "{path}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "ORIGIN");
        assert_ne!(ask("origin", &own).await.unwrap().status(), 403, "{path}");
    }
    server.stop().await;
}
