//! Asking one worker: a call out, a proposal back, bounded in time and size. A worker that is slow,
//! dead or hostile costs its own answer and nothing else.

use std::sync::Arc;

use protocol::call::Call;
use protocol::error::ErrorCode;
use protocol::ids::WorkerId;
use protocol::proposal::{Outcome, Proposal, Reply};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use transport::host::{Object, ToolOutcome};
use transport::link::CallOptions;

use crate::fleet::Member;
use crate::hub::Hub;
use crate::predecessor;

/// The most bytes that are read of one proposal.
const PROPOSAL_LIMIT: usize = 64 * 1024;
/// The same for a proposal with its trace.
const VERBOSE_LIMIT: usize = 512 * 1024;

/// One worker and what it is asked.
pub struct Asked {
    /// The worker.
    pub member: Arc<Member>,
    /// Its call.
    pub call: Call,
}

#[derive(Deserialize)]
struct Answer {
    proposal: Proposal,
}

impl Hub {
    /// Asks one worker; always answers by the deadline.
    pub(crate) async fn ask_one(&self, asked: Asked, deadline: Instant) -> (WorkerId, Reply) {
        let Asked { member, mut call } = asked;
        let worker_id = member.particulars.worker_id.clone();
        // Waiting for a place in the air counts against the deadline like everything else.
        let place = tokio::time::timeout_at(deadline, self.flights().clone().acquire_owned()).await;
        let Ok(Ok(_place)) = place else {
            let message = "too many calls were in flight; the worker was not asked";
            return (worker_id, Reply::missing(Outcome::NotAsked, ErrorCode::Busy, message));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        call.deadline_seconds = protocol::units::Seconds::saturating(left.as_secs_f64());
        let limit = if call.verbose { VERBOSE_LIMIT } else { PROPOSAL_LIMIT };
        let options = CallOptions::until(deadline).limit(limit).repeatable();
        let is_legacy = member.particulars.key.is_none();
        let arguments = if is_legacy {
            json!({ "request": predecessor::render_call(&call) })
        } else {
            json!({ "call": call })
        };
        let arguments: Object = arguments.as_object().cloned().unwrap_or_default();
        let reply = match member.link.call("ask_secretary", &arguments, options).await {
            Ok(outcome) if is_legacy => {
                // While its model thinks it answers nothing else: this is its sign of life.
                member.heard(self.now(), None);
                predecessor::read_proposal(&call, &outcome)
            }
            Ok(outcome) => read_proposal(&call, outcome),
            Err(error) => Reply::missing(error.outcome(), error.code(), error.to_string()),
        };
        (worker_id, reply)
    }
}

/// Reads a typed proposal; its id must be the one that the call asked for.
fn read_proposal(call: &Call, outcome: ToolOutcome) -> Reply {
    if outcome.is_error {
        return worker_error(&outcome);
    }
    let Some(structured) = outcome.structured else {
        let message = "the answer has no structured content";
        return Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, message);
    };
    match serde_json::from_value::<Answer>(structured) {
        Ok(answer) if answer.proposal.proposal_id == call.proposal_id => {
            Reply::Proposal(Arc::new(answer.proposal))
        }
        Ok(_) => {
            let message = "the proposal carries another proposal's id";
            Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, message)
        }
        Err(error) => {
            let message = format!("the proposal does not fit: {error}");
            Reply::missing(Outcome::BadSchema, ErrorCode::UpstreamBad, message)
        }
    }
}

/// The worker's own error, passed on.
pub fn worker_error(outcome: &ToolOutcome) -> Reply {
    let structured = outcome.structured.as_ref().and_then(|value| value.get("error"));
    let body = structured.and_then(|error| serde_json::from_value(error.clone()).ok());
    let body: protocol::error::ErrorBody = body.unwrap_or_else(|| {
        let said: String =
            outcome.first_text().unwrap_or("the worker gave no reason").chars().take(500).collect();
        protocol::error::ErrorBody::new(ErrorCode::UpstreamBad, said)
    });
    Reply::missing(Outcome::WorkerError, body.code, body.message)
}
