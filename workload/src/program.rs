//! Runs a program: argument list, never a shell; bounded output; a deadline after which its whole process
//! group is killed, so that a program that hangs costs its own deadline and nothing else. [`Commands`] are
//! a workload manager's, with a clean environment.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

use crate::error::WorkloadError;

/// The most that is read of one stream. A listing of 100,000 jobs has about 20 MB.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;
/// How much of what a command complained about is kept.
const COMPLAINT_LIMIT: usize = 500;

/// Where a manager's commands are and what they get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Directories that hold the commands, in order.
    pub search_path: Vec<PathBuf>,
    /// The commands' whole environment, besides `PATH`, `LC_ALL` and `TZ`.
    pub environment: BTreeMap<String, String>,
    /// How long one command may take.
    pub deadline: Duration,
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its standard output; what is no UTF-8 in it is replaced.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
}

impl Output {
    /// The end of what it complained about, in one line.
    #[must_use]
    pub fn complaint(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let skip = line.chars().count().saturating_sub(COMPLAINT_LIMIT);
        line.chars().skip(skip).collect()
    }
}

impl Commands {
    /// The commands on this process's own search path, with the variables that it has of those named,
    /// and `HOME` and `USER`.
    #[must_use]
    pub fn of_process(variables: &[&str]) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let search_path = std::env::split_paths(&path).filter(|entry| entry.is_absolute()).collect();
        let environment = ["HOME", "USER"]
            .iter()
            .chain(variables)
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        Self { search_path, environment, deadline: Duration::from_secs(10) }
    }

    /// The first executable file of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let runnable = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        self.search_path.iter().map(|directory| directory.join(name)).find(runnable)
    }

    /// Runs a command in a directory and reads what it prints, whatever its exit code.
    pub async fn run(
        &self,
        name: &'static str,
        arguments: &[String],
        directory: &Path,
    ) -> Result<Output, WorkloadError> {
        let program = self.find(name).ok_or(WorkloadError::CommandMissing { command: name })?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .env("PATH", std::env::join_paths(&self.search_path).unwrap_or_default())
            // Times are printed in UTC and messages in English.
            .env("LC_ALL", "C")
            .env("TZ", "UTC0")
            .current_dir(directory);
        let output = run(&mut command, OUTPUT_LIMIT, Instant::now() + self.deadline).await;
        let output = output.map_err(|error| match error {
            RunError::Silent => WorkloadError::Silent { command: name, after: self.deadline },
            error => WorkloadError::CommandFailed { command: name, problem: error.to_string() },
        })?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() })
    }

    /// Runs a command that has to end with 0.
    pub async fn ask(&self, name: &'static str, arguments: &[String]) -> Result<String, WorkloadError> {
        let output = self.run(name, arguments, Path::new("/")).await?;
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        Err(WorkloadError::CommandFailed { command: name, problem: output.complaint() })
    }
}

/// Why a program brought no output.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It printed too much.
    #[error("it printed more than {0} bytes")]
    TooMuch(usize),
    /// The deadline came first.
    #[error("it did not end in time")]
    Silent,
}

/// Runs a program to its end and reads at most `limit` bytes of each stream; more is an error. At the
/// deadline, or when nobody waits any more, its process group is killed.
pub async fn run(
    command: &mut Command,
    limit: usize,
    deadline: Instant,
) -> Result<std::process::Output, RunError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group { leader: child.id().and_then(|id| i32::try_from(id).ok()) };
    let result = timeout_at(deadline, collect(&mut child, limit)).await;
    drop(group);
    result.map_err(|_| RunError::Silent)?
}

/// Kills the process group on the way out.
struct Group {
    leader: Option<i32>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.filter(|leader| *leader > 1) {
            // The group may be gone already; there is nothing else to do about it.
            let _gone = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

async fn collect(child: &mut Child, limit: usize) -> Result<std::process::Output, RunError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(read(stdout, limit), read(stderr, limit))?;
    if stdout.len() > limit || stderr.len() > limit {
        return Err(RunError::TooMuch(limit));
    }
    Ok(std::process::Output { status: child.wait().await?, stdout, stderr })
}

async fn read<R: AsyncRead + Unpin>(stream: Option<R>, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A command line from words.
pub(crate) fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
