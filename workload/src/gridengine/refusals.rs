//! What Grid Engine says when it does not take a job, or cannot be reached, as a typed reason.

use crate::error::WorkloadError;

/// What a message means: the field that it is about.
const REFUSALS: &[(&str, &str)] = &[
    ("job requests unknown queue", "placement.partition"),
    ("not have access to queue", "placement.partition"),
    ("access to project", "placement.account"),
    ("the requested project", "placement.account"),
    ("no access to project", "placement.account"),
    ("the requested parallel environment", "allocation.cores"),
    ("unknown resource", "placement.constraint"),
    ("is not a time value", "time_limit"),
    ("(-l h_rt=", "time_limit"),
    ("h_vmem", "memory_limit"),
    ("cannot run in pe", "allocation.cores"),
    ("no suitable queues", "allocation"),
    ("rejected by jsv", "policy"),
    ("job rejected", "policy"),
    ("job was rejected", "policy"),
    ("denied: ", "permission"),
    ("not a submit host", "permission"),
    ("no submit host", "permission"),
    ("not registered", "permission"),
];

/// What may go away by itself.
const PASSING: &[&str] = &["job limit", "max_u_jobs", "max_jobs", "try again later"];

/// Whether a command found no master to talk to.
pub(super) fn is_absent(complaint: &str) -> bool {
    let text = complaint.to_ascii_lowercase();
    [
        "unable to send message to qmaster",
        "unable to contact qmaster",
        "commlib error",
        "sge_root",
        "act_qmaster",
        "unable to read qmaster name",
        "error: can't find cell",
    ]
    .iter()
    .any(|known| text.contains(known))
}

/// Whether the master was asked and may have taken the job nevertheless.
fn is_doubtful(complaint: &str) -> bool {
    let text = complaint.to_ascii_lowercase();
    let lost = ["answer list", "timeout", "timed out", "failed receiving", "got read error", "broken pipe"];
    lost.iter().any(|known| text.contains(known)) || text.contains("got send timeout")
}

/// The reason in what `qsub` said; `None` when that tells nothing, so that the job may have been taken.
pub(super) fn refusal(complaint: &str) -> Option<WorkloadError> {
    let text = complaint.to_ascii_lowercase();
    let problem = complaint.to_owned();
    if is_doubtful(complaint) {
        return None;
    }
    if is_absent(complaint) || PASSING.iter().any(|known| text.contains(known)) {
        return Some(WorkloadError::Unavailable { problem });
    }
    let (_, field) = REFUSALS.iter().find(|(known, _)| text.contains(known))?;
    Some(WorkloadError::Refused { field, reason: problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 8.1.9 printed.
    #[test]
    fn refusals_name_their_field() {
        for (said, field) in [
            (
                "Unable to run job: Job was rejected because job requests unknown queue \"nosuch.q\" Exiting.",
                "placement.partition",
            ),
            (
                "Unable to run job: job rejected: the requested project \"nosuch\" does not exist Exiting.",
                "placement.account",
            ),
            (
                "Unable to run job: job rejected: the requested parallel environment \"nosuch\" does not exist Exiting.",
                "allocation.cores",
            ),
            ("Unable to run job: unknown resource \"nosuch\" Exiting.", "placement.constraint"),
            ("Unable to run job: attribute \"h_rt\" is not a time value Exiting.", "time_limit"),
            (
                "Unable to run job: Job 9 (-l h_rt=7200) cannot run in queue \"short.q\" because of cluster queue \
                 verification: no suitable queues Exiting.",
                "time_limit",
            ),
            (
                "Unable to run job: Job 10 cannot run in PE \"smp\" because it only offers 0 slots verification: no \
                 suitable queues Exiting.",
                "allocation.cores",
            ),
        ] {
            match refusal(said) {
                Some(WorkloadError::Refused { field: found, .. }) => assert_eq!(found, field, "{said}"),
                other => panic!("{said}: {other:?}"),
            }
        }
        for absent in [
            "Unable to run job: unable to send message to qmaster using port 1 on host \"localhost\": got send error Exiting.",
            "error: SGE_ROOT directory \"/nonexistent\" doesn't exist",
            "error: unable to read qmaster name: qmaster hostname in \"/x/common/act_qmaster\" has zero length",
        ] {
            assert!(matches!(refusal(absent), Some(WorkloadError::Unavailable { .. })), "{absent}");
        }
        for doubt in
            ["Unable to run job: Error reading answer list from qmaster Exiting.", "Segmentation fault"]
        {
            assert!(refusal(doubt).is_none(), "{doubt}");
        }
    }
}
