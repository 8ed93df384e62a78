//! Programs that print what the real ones once printed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secretary::program::SearchPath;
use secretary::real::host::Host;

use crate::support::{recorded, tree};

/// What a recorded command prints and how it ends.
#[derive(Debug, Clone, Copy)]
pub struct Recording {
    /// The arguments, separated by a space; `*` stands for any.
    pub args: &'static str,
    /// The file with its standard output; its standard error is beside it, with `.stderr` at the end.
    pub file: &'static str,
    /// Its exit code.
    pub exit: i32,
}

/// A recording.
pub const fn says(args: &'static str, file: &'static str, exit: i32) -> Recording {
    Recording { args, file, exit }
}

/// A recording's bytes.
pub fn recording(file: &str) -> Vec<u8> {
    let path = tree(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A directory with programs.
pub struct Programs {
    directory: tempfile::TempDir,
}

impl Programs {
    /// An empty one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a program of this text. Another process writes it: a file that this one had open for writing
    /// could be open still in a program that another test starts, and then the kernel refuses to run it.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        stdin.write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
        drop(stdin);
        assert!(writer.wait().unwrap().success());
        path
    }

    /// Adds a program that replays recordings; other arguments end with 99.
    pub fn replay(&self, name: &str, recordings: &[Recording]) -> PathBuf {
        let mut text = "case \"$*\" in\n".to_owned();
        for recording in recordings {
            let out = tree(recording.file);
            assert!(out.exists(), "{}", out.display());
            let pattern = recording.args.replace(' ', "\\ ").replace('{', "\\{").replace('}', "\\}");
            let pattern = if pattern.is_empty() { "''".to_owned() } else { pattern };
            writeln!(text, "{pattern}) /bin/cat '{}'", out.display()).unwrap();
            let mut err = out.into_os_string();
            err.push(".stderr");
            if Path::new(&err).exists() {
                writeln!(text, "/bin/cat '{}' >&2", Path::new(&err).display()).unwrap();
            }
            writeln!(text, "exit {};;", recording.exit).unwrap();
        }
        text.push_str("*) echo \"no recording of: $*\" >&2; exit 99;;\nesac");
        self.script(name, &text)
    }

    /// A recorded machine with these programs and no others.
    pub fn host(&self, machine: &str) -> Host {
        let mut host = recorded(machine);
        host.path = SearchPath::parse(&self.directory.path().display().to_string());
        host
    }
}
