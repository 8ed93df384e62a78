//! The bytes of artifacts: streamed, counted and compared with their digest before anybody can use them.

use std::path::Path;
use std::time::Duration;

use protocol::artifact::Artifact;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use ring::digest::{Context, SHA256};
use tokio::time::Instant;
use transport::http::Bounds;

use crate::failure::Failure;
use crate::files::Draft;
use crate::hub::Hub;

/// A transfer may take this long and as long again as its size needs at a slow pace.
const SHORTEST: Duration = Duration::from_secs(60);
const SLOWEST_BYTES_PER_SECOND: u64 = 256 * 1024;

/// The most that is kept in memory, for artifacts that go to standard output.
const MEMORY_LIMIT: u64 = 1024 * 1024 * 1024;

/// How long a file of this size may take.
#[must_use]
pub fn patience(size_bytes: u64) -> Duration {
    SHORTEST.saturating_add(Duration::from_secs(size_bytes / SLOWEST_BYTES_PER_SECOND))
}

/// Writes an artifact to a file, which appears whole and verified or not at all.
pub async fn to_file(hub: &Hub, artifact: &Artifact, path: &Path) -> Result<(), Failure> {
    let mut draft = Draft::new(path)?;
    transfer(hub, artifact, |bytes| draft.write(bytes)).await?;
    draft.keep()
}

/// Reads an artifact whole, because bytes that went to standard output cannot be taken back.
pub async fn to_memory(hub: &Hub, artifact: &Artifact) -> Result<Vec<u8>, Failure> {
    if artifact.size_bytes > MEMORY_LIMIT {
        return Err(Failure::usage(
            "this artifact is too large to be verified in memory; give a file with -o",
        ));
    }
    let mut whole = Vec::new();
    transfer(hub, artifact, |bytes| {
        whole.extend_from_slice(bytes);
        Ok(())
    })
    .await?;
    Ok(whole)
}

async fn transfer(
    hub: &Hub,
    artifact: &Artifact,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let patience = patience(artifact.size_bytes);
    let fail = |error| Failure::of_link(&error, hub.base(), patience.as_secs_f64());
    // One byte more than it should have, so that a longer file is told from a whole one.
    let limit = usize::try_from(artifact.size_bytes.saturating_add(1)).unwrap_or(usize::MAX);
    let bounds = Bounds::new(Instant::now() + patience, limit);
    let path = format!("artifacts/{}/content", artifact.artifact_id);
    let mut download = hub.http().get_stream(&path, bounds).await.map_err(fail)?;
    let mut seen = Seen { context: Context::new(&SHA256), bytes: 0 };
    while let Some(chunk) = download.chunk().await.map_err(fail)? {
        seen.take(&chunk);
        take(&chunk)?;
    }
    seen.verify(artifact)
}

struct Seen {
    context: Context,
    bytes: u64,
}

impl Seen {
    fn take(&mut self, chunk: &[u8]) {
        self.context.update(chunk);
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
    }

    fn verify(self, artifact: &Artifact) -> Result<(), Failure> {
        let digest = Digest::from_sha256(self.context.finish().as_ref());
        if digest == artifact.digest && self.bytes == artifact.size_bytes {
            return Ok(());
        }
        Err(Failure::Hub(ErrorBody::new(
            ErrorCode::ChecksumMismatch,
            format!(
                "{} has {digest} and {} bytes, must have {} and {}; nothing was written",
                artifact.artifact_id, self.bytes, artifact.digest, artifact.size_bytes
            ),
        )))
    }
}

#[cfg(test)]
mod tests {
    use protocol::artifact::ArtifactType;
    use protocol::ids::ArtifactId;

    use super::*;
    use crate::failure::Exit;

    fn artifact(bytes: &[u8]) -> Artifact {
        Artifact {
            artifact_id: ArtifactId::mint(1),
            name: "a".into(),
            artifact_type: ArtifactType::Data,
            digest: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
            uri: String::new(),
            job_id: None,
            inputs: Vec::new(),
        }
    }

    fn verify(chunks: &[&[u8]], artifact: &Artifact) -> Result<(), Exit> {
        let mut seen = Seen { context: Context::new(&SHA256), bytes: 0 };
        chunks.iter().for_each(|chunk| seen.take(chunk));
        seen.verify(artifact).map_err(|failure| failure.exit())
    }

    #[test]
    fn only_the_very_bytes_are_accepted() {
        let artifact = artifact(b"whole file");
        assert_eq!(verify(&[b"whole", b" ", b"file"], &artifact), Ok(()));
        assert_eq!(verify(&[b"whole fil"], &artifact), Err(Exit::Failed));
        assert_eq!(verify(&[b"whole filE"], &artifact), Err(Exit::Failed));
        assert_eq!(verify(&[b"whole file", b"!"], &artifact), Err(Exit::Failed));
    }

    #[test]
    fn large_files_get_more_time() {
        assert_eq!(patience(0), SHORTEST);
        assert!(patience(10 * 1024 * 1024 * 1024) > Duration::from_secs(3600));
        assert!(patience(u64::MAX) > Duration::from_secs(3600));
    }
}
