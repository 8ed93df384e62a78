use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;

use super::super::nodes::{Complex, Complexes, Configuration};
use super::*;
use crate::submit::Placement;

/// Four hosts of 16 slots in `batch` and `long`, two of 32 with 4 GPUs in `gpu`.
fn cluster(gpus: Counted, memory: Counted, exclusive: bool) -> Cluster {
    let environment = |name: &str, rule| Environment { name: name.to_owned(), rule, slots: 999 };
    let queue = |name: &str, hours: Option<u32>, environments: &[&str]| Queue {
        name: name.to_owned(),
        time_limit: hours.map(|hours| Seconds::from(hours * 3600)),
        environments: environments.iter().map(|name| (*name).to_owned()).collect(),
    };
    let node = |name: String, queues: &[&str], cores, gpus| Node {
        name,
        architecture: Some("x86_64".to_owned()),
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
        cores,
        cores_free: cores,
        memory: Some(GiB::from(64)),
        gpus,
        gpus_free: gpus,
    };
    let complex = |name: &str, counted| Complex {
        name: name.to_owned(),
        counted,
        default: if counted == Counted::No { "0" } else { "1G" }.to_owned(),
    };
    let batch = (1..=4).map(|at| node(format!("n{at}"), &["batch", "long"], 16, 0));
    let gpu = (1..=2).map(|at| node(format!("g{at}"), &["gpu"], 32, 4));
    Cluster {
        configuration: Configuration {
            complexes: Complexes {
                gpu: Some(complex("gpu", gpus)),
                memory: complex("h_vmem", memory),
                exclusive: exclusive.then(|| "excl".to_owned()),
            },
            environments: vec![
                environment("fill", Rule::Anyhow),
                environment("mpi-16", Rule::Each(16)),
                environment("smp", Rule::OneHost),
            ],
            gpus: BTreeMap::new(),
        },
        queues: vec![
            queue("batch", Some(24), &["fill", "mpi-16", "smp"]),
            queue("long", None, &["smp"]),
            queue("gpu", Some(24), &["smp", "fill"]),
        ],
        nodes: batch.chain(gpu).collect(),
    }
}

fn plain() -> Cluster {
    cluster(Counted::PerJob, Counted::PerSlot, true)
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

fn of(request: &SubmitRequest, cluster: &Cluster) -> Result<Directives, WorkloadError> {
    Directives::of(request, "parley-job-1.1".to_owned(), cluster)
}

fn words(request: &SubmitRequest) -> String {
    of(request, &plain()).unwrap().words().split_off(2).join(" ")
}

fn refused(request: &SubmitRequest, cluster: &Cluster) -> (&'static str, String) {
    match of(request, cluster) {
        Err(WorkloadError::Refused { field, reason }) => (field, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sizes_become_directives() {
    assert_eq!(words(&request(0, 1, 0)), "");
    let mut threads = request(0, 8, 2);
    threads.memory_limit = Some(GiB::from(3));
    threads.time_limit = Some(Seconds::saturating(89.2));
    assert_eq!(words(&threads), "-l h_rt=90 -l h_vmem=384M -l gpu=2 -ac parley_per_job=gpu -pe smp 8");
    // More than a host has is spread.
    assert_eq!(words(&request(0, 40, 0)), "-pe fill 40");
    let mut ranks = request(0, 32, 0);
    ranks.placement.tasks = Some(32);
    ranks.placement.partition = Some("batch".to_owned());
    assert_eq!(words(&ranks), "-q batch -ac parley_tasks=32 -pe fill 32");
    assert_eq!(words(&request(2, 32, 0)), "-l excl=true -ac parley_nodes=2:excl -pe mpi-16 32");
    let mut charged = request(0, 1, 0);
    charged.placement.account = Some("physics".to_owned());
    charged.placement.constraint = Some("arch=lx-*,avx2=true".to_owned());
    assert_eq!(words(&charged), "-P physics -l arch=lx-*,avx2=true");
}

#[test]
fn what_a_site_cannot_give_is_refused_with_the_reason() {
    let site = plain();
    assert_eq!(refused(&request(0, 1, 9), &site).0, "allocation.gpus");
    assert_eq!(refused(&request(5, 0, 0), &site).0, "allocation.nodes");
    assert_eq!(refused(&request(0, 500, 0), &site).0, "allocation.cores");
    // No parallel environment has 32 slots on each of two hosts.
    let mut large = request(2, 64, 0);
    large.placement.partition = Some("gpu".to_owned());
    assert!(refused(&large, &site).1.contains("no parallel environment"));
    let with = |change: fn(&mut SubmitRequest)| {
        let mut request = request(0, 8, 1);
        change(&mut request);
        refused(&request, &site).0
    };
    assert_eq!(with(|request| request.time_limit = Some(Seconds::from(200_000))), "time_limit");
    assert_eq!(with(|request| request.memory_limit = Some(GiB::from(1000))), "memory_limit");
    assert_eq!(with(|request| request.placement.qos = Some("high".to_owned())), "placement.qos");
    assert_eq!(with(|request| request.placement.gpu_model = Some("h100".to_owned())), "placement.gpu_model");
    assert_eq!(with(|request| request.placement.tasks = Some(3)), "placement.tasks");
    assert_eq!(with(|request| request.placement.partition = Some("none".to_owned())), "placement.partition");
    for bad in ["a b", "-x", "a\nb", "", "h_rt=1", "gpu=4", "a=1,h_vmem=2", "a;b"] {
        let mut request = request(0, 1, 0);
        request.placement.constraint = Some(bad.to_owned());
        assert_eq!(refused(&request, &site).0, "placement.constraint", "{bad}");
    }
    // Three GPUs cannot be counted for each of two slots.
    let per_slot = cluster(Counted::PerSlot, Counted::No, false);
    assert_eq!(refused(&request(0, 2, 3), &per_slot).0, "allocation.gpus");
    assert_eq!(of(&request(0, 2, 4), &per_slot).unwrap().gpus, Some(("gpu".to_owned(), Asked::PerSlot(2))));
    // Where memory is counted and has no default, work without any would be ended at once.
    let mut strict = plain();
    strict.configuration.complexes.memory.default = "0".to_owned();
    assert_eq!(refused(&request(0, 1, 0), &strict).0, "memory_limit");
}

#[test]
fn work_that_names_no_limit_gets_twice_the_time_that_it_is_thought_to_take() {
    let asked = |hours: u32| {
        let mut request = request(0, 1, 0);
        request.placement.expected_runtime = Some(Seconds::from(hours * 3600));
        of(&request, &plain()).unwrap().seconds
    };
    assert_eq!(asked(2), Some(4 * 3600));
    // As much as every queue gives that it may run in.
    assert_eq!(asked(20), Some(24 * 3600));
    assert_eq!(asked(30), Some(60 * 3600));
}

fn name() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z][a-z0-9_.-]{0,12}")
}

fn counted() -> impl Strategy<Value = Counted> {
    prop::sample::select(vec![Counted::No, Counted::PerSlot, Counted::PerJob])
}

prop_compose! {
    fn requests()(
        nodes in 0_u32..5,
        tasks in prop::option::of(1_u32..20),
        per_task in 1_u32..20,
        gpus in 0_u32..6,
        memory in prop::option::of(0.1_f64..200.0),
        limit in prop::option::of(0.1_f64..200_000.0),
        partition in prop::option::of(prop::sample::select(vec!["batch", "long", "gpu", "off"])),
        account in name(),
        constraint in prop::option::of("[a-z]{1,5}=[a-z*]{1,5}(,[a-z]{1,5})?"),
    ) -> SubmitRequest {
        let mut request = request(nodes, tasks.unwrap_or(nodes.max(1)) * per_task, gpus);
        request.memory_limit = memory.map(GiB::saturating);
        request.time_limit = limit.map(Seconds::saturating);
        request.placement = Placement {
            tasks,
            partition: partition.map(str::to_owned),
            account,
            constraint,
            ..Placement::default()
        };
        request
    }
}

proptest! {
    /// A request is refused, or everything in it can be read back from the words for `qsub`.
    #[test]
    fn nothing_of_a_request_gets_lost(
        request in requests(),
        (gpus, memory, alone) in (counted(), counted(), any::<bool>()),
    ) {
        let site = cluster(if gpus == Counted::No { Counted::PerSlot } else { gpus }, memory, alone);
        let Ok(directives) = of(&request, &site) else { return Ok(()) };
        let words = directives.words();
        let read = Directives::parse(&words);
        prop_assert_eq!(read.as_ref(), Some(&directives));
        prop_assert!(words.iter().all(|word| !word.contains(char::is_whitespace)));

        let (allocation, memory) = directives.asked();
        prop_assert_eq!(allocation, request.allocation);
        match (request.memory_limit, memory) {
            // Rounded up to MiB, for each slot.
            (Some(asked), Some(given)) => {
                let asked = mib(asked);
                prop_assert!(given >= asked && given < asked + u64::from(allocation.cores.max(1)));
            }
            (asked, given) => prop_assert!(asked.is_none() && given.is_none()),
        }
        match (request.time_limit, directives.seconds) {
            (Some(asked), Some(given)) => {
                prop_assert_eq!(given, whole_seconds(asked));
            }
            (asked, given) => prop_assert!(asked.is_none() && given.is_none()),
        }
        let wanted = &request.placement;
        prop_assert_eq!(&directives.project, &wanted.account);
        prop_assert_eq!(&directives.constraint, &wanted.constraint);
        prop_assert_eq!(&directives.queue, &wanted.partition);
        prop_assert_eq!(directives.tasks, wanted.tasks);
    }
}
