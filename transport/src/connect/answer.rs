//! Reading the answer to one request, whether it comes alone or at the end of a stream.

use http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::events::EventReader;
use super::exchange::{classify, media_type, read_bounded};
use super::rpc::{self, Incoming, ProgressParams, RpcError};
use crate::link::LinkError;
use crate::progress::ProgressUpdate;

/// Why an answer with HTTP success is none.
pub(crate) enum Failed {
    Rpc(RpcError),
    Link(LinkError),
}

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Failed> for LinkError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Rpc(error) => error.into(),
            Failed::Link(error) => error,
        }
    }
}

/// Reads the answer to a request, whether it comes alone or at the end of a stream.
pub(super) async fn read_answer<T: DeserializeOwned>(
    mut response: reqwest::Response,
    id: u64,
    limit: usize,
    progress: Option<&mpsc::Sender<ProgressUpdate>>,
) -> Result<T, Failed> {
    match media_type(&response) {
        "application/json" => {
            let body = read_bounded(&mut response, limit).await?;
            take_result(rpc::read(&body)?, id)
        }
        "text/event-stream" => {
            let mut reader = EventReader::new(limit);
            while let Some(chunk) = response.chunk().await.map_err(|error| Failed::Link(classify(&error)))? {
                for event in reader.push(&chunk)? {
                    // The event that only names the stream has no data.
                    if event.is_empty() {
                        continue;
                    }
                    let message = rpc::read::<T>(&event)?;
                    if message.method.is_none() {
                        return take_result(message, id);
                    }
                    if let Some(updates) = progress
                        && let Some(update) = progress_of(&message, id)
                    {
                        // A caller that does not keep up misses reports, never the answer.
                        let _ = updates.try_send(update);
                    }
                }
            }
            Err(LinkError::ClosedEarly.into())
        }
        "" if response.status() != StatusCode::OK => {
            Err(LinkError::Http { status: response.status().as_u16() }.into())
        }
        _ => Err(LinkError::BadJson.into()),
    }
}

/// The result of an answer, if it is the answer to the request with this id.
pub(crate) fn take_result<T>(message: Incoming<'_, T>, id: u64) -> Result<T, Failed> {
    if let Some(error) = message.error {
        // An error before the id could be read has none.
        return if message.id.is_none_or(|answered| answered.is_null() || answered == id) {
            Err(Failed::Rpc(error))
        } else {
            Err(LinkError::BadSchema.into())
        };
    }
    match message.result {
        Some(result) if message.id.is_some_and(|answered| answered == id) => Ok(result),
        _ => Err(LinkError::BadSchema.into()),
    }
}

/// The progress of the request with this id, if a message reports it.
pub(crate) fn progress_of<T>(message: &Incoming<'_, T>, id: u64) -> Option<ProgressUpdate> {
    if message.method.as_deref() != Some("notifications/progress") {
        return None;
    }
    let params: ProgressParams = serde::Deserialize::deserialize(message.params.as_ref()?).ok()?;
    (params.progress_token == id).then_some(ProgressUpdate {
        progress: params.progress,
        total: params.total,
        message: params.message,
    })
}
