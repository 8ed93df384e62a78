//! Kubernetes' submit side: handing work over once, following it, copying what it prints, stopping it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Resource;
use kube::core::Request;
use kube::core::params::{GetParams, Patch, PatchParams, PostParams};
use kube::core::subresource::LogParams;
use protocol::clock::Clock;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use protocol::units::{Seconds, Timestamp};
use serde_json::json;

use super::jobs::{Complaints, Work, forgotten};
use super::logs::Log;
use super::manifest::{self, CONTAINER, Manifest, REQUEST};
use super::refusals::Failure;
use super::{KubernetesOptions, KubernetesReader, VolumeSource};
use crate::attempts::{Attempts, Handed, HandsOver, Open, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::read::{NativeId, RunState};
use crate::submit::{DryRun, Status, SubmitRequest};

/// Jobs that are looked after at the same time.
const AT_ONCE: usize = 8;
/// How often a Job is made whose making was not answered; its name makes sure that there is one.
const TRIES: usize = 2;

/// A Kubernetes that work is handed over to.
pub struct Kubernetes {
    reader: KubernetesReader,
    clock: Arc<dyn Clock>,
    attempts: Attempts,
    directory: PathBuf,
}

impl Kubernetes {
    /// Opens a cluster with a directory of our own for what was handed over. Nothing is asked yet.
    pub fn open(
        options: KubernetesOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let attempts = Attempts::open(&directory)?;
        Ok(Self { reader: KubernetesReader::new(options), clock, attempts, directory })
    }

    async fn jobs_path(&self) -> Result<String, Failure> {
        Ok(Job::url_path(&(), Some(&self.reader.server.connection().await?.namespace)))
    }

    /// Makes a Job, or asks whether it would be made.
    async fn make(&self, job: &Job, dry_run: bool) -> Result<(), Failure> {
        let document = serde_json::to_vec(job).unwrap_or_default();
        let parameters = PostParams { dry_run, field_manager: None };
        let request = Request::new(self.jobs_path().await?).create(&parameters, document);
        self.reader.server.ask("POST jobs", request).await.map(|_| ())
    }

    /// The Job of this name, whoever made it.
    async fn named(&self, name: &str) -> Result<Option<Job>, Failure> {
        let request = Request::new(self.jobs_path().await?).get(name, &GetParams::default());
        match self.reader.server.get("GET job", request).await {
            Ok(job) => Ok(Some(job)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether there is certainly no object of this name. What may not be read may be there.
    async fn is_missing<K: Resource<DynamicType = ()>>(
        &self,
        what: &'static str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<bool, WorkloadError> {
        let request = Request::new(K::url_path(&(), namespace)).get(name, &GetParams::default());
        match self.reader.server.ask(what, request).await {
            Ok(_) => Ok(false),
            Err(failure) if failure.is_not_found() => Ok(true),
            Err(failure) if failure.is_forbidden() => Ok(false),
            Err(failure) => Err(failure.error()),
        }
    }

    /// What a pod would wait for in vain: Kubernetes takes a Job that names it, and its pod never begins.
    async fn check_names(&self, manifest: &Manifest) -> Result<(), WorkloadError> {
        let refuse = |field, reason: String| Err(WorkloadError::Refused { field, reason });
        if let Some(class) = &manifest.priority_class
            && self.is_missing::<PriorityClass>("GET priorityclass", None, class).await?
        {
            return refuse("placement.qos", format!("the cluster has no priority class {class:?}"));
        }
        let namespace = self.reader.server.connection().await?.namespace;
        if let Some(VolumeSource::Claim(claim)) =
            self.reader.options.volume.as_ref().map(|volume| &volume.source)
            && self
                .is_missing::<PersistentVolumeClaim>("GET persistentvolumeclaim", Some(&namespace), claim)
                .await?
        {
            let reason = format!(
                "the shared volume is claim {claim:?}, and namespace {namespace} has none of that name"
            );
            return refuse("directory", reason);
        }
        Ok(())
    }

    /// Copies what a pod has printed since the last time. Bytes that were dropped are counted.
    async fn copy_log(&self, record: &Record, pod: &str, is_over: bool) -> Result<u64, WorkloadError> {
        let path = record.directory.join(LOG_NAME);
        let kept_at = self.directory.join(format!("{}.log", record.name()));
        let mut log = Log::open(&path, kept_at, self.reader.options.log_limit_bytes)?;
        if log.is_full() {
            return log.close(true).map(|position| position.dropped);
        }
        let pods = Pod::url_path(&(), Some(&self.reader.server.connection().await?.namespace));
        let parameters = LogParams {
            container: Some(CONTAINER.to_owned()),
            timestamps: true,
            since_time: log.since(),
            ..LogParams::default()
        };
        let request = Request::new(pods).logs(pod, &parameters);
        let mut disk = None;
        let take = |part: &[u8]| {
            Ok(log.take(part).unwrap_or_else(|error| {
                disk = Some(error);
                false
            }))
        };
        let read = self.reader.server.read("GET log", request, take).await;
        if let Some(error) = disk {
            return Err(WorkloadError::io("cannot write", path)(error));
        }
        let position = log.close(is_over && read.is_ok())?;
        read?;
        Ok(position.dropped)
    }

    /// Where one job stands, after its log was copied.
    async fn status(
        &self,
        open: &Open,
        work: &Work,
        complaints: &Complaints,
        is_fresh: bool,
    ) -> Option<Status> {
        let now = self.clock.now();
        let mut standing = work.standing(complaints, now, self.reader.patience())?;
        let is_over = standing.accounting.state.is_terminal();
        let mut log_dropped_bytes = 0;
        if let Some(pod) = work.has_log().filter(|_| is_over || is_fresh) {
            match self.copy_log(&open.record, pod, is_over).await {
                Ok(dropped) => log_dropped_bytes = dropped,
                Err(error) => {
                    tracing::warn!(job = open.record.name(), %error, "what a job printed could not be copied");
                }
            }
        }
        if standing.accounting.state == RunState::Failed && standing.accounting.exit_code.is_none() {
            // Its pod may have been taken away after the work had ended.
            let noted = open.forgotten();
            if noted.exit_code.is_some() {
                standing.error =
                    ended(noted.state, noted.exit_code).filter(|_| noted.state == RunState::Failed);
                standing.accounting = noted;
            }
        }
        if let Some(said) = standing.hopeless {
            if let Err(error) = self.stop(&open.native).await {
                tracing::warn!(job = open.record.name(), %error, "a job that cannot begin could not be stopped");
                return Some(Status { accounting: standing.accounting, error: None, log_dropped_bytes });
            }
            standing.accounting.state = RunState::Failed;
            standing.accounting.ended_at = Some(now);
            standing.error =
                Some(ErrorBody::new(ErrorCode::UpstreamBad, format!("it could not begin: {said}")));
        }
        Some(Status { accounting: standing.accounting, error: standing.error, log_dropped_bytes })
    }
}

/// Why a job without a Job did not end well, by what its script noted.
fn ended(state: RunState, exit_code: Option<i32>) -> Option<ErrorBody> {
    match (state, exit_code) {
        (RunState::Completed, _) => None,
        (RunState::Failed, Some(code)) => {
            Some(ErrorBody::new(ErrorCode::JobFailed, format!("it ended with exit code {code}")))
        }
        _ => Some(forgotten()),
    }
}

/// Whether a Job was made of this request.
fn is_of(job: &Job, digest: &Digest) -> bool {
    let annotations = job.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(REQUEST))
        .is_some_and(|noted| *noted == digest.to_string())
}

#[async_trait]
impl HandsOver for Kubernetes {
    type Reader = KubernetesReader;
    type Ready = Manifest;

    fn reader(&self) -> &KubernetesReader {
        &self.reader
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn own_limit(&self, _: Option<Seconds>) -> Option<Seconds> {
        None
    }

    async fn ready(&self, request: &SubmitRequest) -> Result<Manifest, WorkloadError> {
        let options = &self.reader.options;
        let placement = request.placement.with_defaults(&options.defaults);
        let request = SubmitRequest { placement, ..request.clone() };
        // What does not depend on the cluster is told without it.
        manifest::check(&request, options)?;
        let seen = self.reader.visible().await?;
        let manifest = Manifest::of(&request, options, seen.as_ref().map(|seen| &seen.cluster))?;
        self.check_names(&manifest).await?;
        Ok(manifest)
    }

    async fn test(&self, _: &SubmitRequest, ready: &Manifest) -> Result<DryRun, WorkloadError> {
        let job = ready.job(&Digest::of(b""), &self.reader.options)?;
        match self.make(&job, true).await {
            Ok(()) => {}
            // It was submitted already.
            Err(failure) if failure.is_there_already() => {}
            Err(failure) => return Err(failure.not_made().unwrap_or_else(|| failure.error())),
        }
        let seen = self.reader.visible().await?;
        let fits = seen.and_then(|seen| seen.cluster.fits_now(ready.amount(), |node| ready.may_use(node)));
        // Where nobody can tell, it is not promised.
        Ok(DryRun { takes: ready.amount().takes(), starts_now: fits == Some(true) })
    }

    async fn hand_over(
        &self,
        _: &SubmitRequest,
        ready: &Manifest,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        let job = ready.job(&record.digest, &self.reader.options)?;
        let native = NativeId(manifest::name(&record.job_id, record.attempt));
        let mut doubt = String::new();
        for _ in 0..TRIES {
            let failure = match self.make(&job, false).await {
                Ok(()) => {
                    self.reader.forget().await;
                    return Ok(Handed::Taken(native));
                }
                Err(failure) => failure,
            };
            if failure.is_there_already() {
                return match self.named(&native.0).await {
                    Ok(Some(job)) if is_of(&job, &record.digest) => Ok(Handed::Taken(native)),
                    Ok(Some(_)) => Err(WorkloadError::Conflict { native }),
                    // Taken away in between; it may have begun.
                    Ok(None) => Ok(Handed::Doubtful("its Job was there and was deleted".to_owned())),
                    Err(failure) => Ok(Handed::Doubtful(failure.error().to_string())),
                };
            }
            if let Some(error) = failure.not_made() {
                // A first try that was not answered may have been taken after all.
                return if doubt.is_empty() { Err(error) } else { Ok(Handed::Doubtful(doubt)) };
            }
            doubt = failure.error().to_string();
        }
        Ok(Handed::Doubtful(doubt))
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let name = manifest::name(&record.job_id, record.attempt);
        let job = self.named(&name).await?;
        Ok(job.filter(|job| is_of(job, &record.digest)).map(|_| NativeId(name)))
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let (mut works, mut is_fresh) = self.reader.works(false).await?;
        if !is_fresh && open.iter().any(|open| !works.contains_key(&open.native)) {
            // The listing may be older than the Job.
            (works, is_fresh) = self.reader.works(true).await?;
        }
        let waits = |open: &Open| works.get(&open.native).is_some_and(Work::has_not_begun);
        let complaints = match open.iter().any(waits) {
            true => self.reader.complaints().await?,
            false => Arc::default(),
        };
        let one = |open: &Open| {
            let (works, complaints) = (Arc::clone(&works), Arc::clone(&complaints));
            let open = Open { native: open.native.clone(), record: open.record.clone() };
            async move {
                let status = match works.get(&open.native) {
                    Some(work) => self.status(&open, work, &complaints, is_fresh).await,
                    None => {
                        let accounting = open.forgotten();
                        let error = ended(accounting.state, accounting.exit_code);
                        Some(Status { accounting, error, log_dropped_bytes: 0 })
                    }
                };
                status.map(|status| (open.native, status))
            }
        };
        let mut statuses = BTreeMap::new();
        for part in open.chunks(AT_ONCE) {
            statuses.extend(join_all(part.iter().map(one)).await.into_iter().flatten());
        }
        Ok(statuses)
    }

    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError> {
        if let Some(record) = self.attempts.records.of(native) {
            // The cluster deletes the pod, and its log with it.
            let (works, _) = self.reader.works(false).await?;
            if let Some(pod) = works.get(native).and_then(Work::has_log)
                && let Err(error) = self.copy_log(&record, pod, false).await
            {
                tracing::warn!(job = record.name(), %error, "what a job printed could not be copied");
            }
        }
        // A Job without a deadline of its own gets one that is over: its pod is stopped and the Job stays, so
        // that it can be seen how it ended. A Job that is over stays as it is.
        let patch = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 0}}));
        let request = Request::new(self.jobs_path().await?).patch(&native.0, &PatchParams::default(), &patch);
        let answer = self.reader.server.ask("PATCH job", request).await;
        self.reader.forget().await;
        match answer {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_not_found() => Ok(()),
            Err(failure) => Err(failure.error()),
        }
    }
}
