//! What the commands of PBS complain about, as typed reasons.

use crate::error::WorkloadError;

/// What a message of `qsub` means: the field that it is about. OpenPBS first, then Torque.
const REFUSALS: &[(&str, &str)] = &[
    ("Unknown queue", "placement.partition"),
    ("Queue is not enabled", "placement.partition"),
    ("Access to queue is denied", "placement.partition"),
    ("Unauthorized Request", "permission"),
    ("Bad UID for job execution", "permission"),
    ("Unknown resource", "placement.constraint"),
    ("Job violates queue and/or server resource limits", "limits"),
    ("Illegal attribute or resource value Resource_List.walltime", "time_limit"),
    ("Illegal attribute or resource value", "allocation"),
    ("Invalid account", "placement.account"),
    ("illegal -A value", "placement.account"),
    ("illegal -N value", "job_id"),
    ("Job name is too long", "job_id"),
    ("illegal -", "request"),
    ("usage:", "request"),
    ("invalid option", "request"),
    ("Job exceeds queue resource limits", "limits"),
    ("cannot satisfy queue max", "limits"),
    ("cannot satisfy queue min", "limits"),
    ("cannot satisfy server max", "limits"),
    ("Cannot locate feasible nodes", "allocation"),
    ("cannot locate feasible nodes", "allocation"),
    ("nodes file is empty", "allocation"),
    ("Queue is not enabled MSG", "placement.partition"),
];

/// What may go away by itself; nothing was taken.
const PASSING: &[&str] = &[
    "would exceed",
    "Maximum number of jobs already in queue",
    "Too many jobs",
    "Server shutting down",
    "Server busy",
];

/// Whether a command found no server to talk to.
pub(super) fn is_absent(complaint: &str) -> bool {
    ["cannot connect to server", "Couldn't connect to cluster", "pbs conf variables not found"]
        .iter()
        .any(|known| complaint.contains(known))
}

/// The reason in what `qsub` said; `None` when that tells nothing, so that the job may have been taken.
pub(super) fn refusal(complaint: &str) -> Option<WorkloadError> {
    let problem = complaint.to_owned();
    if is_absent(complaint) || PASSING.iter().any(|known| complaint.contains(known)) {
        return Some(WorkloadError::Unavailable { problem });
    }
    let (_, field) = REFUSALS.iter().find(|(known, _)| complaint.contains(known))?;
    Some(WorkloadError::Refused { field, reason: problem })
}

/// Whether all that a command complained about is that jobs are over or forgotten.
pub(super) fn is_over(stderr: &str) -> bool {
    let over = ["Unknown Job Id", "Job has finished", "invalid state for job"];
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(|line| over.iter().any(|known| line.contains(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 23.06.06 printed.
    #[test]
    fn refusals_name_their_field() {
        for (said, field) in [
            ("qsub: Unknown queue", "placement.partition"),
            ("qsub: Queue is not enabled", "placement.partition"),
            ("qsub: Unauthorized Request ", "permission"),
            ("qsub: Job violates queue and/or server resource limits", "limits"),
            ("qsub: Unknown resource: nosuchres", "placement.constraint"),
            ("qsub: Illegal attribute or resource value Resource_List.walltime", "time_limit"),
            ("qsub: Illegal attribute or resource value select.ncpus", "allocation"),
            ("qsub: illegal -N value usage: qsub [-a date_time]", "job_id"),
            ("qsub: Job name is too long ", "job_id"),
        ] {
            match refusal(said) {
                Some(WorkloadError::Refused { field: found, .. }) => assert_eq!(found, field, "{said}"),
                other => panic!("{other:?}"),
            }
        }
        for absent in [
            "Connection refused qsub: cannot connect to server node1 (errno=15010)",
            "Connection refused Couldn't connect to cluster: node1",
            "pbsconf error: pbs conf variables not found: PBS_HOME PBS_EXEC PBS_SERVER",
        ] {
            assert!(matches!(refusal(absent), Some(WorkloadError::Unavailable { .. })), "{absent}");
        }
        assert!(refusal("qsub: End of File").is_none());
        assert!(is_over("qdel: Unknown Job Id 99999\nqdel: Job has finished 1.node1\n"));
        assert!(!is_over("qdel: Unknown Job Id 9\nqdel: Unauthorized Request  25.node1\n") && !is_over(""));
    }
}
