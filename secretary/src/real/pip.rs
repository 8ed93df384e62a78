//! Python packages of the interpreter that `python3` starts.

use std::time::Duration;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::Package;
use protocol::ids::Digest;
use protocol::units::Seconds;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::aliases::python_name;
use super::host::Host;
use crate::program;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, arguments};

/// Listing takes about a second; within this time the last list is used, with its age told.
const FRESH: Duration = Duration::from_secs(60);
/// Large environments have a few thousand packages of about 60 bytes each.
const LIST_LIMIT: usize = 4 * 1024 * 1024;
/// The most packages that one answer lists.
const PAGE_LIMIT: usize = 500;

const ARGS: [&str; 6] = ["-m", "pip", "list", "--format", "json", "--disable-pip-version-check"];

/// One line of `pip list`.
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

/// The Python package provider.
pub struct Pip {
    host: Host,
    listed: Mutex<Option<Listed>>,
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

impl Pip {
    /// The Python packages of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, listed: Mutex::new(None) }
    }

    async fn list(&self, deadline: Instant) -> Result<Listed, ProviderError> {
        let path = self.host.path.clone();
        let python = self.host.blocking.run("PATH", deadline, move || path.find("python3")).await?;
        let python = python.ok_or_else(|| ProviderError::Program {
            program: "python3".to_owned(),
            problem: "it is not on the search path".to_owned(),
        })?;
        let output = program::run(&python, &ARGS, &self.host.path, LIST_LIMIT, deadline).await?;
        if !output.success {
            let end: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(200).collect();
            return Err(ProviderError::Program {
                program: "python3 -m pip list".to_owned(),
                problem: format!("{}: {end}", output.status),
            });
        }
        let packages = parse(&output.stdout)?;
        Ok(Listed { at: Instant::now(), digest: Digest::of(&output.stdout), packages })
    }

    async fn answer<F>(&self, deadline: Instant, pick: F) -> Result<Answer, ProviderError>
    where
        F: FnOnce(&[PythonPackage]) -> Value + Send,
    {
        // One list at a time: the others wait for it instead of starting their own.
        let late = |_| ProviderError::Timeout("python3 -m pip list".to_owned());
        let mut listed = tokio::time::timeout_at(deadline, self.listed.lock()).await.map_err(late)?;
        let current = match listed.take().filter(|listed| listed.at.elapsed() < FRESH) {
            Some(fresh) => listed.insert(fresh),
            None => listed.insert(self.list(deadline).await?),
        };
        Ok(Answer {
            value: pick(&current.packages),
            source: "python3 -m pip list".to_owned(),
            digest: current.digest.clone(),
            age: Seconds::saturating(current.at.elapsed().as_secs_f64()),
            problems: Vec::new(),
        })
    }
}

/// Reads `pip list --format json`; a broken entry is left out.
pub fn parse(bytes: &[u8]) -> Result<Vec<PythonPackage>, ProviderError> {
    let entries: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
        ProviderError::NotUnderstood { what: "python3 -m pip list".to_owned(), problem: error.to_string() }
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

    async fn probe(&self, probe: &Probe) -> bool {
        self.metadata(probe.deadline).await.is_ok()
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        let answer = self.answer(deadline, |packages| {
            let pip = packages.iter().find(|package| package.name == "pip");
            json!({"packages": packages.len(), "pip_version": pip.map(|package| &package.version)})
        });
        Ok(answer.await?.value)
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
