//! A request as a Job of `batch/v1`, and back. Nothing of a request gets lost on the way: what Kubernetes has
//! no place for is refused with the reason.
//!
//! A job is one pod on one node. It asks for its cores, memory and GPUs and is held to them (requests are
//! limits). A whole node is a pod that takes all cores that the node has for work; pods that ask for nothing
//! may still be on it. The time limit is that of the pod, so that it does not count while the pod waits.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EnvVar, ExecAction, HostPathVolumeSource, Lifecycle, LifecycleHandler,
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaimVolumeSource,
    PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use protocol::facts::Allocation;
use protocol::ids::{Digest, JobId};
use protocol::job::AttemptNumber;
use protocol::units::Seconds;

use super::fields;
use super::nodes::{Amount, Cluster, GPU_RESOURCES, Machine};
use super::{KubernetesOptions, SharedVolume, VolumeSource};
use crate::attempts::{self, BATCH_SCRIPT};
use crate::error::WorkloadError;
use crate::submit::SubmitRequest;

/// The label and its value that all our Jobs and pods have.
pub(super) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "parley");
/// The annotation with the digest of the request: a Job of our name with another one is somebody else's.
pub(super) const REQUEST: &str = "parley/request";
const JOB: &str = "parley/job";
const ATTEMPT: &str = "parley/attempt";
const NODES: &str = "parley/nodes";
const TASKS: &str = "parley/tasks";

/// The container of the work.
pub(super) const CONTAINER: &str = "work";
const VOLUME: &str = "jobs";

/// The most that words and variables may have together. An object of 1.5 MiB is more than etcd keeps.
const WORDS_LIMIT: usize = 512 * 1024;

/// Seconds between the stop signal and the end.
const GRACE_SECONDS: i64 = 10;

/// Tells every process of the container to stop, as other managers do; the kubelet tells the first one only,
/// which is the batch script. `-1` is all processes but the first and the sender.
const TELL_ALL: &str = "kill -TERM -1";

/// What Kubernetes is told about an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The job.
    pub job_id: JobId,
    /// Which try of it.
    pub attempt: AttemptNumber,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The variables that the pod gets besides those of its image.
    pub environment: BTreeMap<String, String>,
    /// The job's own directory, the same here and in the pod.
    pub directory: PathBuf,
    /// What was asked for.
    pub allocation: Allocation,
    /// Processes that the cores are for. They are the work's own to start.
    pub tasks: Option<u32>,
    /// Memory in bytes that is set aside and that it must not exceed.
    pub memory: Option<u64>,
    /// The resource that counts the GPUs.
    pub gpu_resource: Option<String>,
    /// The label that names a model of GPUs, and the values that will do.
    pub gpu_products: Option<(String, Vec<String>)>,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Priority class.
    pub priority_class: Option<String>,
    /// Whole seconds that the pod may run.
    pub active_deadline_seconds: Option<i64>,
}

fn refuse<T>(field: &'static str, reason: impl Into<String>) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason: reason.into() })
}

/// The name of an attempt's Job: readable, unique, and a host name.
pub(super) fn name(job_id: &JobId, attempt: AttemptNumber) -> String {
    let digest = Digest::of(attempts::name(job_id, attempt).as_bytes()).to_string();
    let digest: String = digest.trim_start_matches("sha256:").chars().take(10).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let readable: String = job_id.to_string().chars().map(plain).take(28).collect();
    format!("parley-{}-{attempt}-{digest}", readable.trim_matches('-'))
}

/// Whole seconds, rounded up.
fn whole_seconds(limit: Seconds) -> Result<i64, WorkloadError> {
    // Kubernetes counts them in 32 bits.
    let most = f64::from(i32::MAX);
    let seconds = limit.get().ceil();
    if seconds < 1.0 {
        return refuse("time_limit", format!("{limit} leaves no time to run"));
    }
    if seconds > most {
        return refuse("time_limit", format!("{limit} is more than the {most} s that Kubernetes counts to"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was compared with the largest value")]
    Ok(seconds as i64)
}

/// What Kubernetes has no place for, and what the operator has not chosen.
pub(super) fn check(request: &SubmitRequest, options: &KubernetesOptions) -> Result<(), WorkloadError> {
    request.program()?;
    let variables = request.environment.iter().flat_map(|(name, value)| [name, value]);
    let length: usize = request.argv.iter().chain(variables).map(String::len).sum();
    if length > WORDS_LIMIT {
        return refuse(
            "argv",
            format!("{length} bytes with the variables; Kubernetes is given {WORDS_LIMIT} at most"),
        );
    }
    volume(&request.directory, options)?;
    if options.image.is_none() {
        return refuse("image", "no image is named for work; the operator of this worker has to choose one");
    }
    let placement = &request.placement;
    let none = "and Kubernetes has none; the namespace is the operator's choice";
    if let Some(partition) = &placement.partition {
        return refuse("placement.partition", format!("{partition:?} is asked for, {none}"));
    }
    if let Some(account) = &placement.account {
        return refuse("placement.account", format!("{account:?} is asked for, {none}"));
    }
    let Allocation { nodes, cores, .. } = request.allocation;
    if nodes > 1 {
        let reason = format!("{nodes} asked for; a job is one pod here, which is on one node");
        return refuse("allocation.nodes", reason);
    }
    match placement.tasks {
        Some(0) => refuse("placement.tasks", "0 tasks do nothing"),
        Some(tasks) if !cores.max(1).is_multiple_of(tasks) => {
            refuse("placement.tasks", format!("{tasks} tasks cannot share {cores} cores evenly"))
        }
        _ => Ok(()),
    }
}

/// The volume, when the directory is on it.
fn volume<'a>(directory: &Path, options: &'a KubernetesOptions) -> Result<&'a SharedVolume, WorkloadError> {
    let Some(volume) = &options.volume else {
        let reason = "no volume is named that both this worker and the pods have; without one a pod has neither \
                      the job's input nor a place for its results";
        return refuse("directory", reason);
    };
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let is_utf8 = directory.to_str().is_some_and(|text| !text.contains(char::is_control));
    if !directory.starts_with(&volume.path) || !directory.components().all(plain) || !is_utf8 {
        let path = volume.path.display();
        return refuse("directory", format!("{} is not on the shared volume {path}", directory.display()));
    }
    Ok(volume)
}

impl Manifest {
    /// The Job of a request. `cluster` is none where its nodes cannot be seen.
    pub(super) fn of(
        request: &SubmitRequest,
        options: &KubernetesOptions,
        cluster: Option<&Cluster>,
    ) -> Result<Self, WorkloadError> {
        check(request, options)?;
        let placement = &request.placement;
        let mut node_selector = options.node_selector.clone();
        if let Some(constraint) = &placement.constraint {
            let Some(labels) = fields::labels(constraint) else {
                let reason = format!("{constraint:?} is no list of labels such as disk=ssd,zone=a");
                return refuse("placement.constraint", reason);
            };
            for (key, value) in labels {
                let before = node_selector.insert(key.clone(), value);
                if before.is_some_and(|before| node_selector.get(&key) != Some(&before)) {
                    return refuse(
                        "placement.constraint",
                        format!("this site is made of nodes with another {key}"),
                    );
                }
            }
        }
        let priority_class = placement.qos.clone();
        if priority_class.as_ref().is_some_and(|name| name.is_empty() || !fields::is_label_value(name)) {
            return refuse("placement.qos", format!("{:?} is no name of a priority class", placement.qos));
        }
        if request.memory_limit.is_some_and(|limit| limit.get() <= 0.0) {
            return refuse("memory_limit", "it leaves no memory to run in");
        }
        let mut manifest = Self {
            job_id: request.job_id.clone(),
            attempt: request.attempt,
            argv: request.argv.clone(),
            environment: request.own_variables(),
            directory: request.directory.clone(),
            allocation: request.allocation,
            tasks: placement.tasks,
            memory: request.memory_limit.map(crate::local::bytes),
            gpu_resource: None,
            gpu_products: None,
            node_selector,
            priority_class,
            active_deadline_seconds: request.time_limit.map(whole_seconds).transpose()?,
        };
        let model = placement.gpu_model.as_ref().filter(|_| request.allocation.gpus > 0);
        manifest.choose_gpus(model.map(|model| model.to_ascii_lowercase()), options, cluster)?;
        if let Some(cluster) = cluster {
            manifest.could_run(cluster)?;
        }
        if manifest.allocation.nodes == 0 {
            // Work that names no cores still runs on one.
            manifest.allocation.cores = manifest.allocation.cores.max(1);
        }
        if manifest.allocation.cores == 0 {
            return refuse(
                "allocation.cores",
                "a whole node is asked for and nobody says how many cores it has",
            );
        }
        Ok(manifest)
    }

    /// The resource and the products that the GPUs are.
    fn choose_gpus(
        &mut self,
        model: Option<String>,
        options: &KubernetesOptions,
        cluster: Option<&Cluster>,
    ) -> Result<(), WorkloadError> {
        if self.allocation.gpus == 0 {
            return Ok(());
        }
        if let Some(model) = model {
            let Some(cluster) = cluster else {
                let reason = format!("nodes cannot be seen here, so nobody knows which GPUs are {model:?}");
                return refuse("placement.gpu_model", reason);
            };
            let of_model = |node: &&Machine| self.may_use(node) && node.gpu_model().as_ref() == Some(&model);
            let mut found: Vec<(&str, String)> = cluster
                .in_service()
                .filter(of_model)
                .filter_map(|node| node.gpu_resource.zip(node.gpu_product.clone()))
                .collect();
            found.sort();
            found.dedup();
            let Some((resource, _)) = found.first().cloned() else {
                return refuse(
                    "placement.gpu_model",
                    format!("no node in service has GPUs that are {model:?}"),
                );
            };
            let label = GPU_RESOURCES.iter().find(|(name, _)| *name == resource).map(|(_, label)| *label);
            let products =
                found.into_iter().filter(|(name, _)| *name == resource).map(|(_, product)| product);
            self.gpu_resource = Some(resource.to_owned());
            self.gpu_products = label.map(|label| (label.to_owned(), products.collect()));
            return Ok(());
        }
        let seen = || {
            let mut kinds =
                cluster?.in_service().filter(|node| self.may_use(node)).filter_map(|node| node.gpu_resource);
            kinds.next().map(str::to_owned)
        };
        self.gpu_resource = options.gpu_resource.clone().or_else(seen);
        if self.gpu_resource.is_none() {
            let what =
                if cluster.is_some() { "no node in service has any" } else { "nodes cannot be seen here" };
            return refuse("allocation.gpus", format!("{} asked for, and {what}", self.allocation.gpus));
        }
        Ok(())
    }

    /// Whether a node has the labels that were asked for.
    pub(super) fn may_use(&self, node: &Machine) -> bool {
        let has = |(key, value): (&String, &String)| node.labels.get(key) == Some(value);
        let product = self.gpu_products.as_ref().is_none_or(|(_, products)| {
            node.gpu_product.as_ref().is_some_and(|product| products.contains(product))
        });
        node.takes(self.allocation.gpus) && self.node_selector.iter().all(has) && product
    }

    /// What the pod asks for.
    pub(super) fn amount(&self) -> Amount {
        Amount {
            millicores: u64::from(self.allocation.cores) * 1000,
            memory: self.memory.unwrap_or(0),
            gpus: u64::from(self.allocation.gpus),
        }
    }

    /// Whether it could ever run on these nodes. Kubernetes would take what never runs, and keep it for ever.
    fn could_run(&mut self, cluster: &Cluster) -> Result<(), WorkloadError> {
        let nodes: Vec<&Machine> = cluster.in_service().filter(|node| self.may_use(node)).collect();
        if nodes.is_empty() {
            let labels: Vec<String> =
                self.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return match labels.is_empty() {
                true => refuse("allocation", "no node is in service"),
                false => {
                    refuse("placement.constraint", format!("no node in service has {}", labels.join(",")))
                }
            };
        }
        if self.allocation.nodes == 1 && self.allocation.cores == 0 {
            let enough = |node: &&&Machine| u64::from(self.allocation.gpus) <= node.has.gpus;
            let cores = nodes.iter().filter(enough).map(|node| node.has.slots().cores).min();
            self.allocation.cores = cores.unwrap_or(0);
        }
        let asked = self.amount();
        let most = |part: fn(&Amount) -> u64| nodes.iter().map(|node| part(&node.has)).max().unwrap_or(0);
        let (cores, gpus, memory) =
            (most(|has| has.millicores) / 1000, most(|has| has.gpus), most(|has| has.memory));
        if asked.millicores / 1000 > cores {
            let reason = format!("{} asked for, the largest node has {cores}", self.allocation.cores);
            return refuse("allocation.cores", reason);
        }
        if asked.gpus > gpus {
            return refuse(
                "allocation.gpus",
                format!("{} asked for, no node has more than {gpus}", asked.gpus),
            );
        }
        if asked.memory > memory {
            let reason = format!("{} bytes asked for, the largest node has {memory}", asked.memory);
            return refuse("memory_limit", reason);
        }
        if !nodes.iter().any(|node| asked.fits(node.has)) {
            return refuse("allocation", "no single node has that many cores, GPUs and memory together");
        }
        if !cluster.within_quota(asked) {
            return refuse("allocation", "the quota of the namespace never allows that much");
        }
        Ok(())
    }

    fn resources(&self) -> BTreeMap<String, Quantity> {
        let mut resources = BTreeMap::new();
        let mut put = |name: &str, value: String| resources.insert(name.to_owned(), Quantity(value));
        put("cpu", self.allocation.cores.to_string());
        if let Some(memory) = self.memory {
            put("memory", memory.to_string());
        }
        if let Some(resource) = &self.gpu_resource {
            put(resource, self.allocation.gpus.to_string());
        }
        resources
    }

    /// The Job.
    pub(super) fn job(&self, digest: &Digest, options: &KubernetesOptions) -> Result<Job, WorkloadError> {
        let shared = volume(&self.directory, options)?;
        let mut labels: BTreeMap<String, String> =
            [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into_iter().collect();
        labels.insert(ATTEMPT.to_owned(), self.attempt.to_string());
        if fields::is_label_value(self.job_id.as_str()) {
            labels.insert(JOB.to_owned(), self.job_id.to_string());
        }
        let mut annotations: BTreeMap<String, String> = BTreeMap::new();
        let mut note = |name: &str, value: String| annotations.insert(name.to_owned(), value);
        note(JOB, self.job_id.to_string());
        note(REQUEST, digest.to_string());
        if self.allocation.nodes > 0 {
            note(NODES, self.allocation.nodes.to_string());
        }
        if let Some(tasks) = self.tasks {
            note(TASKS, tasks.to_string());
        }
        let container = self.container(options, shared);
        let pod = PodSpec {
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: self.active_deadline_seconds,
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            // What runs in the pod is not ours; it gets no credentials for the cluster that it was not given.
            automount_service_account_token: Some(options.service_account.is_some()),
            service_account_name: options.service_account.clone(),
            enable_service_links: Some(false),
            node_selector: Some(self.node_selector.clone()).filter(|labels| !labels.is_empty()),
            affinity: self.affinity(),
            tolerations: self.gpu_resource.as_ref().map(|resource| {
                vec![Toleration {
                    key: Some(resource.clone()),
                    operator: Some("Exists".to_owned()),
                    effect: Some("NoSchedule".to_owned()),
                    ..Toleration::default()
                }]
            }),
            priority_class_name: self.priority_class.clone(),
            containers: vec![container],
            volumes: Some(vec![shared.volume()]),
            ..PodSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(name(&self.job_id, self.attempt)),
            labels: Some(labels.clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        let template = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
        let spec = JobSpec {
            // An attempt is tried once.
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            ttl_seconds_after_finished: Some(options.keep_finished.as_secs().try_into().unwrap_or(i32::MAX)),
            template: PodTemplateSpec { metadata: Some(template), spec: Some(pod) },
            ..JobSpec::default()
        };
        Ok(Job { metadata, spec: Some(spec), ..Job::default() })
    }

    fn container(&self, options: &KubernetesOptions, shared: &SharedVolume) -> Container {
        let notes = attempts::notes(&self.directory, self.attempt).display().to_string();
        // Kubernetes keeps the time limit itself.
        let command = ["/bin/sh", "-c", BATCH_SCRIPT, "parley", &notes, "0"];
        let variable = |(name, value): (&String, &String)| EnvVar {
            name: name.clone(),
            value: Some(fields::escaped(value)),
            ..EnvVar::default()
        };
        let directory = self.directory.display().to_string();
        Container {
            name: CONTAINER.to_owned(),
            image: options.image.clone(),
            command: Some(command.iter().map(|word| fields::escaped(word)).collect()),
            args: Some(self.argv.iter().map(|word| fields::escaped(word)).collect()),
            env: Some(self.environment.iter().map(variable).collect()),
            working_dir: Some(directory),
            resources: Some(ResourceRequirements {
                requests: Some(self.resources()),
                limits: Some(self.resources()),
                ..ResourceRequirements::default()
            }),
            volume_mounts: Some(vec![VolumeMount {
                name: VOLUME.to_owned(),
                mount_path: shared.path.display().to_string(),
                ..VolumeMount::default()
            }]),
            lifecycle: Some(Lifecycle {
                pre_stop: Some(LifecycleHandler {
                    exec: Some(ExecAction {
                        command: Some(["/bin/sh", "-c", TELL_ALL].map(str::to_owned).to_vec()),
                    }),
                    ..LifecycleHandler::default()
                }),
                ..Lifecycle::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                // Its files are those of whoever runs this worker.
                run_as_user: options.run_as.map(|(user, _)| user.into()),
                run_as_group: options.run_as.map(|(_, group)| group.into()),
                run_as_non_root: options.run_as.map(|(user, _)| user != 0),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }
    }

    fn affinity(&self) -> Option<Affinity> {
        let (label, products) = self.gpu_products.as_ref()?;
        let is_one_of = NodeSelectorRequirement {
            key: label.clone(),
            operator: "In".to_owned(),
            values: Some(products.clone()),
        };
        let term = NodeSelectorTerm { match_expressions: Some(vec![is_one_of]), match_fields: None };
        let required = NodeSelector { node_selector_terms: vec![term] };
        let node_affinity = NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(required),
            ..NodeAffinity::default()
        };
        Some(Affinity { node_affinity: Some(node_affinity), ..Affinity::default() })
    }

    /// Reads a Job back; `None` when it is not one of ours.
    #[must_use]
    pub fn read(job: &Job) -> Option<Self> {
        let annotations = job.metadata.annotations.as_ref()?;
        let note = |name: &str| annotations.get(name);
        let pod = job.spec.as_ref()?.template.spec.as_ref()?;
        let [container] = pod.containers.as_slice() else { return None };
        let plain = |words: &Option<Vec<String>>| {
            words.iter().flatten().map(|word| fields::unescaped(word)).collect::<Option<Vec<String>>>()
        };
        if plain(&container.command)?.get(2)? != BATCH_SCRIPT {
            return None;
        }
        let variables = container.env.iter().flatten();
        let variables = variables
            .map(|variable| Some((variable.name.clone(), fields::unescaped(variable.value.as_ref()?)?)));
        let limits = container.resources.as_ref()?.limits.as_ref();
        let gpus = GPU_RESOURCES.iter().map(|(name, _)| *name);
        let others = limits.into_iter().flat_map(BTreeMap::keys).map(String::as_str);
        let gpu_resource = gpus
            .chain(others)
            .find(|name| !matches!(*name, "cpu" | "memory") && fields::amount(limits, name).is_some());
        let gpu_count = gpu_resource.and_then(|name| fields::amount(limits, name)).unwrap_or(0);
        let terms = pod.affinity.as_ref().and_then(|affinity| {
            let node = affinity.node_affinity.as_ref()?;
            let required = node.required_during_scheduling_ignored_during_execution.as_ref()?;
            required.node_selector_terms.first()?.match_expressions.as_ref()?.first()
        });
        Some(Self {
            job_id: JobId::parse(note(JOB)?).ok()?,
            attempt: AttemptNumber(job.metadata.labels.as_ref()?.get(ATTEMPT)?.parse().ok()?),
            argv: plain(&container.args)?,
            environment: variables.collect::<Option<_>>()?,
            directory: PathBuf::from(container.working_dir.as_ref()?),
            allocation: Allocation {
                nodes: note(NODES).map_or(Some(0), |nodes| nodes.parse().ok())?,
                cores: u32::try_from(fields::amount(limits, "cpu")? / 1000).ok()?,
                gpus: u32::try_from(gpu_count).ok()?,
            },
            tasks: note(TASKS).map(|tasks| tasks.parse().ok()).unwrap_or_default(),
            memory: fields::amount(limits, "memory"),
            gpu_resource: gpu_resource.map(str::to_owned),
            gpu_products: terms.map(|term| (term.key.clone(), term.values.clone().unwrap_or_default())),
            node_selector: pod.node_selector.clone().unwrap_or_default(),
            priority_class: pod.priority_class_name.clone(),
            active_deadline_seconds: pod.active_deadline_seconds,
        })
    }
}

impl SharedVolume {
    fn volume(&self) -> Volume {
        let mut volume = Volume { name: VOLUME.to_owned(), ..Volume::default() };
        match &self.source {
            VolumeSource::Claim(name) => {
                volume.persistent_volume_claim =
                    Some(PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None });
            }
            VolumeSource::HostPath(path) => {
                volume.host_path = Some(HostPathVolumeSource {
                    path: path.display().to_string(),
                    type_: Some("Directory".to_owned()),
                });
            }
        }
        volume
    }
}

#[cfg(test)]
mod tests;
