//! Writes what an event changes into the tables that queries read.

use protocol::award::ReceiptStatus;
use protocol::event::{Event, StoredEvent};
use protocol::ids::{JobId, NegotiationId, WorkerId};
use protocol::job::Job;
use protocol::negotiation::Stage;
use protocol::trust::{TrustEvidence, TrustRecord};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;
use super::fold::{fold_job, stage_name};

/// What an event is about, for finding it again.
#[derive(Debug, Default)]
pub struct Subjects<'a> {
    pub negotiation: Option<&'a str>,
    pub job: Option<&'a str>,
    pub worker: Option<&'a str>,
}

impl<'a> Subjects<'a> {
    pub fn of(event: &'a Event) -> Self {
        let negotiation = |id: &'a NegotiationId| Some(id.as_str());
        let job = |id: &'a JobId| Some(id.as_str());
        let worker = |id: &'a WorkerId| Some(id.as_str());
        match event {
            Event::WorkerJoined { worker_id, .. } | Event::WorkerLeft { worker_id } => {
                Self { worker: worker(worker_id), ..Self::default() }
            }
            Event::NegotiationOpened { negotiation: opened } => {
                Self { negotiation: negotiation(&opened.negotiation_id), ..Self::default() }
            }
            Event::NegotiationDecided { negotiation_id, .. } => {
                Self { negotiation: negotiation(negotiation_id), ..Self::default() }
            }
            Event::JobAccepted { job: accepted } => Self {
                negotiation: accepted.negotiation_id.as_ref().map(NegotiationId::as_str),
                job: job(&accepted.job_id),
                worker: None,
            },
            Event::AwardOffered { negotiation_id, job_id, worker_id, .. } => {
                Self { negotiation: negotiation(negotiation_id), job: job(job_id), worker: worker(worker_id) }
            }
            Event::AwardAnswered { negotiation_id, receipt } => Self {
                negotiation: negotiation(negotiation_id),
                job: job(&receipt.job_id),
                worker: worker(&receipt.worker_id),
            },
            Event::AwardsExhausted { negotiation_id, job_id } => {
                Self { negotiation: negotiation(negotiation_id), job: job(job_id), worker: None }
            }
            Event::AttemptReported { worker_id, report, .. } => {
                Self { job: job(&report.job_id), worker: worker(worker_id), negotiation: None }
            }
            Event::CancelRequested { job_id } => Self { job: job(job_id), ..Self::default() },
            Event::ArtifactStored { artifact } => {
                Self { job: artifact.job_id.as_ref().map(JobId::as_str), ..Self::default() }
            }
        }
    }
}

/// Applies one event to every projection.
pub fn project(connection: &Connection, stored: &StoredEvent) -> Result<(), StoreError> {
    match &stored.event {
        Event::WorkerJoined { worker_id, .. } => {
            connection
                .prepare_cached(
                    "INSERT INTO worker (worker_id, present, body) VALUES (?1, 1, ?2)
                     ON CONFLICT (worker_id) DO UPDATE SET present = 1, body = excluded.body",
                )?
                .execute(params![worker_id.as_str(), serde_json::to_string(&stored.event)?])?;
        }
        Event::WorkerLeft { worker_id } => {
            connection.execute("UPDATE worker SET present = 0 WHERE worker_id = ?1", [worker_id.as_str()])?;
        }
        Event::NegotiationOpened { negotiation } => {
            connection
                .prepare_cached(
                    "INSERT INTO negotiation (negotiation_id, owner, created_at, stage, prompt)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    negotiation.negotiation_id.as_str(),
                    negotiation.owner.as_str(),
                    negotiation.created_at.as_millis(),
                    stage_name(negotiation.stage),
                    negotiation.request.prompt,
                ])?;
        }
        Event::NegotiationDecided { negotiation_id, evidence, .. } => {
            set_stage(connection, negotiation_id, Stage::Decided)?;
            move_trust(connection, evidence)?;
        }
        Event::JobAccepted { job } => write_job(connection, job)?,
        Event::AwardOffered { negotiation_id, job_id, .. } => {
            set_stage(connection, negotiation_id, Stage::Awarding)?;
            change_job(connection, job_id, stored)?;
        }
        Event::AwardAnswered { negotiation_id, receipt } => {
            if receipt.status == ReceiptStatus::Success {
                set_stage(connection, negotiation_id, Stage::Awarded)?;
                connection
                    .prepare_cached(
                        "INSERT INTO chosen (worker_id, at) VALUES (?1, ?2)
                         ON CONFLICT (worker_id) DO UPDATE SET at = excluded.at",
                    )?
                    .execute(params![receipt.worker_id.as_str(), stored.at.as_millis()])?;
            }
            change_job(connection, &receipt.job_id, stored)?;
        }
        Event::AwardsExhausted { negotiation_id, job_id } => {
            set_stage(connection, negotiation_id, Stage::Refused)?;
            change_job(connection, job_id, stored)?;
        }
        Event::AttemptReported { report, evidence, .. } => {
            connection
                .prepare_cached(
                    "INSERT INTO report (job_id, attempt, sequence) VALUES (?1, ?2, ?3)
                     ON CONFLICT (job_id, attempt) DO UPDATE SET sequence = excluded.sequence",
                )?
                .execute(params![report.job_id.as_str(), report.attempt.0, report.sequence])?;
            change_job(connection, &report.job_id, stored)?;
            move_trust(connection, evidence)?;
        }
        Event::CancelRequested { job_id } => change_job(connection, job_id, stored)?,
        Event::ArtifactStored { artifact } => {
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO artifact (artifact_id, owner, job_id, digest, body)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    artifact.artifact_id.as_str(),
                    stored.owner.as_str(),
                    artifact.job_id.as_ref().map(JobId::as_str),
                    artifact.digest.as_str(),
                    serde_json::to_string(artifact)?,
                ])?;
        }
    }
    Ok(())
}

fn set_stage(connection: &Connection, id: &NegotiationId, stage: Stage) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE negotiation SET stage = ?2 WHERE negotiation_id = ?1")?
        .execute(params![id.as_str(), stage_name(stage)])?;
    Ok(())
}

fn change_job(connection: &Connection, id: &JobId, stored: &StoredEvent) -> Result<(), StoreError> {
    if let Some(mut job) = read_job(connection, id)? {
        fold_job(&mut job, stored);
        write_job(connection, &job)?;
    }
    Ok(())
}

pub fn read_job(connection: &Connection, id: &JobId) -> Result<Option<Job>, StoreError> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM job WHERE job_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

fn write_job(connection: &Connection, job: &Job) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO job (job_id, owner, state, worker_id, created_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (job_id) DO UPDATE SET
               state = excluded.state, worker_id = excluded.worker_id, body = excluded.body",
        )?
        .execute(params![
            job.job_id.as_str(),
            job.owner.as_str(),
            job.state.to_string(),
            job.worker_id.as_ref().map(WorkerId::as_str),
            job.created_at.as_millis(),
            serde_json::to_string(job)?,
        ])?;
    Ok(())
}

fn move_trust(connection: &Connection, evidence: &[TrustEvidence]) -> Result<(), StoreError> {
    let mut read = connection.prepare_cached("SELECT body FROM trust WHERE worker_id = ?1")?;
    let mut write = connection.prepare_cached(
        "INSERT INTO trust (worker_id, body) VALUES (?1, ?2)
         ON CONFLICT (worker_id) DO UPDATE SET body = excluded.body",
    )?;
    for piece in evidence {
        let id = piece.worker_id.as_str();
        let body: Option<String> = read.query_row([id], |row| row.get(0)).optional()?;
        let record: TrustRecord = match body {
            Some(body) => serde_json::from_str(&body)?,
            None => TrustRecord::default(),
        };
        let record = negotiation::trust::fold(&record, piece);
        write.execute(params![id, serde_json::to_string(&record)?])?;
    }
    Ok(())
}

/// Empties every projection and builds it again from the log.
pub fn rebuild(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "DELETE FROM worker; DELETE FROM negotiation; DELETE FROM job; DELETE FROM report;
         DELETE FROM artifact; DELETE FROM trust; DELETE FROM chosen;",
    )?;
    let mut events = connection.prepare("SELECT sequence, at, owner, body FROM event ORDER BY sequence")?;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        project(connection, &super::query::read_event(row)?)?;
    }
    Ok(())
}
