//! HTCondor, through fake commands that print what 23.9.6 printed. Debian 12 has no package of it, so that the one
//! test with a real HTCondor is run by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::units::GiB;
use serde_json::{Value, json};
use workload::error::WorkloadError;
use workload::htcondor::description::Description;
use workload::htcondor::{HtCondor, HtCondorOptions, HtCondorReader};
use workload::program::Commands;
use workload::read::{NativeId, ReadSide, RunState};
use workload::submit::{Placement, SubmitSide};

use crate::setting::{Setting, log_of, request_in, seconds, status_of, wait_for};
use crate::site::fake;

/// What the fakes do: print a file, complain with another, end with the code in a third.
const FAKE: &str = r#"
p() { [ -e "$1.err" ] && cat "$1.err" >&2; [ -e "$1" ] && cat "$1"; [ -e "$1.rc" ] && exit "$(cat "$1.rc")"; exit 0; }
case "$(basename "$0") $*" in
"condor_status -json -attributes "*) p status.json;;
"condor_q -constraint "*) p named;;
"condor_q "*"-json -attributes "*) echo "$*" >>asked; p queue.json;;
"condor_history "*" -json -attributes "*) p history.json;;
"condor_submit -terse /"*) echo "$*" >>submitted; cp "$2" description; p submit;;
"condor_rm "*) echo "$*" >>removed; p rm;;
*) echo "no recording of: $0 $*" >&2; exit 9;;
esac"#;

fn recording(file: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/htcondor-23.9");
    std::fs::read(data.join(file)).unwrap()
}

/// A recorded job.
fn job(file: &str, cluster: u64) -> Value {
    let jobs: Vec<Value> = serde_json::from_slice(&recording(file)).unwrap();
    jobs.into_iter().find(|job| job["ClusterId"] == cluster).unwrap()
}

struct Recorded {
    root: tempfile::TempDir,
}

impl Recorded {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        for command in ["condor_status", "condor_q", "condor_history", "condor_submit", "condor_rm"] {
            fake(root.path(), command, &format!("cd {}\n{FAKE}", printed.display()));
        }
        let recorded = Self { root };
        for file in ["status.json", "queue.json", "history.json"] {
            recorded.prints(file, recording(file));
        }
        recorded.prints("submit", "77.0 - 77.0\n");
        recorded.prints("named", "");
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

    fn options(&self) -> HtCondorOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        HtCondorOptions {
            commands,
            defaults: Placement::default(),
            refresh: Duration::ZERO,
            patience: Duration::ZERO,
        }
    }

    fn reader(&self) -> HtCondorReader {
        HtCondorReader::new(self.options(), Arc::new(SystemClock))
    }

    fn open(&self, setting: &Setting) -> HtCondor {
        HtCondor::open(self.options(), setting.state(), Arc::new(SystemClock)).unwrap()
    }
}

#[tokio::test]
async fn the_site_is_seen_as_it_was() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    let inventory = reader.inventory().await.unwrap().unwrap();
    assert_eq!(inventory.version.as_deref(), Some("23.9.6"));
    assert_eq!((inventory.partitions.len(), inventory.groups.len(), inventory.nodes_out), (0, 1, 0));
    let group = &inventory.groups[0];
    // One slot that is divided: its parts are no slots of their own.
    assert_eq!(
        (group.nodes, group.cores_per_node, group.cores_free, group.gpus_per_node),
        (1, 4, Some(2), 0)
    );
    assert_eq!(group.memory_gib_per_node, Some(GiB::from(8)));
    assert_eq!(group.architecture.as_deref(), Some("x86_64"));
    let capacity = reader.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.free.cores), (4, 2));
    assert_eq!((capacity.running, capacity.queued, capacity.accepting), (2, 3, true));
    let start = reader.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 0 }).await.unwrap();
    assert_eq!(start, None);
    recorded.prints("status.json", "");
    recorded.prints("queue.json", "");
    let empty = recorded.reader().capacity().await.unwrap();
    assert_eq!((empty.total.cores, empty.queued, empty.accepting), (0, 0, false));
}

#[tokio::test]
async fn the_queue_has_running_jobs_first() {
    let recorded = Recorded::new();
    let queue = recorded.reader().queue().await.unwrap();
    let natives: Vec<&str> = queue.iter().map(|job| job.native.0.as_str()).collect();
    assert_eq!(natives, ["9.0", "11.0", "14.0", "4.0", "12.0"]);
    assert!(queue[..2].iter().all(|job| job.state == RunState::Running && job.started_at.is_some()));
    assert!(queue[2..].iter().all(|job| job.state == RunState::Queued && job.started_at.is_none()));
    assert_eq!((queue[0].takes.cores, queue[0].time_limit), (1, seconds(100.0)));
    assert_eq!(queue[2].takes.cores, 100);
}

#[tokio::test]
async fn ends_are_told_as_htcondor_tells_them() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    for (cluster, state, exit_code) in
        [(1, RunState::Failed, Some(3)), (10, RunState::Failed, Some(137)), (8, RunState::Cancelled, None)]
    {
        let accounting = reader.accounting(&NativeId(format!("{cluster}.0"))).await.unwrap();
        assert_eq!((accounting.state, accounting.exit_code), (state, exit_code), "{cluster}");
        assert!(accounting.ended_at.is_some());
        assert_eq!(accounting.peak_memory_gib, None, "a sample of nothing is none");
    }
    let mut large = job("history.json", 1);
    large["ResidentSetSize_RAW"] = json!(1_048_576);
    recorded.prints("history.json", json!([large]).to_string());
    let accounting = reader.accounting(&NativeId("1.0".to_owned())).await.unwrap();
    assert_eq!(accounting.peak_memory_gib, Some(GiB::from(1)));
    for nobody in ["4711.0", "--help", "1", ""] {
        let error = reader.accounting(&NativeId(nobody.to_owned())).await.unwrap_err();
        assert!(matches!(error, WorkloadError::UnknownJob { .. }), "{nobody}: {error}");
    }
}

#[tokio::test]
async fn an_attempt_is_submitted_once_and_followed() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let side = recorded.open(&setting);
    let mut request =
        setting.request("once", &["printf", "<%s>", "$(touch broken)", "a\nb", "\"'", "", "--x"]);
    request.environment.insert("GREETING".to_owned(), "$HOME, `id`".to_owned());
    request.time_limit = seconds(30.5);
    let native = side.submit(request.clone()).await.unwrap();
    assert_eq!(native.0, "77.0");
    assert_eq!(side.submit(request.clone()).await.unwrap(), native);
    assert_eq!(recorded.lines("submitted"), 1);
    let mut other = request.clone();
    other.argv.push("more".to_owned());
    assert!(matches!(side.submit(other).await, Err(WorkloadError::Conflict { .. })));

    // What was handed over, run as HTCondor runs it.
    let document = std::fs::read_to_string(recorded.file("description")).unwrap();
    assert_eq!(Description::parse(&document).unwrap().seconds, Some(31));
    assert!(!document.contains("broken") && !document.contains("GREETING"), "{document}");
    let line = document.lines().find_map(|line| line.strip_prefix("arguments = ")).unwrap();
    let words: Vec<&str> = line.trim_matches('"').split(' ').collect();
    let log = std::fs::File::create(side.log_path(&native).await.unwrap()).unwrap();
    let run = Command::new("sh").args(&words).current_dir(&request.directory).stdout(log).status();
    assert!(run.unwrap().success());
    assert_eq!(log_of(&side, &native).await, "<$(touch broken)><a\nb><\"'><><--x>");
    assert!(!request.directory.join("broken").exists());
    let again = Command::new("sh").args(&words).status().unwrap();
    assert_eq!(again.code(), Some(125), "a second start ends by itself");

    let mut running = job("queue.json", 9);
    running["ClusterId"] = json!(77);
    recorded.prints("queue.json", json!([running]).to_string());
    assert_eq!(status_of(&side, &native).await.state(), RunState::Running);
    recorded.prints("queue.json", "");
    recorded.prints("history.json", "[]");
    let forgotten = status_of(&side, &native).await;
    assert_eq!((forgotten.state(), forgotten.accounting.exit_code), (RunState::Completed, Some(0)));
    assert!(!request.directory.join(".parley-1.sh").exists());
    // A new worker over the same directory knows it, and asks nobody.
    let asked = recorded.lines("asked");
    drop(side);
    let side = recorded.open(&setting);
    assert_eq!(side.submit(request).await.unwrap(), native);
    assert_eq!(status_of(&side, &native).await, forgotten);
    assert_eq!((recorded.lines("asked"), recorded.lines("submitted")), (asked, 1));
}

#[tokio::test]
async fn what_is_held_has_failed_and_is_taken_out() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let side = recorded.open(&setting);
    for (name, recorded_as, code, state) in [
        ("broken", 12, None, RunState::Failed),
        ("late", 12, Some(47), RunState::TimedOut),
        ("by-user", 4, None, RunState::Queued),
    ] {
        recorded.prints("submit", format!("{0}.0 - {0}.0", 100 + name.len()));
        let native = side.submit(setting.request(name, &["true"])).await.unwrap();
        let mut held = job("queue.json", recorded_as);
        held["ClusterId"] = json!(100 + name.len());
        if let Some(code) = code {
            held["HoldReasonCode"] = json!(code);
        }
        recorded.prints("queue.json", json!([held]).to_string());
        let status = status_of(&side, &native).await;
        assert_eq!(status.state(), state, "{name}");
        if state == RunState::Failed {
            assert!(status.error.unwrap().message.contains("Failed to open"));
        }
    }
    assert_eq!(recorded.lines("removed"), 2);
}

#[tokio::test]
async fn who_took_a_job_out_is_told() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let side = recorded.open(&setting);
    recorded.prints("queue.json", "");
    for (name, cancelled, state) in [("mine", true, RunState::Cancelled), ("theirs", false, RunState::Failed)]
    {
        recorded.prints("submit", format!("{0}.0 - {0}.0", 100 + name.len()));
        let native = side.submit(setting.request(name, &["true"])).await.unwrap();
        if cancelled {
            side.cancel(&native).await.unwrap();
        }
        let mut removed = job("history.json", 8);
        removed["ClusterId"] = json!(100 + name.len());
        removed["JobBatchName"] = json!(format!("parley-{name}.1"));
        recorded.prints("history.json", json!([removed]).to_string());
        let status = status_of(&side, &native).await;
        assert_eq!(status.state(), state, "{name}");
        assert_eq!(status.error.unwrap().message.contains("via condor_rm"), !cancelled);
    }
    recorded.fails("rm", "Job 99.0 not found");
    let over = side.submit(setting.request("over", &["true"])).await.unwrap();
    side.cancel(&over).await.unwrap();
    recorded.fails("rm", "something else");
    assert!(matches!(side.cancel(&over).await, Err(WorkloadError::CommandFailed { .. })));
}

#[tokio::test]
async fn a_lost_answer_is_found_or_withdrawn_and_a_refusal_is_told() {
    let (recorded, setting) = (Recorded::new(), Setting::new());
    let side = recorded.open(&setting);
    recorded.fails("submit", "ERROR: Failed to commit job submission into the queue.");
    let mut ours = job("queue.json", 14);
    ours["JobBatchName"] = json!("parley-found.1");
    recorded.prints("named", json!([ours]).to_string());
    assert_eq!(side.submit(setting.request("found", &["true"])).await.unwrap().0, "14.0");
    recorded.prints("named", "");
    let lost = setting.request("lost", &["true"]);
    assert!(matches!(side.submit(lost.clone()).await, Err(WorkloadError::Doubtful { .. })));
    assert!(lost.directory.join(".parley-1").is_dir(), "a late start ends at this");

    let refused = setting.request("refused", &["true"]);
    recorded.fails("submit", "ERROR: Parse error in expression:\n\tRequirements = ((x)");
    match side.submit(refused.clone()).await {
        Err(WorkloadError::Refused { field: "placement.constraint", .. }) => {}
        other => panic!("{other:?}"),
    }
    recorded.fails("submit", "ERROR: Can't find address of local schedd");
    assert!(matches!(side.submit(refused.clone()).await, Err(WorkloadError::Unavailable { .. })));
    assert!(!refused.directory.join(".parley-1.words").exists());
    recorded.prints("submit", "77.0 - 77.0");
    side.submit(refused).await.unwrap();
    let mut macros = setting.request("macros", &["true"]);
    macros.directory = setting.root().join("$(HOME)");
    assert!(matches!(side.submit(macros).await, Err(WorkloadError::Refused { field: "directory", .. })));
}

#[tokio::test]
async fn what_is_no_listing_is_a_typed_reason() {
    let recorded = Recorded::new();
    let reader = recorded.reader();
    for text in ["{", "{}", "[{\"ClusterId\": \"x\"}]", "Error: x"] {
        recorded.prints("queue.json", text);
        let error = reader.queue().await.unwrap_err();
        assert!(matches!(error, WorkloadError::NotUnderstood { command: "condor_q", .. }), "{text}: {error}");
        recorded.prints("status.json", text);
        let error = reader.inventory().await.unwrap_err();
        assert!(
            matches!(error, WorkloadError::NotUnderstood { command: "condor_status", .. }),
            "{text}: {error}"
        );
    }
    recorded.fails("queue.json", "Error: communication error\nCEDAR:6001:Failed to connect to <127.0.0.1:1>");
    assert!(matches!(reader.queue().await, Err(WorkloadError::Unavailable { .. })));
    fake(recorded.root.path(), "condor_q", "sleep 3600 & wait");
    let mut options = recorded.options();
    options.commands.deadline = Duration::from_millis(300);
    let reader = HtCondorReader::new(options, Arc::new(SystemClock));
    assert!(matches!(reader.queue().await, Err(WorkloadError::Silent { command: "condor_q", .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// No panic, and nothing but what the recording has: no other ids, no more cores.
    #[test]
    fn damaged_listings_invent_nothing(
        cut in any::<prop::sample::Index>(),
        at in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",: \n".to_vec())), 0..8),
        name in prop::sample::select(vec!["queue.json", "status.json"]),
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
                assert!(["4.0", "9.0", "11.0", "12.0", "14.0"].contains(&job.native.0.as_str()), "{job:?}");
            }
            if let Ok(capacity) = reader.capacity().await {
                assert!(capacity.total.cores <= 12 && capacity.free.cores <= capacity.total.cores, "{capacity:?}");
            }
        });
    }
}

/// Everything with a real HTCondor of at least two cores on this machine, as its user. The directory of the test
/// has to be one that its jobs see.
#[tokio::test]
#[ignore = "needs a running HTCondor; by hand"]
async fn a_real_pool_runs_work() {
    let options = HtCondorOptions { refresh: Duration::from_millis(200), ..HtCondorOptions::of_process() };
    assert!(options.is_installed(), "there is no HTCondor");
    let setting = Setting::new();
    let side = HtCondor::open(options, setting.state(), Arc::new(SystemClock)).unwrap();
    assert!(side.inventory().await.unwrap().unwrap().version.is_some());
    let words = ["$(touch broken)", "a\nb", "'; x", "\"", "*", "", "\\", "a,b", "$(HOME)"];
    let mut argv = vec!["sh", "-c", "printf '<%s>' \"$@\" \"$VALUE\"; exit 3", "sh"];
    argv.extend(words);
    let root = setting.root().join("it's a \"directory\"");
    let mut request = request_in(&root, "words", &argv);
    request.environment.insert("VALUE".to_owned(), "x,\n\"';".to_owned());
    request.memory_limit = Some(GiB::saturating(0.1));
    let first = side.submit(request.clone()).await.unwrap();
    assert_eq!(side.submit(request).await.unwrap(), first);
    let status = wait_for(&side, &first, RunState::Failed).await;
    assert_eq!(status.accounting.exit_code, Some(3), "{status:?}");
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(log_of(&side, &first).await, expected + "<x,\n\"';>");

    let mut limited = setting.script("limited", "sleep 300");
    limited.time_limit = seconds(1.5);
    let limited = side.submit(limited).await.unwrap();
    let running = side.submit(setting.script("running", "sleep 300")).await.unwrap();
    wait_for(&side, &running, RunState::Running).await;
    side.cancel(&running).await.unwrap();
    side.cancel(&running).await.unwrap();
    wait_for(&side, &running, RunState::Cancelled).await;
    wait_for(&side, &limited, RunState::TimedOut).await;
    let mut large = setting.request("large", &["true"]);
    large.allocation.cores = 1_000_000;
    assert!(matches!(
        side.dry_run(&large).await,
        Err(WorkloadError::Refused { field: "allocation.cores", .. })
    ));
    assert!(side.queue().await.unwrap().is_empty());
}
