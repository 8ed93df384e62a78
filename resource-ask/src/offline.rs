//! Choosing among proposals that are in a file: the same judgement as the hub's, without the hub.
//!
//! A file holds what `satisfy --json` printed, or what a predecessor's `negotiate_job` answered. With
//! evaluations in it and no other wish, they are used as they are. Otherwise the proposals are judged
//! here, with the trust of newcomers and without truth to compare them with; so what the hub found with
//! the help of truth and trust stays as it found it: a liar does not win by being judged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use intake::Vocabulary;
use negotiation::evaluate::{EvaluationInput, evaluate};
use negotiation::method::Method;
use protocol::error::ErrorCode;
use protocol::evaluation::{AuditMode, Evaluation, Reason};
use protocol::ids::{Digest, NegotiationId, ProposalId, WorkerId};
use protocol::negotiation::NegotiationView;
use protocol::proposal::{Outcome, ReasonCode, Reply};
use protocol::request::Request;
use protocol::understanding::{Understanding, Weights};
use protocol::units::{Seconds, Timestamp};
use serde_json::Value;

use crate::arguments::Asking;
use crate::failure::Failure;
use crate::request;

/// Reads proposals, judges them as far as that is not done, and chooses.
pub fn select(asking: &Asking, text: &str, now: Timestamp) -> Result<NegotiationView, Failure> {
    let document: Value = serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("the file of proposals is not JSON: {error}")))?;
    let proposals = read_proposals(&document)?;
    let wish = wish(asking, &document)?;
    let understanding = match &wish {
        Wish::AsStated => stated(&document)?,
        Wish::OtherIntent(request) | Wish::OtherNeed(request) => {
            intake::understand(request, &Vocabulary::shipped(), now)
        }
    };
    let weights = understanding.weights.clone();
    let factors = matching::factors::factors(&understanding.requirement, weights.0.keys().copied());
    let found = read_evaluations(&document)?;
    let as_they_are = wish == Wish::AsStated && proposals.keys().all(|worker| found.contains_key(worker));
    let settled: BTreeMap<WorkerId, Evaluation> = found
        .into_iter()
        .filter(|(worker, _)| proposals.contains_key(worker))
        .filter(|(_, evaluation)| as_they_are || stays_failed(evaluation, &wish))
        .collect();
    let open: BTreeMap<WorkerId, Reply> = proposals
        .iter()
        .filter(|(worker, _)| as_they_are || !settled.contains_key(*worker))
        .map(|(worker, reply)| (worker.clone(), reply.clone()))
        .collect();
    let (truth, trust) = (BTreeMap::new(), BTreeMap::new());
    let (taken, last_chosen) = (BTreeSet::new(), BTreeMap::new());
    let input = EvaluationInput {
        requirement: &understanding.requirement,
        factors: &factors,
        weights: &weights,
        mode: AuditMode::Before,
        method: Method::default(),
        proposals: &open,
        truth: &truth,
        trust: &trust,
        named: &asking.worker,
        known_taken: &taken,
        last_chosen: &last_chosen,
    };
    let evaluations =
        if as_they_are { settled } else { evaluate(&input).into_iter().chain(settled).collect() };
    let negotiation_id = negotiation_id(&document, text);
    let selection = negotiation::select::select(&negotiation_id, &asking.select, &input, &evaluations)
        .map_err(|unknown| Failure::usage(unknown.to_string()))?;
    Ok(NegotiationView {
        negotiation_id,
        requirement: understanding.requirement,
        intent: understanding.intent,
        weights,
        not_understood: understanding.not_understood,
        missing: understanding.missing,
        proposals,
        evaluations,
        excluded: excluded(&document),
        elapsed_seconds: Seconds::ZERO,
        selection: Some(selection),
    })
}

/// By what to choose.
#[derive(Debug, Clone, PartialEq)]
enum Wish {
    /// What the file says was understood.
    AsStated,
    /// The same need, weighed in another way.
    OtherIntent(Request),
    /// Another need: that of the command line, or the predecessor's prompt, which is all that its file
    /// says about the need.
    OtherNeed(Request),
}

fn wish(asking: &Asking, document: &Value) -> Result<Wish, Failure> {
    if asking.prompt.is_some() || asking.request.is_some() {
        return request::build(asking, &[]).map(Wish::OtherNeed);
    }
    let intent = asking.intent.map(Into::into);
    let Some(requirement) = document.get("requirement") else {
        let prompt = document.get("user_prompt").and_then(Value::as_str).map(str::to_owned);
        return Ok(Wish::OtherNeed(Request { prompt, intent, ..Request::default() }));
    };
    if intent.is_none() {
        return Ok(Wish::AsStated);
    }
    let requirement = serde_json::from_value(requirement.clone())
        .map_err(|error| Failure::usage(format!("the requirement in the file cannot be read: {error}")))?;
    Ok(Wish::OtherIntent(Request { requirement: Some(requirement), intent, ..Request::default() }))
}

/// Whether a gate that failed at the hub fails here too. For the same need every one does; for another
/// need those that speak of the worker rather than of the need.
fn stays_failed(evaluation: &Evaluation, wish: &Wish) -> bool {
    let about_the_worker = |code| matches!(code, ReasonCode::ClaimFalse | ReasonCode::Quarantined);
    match wish {
        Wish::AsStated | Wish::OtherIntent(_) => !evaluation.gate.passed,
        Wish::OtherNeed(_) => evaluation.gate.failed.iter().any(|reason| about_the_worker(reason.code)),
    }
}

/// What the file says was understood.
fn stated(document: &Value) -> Result<Understanding, Failure> {
    let field = |name: &str| document.get(name).cloned();
    let bad = |name: &'static str| {
        move |error: serde_json::Error| {
            Failure::usage(format!("{name} in the file of proposals cannot be read: {error}"))
        }
    };
    let mut understanding = Understanding::default();
    if let Some(requirement) = field("requirement") {
        understanding.requirement = serde_json::from_value(requirement).map_err(bad("requirement"))?;
    }
    if let Some(intent) = field("intent") {
        understanding.intent = serde_json::from_value(intent).map_err(bad("intent"))?;
    }
    understanding.weights = match field("weights") {
        Some(weights) => serde_json::from_value(weights).map_err(bad("weights"))?,
        None => default_weights(&understanding),
    };
    if let Some(parts) = field("not_understood") {
        understanding.not_understood = serde_json::from_value(parts).map_err(bad("not_understood"))?;
    }
    Ok(understanding)
}

/// The weights that intake gives to a requirement and an intent.
fn default_weights(understanding: &Understanding) -> Weights {
    let request = Request {
        requirement: Some(understanding.requirement.clone()),
        intent: Some(understanding.intent),
        ..Request::default()
    };
    intake::understand(&request, &Vocabulary::shipped(), Timestamp::default()).weights
}

/// The evaluations in the file; none where it has none.
fn read_evaluations(document: &Value) -> Result<BTreeMap<WorkerId, Evaluation>, Failure> {
    let Some(evaluations) = document.get("evaluations") else { return Ok(BTreeMap::new()) };
    serde_json::from_value(evaluations.clone())
        .map_err(|error| Failure::usage(format!("the evaluations in the file cannot be read: {error}")))
}

fn excluded(document: &Value) -> BTreeMap<WorkerId, Vec<Reason>> {
    document.get("excluded").cloned().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
}

/// The file's own id, or one made from its text, so that drawn lots are the same each time.
fn negotiation_id(document: &Value, text: &str) -> NegotiationId {
    let stated = document.get("negotiation_id").and_then(Value::as_str);
    stated.and_then(|id| NegotiationId::parse(id).ok()).unwrap_or_else(|| {
        let digest = Digest::of(text.as_bytes());
        let low = u128::from_str_radix(&digest.as_str()[digest.as_str().len() - 32..], 16).unwrap_or(0);
        NegotiationId::mint(low)
    })
}

/// The proposals under `proposals`, or the whole document when it is a map of them.
fn read_proposals(document: &Value) -> Result<BTreeMap<WorkerId, Reply>, Failure> {
    let entries = document.get("proposals").unwrap_or(document).as_object();
    let entries = entries
        .filter(|entries| entries.values().all(Value::is_object))
        .ok_or_else(|| Failure::usage("the file has no `proposals`: give the JSON that `satisfy` prints"))?;
    entries
        .iter()
        .map(|(name, entry)| {
            // A predecessor's worker may have a name that ours cannot have.
            let worker = WorkerId::parse(name.as_str()).unwrap_or_else(|_| WorkerId::from_host_name(name));
            Ok((worker, read_reply(name, entry)))
        })
        .collect()
}

/// A typed reply, a predecessor's text, or why there is neither.
fn read_reply(name: &str, entry: &Value) -> Reply {
    match serde_json::from_value::<Reply>(entry.clone()) {
        Ok(reply) => reply,
        Err(_) => read_legacy(name, entry),
    }
}

/// `{type, data: {proposal: TEXT}, status}`, where the text ends in a fenced JSON block.
fn read_legacy(name: &str, entry: &Value) -> Reply {
    let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "manifest_only" {
        return Reply::missing(Outcome::NotAsked, ErrorCode::UpstreamBad, "the worker has no secretary");
    }
    if kind == "error" {
        let message = entry.get("message").and_then(Value::as_str).unwrap_or("no message");
        return Reply::missing(Outcome::WorkerError, ErrorCode::UpstreamBad, message);
    }
    let text = entry.pointer("/data/proposal").or_else(|| entry.get("proposal")).and_then(Value::as_str);
    let digest = Digest::of(name.as_bytes());
    let proposal = ProposalId::parse(format!("text-{}", &digest.as_str()[7..39]))
        .map_err(|error| error.to_string())
        .and_then(|id| {
            protocol::text::parse(text.unwrap_or_default(), id).map_err(|error| error.to_string())
        });
    match proposal {
        Ok(proposal) => Reply::Proposal(Arc::new(proposal)),
        Err(why) => Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, why),
    }
}

#[cfg(test)]
mod tests;
