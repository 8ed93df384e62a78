//! What is read from the store. Every query that a client can cause takes the owner, so that nobody
//! reads what belongs to somebody else.

use std::collections::BTreeMap;

use protocol::artifact::Artifact;
use protocol::event::{Event, StoredEvent};
use protocol::ids::{ArtifactId, Digest, JobId, NegotiationId, PrincipalId, WorkerId};
use protocol::job::{AttemptNumber, Job, JobState};
use protocol::negotiation::{Negotiation, Stage};
use protocol::trust::TrustRecord;
use protocol::units::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fold::fold_negotiation;
use super::projection::{read_job, rebuild};
use super::{Store, StoreError};

/// An idempotency key with the request that it stands for.
#[derive(Debug, Clone)]
pub struct Idempotent {
    /// The key.
    pub key: String,
    /// Digest of the request.
    pub digest: Digest,
    /// The job that the request made.
    pub job_id: JobId,
}

impl Idempotent {
    pub(super) fn insert(&self, connection: &Connection, owner: &PrincipalId) -> Result<(), StoreError> {
        connection
            .prepare_cached("INSERT INTO idempotency (owner, key, digest, job_id) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![owner.as_str(), self.key, self.digest.as_str(), self.job_id.as_str()])?;
        Ok(())
    }
}

/// A worker as it last joined.
#[derive(Debug, Clone)]
pub struct WorkerRow {
    /// Its `WorkerJoined` event.
    pub joined: Event,
    /// Whether it is still a member.
    pub present: bool,
}

/// One line of the list of negotiations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NegotiationRow {
    /// Its id.
    pub negotiation_id: NegotiationId,
    /// When it was asked.
    pub created_at: Timestamp,
    /// How far it has come.
    pub stage: Stage,
    /// What was asked, in words.
    pub prompt: Option<String>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// At most this many, newest first.
    pub limit: u32,
}

pub fn read_event(row: &Row<'_>) -> Result<StoredEvent, StoreError> {
    let owner: String = row.get(2)?;
    let body: String = row.get(3)?;
    Ok(StoredEvent {
        sequence: row.get(0)?,
        at: Timestamp::from_millis(row.get(1)?),
        owner: serde_json::from_value(owner.into())?,
        event: serde_json::from_str(&body)?,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(
    rows: impl Iterator<Item = rusqlite::Result<String>>,
) -> Result<Vec<T>, StoreError> {
    rows.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
}

impl Store {
    /// Every worker that ever joined.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT body, present FROM worker ORDER BY worker_id")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
            rows.map(|row| {
                let (body, present) = row?;
                Ok(WorkerRow { joined: serde_json::from_str(&body)?, present })
            })
            .collect()
        })
        .await
    }

    /// What is known of every worker's honesty and delivery.
    pub async fn trust(&self) -> Result<BTreeMap<WorkerId, TrustRecord>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT worker_id, body FROM trust")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.map(|row| {
                let (id, body) = row?;
                Ok((serde_json::from_value(id.into())?, serde_json::from_str(&body)?))
            })
            .collect()
        })
        .await
    }

    /// When each worker last won.
    pub async fn last_chosen(&self) -> Result<BTreeMap<WorkerId, Timestamp>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT worker_id, at FROM chosen")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
            rows.map(|row| {
                let (id, at) = row?;
                Ok((serde_json::from_value(id.into())?, Timestamp::from_millis(at)))
            })
            .collect()
        })
        .await
    }

    /// A negotiation, folded from its events.
    pub async fn negotiation(
        &self,
        owner: Option<PrincipalId>,
        id: NegotiationId,
    ) -> Result<Option<Negotiation>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sequence, at, owner, body FROM event WHERE negotiation_id = ?1 ORDER BY sequence",
            )?;
            let mut rows = query.query([id.as_str()])?;
            let mut negotiation = None;
            while let Some(row) = rows.next()? {
                fold_negotiation(&mut negotiation, read_event(row)?.event);
            }
            Ok(negotiation.filter(|n: &Negotiation| owner.is_none_or(|owner| n.owner == owner)))
        })
        .await
    }

    /// The events of a negotiation, in order.
    pub async fn negotiation_events(&self, id: NegotiationId) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sequence, at, owner, body FROM event WHERE negotiation_id = ?1 ORDER BY sequence",
            )?;
            let mut rows = query.query([id.as_str()])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(read_event(row)?);
            }
            Ok(events)
        })
        .await
    }

    /// The latest negotiations of an owner, newest first.
    pub async fn negotiations(
        &self,
        owner: Option<PrincipalId>,
        limit: u32,
    ) -> Result<Vec<NegotiationRow>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT negotiation_id, created_at, stage, prompt FROM negotiation
                 WHERE ?1 IS NULL OR owner = ?1 ORDER BY created_at DESC LIMIT ?2",
            )?;
            let rows = query.query_map(params![owner.as_ref().map(PrincipalId::as_str), limit], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
            })?;
            rows.map(|row| {
                let (id, at, stage, prompt) = row?;
                Ok(NegotiationRow {
                    negotiation_id: serde_json::from_value(id.into())?,
                    created_at: Timestamp::from_millis(at),
                    stage: serde_json::from_value(stage.into())?,
                    prompt,
                })
            })
            .collect()
        })
        .await
    }

    /// Negotiations whose calls or award were out when the hub stopped.
    pub async fn unsettled(&self) -> Result<Vec<NegotiationId>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT negotiation_id FROM negotiation WHERE stage IN ('asking', 'awarding')",
            )?;
            let rows = query.query_map([], |row| row.get::<_, String>(0))?;
            rows.map(|id| Ok(serde_json::from_value(id?.into())?)).collect()
        })
        .await
    }

    /// A job.
    pub async fn job(&self, owner: Option<PrincipalId>, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read(move |connection| {
            Ok(read_job(connection, &id)?.filter(|job| owner.is_none_or(|owner| job.owner == owner)))
        })
        .await
    }

    /// The jobs of an owner, newest first.
    pub async fn jobs(&self, owner: Option<PrincipalId>, filter: JobFilter) -> Result<Vec<Job>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT body FROM job WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR state = ?2)
                 ORDER BY created_at DESC, job_id LIMIT ?3",
            )?;
            let rows = query.query_map(
                params![
                    owner.as_ref().map(PrincipalId::as_str),
                    filter.state.map(|state| state.to_string()),
                    filter.limit
                ],
                |row| row.get(0),
            )?;
            parsed(rows)
        })
        .await
    }

    /// Jobs that may still take capacity: not over, or over without anybody knowing.
    pub async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT body FROM job WHERE state IN
                 ('pending', 'blocked', 'negotiating', 'running', 'cancelling')",
            )?;
            parsed(query.query_map([], |row| row.get(0))?)
        })
        .await
    }

    /// The number of the last report taken for an attempt; 0 when there is none.
    pub async fn last_report(&self, job: JobId, attempt: AttemptNumber) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let last: Option<u64> = connection
                .prepare_cached("SELECT sequence FROM report WHERE job_id = ?1 AND attempt = ?2")?
                .query_row(params![job.as_str(), attempt.0], |row| row.get(0))
                .optional()?;
            Ok(last.unwrap_or(0))
        })
        .await
    }

    /// An artifact.
    pub async fn artifact(
        &self,
        owner: Option<PrincipalId>,
        id: ArtifactId,
    ) -> Result<Option<Artifact>, StoreError> {
        self.read(move |connection| {
            let body: Option<String> = connection
                .prepare_cached(
                    "SELECT body FROM artifact WHERE artifact_id = ?1 AND (?2 IS NULL OR owner = ?2)",
                )?
                .query_row(params![id.as_str(), owner.as_ref().map(PrincipalId::as_str)], |row| row.get(0))
                .optional()?;
            Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
        })
        .await
    }

    /// The artifacts of an owner, of one job or of all.
    pub async fn artifacts(
        &self,
        owner: Option<PrincipalId>,
        job: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Artifact>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT body FROM artifact WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR job_id = ?2)
                 ORDER BY rowid DESC LIMIT ?3",
            )?;
            let rows = query.query_map(
                params![owner.as_ref().map(PrincipalId::as_str), job.as_ref().map(JobId::as_str), limit],
                |row| row.get(0),
            )?;
            parsed(rows)
        })
        .await
    }

    /// What an idempotency key stands for.
    pub async fn idempotent(
        &self,
        owner: PrincipalId,
        key: String,
    ) -> Result<Option<(Digest, JobId)>, StoreError> {
        self.read(move |connection| {
            let found: Option<(String, String)> = connection
                .prepare_cached("SELECT digest, job_id FROM idempotency WHERE owner = ?1 AND key = ?2")?
                .query_row(params![owner.as_str(), key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            found
                .map(|(digest, job)| {
                    Ok((serde_json::from_value(digest.into())?, serde_json::from_value(job.into())?))
                })
                .transpose()
        })
        .await
    }

    /// Whether the projections equal what replaying the log gives; for checks, on a copy in memory.
    pub async fn replays_to_itself(&self) -> Result<bool, StoreError> {
        self.read(|connection| {
            let mut copy = Connection::open_in_memory()?;
            rusqlite::backup::Backup::new(connection, &mut copy)?.run_to_completion(
                1000,
                std::time::Duration::ZERO,
                None,
            )?;
            let before = dump(&copy)?;
            rebuild(&copy)?;
            Ok(before == dump(&copy)?)
        })
        .await
    }
}

/// Every projected row as text, in order.
fn dump(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut rows = Vec::new();
    for query in [
        "SELECT worker_id || present || body FROM worker ORDER BY 1",
        "SELECT negotiation_id || owner || created_at || stage FROM negotiation ORDER BY 1",
        "SELECT job_id || state || body FROM job ORDER BY 1",
        "SELECT job_id || attempt || '/' || sequence FROM report ORDER BY 1",
        "SELECT artifact_id || owner || digest || body FROM artifact ORDER BY 1",
        "SELECT worker_id || body FROM trust ORDER BY 1",
        "SELECT worker_id || at FROM chosen ORDER BY 1",
    ] {
        let mut statement = connection.prepare(query)?;
        for row in statement.query_map([], |row| row.get(0))? {
            rows.push(row?);
        }
    }
    Ok(rows)
}
