//! Progress of a call: reported by a host, received by a caller.

use std::fmt;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::Peer;
use tokio::sync::mpsc;

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgressUpdate {
    /// How far; grows with each report.
    pub progress: f64,
    /// How far it will go, if known.
    pub total: Option<f64>,
    /// What is happening, for people.
    pub message: Option<String>,
}

/// Where a host reports the progress of one call. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Destination);

#[derive(Clone)]
enum Destination {
    Nowhere,
    Peer(Box<(Peer<RoleServer>, ProgressToken)>),
    Channel(mpsc::Sender<ProgressUpdate>),
    Messages(mpsc::Sender<Vec<u8>>, serde_json::Value),
}

impl Progress {
    /// Reports vanish.
    #[must_use]
    pub fn none() -> Self {
        Self(Destination::Nowhere)
    }

    /// Reports go into a channel; those that find it full are dropped.
    #[must_use]
    pub fn channel(updates: mpsc::Sender<ProgressUpdate>) -> Self {
        Self(Destination::Channel(updates))
    }

    pub(crate) fn peer(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self(Destination::Peer(Box::new((peer, token))))
    }

    /// Reports become messages of MCP in a queue.
    pub(crate) fn messages(queue: mpsc::Sender<Vec<u8>>, token: serde_json::Value) -> Self {
        Self(Destination::Messages(queue, token))
    }

    /// Whether anybody listens, so that costly reports can be left out.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !matches!(self.0, Destination::Nowhere)
    }

    /// Reports; a caller that has left is no error.
    pub async fn report(&self, progress: f64, total: Option<f64>, message: Option<String>) {
        match &self.0 {
            Destination::Nowhere => {}
            Destination::Channel(updates) => {
                let _ = updates.try_send(ProgressUpdate { progress, total, message });
            }
            Destination::Peer(destination) => {
                let (peer, token) = destination.as_ref();
                let mut update = ProgressNotificationParam::new(token.clone(), progress);
                update.total = total;
                update.message = message;
                let _ = peer.notify_progress(update).await;
            }
            Destination::Messages(queue, token) => {
                let mut params = serde_json::json!({"progressToken": token, "progress": progress});
                if let Some(total) = total {
                    params["total"] = total.into();
                }
                if let Some(message) = message {
                    params["message"] = message.into();
                }
                let message = serde_json::json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": params});
                let _ = queue.send(message.to_string().into_bytes()).await;
            }
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress(wanted: {})", self.is_wanted())
    }
}
