//! A hub's link and a worker that says what the test has it say.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use protocol::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::ReverseLink;
use crate::connect::Connector;
use crate::host::{Object, ToolOutcome};
use crate::link::{CallOptions, Link as _, LinkError};
use crate::reverse::connection::{Connection, socket};
use crate::reverse::handshake::{Seals, both_sides};
use crate::reverse::{IN_FLIGHT, MESSAGE_LIMIT, Pace};

const PACE: Pace = Pace { ping: Duration::from_secs(10), silence: Duration::from_secs(30) };

struct Peer {
    socket: WebSocketStream<DuplexStream>,
    seals: Seals,
}

impl Peer {
    /// The next request or notification of the hub.
    async fn hear(&mut self) -> Value {
        loop {
            if let Message::Binary(sealed) = self.socket.next().await.unwrap().unwrap() {
                return serde_json::from_slice(&self.seals.open(sealed.into()).unwrap()).unwrap();
            }
        }
    }

    async fn say(&mut self, text: impl Into<Vec<u8>>) {
        let sealed = self.seals.seal(text.into()).unwrap();
        self.socket.send(Message::Binary(sealed.into())).await.unwrap();
    }

    /// Answers a request.
    async fn answer(&mut self, request: &Value, result: Value) {
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
        self.say(answer.to_string()).await;
    }

    /// The words with which the hub closes.
    async fn farewell(&mut self) -> String {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.unwrap().reason.to_string(),
                Some(Ok(_)) => {}
                other => panic!("no farewell: {other:?}"),
            }
        }
    }
}

async fn pair_with(pace: Pace) -> (Arc<ReverseLink>, Peer) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (worker, hub) = both_sides();
    let connection = Connection { socket: socket(ours, Role::Server).await, seals: hub, pace, pings: false };
    let connector = Connector::new("tests", "1", Arc::new(SystemClock)).unwrap();
    let link = ReverseLink::start(connection, connector, watch::Sender::new(0), "w".into());
    (link, Peer { socket: socket(theirs, Role::Client).await, seals: worker })
}

async fn pair() -> (Arc<ReverseLink>, Peer) {
    pair_with(PACE).await
}

type Outcome = Result<ToolOutcome, LinkError>;

fn call(link: &Arc<ReverseLink>) -> tokio::task::JoinHandle<Outcome> {
    let link = link.clone();
    tokio::spawn(async move {
        let options = CallOptions::until(Instant::now() + Duration::from_secs(30)).limit(100_000);
        link.call("echo", &Object::new(), options).await
    })
}

#[tokio::test]
async fn a_request_says_what_the_stateless_generation_wants() {
    let (link, mut peer) = pair().await;
    let calling = call(&link);
    let request = peer.hear().await;
    assert_eq!(request["method"], "tools/call");
    assert_eq!(request["params"]["name"], "echo");
    assert_eq!(request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(request["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"], "tests");
    peer.answer(&request, json!({"content": [], "structuredContent": {"a": 1}})).await;
    assert_eq!(calling.await.unwrap().unwrap().structured, Some(json!({"a": 1})));
}

#[tokio::test]
async fn answers_may_come_in_any_order_and_to_nobody() {
    let (link, mut peer) = pair().await;
    let (first, second) = (call(&link), call(&link));
    let (one, two) = (peer.hear().await, peer.hear().await);
    peer.say(r#"{"jsonrpc":"2.0","id":987654321,"result":{"content":[]}}"#).await;
    peer.say(r#"{"jsonrpc":"2.0","id":"x","result":{"content":[]}}"#).await;
    peer.say(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}"#).await;
    peer.say(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5}}"#).await;
    for request in [&two, &one] {
        peer.answer(request, json!({"content": [], "structuredContent": request["id"]})).await;
    }
    let mut answers = [first.await.unwrap().unwrap().structured, second.await.unwrap().unwrap().structured];
    answers.sort_by_key(|answer| answer.as_ref().and_then(Value::as_u64));
    assert_eq!(answers, [Some(one["id"].clone()), Some(two["id"].clone())]);
}

#[tokio::test]
async fn a_bad_answer_costs_its_own_call_only() {
    let (link, mut peer) = pair().await;
    for (result, error) in [
        (json!({}), LinkError::BadSchema),
        (json!([]), LinkError::BadSchema),
        (json!({"content": "text"}), LinkError::BadSchema),
        (
            json!({"content": [{"type": "text", "text": "x".repeat(100_000)}]}),
            LinkError::TooLarge { limit: 100_000 },
        ),
    ] {
        let (bad, good) = (call(&link), call(&link));
        let (one, two) = (peer.hear().await, peer.hear().await);
        peer.answer(&one, result.clone()).await;
        peer.answer(&two, result).await;
        assert_eq!(bad.await.unwrap(), Err(error.clone()));
        assert_eq!(good.await.unwrap(), Err(error));
    }
    let calling = call(&link);
    let request = peer.hear().await;
    let error = json!({"jsonrpc": "2.0", "id": request["id"],
        "error": {"code": -32000, "message": "m", "data": {"code": "BUSY"}}});
    peer.say(error.to_string()).await;
    assert_eq!(calling.await.unwrap().unwrap_err().code(), protocol::error::ErrorCode::Busy);
    let calling = call(&link);
    let request = peer.hear().await;
    peer.answer(&request, json!({"content": []})).await;
    assert!(calling.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_is_no_message_ends_the_link_with_its_reason() {
    let large = vec![b' '; MESSAGE_LIMIT + 1];
    for (message, error, reason) in [
        (b"not json".to_vec(), LinkError::BadJson, "not JSON"),
        (b"".to_vec(), LinkError::BadJson, "not JSON"),
        (b"[]".to_vec(), LinkError::BadSchema, "unexpected shape"),
        (large, LinkError::TooLarge { limit: MESSAGE_LIMIT }, "larger than"),
    ] {
        let (link, mut peer) = pair().await;
        let calling = call(&link);
        peer.hear().await;
        // It may be cut off in the middle.
        let sealed = peer.seals.seal(message).unwrap();
        let (said, farewell) =
            (peer.socket.send(Message::Binary(sealed.into())).await, async { peer.farewell().await });
        if said.is_ok() {
            assert!(farewell.await.contains(reason), "{reason}");
        }
        assert_eq!(calling.await.unwrap(), Err(error));
        assert_eq!(call(&link).await.unwrap(), Err(LinkError::Refused));
        assert!(link.is_over());
    }
}

#[tokio::test]
async fn what_is_not_sealed_is_not_read() {
    for frame in [
        Message::Binary(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.to_vec().into()),
        Message::Binary(bytes::Bytes::new()),
        Message::Text("{}".into()),
    ] {
        let (link, mut peer) = pair().await;
        let calling = call(&link);
        peer.hear().await;
        peer.socket.send(frame.clone()).await.unwrap();
        assert!(!peer.farewell().await.is_empty());
        let error = if frame.is_text() { LinkError::BadSchema } else { LinkError::ClosedEarly };
        assert_eq!(calling.await.unwrap(), Err(error));
    }
}

#[tokio::test]
async fn a_worker_that_leaves_in_the_middle_of_a_call_is_told_apart() {
    for in_order in [true, false] {
        let (link, mut peer) = pair().await;
        let calling = call(&link);
        peer.hear().await;
        if in_order {
            peer.socket.close(None).await.unwrap();
        }
        drop(peer);
        assert_eq!(calling.await.unwrap(), Err(LinkError::ClosedEarly));
        assert_eq!(call(&link).await.unwrap(), Err(LinkError::Refused));
    }
}

#[tokio::test]
async fn a_worker_that_says_nothing_for_too_long_is_gone() {
    let pace = Pace { ping: Duration::from_millis(5), silence: Duration::from_millis(20) };
    let (link, mut peer) = pair_with(pace).await;
    assert_eq!(call(&link).await.unwrap(), Err(LinkError::ClosedEarly));
    peer.hear().await;
    assert!(peer.farewell().await.contains("nothing was heard"));
}

#[tokio::test]
async fn a_dropped_call_is_taken_back() {
    let (link, mut peer) = pair().await;
    let calling = call(&link);
    let request = peer.hear().await;
    calling.abort();
    let notice = peer.hear().await;
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"]["requestId"], request["id"]);
    // The answer comes all the same, and nobody minds.
    peer.answer(&request, json!({"content": []})).await;
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(link.tools(deadline).await, Err(LinkError::Timeout));
    assert_eq!(peer.hear().await["method"], "tools/list");
    assert_eq!(peer.hear().await["method"], "notifications/cancelled");
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_for_their_turn() {
    let (link, mut peer) = pair().await;
    let calls: Vec<_> = (0..IN_FLIGHT + 5).map(|_| call(&link)).collect();
    let mut requests = Vec::new();
    for _ in 0..IN_FLIGHT {
        requests.push(peer.hear().await);
    }
    assert_eq!(link.open.lock().calls.len(), IN_FLIGHT);
    for request in &requests {
        peer.answer(request, json!({"content": []})).await;
    }
    for _ in 0..5 {
        let request = peer.hear().await;
        peer.answer(&request, json!({"content": []})).await;
    }
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert!(link.open.lock().calls.is_empty());
}

#[tokio::test]
async fn two_sides_with_much_to_say_do_not_block_each_other() {
    let (link, mut peer) = pair().await;
    let text = "x".repeat(90_000);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (link, text) = (link.clone(), text.clone());
            tokio::spawn(async move {
                let arguments = json!({ "text": text }).as_object().cloned().unwrap();
                let options = CallOptions::until(Instant::now() + Duration::from_secs(30));
                link.call("echo", &arguments, options).await
            })
        })
        .collect();
    // The peer writes whole answers before it reads on, into a pipe that holds less than one of them.
    for _ in 0..20 {
        let request = peer.hear().await;
        peer.answer(&request, json!({"content": [], "structuredContent": request["params"]["arguments"]}))
            .await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().structured.unwrap()["text"], text);
    }
}

#[tokio::test]
async fn a_closed_link_says_goodbye_and_fails_its_calls() {
    let (link, mut peer) = pair().await;
    let calling = call(&link);
    peer.hear().await;
    link.close().await;
    assert_eq!(calling.await.unwrap(), Err(LinkError::Cancelled));
    assert_eq!(call(&link).await.unwrap(), Err(LinkError::Cancelled));
    assert!(peer.farewell().await.contains("closed"));
}
