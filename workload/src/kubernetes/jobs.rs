//! Jobs and their pods: where they stand, and why one did not end well or cannot begin.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod,
};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};

use super::fields;
use super::manifest::CONTAINER;
use super::nodes;
use super::refusals::one_line;
use crate::read::{Accounting, NativeId, QueuedJob, RunState, Slots};

/// The label with which the Job controller marks the pods of a Job, in every version.
pub(super) const JOB_NAME: &str = "job-name";

/// A pod that waits for one of these never starts.
const HOPELESS: &[&str] = &["InvalidImageName", "ErrImageNeverPull"];
/// A pod that waits for one of these is being started.
const STARTING: &[&str] = &["ContainerCreating", "PodInitializing"];

/// A Job and the pod that is its try; none before there is one, and after it was taken away.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) job: Job,
    pub(super) pod: Option<Pod>,
}

/// What the cluster complained about, by the id of the object.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints {
    latest: BTreeMap<String, (Timestamp, String)>,
}

impl Complaints {
    /// Out of events of the type `Warning`.
    pub(super) fn of(events: Vec<Event>) -> Self {
        let mut latest: BTreeMap<String, (Timestamp, String)> = BTreeMap::new();
        for event in events {
            let at = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref()).map(fields::time);
            let at = at.or_else(|| {
                event.event_time.as_ref().map(|at| Timestamp::from_millis(at.0.as_millisecond()))
            });
            let (Some(uid), Some(at)) = (event.involved_object.uid, at) else { continue };
            let said = one_line(&format!(
                "{}: {}",
                event.reason.as_deref().unwrap_or_default(),
                event.message.as_deref().unwrap_or_default()
            ));
            if latest.get(&uid).is_none_or(|(before, _)| *before <= at) {
                latest.insert(uid, (at, said));
            }
        }
        Self { latest }
    }

    fn about(&self, uid: Option<&String>) -> Option<&str> {
        self.latest.get(uid?).map(|(_, said)| said.as_str())
    }
}

/// Where a Job stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) accounting: Accounting,
    pub(super) error: Option<ErrorBody>,
    /// It will never begin: what keeps it from it.
    pub(super) hopeless: Option<String>,
}

/// Puts Jobs and pods together; of several pods of a Job the newest counts.
pub(super) fn together(jobs: Vec<Job>, pods: Vec<Pod>) -> BTreeMap<NativeId, Work> {
    let mut by_job: BTreeMap<String, Pod> = BTreeMap::new();
    for pod in pods {
        let Some(name) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(JOB_NAME)) else {
            continue;
        };
        let made = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(fields::time);
        if by_job.get(name).is_none_or(|before| made(before) <= made(&pod)) {
            by_job.insert(name.clone(), pod);
        }
    }
    let named = |job: Job| {
        let name = job.metadata.name.clone().filter(|name| !name.is_empty())?;
        // A pod that outlived an earlier Job of the name is not of this one.
        let pod = by_job.remove(&name).filter(|pod| {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            owners.any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
        });
        Some((NativeId(name), Work { job, pod }))
    };
    let mut named = named;
    jobs.into_iter().filter_map(&mut named).collect()
}

impl Work {
    /// How the Job controller says that it ended: `Complete` or `Failed`, why, and when.
    fn ending(&self) -> Option<(&str, &str, String, Option<Timestamp>)> {
        let conditions = self.job.status.as_ref()?.conditions.as_ref()?;
        let over = |kind: &str| matches!(kind, "Complete" | "Failed");
        let condition = conditions.iter().find(|c| over(&c.type_) && c.status == "True")?;
        let reason = condition.reason.as_deref().unwrap_or_default();
        let message = one_line(condition.message.as_deref().unwrap_or_default());
        Some((&condition.type_, reason, message, condition.last_transition_time.as_ref().map(fields::time)))
    }

    fn phase(&self) -> Option<&str> {
        self.pod.as_ref()?.status.as_ref()?.phase.as_deref()
    }

    fn container(&self) -> Option<&ContainerStatus> {
        let containers = self.pod.as_ref()?.status.as_ref()?.container_statuses.as_ref()?;
        // A Job of somebody else has containers of other names; its first one tells about it.
        containers.iter().find(|status| status.name == CONTAINER).or_else(|| containers.first())
    }

    fn state(&self) -> Option<&ContainerState> {
        self.container()?.state.as_ref()
    }

    fn terminated(&self) -> Option<&ContainerStateTerminated> {
        self.state()?.terminated.as_ref()
    }

    fn waiting(&self) -> Option<&ContainerStateWaiting> {
        self.state()?.waiting.as_ref()
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        let running = self.state()?.running.as_ref().and_then(|running| running.started_at.as_ref());
        running.or_else(|| self.terminated()?.started_at.as_ref()).map(fields::time)
    }

    /// The pod whose container has printed or may have.
    pub(super) fn has_log(&self) -> Option<&str> {
        let begun = self.state().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        self.pod.as_ref()?.metadata.name.as_deref().filter(|_| begun)
    }

    /// Whether its container has not begun and it is not over.
    pub(super) fn has_not_begun(&self) -> bool {
        self.ending().is_none() && self.has_log().is_none()
    }

    fn received_at(&self) -> Option<Timestamp> {
        self.job.metadata.creation_timestamp.as_ref().map(fields::time)
    }

    fn run_state(&self) -> RunState {
        let ending = self.ending();
        let leaves = self.pod.as_ref().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
        match (self.phase(), &ending) {
            (_, Some(("Complete", ..))) => RunState::Completed,
            (Some("Succeeded"), None) if !leaves => RunState::Completed,
            // The deadline of the Job itself is only ever set to end it.
            (_, Some(("Failed", "DeadlineExceeded", ..))) => RunState::Cancelled,
            (Some("Failed"), _) if !leaves || ending.is_some() => {
                if self.pod_reason() == Some("DeadlineExceeded") {
                    RunState::TimedOut
                } else {
                    RunState::Failed
                }
            }
            (_, Some(_)) => RunState::Failed,
            // It was held back, without a pod, when it was cancelled: it ends when it is let go.
            (None, None) if self.is_held_back() && self.was_told_to_end() => RunState::Cancelled,
            (Some("Running" | "Succeeded" | "Failed"), None) => RunState::Running,
            // A node that does not answer may still run it.
            (Some("Unknown"), None) => RunState::Running,
            _ => RunState::Queued,
        }
    }

    /// Whether something that admits work holds it back.
    fn is_held_back(&self) -> bool {
        self.job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
    }

    fn was_told_to_end(&self) -> bool {
        self.job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) == Some(0)
    }

    fn pod_reason(&self) -> Option<&str> {
        self.pod.as_ref()?.status.as_ref()?.reason.as_deref()
    }

    /// Where it stands; none for a Job without a time of its own.
    pub(super) fn standing(
        &self,
        complaints: &Complaints,
        now: Timestamp,
        patience: Seconds,
    ) -> Option<Standing> {
        let received_at = self.received_at()?;
        let state = self.run_state();
        let terminated = self.terminated();
        let ended_by_pod =
            terminated.and_then(|terminated| terminated.finished_at.as_ref()).map(fields::time);
        let ended_by_job = self.ending().and_then(|(.., at)| at);
        let by_itself = matches!(state, RunState::Completed | RunState::Failed);
        let exit_code = terminated.map(|terminated| terminated.exit_code).filter(|_| by_itself);
        let accounting = Accounting {
            state,
            received_at,
            started_at: self.started_at(),
            ended_at: ended_by_pod.or(ended_by_job).filter(|_| state.is_terminal()),
            exit_code: exit_code.or((state == RunState::Completed).then_some(0)),
            peak_memory_gib: None,
        };
        let hopeless = (!state.is_terminal()).then(|| self.hopeless(complaints, now, patience)).flatten();
        Some(Standing { error: self.error(state), accounting, hopeless })
    }

    /// What keeps it from ever beginning. A pod that waits for a node is in the queue, however long; one that
    /// has a node and whose container does not start, or a Job that is given no pod, is not.
    fn hopeless(&self, complaints: &Complaints, now: Timestamp, patience: Seconds) -> Option<String> {
        if !self.has_not_begun() {
            return None;
        }
        let out_of_patience =
            |since: Option<Timestamp>| since.is_some_and(|since| now.since(since) > patience);
        let Some(pod) = &self.pod else {
            let said = complaints.about(self.job.metadata.uid.as_ref())?;
            let may_pass = said.contains("exceeded quota") || !said.starts_with("FailedCreate");
            return (!may_pass && out_of_patience(self.received_at())).then(|| said.to_owned());
        };
        let waiting = self.waiting().and_then(|waiting| waiting.reason.as_deref().zip(Some(waiting)));
        if let Some((reason, waiting)) = waiting.filter(|(reason, _)| !STARTING.contains(reason)) {
            let said = one_line(&format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()));
            let since = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(fields::time);
            return (HOPELESS.contains(&reason) || out_of_patience(since)).then_some(said);
        }
        // On a node, and nothing happens: a volume that cannot be mounted, for example.
        let conditions =
            pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let scheduled = conditions.filter(|c| c.type_ == "PodScheduled" && c.status == "True");
        let since = scheduled.filter_map(|c| c.last_transition_time.as_ref()).map(fields::time).next();
        let said = complaints.about(pod.metadata.uid.as_ref())?;
        out_of_patience(since).then(|| said.to_owned())
    }

    /// Why it did not end well.
    fn error(&self, state: RunState) -> Option<ErrorBody> {
        let failed = |message: String| Some(ErrorBody::new(ErrorCode::JobFailed, message));
        match state {
            RunState::Queued | RunState::Running | RunState::Completed => None,
            RunState::TimedOut => {
                Some(ErrorBody::new(ErrorCode::JobTimeout, "it was stopped by its time limit".to_owned()))
            }
            RunState::Cancelled => Some(ErrorBody::new(ErrorCode::Cancelled, "it was cancelled".to_owned())),
            RunState::Unknown => Some(forgotten()),
            RunState::Failed => {
                if let Some(terminated) = self.terminated() {
                    let reason = terminated.reason.as_deref().unwrap_or_default();
                    let code = terminated.exit_code;
                    // The kubelet ended the pod, and says why.
                    if let Some(reason) = self.pod_reason() {
                        return failed(self.said_of_pod(reason));
                    }
                    return failed(match (reason, code) {
                        ("OOMKilled", _) => {
                            "it needed more memory than its limit and was ended (OOMKilled)".to_owned()
                        }
                        ("Error" | "Completed" | "", code) if code > 128 => {
                            format!("it was ended by signal {}", code - 128)
                        }
                        ("Error" | "Completed" | "", code) => format!("it ended with exit code {code}"),
                        (reason, _) => {
                            let message = terminated.message.as_deref().unwrap_or_default();
                            one_line(&format!("its container could not run ({reason}: {message})"))
                        }
                    });
                }
                if let Some(reason) = self.pod_reason() {
                    return failed(self.said_of_pod(reason));
                }
                let (_, reason, message, _) = self.ending()?;
                failed(one_line(&format!("its pod is gone ({reason}: {message})")))
            }
        }
    }

    fn said_of_pod(&self, reason: &str) -> String {
        let status = self.pod.as_ref().and_then(|pod| pod.status.as_ref());
        let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
        one_line(&format!("the cluster ended its pod ({reason}: {message})"))
    }

    fn takes(&self) -> Slots {
        if let Some(pod) = &self.pod {
            return nodes::requests(pod).takes();
        }
        let spec = self.job.spec.as_ref();
        let one =
            spec.and_then(|spec| spec.template.spec.as_ref()).map(nodes::pod_requests).unwrap_or_default();
        one.takes()
    }

    fn time_limit(&self) -> Option<Seconds> {
        let spec = self.job.spec.as_ref()?;
        let limit = spec.template.spec.as_ref().and_then(|pod| pod.active_deadline_seconds);
        let limit = limit.or(spec.active_deadline_seconds)?;
        Some(Seconds::from(u32::try_from(limit).ok()?))
    }

    /// As it stands in the queue; none when it is over.
    pub(super) fn queued(&self, native: &NativeId) -> Option<QueuedJob> {
        let state = self.run_state();
        (!state.is_terminal()).then_some(())?;
        Some(QueuedJob {
            native: native.clone(),
            job_id: None,
            attempt: None,
            state,
            takes: self.takes(),
            received_at: self.received_at()?,
            started_at: self.started_at(),
            time_limit: self.time_limit(),
        })
    }
}

/// What is said of a job that the cluster has no trace of.
pub(super) fn forgotten() -> ErrorBody {
    ErrorBody::new(ErrorCode::Internal, "nobody can tell how it ended (its Job was deleted)".to_owned())
}

#[cfg(test)]
mod tests;
