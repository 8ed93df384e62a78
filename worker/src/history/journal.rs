//! The history on disk: one JSON line for each change, beside the ledger. It is bounded, and written anew
//! when most of it is about cases that no longer count. Nothing is answered for by it, so it is not synced,
//! and damage costs cases, not the worker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Case, Corrected, Foreseen, Wait, correct};
use crate::ledger::AttemptKey;

/// Cases that are kept, and again as many that wait; the oldest are forgotten first.
const MOST_CASES: usize = 1000;
/// With more lines than this the file is written anew; what is kept takes at most three eighths of them.
const MOST_LINES: usize = 8 * MOST_CASES;
const FILE_NAME: &str = "history.jsonl";

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum Change {
    Expected { job_id: JobId, attempt: AttemptNumber, accepted_at: Timestamp, foreseen: Foreseen },
    Waited { job_id: JobId, attempt: AttemptNumber, wait: Wait },
    Forgotten { job_id: JobId, attempt: AttemptNumber },
}

/// The cases of one worker.
pub struct History {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<AttemptKey, (Timestamp, Foreseen)>,
    ended: VecDeque<Case>,
    journal: Option<Journal>,
}

struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl History {
    /// A history that is gone with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { state: Mutex::default() }
    }

    /// Opens the history in a directory. A last line that was cut off is dropped, any other that is no
    /// change is passed over.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        let mut state = State::default();
        let (mut good_bytes, mut lines, mut damaged) = (0_u64, 0, 0_usize);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if !line.ends_with(b"\n") {
                file.set_len(good_bytes)?;
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(change) => state.apply(change),
                Err(_) => damaged += 1,
            }
            good_bytes += read as u64;
            lines += 1;
        }
        if damaged > 0 {
            tracing::warn!(path = %path.display(), damaged, "lines of the history are damaged; they do not count");
        }
        state.journal = Some(Journal { path, file, lines });
        state.compact_if_long();
        Ok(Self { state: Mutex::new(state) })
    }

    /// Remembers what was foreseen of work that was accepted.
    pub fn expect(&self, key: &AttemptKey, foreseen: Foreseen, accepted_at: Timestamp) {
        let (job_id, attempt) = key.clone();
        self.lock().change(Change::Expected { job_id, attempt, accepted_at, foreseen });
    }

    /// Remembers how long it waited. Only the first time counts.
    pub fn waited(&self, key: &AttemptKey, wait: Wait) {
        let mut state = self.lock();
        if state.waiting.contains_key(key) {
            let (job_id, attempt) = key.clone();
            state.change(Change::Waited { job_id, attempt, wait });
        }
    }

    /// Forgets work that ended in a way that says nothing of the queue, if it still waits.
    pub fn forget(&self, key: &AttemptKey) {
        let mut state = self.lock();
        if state.waiting.contains_key(key) {
            let (job_id, attempt) = key.clone();
            state.change(Change::Forgotten { job_id, attempt });
        }
    }

    /// Forgets work that waits, but for these attempts.
    pub fn keep_waiting(&self, keys: &BTreeSet<AttemptKey>) {
        let gone: Vec<AttemptKey> =
            self.lock().waiting.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        for key in gone {
            self.forget(&key);
        }
    }

    /// The estimate for a start as the history corrects it.
    #[must_use]
    pub fn correct(&self, foreseen: &Foreseen, now: Timestamp) -> Option<Corrected> {
        correct(foreseen, &self.lock().cases(now), now)
    }

    /// How many starts and withdrawals it has.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().ended.len()
    }

    /// How long all that has ended waited, in the order in which it did.
    #[cfg(test)]
    pub(crate) fn waits(&self) -> Vec<Wait> {
        self.lock().ended.iter().map(|case| case.wait).collect()
    }

    /// How much work waits.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every case; what waits has waited at least until now.
    fn cases(&self, now: Timestamp) -> Vec<Case> {
        let waiting = self.waiting.iter().map(|(key, (accepted_at, foreseen))| Case {
            key: key.clone(),
            accepted_at: *accepted_at,
            foreseen: foreseen.clone(),
            wait: Wait::AtLeast(now.since(*accepted_at)),
        });
        self.ended.iter().cloned().chain(waiting).collect()
    }

    fn change(&mut self, change: Change) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append(&change)
        {
            tracing::warn!(%error, path = %journal.path.display(), "the history could not be written");
        }
        self.apply(change);
        self.compact_if_long();
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Expected { job_id, attempt, accepted_at, foreseen } => {
                if self.waiting.len() >= MOST_CASES {
                    let oldest = self.waiting.iter().min_by_key(|(_, (at, _))| *at);
                    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                        self.waiting.remove(&key);
                    }
                }
                self.waiting.insert((job_id, attempt), (accepted_at, foreseen));
            }
            Change::Waited { job_id, attempt, wait } => {
                let key = (job_id, attempt);
                if let Some((accepted_at, foreseen)) = self.waiting.remove(&key) {
                    self.ended.push_back(Case { key, accepted_at, foreseen, wait });
                }
                if self.ended.len() > MOST_CASES {
                    self.ended.pop_front();
                }
            }
            Change::Forgotten { job_id, attempt } => {
                self.waiting.remove(&(job_id, attempt));
            }
        }
    }

    /// Writes what is kept to a new file and puts that in the place of the old one.
    fn compact_if_long(&mut self) {
        let Some(journal) = self.journal.as_ref().filter(|journal| journal.lines > MOST_LINES) else {
            return;
        };
        let path = journal.path.clone();
        match self.compacted(&path) {
            Ok(compacted) => self.journal = Some(compacted),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the history could not be written anew");
                // Trying again at once would fail again; the next try is as far away as after a success.
                if let Some(journal) = &mut self.journal {
                    journal.lines = 0;
                }
            }
        }
    }

    fn compacted(&self, path: &Path) -> std::io::Result<Journal> {
        let new_path = path.with_extension("jsonl.new");
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&new_path)?;
        let mut new = Journal { path: new_path.clone(), file, lines: 0 };
        let expected = |(job_id, attempt): AttemptKey, accepted_at, foreseen: &Foreseen| Change::Expected {
            job_id,
            attempt,
            accepted_at,
            foreseen: foreseen.clone(),
        };
        for Case { key, accepted_at, foreseen, wait } in &self.ended {
            new.append(&expected(key.clone(), *accepted_at, foreseen))?;
            let (job_id, attempt) = key.clone();
            new.append(&Change::Waited { job_id, attempt, wait: *wait })?;
        }
        for (key, (accepted_at, foreseen)) in &self.waiting {
            new.append(&expected(key.clone(), *accepted_at, foreseen))?;
        }
        // The name is given only to what is complete.
        new.file.sync_data()?;
        std::fs::rename(&new_path, path)?;
        Ok(Journal { path: path.to_owned(), ..new })
    }
}

impl Journal {
    fn append(&mut self, change: &Change) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        self.lines += 1;
        self.file.write_all(&line)
    }
}
