//! Grid Engine, against the real thing: one host of 8 slots, of the version that is installed. What one host
//! cannot show is replayed (`gridengine_recordings.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::units::GiB;
use workload::error::WorkloadError;
use workload::gridengine::{GridEngine, GridEngineOptions, GridEngineReader};
use workload::program::Commands;
use workload::read::{ReadSide, RunState};
use workload::submit::{Placement, SubmitRequest, SubmitSide};

use crate::setting::{Setting, log_of, seconds, status_of, wait_for, wait_for_text};
use crate::site::{fake, left_out, script};
use crate::suite;

/// Makes a request that cannot be met.
type Change = fn(&mut SubmitRequest);

/// A running Grid Engine.
struct Cell {
    root: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Cell {
    /// Starts one, unless Grid Engine is not installed, which is said on the terminal.
    fn start() -> Option<Self> {
        if Commands::of_process(&[]).find("qconf").is_none() {
            left_out("Grid Engine is not installed; run tests/gridengine/start.sh install");
            return None;
        }
        if !nix::unistd::geteuid().is_root() {
            left_out("Grid Engine's sge_execd can be started by root only");
            return None;
        }
        let root = tempfile::Builder::new().prefix("gridengine-").tempdir().unwrap();
        let output = script("gridengine", "start", root.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let pairs = printed.lines().filter_map(|line| line.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { root, environment })
    }

    /// The directory of fake commands, which come before the real ones.
    fn fakes(&self) -> PathBuf {
        let directory = self.root.path().join("fakes");
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Options that look often, at the queue of 8 slots.
    fn options(&self) -> GridEngineOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.fakes());
        commands.environment.extend(self.environment.clone());
        GridEngineOptions {
            commands,
            defaults: Placement { partition: Some("short.q".to_owned()), ..Placement::default() },
            refresh: Duration::from_millis(50),
            patience: Duration::from_secs(20),
        }
    }

    fn open(&self, options: GridEngineOptions, setting: &Setting) -> GridEngine {
        GridEngine::open(options, setting.state(), Arc::new(SystemClock)).unwrap()
    }

    /// Puts a shell script in front of a real command, whose path it gets as `$REAL`.
    fn fake(&self, name: &str, lines: &str) {
        let real = Commands::of_process(&[]).find(name).unwrap();
        fake(&self.fakes(), name, &format!("REAL={}\n{lines}", real.display()));
    }

    /// Runs one of its commands as an administrator would.
    fn administer(&self, command: &str, arguments: &[&str]) {
        let done = Command::new(command).args(arguments).envs(self.environment.clone()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        script("gridengine", "stop", self.root.path());
    }
}

#[tokio::test]
async fn the_suite() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    let differences =
        suite::Differences { finds_programs: false, resolution_seconds: 1.0, plans_ahead: true };
    suite::every_manager(&side, &setting, differences).await;
}

#[tokio::test]
async fn the_site_is_seen_as_it_is() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.defaults = Placement::default();
    let side = cell.open(options.clone(), &setting);
    let inventory = side.inventory().await.unwrap().unwrap();
    assert!(inventory.version.is_some());
    let queues: Vec<_> =
        inventory.partitions.iter().map(|queue| (queue.name.as_str(), queue.time_limit)).collect();
    assert_eq!(queues, [("short.q", seconds(3600.0)), ("long.q", None)]);
    assert_eq!((inventory.groups.len(), inventory.nodes_out), (1, 0));
    let host = &inventory.groups[0];
    assert_eq!((host.nodes, host.nodes_free, host.cores_per_node, host.cores_free), (1, Some(1), 8, Some(8)));
    assert_eq!((host.gpus_per_node, host.gpus_free), (4, Some(4)));
    assert!(host.memory_gib_per_node.is_some_and(|memory| memory > GiB::ZERO));

    let mut request = setting.script("gpus", "sleep 300");
    request.allocation = Allocation { nodes: 0, cores: 2, gpus: 2 };
    request.memory_limit = Some(GiB::from(1));
    request.time_limit = seconds(900.0);
    let job = side.submit(request).await.unwrap();
    wait_for(&side, &job, RunState::Running).await;
    let look = GridEngineReader::new(options, Arc::new(SystemClock));
    let capacity = look.capacity().await.unwrap();
    assert_eq!((capacity.free.cores, capacity.free.gpus, capacity.running, capacity.queued), (6, 2, 1, 0));
    let queue = side.queue().await.unwrap();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].job_id.as_ref().map(ToString::to_string).as_deref(), Some("gpus"));
    assert_eq!((queue[0].takes.cores, queue[0].takes.gpus, queue[0].time_limit), (2, 2, seconds(900.0)));
    assert_eq!(queue[0].takes.memory_gib, Some(GiB::from(1)));
    // A queue that is closed is none.
    cell.administer("qmod", &["-d", "long.q"]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(look.inventory().await.unwrap().unwrap().partitions.len(), 1);
    cell.administer("qmod", &["-d", "short.q"]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(look.inventory().await.unwrap().unwrap().nodes_out, 1);
    assert!(!look.capacity().await.unwrap().accepting);
    side.cancel(&job).await.unwrap();
    wait_for(&side, &job, RunState::Cancelled).await;
}

#[tokio::test]
async fn work_gets_what_its_request_says() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    let show =
        "echo \"$NSLOTS $PE $QUEUE\"; ulimit -v; cat \"$PE_HOSTFILE\" | cut -d' ' -f2; qstat -j $JOB_ID";
    let mut shared = setting.script("shared", show);
    shared.allocation = Allocation { nodes: 0, cores: 4, gpus: 4 };
    shared.memory_limit = Some(GiB::saturating(1.5));
    let mut whole = setting.script("whole", show);
    whole.allocation = Allocation { nodes: 1, cores: 0, gpus: 0 };
    let shared = side.submit(shared).await.unwrap();
    let whole = side.submit(whole).await.unwrap();
    wait_for(&side, &shared, RunState::Completed).await;
    let log = log_of(&side, &shared).await;
    assert!(log.starts_with("4 smp short.q\n1572864\n4\n"), "{log}");
    assert!(log.contains("h_vmem=384M") && log.contains("gpu=1"), "{log}");
    wait_for(&side, &whole, RunState::Completed).await;
    let log = log_of(&side, &whole).await;
    assert!(log.starts_with("8 smp short.q\n") && log.contains("exclusive=true"), "{log}");
}

#[tokio::test]
async fn what_a_site_never_gives_is_refused_with_the_reason() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.defaults = Placement::default();
    let side = cell.open(options, &setting);
    let refusals: [(&str, Change); 9] = [
        ("allocation.gpus", |request| request.allocation.gpus = 5),
        ("allocation.nodes", |request| request.allocation.nodes = 2),
        ("memory_limit", |request| request.memory_limit = Some(GiB::from(100_000))),
        ("placement.partition", |request| request.placement.partition = Some("maint.q".to_owned())),
        ("placement.partition", |request| request.placement.partition = Some("short.q -P x".to_owned())),
        ("placement.account", |request| request.placement.account = Some("nobody".to_owned())),
        ("placement.constraint", |request| request.placement.constraint = Some("quantum=true".to_owned())),
        ("time_limit", |request| {
            request.time_limit = seconds(7200.0);
            request.placement.partition = Some("short.q".to_owned());
        }),
        ("directory", |request| request.directory = "/tmp/$JOB_ID".into()),
    ];
    for (at, (expected, change)) in refusals.into_iter().enumerate() {
        let mut request = setting.script(&format!("refused-{at}"), "true");
        change(&mut request);
        match side.submit(request.clone()).await {
            Err(WorkloadError::Refused { field, .. }) => assert_eq!(field, expected, "{at}"),
            other => panic!("{expected}: {other:?}"),
        }
        assert!(!request.directory.join(".parley-1.words").exists());
    }
    assert!(side.queue().await.unwrap().is_empty());
    let never = side.estimated_start(&Allocation { nodes: 50, cores: 0, gpus: 0 }).await.unwrap();
    assert_eq!(never, None);
}

#[tokio::test]
async fn no_word_of_a_job_reaches_a_shell() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    let words = [
        "$(touch broken)",
        "`touch broken`",
        "a\nb",
        "'; touch broken; '",
        "\"",
        "*",
        "-l h_rt=1,x",
        "",
        "\\",
        "a,b",
    ];
    let mut argv = vec!["sh", "-c", "printf '<%s>' \"$@\" \"$VALUE\"", "sh"];
    argv.extend(words);
    let mut request = setting.request("words", &argv);
    request.environment.insert("VALUE".to_owned(), "$(touch broken),\n\"';".to_owned());
    request.environment.insert("odd-name".to_owned(), "x".to_owned());
    let directory = request.directory.clone();
    let job = side.submit(request).await.unwrap();
    wait_for(&side, &job, RunState::Completed).await;
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(log_of(&side, &job).await, expected + "<$(touch broken),\n\"';>");
    assert!(!directory.join("broken").exists());
    assert!(!directory.join(".parley-1.words").exists(), "there may be secrets in it");
}

#[tokio::test]
async fn exit_codes_that_grid_engine_takes_for_orders_are_kept() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    for code in [99, 100, 125] {
        let script = format!("echo started >>starts; exit {code}");
        let job = side.submit(setting.script(&format!("code-{code}"), &script)).await.unwrap();
        let status = wait_for(&side, &job, RunState::Failed).await;
        assert_eq!(status.accounting.exit_code, Some(code));
        let starts = setting.root().join(format!("jobs/code-{code}/starts"));
        assert_eq!(std::fs::read_to_string(starts).unwrap(), "started\n");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_started_has_failed_and_is_taken_out() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let request = setting.script("unstartable", "true");
    let mut options = cell.options();
    options.refresh = Duration::from_secs(600);
    let side = cell.open(options, &setting);
    // This one does not look again, so that it hands a job over to a queue that was closed meanwhile.
    assert!(side.capacity().await.unwrap().accepting);
    cell.administer("qmod", &["-d", "short.q"]);
    let job = side.submit(request.clone()).await.unwrap();
    drop(side);
    let side = cell.open(cell.options(), &setting);
    assert_eq!(status_of(&side, &job).await.state(), RunState::Queued);
    std::fs::remove_dir_all(&request.directory).unwrap();
    cell.administer("qmod", &["-e", "short.q"]);
    let status = wait_for(&side, &job, RunState::Failed).await;
    let message = status.error.unwrap().message;
    assert!(message.contains("could not start it") && message.contains("No such file"), "{message}");
    assert!(side.queue().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_jobs_name() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.commands.deadline = Duration::from_secs(1);
    let side = cell.open(options, &setting);
    // It hands the job over and never says so.
    cell.fake("qsub", "\"$REAL\" \"$@\" >/dev/null && exec sleep 60");
    let request = setting.script("lost", "echo started >>starts");
    let job = side.submit(request.clone()).await.unwrap();
    assert_eq!(side.submit(request).await.unwrap(), job);
    wait_for(&side, &job, RunState::Completed).await;
    let starts = std::fs::read_to_string(setting.root().join("jobs/lost/starts")).unwrap();
    assert_eq!(starts, "started\n");
}

#[tokio::test]
async fn a_submission_that_leaves_no_trace_is_withdrawn() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.commands.deadline = Duration::from_secs(1);
    let side = cell.open(options, &setting);
    let late = setting.root().join("late");
    // It keeps its words, and hands the job over when the test says so.
    cell.fake(
        "qsub",
        &format!("for word in \"$@\"; do printf '%s\\n' \"$word\"; done >{}; exec sleep 60", late.display()),
    );
    let request = setting.script("withdrawn", "touch started");
    let directory = request.directory.clone();
    assert!(matches!(side.submit(request.clone()).await, Err(WorkloadError::Doubtful { .. })));
    assert!(matches!(side.submit(request).await, Err(WorkloadError::Doubtful { .. })));
    // Were it handed over now nevertheless, its script would see that and end.
    let words = std::fs::read_to_string(&late).unwrap();
    let from_script = words.lines().skip_while(|word| !word.ends_with("/words.sh"));
    let status = Command::new("sh").args(from_script).current_dir(&directory).status().unwrap();
    assert_eq!(status.code(), Some(125));
    assert!(!directory.join("started").exists());
}

#[tokio::test]
async fn a_hung_command_costs_its_own_deadline_only() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.commands.deadline = Duration::from_secs(1);
    let side = cell.open(options, &setting);
    let job = side.submit(setting.script("hung", "sleep 300")).await.unwrap();
    cell.fake("qstat", "sleep 3600 & wait");
    let asked = Instant::now();
    let error = side.status(std::slice::from_ref(&job)).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Silent { command: "qstat", .. }), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(side.inventory().await.unwrap().is_some());
    // Once it answers again, so do we, and the job was never touched.
    std::fs::remove_file(cell.fakes().join("qstat")).unwrap();
    wait_for(&side, &job, RunState::Running).await;
    side.cancel(&job).await.unwrap();
    wait_for(&side, &job, RunState::Cancelled).await;
}

#[tokio::test]
async fn a_job_without_accounts_is_known_by_its_notes() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    options.patience = Duration::from_millis(300);
    let side = cell.open(options, &setting);
    cell.fake("qacct", "echo \"error: job id $2 not found\" >&2; exit 1");
    let ended = side.submit(setting.script("ended", "exit 4")).await.unwrap();
    let status = wait_for(&side, &ended, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(4));
    assert!(status.accounting.started_at.is_some() && status.accounting.ended_at.is_some());
    let vanished = side.submit(setting.script("vanished", "echo ready; sleep 300")).await.unwrap();
    wait_for_text(&setting.root().join("jobs/vanished/output.log"), "ready").await;
    // Somebody else stops it, and nobody keeps accounts.
    cell.administer("qdel", &[&vanished.0]);
    wait_for(&side, &vanished, RunState::Unknown).await;
    // What was said of a job that is over is never taken back.
    std::fs::remove_file(cell.fakes().join("qacct")).unwrap();
    assert_eq!(status_of(&side, &vanished).await.state(), RunState::Unknown);
}

#[tokio::test]
async fn what_others_kill_has_failed_and_its_memory_is_known() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    // A shell that holds 100 MiB.
    let hold = "x=$(head -c 104857600 /dev/zero | tr '\\0' x); echo ready; sleep 300";
    let job = side.submit(setting.script("killed", hold)).await.unwrap();
    wait_for_text(&setting.root().join("jobs/killed/output.log"), "ready").await;
    // Grid Engine looks every second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cell.administer("qdel", &[&job.0]);
    let status = wait_for(&side, &job, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(137));
    assert!(status.error.unwrap().message.contains("killed"));
    let peak = status.accounting.peak_memory_gib.unwrap().get();
    assert!((0.09..2.0).contains(&peak), "{peak}");
}

#[tokio::test]
async fn a_restarted_worker_finds_its_jobs_again() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let side = cell.open(cell.options(), &setting);
    let request = setting.script("kept", "while [ ! -e go ]; do sleep 0.05; done; exit 5");
    let job = side.submit(request.clone()).await.unwrap();
    wait_for(&side, &job, RunState::Running).await;
    drop(side);
    let side = cell.open(cell.options(), &setting);
    assert_eq!(side.submit(request.clone()).await.unwrap(), job);
    std::fs::write(request.directory.join("go"), "").unwrap();
    let status = wait_for(&side, &job, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(5));
}

#[tokio::test]
async fn a_master_that_is_down_is_told_and_nothing_is_lost() {
    let Some(cell) = Cell::start() else { return };
    let setting = Setting::new();
    let mut options = cell.options();
    let port = options.commands.environment.insert("SGE_QMASTER_PORT".to_owned(), "1".to_owned()).unwrap();
    let side = cell.open(options, &setting);
    assert!(matches!(side.capacity().await, Err(WorkloadError::Unavailable { .. })));
    let request = setting.script("down", "true");
    assert!(matches!(side.submit(request.clone()).await, Err(WorkloadError::Unavailable { .. })));
    drop(side);
    assert_ne!(port, "1");
    let side = cell.open(cell.options(), &setting);
    let job = side.submit(request).await.unwrap();
    wait_for(&side, &job, RunState::Completed).await;
    assert!(Path::new(&setting.state()).join("words.sh").exists());
}
