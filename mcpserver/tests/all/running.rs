//! Starts the program and stops it whatever happens.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A join secret without weakness.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The program with its data and its temporary files under one directory and no settings from outside.
pub fn command(home: &Path, arguments: &[&str]) -> Command {
    let temporary = home.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpserver"));
    command.args(arguments).current_dir(home).env("HOME", home).env("TMPDIR", temporary).stdin(Stdio::null());
    for name in [
        "XDG_DATA_HOME",
        "RUST_LOG",
        "MCPSERVER_HOST",
        "MCPSERVER_PORT",
        "MCPSERVER_PATH",
        "MCPSERVER_TOKEN",
        "MCPSERVER_JOIN_SECRET",
        "MCP_HUB_SECRET",
        "RESOURCE_ASK_TOKEN",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub fn run(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

/// The exit code and the error stream of a run to the end.
pub fn outcome(home: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(home, arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A program that runs until it is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far.
    pub said: Vec<String>,
}

impl Running {
    /// Starts the program.
    pub fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut child =
            command(home, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Starts a hub with a port that is picked.
    pub fn hub(home: &Path, more: &[&str]) -> (Self, String) {
        let arguments = ["start", "--hub", "--hub-secret", SECRET, "--port", "0"];
        let mut hub = Self::start(home, &[&arguments, more].concat());
        let url = hub.url_after("hub listening on ");
        (hub, url)
    }

    /// The first line with this text in it.
    pub fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("no line with {text:?}; it said: {:#?}", self.said),
            }
        }
    }

    /// What follows a text in the first line that has it.
    pub fn url_after(&mut self, text: &str) -> String {
        let line = self.line_with(text);
        line.split(text).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Sends SIGTERM; the exit code and how long the end took.
    pub fn terminate(mut self) -> (i32, Duration) {
        let started = Instant::now();
        self.signal(nix::sys::signal::Signal::SIGTERM);
        (self.wait(), started.elapsed())
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end; the exit code.
    pub fn wait(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        // Its error stream ends with it.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; it said: {:#?}", self.said),
            }
        }
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A GET over plain HTTP: status and body.
pub fn get(url: &str, path: &str) -> (u16, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Asks again and again until an answer satisfies a condition.
pub fn await_body(url: &str, path: &str, done: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, body) = get(url, path);
        if done(&body) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} stays {body}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
