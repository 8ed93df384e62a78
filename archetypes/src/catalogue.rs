//! The shipped software catalogue: real packages with real versions, from which sites draw and to
//! which they point, so that a site with 500 packages costs 4 kB.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// One line of the table.
pub(crate) struct Entry {
    /// The package's name, lower case.
    pub(crate) name: &'static str,
    /// The initials of the providers that carry it.
    carriers: &'static str,
    /// The field that it is used in.
    pub(crate) field: &'static str,
    /// Its versions, oldest first.
    pub(crate) versions: Vec<&'static str>,
}

impl Entry {
    fn parse(line: &'static str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (name, carriers, field) = (words.next()?, words.next()?, words.next()?);
        Some(Self { name, carriers, field, versions: words.collect() })
    }

    /// Whether a provider carries the package; providers are told apart by their initials.
    pub(crate) fn is_carried_by(&self, provider: &str) -> bool {
        provider.chars().next().is_some_and(|initial| self.carriers.contains(initial))
    }
}

/// Every package, by name.
pub(crate) fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        include_str!("catalogue.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(Entry::parse)
            .collect()
    })
}

/// A name without case and without what separates its words: people write `scikit_learn`, too.
fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '+').map(|c| c.to_ascii_lowercase()).collect()
}

/// The places in [`entries`] of every package that a name may mean.
pub(crate) fn indices_of(name: &str) -> &'static [u16] {
    static INDICES: OnceLock<BTreeMap<String, Vec<u16>>> = OnceLock::new();
    let indices = INDICES.get_or_init(|| {
        let mut indices: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (place, entry) in (0_u16..).zip(entries()) {
            indices.entry(bare(entry.name)).or_default().push(place);
        }
        indices
    });
    indices.get(&bare(name)).map_or(&[], Vec::as_slice)
}

/// The names of every package that a simulated site can have, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    entries().iter().map(|entry| entry.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete_in_every_line() {
        let lines = include_str!("catalogue.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(entries().len(), lines);
        assert!(lines >= 150 && lines <= usize::from(u16::MAX));
        assert!(entries().windows(2).all(|pair| pair[0].name < pair[1].name));
        for entry in entries() {
            assert!(!entry.versions.is_empty() && entry.versions.len() <= 255, "{}", entry.name);
            assert!(entry.carriers.chars().all(|initial| "smcp".contains(initial)), "{}", entry.name);
            assert_eq!(entry.name, entry.name.to_lowercase());
            let distinct: BTreeSet<_> = entry.versions.iter().collect();
            assert_eq!(distinct.len(), entry.versions.len(), "{}", entry.name);
        }
    }

    #[test]
    fn every_field_and_provider_has_packages() {
        for provider in ["spack", "modules", "conda", "pip"] {
            assert!(entries().iter().filter(|entry| entry.is_carried_by(provider)).count() > 50);
        }
        for theme in crate::software::THEMES {
            for field in theme.fields {
                assert!(entries().iter().any(|entry| entry.field == *field), "{field}");
            }
        }
    }

    #[test]
    fn names_that_people_ask_for_are_there() {
        for name in ["lammps", "gromacs", "pytorch", "openfoam", "rdkit", "netcdf-c", "samtools", "r-base"] {
            assert_eq!(indices_of(name).len(), 1, "{name}");
        }
        assert_eq!(indices_of("Scikit_Learn"), indices_of("scikit-learn"));
        assert!(indices_of("no-such-package").is_empty());
    }
}
