//! Kubernetes: the real API server, scheduler and Job controller over pretended nodes, where they were built;
//! and a server that answers with recordings, everywhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use protocol::units::GiB;
use workload::error::WorkloadError;
use workload::kubernetes::{Kubernetes, KubernetesOptions, KubernetesReader, SharedVolume, VolumeSource};
use workload::read::{ReadSide, RunState};
use workload::submit::{SubmitRequest, SubmitSide};

use crate::setting::{Setting, log_of, wait_for, wait_for_text};
use crate::site::outside;
use crate::suite;

mod replayed;
mod server;

/// Options of a cluster whose jobs' directories are below `root`, on every node.
fn options(kubeconfig: &Path, root: &Path) -> KubernetesOptions {
    KubernetesOptions {
        kubeconfig: Some(kubeconfig.to_owned()),
        image: Some("localhost/tiny:1".to_owned()),
        volume: Some(SharedVolume { source: VolumeSource::HostPath(root.to_owned()), path: root.to_owned() }),
        refresh: Duration::from_millis(50),
        ..KubernetesOptions::of_process()
    }
}

fn script(command: &str, directory: &Path) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubernetes/start.sh");
    Command::new("bash").arg(path).arg(command).arg(directory).output().unwrap()
}

/// A running cluster.
struct Cluster {
    root: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts one, unless there are no programs for it, which is said on the terminal.
    fn start() -> Option<Self> {
        if std::env::var_os("PARLEY_KUBERNETES").is_none() {
            outside("no real Kubernetes; run tests/kubernetes/start.sh build and set PARLEY_KUBERNETES");
            return None;
        }
        let root = tempfile::Builder::new().prefix("kubernetes-").tempdir().unwrap();
        let output = script("start", root.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let kubeconfig = PathBuf::from(printed.trim().strip_prefix("KUBECONFIG=").unwrap());
        Some(Self { root, kubeconfig })
    }

    fn open(&self, setting: &Setting, change: impl FnOnce(&mut KubernetesOptions)) -> Kubernetes {
        let mut options = options(&self.kubeconfig, setting.root());
        change(&mut options);
        Kubernetes::open(options, setting.state(), Arc::new(SystemClock)).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script("stop", self.root.path());
    }
}

/// One cluster for everything, because a cluster takes some seconds to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_cluster_does_what_every_manager_does() {
    let Some(cluster) = Cluster::start() else { return };
    let setting = Setting::new();
    let general = |options: &mut KubernetesOptions| {
        options.node_selector =
            [("node.kubernetes.io/instance-type".to_owned(), "general".to_owned())].into_iter().collect();
    };
    let side = cluster.open(&setting, general);
    let differences =
        suite::Differences { finds_programs: false, resolution_seconds: 1.0, plans_ahead: false };
    suite::every_manager(&side, &setting, differences).await;
    no_word_of_a_job_is_expanded(&side, &setting).await;
    drop(side);
    let side = cluster.open(&setting, |options| options.patience = Duration::from_millis(1));
    the_site_is_described(&side).await;
    gpus_are_those_that_were_asked_for(&side, &setting).await;
    an_image_that_cannot_be_pulled_ends_the_job(&cluster).await;
    an_attempt_of_somebody_else_is_not_ours(&cluster).await;
    a_lost_record_is_found_again(&cluster).await;
    who_may_see_nothing_is_told_so(&cluster).await;
}

async fn no_word_of_a_job_is_expanded(side: &dyn SubmitSide, setting: &Setting) {
    let words = ["printf", "%s\\n", "$(PARLEY_JOB_ID)", "$$(X)", "$HOME", "a b", "", "\"'\\", "$", "ü\t"];
    let mut request = setting.request("pod-words", &words);
    request.environment.insert("X".to_owned(), "$(PARLEY_ATTEMPT)$$".to_owned());
    let job = side.submit(request).await.unwrap();
    wait_for(side, &job, RunState::Completed).await;
    assert_eq!(log_of(side, &job).await, format!("{}\n", words[2..].join("\n")));
    let mut request = setting.script("pod-words-2", "printf '%s' \"$X\"");
    request.environment.insert("X".to_owned(), "$(PARLEY_ATTEMPT)$$\n$(Y)".to_owned());
    request.environment.insert("Y".to_owned(), "y".to_owned());
    let job = side.submit(request).await.unwrap();
    wait_for(side, &job, RunState::Completed).await;
    assert_eq!(log_of(side, &job).await, "$(PARLEY_ATTEMPT)$$\n$(Y)");
}

async fn the_site_is_described(side: &dyn SubmitSide) {
    let inventory = side.inventory().await.unwrap().unwrap();
    // What was built of Debian's sources does not know its release.
    assert!(inventory.version.unwrap().starts_with("0.0.0-master"));
    assert_eq!(inventory.nodes_out, 1);
    let groups: Vec<_> = inventory
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.nodes, group.cores_per_node, group.gpus_per_node))
        .collect();
    assert_eq!(groups, [("general", 2, 4, 0), ("gpu", 1, 8, 2)]);
    assert_eq!(inventory.groups[1].gpu_model.as_deref(), Some("h100"));
    let capacity = side.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.total.gpus), (16, 2));
    assert_eq!(capacity.total.memory_gib, Some(GiB::from(80)));
    let start = |cores, gpus| async move {
        side.estimated_start(&Allocation { nodes: 0, cores, gpus }).await.unwrap().is_some()
    };
    assert!(start(4, 0).await && start(8, 2).await);
    // The node with eight cores is for work with GPUs.
    assert!(!start(8, 0).await && !start(1, 3).await);
}

async fn gpus_are_those_that_were_asked_for(side: &dyn SubmitSide, setting: &Setting) {
    let mut request = setting.script("pod-gpus", "sleep 300");
    request.allocation.gpus = 2;
    request.placement.gpu_model = Some("H100".to_owned());
    request.memory_limit = Some(GiB::from(16));
    assert!(side.dry_run(&request).await.unwrap().starts_now);
    let job = side.submit(request.clone()).await.unwrap();
    wait_for(side, &job, RunState::Running).await;
    let capacity = side.capacity().await.unwrap();
    assert_eq!((capacity.free.gpus, capacity.free.cores), (0, 15));
    assert_eq!(capacity.free.memory_gib, Some(GiB::from(64)));
    let queue = side.queue().await.unwrap();
    assert_eq!((queue[0].takes.gpus, queue[0].takes.memory_gib), (2, Some(GiB::from(16))));
    assert_eq!(queue[0].job_id.as_ref().unwrap().as_str(), "pod-gpus");
    request.attempt = request.attempt.next();
    assert!(!side.dry_run(&request).await.unwrap().starts_now);
    request.placement.gpu_model = Some("b200".to_owned());
    let refused = side.dry_run(&request).await;
    assert!(
        matches!(refused, Err(WorkloadError::Refused { field: "placement.gpu_model", .. })),
        "{refused:?}"
    );
    side.cancel(&job).await.unwrap();
    wait_for(side, &job, RunState::Cancelled).await;
}

async fn an_image_that_cannot_be_pulled_ends_the_job(cluster: &Cluster) {
    let setting = Setting::new();
    let side = cluster.open(&setting, |options| {
        options.image = Some("missing/image:1".to_owned());
        options.patience = Duration::from_millis(1);
    });
    let job = side.submit(setting.script("pod-no-image", "true")).await.unwrap();
    let status = wait_for(&side, &job, RunState::Failed).await;
    let error = status.error.unwrap();
    assert_eq!(error.code, ErrorCode::UpstreamBad);
    assert!(error.message.contains("ImagePullBackOff"), "{error:?}");
}

async fn an_attempt_of_somebody_else_is_not_ours(cluster: &Cluster) {
    let (ours, theirs) = (Setting::new(), Setting::new());
    let (side, other) = (cluster.open(&ours, |_| {}), cluster.open(&theirs, |_| {}));
    let job = other.submit(theirs.script("pod-same", "true")).await.unwrap();
    let refused = side.submit(ours.script("pod-same", "true")).await;
    assert!(matches!(&refused, Err(WorkloadError::Conflict { native }) if *native == job), "{refused:?}");
    wait_for(&other, &job, RunState::Completed).await;
}

async fn a_lost_record_is_found_again(cluster: &Cluster) {
    let setting = Setting::new();
    let request: SubmitRequest = setting.script("pod-lost", "echo started >> starts");
    let side = cluster.open(&setting, |_| {});
    let job = side.submit(request.clone()).await.unwrap();
    wait_for_text(&request.directory.join("starts"), "started").await;
    drop(side);
    // A worker that lost its records makes the same Job, and finds it.
    std::fs::remove_dir_all(setting.state()).unwrap();
    let side = cluster.open(&setting, |_| {});
    assert_eq!(side.submit(request.clone()).await.unwrap(), job);
    wait_for(&side, &job, RunState::Completed).await;
    assert_eq!(std::fs::read_to_string(request.directory.join("starts")).unwrap(), "started\n");
}

async fn who_may_see_nothing_is_told_so(cluster: &Cluster) {
    let mut options = options(&cluster.kubeconfig, Path::new("/jobs"));
    options.context = Some("nobody".to_owned());
    let reader = KubernetesReader::new(options);
    let said = reader.capacity().await.unwrap_err().to_string();
    assert!(said.contains("nodes is forbidden") && said.contains("\"nobody\""), "{said}");
    let said = reader.queue().await.unwrap_err().to_string();
    assert!(said.contains("jobs.batch is forbidden"), "{said}");
}
