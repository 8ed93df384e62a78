//! A worker of a hub: joining with patience, signs of life, leaving in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::clock::Clock;
use protocol::join::JoinAccepted;
use protocol::signature::SigningKey;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use transport::admission::Admission;
use transport::connect::Connector;
use transport::host::Host;
use transport::serve::Mount;
use worker::{JoinError, Membership, Worker, WorkerHost};

/// Where a worker joins and where it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The hub.
    pub hub_url: &'a str,
    /// Its join secret.
    pub secret: &'a str,
    /// The worker's MCP endpoint; none when nobody but its link reaches it.
    pub own_url: Option<&'a str>,
}

/// A worker and its membership.
pub struct Member {
    /// The worker.
    pub worker: Worker,
    /// Its MCP face, and who may call it.
    pub mount: Mount,
    membership: Arc<Membership>,
    links: bool,
    beats: Mutex<Option<JoinHandle<()>>>,
}

/// The hub's URL as it is shown and remembered, without the path of its MCP endpoint.
#[must_use]
pub fn hub_root(url: &str) -> &str {
    url.trim_end_matches('/').trim_end_matches("/mcp").trim_end_matches('/')
}

impl Member {
    /// A member that has not joined yet. `boot_id` tells this start of the worker from others.
    pub fn new(
        worker: Worker,
        connector: Arc<Connector>,
        way: Way<'_>,
        key: SigningKey,
        boot_id: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let membership = Arc::new(Membership::new(
            worker.clone(),
            connector,
            hub_root(way.hub_url),
            way.secret,
            way.own_url,
            Arc::new(key),
            boot_id,
        ));
        let host: Arc<dyn Host> = Arc::new(WorkerHost::new(worker.clone()));
        let admission: Arc<dyn Admission> = membership.admission(clock);
        Self { worker, mount: Mount { host, admission }, membership, links: true, beats: Mutex::default() }
    }

    /// The same without a link, so that the hub calls the worker's URL.
    pub fn without_link(mut self) -> Self {
        self.links = false;
        self
    }

    /// Joins. A hub that is away or busy is tried again until the patience ends.
    pub async fn join(&self, patience: Duration) -> Result<JoinAccepted, JoinError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.membership.join_until(deadline).await {
                Err(JoinError::Refused { code: Some(code), message }) if code.is_retryable() => {
                    let pause = Duration::from_millis(500);
                    if Instant::now() + pause >= deadline {
                        return Err(JoinError::Refused { code: Some(code), message });
                    }
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// Pins the key of a hub that was joined before.
    pub fn expect_hub(&self, key: String) {
        self.membership.expect_hub(key);
    }

    /// The public key of the hub that was joined.
    #[must_use]
    pub fn hub_key(&self) -> Option<&str> {
        self.membership.hub_key()
    }

    /// Takes up earlier work, opens the link, and sends signs of life, the first of them after `delay` and a
    /// heartbeat's time.
    pub fn keep(&self, accepted: JoinAccepted, delay: Duration) {
        self.worker.resume();
        if self.links {
            self.membership.clone().start_link(self.mount.host.clone(), accepted.clone());
        }
        let membership = self.membership.clone();
        let beats = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            membership.keep(&accepted).await;
        });
        let before = self.beats.lock().unwrap_or_else(PoisonError::into_inner).replace(beats);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Takes no more work, or takes work again.
    pub fn drain(&self, draining: bool) {
        self.membership.drain(draining);
    }

    /// Leaves the hub, if it was joined, then stops. Work at a real workload manager goes on.
    pub async fn leave(&self) {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(beats) = beats {
            // A beat after the leave would join again.
            beats.abort();
        }
        self.membership.leave().await;
        self.worker.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_has_one_root() {
        for url in ["http://h:1", "http://h:1/", "http://h:1/mcp", "http://h:1/mcp/"] {
            assert_eq!(hub_root(url), "http://h:1");
        }
    }
}
