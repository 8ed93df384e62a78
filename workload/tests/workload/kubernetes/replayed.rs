//! What is made of the answers of an API server: recorded, changed, damaged, or missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use protocol::units::GiB;
use serde_json::{Value, json};
use workload::error::WorkloadError;
use workload::kubernetes::manifest::Manifest;
use workload::kubernetes::{Kubernetes, KubernetesOptions, KubernetesReader};
use workload::read::{NativeId, ReadSide, RunState, Slots};
use workload::submit::{SubmitRequest, SubmitSide};

use super::server::{
    Answer, EVENTS, JOBS, MAKE, NODES, OUR_PODS, PODS, QUOTAS, Server, VERSION, document, file, recording,
    says,
};
use crate::setting::{Setting, log_of, seconds, status_of};

#[tokio::test]
async fn the_site_is_read() {
    let server = Server::start().without_quota();
    let reader = server.reader();
    let capacity = reader.capacity().await.unwrap();
    assert_eq!(capacity.total, Slots { cores: 16, memory_gib: Some(GiB::from(80)), gpus: 2 });
    // A pod of one core waits for its image, one of 1.5 cores runs, each with 64 MiB.
    assert_eq!((capacity.free.cores, capacity.free.gpus), (2 + 3 + 8, 2));
    let memory = capacity.free.memory_gib.unwrap().get();
    assert!((memory - (80.0 - 0.125)).abs() < 1e-9, "{memory}");
    assert_eq!((capacity.running, capacity.queued, capacity.accepting), (1, 3, true));
    let inventory = reader.inventory().await.unwrap().unwrap();
    assert_eq!((inventory.nodes_out, inventory.groups.len()), (1, 2));
    let general = &inventory.groups[0];
    assert_eq!((general.nodes, general.nodes_free, general.cores_free), (2, Some(0), Some(5)));
    let gpu = &inventory.groups[1];
    assert_eq!((gpu.nodes, gpu.nodes_free, gpu.gpus_free), (1, Some(1), Some(2)));
    assert_eq!((gpu.gpu_model.as_deref(), gpu.architecture.as_deref()), (Some("h100"), Some("x86_64")));
    assert_eq!(gpu.gpu_memory_gib, Some(GiB::saturating(81_559.0 / 1024.0)));
    let queue = reader.queue().await.unwrap();
    let names: Vec<&str> = queue.iter().map(|job| job.native.0.as_str()).collect();
    assert_eq!(names, ["running", "no-image", "waits", "quota"]);
    assert_eq!((queue[0].state, queue[0].takes.cores), (RunState::Running, 2));
    let query = &server.asked(PODS)[0].query;
    assert!(query.contains("fieldSelector=status.phase%21%3DSucceeded"), "{query}");
}

#[tokio::test]
async fn the_quota_of_the_namespace_counts() {
    let server = Server::start();
    let reader = server.reader();
    let capacity = reader.capacity().await.unwrap();
    assert_eq!(capacity.total, Slots { cores: 10, memory_gib: Some(GiB::from(1)), gpus: 1 });
    // More is asked for already than it allows.
    assert_eq!((capacity.free.cores, capacity.free.gpus), (0, 1));
    let one = Allocation { nodes: 0, cores: 1, gpus: 0 };
    assert_eq!(reader.estimated_start(&one).await.unwrap(), None);
    server.answers(QUOTAS, says(403, "forbidden.json"));
    assert!(reader.estimated_start(&one).await.unwrap().is_some());
    assert_eq!(reader.capacity().await.unwrap().total.cores, 16);
}

#[tokio::test]
async fn recorded_endings_are_understood() {
    let server = Server::start();
    let reader = server.reader();
    for (name, state, code) in [
        ("running", RunState::Running, None),
        ("done", RunState::Completed, Some(0)),
        ("failed", RunState::Failed, Some(3)),
        // Its `kill -9 $$` was one for `$`, which is why words are escaped.
        ("signal", RunState::Failed, Some(2)),
        ("late", RunState::TimedOut, None),
        ("cancelled", RunState::Cancelled, None),
        ("waits", RunState::Queued, None),
        ("no-image", RunState::Queued, None),
        ("quota", RunState::Queued, None),
    ] {
        let accounting = reader.accounting(&NativeId(name.to_owned())).await.unwrap();
        assert_eq!((accounting.state, accounting.exit_code), (state, code), "{name}");
        assert_eq!(accounting.ended_at.is_some(), state.is_terminal(), "{name}");
    }
}

#[tokio::test]
async fn what_may_not_be_seen_is_unknown() {
    let server = Server::start().without_quota();
    let reader = server.reader();
    server.answers(PODS, says(403, "forbidden.json"));
    let said = reader.capacity().await.unwrap_err().to_string();
    assert!(said.starts_with("counting what is free failed: GET pods failed: HTTP status 403"), "{said}");
    let groups = reader.inventory().await.unwrap().unwrap().groups;
    assert_eq!((groups[0].cores_per_node, groups[0].cores_free, groups[0].nodes_free), (4, None, None));
    let one = Allocation { nodes: 0, cores: 1, gpus: 0 };
    assert_eq!(reader.estimated_start(&one).await.unwrap(), None);
    server.answers(NODES, says(403, "forbidden.json"));
    let error = reader.capacity().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UpstreamBad);
    assert!(
        error.to_string().starts_with("GET nodes failed: HTTP status 403: nodes is forbidden"),
        "{error}"
    );
    // The queue is of the namespace.
    assert_eq!(reader.queue().await.unwrap().len(), 4);
    // Work is taken all the same; where it starts, the cluster knows.
    let setting = Setting::new();
    let side = server.open(&setting);
    let mut request = setting.request("unseen", &["true"]);
    assert!(!side.dry_run(&request).await.unwrap().starts_now);
    request.allocation.gpus = 1;
    let refused = side.dry_run(&request).await;
    assert!(matches!(refused, Err(WorkloadError::Refused { field: "allocation.gpus", .. })), "{refused:?}");
}

#[tokio::test]
async fn bad_answers_have_a_typed_reason() {
    let server = Server::start();
    let reader = server.reader();
    for (answer, code) in [
        (says(401, "unauthorized.json"), ErrorCode::UpstreamBad),
        (says(404, "notfound.json"), ErrorCode::UpstreamBad),
        (Answer::Says(429, b"slow down".to_vec()), ErrorCode::Busy),
        (Answer::Says(500, b"{\"kind\":\"Status\",\"message\":\"etcd\"}".to_vec()), ErrorCode::UpstreamBad),
        (Answer::Says(502, b"<html>".to_vec()), ErrorCode::Busy),
        (Answer::Says(200, recording("jobs.json")[..9_000].to_vec()), ErrorCode::UpstreamBad),
        (Answer::Says(200, b"[]".to_vec()), ErrorCode::UpstreamBad),
        (Answer::Says(200, b"null".to_vec()), ErrorCode::UpstreamBad),
        (Answer::Says(200, b"{\"items\": [{\"metadata\": 7}]}".to_vec()), ErrorCode::UpstreamBad),
        (Answer::Says(200, vec![0xff, 0xfe]), ErrorCode::UpstreamBad),
        (Answer::Cut(recording("jobs.json")), ErrorCode::Busy),
        (Answer::Endless, ErrorCode::UpstreamBad),
    ] {
        server.answers(JOBS, answer);
        let error = reader.queue().await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    server.answers(JOBS, document(&json!({"items": null})));
    assert_eq!(reader.queue().await.unwrap(), []);
    // An object without what makes a job is none.
    server.answers(JOBS, document(&json!({"items": [{}, {"metadata": {"name": "x"}}]})));
    assert_eq!(reader.queue().await.unwrap(), []);
}

#[tokio::test]
async fn silence_costs_a_deadline_and_nothing_else() {
    let server = Server::start();
    let mut options = server.options(Path::new("/jobs"));
    options.deadline = Duration::from_millis(200);
    let reader = KubernetesReader::new(options);
    server.answers(JOBS, Answer::Silent);
    let started = Instant::now();
    let error = reader.queue().await.unwrap_err();
    assert!(matches!(error, WorkloadError::Silent { command: "GET jobs", .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    server.answers(JOBS, file("jobs.json"));
    assert_eq!(reader.queue().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_program_for_credentials_that_hangs_costs_a_deadline() {
    let server = Server::start();
    let mut options = server.options(Path::new("/jobs"));
    options.deadline = Duration::from_millis(300);
    let path = options.kubeconfig.clone().unwrap();
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let runs = server.directory.path().join("runs");
    let script = format!("echo run >>'{}'; sleep 5", runs.display());
    let program = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never"});
    config["users"][0]["user"] = json!({"exec": program});
    std::fs::write(&path, config.to_string()).unwrap();
    let reader = KubernetesReader::new(options);
    let started = Instant::now();
    for _ in 0..2 {
        let error = reader.queue().await.unwrap_err();
        assert!(matches!(error, WorkloadError::Silent { .. }), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n", "what hangs hangs once");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_told() {
    let server = Server::start();
    let mut options = server.options(Path::new("/jobs"));
    options.context = Some("elsewhere".to_owned());
    let said = KubernetesReader::new(options.clone()).queue().await.unwrap_err().to_string();
    assert!(said.contains("elsewhere"), "{said}");
    options.context = None;
    std::fs::write(options.kubeconfig.as_ref().unwrap(), "clusters: {").unwrap();
    let error = KubernetesReader::new(options.clone()).queue().await.unwrap_err();
    assert!(
        matches!(error, WorkloadError::CommandFailed { command: "reading the kubeconfig", .. }),
        "{error}"
    );
    options.kubeconfig = Some(PathBuf::from("/no/such/file"));
    assert!(!options.is_installed());
    let said = KubernetesReader::new(options).queue().await.unwrap_err().to_string();
    assert!(said.contains("/no/such/file"), "{said}");
}

#[tokio::test]
async fn long_listings_come_in_pages() {
    let server = Server::start().without_quota();
    let page = file("nodes-page1.json");
    server.answers(NODES, Answer::Once(Box::new(page.clone()), Box::new(file("nodes.json"))));
    let reader = server.reader();
    // One node of the first page, four of the second.
    assert_eq!(reader.capacity().await.unwrap().total.gpus, 4);
    let asked = server.asked(NODES);
    assert!(asked.len() == 2 && asked[1].query.contains("continue="), "{asked:?}");
    // What the server no longer continues is listed from its beginning.
    let expired = Answer::Once(Box::new(says(410, "expired.json")), Box::new(file("nodes.json")));
    server.answers(NODES, Answer::Once(Box::new(page.clone()), Box::new(expired)));
    assert_eq!(reader.capacity().await.unwrap().total.gpus, 2);
    // Once.
    let for_ever = says(410, "expired.json");
    let again = Answer::Once(Box::new(page.clone()), Box::new(for_ever.clone()));
    let again = Answer::Once(Box::new(for_ever), Box::new(again));
    server.answers(NODES, Answer::Once(Box::new(page), Box::new(again)));
    assert!(reader.capacity().await.is_err());
}

fn made(server: &Server) -> Vec<Value> {
    server.asked(MAKE).iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
}

/// A Job and its pod as the server would list them.
fn list(server: &Server, state: &Value, phase: &str, condition: Option<(&str, &str)>) {
    let mut job = made(server).pop().unwrap();
    job["metadata"]["creationTimestamp"] = json!("2026-11-21T03:27:45Z");
    job["metadata"]["uid"] = json!("job-uid");
    if let Some((kind, reason)) = condition {
        job["status"] = json!({"conditions": [{"type": kind, "status": "True", "reason": reason,
            "lastTransitionTime": "2026-11-21T03:28:45Z"}]});
    }
    let name = job["metadata"]["name"].clone();
    let pod = json!({
        "metadata": {"name": "pod", "uid": "pod-uid", "labels": {"job-name": name},
            "creationTimestamp": "2026-11-21T03:27:46Z", "ownerReferences": [{"uid": "job-uid", "kind": "Job",
                "name": name, "apiVersion": "batch/v1"}]},
        "spec": {"containers": job.pointer("/spec/template/spec/containers").unwrap()},
        "status": {"phase": phase, "startTime": "2026-11-21T03:27:46Z", "containerStatuses": [{"name": "work",
            "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    });
    server.answers(JOBS, document(&json!({"items": [job]})));
    server.answers(OUR_PODS, document(&json!({"items": [pod]})));
}

fn running() -> Value {
    json!({"running": {"startedAt": "2026-11-21T03:27:46Z"}})
}

fn terminated(code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
        "startedAt": "2026-11-21T03:27:46Z", "finishedAt": "2026-11-21T03:28:00Z"}})
}

#[tokio::test]
async fn a_job_is_followed_and_its_log_copied() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let job = side.submit(setting.request("followed", &["printf", "a"])).await.unwrap();
    assert!(job.0.starts_with("parley-followed-1-"), "{job}");
    let log = "GET /api/v1/namespaces/default/pods/pod/log";
    server.answers(log, file("log.txt"));
    list(&server, &running(), "Running", None);
    assert_eq!(status_of(&side, &job).await.state(), RunState::Running);
    assert_eq!(log_of(&side, &job).await, "out\nmore\n");
    let mut more = recording("log.txt");
    more.extend_from_slice(b"2026-11-21T03:28:00.5Z the end");
    server.answers(log, Answer::Says(200, more));
    assert_eq!(status_of(&side, &job).await.state(), RunState::Running);
    // It may not be the end of the line.
    assert_eq!(log_of(&side, &job).await, "out\nmore\n");
    list(&server, &terminated(0), "Succeeded", Some(("Complete", "")));
    let status = status_of(&side, &job).await;
    assert_eq!((status.state(), status.accounting.exit_code), (RunState::Completed, Some(0)));
    assert_eq!(status.accounting.observed().runtime_seconds, seconds(14.0));
    assert_eq!(log_of(&side, &job).await, "out\nmore\nthe end");
    let asked = server.asked(log);
    assert!(!asked[0].query.contains("sinceTime"), "{asked:?}");
    assert!(asked[1].query.contains("sinceTime=2026-11-21T03%3A27%3A46Z"), "{asked:?}");
    // What is over is not asked about again.
    server.answers(JOBS, Answer::Silent);
    assert_eq!(status_of(&side, &job).await.state(), RunState::Completed);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_changes_nothing_else() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let job = side.submit(setting.request("no-log", &["true"])).await.unwrap();
    server.answers("GET /api/v1/namespaces/default/pods/pod/log", Answer::Cut(recording("log.txt")));
    list(&server, &terminated(4), "Failed", Some(("Failed", "BackoffLimitExceeded")));
    let status = status_of(&side, &job).await;
    assert_eq!((status.state(), status.accounting.exit_code), (RunState::Failed, Some(4)));
    assert_eq!(status.error.unwrap().message, "it ended with exit code 4");
    assert_eq!(log_of(&side, &job).await, "out\nmore\n");
}

#[tokio::test]
async fn what_the_cluster_did_to_a_job_is_its_reason() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    for (index, (state, of_pod, said)) in [
        (
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            json!({}),
            "it needed more memory than its limit and was ended (OOMKilled)",
        ),
        (
            json!({"terminated": {"exitCode": 128, "reason": "ContainerCannotRun", "message": "no /bin/sh"}}),
            json!({}),
            "its container could not run (ContainerCannotRun: no /bin/sh)",
        ),
        (
            json!({}),
            json!({"reason": "Evicted", "message": "The node was low on resource: memory."}),
            "the cluster ended its pod (Evicted: The node was low on resource: memory.)",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let side = server.open(&setting);
        let job = side.submit(setting.request(&format!("done-{index}"), &["true"])).await.unwrap();
        list(&server, &state, "Failed", Some(("Failed", "BackoffLimitExceeded")));
        let mut pods = recorded_answer(&server, OUR_PODS);
        for (key, value) in of_pod.as_object().unwrap() {
            pods["items"][0]["status"][key] = value.clone();
        }
        server.answers(OUR_PODS, document(&pods));
        let status = status_of(&side, &job).await;
        assert_eq!((status.state(), status.error.unwrap().message.as_str()), (RunState::Failed, said));
    }
}

fn recorded_answer(server: &Server, what: &str) -> Value {
    let answers = server.answers.lock().unwrap();
    let said = answers.get(what).and_then(|answer| match answer {
        Answer::Says(_, body) => serde_json::from_slice(body).ok(),
        _ => None,
    });
    said.unwrap()
}

#[tokio::test]
async fn what_never_begins_is_given_up_with_its_reason() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let job = side.submit(setting.request("stuck", &["true"])).await.unwrap();
    let patch = format!("PATCH /apis/batch/v1/namespaces/default/jobs/{job}");
    // A pod that waits for a node is in the queue, whatever is said about it.
    list(&server, &json!({}), "Pending", None);
    let event = |uid: &str, reason: &str, message: &str| {
        json!({"involvedObject": {"uid": uid}, "reason": reason, "message": message, "metadata": {"name": "e"},
            "lastTimestamp": "2026-11-21T03:28:00Z", "type": "Warning"})
    };
    let say = |event: Value| server.answers(EVENTS, document(&json!({"items": [event]})));
    say(event("pod-uid", "FailedScheduling", "0/4 nodes are available"));
    assert_eq!(status_of(&side, &job).await.state(), RunState::Queued);
    // No pod is made because of a quota: that may pass.
    let no_pods = document(&json!({"items": []}));
    server.answers(OUR_PODS, no_pods.clone());
    say(event("job-uid", "FailedCreate", "pods \"x\" is forbidden: exceeded quota: small"));
    assert_eq!(status_of(&side, &job).await.state(), RunState::Queued);
    assert!(server.asked(&patch).is_empty());
    // Because of a policy: that does not.
    say(event("job-uid", "FailedCreate", "pods \"x\" is forbidden: violates PodSecurity \"restricted\""));
    let status = status_of(&side, &job).await;
    let error = status.error.clone().unwrap();
    assert_eq!((status.state(), error.code), (RunState::Failed, ErrorCode::UpstreamBad));
    assert!(error.message.contains("violates PodSecurity"), "{error:?}");
    assert_eq!(server.asked(&patch)[0].body, r#"{"spec":{"activeDeadlineSeconds":0}}"#);
    // On a node, with a volume that cannot be mounted.
    let job = side.submit(setting.request("unmounted", &["true"])).await.unwrap();
    list(&server, &json!({"waiting": {"reason": "ContainerCreating"}}), "Pending", None);
    let mut pods = recorded_answer(&server, OUR_PODS);
    pods["items"][0]["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T03:27:46Z"}]);
    server.answers(OUR_PODS, document(&pods));
    server.answers(EVENTS, says(403, "forbidden.json"));
    assert_eq!(status_of(&side, &job).await.state(), RunState::Queued);
    say(event("pod-uid", "FailedMount", "hostPath type check failed: /jobs is not a directory"));
    let status = status_of(&side, &job).await;
    assert!(status.error.unwrap().message.contains("FailedMount: hostPath type check failed"));
}

#[tokio::test]
async fn a_deleted_job_is_what_its_script_noted() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let request = setting.request("deleted", &["true"]);
    let job = side.submit(request.clone()).await.unwrap();
    server.answers(JOBS, document(&json!({"items": []})));
    let status = status_of(&side, &job).await;
    assert_eq!((status.state(), status.error.unwrap().code), (RunState::Unknown, ErrorCode::Internal));
    let job = side.submit(setting.request("noted", &["true"])).await.unwrap();
    let notes = setting.root().join("jobs/noted/.parley-1");
    std::fs::create_dir(&notes).unwrap();
    std::fs::write(notes.join("started"), "1795231666\n").unwrap();
    std::fs::write(notes.join("ended"), "7 1795231670\n").unwrap();
    let status = status_of(&side, &job).await;
    assert_eq!((status.state(), status.accounting.exit_code), (RunState::Failed, Some(7)));
    assert_eq!(status.error.unwrap().message, "it ended with exit code 7");
}

#[tokio::test]
async fn a_lost_answer_makes_one_job() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let mut options = server.options(setting.root());
    options.deadline = Duration::from_millis(300);
    let side = Kubernetes::open(options, setting.state(), Arc::new(SystemClock)).unwrap();
    // It was taken, and the answer is lost: the second try finds it.
    let taken = Answer::Once(Box::new(Answer::Silent), Box::new(says(409, "alreadyexists.json")));
    server.answers(MAKE, taken);
    let request = setting.request("once", &["true"]);
    let name = "parley-once-1-".to_owned();
    let first = {
        let submitting = side.submit(request.clone());
        let answering = async {
            while server.asked(MAKE).is_empty() {
                tokio::task::yield_now().await;
            }
            let job = made(&server).pop().unwrap();
            let get = format!("{JOBS}/{}", job["metadata"]["name"].as_str().unwrap());
            server.answers(&get, document(&job));
        };
        let (native, ()) = tokio::join!(submitting, answering);
        native.unwrap()
    };
    assert!(first.0.starts_with(&name));
    assert_eq!(side.submit(request).await.unwrap(), first);
    assert_eq!(server.asked(MAKE).len(), 2);
    // It was not taken, as far as anybody can tell: it never starts.
    server.answers(MAKE, Answer::Silent);
    let request: SubmitRequest = setting.request("lost", &["true"]);
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Doubtful { .. }), "{error}");
    assert!(request.directory.join(".parley-1").is_dir());
    assert!(matches!(side.submit(request).await, Err(WorkloadError::Doubtful { .. })));
}

#[tokio::test]
async fn refusals_of_the_cluster_name_their_field() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let request = setting.request("refused", &["true"]);
    server.answers(MAKE, says(422, "invalid.json"));
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "allocation", .. }), "{error}");
    server.answers(MAKE, says(403, "exceeded.json"));
    assert_eq!(side.dry_run(&request).await.unwrap_err().code(), ErrorCode::Busy);
    assert!(server.asked(MAKE).last().unwrap().query.contains("dryRun=All"));
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(error.to_string().contains("exceeded quota: jobs"), "{error}");
    server.answers(MAKE, Answer::Says(429, Vec::new()));
    assert_eq!(side.submit(request.clone()).await.unwrap_err().code(), ErrorCode::Busy);
    // Nothing was handed over by any of these, so another request of the attempt is no conflict.
    server.answers.lock().unwrap().remove(MAKE);
    let mut other = request;
    other.argv.push("--now".to_owned());
    side.submit(other).await.unwrap();
}

#[tokio::test]
async fn what_a_pod_would_wait_for_in_vain_is_refused() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let mut options = server.options(setting.root());
    options.volume = Some(format!("jobs:{}", setting.root().display()).parse().unwrap());
    let side = Kubernetes::open(options, setting.state(), Arc::new(SystemClock)).unwrap();
    let mut request = setting.request("named", &["true"]);
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(error.to_string().contains("claim \"jobs\""), "{error}");
    server.answers("GET /api/v1/namespaces/default/persistentvolumeclaims/jobs", document(&json!({})));
    request.placement.qos = Some("urgent".to_owned());
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "placement.qos", .. }), "{error}");
    // What may not be read may be there.
    server.answers("GET /apis/scheduling.k8s.io/v1/priorityclasses/urgent", says(403, "forbidden.json"));
    side.submit(request).await.unwrap();
    assert_eq!(made(&server)[0]["spec"]["template"]["spec"]["priorityClassName"], "urgent");
}

#[tokio::test]
async fn without_a_volume_or_an_image_there_is_the_read_side() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let request = setting.request("nowhere", &["true"]);
    let without = |change: fn(&mut KubernetesOptions)| {
        let mut options = server.options(setting.root());
        change(&mut options);
        Kubernetes::open(options, setting.state(), Arc::new(SystemClock)).unwrap()
    };
    let side = without(|options| options.volume = None);
    assert!(!side.capacity().await.unwrap().accepting);
    for error in [
        side.submit(request.clone()).await.unwrap_err(),
        side.dry_run(&request).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("no volume is named"), "{error}");
    }
    let side = without(|options| options.image = None);
    let error = side.submit(request.clone()).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "image", .. }), "{error}");
    let side = without(|options| options.volume = Some("claim:/elsewhere".parse().unwrap()));
    let error = side.submit(request).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "directory", .. }), "{error}");
    assert!(server.asked(MAKE).is_empty());
}

#[tokio::test]
async fn the_job_is_read_back_as_it_was_meant() {
    let server = Server::start().without_quota();
    let setting = Setting::new();
    let side = server.open(&setting);
    let mut request = setting.request("Meant_so", &["a", "$(X)"]);
    request.environment.insert("X".to_owned(), "$y".to_owned());
    request.memory_limit = Some(GiB::from(2));
    request.time_limit = seconds(90.5);
    side.submit(request.clone()).await.unwrap();
    let document = made(&server).pop().unwrap();
    let manifest = Manifest::read(&serde_json::from_value(document.clone()).unwrap()).unwrap();
    assert_eq!((&manifest.argv, &manifest.directory), (&request.argv, &request.directory));
    assert_eq!(manifest.environment["X"], "$y");
    assert_eq!((manifest.memory, manifest.active_deadline_seconds), (Some(2 << 30), Some(91)));
    let pod = &document["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["automountServiceAccountToken"], &pod["restartPolicy"]),
        (&json!(false), &json!("Never"))
    );
    assert_eq!(document["spec"]["backoffLimit"], 0);
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"cpu": "1", "memory": "2147483648"}));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(document["metadata"]["labels"]["parley/job"], "Meant_so");
}

/// One place of a document is changed, or the text is cut.
fn damaged(text: &[u8], at: usize, kind: u8) -> Vec<u8> {
    let mut text = text.to_vec();
    let at = at % text.len();
    match kind % 4 {
        0 => text.truncate(at),
        1 => text[at] = kind,
        2 => text.insert(at, b'"'),
        _ => drop(text.drain(at..(at + usize::from(kind)).min(text.len()))),
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_answers_name_no_job_that_was_not_recorded(which in 0_usize..6, at in any::<usize>(), kind in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start();
            let (what, name) = [(NODES, "nodes.json"), (PODS, "pods.json"), (OUR_PODS, "pods.json"),
                (JOBS, "jobs.json"), (QUOTAS, "resourcequotas.json"), (VERSION, "version.json")][which];
            server.answers(what, Answer::Says(200, damaged(&recording(name), at, kind)));
            let reader = server.reader();
            if let Ok(queue) = reader.queue().await {
                let known = ["running", "no-image", "waits", "quota", "done", "failed", "signal", "late", "cancelled"];
                // A name whose own letters were changed is all that may be new.
                let new = queue.iter().filter(|job| !known.contains(&job.native.0.as_str())).count();
                prop_assert!(new <= 1 && queue.len() <= known.len(), "{:?}", queue);
            }
            let _ = (reader.capacity().await, reader.inventory().await);
            Ok(())
        })?;
    }
}
