//! Awarding: from an earlier negotiation, or from a request in one go.

use std::collections::BTreeMap;

use protocol::award::Receipt;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::{Digest, JobId, NegotiationId, ProposalId, WorkerId};
use protocol::job::{CommandSpec, Job, JobSpec, JobState, Observed};
use protocol::negotiation::{Mode, Negotiation, NegotiationView, Stage};
use protocol::proposal::Promises;
use protocol::request::Request;
use protocol::requirement::Requirement;
use protocol::understanding::Understanding;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Caller;
use crate::flow::Performance;
use crate::hub::Hub;
use crate::principal::Principal;
use crate::store::Idempotent;

/// What to award, and to whom.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DispatchArguments {
    /// An earlier negotiation; then of the request only `job` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negotiation_id: Option<NegotiationId>,
    /// One of its proposals, instead of the selected one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal_id: Option<ProposalId>,
    /// Ask and award only this worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// 8 to 64 of `[A-Za-z0-9_-]`; the same key with the same arguments gives the same job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What to find a place for.
    #[serde(flatten)]
    pub request: Request,
}

/// What became of it. Without a receipt nothing could run the work.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DispatchAnswer {
    /// The negotiation behind it.
    #[serde(flatten)]
    pub negotiation: NegotiationView,
    /// The worker's answer to the award.
    pub receipt: Option<Receipt>,
    /// The job.
    pub job_id: Option<JobId>,
}

/// What to run: what was stated, or the named software without a command line, which only a simulated
/// site accepts.
fn job_of(stated: Option<&JobSpec>, understanding: &Understanding) -> Result<JobSpec, ErrorBody> {
    if let Some(job) = stated.or(understanding.job.as_ref()) {
        return Ok(job.clone());
    }
    let software = understanding.requirement.software.first().map(|need| need.name.clone());
    if software.is_none() && understanding.requirement == Requirement::default() {
        let message = "the request names no work to run; state a command, a backtest or software";
        return Err(ErrorBody::new(ErrorCode::JobIncomplete, message));
    }
    let limit = understanding.requirement.time.duration_seconds;
    let spec = CommandSpec { software, time_limit_seconds: limit, ..CommandSpec::default() };
    Ok(JobSpec::Command(spec))
}

impl Hub {
    pub(super) async fn dispatch_job(
        &self,
        principal: &Principal,
        arguments: DispatchArguments,
        caller: &Caller,
    ) -> Result<DispatchAnswer, ErrorBody> {
        let digest = Digest::of(serde_json::to_string(&arguments).unwrap_or_default().as_bytes());
        if let Some(key) = &arguments.idempotency_key
            && let Some(known) = self.known(principal, key, &digest).await?
        {
            return Ok(known);
        }
        let negotiation = match &arguments.negotiation_id {
            Some(id) => {
                let negotiation = self.find_negotiation(principal, id).await?;
                if !matches!(negotiation.stage, Stage::Decided | Stage::Refused) {
                    let message = format!("negotiation {id} is still being decided or has an award already");
                    return Err(ErrorBody::new(ErrorCode::State, message));
                }
                negotiation
            }
            None => {
                let mut request = arguments.request.clone();
                request.workers.splice(0..0, arguments.worker_id.clone());
                intake::check(&request)?;
                let understanding = intake::understand(&request, &self.vocabulary(), self.now());
                // The call names the job, so that what runs is what was offered on.
                request.job = Some(job_of(arguments.request.job.as_ref(), &understanding)?);
                self.negotiate(principal, request, Mode::Negotiate, true, caller).await?
            }
        };
        let job = job_of(arguments.request.job.as_ref(), &negotiation.understanding)?;
        let worker = named_worker(&negotiation, arguments.proposal_id.as_ref())?;
        let chosen = negotiation.selection.as_ref().and_then(|selection| selection.worker_id.clone());
        if worker.is_none() && chosen.is_none() {
            return Ok(answer(negotiation));
        }
        let job_id = JobId::mint(self.draw());
        let idempotent =
            arguments.idempotency_key.map(|key| Idempotent { key, digest, job_id: job_id.clone() });
        let id = negotiation.negotiation_id.clone();
        let job = Job {
            job_id,
            kind: job.kind(),
            state: JobState::Negotiating,
            stale: false,
            worker_id: None,
            negotiation_id: Some(id.clone()),
            owner: principal.id.clone(),
            created_at: self.now(),
            ended_at: None,
            spec: job,
            attempts: Vec::new(),
            promised: Promises::default(),
            observed: Observed::default(),
            metrics: BTreeMap::new(),
            artifacts: Vec::new(),
            error: None,
        };
        let performance = Performance::recover(self, id.clone(), caller.clone()).await?;
        let performance = performance
            .ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no negotiation {id}")))?;
        performance.award(job, worker, idempotent).await?;
        Ok(answer(self.find_negotiation(principal, &id).await?))
    }

    /// The answer that an idempotency key already has.
    async fn known(
        &self,
        principal: &Principal,
        key: &str,
        digest: &Digest,
    ) -> Result<Option<DispatchAnswer>, ErrorBody> {
        let fits = (8..=64).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !fits {
            let message = "idempotency_key must be 8 to 64 letters, digits, '-' or '_'";
            return Err(ErrorBody::new(ErrorCode::Field, message));
        }
        let known = self.store().idempotent(principal.id.clone(), key.to_owned()).await;
        let Some((earlier, job_id)) = known.map_err(|e| e.outward())? else { return Ok(None) };
        if earlier != *digest {
            let message = "the idempotency key was used for another request; use a new one";
            return Err(ErrorBody::new(ErrorCode::IdempotencyConflict, message));
        }
        let job = self.find_job(principal, &job_id).await?;
        let Some(id) = job.negotiation_id else { return Ok(None) };
        Ok(Some(answer(self.find_negotiation(principal, &id).await?)))
    }
}

/// The worker of the proposal that the client names.
fn named_worker(
    negotiation: &Negotiation,
    named: Option<&ProposalId>,
) -> Result<Option<WorkerId>, ErrorBody> {
    let Some(named) = named else { return Ok(None) };
    let of_named = negotiation
        .proposals
        .iter()
        .find(|(_, reply)| reply.proposal().is_some_and(|proposal| proposal.proposal_id == *named));
    let Some((worker, _)) = of_named else {
        let message = format!("negotiation {} has no proposal {named}", negotiation.negotiation_id);
        return Err(ErrorBody::new(ErrorCode::ProposalUnknown, message));
    };
    let passed = negotiation.evaluations.get(worker).is_some_and(|evaluation| evaluation.gate.passed);
    if !passed {
        let message = format!("the proposal of {worker} did not pass its gates; see explain_negotiation");
        return Err(ErrorBody::new(ErrorCode::NoWorker, message));
    }
    Ok(Some(worker.clone()))
}

fn answer(negotiation: Negotiation) -> DispatchAnswer {
    DispatchAnswer {
        receipt: negotiation.receipt.clone(),
        job_id: negotiation.job_id.clone(),
        negotiation: NegotiationView::from(negotiation),
    }
}
