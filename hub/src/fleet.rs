//! The fleet: who has joined, how each is reached, whether it still gives signs of life.
//!
//! A worker is online while heartbeats arrive, suspect when two are late (no new work), and offline
//! when its lease has ended: then its tools are gone until it comes back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use archetypes::Site;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::fleet::{Manifest, WorkerState};
use protocol::ids::WorkerId;
use protocol::units::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use transport::connect::ways::Ways;
use transport::host::ToolDefinition;
use transport::link::Link;

/// How long signs of life last.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// How often a worker sends one.
    pub heartbeat: Duration,
    /// After this long without one the worker is offline.
    pub lease: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(10), lease: Duration::from_secs(30) }
    }
}

/// Everything that a worker said when it joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Particulars {
    /// Its name.
    pub worker_id: WorkerId,
    /// Its public key; none for a predecessor's worker.
    pub key: Option<String>,
    /// Where it is reached; none when it is reached over its link only.
    pub url: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its static facts.
    pub manifest: Arc<Manifest>,
    /// Its instance.
    pub boot_id: String,
}

impl Particulars {
    /// The event that stores them.
    #[must_use]
    pub fn joined(&self) -> Event {
        Event::WorkerJoined {
            worker_id: self.worker_id.clone(),
            key: self.key.clone(),
            url: self.url.clone(),
            labels: self.labels.clone(),
            manifest: Box::new((*self.manifest).clone()),
            boot_id: self.boot_id.clone(),
        }
    }

    /// The particulars that such an event holds.
    #[must_use]
    pub fn from_event(event: Event) -> Option<Self> {
        match event {
            Event::WorkerJoined { worker_id, key, url, labels, manifest, boot_id } => {
                Some(Self { worker_id, key, url, labels, manifest: Arc::new(*manifest), boot_id })
            }
            _ => None,
        }
    }

    /// Whether another instance, in another place than this one, may be meant.
    #[must_use]
    pub fn is_elsewhere(&self, other: &Self) -> bool {
        self.url != other.url || (self.url.is_none() && self.boot_id != other.boot_id)
    }

    /// How the worker joined.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        if self.key.is_some() { "signed" } else { "legacy" }
    }
}

/// One worker of the fleet.
pub struct Member {
    /// What it said when it joined.
    pub particulars: Particulars,
    /// The way to it.
    pub link: Arc<dyn Link>,
    /// The same, to put the connection into that the worker opens.
    pub ways: Arc<Ways>,
    /// The site that it stands for, when it is a mock whose truth the hub can regenerate.
    pub site: Option<Site>,
    vital: Mutex<Vital>,
}

struct Vital {
    /// `None` until the first sign of life after a restart of the hub.
    heard: Option<Instant>,
    known_since: Instant,
    last_seen: Timestamp,
    draining: bool,
    tools: Arc<Vec<Arc<ToolDefinition>>>,
}

impl Member {
    fn vital<T>(&self, read: impl FnOnce(&mut Vital) -> T) -> T {
        read(&mut self.vital.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it stands now.
    #[must_use]
    pub fn state(&self, lease: &Lease) -> WorkerState {
        self.vital(|vital| {
            let silent = vital.heard.unwrap_or(vital.known_since).elapsed();
            if silent > lease.lease {
                WorkerState::Offline
            } else if vital.heard.is_none() || silent > lease.heartbeat.mul_f64(2.2) {
                WorkerState::Suspect
            } else if vital.draining {
                WorkerState::Draining
            } else {
                WorkerState::Online
            }
        })
    }

    /// Its last sign of life.
    #[must_use]
    pub fn last_seen(&self) -> Timestamp {
        self.vital(|vital| vital.last_seen)
    }

    /// Its tools.
    #[must_use]
    pub fn tools(&self) -> Arc<Vec<Arc<ToolDefinition>>> {
        self.vital(|vital| vital.tools.clone())
    }

    /// Notes a sign of life.
    pub fn heard(&self, now: Timestamp, draining: Option<bool>) {
        self.vital(|vital| {
            vital.heard = Some(Instant::now());
            vital.last_seen = now;
            if let Some(draining) = draining {
                vital.draining = draining;
            }
        });
    }
}

/// What became of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The worker is new, or came back with other particulars: to be stored.
    Changed,
    /// It is as it was: only a sign of life.
    Same,
}

/// All workers.
pub struct Fleet {
    lease: Lease,
    members: RwLock<BTreeMap<WorkerId, Arc<Member>>>,
    // Names belong to the key that took them first, also after the worker has left.
    owners: Mutex<HashMap<WorkerId, Option<String>>>,
    definitions: Mutex<HashMap<ring_digest::Key, Weak<ToolDefinition>>>,
    version: watch::Sender<u64>,
}

/// Equal tool definitions are kept once: thousands of workers have the same providers.
mod ring_digest {
    pub type Key = [u8; 32];

    pub fn of(text: &[u8]) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text).as_ref());
        key
    }
}

impl Fleet {
    /// An empty fleet.
    #[must_use]
    pub fn new(lease: Lease) -> Self {
        Self {
            lease,
            members: RwLock::default(),
            owners: Mutex::default(),
            definitions: Mutex::default(),
            version: watch::Sender::new(1),
        }
    }

    /// How long signs of life last here.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Changes whenever a worker or a tool appears or disappears.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Says that a worker or a tool has appeared or disappeared.
    pub fn announce(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// A worker by name.
    #[must_use]
    pub fn get(&self, id: &WorkerId) -> Option<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Every worker, by name.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Where a worker stands.
    #[must_use]
    pub fn state(&self, member: &Member) -> WorkerState {
        member.state(&self.lease)
    }

    /// Remembers whom a name belongs to, from the store.
    pub fn remember_owner(&self, id: &WorkerId, key: Option<String>) {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_insert(key);
    }

    /// Whether these particulars may join, and whether they change anything. `answers_elsewhere` says
    /// whether the worker of this name still answers where it was before, which is not where this one is.
    pub fn admit(&self, wanted: &Particulars, answers_elsewhere: bool) -> Result<Admission, ErrorBody> {
        let taken = |why: String| Err(ErrorBody::new(ErrorCode::NameTaken, why));
        let id = &wanted.worker_id;
        {
            let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(owner) = owners.get(id)
                && *owner != wanted.key
            {
                return taken(format!("the worker id {id} belongs to another key; choose another id"));
            }
        }
        let Some(present) = self.get(id) else { return Ok(Admission::Changed) };
        let alive = self.state(&present) != WorkerState::Offline;
        if alive && answers_elsewhere {
            return taken(format!(
                "the worker id {id} is alive elsewhere; stop that worker or choose another id"
            ));
        }
        if present.particulars == *wanted { Ok(Admission::Same) } else { Ok(Admission::Changed) }
    }

    /// Puts a worker into the fleet, in place of an earlier instance. A worker that comes from the
    /// store has not been heard yet.
    pub fn insert(
        &self,
        particulars: Particulars,
        ways: Arc<Ways>,
        last_seen: Timestamp,
        heard: bool,
    ) -> Arc<Member> {
        let site = particulars
            .manifest
            .mock
            .as_ref()
            .and_then(|identity| Site::from_identity(&particulars.worker_id, identity).ok());
        self.remember_owner(&particulars.worker_id, particulars.key.clone());
        let member = Arc::new(Member {
            link: ways.clone(),
            ways,
            site,
            vital: Mutex::new(Vital {
                heard: heard.then(Instant::now),
                known_since: Instant::now(),
                last_seen,
                draining: false,
                tools: Arc::default(),
            }),
            particulars,
        });
        let id = member.particulars.worker_id.clone();
        self.members.write().unwrap_or_else(PoisonError::into_inner).insert(id, member.clone());
        self.announce();
        member
    }

    /// Takes a worker out of the fleet.
    pub fn remove(&self, id: &WorkerId) -> Option<Arc<Member>> {
        let removed = self.members.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if removed.is_some() {
            self.announce();
        }
        removed
    }

    /// Sets a worker's tools; equal definitions share their memory over the whole fleet.
    pub fn set_tools(&self, member: &Member, tools: Vec<ToolDefinition>) {
        let shared: Vec<_> = {
            let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = tools.into_iter().map(|tool| share(&mut known, tool)).collect();
            known.retain(|_, definition| definition.strong_count() > 0);
            shared
        };
        let changed = member.vital(|vital| {
            let changed = *vital.tools != shared;
            vital.tools = Arc::new(shared);
            changed
        });
        if changed {
            self.announce();
        }
    }
}

fn share(
    known: &mut HashMap<ring_digest::Key, Weak<ToolDefinition>>,
    tool: ToolDefinition,
) -> Arc<ToolDefinition> {
    let key = ring_digest::of(serde_json::to_string(&tool).unwrap_or_default().as_bytes());
    if let Some(existing) = known.get(&key).and_then(Weak::upgrade) {
        return existing;
    }
    let tool = Arc::new(tool);
    known.insert(key, Arc::downgrade(&tool));
    tool
}
