//! Jobs that wait or run, from `qstat -r -xml`. What ends is not in it any more. Names are what a user wrote and
//! are used to find jobs of ours only.

use std::collections::BTreeMap;

use protocol::units::{GiB, Seconds, Timestamp};
use roxmltree::Node;

use super::fields;
use super::nodes::{Complexes, Counted};
use crate::read::{NativeId, QueuedJob, RunState, Slots};

/// A job, or a task of an array of jobs, as Grid Engine has it now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) id: u64,
    /// Tasks of an array that this stands for, as they are written.
    pub(super) tasks: Option<String>,
    pub(super) name: String,
    /// Waiting or running.
    pub(super) state: RunState,
    /// It could not be started and waits for somebody to look at it.
    pub(super) is_in_error: bool,
    /// It waits for a person, a time or another job.
    pub(super) is_held: bool,
    /// Of all its hosts together.
    pub(super) slots: u32,
    /// Of jobs that run it is not said.
    pub(super) submitted_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    /// The queue that it runs in.
    pub(super) queue: Option<String>,
    /// The queues that it may run in, in Grid Engine's patterns; none for any.
    pub(super) wants_queues: Vec<String>,
    /// What it asked for with `-l`.
    pub(super) requests: BTreeMap<String, String>,
}

/// Reads a listing. An element that lacks what makes a job is left out; how many there were of these is the
/// second part.
pub(super) fn parse(text: &str) -> Result<(Vec<Job>, usize), String> {
    let document = fields::document(text, "job_info")?;
    let listed = document.root_element().descendants().filter(|node| node.has_tag_name("job_list"));
    let (mut jobs, mut left_out) = (Vec::new(), 0);
    for node in listed {
        match job(node) {
            Some(job) => jobs.push(job),
            // Jobs that have ended, where they were asked for.
            None if fields::child(node, "state") == Some("z") => {}
            None => left_out += 1,
        }
    }
    Ok((jobs, left_out))
}

fn job(node: Node<'_, '_>) -> Option<Job> {
    let text = |name: &str| fields::child(node, name);
    let letters = text("state")?;
    let state = if letters.contains('q') {
        RunState::Queued
    } else if letters.contains(['r', 't', 's', 'S', 'T', 'd', 'R']) {
        RunState::Running
    } else {
        return None;
    };
    let requests = node.children().filter(|child| child.has_tag_name("hard_request"));
    let requests = requests.filter_map(|request| {
        Some((request.attribute("name")?.to_owned(), request.text()?.trim().to_owned()))
    });
    let queues = node.children().filter(|child| child.has_tag_name("hard_req_queue"));
    Some(Job {
        id: text("JB_job_number")?.parse().ok()?,
        tasks: text("tasks").map(str::to_owned),
        name: text("full_job_name").or_else(|| text("JB_name"))?.to_owned(),
        state,
        is_in_error: letters.contains('E'),
        is_held: letters.contains('h'),
        slots: text("slots")?.parse().ok()?,
        submitted_at: text("JB_submission_time").and_then(fields::time),
        started_at: text("JAT_start_time").and_then(fields::time).filter(|_| state == RunState::Running),
        queue: text("queue_name").map(|instance| instance.split('@').next().unwrap_or(instance).to_owned()),
        wants_queues: queues.filter_map(|queue| Some(queue.text()?.trim().to_owned())).collect(),
        requests: requests.collect(),
    })
}

impl Job {
    pub(super) fn native(&self) -> NativeId {
        match &self.tasks {
            Some(task) => NativeId(format!("{}.{task}", self.id)),
            None => NativeId(self.id.to_string()),
        }
    }

    /// How many jobs it stands for: tasks that wait are shown together, as `2-10:2` or `1,3`.
    pub(super) fn count(&self) -> u32 {
        let Some(tasks) = &self.tasks else { return 1 };
        let part = |text: &str| {
            let (range, step) = text.split_once(':').unwrap_or((text, "1"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            last.checked_sub(first)?.checked_div(step.parse().ok()?)?.checked_add(1)
        };
        tasks.split(',').map(|text| part(text).unwrap_or(1)).fold(0, u32::saturating_add)
    }

    pub(super) fn time_limit(&self) -> Option<Seconds> {
        fields::duration(self.requests.get("h_rt")?)
    }

    /// What it takes, as far as its requests say it.
    pub(super) fn takes(&self, complexes: &Complexes) -> Slots {
        let times = |counted: Counted| if counted == Counted::PerJob { 1 } else { self.slots };
        let gpus = complexes.gpu.as_ref().and_then(|gpu| {
            Some(fields::count(self.requests.get(&gpu.name)?)?.saturating_mul(times(gpu.counted)))
        });
        let memory = self.requests.get("h_vmem").and_then(|size| fields::size(size));
        Slots {
            cores: self.slots,
            memory_gib: memory
                .map(|size| GiB::saturating(size.get() * f64::from(times(complexes.memory.counted)))),
            gpus: gpus.unwrap_or(0),
        }
    }

    /// Whether it waits for capacity of one of these queues.
    pub(super) fn competes_for(&self, queues: &[&str]) -> bool {
        let names = |pattern: &String| queues.iter().any(|queue| matches(pattern, queue));
        self.state == RunState::Queued
            && !self.is_held
            && !self.is_in_error
            && (self.wants_queues.is_empty() || self.wants_queues.iter().any(names))
    }

    pub(super) fn queued(&self, complexes: &Complexes, now: Timestamp) -> QueuedJob {
        QueuedJob {
            native: self.native(),
            job_id: None,
            attempt: None,
            state: self.state,
            takes: self.takes(complexes),
            received_at: self.submitted_at.or(self.started_at).unwrap_or(now),
            started_at: self.started_at,
            time_limit: self.time_limit(),
        }
    }
}

/// Whether a queue is meant by `name`, `name@host` or a pattern; a pattern that is more than a star at one end
/// means every queue, so that nobody who waits is overlooked.
fn matches(pattern: &str, queue: &str) -> bool {
    let pattern = pattern.split('@').next().unwrap_or(pattern);
    if !pattern.contains(['*', '?', '[', '|', '&', '!', '(']) {
        return pattern == queue;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), None) if !end.contains(['*', '?', '[', '|', '&', '!', '(']) => queue.ends_with(end),
        (None, Some(start)) if !start.contains(['*', '?', '[', '|', '&', '!', '(']) => {
            queue.starts_with(start)
        }
        _ => true,
    }
}
