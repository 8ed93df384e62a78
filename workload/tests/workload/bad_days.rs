//! What goes wrong at a real Slurm, and at this machine, while work runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use workload::error::WorkloadError;
use workload::read::{ReadSide, RunState};
use workload::submit::SubmitSide;

use crate::setting::{Setting, log_of, wait_for, wait_for_text};
use crate::site::{Site, outside};

/// A file system of 64 KiB, taken away at the end. Only root may make one.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn at(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs"]).arg(&path);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self { path }),
            other => {
                outside(&format!("no small file system can be made: {other:?}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

const FILLS: &str = "head -c 1000000 /dev/zero >big; echo \"the disk says $?\" || exit 3; exit 4";

async fn a_full_disk_ends_the_job_and_nothing_else(side: &dyn SubmitSide, setting: &Setting, disk: &Path) {
    let mut request = setting.script("full", FILLS);
    request.directory = disk.to_owned();
    let job = side.submit(request).await.unwrap();
    let status = wait_for(side, &job, RunState::Failed).await;
    assert!(matches!(status.accounting.exit_code, Some(3 | 4)), "{status:?}");
    assert_eq!(status.error.unwrap().code, ErrorCode::JobFailed);
    let next = side.submit(setting.script("next", "echo fine")).await.unwrap();
    wait_for(side, &next, RunState::Completed).await;
    assert_eq!(log_of(side, &next).await, "fine\n");
}

#[tokio::test]
async fn a_full_disk_at_this_machine() {
    let setting = Setting::new();
    let Some(disk) = SmallDisk::at(setting.root().join("small")) else { return };
    let machine = setting.open();
    a_full_disk_ends_the_job_and_nothing_else(&machine, &setting, &disk.path).await;
}

#[tokio::test]
async fn a_full_disk_at_slurm() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let Some(disk) = SmallDisk::at(setting.root().join("small")) else { return };
    let slurm = site.open(site.options(), &setting.state());
    a_full_disk_ends_the_job_and_nothing_else(&slurm, &setting, &disk.path).await;
}

#[tokio::test]
async fn a_drained_node_takes_no_more_and_what_runs_there_goes_on() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let nodes = slurm.inventory().await.unwrap().unwrap();
    let before: u32 = nodes.groups.iter().map(|group| group.nodes).sum();
    let request = setting.script("stays", "echo up; while [ ! -e go ]; do sleep 0.05; done");
    let go = request.directory.join("go");
    let job = slurm.submit(request).await.unwrap();
    wait_for_text(&slurm.log_path(&job).await.unwrap(), "up").await;
    site.administer(&["update", "NodeName=node[1-3],gpu1", "state=drain", "reason=test"]);
    // The listing may be as old as the refresh time.
    let start = std::time::Instant::now();
    while slurm.inventory().await.unwrap().unwrap().nodes_out != before {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "the drain was never seen");
    }
    let one = Allocation { nodes: 0, cores: 1, gpus: 0 };
    assert_eq!(slurm.estimated_start(&one).await.unwrap(), None);
    std::fs::write(go, "").unwrap();
    wait_for(&slurm, &job, RunState::Completed).await;
}

#[tokio::test]
async fn a_node_that_dies_and_an_administrator_that_kills_are_told() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    let job = slurm.submit(setting.script("lost", "echo up; sleep 300")).await.unwrap();
    wait_for_text(&slurm.log_path(&job).await.unwrap(), "up").await;
    site.administer(&["update", "NodeName=node[1-3],gpu1", "state=down", "reason=test"]);
    let status = wait_for(&slurm, &job, RunState::Failed).await;
    assert_eq!(status.error.unwrap().message, "one of its nodes failed");
    // Nodes that came back by themselves by now are not resumed, which is an error to Slurm.
    for node in ["node1", "node2", "node3", "gpu1"] {
        site.try_run("scontrol", &["update", &format!("NodeName={node}"), "state=resume"]);
    }

    let job = slurm.submit(setting.script("killed", "echo up; sleep 300")).await.unwrap();
    wait_for_text(&slurm.log_path(&job).await.unwrap(), "up").await;
    site.run("scancel", &[&job.0]);
    let status = wait_for(&slurm, &job, RunState::Cancelled).await;
    assert_eq!(status.error.unwrap().code, ErrorCode::Cancelled);
}

#[tokio::test]
async fn a_user_who_may_not_is_told_which_field_it_is() {
    let Some(site) = Site::start() else { return };
    let setting = Setting::new();
    let slurm = site.open(site.options(), &setting.state());
    // What 22.05 says to an ordinary user; the tests run as root, whom it lets through.
    site.fake(
        "sbatch",
        "echo \"sbatch: error: Batch job submission failed: User's group not permitted to use this partition\" >&2; exit 1",
    );
    let refused = slurm.submit(setting.script("forbidden", "true")).await.unwrap_err();
    assert!(matches!(refused, WorkloadError::Refused { field: "placement.partition", .. }), "{refused}");
    std::fs::remove_file(site.fakes().join("sbatch")).unwrap();
    let job = slurm.submit(setting.script("forbidden", "echo now")).await.unwrap();
    wait_for(&slurm, &job, RunState::Completed).await;
}
