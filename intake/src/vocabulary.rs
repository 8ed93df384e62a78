//! The words that intake knows: the shipped lists, and software names that a fleet reports.

use std::collections::BTreeSet;

use crate::english::is_plain;
use crate::lexicon::{self, Certainty};

/// The most names that a fleet can add.
const MAX_FLEET_NAMES: usize = 100_000;

/// The software names that a request may use. All other words are fixed.
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

    /// Adds a package that a worker has. Names come from workers, so they only add unknown software:
    /// whatever already means something keeps its meaning, and what does not look like a package's
    /// name is ignored.
    pub fn add_software(&mut self, name: &str) {
        let name = name.to_lowercase();
        if is_package_name(&name)
            && !lexicon::is_reserved(&name)
            && lexicon::software(&name).is_none()
            && self.fleet.len() < MAX_FLEET_NAMES
        {
            self.fleet.insert(name);
        }
    }

    /// How sure a lower-case name is to mean software, if it is known.
    #[must_use]
    pub fn software(&self, name: &str) -> Option<Certainty> {
        lexicon::software(name).or_else(|| {
            self.fleet.contains(name).then(|| {
                if is_plain(name) {
                    Certainty::Versioned
                } else if name.chars().count() < 3 {
                    Certainty::InContext
                } else {
                    Certainty::Certain
                }
            })
        })
    }
}

/// Whether a lower-case word has the form of a package's name.
#[must_use]
pub fn is_package_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 64
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
        && name.chars().any(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_only_adds_unknown_software() {
        let mut vocabulary = Vocabulary::shipped();
        for name in ["slurm", "two", "cheapest pick me", "gromacs", "-x", "", "nodes", "h100"] {
            vocabulary.add_software(name);
        }
        assert_eq!(vocabulary.fleet.len(), 0, "{vocabulary:?}");
        vocabulary.add_software("MyCode-X");
        vocabulary.add_software("fast");
        vocabulary.add_software("please");
        assert_eq!(vocabulary.software("mycode-x"), Some(Certainty::Certain));
        assert_eq!(vocabulary.software("please"), Some(Certainty::Versioned));
    }
}
