use protocol::ids::NegotiationId;
use protocol::requirement::{SoftwareNeed, TimeNeed};
use protocol::units::{GiB, Seconds};

use super::*;
use crate::membership::LegacyRegistration;

/// What a worker of the predecessor sent over the wire.
const SUBMITTED: &str = include_str!("../../tests/data/predecessor_submit.json");
const REGISTERED: &str = include_str!("../../tests/data/predecessor_register.json");

fn worker() -> WorkerId {
    WorkerId::parse("py-1").unwrap()
}

fn award() -> Award {
    let software = SoftwareNeed { name: "lammps".to_owned(), constraint: Some(">=2023".to_owned()) };
    let gpus = GpuNeed {
        count: 4,
        per: GpuScope::Node,
        model: Some("a100".to_owned()),
        memory_gib: Some(GiB::from(80)),
        optional: false,
    };
    let requirement = Requirement {
        software: vec![software],
        compute: ComputeNeed { nodes: Some(3), gpus: Some(gpus), ..ComputeNeed::default() },
        network: vec!["infiniband".to_owned(), "omni-path".to_owned()],
        time: TimeNeed { duration_seconds: Some(Seconds::from(600)), ..TimeNeed::default() },
        ..Requirement::default()
    };
    let spec = CommandSpec {
        argv: ["lmp", "-in", "in file"].map(str::to_owned).to_vec(),
        time_limit_seconds: Some(Seconds::from(900)),
        ..CommandSpec::default()
    };
    Award {
        negotiation_id: NegotiationId::mint(1),
        proposal_id: ProposalId::mint(2),
        job_id: JobId::mint(3),
        attempt: AttemptNumber::FIRST,
        requirement,
        job: JobSpec::Command(spec),
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_500)
}

fn read(outcome: Value) -> Receipt {
    let outcome: ToolOutcome = serde_json::from_value(outcome).unwrap();
    read_receipt(&award(), &worker(), &outcome, now())
}

fn ends_unknown(receipt: Receipt) -> bool {
    let event = Event::AwardAnswered { negotiation_id: NegotiationId::mint(1), receipt };
    matches!(unknown_end(&event), Some(Event::AttemptReported { report, .. })
        if report.state == AttemptState::Unknown && report.error.is_some())
}

#[test]
fn an_award_is_rendered_with_everything_that_was_offered_on() {
    assert_eq!(
        render_award(&award()),
        "I need lammps >=2023, 3 nodes, 4 a100 GPUs with 80 GiB on each node, \
         network infiniband or omni-path, a run time of 600 seconds. \
         Run exactly these arguments, without a shell: [\"lmp\",\"-in\",\"in file\"]. \
         Stop it after 900 seconds."
    );
    assert_eq!(requirement_text(&Requirement::default()), "Can you run a job?");
}

#[test]
fn a_recorded_receipt_is_accepted_and_its_end_unknown() {
    let receipt = read(serde_json::from_str(SUBMITTED).unwrap());
    assert_eq!(receipt.status, ReceiptStatus::Success);
    assert_eq!((&receipt.job_id, &receipt.proposal_id), (&award().job_id, &award().proposal_id));
    let message = &receipt.error.as_ref().unwrap().message;
    assert!(message.contains("flux-1234") && message.contains("flux submit -n 4 lammps"), "{message}");
    assert!(ends_unknown(receipt));
}

#[test]
fn only_the_secretarys_own_refusal_lets_the_job_go_elsewhere() {
    let refused = read(json!({"structuredContent": {"receipt":
        {"status": "FAILED", "job_id": null, "reasoning": "no\u{1b}[31m queue", "calls": []}}}));
    assert_eq!(refused.status, ReceiptStatus::Failed);
    assert_eq!(refused.error.as_ref().unwrap().message, "no [31m queue");
    assert!(!ends_unknown(refused));
    for doubtful in [
        // Its server could not read its secretary, which may have submitted before.
        json!({"structuredContent": {"receipt": {"status": "FAILED", "reasoning": "TIMEOUT", "error": "x"}}}),
        json!({"isError": true, "content": [{"type": "text", "text": "Error calling tool 'submit': gone"}]}),
        json!({"structuredContent": {"receipt": {"status": "SUCCESS"}}}),
        json!({"structuredContent": {"receipt": {"status": "maybe"}}}),
        json!({"structuredContent": {"receipt": 7}}),
        json!({"content": [{"type": "text", "text": "not JSON"}]}),
        json!({}),
    ] {
        let receipt = read(doubtful.clone());
        assert_eq!(receipt.status, ReceiptStatus::Success, "{doubtful}");
        assert!(ends_unknown(receipt), "{doubtful}");
    }
}

#[test]
fn our_own_workers_receipts_end_nothing() {
    let mut receipt = in_doubt(&award(), &worker(), "", now());
    receipt.error = None;
    assert!(!ends_unknown(receipt));
}

#[test]
fn a_long_receipt_is_cut() {
    let spec = "x".repeat(100_000);
    let receipt = read(json!({"structuredContent": {"receipt":
        {"status": "success", "job_id": 17, "spec": spec}}}));
    let message = receipt.error.unwrap().message;
    assert!(message.contains("its job 17 (xxx") && message.len() < 1000);
}

#[test]
fn a_recorded_registration_is_read() {
    serde_json::from_str::<LegacyRegistration>(REGISTERED).unwrap();
}

#[test]
fn the_client_finds_a_receipt_also_where_there_is_none() {
    let answer = json!({"receipt": null, "selection": {"explanation": "nobody passed"}});
    let text: Value = serde_json::from_str(&dispatch_text(&answer)).unwrap();
    assert_eq!(text["receipt"], json!({"status": "FAILED", "reasoning": "nobody passed"}));
}

#[test]
fn an_exported_truth_has_two_levels_of_names() {
    let facts = Facts {
        software: Some(vec![Package {
            name: "lammps".to_owned(),
            version: "2023".to_owned(),
            provider: "spack".to_owned(),
            environment: None,
        }]),
        ..Facts::default()
    };
    let truth = json!(truth_by_provider(&facts));
    assert_eq!(truth["software"]["spack"][0]["name"], "lammps");
}
