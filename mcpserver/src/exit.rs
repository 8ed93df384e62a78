//! Exit codes, and the failures that become them. A failure is one line for people; its code is for
//! scripts and never changes its meaning.

use std::path::PathBuf;

use hub::StartError;
use hub::store::StoreError;
use protocol::error::ErrorBody;
use resource_ask::render::text;
use transport::connect::ConnectorError;
use worker::{JoinError, LedgerError};
use workload::WorkloadError;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or ended by a signal in order.
    Done = 0,
    /// The job failed.
    JobFailed = 1,
    /// The command was not used as it is meant to be.
    Usage = 2,
    /// Nothing can run the work.
    NothingFits = 3,
    /// The hub cannot be reached.
    Unreachable = 4,
    /// The hub refuses.
    Refused = 5,
    /// A fault of ours.
    Internal = 70,
    /// What was stored is damaged.
    StorageDamaged = 74,
    /// Somebody else has the data directory.
    DataDirectoryInUse = 75,
    /// The hub is not the one that the worker has known.
    HubIdentity = 77,
    /// The configuration cannot work here.
    Configuration = 78,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::JobFailed,
        Self::Usage,
        Self::NothingFits,
        Self::Unreachable,
        Self::Refused,
        Self::Internal,
        Self::StorageDamaged,
        Self::DataDirectoryInUse,
        Self::HubIdentity,
        Self::Configuration,
    ];

    /// What it means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or ended by a signal in order",
            Self::JobFailed => "the job failed",
            Self::Usage => "usage: unknown, missing or conflicting arguments",
            Self::NothingFits => "nothing can run the work",
            Self::Unreachable => "hub unreachable",
            Self::Refused => "refused: wrong join secret, name taken",
            Self::Internal => "internal error",
            Self::StorageDamaged => "stored data is damaged",
            Self::DataDirectoryInUse => "data directory in use by another process",
            Self::HubIdentity => "the hub is not the one that this worker joined before",
            Self::Configuration => "configuration: port in use, unreadable file or directory, not loopback",
        }
    }

    /// The code of an outcome of the client commands.
    #[must_use]
    pub const fn of_client(exit: resource_ask::failure::Exit) -> Self {
        use resource_ask::failure::Exit as Client;
        match exit {
            Client::Done => Self::Done,
            Client::Failed => Self::JobFailed,
            Client::Usage => Self::Usage,
            Client::NothingFits => Self::NothingFits,
            Client::Unreachable => Self::Unreachable,
            Client::Refused => Self::Refused,
            Client::Internal => Self::Internal,
        }
    }
}

/// The table of codes for `--help`.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        table.push_str(&format!("  {:>2}  {}\n", exit as u8, exit.meaning()));
    }
    table
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was not used as it is meant to be.
    #[error("{0}")]
    Usage(String),
    /// The address is not one of this machine's loopback.
    #[error(
        "--host {host} is not loopback: this version serves 127.0.0.1, ::1 and localhost only; reach it from \
         elsewhere through an SSH tunnel (ssh -L PORT:127.0.0.1:PORT THIS-HOST)"
    )]
    NotLoopback {
        /// What was given.
        host: String,
    },
    /// Somebody listens there already.
    #[error("port {port} on {host} is in use; choose another with --port, or 0 to have one picked")]
    PortInUse {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no place for data.
    #[error("there is no place for data: set HOME or XDG_DATA_HOME, or give --data-dir")]
    NoDataDirectory,
    /// Another process has the directory.
    #[error("the data directory {} is in use by another worker; stop it or choose another --data-dir", .0.display())]
    InUse(PathBuf),
    /// A file or directory cannot be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was attempted (`cannot write`).
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("{} is not {wanted}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The worker's key is damaged.
    #[error("the key {} is damaged; restore it, or remove it to join under another name", .0.display())]
    Key(PathBuf),
    /// The log filter is wrong.
    #[error("RUST_LOG cannot be used: {0}")]
    LogFilter(String),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Randomness,
    /// The hub does not start.
    #[error(transparent)]
    Hub(#[from] StartError),
    /// The join failed.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Not all of many workers can join.
    #[error("the workers cannot join ({all} of them, {worker} first): {source}")]
    Joins {
        /// How many there are.
        all: usize,
        /// The first that could not.
        worker: String,
        /// What it met.
        source: JoinError,
    },
    /// The hub has another key than before.
    #[error(
        "the hub at {url} is not the one that this worker joined before: its key is another; if that is meant, \
         remove its line from {}",
        known.display()
    )]
    HubIdentity {
        /// The hub's URL.
        url: String,
        /// The file with the known hubs.
        known: PathBuf,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The local workload manager does not start.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The outgoing connections cannot be set up.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The client over standard input did not speak MCP.
    #[error(transparent)]
    Stdio(#[from] transport::serve::stdio::StdioError),
    /// The job failed.
    #[error("{} ({})", .0.message, .0.code)]
    Job(ErrorBody),
    /// A client command failed.
    #[error(transparent)]
    Client(#[from] resource_ask::failure::Failure),
    /// The runtime cannot be set up.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NotLoopback { .. }
            | Self::PortInUse { .. }
            | Self::Listen { .. }
            | Self::NoDataDirectory
            | Self::File { .. }
            | Self::Content { .. }
            | Self::LogFilter(_) => Exit::Configuration,
            Self::InUse(_) => Exit::DataDirectoryInUse,
            Self::Key(_) => Exit::StorageDamaged,
            Self::Hub(error) => of_start(error),
            Self::Join(error) | Self::Joins { source: error, .. } => of_join(error),
            Self::HubIdentity { .. } => Exit::HubIdentity,
            Self::Ledger(LedgerError::Damaged { .. }) => Exit::StorageDamaged,
            Self::Ledger(LedgerError::File { .. }) => Exit::Configuration,
            Self::Workload(error) => match error {
                WorkloadError::InUse(_) => Exit::DataDirectoryInUse,
                WorkloadError::JournalDamaged { .. } => Exit::StorageDamaged,
                WorkloadError::Io { .. }
                | WorkloadError::CommandMissing { .. }
                | WorkloadError::CommandFailed { .. }
                | WorkloadError::Silent { .. } => Exit::Configuration,
                _ => Exit::Internal,
            },
            Self::Job(_) => Exit::JobFailed,
            Self::Client(failure) => Exit::of_client(failure.exit()),
            Self::Randomness | Self::Connector(_) | Self::Stdio(_) | Self::Start(_) | Self::Output(_) => {
                Exit::Internal
            }
        }
    }

    /// The failure with its causes as one line, whatever a message quotes.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            if !line.contains(&more) {
                line.push_str(": ");
                line.push_str(&more);
            }
            cause = error.source();
        }
        text::escape(&line).into_owned()
    }

    /// Whether standard output was closed by its reader (`| head`), which is no failure.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == std::io::ErrorKind::BrokenPipe,
            Self::Client(failure) => failure.is_closed_pipe(),
            _ => false,
        }
    }

    /// A file that cannot be used; for `map_err`.
    pub fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

const fn of_start(error: &StartError) -> Exit {
    match error {
        StartError::Store(StoreError::InUse(_)) => Exit::DataDirectoryInUse,
        StartError::Store(StoreError::Directory { .. } | StoreError::TooNew { .. })
        | StartError::File { .. } => Exit::Configuration,
        StartError::Store(StoreError::Damaged { .. } | StoreError::Database(_) | StoreError::Record(_))
        | StartError::Key(_) => Exit::StorageDamaged,
        StartError::Store(StoreError::Busy) | StartError::Connector(_) => Exit::Internal,
    }
}

const fn of_join(error: &JoinError) -> Exit {
    match error {
        JoinError::Unreachable { .. } => Exit::Unreachable,
        JoinError::Refused { .. } | JoinError::WrongSecret => Exit::Refused,
        JoinError::OtherHub => Exit::HubIdentity,
        JoinError::Url(_) => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use protocol::error::ErrorCode;

    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes = Exit::ALL.map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 70, 74, 75, 77, 78]);
        assert_eq!(Failure::InUse("/d".into()).exit() as u8, 75);
        assert_eq!(Failure::from(StartError::Store(StoreError::InUse("/d".into()))).exit() as u8, 75);
        let damaged = StoreError::Damaged { path: "/d".into(), detail: "x".into() };
        assert_eq!(Failure::from(StartError::Store(damaged)).exit() as u8, 74);
        let taken = JoinError::Refused { code: Some(ErrorCode::NameTaken), message: "taken".into() };
        assert_eq!(Failure::from(taken).exit() as u8, 5);
    }

    #[test]
    fn every_code_stands_in_the_help() {
        let table = table();
        for exit in Exit::ALL {
            assert!(table.contains(&format!("{:>2}  {}", exit as u8, exit.meaning())), "{table}");
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let failure = Failure::Job(ErrorBody::new(ErrorCode::Job, "bad\nline"));
        assert_eq!(failure.line(), "bad\\nline (JOB)");
        let source = std::io::Error::other("why");
        let io = WorkloadError::Io { what: "cannot open", path: "/x".into(), source };
        assert_eq!(Failure::from(io).line(), "cannot open /x: why");
    }
}
