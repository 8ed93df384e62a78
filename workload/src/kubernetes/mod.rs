//! Kubernetes, through its API: a job is a Job of `batch/v1` with one pod.
//!
//! ```text
//! KubernetesReader --GET nodes, pods, resourcequotas--> nodes --> capacity, inventory, estimated start
//!                  --GET jobs, pods of the namespace--> jobs  --> queue, accounting
//! Kubernetes       --POST, PATCH jobs; GET log, events--> submit, status, cancel, log
//! ```
//!
//! A cluster has no file system that it shares with a worker beside it. Jobs have a directory, with their
//! input before and their results after. So the operator names a **shared volume**: a claim, or a directory
//! of every node, that this worker sees at the same path as the pods. Without one, and without an image, the
//! read side works and submissions are refused with that reason.
//!
//! What it promises, and what not:
//!
//! - An attempt is started at most once. Its Job has a name that only this attempt has, so making it again
//!   makes nothing; a pod that the cluster starts a second time ends by itself.
//! - Nothing that a user writes reaches a shell or is expanded: words and variables arrive as they were.
//!   The pod begins with the batch script of all managers, so its image needs `/bin/sh`, `mkdir`, `date`
//!   and `mv`.
//! - A pod has no credentials of the cluster, no added privileges, and the user of this worker; its variables
//!   stand in its Job, for whoever may read Jobs in the namespace.
//! - A job is on one node. Several nodes, partitions and accounts are refused.
//! - Requests have a deadline and answers are bounded. Listings are as old as the refresh time at most.
//! - Without the right to see nodes and pods of the whole cluster, capacity is unknown, with the reason.
//! - The start is known when the work fits on a node now. Otherwise nobody can tell. Peak memory is unknown.
//! - Logs are copied when the job is asked about, and before it is cancelled; what a pod prints while it is
//!   being stopped, and what the kubelet has thrown away before it was copied, is lost.

mod apiserver;
mod fields;
mod jobs;
mod logs;
pub mod manifest;
mod nodes;
mod options;
mod refusals;
mod submitting;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ResourceQuota};
use kube::Resource;
use kube::core::params::ListParams;
use kube::core::request;
use protocol::facts::{Allocation, StartEstimate};
use protocol::units::{Seconds, Timestamp};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use self::apiserver::ApiServer;
use self::jobs::{Complaints, Work, together};
use self::nodes::{Amount, Cluster, Resident};
pub use self::options::{KubernetesOptions, SharedVolume, VolumeSource};
use self::refusals::Failure;
pub use self::submitting::Kubernetes;
use crate::error::WorkloadError;
use crate::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, ReadSide, RunState};

/// Nodes, and why their pods cannot be seen.
struct Seen {
    cluster: Cluster,
    unseen: Option<String>,
}

/// Kept for the refresh time.
type Kept<T> = Mutex<Option<(Instant, Arc<T>)>>;

/// The Jobs of the namespace by name.
type Works = BTreeMap<NativeId, Work>;

/// Kubernetes' read side.
pub struct KubernetesReader {
    options: KubernetesOptions,
    server: ApiServer,
    version: OnceCell<String>,
    seen: Kept<Seen>,
    works: Kept<Works>,
    complaints: Kept<Complaints>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

impl KubernetesReader {
    /// The read side of a cluster. Nothing is asked yet.
    #[must_use]
    pub fn new(options: KubernetesOptions) -> Self {
        let server = ApiServer::new(&options);
        Self {
            options,
            server,
            version: OnceCell::new(),
            seen: Mutex::default(),
            works: Mutex::default(),
            complaints: Mutex::default(),
        }
    }

    fn is_young(&self, at: Instant) -> bool {
        at.elapsed() < self.options.refresh
    }

    /// Nodes and what is free of them.
    async fn seen(&self) -> Result<Arc<Seen>, Failure> {
        let mut kept = self.seen.lock().await;
        if let Some((_, seen)) = kept.as_ref().filter(|(at, _)| self.is_young(*at)) {
            return Ok(Arc::clone(seen));
        }
        let asked_at = Instant::now();
        let selector = self.options.node_selector.iter().map(|(key, value)| format!("{key}={value}"));
        let selector = selector.collect::<Vec<_>>().join(",");
        let those =
            ListParams { label_selector: Some(selector).filter(|s| !s.is_empty()), ..ListParams::default() };
        let not_over = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let namespace = self.server.connection().await?.namespace;
        let (nodes, pods, quotas) = (
            Node::url_path(&(), None),
            Pod::url_path(&(), None),
            ResourceQuota::url_path(&(), Some(&namespace)),
        );
        let all = ListParams::default();
        let (nodes, pods, quotas) = tokio::join!(
            self.server.list("GET nodes", &nodes, &those, Some::<Node>),
            self.server.list("GET pods", &pods, &not_over, |pod: Pod| Resident::of(&pod)),
            self.server.list("GET resourcequotas", &quotas, &all, Some::<ResourceQuota>),
        );
        let nodes = nodes?;
        let (pods, unseen) = match pods {
            Ok(pods) => (Some(pods), None),
            Err(failure) if failure.is_forbidden() => (None, Some(failure.error().to_string())),
            Err(failure) => return Err(failure),
        };
        // A quota that may not be read is enforced all the same, when work is submitted.
        let quotas = match quotas {
            Err(failure) if failure.is_forbidden() => Vec::new(),
            quotas => quotas?,
        };
        let seen = Arc::new(Seen { cluster: Cluster::of(nodes, pods, &quotas), unseen });
        *kept = Some((asked_at, Arc::clone(&seen)));
        Ok(seen)
    }

    /// Nodes; none where they may not be seen.
    async fn visible(&self) -> Result<Option<Arc<Seen>>, WorkloadError> {
        match self.seen().await {
            Ok(seen) => Ok(Some(seen)),
            Err(failure) if failure.is_forbidden() => Ok(None),
            Err(failure) => Err(failure.error()),
        }
    }

    /// The Jobs of the namespace, and whether they were asked for just now.
    async fn works(&self, anew: bool) -> Result<(Arc<Works>, bool), WorkloadError> {
        let mut kept = self.works.lock().await;
        if let Some((_, works)) = kept.as_ref().filter(|(at, _)| !anew && self.is_young(*at)) {
            return Ok((Arc::clone(works), false));
        }
        let asked_at = Instant::now();
        let namespace = self.server.connection().await?.namespace;
        let (jobs, pods) = (Job::url_path(&(), Some(&namespace)), Pod::url_path(&(), Some(&namespace)));
        let of_jobs = ListParams::default().labels(jobs::JOB_NAME);
        let job = |mut job: Job| {
            job.metadata.managed_fields = None;
            Some(job)
        };
        let pod = |mut pod: Pod| {
            pod.metadata.managed_fields = None;
            Some(pod)
        };
        // Pods after their Jobs: a pod that is missing was not there when its Job was seen to have ended.
        let jobs = self.server.list("GET jobs", &jobs, &ListParams::default(), job).await?;
        let pods = self.server.list("GET pods", &pods, &of_jobs, pod).await?;
        let works = Arc::new(together(jobs, pods));
        *kept = Some((asked_at, Arc::clone(&works)));
        Ok((works, true))
    }

    /// What the cluster complained about in the namespace; nothing where that may not be read.
    async fn complaints(&self) -> Result<Arc<Complaints>, WorkloadError> {
        let mut kept = self.complaints.lock().await;
        if let Some((_, complaints)) = kept.as_ref().filter(|(at, _)| self.is_young(*at)) {
            return Ok(Arc::clone(complaints));
        }
        let asked_at = Instant::now();
        let namespace = self.server.connection().await?.namespace;
        let events = Event::url_path(&(), Some(&namespace));
        let warnings = ListParams::default().fields("type=Warning");
        let events = match self.server.list("GET events", &events, &warnings, Some::<Event>).await {
            Err(failure) if failure.is_forbidden() => Vec::new(),
            events => events?,
        };
        let complaints = Arc::new(Complaints::of(events));
        *kept = Some((asked_at, Arc::clone(&complaints)));
        Ok(complaints)
    }

    /// Forgets what is known about Jobs, because we changed one.
    async fn forget(&self) {
        *self.works.lock().await = None;
    }

    async fn version(&self) -> Option<String> {
        let ask = || async {
            let request = http::Request::get("/version").body(Vec::new());
            let request = request.map_err(request::Error::BuildRequest);
            let version: Version = self.server.get("GET version", request).await?;
            Ok::<_, Failure>(version.git_version.trim_start_matches('v').to_owned())
        };
        self.version.get_or_try_init(ask).await.ok().cloned()
    }

    /// Where a Job stands, without what the cluster complained about.
    fn accounting_of(&self, work: &Work) -> Option<Accounting> {
        let standing = work.standing(&Complaints::default(), Timestamp::default(), self.patience());
        standing.map(|standing| standing.accounting)
    }

    fn patience(&self) -> Seconds {
        Seconds::saturating(self.options.patience.as_secs_f64())
    }
}

#[async_trait]
impl ReadSide for KubernetesReader {
    fn manager(&self) -> &'static str {
        "kubernetes"
    }

    fn is_installed(&self) -> bool {
        self.options.is_installed()
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let seen = self.seen().await?;
        Ok(Some(Inventory {
            version: self.version().await,
            partitions: Vec::new(),
            groups: seen.cluster.groups(),
            nodes_out: seen.cluster.out_of_service(),
            // A worker is in a pod or beside the cluster: what it sees is not what pods see.
            has_this_machine: false,
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let seen = self.seen().await?;
        let Some(free) = seen.cluster.free() else {
            let problem = seen.unseen.clone().unwrap_or_default();
            return Err(WorkloadError::CommandFailed { command: "counting what is free", problem });
        };
        let queue = self.queue().await?;
        let count = |state: RunState| {
            u32::try_from(queue.iter().filter(|job| job.state == state).count()).unwrap_or(u32::MAX)
        };
        let total = seen.cluster.total();
        Ok(Capacity {
            total: total.slots(),
            free: free.slots(),
            running: count(RunState::Running),
            queued: count(RunState::Queued),
            time_limit: None,
            accepting: total.millicores > 0 && self.options.volume.is_some() && self.options.image.is_some(),
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let (works, _) = self.works(false).await?;
        let mut queue: Vec<QueuedJob> =
            works.iter().filter_map(|(native, work)| work.queued(native)).collect();
        queue.sort_by_key(|job| {
            let at = job.started_at.unwrap_or(job.received_at);
            (job.state != RunState::Running, at, job.received_at, job.native.clone())
        });
        Ok(queue)
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        if allocation.nodes > 1 {
            return Ok(None);
        }
        let asked = Amount {
            millicores: u64::from(allocation.cores.max(1)) * 1000,
            memory: 0,
            gpus: allocation.gpus.into(),
        };
        let seen = self.seen().await?;
        let now = StartEstimate { p50: Seconds::ZERO, p90: Seconds::ZERO };
        Ok(seen.cluster.fits_now(asked, |node| node.takes(allocation.gpus)).filter(|fits| *fits).map(|_| now))
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let unknown = || WorkloadError::UnknownJob { native: job.clone() };
        let (works, _) = self.works(false).await?;
        works.get(job).and_then(|work| self.accounting_of(work)).ok_or_else(unknown)
    }
}
