//! What one real host cannot show, through fake commands that print what 8.1.9 printed on a site of two: node1
//! with jobs of every kind, node2 that cannot be reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use workload::error::WorkloadError;
use workload::gridengine::{GridEngine, GridEngineOptions, GridEngineReader};
use workload::program::Commands;
use workload::read::{NativeId, ReadSide, RunState};
use workload::submit::{Placement, SubmitSide};

use crate::setting::{Setting, seconds, status_of};
use crate::site::fake;

/// What the fakes do: print a file, complain with another, end with the code in a third.
const FAKE: &str = r#"
p() { [ -e "$1.err" ] && cat "$1.err" >&2; [ -e "$1" ] && cat "$1"; [ -e "$1.rc" ] && exit "$(cat "$1.rc")"; exit 0; }
case "$(basename "$0") $*" in
"qstat -help") p version.txt;;
"qstat -s prs -r -xml -u "*) p qstat.xml;;
"qhost -F -q -xml") p qhost.xml;;
"qconf -sq *") p queues.txt;;
"qconf -sc") p complexes.txt;;
"qconf -spl") p environments.txt;;
"qconf -sp "*) p "environment-$2.txt";;
"qconf -se "*) p "host-$2.txt";;
"qsub -w "[pv]*) echo "$*" >>verified; p verify;;
"qsub -terse "*) echo "$*" >>submitted; p submit;;
"qacct -j "*) p qacct;;
"qdel "*) p qdel;;
"qstat -j "*) p in-error.txt;;
*) echo "no recording of: $0 $*" >&2; exit 9;;
esac"#;

struct Recorded {
    root: tempfile::TempDir,
}

impl Recorded {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gridengine-8.1.9");
        for entry in std::fs::read_dir(data).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, printed.join(path.file_name().unwrap())).unwrap();
        }
        for command in ["qstat", "qhost", "qconf", "qsub", "qacct", "qdel"] {
            fake(root.path(), command, &format!("cd {}\n{FAKE}", printed.display()));
        }
        let recorded = Self { root };
        recorded.prints("submit", "77\n");
        recorded.prints("verify", "verification: found suitable queue(s)\n");
        recorded.fails("qacct", "error: job id 77 not found");
        recorded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("printed").join(name)
    }

    fn prints(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
        for end in ["err", "rc"] {
            let _ = std::fs::remove_file(self.file(&format!("{name}.{end}")));
        }
    }

    fn fails(&self, name: &str, complaint: &str) {
        self.prints(name, "");
        std::fs::write(self.file(&format!("{name}.err")), complaint).unwrap();
        std::fs::write(self.file(&format!("{name}.rc")), "1").unwrap();
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.file(name)).map_or(0, |text| text.lines().count())
    }

    fn options(&self) -> GridEngineOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        GridEngineOptions {
            commands,
            defaults: Placement::default(),
            refresh: Duration::ZERO,
            patience: Duration::ZERO,
        }
    }

    fn reader(&self) -> GridEngineReader {
        GridEngineReader::new(self.options(), Arc::new(SystemClock))
    }

    fn open(&self, setting: &Setting) -> GridEngine {
        GridEngine::open(self.options(), setting.state(), Arc::new(SystemClock)).unwrap()
    }
}

#[tokio::test]
async fn the_site_is_seen_as_it_was() {
    let reader = Recorded::new().reader_kept();
    let inventory = reader.1.inventory().await.unwrap().unwrap();
    assert_eq!(inventory.version.as_deref(), Some("8.1.9"));
    let queues: Vec<_> =
        inventory.partitions.iter().map(|queue| (queue.name.as_str(), queue.time_limit)).collect();
    // node2 gives two hours in short.q; maint.q is disabled.
    assert_eq!(queues, [("long.q", None), ("short.q", seconds(7200.0))]);
    assert_eq!((inventory.groups.len(), inventory.nodes_out), (1, 1));
    let group = &inventory.groups[0];
    assert_eq!((group.name.as_str(), group.nodes, group.nodes_free), ("long.q,short.q", 1, Some(0)));
    assert_eq!((group.cores_per_node, group.cores_free), (8, Some(2)));
    assert_eq!((group.gpus_per_node, group.gpus_free), (4, Some(2)));
    assert_eq!(group.architecture.as_deref(), Some("x86_64"));
    assert_eq!(group.memory_gib_per_node.map(|memory| memory.get()), Some(23.5));
    let capacity = reader.1.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.free.cores, capacity.free.gpus), (8, 2, 2));
    // Four tasks of the array wait.
    assert_eq!((capacity.running, capacity.queued, capacity.time_limit), (3, 8, None));
    assert!(capacity.accepting);
}

impl Recorded {
    /// A reader with what it reads from.
    fn reader_kept(self) -> (Self, GridEngineReader) {
        let reader = self.reader();
        (self, reader)
    }
}

#[tokio::test]
async fn the_queue_has_running_jobs_first() {
    let (_recorded, reader) = Recorded::new().reader_kept();
    let queue = reader.queue().await.unwrap();
    let natives: Vec<&str> = queue.iter().map(|job| job.native.0.as_str()).collect();
    assert_eq!(natives, ["1", "2", "4.1", "3", "7", "4.3-9:2", "5", "6"]);
    assert!(queue[..3].iter().all(|job| job.state == RunState::Running && job.started_at.is_some()));
    assert!(queue[3..].iter().all(|job| job.state == RunState::Queued && job.started_at.is_none()));
    let ours = &queue[0];
    assert_eq!((ours.takes.cores, ours.takes.gpus, ours.time_limit), (2, 2, seconds(100.0)));
    assert_eq!(ours.takes.memory_gib.map(|memory| memory.get()), Some(2.0));
    assert_eq!(queue[3].time_limit, seconds(1200.0));
    let accounting = reader.accounting(&NativeId("2".to_owned())).await.unwrap();
    assert_eq!((accounting.state, accounting.exit_code), (RunState::Running, None));
    for nobody in ["4711", "--help", "1 2", ""] {
        let error = reader.accounting(&NativeId(nobody.to_owned())).await.unwrap_err();
        assert!(matches!(error, WorkloadError::UnknownJob { .. }), "{nobody}: {error}");
    }
}

#[tokio::test]
async fn nobody_can_tell_a_start_behind_work_without_a_limit() {
    let recorded = Recorded::new();
    let one = Allocation { nodes: 0, cores: 1, gpus: 0 };
    // Others wait, and one of those who run has no limit.
    assert_eq!(recorded.reader().estimated_start(&one).await.unwrap(), None);
    assert_eq!(recorded.lines("verified"), 0);
    recorded.prints("qstat.xml", "<job_info><queue_info/><job_info/></job_info>");
    let start = recorded.reader().estimated_start(&one).await.unwrap().unwrap();
    assert_eq!((start.p50.get(), start.p90.get()), (0.0, 0.0));
    recorded.fails("verify", "Unable to run job: verification: no suitable queues Exiting.");
    assert!(
        recorded.reader().estimated_start(&one).await.unwrap().is_some_and(|start| start.p90.get() >= 0.0)
    );
}

#[tokio::test]
async fn ends_are_told_by_the_sites_accounts() {
    let recorded = Recorded::new();
    let data = |name: &str| std::fs::read_to_string(recorded.file(name)).unwrap();
    let (deleted, limited) = (data("qacct-deleted.txt"), data("qacct-limited.txt"));
    let setting = Setting::new();
    for (name, record, was, limit, stopped, state) in [
        ("killed", &deleted, "big", None, false, RunState::Failed),
        ("cancelled", &deleted, "big", None, true, RunState::Cancelled),
        ("limited", &limited, "limited", seconds(2.0), false, RunState::TimedOut),
        ("memory", &limited, "limited", seconds(60.0), false, RunState::Failed),
    ] {
        let side = recorded.open(&setting);
        recorded.prints("submit", format!("{}\n", 1000 + name.len()));
        let mut request = setting.request(name, &["true"]);
        request.time_limit = limit;
        let job = side.submit(request).await.unwrap();
        if stopped {
            side.cancel(&job).await.unwrap();
        }
        let ours = record.replace(&format!(" {was} "), &format!(" parley-{name}.1 "));
        recorded.prints("qacct", ours);
        let status = status_of(&side, &job).await;
        assert_eq!(status.state(), state, "{name}: {status:?}");
        assert!(status.accounting.started_at.is_some() && status.accounting.ended_at.is_some());
        assert!(status.accounting.peak_memory_gib.is_some());
        recorded.fails("qacct", "error: job id not found");
    }
    // A record of that number that is somebody else's says nothing.
    let side = recorded.open(&setting);
    recorded.prints("submit", "4711\n");
    let job = side.submit(setting.request("other", &["true"])).await.unwrap();
    recorded.prints("qacct", &deleted);
    assert_eq!(status_of(&side, &job).await.state(), RunState::Unknown);
}

#[tokio::test]
async fn a_refused_job_may_be_submitted_again() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let side = recorded.open(&setting);
    let request = setting.request("refused", &["true"]);
    recorded.fails(
        "submit",
        "Unable to run job: job rejected: the requested project \"x\" does not exist\nExiting.",
    );
    match side.submit(request.clone()).await {
        Err(WorkloadError::Refused { field: "placement.account", .. }) => {}
        other => panic!("{other:?}"),
    }
    recorded.fails("submit", "Unable to run job: Error reading answer list from qmaster\nExiting.");
    let doubtful = setting.request("doubtful", &["true"]);
    assert!(matches!(side.submit(doubtful).await, Err(WorkloadError::Doubtful { .. })));
    recorded.prints("submit", "77\n");
    assert_eq!(side.submit(request).await.unwrap().0, "77");
}

#[tokio::test]
async fn what_is_no_listing_is_a_typed_reason() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    for text in ["", "<", "<job_info>", "<qhost/>", "<job_info><job_list/></job_info>", "error: x"] {
        recorded.prints("qstat.xml", text);
        let error = reader.queue().await.unwrap_err();
        assert!(matches!(error, WorkloadError::NotUnderstood { command: "qstat", .. }), "{text}: {error}");
    }
    recorded.prints("qhost.xml", "<qhost>");
    assert!(matches!(reader.inventory().await, Err(WorkloadError::NotUnderstood { command: "qhost", .. })));
    recorded.prints("qhost.xml", "<qhost/>");
    recorded.prints("qstat.xml", "<job_info/>");
    let capacity = recorded.reader().capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.accepting), (0, false));
    recorded.fails("qhost.xml", "error: commlib error: got select error (Connection refused)");
    assert!(matches!(recorded.reader().capacity().await, Err(WorkloadError::Unavailable { .. })));
    std::fs::remove_file(recorded.root.path().join("qhost")).unwrap();
    let mut options = recorded.options();
    options.commands.search_path.truncate(1);
    let reader = GridEngineReader::new(options, Arc::new(SystemClock));
    assert!(matches!(reader.capacity().await, Err(WorkloadError::CommandMissing { command: "qhost" })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// No panic, and nothing but what the recording has: no other ids, no more nodes or GPUs.
    #[test]
    fn damaged_listings_invent_nothing(
        cut in any::<prop::sample::Index>(),
        at in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"<>/='\"[],: \n".to_vec())), 0..8),
        name in prop::sample::select(vec!["qstat.xml", "qhost.xml", "queues.txt", "complexes.txt", "environment-smp.txt", "host-node1.txt"]),
        whole in any::<bool>(),
    ) {
        let recorded = Recorded::new();
        let mut bytes = std::fs::read(recorded.file(name)).unwrap();
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        recorded.prints(name, &bytes);
        let reader = recorded.reader();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for job in reader.queue().await.unwrap_or_default() {
                let id: u64 = job.native.0.split('.').next().unwrap().parse().unwrap();
                assert!((1..=7).contains(&id), "{job:?}");
                assert!(job.takes.cores <= 8 && job.takes.gpus <= 24, "{job:?}");
            }
            if let Ok(Some(inventory)) = reader.inventory().await {
                let nodes: u32 = inventory.groups.iter().map(|group| group.nodes).sum();
                assert!(nodes <= 2, "{inventory:?}");
                assert!(inventory.groups.iter().all(|group| group.cores_free <= Some(group.nodes * group.cores_per_node)));
            }
            if let Ok(capacity) = reader.capacity().await {
                assert!(capacity.free.cores <= capacity.total.cores && capacity.total.gpus <= 6, "{capacity:?}");
            }
        });
    }
}
