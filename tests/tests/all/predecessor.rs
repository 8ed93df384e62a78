//! The Python predecessor, as published, beside our programs: its workers join our hub, its client asks
//! our fleet. Nothing of it is imitated but the language model behind its secretary, without which that
//! secretary cannot answer.
//!
//! `tests/predecessor/install.sh` puts it into target/predecessor; `PARLEY_PREDECESSOR` names another
//! place. Where it is missing these tests are left out, loudly, and fail where `CI` is set.

mod client;
mod worker;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Running, SECRET};

/// Tests of this run that were left out.
static LEFT_OUT: AtomicU32 = AtomicU32::new(0);

/// Where the predecessor is installed.
struct Predecessor {
    directory: PathBuf,
}

impl Predecessor {
    /// The predecessor, unless it is not installed, which is said on the terminal.
    fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the repository");
        let directory = std::env::var_os("PARLEY_PREDECESSOR")
            .map_or_else(|| root.join("target/predecessor"), |path| root.join(path));
        if directory.join("complete").exists() {
            return Some(Self { directory });
        }
        let message = format!(
            "the Python predecessor is not in {}; run tests/predecessor/install.sh",
            directory.display()
        );
        assert!(std::env::var_os("CI").is_none(), "{message}");
        let count = LEFT_OUT.fetch_add(1, Ordering::Relaxed) + 1;
        // Not eprintln!, which the test runner swallows when a test passes.
        let _ = writeln!(std::io::stderr(), "\nLEFT OUT, {count} so far: {message}");
        None
    }

    /// One of its programs, with an environment that depends on nothing around it.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join("bin").join(name));
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        for name in
            ["OPENAI_API_KEY", "MCPSERVER_TOKEN", "MCPSERVER_PORT", "MCPSERVER_HOST", "MCPSERVER_PATH"]
        {
            command.env_remove(name);
        }
        // Its simulated clusters are seeded with Python's hash of the worker's name.
        command.env("PYTHONHASHSEED", "0").env("NO_PROXY", "*");
        // Tables in full, without the escapes of a terminal.
        command.env("COLUMNS", "200").env("NO_COLOR", "1").env("TERM", "dumb");
        command
    }

    /// A model that always looks and then concludes; see its own file.
    fn model(&self, submission: &str, transcript: &Path) -> (Running, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("predecessor/stub_model.py");
        let mut command = self.program("python");
        command.arg(script).arg(submission).arg(transcript);
        let mut model = Running::start(&mut command);
        let url = model.word_after("model listening on ");
        (model, url)
    }

    /// A simulated worker that joins a hub; without a model its secretary fails.
    fn worker(&self, hub: &str, id: &str, model: Option<&str>) -> (Running, String) {
        let port = free_port();
        let mut command = self.program("mcpserver");
        command.args(["start", "--host", "127.0.0.1", "--port", &port]);
        command.args([
            "--join",
            hub,
            "--join-secret",
            SECRET,
            "--worker-id",
            id,
            "--mock",
            "hpc",
            "--verbose",
        ]);
        command.args(["--llm-backend", "openai"]);
        if let Some(url) = model {
            command.args(["--llm-api-base", url]).env("OPENAI_API_KEY", "no key");
        }
        (Running::start(&mut command), format!("http://127.0.0.1:{port}/mcp"))
    }
}

/// A port that nobody uses: the predecessor tells its hub the port that it was given, also when that is 0.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("its address").port().to_string()
}
