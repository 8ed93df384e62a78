//! Handing an attempt over at most once, to a manager that may be killed, or may not answer, while it takes
//! the job in. What a manager has to be able to do for it is [`HandsOver`]; whatever does that has the submit
//! side of a workload manager (`sides.rs`).
//!
//! ```text
//! submit_once: record on disk --> hand_over --Taken--> record with the native id
//!                                           --Doubtful--> find by name --found--> the same
//!                                                                      --else---> withdrawn, for good
//! ```

mod endings;
mod followed;
mod gone;
mod notes;
mod records;
mod sides;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use protocol::ids::Digest;
use protocol::units::{Seconds, Timestamp};

pub(crate) use self::endings::error;
pub(crate) use self::followed::Followed;
pub(crate) use self::gone::Gone;
pub(crate) use self::notes::{BATCH_SCRIPT, Noted};
pub(crate) use self::records::{Record, Records, name, notes, write};
use crate::error::WorkloadError;
use crate::read::{Accounting, NativeId, ReadSide, RunState};
use crate::submit::{DryRun, Status, SubmitRequest};

/// How an attempt to hand a job over ended.
pub(crate) enum Handed {
    Taken(NativeId),
    /// It may have been taken.
    Doubtful(String),
}

/// A job that was handed over and is not over yet as far as is known here.
pub(crate) struct Open {
    pub(crate) native: NativeId,
    pub(crate) record: Record,
}

impl Open {
    /// Where it stands when its manager has forgotten it: as far as its batch script noted it.
    pub(crate) fn forgotten(&self) -> Accounting {
        let noted = Noted::read(&self.record.notes());
        // Its script counts in whole seconds, and nothing starts before it was handed over.
        let later = |at: Timestamp| at.max(self.record.submitted_at);
        Accounting {
            state: noted.map_or(RunState::Unknown, Noted::state),
            received_at: self.record.submitted_at,
            started_at: noted.and_then(|noted| noted.started_at).map(later),
            ended_at: noted.and_then(|noted| noted.ended_at).map(later),
            exit_code: noted.map(|noted| noted.exit_code),
            peak_memory_gib: None,
        }
    }
}

/// Attempts: what is on record of them, and which are being submitted.
#[derive(Debug)]
pub(crate) struct Attempts {
    pub(crate) records: Records,
    submitting: Mutex<BTreeSet<String>>,
}

/// Takes an attempt out of `submitting` on the way out.
struct Turn<'a> {
    submitting: &'a Mutex<BTreeSet<String>>,
    name: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.submitting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Attempts {
    /// Opens the directory of the records.
    pub(crate) fn open(directory: &Path) -> Result<Self, WorkloadError> {
        Ok(Self { records: Records::open(directory.join("attempts"))?, submitting: Mutex::default() })
    }

    /// The record of a job that was handed over here.
    fn record(&self, native: &NativeId) -> Result<Record, WorkloadError> {
        self.records.of(native).ok_or_else(|| WorkloadError::UnknownJob { native: native.clone() })
    }

    fn turn(&self, name: &str) -> Result<Turn<'_>, WorkloadError> {
        let mut submitting = self.submitting.lock().unwrap_or_else(PoisonError::into_inner);
        if submitting.insert(name.to_owned()) {
            return Ok(Turn { submitting: &self.submitting, name: name.to_owned() });
        }
        Err(WorkloadError::Unavailable { problem: "this attempt is being submitted already".to_owned() })
    }

    fn taken(&self, mut record: Record, native: NativeId) -> Result<NativeId, WorkloadError> {
        record.native = Some(native.clone());
        self.records.put(&record)?;
        Ok(native)
    }
}

/// A manager that jobs are handed over to by a command.
#[async_trait]
pub(crate) trait HandsOver: Send + Sync {
    /// The manager's read side.
    type Reader: ReadSide;
    /// What a request becomes after every check of ours.
    type Ready: Send + Sync;

    /// The manager's read side.
    fn reader(&self) -> &Self::Reader;

    /// The attempts that were handed over.
    fn attempts(&self) -> &Attempts;

    /// Now.
    fn now(&self) -> Timestamp;

    /// The limit that the batch script has to keep because the manager cannot.
    fn own_limit(&self, limit: Option<Seconds>) -> Option<Seconds>;

    /// Checks a request; nothing is handed over.
    async fn ready(&self, request: &SubmitRequest) -> Result<Self::Ready, WorkloadError>;

    /// What the manager says to a request that was checked.
    async fn test(&self, request: &SubmitRequest, ready: &Self::Ready) -> Result<DryRun, WorkloadError>;

    /// Hands the job over. With an error it certainly was not.
    async fn hand_over(
        &self,
        request: &SubmitRequest,
        ready: &Self::Ready,
        record: &Record,
    ) -> Result<Handed, WorkloadError>;

    /// The job of an attempt whose answer was lost, by its name.
    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError>;

    /// Where jobs stand that were handed over and are not over yet as far as is known here.
    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError>;

    /// Stops a job. One that is over already is nothing to complain about.
    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError>;

    /// Cancels what there may be of an attempt.
    async fn cancel_attempt(&self, record: &Record) -> Result<(), WorkloadError> {
        match self.find(record).await? {
            Some(native) => self.stop(&native).await,
            None => Ok(()),
        }
    }

    /// Submits an attempt, unless that was done before.
    async fn submit_once(&self, request: &SubmitRequest) -> Result<NativeId, WorkloadError> {
        let attempts = self.attempts();
        let name = name(&request.job_id, request.attempt);
        let _turn = attempts.turn(&name)?;
        let digest = Digest::of(serde_json::to_string(request).unwrap_or_default().as_bytes());
        let before = attempts.records.get(&name);
        if let Some(record) = &before {
            let native = record.native.clone();
            if record.digest != digest {
                return Err(WorkloadError::Conflict { native: native.unwrap_or(NativeId(name)) });
            }
            if record.withdrawn {
                let problem = "an earlier submission of this attempt".to_owned();
                return Err(WorkloadError::Doubtful { problem });
            }
            if let Some(native) = native {
                return Ok(native);
            }
            // We ended between the submission and its answer.
            if let Some(native) = self.find(record).await? {
                return attempts.taken(record.clone(), native);
            }
        }
        let ready = self.ready(request).await?;
        if !request.directory.is_dir() {
            let reason = format!("{} is not a directory", request.directory.display());
            return Err(WorkloadError::Refused { field: "directory", reason });
        }
        let record = before.unwrap_or_else(|| Record {
            job_id: request.job_id.clone(),
            attempt: request.attempt,
            digest,
            directory: request.directory.clone(),
            submitted_at: self.now(),
            own_limit: self.own_limit(request.time_limit),
            native: None,
            withdrawn: false,
            stop_asked: false,
            ended: None,
        });
        attempts.records.put(&record)?;
        match self.hand_over(request, &ready, &record).await {
            Ok(Handed::Taken(native)) => attempts.taken(record, native),
            Ok(Handed::Doubtful(problem)) => match self.find(&record).await {
                Ok(Some(native)) => attempts.taken(record, native),
                Ok(None) | Err(_) => Err(self.withdraw(&record, problem).await),
            },
            Err(error) => {
                // Nothing was handed over, so the attempt may be tried with another request.
                attempts.records.forget(&name)?;
                Err(error)
            }
        }
    }

    /// Makes sure that an attempt never starts, as far as it can be reached: its script finds the notes
    /// of an earlier start, and what waits under its name is cancelled.
    async fn withdraw(&self, record: &Record, problem: String) -> WorkloadError {
        let mut record = record.clone();
        if let Err(error) = std::fs::create_dir(record.notes()) {
            tracing::warn!(job = record.name(), %error, "a withdrawn job could not be marked as started");
        }
        if let Err(error) = self.cancel_attempt(&record).await {
            tracing::warn!(job = record.name(), %error, "a withdrawn job could not be cancelled");
        }
        record.withdrawn = true;
        match self.attempts().records.put(&record) {
            Ok(()) => WorkloadError::Doubtful { problem },
            Err(error) => error,
        }
    }
}
