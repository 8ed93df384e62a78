//! The words that intake knows: a shipped list, and software names that a fleet reports.

use std::collections::BTreeSet;

/// The names that a request may use.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    fleet: BTreeSet<String>,
}

impl Vocabulary {
    /// The list that comes with the program.
    #[must_use]
    pub fn shipped() -> Self {
        Self::default()
    }

    /// Adds a package that a worker has. Names that already mean something are left as they are.
    pub fn add_software(&mut self, name: &str) {
        self.fleet.insert(name.to_lowercase());
    }
}
