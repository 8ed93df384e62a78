//! Telling the hub about an attempt: numbered reports, each sent until the hub has it, and the bytes of
//! artifacts before the report that names them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use protocol::artifact::Artifact;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use protocol::job::{AttemptReport, AttemptState, Metric, Observed};
use protocol::join::AttemptDigest;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use transport::http::Bounds;
use transport::link::LinkError;

use crate::ledger::{AttemptKey, Told};
use crate::worker::Worker;

/// The most log text of one report.
const LOG_CHUNK: u64 = 64 * 1024;
/// How long one report may take.
const REPORT_TIME: Duration = Duration::from_secs(10);
/// How long one artifact may take.
const UPLOAD_TIME: Duration = Duration::from_secs(600);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What there is to tell, beside new log text.
#[derive(Debug, Clone)]
pub struct Update {
    /// Where the attempt stands.
    pub state: AttemptState,
    /// New metric values.
    pub metrics: Vec<Metric>,
    /// What was observed so far.
    pub observed: Observed,
    /// The exit code.
    pub exit_code: Option<i32>,
    /// What was produced.
    pub artifacts: Vec<Artifact>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
}

impl Update {
    /// Only a state.
    #[must_use]
    pub fn state(state: AttemptState) -> Self {
        Self {
            state,
            metrics: Vec::new(),
            observed: Observed::default(),
            exit_code: None,
            artifacts: Vec::new(),
            error: None,
        }
    }
}

/// The hub no longer wants to hear of the attempt, or the worker is stopping.
#[derive(Debug)]
pub struct Unwanted;

#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    #[expect(dead_code, reason = "the answer's one field; that there is an answer is what counts")]
    sequence: u64,
}

/// Tells the hub about one attempt.
pub struct Reporter {
    worker: Worker,
    key: AttemptKey,
    told: Told,
    log: PathBuf,
}

impl Reporter {
    /// Goes on where the ledger says that the hub was told.
    #[must_use]
    pub fn new(worker: Worker, key: AttemptKey, told: Told, log: PathBuf) -> Self {
        Self { worker, key, told, log }
    }

    /// Tells what is new, in as many reports as the log needs; returns when the hub has it all.
    pub async fn tell(&mut self, update: Update) -> Result<(), Unwanted> {
        loop {
            let (log, read, more) = self.next_log(update.state.is_terminal()).await;
            let last = !more;
            let quiet = log.is_empty() && update.metrics.is_empty() && update.state == self.told.state;
            if quiet && last {
                return Ok(());
            }
            let this = if last { update.clone() } else { Update::state(self.told.state) };
            self.send(this, log, read).await?;
            if last {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, update: Update, log: String, read: u64) -> Result<(), Unwanted> {
        let state = update.state;
        let written = log.len() as u64;
        let report = AttemptReport {
            job_id: self.key.0.clone(),
            attempt: self.key.1,
            sequence: self.told.sequence + 1,
            reported_at: self.worker.now(),
            state,
            log,
            log_offset: self.told.log_bytes,
            metrics: update.metrics,
            observed: update.observed,
            exit_code: update.exit_code,
            artifacts: update.artifacts,
            error: update.error,
        };
        self.until_taken(|| async {
            let Some(hub) = self.worker.hub() else { return Err(LinkError::Refused) };
            let bounds = Bounds::new(Instant::now() + REPORT_TIME, 64 * 1024);
            hub.post_json::<_, Taken>("/v1/attempts/report", &report, bounds).await
        })
        .await?;
        self.told = Told {
            sequence: self.told.sequence + 1,
            log_bytes: self.told.log_bytes + written,
            source_bytes: self.told.source_bytes + read,
            state,
        };
        if let Err(error) = self.worker.ledger().told(&self.key, self.told) {
            // The hub takes each report once, so telling it again after a restart does no harm.
            tracing::warn!(%error, "the ledger could not be written");
        }
        Ok(())
    }

    /// The next piece of the log: text, the bytes of the file that it stands for, whether there is more.
    async fn next_log(&self, ended: bool) -> (String, u64, bool) {
        let Ok(mut file) = tokio::fs::File::open(&self.log).await else { return (String::new(), 0, false) };
        if file.seek(std::io::SeekFrom::Start(self.told.source_bytes)).await.is_err() {
            return (String::new(), 0, false);
        }
        let mut bytes = Vec::new();
        if file.take(LOG_CHUNK).read_to_end(&mut bytes).await.is_err() {
            return (String::new(), 0, false);
        }
        let full = bytes.len() as u64 == LOG_CHUNK;
        // A character that is still being written waits for its rest, unless there is none coming.
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
            && (full || !ended)
        {
            bytes.truncate(error.valid_up_to());
        }
        let read = bytes.len() as u64;
        (String::from_utf8_lossy(&bytes).into_owned(), read, full)
    }

    /// Uploads a file; returns its digest and size.
    pub async fn upload(&self, path: &Path) -> Result<Result<(Digest, u64), ErrorBody>, Unwanted> {
        let (digest, size) = match digest_of(path).await {
            Ok(known) => known,
            Err(error) => {
                let message = format!("an output cannot be read: {error}");
                return Ok(Err(ErrorBody::new(ErrorCode::Storage, message)));
            }
        };
        self.until_taken(|| async {
            let Some(hub) = self.worker.hub() else { return Err(LinkError::Refused) };
            let file = tokio::fs::File::open(path).await.map_err(|_| LinkError::ClosedEarly)?;
            let bytes = ReaderStream::new(file).map(|chunk: std::io::Result<Bytes>| chunk);
            let bounds = Bounds::new(Instant::now() + UPLOAD_TIME, 64 * 1024);
            let path = format!("/v1/artifacts/{digest}");
            hub.put_stream::<serde_json::Value, _>(&path, size, bytes, bounds).await
        })
        .await?;
        Ok(Ok((digest, size)))
    }

    /// Tries until the hub has taken it; gives up only when the hub says that it never will.
    async fn until_taken<T, F: Future<Output = Result<T, LinkError>>>(
        &self,
        send: impl Fn() -> F,
    ) -> Result<T, Unwanted> {
        let mut pause = Duration::from_millis(100);
        loop {
            match send().await {
                Ok(taken) => return Ok(taken),
                Err(LinkError::Worker { code: Some(code), message, .. })
                    if matches!(code, ErrorCode::NotFound | ErrorCode::Stale | ErrorCode::Field) =>
                {
                    tracing::warn!(job = %self.key.0, %code, message, "the hub does not want this report");
                    return Err(Unwanted);
                }
                Err(error) => tracing::debug!(job = %self.key.0, %error, "the hub has no report yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.worker.stopping().cancelled() => return Err(Unwanted),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn digest_of(path: &Path) -> std::io::Result<(Digest, u64)> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let mut size = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok((Digest::from_sha256(hash.finish().as_ref()), size));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

impl Worker {
    /// Where each attempt stands that the hub has not yet settled.
    pub(crate) fn open_attempts(&self) -> Vec<AttemptDigest> {
        let entries = self.ledger().open_entries();
        entries
            .into_iter()
            .map(|entry| AttemptDigest {
                job_id: entry.award.job_id,
                attempt: entry.award.attempt,
                state: entry.told.state,
                sequence: entry.told.sequence,
            })
            .collect()
    }
}
