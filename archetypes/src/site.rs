//! One simulated site.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::facts::{Allocation, AsOf, Facts};
use protocol::fleet::MockIdentity;
use protocol::ids::{ProposalId, WorkerId};
use protocol::requirement::Requirement;
use protocol::units::Seconds;

use crate::VERSION;
use crate::archetype::{Archetype, UnknownArchetype};

/// One simulated site; cheap to clone.
#[derive(Debug, Clone)]
pub struct Site(Arc<Plan>);

#[derive(Debug)]
struct Plan {
    worker: WorkerId,
    archetype: Archetype,
    seed: u64,
}

impl Site {
    /// The site of this worker, archetype and seed.
    #[must_use]
    pub fn generate(worker: &WorkerId, archetype: Archetype, seed: u64) -> Self {
        Self(Arc::new(Plan { worker: worker.clone(), archetype, seed }))
    }

    /// The site that a worker's manifest names.
    pub fn from_identity(worker: &WorkerId, identity: &MockIdentity) -> Result<Self, UnknownArchetype> {
        if identity.archetype_version != VERSION {
            return Err(UnknownArchetype::Version(identity.archetype_version));
        }
        Ok(Self::generate(worker, identity.archetype.parse()?, identity.seed))
    }

    /// What the site is a function of, beside the worker's name.
    #[must_use]
    pub fn identity(&self) -> MockIdentity {
        MockIdentity {
            archetype: self.0.archetype.as_str().to_owned(),
            archetype_version: VERSION,
            seed: self.0.seed,
        }
    }

    /// The kind of site.
    #[must_use]
    pub fn archetype(&self) -> Archetype {
        self.0.archetype
    }

    /// The worker that represents the site.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.0.worker
    }

    /// Everything that is true of the site at a tick, with the capacity in `taken` gone.
    #[must_use]
    pub fn truth(&self, tick: u64, taken: &[(ProposalId, Allocation)]) -> Facts {
        Facts {
            archetype: Some(self.0.archetype.as_str().to_owned()),
            as_of: Some(AsOf { tick, taken: taken.iter().map(|(id, _)| id.clone()).collect() }),
            ..Facts::default()
        }
    }

    /// As [`Site::truth`], with only those packages that the requirement names, and the start estimate
    /// for work of the asked size.
    #[must_use]
    pub fn truth_for(
        &self,
        requirement: &Requirement,
        tick: u64,
        taken: &[(ProposalId, Allocation)],
    ) -> Facts {
        let _ = requirement;
        self.truth(tick, taken)
    }

    /// Static metadata by category and provider, as in a manifest.
    #[must_use]
    pub fn providers(&self) -> BTreeMap<String, BTreeMap<String, serde_json::Value>> {
        BTreeMap::new()
    }

    /// How long work of this size really waits when it is awarded at this tick.
    #[must_use]
    pub fn start_delay(&self, tick: u64, allocation: &Allocation) -> Seconds {
        let _ = (tick, allocation);
        Seconds::ZERO
    }

    /// How long the awarded work really runs.
    #[must_use]
    pub fn runtime(&self, proposal: &ProposalId, promised: Option<Seconds>) -> Seconds {
        let _ = proposal;
        promised.unwrap_or(Seconds::ZERO)
    }
}
