//! Asking and choosing: a request becomes an understanding, calls, proposals, evaluations, a selection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use negotiation::evaluate::{EvaluationInput, evaluate};
use negotiation::explain::{Explanation, explain};
use negotiation::flow::Judgement;
use negotiation::method::Method;
use negotiation::select::{UnknownStrategy, select, strategies};
use negotiation::trust::{as_of, availability_evidence, claim_evidence};
use protocol::call::{Call, JobOutline};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::evaluation::{Evaluation, Reason, Selection};
use protocol::factor::Factor;
use protocol::facts::{Allocation, Facts};
use protocol::fleet::WorkerState;
use protocol::ids::{NegotiationId, ProposalId, WorkerId};
use protocol::negotiation::{Mode, Negotiation, NegotiationView, Stage};
use protocol::proposal::{ReasonCode, Reply};
use protocol::request::Request;
use protocol::requirement::Requirement;
use protocol::trust::{TrustEvidence, TrustRecord};
use protocol::understanding::Weights;
use protocol::units::{Seconds, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Caller;
use super::jobs::page_limit;
use crate::ask::Asked;
use crate::fleet::Member;
use crate::flow::{Performance, gone};
use crate::hub::Hub;
use crate::principal::Principal;
use crate::store::NegotiationRow;

/// Seconds until the answer is due unless the request says otherwise.
const DEFAULT_DEADLINE: u32 = 10;
/// What a deadline may be.
const DEADLINES: std::ops::RangeInclusive<f64> = 0.1..=600.0;

/// What to find a place for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NegotiateArguments {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// `satisfy` asks only, `select` also chooses (the default).
    pub mode: Option<AskMode>,
    /// Whether workers keep capacity for their proposals, for a dispatch_job that follows.
    pub hold: bool,
}

/// How far asking goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AskMode {
    /// Ask only.
    Satisfy,
    /// Ask and choose.
    Select,
}

/// Choose again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectArguments {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
    /// Strategies, tried in order until one chooses.
    #[serde(default)]
    pub strategies: Vec<String>,
}

/// What to explain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainArguments {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
    /// Only this worker.
    #[serde(default)]
    pub worker_id: Option<WorkerId>,
}

/// Names a negotiation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NegotiationArguments {
    /// The negotiation.
    pub negotiation_id: NegotiationId,
}

/// Which negotiations to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NegotiationsArguments {
    /// At most this many, from 1 to 1000; 100 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// A list of negotiations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NegotiationList {
    /// Newest first.
    pub items: Vec<NegotiationRow>,
}

/// What the hub knows beside the answers when it judges them.
struct Knowledge {
    factors: Vec<Factor>,
    truth: BTreeMap<WorkerId, Arc<Facts>>,
    trust: BTreeMap<WorkerId, TrustRecord>,
    known_taken: BTreeSet<ProposalId>,
    last_chosen: BTreeMap<WorkerId, Timestamp>,
}

impl Hub {
    pub(super) async fn negotiate_job(
        &self,
        principal: &Principal,
        arguments: NegotiateArguments,
        caller: &Caller,
    ) -> Result<NegotiationView, ErrorBody> {
        let mode = match arguments.mode {
            Some(AskMode::Satisfy) => Mode::Satisfy,
            Some(AskMode::Select) | None => Mode::Select,
        };
        let hold = arguments.hold;
        let negotiation = self.negotiate(principal, arguments.request, mode, hold, caller).await?;
        Ok(NegotiationView::from(negotiation))
    }

    /// Asks the fleet, judges the answers, and chooses unless the mode is to ask only.
    pub(crate) async fn negotiate(
        &self,
        principal: &Principal,
        request: Request,
        mode: Mode,
        hold: bool,
        caller: &Caller,
    ) -> Result<Negotiation, ErrorBody> {
        intake::check(&request)?;
        check_strategies(&request.strategies)?;
        let seconds = deadline_seconds(&request)?;
        for worker in &request.workers {
            if self.fleet().get(worker).is_none() {
                return Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no worker {worker}")));
            }
        }
        let created_at = self.now();
        let understanding = intake::understand(&request, &self.vocabulary(), created_at);
        let mut negotiation = Negotiation {
            negotiation_id: NegotiationId::mint(self.draw()),
            owner: principal.id.clone(),
            created_at,
            mode,
            stage: Stage::Asking,
            request,
            understanding,
            audit_mode: self.audit_mode(),
            as_of_tick: self.tick(),
            proposals: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            excluded: BTreeMap::new(),
            selection: None,
            receipt: None,
            job_id: None,
            elapsed_seconds: Seconds::ZERO,
        };
        let (candidates, excluded) = self.candidates(&negotiation);
        negotiation.excluded = excluded;
        let hold = hold.then(|| self.hold());
        let asked = self.calls(&negotiation, candidates, seconds, hold);
        let mut performance = Performance::new(self.clone(), negotiation, caller.clone());
        // A task of its own: a client that goes away drops this call, not the end of the negotiation.
        let asking = self.tasks().spawn(async move {
            performance.ask(asked, seconds).await?;
            Ok::<_, ErrorBody>(performance.into_negotiation())
        });
        let negotiation = asking.await.map_err(|error| {
            tracing::error!(%error, "a negotiation ended in a way that was not foreseen");
            ErrorBody::new(ErrorCode::Internal, "the negotiation ended in a way that was not foreseen")
        })??;
        if caller.cancelled.is_cancelled() {
            return Err(gone());
        }
        Ok(marked(negotiation))
    }

    /// Audits, evaluates and, unless the mode is to ask only, selects.
    pub(crate) async fn judge(
        &self,
        negotiation: &Negotiation,
        replies: &BTreeMap<WorkerId, Reply>,
    ) -> Result<Judgement, ErrorBody> {
        let knowledge = self.knowledge(negotiation, replies).await?;
        let input = input(negotiation, replies, &knowledge);
        let evaluations = evaluate(&input);
        let selection = if negotiation.mode == Mode::Satisfy {
            None
        } else {
            Some(choose(negotiation, &input, &evaluations, &negotiation.request.strategies)?)
        };
        let evidence = evidence(&negotiation.negotiation_id, replies, &evaluations, self.now());
        Ok(Judgement { evaluations, selection, evidence })
    }

    /// The workers to ask, and for all others why not.
    fn candidates(&self, negotiation: &Negotiation) -> (Vec<Arc<Member>>, BTreeMap<WorkerId, Vec<Reason>>) {
        let mut candidates = Vec::new();
        let mut excluded = BTreeMap::new();
        let named = &negotiation.request.workers;
        let requirement = &negotiation.understanding.requirement;
        for member in self.fleet().members() {
            let particulars = &member.particulars;
            let id = &particulars.worker_id;
            let mut reasons = Vec::new();
            let mut add = |code, wanted: &str, had: String| {
                reasons.push(Reason { code, wanted: wanted.to_owned(), had });
            };
            if !named.is_empty() && !named.contains(id) {
                add(ReasonCode::NotNamed, "the workers that the request names", id.to_string());
            }
            let state = self.fleet().state(&member);
            if matches!(state, WorkerState::Offline | WorkerState::Draining | WorkerState::Suspect) {
                add(ReasonCode::NotOnline, "an online worker", state.to_string());
            }
            if !particulars.manifest.has_secretary {
                add(ReasonCode::NoProposal, "a secretary", "none".to_owned());
            }
            if let Some(job) = &negotiation.understanding.job
                && !particulars.manifest.job_kinds.contains(&job.kind())
            {
                let kinds: Vec<String> =
                    particulars.manifest.job_kinds.iter().map(ToString::to_string).collect();
                add(ReasonCode::JobKindUnsupported, &job.kind().to_string(), kinds.join(", "));
            }
            reasons.extend(matching::unmet::unmet_manifest(
                requirement,
                id,
                &particulars.labels,
                &particulars.manifest,
            ));
            if reasons.is_empty() {
                candidates.push(member);
            } else {
                excluded.insert(id.clone(), reasons);
            }
        }
        (candidates, excluded)
    }

    fn calls(
        &self,
        negotiation: &Negotiation,
        candidates: Vec<Arc<Member>>,
        deadline_seconds: Seconds,
        hold_seconds: Option<Seconds>,
    ) -> Vec<Asked> {
        let understanding = &negotiation.understanding;
        let factors = factors(&understanding.requirement, &understanding.weights);
        let job = understanding.job.as_ref().map(|job| JobOutline { kind: job.kind(), digest: job.digest() });
        let call = |_: &Arc<Member>| Call {
            negotiation_id: negotiation.negotiation_id.clone(),
            proposal_id: ProposalId::mint(self.draw()),
            requirement: understanding.requirement.clone(),
            factors: factors.clone(),
            job: job.clone(),
            deadline_seconds,
            hold_seconds,
            as_of_tick: negotiation.as_of_tick,
            verbose: negotiation.request.verbose,
        };
        candidates.into_iter().map(|member| Asked { call: call(&member), member }).collect()
    }

    /// Takes note of the holds that proposals came with, so that the truth of mock sites stays known.
    pub(crate) fn note_holds(&self, negotiation: &Negotiation, replies: &BTreeMap<WorkerId, Reply>) {
        for (worker, reply) in replies {
            if let Some(proposal) = reply.proposal()
                && let Some(until) = proposal.hold_until
            {
                let allocation = self.allocation_of(worker, &negotiation.understanding.requirement);
                self.taken().hold(worker, &proposal.proposal_id, allocation, until);
            }
        }
    }

    /// What a requirement takes at a mock site; nothing is known of a real one.
    pub(crate) fn allocation_of(&self, worker: &WorkerId, requirement: &Requirement) -> Allocation {
        let site = self.fleet().get(worker).and_then(|member| member.site.clone());
        site.and_then(|site| {
            matching::allocation::allocation(requirement, &site.truth_for(requirement, 0, &[]))
        })
        .unwrap_or_default()
    }

    async fn knowledge(
        &self,
        negotiation: &Negotiation,
        replies: &BTreeMap<WorkerId, Reply>,
    ) -> Result<Knowledge, ErrorBody> {
        let now = self.now();
        let understanding = &negotiation.understanding;
        let mut truth = BTreeMap::new();
        let mut known_taken = BTreeSet::new();
        for (worker, reply) in replies {
            let Some(proposal) = reply.proposal() else { continue };
            let Some(site) = self.fleet().get(worker).and_then(|member| member.site.clone()) else {
                continue;
            };
            let listed = proposal.as_of.as_ref().map_or(&[][..], |as_of| &as_of.taken);
            let taken = self.taken().seen_by(worker, listed, negotiation.created_at);
            known_taken.extend(taken.iter().map(|(id, _)| id.clone()));
            let facts = site.truth_for(&understanding.requirement, negotiation.as_of_tick, &taken);
            truth.insert(worker.clone(), Arc::new(facts));
        }
        let trust = self.store().trust().await.map_err(|e| e.outward())?;
        Ok(Knowledge {
            factors: factors(&understanding.requirement, &understanding.weights),
            truth,
            trust: trust.into_iter().map(|(id, record)| (id, as_of(&record, now))).collect(),
            known_taken,
            last_chosen: self.store().last_chosen().await.map_err(|e| e.outward())?,
        })
    }

    pub(crate) async fn find_negotiation(
        &self,
        principal: &Principal,
        id: &NegotiationId,
    ) -> Result<Negotiation, ErrorBody> {
        let found = self.store().negotiation(principal.sees(), id.clone()).await.map_err(|e| e.outward())?;
        let missing = || ErrorBody::new(ErrorCode::NotFound, format!("there is no negotiation {id}"));
        found.map(marked).ok_or_else(missing)
    }

    pub(super) async fn get_negotiation(
        &self,
        principal: &Principal,
        arguments: NegotiationArguments,
    ) -> Result<Negotiation, ErrorBody> {
        self.find_negotiation(principal, &arguments.negotiation_id).await
    }

    pub(super) async fn select_job(
        &self,
        principal: &Principal,
        arguments: SelectArguments,
    ) -> Result<NegotiationView, ErrorBody> {
        let mut negotiation = self.find_negotiation(principal, &arguments.negotiation_id).await?;
        let knowledge = self.knowledge(&negotiation, &negotiation.proposals).await?;
        let input = input(&negotiation, &negotiation.proposals, &knowledge);
        let selection = choose(&negotiation, &input, &negotiation.evaluations, &arguments.strategies)?;
        negotiation.selection = Some(selection);
        Ok(NegotiationView::from(negotiation))
    }

    pub(super) async fn explain_negotiation(
        &self,
        principal: &Principal,
        arguments: ExplainArguments,
    ) -> Result<Explanation, ErrorBody> {
        let negotiation = self.find_negotiation(principal, &arguments.negotiation_id).await?;
        if let Some(worker) = &arguments.worker_id
            && !negotiation.proposals.contains_key(worker)
            && !negotiation.excluded.contains_key(worker)
        {
            let message = format!("worker {worker} was not part of this negotiation");
            return Err(ErrorBody::new(ErrorCode::NotFound, message));
        }
        let mut explanation = explain(&negotiation);
        if let Some(worker) = &arguments.worker_id {
            explanation.workers.retain(|id, _| id == worker);
        }
        Ok(explanation)
    }

    pub(super) async fn list_negotiations(
        &self,
        principal: &Principal,
        arguments: NegotiationsArguments,
    ) -> Result<NegotiationList, ErrorBody> {
        let limit = page_limit(arguments.limit)?;
        let items = self.store().negotiations(principal.sees(), limit).await.map_err(|e| e.outward())?;
        Ok(NegotiationList { items })
    }
}

fn deadline_seconds(request: &Request) -> Result<Seconds, ErrorBody> {
    let seconds = request.deadline_seconds.unwrap_or_else(|| Seconds::from(DEFAULT_DEADLINE));
    if DEADLINES.contains(&seconds.get()) {
        Ok(seconds)
    } else {
        let message = format!("deadline_seconds is {}, must be from 0.1 to 600", seconds.get());
        Err(ErrorBody::new(ErrorCode::Field, message))
    }
}

fn factors(requirement: &Requirement, weights: &Weights) -> Vec<Factor> {
    matching::factors::factors(requirement, weights.0.keys().copied())
}

/// Marks the factor values that the hub has checked itself.
fn marked(mut negotiation: Negotiation) -> Negotiation {
    for (worker, reply) in &mut negotiation.proposals {
        if let (Reply::Proposal(proposal), Some(judged)) = (reply, negotiation.evaluations.get(worker)) {
            negotiation::audit::mark_verified(Arc::make_mut(proposal), &judged.audit);
        }
    }
    negotiation
}

fn input<'a>(
    negotiation: &'a Negotiation,
    replies: &'a BTreeMap<WorkerId, Reply>,
    knowledge: &'a Knowledge,
) -> EvaluationInput<'a> {
    EvaluationInput {
        requirement: &negotiation.understanding.requirement,
        factors: &knowledge.factors,
        weights: &negotiation.understanding.weights,
        mode: negotiation.audit_mode,
        method: Method::default(),
        proposals: replies,
        truth: &knowledge.truth,
        trust: &knowledge.trust,
        named: &negotiation.request.workers,
        known_taken: &knowledge.known_taken,
        last_chosen: &knowledge.last_chosen,
    }
}

fn choose(
    negotiation: &Negotiation,
    input: &EvaluationInput<'_>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
    strategies: &[String],
) -> Result<Selection, ErrorBody> {
    select(&negotiation.negotiation_id, strategies, input, evaluations).map_err(|e| unknown_strategy(&e))
}

/// Refuses a strategy that does not exist before anybody is asked.
fn check_strategies(names: &[String]) -> Result<(), ErrorBody> {
    let known: Vec<&'static str> = strategies().iter().map(|info| info.name).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let shown = name.chars().take(64).collect();
            Err(unknown_strategy(&UnknownStrategy { shown, known }))
        }
        None => Ok(()),
    }
}

fn unknown_strategy(error: &UnknownStrategy) -> ErrorBody {
    ErrorBody::new(ErrorCode::Strategy, error.to_string())
}

/// What the answers taught about the workers.
fn evidence(
    id: &NegotiationId,
    replies: &BTreeMap<WorkerId, Reply>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
    now: Timestamp,
) -> Vec<TrustEvidence> {
    replies
        .iter()
        .flat_map(|(worker, reply)| {
            let claims = evaluations
                .get(worker)
                .and_then(|evaluation| claim_evidence(worker, id, &evaluation.audit, now));
            [availability_evidence(worker, id, reply, now), claims]
        })
        .flatten()
        .collect()
}
