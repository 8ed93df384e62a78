//! What a worker stands for: this machine with its workload manager, or a simulated cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use archetypes::Fault;
use protocol::facts::Prices;
use protocol::fleet::Manifest;
use protocol::ids::NegotiationId;
use protocol::job::JobKind;
use secretary::Providers;
use workload::SubmitSide;

/// A site.
pub struct Site {
    /// What looks at it.
    pub providers: Providers,
    /// What runs work on it; for a simulated site, what runs the built-in kinds, which really compute.
    pub manager: Arc<dyn SubmitSide>,
    /// Whether what runs work has this program, which is what the built-in kinds of job are.
    pub has_program: bool,
    /// What computing costs here; a simulated site has its own prices.
    pub prices: Option<Prices>,
    /// How it is simulated; none for a real site.
    pub mock: Option<Mock>,
}

/// How a site is simulated.
#[derive(Debug, Clone)]
pub struct Mock {
    /// The cluster.
    pub site: archetypes::Site,
    /// How often its claims are true, from 0 to 1.
    pub honesty: f64,
    /// How it misbehaves, if at all.
    pub fault: Option<Fault>,
    /// Simulated seconds that pass in one real second.
    pub time_scale: f64,
    /// Whether commands really run, instead of being simulated from their duration.
    pub exec: bool,
}

impl Mock {
    /// Whether the site lies in a negotiation.
    #[must_use]
    pub fn lies(&self, negotiation: &NegotiationId) -> bool {
        archetypes::honesty::lies(self.honesty, self.site.identity().seed, negotiation)
    }
}

impl Site {
    /// Whether work waits in the queue of a manager of many machines, which others use as well.
    pub(crate) fn has_own_queue(&self) -> bool {
        self.mock.is_none() && self.manager.manager() != "machine"
    }

    /// The kinds of job that run here.
    #[must_use]
    pub fn job_kinds(&self) -> BTreeSet<JobKind> {
        if self.has_program {
            [JobKind::Command, JobKind::Backtest].into()
        } else {
            [JobKind::Command].into()
        }
    }

    /// What the site reports when it joins.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let mock = self.mock.as_ref();
        Manifest {
            software: format!("parley {}", env!("CARGO_PKG_VERSION")),
            archetype: Some(match mock {
                Some(mock) => mock.site.archetype().to_string(),
                None if self.has_own_queue() => "hpc".to_owned(),
                None => "standalone".to_owned(),
            }),
            mock: mock.map(|mock| mock.site.identity()),
            job_kinds: self.job_kinds(),
            workload: self.providers.workload().map(str::to_owned),
            has_secretary: true,
            providers: self.providers.metadata(),
        }
    }
}
