//! Torque, through fake commands that print what its documentation and its source say that it prints: it is
//! packaged by no distribution any more, and nothing here was recorded from a running one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use protocol::clock::{FixedClock, SystemClock};
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use protocol::units::{GiB, Timestamp};
use workload::error::WorkloadError;
use workload::pbs::{Pbs, PbsOptions, PbsReader};
use workload::program::Commands;
use workload::read::{NativeId, ReadSide, RunState};
use workload::submit::{Placement, SubmitSide};

use crate::setting::{Setting, log_of, seconds, status_of};
use crate::site::fake;

const FAKE: &str = r#"
p() { [ -e "$1.err" ] && cat "$1.err" >&2; [ -e "$1" ] && cat "$1"; [ -e "$1.rc" ] && exit "$(cat "$1.rc")"; exit 0; }
case "${0##*/} $*" in
"qstat --version") p version;;
"qstat -B -f -1") p server;;
"qstat -Q -f -1") p queues;;
"pbsnodes -a") p nodes;;
"qstat -t -f -1") p jobs;;
"qstat -f -1 "[0-9]*) p known;;
"qselect -N parley-"*) p named;;
"qsub -j oe -o /dev/null -r n -m n "*) printf '%s\n' "$@" >submitted; p submit;;
"qdel "[0-9]*) p cancel;;
*) echo "no recording of: ${0##*/} $*" >&2; exit 9;;
esac"#;

/// Wed Jun 13 11:06:30 2018.
const NOW: Timestamp = Timestamp::from_millis(1_528_887_990_000);

fn documented(file: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torque-6.1");
    std::fs::read_to_string(data.join(file)).unwrap()
}

struct Torque {
    root: tempfile::TempDir,
}

impl Torque {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        for command in ["qstat", "pbsnodes", "qselect", "qsub", "qdel"] {
            fake(root.path(), command, &format!("cd {}\n{FAKE}", printed.display()));
        }
        let torque = Self { root };
        torque.prints("version.err", documented("version.stderr"));
        for (name, file) in [
            ("server", "qstat-Bf.txt"),
            ("queues", "qstat-Qf.txt"),
            ("nodes", "pbsnodes-a.txt"),
            ("jobs", "qstat-f.txt"),
        ] {
            torque.prints(name, documented(file));
        }
        torque.prints("submit", "107.head.example.org\n");
        torque
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("printed").join(name)
    }

    fn prints(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn fails(&self, name: &str, code: u8, complaint: &str) {
        self.prints(&format!("{name}.err"), complaint);
        self.prints(&format!("{name}.rc"), code.to_string());
    }

    fn options(&self) -> PbsOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        PbsOptions { commands, defaults: Placement::default(), refresh: Duration::ZERO }
    }

    fn reader(&self) -> PbsReader {
        PbsReader::new(self.options(), Arc::new(FixedClock(NOW)))
    }
}

#[tokio::test]
async fn the_site_is_seen_as_it_is_documented() {
    let torque = Torque::new();
    let reader = torque.reader();
    let inventory = reader.inventory().await.unwrap().unwrap();
    assert_eq!((inventory.version.as_deref(), reader.manager()), (Some("6.1.3"), "torque"));
    assert_eq!((inventory.partitions.len(), inventory.partitions[0].time_limit), (1, seconds(259_200.0)));
    assert_eq!((inventory.nodes_out, inventory.groups.len()), (1, 2));
    let of = |cores| inventory.groups.iter().find(|group| group.cores_per_node == cores).unwrap();
    // Job 101 has four places of node01 and all of node02, job 102 two.
    assert_eq!((of(16).nodes, of(16).nodes_free, of(16).cores_free), (2, Some(0), Some(10)));
    assert_eq!((of(8).gpus_per_node, of(8).gpus_free), (2, Some(1)));
    let capacity = reader.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.free.cores, capacity.free.gpus), (40, 18, 1));
    // How much memory is set aside, Torque does not say.
    assert!(capacity.total.memory_gib.is_some() && capacity.free.memory_gib.is_none());
    assert_eq!((capacity.running, capacity.queued), (2, 2));
    // GPUs that nobody watches are not said to be free.
    let nodes = documented("pbsnodes-a.txt");
    let without: Vec<&str> = nodes.lines().filter(|line| !line.contains("gpu_status")).collect();
    torque.prints(
        "nodes",
        without.join(
            "
",
        ),
    );
    let groups = reader.inventory().await.unwrap().unwrap().groups;
    assert_eq!(groups.iter().find(|group| group.cores_per_node == 8).unwrap().gpus_free, None);
}

#[tokio::test]
async fn the_queue_and_what_is_over() {
    let torque = Torque::new();
    let reader = torque.reader();
    let queue = reader.queue().await.unwrap();
    let jobs: Vec<_> = queue
        .iter()
        .map(|job| (job.native.0.split('.').next().unwrap(), job.takes.cores, job.takes.gpus))
        .collect();
    assert_eq!(jobs, [("101", 20, 0), ("102", 2, 0), ("105", 32, 2), ("106", 2, 0)]);
    assert_eq!(queue[1].takes.memory_gib, Some(GiB::from(2)));
    for (number, state, exit_code, peak) in [
        ("103", RunState::Completed, Some(0), Some(GiB::saturating(20_480.0 / 1_048_576.0))),
        ("104", RunState::TimedOut, None, Some(GiB::saturating(1024.0 / 1_048_576.0))),
        ("101", RunState::Running, None, None),
    ] {
        let id = format!("{number}.head.example.org");
        torque.prints("known", documented("qstat-f.txt"));
        let accounting = reader.accounting(&NativeId(id)).await.unwrap();
        assert_eq!(
            (accounting.state, accounting.exit_code, accounting.peak_memory_gib),
            (state, exit_code, peak)
        );
    }
    let deleted = documented("qstat-f.txt").replace("exit_status = -11", "exit_status = 271");
    torque.prints("known", deleted);
    let accounting = reader.accounting(&NativeId("104.head.example.org".to_owned())).await.unwrap();
    assert_eq!((accounting.state, accounting.exit_code), (RunState::Cancelled, None));
}

#[tokio::test]
async fn a_start_is_told_as_long_as_nobody_waits() {
    let torque = Torque::new();
    let reader = torque.reader();
    let start = async |cores| reader.estimated_start(&Allocation { nodes: 0, cores, gpus: 0 }).await.unwrap();
    assert_eq!(start(1).await, None);
    let running: String = documented("qstat-f.txt").split_inclusive("\n\n").take(2).collect();
    torque.prints("jobs", running);
    assert_eq!(start(10).await.unwrap().p90.get(), 0.0);
    // Job 102 ends at 11:50:05 and job 101 at 12:46:30, if they take all of their time.
    assert_eq!(start(12).await.unwrap().p90.get(), 2615.0);
    assert_eq!(start(16).await.unwrap().p90.get(), 6000.0);
}

#[tokio::test]
async fn a_scheduler_over_torque_is_asked_for_starts() {
    let torque = Torque::new();
    torque.prints("server", documented("qstat-Bf.txt").replace("scheduling = True", "scheduling = False"));
    let reader = torque.reader();
    let start = async |cores, gpus| {
        let estimate = reader.estimated_start(&Allocation { nodes: 0, cores, gpus }).await.unwrap();
        estimate.map(|start| start.p90.get())
    };
    assert_eq!(start(4, 0).await, None, "nobody is here to ask");
    let says = "Estimated Rsv based start in                 3:31:22 on Fri Aug 15 12:40:10";
    fake(torque.root.path(), "showstart", &format!("[ \"$*\" = 4 ] && echo '{says}'"));
    assert_eq!(start(4, 0).await, Some(12_682.0));
    assert_eq!(start(1, 1).await, None, "it has no words for GPUs");
    fake(torque.root.path(), "showstart", "echo 'ERROR: cannot connect' >&2; exit 1");
    let error = reader.estimated_start(&Allocation { nodes: 0, cores: 4, gpus: 0 }).await.unwrap_err();
    assert!(matches!(error, WorkloadError::CommandFailed { command: "showstart", .. }), "{error}");
}

#[tokio::test]
async fn work_is_handed_over_and_followed() {
    let (torque, setting) = (Torque::new(), Setting::new());
    let pbs = Pbs::open(torque.options(), setting.state(), Arc::new(SystemClock)).unwrap();
    let mut request = setting.request("once", &["printf", "<%s>", "$(touch broken)", "a\nb", "\"'"]);
    request.environment.insert("GREETING".to_owned(), "a, b\n".to_owned());
    request.time_limit = seconds(60.0);
    let native = pbs.submit(request.clone()).await.unwrap();
    assert_eq!(native.0, "107.head.example.org");
    let said = std::fs::read_to_string(torque.file("submitted")).unwrap();
    let words: Vec<&str> = said.lines().collect();
    let files = format!("{}/.parley-1", request.directory.display());
    assert_eq!(
        words[8..],
        [
            "-N",
            "parley-once.1",
            "-q",
            "batch",
            "-l",
            "nodes=1:ppn=1",
            "-l",
            "walltime=60",
            "-S",
            "/bin/bash",
            "-C",
            "",
            "-v",
            &format!("PARLEY_WORDS={files}.words,PARLEY_LOG=output.log"),
            &format!("{files}.launch"),
        ]
    );
    // Run as Torque runs a script: with the variables and no words.
    let run = Command::new("/bin/bash")
        .arg(words.last().unwrap())
        .env_clear()
        .env("PARLEY_WORDS", format!("{files}.words"))
        .env("PARLEY_LOG", "output.log")
        .status();
    assert!(run.unwrap().success());
    assert_eq!(log_of(&pbs, &native).await, "<$(touch broken)><a\nb><\"'>");
    torque.prints("known", "");
    torque.fails("known", 153, "qstat: Unknown Job Id Error 107.head.example.org\n");
    assert_eq!(status_of(&pbs, &native).await.state(), RunState::Completed);

    let mut refused = setting.request("refused", &["true"]);
    refused.time_limit = seconds(30.0);
    torque.fails("submit", 188, "qsub: submit error (Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement)\n");
    let error = pbs.submit(refused).await.unwrap_err();
    assert!(matches!(error, WorkloadError::Refused { field: "limits", .. }), "{error}");
    torque.fails(
        "submit",
        1,
        "qsub: cannot connect to server head.example.org (errno=111) Connection refused\n",
    );
    let error = pbs.submit(setting.request("down", &["true"])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Busy);
}

#[tokio::test]
async fn what_is_no_listing_is_a_typed_reason() {
    let torque = Torque::new();
    let reader = torque.reader();
    for name in ["jobs", "server", "queues", "nodes"] {
        let before = std::fs::read(torque.file(name)).unwrap();
        torque.prints(name, "nonsense");
        let error = match name {
            "jobs" => reader.queue().await.map(|_| ()).unwrap_err(),
            _ => reader.capacity().await.map(|_| ()).unwrap_err(),
        };
        assert!(matches!(error, WorkloadError::NotUnderstood { .. }), "{name}: {error}");
        torque.prints(name, before);
    }
    torque.fails(
        "jobs",
        111,
        "qstat: cannot connect to server head.example.org (errno=111) Connection refused\n",
    );
    assert!(matches!(reader.queue().await, Err(WorkloadError::Unavailable { .. })));
}
