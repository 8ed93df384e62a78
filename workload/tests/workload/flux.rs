//! Flux, through a fake `flux` that prints what 0.88.0 printed. No real Flux is run: none can be installed
//! from a package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use protocol::units::GiB;
use serde_json::{Value, json};
use workload::error::WorkloadError;
use workload::flux::{Flux, FluxOptions, FluxReader};
use workload::program::Commands;
use workload::read::{NativeId, ReadSide, RunState};
use workload::submit::{Placement, SubmitSide};

use crate::setting::{Setting, log_of, seconds, status_of};
use crate::site::fake;

/// What the fake does: print a file, complain with another, end with the code in a third.
const FAKE: &str = r#"
p() { [ -e "$1.err" ] && cat "$1.err" >&2; [ -e "$1" ] && cat "$1"; [ -e "$1.rc" ] && exit "$(cat "$1.rc")"; exit 0; }
case "$*" in
version) p version;;
"resource R") p R;;
"resource R --states=free") p free;;
"resource status -no "*) p status;;
"queue list -no "*) p queues;;
"config get") p config;;
"job stats") p stats;;
"jobs --json --count=1000000 -A") p jobs;;
"jobs --json --count=1000000 -a --name="*) p named;;
"jobs --json "[0-9]*) echo "$*" >>asked; p known;;
"job submit /"*) echo "$*" >>submitted; cp "$3" jobspec; p submit;;
"cancel "[0-9]*) echo "$*" >>cancelled; p cancel;;
*) echo "no recording of: $*" >&2; exit 9;;
esac"#;

fn recording(file: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flux-0.88");
    std::fs::read(data.join(file)).unwrap()
}

fn recorded_jobs() -> Vec<Value> {
    let document: Value = serde_json::from_slice(&recording("core/jobs-all.json")).unwrap();
    document["jobs"].as_array().unwrap().clone()
}

fn recorded_job(name: &str) -> Value {
    recorded_jobs().into_iter().find(|job| job["name"] == name).unwrap()
}

/// The fields that are asked for, out of a listing that was recorded with others.
fn columns(text: &[u8], wanted: &[usize]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        let parts: Vec<&str> = line.split('|').collect();
        wanted.iter().map(|at| parts[*at]).collect::<Vec<_>>().join("|") + "\n"
    };
    text.lines().filter(|line| !line.starts_with("QUEUE|")).map(line).collect()
}

struct Recorded {
    root: tempfile::TempDir,
}

impl Recorded {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let printed = root.path().join("printed");
        std::fs::create_dir(&printed).unwrap();
        fake(root.path(), "flux", &format!("cd {}\n{FAKE}", printed.display()));
        let recorded = Self { root };
        recorded.prints("version", recording("version.txt"));
        recorded
    }

    /// Four nodes in two queues.
    fn core() -> Self {
        let recorded = Self::new();
        for (name, file) in [
            ("R", "core/R.json"),
            ("free", "core/R-free.json"),
            ("status", "core/status-drained.txt"),
            ("config", "core/config.json"),
            ("stats", "core/stats.json"),
            ("jobs", "core/jobs.json"),
            ("submit", "core/submitted.txt"),
        ] {
            recorded.prints(name, recording(file));
        }
        recorded.prints("queues", columns(&recording("core/queues-long.txt"), &[0, 1, 2, 3, 6, 7, 8, 9, 10]));
        recorded.prints("named", r#"{"jobs": []}"#);
        recorded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("printed").join(name)
    }

    fn prints(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// A command prints nothing, complains, and ends with 1.
    fn fails(&self, name: &str, complaint: impl AsRef<[u8]>) {
        self.prints(name, "");
        self.prints(&format!("{name}.err"), complaint);
        self.prints(&format!("{name}.rc"), "1");
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.file(name)).map_or(0, |text| text.lines().count())
    }

    fn options(&self) -> FluxOptions {
        let mut commands = Commands::of_process(&[]);
        commands.search_path.insert(0, self.root.path().to_owned());
        FluxOptions { commands, defaults: Placement::default(), refresh: Duration::ZERO }
    }

    fn reader(&self) -> FluxReader {
        FluxReader::new(self.options())
    }

    fn open(&self, setting: &Setting) -> Flux {
        Flux::open(self.options(), setting.state(), Arc::new(SystemClock)).unwrap()
    }
}

#[tokio::test]
async fn the_site_is_seen_as_it_was() {
    let recorded = Recorded::core();
    let reader = recorded.reader();
    let inventory = reader.inventory().await.unwrap().unwrap();
    assert_eq!(inventory.version.as_deref(), Some("0.88.0"));
    let queues: Vec<_> =
        inventory.partitions.iter().map(|queue| (queue.name.as_str(), queue.time_limit)).collect();
    assert_eq!(queues, [("batch", None), ("debug", seconds(1800.0))]);
    // node1 and node3 are being drained.
    assert_eq!(inventory.nodes_out, 2);
    let batch = inventory.groups.iter().find(|group| group.name == "batch").unwrap();
    assert_eq!(
        (batch.nodes, batch.nodes_free, batch.cores_per_node, batch.cores_free),
        (1, Some(0), 4, Some(2))
    );
    assert_eq!((batch.gpus_per_node, batch.gpus_free, batch.gpu_model.as_deref()), (2, Some(2), None));
    // Flux knows no memory.
    assert_eq!(batch.memory_gib_per_node, None);
    let capacity = reader.capacity().await.unwrap();
    assert_eq!((capacity.total.cores, capacity.total.gpus, capacity.free.cores), (8, 4, 3));
    assert_eq!((capacity.running, capacity.queued, capacity.time_limit), (5, 11, None));
    assert!(capacity.accepting);
    assert_eq!(reader.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 0 }).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_node_is_out() {
    let recorded = Recorded::core();
    for (name, file) in
        [("R", "R.json"), ("free", "R.json"), ("queues", "queues.txt"), ("config", "config.json")]
    {
        recorded.prints(name, recording(&format!("no-queues/{file}")));
    }
    recorded.prints("status", columns(&recording("no-queues/status-long.txt"), &[0, 1, 2, 4, 5, 6, 7, 7]));
    let inventory = recorded.reader().inventory().await.unwrap().unwrap();
    assert_eq!((inventory.nodes_out, inventory.partitions.len()), (1, 0));
    assert_eq!(
        (inventory.groups.len(), inventory.groups[0].nodes, inventory.groups[0].name.as_str()),
        (1, 3, "all")
    );

    recorded.prints("known", recording("no-queues/job-lost-node.json"));
    let accounting = recorded.reader().accounting(&NativeId("122893107200".to_owned())).await.unwrap();
    assert_eq!((accounting.state, accounting.exit_code), (RunState::Failed, Some(143)));
}

#[tokio::test]
async fn the_queue_has_running_jobs_first() {
    let recorded = Recorded::core();
    let queue = recorded.reader().queue().await.unwrap();
    let of = |name: &str| {
        let id = recorded_job(name)["id"].to_string();
        queue.iter().position(|job| job.native.0 == id).unwrap()
    };
    assert_eq!(queue.len(), 16);
    assert!(queue[..5].iter().all(|job| job.state == RunState::Running));
    assert!(queue[5..].iter().all(|job| job.state == RunState::Queued && job.started_at.is_none()));
    assert!(of("run1") < of("expedite") && of("expedite") < of("pend") && of("pend") < of("held"));
    let run = &queue[of("run1")];
    assert_eq!((run.takes.cores, run.takes.gpus, run.time_limit), (2, 2, seconds(3600.0)));
    assert!(run.started_at.unwrap() > run.received_at);
    assert_eq!(queue[of("nolimit")].time_limit, None);
}

#[tokio::test]
async fn ends_are_told_as_flux_tells_them() {
    let recorded = Recorded::core();
    let reader = recorded.reader();
    for (name, state, exit_code, ran) in [
        ("hello", RunState::Completed, Some(0), true),
        ("exit3", RunState::Failed, Some(3), true),
        ("sigkill", RunState::Failed, Some(137), true),
        ("notfound", RunState::Failed, Some(127), true),
        ("timeout", RunState::TimedOut, None, true),
        ("cancelpend", RunState::Cancelled, None, false),
        ("cancelrun", RunState::Cancelled, None, true),
        ("unsat", RunState::Failed, None, false),
        ("depfail", RunState::Failed, None, false),
        ("held", RunState::Queued, None, false),
    ] {
        let job = recorded_job(name);
        recorded.prints("known", job.to_string());
        let accounting = reader.accounting(&NativeId(job["id"].to_string())).await.unwrap();
        assert_eq!((accounting.state, accounting.exit_code), (state, exit_code), "{name}");
        assert_eq!(accounting.started_at.is_some(), ran, "{name}");
        assert_eq!(accounting.ended_at.is_some(), state.is_terminal(), "{name}");
        assert_eq!(accounting.peak_memory_gib, None);
    }
    recorded.fails("known", recording("core/jobs-unknown.stderr"));
    for nobody in ["4711", "99999999999999999999", "--help", ""] {
        let error = reader.accounting(&NativeId(nobody.to_owned())).await.unwrap_err();
        assert!(matches!(error, WorkloadError::UnknownJob { .. }), "{nobody}: {error}");
    }
    assert_eq!(recorded.lines("asked"), 11, "what is no id is not given to a command");
}

/// The recorded job of that name, as if it were the one that was submitted.
fn as_ours(name: &str, native: &NativeId) -> Value {
    let mut job = recorded_job(name);
    job["id"] = json!(native.0.parse::<u64>().unwrap());
    job
}

#[tokio::test]
async fn an_attempt_is_submitted_once_and_followed() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let flux = recorded.open(&setting);
    let mut request =
        setting.request("once", &["printf", "<%s>", "$(touch broken)", "a\nb", "\"'", "", "--x"]);
    request.environment.insert("GREETING".to_owned(), "$HOME `id`".to_owned());
    request.time_limit = seconds(0.5);
    let native = flux.submit(request.clone()).await.unwrap();
    // `ƒ64rLef9` is what Flux printed.
    assert_eq!(native.0, recorded_job("raw")["id"].to_string());
    assert_eq!(flux.submit(request.clone()).await.unwrap(), native);
    assert_eq!(recorded.lines("submitted"), 1);
    let mut other = request.clone();
    other.argv.push("more".to_owned());
    assert!(matches!(flux.submit(other).await, Err(WorkloadError::Conflict { .. })));

    // What was handed over, run as Flux runs it: the script with the words behind it.
    let document: Value = serde_json::from_slice(&std::fs::read(recorded.file("jobspec")).unwrap()).unwrap();
    let script = document.pointer("/attributes/system/files/script/data").unwrap().as_str().unwrap();
    let command: Vec<String> = serde_json::from_value(document["tasks"][0]["command"].clone()).unwrap();
    let system = &document["attributes"]["system"];
    assert_eq!((&system["duration"], &system["queue"]), (&json!(0.5), &json!("batch")));
    assert_eq!(system["environment"]["GREETING"], "$HOME `id`");
    assert_eq!(system["environment"]["PARLEY_JOB_ID"], "once");
    assert_eq!(&command[1..3], ["broker", "{{tmpdir}}/script"]);
    let at = setting.root().join("script");
    std::fs::write(&at, script).unwrap();
    let log = std::fs::File::create(flux.log_path(&native).await.unwrap()).unwrap();
    let run =
        Command::new("sh").arg(&at).args(&command[3..]).current_dir(&request.directory).stdout(log).status();
    assert!(run.unwrap().success());
    assert_eq!(log_of(&flux, &native).await, "<$(touch broken)><a\nb><\"'><><--x>");
    assert!(!request.directory.join("broken").exists());
    let again = Command::new("sh").arg(&at).args(&command[3..]).status().unwrap();
    assert_eq!(again.code(), Some(125), "a second start ends by itself");

    recorded.prints("known", as_ours("run1", &native).to_string());
    assert_eq!(status_of(&flux, &native).await.state(), RunState::Running);
    recorded.fails("known", recording("core/jobs-unknown.stderr"));
    let forgotten = status_of(&flux, &native).await;
    assert_eq!((forgotten.state(), forgotten.accounting.exit_code), (RunState::Completed, Some(0)));
    // A new worker over the same directory knows it, and asks nobody.
    let asked = recorded.lines("asked");
    drop(flux);
    let flux = recorded.open(&setting);
    assert_eq!(flux.submit(request).await.unwrap(), native);
    assert_eq!(status_of(&flux, &native).await, forgotten);
    assert_eq!((recorded.lines("asked"), recorded.lines("submitted")), (asked, 1));
}

#[tokio::test]
async fn many_are_asked_about_at_once() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let mut options = recorded.options();
    options.refresh = Duration::from_secs(600);
    let flux = Flux::open(options, setting.state(), Arc::new(SystemClock)).unwrap();
    let mut jobs = Vec::new();
    let names = ["unsat", "timeout", "cancelrun", "notfound"];
    for name in names {
        recorded.prints("submit", recorded_job(name)["id"].to_string());
        jobs.push(flux.submit(setting.request(name, &["true"])).await.unwrap());
    }
    let known: Vec<Value> = names.iter().map(|name| recorded_job(name)).collect();
    recorded.prints("known", json!({"jobs": known}).to_string());
    for _ in 0..3 {
        let statuses = flux.status(&jobs).await.unwrap();
        let errors: Vec<_> = jobs.iter().map(|job| statuses[job].error.clone().unwrap()).collect();
        assert!(errors[0].message.contains("only 3 eligible"), "{errors:?}");
        assert_eq!((errors[1].code, errors[2].code), (ErrorCode::JobTimeout, ErrorCode::Cancelled));
        assert!(errors[3].message.contains("start failed"), "{errors:?}");
    }
    assert_eq!(recorded.lines("asked"), 1);
    // Others do not know them.
    let nobody = NativeId("1".to_owned());
    assert!(flux.status(std::slice::from_ref(&nobody)).await.unwrap().is_empty());
    assert!(matches!(flux.cancel(&nobody).await, Err(WorkloadError::UnknownJob { .. })));
}

#[tokio::test]
async fn what_is_over_can_be_cancelled() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let flux = recorded.open(&setting);
    let job = flux.submit(setting.request("over", &["true"])).await.unwrap();
    flux.cancel(&job).await.unwrap();
    recorded.fails("cancel", recording("core/cancel-inactive.stderr"));
    flux.cancel(&job).await.unwrap();
    recorded.fails("cancel", "flux-cancel: ERROR: something else");
    assert!(matches!(flux.cancel(&job).await, Err(WorkloadError::CommandFailed { .. })));
    assert_eq!(recorded.lines("cancelled"), 3);
}

#[tokio::test]
async fn a_refused_job_may_be_submitted_again() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let flux = recorded.open(&setting);
    let request = setting.request("refused", &["true"]);
    recorded.fails("submit", recording("core/disabled.stderr"));
    match flux.submit(request.clone()).await {
        Err(WorkloadError::Refused { field: "placement.partition", reason }) => {
            assert!(reason.contains("closed for upgrade"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    recorded.fails("submit", "flux-job: flux_open: No such file or directory");
    assert!(matches!(flux.submit(request.clone()).await, Err(WorkloadError::Unavailable { .. })));
    std::fs::remove_file(recorded.file("submit.rc")).unwrap();
    recorded.prints("submit", recording("core/submitted.txt"));
    flux.submit(request).await.unwrap();
    assert!(
        std::fs::read_dir(setting.state()).unwrap().all(|entry| {
            entry.unwrap().path().extension().is_none_or(|extension| extension != "jobspec")
        })
    );
}

#[tokio::test]
async fn a_lost_answer_is_found_or_withdrawn() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let flux = recorded.open(&setting);
    recorded.fails("submit", "flux-job: Connection reset by peer");
    recorded.prints("named", json!({"jobs": [recorded_job("pend")]}).to_string());
    let found = flux.submit(setting.request("found", &["true"])).await.unwrap();
    assert_eq!(found.0, recorded_job("pend")["id"].to_string());

    recorded.prints("named", r#"{"jobs": []}"#);
    let lost = setting.request("lost", &["true"]);
    assert!(matches!(flux.submit(lost.clone()).await, Err(WorkloadError::Doubtful { .. })));
    assert!(lost.directory.join(".parley-1").is_dir(), "a late start ends at this");
    std::fs::remove_file(recorded.file("submit.rc")).unwrap();
    recorded.prints("submit", recording("core/submitted.txt"));
    assert!(matches!(flux.submit(lost).await, Err(WorkloadError::Doubtful { .. })));
    assert_eq!(recorded.lines("submitted"), 2);
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let (recorded, setting) = (Recorded::core(), Setting::new());
    let flux = recorded.open(&setting);
    let mut request = setting.request("dry", &["true"]);
    request.allocation = Allocation { nodes: 0, cores: 2, gpus: 2 };
    // There is room, and others wait before it.
    let dry = flux.dry_run(&request).await.unwrap();
    assert_eq!((dry.takes.cores, dry.takes.gpus, dry.starts_now), (2, 2, false));
    recorded.prints("jobs", r#"{"jobs": []}"#);
    assert!(flux.dry_run(&request).await.unwrap().starts_now);
    request.allocation.cores = 3;
    request.allocation.gpus = 0;
    assert!(!flux.dry_run(&request).await.unwrap().starts_now);
    request.memory_limit = Some(GiB::from(1));
    assert!(matches!(
        flux.dry_run(&request).await,
        Err(WorkloadError::Refused { field: "memory_limit", .. })
    ));
    assert_eq!(recorded.lines("submitted"), 0);
}

#[tokio::test]
async fn what_is_no_listing_is_a_typed_reason() {
    let recorded = Recorded::core();
    let reader = recorded.reader();
    for text in ["", "{", "{\"jobs\": 3}", "[]", "{}", "{\"jobs\": [{\"id\": \"x\"}]}"] {
        recorded.prints("jobs", text);
        let error = reader.queue().await.unwrap_err();
        assert!(
            matches!(error, WorkloadError::NotUnderstood { command: "flux jobs", .. }),
            "{text}: {error}"
        );
    }
    for (name, text) in [
        ("R", "{\"execution\": {\"R_lite\": [{\"rank\": \"0-4294967295\", \"children\": {}}]}}"),
        ("status", "nonsense"),
        ("queues", "a|b"),
        ("stats", "{}"),
    ] {
        let before = std::fs::read(recorded.file(name)).unwrap();
        recorded.prints(name, text);
        let error = reader.capacity().await.unwrap_err();
        assert!(matches!(error, WorkloadError::NotUnderstood { .. }), "{name}: {error}");
        recorded.prints(name, before);
    }
    recorded.fails("stats", recording("no-instance.stderr"));
    assert!(matches!(reader.capacity().await, Err(WorkloadError::Unavailable { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// No panic, and nothing but what the recording has: no other ids, no more nodes, cores or GPUs.
    #[test]
    fn damaged_listings_invent_nothing(
        cut in any::<prop::sample::Index>(),
        at in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:|\n ".to_vec())), 0..8),
        name in prop::sample::select(vec!["jobs", "R", "free", "status", "queues", "config", "stats"]),
    ) {
        let recorded = Recorded::core();
        let mut bytes = std::fs::read(recorded.file(name)).unwrap();
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        recorded.prints(name, &bytes);
        let reader = recorded.reader();
        let ids: Vec<String> = recorded_jobs().iter().map(|job| job["id"].to_string()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for job in reader.queue().await.unwrap_or_default() {
                assert!(ids.contains(&job.native.0), "{job:?}");
                assert!(job.takes.cores <= 12 && job.takes.gpus <= 2, "{job:?}");
            }
            if let Ok(Some(inventory)) = reader.inventory().await {
                let nodes: u32 = inventory.groups.iter().map(|group| group.nodes).sum();
                assert!(nodes <= 4, "{inventory:?}");
                assert!(inventory.groups.iter().all(|group| group.cores_free <= Some(group.nodes * group.cores_per_node)));
            }
            if let Ok(capacity) = reader.capacity().await {
                assert!(capacity.total.cores <= 16 && capacity.free.cores <= capacity.total.cores, "{capacity:?}");
            }
        });
    }
}
