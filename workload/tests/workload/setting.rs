//! What the tests need around a workload manager: directories, requests, patience.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::clock::SystemClock;
use protocol::facts::Allocation;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::{GiB, Seconds};
use workload::local::{GpuDevice, GpuVendor, LocalMachine, LocalOptions};
use workload::read::{NativeId, RunState, Slots};
use workload::submit::{Placement, Status, SubmitRequest, SubmitSide};

/// A directory for the manager's state and one for each job, gone at the end.
pub struct Setting {
    root: tempfile::TempDir,
}

impl Setting {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Options of a small machine: 2 cores, 1 GiB, 2 GPUs, little patience.
    pub fn options(&self) -> LocalOptions {
        LocalOptions {
            slots: Slots { cores: 2, memory_gib: Some(GiB::from(1)), gpus: 0 },
            gpus: vec![nvidia("0"), nvidia("1")],
            grace: Duration::from_millis(300),
            ..LocalOptions::whole_machine(self.state())
        }
    }

    pub fn open(&self) -> LocalMachine {
        LocalMachine::open(self.options(), Arc::new(SystemClock)).unwrap()
    }

    /// A request on one core, in a directory of its own that exists.
    pub fn request(&self, job: &str, argv: &[&str]) -> SubmitRequest {
        request_in(self.root.path(), job, argv)
    }

    /// A request whose program is a few lines of shell.
    pub fn script(&self, job: &str, script: &str) -> SubmitRequest {
        self.request(job, &["sh", "-c", script])
    }
}

pub fn nvidia(id: &str) -> GpuDevice {
    GpuDevice { id: id.to_owned(), vendor: GpuVendor::Nvidia }
}

pub fn request_in(root: &Path, job: &str, argv: &[&str]) -> SubmitRequest {
    let directory = root.join("jobs").join(job);
    std::fs::create_dir_all(&directory).unwrap();
    SubmitRequest {
        job_id: JobId::parse(job).unwrap(),
        attempt: AttemptNumber::FIRST,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::new(),
        directory,
        allocation: Allocation { nodes: 0, cores: 1, gpus: 0 },
        placement: Placement::default(),
        memory_limit: None,
        time_limit: None,
    }
}

pub fn seconds(value: f64) -> Option<Seconds> {
    Some(Seconds::saturating(value))
}

pub async fn status_of(side: &dyn SubmitSide, job: &NativeId) -> Status {
    side.status(std::slice::from_ref(job)).await.unwrap().remove(job).unwrap()
}

/// Waits until a job is in a state; fails when it ends in another, or after 30 s.
pub async fn wait_for(side: &dyn SubmitSide, job: &NativeId, state: RunState) -> Status {
    let start = Instant::now();
    loop {
        let status = status_of(side, job).await;
        if status.state() == state {
            return status;
        }
        assert!(!status.state().is_terminal(), "{job} ended as {status:?} instead of {state:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "{job} is still {status:?} and not {state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn log_of(side: &dyn SubmitSide, job: &NativeId) -> String {
    String::from_utf8_lossy(&std::fs::read(side.log_path(job).await.unwrap()).unwrap()).into_owned()
}

/// Waits until a file has some text in it.
pub async fn wait_for_text(path: &Path, text: &str) {
    let start = Instant::now();
    while !std::fs::read_to_string(path).is_ok_and(|content| content.contains(text)) {
        assert!(start.elapsed() < Duration::from_secs(30), "{} never held {text:?}", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The processes on this machine whose environment names the job and that are more than a zombie.
pub fn processes_of(job: &str) -> Vec<String> {
    let mark = format!("PARLEY_JOB_ID={job}");
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
            })
        })
        .collect()
}
