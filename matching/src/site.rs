//! The facts that a gate may use: those of the site, never those of the one machine that the worker
//! happens to run on.

use protocol::facts::{ComputeFacts, Fabric, Facts, FileSystem, Package, Prices, Runtime, WorkloadFacts};

/// Facts of the site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a>(&'a Facts);

macro_rules! category {
    ($($name:ident: $type:ty;)*) => {$(
        pub(crate) fn $name(self) -> Option<&'a $type> {
            self.0.$name.as_ref()
        }
    )*};
}

impl<'a> Site<'a> {
    pub(crate) const fn of(facts: &'a Facts) -> Self {
        Self(facts)
    }

    category! {
        compute: ComputeFacts;
        workload: WorkloadFacts;
        software: Vec<Package>;
        containers: Vec<Runtime>;
        networks: Vec<Fabric>;
        storage: Vec<FileSystem>;
        mpi: Vec<Runtime>;
        prices: Prices;
    }

    pub(crate) fn archetype(self) -> Option<&'a str> {
        self.0.archetype.as_deref()
    }

    /// What to say of a category, or a figure, that is not known.
    pub(crate) fn unknown(self, what: &str) -> String {
        let host = &self.0.host;
        let was_seen_here = match what {
            "software" => host.software.is_some(),
            "container" => host.containers.is_some(),
            "network" => host.networks.is_some(),
            "storage" => host.storage.is_some(),
            "mpi" => host.mpi.is_some(),
            _ => false,
        };
        if was_seen_here {
            format!("{what} unknown: only the worker's own machine was seen")
        } else {
            format!("{what} unknown")
        }
    }
}
