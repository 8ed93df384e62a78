//! What `sbatch` says when it does not take a job, as a typed reason.

use crate::error::WorkloadError;

/// What a message means: the field that it is about.
const REFUSALS: &[(&str, &str)] = &[
    ("job violates accounting/qos policy", "policy"),
    ("memory specification can not be satisfied", "memory_limit"),
    ("memory required by task is not available", "memory_limit"),
    ("invalid partition", "placement.partition"),
    ("user's group not permitted to use this partition", "placement.partition"),
    ("account is not permitted to use this partition", "placement.account"),
    ("not permitted to use this partition", "placement.partition"),
    ("invalid account", "placement.account"),
    ("invalid qos", "placement.qos"),
    ("qos not permitted", "placement.qos"),
    ("invalid feature specification", "placement.constraint"),
    ("invalid --time", "time_limit"),
    ("requested time limit is invalid", "time_limit"),
    ("time limit", "time_limit"),
    ("invalid generic resource", "allocation.gpus"),
    ("invalid trackable resource", "allocation.gpus"),
    ("more processors requested than permitted", "allocation.cores"),
    ("node count specification invalid", "allocation.nodes"),
    ("requested node configuration is not available", "allocation"),
    ("nodes required for job are down", "allocation"),
    ("required node not available", "allocation"),
    ("access/permission denied", "permission"),
    ("invalid user id", "permission"),
];

/// What may go away by itself.
const PASSING: &[&str] = &[
    "unable to contact slurm controller",
    "socket timed out",
    "connection refused",
    "connection timed out",
    "unable to establish controller machine",
    "temporarily unable",
    "resource temporarily unavailable",
    "zero bytes were transmitted",
    "slurmctld is in the process of",
];

/// The reason in what `sbatch` said.
pub(super) fn refusal(complaint: &str) -> WorkloadError {
    let text = complaint.to_ascii_lowercase();
    let problem = complaint.to_owned();
    if PASSING.iter().any(|known| text.contains(known)) {
        return WorkloadError::Unavailable { problem };
    }
    match REFUSALS.iter().find(|(known, _)| text.contains(known)) {
        Some((_, field)) => WorkloadError::Refused { field, reason: problem },
        None => WorkloadError::CommandFailed { command: "sbatch", problem },
    }
}

/// Whether a failed `sbatch` may nevertheless have handed its job over: the controller was asked and did
/// not answer.
pub(super) fn is_doubtful(complaint: &str) -> bool {
    let text = complaint.to_ascii_lowercase();
    ["timed out", "zero bytes", "unexpected message", "communication"].iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 22.05 and 26.05 printed.
    #[test]
    fn refusals_name_their_field() {
        for (said, field) in [
            (
                "sbatch: error: Memory specification can not be satisfied sbatch: error: Batch job submission failed: Requested node configuration is not available",
                "memory_limit",
            ),
            (
                "sbatch: error: invalid partition specified: nosuch sbatch: error: Batch job submission failed: Invalid partition name specified",
                "placement.partition",
            ),
            (
                "sbatch: error: Batch job submission failed: Invalid feature specification",
                "placement.constraint",
            ),
            ("allocation failure: Requested node configuration is not available", "allocation"),
            ("sbatch: error: Invalid --time specification", "time_limit"),
            (
                "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
                "placement.account",
            ),
        ] {
            match refusal(said) {
                WorkloadError::Refused { field: found, .. } => assert_eq!(found, field, "{said}"),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn what_may_pass_is_no_refusal() {
        let down = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
        assert!(matches!(refusal(down), WorkloadError::Unavailable { .. }));
        assert!(!is_doubtful(down));
        assert!(is_doubtful(
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
        ));
        assert!(matches!(refusal("segmentation fault"), WorkloadError::CommandFailed { .. }));
    }
}
