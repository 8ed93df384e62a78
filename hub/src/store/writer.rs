//! The one thread that writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use protocol::event::{Event, StoredEvent};
use protocol::ids::PrincipalId;
use protocol::units::Timestamp;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::{mpsc, oneshot};

use super::projection::{Subjects, project};
use super::query::Idempotent;
use super::{Invocation, StoreError};

/// Appends that one transaction takes at most.
const BATCH: usize = 512;

/// Notes that wait at most; the hub has them written twice a second.
const MOST_NOTES: usize = 65_536;

/// What the writer is asked to do.
pub enum Message {
    /// Store events.
    Append {
        owner: PrincipalId,
        at: Timestamp,
        events: Vec<Event>,
        idempotent: Option<Idempotent>,
        reply: oneshot::Sender<Result<Vec<StoredEvent>, StoreError>>,
    },
    /// Commit what was noted.
    Flush(oneshot::Sender<()>),
    /// Commit and end.
    Stop(oneshot::Sender<()>),
}

/// Counts commits and the time that they took, fsync included.
#[derive(Debug, Default)]
pub struct CommitTimes {
    commits: AtomicU64,
    microseconds: AtomicU64,
}

impl CommitTimes {
    /// Commits so far and the microseconds that they took together.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.commits.load(Ordering::Relaxed), self.microseconds.load(Ordering::Relaxed))
    }

    fn add(&self, begun: Instant) {
        let taken = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(taken, Ordering::Relaxed);
    }
}

/// Calls that are noted and not written yet. They wait beside the queue, not in it: a thousand notes a
/// second wake nobody.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<Invocation>,
    dropped: usize,
}

impl Notes {
    /// Takes a note; one too many is counted instead.
    pub fn add(&self, invocation: Invocation) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.rows.len() < MOST_NOTES {
            waiting.rows.push(invocation);
        } else {
            waiting.dropped += 1;
        }
    }

    fn take(&self) -> Vec<Invocation> {
        let Waiting { rows, dropped } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if dropped > 0 {
            tracing::warn!(dropped, "the invocation log was behind; rows were dropped");
        }
        rows
    }
}

pub struct Writer {
    connection: Connection,
    inbox: mpsc::Receiver<Message>,
    next_sequence: u64,
    notes: Arc<Notes>,
    times: Arc<CommitTimes>,
}

type Answer = (oneshot::Sender<Result<Vec<StoredEvent>, StoreError>>, Vec<StoredEvent>);

impl Writer {
    pub fn new(
        connection: Connection,
        inbox: mpsc::Receiver<Message>,
        notes: Arc<Notes>,
        times: Arc<CommitTimes>,
    ) -> Result<Self, StoreError> {
        let last: Option<u64> =
            connection.query_row("SELECT max(sequence) FROM event", [], |row| row.get(0))?;
        let next_sequence = last.unwrap_or(0) + 1;
        Ok(Self { connection, inbox, next_sequence, notes, times })
    }

    pub fn run(mut self) {
        while let Some(first) = self.inbox.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(more) = self.inbox.try_recv()
            {
                batch.push(more);
            }
            if self.handle(batch) {
                return;
            }
        }
        self.commit_notes();
    }

    /// Handles a batch in one transaction; `true` when the writer should stop.
    fn handle(&mut self, batch: Vec<Message>) -> bool {
        let mut appends = Vec::new();
        let mut flushes = Vec::new();
        let mut stops = Vec::new();
        for message in batch {
            match message {
                Message::Append { owner, at, events, idempotent, reply } => {
                    appends.push((owner, at, events, idempotent, reply));
                }
                Message::Flush(done) => flushes.push(done),
                Message::Stop(done) => stops.push(done),
            }
        }
        if !appends.is_empty() {
            self.commit_appends(appends);
        } else {
            self.commit_notes();
        }
        for done in flushes.into_iter().chain(stops.drain(..).inspect(|_| self.inbox.close())) {
            let _ = done.send(());
        }
        self.inbox.is_closed() && self.inbox.is_empty()
    }

    #[expect(clippy::type_complexity, reason = "the fields of one message, taken apart")]
    fn commit_appends(
        &mut self,
        appends: Vec<(
            PrincipalId,
            Timestamp,
            Vec<Event>,
            Option<Idempotent>,
            oneshot::Sender<Result<Vec<StoredEvent>, StoreError>>,
        )>,
    ) {
        let begun = Instant::now();
        let mut next = self.next_sequence;
        let notes = self.notes.take();
        let mut answers: Vec<Answer> = Vec::with_capacity(appends.len());
        let mut failed = Vec::new();
        let result = self.connection.transaction().map_err(StoreError::from).and_then(|mut transaction| {
            for (owner, at, events, idempotent, reply) in appends {
                // A savepoint each, so that one refused append does not take its neighbours with it.
                let outcome = transaction.savepoint().map_err(StoreError::from).and_then(|savepoint| {
                    let mut sequence = next;
                    let mut stored = Vec::with_capacity(events.len());
                    for event in events {
                        let event = StoredEvent { sequence, at, owner: owner.clone(), event };
                        insert(&savepoint, &event)?;
                        project(&savepoint, &event)?;
                        sequence += 1;
                        stored.push(event);
                    }
                    if let Some(idempotent) = &idempotent {
                        idempotent.insert(&savepoint, &owner)?;
                    }
                    savepoint.commit()?;
                    next = sequence;
                    Ok(stored)
                });
                match outcome {
                    Ok(stored) => answers.push((reply, stored)),
                    Err(error) => failed.push((reply, error)),
                }
            }
            insert_notes(&transaction, &notes)?;
            transaction.commit()?;
            Ok(())
        });
        for (reply, error) in failed {
            tracing::error!(%error, "an append was refused");
            let _ = reply.send(Err(error));
        }
        match result {
            Ok(()) => {
                self.next_sequence = next;
                self.times.add(begun);
                for (reply, stored) in answers {
                    let _ = reply.send(Ok(stored));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed; nothing of it was accepted");
                let mut error = Some(error);
                for (reply, _) in answers {
                    let _ = reply.send(Err(error.take().unwrap_or(StoreError::Busy)));
                }
            }
        }
    }

    fn commit_notes(&mut self) {
        let notes = self.notes.take();
        if notes.is_empty() {
            return;
        }
        let result = self.connection.transaction().map_err(StoreError::from).and_then(|transaction| {
            insert_notes(&transaction, &notes)?;
            Ok(transaction.commit()?)
        });
        if let Err(error) = result {
            tracing::warn!(%error, rows = notes.len(), "the invocation log could not be written");
        }
    }
}

fn insert(connection: &Connection, event: &StoredEvent) -> Result<(), StoreError> {
    let subjects = Subjects::of(&event.event);
    connection
        .prepare_cached(
            "INSERT INTO event (sequence, at, owner, negotiation_id, job_id, worker_id, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            event.sequence,
            event.at.as_millis(),
            event.owner.as_str(),
            subjects.negotiation,
            subjects.job,
            subjects.worker,
            serde_json::to_string(&event.event)?,
        ])?;
    Ok(())
}

fn insert_notes(transaction: &Transaction<'_>, notes: &[Invocation]) -> Result<(), StoreError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO invocation (at, principal, operation, digest, outcome, microseconds)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for note in notes {
        insert.execute(params![
            note.at.as_millis(),
            note.principal.as_str(),
            note.operation,
            note.digest,
            note.outcome,
            note.microseconds,
        ])?;
    }
    Ok(())
}
