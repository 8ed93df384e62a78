//! Artifacts: look, list, and the record of a stored file.

use protocol::artifact::{Artifact, ArtifactType};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::ids::{ArtifactId, Digest, JobId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jobs::page_limit;
use crate::hub::Hub;
use crate::principal::Principal;

/// Names an artifact.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactArguments {
    /// The artifact.
    pub artifact_id: ArtifactId,
}

/// Which artifacts to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsArguments {
    /// Only those of this job.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// At most this many, from 1 to 1000; 100 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A list of artifacts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ArtifactList {
    /// Newest first.
    pub items: Vec<Artifact>,
}

/// The record of bytes that are in the store.
#[must_use]
pub fn stored_artifact(
    artifact_id: ArtifactId,
    name: String,
    artifact_type: ArtifactType,
    digest: Digest,
    size_bytes: u64,
) -> Artifact {
    let uri = format!("parley://artifact/{artifact_id}");
    Artifact { artifact_id, name, artifact_type, digest, size_bytes, uri, job_id: None, inputs: Vec::new() }
}

impl Hub {
    pub(crate) async fn find_artifact(
        &self,
        principal: &Principal,
        id: &ArtifactId,
    ) -> Result<Artifact, ErrorBody> {
        let artifact = self.store().artifact(principal.sees(), id.clone()).await.map_err(|e| e.outward())?;
        artifact.ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no artifact {id}")))
    }

    pub(super) async fn get_artifact(
        &self,
        principal: &Principal,
        arguments: ArtifactArguments,
    ) -> Result<Artifact, ErrorBody> {
        self.find_artifact(principal, &arguments.artifact_id).await
    }

    pub(super) async fn list_artifacts(
        &self,
        principal: &Principal,
        arguments: ArtifactsArguments,
    ) -> Result<ArtifactList, ErrorBody> {
        let limit = page_limit(arguments.limit)?;
        if let Some(job_id) = &arguments.job_id {
            let items = self.find_job(principal, job_id).await?.artifacts;
            return Ok(ArtifactList { items: items.into_iter().take(limit as usize).collect() });
        }
        let items = self.store().artifacts(principal.sees(), None, limit).await.map_err(|e| e.outward())?;
        Ok(ArtifactList { items })
    }

    /// Registers bytes that a client has uploaded.
    pub(crate) async fn register_upload(
        &self,
        principal: &Principal,
        name: String,
        artifact_type: ArtifactType,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Artifact, ErrorBody> {
        let id = ArtifactId::mint(self.draw());
        let artifact = stored_artifact(id, name, artifact_type, digest, size_bytes);
        self.append(&principal.id, vec![Event::ArtifactStored { artifact: artifact.clone() }]).await?;
        Ok(artifact)
    }
}
