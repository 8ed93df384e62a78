//! What this worker has handed over to a workload manager, on disk: one file for each attempt, written
//! before the manager is asked and again when it has answered. After a crash the file says what to look for.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ids::{Digest, JobId};
use protocol::job::AttemptNumber;
use protocol::units::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::WorkloadError;
use crate::read::NativeId;
use crate::submit::Status;

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) job_id: JobId,
    pub(crate) attempt: AttemptNumber,
    /// Digest of the request.
    pub(crate) digest: Digest,
    /// The job's directory.
    pub(crate) directory: PathBuf,
    /// When the manager was asked.
    pub(crate) submitted_at: Timestamp,
    /// The limit that the batch script keeps.
    pub(crate) own_limit: Option<Seconds>,
    /// The manager's id, once it is known.
    pub(crate) native: Option<NativeId>,
    /// No job could be found of it; it never starts.
    #[serde(default)]
    pub(crate) withdrawn: bool,
    /// Somebody asked us to stop it: what some managers do not say of a job that was killed.
    #[serde(default)]
    pub(crate) stop_asked: bool,
    /// How it ended. This never changes again.
    pub(crate) ended: Option<Status>,
}

impl Record {
    /// The name of its job: it is found by this when the answer to its submission was lost.
    pub(crate) fn name(&self) -> String {
        name(&self.job_id, self.attempt)
    }

    /// Where its batch script notes the start and the end.
    pub(crate) fn notes(&self) -> PathBuf {
        notes(&self.directory, self.attempt)
    }
}

/// Where the batch script of an attempt notes the start and the end.
pub(crate) fn notes(directory: &Path, attempt: AttemptNumber) -> PathBuf {
    directory.join(format!(".parley-{attempt}"))
}

/// The name of an attempt's job.
pub(crate) fn name(job_id: &JobId, attempt: AttemptNumber) -> String {
    format!("parley-{job_id}.{attempt}")
}

/// All records.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Record>,
    /// The names of those that have a job.
    names: BTreeMap<NativeId, String>,
}

impl Known {
    fn insert(&mut self, record: Record) {
        let name = record.name();
        if let Some(native) = &record.native {
            self.names.insert(native.clone(), name.clone());
        }
        self.by_name.insert(name, record);
    }
}

impl Records {
    /// Opens the directory and reads what is there. A file that was cut off by a crash was never acted
    /// on: it is written in full under another name first.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, WorkloadError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(WorkloadError::io("cannot make", &directory))?;
        let entries = std::fs::read_dir(&directory).map_err(WorkloadError::io("cannot list", &directory))?;
        let mut known = Known::default();
        for entry in entries {
            let path = entry.map_err(WorkloadError::io("cannot list", &directory))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read(&path).map_err(WorkloadError::io("cannot read", &path))?;
            let record: Record = serde_json::from_slice(&text)
                .map_err(|_| WorkloadError::JournalDamaged { path: path.clone(), line: 1 })?;
            known.insert(record);
        }
        Ok(Self { directory, known: Mutex::new(known) })
    }

    /// The record of an attempt.
    pub(crate) fn get(&self, name: &str) -> Option<Record> {
        self.lock().by_name.get(name).cloned()
    }

    /// The record of a job.
    pub(crate) fn of(&self, native: &NativeId) -> Option<Record> {
        let known = self.lock();
        known.by_name.get(known.names.get(native)?).cloned()
    }

    /// The jobs that are not over, as far as is known here.
    pub(crate) fn open_jobs(&self) -> Vec<NativeId> {
        let known = self.lock();
        let open = known.by_name.values().filter(|record| record.ended.is_none() && !record.withdrawn);
        open.filter_map(|record| record.native.clone()).collect()
    }

    /// Writes a record; it is on disk when this returns. What was known of its end, or that it was asked to
    /// stop, stays, whoever else wrote it meanwhile.
    pub(crate) fn put(&self, record: &Record) -> Result<(), WorkloadError> {
        let mut known = self.lock();
        let mut record = record.clone();
        let name = record.name();
        if let Some(before) = known.by_name.get(&name) {
            record.stop_asked |= before.stop_asked;
            record.ended = before.ended.clone().or(record.ended);
        }
        let path = self.directory.join(format!("{name}.json"));
        let unfinished = self.directory.join(format!("{name}.new"));
        let text = serde_json::to_vec(&record).unwrap_or_default();
        write(&unfinished, &text)?;
        std::fs::rename(&unfinished, &path).map_err(WorkloadError::io("cannot write", &path))?;
        known.insert(record);
        Ok(())
    }

    /// Takes a record away of which nothing was handed over.
    pub(crate) fn forget(&self, name: &str) -> Result<(), WorkloadError> {
        let path = self.directory.join(format!("{name}.json"));
        std::fs::remove_file(&path).map_err(WorkloadError::io("cannot remove", &path))?;
        self.lock().by_name.remove(name);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file for this user only, synced.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), WorkloadError> {
    let failed = || WorkloadError::io("cannot write", path);
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed())?;
    file.write_all(bytes).map_err(failed())?;
    file.sync_all().map_err(failed())
}
