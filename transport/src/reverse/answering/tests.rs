//! A connection that answers, and messages that are right, wrong or hostile.

use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;
use protocol::error::{ErrorBody, ErrorCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answering, MOST_CALLS};
use crate::host::{CallContext, Host, HostInfo, Object, ToolDefinition, ToolOutcome};
use crate::reverse::connection::{End, Receives as _};
use crate::sender::Sender;

struct Fixture;

#[async_trait]
impl Host for Fixture {
    fn info(&self) -> HostInfo {
        HostInfo::default()
    }

    async fn tools(&self, _sender: &Sender) -> Arc<Vec<ToolDefinition>> {
        Arc::default()
    }

    async fn call(
        &self,
        tool: &str,
        arguments: Object,
        context: CallContext,
    ) -> Result<ToolOutcome, ErrorBody> {
        match tool {
            "echo" => Ok(ToolOutcome::structured(Value::Object(arguments))),
            "hang" => {
                context.cancelled.cancelled().await;
                Ok(ToolOutcome::text("late"))
            }
            "panic" => panic!("a bug"),
            _ => Err(ErrorBody::new(ErrorCode::Tool, "no such tool")),
        }
    }
}

fn answering() -> (Answering, mpsc::Receiver<Vec<u8>>) {
    let (outgoing, queue) = mpsc::channel(8);
    (Answering::new(Arc::new(Fixture), Sender::signed("hub"), outgoing), queue)
}

fn ask(answering: &mut Answering, message: &Value) -> Option<Value> {
    let answer = answering.receive(message.to_string().into_bytes()).unwrap();
    answer.map(|answer| serde_json::from_slice(&answer).unwrap())
}

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"a": [1, null]}}})
}

#[tokio::test]
async fn what_needs_no_waiting_is_answered_at_once() {
    let (mut answering, _queue) = answering();
    let answer = ask(&mut answering, &call(7, "echo")).unwrap();
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "complete",
            "structuredContent": {"a": [1, null]}, "content": [], "isError": false}})
    );
    let answer = ask(&mut answering, &call(8, "nothing")).unwrap();
    assert_eq!(answer["error"], json!({"code": -32602, "message": "no such tool", "data": {"code": "TOOL"}}));
    let unknown = json!({"id": 9, "method": "sampling/createMessage"});
    assert_eq!(ask(&mut answering, &unknown).unwrap()["error"]["code"], -32601);
    let text = json!({"id": "x", "method": "tools/list"});
    assert_eq!(ask(&mut answering, &text).unwrap()["error"]["code"], -32600);
}

#[tokio::test]
async fn a_call_that_is_cancelled_has_no_answer_and_its_id_is_free_again() {
    let (mut answering, mut queue) = answering();
    assert!(ask(&mut answering, &call(1, "hang")).is_none());
    assert_eq!(ask(&mut answering, &call(1, "echo")).unwrap()["error"]["code"], -32600);
    let cancel = json!({"method": "notifications/cancelled", "params": {"requestId": 1}});
    assert!(ask(&mut answering, &cancel).is_none());
    while answering.running.lock().contains_key(&1) {
        tokio::task::yield_now().await;
    }
    assert!(ask(&mut answering, &call(1, "echo")).unwrap()["result"].is_object());
    drop(answering);
    assert!(queue.recv().await.is_none());
}

#[tokio::test]
async fn a_bug_in_a_tool_costs_its_own_call_only() {
    let (mut answering, _queue) = answering();
    let answer = ask(&mut answering, &call(1, "panic")).unwrap();
    assert_eq!(answer["error"]["code"], -32603);
    assert!(ask(&mut answering, &call(2, "echo")).unwrap()["result"].is_object());
}

#[tokio::test]
async fn more_calls_than_agreed_are_turned_away() {
    let (mut answering, _queue) = answering();
    for id in 0..MOST_CALLS as u64 {
        assert!(ask(&mut answering, &call(id, "hang")).is_none());
    }
    let answer = ask(&mut answering, &call(u64::MAX, "echo")).unwrap();
    assert_eq!(answer["error"]["data"]["code"], "BUSY");
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection_with_its_reason() {
    let (mut answering, _queue) = answering();
    for (message, end) in [
        ("", End::BadJson),
        ("{", End::BadJson),
        ("no json", End::BadJson),
        ("[]", End::BadSchema),
        ("7", End::BadSchema),
        (r#"{"id":1,"method":7}"#, End::BadSchema),
        (r#"{"id":1,"result":{}}"#, End::BadSchema),
        (r#"{"id":1,"method":"tools/call","params":{"arguments":[]}}"#, End::BadSchema),
    ] {
        assert_eq!(answering.receive(message.as_bytes().to_vec()), Err(end), "{message}");
    }
}

proptest! {
    #[test]
    fn hostile_messages_never_panic(place in 0_usize..120, byte: u8, cut in 0_usize..130) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let mut message = call(1, "echo").to_string().into_bytes();
        if let Some(target) = message.get_mut(place) {
            *target = byte;
        }
        message.truncate(cut);
        let _ = answering().0.receive(message);
    }
}
