use proptest::prelude::*;
use protocol::units::GiB;
use serde_json::json;

use super::*;
use crate::submit::Placement;

/// Two nodes of 16 cores and one of 32 with four GPUs, which takes work with GPUs only.
fn cluster() -> Cluster {
    let node = |name: &str, cores: u32, gpus: u32| {
        let taints =
            if gpus > 0 { json!([{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]) } else { json!([]) };
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"disk": "ssd", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
            "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": cores.to_string(), "memory": "64Gi", "nvidia.com/gpu": gpus.to_string()},
                       "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap()
    };
    Cluster::of(vec![node("a", 16, 0), node("b", 16, 0), node("g", 32, 4)], Some(Vec::new()), &[])
}

fn options() -> KubernetesOptions {
    KubernetesOptions {
        image: Some("registry.example/work:1".to_owned()),
        volume: Some("jobs:/jobs".parse().unwrap()),
        ..KubernetesOptions::of_process()
    }
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

fn of(request: &SubmitRequest) -> Result<Manifest, WorkloadError> {
    Manifest::of(request, &options(), Some(&cluster()))
}

fn refused(change: impl FnOnce(&mut SubmitRequest)) -> &'static str {
    let mut request = request(0, 1, 0);
    change(&mut request);
    match of(&request) {
        Err(WorkloadError::Refused { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_no_place_is_refused() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(refused(|r| r.allocation.nodes = 2), "allocation.nodes");
    assert_eq!(refused(|r| r.allocation.cores = 17), "allocation.cores");
    assert_eq!(refused(|r| r.allocation.gpus = 5), "allocation.gpus");
    assert_eq!(refused(|r| r.memory_limit = Some(GiB::from(65))), "memory_limit");
    assert_eq!(refused(|r| r.memory_limit = Some(GiB::from(0))), "memory_limit");
    assert_eq!(refused(|r| r.time_limit = Some(Seconds::ZERO)), "time_limit");
    assert_eq!(refused(|r| r.time_limit = Some(Seconds::saturating(1e12))), "time_limit");
    assert_eq!(refused(|r| r.placement.partition = some("short")), "placement.partition");
    assert_eq!(refused(|r| r.placement.account = some("physics")), "placement.account");
    assert_eq!(refused(|r| r.placement.qos = some("no such/name")), "placement.qos");
    assert_eq!(refused(|r| r.placement.constraint = some("ssd&big")), "placement.constraint");
    assert_eq!(refused(|r| r.placement.constraint = some("disk=tape")), "placement.constraint");
    assert_eq!(refused(|r| r.placement.tasks = Some(0)), "placement.tasks");
    assert_eq!(refused(|r| (r.allocation.cores, r.placement.tasks) = (4, Some(3))), "placement.tasks");
    assert_eq!(refused(|r| r.directory = PathBuf::from("/jobs/../etc")), "directory");
    assert_eq!(refused(|r| r.directory = PathBuf::from("/jobsx/1")), "directory");
    assert_eq!(refused(|r| r.directory = PathBuf::from("jobs/1")), "directory");
    assert_eq!(refused(|r| r.argv.push("x".repeat(600_000))), "argv");
    let gpu_model = |r: &mut SubmitRequest| (r.allocation.gpus, r.placement.gpu_model) = (1, some("a100"));
    assert_eq!(refused(gpu_model), "placement.gpu_model");
}

#[test]
fn a_whole_node_is_all_of_its_cores() {
    assert_eq!(of(&request(1, 0, 0)).unwrap().allocation, Allocation { nodes: 1, cores: 16, gpus: 0 });
    assert_eq!(of(&request(1, 0, 4)).unwrap().allocation, Allocation { nodes: 1, cores: 32, gpus: 4 });
    let blind = Manifest::of(&request(1, 0, 0), &options(), None);
    assert!(matches!(blind, Err(WorkloadError::Refused { field: "allocation.cores", .. })));
    assert_eq!(of(&request(0, 0, 0)).unwrap().allocation.cores, 1);
}

#[test]
fn names_are_host_names_and_differ() {
    let name = |job: &str, attempt| name(&JobId::parse(job).unwrap(), AttemptNumber(attempt));
    let longest = name(&"Z".repeat(64), u32::MAX);
    for name in [&name("job_1", 1), &name("_", 1), &longest] {
        assert!(name.len() <= 63 && name.starts_with("parley-"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
    assert_ne!(name("job_1", 1), name("job-1", 1));
    assert_ne!(name("JOB-1", 1), name("job-1", 1));
    assert_ne!(name("job-1", 11), name("job-1-1", 1));
}

#[test]
fn volumes_are_written_as_mounts() {
    let volume = |text: &str| text.parse::<SharedVolume>();
    let source = VolumeSource::Claim("jobs".to_owned());
    assert_eq!(volume("jobs:/srv/jobs").unwrap(), SharedVolume { source, path: PathBuf::from("/srv/jobs") });
    let source = VolumeSource::HostPath(PathBuf::from("/mnt/nfs"));
    assert_eq!(volume("/mnt/nfs:/srv").unwrap(), SharedVolume { source, path: PathBuf::from("/srv") });
    for bad in ["", "jobs", "jobs:srv", "jobs:/", ":/srv", "Jobs:/srv", "a:/b:/c"] {
        assert!(volume(bad).is_err(), "{bad}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("$(PATH)".to_owned()), Just("$$$(X)".to_owned()), "[^\\x00]{0,20}"]
}

prop_compose! {
    fn any_request()(
        (nodes, cores, gpus) in (0_u32..2, 0_u32..40, 0_u32..6),
        argv in prop::collection::vec(text(), 1..4),
        environment in prop::collection::btree_map("[A-Z_]{1,8}", text(), 0..4),
        directory in "/jobs/[a-z ü'\"$]{1,12}",
        job in "[A-Za-z0-9_-]{1,64}",
        attempt in 1_u32..1000,
        tasks in prop::option::of(1_u32..5),
        gpu_model in prop::option::of(Just("h100".to_owned())),
        qos in prop::option::of("[a-z]{1,8}"),
        constraint in prop::option::of(Just("disk=ssd".to_owned())),
        memory in prop::option::of(1_u32..70_000),
        limit in prop::option::of(0.1_f64..1e6),
    ) -> SubmitRequest {
        SubmitRequest {
            job_id: JobId::parse(job).unwrap(),
            attempt: AttemptNumber(attempt),
            argv,
            environment,
            directory: PathBuf::from(directory),
            allocation: Allocation { nodes, cores, gpus },
            placement: Placement { tasks, gpu_model, qos, constraint, ..Placement::default() },
            memory_limit: memory.map(|mebibytes| GiB::saturating(f64::from(mebibytes) / 1024.0)),
            time_limit: limit.map(Seconds::saturating),
        }
    }
}

proptest! {
    #[test]
    fn nothing_of_a_request_gets_lost(request in any_request(), sees in any::<bool>()) {
        let mut options = options();
        options.gpu_resource = Some("nvidia.com/gpu".to_owned());
        let cluster = cluster();
        let Ok(manifest) = Manifest::of(&request, &options, sees.then_some(&cluster)) else { return Ok(()) };
        let digest = Digest::of(b"request");
        let job = manifest.job(&digest, &options).unwrap();
        // The way through the API is JSON.
        let text = serde_json::to_string(&job).unwrap();
        let read: Job = serde_json::from_str(&text).unwrap();
        let back = Manifest::read(&read).unwrap();
        prop_assert_eq!(&back, &manifest);
        prop_assert_eq!(&back.argv, &request.argv);
        prop_assert_eq!(&back.environment, &request.own_variables());
        prop_assert_eq!((&back.job_id, back.attempt), (&request.job_id, request.attempt));
        prop_assert_eq!((back.allocation.nodes, back.allocation.gpus), (request.allocation.nodes, request.allocation.gpus));
        prop_assert!(back.allocation.cores >= request.allocation.cores.max(1));
        prop_assert_eq!((back.tasks, &back.priority_class), (request.placement.tasks, &request.placement.qos));
        prop_assert_eq!(back.node_selector.contains_key("disk"), request.placement.constraint.is_some());
        prop_assert_eq!(back.memory.map(|bytes| bytes as f64 / 1_073_741_824.0), request.memory_limit.map(GiB::get));
        let wants_model = request.placement.gpu_model.is_some() && request.allocation.gpus > 0;
        prop_assert_eq!(back.gpu_products.is_some(), wants_model);
        if let (Some(limit), Some(seconds)) = (request.time_limit, back.active_deadline_seconds) {
            prop_assert!((0.0..1.0).contains(&(seconds as f64 - limit.get())));
        }
        prop_assert_eq!(back.active_deadline_seconds.is_some(), request.time_limit.is_some());
        prop_assert_eq!(back.directory, request.directory);
        // No word reaches anything that reads more than words.
        let container = &job.spec.unwrap().template.spec.unwrap().containers[0];
        let script = fields::unescaped(&container.command.as_ref().unwrap()[2]);
        prop_assert_eq!(script.as_deref(), Some(BATCH_SCRIPT));
    }
}
