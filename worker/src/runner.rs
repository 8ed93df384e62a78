//! Running an accepted award: its directory, its inputs, the workload manager, reports as it goes, and
//! its outputs at the end. What is known is on disk, so a restarted worker goes on from there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::artifact::Artifact;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{ArtifactId, Digest};
use protocol::job::{AttemptState, JobSpec, Metric, Observed};
use protocol::requirement::{ComputeNeed, Requirement};
use protocol::units::{GiB, Number, Seconds, Usd};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::http::Bounds;
use transport::link::LinkError;
use workload::local::{LOG_NAME, METRICS_NAME};
use workload::read::{Accounting, NativeId, RunState};
use workload::submit::{Placement, Status, SubmitRequest};

use crate::history::Wait;
use crate::ledger::Entry;
use crate::outputs::{MetricsReader, OutputFile, confined, matching_files, read_report};
use crate::report::{Reporter, Unwanted, Update};
use crate::worker::Worker;

/// The largest input that is fetched.
const INPUT_LIMIT: usize = 1024 * 1024 * 1024;
/// How long fetching an input may take.
const INPUT_TIME: Duration = Duration::from_secs(600);
/// How often a running job is looked at, at first and later.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LATER_LOOK: Duration = Duration::from_millis(500);
/// A built-in job without a limit of its own gets this one.
const BUILT_IN_LIMIT: u32 = 3600;

impl Worker {
    /// Runs an accepted award in the background.
    pub(crate) fn run(&self, entry: Entry) {
        let worker = self.clone();
        self.tasks().spawn(async move {
            let key = (entry.award.job_id.clone(), entry.award.attempt);
            let cancel = worker.cancellation(&key);
            let ended = tokio::select! {
                ended = worker.run_to_end(&entry, &cancel) => ended,
                // The work goes on at the workload manager; the ledger knows where to take it up.
                () = worker.stopping().cancelled() => return,
            };
            if ended.is_err() {
                tracing::debug!(job = %key.0, "nobody wants to hear of this attempt any more");
            }
            worker.offers().finished(&entry.award.proposal_id);
            worker.forget_cancellation(&key);
            if !worker.stopping().is_cancelled() {
                worker.history().forget(&key);
            }
        });
    }

    async fn run_to_end(&self, entry: &Entry, cancel: &CancellationToken) -> Result<(), Unwanted> {
        let award = &entry.award;
        let directory =
            self.config().data_dir.join("jobs").join(award.job_id.as_str()).join(award.attempt.to_string());
        let key = (award.job_id.clone(), award.attempt);
        let mut reporter = Reporter::new(self.clone(), key, entry.told, directory.join(LOG_NAME));
        if let Err(error) = tokio::fs::create_dir_all(&directory).await {
            let message = format!("the job's directory cannot be made: {error}");
            return reporter.tell(failed(ErrorBody::new(ErrorCode::Storage, message))).await;
        }
        match &self.site().mock {
            Some(mock) => self.run_simulated(mock, entry, &directory, &mut reporter, cancel).await,
            None => self.run_at_manager(entry, &directory, &mut reporter, cancel, None).await,
        }
    }

    /// Runs the work at the site's workload manager. `waited` is the queue wait of a simulated site,
    /// which is reported instead of the manager's.
    pub(crate) async fn run_at_manager(
        &self,
        entry: &Entry,
        directory: &Path,
        reporter: &mut Reporter,
        cancel: &CancellationToken,
        waited: Option<Seconds>,
    ) -> Result<(), Unwanted> {
        let native = match &entry.native {
            Some(native) => native.clone(),
            None => match self.submit(entry, directory).await {
                Ok(native) => native,
                Err(error) => return reporter.tell(failed(error)).await,
            },
        };
        let manager = &self.site().manager;
        let mut metrics = MetricsReader::default();
        let mut cancelled = false;
        let mut pause = FIRST_LOOK;
        loop {
            let answer = manager.status(std::slice::from_ref(&native)).await;
            let status = match answer {
                Ok(mut statuses) => statuses.remove(&native),
                Err(error) => {
                    tracing::warn!(job = %entry.award.job_id, %error, "the workload manager does not answer");
                    tokio::time::sleep(LATER_LOOK).await;
                    continue;
                }
            };
            let new = metrics.next(&directory.join(METRICS_NAME)).await;
            let Some(status) = status else {
                let message = "the workload manager does not know this job any more";
                let mut update = failed(ErrorBody::new(ErrorCode::Internal, message));
                update.state = AttemptState::Unknown;
                return reporter.tell(update).await;
            };
            let observed = self.observed(entry, &status.accounting, waited);
            self.remember_wait(entry, &status.accounting);
            if status.state().is_terminal() {
                let mut rest = new;
                rest.extend(metrics.next(&directory.join(METRICS_NAME)).await);
                return self.finish(entry, directory, reporter, &status, observed, rest).await;
            }
            let mut update = Update::state(status.state().into());
            update.metrics = new;
            update.observed = observed;
            reporter.tell(update).await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LATER_LOOK),
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    pause = FIRST_LOOK;
                    if let Err(error) = manager.cancel(&native).await {
                        tracing::warn!(job = %entry.award.job_id, %error, "the job could not be cancelled");
                    }
                }
            }
        }
    }

    /// What is compared with the promises; a price is promised and observed by the same rule.
    pub(crate) fn observed(
        &self,
        entry: &Entry,
        accounting: &Accounting,
        waited: Option<Seconds>,
    ) -> Observed {
        let observed = accounting.observed();
        let cost_usd = observed.runtime_seconds.and_then(|run| match &self.site().mock {
            Some(mock) => self.simulated_cost(mock, entry, run),
            None => {
                let per_hour = entry.usd_per_hour?.get();
                Some(Usd::saturating(per_hour * run.get() / 3600.0))
            }
        });
        let had = f64::from(entry.allocation.gpus);
        let is_real = self.site().mock.is_none() && had > 0.0;
        let gpu_hours = observed
            .runtime_seconds
            .filter(|_| is_real)
            .map(|run| Number::saturating(had * run.get() / 3600.0));
        Observed { start_seconds: waited.or(observed.start_seconds), cost_usd, gpu_hours, ..observed }
    }

    /// Tells the history how long the work waited, once that is known. Work that failed before it started
    /// says nothing of the queue.
    fn remember_wait(&self, entry: &Entry, accounting: &Accounting) {
        let key = (entry.award.job_id.clone(), entry.award.attempt);
        let withdrawn = matches!(accounting.state, RunState::Cancelled | RunState::TimedOut);
        let wait = match (accounting.observed().start_seconds, accounting.ended_at) {
            (Some(started), _) => Wait::Started(started),
            (None, Some(ended)) if withdrawn => Wait::AtLeast(ended.since(accounting.received_at)),
            _ => return,
        };
        self.history().waited(&key, wait);
    }

    async fn submit(&self, entry: &Entry, directory: &Path) -> Result<NativeId, ErrorBody> {
        let award = &entry.award;
        let (argv, environment, time_limit) = match &award.job {
            JobSpec::Command(command) => {
                (command.argv.clone(), command.environment.clone(), command.time_limit_seconds)
            }
            built_in => {
                let spec = self.localised(built_in, directory).await?;
                let path = directory.join("spec.json");
                let text = serde_json::to_vec_pretty(&spec).map_err(|error| storage(&error.to_string()))?;
                tokio::fs::write(&path, text).await.map_err(|error| storage(&error.to_string()))?;
                let program = self.config().program.to_string_lossy().into_owned();
                let argv = vec![program, "job".to_owned(), "run".to_owned(), "spec.json".to_owned()];
                (argv, std::collections::BTreeMap::new(), Some(Seconds::from(BUILT_IN_LIMIT)))
            }
        };
        let request = SubmitRequest {
            job_id: award.job_id.clone(),
            attempt: award.attempt,
            argv,
            environment,
            directory: directory.to_owned(),
            // A simulated cluster is larger than the machine that computes for it.
            allocation: if self.site().mock.is_some() {
                protocol::facts::Allocation { nodes: 0, cores: 1, gpus: 0 }
            } else {
                entry.allocation
            },
            placement: if self.site().mock.is_some() {
                Placement::default()
            } else {
                placement(&award.requirement)
            },
            memory_limit: memory(&award.requirement.compute).filter(|_| self.site().mock.is_none()),
            time_limit,
        };
        let native = self.site().manager.submit(request).await.map_err(|error| error.body())?;
        let key = (award.job_id.clone(), award.attempt);
        self.ledger().submitted(&key, native.clone()).map_err(|error| storage(&error.to_string()))?;
        Ok(native)
    }

    /// The specification with its data as a local file: fetched from the hub when it is an artifact.
    async fn localised(&self, spec: &JobSpec, directory: &Path) -> Result<JobSpec, ErrorBody> {
        let mut spec = spec.clone();
        if let Some(data) = spec.data_mut() {
            let path = match data.uri.strip_prefix("parley://artifact/") {
                Some(id) => self.fetch_input(id, directory).await?,
                None => PathBuf::from(&data.uri),
            };
            if let Some(expected) = &data.sha256 {
                let bytes = tokio::fs::read(&path).await.map_err(|error| {
                    let message = format!("the data {} cannot be read: {error}", path.display());
                    ErrorBody::new(ErrorCode::Job, message)
                })?;
                let digest = Digest::of(&bytes);
                if digest != *expected {
                    let message = format!("the data has digest {digest}, not {expected}");
                    return Err(ErrorBody::new(ErrorCode::ChecksumMismatch, message));
                }
            }
            data.uri = path.to_string_lossy().into_owned();
        }
        Ok(spec)
    }

    async fn fetch_input(&self, id: &str, directory: &Path) -> Result<PathBuf, ErrorBody> {
        let id = ArtifactId::parse(id)
            .map_err(|error| ErrorBody::new(ErrorCode::Job, format!("the data's uri: {error}")))?;
        let path = directory.join("input");
        let hub = self.hub().ok_or_else(|| ErrorBody::new(ErrorCode::UpstreamDown, "there is no hub"))?;
        let bounds = Bounds::new(Instant::now() + INPUT_TIME, INPUT_LIMIT);
        let fetch = async {
            let mut download = hub.get_stream(&format!("/v1/inputs/{id}"), bounds).await?;
            let mut file = tokio::fs::File::create(&path).await.map_err(|_| LinkError::ClosedEarly)?;
            while let Some(chunk) = download.chunk().await? {
                file.write_all(&chunk).await.map_err(|_| LinkError::ClosedEarly)?;
            }
            file.flush().await.map_err(|_| LinkError::ClosedEarly)
        };
        fetch.await.map_err(|error| {
            ErrorBody::new(error.code(), format!("the input {id} could not be fetched: {error}"))
        })?;
        Ok(path)
    }

    /// The last report: outputs, figures, the end.
    async fn finish(
        &self,
        entry: &Entry,
        directory: &Path,
        reporter: &mut Reporter,
        status: &Status,
        observed: Observed,
        mut metrics: Vec<Metric>,
    ) -> Result<(), Unwanted> {
        let mut error = status.error.clone();
        let outputs = match &entry.award.job {
            JobSpec::Command(command) => matching_files(directory, &command.outputs).await,
            _ => {
                let report = read_report(directory).await.unwrap_or_default();
                let last = report.metrics.into_iter().map(|(name, value)| Metric { name, value, step: None });
                metrics.extend(last);
                error = report.error.or(error);
                report.artifacts
            }
        };
        let mut artifacts = Vec::new();
        let mut state: AttemptState = status.state().into();
        for output in outputs {
            match self.keep(directory, reporter, entry, &output).await? {
                Ok(artifact) => artifacts.push(artifact),
                Err(rejected) if status.state() == RunState::Completed => {
                    // Work whose results cannot be kept has not delivered.
                    state = AttemptState::Failed;
                    error = Some(rejected);
                }
                Err(rejected) => tracing::debug!(%rejected, "an output of a failed job is left behind"),
            }
        }
        let exit_code = status.accounting.exit_code;
        reporter.tell(Update { state, metrics, observed, exit_code, artifacts, error }).await
    }

    async fn keep(
        &self,
        directory: &Path,
        reporter: &Reporter,
        entry: &Entry,
        output: &OutputFile,
    ) -> Result<Result<Artifact, ErrorBody>, Unwanted> {
        let Some(path) = confined(directory, &output.name).await else {
            let message = format!("the output {:?} is not a plain file of the job's directory", output.name);
            return Ok(Err(ErrorBody::new(ErrorCode::Job, message)));
        };
        let (digest, size_bytes) = match reporter.upload(&path).await? {
            Ok(uploaded) => uploaded,
            Err(error) => return Ok(Err(error)),
        };
        // The same file of the same attempt has the same id, however often it is reported.
        let identity = format!("{}/{}/{}", entry.award.job_id, entry.award.attempt, output.name);
        let hash = ring::digest::digest(&ring::digest::SHA256, identity.as_bytes());
        let mut sixteen = [0_u8; 16];
        sixteen.copy_from_slice(&hash.as_ref()[..16]);
        let artifact_id = ArtifactId::mint(u128::from_be_bytes(sixteen));
        let inputs = entry.award.job.data().and_then(|data| data.sha256.clone()).into_iter().collect();
        Ok(Ok(Artifact {
            uri: format!("parley://artifact/{artifact_id}"),
            artifact_id,
            name: output.name.clone(),
            artifact_type: output.artifact_type,
            digest,
            size_bytes,
            job_id: Some(entry.award.job_id.clone()),
            inputs,
        }))
    }
}

/// How the work is to be placed, beyond its size.
fn placement(requirement: &Requirement) -> Placement {
    let gpus = requirement.compute.gpus.as_ref().filter(|gpus| !gpus.optional);
    Placement {
        expected_runtime: requirement.time.duration_seconds,
        tasks: requirement.compute.tasks,
        gpu_model: gpus.and_then(|gpus| gpus.model.clone()),
        ..Placement::default()
    }
}

/// The memory that work gets over all its nodes: what it asked for in total, or on each node.
fn memory(compute: &ComputeNeed) -> Option<GiB> {
    let nodes = f64::from(compute.nodes.unwrap_or(1).max(1));
    let on_all = compute.memory_gib_per_node.map(|size| GiB::saturating(size.get() * nodes));
    match (compute.memory_gib, on_all) {
        (Some(total), Some(on_all)) if on_all > total => Some(on_all),
        (total, on_all) => total.or(on_all),
    }
}

fn storage(why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::Storage, format!("the worker cannot write: {why}"))
}

/// The update of an attempt that failed without having run.
pub fn failed(error: ErrorBody) -> Update {
    Update { error: Some(error), ..Update::state(AttemptState::Failed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_was_asked_for_in_total_or_on_each_node() {
        let gib = |size: u32| Some(GiB::from(size));
        for (nodes, total, on_each, expected) in [
            (None, None, None, None),
            (None, gib(64), None, gib(64)),
            (None, None, gib(64), gib(64)),
            (Some(4), None, gib(64), gib(256)),
            (Some(4), gib(512), gib(64), gib(512)),
            (Some(4), gib(128), gib(64), gib(256)),
        ] {
            let compute = ComputeNeed {
                nodes,
                memory_gib: total,
                memory_gib_per_node: on_each,
                ..ComputeNeed::default()
            };
            assert_eq!(memory(&compute), expected, "{compute:?}");
        }
    }
}
