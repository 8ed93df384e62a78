//! A program that runs beside a test and ends with it. Waiting is for a line or for the end, each with a
//! deadline.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs until it is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far on its error stream.
    pub said: Vec<String>,
}

impl Running {
    /// Starts a program and reads what it says on its error stream.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("a piped error stream");
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

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that has this text in it.
    pub fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
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

    /// The word after a text in the first line that has it.
    pub fn word_after(&mut self, text: &str) -> String {
        let line = self.line_with(text);
        let rest = line.split(text).nth(1).expect("the text is in the line");
        rest.split_whitespace()
            .next()
            .unwrap_or_else(|| panic!("nothing after {text:?}: {line:?}"))
            .to_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its error stream ends with it.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; it said: {:#?}", self.said),
            }
        }
        self.child.wait().expect("its status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
