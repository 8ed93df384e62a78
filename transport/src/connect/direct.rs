//! A link over plain HTTP requests.
//!
//! It starts with the stateless generation. A server that refuses it in the way the protocol describes is
//! asked to open a session; one caller does that and the others wait for it. A session that the server
//! has forgotten is opened again. Neither ever repeats a call that the server may have acted on.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answer::{Failed, read_answer};
use super::asks::Asks;
use super::exchange::{Refusal, media_type, read_refusal};
use super::rpc::{
    self, Cancelled, Initialize, Initialized, METHOD_NOT_FOUND, Meta, Nothing, Outgoing, Params, STATELESS,
    STATELESS_ERRORS, UNSUPPORTED_VERSION, WITH_SESSIONS,
};
use super::{Address, Connector, Credentials};
use crate::link::{CallOptions, DEFAULT_LIMIT_BYTES, LinkError};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Messages that nobody waits for are given this long.
const COURTESY_TIME: Duration = Duration::from_secs(2);

pub(super) struct DirectLink {
    pub(super) connector: Arc<Connector>,
    pub(super) address: Address,
    pub(super) credentials: Credentials,
    generation: RwLock<Generation>,
    opening: Mutex<()>,
    pub(super) closed: CancellationToken,
    changes: OnceLock<watch::Sender<u64>>,
    itself: Weak<Self>,
}

/// How the server is spoken to.
#[derive(Clone)]
pub(super) enum Generation {
    Stateless,
    Session(Arc<Session>),
}

/// A session of the older generation. Some servers give no id and keep no state.
pub(super) struct Session {
    id: Option<HeaderValue>,
    version: HeaderValue,
}

/// Why an attempt failed.
enum Failure {
    /// For good.
    Link(LinkError),
    /// The server was not reached by this generation and did not act; the error is for the case that the
    /// other generation does not reach it either.
    Generation(LinkError),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// One request, before its generation is known.
struct Call<'a, P> {
    method: &'a str,
    /// What `Mcp-Name` repeats: the tool, the prompt, the URI.
    name: Option<&'a str>,
    params: &'a P,
}

impl DirectLink {
    pub(super) fn new(connector: Arc<Connector>, address: Address, credentials: Credentials) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            connector,
            address,
            credentials,
            generation: RwLock::new(Generation::Stateless),
            opening: Mutex::new(()),
            closed: CancellationToken::new(),
            changes: OnceLock::new(),
            itself: Weak::clone(itself),
        })
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_generation(&self, generation: Generation) {
        *self.generation.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    async fn attempts<P: Serialize + Sync, T: DeserializeOwned>(
        &self,
        call: &Call<'_, P>,
        options: &CallOptions,
    ) -> Result<T, LinkError> {
        let mut may_repeat = options.repeatable;
        // A forgotten session needs two changes: back to the start, and to a new session.
        let mut changes_left = 2;
        loop {
            let generation = self.generation();
            match self.attempt(&generation, call, options).await {
                Ok(value) => return Ok(value),
                Err(Failure::Link(LinkError::ClosedEarly)) if may_repeat => may_repeat = false,
                Err(Failure::Generation(original)) if changes_left > 0 => {
                    changes_left -= 1;
                    self.change_generation(&generation, original).await?;
                }
                Err(Failure::Link(error) | Failure::Generation(error)) => return Err(error),
            }
        }
    }

    /// Leaves a generation that does not reach the server.
    pub(super) async fn change_generation(
        &self,
        tried: &Generation,
        original: LinkError,
    ) -> Result<(), LinkError> {
        let _single_flight = self.opening.lock().await;
        match (tried, self.generation()) {
            (Generation::Stateless, Generation::Stateless) => match self.open_session().await {
                Ok(session) => {
                    self.set_generation(Generation::Session(Arc::new(session)));
                    Ok(())
                }
                Err(error @ (LinkError::Refused | LinkError::Unauthorized { .. })) => Err(error),
                Err(_) => Err(original),
            },
            (Generation::Session(tried), Generation::Session(current)) if Arc::ptr_eq(tried, &current) => {
                self.set_generation(Generation::Stateless);
                Ok(())
            }
            // Somebody else changed it in the meantime.
            _ => Ok(()),
        }
    }

    async fn open_session(&self) -> Result<Session, LinkError> {
        let id = self.connector.next_id();
        let own = Initialize {
            protocol_version: WITH_SESSIONS,
            capabilities: Nothing {},
            client_info: self.connector.client_info(),
        };
        let params = Params { own, meta: Meta::default() };
        let body = encode(&Outgoing { jsonrpc: "2.0", id: Some(id), method: "initialize", params })?;
        let response = self.post(HeaderMap::new(), body).await?;
        if !response.status().is_success() {
            return Err(read_refusal(response).await.into());
        }
        let session = response.headers().get(SESSION).cloned();
        let opened: Initialized = read_answer(response, id, DEFAULT_LIMIT_BYTES, None).await?;
        let version = HeaderValue::try_from(opened.protocol_version).map_err(|_| LinkError::BadSchema)?;
        let session = Session { id: session, version };
        self.notify(&session, "notifications/initialized", Nothing {}).await?;
        Ok(session)
    }

    /// Sends a notification of the older generation.
    async fn notify<P: Serialize>(&self, session: &Session, method: &str, own: P) -> Result<(), LinkError> {
        let params = Params { own, meta: Meta::default() };
        let body = encode(&Outgoing { jsonrpc: "2.0", id: None, method, params })?;
        let response = self.post(session_headers(session), body).await?;
        if response.status().is_success() { Ok(()) } else { Err(read_refusal(response).await.into()) }
    }

    /// The whole message and its headers, for one generation.
    fn message<P: Serialize>(
        &self,
        generation: &Generation,
        call: &Call<'_, P>,
        id: u64,
        with_progress: bool,
    ) -> Result<(HeaderMap, Bytes), LinkError> {
        let progress = with_progress.then_some(id);
        let (headers, meta) = match generation {
            Generation::Stateless => {
                let meta = Meta {
                    version: Some(STATELESS),
                    client: Some(self.connector.client_info()),
                    capabilities: Some(Nothing {}),
                    progress,
                };
                (stateless_headers(call.method, call.name), meta)
            }
            Generation::Session(session) => (session_headers(session), Meta { progress, ..Meta::default() }),
        };
        let params = Params { own: call.params, meta };
        let body = encode(&Outgoing { jsonrpc: "2.0", id: Some(id), method: call.method, params })?;
        Ok((headers, body))
    }

    async fn post(&self, mut headers: HeaderMap, body: Bytes) -> Result<reqwest::Response, LinkError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.connector.send(Method::POST, &self.address, &self.credentials, headers, body).await
    }

    async fn attempt<P: Serialize, T: DeserializeOwned>(
        &self,
        generation: &Generation,
        call: &Call<'_, P>,
        options: &CallOptions,
    ) -> Result<T, Failure> {
        let id = self.connector.next_id();
        let (headers, body) = self.message(generation, call, id, options.progress.is_some())?;
        // With a session the server works on after the connection is gone, unless it is told.
        let mut notice = match generation {
            Generation::Stateless => None,
            Generation::Session(session) => Some(CancelNotice {
                link: Weak::clone(&self.itself),
                session: Arc::clone(session),
                id,
                is_due: true,
            }),
        };
        let response = self.post(headers, body).await?;
        let result = if response.status().is_success() {
            match read_answer(response, id, options.limit_bytes, options.progress.as_ref()).await {
                Ok(value) => Ok(value),
                Err(Failed::Rpc(error))
                    if error.code == UNSUPPORTED_VERSION && matches!(generation, Generation::Stateless) =>
                {
                    Err(Failure::Generation(error.into()))
                }
                Err(error) => Err(Failure::Link(error.into())),
            }
        } else {
            Err(judge(generation, response).await)
        };
        if let Some(notice) = &mut notice {
            notice.is_due = false;
        }
        result
    }

    /// Opens the stream of changes, in the generation that reaches the server.
    pub(super) async fn open_changes(&self) -> Result<reqwest::Response, LinkError> {
        let mut changes_left = 2;
        loop {
            let generation = self.generation();
            let response = match &generation {
                Generation::Stateless => {
                    let wanted = rpc::Wanted {
                        tools_list_changed: true,
                        prompts_list_changed: true,
                        resources_list_changed: true,
                    };
                    let params = rpc::Listen { notifications: wanted };
                    let call = Call { method: "subscriptions/listen", name: None, params: &params };
                    let (headers, body) =
                        self.message(&generation, &call, self.connector.next_id(), false)?;
                    self.post(headers, body).await?
                }
                Generation::Session(session) => {
                    let mut headers = session_headers(session);
                    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
                    self.connector
                        .send(Method::GET, &self.address, &self.credentials, headers, Bytes::new())
                        .await?
                }
            };
            if response.status().is_success() && media_type(&response) == "text/event-stream" {
                return Ok(response);
            }
            match judge(&generation, response).await {
                Failure::Generation(original) if changes_left > 0 => {
                    changes_left -= 1;
                    self.change_generation(&generation, original).await?;
                }
                Failure::Link(error) | Failure::Generation(error) => return Err(error),
            }
        }
    }
}

/// What an answer that is not a success means for the generation.
async fn judge(generation: &Generation, response: reqwest::Response) -> Failure {
    let status = response.status();
    let refusal = read_refusal(response).await;
    let is_wrong = match (generation, &refusal) {
        (Generation::Stateless, Refusal::Rpc(error)) => {
            error.code == UNSUPPORTED_VERSION
                || (status.is_client_error()
                    && error.code != METHOD_NOT_FOUND
                    && !STATELESS_ERRORS.contains(&error.code))
        }
        // An old server that does not know what this is. Overload, size and time say nothing of that.
        (Generation::Stateless, Refusal::Other(LinkError::Http { .. })) => {
            status.is_client_error()
                && !matches!(
                    status,
                    StatusCode::REQUEST_TIMEOUT
                        | StatusCode::PAYLOAD_TOO_LARGE
                        | StatusCode::TOO_MANY_REQUESTS
                )
        }
        (Generation::Session(session), _) => {
            session.id.is_some() && matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
        }
        (Generation::Stateless, Refusal::Other(_)) => false,
    };
    let error = refusal.into();
    if is_wrong { Failure::Generation(error) } else { Failure::Link(error) }
}

fn encode<P: Serialize>(message: &Outgoing<'_, P>) -> Result<Bytes, LinkError> {
    serde_json::to_vec(message).map(Bytes::from).map_err(|_| LinkError::BadSchema)
}

fn stateless_headers(method: &str, name: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(VERSION, HeaderValue::from_static(STATELESS));
    if let Ok(value) = HeaderValue::try_from(method) {
        headers.insert(METHOD, value);
    }
    if let Some(value) = name.and_then(|name| HeaderValue::try_from(header_text(name)).ok()) {
        headers.insert(NAME, value);
    }
    headers
}

fn session_headers(session: &Session) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(VERSION, session.version.clone());
    if let Some(id) = &session.id {
        headers.insert(SESSION, id.clone());
    }
    headers
}

/// A name as a header value: as it is, or in base64 when it would not survive the journey.
fn header_text(name: &str) -> String {
    use base64::Engine as _;
    let is_plain = name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && name.trim_matches([' ', '\t']) == name
        && !name.starts_with("=?base64?");
    if is_plain {
        name.to_owned()
    } else {
        format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(name))
    }
}

/// Tells the server that a call is not wanted any more, when its future is dropped.
struct CancelNotice {
    link: Weak<DirectLink>,
    session: Arc<Session>,
    id: u64,
    is_due: bool,
}

impl Drop for CancelNotice {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let (Some(link), Ok(runtime)) = (self.link.upgrade(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (session, id) = (Arc::clone(&self.session), self.id);
        runtime.spawn(async move {
            let params = Cancelled { request_id: id, reason: "the caller gave up" };
            // Nobody waits for it, and a server that misses it only works in vain.
            let _ = timeout(COURTESY_TIME, link.notify(&session, "notifications/cancelled", params)).await;
        });
    }
}

impl Asks for DirectLink {
    async fn ask<P: Serialize + Send + Sync, T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        name: Option<&str>,
        params: P,
        options: &CallOptions,
    ) -> Result<T, LinkError> {
        let call = Call { method, name, params: &params };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(LinkError::Cancelled),
            result = timeout_at(options.deadline, self.attempts(&call, options)) => {
                result.unwrap_or(Err(LinkError::Timeout))
            }
        }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        let sender = self.changes.get_or_init(|| {
            let (sender, _) = watch::channel(0);
            super::changes::watch_in_background(
                Weak::clone(&self.itself),
                self.closed.clone(),
                sender.clone(),
            );
            sender
        });
        sender.subscribe()
    }

    async fn end(&self) {
        self.closed.cancel();
        if let Generation::Session(session) = self.generation()
            && session.id.is_some()
        {
            let headers = session_headers(&session);
            let end =
                self.connector.send(Method::DELETE, &self.address, &self.credentials, headers, Bytes::new());
            // The server forgets an idle session by itself.
            let _ = timeout(COURTESY_TIME, end).await;
        }
    }
}

impl Drop for DirectLink {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_travel_in_headers() {
        assert_eq!(header_text("ask_secretary"), "ask_secretary");
        assert_eq!(header_text("parley://jobs/1"), "parley://jobs/1");
        assert_eq!(header_text("é"), "=?base64?w6k=?=");
        assert!(header_text(" a").starts_with("=?base64?"));
        assert!(header_text("=?base64?x?=").starts_with("=?base64?"));
        assert!(header_text("a\nb").starts_with("=?base64?"));
    }
}
