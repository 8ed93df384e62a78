//! Python packages of the interpreter that `python3` starts, as its own package metadata lists them; it
//! need not have pip.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::facts::Scope;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::aliases::python_name;
use super::host::Host;
use super::listing::{Listed, Lister};
use super::packages::{Installed, PackageSource, Packages, entries};
use crate::provider::ProviderError;

/// Large environments have a few thousand packages of about 60 bytes each.
const LIST_LIMIT: usize = 4 * 1024 * 1024;

const SOURCE: &str = "python3 importlib.metadata";
const SCRIPT: &str = "import json, importlib.metadata as m\n\
print(json.dumps([{'name': d.metadata['Name'], 'version': d.version} for d in m.distributions()]))";

/// The Python package provider.
pub type Pip = Packages<Python>;

impl Pip {
    /// The Python packages of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self::of(Python { host })
    }
}

/// The interpreter.
pub struct Python {
    host: Host,
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
    let packages = entries::<Distribution>(bytes, SOURCE)?.into_iter();
    Ok(packages.map(|package| Installed::plain(package.name, Some(package.version))).collect())
}

#[async_trait]
impl Lister for Python {
    type List = Vec<Installed>;

    fn what(&self) -> &'static str {
        SOURCE
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let python = self.needed_program(deadline).await?;
        let output = self.host.run(&python, &["-c", SCRIPT], LIST_LIMIT, deadline).await?;
        if !output.success {
            return Err(output.failure(SOURCE));
        }
        Ok(Listed::new(parse(&output.stdout)?, SOURCE, &output.stdout))
    }
}

#[async_trait]
impl PackageSource for Python {
    fn name(&self) -> &'static str {
        "pip"
    }

    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        Ok(self.host.find(&["python3"], deadline).await?.map(|(_, program)| program))
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        self.host.scope_of_program(self.program(deadline).await, deadline).await
    }

    async fn metadata(&self, program: &Path, _deadline: Instant) -> Value {
        json!({"python": program})
    }

    fn is_called(&self, name: &str, wanted: &str) -> bool {
        python_name(name) == python_name(wanted)
    }

    fn descriptions(&self) -> [&'static str; 2] {
        [
            "Version of one installed Python package, found under its index name or a usual other name \
             (pytorch is torch). An empty list means that the python3 on the search path does not have it. \
             Like pip show.",
            "Installed Python packages with versions, optionally only those whose name starts with `prefix`; \
             at most 500. Like pip list.",
        ]
    }
}
