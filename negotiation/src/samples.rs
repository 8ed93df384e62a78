//! Sites, requirements and proposals that several tests use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use matching::claims::claims;
use matching::factors::factors;
use matching::promises::promises;
use matching::unmet::{unmet, verdict};
use matching::values::factor_value;
use protocol::evaluation::{AuditMode, Evaluation, Selection};
use protocol::factor::{Factor, FactorName};
use protocol::facts::{
    ComputeFacts, Fabric, Facts, NodeGroup, Package, Prices, StartEstimate, WorkloadFacts,
};
use protocol::ids::{NegotiationId, ProposalId, WorkerId};
use protocol::proposal::{Constraint, FactorScore, Promises, Proposal, Reply, Verdict};
use protocol::requirement::Requirement;
use protocol::trust::TrustRecord;
use protocol::understanding::Weights;
use protocol::units::{GiB, Number, Seconds, Timestamp, Usd};

use crate::evaluate::{EvaluationInput, evaluate};
use crate::method::Method;
use crate::select::{UnknownStrategy, select};

pub(crate) fn id(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

pub(crate) fn negotiation(name: &str) -> NegotiationId {
    NegotiationId::parse(name).unwrap()
}

pub(crate) fn requirement(json: serde_json::Value) -> Requirement {
    serde_json::from_value(json).unwrap()
}

/// LAMMPS on 4 nodes for one hour.
pub(crate) fn lammps() -> Requirement {
    requirement(serde_json::json!({
        "software": [{"name": "lammps", "constraint": ">=20230802"}],
        "compute": {"nodes": 4}, "network": ["infiniband"], "time": {"duration_seconds": 3600}
    }))
}

/// 100 nodes of 64 cores, 50 of them free; LAMMPS 20230802; InfiniBand; 12 jobs wait.
pub(crate) fn cluster(node_hour_usd: f64, start_seconds: u32) -> Facts {
    let group = NodeGroup {
        name: "cpu".into(),
        nodes: 100,
        nodes_free: Some(50),
        cores_per_node: 64,
        cores_free: Some(3200),
        memory_gib_per_node: Some(GiB::from(256)),
        ..NodeGroup::default()
    };
    let start = Seconds::from(start_seconds);
    Facts {
        archetype: Some("hpc".into()),
        compute: Some(ComputeFacts { groups: vec![group] }),
        workload: Some(WorkloadFacts {
            manager: "slurm".into(),
            queue_depth: Some(12),
            start: Some(StartEstimate { p50: start, p90: start }),
            ..WorkloadFacts::default()
        }),
        software: Some(vec![Package {
            name: "lammps".into(),
            version: "20230802".into(),
            provider: "spack".into(),
            environment: None,
        }]),
        containers: Some(vec![]),
        networks: Some(vec![Fabric { kind: "infiniband".into(), gbps: Some(Number::from(100)) }]),
        storage: Some(vec![]),
        mpi: Some(vec![]),
        prices: Some(Prices {
            node_hour_usd: Some(Usd::saturating(node_hour_usd)),
            core_hour_usd: None,
            gpu_hour_usd: None,
        }),
        ..Facts::default()
    }
}

/// What a rule-based secretary says of these facts.
pub(crate) fn propose(requirement: &Requirement, factors: &[Factor], facts: &Facts) -> Proposal {
    let unmet = unmet(requirement, facts);
    let promised = promises(requirement, facts);
    let score = |factor: &Factor| {
        let value = factor_value(factor.name, requirement, facts, &promised)?;
        let score = FactorScore {
            score: Number::saturating(matching::scale::score(&factor.scale, value)),
            value: Number::saturating(value),
            unit: factor.unit.clone(),
            reason: "measured".into(),
            verified: false,
        };
        Some((factor.name, score))
    };
    Proposal {
        verdict: verdict(&unmet),
        factors: factors.iter().filter_map(score).collect(),
        promises: promised,
        claims: claims(requirement, facts),
        constraints: unmet
            .into_iter()
            .map(|reason| Constraint { code: reason.code, wanted: reason.wanted, had: reason.had })
            .collect(),
        flags: facts.flags.clone(),
        ..bare("prop-1", Verdict::Unknown)
    }
}

/// A proposal that says nothing but its verdict.
pub(crate) fn bare(proposal_id: &str, verdict: Verdict) -> Proposal {
    Proposal {
        proposal_id: ProposalId::parse(proposal_id).unwrap(),
        verdict,
        factors: BTreeMap::new(),
        promises: Promises::default(),
        claims: Vec::new(),
        constraints: Vec::new(),
        flags: Vec::new(),
        reasoning: String::new(),
        evidence: BTreeMap::new(),
        hold_until: None,
        hold_is_firm: None,
        as_of: None,
        calls: Vec::new(),
    }
}

/// A whole round: who answers what, and what the hub knows.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub requirement: Requirement,
    pub factors: Vec<Factor>,
    pub weights: Weights,
    pub mode: AuditMode,
    pub method: Method,
    pub proposals: BTreeMap<WorkerId, Reply>,
    pub truth: BTreeMap<WorkerId, Arc<Facts>>,
    pub trust: BTreeMap<WorkerId, TrustRecord>,
    pub named: Vec<WorkerId>,
    pub known_taken: BTreeSet<ProposalId>,
    pub last_chosen: BTreeMap<WorkerId, Timestamp>,
}

impl Round {
    pub(crate) fn new(requirement: Requirement) -> Self {
        let weights =
            [(FactorName::Cost, 0.5), (FactorName::StartTime, 0.3), (FactorName::NetworkBandwidth, 0.2)];
        Self {
            factors: factors(&requirement, weights.map(|(name, _)| name)),
            weights: Weights(weights.map(|(name, weight)| (name, Number::saturating(weight))).into()),
            requirement,
            mode: AuditMode::Before,
            method: Method::WeightedProduct,
            proposals: BTreeMap::new(),
            truth: BTreeMap::new(),
            trust: BTreeMap::new(),
            named: Vec::new(),
            known_taken: BTreeSet::new(),
            last_chosen: BTreeMap::new(),
        }
    }

    /// Adds a worker that answers from these facts; its truth stays unknown to the hub.
    pub(crate) fn answers(&mut self, worker: &str, facts: &Facts) -> &mut Proposal {
        let proposal = propose(&self.requirement, &self.factors, facts);
        self.says(worker, proposal)
    }

    /// Adds a worker with this proposal.
    pub(crate) fn says(&mut self, worker: &str, proposal: Proposal) -> &mut Proposal {
        let reply = self
            .proposals
            .entry(id(worker))
            .or_insert(Reply::Proposal(Arc::new(bare("prop-1", Verdict::Unknown))));
        *reply = Reply::Proposal(Arc::new(proposal));
        match reply {
            Reply::Proposal(proposal) => Arc::make_mut(proposal),
            Reply::Missing(_) => unreachable!("just written"),
        }
    }

    pub(crate) fn is_truly(&mut self, worker: &str, facts: Facts) {
        self.truth.insert(id(worker), Arc::new(facts));
    }

    pub(crate) fn input(&self) -> EvaluationInput<'_> {
        EvaluationInput {
            requirement: &self.requirement,
            factors: &self.factors,
            weights: &self.weights,
            mode: self.mode,
            method: self.method,
            proposals: &self.proposals,
            truth: &self.truth,
            trust: &self.trust,
            named: &self.named,
            known_taken: &self.known_taken,
            last_chosen: &self.last_chosen,
        }
    }

    pub(crate) fn evaluate(&self) -> BTreeMap<WorkerId, Evaluation> {
        evaluate(&self.input())
    }

    pub(crate) fn select(&self, strategies: &[&str]) -> Result<Selection, UnknownStrategy> {
        let names: Vec<String> = strategies.iter().map(|name| (*name).to_owned()).collect();
        select(&negotiation("neg-1"), &names, &self.input(), &self.evaluate())
    }

    pub(crate) fn winner(&self, strategy: &str) -> Option<String> {
        self.select(&[strategy]).unwrap().worker_id.map(|worker| worker.to_string())
    }

    /// Those that passed, best first.
    pub(crate) fn ranking(&self) -> Vec<WorkerId> {
        let mut ranked: Vec<(u32, WorkerId)> = self
            .evaluate()
            .into_iter()
            .filter_map(|(worker, evaluation)| Some((evaluation.rank?, worker)))
            .collect();
        ranked.sort();
        ranked.into_iter().map(|(_, worker)| worker).collect()
    }
}
