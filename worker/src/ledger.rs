//! The attempts that this worker has accepted, on disk before it says yes: one JSON line for each
//! change, synced. After a crash the ledger says what was accepted, what the hub knows, and what is
//! void, so that nothing starts twice and nothing is forgotten.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use protocol::award::{Award, Receipt};
use protocol::facts::Allocation;
use protocol::ids::JobId;
use protocol::job::{AttemptNumber, AttemptState};
use protocol::units::Usd;
use serde::{Deserialize, Serialize};
use workload::read::NativeId;

use crate::offers::Terms;

/// Which attempt.
pub type AttemptKey = (JobId, AttemptNumber);

/// One attempt as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The award.
    pub award: Award,
    /// What it takes.
    pub allocation: Allocation,
    /// What a real site charges for an hour of it, as it was offered.
    pub usd_per_hour: Option<Usd>,
    /// What was answered.
    pub receipt: Receipt,
    /// The workload manager's id, once submitted.
    pub native: Option<NativeId>,
    /// How far the hub has been told.
    pub told: Told,
}

/// How far the hub has been told about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The last report that it took.
    pub sequence: u64,
    /// Bytes of the log that it has.
    pub log_bytes: u64,
    /// Bytes of the job's own output that these stand for; more or less where it is no UTF-8.
    pub source_bytes: u64,
    /// The state that it knows.
    pub state: AttemptState,
}

impl Default for Told {
    fn default() -> Self {
        Self { sequence: 0, log_bytes: 0, source_bytes: 0, state: AttemptState::Queued }
    }
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum Change {
    Accepted {
        award: Box<Award>,
        allocation: Allocation,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usd_per_hour: Option<Usd>,
        receipt: Box<Receipt>,
    },
    Submitted {
        job_id: JobId,
        attempt: AttemptNumber,
        native: NativeId,
    },
    Told {
        job_id: JobId,
        attempt: AttemptNumber,
        told: Told,
    },
    Void {
        job_id: JobId,
        attempt: AttemptNumber,
    },
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("the ledger {path} cannot be used: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line in the middle is not a change.
    #[error("line {line} of the ledger {path} is damaged; move the file away to start without it")]
    Damaged {
        /// The file.
        path: std::path::PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

/// The ledger.
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<AttemptKey, Option<Entry>>,
    file: Option<File>,
}

impl Ledger {
    /// A ledger that is gone with the process: for simulated sites, whose work is gone with it too.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { state: Mutex::default() }
    }

    /// Opens the ledger in a directory. A last line that was cut off by a crash was never answered for,
    /// so it is dropped; damage anywhere else is an error.
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join("ledger.jsonl");
        let broken = |source| LedgerError::File { path: path.clone(), source };
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(broken)?;
        let mut state = State::default();
        let mut good_bytes: u64 = 0;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_line(&mut line).map_err(broken)?;
            if read == 0 {
                break;
            }
            if !line.ends_with('\n') {
                tracing::warn!(path = %path.display(), "dropping the unfinished last line of the ledger");
                file.set_len(good_bytes).map_err(broken)?;
                break;
            }
            let change: Change = serde_json::from_str(&line)
                .map_err(|_| LedgerError::Damaged { path: path.clone(), line: number })?;
            state.apply(change);
            good_bytes += read as u64;
        }
        state.file = Some(file);
        Ok(Self { state: Mutex::new(state) })
    }

    /// What is on record of an attempt: nothing, void, or an entry.
    pub fn get(&self, key: &AttemptKey) -> Option<Option<Entry>> {
        self.lock().entries.get(key).cloned()
    }

    /// Attempts whose end the hub does not yet know.
    pub fn open_entries(&self) -> Vec<Entry> {
        let state = self.lock();
        state.entries.values().flatten().filter(|entry| !entry.told.state.is_terminal()).cloned().collect()
    }

    /// Records an accepted award; after this it is never started under another attempt.
    pub fn accept(&self, award: &Award, terms: &Terms, receipt: &Receipt) -> std::io::Result<()> {
        self.write(Change::Accepted {
            award: Box::new(award.clone()),
            allocation: terms.allocation.unwrap_or_default(),
            usd_per_hour: terms.usd_per_hour,
            receipt: Box::new(receipt.clone()),
        })
    }

    /// Records the workload manager's id.
    pub fn submitted(&self, key: &AttemptKey, native: NativeId) -> std::io::Result<()> {
        self.write(Change::Submitted { job_id: key.0.clone(), attempt: key.1, native })
    }

    /// Records how far the hub has been told.
    pub fn told(&self, key: &AttemptKey, told: Told) -> std::io::Result<()> {
        self.write(Change::Told { job_id: key.0.clone(), attempt: key.1, told })
    }

    /// Makes an attempt void: it can never start here. `false` when it is accepted already.
    pub fn void(&self, key: &AttemptKey) -> std::io::Result<bool> {
        let mut state = self.lock();
        match state.entries.get(key) {
            Some(Some(_)) => Ok(false),
            Some(None) => Ok(true),
            None => {
                state.write(Change::Void { job_id: key.0.clone(), attempt: key.1 })?;
                Ok(true)
            }
        }
    }

    fn write(&self, change: Change) -> std::io::Result<()> {
        self.lock().write(change)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, change: Change) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&change)?;
            line.push(b'\n');
            file.write_all(&line)?;
            file.sync_data()?;
        }
        self.apply(change);
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { award, allocation, usd_per_hour, receipt } => {
                let key = (award.job_id.clone(), award.attempt);
                let entry = Entry {
                    award: *award,
                    allocation,
                    usd_per_hour,
                    receipt: *receipt,
                    native: None,
                    told: Told::default(),
                };
                self.entries.insert(key, Some(entry));
            }
            Change::Submitted { job_id, attempt, native } => {
                if let Some(Some(entry)) = self.entries.get_mut(&(job_id, attempt)) {
                    entry.native = Some(native);
                }
            }
            Change::Told { job_id, attempt, told } => {
                if let Some(Some(entry)) = self.entries.get_mut(&(job_id, attempt)) {
                    entry.told = told;
                }
            }
            Change::Void { job_id, attempt } => {
                self.entries.entry((job_id, attempt)).or_insert(None);
            }
        }
    }
}
