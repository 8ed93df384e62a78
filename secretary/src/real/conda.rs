//! Packages in the environments of conda, mamba or micromamba, whichever is here. Each environment is
//! listed by itself; one that cannot be listed makes what is absent unknown, and the others stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use protocol::facts::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::python_name;
use super::host::Host;
use super::listing::{Listed, Lister, Listing};
use super::packages::{Installed, PackageSource, Packages, entries};
use crate::provider::{Answer, ProviderError, ProviderTool, plain_tool};

/// An environment has up to a thousand packages of about 300 bytes each.
const LIST_LIMIT: usize = 4 * 1024 * 1024;
/// The most environments that are listed.
const ENVIRONMENTS_LIMIT: usize = 32;
/// How long one environment may take.
const ENVIRONMENT_TIME: Duration = Duration::from_secs(15);

/// The environments of a conda.
pub struct Conda {
    host: Host,
}

impl Conda {
    async fn run(&self, program: &Path, args: &[&str], deadline: Instant) -> Result<Vec<u8>, ProviderError> {
        let output = self.host.run(program, args, LIST_LIMIT, deadline).await?;
        if output.success {
            return Ok(output.stdout);
        }
        // conda tells what went wrong as JSON on standard output, micromamba as text on standard error.
        let told = serde_json::from_slice::<Failure>(&output.stdout).ok().and_then(|told| told.message);
        Err(match told {
            Some(message) => ProviderError::Program {
                program: format!("conda {}", args.join(" ")),
                problem: message.lines().next().unwrap_or_default().chars().take(200).collect(),
            },
            None => output.failure("conda"),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Failure {
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Environments {
    envs: Vec<String>,
}

/// Reads what `conda env list --json` prints: the environments' directories.
pub fn parse_environments(bytes: &[u8]) -> Result<Vec<String>, ProviderError> {
    let document: Environments = serde_json::from_slice(bytes).map_err(|error| {
        ProviderError::NotUnderstood { what: "conda env list --json".to_owned(), problem: error.to_string() }
    })?;
    Ok(document.envs)
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    build_string: Option<String>,
    channel: Option<String>,
}

/// Reads what `conda list --json` prints about one environment; an entry without a name or a version is
/// left out.
pub fn parse(bytes: &[u8], environment: &str) -> Result<Vec<Installed>, ProviderError> {
    let packages = entries::<Package>(bytes, "conda list --json")?.into_iter();
    let installed = packages.map(|package| {
        let mut details = Map::new();
        details.insert("build".to_owned(), json!(package.build_string));
        details.insert("channel".to_owned(), json!(package.channel));
        Installed {
            environment: Some(environment.to_owned()),
            details,
            ..Installed::plain(package.name, Some(package.version))
        }
    });
    Ok(installed.collect())
}

/// What people call an environment: the name of a directory below `envs`, else its path.
fn environment_name(directory: &str) -> String {
    let path = Path::new(directory);
    let parent = path.parent().and_then(Path::file_name);
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if parent.is_some_and(|parent| parent == "envs") => name.to_owned(),
        _ => directory.to_owned(),
    }
}

/// What is installed in all environments.
pub struct Everything {
    environments: Vec<String>,
    packages: Vec<Installed>,
}

#[async_trait]
impl Lister for Conda {
    type List = Everything;

    fn what(&self) -> &'static str {
        "conda list --json"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Everything>, ProviderError> {
        let program = self.needed_program(deadline).await?;
        let mut raw = self.run(&program, &["env", "list", "--json"], deadline).await?;
        let environments = parse_environments(&raw)?;
        let mut problems = Vec::new();
        if environments.len() > ENVIRONMENTS_LIMIT {
            problems.push(format!("only {ENVIRONMENTS_LIMIT} of {} were listed", environments.len()));
        }
        let mut packages = Vec::new();
        for directory in environments.iter().take(ENVIRONMENTS_LIMIT) {
            let soon = deadline.min(Instant::now() + ENVIRONMENT_TIME);
            let listed = self.run(&program, &["list", "-p", directory, "--json"], soon).await;
            let listed = listed.and_then(|bytes| {
                raw.extend_from_slice(&bytes);
                parse(&bytes, &environment_name(directory))
            });
            match listed {
                Ok(listed) => packages.extend(listed),
                Err(error) => problems.push(format!("{directory}: {}", error.in_full())),
            }
        }
        let everything = Everything { environments, packages };
        Ok(Listed::new(everything, "conda list --json", &raw).with_problems(problems))
    }
}

impl AsRef<[Installed]> for Everything {
    fn as_ref(&self) -> &[Installed] {
        &self.packages
    }
}

/// The conda provider.
pub type CondaPackages = Packages<Conda>;

impl CondaPackages {
    /// The environments of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self::of(Conda { host })
    }
}

#[async_trait]
impl PackageSource for Conda {
    fn name(&self) -> &'static str {
        "conda"
    }

    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        let told = ["CONDA_EXE", "MAMBA_EXE"].into_iter().filter_map(|name| self.host.variable(name));
        let told = told.map(PathBuf::from).filter(|path| path.is_absolute()).collect();
        self.host.locate(told, &["conda", "mamba", "micromamba"], deadline).await
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        self.host.scope_of_program(self.program(deadline).await, deadline).await
    }

    async fn metadata(&self, program: &Path, deadline: Instant) -> Value {
        let version = self.host.version(program, &["--version"], deadline).await;
        json!({"program": program, "version": version})
    }

    fn is_called(&self, name: &str, wanted: &str) -> bool {
        // What the index calls torch is pytorch here.
        python_name(name) == python_name(wanted)
    }

    fn descriptions(&self) -> [&'static str; 2] {
        [
            "Where one package is installed in the conda environments of this machine, each with version, \
             build, channel and environment. An empty list means that no environment has it. Like conda list.",
            "Packages in all conda environments with versions, optionally only those whose name starts with \
             `prefix`; at most 500. Like conda list.",
        ]
    }

    fn more_tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(
            "environments",
            "Conda environments of this machine by name and directory. Like conda env list.",
        )]
    }

    async fn more(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        listing: &Listing<Self>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["environments"])?;
        let listed = listing.get(deadline).await?;
        let environments = listed.value().environments.iter();
        let shown: Vec<Value> = environments
            .map(|directory| json!({"name": environment_name(directory), "directory": directory}))
            .collect();
        Ok(listed.answer(json!(shown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_environments() {
        assert_eq!(environment_name("/opt/conda/envs/sci"), "sci");
        assert_eq!(environment_name("/opt/conda"), "/opt/conda");
        assert_eq!(environment_name(""), "");
    }
}
