//! The hub as a whole: what it is made of, how it starts from its store, and the loops that run beside
//! the requests. Everything that a loop does can be done twice without harm.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use intake::Vocabulary;
use protocol::clock::Clock;
use protocol::error::ErrorBody;
use protocol::evaluation::AuditMode;
use protocol::event::{Event, StoredEvent};
use protocol::fleet::WorkerState;
use protocol::ids::{JobId, PrincipalId};
use protocol::signature::SigningKey;
use protocol::units::{Seconds, Timestamp};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transport::connect::{Connector, ConnectorError};
use transport::nonces::NonceStore;

use crate::entropy::Entropy;
use crate::files::Files;
use crate::fleet::{Fleet, Lease, Member, Particulars};
use crate::join::Joins;
use crate::names::{Catalogue, ToolNames};
use crate::store::{Store, StoreError};
use crate::taken::Taken;

/// Simulated sites move on once in this many seconds.
const TICK_SECONDS: i64 = 60;

/// What a hub is started with.
pub struct HubConfig {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The join secret.
    pub secret: String,
    /// The static client token; without one everybody who reaches the hub is its local user.
    pub token: Option<String>,
    /// Calls in flight at once over the whole hub.
    pub batch: usize,
    /// How workers' tools are named.
    pub tool_names: ToolNames,
    /// Whether predecessors may join with the secret in a header.
    pub legacy_join: bool,
    /// When false claims count.
    pub audit_mode: AuditMode,
    /// How long workers keep capacity for a proposal.
    pub hold: Seconds,
    /// How long signs of life last.
    pub lease: Lease,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where identifiers come from.
    pub entropy: Entropy,
}

/// Why a hub cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file beside it.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key that the hub signs with.
    #[error("the hub's key {0} is not valid; restore it, or remove it to make workers join anew")]
    Key(PathBuf),
    /// The outgoing connections.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// The hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    core: Arc<Core>,
}

struct Core {
    store: Store,
    files: Files,
    fleet: Fleet,
    joins: Joins,
    taken: Taken,
    connector: Arc<Connector>,
    key: Arc<SigningKey>,
    nonces: NonceStore,
    vocabulary: RwLock<Arc<Vocabulary>>,
    catalogue: Mutex<(u64, Arc<Catalogue>)>,
    job_changes: broadcast::Sender<JobId>,
    flights: Arc<tokio::sync::Semaphore>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    config: Settings,
}

/// The part of the configuration that is asked for while the hub runs.
struct Settings {
    token: Option<String>,
    tool_names: ToolNames,
    legacy_join: bool,
    audit_mode: AuditMode,
    hold: Seconds,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
}

impl Hub {
    /// Opens the store, brings back the fleet and the work in progress, and starts the loops.
    pub async fn start(config: HubConfig) -> Result<Self, StartError> {
        let store = Store::open(&config.data_dir)?;
        let files = Files::open(&config.data_dir)
            .map_err(|source| StartError::File { path: config.data_dir.clone(), source })?;
        let key = Arc::new(read_or_make_key(&config.data_dir.join("hub.key"))?);
        let connector = Connector::new("parley-hub", env!("CARGO_PKG_VERSION"), config.clock.clone())?;
        let hub = Self {
            core: Arc::new(Core {
                joins: Joins::new(&config.secret, key.public()),
                store,
                files,
                fleet: Fleet::new(config.lease),
                taken: Taken::default(),
                connector,
                key,
                nonces: NonceStore::new(config.clock.now()),
                vocabulary: RwLock::new(Arc::new(Vocabulary::shipped())),
                catalogue: Mutex::default(),
                job_changes: broadcast::channel(1024).0,
                flights: Arc::new(tokio::sync::Semaphore::new(config.batch.max(1))),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
                config: Settings {
                    token: config.token,
                    tool_names: config.tool_names,
                    legacy_join: config.legacy_join,
                    audit_mode: config.audit_mode,
                    hold: config.hold,
                    clock: config.clock,
                    entropy: config.entropy,
                },
            }),
        };
        hub.bring_back().await?;
        let watcher = hub.clone();
        hub.core.tasks.spawn(async move { watcher.watch().await });
        Ok(hub)
    }

    /// Brings back the fleet, what its work takes, and awards that were out.
    async fn bring_back(&self) -> Result<(), StoreError> {
        for row in self.core.store.workers().await? {
            let Some(particulars) = Particulars::from_event(row.joined) else { continue };
            self.core.fleet.remember_owner(&particulars.worker_id, particulars.key.clone());
            if row.present {
                self.learn_words(&particulars);
                let link = match self.link_to(&particulars) {
                    Ok(link) => link,
                    Err(error) => {
                        tracing::warn!(worker = %particulars.worker_id, %error, "left out of the fleet");
                        continue;
                    }
                };
                let member = self.core.fleet.insert(particulars, link, self.now(), false);
                self.refresh_tools(member);
            }
        }
        for job in self.core.store.open_jobs().await? {
            if let (Some(worker), Some(attempt)) = (&job.worker_id, job.attempts.last())
                && !attempt.state.is_terminal()
                && let Some(negotiation) = job.negotiation_id.clone()
                && let Some(negotiation) = self.core.store.negotiation(None, negotiation).await?
            {
                let allocation = self.allocation_of(worker, &negotiation.understanding.requirement);
                self.core.taken.award(worker, &attempt.proposal_id, allocation, attempt.offered_at);
            }
        }
        for id in self.core.store.unsettled().await? {
            let hub = self.clone();
            self.core.tasks.spawn(async move { hub.resume(id).await });
        }
        Ok(())
    }

    /// The loop that notices workers going silent and holds ending.
    async fn watch(&self) {
        let mut turn = tokio::time::interval(Duration::from_millis(500));
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut before = Vec::new();
        let mut legacy_turn = 0_u32;
        loop {
            tokio::select! {
                _ = turn.tick() => {}
                () = self.core.stopping.cancelled() => return,
            }
            self.core.taken.expire(self.now());
            self.core.store.flush().await;
            let members = self.core.fleet.members();
            let now: Vec<bool> =
                members.iter().map(|m| self.core.fleet.state(m) == WorkerState::Offline).collect();
            if now != before {
                self.core.fleet.announce();
                before = now;
            }
            // A predecessor's worker sends no heartbeats: the hub asks it instead.
            legacy_turn += 1;
            let every = self.core.fleet.lease().heartbeat.as_millis() / 500;
            if u128::from(legacy_turn) >= every.max(1) {
                legacy_turn = 0;
                for member in members.into_iter().filter(|member| member.particulars.key.is_none()) {
                    self.refresh_tools(member);
                }
            }
        }
    }

    /// Fetches a worker's tools in the background; an answer is a sign of life.
    pub(crate) fn refresh_tools(&self, member: Arc<Member>) {
        let hub = self.clone();
        self.core.tasks.spawn(async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
            let answer = tokio::select! {
                answer = member.link.tools(deadline) => answer,
                () = hub.core.stopping.cancelled() => return,
            };
            match answer {
                Ok(tools) => {
                    member.heard(hub.now(), None);
                    hub.core.fleet.set_tools(&member, tools);
                }
                Err(error) => {
                    tracing::debug!(worker = %member.particulars.worker_id, %error, "no tools");
                }
            }
        });
    }

    /// Stops taking work, ends the loops and closes the store.
    pub async fn stop(&self) {
        self.core.stopping.cancel();
        self.core.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.core.tasks.wait()).await;
        let members = self.core.fleet.members();
        // Together: each may take a moment to say goodbye.
        join_all(members.iter().map(|member| member.link.close())).await;
        self.core.store.close().await;
    }

    /// Stores events for an owner; the error is the one that a client sees.
    pub(crate) async fn append(
        &self,
        owner: &PrincipalId,
        events: Vec<Event>,
    ) -> Result<Vec<StoredEvent>, ErrorBody> {
        let stored = self.core.store.append(owner, self.now(), events).await;
        let stored = stored.map_err(|error| error.outward())?;
        self.tell(&stored);
        Ok(stored)
    }

    /// Tells those who wait for jobs.
    pub(crate) fn tell(&self, stored: &[StoredEvent]) {
        for event in stored {
            let job = match &event.event {
                Event::JobAccepted { job } => &job.job_id,
                Event::AwardOffered { job_id, .. }
                | Event::AwardsExhausted { job_id, .. }
                | Event::CancelRequested { job_id } => job_id,
                Event::AwardAnswered { receipt, .. } => &receipt.job_id,
                Event::AttemptReported { report, .. } => &report.job_id,
                _ => continue,
            };
            let _ = self.core.job_changes.send(job.clone());
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core.config.clock.now()
    }

    /// The tick that simulated sites are at.
    #[must_use]
    pub fn tick(&self) -> u64 {
        u64::try_from(self.now().as_millis() / 1000 / TICK_SECONDS).unwrap_or(0)
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.core.config.entropy
    }

    /// 128 random bits.
    pub(crate) fn draw(&self) -> u128 {
        self.entropy().draw()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// Artifacts and logs.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.core.files
    }

    /// The fleet.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.core.fleet
    }

    pub(crate) fn joins(&self) -> &Joins {
        &self.core.joins
    }

    pub(crate) fn taken(&self) -> &Taken {
        &self.core.taken
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.core.connector
    }

    pub(crate) fn nonces(&self) -> &NonceStore {
        &self.core.nonces
    }

    pub(crate) fn flights(&self) -> &Arc<tokio::sync::Semaphore> {
        &self.core.flights
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.core.tasks
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.core.config.token.as_deref()
    }

    pub(crate) fn legacy_join(&self) -> bool {
        self.core.config.legacy_join
    }

    pub(crate) fn audit_mode(&self) -> AuditMode {
        self.core.config.audit_mode
    }

    pub(crate) fn hold(&self) -> Seconds {
        self.core.config.hold
    }

    pub(crate) fn key(&self) -> &Arc<SigningKey> {
        &self.core.key
    }

    /// The hub's public key.
    #[must_use]
    pub fn public_key(&self) -> &str {
        self.core.key.public()
    }

    /// Whether the hub is ending.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.core.stopping.is_cancelled()
    }

    /// Tells which job has changed.
    pub(crate) fn job_changes(&self) -> broadcast::Receiver<JobId> {
        self.core.job_changes.subscribe()
    }

    /// The words that intake knows: the shipped ones and the fleet's software.
    pub(crate) fn vocabulary(&self) -> Arc<Vocabulary> {
        self.core.vocabulary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the software that a manifest names to the vocabulary.
    pub(crate) fn learn_words(&self, particulars: &Particulars) {
        let Some(providers) = particulars.manifest.providers.get("software") else { return };
        let names: Vec<&str> = providers
            .values()
            .filter_map(|metadata| metadata.get("packages")?.as_array())
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        if names.is_empty() {
            return;
        }
        let mut vocabulary = self.core.vocabulary.write().unwrap_or_else(PoisonError::into_inner);
        let words = Arc::make_mut(&mut vocabulary);
        for name in names {
            words.add_software(name);
        }
    }

    /// The workers' tools under their names at the hub, as the fleet is now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        let version = *self.core.fleet.changes().borrow();
        let mut cached = self.core.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != version {
            *cached = (version, Arc::new(Catalogue::of(&self.core.fleet, self.core.config.tool_names)));
        }
        cached.1.clone()
    }
}

fn read_or_make_key(path: &std::path::Path) -> Result<SigningKey, StartError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = |source| StartError::File { path: path.to_owned(), source };
    match std::fs::read(path) {
        Ok(bytes) => SigningKey::from_pkcs8(&bytes).map_err(|_| StartError::Key(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let random = ring::rand::SystemRandom::new();
            let (key, bytes) = SigningKey::generate(&random).map_err(|_| StartError::Key(path.to_owned()))?;
            let mut options = std::fs::OpenOptions::new();
            let mut made = options.write(true).create_new(true).mode(0o600).open(path).map_err(file)?;
            made.write_all(&bytes).and_then(|()| made.sync_all()).map_err(file)?;
            Ok(key)
        }
        Err(source) => Err(file(source)),
    }
}
