//! The machine as providers reach it: its root directory, its programs, the variables that say which of
//! its software is meant, the ways to ask a file system and the GPU driver, and the threads for looks that
//! may hang.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::facts::Scope;
use protocol::units::GiB;
use tokio::time::Instant;

use super::aliases::version_in;
use super::gpu::nvml::{NoNvml, NvmlReader, SystemNvml};
use super::mounts;
use crate::blocking::Blocking;
use crate::program::{self, Output, SearchPath};
use crate::provider::{Answer, ProviderError};

/// The most that is read of one file.
const FILE_LIMIT: u64 = 1024 * 1024;
/// The most entries that are read of one directory.
const DIRECTORY_LIMIT: usize = 4096;

/// What a user, a module or an administrator sets to say which installation is meant. Programs get these
/// and nothing else of this process's environment: none of them is a secret.
const VARIABLES: [&str; 26] = [
    "LD_LIBRARY_PATH",
    "XDG_RUNTIME_DIR",
    "SPACK_ROOT",
    "SPACK_PYTHON",
    "SPACK_DISABLE_LOCAL_CONFIG",
    "SPACK_USER_CONFIG_PATH",
    "SPACK_SYSTEM_CONFIG_PATH",
    "LMOD_CMD",
    "LMOD_RC",
    "LMOD_PACKAGE_PATH",
    "LMOD_SYSTEM_NAME",
    "MODULES_CMD",
    "MODULESHOME",
    "MODULEPATH",
    "MODULERCFILE",
    "CONDA_EXE",
    "CONDA_ROOT",
    "CONDA_ENVS_DIRS",
    "CONDA_ENVS_PATH",
    "MAMBA_EXE",
    "MAMBA_ROOT_PREFIX",
    "DOCKER_HOST",
    "CONTAINER_HOST",
    "STORAGE_DRIVER",
    "CH_IMAGE_STORAGE",
    "OPAL_PREFIX",
];

/// Size and free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Free for this user, in bytes.
    pub free_bytes: u64,
    /// Files that it can hold; 0 where there is no limit.
    pub inodes: u64,
    /// Files that can still be made.
    pub inodes_free: u64,
}

/// Asks a file system for its space; may hang.
pub trait SpaceReader: Send + Sync + 'static {
    /// The space of the file system that holds `path`.
    fn space(&self, path: &Path) -> std::io::Result<Space>;
}

/// Asks the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statvfs;

impl SpaceReader for Statvfs {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the widths of these fields differ between platforms"
    )]
    fn space(&self, path: &Path) -> std::io::Result<Space> {
        let stat = nix::sys::statvfs::statvfs(path).map_err(std::io::Error::from)?;
        let fragment = stat.fragment_size() as u64;
        Ok(Space {
            total_bytes: (stat.blocks() as u64).saturating_mul(fragment),
            free_bytes: (stat.blocks_available() as u64).saturating_mul(fragment),
            inodes: stat.files() as u64,
            inodes_free: stat.files_available() as u64,
        })
    }
}

/// The moment at which this share of the time until a deadline is over; what has several questions to
/// ask leaves time for the next one.
#[must_use]
pub fn earlier(deadline: Instant, share: f64) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now).mul_f64(share)
}

/// The machine.
#[derive(Clone)]
pub struct Host {
    /// Its root directory: `/`, or a recorded tree.
    pub root: PathBuf,
    /// Where its programs are.
    pub path: SearchPath,
    /// Variables that say which of its software is meant.
    pub variables: BTreeMap<&'static str, String>,
    /// How to ask for space.
    pub space: Arc<dyn SpaceReader>,
    /// How to ask the NVIDIA driver.
    pub nvml: Arc<dyn NvmlReader>,
    /// Threads for looks that may hang.
    pub blocking: Arc<Blocking>,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let set = VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
        let variables = set.filter(|(_, value)| !value.is_empty()).collect();
        let nvml = Arc::new(SystemNvml::default());
        Self { variables, nvml, ..Self::at(Path::new("/"), SearchPath::of_process()) }
    }

    /// A machine recorded under a directory.
    #[must_use]
    pub fn at(root: &Path, path: SearchPath) -> Self {
        Self {
            root: root.to_owned(),
            path,
            variables: BTreeMap::new(),
            space: Arc::new(Statvfs),
            nvml: Arc::new(NoNvml),
            blocking: Arc::new(Blocking::default()),
        }
    }

    /// Its files.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree { root: self.root.clone(), raw: Vec::new() }
    }

    /// A variable, if it is set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The first of these programs that is on the search path.
    pub async fn find(
        &self,
        names: &[&str],
        deadline: Instant,
    ) -> Result<Option<(usize, PathBuf)>, ProviderError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let path = self.path.clone();
        let search = move || {
            names.iter().enumerate().find_map(|(at, name)| path.find(name).map(|program| (at, program)))
        };
        self.blocking.run("PATH", deadline, search).await
    }

    /// A program: the first of these files that can be executed, given with their whole paths, else the
    /// first of these names on the search path.
    pub async fn locate(
        &self,
        files: Vec<PathBuf>,
        names: &[&str],
        deadline: Instant,
    ) -> Result<Option<PathBuf>, ProviderError> {
        let search = move || files.into_iter().find(|file| program::is_executable(file));
        // Each kind of program for itself: one that hangs with its file system does not stop the others.
        let what = names.join(", ");
        if let Some(program) = self.blocking.run(&what, deadline, search).await? {
            return Ok(Some(program));
        }
        Ok(self.find(names, deadline).await?.map(|(_, program)| program))
    }

    /// Runs a program.
    pub async fn run(
        &self,
        program: &Path,
        args: &[&str],
        limit: usize,
        deadline: Instant,
    ) -> Result<Output, ProviderError> {
        let variables = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        program::run(program, args, &self.path, variables, limit, deadline).await
    }

    /// The version that a program prints. It is looked for on the side: a program that is slow to tell
    /// leaves time for other questions, and `None`.
    pub async fn version(&self, program: &Path, args: &[&str], deadline: Instant) -> Option<String> {
        let output = self.run(program, args, program::BANNER_LIMIT, earlier(deadline, 0.6)).await.ok()?;
        // A program that fails may print anything, such as another program's version.
        output.success.then(|| version_in(&output.banner())).flatten()
    }

    /// What something is there for that lies in these places, where this machine is none of the site's
    /// nodes: a file system that is reached over a network is the nodes', too.
    pub async fn scope_of(&self, places: Vec<PathBuf>, deadline: Instant) -> Scope {
        let mut tree = self.tree();
        let look = move || {
            let table = tree.text("proc/self/mountinfo").unwrap_or_default();
            let is_shared = |place: PathBuf| {
                let place = std::fs::canonicalize(&place).unwrap_or(place);
                mounts::is_shared(&table, &place)
            };
            places.into_iter().any(is_shared)
        };
        match self.blocking.run("/proc/self/mountinfo", deadline, look).await {
            Ok(true) => Scope::Site,
            Ok(false) | Err(_) => Scope::Host,
        }
    }

    /// The same of a program, if it was found.
    pub async fn scope_of_program(
        &self,
        program: Result<Option<PathBuf>, ProviderError>,
        deadline: Instant,
    ) -> Scope {
        self.scope_of(program.ok().flatten().into_iter().collect(), deadline).await
    }

    /// Reads files on a thread of its own and makes an answer of what was read.
    pub async fn look<F>(
        &self,
        source: &'static str,
        deadline: Instant,
        read: F,
    ) -> Result<Answer, ProviderError>
    where
        F: FnOnce(&mut Tree) -> Result<serde_json::Value, ProviderError> + Send + 'static,
    {
        let mut tree = self.tree();
        self.blocking
            .run(source, deadline, move || {
                let value = read(&mut tree)?;
                Ok(Answer::new(value, source, &tree.raw))
            })
            .await?
    }
}

/// A directory tree with `/proc` and `/sys` in it, and the bytes that were read from it so far.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    raw: Vec<u8>,
}

impl Tree {
    /// A tree.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), raw: Vec::new() }
    }

    /// The path of something in the tree.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative.trim_start_matches('/'))
    }

    /// A file's text, at most 1 MiB of it.
    pub fn read(&mut self, relative: &str) -> Result<String, ProviderError> {
        let path = self.path(relative);
        let failed = |source| ProviderError::Read { what: path.display().to_string(), source };
        let file = std::fs::File::open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        self.raw.extend_from_slice(&bytes);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file's text without the white space around it, if it can be read and is not empty.
    pub fn text(&mut self, relative: &str) -> Option<String> {
        let text = self.read(relative).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A file's number, if it holds one.
    pub fn number(&mut self, relative: &str) -> Option<i64> {
        self.text(relative)?.parse().ok()
    }

    /// The names in a directory, sorted; none when it cannot be read.
    #[must_use]
    pub fn names(&self, relative: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(relative)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .take(DIRECTORY_LIMIT)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether something is there.
    #[must_use]
    pub fn exists(&self, relative: &str) -> bool {
        self.path(relative).symlink_metadata().is_ok()
    }
}

/// Bytes as GiB, to three places.
#[must_use]
pub fn gib(bytes: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "rounded to 1 MiB right after")]
    let exact = bytes as f64 / f64::from(1_u32 << 30);
    GiB::saturating(libm::round(exact * 1000.0) / 1000.0)
}
