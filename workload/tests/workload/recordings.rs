//! Slurm's listings as recorded, through fake commands: the JSON of a version that is not installed here,
//! and what damaged output leads to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::units::GiB;
use workload::error::WorkloadError;
use workload::program::Commands;
use workload::read::{ReadSide, RunState};
use workload::slurm::{SlurmOptions, SlurmReader};
use workload::submit::Placement;

use crate::setting::seconds;
use crate::site::fake;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// A Slurm whose commands print files: `squeue`, `nodes`, `partitions` and `test-only`.
struct Recorded {
    root: tempfile::TempDir,
}

impl Recorded {
    fn new(version: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        let at = printed.display();
        fake(root.path(), "sinfo", &format!("echo 'slurm {version}'"));
        fake(
            root.path(),
            "squeue",
            &format!("case \"$*\" in *format=%T*) cat {at}/states;; *) cat {at}/squeue;; esac"),
        );
        fake(
            root.path(),
            "scontrol",
            &format!(
                "case \"$*\" in *partition) cat {at}/partitions;; *node) cat {at}/nodes;; *) exit 1;; esac"
            ),
        );
        fake(root.path(), "sbatch", &format!("cat {at}/test-only >&2"));
        Self { root }
    }

    fn prints(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.root.path().join("printed").join(name), text).unwrap();
    }

    /// Prints the recordings of a version.
    fn replay(version: &str) -> Self {
        let recorded = Self::new(version);
        let directory = data().join(format!("slurm-{version}"));
        for (name, file) in
            [("nodes", "nodes.txt"), ("partitions", "partitions.txt"), ("test-only", "test-only.txt")]
        {
            recorded.prints(name, std::fs::read(directory.join(file)).unwrap());
        }
        if let Ok(text) = std::fs::read(directory.join("squeue.json")) {
            recorded.prints("squeue", text);
        }
        recorded.prints("states", "RUNNING\nPENDING\n");
        recorded
    }

    fn reader(&self) -> SlurmReader {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        let options = SlurmOptions { commands, defaults: Placement::default(), refresh: Duration::ZERO };
        SlurmReader::new(options, Arc::new(SystemClock))
    }
}

#[tokio::test]
async fn the_json_of_a_newer_version_is_read() {
    let recorded = Recorded::replay("26.05");
    let reader = recorded.reader();
    let queue = reader.queue().await.unwrap();
    let of = |id: &str| queue.iter().find(|job| job.native.0 == id).unwrap();
    assert_eq!(queue.len(), 10);
    assert_eq!((of("1").state, of("1").takes.cores), (RunState::Running, 48));
    assert!(of("1").started_at.is_some());
    assert_eq!(of("1").time_limit, seconds(300.0));
    assert_eq!((of("2").state, of("2").started_at), (RunState::Queued, None));
    assert_eq!(of("8").time_limit, None);
    let element = of("6_1");
    assert_eq!((element.state, element.takes.gpus), (RunState::Running, 1));
    assert_eq!(of("6_[2-5%2]").state, RunState::Queued);
    // Those that run come first, then those that Slurm expects to start, the earliest first.
    let ids: Vec<&str> = queue.iter().map(|job| job.native.0.as_str()).take(6).collect();
    assert_eq!(ids, ["1", "6_0", "6_1", "2", "3", "7"]);
}

#[tokio::test]
async fn nodes_of_both_versions_are_read() {
    for version in ["22.05", "26.05"] {
        let recorded = Recorded::replay(version);
        let reader = recorded.reader();
        let inventory = reader.inventory().await.unwrap().unwrap();
        let names: Vec<&str> = inventory.partitions.iter().map(|partition| partition.name.as_str()).collect();
        assert_eq!(names, ["short", "gpu"], "{version}");
        assert!(inventory.version.unwrap().starts_with(version), "{version}");
        let short = inventory.groups.iter().find(|group| group.name == "short").unwrap();
        assert_eq!((short.nodes, short.cores_per_node, short.cores_free), (3, 16, Some(0)), "{version}");
        let gpu = inventory.groups.iter().find(|group| group.name == "gpu").unwrap();
        assert_eq!((gpu.gpus_per_node, gpu.gpu_model.as_deref()), (4, Some("h100")), "{version}");
        assert_eq!(gpu.memory_gib_per_node, Some(GiB::from(250)), "{version}");
    }
}

#[tokio::test]
async fn a_start_in_the_past_is_now_and_an_unknown_one_is_unknown() {
    let recorded = Recorded::replay("26.05");
    recorded.prints("squeue", r#"{"jobs": []}"#);
    let reader = recorded.reader();
    let small = Allocation { nodes: 0, cores: 1, gpus: 0 };
    let start = reader.estimated_start(&small).await.unwrap().unwrap();
    // The recording is of the day on which it was made.
    assert!(start.p50 == start.p90 && start.p50.get() >= 0.0);
    // Somebody waits before us for whom Slurm expects no start.
    recorded.prints(
        "squeue",
        r#"{"jobs": [{"job_id": 7, "job_state": ["PENDING"], "partition": "short", "state_reason": "Priority"}]}"#,
    );
    assert_eq!(reader.estimated_start(&small).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_listing_is_a_typed_reason() {
    let recorded = Recorded::replay("26.05");
    let reader = recorded.reader();
    for text in ["", "{", "{\"jobs\": 3}", "[]", "slurm_load_jobs error", "{\"jobs\": [{\"job_id\": \"x\"}]}"]
    {
        recorded.prints("squeue", text);
        let error = reader.queue().await.unwrap_err();
        assert!(matches!(error, WorkloadError::NotUnderstood { command: "squeue", .. }), "{text}: {error}");
    }
    recorded.prints("test-only", "sbatch: everything is fine");
    recorded.prints("squeue", r#"{"jobs": []}"#);
    let error = reader.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 0 }).await.unwrap_err();
    assert!(matches!(error, WorkloadError::NotUnderstood { .. }), "{error}");
    // A site without nodes has nothing; it does not have an error.
    recorded.prints("nodes", "");
    recorded.prints("partitions", "No partitions in the system");
    let capacity = reader.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.accepting), (0, false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn damaged_listings_never_panic(
        cut in any::<prop::sample::Index>(),
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        file in prop::sample::select(vec!["squeue.json", "nodes.txt", "partitions.txt"]),
    ) {
        let recorded = Recorded::replay("26.05");
        let mut bytes = std::fs::read(data().join("slurm-26.05").join(file)).unwrap();
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let name = file.split('.').next().unwrap();
        recorded.prints(name, &bytes);
        let reader = recorded.reader();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = reader.queue().await;
            let _ = reader.inventory().await;
            let _ = reader.capacity().await;
        });
    }
}
