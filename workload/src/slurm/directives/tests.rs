use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use protocol::facts::Allocation;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;

use super::*;
use crate::submit::Placement;

const PARTITIONS: &str = "\
PartitionName=batch Default=YES DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=1-00:00:00 Nodes=n[1-4] State=UP
PartitionName=long Default=NO DefaultTime=NONE MaxNodes=2 MaxTime=UNLIMITED Nodes=n[1-4] State=UP
PartitionName=gpu Default=NO DefaultTime=NONE MaxNodes=UNLIMITED MaxTime=1-00:00:00 Nodes=g[1-2] State=UP
PartitionName=off Default=NO DefaultTime=NONE MaxNodes=UNLIMITED MaxTime=UNLIMITED Nodes=n[1-4] State=DOWN";

fn cluster() -> Cluster {
    let mut nodes = String::new();
    for name in ["n1", "n2", "n3", "n4"] {
        nodes.push_str(&format!(
            "NodeName={name} Arch=x86_64 CPUAlloc=0 CPUTot=32 RealMemory=65536 State=IDLE ThreadsPerCore=1 \
             Partitions=batch,long,off\n"
        ));
    }
    for name in ["g1", "g2"] {
        nodes.push_str(&format!(
            "NodeName={name} Arch=x86_64 CPUAlloc=0 CPUTot=128 RealMemory=524288 Gres=gpu:nvidia_h100_80gb_hbm3:4(S:0-1) \
             State=IDLE ThreadsPerCore=2 Partitions=gpu\n"
        ));
    }
    Cluster::read(PARTITIONS, &nodes, None)
}

fn request(nodes: u32, cores: u32, gpus: u32) -> SubmitRequest {
    SubmitRequest {
        job_id: JobId::parse("job-1").unwrap(),
        attempt: AttemptNumber::FIRST,
        argv: vec!["true".to_owned()],
        environment: BTreeMap::new(),
        directory: PathBuf::from("/jobs"),
        allocation: Allocation { nodes, cores, gpus },
        placement: Placement::default(),
        memory_limit: None,
        time_limit: None,
    }
}

fn of(request: &SubmitRequest) -> Result<Directives, WorkloadError> {
    Directives::of(request, "parley-job-1.1".to_owned(), &cluster())
}

fn words(request: &SubmitRequest) -> Vec<String> {
    let mut words = of(request).unwrap().words();
    words.remove(0);
    words
}

#[test]
fn sizes_become_directives() {
    assert_eq!(
        words(&request(0, 1, 0)),
        ["--ntasks=1", "--nodes=1", "--cpus-per-task=1", "--partition=batch"]
    );
    // More cores than a node has are spread, one task for each.
    let mut spread = request(0, 40, 0);
    spread.memory_limit = Some(GiB::from(40));
    assert_eq!(
        words(&spread),
        ["--ntasks=40", "--cpus-per-task=1", "--mem-per-cpu=1024M", "--partition=batch"]
    );
    let mut whole = request(2, 64, 0);
    whole.time_limit = Some(Seconds::from(90));
    assert_eq!(
        words(&whole),
        [
            "--ntasks=2",
            "--nodes=2",
            "--cpus-per-task=32",
            "--mem=0M",
            "--time=2",
            "--partition=batch",
            "--exclusive"
        ]
    );
    let mut gpus = request(0, 8, 2);
    gpus.placement.tasks = Some(2);
    gpus.placement.gpu_model = Some("H100".to_owned());
    gpus.memory_limit = Some(GiB::saturating(0.3));
    assert_eq!(
        words(&gpus),
        [
            "--ntasks=2",
            "--nodes=1",
            "--cpus-per-task=4",
            "--threads-per-core=1",
            "--mem=308M",
            "--gpus=nvidia_h100_80gb_hbm3:2",
            "--partition=gpu"
        ]
    );
}

#[test]
fn the_partition_is_one_that_can_run_it() {
    let partition = |nodes, cores, gpus, hours: u32| {
        let mut request = request(nodes, cores, gpus);
        request.time_limit = (hours > 0).then(|| Seconds::from(hours * 3600));
        of(&request).map(|directives| directives.partition.unwrap())
    };
    assert_eq!(partition(0, 1, 0, 0).unwrap(), "batch");
    assert_eq!(partition(0, 1, 0, 48).unwrap(), "long");
    assert_eq!(partition(0, 1, 1, 0).unwrap(), "gpu");
    // No node of the others has this many cores... together they have.
    assert_eq!(partition(0, 128, 0, 0).unwrap(), "batch");
    let field = |result: Result<String, WorkloadError>| match result {
        Err(WorkloadError::Refused { field, reason }) => (field, reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(field(partition(3, 96, 0, 48)).0, "time_limit");
    assert_eq!(
        field(partition(0, 1, 9, 0)),
        ("allocation.gpus", "9 asked for, partition gpu has 8".to_owned())
    );
    assert_eq!(field(partition(5, 0, 0, 0)).0, "allocation.nodes");
}

#[test]
fn work_that_names_no_limit_gets_twice_the_time_that_it_is_thought_to_take() {
    let asked = |hours: f64| {
        let mut request = request(0, 1, 0);
        request.placement.expected_runtime = Some(Seconds::saturating(hours * 3600.0));
        let directives = of(&request).unwrap();
        (directives.minutes, directives.partition.unwrap())
    };
    assert_eq!(asked(2.0), (Some(240), "batch".to_owned()));
    // As much as the partition gives, and another one where that is too little.
    assert_eq!(asked(20.0), (Some(1440), "batch".to_owned()));
    assert_eq!(asked(30.0), (Some(3600), "long".to_owned()));
    // What is stated as a limit is one.
    let mut limited = request(0, 1, 0);
    limited.time_limit = Some(Seconds::from(600));
    limited.placement.expected_runtime = Some(Seconds::from(7200));
    assert_eq!(of(&limited).unwrap().minutes, Some(10));
}

#[test]
fn what_is_no_name_is_refused() {
    for (value, field) in
        [("a b", "partition"), ("-x", "partition"), ("a\nb", "account"), ("", "qos"), ("a;b", "constraint")]
    {
        let mut request = request(0, 1, 0);
        let place = match field {
            "partition" => &mut request.placement.partition,
            "account" => &mut request.placement.account,
            "qos" => &mut request.placement.qos,
            _ => &mut request.placement.constraint,
        };
        *place = Some(value.to_owned());
        match of(&request) {
            Err(WorkloadError::Refused { field: named, .. }) => assert!(named.ends_with(field), "{named}"),
            other => panic!("{value:?}: {other:?}"),
        }
    }
}

fn name() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z][a-z0-9_.-]{0,12}")
}

prop_compose! {
    fn requests()(
        nodes in 0_u32..6,
        tasks in prop::option::of(1_u32..20),
        per_task in 1_u32..40,
        gpus in 0_u32..10,
        memory in prop::option::of(0.1_f64..600.0),
        limit in prop::option::of(0.1_f64..200_000.0),
        partition in prop::option::of(prop::sample::select(vec!["batch", "long", "gpu", "off"])),
        model in prop::option::of(prop::sample::select(vec!["h100", "a100"])),
        (account, qos) in (name(), name()),
        constraint in prop::option::of("[a-z]{1,5}[&|][a-z]{1,5}"),
    ) -> SubmitRequest {
        let mut request = request(nodes, tasks.unwrap_or(nodes.max(1)) * per_task, gpus);
        request.memory_limit = memory.map(GiB::saturating);
        request.time_limit = limit.map(Seconds::saturating);
        request.placement = Placement {
            expected_runtime: None,
            tasks,
            gpu_model: model.map(str::to_owned),
            partition: partition.map(str::to_owned),
            account,
            qos,
            constraint,
        };
        request
    }
}

proptest! {
    /// A request is refused, or everything in it can be read back from the words for `sbatch`.
    #[test]
    fn nothing_of_a_request_gets_lost(request in requests()) {
        let Ok(directives) = of(&request) else { return Ok(()) };
        let words = directives.words();
        let read = Directives::parse(&words);
        prop_assert_eq!(read.as_ref(), Some(&directives));
        prop_assert!(words.iter().all(|word| word.starts_with("--") && !word.contains(char::is_whitespace)));

        let (allocation, tasks, memory) = directives.asked();
        prop_assert_eq!(allocation, request.allocation);
        if let Some(asked) = request.placement.tasks {
            prop_assert_eq!(tasks, asked);
        }
        match (request.memory_limit, memory) {
            // Rounded up to MiB, for each node or core.
            (Some(asked), Some(given)) => {
                let asked = mib(asked);
                prop_assert!(given >= asked && given < asked + 1 + u64::from(allocation.cores));
            }
            (asked, given) => prop_assert!(asked.is_none() && given.is_none()),
        }
        match (request.time_limit, directives.minutes) {
            (Some(asked), Some(given)) => {
                let given = f64::from(given) * 60.0;
                prop_assert!(given >= asked.get() && given < asked.get() + 60.0);
            }
            (asked, given) => prop_assert!(asked.is_none() && given.is_none()),
        }
        let wanted = &request.placement;
        prop_assert_eq!(&directives.account, &wanted.account);
        prop_assert_eq!(&directives.qos, &wanted.qos);
        prop_assert_eq!(&directives.constraint, &wanted.constraint);
        if wanted.partition.is_some() {
            prop_assert_eq!(&directives.partition, &wanted.partition);
        }
        if request.allocation.gpus > 0 {
            prop_assert_eq!(directives.gpu_type.is_some(), wanted.gpu_model.is_some());
        }
    }
}
