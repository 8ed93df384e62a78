//! The journal: what happened to each job, one JSON object a line, on disk before it is acted on or
//! answered. After a crash it says which jobs were never started, which have a process to look for,
//! and which are over.
//!
//! ```text
//! received -> starting -> started(pid) -> [stopping] -> ended
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::error::ErrorBody;
use protocol::ids::{Digest, JobId};
use protocol::job::AttemptNumber;
use protocol::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::gpus::Written;
use super::process::ProcessIdentity;
use crate::error::WorkloadError;
use crate::read::{Accounting, NativeId, RunState};
use crate::submit::{Status, SubmitRequest};

/// Ended jobs that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

/// Lines beyond which the journal is written afresh without what no longer matters.
const LONGEST: usize = 4 * REMEMBERED;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) native: NativeId,
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Step {
    /// The job was taken in.
    Received { request: Box<SubmitRequest> },
    /// Its process is about to be started.
    Starting(Given),
    /// Its process runs.
    Started { process: ProcessIdentity },
    /// It is being stopped.
    Stopping { why: StopReason },
    /// It is over.
    Ended { outcome: Outcome },
    /// What is remembered of a job that is over.
    Settled { summary: Box<Summary> },
}

/// What a job is given when it starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) gpus: Vec<Written>,
    /// None where jobs have no cgroups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<Cgroup>,
}

/// Why a job is stopped before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StopReason {
    Cancelled,
    TimeLimit,
    MemoryLimit,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) state: RunState,
    pub(super) exit_code: Option<i32>,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) error: Option<ErrorBody>,
    pub(super) log_dropped_bytes: u64,
}

/// A job that is over, without its request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) request_digest: Digest,
    pub(super) directory: PathBuf,
    pub(super) received_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) outcome: Outcome,
}

/// A job as the journal has it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) request_digest: Digest,
    pub(super) directory: PathBuf,
    pub(super) received_at: Timestamp,
    pub(super) starting_at: Option<Timestamp>,
    pub(super) phase: Phase,
}

/// How far a job is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Queued {
        request: Box<SubmitRequest>,
    },
    Starting {
        request: Box<SubmitRequest>,
        given: Given,
    },
    Running {
        request: Box<SubmitRequest>,
        given: Given,
        process: ProcessIdentity,
        stopping: Option<StopReason>,
    },
    Ended {
        at: Timestamp,
        outcome: Outcome,
    },
}

impl Job {
    /// The request, until the job is over.
    pub(super) fn request(&self) -> Option<&SubmitRequest> {
        match &self.phase {
            Phase::Queued { request } | Phase::Starting { request, .. } | Phase::Running { request, .. } => {
                Some(request)
            }
            Phase::Ended { .. } => None,
        }
    }

    /// What it was given, until it is over.
    pub(super) fn given(&self) -> Option<&Given> {
        match &self.phase {
            Phase::Starting { given, .. } | Phase::Running { given, .. } => Some(given),
            Phase::Queued { .. } | Phase::Ended { .. } => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        let (state, ended_at, outcome) = match &self.phase {
            Phase::Queued { .. } => (RunState::Queued, None, None),
            Phase::Starting { .. } | Phase::Running { .. } => (RunState::Running, None, None),
            Phase::Ended { at, outcome } => (outcome.state, Some(*at), Some(outcome)),
        };
        Status {
            accounting: Accounting {
                state,
                received_at: self.received_at,
                started_at: self.starting_at,
                ended_at,
                exit_code: outcome.and_then(|outcome| outcome.exit_code),
                peak_memory_gib: outcome.and_then(|outcome| outcome.peak_memory_bytes).map(super::gib),
            },
            error: outcome.and_then(|outcome| outcome.error.clone()),
            log_dropped_bytes: outcome.map_or(0, |outcome| outcome.log_dropped_bytes),
        }
    }
}

/// Every job, in the order in which they were taken in.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs {
    by_id: std::collections::HashMap<NativeId, Job>,
    order: Vec<NativeId>,
}

impl Jobs {
    pub(super) fn get(&self, native: &NativeId) -> Option<&Job> {
        self.by_id.get(native)
    }

    /// The jobs, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NativeId, &Job)> {
        self.order.iter().filter_map(|native| self.by_id.get_key_value(native))
    }

    /// Takes one record in. A record that does not fit the job's phase changes nothing: what happened
    /// first stands.
    pub(super) fn apply(&mut self, record: &Record) {
        let Record { native, at, step } = record;
        match step {
            Step::Received { request } => {
                let job = Job {
                    request_digest: digest(request),
                    directory: request.directory.clone(),
                    received_at: *at,
                    starting_at: None,
                    phase: Phase::Queued { request: request.clone() },
                };
                self.insert(native, job);
            }
            Step::Settled { summary } => {
                let job = Job {
                    request_digest: summary.request_digest.clone(),
                    directory: summary.directory.clone(),
                    received_at: summary.received_at,
                    starting_at: summary.started_at,
                    phase: Phase::Ended { at: *at, outcome: summary.outcome.clone() },
                };
                self.insert(native, job);
            }
            _ => {
                if let Some(job) = self.by_id.get_mut(native) {
                    advance(job, *at, step);
                }
            }
        }
    }

    fn insert(&mut self, native: &NativeId, job: Job) {
        if !self.by_id.contains_key(native) {
            self.order.push(native.clone());
            self.by_id.insert(native.clone(), job);
        }
    }

    /// Forgets the oldest ended jobs beyond a number.
    pub(super) fn forget(&mut self, remembered: usize) {
        let ended = |job: &Job| matches!(job.phase, Phase::Ended { .. });
        let all = self.by_id.values().filter(|job| ended(job)).count();
        let mut surplus = all.saturating_sub(remembered);
        let by_id = &mut self.by_id;
        self.order.retain(|native| {
            let goes = surplus > 0 && by_id.get(native).is_some_and(ended);
            if goes {
                surplus -= 1;
                by_id.remove(native);
            }
            !goes
        });
    }

    /// The fewest records that give these jobs again.
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (native, job) in self.iter() {
            let mut push =
                |at: Timestamp, step: Step| records.push(Record { native: native.clone(), at, step });
            let started_at = job.starting_at.unwrap_or(job.received_at);
            match &job.phase {
                Phase::Queued { request } => {
                    push(job.received_at, Step::Received { request: request.clone() })
                }
                Phase::Starting { request, given } => {
                    push(job.received_at, Step::Received { request: request.clone() });
                    push(started_at, Step::Starting(given.clone()));
                }
                Phase::Running { request, given, process, stopping } => {
                    push(job.received_at, Step::Received { request: request.clone() });
                    push(started_at, Step::Starting(given.clone()));
                    push(started_at, Step::Started { process: process.clone() });
                    if let Some(why) = stopping {
                        push(started_at, Step::Stopping { why: *why });
                    }
                }
                Phase::Ended { at, outcome } => {
                    let summary = Summary {
                        request_digest: job.request_digest.clone(),
                        directory: job.directory.clone(),
                        received_at: job.received_at,
                        started_at: job.starting_at,
                        outcome: outcome.clone(),
                    };
                    push(*at, Step::Settled { summary: Box::new(summary) });
                }
            }
        }
        records
    }
}

fn advance(job: &mut Job, at: Timestamp, step: &Step) {
    match (&mut job.phase, step) {
        (Phase::Queued { request }, Step::Starting(given)) => {
            job.starting_at = Some(at);
            job.phase = Phase::Starting { request: request.clone(), given: given.clone() };
        }
        (Phase::Starting { request, given }, Step::Started { process }) => {
            job.phase = Phase::Running {
                request: request.clone(),
                given: std::mem::take(given),
                process: process.clone(),
                stopping: None,
            };
        }
        (Phase::Running { stopping, .. }, Step::Stopping { why }) => {
            stopping.get_or_insert(*why);
        }
        (Phase::Queued { .. } | Phase::Starting { .. } | Phase::Running { .. }, Step::Ended { outcome }) => {
            job.phase = Phase::Ended { at, outcome: outcome.clone() };
        }
        _ => {}
    }
}

/// What a later submission of the same attempt must have.
pub(super) fn digest(request: &SubmitRequest) -> Digest {
    Digest::of(serde_json::to_string(request).unwrap_or_default().as_bytes())
}

/// The manager's id of an attempt. Job ids hold no dot, so it can be read back.
pub(super) fn native_id(job_id: &JobId, attempt: AttemptNumber) -> NativeId {
    NativeId(format!("{job_id}.{attempt}"))
}

/// The job and attempt in an id that [`native_id`] made.
pub(super) fn attempt_of(native: &NativeId) -> Option<(JobId, AttemptNumber)> {
    let (job, attempt) = native.0.rsplit_once('.')?;
    Some((JobId::parse(job).ok()?, AttemptNumber(attempt.parse().ok()?)))
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    lines: usize,
}

impl Journal {
    /// Opens the journal of a state directory, making it if there is none, and folds it.
    pub(super) fn open(directory: &Path) -> Result<(Self, Jobs), WorkloadError> {
        let path = directory.join("journal.jsonl");
        let mut jobs = Jobs::default();
        if path.exists() {
            fold(&path, &mut jobs)?;
            jobs.forget(REMEMBERED);
        }
        // Written afresh at each start: whatever a torn last line left behind is gone with it.
        let journal = Self::write_afresh(path, &jobs)?;
        Ok((journal, jobs))
    }

    /// Puts a record on disk; when this fails, the file is as it was before.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), WorkloadError> {
        let mut line = encode(record, &self.path)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // A half line must not be joined by the next record.
            let _best_effort =
                self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            return Err(WorkloadError::Io { what: "cannot write to", path: self.path.clone(), source });
        }
        self.length += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    /// Writes the journal afresh when it has grown long.
    pub(super) fn compact(&mut self, jobs: &mut Jobs) -> Result<(), WorkloadError> {
        if self.lines > LONGEST {
            jobs.forget(REMEMBERED);
            *self = Self::write_afresh(self.path.clone(), jobs)?;
        }
        Ok(())
    }

    fn write_afresh(path: PathBuf, jobs: &Jobs) -> Result<Self, WorkloadError> {
        let fresh = path.with_extension("new");
        let records = jobs.records();
        let mut bytes = Vec::new();
        for record in &records {
            bytes.extend_from_slice(&encode(record, &path)?);
            bytes.push(b'\n');
        }
        let write = || {
            let mut file =
                File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            Ok(file)
        };
        let file = write().map_err(WorkloadError::io("cannot write", &path))?;
        // The rename itself must survive a power cut. If this fails, the file is in its place all the same.
        if let Some(parent) = path.parent()
            && let Err(error) = File::open(parent).and_then(|directory| directory.sync_all())
        {
            tracing::warn!(%error, "cannot sync the state directory");
        }
        Ok(Self { path, file, length: bytes.len() as u64, lines: records.len() })
    }
}

fn encode(record: &Record, path: &Path) -> Result<Vec<u8>, WorkloadError> {
    serde_json::to_vec(record).map_err(|error| WorkloadError::Io {
        what: "cannot write to",
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Reads the journal. A last line without an end is a record that was never acted on; any other line
/// that is not a record means that somebody else wrote here.
fn fold(path: &Path, jobs: &mut Jobs) -> Result<(), WorkloadError> {
    let io = || WorkloadError::io("cannot read", path);
    let mut reader = BufReader::new(File::open(path).map_err(io())?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(io())? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) if whole => jobs.apply(&record),
            _ if !whole => return Ok(()),
            _ => return Err(WorkloadError::JournalDamaged { path: path.to_owned(), line: number }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
