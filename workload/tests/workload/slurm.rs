//! Slurm, against the real thing: four nodes of the version that is installed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::units::GiB;
use workload::error::WorkloadError;
use workload::read::{ReadSide, RunState};
use workload::slurm::SlurmReader;
use workload::submit::{Placement, SubmitRequest, SubmitSide};

use crate::setting::{Setting, log_of, seconds, status_of, wait_for};
use crate::site::Site;
use crate::suite;

/// Makes a request that cannot be met.
type Change = fn(&mut SubmitRequest);

/// The partition of the three nodes without GPUs.
fn short() -> Placement {
    Placement { partition: Some("short".to_owned()), ..Placement::default() }
}

#[tokio::test]
async fn the_suite() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let mut options = site.options();
    options.defaults = short();
    let slurm = site.open(options, &setting.state());
    let differences =
        suite::Differences { finds_programs: false, resolution_seconds: 1.0, plans_ahead: true };
    suite::every_manager(&slurm, &setting, differences).await;
}

#[tokio::test]
async fn the_site_is_seen_as_it_is() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let inventory = slurm.inventory().await.unwrap().unwrap();
    assert!(inventory.version.is_some());
    let names: Vec<&str> = inventory.partitions.iter().map(|partition| partition.name.as_str()).collect();
    assert_eq!(names, ["short", "gpu"]);
    assert_eq!(inventory.partitions[0].time_limit, seconds(3600.0));
    let gpu = inventory.groups.iter().find(|group| group.name == "gpu").unwrap();
    assert_eq!((gpu.nodes, gpu.cores_per_node, gpu.gpus_per_node, gpu.gpus_free), (1, 32, 4, Some(4)));
    assert_eq!(gpu.gpu_model.as_deref(), Some("h100"));
    assert_eq!(gpu.memory_gib_per_node, Some(GiB::from(250)));
    let short = inventory.groups.iter().find(|group| group.name == "short").unwrap();
    assert_eq!((short.nodes, short.nodes_free, short.cores_free), (3, Some(3), Some(48)));
    let capacity = slurm.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.total.gpus), (80, 4));
    assert_eq!(capacity.time_limit, seconds(86_400.0));

    // Two GPUs are taken, and a node breaks.
    let mut request = setting.script("gpus", "sleep 300");
    request.allocation = Allocation { nodes: 0, cores: 4, gpus: 2 };
    request.placement.gpu_model = Some("h100".to_owned());
    let job = slurm.submit(request).await.unwrap();
    wait_for(&slurm, &job, RunState::Running).await;
    site.administer(&["update", "NodeName=node3", "State=DRAIN", "Reason=a=b State=IDLE"]);
    let look = SlurmReader::new(site.options(), Arc::new(SystemClock));
    let capacity = look.capacity().await.unwrap();
    assert_eq!((capacity.free.cores, capacity.free.gpus, capacity.running), (60, 2, 1));
    assert_eq!(look.inventory().await.unwrap().unwrap().nodes_out, 1);
    let queue = slurm.queue().await.unwrap();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].job_id.as_ref().map(ToString::to_string).as_deref(), Some("gpus"));
    assert_eq!((queue[0].takes.cores, queue[0].takes.gpus), (4, 2));
    slurm.cancel(&job).await.unwrap();
    wait_for(&slurm, &job, RunState::Cancelled).await;
}

#[tokio::test]
async fn work_gets_what_its_request_says() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let show = "env | grep -E '^(SLURM_(JOB_PARTITION|JOB_NUM_NODES|NTASKS|CPUS_PER_TASK|MEM_PER_NODE|GPUS)|CUDA_VISIBLE_DEVICES)=' | sort";

    let mut gpus = setting.script("gpus", show);
    gpus.allocation = Allocation { nodes: 0, cores: 8, gpus: 2 };
    gpus.placement = Placement { tasks: Some(2), gpu_model: Some("h100".to_owned()), ..Placement::default() };
    gpus.memory_limit = Some(GiB::saturating(1.5));
    let gpus = slurm.submit(gpus).await.unwrap();
    let mut nodes = setting.script("nodes", show);
    nodes.allocation = Allocation { nodes: 2, cores: 32, gpus: 0 };
    let nodes = slurm.submit(nodes).await.unwrap();

    wait_for(&slurm, &gpus, RunState::Completed).await;
    let log = log_of(&slurm, &gpus).await;
    for line in [
        "SLURM_JOB_PARTITION=gpu",
        "SLURM_JOB_NUM_NODES=1",
        "SLURM_NTASKS=2",
        "SLURM_CPUS_PER_TASK=4",
        "SLURM_MEM_PER_NODE=1536",
    ] {
        assert!(log.lines().any(|other| other == line), "{line}: {log}");
    }
    assert!(log.contains("CUDA_VISIBLE_DEVICES=0,1"), "{log}");
    wait_for(&slurm, &nodes, RunState::Completed).await;
    let log = log_of(&slurm, &nodes).await;
    for line in
        ["SLURM_JOB_PARTITION=short", "SLURM_JOB_NUM_NODES=2", "SLURM_NTASKS=2", "SLURM_CPUS_PER_TASK=16"]
    {
        assert!(log.lines().any(|other| other == line), "{line}: {log}");
    }
}

#[tokio::test]
async fn what_a_site_never_gives_is_refused_with_the_reason() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let refusals: [(&str, Change); 9] = [
        ("allocation.gpus", |request| request.allocation.gpus = 5),
        ("allocation.nodes", |request| request.allocation.nodes = 4),
        ("time_limit", |request| request.time_limit = seconds(200_000.0)),
        ("memory_limit", |request| request.memory_limit = Some(GiB::from(100_000))),
        ("placement.partition", |request| request.placement.partition = Some("maint".to_owned())),
        ("placement.partition", |request| request.placement.partition = Some("short --uid=0".to_owned())),
        ("placement.constraint", |request| request.placement.constraint = Some("quantum".to_owned())),
        ("placement.tasks", |request| request.placement.tasks = Some(7)),
        ("directory", |request| request.directory = "/tmp/%j".into()),
    ];
    for (at, (expected, change)) in refusals.into_iter().enumerate() {
        let mut request = setting.script(&format!("refused-{at}"), "true");
        change(&mut request);
        match slurm.submit(request).await {
            Err(WorkloadError::Refused { field, .. }) => assert_eq!(field, expected, "{at}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(slurm.queue().await.unwrap().is_empty());
    let never = slurm.estimated_start(&Allocation { nodes: 50, cores: 0, gpus: 0 }).await.unwrap();
    assert_eq!(never, None);
}

#[tokio::test]
async fn no_word_of_a_job_reaches_a_shell() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let words = [
        "$(touch broken)",
        "`touch broken`",
        "a\nb",
        "'; touch broken; '",
        "\"",
        "*",
        "--export=ALL",
        "",
        "\\",
    ];
    let mut argv = vec!["printf", "<%s>"];
    argv.extend(words);
    let mut request = setting.request("words", &argv);
    request.environment.insert("SBATCH_PARTITION".to_owned(), "nosuch".to_owned());
    request.environment.insert("VALUE".to_owned(), "$(touch broken)\n;".to_owned());
    let directory = request.directory.clone();
    let job = slurm.submit(request).await.unwrap();
    wait_for(&slurm, &job, RunState::Completed).await;
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(log_of(&slurm, &job).await, expected);
    assert!(!directory.join("broken").exists());
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_jobs_name() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let mut options = site.options();
    options.commands.deadline = Duration::from_millis(700);
    let slurm = site.open(options, &setting.state());
    // It hands the job over and never says so.
    site.fake("sbatch", "\"$REAL\" \"$@\" >/dev/null && exec sleep 60");
    let request = setting.script("lost", "echo started >>starts");
    let job = slurm.submit(request.clone()).await.unwrap();
    assert_eq!(slurm.submit(request).await.unwrap(), job);
    wait_for(&slurm, &job, RunState::Completed).await;
    let starts = std::fs::read_to_string(setting.root().join("jobs/lost/starts")).unwrap();
    assert_eq!(starts, "started\n");
}

#[tokio::test]
async fn a_submission_that_leaves_no_trace_is_withdrawn() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let mut options = site.options();
    options.commands.deadline = Duration::from_millis(700);
    let slurm = site.open(options, &setting.state());
    let late = setting.root().join("late");
    // It keeps its words, and hands the job over when the test says so.
    site.fake(
        "sbatch",
        &format!("for word in \"$@\"; do printf '%s\\n' \"$word\"; done >{}; exec sleep 60", late.display()),
    );
    let request = setting.script("withdrawn", "touch started");
    let directory = request.directory.clone();
    assert!(matches!(slurm.submit(request.clone()).await, Err(WorkloadError::Doubtful { .. })));
    assert!(matches!(slurm.submit(request).await, Err(WorkloadError::Doubtful { .. })));
    // Were it handed over now nevertheless, its script would see that and end.
    let words = std::fs::read_to_string(&late).unwrap();
    let from_script = words.lines().skip_while(|word| !word.ends_with("/batch.sh"));
    let status = std::process::Command::new("sh").args(from_script).current_dir(&directory).status().unwrap();
    assert_eq!(status.code(), Some(125));
    assert!(!directory.join("started").exists());
}

#[tokio::test]
async fn a_hung_command_costs_its_own_deadline_only() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let mut options = site.options();
    options.commands.deadline = Duration::from_millis(500);
    let slurm = site.open(options, &setting.state());
    let job = slurm.submit(setting.script("hung", "sleep 300")).await.unwrap();
    site.fake("squeue", "sleep 3600 & wait");
    let asked = Instant::now();
    let error = slurm.status(std::slice::from_ref(&job)).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Silent { command: "squeue", .. }), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(slurm.inventory().await.unwrap().is_some());
    // Once it answers again, so do we, and the job was never touched.
    std::fs::remove_file(site.fakes().join("squeue")).unwrap();
    wait_for(&slurm, &job, RunState::Running).await;
    slurm.cancel(&job).await.unwrap();
    wait_for(&slurm, &job, RunState::Cancelled).await;
}

#[tokio::test]
async fn a_job_that_slurm_has_forgotten_is_known_by_its_notes() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let ended = slurm.submit(setting.script("ended", "exit 4")).await.unwrap();
    let vanished = slurm.submit(setting.script("vanished", "sleep 300")).await.unwrap();
    let notes = setting.root().join("jobs/ended/.parley-1/ended");
    crate::setting::wait_for_text(&notes, "4 ").await;
    // As after the minutes that Slurm remembers a job.
    site.fake("squeue", "exit 0");
    let status = status_of(&slurm, &ended).await;
    assert_eq!((status.state(), status.accounting.exit_code), (RunState::Failed, Some(4)));
    assert!(status.accounting.started_at.is_some() && status.accounting.ended_at.is_some());
    assert_eq!(status_of(&slurm, &vanished).await.state(), RunState::Unknown);
    // What was said of a job that is over is never taken back.
    std::fs::remove_file(site.fakes().join("squeue")).unwrap();
    assert_eq!(status_of(&slurm, &ended).await, status);
}

#[tokio::test]
async fn a_restarted_worker_finds_its_jobs_again() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let request = setting.script("kept", "while [ ! -e go ]; do sleep 0.05; done; exit 5");
    let job = slurm.submit(request.clone()).await.unwrap();
    wait_for(&slurm, &job, RunState::Running).await;
    drop(slurm);
    let slurm = site.open(site.options(), &setting.state());
    assert_eq!(slurm.submit(request.clone()).await.unwrap(), job);
    std::fs::write(request.directory.join("go"), "").unwrap();
    let status = wait_for(&slurm, &job, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(5));
}

#[tokio::test]
async fn a_controller_that_is_down_is_told_and_nothing_is_lost() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    slurm.capacity().await.unwrap();
    for command in ["squeue", "sbatch", "scontrol"] {
        site.fake(
            command,
            "echo \"$0: error: Unable to contact slurm controller (connect failure)\" >&2; exit 1",
        );
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(slurm.capacity().await.is_err());
    let request = setting.script("down", "true");
    assert!(slurm.submit(request.clone()).await.is_err());
    for command in ["squeue", "sbatch", "scontrol"] {
        std::fs::remove_file(site.fakes().join(command)).unwrap();
    }
    let job = slurm.submit(request).await.unwrap();
    wait_for(&slurm, &job, RunState::Completed).await;
}

#[tokio::test]
async fn peak_memory_comes_from_the_sites_accounts() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/slurm-22.05");
    site.fake(
        "scontrol",
        &format!("case \"$*\" in *config) cat {data}/config.txt;; *) exec \"$REAL\" \"$@\";; esac"),
    );
    // The recorded job 9 with this job's number.
    site.fake(
        "sacct",
        &format!("for word; do id=${{word#--jobs=}}; done; sed \"s/^9/$id/\" {data}/sacct.txt"),
    );
    let slurm = site.open(site.options(), &setting.state());
    let job = slurm.submit(setting.script("memory", "true")).await.unwrap();
    let status = wait_for(&slurm, &job, RunState::Completed).await;
    let peak = status.accounting.peak_memory_gib.unwrap().get();
    assert!((0.30..0.31).contains(&peak), "{peak}");
    assert!(status.accounting.observed().peak_memory_gib.is_some());
}
