//! Which packages each provider of software lists at a site.
//!
//! Spack and modules list versions side by side; conda and pip list environments, each with a theme
//! and with one version of a package. The newer a version, the likelier it is.

use std::collections::BTreeSet;

use crate::catalogue::{entries, indices_of};
use crate::recipe::SoftwareSource;
use crate::stream::{Origin, Stream, lerp};

/// What the packages of an environment have in common.
pub(crate) struct Theme {
    /// The environment's name.
    name: &'static str,
    /// The provider whose environments have it.
    provider: &'static str,
    /// The fields that most of its packages come from.
    pub(crate) fields: &'static [&'static str],
}

/// Every theme.
pub(crate) static THEMES: &[Theme] = &[
    Theme { name: "base", provider: "conda", fields: &["dev", "data"] },
    Theme { name: "data-science", provider: "conda", fields: &["data", "viz", "ml"] },
    Theme { name: "ml-gpu", provider: "conda", fields: &["ml", "data"] },
    Theme { name: "bio-info", provider: "conda", fields: &["bio", "data"] },
    Theme { name: "hpc-dev", provider: "conda", fields: &["lib", "tool", "dev", "chem"] },
    Theme { name: "llm-ops", provider: "pip", fields: &["ml", "dev"] },
    Theme { name: "bio-genomics", provider: "pip", fields: &["bio", "data"] },
    Theme { name: "materials-sim", provider: "pip", fields: &["chem", "viz"] },
    Theme { name: "hpc-physics", provider: "pip", fields: &["sim", "lib", "data"] },
    Theme { name: "geo-spatial", provider: "pip", fields: &["geo", "data", "viz"] },
];

/// What every list of a provider begins with.
fn basics(provider: &str) -> &'static [&'static str] {
    match provider {
        "spack" | "modules" => &["gcc", "python"],
        "conda" => &["python"],
        _ => &[],
    }
}

/// Packages of one environment, about.
const ENVIRONMENT_SIZE: u32 = 14;

/// A provider of software at a site.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) environments: Vec<Box<str>>,
}

/// One installed package, as places in the catalogue and in the site's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Installed {
    pub(crate) package: u16,
    pub(crate) version: u8,
    pub(crate) source: u8,
    pub(crate) environment: Option<u8>,
}

/// Everything that is installed at a site.
#[derive(Debug, Default)]
pub(crate) struct Software {
    pub(crate) sources: Vec<Source>,
    /// In the order of [`protocol::facts::Package`].
    pub(crate) installed: Box<[Installed]>,
}

impl Software {
    /// Draws what the chosen sources list; each has a stream of its own.
    pub(crate) fn draw(origin: Origin<'_>, density: f64, chosen: &[&'static SoftwareSource]) -> Self {
        let mut software = Self::default();
        let mut installed = Vec::new();
        for (place, source) in (0_u8..).zip(chosen) {
            let mut stream = origin.stream(source.member.name);
            let version = stream.pick(source.member.versions).copied().unwrap_or_default();
            let level = stream.drift(density);
            let count = lerp(source.packages, level);
            let environments = match source.member.name {
                "conda" | "pip" => {
                    draw_environments(&mut stream, source.member.name, place, count, &mut installed)
                }
                provider => {
                    draw_side_by_side(&mut stream, provider, place, count, &mut installed);
                    Vec::new()
                }
            };
            software.sources.push(Source { name: source.member.name, version, environments });
        }
        installed.sort_by_cached_key(|item| software.key(*item));
        software.installed = installed.into();
        software
    }

    /// Name, version, provider and environment of an installed package.
    pub(crate) fn key(&self, item: Installed) -> (&'static str, &'static str, &'static str, Option<&str>) {
        let entry = entries().get(usize::from(item.package));
        let source = self.sources.get(usize::from(item.source));
        let version = entry.and_then(|entry| entry.versions.get(usize::from(item.version)));
        (
            entry.map_or("", |entry| entry.name),
            version.copied().unwrap_or_default(),
            source.map_or("", |source| source.name),
            item.environment
                .and_then(|place| source?.environments.get(usize::from(place)))
                .map(AsRef::as_ref),
        )
    }

    /// The installed packages that a name may mean.
    pub(crate) fn of_name(&self, name: &str) -> impl Iterator<Item = &Installed> {
        indices_of(name).iter().flat_map(|package| {
            let start = self.installed.partition_point(|item| item.package < *package);
            self.installed.iter().skip(start).take_while(|item| item.package == *package)
        })
    }

    /// How many packages a source lists.
    pub(crate) fn count_of(&self, source: usize) -> usize {
        self.installed.iter().filter(|item| usize::from(item.source) == source).count()
    }
}

/// The packages that a provider carries, of some fields or of all.
fn pool(provider: &str, fields: Option<&[&str]>) -> Vec<u16> {
    (0_u16..)
        .zip(entries())
        .filter(|(_, entry)| entry.is_carried_by(provider))
        .filter(|(_, entry)| fields.is_none_or(|fields| fields.contains(&entry.field)))
        .map(|(place, _)| place)
        .collect()
}

/// A version of a package: the later of two draws.
fn draw_version(stream: &mut Stream, package: u16) -> u8 {
    let count = entries().get(usize::from(package)).map_or(1, |entry| entry.versions.len());
    let count = u32::try_from(count).unwrap_or(1);
    u8::try_from(stream.below(count).max(stream.below(count))).unwrap_or(0)
}

fn draw_side_by_side(
    stream: &mut Stream,
    provider: &str,
    source: u8,
    count: u32,
    installed: &mut Vec<Installed>,
) {
    let pool = pool(provider, None);
    let mut drawn: BTreeSet<Installed> = basics(provider)
        .iter()
        .flat_map(|name| indices_of(name))
        .map(|&package| {
            let version = draw_version(stream, package);
            Installed { package, version, source, environment: None }
        })
        .collect();
    // The pool holds more than twice what any recipe asks for, so this ends long before its bound.
    for _ in 0..count * 16 {
        if drawn.len() >= count as usize {
            break;
        }
        if let Some(&package) = stream.pick(&pool) {
            let version = draw_version(stream, package);
            drawn.insert(Installed { package, version, source, environment: None });
        }
    }
    installed.extend(drawn);
}

fn draw_environments(
    stream: &mut Stream,
    provider: &str,
    source: u8,
    count: u32,
    installed: &mut Vec<Installed>,
) -> Vec<Box<str>> {
    let themes: Vec<&Theme> = THEMES.iter().filter(|theme| theme.provider == provider).collect();
    let everything = pool(provider, None);
    let environments = (count / ENVIRONMENT_SIZE).max(1);
    let mut names: Vec<Box<str>> = Vec::new();
    for place in 0..environments {
        let Some(theme) = stream.pick(&themes) else { break };
        let taken = names.iter().any(|name| name.as_ref() == theme.name);
        names.push(if taken { format!("{}-{place}", theme.name).into() } else { theme.name.into() });

        let share = (count * (place + 1) / environments) - (count * place / environments);
        let own = pool(provider, Some(theme.fields));
        let environment = u8::try_from(place).ok();
        let mut drawn: BTreeSet<u16> =
            basics(provider).iter().flat_map(|name| indices_of(name)).copied().collect();
        for _ in 0..share * 32 {
            if drawn.len() >= share as usize {
                break;
            }
            let from = if stream.chance(0.75) { &own } else { &everything };
            drawn.extend(stream.pick(from));
        }
        installed.extend(drawn.into_iter().map(|package| {
            let version = draw_version(stream, package);
            Installed { package, version, source, environment }
        }));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Archetype;
    use crate::recipe::recipe;

    #[test]
    fn an_environment_has_one_version_of_a_package() {
        for seed in 0..50 {
            let sources: Vec<&SoftwareSource> = recipe(Archetype::Standalone).software.iter().collect();
            let software = Software::draw(Origin { worker: "w", seed }, 0.5, &sources);
            let mut seen = BTreeSet::new();
            for item in &software.installed {
                assert!(seen.insert((item.source, item.environment, item.package)));
            }
            for source in &software.sources {
                let distinct: BTreeSet<_> = source.environments.iter().collect();
                assert!(!distinct.is_empty() && distinct.len() == source.environments.len());
            }
        }
    }

    #[test]
    fn what_everybody_has_is_there() {
        for seed in 0..20 {
            let sources: Vec<&SoftwareSource> = recipe(Archetype::Hpc).software.iter().collect();
            let software = Software::draw(Origin { worker: "w", seed }, 0.8, &sources);
            for (place, source) in software.sources.iter().enumerate() {
                for name in basics(source.name) {
                    assert!(software.of_name(name).any(|item| usize::from(item.source) == place));
                }
            }
        }
    }
}
