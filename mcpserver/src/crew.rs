//! Many workers of one process at one listener, each at a path of its own: what `simulate` and `demo`
//! have in common.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use protocol::clock::{Clock, SystemClock};
use protocol::ids::WorkerId;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::connect::Connector;
use transport::serve::guard::Guard;
use transport::serve::{McpOptions, mcp_router_many};
use worker::{Ledger, Site, Worker, WorkerConfig};
use workload::local::LocalMachine;

use crate::data_dir;
use crate::exit::Failure;
use crate::member::{Member, Way};
use crate::site::{self, Recipe};
use crate::start::{own_program, passing_directory};

/// Joins and leaves at a time; a hub keeps 1,000 open challenges.
const AT_ONCE: usize = 64;

/// How long all leaves together may take; the hub notices the rest by itself.
const LEAVING: Duration = Duration::from_secs(4);

/// Sessions of the older protocol generation for each worker.
const SESSIONS: usize = 16;

/// Where a crew serves and which hub it belongs to.
pub struct Base {
    /// The root of its listener.
    pub url: String,
    /// Its hub.
    pub hub_url: String,
    /// The hub's join secret.
    pub secret: String,
}

/// The workers of a process.
pub struct Crew {
    base: Base,
    members: Arc<RwLock<HashMap<String, Arc<Member>>>>,
    connector: Arc<Connector>,
    manager: Arc<LocalMachine>,
    directory: TempDir,
    clock: Arc<dyn Clock>,
    program: PathBuf,
    boot_id: String,
}

impl Crew {
    /// A crew without workers; everything of it lies in a directory that goes with it.
    pub fn new(base: Base) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let directory = passing_directory()?;
        Ok(Self {
            base,
            members: Arc::default(),
            connector: Connector::new("parley-worker", env!("CARGO_PKG_VERSION"), clock.clone())?,
            manager: site::manager_of_simulated(directory.path(), clock.clone())?,
            directory,
            clock,
            program: own_program()?,
            boot_id: data_dir::random_text()?,
        })
    }

    /// Adds a simulated cluster.
    pub fn add_simulated(
        &self,
        id: &WorkerId,
        labels: &[(String, String)],
        recipe: Recipe,
    ) -> Result<(), Failure> {
        let site = site::simulated(id, recipe, self.manager.clone(), self.clock.clone());
        self.add(id, labels, site, recipe.seed)
    }

    /// Adds a worker for any site. Its key follows from the secret, its name and the seed.
    pub fn add(
        &self,
        id: &WorkerId,
        labels: &[(String, String)],
        site: Site,
        seed: u64,
    ) -> Result<(), Failure> {
        let worker = Worker::new(WorkerConfig {
            worker_id: id.clone(),
            labels: labels.iter().cloned().collect(),
            site,
            data_dir: self.directory.path().join(id.as_str()),
            ledger: Ledger::in_memory(),
            program: self.program.clone(),
            verbose: false,
            clock: self.clock.clone(),
        });
        let Base { url, hub_url, secret } = &self.base;
        let own_url = format!("{url}/w/{id}/mcp");
        let way = Way { hub_url, secret, own_url: Some(&own_url) };
        let key = data_dir::derived_key(secret, id, seed)?;
        let connector = self.connector.clone();
        let member = Member::new(worker, connector, way, key, self.boot_id.clone(), self.clock.clone());
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(id.as_str().to_owned(), Arc::new(member));
        Ok(())
    }

    /// The workers' MCP endpoints; `streams` ends what stays open.
    pub fn router(&self, guard: Guard, streams: CancellationToken) -> Router {
        let members = self.members.clone();
        let options = McpOptions { sessions: SESSIONS, ..McpOptions::new(guard, streams) };
        let lookup = move |id: &str| {
            let members = members.read().unwrap_or_else(PoisonError::into_inner);
            members.get(id).map(|member| member.mount.clone())
        };
        mcp_router_many("/w/{id}/mcp", lookup, options)
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Has every worker join, some at a time.
    pub async fn join(&self, patience: Duration) -> Result<(), Failure> {
        let members = self.members();
        let all = members.len();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut joins = JoinSet::new();
        for (place, member) in members.into_iter().enumerate() {
            let turns = turns.clone();
            joins.spawn(async move {
                let _turn = turns.acquire_owned().await;
                let outcome = member.join(patience).await;
                let outcome = outcome.map(|accepted| {
                    // Spread over half a heartbeat: together they would arrive as one burst for ever.
                    let heartbeat = accepted.heartbeat_seconds.get().clamp(0.0, 60.0);
                    #[expect(clippy::cast_precision_loss, reason = "a count of workers")]
                    let share = place as f64 / all as f64;
                    member.keep(accepted, Duration::from_secs_f64(heartbeat / 2.0 * share));
                });
                outcome.map_err(|error| (member.worker.id().to_string(), error))
            });
        }
        while let Some(joined) = joins.join_next().await {
            if let Ok(Err((worker, source))) = joined {
                // The rest is aborted: one wrong secret is a thousand, and a hub that is away stays away.
                return Err(Failure::Joins { all, worker, source });
            }
        }
        Ok(())
    }

    /// Leaves the hub and ends whatever computes.
    pub async fn end(self) {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut leaves = JoinSet::new();
        for member in self.members() {
            let turns = turns.clone();
            leaves.spawn(async move {
                let _turn = turns.acquire_owned().await;
                member.leave().await;
            });
        }
        if tokio::time::timeout(LEAVING, leaves.join_all()).await.is_err() {
            tracing::debug!("not every worker could leave in order");
        }
        self.manager.shutdown().await;
    }
}
