use protocol::facts::{ComputeFacts, Facts, NodeGroup};
use protocol::proposal::{Promises, ProviderCall, ReasonCode, Verdict};
use protocol::units::{GiB, Timestamp};
use secretary::rules::propose;
use serde_json::json;

use crate::support::{call, requirement};

fn cluster(free: u32) -> Facts {
    let group = NodeGroup {
        name: "batch".to_owned(),
        nodes: 10,
        nodes_free: Some(free),
        cores_per_node: 32,
        cores_free: Some(free * 32),
        memory_gib_per_node: Some(GiB::from(128)),
        ..NodeGroup::default()
    };
    Facts { compute: Some(ComputeFacts { groups: vec![group] }), ..Facts::default() }
}

fn asked() -> Vec<ProviderCall> {
    vec![ProviderCall { provider: "slurm".to_owned(), function: "node_states".to_owned(), args: json!({}) }]
}

const LATER: Timestamp = Timestamp::from_millis(1_795_000_060_000);

#[test]
fn a_ready_site_keeps_its_hold_and_a_busy_one_does_not() {
    let call = call(requirement(json!({"compute": {"nodes": 4}})));
    let ready = propose(&call, &cluster(5), asked(), Some(LATER));
    assert_eq!((ready.verdict, ready.hold_until), (Verdict::Ready, Some(LATER)));
    assert!(ready.reasoning.starts_with("Can run it now: takes 4 nodes"), "{}", ready.reasoning);
    assert!(ready.constraints.is_empty());
    let busy = propose(&call, &cluster(2), asked(), Some(LATER));
    assert_eq!((busy.verdict, busy.hold_until), (Verdict::Busy, None));
    assert_eq!(busy.constraints[0].code, ReasonCode::NodesBusy);
}

#[test]
fn what_cannot_be_run_promises_nothing() {
    let call = call(requirement(json!({"compute": {"nodes": 40}})));
    let proposal = propose(&call, &cluster(5), asked(), Some(LATER));
    assert_eq!(proposal.verdict, Verdict::Incompatible);
    assert_eq!(proposal.promises, Promises::default());
    assert!(proposal.reasoning.starts_with("Cannot run it: wanted"), "{}", proposal.reasoning);
}

#[test]
fn unknown_facts_give_an_unknown_verdict() {
    let call = call(requirement(json!({"software": [{"name": "lammps"}]})));
    let proposal = propose(&call, &cluster(5), asked(), None);
    assert_eq!(proposal.verdict, Verdict::Unknown);
    assert_eq!(proposal.constraints[0].code, ReasonCode::FactUnknown);
}

#[test]
fn the_trace_leaves_only_when_it_was_asked_for() {
    let mut call = call(requirement(json!({})));
    assert_eq!(propose(&call, &cluster(5), asked(), None).calls, asked());
    call.verbose = false;
    assert!(propose(&call, &cluster(5), asked(), None).calls.is_empty());
}

#[test]
fn factors_carry_score_value_and_reason() {
    let call = call(requirement(json!({"compute": {"nodes": 2}})));
    let proposal = propose(&call, &cluster(5), asked(), None);
    assert!(!proposal.factors.is_empty());
    for (name, factor) in &proposal.factors {
        assert!((0.0..=1.0).contains(&factor.score.get()), "{name}");
        assert!(!factor.verified && !factor.reason.is_empty(), "{name}");
    }
}
