//! The kinds of site that can be generated, and what a worker's name alone decides: its kind when
//! none was given, and its seed.

use std::fmt;
use std::str::FromStr;

use protocol::ids::WorkerId;

use crate::VERSION;
use crate::stream::{Stream, hash64};

/// A kind of site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archetype {
    /// A centre with a batch queue, a fast fabric and a parallel file system.
    Hpc,
    /// A Kubernetes cluster of rented machines.
    Cloud,
    /// One machine under a desk.
    Standalone,
}

impl Archetype {
    /// Every kind, in the order of the recipe table.
    pub const ALL: [Self; 3] = [Self::Hpc, Self::Cloud, Self::Standalone];

    /// The name as it stands on the command line and in facts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hpc => "hpc",
            Self::Cloud => "cloud",
            Self::Standalone => "standalone",
        }
    }

    /// The kind of a worker for which none was given: 40 % hpc, 40 % cloud, 20 % standalone.
    #[must_use]
    pub fn draw(worker: &WorkerId) -> Self {
        match Stream::new(&[b"archetype", worker.as_str().as_bytes()]).below(100) {
            0..40 => Self::Hpc,
            40..80 => Self::Cloud,
            _ => Self::Standalone,
        }
    }
}

impl fmt::Display for Archetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Archetype {
    type Err = UnknownArchetype;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|archetype| archetype.as_str() == text)
            .ok_or_else(|| UnknownArchetype::Name(text.chars().take(64).collect()))
    }
}

/// A site that this build cannot generate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownArchetype {
    /// No archetype has this name.
    #[error("unknown archetype {0:?}: one of hpc, cloud, standalone is needed")]
    Name(String),
    /// The recipes have changed since, so the truth would be another one.
    #[error("archetype version {0} is not the version {VERSION} of this build")]
    Version(u32),
}

/// The seed of a worker for which none was given: 53 bits, so that a JSON reader that keeps numbers as
/// floats shows the very seed that has to be typed to get the same site.
#[must_use]
pub fn default_seed(worker: &WorkerId) -> u64 {
    hash64(&[b"default seed", worker.as_str().as_bytes()]) >> 11
}
