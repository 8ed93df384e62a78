use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;

use super::*;
use crate::pbs::listing::{self, NODES, QUEUES, SERVER};
use crate::submit::Placement;

const SERVER_TEXT: &str = "Server: head\n    server_state = Active\n    scheduling = True\n    default_queue = batch\n    \
                           resources_max.walltime = 24:00:00\n";
/// `gpu` wants nodes of a kind; `own` has a node to itself; `off` takes nothing.
const QUEUE_TEXT: &str = "Queue: batch\n    queue_type = Execution\n    enabled = True\n    started = True\n    \
     resources_max.ncpus = 64\n\nQueue: gpu\n    queue_type = Execution\n    enabled = True\n    started = True\n    \
     default_chunk.Qlist = accelerated\n    resources_max.walltime = 02:00:00\n    resources_min.ngpus = 1\n\n\
     Queue: own\n    enabled = True\n    started = True\n    hasnodes = True\n\nQueue: off\n    enabled = False\n    started = True\n";

/// Four nodes of 16 cores and 64 GiB; two of them with four GPUs.
fn cluster(flavour: Flavour) -> Cluster {
    let node = |name: &str, gpus: u32, more: &str| match flavour {
        Flavour::OpenPbs => format!(
            "{name}\n     state = free\n     resources_available.host = {name}\n     resources_available.ncpus = 16\n     \
             resources_available.mem = 64gb\n     resources_available.ngpus = {gpus}\n{more}\n"
        ),
        Flavour::Torque => format!(
            "{name}\n     state = free\n     np = 16\n     gpus = {gpus}\n     status = ncpus=16,physmem=67108864kb\n{more}\n"
        ),
    };
    let accelerated = match flavour {
        Flavour::OpenPbs => {
            "     resources_available.Qlist = accelerated,all\n     resources_available.gpu_type = NVIDIA-H100\n"
        }
        Flavour::Torque => "     properties = Qlist,bigmem\n",
    };
    let nodes =
        [node("n1", 0, ""), node("n2", 0, ""), node("g1", 4, accelerated), node("g2", 4, accelerated)]
            .concat()
            + &node("o1", 0, "     queue = own\n");
    let read = |text, kind| listing::text(text, kind).unwrap();
    let listings = [read(SERVER_TEXT, SERVER), read(QUEUE_TEXT, QUEUES), read(&nodes, NODES)];
    Cluster::read(flavour, [&listings[0], &listings[1], &listings[2]], None, Some("somebody")).unwrap()
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

fn directives(flavour: Flavour, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
    Directives::of(flavour, request, "parley-job-1.1".to_owned(), &cluster(flavour))
}

fn line(flavour: Flavour, request: &SubmitRequest) -> String {
    let words = directives(flavour, request).unwrap().words().join(" ");
    words.strip_prefix("-N parley-job-1.1 ").unwrap().to_owned()
}

fn refused(flavour: Flavour, request: &SubmitRequest) -> &'static str {
    match directives(flavour, request) {
        Err(WorkloadError::Refused { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_become_the_words_of_openpbs() {
    let of = |request: &SubmitRequest| line(Flavour::OpenPbs, request);
    assert_eq!(of(&request(0, 0, 0)), "-q batch -l select=1:ncpus=1 -l place=free");
    let mut small = request(0, 4, 2);
    small.memory_limit = Some(GiB::saturating(1.5));
    small.time_limit = Some(Seconds::saturating(90.5));
    small.placement.tasks = Some(2);
    small.placement.account = Some("proj-42".to_owned());
    assert_eq!(
        of(&small),
        "-q batch -A proj-42 -l select=1:ncpus=4:mpiprocs=2:ngpus=2:mem=1536mb -l place=free -l walltime=91"
    );
    // Whole nodes have all that the smallest of so many have.
    assert_eq!(of(&request(2, 0, 0)), "-q batch -l select=2:ncpus=16 -l place=scatter:excl");
    assert_eq!(of(&request(2, 8, 4)), "-q batch -l select=2:ncpus=4:ngpus=2 -l place=scatter:excl");
    // More than a node has is spread evenly over as few chunks as it takes.
    assert_eq!(of(&request(0, 48, 0)), "-q batch -l select=3:ncpus=16 -l place=free");
    let mut model = request(0, 1, 1);
    model.placement.gpu_model = Some("h100".to_owned());
    model.placement.partition = Some("gpu".to_owned());
    model.placement.expected_runtime = Some(Seconds::from(6000));
    assert_eq!(
        of(&model),
        "-q gpu -l select=1:ncpus=1:ngpus=1:gpu_type=NVIDIA-H100 -l place=free -l walltime=7200"
    );
    let mut constrained = request(0, 1, 0);
    constrained.placement.constraint = Some("Qlist=all:host=g2".to_owned());
    assert_eq!(of(&constrained), "-q batch -l select=1:ncpus=1:Qlist=all:host=g2 -l place=free");
    let mut own = request(1, 0, 0);
    own.placement.partition = Some("own".to_owned());
    assert_eq!(of(&own), "-q own -l select=1:ncpus=16 -l place=scatter:excl");
}

#[test]
fn requests_become_the_words_of_torque() {
    let of = |request: &SubmitRequest| line(Flavour::Torque, request);
    let mut small = request(0, 4, 2);
    small.memory_limit = Some(GiB::from(1));
    small.time_limit = Some(Seconds::from(60));
    assert_eq!(of(&small), "-q batch -l nodes=1:ppn=4:gpus=2 -l mem=1024mb -l walltime=60");
    // Who has all places of a node has it alone.
    assert_eq!(of(&request(2, 8, 0)), "-q batch -l nodes=2:ppn=16");
    let mut constrained = request(0, 1, 0);
    constrained.placement.constraint = Some("bigmem".to_owned());
    assert_eq!(of(&constrained), "-q batch -l nodes=1:ppn=1:bigmem");
    constrained.placement.constraint = Some("2".to_owned());
    assert_eq!(refused(Flavour::Torque, &constrained), "placement.constraint");
    constrained.placement = Placement { tasks: Some(2), ..Placement::default() };
    assert_eq!(refused(Flavour::Torque, &constrained), "placement.tasks");
}

#[test]
fn what_has_no_place_is_refused_with_its_field() {
    type Change = fn(&mut SubmitRequest);
    let changes: [(Change, &str); 19] = [
        (|request| request.allocation.cores = 65, "allocation.cores"),
        (|request| request.allocation.cores = 1000, "allocation.cores"),
        (|request| request.allocation.nodes = 5, "allocation.nodes"),
        (|request| request.allocation.gpus = 9, "allocation.gpus"),
        (|request| request.allocation = Allocation { nodes: 2, cores: 3, gpus: 0 }, "allocation.cores"),
        (|request| request.allocation = Allocation { nodes: 2, cores: 0, gpus: 3 }, "allocation.gpus"),
        (|request| request.allocation = Allocation { nodes: 3, cores: 0, gpus: 6 }, "allocation"),
        (|request| request.memory_limit = Some(GiB::from(10_000)), "memory_limit"),
        (|request| request.memory_limit = Some(GiB::ZERO), "memory_limit"),
        (|request| request.time_limit = Some(Seconds::ZERO), "time_limit"),
        (|request| request.time_limit = Some(Seconds::from(86_401)), "time_limit"),
        (|request| request.placement.partition = Some("off".to_owned()), "placement.partition"),
        (|request| request.placement.partition = Some("batch@other".to_owned()), "placement.partition"),
        (|request| request.placement.account = Some("a b".to_owned()), "placement.account"),
        (|request| request.placement.qos = Some("high".to_owned()), "placement.qos"),
        (|request| request.placement.tasks = Some(0), "placement.tasks"),
        (|request| request.placement.constraint = Some("ncpus=9".to_owned()), "placement.constraint"),
        (|request| request.placement.constraint = Some("Qlist=none".to_owned()), "placement.constraint"),
        (
            |request| {
                request.allocation.gpus = 1;
                request.placement.gpu_model = Some("v100".to_owned());
            },
            "placement.gpu_model",
        ),
    ];
    for (change, field) in changes {
        let mut changed = request(0, 1, 0);
        change(&mut changed);
        assert_eq!(refused(Flavour::OpenPbs, &changed), field, "{changed:?}");
    }
    let mut gpu = request(0, 1, 0);
    gpu.placement.partition = Some("gpu".to_owned());
    assert_eq!(refused(Flavour::OpenPbs, &gpu), "allocation.gpus", "the queue wants at least one");
}

proptest! {
    /// What is not refused is asked for as it stands, and read back from the words.
    #[test]
    fn nothing_gets_lost(
        flavour in prop::sample::select(vec![Flavour::OpenPbs, Flavour::Torque]),
        (nodes, cores, gpus) in (0_u32..4, 0_u32..70, 0_u32..10),
        tasks in prop::option::of(1_u32..9),
        memory in prop::option::of(0.1_f64..200.0),
        (limit, expected) in (prop::option::of(1.0_f64..90_000.0), prop::option::of(1.0_f64..90_000.0)),
        queue in prop::option::of(prop::sample::select(vec!["batch", "gpu", "own"])),
        account in prop::option::of("[a-z][a-z0-9_.-]{0,10}"),
    ) {
        let mut request = request(nodes, cores, gpus);
        request.placement.tasks = tasks.filter(|_| flavour == Flavour::OpenPbs);
        request.placement.partition = queue.map(str::to_owned);
        request.placement.account.clone_from(&account);
        request.placement.expected_runtime = expected.map(Seconds::saturating);
        request.memory_limit = memory.map(GiB::saturating);
        request.time_limit = limit.map(Seconds::saturating);
        let Ok(read) = directives(flavour, &request) else { return Ok(()) };
        let words = read.words();
        prop_assert_eq!(Directives::parse(flavour, read.whole_nodes, &words), Some(read.clone()));
        let asked = read.asked();
        prop_assert_eq!((asked.nodes, asked.gpus), (nodes, gpus));
        match (nodes, cores) {
            (0, _) => prop_assert_eq!(asked.cores, cores.max(1)),
            (_, 0) => prop_assert!(asked.cores >= nodes),
            _ => prop_assert!(asked.cores == cores || (flavour == Flavour::Torque && asked.cores >= cores)),
        }
        if let Some(ranks) = read.ranks {
            prop_assert_eq!(Some(ranks * read.chunks), request.placement.tasks);
        }
        if let Some(memory) = request.memory_limit {
            let mib = read.memory_mib.unwrap() * u64::from(read.chunks);
            prop_assert!(mib >= super::mib(memory) && mib < super::mib(memory) + u64::from(read.chunks));
        }
        if let Some(limit) = request.time_limit {
            prop_assert_eq!(read.walltime, Some(whole_seconds(limit)));
        }
        prop_assert!(queue.is_none_or(|queue| read.queue == queue));
        prop_assert_eq!(read.account, account);
        prop_assert!(words.iter().all(|word| !word.contains(char::is_whitespace)));
    }
}
