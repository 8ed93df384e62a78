//! What `flux job submit` says when it does not take a job, as a typed reason.

use crate::error::WorkloadError;

/// What a message means: the field that it is about.
const REFUSALS: &[(&str, &str)] = &[
    ("requested duration", "time_limit"),
    ("requested nnodes", "allocation.nodes"),
    ("requested ncores", "allocation.cores"),
    ("requested ngpus", "allocation.gpus"),
    ("Invalid queue", "placement.partition"),
    ("job submission to", "placement.partition"),
    ("job submission is disabled", "placement.partition"),
    ("Unsatisfiable request", "allocation"),
    ("invalid jobspec", "request"),
];

/// The reason in what `flux job submit` said; `None` when that tells nothing, so that the job may have
/// been taken.
pub(super) fn refusal(complaint: &str) -> Option<WorkloadError> {
    if super::is_absent(complaint) {
        return Some(WorkloadError::Unavailable { problem: complaint.to_owned() });
    }
    let (_, field) = REFUSALS.iter().find(|(known, _)| complaint.contains(known))?;
    Some(WorkloadError::Refused { field, reason: complaint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 0.88.0 printed, of `flux submit` or `flux job submit`.
    #[test]
    fn refusals_name_their_field() {
        for (said, field) in [
            ("[Errno 22] requested duration (1h) exceeds policy limit of 30m for queue debug", "time_limit"),
            ("[Errno 22] requested nnodes (2) exceeds policy limit of 1 for queue debug", "allocation.nodes"),
            ("[Errno 1] Invalid queue 'nosuch' specified", "placement.partition"),
            ("[Errno 22] job submission to debug is disabled: closed for upgrade", "placement.partition"),
            ("[Errno 19] Unsatisfiable request", "allocation"),
            (
                "flux-job: invalid jobspec: Jobspec.__init__() missing 3 required positional arguments: 'resources', \
                 'tasks', and 'attributes'",
                "request",
            ),
        ] {
            match refusal(said) {
                Some(WorkloadError::Refused { field: found, .. }) => assert_eq!(found, field, "{said}"),
                other => panic!("{other:?}"),
            }
        }
        for absent in [
            "flux-job: flux_open: broker socket /run/flux/local was not found",
            "flux-submit: ERROR: Unable to connect to Flux: broker socket /run/flux/local was not found",
        ] {
            assert!(matches!(refusal(absent), Some(WorkloadError::Unavailable { .. })), "{absent}");
        }
        assert!(refusal("flux-job: Connection reset by peer").is_none());
    }
}
