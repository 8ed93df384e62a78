//! Finds and runs the programs that a secretary looks with, in a clean environment that holds no secret.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::time::Instant;
use workload::program::{self, RunError};

use crate::provider::ProviderError;

/// The most that is read of a version banner.
pub const BANNER_LIMIT: usize = 64 * 1024;

/// Directories that hold programs, in order.
#[derive(Debug, Clone, Default)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// From the text of a `PATH` variable; relative entries are left out.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        Self(std::env::split_paths(path).filter(|directory| directory.is_absolute()).take(256).collect())
    }

    /// This process's own `PATH`.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse(&std::env::var("PATH").unwrap_or_default())
    }

    /// The first executable file of that name. This touches the file systems of `PATH` and may hang
    /// with them.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        if !is_program_name(name) {
            return None;
        }
        self.0.iter().map(|directory| directory.join(name)).find(|path| is_executable(path))
    }

    fn text(&self) -> std::ffi::OsString {
        std::env::join_paths(&self.0).unwrap_or_default()
    }
}

fn is_program_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// Whether a path leads to a file that may be executed. This may hang with its file system.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a program printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Whether it ended with 0.
    pub success: bool,
    /// How it ended.
    pub status: String,
}

impl Output {
    /// Standard output, or standard error when that is empty: some programs print their version there.
    #[must_use]
    pub fn banner(&self) -> String {
        let bytes = if self.stdout.is_empty() { &self.stderr } else { &self.stdout };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// What a program that failed says about it: how it ended, and the end of what it wrote.
    #[must_use]
    pub fn failure(&self, program: &str) -> ProviderError {
        let bytes = if self.stderr.trim_ascii().is_empty() { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(bytes);
        let end: String = text.trim().lines().last().unwrap_or_default().chars().take(200).collect();
        ProviderError::Program { program: program.to_owned(), problem: format!("{}: {end}", self.status) }
    }
}

/// Runs `argv` and reads at most `limit` bytes of each stream; more than that is a failure. Of the
/// environment a program gets its search path, who asks, and `variables`.
pub async fn run<'a>(
    program: &Path,
    args: &[&str],
    path: &SearchPath,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    limit: usize,
    deadline: Instant,
) -> Result<Output, ProviderError> {
    let name = program.display().to_string();
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", path.text())
        .env("LC_ALL", "C")
        .env("HOME", std::env::var_os("HOME").unwrap_or_else(|| "/".into()))
        // Charliecloud refuses to say even its version without it.
        .env("USER", std::env::var_os("USER").unwrap_or_else(|| "nobody".into()))
        .envs(variables)
        .current_dir("/");
    match program::run(&mut command, limit, deadline).await {
        Ok(std::process::Output { status, stdout, stderr }) => {
            Ok(Output { stdout, stderr, success: status.success(), status: status.to_string() })
        }
        Err(RunError::Silent) => Err(ProviderError::Timeout(name)),
        Err(RunError::Io(source)) => Err(ProviderError::Read { what: name, source }),
        Err(error) => Err(ProviderError::Program { program: name, problem: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    const NONE: [(&str, &str); 0] = [];

    fn system() -> SearchPath {
        SearchPath::parse("/usr/local/bin:/usr/bin:/bin")
    }

    #[test]
    fn only_plain_names_are_looked_up() {
        for bad in ["", "../sh", "/bin/sh", "-c", "a b", ".", "sh;id", &"x".repeat(65)] {
            assert_eq!(system().find(bad), None, "{bad}");
        }
        assert!(system().find("sh").is_some());
        assert_eq!(SearchPath::parse("relative:.").find("sh"), None);
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let path = system();
        let env = path.find("env").unwrap();
        let output = run(&env, &[], &path, NONE, BANNER_LIMIT, within(20)).await.unwrap();
        let text = output.banner();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names.len(), 4, "{text}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let path = system();
        let sh = path.find("sh").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = format!("(sleep 2; touch {}) & sleep 60", mark.display());
        let asked = Instant::now();
        let soon = asked + Duration::from_millis(200);
        let result = run(&sh, &["-c", &script], &path, NONE, BANNER_LIMIT, soon).await;
        assert!(matches!(result, Err(ProviderError::Timeout(_))));
        assert!(asked.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn endless_output_is_refused() {
        let path = system();
        let yes = path.find("yes").unwrap();
        let result = run(&yes, &[], &path, NONE, BANNER_LIMIT, within(20)).await;
        assert!(matches!(result, Err(ProviderError::Program { .. })));
    }
}
