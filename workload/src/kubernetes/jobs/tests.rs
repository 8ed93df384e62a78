//! Beside the recordings: what newer clusters say, in the form that their documentation gives it.

use serde_json::{Value, json};

use super::*;

fn work(conditions: Value, pod: Option<Value>) -> Work {
    let job = json!({"metadata": {"name": "j", "uid": "u", "creationTimestamp": "2026-11-21T03:27:45Z"},
        "status": {"conditions": conditions}});
    let pod = pod.map(|pod| serde_json::from_value(pod).unwrap());
    Work { job: serde_json::from_value(job).unwrap(), pod }
}

fn pod(phase: &str, deleted: bool) -> Option<Value> {
    let mut pod = json!({"metadata": {"name": "p"}, "status": {"phase": phase}});
    if deleted {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-21T03:28:45Z");
    }
    Some(pod)
}

fn state(work: &Work) -> RunState {
    let standing = work.standing(&Complaints::default(), Timestamp::default(), Seconds::ZERO);
    standing.unwrap().accounting.state
}

#[test]
fn a_job_is_over_when_its_pod_is() {
    let none = json!([]);
    // Since 1.31 a Job says that it will fail before its pods are gone.
    let will_fail = json!([{"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded"}]);
    let failed = |reason: &str| json!([{"type": "Failed", "status": "True", "reason": reason}]);
    let complete =
        json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]);
    for (conditions, pod, expected) in [
        (none.clone(), None, RunState::Queued),
        (none.clone(), pod("Pending", false), RunState::Queued),
        (none.clone(), pod("Running", false), RunState::Running),
        (none.clone(), pod("Unknown", false), RunState::Running),
        (none.clone(), pod("Succeeded", false), RunState::Completed),
        (none.clone(), pod("Failed", false), RunState::Failed),
        // It is being taken away; the Job will say how it ends.
        (none, pod("Failed", true), RunState::Running),
        (will_fail, pod("Running", true), RunState::Running),
        (failed("DeadlineExceeded"), pod("Failed", true), RunState::Cancelled),
        (failed("DeadlineExceeded"), None, RunState::Cancelled),
        (failed("BackoffLimitExceeded"), None, RunState::Failed),
        (failed("BackoffLimitExceeded"), pod("Failed", false), RunState::Failed),
        (complete, None, RunState::Completed),
        (json!([{"type": "Complete", "status": "False"}]), pod("Running", false), RunState::Running),
        (json!([{"type": "Suspended", "status": "True"}]), None, RunState::Queued),
    ] {
        let work = work(conditions, pod);
        assert_eq!(state(&work), expected, "{work:?}");
    }
}

#[test]
fn a_pod_that_is_gone_leaves_the_word_of_its_job() {
    let conditions = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit"}]);
    let standing =
        work(conditions, None).standing(&Complaints::default(), Timestamp::default(), Seconds::ZERO);
    let error = standing.unwrap().error.unwrap();
    assert_eq!(
        error.message,
        "its pod is gone (BackoffLimitExceeded: Job has reached the specified backoff limit)"
    );
}

#[test]
fn pods_belong_to_the_job_that_owns_them() {
    let job = |uid: &str| serde_json::from_value(json!({"metadata": {"name": "j", "uid": uid}})).unwrap();
    let pod = |name: &str, owner: &str, at: &str| {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"job-name": "j"},
            "creationTimestamp": at, "ownerReferences": [{"uid": owner, "kind": "Job", "name": "j", "apiVersion": "v1"}]}}))
        .unwrap()
    };
    let name = |works: BTreeMap<NativeId, Work>| {
        let (_, work) = works.into_iter().next().unwrap();
        work.pod.and_then(|pod| pod.metadata.name)
    };
    let (early, late) = ("2026-11-21T03:27:45Z", "2026-11-21T03:27:46Z");
    let both = vec![pod("new", "u", late), pod("old", "u", early)];
    assert_eq!(name(together(vec![job("u")], both)).as_deref(), Some("new"));
    assert_eq!(name(together(vec![job("another")], vec![pod("old", "u", early)])), None);
}

#[test]
fn a_job_that_is_held_back_can_be_cancelled() {
    let mut work = work(json!([{"type": "Suspended", "status": "True"}]), None);
    let spec = |deadline: Value| {
        let spec = json!({"suspend": true, "template": {}, "activeDeadlineSeconds": deadline});
        Some(serde_json::from_value(spec).unwrap())
    };
    work.job.spec = spec(Value::Null);
    assert_eq!(state(&work), RunState::Queued);
    work.job.spec = spec(json!(0));
    assert_eq!(state(&work), RunState::Cancelled);
}
