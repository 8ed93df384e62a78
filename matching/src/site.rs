//! The facts that a gate may use: those of the site, never those of the one machine that the worker
//! happens to run on.

use protocol::facts::{
    ComputeFacts, Fabric, Facts, FileSystem, Package, Prices, Runtime, Scope, WorkloadFacts,
};

/// Facts seen through their scope: facts of a mere host count as unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a>(&'a Facts);

macro_rules! category {
    ($($name:ident: $type:ty;)*) => {$(
        pub(crate) fn $name(self) -> Option<&'a $type> {
            self.known().and_then(|facts| facts.$name.as_ref())
        }
    )*};
}

impl<'a> Site<'a> {
    pub(crate) const fn of(facts: &'a Facts) -> Self {
        Self(facts)
    }

    fn known(self) -> Option<&'a Facts> {
        (self.0.scope == Scope::Site).then_some(self.0)
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
        match self.0.scope {
            Scope::Site => format!("{what} unknown"),
            Scope::Host => format!("{what} unknown: only the worker's own machine was seen"),
        }
    }
}
