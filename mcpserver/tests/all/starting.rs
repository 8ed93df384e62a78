//! How these tests start the program, and ask it over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::running::{PATIENCE, Running};

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

/// Starts the program.
pub fn start(home: &Path, arguments: &[&str]) -> Running {
    Running::start(&mut command(home, arguments))
}

/// Starts a hub with a port that is picked; its URL.
pub fn start_hub(home: &Path, more: &[&str]) -> (Running, String) {
    let arguments = ["start", "--hub", "--hub-secret", SECRET, "--port", "0"];
    let mut hub = start(home, &[&arguments, more].concat());
    let url = hub.word_after("hub listening on ");
    (hub, url)
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
