//! Packages that are found as programs on the search path.

use async_trait::async_trait;
use protocol::call::Call;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::{PROGRAMS, programs_of, version_in};
use super::host::Host;
use super::packages::{self, Installed};
use crate::program::BANNER_LIMIT;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, arguments};

/// The search path as a provider of packages.
pub struct CommandSearch {
    host: Host,
}

impl CommandSearch {
    /// The programs of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindProgram {
    name: String,
}

/// What `find_program` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where the program is; absent when it is nowhere on the search path.
    pub path: Option<String>,
    /// What it says about its version; absent when it was not asked or did not say.
    pub version: Option<String>,
}

impl CommandSearch {
    async fn find(&self, name: &str, deadline: Instant) -> Result<Answer, ProviderError> {
        let candidates = programs_of(name);
        let names: Vec<&str> = candidates.iter().map(|(program, _)| *program).collect();
        let found = self.host.find(&names, deadline).await?;
        let Some((at, program)) = found else {
            let value = json!(Found { path: None, version: None });
            return Ok(Answer::new(value, "PATH", name.as_bytes()));
        };
        let shown = program.display().to_string();
        let Some(args) = candidates[at].1 else {
            let value = json!(Found { path: Some(shown.clone()), version: None });
            return Ok(Answer::new(value, "PATH", shown.as_bytes()));
        };
        let source = format!("{shown} {}", args.join(" "));
        match self.host.run(&program, args, BANNER_LIMIT, deadline).await {
            Ok(output) => {
                let banner = output.banner();
                // A program that fails may print anything, such as another program's version.
                let version = output.success.then(|| version_in(&banner)).flatten();
                let value = json!(Found { path: Some(shown), version });
                Ok(Answer::new(value, source, banner.as_bytes()))
            }
            Err(error) => {
                let value = json!(Found { path: Some(shown.clone()), version: None });
                let mut answer = Answer::new(value, source, shown.as_bytes());
                answer.problems.push(error.in_full());
                Ok(answer)
            }
        }
    }
}

#[async_trait]
impl Provider for CommandSearch {
    fn name(&self) -> &'static str {
        "command"
    }

    fn category(&self) -> Category {
        Category::Software
    }

    async fn probe(&self, _probe: &Probe) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn metadata(&self, _deadline: Instant) -> Result<Value, ProviderError> {
        Ok(json!({"programs_with_version": PROGRAMS.len()}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::new(
            "find_program",
            "Whether a program is on the search path of this machine, where, and which version it reports. \
             Takes a package name (gromacs, python, cmake) or a program name (gmx, python3). The version is \
             null when the program cannot be asked safely. Like `which` and `--version`.",
            &json!({"name": {"type": "string", "description": "package or program name, such as gromacs",
                             "minLength": 1, "maxLength": 64}}),
            &["name"],
        )]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        match tool {
            "find_program" => {
                let FindProgram { name } = arguments(tool, args)?;
                self.find(&name, deadline).await
            }
            _ => Err(ProviderError::UnknownTool(tool.to_owned())),
        }
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let package = |found: Found| {
            let there = found.path.map(|path| Installed::plain(path, found.version));
            there.into_iter().collect()
        };
        packages::observe::<Found>(call, reader, "find_program", package).await
    }
}
