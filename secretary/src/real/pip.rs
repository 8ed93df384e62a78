//! Python packages of the interpreter that `python3` starts, as its own package metadata lists them; it
//! need not have pip.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::Package;
use protocol::ids::Digest;
use protocol::units::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::aliases::python_name;
use super::host::Host;
use crate::program;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, arguments};

/// Listing may take seconds. Within this time the last list is used as it is.
const FRESH: Duration = Duration::from_secs(60);
/// Within this time it is used while a new one is made; its age is told.
const USABLE: Duration = Duration::from_secs(600);
/// How long a list may take to make; it goes on when its first asker has left, for the next one.
const LISTING_TIME: Duration = Duration::from_secs(30);
/// Large environments have a few thousand packages of about 60 bytes each.
const LIST_LIMIT: usize = 4 * 1024 * 1024;
/// The most packages that one answer lists.
const PAGE_LIMIT: usize = 500;

const SOURCE: &str = "python3 importlib.metadata";
const SCRIPT: &str = "import json, importlib.metadata as m\n\
print(json.dumps([{'name': d.metadata['Name'], 'version': d.version} for d in m.distributions()]))";

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonPackage {
    /// Its name as the index spells it.
    pub name: String,
    /// Its version.
    pub version: String,
}

#[derive(Debug)]
struct Listed {
    at: Instant,
    digest: Digest,
    packages: Vec<PythonPackage>,
}

struct Listing {
    host: Host,
    last: Mutex<Option<Arc<Listed>>>,
    /// Held while a list is made, so that there is one at a time.
    making: Mutex<()>,
}

/// The Python package provider.
pub struct Pip {
    listing: Arc<Listing>,
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

impl Listing {
    async fn younger_than(&self, limit: Duration) -> Option<Arc<Listed>> {
        self.last.lock().await.clone().filter(|listed| listed.at.elapsed() < limit)
    }

    async fn python(&self, deadline: Instant) -> Result<Option<std::path::PathBuf>, ProviderError> {
        let path = self.host.path.clone();
        self.host.blocking.run("PATH", deadline, move || path.find("python3")).await
    }

    /// A list made now, or by somebody else while this waited.
    async fn make(&self) -> Result<Arc<Listed>, ProviderError> {
        let _one = self.making.lock().await;
        if let Some(listed) = self.younger_than(FRESH).await {
            return Ok(listed);
        }
        let deadline = Instant::now() + LISTING_TIME;
        let python = self.python(deadline).await?.ok_or_else(|| ProviderError::Program {
            program: "python3".to_owned(),
            problem: "it is not on the search path".to_owned(),
        })?;
        let output = program::run(&python, &["-c", SCRIPT], &self.host.path, LIST_LIMIT, deadline).await?;
        if !output.success {
            let lines = String::from_utf8_lossy(&output.stderr);
            let end: String = lines.lines().last().unwrap_or_default().chars().take(200).collect();
            return Err(ProviderError::Program {
                program: SOURCE.to_owned(),
                problem: format!("{}: {end}", output.status),
            });
        }
        let packages = parse(&output.stdout)?;
        let listed = Arc::new(Listed { at: Instant::now(), digest: Digest::of(&output.stdout), packages });
        *self.last.lock().await = Some(Arc::clone(&listed));
        Ok(listed)
    }
}

impl Pip {
    /// The Python packages of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { listing: Arc::new(Listing { host, last: Mutex::new(None), making: Mutex::new(()) }) }
    }

    async fn listed(&self, deadline: Instant) -> Result<Arc<Listed>, ProviderError> {
        if let Some(listed) = self.listing.younger_than(FRESH).await {
            return Ok(listed);
        }
        let listing = Arc::clone(&self.listing);
        let making = tokio::spawn(async move { listing.make().await });
        if let Some(listed) = self.listing.younger_than(USABLE).await {
            return Ok(listed);
        }
        match timeout_at(deadline, making).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                Err(ProviderError::NotUnderstood { what: SOURCE.to_owned(), problem: error.to_string() })
            }
            Err(_) => Err(ProviderError::Timeout(SOURCE.to_owned())),
        }
    }

    async fn answer<F>(&self, deadline: Instant, pick: F) -> Result<Answer, ProviderError>
    where
        F: FnOnce(&[PythonPackage]) -> Value + Send,
    {
        let listed = self.listed(deadline).await?;
        Ok(Answer {
            value: pick(&listed.packages),
            source: SOURCE.to_owned(),
            digest: listed.digest.clone(),
            age: Seconds::saturating(listed.at.elapsed().as_secs_f64()),
            problems: Vec::new(),
        })
    }
}

/// Reads a list of packages; one without a name or a version, as a broken installation leaves behind,
/// is left out.
pub fn parse(bytes: &[u8]) -> Result<Vec<PythonPackage>, ProviderError> {
    let entries: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
        ProviderError::NotUnderstood { what: SOURCE.to_owned(), problem: error.to_string() }
    })?;
    let packages =
        entries.into_iter().filter_map(|entry| serde_json::from_value::<PythonPackage>(entry).ok());
    Ok(packages.collect())
}

#[async_trait]
impl Provider for Pip {
    fn name(&self) -> &'static str {
        "pip"
    }

    fn category(&self) -> Category {
        Category::Software
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        Ok(self.listing.python(probe.deadline).await?.is_some())
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        // The first call finds the list made, or nearly.
        let listing = Arc::clone(&self.listing);
        tokio::spawn(async move { listing.make().await });
        Ok(json!({"python": self.listing.python(deadline).await?}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![
            ProviderTool::new(
                "find_package",
                "Version of one installed Python package, found under its index name or a usual other name \
                 (pytorch is torch). An empty list means that the python3 on the search path does not have \
                 it. Like pip show.",
                &json!({"name": {"type": "string", "minLength": 1, "maxLength": 128}}),
                &["name"],
            ),
            ProviderTool::new(
                "list_packages",
                "Installed Python packages with versions, optionally only those whose name starts with \
                 `prefix`; at most 500. Like pip list.",
                &json!({"prefix": {"type": "string", "maxLength": 128}}),
                &[],
            ),
        ]
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
                let wanted = python_name(&name);
                self.answer(deadline, |packages| {
                    let same = |package: &&PythonPackage| python_name(&package.name) == wanted;
                    json!(packages.iter().filter(same).collect::<Vec<_>>())
                })
                .await
            }
            "list_packages" => {
                let ListPackages { prefix } = arguments(tool, args)?;
                let prefix = prefix.to_lowercase();
                self.answer(deadline, |packages| {
                    let fits = |package: &&PythonPackage| package.name.to_lowercase().starts_with(&prefix);
                    let total = packages.iter().filter(fits).count();
                    let shown: Vec<_> = packages.iter().filter(fits).take(PAGE_LIMIT).collect();
                    json!({"total": total, "packages": shown})
                })
                .await
            }
            _ => Err(ProviderError::UnknownTool(tool.to_owned())),
        }
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let needs = &call.requirement.software;
        if needs.is_empty() {
            return Ok(());
        }
        let mut packages = Vec::new();
        for need in needs {
            let found: Vec<PythonPackage> = reader.ask("find_package", json!({"name": need.name})).await?;
            packages.extend(found.into_iter().map(|package| Package {
                name: need.name.clone(),
                version: package.version,
                provider: "pip".to_owned(),
                environment: None,
            }));
            reader.facts.software = Some(packages.clone());
        }
        Ok(())
    }
}
