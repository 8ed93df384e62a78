use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use protocol::ids::{Digest, JobId};
use protocol::job::AttemptNumber;
use protocol::units::{GiB, Timestamp};

use super::*;
use crate::flux::nodes::Listings;
use crate::submit::Placement;

/// Four nodes of 16 cores, two of them with 4 GPUs; queue `gpu` has these, `batch` the others, `off` is closed.
fn cluster(with_queues: bool) -> Cluster {
    let all = r#"{"execution": {"R_lite": [{"rank": "0-1", "children": {"core": "0-15"}},
        {"rank": "2-3", "children": {"core": "0-15", "gpu": "0-3"}}],
        "properties": {"cpu": "0-1", "accelerated": "2-3", "big": "3"}}}"#;
    let queues = if with_queues {
        "batch|batch*|enabled|started|y|y|inf|inf|0-200\n\
         gpu|gpu|enabled|started|y|y|600.0|86400.0|0-2\noff|off|disabled|started|n|y|inf|inf|0-inf\n"
    } else {
        "||enabled|started|y|y|inf|inf|0-inf\n"
    };
    let listings = Listings {
        all: all.to_owned(),
        free: all.to_owned(),
        status: "avail|avail|online|4|0-3|n[0-3]||\n".to_owned(),
        queues: queues.to_owned(),
        configuration:
            r#"{"queues": {"batch": {"requires": ["cpu"]}, "gpu": {"requires": ["accelerated"]}}}"#.to_owned(),
    };
    Cluster::read(&listings, None).unwrap()
}

fn request(nodes: u32, cores: u32, gpus: u32) -> SubmitRequest {
    SubmitRequest {
        job_id: JobId::parse("job-1").unwrap(),
        attempt: AttemptNumber::FIRST,
        argv: vec!["true".to_owned()],
        environment: BTreeMap::new(),
        directory: PathBuf::from("/jobs/1"),
        allocation: Allocation { nodes, cores, gpus },
        placement: Placement::default(),
        memory_limit: None,
        time_limit: None,
    }
}

fn record(request: &SubmitRequest) -> Record {
    Record {
        job_id: request.job_id.clone(),
        attempt: request.attempt,
        digest: Digest::of(b""),
        directory: request.directory.clone(),
        submitted_at: Timestamp::from_millis(1),
        own_limit: None,
        native: None,
        withdrawn: false,
        stop_asked: false,
        ended: None,
    }
}

fn of(request: &SubmitRequest) -> Result<Jobspec, WorkloadError> {
    Jobspec::of(request, "parley-job-1.1".to_owned(), &cluster(true))
}

fn document(request: &SubmitRequest) -> Value {
    of(request).unwrap().document(request, &record(request), Path::new("/usr/bin/flux"))
}

/// What `flux batch --dry-run` of 0.88.0 printed for the same sizes.
#[test]
fn the_document_is_that_of_flux_batch() {
    let recorded = |file: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flux-0.88").join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let theirs = recorded("batch-dryrun-N2.json");
    let ours = document(&request(2, 0, 0));
    assert_eq!(ours["resources"], theirs["resources"]);
    assert_eq!(ours["tasks"][0]["command"][2], theirs["tasks"][0]["command"][2]);
    let theirs = recorded("batch-dryrun-n4-c2-g1.json");
    let mut request = request(0, 8, 4);
    request.placement.tasks = Some(4);
    request.time_limit = Some(Seconds::from(1800));
    // Theirs may be spread; ours fits one node and stays there.
    let ours = document(&request);
    assert_eq!(ours["resources"][0]["with"], theirs["resources"]);
    for part in ["version", "/tasks/0/slot", "/tasks/0/count", "/attributes/system/duration"] {
        assert_eq!(ours.pointer(part), theirs.pointer(part), "{part}");
    }
    let options = |document: &Value| {
        let mut options = document.pointer("/attributes/system/shell/options").unwrap().clone();
        // They take the limits of the shell that `flux batch` runs in, and name another file.
        options.as_object_mut().unwrap().remove("rlimit");
        options["output"]["stdout"]["path"] = json!("");
        options
    };
    assert_eq!(options(&ours), options(&theirs));
    let script = |document: &Value| document.pointer("/attributes/system/files/script").unwrap().clone();
    assert_eq!(script(&ours)["mode"], script(&theirs)["mode"]);
    assert_eq!(script(&ours)["encoding"], script(&theirs)["encoding"]);
}

#[test]
fn the_queue_is_one_that_can_run_it() {
    let queue = |nodes, cores, gpus| of(&request(nodes, cores, gpus)).map(|jobspec| jobspec.queue.unwrap());
    assert_eq!(queue(0, 1, 0).unwrap(), "batch");
    assert_eq!(queue(2, 32, 0).unwrap(), "batch");
    assert_eq!(queue(0, 8, 4).unwrap(), "gpu");
    let field = |result: Result<String, WorkloadError>| match result {
        Err(WorkloadError::Refused { field, reason }) => (field, reason),
        other => panic!("{other:?}"),
    };
    // The default queue says what it lacks.
    assert_eq!(field(queue(0, 1, 9)).1, "9 asked for, queue batch has 0");
    assert_eq!(field(queue(3, 0, 0)), ("allocation.nodes", "3 asked for, queue batch gives 2".to_owned()));
    let anonymous = Jobspec::of(&request(4, 0, 0), "x".to_owned(), &cluster(false)).unwrap();
    assert_eq!((anonymous.nodes, anonymous.queue), (Some(4), None));
}

#[test]
fn time_is_the_limit_or_twice_what_is_expected() {
    let asked = |gpus, limit: Option<f64>, expected: Option<f64>| {
        let mut request = request(0, 1, gpus);
        request.time_limit = limit.map(Seconds::saturating);
        request.placement.expected_runtime = expected.map(Seconds::saturating);
        of(&request).unwrap().duration
    };
    assert_eq!(asked(0, Some(0.2), Some(50.0)), 0.2);
    assert_eq!(asked(0, None, Some(50.0)), 100.0);
    assert_eq!(asked(1, None, Some(80_000.0)), 86_400.0);
    // The queue has a default, which counts.
    assert_eq!(asked(1, None, None), 0.0);
}

#[test]
fn what_flux_has_no_place_for_is_refused() {
    type Change = fn(&mut SubmitRequest);
    let refusals: [(&str, Change); 15] = [
        ("memory_limit", |request| request.memory_limit = Some(GiB::from(1))),
        ("time_limit", |request| request.time_limit = Some(Seconds::ZERO)),
        ("placement.qos", |request| request.placement.qos = Some("high".to_owned())),
        ("placement.gpu_model", |request| {
            request.allocation.gpus = 1;
            request.placement.gpu_model = Some("h100".to_owned());
        }),
        ("argv", |request| request.argv.push("{{tmpdir}}".to_owned())),
        ("directory", |request| request.directory = PathBuf::from("/tmp/{{id}}")),
        ("directory", |request| request.directory = PathBuf::from("jobs")),
        ("placement.partition", |request| request.placement.partition = Some("off".to_owned())),
        ("placement.partition", |request| {
            request.placement.partition = Some("batch --urgency=31".to_owned())
        }),
        ("placement.account", |request| request.placement.account = Some("a\nb".to_owned())),
        ("placement.constraint", |request| request.placement.constraint = Some("quantum".to_owned())),
        ("placement.constraint", |request| request.placement.constraint = Some("a or b".to_owned())),
        ("placement.tasks", |request| request.placement.tasks = Some(7)),
        ("allocation.gpus", |request| {
            request.allocation = Allocation { nodes: 0, cores: 4, gpus: 3 };
            request.placement.tasks = Some(2);
        }),
        ("allocation", |request| {
            request.allocation = Allocation { nodes: 0, cores: 30, gpus: 0 };
            request.placement.tasks = Some(1);
        }),
    ];
    for (at, (expected, change)) in refusals.into_iter().enumerate() {
        let mut request = request(0, 4, 0);
        change(&mut request);
        match of(&request) {
            Err(WorkloadError::Refused { field, .. }) => assert_eq!(field, expected, "{at}"),
            other => panic!("{at} {expected}: {other:?}"),
        }
    }
}

#[test]
fn properties_choose_nodes() {
    let mut request = request(1, 0, 4);
    request.placement.constraint = Some("accelerated&^big".to_owned());
    assert_eq!(of(&request).unwrap().properties, ["accelerated", "^big"]);
    request.allocation.nodes = 2;
    assert!(of(&request).is_err(), "one of the two is big");
}

fn word() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z][a-z0-9_.-]{0,12}")
}

prop_compose! {
    fn requests()(
        nodes in 0_u32..4,
        tasks in prop::option::of(1_u32..9),
        per_task in 1_u32..9,
        gpus in 0_u32..9,
        limit in prop::option::of(0.1_f64..100_000.0),
        partition in prop::option::of(prop::sample::select(vec!["batch", "gpu", "off"])),
        account in word(),
        constraint in prop::option::of(prop::sample::select(vec!["cpu", "big", "accelerated&^big", "^cpu"])),
        argv in prop::collection::vec("\\PC{0,20}", 1..5),
        environment in prop::collection::btree_map("[A-Z]{1,8}", "\\PC{0,20}|[$\"'\n\\\\{}]{0,9}", 0..4),
    ) -> SubmitRequest {
        let mut request = request(nodes, tasks.unwrap_or(nodes.max(1)) * per_task, gpus);
        request.time_limit = limit.map(Seconds::saturating);
        request.argv = argv;
        request.environment = environment;
        request.placement.tasks = tasks;
        request.placement.partition = partition.map(str::to_owned);
        request.placement.account = account;
        request.placement.constraint = constraint.map(str::to_owned);
        request
    }
}

proptest! {
    /// A request is refused, or everything in it can be read back from the document.
    #[test]
    fn nothing_of_a_request_gets_lost(request in requests()) {
        let Ok(jobspec) = of(&request) else { return Ok(()) };
        let text = jobspec.document(&request, &record(&request), Path::new("/usr/bin/flux")).to_string();
        let document: Value = serde_json::from_str(&text).unwrap();
        let read = Jobspec::read(&document);
        prop_assert_eq!(read.as_ref(), Some(&jobspec));
        prop_assert_eq!(jobspec.asked(), request.allocation);
        if let Some(tasks) = request.placement.tasks {
            prop_assert_eq!(jobspec.slots, tasks);
        }
        if let Some(limit) = request.time_limit {
            prop_assert_eq!(jobspec.duration, limit.get());
        }
        prop_assert_eq!(&jobspec.bank, &request.placement.account);
        if request.placement.partition.is_some() {
            prop_assert_eq!(&jobspec.queue, &request.placement.partition);
        }
        let constraint = request.placement.constraint.clone().unwrap_or_default();
        prop_assert_eq!(jobspec.properties.join("&"), constraint);
        let command: Vec<String> = serde_json::from_value(document["tasks"][0]["command"].clone()).unwrap();
        prop_assert_eq!(&command[5..], &request.argv[..]);
        prop_assert_eq!(command.iter().filter(|word| word.contains("{{")).count(), 1);
        for (name, value) in &request.environment {
            prop_assert_eq!(&document["attributes"]["system"]["environment"][name], value);
        }
    }
}
