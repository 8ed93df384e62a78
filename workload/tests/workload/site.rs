//! Real managers, started for one test and stopped behind it: a Slurm of four nodes, a Grid Engine of one.
//!
//! Where one is not installed the tests with it are left out, loudly, and fail where `CI` is set.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use protocol::clock::SystemClock;
use workload::program::Commands;
use workload::slurm::{Slurm, SlurmOptions};
use workload::submit::Placement;

/// Tests of this run that were left out.
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);

/// Says that a test is left out, and fails it where `CI` is set.
pub fn left_out(message: &str) {
    assert!(std::env::var_os("CI").is_none(), "{message}");
    outside(message);
}

/// Says that a test is left out that belongs to a longer run, where it may be.
pub fn outside(message: &str) {
    let count = LEFT_OUT.fetch_add(1, Ordering::Relaxed) + 1;
    // Not eprintln!, which the test runner swallows when a test passes.
    let _ = writeln!(std::io::stderr(), "\nLEFT OUT, {count} so far: {message}");
}

/// A running Slurm.
pub struct Site {
    root: tempfile::TempDir,
    configuration: String,
}

impl Site {
    /// Starts one, unless Slurm is not installed, which is said on the terminal.
    pub fn start() -> Option<Self> {
        if Commands::of_process(&[]).find("sbatch").is_none() {
            left_out("Slurm is not installed; run tests/slurm/start.sh install");
            return None;
        }
        let root = tempfile::Builder::new().prefix("slurm-").tempdir().unwrap();
        let output = script("slurm", "start", root.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let configuration = printed.trim().strip_prefix("SLURM_CONF=").unwrap().to_owned();
        Some(Self { root, configuration })
    }

    /// The directory of fake commands, which come before the real ones.
    pub fn fakes(&self) -> PathBuf {
        let directory = self.root.path().join("fakes");
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    pub fn commands(&self) -> Commands {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.fakes());
        commands.environment.insert("SLURM_CONF".to_owned(), self.configuration.clone());
        commands
    }

    /// Options that look often.
    pub fn options(&self) -> SlurmOptions {
        SlurmOptions {
            commands: self.commands(),
            defaults: Placement::default(),
            refresh: Duration::from_millis(50),
        }
    }

    pub fn open(&self, options: SlurmOptions, state: &Path) -> Slurm {
        Slurm::open(options, state, Arc::new(SystemClock)).unwrap()
    }

    /// Puts a shell script in front of a real command, whose path it gets as `$REAL`.
    pub fn fake(&self, name: &str, lines: &str) {
        let real = Commands::of_process(&[]).find(name).unwrap();
        fake(&self.fakes(), name, &format!("REAL={}\n{lines}", real.display()));
    }

    /// Changes its configuration as an administrator would.
    pub fn administer(&self, arguments: &[&str]) {
        self.run("scontrol", arguments);
    }

    /// Runs one of its real commands.
    pub fn run(&self, command: &str, arguments: &[&str]) {
        let done = self.try_run(command, arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs one of its real commands, which may fail.
    pub fn try_run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(command).args(arguments).env("SLURM_CONF", &self.configuration).output().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        script("slurm", "stop", self.root.path());
    }
}

/// Runs a manager's `start.sh`.
pub fn script(manager: &str, command: &str, directory: &Path) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(manager).join("start.sh");
    Command::new("bash").arg(path).arg(command).arg(directory).output().unwrap()
}

/// Writes an executable shell script. Another process does it: a program that another test starts at this
/// moment would hold our open file for an instant, and a file that is open for writing cannot be run.
pub fn fake(directory: &Path, name: &str, lines: &str) {
    // Never written in place: a script that is being run cannot be replaced otherwise.
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""#;
    let path = directory.join(name);
    let done = Command::new("sh").args(["-c", write, "fake"]).arg(&path).arg(lines).status().unwrap();
    assert!(done.success(), "{}", path.display());
}
