//! What the operator of a worker chooses about a cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::WorkloadError;
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
pub(super) fn kubeconfig_files() -> Vec<PathBuf> {
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
pub(super) fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && PathBuf::from(SERVICE_ACCOUNT).is_file()
}
