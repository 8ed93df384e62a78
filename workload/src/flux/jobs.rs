//! Jobs, from `flux jobs --json`: a bare object for one id, `{"jobs": [...]}` for several or none. A key
//! that does not apply to a job is missing. Its name, comments and notes are what a user wrote; of these
//! only the note of an exception is shown, and shortened.

use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::fields;
use crate::attempts;
use crate::read::{Accounting, NativeId, QueuedJob, RunState, Slots};

/// How much of an exception's note is kept.
const NOTE_LIMIT: usize = 200;

/// A job as Flux has it now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) queue: String,
    pub(super) state: RunState,
    /// It waits for resources, and not for a time, another job or somebody who holds it.
    pub(super) waits_for_resources: bool,
    pub(super) priority: i64,
    pub(super) submitted_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) time_limit: Option<Seconds>,
    pub(super) exit_code: Option<i32>,
    pub(super) takes: Slots,
    /// What ended it besides its own end: type and note.
    pub(super) exception: Option<(String, String)>,
}

/// What [`job`] reads of an object.
#[derive(Deserialize)]
struct Listed {
    id: u64,
    state: String,
    t_submit: f64,
    #[serde(default)]
    t_run: f64,
    #[serde(default)]
    t_cleanup: f64,
    #[serde(default)]
    t_inactive: f64,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    result: String,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    urgency: i64,
    returncode: Option<i32>,
    waitstatus: Option<i64>,
    ncores: Option<u32>,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    exception: Value,
}

/// Reads a listing. An object that lacks what makes a job is left out; how many there were of these is
/// the second part.
pub(super) fn parse(text: &str) -> Result<(Vec<Job>, usize), String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let list = match document {
        Value::Object(ref object) => match object.get("jobs") {
            Some(Value::Array(list)) => list.clone(),
            Some(_) => return Err("jobs is no list".to_owned()),
            None if object.contains_key("id") => vec![document],
            None => return Err("it has neither jobs nor an id".to_owned()),
        },
        _ => return Err("it is no object".to_owned()),
    };
    let length = list.len();
    let jobs: Vec<Job> = list.into_iter().filter_map(job).collect();
    let left_out = length - jobs.len();
    Ok((jobs, left_out))
}

fn job(value: Value) -> Option<Job> {
    let listed: Listed = serde_json::from_value(value).ok()?;
    let started_at = fields::time(listed.t_run);
    let state = match (listed.state.as_str(), listed.result.as_str()) {
        ("NEW" | "DEPEND" | "PRIORITY" | "SCHED", _) => RunState::Queued,
        ("RUN", _) => RunState::Running,
        // On its way out of the queue, or with processes that still have their cores.
        ("CLEANUP", _) if started_at.is_none() => RunState::Queued,
        ("CLEANUP", _) => RunState::Running,
        ("INACTIVE", "COMPLETED") => RunState::Completed,
        ("INACTIVE", "FAILED") => RunState::Failed,
        ("INACTIVE", "CANCELED") => RunState::Cancelled,
        ("INACTIVE", "TIMEOUT") => RunState::TimedOut,
        ("INACTIVE", _) => RunState::Unknown,
        _ => return None,
    };
    let ended = fields::time(listed.t_cleanup).or_else(|| fields::time(listed.t_inactive));
    let by_itself = matches!(state, RunState::Completed | RunState::Failed) && listed.waitstatus.is_some();
    let exception = (listed.exception.get("occurred") == Some(&Value::Bool(true))).then(|| {
        let text = |name: &str| shortened(listed.exception.get(name).and_then(Value::as_str).unwrap_or(""));
        (text("type"), text("note"))
    });
    let summary = listed.annotations.pointer("/sched/resource_summary").and_then(Value::as_str);
    Some(Job {
        id: listed.id,
        queue: listed.queue,
        state,
        waits_for_resources: listed.state == "SCHED" && listed.urgency > 0,
        priority: listed.priority,
        submitted_at: fields::time(listed.t_submit)?,
        started_at,
        ended_at: ended.filter(|_| state.is_terminal()),
        time_limit: fields::limit(listed.duration),
        exit_code: listed.returncode.filter(|code| by_itself && *code >= 0),
        takes: Slots {
            cores: listed.ncores.unwrap_or(0),
            memory_gib: None,
            gpus: summary.and_then(gpus).unwrap_or(0),
        },
        exception,
    })
}

/// GPUs in `rank[0-1]/core[1-2],gpu0 rank2/core0`.
fn gpus(summary: &str) -> Option<u32> {
    let mut sum = 0_u32;
    for part in summary.split_whitespace() {
        let (ranks, resources) = part.split_once('/')?;
        let ranks = u32::try_from(fields::id_set(ranks.strip_prefix("rank")?)?.len()).ok()?;
        if let Some((_, ids)) = resources.split_once("gpu") {
            let ids = match ids.strip_prefix('[') {
                Some(rest) => rest.split(']').next()?,
                None => ids.split(',').next()?,
            };
            let ids = u32::try_from(fields::id_set(ids)?.len()).ok()?;
            sum = sum.checked_add(ranks.checked_mul(ids)?)?;
        }
    }
    Some(sum)
}

fn shortened(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NOTE_LIMIT).collect()
}

impl Job {
    pub(super) fn native(&self) -> NativeId {
        NativeId(self.id.to_string())
    }

    pub(super) fn accounting(&self) -> Accounting {
        Accounting {
            state: self.state,
            received_at: self.submitted_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            exit_code: self.exit_code,
            peak_memory_gib: None,
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

    /// Why it did not end well.
    pub(super) fn error(&self) -> Option<ErrorBody> {
        match (&self.exception, self.state) {
            (Some((kind, note)), RunState::Failed) => {
                let message = format!("Flux ended it ({kind}: {note})");
                Some(ErrorBody::new(ErrorCode::JobFailed, message))
            }
            _ => attempts::error(self.state, self.exit_code, "Flux"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_counted_over_ranks() {
        for (summary, count) in [
            ("rank2/core[0-1],gpu[0-1]", Some(2)),
            ("rank[0-1]/core[1-2],gpu0", Some(2)),
            ("rank[0-1]/core[1-2]", Some(0)),
            ("rank0/core0,gpu0 rank[1-2]/core0,gpu[0-1]", Some(5)),
            ("", Some(0)),
            ("rank0", None),
            ("rankx/gpu0", None),
        ] {
            assert_eq!(gpus(summary), count, "{summary}");
        }
    }
}
