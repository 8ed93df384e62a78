//! The predecessor's wire forms at the hub: a call as text for its workers, their text as a proposal,
//! and the keys that its client expects in a negotiation.

use std::collections::BTreeMap;

use protocol::call::Call;
use protocol::error::ErrorCode;
use protocol::negotiation::NegotiationView;
use protocol::proposal::{Outcome, Reply};
use protocol::requirement::{GpuScope, Requirement};
use protocol::text;
use protocol::units::Timestamp;
use serde_json::{Map, Value, json};
use transport::host::ToolOutcome;

use crate::ask::worker_error;

/// A call as text: the requirement only, never the user's own prompt, which could give the weights away.
#[must_use]
pub fn render_call(call: &Call) -> String {
    requirement_text(&call.requirement)
}

fn requirement_text(requirement: &Requirement) -> String {
    let mut needs = Vec::new();
    for need in &requirement.software {
        needs.push(format!("{} {}", need.name, need.constraint.as_deref().unwrap_or_default()));
    }
    let compute = &requirement.compute;
    let counts = [("nodes", compute.nodes), ("tasks", compute.tasks), ("cores", compute.cores)];
    needs.extend(counts.iter().filter_map(|(what, count)| Some(format!("{} {what}", (*count)?))));
    if let Some(memory) = compute.memory_gib {
        needs.push(format!("{} GiB of memory", memory.get()));
    }
    if let Some(gpus) = &compute.gpus {
        let model = gpus.model.as_deref().unwrap_or_default();
        let per = if gpus.per == GpuScope::Node { "per node" } else { "in total" };
        let optional = if gpus.optional { "optionally " } else { "" };
        needs.push(format!("{optional}{} {model} GPUs {per}", gpus.count));
    }
    for (what, names) in [
        ("network", &requirement.network),
        ("container runtime", &requirement.container),
        ("workload manager", &requirement.workload),
    ] {
        if !names.is_empty() {
            needs.push(format!("{what} {}", names.join(" or ")));
        }
    }
    for storage in &requirement.storage {
        let kind = storage.kind.as_deref().unwrap_or("any");
        let free = storage.free_gib.map_or_else(String::new, |free| format!(" with {} GiB free", free.get()));
        needs.push(format!("{kind} storage{free}"));
    }
    if requirement.mpi {
        needs.push("MPI".to_owned());
    }
    if let Some(duration) = requirement.time.duration_seconds {
        needs.push(format!("a run time of {} seconds", duration.get()));
    }
    if needs.is_empty() { "Can you run a job?".to_owned() } else { format!("I need {}.", needs.join(", ")) }
}

/// Reads a predecessor's `{worker_id, proposal: TEXT}`.
#[must_use]
pub fn read_proposal(call: &Call, outcome: &ToolOutcome) -> Reply {
    if outcome.is_error {
        return worker_error(outcome);
    }
    let from_text = || serde_json::from_str::<Value>(outcome.first_text()?).ok();
    let answer = outcome.structured.clone().or_else(from_text);
    let text = answer.as_ref().and_then(|answer| answer.get("proposal")?.as_str());
    let Some(text) = text else {
        let message = "the answer has no proposal text";
        return Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, message);
    };
    match text::parse(text, call.proposal_id.clone()) {
        Ok(proposal) => Reply::Proposal(Box::new(proposal)),
        Err(error) => Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, error.to_string()),
    }
}

/// A negotiation as JSON with the predecessor's keys beside ours: `timestamp` and `user_prompt`, and
/// in each proposal `type`, `data` and `status`, or `message` where there is none.
pub fn view_value(
    view: NegotiationView,
    prompt: Option<&str>,
    now: Timestamp,
) -> Result<Value, serde_json::Error> {
    let mut proposals = Map::with_capacity(view.proposals.len());
    for (worker, reply) in &view.proposals {
        let mut value = serde_json::to_value(reply)?;
        let Some(fields) = value.as_object_mut() else { continue };
        match reply {
            Reply::Proposal(proposal) => {
                let data = json!({ "worker_id": worker, "proposal": text::render(proposal, None) });
                fields.insert("type".to_owned(), json!("agentic_proposal"));
                fields.insert("status".to_owned(), json!(data.to_string()));
                fields.insert("data".to_owned(), data);
            }
            Reply::Missing(missing) => {
                fields.insert("type".to_owned(), json!("error"));
                fields.insert("message".to_owned(), json!(missing.error.message));
            }
        }
        proposals.insert(worker.to_string(), value);
    }
    let mut value = serde_json::to_value(NegotiationView { proposals: BTreeMap::new(), ..view })?;
    value["proposals"] = Value::Object(proposals);
    #[expect(clippy::cast_precision_loss, reason = "seconds with enough digits")]
    let seconds = now.as_millis() as f64 / 1000.0;
    value["timestamp"] = json!(seconds);
    value["user_prompt"] = json!(prompt);
    Ok(value)
}
