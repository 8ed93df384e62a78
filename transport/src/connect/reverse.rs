//! Calls over a connection that the server opened: each request is a frame, and its answer is found by its
//! id. Progress and changes of lists come between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Connector;
use super::answer::{progress_of, take_result};
use super::asks::Asks;
use super::rpc::{self, Cancelled, Meta, Nothing, Outgoing, Params, STATELESS};
use crate::link::{CallOptions, LinkError};
use crate::progress::ProgressUpdate;
use crate::reverse::IN_FLIGHT;
use crate::reverse::connection::{Connection, End, Receives};

/// How long a link that is closed may take to say goodbye.
const COURTESY_TIME: std::time::Duration = std::time::Duration::from_secs(2);

/// A link over one connection. It ends with the connection, and the connection with it.
pub(crate) struct ReverseLink {
    connector: Arc<Connector>,
    outgoing: mpsc::Sender<Vec<u8>>,
    open: Arc<OpenCalls>,
    room: Semaphore,
    changes: watch::Sender<u64>,
    closing: CancellationToken,
    /// The task of the connection ends when this can be had.
    ended: Arc<tokio::sync::Mutex<()>>,
}

impl ReverseLink {
    /// A link over a connection; a task of its own passes the messages. `changes` is told of changes.
    pub(crate) fn start<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        connection: Connection<S>,
        connector: Arc<Connector>,
        changes: watch::Sender<u64>,
        name: String,
    ) -> Arc<Self> {
        // Requests and, behind each that was dropped, the word that it was.
        let (outgoing, queue) = mpsc::channel(2 * IN_FLIGHT);
        let link = Arc::new(Self {
            connector,
            outgoing,
            open: Arc::default(),
            room: Semaphore::new(IN_FLIGHT),
            changes: changes.clone(),
            closing: CancellationToken::new(),
            ended: Arc::default(),
        });
        let (open, closing) = (link.open.clone(), link.closing.clone());
        let until_the_end = link.ended.clone().try_lock_owned();
        tokio::spawn(async move {
            let _until_the_end = until_the_end;
            let receiver = Answers { open: open.clone(), changes };
            let end = connection.run(queue, receiver, &closing).await;
            match &end {
                End::Told | End::Closed { .. } => tracing::debug!(worker = %name, %end, "a link ended"),
                _ => tracing::warn!(worker = %name, %end, "a link ended"),
            }
            open.end(end.error());
        });
        link
    }

    /// Whether the connection is over, so that nothing can be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.open.lock().over.is_some()
    }

    /// Gives way to a newer connection: calls on their way fail, as with any connection that breaks.
    pub(crate) fn give_way(&self) {
        self.open.end(LinkError::ClosedEarly);
        self.closing.cancel();
    }

    async fn exchange<P: Serialize + Send + Sync, T: DeserializeOwned>(
        &self,
        method: &str,
        params: P,
        options: &CallOptions,
    ) -> Result<T, LinkError> {
        let _turn = self.room.acquire().await.map_err(|_| LinkError::Cancelled)?;
        let id = self.connector.next_id();
        let meta = Meta {
            version: Some(STATELESS),
            client: Some(self.connector.client_info()),
            capabilities: Some(Nothing {}),
            progress: options.progress.is_some().then_some(id),
        };
        let frame =
            frame(&Outgoing { jsonrpc: "2.0", id: Some(id), method, params: Params { own: params, meta } })?;
        let mut call = Call { link: self, id, is_open: true, is_sent: false };
        let answer = self.open.begin(id, options.progress.clone())?;
        if self.outgoing.send(frame).await.is_err() {
            return Err(LinkError::Refused);
        }
        call.is_sent = true;
        let answer = answer.await.unwrap_or(Err(LinkError::ClosedEarly));
        call.is_open = false;
        let answer = answer?;
        if answer.len() > options.limit_bytes {
            return Err(LinkError::TooLarge { limit: options.limit_bytes });
        }
        Ok(take_result(rpc::read(&answer)?, id)?)
    }
}

impl Asks for ReverseLink {
    async fn ask<P: Serialize + Send + Sync, T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        _name: Option<&str>,
        params: P,
        options: &CallOptions,
    ) -> Result<T, LinkError> {
        let exchange = self.exchange(method, params, options);
        timeout_at(options.deadline, exchange).await.unwrap_or(Err(LinkError::Timeout))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn end(&self) {
        self.open.end(LinkError::Cancelled);
        self.closing.cancel();
        let _ = timeout(COURTESY_TIME, self.ended.lock()).await;
    }
}

impl Drop for ReverseLink {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// A message as a frame, with room for its seal.
fn frame(message: &impl Serialize) -> Result<Vec<u8>, LinkError> {
    let mut frame = Vec::with_capacity(512);
    serde_json::to_writer(&mut frame, message).map_err(|_| LinkError::BadSchema)?;
    Ok(frame)
}

/// One call in flight. When its future is dropped, the server hears that the call is not wanted any more.
struct Call<'a> {
    link: &'a ReverseLink,
    id: u64,
    is_open: bool,
    is_sent: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        self.link.open.forget(self.id);
        if self.is_sent {
            let own = Cancelled { request_id: self.id, reason: "the caller gave up" };
            let params = Params { own, meta: Meta::default() };
            let notice = Outgoing { jsonrpc: "2.0", id: None, method: "notifications/cancelled", params };
            if let Ok(frame) = frame(&notice) {
                // A server that misses it only works in vain.
                let _ = self.link.outgoing.try_send(frame);
            }
        }
    }
}

/// The calls that wait for an answer.
#[derive(Default)]
struct OpenCalls(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    calls: HashMap<u64, OpenCall>,
    /// Why there will be no more answers.
    over: Option<LinkError>,
}

struct OpenCall {
    answer: oneshot::Sender<Result<Vec<u8>, LinkError>>,
    progress: Option<mpsc::Sender<ProgressUpdate>>,
}

impl OpenCalls {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        &self,
        id: u64,
        progress: Option<mpsc::Sender<ProgressUpdate>>,
    ) -> Result<oneshot::Receiver<Result<Vec<u8>, LinkError>>, LinkError> {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        match &waiting.over {
            Some(LinkError::Cancelled) => Err(LinkError::Cancelled),
            Some(_) => Err(LinkError::Refused),
            None => {
                waiting.calls.insert(id, OpenCall { answer, progress });
                Ok(receiver)
            }
        }
    }

    fn forget(&self, id: u64) {
        self.lock().calls.remove(&id);
    }

    /// Nothing comes any more; the first reason counts.
    fn end(&self, reason: LinkError) {
        let mut waiting = self.lock();
        let reason = waiting.over.get_or_insert(reason).clone();
        for (_, call) in waiting.calls.drain() {
            let _ = call.answer.send(Err(reason.clone()));
        }
    }
}

/// As much of a message as tells whose it is; the rest is read by whoever waits for it.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<std::borrow::Cow<'a, str>>,
}

struct Answers {
    open: Arc<OpenCalls>,
    changes: watch::Sender<u64>,
}

impl Receives for Answers {
    fn receive(&mut self, message: Vec<u8>) -> Result<Option<Vec<u8>>, End> {
        let head: Head<'_> =
            serde_json::from_slice(&message).map_err(|error| match rpc::classify(&error) {
                LinkError::BadJson => End::BadJson,
                _ => End::BadSchema,
            })?;
        match head.method.as_deref() {
            None if head.id.is_none() => return Err(End::BadSchema),
            None => {
                // Whoever asked may have left, and then nobody knows the id.
                let id = head.id.and_then(|id| id.as_u64());
                let call = id.and_then(|id| self.open.lock().calls.remove(&id));
                if let Some(call) = call {
                    let _ = call.answer.send(Ok(message));
                }
            }
            Some("notifications/progress") => self.pass_progress(&message),
            Some(method) if method.ends_with("/list_changed") => {
                self.changes.send_modify(|count| *count = count.wrapping_add(1));
            }
            // A request of the server's own, which is not answered because we offer it nothing.
            Some(_) => {}
        }
        Ok(None)
    }
}

impl Answers {
    fn pass_progress(&self, message: &[u8]) {
        let Ok(message) = rpc::read::<IgnoredAny>(message) else { return };
        let token = message.params.as_ref().and_then(|params| params.get("progressToken")?.as_u64());
        let Some(id) = token else { return };
        let waiting = self.open.lock();
        if let Some(updates) = waiting.calls.get(&id).and_then(|call| call.progress.as_ref())
            && let Some(update) = progress_of(&message, id)
        {
            // A caller that does not keep up misses reports, never the answer.
            let _ = updates.try_send(update);
        }
    }
}

#[cfg(test)]
mod tests;
