//! Belonging to a hub: the join with its proofs, signs of life, joining again when the hub has
//! forgotten us or was away, the link over which the hub calls, leaving in order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::clock::Clock;
use protocol::error::ErrorCode;
use protocol::join::{
    Heartbeat, HeartbeatAccepted, JoinAccepted, JoinChallenge, JoinFinish, JoinKey, JoinStart, Registration,
    worker_transcript,
};
use protocol::signature::{HEADER_SIGNATURE, HUB_SENDER, RequestParts, SigningKey};
use protocol::units::Seconds;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::admission::{Admission, Incoming, Rejection};
use transport::connect::{BadUrl, Connector, Credentials, Target};
use transport::host::Host;
use transport::http::{Bounds, HttpClient};
use transport::link::LinkError;
use transport::nonces::NonceStore;
use transport::reverse::Pace;
use transport::reverse::dial::{DialError, Dialled, dial};
use transport::sender::Sender;
use transport::signed::{Signer, verify_signed};

use crate::worker::Worker;

/// How long one message of a join may take.
const MESSAGE_TIME: Duration = Duration::from_secs(5);
/// Answers of the hub to joins and heartbeats are small.
const ANSWER_LIMIT: usize = 64 * 1024;
/// The first pause before a link is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why a worker cannot join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The hub does not answer.
    #[error("the hub at {url} cannot be reached: {source}")]
    Unreachable {
        /// Its URL.
        url: String,
        /// What happened.
        source: LinkError,
    },
    /// The hub refuses.
    #[error("the hub refuses: {message}")]
    Refused {
        /// The hub's code, if it gave one.
        code: Option<ErrorCode>,
        /// The hub's words.
        message: String,
    },
    /// The hub does not know the join secret.
    #[error("the hub does not know the join secret; is it the right one? Nothing about this worker was sent")]
    WrongSecret,
    /// The hub is another one than before.
    #[error("the hub has another key than before; nothing about this worker was sent")]
    OtherHub,
    /// A URL cannot be called.
    #[error(transparent)]
    Url(#[from] BadUrl),
}

/// A worker's membership.
pub struct Membership {
    worker: Worker,
    hub_url: String,
    connector: Arc<Connector>,
    key: Arc<SigningKey>,
    join_key: JoinKey,
    registration: Registration,
    hub_key: Arc<OnceLock<String>>,
    draining: watch::Sender<bool>,
    /// Counts joins: after each of them the hub may take the link that it refused before.
    joins: watch::Sender<u64>,
    leaving: CancellationToken,
}

impl Membership {
    /// A membership that is not joined yet. `own_url` is where the hub reaches the worker, unless it is
    /// reached over its link only.
    #[must_use]
    pub fn new(
        worker: Worker,
        connector: Arc<Connector>,
        hub_url: &str,
        secret: &str,
        own_url: Option<&str>,
        key: Arc<SigningKey>,
        boot_id: String,
    ) -> Self {
        let registration = Registration {
            worker_id: worker.id().clone(),
            url: own_url.map(str::to_owned),
            labels: worker.labels().clone(),
            manifest: worker.site().manifest(),
            boot_id,
        };
        let hub_url = hub_url.trim_end_matches('/').trim_end_matches("/mcp").to_owned();
        Self {
            worker,
            hub_url,
            connector,
            key,
            join_key: JoinKey::derive(secret),
            registration,
            hub_key: Arc::default(),
            draining: watch::Sender::new(false),
            joins: watch::Sender::new(0),
            leaving: CancellationToken::new(),
        }
    }

    /// The hub's public key, once the hub has proved itself.
    #[must_use]
    pub fn hub_key(&self) -> Option<&str> {
        self.hub_key.get().map(String::as_str)
    }

    /// Pins the key of a hub that was joined in an earlier life: any other is refused before the worker
    /// says anything about itself.
    pub fn expect_hub(&self, key: String) {
        let _ = self.hub_key.set(key);
    }

    /// Takes no more work, or takes work again; the hub hears of it at once. What runs goes on.
    pub fn drain(&self, draining: bool) {
        self.draining.send_replace(draining);
    }

    /// Who may call the worker: its hub, by signature, and on this machine anybody, who then can only
    /// look.
    #[must_use]
    pub fn admission(&self, clock: Arc<dyn Clock>) -> Arc<dyn Admission> {
        Arc::new(HubOrLocal {
            audience: self.worker.id().to_string(),
            hub_key: self.hub_key.clone(),
            nonces: NonceStore::new(clock.now()),
            clock,
        })
    }

    /// Joins once.
    pub async fn join(&self) -> Result<JoinAccepted, JoinError> {
        let client = self.connector.http(Target::new(self.hub_url.clone(), Credentials::Anonymous))?;
        let mut nonce = [0_u8; 32];
        // Without randomness the hub's challenge alone keeps the exchange fresh.
        let _ = SystemRandom::new().fill(&mut nonce);
        let start = JoinStart {
            worker_key: self.key.public().to_owned(),
            worker_nonce: URL_SAFE_NO_PAD.encode(nonce),
        };
        let challenge: JoinChallenge = self.say(&client, "/v1/join/start", &start).await?;
        if !self.join_key.hub_proof_holds(&start, &challenge) {
            return Err(JoinError::WrongSecret);
        }
        if self.hub_key().is_some_and(|known| known != challenge.hub_key) {
            return Err(JoinError::OtherHub);
        }
        let registration = serde_json::to_string(&self.registration).map_err(|_| JoinError::Refused {
            code: None,
            message: "the manifest cannot be written as JSON".to_owned(),
        })?;
        let transcript = worker_transcript(
            &start,
            &challenge.challenge_id,
            &challenge.hub_nonce,
            &challenge.hub_key,
            &registration,
        );
        let finish = JoinFinish {
            challenge_id: challenge.challenge_id,
            proof: self.join_key.worker_proof(&transcript),
            signature: self.key.sign(&transcript),
            registration,
        };
        // The hub may call back before its answer arrives, so its key has to be known by then.
        let _ = self.hub_key.set(challenge.hub_key);
        let accepted: JoinAccepted = self.say(&client, "/v1/join/finish", &finish).await?;
        self.worker.set_hub(client.with_credentials(Credentials::Signed(Signer {
            key: self.key.clone(),
            sender: self.worker.id().to_string(),
            audience: HUB_SENDER.to_owned(),
        })));
        self.joins.send_modify(|count| *count = count.wrapping_add(1));
        Ok(accepted)
    }

    /// Joins, trying again while the hub cannot be reached, until the deadline.
    pub async fn join_until(&self, deadline: Instant) -> Result<JoinAccepted, JoinError> {
        let mut pause = Duration::from_millis(200);
        loop {
            match self.join().await {
                Err(error @ JoinError::Unreachable { .. }) => {
                    if Instant::now() + pause >= deadline {
                        return Err(error);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.worker.stopping().cancelled() => return Err(error),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Sends signs of life until the worker stops. A hub that has forgotten the worker is joined again;
    /// a hub that is away is tried with growing pauses.
    pub async fn keep(&self, accepted: &JoinAccepted) {
        let every = Duration::from_secs_f64(accepted.heartbeat_seconds.get().clamp(0.1, 3600.0));
        let mut pause = every;
        let mut drained = self.draining.subscribe();
        if *drained.borrow() {
            // Drained before there was anybody to tell.
            drained.mark_changed();
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.earlier(pause, 0.1)) => {}
                // The sender lives as long as this membership.
                _ = drained.changed() => {}
                () = self.worker.stopping().cancelled() => return,
            }
            pause = match self.beat().await {
                Ok(()) => every,
                Err(LinkError::Worker { .. } | LinkError::Unauthorized { .. } | LinkError::Http { .. }) => {
                    match self.join().await {
                        Ok(_) => {
                            tracing::info!(worker = %self.worker.id(), "joined again");
                            every
                        }
                        Err(error) => {
                            tracing::warn!(worker = %self.worker.id(), %error, "cannot join again yet");
                            (pause * 2).min(LONGEST_PAUSE.max(every))
                        }
                    }
                }
                // A hub that restarts is back within moments; do not wait for a whole beat.
                Err(_) => (pause / 2).max(Duration::from_millis(500)).min(every),
            };
        }
    }

    /// Keeps a link open over which the hub calls this worker, answered from a host, until the worker
    /// leaves or stops.
    pub fn start_link(self: Arc<Self>, host: Arc<dyn Host>, accepted: JoinAccepted) {
        let tasks = self.worker.tasks().clone();
        tasks.spawn(async move { self.keep_link(host, &accepted).await });
    }

    /// A link that breaks is opened again, with growing pauses while that does not help.
    async fn keep_link(&self, host: Arc<dyn Host>, accepted: &JoinAccepted) {
        let seconds = |seconds: Seconds| Duration::from_secs_f64(seconds.get().clamp(0.1, 3600.0));
        let pace =
            Pace { ping: seconds(accepted.heartbeat_seconds), silence: seconds(accepted.lease_seconds) };
        let (mut joins, mut pause) = (self.joins.subscribe(), FIRST_PAUSE);
        while !self.leaving.is_cancelled() && !self.worker.stopping().is_cancelled() {
            joins.mark_unchanged();
            let begun = Instant::now();
            match self.open_link(pace).await {
                Ok(link) => {
                    let end = link.serve(host.clone(), self.worker.stopping()).await;
                    tracing::debug!(worker = %self.worker.id(), %end, "the link ended");
                    // A hub that ends links at once must not be asked for the next one all the time.
                    if begun.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(DialError::Link(
                    error @ (LinkError::Refused | LinkError::ClosedEarly | LinkError::Timeout),
                )) => {
                    tracing::debug!(worker = %self.worker.id(), %error, "no link yet");
                }
                // Once, and not with every try.
                Err(error) if pause == FIRST_PAUSE => {
                    tracing::warn!(worker = %self.worker.id(), %error, "the hub gives no link");
                }
                Err(error) => tracing::debug!(worker = %self.worker.id(), %error, "no link yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.earlier(pause, 0.5)) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                // The sender lives as long as this membership.
                _ = joins.changed() => pause = FIRST_PAUSE,
                () = self.leaving.cancelled() => {}
                () = self.worker.stopping().cancelled() => {}
            }
        }
    }

    async fn open_link(&self, pace: Pace) -> Result<Dialled, DialError> {
        let (Some(hub), Some(hub_key)) = (self.worker.hub(), self.hub_key()) else {
            return Err(LinkError::Refused.into());
        };
        dial(hub, hub_key, &self.registration.boot_id, pace, Instant::now() + MESSAGE_TIME).await
    }

    /// Up to a share earlier, so that a thousand workers do not do the same at once.
    fn earlier(&self, pause: Duration, share: f64) -> Duration {
        let mut byte = [0_u8; 1];
        let _ = SystemRandom::new().fill(&mut byte);
        pause.mul_f64(1.0 - share * f64::from(byte[0]) / 255.0)
    }

    async fn beat(&self) -> Result<(), LinkError> {
        let Some(hub) = self.worker.hub() else { return Ok(()) };
        let beat = Heartbeat {
            boot_id: self.registration.boot_id.clone(),
            draining: *self.draining.borrow(),
            attempts: self.worker.open_attempts(),
        };
        let bounds = Bounds::new(Instant::now() + MESSAGE_TIME, ANSWER_LIMIT);
        let _: HeartbeatAccepted = hub.post_json("/v1/heartbeat", &beat, bounds).await?;
        Ok(())
    }

    /// Leaves in order; a hub that is away notices by itself. The hub closes the link, and it is not opened
    /// again.
    pub async fn leave(&self) {
        self.leaving.cancel();
        if let Some(hub) = self.worker.hub() {
            let bounds = Bounds::new(Instant::now() + Duration::from_secs(2), ANSWER_LIMIT);
            let left: Result<serde_json::Value, LinkError> =
                hub.post_json("/v1/leave", &serde_json::json!({}), bounds).await;
            if let Err(error) = left {
                tracing::debug!(%error, "the hub could not be told that this worker leaves");
            }
        }
    }

    async fn say<B: serde::Serialize + Sync, T: serde::de::DeserializeOwned>(
        &self,
        client: &HttpClient,
        path: &str,
        body: &B,
    ) -> Result<T, JoinError> {
        let bounds = Bounds::new(Instant::now() + MESSAGE_TIME, ANSWER_LIMIT);
        client.post_json(path, body, bounds).await.map_err(|source| match source {
            LinkError::Worker { code, message, .. } => JoinError::Refused { code, message },
            LinkError::Unauthorized { .. } => JoinError::Refused {
                code: Some(ErrorCode::Auth),
                message: "authentication failed; is the join secret the hub's?".to_owned(),
            },
            source => JoinError::Unreachable { url: self.hub_url.clone(), source },
        })
    }
}

struct HubOrLocal {
    audience: String,
    hub_key: Arc<OnceLock<String>>,
    nonces: NonceStore,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Admission for HubOrLocal {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let sender = if incoming.headers.contains_key(HEADER_SIGNATURE) {
            let parts = RequestParts {
                method: incoming.method.as_str(),
                path: incoming.target,
                body: incoming.body,
                audience: &self.audience,
            };
            let key = |sender: &str| self.hub_key.get().filter(|_| sender == HUB_SENDER).cloned();
            let sender = verify_signed(incoming.headers, parts, key, self.clock.now(), &self.nonces)?;
            Sender::signed(sender)
        } else {
            Sender::anonymous()
        };
        let sender = sender.from_peer(incoming.peer);
        if sender.signer().is_some() || sender.is_local() {
            Ok(sender)
        } else {
            Err(Rejection::unauthenticated())
        }
    }
}
