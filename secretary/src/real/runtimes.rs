//! Container runtimes and MPI implementations: small programs that say who they are.

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::Runtime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::aliases::version_in;
use super::host::Host;
use crate::interest;
use crate::program::BANNER_LIMIT;
use crate::provider::{Answer, Category, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// How a runtime is asked.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    category: Category,
    program: &'static str,
    args: &'static [&'static str],
    /// A text, lower case, that its answer must contain, where several share a program's name.
    sign: &'static str,
    tool: &'static str,
    description: &'static str,
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "docker",
        category: Category::Container,
        program: "docker",
        // The client alone is of no use: this asks the daemon, which this user may not be allowed to.
        args: &["version", "--format", "{{.Server.Version}}"],
        sign: "",
        tool: "runtime_info",
        description: "Version of the Docker daemon that this user can reach; an error means that Docker \
                      cannot be used here. Like docker version.",
    },
    Kind {
        name: "podman",
        category: Category::Container,
        program: "podman",
        args: &["--version"],
        sign: "podman",
        tool: "runtime_info",
        description: "Version of Podman on this machine. Like podman --version.",
    },
    Kind {
        name: "singularity",
        category: Category::Container,
        program: "singularity",
        args: &["--version"],
        sign: "",
        tool: "runtime_info",
        description: "Version of Singularity on this machine. Like singularity --version.",
    },
    Kind {
        name: "apptainer",
        category: Category::Container,
        program: "apptainer",
        args: &["--version"],
        sign: "apptainer",
        tool: "runtime_info",
        description: "Version of Apptainer on this machine. Like apptainer --version.",
    },
    Kind {
        name: "charliecloud",
        category: Category::Container,
        program: "ch-run",
        args: &["--version"],
        sign: "",
        tool: "runtime_info",
        description: "Version of Charliecloud on this machine. Like ch-run --version.",
    },
    Kind {
        name: "shifter",
        category: Category::Container,
        program: "shifter",
        args: &["--version"],
        sign: "",
        tool: "runtime_info",
        description: "Version of Shifter on this machine. Like shifter --version.",
    },
    Kind {
        name: "openmpi",
        category: Category::Parallel,
        program: "mpirun",
        args: &["--version"],
        sign: "open",
        tool: "mpi_info",
        description: "Version of Open MPI on this machine. Like mpirun --version.",
    },
    Kind {
        name: "mpich",
        category: Category::Parallel,
        program: "mpirun",
        args: &["--version"],
        sign: "hydra",
        tool: "mpi_info",
        description: "Version of MPICH on this machine. Like mpirun --version.",
    },
];

/// What a runtime's tool tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeReading {
    /// Its version, if it can be told.
    pub version: Option<String>,
}

/// One container runtime or MPI implementation.
pub struct RuntimeProvider {
    host: Host,
    kind: Kind,
}

impl RuntimeProvider {
    /// Every runtime that could be on a machine.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        KINDS.into_iter().map(|kind| Self { host: host.clone(), kind }).collect()
    }

    async fn ask(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let kind = self.kind;
        let program = self.host.find(&[kind.program], deadline).await?;
        let missing = |problem: &str| ProviderError::Program {
            program: kind.program.to_owned(),
            problem: problem.to_owned(),
        };
        let (_, program) = program.ok_or_else(|| ProviderError::not_found(kind.program))?;
        let output = self.host.run(&program, kind.args, BANNER_LIMIT, deadline).await?;
        let banner = output.banner();
        if !output.success {
            return Err(output.failure(kind.program));
        }
        if !banner.to_lowercase().contains(kind.sign) {
            return Err(missing("it belongs to another implementation"));
        }
        let value = json!(RuntimeReading { version: version_in(&banner) });
        let source = format!("{} {}", program.display(), kind.args.join(" "));
        Ok(Answer::new(value, source, banner.as_bytes()))
    }
}

#[async_trait]
impl Provider for RuntimeProvider {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn category(&self) -> Category {
        self.kind.category
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        Ok(self.ask(deadline).await?.value)
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(self.kind.tool, self.kind.description)]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &[self.kind.tool])?;
        self.ask(deadline).await
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        if !interest::wants(self.kind.category, call) {
            return Ok(());
        }
        let reading: RuntimeReading = reader.ask(self.kind.tool, json!({})).await?;
        let runtime = vec![Runtime { name: self.kind.name.to_owned(), version: reading.version }];
        match self.kind.category {
            Category::Parallel => reader.facts.mpi = Some(runtime),
            _ => reader.facts.containers = Some(runtime),
        }
        Ok(())
    }
}
