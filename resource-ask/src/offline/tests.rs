//! Both forms of files of proposals, and what is made of them.

use protocol::proposal::Verdict;
use serde_json::json;

use super::*;
use crate::failure::Exit;
use crate::render::samples;

fn now() -> Timestamp {
    samples::now()
}

fn choose(asking: &Asking, document: &Value) -> Result<NegotiationView, Exit> {
    select(asking, &document.to_string(), now()).map_err(|failure| failure.exit())
}

fn chosen(view: &NegotiationView) -> Option<&str> {
    view.selection.as_ref()?.worker_id.as_ref().map(WorkerId::as_str)
}

fn by(strategy: &str) -> Asking {
    Asking { select: vec![strategy.to_owned()], ..Asking::default() }
}

const TEXT: &str = "EARLY RETURN: False\nFINAL PROPOSAL: The cluster can run it.\n```json\n{\n  \"verdict\": \
                    \"READY\",\n  \"reasoning\": \"stub says ready\",\n  \"metrics\": {\n    \"queue_depth\": 3,\n    \
                    \"ets_seconds\": 40\n  },\n  \"constraints\": []\n}\n```\nCALLS\n```json\n[{\"provider\": \
                    \"flux\", \"function\": \"get_queue_stats\", \"args\": {}}]\n```";

fn predecessor() -> Value {
    let agentic =
        |text: &str| json!({"type": "agentic_proposal", "data": {"proposal": text}, "status": "{}"});
    json!({
        "negotiation_id": "7ad65dc2",
        "timestamp": 1_795_197_783.024,
        "user_prompt": "run lammps",
        "proposals": {
            "w1": agentic(TEXT),
            "W_2": agentic(&TEXT.replace("40", "7").replace("READY", "INCOMPATIBLE")),
            "w3": agentic("FINAL PROPOSAL: no block"),
            "w4": {"type": "manifest_only", "data": {}},
            "w5": {"type": "error", "message": "Connection refused"},
        }
    })
}

#[test]
fn what_satisfy_printed_is_chosen_from_with_its_own_evaluations() {
    let view = samples::view();
    let document = serde_json::to_value(&view).unwrap();
    let selected = choose(&Asking::default(), &document).unwrap();
    assert_eq!(chosen(&selected), Some("hpc-aurora"));
    assert_eq!(selected.evaluations, view.evaluations);
    assert_eq!(selected.excluded, view.excluded);
    assert_eq!(selected.negotiation_id, view.negotiation_id);
}

#[test]
fn another_intent_weighs_the_same_proposals_anew() {
    let document = serde_json::to_value(samples::view()).unwrap();
    let asking = Asking { intent: Some(crate::arguments::IntentArgument::Soonest), ..Asking::default() };
    let selected = choose(&asking, &document).unwrap();
    assert_eq!(selected.requirement, samples::requirement());
    assert_ne!(selected.evaluations, samples::view().evaluations);
}

#[test]
fn a_liar_does_not_win_by_being_judged_again() {
    let mut view = samples::view();
    let liar = samples::worker("hpc-aurora");
    let evaluation = view.evaluations.get_mut(&liar).unwrap();
    evaluation.gate.passed = false;
    evaluation.gate.failed = vec![Reason {
        code: ReasonCode::ClaimFalse,
        wanted: "a true claim".into(),
        had: "a false one".into(),
    }];
    evaluation.rank = None;
    let document = serde_json::to_value(view).unwrap();
    let other_intent =
        Asking { intent: Some(crate::arguments::IntentArgument::Soonest), ..Asking::default() };
    let other_need = Asking { prompt: Some("2 cores".into()), ..Asking::default() };
    for asking in [Asking::default(), other_intent, other_need] {
        let selected = choose(&asking, &document).unwrap();
        assert_ne!(chosen(&selected), Some("hpc-aurora"), "{asking:?}");
        assert!(!selected.evaluations[&liar].gate.passed, "{asking:?}");
        assert_eq!(selected.evaluations.len(), 5, "{asking:?}");
    }
}

#[test]
fn proposals_without_evaluations_are_judged_here() {
    let mut document = serde_json::to_value(samples::view()).unwrap();
    document.as_object_mut().unwrap().remove("evaluations");
    let selected = choose(&Asking::default(), &document).unwrap();
    assert_eq!(selected.evaluations.len(), 5);
    assert!(!selected.evaluations[&samples::worker("silent")].gate.passed);
}

#[test]
fn a_predecessors_text_becomes_a_proposal() {
    let selected = choose(&by("first-ready"), &predecessor()).unwrap();
    assert_eq!(chosen(&selected), Some("w1"));
    let proposal = selected.proposals[&samples::worker("w1")].proposal().unwrap();
    assert_eq!(proposal.promises.start_p50_seconds, Some(Seconds::saturating(40.0)));
    assert_eq!(proposal.calls.len(), 1);
    assert_eq!(proposal.reasoning, "stub says ready");
    let outcome = |name: &str| match &selected.proposals[&samples::worker(name)] {
        Reply::Missing(missing) => missing.outcome,
        Reply::Proposal(_) => panic!("{name} has a proposal"),
    };
    assert_eq!(outcome("w3"), Outcome::BadSchema);
    assert_eq!(outcome("w4"), Outcome::NotAsked);
    assert_eq!(outcome("w5"), Outcome::WorkerError);
    // A name that ours cannot have is mapped, not lost.
    assert_eq!(selected.proposals[&samples::worker("w-2")].verdict(), Verdict::Incompatible);
}

#[test]
fn a_bare_map_of_proposals_will_do_with_a_prompt() {
    let document = predecessor()["proposals"].clone();
    let asking = Asking { prompt: Some("run something".into()), ..by("first-ready") };
    assert_eq!(chosen(&choose(&asking, &document).unwrap()), Some("w1"));
}

#[test]
fn lots_are_drawn_the_same_each_time() {
    let document = serde_json::to_value(samples::view()).unwrap();
    let first = choose(&by("random"), &document).unwrap();
    assert_eq!(chosen(&first), chosen(&choose(&by("random"), &document).unwrap()));
}

#[test]
fn mistakes_are_usage_errors() {
    let view = serde_json::to_value(samples::view()).unwrap();
    assert_eq!(choose(&by("by-magic"), &view).unwrap_err(), Exit::Usage);
    assert_eq!(choose(&Asking::default(), &json!([1, 2])).unwrap_err(), Exit::Usage);
    assert_eq!(choose(&Asking::default(), &json!({"proposals": {"w": 3}})).unwrap_err(), Exit::Usage);
    assert_eq!(select(&Asking::default(), "not json", now()).unwrap_err().exit(), Exit::Usage);
    let mut wrong = view;
    wrong["requirement"] = json!({"nodes": "many"});
    assert_eq!(choose(&Asking::default(), &wrong).unwrap_err(), Exit::Usage);
}
