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
mod refusals;
mod submitting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
use self::refusals::Failure;
pub use self::submitting::Kubernetes;
use crate::error::WorkloadError;
use crate::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, ReadSide, RunState};
use crate::submit::Placement;

/// The files of the service account in a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where the files of a [`SharedVolume`] are in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A persistent volume claim of the namespace.
    Claim(String),
    /// A directory that every node has, such as a mounted network file system.
    HostPath(PathBuf),
}

/// A volume with jobs' directories that this worker and the pods have at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedVolume {
    /// Where its files are in the cluster.
    pub source: VolumeSource,
    /// Where it is mounted, here and in the pods.
    pub path: PathBuf,
}

/// Reads `CLAIM:/path`, or `/directory/of/the/nodes:/path`.
impl std::str::FromStr for SharedVolume {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let wrong = || WorkloadError::Refused {
            field: "volume",
            reason: format!("{text:?} is neither CLAIM:/path nor /directory/of/the/nodes:/path"),
        };
        let (source, path) = text.split_once(':').ok_or_else(wrong)?;
        let is_claim = !source.is_empty()
            && source.len() <= 253
            && source.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        // The root of a container is its image's.
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || path.contains(':') {
            return Err(wrong());
        }
        let source = match source {
            source if source.starts_with('/') => VolumeSource::HostPath(PathBuf::from(source)),
            source if is_claim => VolumeSource::Claim(source.to_owned()),
            _ => return Err(wrong()),
        };
        Ok(Self { source, path: PathBuf::from(path) })
    }
}

/// How Kubernetes is used.
#[derive(Debug, Clone, PartialEq)]
pub struct KubernetesOptions {
    /// The kubeconfig; none for the one that this process's environment names, or the service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; none for its current one.
    pub context: Option<String>,
    /// The namespace of the work; none for that of the context.
    pub namespace: Option<String>,
    /// The image that work runs in.
    pub image: Option<String>,
    /// The volume that this worker and the pods share.
    pub volume: Option<SharedVolume>,
    /// The service account of the pods. Only with one do they get credentials for the cluster.
    pub service_account: Option<String>,
    /// Labels of the nodes that are this site.
    pub node_selector: BTreeMap<String, String>,
    /// The resource that counts GPUs, where nodes cannot be seen or have several kinds.
    pub gpu_resource: Option<String>,
    /// User and group of the pods; none leaves it to the image.
    pub run_as: Option<(u32, u32)>,
    /// Priority class (`qos`) and labels (`constraint`) of work that names none.
    pub defaults: Placement,
    /// How long one request may take.
    pub deadline: Duration,
    /// How old an answer about jobs and nodes may be.
    pub refresh: Duration,
    /// How long a pod that has a node may be unable to start before it is given up.
    pub patience: Duration,
    /// How long the cluster keeps a Job that is over.
    pub keep_finished: Duration,
    /// Size of a job's log at most; its beginning is kept.
    pub log_limit_bytes: u64,
}

impl KubernetesOptions {
    /// The cluster that this process's own kubeconfig or service account names. Work gets the user of this
    /// process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            image: None,
            volume: None,
            service_account: None,
            node_selector: BTreeMap::new(),
            gpu_resource: None,
            run_as: Some((nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())),
            defaults: Placement::default(),
            deadline: Duration::from_secs(10),
            refresh: Duration::from_secs(2),
            patience: Duration::from_secs(300),
            keep_finished: Duration::from_secs(24 * 3600),
            log_limit_bytes: 64 * 1024 * 1024,
        }
    }

    /// Whether this process has a kubeconfig, or runs in a pod that has a service account.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        match &self.kubeconfig {
            Some(path) => path.is_file(),
            None => !kubeconfig_files().is_empty() || in_cluster(),
        }
    }
}

/// The files of `KUBECONFIG`, or the one of the user, as far as they are there.
fn kubeconfig_files() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").filter(|named| !named.is_empty());
    let files: Vec<PathBuf> = match named {
        Some(named) => std::env::split_paths(&named).collect(),
        None => std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"))
            .into_iter()
            .collect(),
    };
    files.into_iter().filter(|file| file.is_file()).collect()
}

/// Whether this process runs in a pod that may talk to its cluster.
fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && PathBuf::from(SERVICE_ACCOUNT).is_file()
}

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

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let seen = self.seen().await?;
        Ok(Some(Inventory {
            version: self.version().await,
            partitions: Vec::new(),
            groups: seen.cluster.groups(),
            nodes_out: seen.cluster.out_of_service(),
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
