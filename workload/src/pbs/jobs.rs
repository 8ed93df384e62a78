//! Jobs, from `qstat -f`. A finished job is listed as long as the server keeps its history.

use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};

use super::Flavour;
use super::fields::{self, Part};
use super::listing::Record;
use crate::read::{Accounting, NativeId, QueuedJob, RunState, Slots};

/// A job that was deleted while it ran or waited.
const TERMINATED: &str = "91";
/// Exit codes from this on are 256 and the number of a signal.
const SIGNALS_FROM: i32 = 256;
/// What Torque tells of a job that was deleted while it ran: the signal that it is asked to end with.
const TORQUE_DELETED: i32 = SIGNALS_FROM + 15;

/// A job as PBS has it now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) queue: String,
    pub(super) state: RunState,
    /// It waits for resources, and not for a time, another job or somebody who holds it; and it is not one
    /// of which the scheduler said that it can never run.
    pub(super) waits_for_resources: bool,
    pub(super) submitted_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) time_limit: Option<Seconds>,
    /// As PBS tells it: a code, 256 and a signal, or a negative reason of its own.
    exit_status: Option<i32>,
    pub(super) takes: Slots,
    peak_memory_kib: Option<u64>,
    /// Where it runs.
    pub(super) parts: Vec<Part>,
    /// Its nodes are nobody else's.
    pub(super) exclusive: bool,
    /// When and where the scheduler plans to start it.
    pub(super) planned: Option<(Timestamp, Vec<Part>)>,
    flavour: Flavour,
}

/// Reads records; one that lacks what makes a job is left out. How many there were of these is the second
/// part.
pub(super) fn parse(flavour: Flavour, records: &[Record]) -> (Vec<Job>, usize) {
    let jobs: Vec<Job> = records.iter().filter_map(|record| job(flavour, record)).collect();
    let left_out = records.len() - jobs.len();
    (jobs, left_out)
}

fn job(flavour: Flavour, record: &Record) -> Option<Job> {
    super::is_job_id(&record.name).then_some(())?;
    let time = |name: &str| record.get(name).and_then(fields::time);
    let letter = record.get("job_state")?;
    let exit_status =
        record.get("Exit_status").or_else(|| record.get("exit_status")).and_then(|code| code.parse().ok());
    let started_at =
        time("stime").or_else(|| time("start_time")).filter(|_| !matches!(letter, "Q" | "H" | "W"));
    let is_deleted = record.get("substate") == Some(TERMINATED);
    let state = match letter {
        "Q" | "H" | "W" | "T" => RunState::Queued,
        "R" | "E" | "S" | "U" | "B" => RunState::Running,
        "F" | "X" | "C" => ended(flavour, exit_status, started_at.is_some(), is_deleted),
        "M" => RunState::Unknown,
        _ => return None,
    };
    let ended_at = time("obittime").or_else(|| time("comp_time")).or_else(|| time("mtime"));
    let can_run = !record.get("comment").is_some_and(|comment| comment.starts_with("Can Never Run"));
    let planned = time("estimated.start_time")
        .zip(record.get("estimated.exec_vnode").and_then(fields::exec_vnode))
        .filter(|_| state == RunState::Queued);
    let parts = match flavour {
        Flavour::OpenPbs => record.get("exec_vnode").and_then(fields::exec_vnode),
        Flavour::Torque => record.get("exec_host").and_then(fields::exec_host),
    };
    Some(Job {
        id: record.name.clone(),
        queue: record.get("queue")?.to_owned(),
        state,
        waits_for_resources: letter == "Q" && can_run,
        submitted_at: time("ctime").or_else(|| time("qtime"))?,
        started_at,
        ended_at: ended_at.filter(|_| state.is_terminal()),
        time_limit: record.get("Resource_List.walltime").and_then(fields::duration),
        exit_status,
        takes: takes(flavour, record),
        // A job that is shorter than the time between two looks at it has 0 here.
        peak_memory_kib: record
            .get("resources_used.mem")
            .and_then(fields::kib)
            .filter(|peak| *peak > 0 && state.is_terminal()),
        parts: parts.filter(|_| state == RunState::Running).unwrap_or_default(),
        exclusive: record.get("Resource_List.place").is_some_and(|place| place.contains("excl")),
        planned,
        flavour,
    })
}

fn ended(flavour: Flavour, exit_status: Option<i32>, started: bool, deleted: bool) -> RunState {
    match (flavour, exit_status) {
        _ if deleted => RunState::Cancelled,
        (Flavour::OpenPbs, Some(-29)) | (Flavour::Torque, Some(-11)) => RunState::TimedOut,
        (Flavour::Torque, Some(TORQUE_DELETED)) => RunState::Cancelled,
        (_, Some(0)) => RunState::Completed,
        (_, Some(_)) => RunState::Failed,
        // Taken out of the queue, by its owner or because what it depends on never came.
        (_, None) if !started => RunState::Cancelled,
        (_, None) => RunState::Unknown,
    }
}

fn takes(flavour: Flavour, record: &Record) -> Slots {
    let text = |name: &str| record.get(&format!("Resource_List.{name}"));
    let number = |name: &str| text(name).and_then(|value| value.parse::<u32>().ok());
    let nodes = text("nodes").filter(|_| flavour == Flavour::Torque).and_then(fields::node_request);
    let (cores, gpus) = nodes.unwrap_or_else(|| {
        (number("ncpus").or_else(|| number("procs")).unwrap_or(0), number("ngpus").unwrap_or(0))
    });
    Slots { cores, memory_gib: text("mem").and_then(fields::kib).map(fields::gib), gpus }
}

impl Job {
    pub(super) fn native(&self) -> NativeId {
        NativeId(self.id.clone())
    }

    /// The number of the job, or of the array that it is part of.
    pub(super) fn number(&self) -> u64 {
        let digits = self.id.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
    }

    /// An array as a whole: its jobs are listed beside it.
    pub(super) fn is_array(&self) -> bool {
        self.id.contains("[]")
    }

    pub(super) fn accounting(&self) -> Accounting {
        let by_itself = matches!(self.state, RunState::Completed | RunState::Failed);
        Accounting {
            state: self.state,
            received_at: self.submitted_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            exit_code: self
                .exit_status
                .filter(|code| by_itself && *code >= 0)
                .map(|code| if code >= SIGNALS_FROM { code - SIGNALS_FROM + 128 } else { code }),
            peak_memory_gib: self.peak_memory_kib.map(fields::gib),
        }
    }

    pub(super) fn queued(&self) -> QueuedJob {
        QueuedJob {
            native: self.native(),
            job_id: None,
            attempt: None,
            state: self.state,
            takes: self.takes,
            received_at: self.submitted_at,
            started_at: self.started_at,
            time_limit: self.time_limit,
        }
    }

    /// What PBS itself did to it, where its exit status is a reason of PBS.
    pub(super) fn reason(&self) -> Option<&'static str> {
        Some(match (self.flavour, self.exit_status?) {
            (Flavour::OpenPbs, -27 | -26) | (Flavour::Torque, -10) => "it took more memory than it may",
            (Flavour::OpenPbs, -28) | (Flavour::Torque, -12) => "it took more processor time than it may",
            (Flavour::OpenPbs, -24 | -25) => "it took more cores than it may",
            (_, code) if code < 0 => "PBS could not start it, or not follow it to its end",
            _ => return None,
        })
    }
}

/// Why a job in this state did not end well.
pub(super) fn error(accounting: &Accounting, reason: Option<&str>) -> Option<ErrorBody> {
    let (code, message) = match (accounting.state, accounting.exit_code) {
        (RunState::Queued | RunState::Running | RunState::Completed, _) => return None,
        (RunState::TimedOut, _) => (ErrorCode::JobTimeout, "it was stopped by its time limit".to_owned()),
        (RunState::Cancelled, _) => (ErrorCode::Cancelled, "it was cancelled".to_owned()),
        (RunState::Unknown, _) => {
            (ErrorCode::Internal, "nobody can tell how it ended (PBS does not know it any more)".to_owned())
        }
        (RunState::Failed, Some(code)) if code > 128 => {
            (ErrorCode::JobFailed, format!("it was ended by signal {}", code - 128))
        }
        (RunState::Failed, Some(code)) => (ErrorCode::JobFailed, format!("it ended with exit code {code}")),
        (RunState::Failed, None) => (ErrorCode::JobFailed, reason.unwrap_or("it failed").to_owned()),
    };
    Some(ErrorBody::new(code, message))
}
