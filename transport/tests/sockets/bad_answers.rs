//! Servers that misbehave: each gives its own error, in bounded memory and by the deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::error::ErrorCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use transport::link::{CallOptions, LinkError};

use crate::support::{call, link, object, soon};

/// What a server does with a connection after it has read a request.
#[derive(Clone)]
enum Script {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Sends these bytes and keeps the connection open.
    Hold(Vec<u8>),
    /// Sends the first bytes, then the second ones again and again.
    Repeat(Vec<u8>, Vec<u8>),
    /// Sends these bytes, one at a time, slowly.
    Drip(Vec<u8>),
}

async fn serve(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(play(stream, script.clone()));
        }
    });
    address
}

async fn play(mut stream: TcpStream, script: Script) {
    if read_request(&mut stream).await.is_none() {
        return;
    }
    match script {
        Script::Send(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Script::Hold(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // Until the client leaves.
            let _ = stream.read(&mut [0; 1]).await;
        }
        Script::Repeat(first, again) => {
            let _ = stream.write_all(&first).await;
            while stream.write_all(&again).await.is_ok() {}
        }
        Script::Drip(bytes) => {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Reads one request with its body, so that closing afterwards is no reset.
async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        received.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&received).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(());
        }
    }
}

fn answer(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn json_answer(body: &str) -> Vec<u8> {
    answer("200 OK", "application/json", body)
}

async fn error_of(script: Script) -> LinkError {
    let address = serve(script).await;
    call(&link(&format!("http://{address}/mcp")), "echo").await.unwrap_err()
}

#[tokio::test]
async fn what_is_not_json_is_bad_json() {
    let nested = "[".repeat(100_000);
    for body in ["not json", "", "{\"jsonrpc\":", "NaN", "\u{feff}{}", &nested] {
        assert_eq!(error_of(Script::Send(json_answer(body))).await, LinkError::BadJson, "{:.20}", body);
    }
    let page = answer("200 OK", "text/html", "<html></html>");
    assert_eq!(error_of(Script::Send(page)).await, LinkError::BadJson);
    assert_eq!(error_of(Script::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).await, LinkError::BadJson);
    let stream = answer("200 OK", "text/event-stream", "data: not json\n\n");
    assert_eq!(error_of(Script::Send(stream)).await, LinkError::BadJson);
}

#[tokio::test]
async fn json_of_another_shape_is_bad_schema() {
    for body in [
        "{}",
        "[]",
        "7",
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":"text"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#,
        // The answer to another request.
        r#"{"jsonrpc":"2.0","id":"x","result":{"content":[]}}"#,
    ] {
        assert_eq!(error_of(Script::Send(json_answer(body))).await, LinkError::BadSchema, "{body}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_in_the_middle_is_told_apart() {
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"json".to_vec();
    let chunk =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"js"
            .to_vec();
    let stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}".to_vec();
    for bytes in [Vec::new(), b"HTTP/1.1 200".to_vec(), cut, chunk, stream] {
        assert_eq!(error_of(Script::Send(bytes.clone())).await, LinkError::ClosedEarly, "{bytes:?}");
    }
}

#[tokio::test]
async fn no_more_is_read_than_the_limit() {
    let head = |kind: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n").into_bytes();
    let mut announced = head("application/json");
    announced.extend_from_slice(b"content-length: 1000000000\r\n\r\n");
    let mut endless = head("application/json");
    endless.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    let chunk = [b"1000\r\n".to_vec(), vec![b' '; 4096], b"\r\n".to_vec()].concat();
    let mut stream = head("text/event-stream");
    stream.extend_from_slice(b"\r\ndata: ");
    let scripts = [
        Script::Hold(announced),
        Script::Repeat(endless, chunk),
        Script::Repeat(stream.clone(), vec![b'x'; 4096]),
        Script::Repeat(stream, [b"data: ".to_vec(), vec![b'x'; 4096], b"\n".to_vec()].concat()),
    ];
    for script in scripts {
        let address = serve(script).await;
        let link = link(&format!("http://{address}/mcp"));
        let options = CallOptions::until(soon()).limit(64 * 1024);
        let error = link.call("echo", &object(json!({})), options).await.unwrap_err();
        assert_eq!(error, LinkError::TooLarge { limit: 64 * 1024 });
    }
}

#[tokio::test]
async fn endless_headers_end() {
    let error = error_of(Script::Repeat(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-a: b\r\n".repeat(512))).await;
    assert!(matches!(error, LinkError::TooLarge { .. } | LinkError::BadJson), "{error:?}");
}

#[tokio::test]
async fn a_silent_or_slow_server_is_left_at_the_deadline() {
    let whole =
        json_answer(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[]}}{}}}"#, " ".repeat(2000)));
    let quiet = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    let comments = (quiet.clone(), b": still here\n\n".to_vec());
    let scripts = [
        Script::Hold(Vec::new()),
        Script::Hold(quiet),
        Script::Drip(whole),
        Script::Repeat(comments.0, comments.1),
    ];
    for script in scripts {
        let address = serve(script).await;
        let link = link(&format!("http://{address}/mcp"));
        let options = CallOptions::until(Instant::now() + Duration::from_millis(300)).repeatable();
        assert_eq!(link.call("echo", &object(json!({})), options).await, Err(LinkError::Timeout));
    }
}

#[tokio::test]
async fn statuses_have_their_own_errors() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let moved =
            format!("HTTP/1.1 {status}\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(error_of(Script::Send(moved.into_bytes())).await, LinkError::Redirected);
    }
    for status in [401, 403] {
        let refused = answer(&format!("{status} No"), "text/plain", "no");
        let expected = LinkError::Unauthorized { status, code: ErrorCode::Auth };
        assert_eq!(error_of(Script::Send(refused)).await, expected);
    }
    for status in [400, 404, 413, 429, 500, 503] {
        let plain = answer(&format!("{status} No"), "text/plain", "no");
        assert_eq!(error_of(Script::Send(plain)).await, LinkError::Http { status });
    }
    let nothing = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    assert_eq!(error_of(Script::Send(nothing)).await, LinkError::Http { status: 204 });
}

#[tokio::test]
async fn the_words_of_a_server_are_passed_on_in_bounds() {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32603, "message": "é".repeat(9000)}})
        .to_string();
    let LinkError::Worker { rpc_code, message, code } = error_of(Script::Send(json_answer(&body))).await
    else {
        panic!("another error");
    };
    assert_eq!((rpc_code, message.chars().count(), code), (-32603, 2000, None));
    let problem = json!({"type": "urn:x", "title": "busy", "status": 503, "code": "BUSY", "detail": "later",
        "request_id": "r"})
    .to_string();
    let error = error_of(Script::Send(answer("503 Busy", "application/problem+json", &problem))).await;
    assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::Busy, "later"));
}

#[tokio::test]
async fn a_port_without_a_server_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(call(&link(&format!("http://{address}/mcp")), "echo").await, Err(LinkError::Refused));
    assert_eq!(call(&link("http://no-such-host.invalid/mcp"), "echo").await, Err(LinkError::Refused));
}

#[tokio::test]
async fn one_bad_server_does_not_touch_the_others() {
    let bad = serve(Script::Hold(Vec::new())).await;
    let good = serve(Script::Send(json_answer("{}"))).await;
    let connector = crate::support::connector();
    let to = |address: SocketAddr| {
        let target = transport::connect::Target::new(
            format!("http://{address}/mcp"),
            transport::connect::Credentials::Anonymous,
        );
        connector.connect(target).unwrap()
    };
    let hanging = to(bad);
    let waiting = tokio::spawn(async move { call(&hanging, "echo").await });
    for _ in 0..20 {
        assert_eq!(call(&Arc::clone(&to(good)), "echo").await, Err(LinkError::BadSchema));
    }
    assert!(!waiting.is_finished());
    waiting.abort();
}
