//! Jobs, from `condor_q -json` and, once they are over, `condor_history -json`: a list of objects; an attribute
//! that a job does not have is missing, and one that is an expression is text. Without any job `condor_q` prints
//! nothing.

use protocol::units::{GiB, Seconds, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::read::{Accounting, NativeId, QueuedJob, RunState, Slots};

/// What is asked for, and nothing else: whole records have what users wrote and are long.
pub(super) const ATTRIBUTES: &str = "ClusterId,ProcId,JobStatus,JobBatchName,QDate,JobCurrentStartDate,RequestCpus,\
                                     RequestMemory,RequestGPUs,HoldReason,HoldReasonCode,JobPrio,\
                                     AllowedExecuteDuration,ExitCode,ExitBySignal,ExitSignal,CompletionDate,\
                                     EnteredCurrentStatus,ResidentSetSize_RAW,RemoveReason";
/// Why a job is held: its user wanted that.
const BY_USER: i64 = 1;
/// Why a job is held: it ran longer than it may, in all or at one place.
const OUT_OF_TIME: [i64; 2] = [46, 47];
/// How much of a reason is kept.
const REASON_LIMIT: usize = 200;

/// A job as HTCondor has it, or had it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Job {
    cluster_id: u64,
    proc_id: u64,
    job_status: u8,
    #[serde(default)]
    pub(super) job_batch_name: String,
    #[serde(rename = "QDate")]
    q_date: i64,
    job_current_start_date: Option<i64>,
    request_cpus: Option<Value>,
    request_memory: Option<Value>,
    #[serde(rename = "RequestGPUs")]
    request_gpus: Option<Value>,
    hold_reason: Option<String>,
    hold_reason_code: Option<i64>,
    #[serde(default)]
    job_prio: i64,
    allowed_execute_duration: Option<Value>,
    exit_code: Option<i32>,
    exit_by_signal: Option<bool>,
    exit_signal: Option<i32>,
    completion_date: Option<i64>,
    entered_current_status: Option<i64>,
    #[serde(rename = "ResidentSetSize_RAW")]
    resident_set_size: Option<Value>,
    remove_reason: Option<String>,
}

/// Reads a listing. A record that lacks what makes a job is left out; how many there were of these is the second
/// part.
pub(super) fn parse(text: &str) -> Result<(Vec<Job>, usize), String> {
    if text.trim().is_empty() {
        return Ok((Vec::new(), 0));
    }
    let listed: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let length = listed.len();
    let known = |job: &Job| (1..=7).contains(&job.job_status);
    let jobs: Vec<Job> =
        listed.into_iter().filter_map(|value| serde_json::from_value(value).ok()).filter(known).collect();
    let left_out = length - jobs.len();
    Ok((jobs, left_out))
}

fn time(seconds: Option<i64>) -> Option<Timestamp> {
    let seconds = seconds.filter(|seconds| *seconds > 0)?;
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

fn number(value: Option<&Value>) -> Option<f64> {
    value?.as_f64().filter(|number| *number > 0.0)
}

fn count(value: Option<&Value>) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    number(value).map(|number| number as u32)
}

fn shortened(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_LIMIT).collect()
}

impl Job {
    pub(super) fn native(&self) -> NativeId {
        NativeId(format!("{}.{}", self.cluster_id, self.proc_id))
    }

    pub(super) fn state(&self) -> RunState {
        match (self.job_status, self.exit_by_signal, self.exit_code) {
            (1 | 5, _, _) => RunState::Queued,
            (2 | 6 | 7, _, _) => RunState::Running,
            (3, _, _) => RunState::Cancelled,
            (4, Some(false) | None, Some(0)) => RunState::Completed,
            (4, _, Some(_)) | (4, Some(true), _) => RunState::Failed,
            _ => RunState::Unknown,
        }
    }

    /// Why it is held, unless its user wanted that.
    pub(super) fn held_because(&self) -> Option<String> {
        let held = self.job_status == 5 && self.hold_reason_code != Some(BY_USER);
        held.then(|| shortened(self.hold_reason.as_deref().unwrap_or("no reason is given")))
    }

    /// Whether it is held because its time was up.
    pub(super) fn is_out_of_time(&self) -> bool {
        self.job_status == 5 && self.hold_reason_code.is_some_and(|code| OUT_OF_TIME.contains(&code))
    }

    /// Whether it waits for a slot.
    pub(super) const fn is_idle(&self) -> bool {
        self.job_status == 1
    }

    /// Who or what took it out.
    pub(super) fn removed_because(&self) -> String {
        shortened(self.remove_reason.as_deref().unwrap_or("no reason is given"))
    }

    /// In what order it stands in the queue: those that run, those that wait by priority, those that are held.
    pub(super) fn order(&self) -> (bool, bool, i64, i64, u64, u64) {
        let waits = self.state() == RunState::Queued;
        let priority = if waits { self.job_prio.saturating_neg() } else { 0 };
        (waits, self.job_status == 5, priority, self.q_date, self.cluster_id, self.proc_id)
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        time(self.job_current_start_date).filter(|_| self.state() != RunState::Queued)
    }

    pub(super) fn accounting(&self, now: Timestamp) -> Accounting {
        let state = self.state();
        let ended = time(self.completion_date).or_else(|| time(self.entered_current_status));
        let code = match (self.exit_by_signal, self.exit_signal) {
            (Some(true), Some(signal)) => Some(128_i32.saturating_add(signal)),
            _ => self.exit_code,
        };
        let by_itself = matches!(state, RunState::Completed | RunState::Failed);
        // In KiB.
        let peak = number(self.resident_set_size.as_ref());
        Accounting {
            state,
            received_at: time(Some(self.q_date)).unwrap_or(now),
            started_at: self.started_at(),
            ended_at: ended.filter(|_| state.is_terminal()),
            exit_code: code.filter(|_| by_itself),
            peak_memory_gib: peak.map(|kib| GiB::saturating(kib / 1024.0 / 1024.0)),
        }
    }

    pub(super) fn queued(&self, now: Timestamp) -> QueuedJob {
        let limit = number(self.allowed_execute_duration.as_ref());
        QueuedJob {
            native: self.native(),
            job_id: None,
            attempt: None,
            state: self.state(),
            takes: Slots {
                cores: count(self.request_cpus.as_ref()).unwrap_or(0),
                memory_gib: number(self.request_memory.as_ref()).map(|mib| GiB::saturating(mib / 1024.0)),
                gpus: count(self.request_gpus.as_ref()).unwrap_or(0),
            },
            received_at: time(Some(self.q_date)).unwrap_or(now),
            started_at: self.started_at(),
            time_limit: limit.map(Seconds::saturating),
        }
    }
}
