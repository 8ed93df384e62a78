//! The worker's answers: the few methods of MCP that a hub calls, straight on the [`Host`].
//!
//! rmcp's own service would do as well, and does on HTTP and standard input; it reads each message into a
//! tree and writes each result through one, which costs more than everything else that a call does here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use protocol::error::{ErrorBody, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::{End, Receives};
use super::{IN_FLIGHT, MESSAGE_LIMIT};
use crate::connect::rpc;
use crate::host::{CallContext, Host, Object, ToolOutcome};
use crate::link::LinkError;
use crate::progress::Progress;
use crate::sender::Sender;
use crate::serve::handler::rpc_code;

/// Calls that one connection works on; a hub that keeps its own bound never meets this one.
const MOST_CALLS: usize = 2 * IN_FLIGHT;

const NO_SUCH_RESOURCE: i32 = -32002;
const BAD_REQUEST: i32 = -32600;

/// A request or a notification of the hub.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Cow<'a, str>,
    #[serde(default)]
    params: RequestParams,
}

/// The parameters of all methods in one.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RequestParams {
    /// Of a tool or a prompt.
    #[serde(default)]
    name: String,
    #[serde(default)]
    arguments: Option<Object>,
    /// Of a resource.
    #[serde(default)]
    uri: String,
    /// Of a call that was dropped.
    #[serde(default)]
    request_id: Option<u64>,
    #[serde(default, rename = "_meta")]
    meta: RequestMeta,
}

#[derive(Deserialize, Default)]
struct RequestMeta {
    #[serde(default, rename = "progressToken")]
    progress: Option<Value>,
}

#[derive(Serialize)]
struct Answer<'a, R> {
    jsonrpc: &'static str,
    id: &'a Value,
    #[serde(flatten)]
    outcome: R,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<R> {
    Result(R),
    Error(Failure),
}

#[derive(Serialize)]
struct Failure {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// A result with the word that it is one, which the stateless generation has.
#[derive(Serialize)]
struct Complete<R> {
    #[serde(rename = "resultType")]
    kind: &'static str,
    #[serde(flatten)]
    result: R,
}

impl<R> Complete<R> {
    const fn new(result: R) -> Self {
        Self { kind: "complete", result }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum List<T> {
    Tools(T),
    Prompts(T),
    Resources(T),
    ResourceTemplates(T),
    Contents(T),
}

/// Answers the requests of one connection.
pub(super) struct Answering {
    host: Arc<dyn Host>,
    sender: Sender,
    outgoing: mpsc::Sender<Vec<u8>>,
    running: Arc<Running>,
}

/// The calls that are worked on, each with what ends it.
#[derive(Default)]
struct Running(Mutex<HashMap<u64, CancellationToken>>);

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answering {
    /// Answers from a host to a sender, over a queue that also takes reports of progress.
    pub(super) fn new(host: Arc<dyn Host>, sender: Sender, outgoing: mpsc::Sender<Vec<u8>>) -> Self {
        Self { host, sender, outgoing, running: Arc::default() }
    }

    /// Tells the hub about changes until the connection ends.
    pub(super) async fn announce(
        mut changes: watch::Receiver<u64>,
        has: crate::host::HostInfo,
        outgoing: mpsc::Sender<Vec<u8>>,
    ) {
        changes.mark_unchanged();
        let lists = [("tools", true), ("prompts", has.prompts), ("resources", has.resources)];
        while changes.changed().await.is_ok() {
            for (list, _) in lists.iter().filter(|(_, exists)| *exists) {
                let message = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
                if outgoing.send(message.into_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The work of a request; nothing when there is no such method.
    fn work(
        &self,
        id: Value,
        method: &str,
        params: RequestParams,
        cancelled: CancellationToken,
    ) -> Option<Work> {
        let (host, sender) = (self.host.clone(), self.sender.clone());
        let name = params.name;
        let arguments = params.arguments.unwrap_or_default();
        Some(match method {
            "tools/call" => {
                let progress = match params.meta.progress {
                    Some(token) => Progress::messages(self.outgoing.clone(), token),
                    None => Progress::none(),
                };
                let context = CallContext { sender, progress, cancelled: cancelled.clone() };
                guarded(id.clone(), async move {
                    tokio::select! {
                        biased;
                        result = host.call(&name, arguments, context) => {
                            // Nobody waits for the answer to a call that was cancelled.
                            (!cancelled.is_cancelled()).then(|| call_answer(&id, result))
                        }
                        () = cancelled.cancelled() => None,
                    }
                })
            }
            "tools/list" => guarded(id.clone(), async move {
                let tools = host.tools(&sender).await;
                Some(success(&id, List::Tools(&*tools)))
            }),
            "prompts/list" => guarded(id.clone(), async move {
                let prompts = host.prompts(&sender).await;
                Some(success(&id, List::Prompts(&*prompts)))
            }),
            "prompts/get" => guarded(id.clone(), async move {
                Some(match host.get_prompt(&name, arguments, &sender).await {
                    Ok(prompt) => success(&id, prompt),
                    Err(error) => failure(&id, rpc_code(error.code), &error),
                })
            }),
            "resources/list" => guarded(id.clone(), async move {
                let resources = host.resources(&sender).await;
                Some(success(&id, List::Resources(&*resources)))
            }),
            "resources/templates/list" => guarded(id.clone(), async move {
                let templates = host.templates(&sender).await;
                Some(success(&id, List::ResourceTemplates(&*templates)))
            }),
            "resources/read" => guarded(id.clone(), async move {
                Some(match host.read_resource(&params.uri, &sender).await {
                    Ok(contents) => success(&id, List::Contents(contents)),
                    Err(error) if error.code == ErrorCode::NotFound => failure(&id, NO_SUCH_RESOURCE, &error),
                    Err(error) => failure(&id, rpc_code(error.code), &error),
                })
            }),
            _ => return None,
        })
    }

    /// Takes a request; the answer, if there is one at once.
    fn answer(&self, id: Value, method: &str, params: RequestParams) -> Option<Vec<u8>> {
        let Some(number) = id.as_u64() else {
            let error = ErrorBody::new(ErrorCode::Field, "the id of a request must be a number");
            return Some(failure(&id, BAD_REQUEST, &error));
        };
        {
            let running = self.running.lock();
            if running.contains_key(&number) {
                let error = ErrorBody::new(ErrorCode::Field, "a request with this id is being worked on");
                return Some(failure(&id, BAD_REQUEST, &error));
            }
            if running.len() >= MOST_CALLS {
                let error = ErrorBody::new(ErrorCode::Busy, "too many calls at once; try again");
                return Some(failure(&id, rpc_code(error.code), &error));
            }
        }
        let cancelled = CancellationToken::new();
        let Some(mut work) = self.work(id.clone(), method, params, cancelled.clone()) else {
            let error = ErrorBody::new(ErrorCode::Method, "there is no such method");
            return Some(failure(&id, rpc_code(error.code), &error));
        };
        // Most calls are answered without waiting for anything; those need no task.
        if let Some(answer) = work.as_mut().now_or_never() {
            return answer;
        }
        self.running.lock().insert(number, cancelled);
        let (running, outgoing) = (self.running.clone(), self.outgoing.clone());
        tokio::spawn(async move {
            let answer = work.await;
            running.lock().remove(&number);
            if let Some(answer) = answer {
                // It fails when the connection has ended, and with it everybody who waited.
                let _ = outgoing.send(answer).await;
            }
        });
        None
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        for cancelled in self.running.lock().values() {
            cancelled.cancel();
        }
    }
}

/// What gives the answer to a request; nothing when it was cancelled.
type Work = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// Work whose panic is an answer like any other: it must not take the connection of all calls with it.
fn guarded(id: Value, work: impl Future<Output = Option<Vec<u8>>> + Send + 'static) -> Work {
    Box::pin(async move {
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            let error = ErrorBody::new(ErrorCode::Internal, "the server failed on this request");
            Some(failure(&id, rpc_code(error.code), &error))
        })
    })
}

impl Receives for Answering {
    fn receive(&mut self, message: Vec<u8>) -> Result<Option<Vec<u8>>, End> {
        let request: Request<'_> =
            serde_json::from_slice(&message).map_err(|error| match rpc::classify(&error) {
                LinkError::BadJson => End::BadJson,
                _ => End::BadSchema,
            })?;
        match request.id {
            // No message, or an answer to a request that we never send.
            _ if request.method.is_empty() => Err(End::BadSchema),
            Some(id) => Ok(self.answer(id, &request.method, request.params)),
            None => {
                if request.method == "notifications/cancelled"
                    && let Some(number) = request.params.request_id
                    && let Some(cancelled) = self.running.lock().get(&number)
                {
                    cancelled.cancel();
                }
                Ok(None)
            }
        }
    }
}

fn call_answer(id: &Value, result: Result<ToolOutcome, ErrorBody>) -> Vec<u8> {
    match result {
        Ok(outcome) => success(id, outcome),
        Err(error) => failure(id, rpc_code(error.code), &error),
    }
}

fn success(id: &Value, result: impl Serialize) -> Vec<u8> {
    let answer = Answer { jsonrpc: "2.0", id, outcome: Outcome::Result(Complete::new(result)) };
    match encode(&answer) {
        Some(answer) if answer.len() <= MESSAGE_LIMIT => answer,
        Some(_) => {
            let message = format!("the answer is larger than {MESSAGE_LIMIT} bytes");
            let error = ErrorBody::new(ErrorCode::UpstreamSize, message);
            failure(id, rpc_code(error.code), &error)
        }
        None => {
            let error = ErrorBody::new(ErrorCode::Internal, "the answer cannot be written as JSON");
            failure(id, rpc_code(error.code), &error)
        }
    }
}

fn failure(id: &Value, code: i32, error: &ErrorBody) -> Vec<u8> {
    let data = Some(serde_json::json!({ "code": error.code }));
    let failure = Failure { code, message: error.message.clone(), data };
    encode(&Answer { jsonrpc: "2.0", id, outcome: Outcome::<()>::Error(failure) }).unwrap_or_default()
}

fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(2048);
    serde_json::to_writer(&mut text, message).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests;
