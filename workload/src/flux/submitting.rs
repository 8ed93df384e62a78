//! Flux's submit side: handing work over once, following it, stopping it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::units::{Seconds, Timestamp};

use super::jobs::Job;
use super::jobspec::Jobspec;
use super::{FluxOptions, FluxReader, fields, is_job_id, refusals};
use crate::attempts::{self, Attempts, Followed, Handed, HandsOver, Open, Record};
use crate::error::WorkloadError;
use crate::program::words;
use crate::read::{NativeId, Slots};
use crate::submit::{DryRun, Status, SubmitRequest};

/// Ids in one command line.
const IDS_AT_ONCE: usize = 2_000;

/// A Flux that work is handed over to.
pub struct Flux {
    reader: FluxReader,
    clock: Arc<dyn Clock>,
    attempts: Attempts,
    directory: PathBuf,
    followed: Followed<Job>,
}

impl Flux {
    /// Opens Flux with a directory of our own for what was handed over. Flux is not asked anything yet.
    pub fn open(
        options: FluxOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let directory = directory.into();
        let attempts = Attempts::open(&directory)?;
        Ok(Self {
            reader: FluxReader::new(options),
            clock,
            attempts,
            directory,
            followed: Followed::default(),
        })
    }

    /// Every check of ours, and the jobspec.
    async fn jobspec(&self, request: &SubmitRequest) -> Result<Jobspec, WorkloadError> {
        request.program()?;
        let cluster = self.reader.cluster().await?;
        let placement = request.placement.with_defaults(&self.reader.options.defaults);
        let name = attempts::name(&request.job_id, request.attempt);
        Jobspec::of(&SubmitRequest { placement, ..request.clone() }, name, &cluster)
    }

    /// The jobs of these ids that Flux still knows. Every job that is followed is asked about in one
    /// command, as often as the refresh time says; an id that was not among them is asked about at once.
    async fn jobs_of(&self, ids: &[NativeId]) -> Result<BTreeMap<NativeId, Job>, WorkloadError> {
        let all = || self.attempts.records.open_jobs().into_iter().filter(is_job_id).collect();
        let ask = async |all: Vec<NativeId>| {
            let mut jobs = BTreeMap::new();
            for part in all.chunks(IDS_AT_ONCE) {
                jobs.extend(self.reader.jobs_of(part).await?.into_iter().map(|job| (job.native(), job)));
            }
            Ok(jobs)
        };
        self.followed.jobs(self.reader.options.refresh, ids, all, ask).await
    }
}

#[async_trait]
impl HandsOver for Flux {
    type Reader = FluxReader;
    type Ready = Jobspec;

    fn reader(&self) -> &FluxReader {
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

    async fn ready(&self, request: &SubmitRequest) -> Result<Jobspec, WorkloadError> {
        self.jobspec(request).await
    }

    async fn test(&self, _: &SubmitRequest, jobspec: &Jobspec) -> Result<DryRun, WorkloadError> {
        let (cluster, queue) = tokio::try_join!(self.reader.cluster(), self.reader.jobs(&["-A"]))?;
        let asked = jobspec.asked();
        let name = jobspec.queue.clone().unwrap_or_default();
        let nobody_waits = !queue.iter().any(|job| job.waits_for_resources && job.queue == name);
        Ok(DryRun {
            takes: Slots { cores: asked.cores, memory_gib: None, gpus: asked.gpus },
            starts_now: nobody_waits && jobspec.fits_now(&cluster),
        })
    }

    async fn hand_over(
        &self,
        request: &SubmitRequest,
        ready: &Self::Ready,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        let commands = &self.reader.options.commands;
        let flux = commands.find("flux").ok_or(WorkloadError::CommandMissing { command: "flux" })?;
        let path = self.directory.join(format!("{}.jobspec", record.name()));
        attempts::write(&path, ready.document(request, record, &flux).to_string().as_bytes())?;
        let mut arguments = words(["job", "submit"]);
        arguments.push(path.display().to_string());
        let output = commands.run("flux", &arguments, Path::new("/")).await;
        // Its variables may be secrets. That the file is gone already is fine.
        let _gone = std::fs::remove_file(&path);
        let output = match output {
            Ok(output) => output,
            Err(error @ WorkloadError::Silent { .. }) => return Ok(Handed::Doubtful(error.to_string())),
            Err(error) => return Err(error),
        };
        let complaint = output.complaint();
        match (output.code, fields::job_id(&output.stdout)) {
            (Some(0), Some(id)) => Ok(Handed::Taken(NativeId(id.to_string()))),
            (Some(0) | None, _) => Ok(Handed::Doubtful(format!("flux job submit answered {complaint:?}"))),
            (Some(_), _) => refusals::refusal(&complaint).map_or(Ok(Handed::Doubtful(complaint)), Err),
        }
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let jobs = self.reader.jobs(&["-a", &format!("--name={}", record.name())]).await?;
        Ok(jobs.iter().map(Job::native).min())
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let ids: Vec<NativeId> = open.iter().map(|open| open.native.clone()).collect();
        let known = self.jobs_of(&ids).await?;
        let status = |open: &Open| {
            let (accounting, error) = match known.get(&open.native) {
                Some(job) => (job.accounting(), job.error()),
                None => {
                    let accounting = open.forgotten();
                    let error = attempts::error(accounting.state, accounting.exit_code, "Flux");
                    (accounting, error)
                }
            };
            (open.native.clone(), Status { accounting, error, log_dropped_bytes: 0 })
        };
        Ok(open.iter().map(status).collect())
    }

    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError> {
        let arguments = ["cancel".to_owned(), native.0.clone()];
        let output = self.reader.options.commands.run("flux", &arguments, Path::new("/")).await?;
        self.followed.forget().await;
        let problem = output.complaint();
        let over = problem.ends_with("job is inactive") || problem.ends_with("unknown job id");
        if output.code == Some(0) || over {
            return Ok(());
        }
        Err(WorkloadError::CommandFailed { command: "flux cancel", problem })
    }
}
