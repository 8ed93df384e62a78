//! The JSON schema of every message, which golden files under `protocol/schemas` pin.

use schemars::{Schema, schema_for};

/// The messages by name, in flow order.
#[must_use]
pub fn messages() -> Vec<(&'static str, Schema)> {
    vec![
        ("request", schema_for!(crate::request::Request)),
        ("understanding", schema_for!(crate::understanding::Understanding)),
        ("requirement", schema_for!(crate::requirement::Requirement)),
        ("call", schema_for!(crate::call::Call)),
        ("facts", schema_for!(crate::facts::Facts)),
        ("reply", schema_for!(crate::proposal::Reply)),
        ("evaluation", schema_for!(crate::evaluation::Evaluation)),
        ("selection", schema_for!(crate::evaluation::Selection)),
        ("negotiation", schema_for!(crate::negotiation::Negotiation)),
        ("negotiation_view", schema_for!(crate::negotiation::NegotiationView)),
        ("notice", schema_for!(crate::negotiation::Notice)),
        ("award", schema_for!(crate::award::Award)),
        ("receipt", schema_for!(crate::award::Receipt)),
        ("reject", schema_for!(crate::award::Reject)),
        ("job_spec", schema_for!(crate::job::JobSpec)),
        ("job", schema_for!(crate::job::Job)),
        ("attempt_report", schema_for!(crate::job::AttemptReport)),
        ("artifact", schema_for!(crate::artifact::Artifact)),
        ("trust_record", schema_for!(crate::trust::TrustRecord)),
        ("trust_evidence", schema_for!(crate::trust::TrustEvidence)),
        ("worker_status", schema_for!(crate::fleet::WorkerStatus)),
        ("manifest", schema_for!(crate::fleet::Manifest)),
        ("join_start", schema_for!(crate::join::JoinStart)),
        ("join_challenge", schema_for!(crate::join::JoinChallenge)),
        ("join_finish", schema_for!(crate::join::JoinFinish)),
        ("registration", schema_for!(crate::join::Registration)),
        ("join_accepted", schema_for!(crate::join::JoinAccepted)),
        ("heartbeat", schema_for!(crate::join::Heartbeat)),
        ("heartbeat_accepted", schema_for!(crate::join::HeartbeatAccepted)),
        ("problem", schema_for!(crate::error::Problem)),
        ("stored_event", schema_for!(crate::event::StoredEvent)),
    ]
}
