//! MPI implementations: version, how they were built, which fabrics they drive and how they start
//! processes. Several may be here side by side, and share the name `mpirun`; each is asked through a
//! program of its own first, and what answers must say whose it is.

use std::path::PathBuf;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{Runtime, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::version_in;
use super::host::{Host, earlier};
use crate::interest;
use crate::program::BANNER_LIMIT;
use crate::provider::{Answer, Category, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// How an implementation is asked: programs and arguments, the most telling first.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    questions: &'static [(&'static str, &'static [&'static str])],
    /// Texts, lower case, of which an answer must contain one.
    signs: &'static [&'static str],
    description: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "openmpi",
        questions: &[
            ("ompi_info", &["--parsable"]),
            ("mpirun.openmpi", &["--version"]),
            ("mpirun", &["--version"]),
        ],
        signs: &["(open mpi)", "openrte", "ompi:version"],
        description: "Open MPI on this machine: version, package, the fabrics that its components drive, and \
                      what starts its processes. Like ompi_info.",
    },
    Kind {
        name: "mpich",
        questions: &[
            ("mpichversion", &[]),
            ("mpirun.mpich", &["--version"]),
            ("mpiexec.hydra", &["--version"]),
            ("mpirun", &["--version"]),
        ],
        signs: &["mpich version", "hydra build details"],
        description: "MPICH on this machine: version, device, the fabric that it was built for, and what starts \
                      its processes. Like mpichversion.",
    },
    Kind {
        name: "spectrum-mpi",
        questions: &[("ompi_info", &["--parsable"]), ("mpirun", &["--version"])],
        signs: &["spectrum mpi"],
        description: "IBM Spectrum MPI on this machine: version, fabrics, and what starts its processes. Like \
                      ompi_info.",
    },
];

/// What `mpi_info` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MpiReading {
    /// Its version, if it can be told.
    pub version: Option<String>,
    /// Who built it, or for which device.
    pub build: Option<String>,
    /// What it sends through; absent when the program does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fabrics: Vec<String>,
    /// What starts its processes; absent when the program does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launchers: Vec<String>,
}

/// The fabric that a component of Open MPI drives.
fn fabric(framework: &str, component: &str) -> Option<&'static str> {
    Some(match (framework, component) {
        ("pml" | "btl" | "osc", "ucx" | "uct") => "ucx",
        ("mtl" | "btl", "ofi") => "libfabric",
        ("mtl", "psm2") => "psm2",
        ("mtl", "psm") => "psm",
        ("mtl", "portals4") => "portals4",
        ("btl", "openib") => "verbs",
        ("btl", "usnic") => "usnic",
        ("btl", "ugni") => "ugni",
        ("btl", "tcp") => "tcp",
        ("btl", "sm" | "vader") => "shared-memory",
        _ => return None,
    })
}

fn note(list: &mut Vec<String>, word: &str) {
    if list.len() < 32 && !word.is_empty() && !list.iter().any(|known| known == word) {
        list.push(word.to_owned());
    }
}

/// Reads what `ompi_info --parsable` prints.
#[must_use]
pub fn parse_ompi_info(text: &str) -> MpiReading {
    let mut reading = MpiReading::default();
    for line in text.lines() {
        if let Some(package) = line.strip_prefix("package:") {
            reading.build = Some(package.trim().to_owned());
        } else if let Some(version) = line.strip_prefix("ompi:version:full:") {
            reading.version = version_in(version);
        } else if let Some(component) = line.strip_prefix("mca:") {
            let mut parts = component.split(':');
            let (Some(framework), Some(component)) = (parts.next(), parts.next()) else { continue };
            if framework == "plm" && component != "isolated" {
                note(&mut reading.launchers, component);
            }
            if let Some(fabric) = fabric(framework, component) {
                note(&mut reading.fabrics, fabric);
            }
        }
    }
    reading
}

/// The fabric behind MPICH's device (`ch4:ucx`).
fn device_fabric(device: &str) -> Option<&'static str> {
    let (_, module) = device.split_once(':')?;
    Some(match module.split([':', ',']).next()? {
        "ucx" => "ucx",
        "ofi" => "libfabric",
        "nemesis" | "sock" => "tcp",
        _ => return None,
    })
}

/// Reads what `mpichversion`, or `mpirun --version` of MPICH, prints.
#[must_use]
pub fn parse_mpich(text: &str) -> MpiReading {
    let mut reading = MpiReading::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim() {
            "MPICH Version" | "Version" => reading.version = version_in(value),
            "MPICH Device" => reading.build = Some(value.to_owned()),
            "Configure options" => {
                let options = value.split(['\'', ' ']);
                let device = options.filter_map(|option| option.strip_prefix("--with-device=")).next();
                reading.build = reading.build.or(device.map(str::to_owned));
            }
            "Launchers available" => {
                for launcher in value.split_whitespace() {
                    note(&mut reading.launchers, launcher);
                }
            }
            _ => {}
        }
    }
    if let Some(fabric) = reading.build.as_deref().and_then(device_fabric) {
        note(&mut reading.fabrics, fabric);
    }
    reading
}

/// One MPI implementation.
pub struct Mpi {
    host: Host,
    kind: Kind,
}

impl Mpi {
    /// Every implementation that could be on a machine.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        KINDS.into_iter().map(|kind| Self { host: host.clone(), kind }).collect()
    }

    fn read(&self, text: &str) -> MpiReading {
        let mut reading = match self.kind.name {
            "mpich" => parse_mpich(text),
            _ => parse_ompi_info(text),
        };
        // Spectrum MPI numbers the Open MPI in it by itself.
        if self.kind.name == "spectrum-mpi" {
            let own = text.lines().find(|line| line.to_lowercase().contains("spectrum mpi"));
            reading.version = own.and_then(version_in).or(reading.version);
        } else if reading.version.is_none() {
            reading.version = version_in(text);
        }
        reading
    }

    fn is_own(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let foreign = self.kind.name == "openmpi" && lower.contains("spectrum");
        !foreign && self.kind.signs.iter().any(|sign| lower.contains(sign))
    }

    async fn ask(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let mut last = ProviderError::not_found(self.kind.questions[0].0);
        for (name, args) in self.kind.questions {
            let found: Option<(usize, PathBuf)> = self.host.find(&[name], deadline).await?;
            let Some((_, program)) = found else { continue };
            let soon = earlier(deadline, 0.6);
            let output = match self.host.run(&program, args, BANNER_LIMIT, soon).await {
                Ok(output) if output.success => output,
                Ok(output) => {
                    last = output.failure(name);
                    continue;
                }
                // Silence of one says nothing; another may answer.
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let banner = output.banner();
            if self.is_own(&banner) {
                let source = format!("{} {}", program.display(), args.join(" "));
                return Ok(Answer::new(json!(self.read(&banner)), source.trim_end(), banner.as_bytes()));
            }
            last = ProviderError::Program {
                program: (*name).to_owned(),
                problem: "it belongs to another implementation".to_owned(),
            };
        }
        Err(last)
    }
}

#[async_trait]
impl Provider for Mpi {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn category(&self) -> Category {
        Category::Parallel
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        Ok(self.ask(deadline).await?.value)
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        let program = self
            .host
            .find(&[self.kind.questions[0].0], deadline)
            .await
            .map(|found| found.map(|(_, program)| program));
        self.host.scope_of_program(program, deadline).await
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain("mpi_info", self.kind.description)]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["mpi_info"])?;
        self.ask(deadline).await
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        if !interest::wants(Category::Parallel, call) {
            return Ok(());
        }
        let reading: MpiReading = reader.ask("mpi_info", json!({})).await?;
        reader.facts.mpi = Some(vec![Runtime { name: self.kind.name.to_owned(), version: reading.version }]);
        Ok(())
    }
}
