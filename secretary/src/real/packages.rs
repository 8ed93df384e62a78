//! What providers of packages have in common: one shape for an installed package, the tools that find and
//! list them, and the facts that are made of what was found. A [`PackageSource`] says what is its own.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{Package, Scope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::listing::{Lister, Listing};
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, arguments};

/// The most packages that one answer lists.
pub(crate) const PAGE_LIMIT: usize = 500;
/// The version of a package that is there and does not say which it is.
const UNTOLD: &str = "unknown";

/// One installed package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Installed {
    /// Its name as its tool spells it.
    pub name: String,
    /// Its version as its tool prints it; absent when it does not tell.
    pub version: Option<String>,
    /// The environment that holds it, where the tool has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What else its tool tells: variants, compiler, channel.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl Installed {
    /// A package of which nothing but name and version is known.
    #[must_use]
    pub fn plain(name: impl Into<String>, version: Option<String>) -> Self {
        Self { name: name.into(), version, environment: None, details: Map::new() }
    }
}

/// The arguments of `find_package`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindPackage {
    /// The package.
    pub(crate) name: String,
}

/// The arguments of `list_packages`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListPackages {
    /// What the names begin with.
    #[serde(default)]
    pub(crate) prefix: String,
}

/// What is special to one tool that installs packages.
#[async_trait]
pub trait PackageSource: Lister<List: AsRef<[Installed]>> {
    /// The provider's name.
    fn name(&self) -> &'static str;

    /// The program that knows the packages, if it is here.
    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError>;

    /// What never changes.
    async fn metadata(&self, program: &Path, deadline: Instant) -> Value;

    /// What the packages are there for, where this machine is none of the site's nodes.
    async fn scope(&self, _deadline: Instant) -> Scope {
        Scope::Host
    }

    /// Whether a package of the first name is meant by the second.
    fn is_called(&self, name: &str, wanted: &str) -> bool;

    /// What `find_package` and `list_packages` tell here, written for a model.
    fn descriptions(&self) -> [&'static str; 2];

    /// Tools besides these two.
    fn more_tools(&self) -> Vec<ProviderTool> {
        Vec::new()
    }

    /// Answers one of those.
    async fn more(
        &self,
        tool: &str,
        _args: &Map<String, Value>,
        _listing: &Listing<Self>,
        _deadline: Instant,
    ) -> Result<Answer, ProviderError>
    where
        Self: Sized,
    {
        Err(ProviderError::UnknownTool(tool.to_owned()))
    }

    /// The program, which has to be here.
    async fn needed_program(&self, deadline: Instant) -> Result<PathBuf, ProviderError> {
        self.program(deadline).await?.ok_or_else(|| ProviderError::not_found(self.name()))
    }
}

/// Reads a JSON array; an entry that lacks what every package has is left out.
pub fn entries<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<Vec<T>, ProviderError> {
    let entries: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
        ProviderError::NotUnderstood { what: what.to_owned(), problem: error.to_string() }
    })?;
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

/// A package without its details, which would be most of a long list.
fn brief(installed: &Installed) -> Installed {
    let plain = Installed::plain(installed.name.clone(), installed.version.clone());
    Installed { environment: installed.environment.clone(), ..plain }
}

/// A provider of the packages of one source.
pub struct Packages<S: PackageSource> {
    listing: Listing<S>,
}

impl<S: PackageSource> Packages<S> {
    /// The packages of a source.
    #[must_use]
    pub fn of(source: S) -> Self {
        Self::listed_by(Listing::new(source))
    }

    /// The packages that a listing keeps.
    #[must_use]
    pub fn listed_by(listing: Listing<S>) -> Self {
        Self { listing }
    }

    fn source(&self) -> &S {
        self.listing.lister()
    }
}

#[async_trait]
impl<S: PackageSource> Provider for Packages<S> {
    fn name(&self) -> &'static str {
        self.source().name()
    }

    fn category(&self) -> Category {
        Category::Software
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        Ok(self.source().program(probe.deadline).await?.is_some())
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        // The first call finds the list made, or nearly.
        self.listing.start();
        let program = self.source().needed_program(deadline).await?;
        Ok(self.source().metadata(&program, deadline).await)
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        self.source().scope(deadline).await
    }

    fn tools(&self) -> Vec<ProviderTool> {
        let [find, list] = self.source().descriptions();
        let name = json!({"name": {"type": "string", "minLength": 1, "maxLength": 128}});
        let prefix = json!({"prefix": {"type": "string", "maxLength": 128}});
        let mut tools = vec![
            ProviderTool::new("find_package", find, &name, &["name"]),
            ProviderTool::new("list_packages", list, &prefix, &[]),
        ];
        tools.extend(self.source().more_tools());
        tools
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        match tool {
            "find_package" => {
                let FindPackage { name } = arguments(tool, args)?;
                let listed = self.listing.get(deadline).await?;
                let same = |package: &&Installed| self.source().is_called(&package.name, &name);
                let packages = listed.value().as_ref();
                let found: Vec<&Installed> = packages.iter().filter(same).take(PAGE_LIMIT).collect();
                Ok(listed.answer(json!(found)))
            }
            "list_packages" => {
                let ListPackages { prefix } = arguments(tool, args)?;
                let prefix = prefix.to_lowercase();
                let listed = self.listing.get(deadline).await?;
                let fits = |package: &&Installed| package.name.to_lowercase().starts_with(&prefix);
                let packages = listed.value().as_ref();
                let total = packages.iter().filter(fits).count();
                let shown: Vec<Installed> =
                    packages.iter().filter(fits).take(PAGE_LIMIT).map(brief).collect();
                Ok(listed.answer(json!({"total": total, "packages": shown})))
            }
            _ => self.source().more(tool, args, &self.listing, deadline).await,
        }
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        observe::<Vec<Installed>>(call, reader, "find_package", |found| found).await
    }
}

/// Looks for every package that a call needs with a provider's `tool`, whose answer `read` turns into
/// packages, and notes what was found.
pub async fn observe<T: DeserializeOwned>(
    call: &Call,
    reader: &mut Reader<'_>,
    tool: &str,
    read: fn(T) -> Vec<Installed>,
) -> Result<(), ProviderError> {
    let mut packages = Vec::new();
    let mut untold = false;
    for need in &call.requirement.software {
        let found: T = reader.ask(tool, json!({"name": need.name})).await?;
        for installed in read(found) {
            let version = match (installed.version, &need.constraint) {
                (Some(version), _) => version,
                (None, None) => UNTOLD.to_owned(),
                // A version matters and nobody can tell it: neither present nor absent.
                (None, Some(_)) => {
                    untold = true;
                    continue;
                }
            };
            let package = Package {
                name: need.name.clone(),
                version,
                provider: reader.provider().to_owned(),
                environment: installed.environment,
            };
            // Builds that differ in their variants only are one package to a requirement.
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        // Kept after each package, so that a deadline loses only those not looked at yet.
        reader.facts.software = Some(packages.clone());
    }
    if reader.has_problems() {
        reader.mark_incomplete();
    }
    if untold {
        return Err(ProviderError::NotUnderstood {
            what: "the version of a package".to_owned(),
            problem: "it is there and does not tell its version safely".to_owned(),
        });
    }
    Ok(())
}
