//! GPUs of this machine by name: who gets which, across restarts and beside other people's processes.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use protocol::clock::SystemClock;
use protocol::error::ErrorCode;
use protocol::facts::Allocation;
use workload::local::{BusyGpus, GpuDevice, GpuVendor, LocalMachine, LocalOptions};
use workload::read::{NativeId, ReadSide as _, RunState, Slots};
use workload::submit::{SubmitRequest, SubmitSide as _};

use crate::setting::{Setting, nvidia, status_of, wait_for, wait_for_text};

fn open(options: LocalOptions) -> LocalMachine {
    LocalMachine::open(options, Arc::new(SystemClock)).unwrap()
}

/// A machine with four cores and these GPUs.
fn options(setting: &Setting, gpus: Vec<GpuDevice>) -> LocalOptions {
    let options = setting.options();
    LocalOptions { gpus, slots: Slots { cores: 4, ..options.slots }, ..options }
}

/// A job that says which devices it sees and stays.
fn job(setting: &Setting, name: &str, gpus: u32) -> SubmitRequest {
    let mut request = setting.script(
        name,
        "echo \"cuda:${CUDA_VISIBLE_DEVICES-unset} rocm:${ROCR_VISIBLE_DEVICES-unset} cores:$OMP_NUM_THREADS\"; \
         sleep 300",
    );
    request.allocation = Allocation { nodes: 0, cores: 1, gpus };
    request
}

async fn sees(machine: &LocalMachine, request: SubmitRequest, shown: &str) -> NativeId {
    let job = machine.submit(request).await.unwrap();
    wait_for_text(&machine.log_path(&job).await.unwrap(), &format!("{shown} cores:1\n")).await;
    job
}

#[tokio::test]
async fn every_job_gets_devices_of_its_own() {
    let setting = Setting::new();
    let amd = |id: &str| GpuDevice { id: id.to_owned(), vendor: GpuVendor::Amd };
    let machine = open(options(&setting, vec![nvidia("GPU-a"), amd("0"), amd("1")]));
    assert_eq!(machine.capacity().await.unwrap().total.gpus, 3, "the devices count, not the slots");
    let one = sees(&machine, job(&setting, "own-gpu-1", 1), "cuda:GPU-a rocm:").await;
    // CUDA's variable stays as it is: programs built for ROCm read it too.
    sees(&machine, job(&setting, "own-gpu-2", 2), "cuda:unset rocm:0,1").await;
    sees(&machine, job(&setting, "own-gpu-none", 0), "cuda: rocm:").await;
    machine.cancel(&one).await.unwrap();
    let mut greedy = job(&setting, "own-gpu-3", 1);
    greedy.environment.insert("CUDA_VISIBLE_DEVICES".to_owned(), "0,1,2".to_owned());
    sees(&machine, greedy, "cuda:GPU-a rocm:").await;
    assert_eq!(machine.capacity().await.unwrap().free.gpus, 0);
}

#[tokio::test]
async fn devices_are_kept_over_a_restart() {
    let setting = Setting::new();
    let machine = open(options(&setting, vec![nvidia("GPU-a"), nvidia("GPU-b")]));
    let kept = sees(&machine, job(&setting, "restart-kept", 1), "cuda:GPU-a rocm:").await;
    machine.detach().await;
    // The devices come in another order, as they may after a driver was loaded anew.
    let machine = open(options(&setting, vec![nvidia("GPU-b"), nvidia("GPU-a")]));
    assert_eq!(status_of(&machine, &kept).await.state(), RunState::Running);
    sees(&machine, job(&setting, "restart-other", 1), "cuda:GPU-b rocm:").await;
    let third = machine.submit(job(&setting, "restart-third", 1)).await.unwrap();
    assert_eq!(status_of(&machine, &third).await.state(), RunState::Queued);
    machine.cancel(&kept).await.unwrap();
    wait_for_text(&machine.log_path(&third).await.unwrap(), "cuda:GPU-a ").await;
}

#[tokio::test]
async fn devices_of_somebody_else_are_not_given() {
    let setting = Setting::new();
    let busy = Arc::new(Mutex::new(BTreeSet::from([nvidia("0")])));
    let seen = busy.clone();
    let look = BusyGpus::new(move || seen.lock().unwrap().clone());
    let options = options(&setting, vec![nvidia("0"), nvidia("1"), nvidia("2")]);
    let machine = open(LocalOptions { busy_gpus: Some(look), ..options });
    sees(&machine, job(&setting, "others-gpu-1", 1), "cuda:1 rocm:").await;
    // Ours is seen on its device as well, and changes nothing.
    busy.lock().unwrap().insert(nvidia("1"));
    let waits = machine.submit(job(&setting, "others-gpu-2", 2)).await.unwrap();
    // Nobody knows how long: work without GPUs passes, other work for GPUs does not.
    let behind = machine.submit(job(&setting, "others-gpu-3", 1)).await.unwrap();
    sees(&machine, job(&setting, "others-no-gpu", 0), "cuda: rocm:").await;
    for job in [&waits, &behind] {
        assert_eq!(status_of(&machine, job).await.state(), RunState::Queued);
    }
    assert_eq!(machine.estimated_start(&Allocation { nodes: 0, cores: 1, gpus: 1 }).await.unwrap(), None);
    busy.lock().unwrap().remove(&nvidia("0"));
    wait_for_text(&machine.log_path(&waits).await.unwrap(), "cuda:0,2 ").await;
}

#[tokio::test]
async fn a_driver_that_hangs_holds_up_nobody_else() {
    let setting = Setting::new();
    let (let_go, hangs) = channel::<()>();
    let hangs = Mutex::new(hangs);
    let look = BusyGpus::new(move || {
        let _over = hangs.lock().unwrap().recv();
        BTreeSet::new()
    });
    let machine = open(LocalOptions { busy_gpus: Some(look), ..options(&setting, vec![nvidia("0")]) });
    sees(&machine, job(&setting, "hangs-no-gpu", 0), "cuda: rocm:").await;
    let waits = machine.submit(job(&setting, "hangs-gpu", 1)).await.unwrap();
    assert_eq!(status_of(&machine, &waits).await.state(), RunState::Queued);
    drop(let_go);
    wait_for(&machine, &waits, RunState::Running).await;
}

#[tokio::test]
async fn a_device_cannot_be_listed_twice() {
    let setting = Setting::new();
    let options = options(&setting, vec![nvidia("0"), nvidia("0")]);
    let refused = LocalMachine::open(options, Arc::new(SystemClock)).unwrap_err();
    assert_eq!(
        (refused.code(), refused.to_string().as_str()),
        (ErrorCode::Job, "gpus is refused: \"0\" is listed twice")
    );
}
