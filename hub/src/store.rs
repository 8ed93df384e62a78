//! The hub's memory: an append-only event log in SQLite and the projections that are rebuilt from it.
//!
//! One thread writes. It takes everything that waits, writes it in one transaction together with the
//! projections, commits (WAL, synchronous FULL), and only then answers, so that an answered append
//! survives a crash and many appends share one fsync.

mod fold;
mod projection;
mod query;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::{Event, StoredEvent};
use protocol::ids::PrincipalId;
use protocol::units::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use fold::advance_negotiation;
pub use query::{Idempotent, JobFilter, NegotiationRow, WorkerRow};
pub use writer::CommitTimes;
use writer::{Message, Notes, Writer};

/// Appends that may wait for the writer before further ones are refused.
const QUEUE: usize = 4096;
/// The schema that this program writes.
const SCHEMA_VERSION: i64 = 1;

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another hub has the directory.
    #[error("the data directory {0} is in use by another hub; stop it or choose another --data-dir")]
    InUse(PathBuf),
    /// The directory cannot be made or written.
    #[error("the data directory {path} cannot be used: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database is damaged.
    #[error("the database {path} is damaged ({detail}); restore it from a backup, nothing was changed")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error("the database has schema {found}, this program knows {known}; use a newer program")]
    TooNew {
        /// The schema on disk.
        found: i64,
        /// The schema that this program writes.
        known: i64,
    },
    /// SQLite refused.
    #[error("the database refused: {0}")]
    Database(#[from] rusqlite::Error),
    /// A stored record cannot be read back.
    #[error("a stored record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    /// The writer has stopped, or too much waits for it.
    #[error("the store does not take more work now")]
    Busy,
}

impl StoreError {
    /// The error as a client sees it: no paths, no SQL.
    #[must_use]
    pub fn outward(&self) -> ErrorBody {
        match self {
            Self::Busy => ErrorBody::new(ErrorCode::Busy, "the hub is busy; try again"),
            Self::Database(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(
                    failure.code,
                    rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::SystemIoFailure
                ) =>
            {
                ErrorBody::new(ErrorCode::Storage, "storage cannot be written; nothing was accepted")
            }
            _ => ErrorBody::new(ErrorCode::Internal, "the hub's store failed; see its log"),
        }
    }
}

/// One row of the invocation log.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// When it began.
    pub at: Timestamp,
    /// Who called.
    pub principal: PrincipalId,
    /// The operation.
    pub operation: String,
    /// Digest of the arguments.
    pub digest: String,
    /// `OK` or an error code.
    pub outcome: String,
    /// How long it took.
    pub microseconds: u64,
}

/// The store, shared by everything in the hub.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    messages: mpsc::Sender<Message>,
    notes: Arc<Notes>,
    readers: Vec<Mutex<Connection>>,
    next_reader: std::sync::atomic::AtomicUsize,
    writer: Mutex<Option<JoinHandle<()>>>,
    times: Arc<CommitTimes>,
    // Held for as long as the store lives: the lock is what keeps a second hub away.
    _lock: std::fs::File,
}

impl Store {
    /// Opens or creates the store in a directory and takes its lock.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("hub.lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(directory.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let path = directory.join("parley.db");
        let connection = open_database(&path)?;
        let readers = (0..2).map(|_| connect(&path).map(Mutex::new)).collect::<Result<Vec<_>, _>>()?;
        let times = Arc::new(CommitTimes::default());
        let (messages, inbox) = mpsc::channel(QUEUE);
        let notes = Arc::new(Notes::default());
        let writer = Writer::new(connection, inbox, notes.clone(), times.clone())?;
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(unusable)?;
        Ok(Self {
            inner: Arc::new(Inner {
                messages,
                notes,
                readers,
                next_reader: std::sync::atomic::AtomicUsize::new(0),
                writer: Mutex::new(Some(writer)),
                times,
                _lock: lock,
            }),
        })
    }

    /// Stores events in one transaction and returns when they are durable.
    pub async fn append(
        &self,
        owner: &PrincipalId,
        at: Timestamp,
        events: Vec<Event>,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.append_with(owner, at, events, None).await
    }

    /// As [`Store::append`], and remembers an idempotency key in the same transaction.
    pub async fn append_with(
        &self,
        owner: &PrincipalId,
        at: Timestamp,
        events: Vec<Event>,
        idempotent: Option<Idempotent>,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Append { owner: owner.clone(), at, events, idempotent, reply };
        self.inner.messages.send(message).await.map_err(|_| StoreError::Busy)?;
        answer.await.map_err(|_| StoreError::Busy)?
    }

    /// Notes a call in the invocation log; it becomes durable with the next commit.
    pub fn note(&self, invocation: Invocation) {
        self.inner.notes.add(invocation);
    }

    /// Makes what was noted durable.
    pub async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if self.inner.messages.send(Message::Flush(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// How long commits take.
    #[must_use]
    pub fn commit_times(&self) -> &CommitTimes {
        &self.inner.times
    }

    /// Commits what waits and closes the database.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.inner.messages.send(Message::Stop(reply)).await.is_ok() {
            let _ = done.await;
        }
        let handle = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let _ = tokio::task::spawn_blocking(move || handle.join()).await;
        }
    }

    /// Runs a query on a reading connection, away from the async threads.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        let task = tokio::task::spawn_blocking(move || {
            let turn = inner.next_reader.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let reader = &inner.readers[turn % inner.readers.len()];
            query(&reader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|_| StoreError::Busy)?
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the database for writing, checks it, and creates the schema in an empty one.
fn open_database(path: &Path) -> Result<Connection, StoreError> {
    let existed = path.exists();
    let damaged = |error: rusqlite::Error| match &error {
        rusqlite::Error::SqliteFailure(failure, _)
            if matches!(
                failure.code,
                rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt
            ) =>
        {
            StoreError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
        _ => StoreError::Database(error),
    };
    let connection = connect(path)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(damaged)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(damaged)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(damaged)?;
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if check != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), detail: check });
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(damaged)?;
    match version {
        SCHEMA_VERSION => {}
        0 if !existed || is_empty(&connection)? => {
            connection.execute_batch(&format!(
                "BEGIN; {} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;",
                include_str!("store/schema.sql")
            ))?;
        }
        0 => {
            let detail = "it holds tables of another program".to_owned();
            return Err(StoreError::Damaged { path: path.to_owned(), detail });
        }
        found => return Err(StoreError::TooNew { found, known: SCHEMA_VERSION }),
    }
    Ok(connection)
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    Ok(tables == 0)
}
