//! The worker as a whole: its site, its offers, its ledger, its way to the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use protocol::clock::Clock;
use protocol::ids::WorkerId;
use protocol::units::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transport::http::HttpClient;

use crate::history::History;
use crate::ledger::{AttemptKey, Ledger};
use crate::offers::Offers;
use crate::site::Site;

/// Simulated sites move on once in this many seconds, like the hub's view of them.
const TICK_SECONDS: i64 = 60;

/// What a worker is started with.
pub struct WorkerConfig {
    /// Its name.
    pub worker_id: WorkerId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it stands for.
    pub site: Site,
    /// Where jobs have their directories, and a real site its history.
    pub data_dir: PathBuf,
    /// What it has accepted.
    pub ledger: Ledger,
    /// The program whose `job run SPEC` runs the built-in kinds.
    pub program: PathBuf,
    /// Whether proposals always carry the trace of provider calls.
    pub verbose: bool,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// A worker. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    core: Arc<Core>,
}

struct Core {
    config: WorkerConfig,
    offers: Offers,
    history: History,
    hub: OnceLock<HttpClient>,
    running: Mutex<BTreeMap<AttemptKey, CancellationToken>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Worker {
    /// A worker that has not joined yet.
    #[must_use]
    pub fn new(config: WorkerConfig) -> Self {
        let history = history_of(&config);
        Self {
            core: Arc::new(Core {
                config,
                offers: Offers::default(),
                history,
                hub: OnceLock::new(),
                running: Mutex::default(),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.core.config.worker_id
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.core.config.labels
    }

    /// What it stands for.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.core.config.site
    }

    pub(crate) fn config(&self) -> &WorkerConfig {
        &self.core.config
    }

    pub(crate) fn offers(&self) -> &Offers {
        &self.core.offers
    }

    pub(crate) fn history(&self) -> &History {
        &self.core.history
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.core.config.ledger
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.core.config.clock.now()
    }

    pub(crate) fn tick(&self) -> u64 {
        u64::try_from(self.now().as_millis() / 1000 / TICK_SECONDS).unwrap_or(0)
    }

    /// 128 random bits.
    pub(crate) fn draw(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        // Only names for calls that nobody refers to again are drawn here.
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
        u128::from_be_bytes(bytes)
    }

    /// The signed way to the hub, once joined.
    pub(crate) fn hub(&self) -> Option<&HttpClient> {
        self.core.hub.get()
    }

    pub(crate) fn set_hub(&self, client: HttpClient) {
        let _ = self.core.hub.set(client);
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.core.tasks
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.core.stopping
    }

    /// The token that stops an attempt; made on first use.
    pub(crate) fn cancellation(&self, key: &AttemptKey) -> CancellationToken {
        let mut running = self.core.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.entry(key.clone()).or_default().clone()
    }

    pub(crate) fn forget_cancellation(&self, key: &AttemptKey) {
        self.core.running.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Takes up the work that an earlier instance of this worker had accepted.
    pub fn resume(&self) {
        let open = self.ledger().open_entries();
        let keys = open.iter().map(|entry| (entry.award.job_id.clone(), entry.award.attempt));
        // What ended in the moment of a crash is not waited for.
        self.history().keep_waiting(&keys.collect::<BTreeSet<_>>());
        for entry in open {
            self.offers().resume(entry.award.proposal_id.clone(), entry.allocation);
            self.run(entry);
        }
    }

    /// Ends the loops. Work that runs at a workload manager goes on.
    pub async fn stop(&self) {
        self.core.stopping.cancel();
        self.core.tasks.close();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.core.tasks.wait()).await;
    }
}

/// The history of a real site. A worker whose history cannot be kept knows less of its starts; that is no
/// reason to do no work.
fn history_of(config: &WorkerConfig) -> History {
    if config.site.mock.is_some() {
        return History::in_memory();
    }
    History::open(&config.data_dir).unwrap_or_else(|error| {
        let directory = config.data_dir.display();
        tracing::warn!(%error, %directory, "the history of starts is not kept on disk");
        History::in_memory()
    })
}
