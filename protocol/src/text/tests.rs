use crate::proposal::ReasonCode;
use proptest::prelude::*;

use super::*;

fn id() -> ProposalId {
    ProposalId::parse("prop-1").unwrap()
}

/// What a worker of the predecessor sent over the wire (resource-secretary 0.0.11).
const RECORDED: &str = include_str!("../../tests/data/predecessor_proposal.txt");

fn sample() -> Proposal {
    Proposal {
        proposal_id: id(),
        verdict: Verdict::Busy,
        factors: BTreeMap::new(),
        promises: Promises { start_p50_seconds: Some(Seconds::saturating(90.5)), ..Promises::default() },
        claims: Vec::new(),
        constraints: vec![Constraint {
            code: ReasonCode::NodesBusy,
            wanted: "4 nodes".to_owned(),
            had: "1 free".to_owned(),
        }],
        flags: Vec::new(),
        reasoning: "Can run it, but not now: CALLS ``` \"quoted\"".to_owned(),
        evidence: BTreeMap::new(),
        hold_until: None,
        hold_is_firm: None,
        as_of: None,
        calls: vec![ProviderCall {
            provider: "slurm".to_owned(),
            function: "queue_depth".to_owned(),
            args: json!({}),
        }],
    }
}

#[test]
fn a_recorded_text_is_read() {
    let proposal = parse(RECORDED, id()).unwrap();
    assert_eq!(proposal.verdict, Verdict::Ready);
    assert_eq!(proposal.reasoning, "stub says ready");
    assert_eq!(proposal.promises.start_p50_seconds, Some(Seconds::ZERO));
    assert_eq!(proposal.promises.start_p90_seconds, None);
    assert_eq!(proposal.claims[0].value, ClaimValue::Quantity(Number::ZERO));
    assert_eq!(proposal.calls[0].provider, "flux");
    assert_eq!(proposal.calls[0].function, "get_queue_stats");
}

#[test]
fn what_is_written_has_each_mark_once_and_is_read_back() {
    let text = render(&sample(), Some(7));
    assert!(text.starts_with("FINAL PROPOSAL: Can run it, but not now"));
    assert_eq!(text.matches(CALLS).count(), 1);
    assert_eq!(text.matches(FENCE).count(), 4);
    let read = parse(&text, id()).unwrap();
    assert_eq!(read.verdict, Verdict::Busy);
    assert_eq!(read.promises.start_p50_seconds, Some(Seconds::from(91)));
    assert_eq!(read.calls, sample().calls);
    assert!(read.reasoning.contains("NODES_BUSY: wanted 4 nodes, had 1 free"), "{}", read.reasoning);
    let quiet = render(&Proposal { calls: Vec::new(), ..sample() }, None);
    assert!(!quiet.contains(CALLS));
    assert!(quiet.contains("\"queue_depth\": -1"));
}

#[test]
fn unknown_stays_unknown() {
    for metrics in
        ["{}", r#"{"queue_depth": -1, "ets_seconds": -1}"#, r#"{"ets_seconds": null}"#, r#""none""#]
    {
        let text = format!("```json\n{{\"verdict\": \"BUSY\", \"metrics\": {metrics}}}\n```");
        let proposal = parse(&text, id()).unwrap();
        assert_eq!(proposal.promises, Promises::default(), "{metrics}");
        assert!(proposal.claims.is_empty(), "{metrics}");
    }
}

#[test]
fn forms_that_models_write() {
    for (text, verdict) in [
        ("{\"verdict\": \"ready\"}", Verdict::Ready),
        ("```\n{\"Verdict\": \" Busy \"}\n```", Verdict::Busy),
        ("Draft: {\"a\": 1} and then {\"verdict\": \"UNKNOWN\"} so.", Verdict::Unknown),
        (
            "```json\n{\"verdict\": \"READY\"}\n```\nno, rather\n```json\n{\"verdict\": \"INCOMPATIBLE\"}\n```",
            Verdict::Incompatible,
        ),
        // The predecessor's own time-out is JSON inside a JSON text.
        (
            "FINAL PROPOSAL: Deliberation timed out.\n```json\n\"{\\\"verdict\\\": \\\"UNKNOWN\\\", \
             \\\"reason\\\": \\\"Deliberation timed out.\\\"}\"\n```",
            Verdict::Unknown,
        ),
        ("FINAL PROPOSAL: x {unbalanced \n```json\n{\"verdict\": \"RESTRICTED\"}\n```", Verdict::Restricted),
    ] {
        assert_eq!(parse(text, id()).unwrap().verdict, verdict, "{text}");
    }
}

#[test]
fn without_a_verdict_there_is_no_proposal() {
    for text in
        ["", "READY", "FINAL PROPOSAL: READY", "```json\n{\"metrics\": {}}\n```", "{\"verdict\"", "{{{{{{"]
    {
        assert_eq!(parse(text, id()), Err(TextError::NoVerdict), "{text}");
    }
    let maybe = parse("{\"verdict\": \"MAYBE\"}", id());
    assert_eq!(maybe, Err(TextError::UnknownVerdict("MAYBE".to_owned())));
    assert!(matches!(parse("{\"verdict\": 1}", id()), Err(TextError::UnknownVerdict(_))));
    assert_eq!(parse(&"x".repeat(TEXT_LIMIT + 1), id()), Err(TextError::TooLong(TEXT_LIMIT + 1)));
}

#[test]
fn reasoning_is_short_and_without_escapes() {
    let text = format!("{{\"verdict\": \"READY\", \"reasoning\": \"\\u001b[31m{}\"}}", "a".repeat(9000));
    let reasoning = parse(&text, id()).unwrap().reasoning;
    assert!(reasoning.len() <= REASONING_LIMIT);
    assert!(!reasoning.contains('\u{1b}'));
}

#[test]
fn deep_nesting_is_refused_quickly() {
    let text = "{\"verdict\":".repeat(20_000);
    assert_eq!(parse(&text, id()), Err(TextError::NoVerdict));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = parse(&text, id());
    }

    #[test]
    fn any_mix_of_marks_is_read_or_refused(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("```"), Just("```json\n"), Just("CALLS"), Just("{"), Just("}"), Just("["), Just("]"),
                Just("\"verdict\""), Just(":"), Just("\"READY\""), Just("\n"), Just("FINAL PROPOSAL"), Just("é"),
            ],
            0..60,
        )
    ) {
        let _ = parse(&parts.concat(), id());
    }

    #[test]
    fn what_is_written_is_read(reasoning in "\\PC{0,200}", ets in proptest::option::of(0u32..1_000_000)) {
        let promises = Promises { start_p50_seconds: ets.map(Seconds::from), ..Promises::default() };
        let proposal = Proposal { reasoning, promises, ..sample() };
        let read = parse(&render(&proposal, None), id()).unwrap();
        prop_assert_eq!(read.verdict, proposal.verdict);
        prop_assert_eq!(read.promises, proposal.promises);
        prop_assert_eq!(read.calls, proposal.calls);
    }
}
