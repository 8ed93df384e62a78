//! Each hard constraint, for audited and unaudited sites.

use protocol::claim::Claim;
use protocol::claim::ClaimValue;
use protocol::error::ErrorCode;
use protocol::facts::Facts;
use protocol::proposal::{Constraint, Outcome};
use protocol::trust::BetaPair;
use protocol::units::{Number, Seconds, Usd};
use serde_json::json;

use super::*;
use crate::samples::{Round, bare, cluster, id, lammps, requirement};

fn codes(round: &Round, worker: &str) -> Vec<ReasonCode> {
    let evaluations = round.evaluate();
    evaluations[&id(worker)].gate.failed.iter().map(|reason| reason.code).collect()
}

/// The codes for one audited site that answers honestly.
fn audited(request: serde_json::Value, facts: &Facts) -> Vec<ReasonCode> {
    let mut round = Round::new(requirement(request));
    round.answers("w", facts);
    round.is_truly("w", facts.clone());
    codes(&round, "w")
}

/// The codes for one unaudited site with a proposal.
fn unaudited(request: serde_json::Value, proposal: &Proposal) -> Vec<ReasonCode> {
    let mut round = Round::new(requirement(request));
    round.says("w", proposal.clone());
    codes(&round, "w")
}

#[test]
fn an_audited_site_is_judged_by_the_truth() {
    use ReasonCode::*;
    let site = cluster(3.0, 3_600);
    let hour = json!({"duration_seconds": 3600});
    for (request, expected) in [
        (json!({"compute": {"nodes": 4}}), vec![]),
        (json!({"software": [{"name": "gromacs"}]}), vec![VerdictNegative, SoftwareMissing]),
        (
            json!({"software": [{"name": "lammps", "constraint": ">20230802"}]}),
            vec![VerdictNegative, SoftwareVersion],
        ),
        (json!({"compute": {"nodes": 101}}), vec![VerdictNegative, NodesTooFew]),
        (json!({"network": ["omni-path"]}), vec![VerdictNegative, NetworkMissing]),
        (json!({"compute": {"nodes": 4}, "time": hour, "budget_usd": 11}), vec![VerdictNegative, OverBudget]),
        (json!({"compute": {"nodes": 4}, "time": hour, "budget_usd": 12}), vec![]),
        (json!({"time": {"deadline_seconds": 1800}}), vec![VerdictNegative, DeadlineMissed]),
        (json!({"time": {"start_by_seconds": 600}}), vec![StartTooLate]),
        (json!({"time": {"urgency": "immediate"}}), vec![VerdictNegative, StartTooLate]),
    ] {
        assert_eq!(audited(request.clone(), &site), expected, "{request}");
    }
}

#[test]
fn busy_passes_unless_the_work_must_start_at_once() {
    let site = cluster(3.0, 60);
    assert_eq!(audited(json!({"compute": {"nodes": 60}}), &site), []);
    assert_eq!(
        audited(json!({"compute": {"nodes": 60}, "time": {"urgency": "immediate"}}), &site),
        [ReasonCode::VerdictNegative, ReasonCode::NodesBusy]
    );
    let busy = bare("prop-1", Verdict::Busy);
    assert_eq!(unaudited(json!({}), &busy), []);
    assert_eq!(unaudited(json!({"time": {"urgency": "immediate"}}), &busy), [ReasonCode::VerdictNegative]);
    // A latest start needs a promise that keeps it.
    let latest = json!({"time": {"start_by_seconds": 600}});
    assert_eq!(unaudited(latest.clone(), &busy), [ReasonCode::FactUnknown]);
    let mut promised = busy;
    promised.promises.start_p90_seconds = Some(Seconds::from(300));
    assert_eq!(unaudited(latest.clone(), &promised), []);
    promised.promises.start_p90_seconds = Some(Seconds::from(900));
    assert_eq!(unaudited(latest, &promised), [ReasonCode::StartTooLate]);
}

#[test]
fn a_negative_verdict_fails() {
    for verdict in [Verdict::Incompatible, Verdict::Unknown, Verdict::Restricted] {
        assert_eq!(unaudited(json!({}), &bare("prop-1", verdict)), [ReasonCode::VerdictNegative]);
    }
    assert_eq!(unaudited(json!({}), &bare("prop-1", Verdict::Ready)), []);
}

#[test]
fn a_false_hard_claim_fails_in_mode_before_only() {
    let mut round = Round::new(lammps());
    let mut truth = cluster(3.0, 60);
    truth.software = Some(vec![]);
    round.answers("liar", &cluster(3.0, 60));
    round.is_truly("liar", truth);
    let before = codes(&round, "liar");
    assert!(before.contains(&ReasonCode::ClaimFalse) && before.contains(&ReasonCode::SoftwareMissing));
    round.mode = AuditMode::After;
    assert_eq!(codes(&round, "liar"), []);
}

#[test]
fn a_false_price_is_replaced_and_not_gated_without_a_budget() {
    let mut round = Round::new(lammps());
    round.answers("liar", &cluster(1.0, 60));
    round.is_truly("liar", cluster(3.0, 60));
    assert_eq!(codes(&round, "liar"), []);
    let mut with_budget = Round::new(Requirement { budget_usd: Some(Usd::from(100)), ..lammps() });
    with_budget.answers("liar", &cluster(1.0, 60));
    with_budget.is_truly("liar", cluster(3.0, 60));
    assert_eq!(codes(&with_budget, "liar"), [ReasonCode::ClaimFalse]);
}

#[test]
fn an_unaudited_site_is_bound_by_its_own_words() {
    use ReasonCode::*;
    let mut ready = bare("prop-1", Verdict::Ready);
    ready.constraints =
        vec![Constraint { code: GpuModel, wanted: "h100".into(), had: "a100\u{1b}[0m".into() }];
    assert_eq!(unaudited(json!({}), &ready), [GpuModel]);
    ready.constraints[0].code = NodesBusy;
    assert_eq!(unaudited(json!({}), &ready), [], "it can wait");
    ready.constraints.clear();
    ready.promises.cost_usd = Some(Usd::from(50));
    let hour = json!({"duration_seconds": 3600});
    assert_eq!(unaudited(json!({"budget_usd": 40, "time": hour}), &ready), [OverBudget]);
    assert_eq!(unaudited(json!({"budget_usd": 60, "time": hour}), &ready), []);
    ready.promises.cost_usd = None;
    assert_eq!(unaudited(json!({"budget_usd": 60, "time": hour}), &ready), [FactUnknown]);
    assert_eq!(unaudited(json!({"budget_usd": 60}), &ready), []);
    ready.promises.start_p90_seconds = Some(Seconds::from(100));
    ready.promises.runtime_seconds = Some(Seconds::from(1_000));
    assert_eq!(unaudited(json!({"time": {"deadline_seconds": 600}}), &ready), [DeadlineMissed]);
    assert_eq!(unaudited(json!({"time": {"deadline_seconds": 1_200}}), &ready), []);
}

#[test]
fn claims_that_contradict_the_verdict_fail() {
    use ReasonCode::*;
    let number = |value: u32| ClaimValue::Quantity(Number::from(value));
    let list = |items: &[&str]| ClaimValue::List(items.iter().map(|item| (*item).to_owned()).collect());
    let lammps = json!({"software": [{"name": "lammps", "constraint": ">=20230802"}]});
    let table: Vec<(serde_json::Value, &str, ClaimValue, Vec<ReasonCode>)> = vec![
        (lammps.clone(), "software.lammps", list(&["20220623"]), vec![SoftwareVersion]),
        (lammps.clone(), "software.lammps", list(&[]), vec![SoftwareMissing]),
        (lammps.clone(), "software.lammps", list(&["20220623", "20240101"]), vec![]),
        (lammps, "software.gromacs", list(&[]), vec![]),
        (
            json!({"network": ["infiniband"]}),
            "network.infiniband",
            ClaimValue::Flag(false),
            vec![NetworkMissing],
        ),
        (
            json!({"network": ["infiniband", "ethernet"]}),
            "network.infiniband",
            ClaimValue::Flag(false),
            vec![],
        ),
        (
            json!({"container": ["docker"]}),
            "container.docker",
            ClaimValue::Flag(false),
            vec![ContainerMissing],
        ),
        (json!({"mpi": true}), "mpi", ClaimValue::Flag(false), vec![MpiMissing]),
        (
            json!({"storage": [{"kind": "lustre"}]}),
            "storage.lustre",
            ClaimValue::Flag(false),
            vec![StorageMissing],
        ),
        (json!({"compute": {"nodes": 4}}), "compute.nodes", number(3), vec![NodesTooFew]),
        (json!({"compute": {"nodes": 4}}), "compute.nodes", number(4), vec![]),
        (json!({"compute": {"nodes": 4}}), "compute.nodes_free", number(3), vec![]),
        (
            json!({"compute": {"nodes": 4}, "time": {"urgency": "immediate"}}),
            "compute.nodes_free",
            number(3),
            vec![NodesBusy],
        ),
        (json!({"compute": {"cores": 128}}), "compute.cores", number(64), vec![CoresTooFew]),
        (json!({"compute": {"gpus": {"count": 8}}}), "compute.gpus", number(4), vec![GpusTooFew]),
        (
            json!({"compute": {"gpus": {"count": 8, "model": "h100"}}}),
            "compute.gpu_model",
            ClaimValue::Text("a100".into()),
            vec![GpuModel],
        ),
        (
            json!({"workload": ["slurm"]}),
            "workload.manager",
            ClaimValue::Text("kubernetes".into()),
            vec![WorkloadManager],
        ),
        (
            json!({"exclude": {"archetypes": ["cloud"]}}),
            "archetype",
            ClaimValue::Text("cloud".into()),
            vec![Excluded],
        ),
    ];
    for (request, subject, value, expected) in table {
        let mut proposal = bare("prop-1", Verdict::Ready);
        proposal.claims = vec![Claim { subject: subject.to_owned(), value: value.clone() }];
        assert_eq!(unaudited(request.clone(), &proposal), expected, "{request} {subject} {value}");
    }
}

#[test]
fn an_honest_unaudited_site_passes_whatever_is_asked() {
    let mut site = cluster(3.0, 60);
    site.storage = Some(vec![protocol::facts::FileSystem {
        kind: "lustre".into(),
        path: "/scratch".into(),
        total_gib: None,
        free_gib: Some(protocol::units::GiB::from(5_000)),
    }]);
    for request in [
        json!({"compute": {"nodes": 4, "cores": 128, "memory_gib": 512}}),
        json!({"compute": {"cores": 1000}}),
        json!({"compute": {"cores_per_node": 64, "memory_gib_per_node": 256}}),
        json!({"compute": {"tasks": 64}, "network": ["infiniband", "omni-path"]}),
        json!({"storage": [{"kind": "lustre", "free_gib": 2048}, {"free_gib": 10}]}),
        json!({"time": {"urgency": "immediate", "deadline_seconds": 10800, "duration_seconds": 3600}, "budget_usd": 40}),
        json!({"budget_usd": 40, "workload": ["slurm", "flux"]}),
    ] {
        let mut round = Round::new(requirement(request.clone()));
        let verdict = round.answers("w", &site).verdict;
        assert_eq!((verdict, codes(&round, "w")), (Verdict::Ready, vec![]), "{request}");
    }
}

#[test]
fn a_quarantined_worker_passes_only_when_named() {
    let mut round = Round::new(lammps());
    round.answers("w", &cluster(3.0, 60));
    let trust = TrustRecord {
        claim: BetaPair::new(0.0, 9.0),
        state: TrustState::Quarantined,
        ..TrustRecord::default()
    };
    round.trust.insert(id("w"), trust);
    assert_eq!(codes(&round, "w"), [ReasonCode::Quarantined]);
    round.named.push(id("w"));
    assert_eq!(codes(&round, "w"), []);
}

#[test]
fn no_answer_is_no_proposal() {
    let mut round = Round::new(lammps());
    let reply = Reply::missing(Outcome::Timeout, ErrorCode::UpstreamTimeout, "no answer");
    round.proposals.insert(id("w"), reply);
    let evaluations = round.evaluate();
    let evaluation = &evaluations[&id("w")];
    assert_eq!(evaluation.gate.failed[0].code, ReasonCode::NoProposal);
    assert_eq!(evaluation.gate.failed[0].had, "timeout (UPSTREAM_TIMEOUT)");
    assert_eq!((evaluation.r#final.get(), evaluation.rank), (0.0, None));
}

#[test]
fn the_record_of_a_failed_gate_is_bounded() {
    let mut proposal = bare("prop-1", Verdict::Incompatible);
    proposal.constraints =
        vec![
            Constraint { code: ReasonCode::GpuModel, wanted: "x".repeat(9_999), had: "y".repeat(9_999) };
            9_999
        ];
    let mut round = Round::new(lammps());
    round.says("w", proposal);
    let evaluations = round.evaluate();
    let failed = &evaluations[&id("w")].gate.failed;
    assert!(failed.len() <= REASONS_KEPT);
    assert!(failed.iter().all(|reason| reason.wanted.len() <= crate::score::SHOWN));
}
