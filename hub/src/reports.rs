//! What workers report about attempts: log, metrics, artifacts, the end. Each report is taken once,
//! in order, and only from the worker that has the job's latest attempt.

use std::sync::Arc;

use negotiation::trust::{Delivery, DeliveryOutcome, delivery_evidence};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::ids::{ArtifactId, Digest};
use protocol::job::{AttemptReport, Job};
use protocol::trust::TrustEvidence;
use serde::{Deserialize, Serialize};

use crate::fleet::Member;
use crate::hub::Hub;

/// The hub's answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAccepted {
    /// The last report that the hub has of this attempt.
    pub sequence: u64,
}

impl Hub {
    /// Takes a report.
    pub async fn report(
        &self,
        member: &Arc<Member>,
        report: AttemptReport,
    ) -> Result<ReportAccepted, ErrorBody> {
        let worker_id = member.particulars.worker_id.clone();
        let job = self.store().job(None, report.job_id.clone()).await.map_err(|e| e.outward())?;
        let unknown = || ErrorBody::new(ErrorCode::NotFound, "there is no such attempt of this worker");
        let job = job.ok_or_else(unknown)?;
        let attempt = job.attempts.iter().find(|one| one.attempt == report.attempt).ok_or_else(unknown)?;
        if attempt.worker_id != worker_id {
            return Err(unknown());
        }
        let last = self.store().last_report(report.job_id.clone(), report.attempt).await;
        let last = last.map_err(|e| e.outward())?;
        if report.sequence <= last {
            return Ok(ReportAccepted { sequence: last });
        }
        if job.attempts.last().is_some_and(|latest| latest.attempt != report.attempt) {
            let message = format!("attempt {} of this job is over; a later one exists", report.attempt);
            return Err(ErrorBody::new(ErrorCode::Stale, message));
        }
        if report.sequence != last + 1 {
            let message = format!("report {} came where {} was expected", report.sequence, last + 1);
            return Err(ErrorBody::new(ErrorCode::State, message));
        }
        for artifact in &report.artifacts {
            if !self.files().has(&artifact.digest).await {
                let message = format!("the bytes of {} were not uploaded", artifact.digest);
                return Err(ErrorBody::new(ErrorCode::State, message));
            }
        }
        self.files().write_log(&report.job_id, report.attempt, report.log_offset, &report.log).await?;
        let evidence = self.delivery(&job, &report);
        let ended = report.state.is_terminal();
        let proposal = attempt.proposal_id.clone();
        let owner = job.owner.clone();
        let sequence = report.sequence;
        let mut events: Vec<Event> = Vec::new();
        for artifact in &report.artifacts {
            let mut artifact = artifact.clone();
            artifact.job_id = Some(job.job_id.clone());
            events.push(Event::ArtifactStored { artifact });
        }
        let report = AttemptReport { log: String::new(), ..report };
        events.push(Event::AttemptReported {
            worker_id: worker_id.clone(),
            report: Box::new(report),
            evidence,
        });
        self.append(&owner, events).await?;
        if ended {
            self.taken().release(&worker_id, &proposal);
        }
        Ok(ReportAccepted { sequence })
    }

    /// What the end of an attempt teaches about its worker.
    fn delivery(&self, job: &Job, report: &AttemptReport) -> Vec<TrustEvidence> {
        let Some(worker_id) = &job.worker_id else { return Vec::new() };
        let code = report.error.as_ref().map(|error| error.code);
        let Some(outcome) = DeliveryOutcome::of(report.state, code) else { return Vec::new() };
        let hours = report.observed.runtime_seconds.map_or(0.0, |seconds| seconds.get() / 3600.0);
        vec![delivery_evidence(&Delivery {
            worker_id,
            job_id: &job.job_id,
            negotiation_id: job.negotiation_id.as_ref(),
            promised: &job.promised,
            observed: &report.observed,
            outcome,
            node_hours: hours,
            at: self.now(),
        })]
    }

    /// Whether a worker needs an artifact for work that it has.
    pub async fn may_fetch(&self, member: &Member, artifact: &ArtifactId) -> Result<Digest, ErrorBody> {
        let unknown = || ErrorBody::new(ErrorCode::NotFound, "there is no such artifact for this worker");
        let jobs = self.store().open_jobs().await.map_err(|e| e.outward())?;
        let uri = format!("parley://artifact/{artifact}");
        let wanted = jobs.iter().any(|job| {
            job.worker_id.as_ref() == Some(&member.particulars.worker_id)
                && job.spec.data().is_some_and(|data| data.uri == uri)
        });
        if !wanted {
            return Err(unknown());
        }
        let found = self.store().artifact(None, artifact.clone()).await.map_err(|e| e.outward())?;
        found.map(|artifact| artifact.digest).ok_or_else(unknown)
    }
}
