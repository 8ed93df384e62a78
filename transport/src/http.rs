//! Plain HTTP routes: JSON in and out, and files as streams, with the same credentials, bounds and errors
//! as links.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::connect::exchange::{classify, read_bounded, read_refusal};
use crate::connect::{Address, BadUrl, Connector, Credentials};
use crate::link::LinkError;

/// A client for the plain routes of one server. Cheap to clone. Paths are relative to the target's URL and
/// may carry a query.
#[derive(Debug, Clone)]
pub struct HttpClient {
    connector: Arc<Connector>,
    base: Address,
    credentials: Credentials,
}

/// How far a request may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The answer must be complete by then.
    pub deadline: Instant,
    /// More bytes than this are not read.
    pub limit_bytes: usize,
}

impl Bounds {
    /// A deadline and a limit.
    #[must_use]
    pub const fn new(deadline: Instant, limit_bytes: usize) -> Self {
        Self { deadline, limit_bytes }
    }
}

/// A file on its way.
pub struct Download {
    /// Its size, if the server says.
    pub length: Option<u64>,
    /// Its media type.
    pub media_type: String,
    response: reqwest::Response,
    left: u64,
    limit: usize,
    deadline: Instant,
}

impl Download {
    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, LinkError> {
        let chunk = timeout_at(self.deadline, self.response.chunk()).await.map_err(|_| LinkError::Timeout)?;
        let Some(chunk) = chunk.map_err(|error| classify(&error))? else {
            return Ok(None);
        };
        self.left =
            self.left.checked_sub(chunk.len() as u64).ok_or(LinkError::TooLarge { limit: self.limit })?;
        Ok(Some(chunk))
    }

    /// All of it as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, LinkError>> + Send {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.chunk().await?.map(|chunk| (chunk, download)))
        })
    }
}

impl HttpClient {
    pub(crate) fn new(connector: Arc<Connector>, base: Address, credentials: Credentials) -> Self {
        Self { connector, base, credentials }
    }

    /// The same server with other credentials, as after a join.
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// Asks for JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str, bounds: Bounds) -> Result<T, LinkError> {
        self.json(Method::GET, path, Bytes::new(), bounds).await
    }

    /// Sends JSON and reads JSON. An answer without a body reads as `null`.
    pub async fn post_json<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        bounds: Bounds,
    ) -> Result<T, LinkError> {
        let body = serde_json::to_vec(body).map_err(|_| LinkError::BadSchema)?;
        self.json(Method::POST, path, body.into(), bounds).await
    }

    /// Deletes, and reads JSON.
    pub async fn delete_json<T: DeserializeOwned>(&self, path: &str, bounds: Bounds) -> Result<T, LinkError> {
        self.json(Method::DELETE, path, Bytes::new(), bounds).await
    }

    /// Sends a file of known size as it is read. A signature covers the path but not the bytes, so the path
    /// must name their digest and the server must check it.
    pub async fn put_stream<T, S>(
        &self,
        path: &str,
        length: u64,
        bytes: S,
        bounds: Bounds,
    ) -> Result<T, LinkError>
    where
        T: DeserializeOwned,
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let address = self.below(path)?;
        let mut headers = accept_json();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let mut request = self.connector.request(Method::PUT, &address, &self.credentials, headers, b"");
        *request.body_mut() = Some(reqwest::Body::wrap_stream(bytes.boxed()));
        let exchange = async { read_json(self.connector.execute(request).await?, bounds.limit_bytes).await };
        timeout_at(bounds.deadline, exchange).await.unwrap_or(Err(LinkError::Timeout))
    }

    /// Fetches a file. The deadline is for all of it.
    pub async fn get_stream(&self, path: &str, bounds: Bounds) -> Result<Download, LinkError> {
        let address = self.below(path)?;
        let send =
            self.connector.send(Method::GET, &address, &self.credentials, HeaderMap::new(), Bytes::new());
        let response = timeout_at(bounds.deadline, send).await.unwrap_or(Err(LinkError::Timeout))?;
        if !response.status().is_success() {
            let refusal = timeout_at(bounds.deadline, read_refusal(response)).await;
            return Err(refusal.map_or(LinkError::Timeout, LinkError::from));
        }
        let length = response.content_length();
        if length.is_some_and(|length| length > bounds.limit_bytes as u64) {
            return Err(LinkError::TooLarge { limit: bounds.limit_bytes });
        }
        Ok(Download {
            length,
            media_type: crate::connect::exchange::media_type(&response).to_owned(),
            response,
            left: bounds.limit_bytes as u64,
            limit: bounds.limit_bytes,
            deadline: bounds.deadline,
        })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<T, LinkError> {
        let address = self.below(path)?;
        let mut headers = accept_json();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let exchange = async {
            let response = self.connector.send(method, &address, &self.credentials, headers, body).await?;
            read_json(response, bounds.limit_bytes).await
        };
        timeout_at(bounds.deadline, exchange).await.unwrap_or(Err(LinkError::Timeout))
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn below(&self, path: &str) -> Result<Address, LinkError> {
        self.base.below(path).map_err(|error: BadUrl| {
            tracing::error!(%error, "a path of ours cannot be called");
            LinkError::Cancelled
        })
    }
}

fn accept_json() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
    headers
}

async fn read_json<T: DeserializeOwned>(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<T, LinkError> {
    if !response.status().is_success() {
        return Err(read_refusal(response).await.into());
    }
    let body = read_bounded(&mut response, limit).await?;
    let text: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(text).map_err(|error| crate::connect::json_error(&error))
}
