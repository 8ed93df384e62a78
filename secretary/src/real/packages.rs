//! What providers of packages have in common: one shape for an installed package, the tools that find and
//! list them, and the facts that are made of what was found.

use protocol::call::Call;
use protocol::facts::Package;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::listing::{Lister, Listing};
use crate::provider::{Answer, ProviderError, ProviderTool, Reader, arguments};

/// The most packages that one answer lists.
const PAGE_LIMIT: usize = 500;
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindPackage {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListPackages {
    #[serde(default)]
    prefix: String,
}

/// The tools of a provider of packages; each provider describes them in its own words.
#[must_use]
pub fn tools(find: &'static str, list: &'static str) -> Vec<ProviderTool> {
    vec![
        ProviderTool::new(
            "find_package",
            find,
            &json!({"name": {"type": "string", "minLength": 1, "maxLength": 128}}),
            &["name"],
        ),
        ProviderTool::new(
            "list_packages",
            list,
            &json!({"prefix": {"type": "string", "maxLength": 128}}),
            &[],
        ),
    ]
}

/// A package without its details, which would be most of a long list.
fn brief(installed: &Installed) -> Installed {
    let plain = Installed::plain(installed.name.clone(), installed.version.clone());
    Installed { environment: installed.environment.clone(), ..plain }
}

/// Answers those tools. `is_called` says whether a package of the first name is meant by the second.
pub async fn answer<L: Lister<List: AsRef<[Installed]>>>(
    tool: &str,
    args: &Map<String, Value>,
    listing: &Listing<L>,
    is_called: fn(&str, &str) -> bool,
    deadline: Instant,
) -> Result<Answer, ProviderError> {
    match tool {
        "find_package" => {
            let FindPackage { name } = arguments(tool, args)?;
            let listed = listing.get(deadline).await?;
            let same = |package: &&Installed| is_called(&package.name, &name);
            let found: Vec<&Installed> = listed.value.as_ref().iter().filter(same).take(PAGE_LIMIT).collect();
            Ok(listed.answer(json!(found)))
        }
        "list_packages" => {
            let ListPackages { prefix } = arguments(tool, args)?;
            let prefix = prefix.to_lowercase();
            let listed = listing.get(deadline).await?;
            let fits = |package: &&Installed| package.name.to_lowercase().starts_with(&prefix);
            let packages = listed.value.as_ref();
            let total = packages.iter().filter(fits).count();
            let shown: Vec<Installed> = packages.iter().filter(fits).take(PAGE_LIMIT).map(brief).collect();
            Ok(listed.answer(json!({"total": total, "packages": shown})))
        }
        _ => Err(ProviderError::UnknownTool(tool.to_owned())),
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
