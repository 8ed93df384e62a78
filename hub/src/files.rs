//! Bytes on disk: artifacts by digest, and the log of each attempt.
//!
//! ```text
//! DATA/artifacts/ab/abcdef...   written to a temporary name, synced, renamed
//! DATA/logs/JOB/ATTEMPT.log     written piece by piece
//! ```

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{Digest, JobId};
use protocol::job::AttemptNumber;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// The largest artifact.
pub const ARTIFACT_LIMIT: u64 = 1024 * 1024 * 1024;
/// The largest log of one attempt; what comes after is dropped.
pub const LOG_LIMIT: u64 = 64 * 1024 * 1024;
/// The most log text that one answer carries.
pub const LOG_PAGE: u64 = 256 * 1024;

/// The hub's files.
#[derive(Debug, Clone)]
pub struct Files {
    artifacts: PathBuf,
    logs: PathBuf,
}

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where the next page begins.
    pub next_offset: u64,
}

impl Files {
    /// Files under a data directory, which must be writable.
    pub fn open(data: &Path) -> std::io::Result<Self> {
        let files = Self { artifacts: data.join("artifacts"), logs: data.join("logs") };
        std::fs::create_dir_all(files.artifacts.join("incoming"))?;
        std::fs::create_dir_all(&files.logs)?;
        // What an interrupted upload left behind belongs to nobody.
        for entry in std::fs::read_dir(files.artifacts.join("incoming"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(files)
    }

    fn artifact_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.as_str().trim_start_matches("sha256:");
        self.artifacts.join(&hex[..2]).join(hex)
    }

    /// Stores bytes as they stream in, and returns their digest and size. `temporary` names the
    /// upload; nothing is visible before the last byte is on disk.
    pub async fn store<E: std::fmt::Display>(
        &self,
        temporary: &str,
        expected: Option<&Digest>,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(Digest, u64), ErrorBody> {
        let incoming = self.artifacts.join("incoming").join(temporary);
        let result = self.receive(&incoming, expected, &mut body).await;
        if result.is_err() {
            let _ = tokio::fs::remove_file(&incoming).await;
        }
        result
    }

    async fn receive<E: std::fmt::Display>(
        &self,
        incoming: &Path,
        expected: Option<&Digest>,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<(Digest, u64), ErrorBody> {
        let mut file = tokio::fs::File::create(incoming).await.map_err(|e| storage(&e))?;
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        let mut size: u64 = 0;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                ErrorBody::new(ErrorCode::Size, format!("the upload broke off after {size} bytes: {error}"))
            })?;
            size += chunk.len() as u64;
            if size > ARTIFACT_LIMIT {
                let message = format!("an artifact has at most {ARTIFACT_LIMIT} bytes");
                return Err(ErrorBody::new(ErrorCode::Size, message));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(|e| storage(&e))?;
        }
        let digest = Digest::from_sha256(hash.finish().as_ref());
        if let Some(expected) = expected
            && *expected != digest
        {
            let message = format!("the bytes have digest {digest}, not {expected}");
            return Err(ErrorBody::new(ErrorCode::ChecksumMismatch, message));
        }
        file.sync_all().await.map_err(|e| storage(&e))?;
        drop(file);
        let path = self.artifact_path(&digest);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(|e| storage(&e))?;
        }
        tokio::fs::rename(incoming, &path).await.map_err(|e| storage(&e))?;
        Ok((digest, size))
    }

    /// Opens an artifact's bytes.
    pub async fn open_artifact(&self, digest: &Digest) -> Result<tokio::fs::File, ErrorBody> {
        tokio::fs::File::open(self.artifact_path(digest)).await.map_err(|_| {
            ErrorBody::new(ErrorCode::NotFound, format!("the bytes of {digest} are not on this hub"))
        })
    }

    /// Whether an artifact's bytes are here.
    pub async fn has(&self, digest: &Digest) -> bool {
        tokio::fs::try_exists(self.artifact_path(digest)).await.unwrap_or(false)
    }

    fn log_path(&self, job: &JobId, attempt: AttemptNumber) -> PathBuf {
        self.logs.join(job.as_str()).join(format!("{attempt}.log"))
    }

    /// Writes a piece of an attempt's log at its place, so that writing it again changes nothing.
    pub async fn write_log(
        &self,
        job: &JobId,
        attempt: AttemptNumber,
        offset: u64,
        text: &str,
    ) -> Result<(), ErrorBody> {
        if text.is_empty() || offset >= LOG_LIMIT {
            return Ok(());
        }
        let path = self.log_path(job, attempt);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(|e| storage(&e))?;
        }
        let mut options = tokio::fs::OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).write(true).open(&path).await.map_err(|e| storage(&e))?;
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|e| storage(&e))?;
        file.write_all(text.as_bytes()).await.map_err(|e| storage(&e))?;
        file.flush().await.map_err(|e| storage(&e))
    }

    /// A page of an attempt's log, from a byte offset; empty when there is none yet.
    pub async fn read_log(
        &self,
        job: &JobId,
        attempt: AttemptNumber,
        offset: u64,
    ) -> Result<LogPage, ErrorBody> {
        let Ok(mut file) = tokio::fs::File::open(self.log_path(job, attempt)).await else {
            return Ok(LogPage { text: String::new(), next_offset: offset });
        };
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|e| storage(&e))?;
        let mut bytes = Vec::new();
        file.take(LOG_PAGE).read_to_end(&mut bytes).await.map_err(|e| storage(&e))?;
        // Cut before a character that the next page completes.
        let end = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        };
        bytes.truncate(end);
        Ok(LogPage {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            next_offset: offset + bytes.len() as u64,
        })
    }
}

fn storage(error: &std::io::Error) -> ErrorBody {
    tracing::error!(%error, "a file could not be written or read");
    ErrorBody::new(ErrorCode::Storage, "storage cannot be used; nothing was accepted")
}
