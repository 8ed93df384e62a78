//! Environment modules, of either kind: Lmod, whose `spider` knows also what is hidden behind a compiler
//! or an MPI, and Environment Modules. Both are asked without a shell, the way their shell functions do
//! it: they print code for the shell on one stream and the list on the other.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::facts::Scope;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::host::Host;
use super::listing::{Listed, Lister, Listing};
use super::packages::{Installed, PackageSource, Packages};
use crate::program::Output;
use crate::provider::{Answer, ProviderError, ProviderTool, arguments};

/// The largest sites have some ten thousand modules of about 40 bytes each.
const LIST_LIMIT: usize = 8 * 1024 * 1024;
/// The most modules that are kept.
const MODULES_LIMIT: usize = 100_000;

/// Where distributions and their manuals put the commands, when no variable leads to them.
const COMMANDS: [&str; 8] = [
    "usr/share/lmod/lmod/libexec/lmod",
    "opt/apps/lmod/lmod/libexec/lmod",
    "usr/local/lmod/lmod/libexec/lmod",
    "usr/lib/x86_64-linux-gnu/modulecmd.tcl",
    "usr/lib/aarch64-linux-gnu/modulecmd.tcl",
    "usr/share/Modules/libexec/modulecmd.tcl",
    "usr/local/Modules/libexec/modulecmd.tcl",
    "opt/modules/libexec/modulecmd.tcl",
];

/// Files that list the directories of modules, for a worker that was started without `MODULEPATH`.
const PATH_FILES: [&str; 3] =
    ["etc/lmod/modulespath", "etc/environment-modules/modulespath", "usr/share/Modules/init/.modulespath"];

/// Which of the two systems it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Lmod,
    EnvironmentModules,
}

impl System {
    fn of(command: &Path) -> Self {
        let name = command.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("modulecmd") { Self::EnvironmentModules } else { Self::Lmod }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lmod => "lmod",
            Self::EnvironmentModules => "environment-modules",
        }
    }
}

/// The command behind `module`.
pub struct Command {
    host: Host,
}

impl Command {
    /// Runs it with the directories of modules, wherever they are told.
    async fn run(&self, program: &Path, args: &[&str], deadline: Instant) -> Result<Output, ProviderError> {
        let mut host = self.host.clone();
        if host.variable("MODULEPATH").is_none() {
            let mut tree = host.tree();
            let read = move || PATH_FILES.iter().find_map(|file| tree.text(file));
            let text = host.blocking.run("modulespath", deadline, read).await?.unwrap_or_default();
            let directories = module_path(&text);
            if !directories.is_empty() {
                host.variables.insert("MODULEPATH", directories);
            }
        }
        let output = host.run(program, args, LIST_LIMIT, deadline).await?;
        refused(&output)?;
        Ok(output)
    }
}

/// The directories that a file lists, one a line, joined as `MODULEPATH` has them. Lines with wild cards
/// are for the shell and are left out.
fn module_path(text: &str) -> String {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let directories = lines.filter(|line| line.starts_with('/') && !line.contains('*'));
    directories.collect::<Vec<_>>().join(":")
}

#[async_trait]
impl Lister for Command {
    type List = Vec<Installed>;

    fn what(&self) -> &'static str {
        "module avail"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        let program = self.needed_program(deadline).await?;
        let (args, source): (&[&str], _) = match System::of(&program) {
            System::Lmod => (&["bash", "-t", "spider"], "module -t spider"),
            System::EnvironmentModules => (&["bash", "avail", "-t"], "module avail -t"),
        };
        let output = self.run(&program, args, deadline).await?;
        let text = listing_text(&output);
        Ok(Listed::new(parse(&text), source, text.as_bytes()))
    }
}

/// Environment Modules ends with 0 also when it fails, and has the shell do what ends with 1.
fn refused(output: &Output) -> Result<(), ProviderError> {
    let code = String::from_utf8_lossy(&output.stdout);
    let fails = code.lines().any(|line| matches!(line.trim(), "test 0 = 1;" | "false"));
    if output.success && !fails { Ok(()) } else { Err(output.failure("module")) }
}

/// The list, wherever it was printed: sites may have it sent through the shell, as `echo '...';`.
fn listing_text(output: &Output) -> String {
    if !output.stderr.trim_ascii().is_empty() {
        return String::from_utf8_lossy(&output.stderr).into_owned();
    }
    let code = String::from_utf8_lossy(&output.stdout);
    let lines = code.lines().filter_map(|line| line.strip_prefix("echo '")?.strip_suffix("';"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads a terse list: `gcc/12.2.0`, decorated as in `gcc/12.2.0(default)`, with lines for directories
/// (`/apps/modules:`), for names (`gcc/`) and for other names of modules (`gmx(@gromacs/2024.1)`).
#[must_use]
pub fn parse(text: &str) -> Vec<Installed> {
    let mut modules = Vec::new();
    for line in text.lines().take(MODULES_LIMIT) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('/') || line.ends_with([':', '/']) || line.contains("(@") {
            continue;
        }
        let bare = line.split(['(', '<']).next().unwrap_or_default().trim_end();
        // A module's name has no blanks; what has them is a remark.
        if bare.is_empty() || bare.len() > 256 || bare.contains(char::is_whitespace) {
            continue;
        }
        let (name, version) = match bare.rsplit_once('/') {
            Some((name, version)) if !name.is_empty() && !version.is_empty() => (name, Some(version)),
            Some(_) => continue,
            None => (bare, None),
        };
        modules.push(Installed::plain(name, version.map(str::to_owned)));
    }
    modules
}

/// Whether a module is meant by a name: case does not count, nor do the groups that sites sort modules
/// into (`bio/GROMACS`).
fn is_called(name: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.to_lowercase().replace(['_', '.'], "-");
    let last = name.rsplit('/').next().unwrap_or(name);
    bare(name) == bare(wanted) || bare(last) == bare(wanted)
}

/// What `how_to_load` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loading {
    /// Whether nothing else has to be loaded before.
    pub directly: bool,
    /// Each an alternative: what has to be loaded before, in order.
    pub after: Vec<Vec<String>>,
}

/// Reads what Lmod's `spider NAME/VERSION` says about loading it.
#[must_use]
pub fn parse_spider(text: &str) -> Loading {
    let mut loading = Loading::default();
    let mut within = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.contains("can be loaded directly") {
            loading.directly = true;
        } else if trimmed.starts_with("You will need to load")
            || trimmed.starts_with("This extension is provided")
        {
            within = true;
        } else if trimmed.ends_with(':') || trimmed.starts_with("Names marked") {
            within = false;
        } else if within && !trimmed.is_empty() {
            let modules: Vec<String> = trimmed.split_whitespace().map(str::to_owned).collect();
            if modules.iter().all(|module| module.contains('/')) && loading.after.len() < 64 {
                loading.after.push(modules);
            }
        }
    }
    loading
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HowToLoad {
    module: String,
}

/// The modules provider.
pub type Modules = Packages<Command>;

impl Modules {
    /// The modules of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self::of(Command { host })
    }
}

#[async_trait]
impl PackageSource for Command {
    fn name(&self) -> &'static str {
        "modules"
    }

    async fn program(&self, deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        let told = ["LMOD_CMD", "MODULES_CMD"].into_iter().filter_map(|name| self.host.variable(name));
        let told = told.map(PathBuf::from).filter(|path| path.is_absolute());
        let home =
            self.host.variable("MODULESHOME").map(|home| Path::new(home).join("libexec/modulecmd.tcl"));
        let usual = COMMANDS.iter().map(|file| self.host.root.join(file));
        let files = told.chain(home).chain(usual).collect();
        self.host.locate(files, &["modulecmd"], deadline).await
    }

    async fn scope(&self, deadline: Instant) -> Scope {
        let directories = self.host.variable("MODULEPATH").unwrap_or_default();
        let directories = std::env::split_paths(directories).filter(|path| path.is_absolute()).collect();
        self.host.scope_of(directories, deadline).await
    }

    async fn metadata(&self, program: &Path, deadline: Instant) -> Value {
        // Both print it where no shell reads it: on standard error.
        let version = self.host.version(program, &["bash", "--version"], deadline).await;
        json!({"system": System::of(program).name(), "version": version})
    }

    fn is_called(&self, name: &str, wanted: &str) -> bool {
        is_called(name, wanted)
    }

    fn descriptions(&self) -> [&'static str; 2] {
        [
            "Versions of one package that modules offer here, also those that need a compiler or an MPI to be \
             loaded first, where Lmod is used. An empty list means that no module is called so. Like module \
             spider NAME and module avail NAME.",
            "Modules with versions, optionally only those whose name starts with `prefix`; at most 500. Like \
             module spider and module avail.",
        ]
    }

    fn more_tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::new(
            "how_to_load",
            "What has to be loaded before one module can be: `after` has the alternatives, `directly` is true \
             when nothing has to. Like module spider NAME/VERSION.",
            &json!({"module": {"type": "string", "description": "as list_packages has it: name/version",
                               "minLength": 1, "maxLength": 256}}),
            &["module"],
        )]
    }

    async fn more(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        listing: &Listing<Self>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        if tool != "how_to_load" {
            return Err(ProviderError::UnknownTool(tool.to_owned()));
        }
        let HowToLoad { module } = arguments(tool, args)?;
        let listed = listing.get(deadline).await?;
        // Only what is on the list becomes an argument.
        let known = listed.value().iter().any(|installed| {
            let version = installed.version.as_deref();
            version.is_some_and(|version| format!("{}/{version}", installed.name) == module)
        });
        let nothing = |why: &str| listed.answer(json!({"module": module, "known": known, "problem": why}));
        if !known {
            return Ok(nothing("there is no such module; list_packages shows them"));
        }
        let program = self.needed_program(deadline).await?;
        if System::of(&program) != System::Lmod {
            return Ok(nothing("Environment Modules does not tell what has to be loaded before"));
        }
        let output = self.run(&program, &["bash", "spider", &module], deadline).await?;
        let text = listing_text(&output);
        let loading = parse_spider(&text);
        let value = json!({"module": module, "known": true, "directly": loading.directly,
                           "after": loading.after});
        Ok(Answer::new(value, format!("module spider {module}"), text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_a_module() {
        assert!(is_called("GROMACS", "gromacs") && is_called("bio/GROMACS", "gromacs"));
        assert!(is_called("toolchain/foss", "toolchain/foss") && !is_called("gromacs-cp2k", "gromacs"));
    }

    #[test]
    fn directories_in_a_file() {
        let text =
            "# modules\n/etc/lmod/modules\n/usr/share/modulefiles # local\n/apps/*/modules\nrelative\n";
        assert_eq!(module_path(text), "/etc/lmod/modules:/usr/share/modulefiles");
    }
}
