//! Files that jobs produce or read: digest, type, lineage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ArtifactId, Digest, JobId};

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactType {
    /// A trained model.
    Model,
    /// A picture.
    Plot,
    /// A text for people.
    Report,
    /// Output of a program.
    Log,
    /// Figures as JSON.
    Metrics,
    /// A table or another data set.
    Data,
    /// Settings.
    Config,
    /// Anything else.
    Other,
}

impl std::fmt::Display for ArtifactType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// Its file name, without any directory.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub artifact_type: ArtifactType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where it is: `parley://artifact/ID`.
    pub uri: String,
    /// The job that produced it; none for an upload.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// Digests of the inputs that it was made from.
    #[serde(default)]
    pub inputs: Vec<Digest>,
}
