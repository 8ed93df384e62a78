//! Protocol values for the tests of the tables: a small fleet with every kind of answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use negotiation::explain::{Explanation, WhatIf, explain};
use protocol::artifact::{Artifact, ArtifactType};
use protocol::award::{Receipt, ReceiptStatus};
use protocol::claim::ClaimValue;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::evaluation::{
    Adjustment, AuditFinding, AuditMode, AuditResult, Contribution, Evaluation, Gate, Reason, Selection,
};
use protocol::factor::FactorName;
use protocol::facts::FlagKind;
use protocol::fleet::{WorkerState, WorkerStatus};
use protocol::ids::{ArtifactId, Digest, JobId, NegotiationId, PrincipalId, ProposalId, WorkerId};
use protocol::job::{
    Algorithm, Attempt, AttemptNumber, AttemptState, DataRef, Job, JobKind, JobSpec, JobState,
    MlExperimentSpec, ModelSpec, Observed,
};
use protocol::negotiation::{Mode, Negotiation, NegotiationView, Stage};
use protocol::proposal::{Outcome, Promises, Proposal, ReasonCode, Reply, Verdict};
use protocol::request::Request;
use protocol::requirement::{
    ComputeNeed, Exclusions, GpuNeed, GpuScope, Requirement, SoftwareNeed, StorageNeed, TimeNeed, Urgency,
};
use protocol::trust::{BetaPair, TrustRecord, TrustState};
use protocol::understanding::{Intent, NotUnderstood, Span, Understanding, Weights};
use protocol::units::{GiB, Number, Seconds, Timestamp, Usd};

pub fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

pub fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn number(value: f64) -> Number {
    Number::saturating(value)
}

fn seconds(value: f64) -> Seconds {
    Seconds::saturating(value)
}

pub fn requirement() -> Requirement {
    Requirement {
        software: vec![SoftwareNeed { name: "lammps".into(), constraint: Some(">=20230802".into()) }],
        compute: ComputeNeed {
            nodes: Some(3),
            tasks: Some(96),
            cores: Some(128),
            memory_gib: Some(GiB::saturating(256.0)),
            cores_per_node: Some(32),
            memory_gib_per_node: None,
            gpus: Some(GpuNeed {
                count: 4,
                per: GpuScope::Node,
                model: Some("h100".into()),
                memory_gib: Some(GiB::saturating(80.0)),
                optional: false,
            }),
        },
        network: vec!["infiniband".into(), "omni-path".into()],
        storage: vec![StorageNeed { kind: Some("lustre".into()), free_gib: Some(GiB::saturating(2048.0)) }],
        container: vec!["singularity".into()],
        mpi: true,
        workload: vec!["slurm".into(), "flux".into()],
        time: TimeNeed {
            urgency: Some(Urgency::Immediate),
            deadline_seconds: Some(seconds(10_800.0)),
            start_by_seconds: Some(Seconds::ZERO),
            duration_seconds: Some(seconds(3_600.0)),
        },
        budget_usd: Some(Usd::saturating(40.0)),
        labels: BTreeMap::from([("site".into(), "lab".into())]),
        exclude: Exclusions { archetypes: vec!["cloud".into()], ..Exclusions::default() },
    }
}

pub fn weights() -> Weights {
    Weights(BTreeMap::from([
        (FactorName::Cost, number(0.5)),
        (FactorName::StartTime, number(0.3)),
        (FactorName::NetworkBandwidth, number(0.2)),
    ]))
}

fn not_understood() -> Vec<NotUnderstood> {
    vec![NotUnderstood {
        text: "on the good\u{1b}[31m machines".into(),
        start: 61,
        end: 82,
        reason: "no field says which machines are good".into(),
    }]
}

pub fn understanding() -> Understanding {
    let span = |text: &str, path: &str| Span { text: text.into(), start: 0, end: 1, path: path.into() };
    Understanding {
        requirement: requirement(),
        intent: Intent::Cheapest,
        weights: weights(),
        job: Some(job_spec()),
        spans: vec![
            span("lammps newer than 2023-08-02", "requirement.software[0]"),
            span("three nodes", "requirement.compute.nodes"),
            span("with 4 H100", "requirement.compute.gpus"),
            span("80 GB each", "requirement.compute.gpus.memory_gib"),
            span("at most $40", "requirement.budget_usd"),
            span("as cheap as possible", "intent"),
        ],
        not_understood: not_understood(),
        missing: vec!["job.spec.data.uri".into()],
    }
}

fn job_spec() -> JobSpec {
    JobSpec::MlExperiment(MlExperimentSpec {
        data: DataRef { uri: "data/churn.csv".into(), target: Some("left".into()), ..DataRef::default() },
        model: ModelSpec { algo: Algorithm::Gbdt, params: BTreeMap::new(), seed: 7 },
        gate: Vec::new(),
    })
}

fn reason(code: ReasonCode, wanted: &str, had: &str) -> Reason {
    Reason { code, wanted: wanted.into(), had: had.into() }
}

fn reply(name: &str, verdict: Verdict, promises: Promises) -> Reply {
    Reply::Proposal(Arc::new(Proposal {
        proposal_id: ProposalId::parse(format!("prop-{name}")).unwrap(),
        verdict,
        factors: BTreeMap::new(),
        promises,
        claims: Vec::new(),
        constraints: Vec::new(),
        flags: Vec::new(),
        reasoning: "choose me\u{1b}[2J".into(),
        evidence: BTreeMap::new(),
        hold_until: None,
        hold_is_firm: None,
        as_of: None,
        calls: Vec::new(),
    }))
}

fn promises(start: f64, cost: f64) -> Promises {
    Promises {
        start_p50_seconds: Some(seconds(start / 2.0)),
        start_p90_seconds: Some(seconds(start)),
        runtime_seconds: Some(seconds(3_600.0)),
        cost_usd: Some(Usd::saturating(cost)),
    }
}

fn evaluation(rank: Option<u32>, score: f64, trust: f64, failed: Vec<Reason>) -> Evaluation {
    let contribution = |utility: f64, weight: f64| Contribution {
        utility: number(utility),
        weight: number(weight),
        discounted: number(utility * 0.9),
    };
    Evaluation {
        gate: Gate { passed: failed.is_empty(), failed },
        audit: Vec::new(),
        contributions: BTreeMap::from([
            (FactorName::Cost, contribution(score, 0.5)),
            (FactorName::StartTime, contribution(0.8, 0.3)),
        ]),
        adjustments: Vec::new(),
        score: number(score),
        trust: number(trust),
        r#final: number(if rank.is_some() { score * trust } else { 0.0 }),
        rank,
    }
}

pub fn view() -> NegotiationView {
    let mut flagged = evaluation(Some(2), 0.702, 0.55, Vec::new());
    flagged.adjustments.push(Adjustment {
        flag: FlagKind::Maintenance,
        multiplier: number(0.8),
        evidence: "window at 18:00".into(),
    });
    flagged.audit.push(AuditFinding {
        subject: "network.gbps".into(),
        claimed: ClaimValue::Quantity(number(400.0)),
        truth: Some(ClaimValue::Quantity(number(100.0))),
        result: AuditResult::Over,
        hard: false,
    });
    let busy = vec![
        reason(ReasonCode::NodesBusy, "3 nodes", "1 free of 16"),
        reason(ReasonCode::StartTooLate, "within 0 s", "P90 5400 s"),
    ];
    let poor = vec![
        reason(ReasonCode::SoftwareVersion, "lammps >=20230802", "lammps 20210929"),
        reason(ReasonCode::GpuModel, "h100", "a100"),
        reason(ReasonCode::NetworkMissing, "infiniband or omni-path", "ethernet"),
        reason(ReasonCode::OverBudget, "40 USD", "61.2 USD"),
    ];
    let proposals = BTreeMap::from([
        (worker("hpc-aurora"), reply("a", Verdict::Ready, promises(45.0, 31.2))),
        (worker("hpc-borealis"), reply("b", Verdict::Ready, promises(600.0, 38.75))),
        (worker("standalone-1"), reply("c", Verdict::Busy, promises(5_400.0, 0.004))),
        (
            worker("gpu-box-under-the-desk-of-kim"),
            reply(
                "d",
                Verdict::Incompatible,
                Promises { cost_usd: Some(Usd::saturating(61.2)), ..Promises::default() },
            ),
        ),
        (
            worker("silent"),
            Reply::missing(Outcome::Timeout, ErrorCode::UpstreamTimeout, "no answer\u{7} by the deadline"),
        ),
    ]);
    let evaluations = BTreeMap::from([
        (worker("hpc-aurora"), evaluation(Some(1), 0.871, 0.93, Vec::new())),
        (worker("hpc-borealis"), flagged),
        (worker("standalone-1"), evaluation(None, 0.6, 0.9, busy)),
        (worker("gpu-box-under-the-desk-of-kim"), evaluation(None, 0.0, 0.35, poor)),
        (
            worker("silent"),
            evaluation(None, 0.0, 0.5, vec![reason(ReasonCode::NoProposal, "a proposal", "timeout")]),
        ),
    ]);
    NegotiationView {
        negotiation_id: NegotiationId::parse("neg-0123").unwrap(),
        requirement: requirement(),
        intent: Intent::Cheapest,
        weights: weights(),
        not_understood: not_understood(),
        missing: Vec::new(),
        proposals,
        evaluations,
        excluded: BTreeMap::from([(
            worker("cloud-west"),
            vec![reason(ReasonCode::Excluded, "not cloud", "cloud")],
        )]),
        elapsed_seconds: seconds(1.84),
        selection: Some(Selection {
            worker_id: Some(worker("hpc-aurora")),
            strategy: "weighted".into(),
            explanation: "highest final score 0.810; next is hpc-borealis with 0.309".into(),
            order: vec![worker("hpc-aurora"), worker("hpc-borealis")],
        }),
    }
}

/// The explanation of the small fleet, with every kind of change.
pub fn explanation() -> Explanation {
    let view = view();
    let negotiation = Negotiation {
        negotiation_id: view.negotiation_id,
        owner: PrincipalId::parse("ann").unwrap(),
        created_at: now(),
        mode: Mode::Select,
        stage: Stage::Decided,
        request: Request::default(),
        understanding: understanding(),
        audit_mode: AuditMode::Before,
        as_of_tick: 0,
        proposals: view.proposals,
        evaluations: view.evaluations,
        excluded: view.excluded,
        selection: view.selection,
        receipt: None,
        job_id: None,
        elapsed_seconds: view.elapsed_seconds,
    };
    let mut explanation = explain(&negotiation);
    // Fixed here, so that these tables do not change whenever the scales do.
    for worker in explanation.workers.values_mut() {
        worker.what_if.retain(|change| matches!(change, WhatIf::Gates { .. }));
    }
    let second = explanation.workers.get_mut(&worker("hpc-borealis")).unwrap();
    second.what_if = vec![
        WhatIf::FirstWith {
            factor: FactorName::Cost,
            value: number(12.345),
            more: false,
            unit: "usd".into(),
        },
        WhatIf::FirstWith {
            factor: FactorName::NetworkBandwidth,
            value: number(400.0),
            more: true,
            unit: "gbps".into(),
        },
        WhatIf::ClaimTrust { had: number(0.55), needed: number(0.91) },
        WhatIf::DeliveryTrust { had: number(0.5), needed: number(0.75) },
        WhatIf::Flag { flag: FlagKind::Maintenance },
    ];
    let first = explanation.workers.get_mut(&worker("hpc-aurora")).unwrap();
    first.what_if = vec![WhatIf::FirstUntil {
        factor: FactorName::StartTime,
        value: number(754.0),
        more: true,
        unit: "s".into(),
    }];
    explanation
}

/// A fleet of a thousand, of which thirty can.
pub fn large_view() -> NegotiationView {
    let mut view = view();
    view.proposals.clear();
    view.evaluations.clear();
    view.excluded.clear();
    for number in 0..1000_u32 {
        let name = worker(&format!("w-{number:04}"));
        match number {
            0..30 => {
                view.proposals
                    .insert(name.clone(), reply("x", Verdict::Ready, promises(f64::from(number), 10.0)));
                let score = 0.9 - f64::from(number) / 100.0;
                view.evaluations.insert(name, evaluation(Some(number + 1), score, 0.9, Vec::new()));
            }
            30..900 => {
                view.proposals.insert(name.clone(), reply("x", Verdict::Incompatible, Promises::default()));
                let code =
                    if number % 3 == 0 { ReasonCode::SoftwareMissing } else { ReasonCode::NodesTooFew };
                view.evaluations.insert(name, evaluation(None, 0.0, 0.5, vec![reason(code, "3", "1")]));
            }
            _ => {
                view.excluded.insert(name, vec![reason(ReasonCode::LabelMismatch, "site=lab", "site=home")]);
            }
        }
    }
    let chosen = worker("w-0027");
    view.selection = Some(Selection {
        worker_id: Some(chosen.clone()),
        strategy: "random".into(),
        explanation: "drawn from 30 that passed".into(),
        order: vec![chosen],
    });
    view
}

pub fn receipt(accepted: bool) -> Receipt {
    Receipt {
        status: if accepted { ReceiptStatus::Success } else { ReceiptStatus::Failed },
        job_id: JobId::parse("job-42").unwrap(),
        worker_id: worker("hpc-aurora"),
        attempt: AttemptNumber::FIRST,
        proposal_id: ProposalId::parse("prop-a").unwrap(),
        received_at: now(),
        error: (!accepted)
            .then(|| ErrorBody::new(ErrorCode::CapacityTaken, "the nodes\u{9b} went to job 17")),
    }
}

fn attempt(number: u32, name: &str, state: AttemptState, exit_code: Option<i32>) -> Attempt {
    Attempt {
        attempt: AttemptNumber(number),
        worker_id: worker(name),
        proposal_id: ProposalId::parse("prop-a").unwrap(),
        state,
        offered_at: now(),
        started_at: Some(now()),
        ended_at: Some(now()),
        exit_code,
    }
}

pub fn job() -> Job {
    let artifact = |name: &str, artifact_type, size_bytes| Artifact {
        artifact_id: ArtifactId::mint(u128::from(size_bytes)),
        name: name.into(),
        artifact_type,
        digest: Digest::of(name.as_bytes()),
        size_bytes,
        uri: "parley://artifact/x".into(),
        job_id: None,
        inputs: Vec::new(),
    };
    Job {
        job_id: JobId::parse("job-42").unwrap(),
        kind: JobKind::MlExperiment,
        state: JobState::Completed,
        stale: false,
        worker_id: Some(worker("hpc-aurora")),
        negotiation_id: Some(NegotiationId::parse("neg-0123").unwrap()),
        owner: PrincipalId::parse("ann").unwrap(),
        created_at: now().plus(seconds(-90.0)),
        ended_at: Some(now()),
        spec: job_spec(),
        attempts: vec![attempt(1, "hpc-aurora", AttemptState::Succeeded, Some(0))],
        promised: promises(45.0, 31.2),
        observed: Observed {
            start_seconds: Some(seconds(12.0)),
            runtime_seconds: Some(seconds(71.4)),
            cost_usd: Some(Usd::saturating(0.62)),
            peak_memory_gib: Some(GiB::saturating(1.234_567)),
            gpu_hours: None,
        },
        metrics: BTreeMap::from([
            ("auc".to_owned(), number(0.912_34)),
            ("f1".to_owned(), number(0.8)),
            ("rows".to_owned(), number(20_190.0)),
            ("evil\u{1b}[2J".to_owned(), number(1.5e-9)),
        ]),
        artifacts: vec![
            artifact("model.json", ArtifactType::Model, 48_213),
            artifact("roc.svg", ArtifactType::Plot, 912),
        ],
        error: None,
    }
}

pub fn failed_job() -> Job {
    let mut job = job();
    job.state = JobState::Failed;
    job.stale = true;
    job.metrics.clear();
    job.artifacts.clear();
    job.observed = Observed::default();
    job.attempts = vec![
        attempt(1, "hpc-borealis", AttemptState::Rejected, None),
        attempt(2, "hpc-aurora", AttemptState::Failed, Some(137)),
    ];
    job.error = Some(ErrorBody::new(ErrorCode::JobFailed, "killed by signal 9\nout of memory?"));
    job
}

pub fn trust() -> BTreeMap<WorkerId, TrustRecord> {
    let record = |claim: (f64, f64), delivery: (f64, f64), state| TrustRecord {
        claim: BetaPair::new(claim.0, claim.1),
        delivery: BetaPair::new(delivery.0, delivery.1),
        availability: BetaPair::new(20.0, 1.0),
        state,
        updated_at: None,
    };
    BTreeMap::from([
        (worker("hpc-aurora"), record((8.6, 0.0), (3.251, 0.5), TrustState::Trusted)),
        (worker("liar"), record((0.0, 3.0), (0.0, 0.0), TrustState::Quarantined)),
        (worker("new"), TrustRecord::default()),
    ])
}

pub fn workers() -> Vec<WorkerStatus> {
    let status = |name: &str, state, archetype: Option<&str>| WorkerStatus {
        name: worker(name),
        state,
        labels: BTreeMap::from([("site".to_owned(), "lab".to_owned())]),
        url: Some("http://127.0.0.1:9000".into()),
        linked: true,
        protocol: "signed".into(),
        last_seen: now().plus(seconds(-4.0)),
        archetype: archetype.map(str::to_owned),
        workload: Some("slurm".into()),
        providers: BTreeMap::new(),
        tools: 12,
        trust: trust().remove(&worker("hpc-aurora")).unwrap(),
    };
    vec![
        status("hpc-aurora", WorkerState::Online, Some("hpc")),
        status("standalone-1", WorkerState::Offline, None),
    ]
}
