//! `mcpserver start`: a hub, a worker, or both in one process, until it is asked to end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hub::entropy::Entropy;
use hub::{Hub, HubConfig};
use protocol::clock::{Clock, SystemClock};
use protocol::ids::WorkerId;
use protocol::signature::SigningKey;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use transport::admission::LocalOnly;
use transport::connect::Connector;
use transport::sender::Sender;
use transport::serve::guard::Guard;
use transport::serve::stdio::serve_stdio;
use transport::serve::{McpOptions, Mount, mcp_router};
use worker::misbehave::misbehaving;
use worker::{JoinError, Ledger, Worker, WorkerConfig, WorkerHost};
use workload::local::LocalMachine;

use crate::data_dir::{self, WorkerDirectory};
use crate::exit::Failure;
use crate::listen::{Listening, Server};
use crate::member::{Member, Way};
use crate::plan::{HubPlan, JoinPlan, Plan, WorkerPlan};
use crate::routes::{self, Ready};
use crate::signals::Drain;
use crate::{say, site};

/// How long requests in progress may take at the end, before the hub stops and after it has stopped. What
/// ends in this time ends well; streams that would stay open are cut then.
const BEFORE_STOP: Duration = Duration::from_secs(1);
const AFTER_STOP: Duration = Duration::from_millis(500);

/// Starts what is planned and returns when it has ended.
pub async fn run(plan: Plan, shutdown: CancellationToken) -> Result<(), Failure> {
    match plan {
        Plan::Hub(place, hub, None) => {
            let listening = place.bind().await?;
            let hub = start_hub(hub, listening, |_| Ok(Router::new())).await?;
            say(&format!("hub listening on {}", hub.url));
            shutdown.cancelled().await;
            hub.end().await;
            Ok(())
        }
        Plan::Hub(place, hub, Some(worker)) => run_dual(place.bind().await?, hub, worker, shutdown).await,
        Plan::Worker(place, worker, Some(join)) => {
            run_member(place.bind().await?, worker, join, shutdown).await
        }
        Plan::Outbound(worker, join) => run_outbound(worker, join, shutdown).await,
        Plan::Worker(place, worker, None) => run_alone(place.bind().await?, worker, shutdown).await,
        Plan::Stdio(worker) => run_stdio(worker, shutdown).await,
    }
}

/// A hub that serves.
pub struct RunningHub {
    hub: Hub,
    server: Server,
    /// Cuts the streams of MCP.
    streams: CancellationToken,
    /// Its root URL.
    pub url: String,
}

impl RunningHub {
    /// Ends: no more requests, a moment for those in progress, then answers for those that wait for
    /// something, and at last whatever is still open.
    pub async fn end(mut self) {
        self.server.drain(BEFORE_STOP).await;
        self.hub.stop().await;
        self.server.drain(AFTER_STOP).await;
        self.streams.cancel();
        self.server.end().await;
    }
}

/// Starts a hub, together with whatever `more` serves at the same listener.
pub async fn start_hub(
    plan: HubPlan,
    listening: Listening,
    more: impl FnOnce(&str) -> Result<Router, Failure>,
) -> Result<RunningHub, Failure> {
    if let Err(error) = transport::descriptors::raise_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let data_dir = match plan.data_dir {
        Some(path) => path,
        None => data_dir::of_hub()?,
    };
    let secret = hub_secret(plan.secret, &data_dir)?;
    let hub = Hub::start(HubConfig {
        data_dir,
        secret,
        token: plan.token,
        batch: plan.batch,
        tool_names: plan.tool_names,
        // Nobody but this machine reaches a hub of this version.
        legacy_join: true,
        audit_mode: plan.audit_mode,
        hold: plan.hold,
        lease: plan.lease,
        clock: Arc::new(SystemClock),
        entropy: Entropy::from_system().map_err(|_| Failure::Randomness)?,
    })
    .await?;
    let streams = CancellationToken::new();
    let router = hub::router(&hub, listening.guard()?, &plan.path, streams.clone());
    let router = router.merge(more(&listening.url)?);
    let url = listening.url.clone();
    let server = listening.serve(router);
    Ok(RunningHub { hub, server, streams, url })
}

fn hub_secret(given: Option<String>, data_dir: &Path) -> Result<String, Failure> {
    match given {
        Some(secret) => {
            if data_dir::is_weak(&secret) {
                say("warning: the join secret is weak (fewer than 32 characters, or few different ones); \
                     this machine's own users could guess it");
            }
            Ok(secret)
        }
        None => {
            let (secret, is_new) = data_dir::kept_secret(data_dir)?;
            if is_new {
                say(&format!(
                    "join secret: {secret} (workers need it as --join-secret; it is not shown again)"
                ));
            }
            Ok(secret)
        }
    }
}

/// A worker's parts before it joins.
struct Prepared {
    worker: Worker,
    key: KeySource,
    directory: Directory,
}

enum KeySource {
    Kept(SigningKey),
    /// Of a simulated worker: from the join secret, its name and this seed.
    Derived(u64),
}

/// Where a worker keeps its things.
enum Directory {
    Kept(WorkerDirectory, Option<Arc<LocalMachine>>),
    Passing(TempDir, Arc<LocalMachine>),
}

impl Directory {
    /// Ends what computes. Jobs of a directory that stays go on without us, as after a crash, and are
    /// adopted by the next worker on it.
    async fn end(self) {
        match self {
            Self::Kept(directory, machine) => {
                // Dropping the last handle would cancel the jobs.
                std::mem::forget(machine);
                drop(directory);
            }
            Self::Passing(directory, machine) => {
                machine.shutdown().await;
                drop(directory);
            }
        }
    }
}

/// The path of this program, which runs the built-in jobs.
pub fn own_program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::Start)
}

/// A directory that goes with the process.
pub fn passing_directory() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("parley-")
        .tempdir()
        .map_err(Failure::file("cannot make a directory in", std::env::temp_dir()))
}

async fn prepare(plan: &WorkerPlan) -> Result<Prepared, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (site, key, ledger, path, directory) = match (plan.recipe, &plan.data_dir) {
        (Some(recipe), None) => {
            let passing = passing_directory()?;
            let machine = site::manager_of_simulated(passing.path(), clock.clone())?;
            let site = site::simulated(&plan.id, recipe, machine.clone(), clock.clone());
            let path = passing.path().to_owned();
            let directory = Directory::Passing(passing, machine);
            (site, KeySource::Derived(recipe.seed), Ledger::in_memory(), path, directory)
        }
        (recipe, chosen) => {
            let path = match chosen {
                // Jobs run in directories of their own, where a relative path would mean another place.
                Some(path) => std::path::absolute(path).map_err(Failure::file("cannot use", path))?,
                None => data_dir::of_worker(&plan.id)?,
            };
            let kept = WorkerDirectory::open(path.clone())?;
            let key = KeySource::Kept(kept.key()?);
            let (site, machine) = match recipe {
                Some(recipe) => {
                    let machine = site::manager_of_simulated(&path, clock.clone())?;
                    (site::simulated(&plan.id, recipe, machine.clone(), clock.clone()), Some(machine))
                }
                None => {
                    let prices = plan.prices.as_deref().map(site::read_prices).transpose()?;
                    site::real(&path, &plan.manager, prices, clock.clone()).await?
                }
            };
            (site, key, Ledger::open(&path)?, path, Directory::Kept(kept, machine))
        }
    };
    let worker = Worker::new(WorkerConfig {
        worker_id: plan.id.clone(),
        labels: plan.labels.clone(),
        site,
        data_dir: path,
        ledger,
        program: own_program()?,
        verbose: plan.verbose,
        clock,
    });
    Ok(Prepared { worker, key, directory })
}

/// What hub is joined.
#[derive(Debug, Clone, Copy)]
enum Acquaintance {
    /// One that has to be the same as before.
    Known,
    /// The one in this process.
    Own,
}

/// A worker that is a member, or about to be.
struct RunningMember {
    member: Member,
    directory: Directory,
    ready: Ready,
}

impl RunningMember {
    async fn prepare(plan: &WorkerPlan, way: Way<'_>) -> Result<Self, Failure> {
        let Prepared { worker, key, directory } = prepare(plan).await?;
        let key = match key {
            KeySource::Kept(key) => key,
            KeySource::Derived(seed) => data_dir::derived_key(way.secret, &plan.id, seed)?,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connector = Connector::new("parley-worker", env!("CARGO_PKG_VERSION"), clock.clone())?;
        let member = Member::new(worker, connector, way, key, data_dir::random_text()?, clock);
        // Its misbehaviour is acted out at its URL, so that is where the hub has to call it.
        let misbehaves = plan.recipe.is_some_and(|recipe| recipe.fault.is_some());
        let member = if misbehaves { member.without_link() } else { member };
        Ok(Self { member, directory, ready: Ready::default() })
    }

    /// The MCP endpoint at a path, with the worker's misbehaviour before it.
    fn router(&self, plan: &WorkerPlan, path: &str, guard: Guard, streams: CancellationToken) -> Router {
        let router = mcp_router(path, self.member.mount.clone(), McpOptions::new(guard, streams));
        match plan.recipe.and_then(|recipe| recipe.fault) {
            Some(fault) => misbehaving(router, fault),
            None => router,
        }
    }

    /// Joins and keeps the membership; it is ready by the time that it says so.
    async fn join(&self, hub_url: &str, patience: Duration, hub: Acquaintance) -> Result<(), Failure> {
        let memory = match (hub, &self.directory) {
            (Acquaintance::Known, Directory::Kept(directory, _)) => Some(directory),
            _ => None,
        };
        let before = memory.map(|directory| directory.hub_key(hub_url)).transpose()?.flatten();
        if let Some(key) = &before {
            self.member.expect_hub(key.clone());
        }
        let accepted = self.member.join(patience).await.map_err(|error| match (error, memory) {
            (JoinError::OtherHub, Some(directory)) => {
                Failure::HubIdentity { url: hub_url.to_owned(), known: directory.known_hubs() }
            }
            (error, _) => error.into(),
        })?;
        if let (None, Some(directory), Some(key)) = (before, memory, self.member.hub_key()) {
            directory.remember_hub(hub_url, key)?;
        }
        self.member.keep(accepted, Duration::ZERO);
        self.ready.set(true);
        say(&format!("worker {} joined {hub_url}", self.member.worker.id()));
        Ok(())
    }

    /// Is a member until it is to end, and takes no work while it is drained.
    async fn serve(&self, join: &JoinPlan, shutdown: &CancellationToken) -> Result<(), Failure> {
        let mut drain = Drain::listen()?;
        tokio::select! {
            joined = self.join(&join.hub_url, join.patience, Acquaintance::Known) => joined?,
            () = shutdown.cancelled() => return Ok(()),
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                draining = drain.next() => {
                    self.member.drain(draining);
                    let what = if draining { "takes no more work" } else { "takes work again" };
                    say(&format!("worker {} {what}", self.member.worker.id()));
                }
            }
        }
        self.ready.set(false);
        Ok(())
    }

    async fn end(self) {
        self.member.leave().await;
        self.directory.end().await;
    }
}

async fn run_outbound(plan: WorkerPlan, join: JoinPlan, shutdown: CancellationToken) -> Result<(), Failure> {
    let way = Way { hub_url: &join.hub_url, secret: &join.secret, own_url: None };
    let running = RunningMember::prepare(&plan, way).await?;
    let joined = running.serve(&join, &shutdown).await;
    running.end().await;
    joined
}

async fn run_member(
    listening: Listening,
    plan: WorkerPlan,
    join: JoinPlan,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let (own_url, guard) = reached_at(&listening, &plan.path, join.public_url.as_deref())?;
    let way = Way { hub_url: &join.hub_url, secret: &join.secret, own_url: Some(&own_url) };
    let running = RunningMember::prepare(&plan, way).await?;
    let (streams, ready) = (CancellationToken::new(), running.ready.clone());
    let router = running
        .router(&plan, &plan.path, guard.clone(), streams.clone())
        .merge(routes::tools(running.member.mount.host.clone(), guard.clone()))
        .merge(routes::health("parley-worker", guard, ready.clone()));
    let url = listening.url.clone();
    let server = listening.serve(router);
    say_listening(&plan.id, &url);
    let joined = running.serve(&join, &shutdown).await;
    // The hub hears of it first, and gives no more work; then there is nobody left to answer.
    running.end().await;
    streams.cancel();
    server.end().await;
    joined
}

async fn run_dual(
    listening: Listening,
    hub: HubPlan,
    plan: WorkerPlan,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let data_dir = match &hub.data_dir {
        Some(path) => path.clone(),
        None => data_dir::of_hub()?,
    };
    // The worker has to know the secret before the hub runs; a warning about it is said once, below.
    let secret = match &hub.secret {
        Some(secret) => secret.clone(),
        None => hub_secret(None, &data_dir)?,
    };
    let path = format!("/w/{}/mcp", plan.id);
    let own_url = format!("{}{path}", listening.url);
    let hub_url = listening.url.clone();
    let way = Way { hub_url: &hub_url, secret: &secret, own_url: Some(&own_url) };
    let guard = listening.guard()?;
    let running = RunningMember::prepare(&plan, way).await?;
    let streams = CancellationToken::new();
    let router = running.router(&plan, &path, guard, streams.clone());
    let hub = start_hub(HubPlan { data_dir: Some(data_dir), ..hub }, listening, |_| Ok(router)).await?;
    say(&format!("hub listening on {}", hub.url));
    let joined = tokio::select! {
        joined = running.join(&hub_url, Duration::from_secs(15), Acquaintance::Own) => joined,
        () = shutdown.cancelled() => Ok(()),
    };
    if joined.is_ok() {
        shutdown.cancelled().await;
    }
    streams.cancel();
    running.end().await;
    hub.end().await;
    joined
}

async fn run_alone(
    listening: Listening,
    plan: WorkerPlan,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let Prepared { worker, directory, .. } = prepare(&plan).await?;
    let (streams, ready, guard) = (CancellationToken::new(), Ready::default(), listening.guard()?);
    let mount = Mount { host: Arc::new(WorkerHost::new(worker.clone())), admission: Arc::new(LocalOnly) };
    let router = mcp_router(&plan.path, mount.clone(), McpOptions::new(guard.clone(), streams.clone()))
        .merge(routes::tools(mount.host, guard.clone()))
        .merge(routes::health("parley-worker", guard, ready.clone()));
    let url = listening.url.clone();
    let server = listening.serve(router);
    ready.set(true);
    say_listening(&plan.id, &url);
    shutdown.cancelled().await;
    ready.set(false);
    streams.cancel();
    server.end().await;
    worker.stop().await;
    directory.end().await;
    Ok(())
}

async fn run_stdio(plan: WorkerPlan, shutdown: CancellationToken) -> Result<(), Failure> {
    let Prepared { worker, directory, .. } = prepare(&plan).await?;
    let host = Arc::new(WorkerHost::new(worker.clone()));
    let served = serve_stdio(host, Sender::anonymous(), shutdown.clone()).await;
    worker.stop().await;
    directory.end().await;
    // A client that was never there is no failure of a server that was told to end.
    if shutdown.is_cancelled() { Ok(()) } else { Ok(served?) }
}

fn say_listening(id: &WorkerId, url: &str) {
    say(&format!("worker {id} listening on {url}"));
}

/// The worker's URL as the hub is told it, and the names under which requests may come.
fn reached_at(listening: &Listening, path: &str, public: Option<&str>) -> Result<(String, Guard), Failure> {
    let guard = listening.guard()?;
    let Some(public) = public else { return Ok((format!("{}{path}", listening.url), guard)) };
    let bad = || Failure::Usage(format!("--public-url {public:?} must be like http://host:port{path}"));
    let uri: axum::http::Uri = public.parse().map_err(|_| bad())?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(bad());
    };
    let guard = guard.allow_host(authority.as_str()).map_err(|_| bad())?;
    let url =
        if uri.path() == "/" { format!("{}{path}", public.trim_end_matches('/')) } else { public.to_owned() };
    Ok((url, guard))
}
