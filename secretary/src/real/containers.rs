//! Container runtimes: version, whether this user can use them, and the images that are here. That a
//! program is installed says little: Docker needs a daemon that lets this user in, the runtimes of HPC
//! sites need user namespaces or a helper with the rights of root.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{Runtime, Scope};
use protocol::units::GiB;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::host::{Host, Tree, earlier, gib};
use super::listing::{Listed, Lister, Listing};
use crate::interest;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// A thousand images are about 500 KiB.
const IMAGES_LIMIT: usize = 4 * 1024 * 1024;
/// The most images that one answer lists.
const SHOWN_LIMIT: usize = 200;

/// What a runtime needs to be of use to this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A daemon that answers this question.
    Daemon(&'static [&'static str]),
    /// To open its store, which listing the images does.
    Store,
    /// User namespaces.
    Namespaces,
    /// User namespaces, or a helper of this name that has the rights of root.
    NamespacesOr(&'static str),
    /// Nobody can tell without running a container.
    Untold,
}

/// How a runtime lists its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Images {
    /// A JSON array, as Podman prints it.
    Array,
    /// A JSON object in each line, as Docker prints them.
    Objects,
    /// A name in each line, the last word of it.
    Names,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    program: &'static str,
    needs: Needs,
    images: Option<(&'static str, &'static [&'static str], Images)>,
    description: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "docker",
        program: "docker",
        needs: Needs::Daemon(&["version", "--format", "{{.Server.Version}}"]),
        images: Some(("docker", &["images", "--format", "{{json .}}"], Images::Objects)),
        description: "Version of the Docker client, and whether this user reaches a daemon. Like docker version.",
    },
    Kind {
        name: "podman",
        program: "podman",
        needs: Needs::Store,
        images: Some(("podman", &["images", "--format", "json"], Images::Array)),
        description: "Version of Podman, and whether this user can open its store. Like podman --version.",
    },
    Kind {
        name: "singularity",
        program: "singularity",
        needs: Needs::NamespacesOr("singularity"),
        images: None,
        description: "Version of Singularity, and whether this user has the namespaces or the helper that it \
                      needs. Like singularity --version.",
    },
    Kind {
        name: "apptainer",
        program: "apptainer",
        needs: Needs::NamespacesOr("apptainer"),
        images: None,
        description: "Version of Apptainer, and whether this user has the namespaces or the helper that it \
                      needs. Like apptainer --version.",
    },
    Kind {
        name: "charliecloud",
        program: "ch-run",
        needs: Needs::Namespaces,
        images: Some(("ch-image", &["list"], Images::Names)),
        description: "Version of Charliecloud, and whether this user has the namespaces that it needs. Like \
                      ch-run --version.",
    },
    Kind {
        name: "shifter",
        program: "shifter",
        needs: Needs::Untold,
        images: Some(("shifterimg", &["images"], Images::Names)),
        description: "Version of Shifter on this machine. Like shifter --version.",
    },
];

/// What `runtime_info` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeReading {
    /// Its version, if it can be told.
    pub version: Option<String>,
    /// Whether this user can use it, if anybody can tell.
    pub usable: Option<bool>,
    /// Why not, or why nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its name with its tag.
    pub name: String,
    /// Its size, where the runtime tells bytes.
    pub size_gib: Option<GiB>,
}

fn not_understood(what: &str, error: &serde_json::Error) -> ProviderError {
    ProviderError::NotUnderstood { what: what.to_owned(), problem: error.to_string() }
}

/// Reads what `podman images --format json` prints: one entry for each name of each image.
pub fn parse_podman(bytes: &[u8]) -> Result<Vec<Image>, ProviderError> {
    let entries: Vec<Map<String, Value>> =
        serde_json::from_slice(bytes).map_err(|error| not_understood("podman images", &error))?;
    let mut images = Vec::new();
    for entry in &entries {
        let size_gib = entry.get("Size").and_then(Value::as_u64).map(gib);
        let names = entry.get("Names").and_then(Value::as_array).into_iter().flatten();
        images.extend(names.filter_map(|name| Some(Image { name: name.as_str()?.to_owned(), size_gib })));
    }
    Ok(images)
}

/// Reads what `docker images --format '{{json .}}'` prints; its sizes are rounded for people.
pub fn parse_docker(bytes: &[u8]) -> Result<Vec<Image>, ProviderError> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut images = Vec::new();
    for line in lines {
        let entry: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| not_understood("docker images", &error))?;
        let word = |key: &str| entry.get(key).and_then(Value::as_str).filter(|word| *word != "<none>");
        // What has no name cannot be asked for.
        if let (Some(repository), Some(tag)) = (word("Repository"), word("Tag")) {
            images.push(Image { name: format!("{repository}:{tag}"), size_gib: None });
        }
    }
    Ok(images)
}

/// Reads a list of names, the last word of each line.
#[must_use]
pub fn parse_names(bytes: &[u8]) -> Vec<Image> {
    let text = String::from_utf8_lossy(bytes);
    let names = text.lines().filter_map(|line| line.split_whitespace().last());
    names.map(|name| Image { name: name.to_owned(), size_gib: None }).collect()
}

/// Whether this user may make user namespaces, and why not.
pub fn user_namespaces(tree: &mut Tree, is_root: bool) -> (Option<bool>, Option<&'static str>) {
    match tree.number("proc/sys/user/max_user_namespaces") {
        None => return (None, Some("the kernel does not tell about user namespaces")),
        Some(0) => return (Some(false), Some("user.max_user_namespaces is 0")),
        Some(_) => {}
    }
    if is_root {
        return (Some(true), None);
    }
    if tree.number("proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return (Some(false), Some("kernel.unprivileged_userns_clone is 0"));
    }
    if tree.number("proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        // A profile may let this program through.
        return (None, Some("kernel.apparmor_restrict_unprivileged_userns is 1"));
    }
    (Some(true), None)
}

/// Where a runtime that starts containers with the rights of root has its helper.
fn helpers(program: &Path, name: &str) -> Vec<PathBuf> {
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    ["libexec", "lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"]
        .iter()
        .map(|directory| prefix.join(directory).join(name).join("bin/starter-suid"))
        .collect()
}

fn has_rights_of_root(path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == 0 && meta.permissions().mode() & 0o4001 == 0o4001)
}

struct ImageList {
    host: Host,
    kind: Kind,
}

#[async_trait]
impl Lister for ImageList {
    type List = Vec<Image>;

    fn what(&self) -> &'static str {
        self.kind.images.map_or("images", |(program, _, _)| program)
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Vec<Image>>, ProviderError> {
        let Some((name, args, form)) = self.kind.images else {
            return Err(ProviderError::UnknownTool("images".to_owned()));
        };
        let found = self.host.find(&[name], deadline).await?;
        let (_, program) = found.ok_or_else(|| ProviderError::not_found(name))?;
        let output = self.host.run(&program, args, IMAGES_LIMIT, deadline).await?;
        if !output.success {
            return Err(output.failure(name));
        }
        let images = match form {
            Images::Array => parse_podman(&output.stdout)?,
            Images::Objects => parse_docker(&output.stdout)?,
            Images::Names => parse_names(&output.stdout),
        };
        Ok(Listed::new(images, format!("{name} {}", args.join(" ")), &output.stdout))
    }
}

/// One container runtime.
pub struct Containers {
    host: Host,
    kind: Kind,
    images: Listing<ImageList>,
}

impl Containers {
    /// Every runtime that could be on a machine.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        let of = |kind| Self {
            images: Listing::new(ImageList { host: host.clone(), kind }),
            host: host.clone(),
            kind,
        };
        KINDS.into_iter().map(of).collect()
    }

    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        Ok(self.host.find(&[self.kind.program], deadline).await?.map(|(_, program)| program))
    }

    /// Whether this user can use it, and why not.
    async fn usable(&self, program: &Path, deadline: Instant) -> (Option<bool>, Option<String>) {
        // A refusal is an answer; silence is none.
        let of_error = |error: ProviderError| match error.is_absence() {
            true => (Some(false), Some(error.in_full())),
            false => (None, Some(error.in_full())),
        };
        match self.kind.needs {
            Needs::Daemon(args) => match self.host.run(program, args, IMAGES_LIMIT, deadline).await {
                Ok(output) if output.success => (Some(true), None),
                Ok(output) => of_error(output.failure(self.kind.program)),
                Err(error) => of_error(error),
            },
            Needs::Store => match self.images.get(deadline).await {
                Ok(_) => (Some(true), None),
                Err(error) => of_error(error),
            },
            Needs::Namespaces => self.namespaces(Vec::new(), deadline).await,
            Needs::NamespacesOr(name) => self.namespaces(helpers(program, name), deadline).await,
            Needs::Untold => (None, Some("nobody can tell without starting a container".to_owned())),
        }
    }

    async fn namespaces(&self, helpers: Vec<PathBuf>, deadline: Instant) -> (Option<bool>, Option<String>) {
        let mut tree = self.host.tree();
        let look = move || match helpers.iter().any(|helper| has_rights_of_root(helper)) {
            true => (Some(true), None),
            false => user_namespaces(&mut tree, nix::unistd::geteuid().is_root()),
        };
        match self.host.blocking.run("user namespaces", deadline, look).await {
            Ok((usable, reason)) => (usable, reason.map(str::to_owned)),
            Err(error) => (None, Some(error.in_full())),
        }
    }

    async fn info(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let program = self.program(deadline).await?;
        let program = program.ok_or_else(|| ProviderError::not_found(self.kind.program))?;
        let version = self.host.version(&program, &["--version"], deadline).await;
        let (usable, reason) = self.usable(&program, earlier(deadline, 0.9)).await;
        let value = json!(RuntimeReading { version, usable, reason });
        let source = format!("{} --version", program.display());
        let raw = value.to_string();
        Ok(Answer::new(value, source, raw.as_bytes()))
    }
}

#[async_trait]
impl Provider for Containers {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn category(&self) -> Category {
        Category::Container
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        Ok(self.program(probe.deadline).await?.is_some())
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        Ok(self.info(deadline).await?.value)
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        let program = self.program(deadline).await;
        self.host.scope_of_program(program, deadline).await
    }

    fn tools(&self) -> Vec<ProviderTool> {
        let mut tools = vec![ProviderTool::plain("runtime_info", self.kind.description)];
        if self.kind.images.is_some() {
            tools.push(ProviderTool::plain(
                "images",
                "Images that are on this machine already, by name and tag, with their size in GiB where the \
                 runtime tells it; at most 200.",
            ));
        }
        tools
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        let known =
            if self.kind.images.is_some() { &["runtime_info", "images"][..] } else { &["runtime_info"] };
        plain_tool(tool, args, known)?;
        if tool == "runtime_info" {
            return self.info(deadline).await;
        }
        let listed = self.images.get(deadline).await?;
        let shown = listed.value().iter().take(SHOWN_LIMIT).collect::<Vec<_>>();
        Ok(listed.answer(json!({"total": listed.value().len(), "images": shown})))
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        if !interest::wants(Category::Container, call) {
            return Ok(());
        }
        let reading: RuntimeReading = reader.ask("runtime_info", json!({})).await?;
        let runtime = Runtime { name: self.kind.name.to_owned(), version: reading.version };
        match reading.usable {
            Some(usable) => reader.facts.containers = Some(usable.then_some(runtime).into_iter().collect()),
            // Neither usable nor unusable.
            None => reader.mark_incomplete(),
        }
        Ok(())
    }
}
