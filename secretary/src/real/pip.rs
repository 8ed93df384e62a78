//! Python packages of the interpreter that `python3` starts, as its own package metadata lists them; it
//! need not have pip.

use async_trait::async_trait;
use protocol::call::Call;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::python_name;
use super::host::Host;
use super::listing::{Listed, Lister, Listing};
use super::packages::{self, Installed};
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader};

/// Large environments have a few thousand packages of about 60 bytes each.
const LIST_LIMIT: usize = 4 * 1024 * 1024;

const SOURCE: &str = "python3 importlib.metadata";
const SCRIPT: &str = "import json, importlib.metadata as m\n\
print(json.dumps([{'name': d.metadata['Name'], 'version': d.version} for d in m.distributions()]))";

struct Python {
    host: Host,
}

#[async_trait]
impl Lister for Python {
    type List = Vec<Installed>;

    fn what(&self) -> &'static str {
        SOURCE
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let found = self.host.find(&["python3"], deadline).await?;
        let (_, python) = found.ok_or_else(|| ProviderError::not_found("python3"))?;
        let output = self.host.run(&python, &["-c", SCRIPT], LIST_LIMIT, deadline).await?;
        if !output.success {
            return Err(output.failure(SOURCE));
        }
        Ok(Listed::new(parse(&output.stdout)?, SOURCE, &output.stdout))
    }
}

/// The Python package provider.
pub struct Pip {
    host: Host,
    listing: Listing<Python>,
}

impl Pip {
    /// The Python packages of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { listing: Listing::new(Python { host: host.clone() }), host }
    }
}

/// One distribution as the script prints it.
#[derive(Debug, Deserialize)]
struct Distribution {
    name: String,
    version: String,
}

/// Reads a list of packages; one without a name or a version, as a broken installation leaves behind,
/// is left out.
pub fn parse(bytes: &[u8]) -> Result<Vec<Installed>, ProviderError> {
    let entries: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| {
        ProviderError::NotUnderstood { what: SOURCE.to_owned(), problem: error.to_string() }
    })?;
    let packages = entries.into_iter().filter_map(|entry| serde_json::from_value::<Distribution>(entry).ok());
    Ok(packages.map(|package| Installed::plain(package.name, Some(package.version))).collect())
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
        Ok(self.host.find(&["python3"], probe.deadline).await?.is_some())
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        // The first call finds the list made, or nearly.
        self.listing.start();
        let python = self.host.find(&["python3"], deadline).await?;
        Ok(json!({"python": python.map(|(_, path)| path)}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        packages::tools(
            "Version of one installed Python package, found under its index name or a usual other name \
             (pytorch is torch). An empty list means that the python3 on the search path does not have it. \
             Like pip show.",
            "Installed Python packages with versions, optionally only those whose name starts with `prefix`; \
             at most 500. Like pip list.",
        )
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        let is_called = |name: &str, wanted: &str| python_name(name) == python_name(wanted);
        packages::answer(tool, args, &self.listing, is_called, deadline).await
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        packages::observe::<Vec<Installed>>(call, reader, "find_package", |found| found).await
    }
}
