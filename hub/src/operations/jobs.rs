//! Jobs: look, wait, list, read the log, stop.

use std::time::Duration;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::fleet::WorkerState;
use protocol::ids::JobId;
use protocol::job::{Job, JobState};
use protocol::units::Seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::hub::Hub;
use crate::principal::Principal;
use crate::store::JobFilter;

/// The longest wait that one call may ask for: below the time that clients give a call.
const LONGEST_WAIT_SECONDS: f64 = 20.0;

/// Names a job.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobArguments {
    /// The job.
    pub job_id: JobId,
}

/// Names a job and how long to wait for a change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitArguments {
    /// The job.
    pub job_id: JobId,
    /// Seconds to wait for a change of state, at most 20.
    #[serde(default)]
    pub wait_seconds: Option<Seconds>,
}

/// Which jobs to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobsArguments {
    /// Only those in this state.
    #[serde(default)]
    pub state: Option<JobState>,
    /// At most this many, from 1 to 1000; 100 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A list of jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobList {
    /// Newest first.
    pub items: Vec<Job>,
}

/// A page of a log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogArguments {
    /// The job.
    pub job_id: JobId,
    /// The byte to begin at; 0 when absent.
    #[serde(default)]
    pub offset: u64,
}

/// A page of a log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogAnswer {
    /// The output.
    pub text: String,
    /// Where the next page begins.
    pub next_offset: u64,
    /// Whether the job is over and this page is its last.
    pub complete: bool,
}

/// A limit within its bounds.
pub fn page_limit(limit: Option<u32>) -> Result<u32, ErrorBody> {
    match limit.unwrap_or(100) {
        limit @ 1..=1000 => Ok(limit),
        limit => Err(ErrorBody::new(ErrorCode::Field, format!("limit is {limit}, must be from 1 to 1000"))),
    }
}

impl Hub {
    /// The job, if the principal may see it.
    pub(crate) async fn find_job(&self, principal: &Principal, id: &JobId) -> Result<Job, ErrorBody> {
        let job = self.store().job(principal.sees(), id.clone()).await.map_err(|e| e.outward())?;
        let mut job =
            job.ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no job {id}")))?;
        self.mark_stale(&mut job);
        Ok(job)
    }

    /// A running job is stale while its worker gives no signs of life.
    fn mark_stale(&self, job: &mut Job) {
        job.stale = !job.state.is_terminal()
            && job.worker_id.as_ref().is_some_and(|id| {
                self.fleet().get(id).is_none_or(|member| {
                    matches!(self.fleet().state(&member), WorkerState::Suspect | WorkerState::Offline)
                })
            });
    }

    pub(super) async fn get_job(
        &self,
        principal: &Principal,
        arguments: WaitArguments,
        caller: &Caller,
    ) -> Result<Job, ErrorBody> {
        let mut changes = self.job_changes();
        let first = self.find_job(principal, &arguments.job_id).await?;
        let wait = arguments.wait_seconds.map_or(0.0, Seconds::get);
        if wait <= 0.0 || first.state.is_terminal() {
            return Ok(first);
        }
        let deadline = tokio::time::sleep(Duration::from_secs_f64(wait.min(LONGEST_WAIT_SECONDS)));
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => break,
                () = caller.cancelled.cancelled() => break,
                changed = changes.recv() => {
                    // A receiver that fell behind has missed something: look again.
                    let concerns = changed.as_ref().map_or(true, |id| *id == arguments.job_id);
                    if concerns && self.find_job(principal, &arguments.job_id).await?.state != first.state {
                        break;
                    }
                }
            }
        }
        self.find_job(principal, &arguments.job_id).await
    }

    pub(super) async fn list_jobs(
        &self,
        principal: &Principal,
        arguments: JobsArguments,
    ) -> Result<JobList, ErrorBody> {
        let filter = JobFilter { state: arguments.state, limit: page_limit(arguments.limit)? };
        let mut items = self.store().jobs(principal.sees(), filter).await.map_err(|e| e.outward())?;
        for job in &mut items {
            self.mark_stale(job);
        }
        Ok(JobList { items })
    }

    pub(super) async fn get_job_logs(
        &self,
        principal: &Principal,
        arguments: LogArguments,
    ) -> Result<LogAnswer, ErrorBody> {
        let job = self.find_job(principal, &arguments.job_id).await?;
        let Some(attempt) = job.attempts.last() else {
            return Ok(LogAnswer { text: String::new(), next_offset: 0, complete: job.state.is_terminal() });
        };
        let page = self.files().read_log(&job.job_id, attempt.attempt, arguments.offset).await?;
        let complete = job.state.is_terminal() && page.text.is_empty();
        Ok(LogAnswer { text: page.text, next_offset: page.next_offset, complete })
    }

    pub(super) async fn cancel_job(
        &self,
        principal: &Principal,
        arguments: JobArguments,
    ) -> Result<Job, ErrorBody> {
        let job = self.find_job(principal, &arguments.job_id).await?;
        if job.state.is_terminal() {
            let message = format!("job {} is already {}", job.job_id, job.state);
            return Err(ErrorBody::new(ErrorCode::JobTerminal, message));
        }
        if job.state != JobState::Cancelling {
            let event = Event::CancelRequested { job_id: job.job_id.clone() };
            self.append(&principal.id, vec![event]).await?;
        }
        self.send_cancel(&job).await;
        self.find_job(principal, &arguments.job_id).await
    }
}
