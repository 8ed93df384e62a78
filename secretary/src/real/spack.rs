//! Packages that Spack installed, with compiler, target and variants, and the compilers that it knows.
//! Old releases name a package's compiler in a field of its own; since 1.0 it is a dependency like others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::facts::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::python_name;
use super::host::Host;
use super::listing::{Listed, Lister, Listing};
use super::packages::{Installed, PackageSource, Packages, entries};
use crate::program::{BANNER_LIMIT, Output};
use crate::provider::{Answer, ProviderError, ProviderTool, plain_tool};

/// A site's installation has a few thousand packages of about 1.5 KiB each.
const LIST_LIMIT: usize = 32 * 1024 * 1024;
/// Compilers that one answer lists.
const COMPILERS_LIMIT: usize = 200;

/// Variants that say nothing about what a package can do.
const PLAIN_VARIANTS: [&str; 9] =
    ["build_system", "generator", "cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs", "patches"];

/// Finds and runs one Spack.
#[derive(Clone)]
struct Spack {
    host: Host,
}

impl Spack {
    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        let root = self.host.variable("SPACK_ROOT").map(|root| Path::new(root).join("bin/spack"));
        self.host.locate(root.into_iter().collect(), &["spack"], deadline).await
    }

    async fn run(&self, args: &[&str], limit: usize, deadline: Instant) -> Result<Output, ProviderError> {
        let program = self.program(deadline).await?.ok_or_else(|| ProviderError::not_found("spack"))?;
        self.host.run(&program, args, limit, deadline).await
    }
}

/// The packages of a Spack.
pub struct Find {
    spack: Spack,
    compilers: Listing<Compilers>,
}

#[async_trait]
impl Lister for Find {
    type List = Vec<Installed>;

    fn what(&self) -> &'static str {
        "spack find --json"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let output = self.spack.run(&["find", "--json"], LIST_LIMIT, deadline).await?;
        // An installation without packages is told as a failure to match.
        let nothing = output.stdout.trim_ascii().is_empty()
            && String::from_utf8_lossy(&output.stderr).contains("No package matches");
        if !output.success && !nothing {
            return Err(output.failure(self.what()));
        }
        let packages = if nothing { Vec::new() } else { parse(&output.stdout)? };
        Ok(Listed::new(packages, self.what(), &output.stdout))
    }
}

struct Compilers(Spack);

#[async_trait]
impl Lister for Compilers {
    type List = Vec<String>;

    fn what(&self) -> &'static str {
        "spack compiler list"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let output = self.0.run(&["compiler", "list"], BANNER_LIMIT, deadline).await?;
        if !output.success {
            return Err(output.failure(self.what()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Listed::new(parse_compilers(&text), self.what(), &output.stdout))
    }
}

#[derive(Debug, Deserialize)]
struct Spec {
    name: String,
    version: String,
    #[serde(default)]
    hash: String,
    #[serde(default)]
    arch: Value,
    compiler: Option<Named>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    hash: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl Dependency {
    fn compiles(&self) -> bool {
        let virtuals = self.parameters.get("virtuals").and_then(Value::as_array);
        virtuals.is_some_and(|names| {
            names.iter().any(|name| matches!(name.as_str(), Some("c" | "cxx" | "fortran")))
        })
    }
}

/// Reads what `spack find --json` prints; an entry without a name or a version is left out.
pub fn parse(bytes: &[u8]) -> Result<Vec<Installed>, ProviderError> {
    let specs: Vec<Spec> = entries(bytes, "spack find --json")?;
    let versions: BTreeMap<&str, &str> =
        specs.iter().map(|spec| (spec.hash.as_str(), spec.version.as_str())).collect();
    let installed = specs.iter().map(|spec| {
        let named = spec.compiler.as_ref().map(|named| format!("{}@{}", named.name, named.version));
        let dependency = spec.dependencies.iter().find(|dependency| dependency.compiles());
        let compiler = named.or_else(|| {
            let dependency = dependency?;
            Some(match versions.get(dependency.hash.as_str()) {
                Some(version) => format!("{}@{version}", dependency.name),
                None => dependency.name.clone(),
            })
        });
        let telling = |(name, value): &(&String, &Value)| {
            !PLAIN_VARIANTS.contains(&name.as_str()) && !value.is_null() && value.as_str() != Some("none")
        };
        let variants: Map<String, Value> = spec
            .parameters
            .iter()
            .filter(telling)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut details = Map::new();
        details.insert("compiler".to_owned(), json!(compiler));
        details.insert("target".to_owned(), spec.arch.get("target").cloned().unwrap_or_default());
        details.insert("hash".to_owned(), json!(spec.hash.chars().take(7).collect::<String>()));
        details.insert("variants".to_owned(), Value::Object(variants));
        Installed { details, ..Installed::plain(spec.name.clone(), Some(spec.version.clone())) }
    });
    Ok(installed.collect())
}

/// Reads what `spack compiler list` prints: `gcc@12.2.0`, with `[e]` in front when it is external.
#[must_use]
pub fn parse_compilers(text: &str) -> Vec<String> {
    let last_words = text.lines().filter_map(|line| line.split_whitespace().last());
    let compilers = last_words.filter(|word| {
        word.split_once('@')
            .is_some_and(|(a, b)| !a.is_empty() && b.starts_with(|c: char| c.is_ascii_digit()))
    });
    compilers.take(COMPILERS_LIMIT).map(str::to_owned).collect()
}

/// Whether a package is meant by a name: its own, or that of the Python package that it installs.
fn is_called(name: &str, wanted: &str) -> bool {
    let (name, wanted) = (name.to_lowercase(), wanted.to_lowercase());
    let bare = |text: &str| text.replace(['_', '.'], "-");
    let python = name.strip_prefix("py-").is_some_and(|name| python_name(name) == python_name(&wanted));
    bare(&name) == bare(&wanted) || python
}

/// The Spack provider.
pub type SpackPackages = Packages<Find>;

impl SpackPackages {
    /// The Spack of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        let spack = Spack { host };
        Self::of(Find { compilers: Listing::new(Compilers(spack.clone())), spack })
    }
}

#[async_trait]
impl PackageSource for Find {
    fn name(&self) -> &'static str {
        "spack"
    }

    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        self.spack.program(deadline).await
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        self.spack.host.scope_of_program(self.program(deadline).await, deadline).await
    }

    async fn metadata(&self, program: &Path, deadline: Instant) -> Value {
        let version = self.spack.host.version(program, &["--version"], deadline).await;
        json!({"program": program, "version": version})
    }

    fn is_called(&self, name: &str, wanted: &str) -> bool {
        is_called(name, wanted)
    }

    fn descriptions(&self) -> [&'static str; 2] {
        [
            "Builds of one package that Spack installed here, each with version, compiler, target, variants \
             (mpi, cuda, ...) and the first characters of its hash, which `spack load /HASH` takes. Python \
             packages are found under their plain name too (numpy is py-numpy). An empty list means that it \
             is not installed. Like spack find -lv.",
            "Packages that Spack installed here with versions, optionally only those whose name starts with \
             `prefix`; at most 500. Like spack find.",
        ]
    }

    fn more_tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(
            "compilers",
            "Compilers that Spack can build with here, as name@version. Like spack compiler list.",
        )]
    }

    async fn more(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        _listing: &Listing<Self>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["compilers"])?;
        let listed = self.compilers.get(deadline).await?;
        Ok(listed.answer(json!(listed.value())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_a_package() {
        assert!(is_called("py-numpy", "numpy") && is_called("py-torch", "PyTorch"));
        assert!(is_called("quantum-espresso", "quantum_espresso"));
        assert!(!is_called("py-numpy", "num") && !is_called("hdf5", "py-hdf5"));
    }
}
