//! The predecessor's wire forms at the hub: calls and awards as text for its workers, their texts as
//! proposals and receipts, and the shapes that its client expects.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::award::{Award, Receipt, ReceiptStatus};
use protocol::call::Call;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::Event;
use protocol::facts::{Facts, Package};
use protocol::ids::{JobId, ProposalId, WorkerId};
use protocol::job::{AttemptNumber, AttemptReport, AttemptState, CommandSpec, JobSpec, Observed};
use protocol::negotiation::NegotiationView;
use protocol::proposal::{Outcome, Reply};
use protocol::requirement::{ComputeNeed, GpuNeed, GpuScope, Requirement};
use protocol::text;
use protocol::units::Timestamp;
use serde_json::{Map, Value, json};
use transport::host::ToolOutcome;

use crate::ask::worker_error;

/// Characters that are kept of what a predecessor's model wrote.
const SAID_LIMIT: usize = 500;
/// Why an award that a restart caught on its way is in doubt.
pub const INTERRUPTED: &str = "the hub was interrupted while it handed the award over";

/// A call as text: the requirement only, never the user's own prompt, which could give the weights away.
#[must_use]
pub fn render_call(call: &Call) -> String {
    requirement_text(&call.requirement)
}

/// An award as text: what was offered on, and what to run.
#[must_use]
pub fn render_award(award: &Award) -> String {
    let work = match &award.job {
        JobSpec::Command(spec) => command_text(spec),
        other => format!("Run this: {}", json!(other)),
    };
    format!("{} {work}", requirement_text(&award.requirement))
}

fn command_text(spec: &CommandSpec) -> String {
    let mut text = match (&spec.software, spec.argv.is_empty()) {
        (_, false) => format!("Run exactly these arguments, without a shell: {}.", json!(spec.argv)),
        (Some(software), true) => format!("Run {software}."),
        (None, true) => "Run it.".to_owned(),
    };
    if !spec.environment.is_empty() {
        text.push_str(&format!(" Set these environment variables: {}.", json!(spec.environment)));
    }
    if let Some(limit) = spec.time_limit_seconds {
        text.push_str(&format!(" Stop it after {} seconds.", limit.get()));
    }
    text
}

fn requirement_text(requirement: &Requirement) -> String {
    let needs: Vec<String> =
        [software_text(requirement), compute_text(&requirement.compute), site_text(requirement)].concat();
    let exclude = &requirement.exclude;
    let excluded = [&exclude.workload, &exclude.container, &exclude.network, &exclude.storage];
    let excluded: Vec<&str> = excluded.into_iter().flatten().map(String::as_str).collect();
    let mut text = if needs.is_empty() {
        "Can you run a job?".to_owned()
    } else {
        format!("I need {}.", needs.join(", "))
    };
    if !excluded.is_empty() {
        text.push_str(&format!(" It must not use {}.", excluded.join(" or ")));
    }
    text
}

fn software_text(requirement: &Requirement) -> Vec<String> {
    let software = requirement.software.iter().map(|need| match &need.constraint {
        Some(constraint) => format!("{} {constraint}", need.name),
        None => need.name.clone(),
    });
    software.collect()
}

fn compute_text(compute: &ComputeNeed) -> Vec<String> {
    let counts = [
        (compute.nodes, "nodes"),
        (compute.tasks, "tasks"),
        (compute.cores, "cores in total"),
        (compute.cores_per_node, "cores on each node"),
    ];
    let sizes = [
        (compute.memory_gib, "GiB of memory in total"),
        (compute.memory_gib_per_node, "GiB of memory on each node"),
    ];
    let counts = counts.into_iter().filter_map(|(count, what)| Some(format!("{} {what}", count?)));
    let sizes = sizes.into_iter().filter_map(|(size, what)| Some(format!("{} {what}", size?.get())));
    counts.chain(sizes).chain(compute.gpus.as_ref().map(gpu_text)).collect()
}

fn gpu_text(gpus: &GpuNeed) -> String {
    let optional = if gpus.optional { "optionally " } else { "" };
    let model = gpus.model.as_ref().map_or_else(String::new, |model| format!("{model} "));
    let memory = gpus.memory_gib.map_or_else(String::new, |memory| format!(" with {} GiB", memory.get()));
    let per = if gpus.per == GpuScope::Node { "on each node" } else { "in total" };
    format!("{optional}{} {model}GPUs{memory} {per}", gpus.count)
}

fn site_text(requirement: &Requirement) -> Vec<String> {
    let alternatives = [
        ("network", &requirement.network),
        ("container runtime", &requirement.container),
        ("workload manager", &requirement.workload),
    ];
    let mut needs: Vec<String> = alternatives
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(" or ")))
        .collect();
    for storage in &requirement.storage {
        let kind = storage.kind.as_deref().unwrap_or("any");
        let free = storage.free_gib.map_or_else(String::new, |free| format!(" with {} GiB free", free.get()));
        needs.push(format!("{kind} storage{free}"));
    }
    if requirement.mpi {
        needs.push("MPI".to_owned());
    }
    let time = &requirement.time;
    let times = [
        (time.duration_seconds, "a run time of"),
        (time.start_by_seconds, "a start within"),
        (time.deadline_seconds, "the result within"),
    ];
    needs
        .extend(times.into_iter().filter_map(|(time, what)| Some(format!("{what} {} seconds", time?.get()))));
    needs.extend(requirement.budget_usd.map(|budget| format!("a price of at most ${}", budget.get())));
    needs
}

/// Reads a predecessor's `{worker_id, proposal: TEXT}`.
#[must_use]
pub fn read_proposal(call: &Call, outcome: &ToolOutcome) -> Reply {
    if outcome.is_error {
        return worker_error(outcome);
    }
    let answer = json_of(outcome);
    let text = answer.as_ref().and_then(|answer| answer.get("proposal")?.as_str());
    let Some(text) = text else {
        let message = "the answer has no proposal text";
        return Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, message);
    };
    match text::parse(text, call.proposal_id.clone()) {
        Ok(proposal) => Reply::Proposal(Arc::new(proposal)),
        Err(error) => Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, error.to_string()),
    }
}

/// The receipt that a predecessor's worker gives, `{worker_id, receipt: {status, job_id, spec, reasoning}}`.
/// A refusal is one only when its secretary says so itself: after any other trouble the job may have been
/// submitted, and is in doubt.
#[must_use]
pub fn read_receipt(award: &Award, worker_id: &WorkerId, outcome: &ToolOutcome, now: Timestamp) -> Receipt {
    let answer = if outcome.is_error { None } else { json_of(outcome) };
    let receipt = answer.as_ref().and_then(|answer| answer.get("receipt"));
    let field = |name: &str| receipt.and_then(|receipt| receipt.get(name)).map_or_else(String::new, said);
    let mut read = in_doubt(award, worker_id, "", now);
    let (status, job_id) = (field("status").to_ascii_uppercase(), field("job_id"));
    match (status.as_str(), field("error").is_empty()) {
        ("SUCCESS", true) if !job_id.is_empty() => {
            read.error = Some(taken_as(worker_id, &job_id, &field("spec")));
        }
        ("FAILED", true) => {
            read.status = ReceiptStatus::Failed;
            read.error = Some(ErrorBody::new(ErrorCode::JobFailed, field("reasoning")));
        }
        _ => {
            let text = outcome.first_text().map_or_else(String::new, |text| said(&json!(text)));
            read = in_doubt(award, worker_id, &text, now);
        }
    }
    read
}

/// The receipt of an award that was or may have been sent to a predecessor's worker, without a usable
/// answer. It cannot be withdrawn, so it counts as accepted, with the reason why nobody can tell.
#[must_use]
pub fn in_doubt(award: &Award, worker_id: &WorkerId, why: &str, now: Timestamp) -> Receipt {
    unfollowed(award.job_id.clone(), worker_id, award.attempt, award.proposal_id.clone(), why, now)
}

/// The same, where only the names of the award are at hand.
#[must_use]
pub fn unfollowed(
    job_id: JobId,
    worker_id: &WorkerId,
    attempt: AttemptNumber,
    proposal_id: ProposalId,
    why: &str,
    now: Timestamp,
) -> Receipt {
    let message = format!("nobody can tell whether {worker_id}, a predecessor's worker, runs it: {why}");
    Receipt {
        status: ReceiptStatus::Success,
        job_id,
        worker_id: worker_id.clone(),
        attempt,
        proposal_id,
        received_at: now,
        error: Some(ErrorBody::new(ErrorCode::UpstreamBad, message)),
    }
}

/// Why a job that a predecessor's worker took cannot be followed, with everything by which a person
/// finds it there.
fn taken_as(worker_id: &WorkerId, job_id: &str, spec: &str) -> ErrorBody {
    let message = format!(
        "{worker_id} runs it as its job {job_id} ({spec}); a predecessor's worker cannot be asked how it goes on"
    );
    ErrorBody::new(ErrorCode::UpstreamBad, message)
}

/// The end of what the hub can know of an attempt, stored together with the receipt that says so.
#[must_use]
pub fn unknown_end(event: &Event) -> Option<Event> {
    let Event::AwardAnswered { receipt, .. } = event else { return None };
    let error = receipt.error.clone().filter(|_| receipt.status == ReceiptStatus::Success)?;
    let report = AttemptReport {
        job_id: receipt.job_id.clone(),
        attempt: receipt.attempt,
        sequence: 1,
        reported_at: receipt.received_at,
        state: AttemptState::Unknown,
        log: String::new(),
        log_offset: 0,
        metrics: Vec::new(),
        observed: Observed::default(),
        exit_code: None,
        artifacts: Vec::new(),
        error: Some(error),
    };
    let worker_id = receipt.worker_id.clone();
    Some(Event::AttemptReported { worker_id, report: Box::new(report), evidence: Vec::new() })
}

/// A tool's answer as JSON: structured, or as text.
fn json_of(outcome: &ToolOutcome) -> Option<Value> {
    let from_text = || serde_json::from_str::<Value>(outcome.first_text()?).ok();
    outcome.structured.clone().or_else(from_text)
}

/// A value that a model wrote, as one short line.
fn said(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(SAID_LIMIT).collect::<String>().trim().to_owned()
}

/// A negotiation as JSON with the predecessor's keys beside ours: `timestamp` and `user_prompt`, and
/// in each proposal `type`, `data` and `status`, or `message` where there is none.
pub fn view_value(
    mut view: NegotiationView,
    prompt: Option<&str>,
    now: Timestamp,
) -> Result<Value, serde_json::Error> {
    let mut proposals = Map::with_capacity(view.proposals.len());
    // One after the other, so that a thousand proposals are not there twice.
    for (worker, reply) in std::mem::take(&mut view.proposals) {
        let mut value = serde_json::to_value(&reply)?;
        let Some(fields) = value.as_object_mut() else { continue };
        match reply {
            Reply::Proposal(proposal) => {
                let data = json!({ "worker_id": worker, "proposal": text::render(&proposal, None) });
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
    let mut value = serde_json::to_value(view)?;
    value["proposals"] = Value::Object(proposals);
    #[expect(clippy::cast_precision_loss, reason = "seconds with enough digits")]
    let seconds = now.as_millis() as f64 / 1000.0;
    value["timestamp"] = json!(seconds);
    value["user_prompt"] = json!(prompt);
    Ok(value)
}

/// An award's outcome as the JSON text that the predecessor's client reads; to it a job that nothing
/// could run is a failed receipt with the reason.
#[must_use]
pub fn dispatch_text(answer: &Value) -> String {
    let mut receipt = answer["receipt"].clone();
    if receipt.is_null() {
        let why = answer["selection"]["explanation"].as_str().unwrap_or("nothing can run it");
        receipt = json!({ "status": "FAILED", "reasoning": why });
    }
    if let Some(fields) = receipt.as_object_mut() {
        let error = fields.get("error").and_then(|error| error.get("message")).cloned();
        if let Some(reasoning) = error {
            fields.insert("reasoning".to_owned(), reasoning);
        }
    }
    json!({ "job_id": answer["job_id"], "receipt": receipt }).to_string()
}

/// The truth of a mock site as the predecessor exports it: by category and provider.
#[must_use]
pub fn truth_by_provider(facts: &Facts) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut truth = BTreeMap::<String, BTreeMap<String, Value>>::new();
    let mut add = |category: &str, provider: &str, value: Value| {
        truth.entry(category.to_owned()).or_default().insert(provider.to_owned(), value);
    };
    for group in facts.compute.iter().flat_map(|compute| &compute.groups) {
        add("hardware", &group.name, json!(group));
    }
    if let Some(workload) = &facts.workload {
        add("workload", &workload.manager, json!(workload));
    }
    let mut packages = BTreeMap::<&str, Vec<&Package>>::new();
    for package in facts.software.iter().flatten() {
        packages.entry(&package.provider).or_default().push(package);
    }
    for (provider, packages) in packages {
        add("software", provider, json!(packages));
    }
    for runtime in facts.containers.iter().flatten() {
        add("container", &runtime.name, json!(runtime));
    }
    for fabric in facts.networks.iter().flatten() {
        add("network", &fabric.kind, json!(fabric));
    }
    for storage in facts.storage.iter().flatten() {
        add("storage", &storage.kind, json!(storage));
    }
    for mpi in facts.mpi.iter().flatten() {
        add("parallel", &mpi.name, json!(mpi));
    }
    truth
}

#[cfg(test)]
mod tests;
