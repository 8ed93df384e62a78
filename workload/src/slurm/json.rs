//! `squeue --json`, in the schema of `data_parser` (23.02 and later) and in that of 22.05.
//!
//! The same field is a plain value in one and `{"set": .., "infinite": .., "number": ..}` or a list in
//! the other, and may be missing or null in either; each is read by what it holds.

use protocol::units::{Seconds, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::fields;
use super::jobs::{Exit, Job, State, takes};

#[derive(Deserialize)]
struct Document {
    jobs: Vec<Value>,
}

/// Reads the document. A job that lacks its number or its state is left out; how many there were of these
/// is the second part.
pub(super) fn parse(text: &str) -> Result<(Vec<Job>, usize), String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let jobs: Vec<Job> = document.jobs.iter().filter_map(job).collect();
    let not_understood = document.jobs.len() - jobs.len();
    Ok((jobs, not_understood))
}

fn job(value: &Value) -> Option<Job> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let state = match value.get("job_state")? {
        Value::String(word) => State::of(std::iter::once(word.as_str()))?,
        Value::Array(words) => State::of(words.iter().filter_map(Value::as_str))?,
        _ => return None,
    };
    let count = |name: &str| number(value.get(name)).and_then(|count| u32::try_from(count).ok());
    let tres = [text("tres_alloc_str"), text("tres_req_str")].into_iter().find(|list| !list.is_empty());
    Some(Job {
        id: id(value)?,
        partitions: text("partition").to_owned(),
        state,
        submitted_at: time(value, "submit_time"),
        start_at: time(value, "start_time"),
        end_at: time(value, "end_time"),
        reason: fields::given(text("state_reason")).map(str::to_owned),
        exit: value.get("exit_code").and_then(exit),
        takes: takes(
            count("cpus").unwrap_or(0),
            count("node_count").unwrap_or(1),
            tres.unwrap_or_default(),
            text("tres_per_job"),
            text("tres_per_node"),
        ),
        time_limit: count("time_limit")
            .filter(|minutes| *minutes > 0)
            .map(|minutes| Seconds::saturating(f64::from(minutes) * 60.0)),
        was_placed: !text("nodes").is_empty(),
    })
}

/// The id as text listings have it: elements of an array are named by the array.
fn id(value: &Value) -> Option<String> {
    let own = number(value.get("job_id"))?;
    let array = number(value.get("array_job_id")).filter(|array| *array > 0);
    let waiting = value.get("array_task_string").and_then(Value::as_str).filter(|list| !list.is_empty());
    Some(match (array, waiting, number(value.get("array_task_id"))) {
        (Some(array), Some(list), _) => format!("{array}_[{list}]"),
        (Some(array), None, Some(task)) => format!("{array}_{task}"),
        _ => own.to_string(),
    })
}

/// A number, plain or wrapped; none when it is not set or has no bound.
fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Object(wrapped) => {
            let is = |name: &str| wrapped.get(name).and_then(Value::as_bool).unwrap_or(false);
            (is("set") && !is("infinite")).then(|| wrapped.get("number")?.as_i64()).flatten()
        }
        plain => plain.as_i64(),
    }
}

fn time(value: &Value, name: &str) -> Option<Timestamp> {
    fields::epoch(number(value.get(name))?)
}

fn exit(value: &Value) -> Option<Exit> {
    let small = |number: i64| i32::try_from(number).ok();
    match value {
        Value::Object(_) if value.get("return_code").is_some() => Some(Exit {
            code: number(value.get("return_code")).and_then(small).unwrap_or(0),
            signal: value
                .get("signal")
                .and_then(|signal| number(signal.get("id")))
                .and_then(small)
                .unwrap_or(0),
        }),
        other => Some(Exit::of_wait_status(small(number(Some(other))?)?)),
    }
}
