//! The history with this machine as the workload manager, which really runs the work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::clock::{Clock, SystemClock};
use protocol::ids::WorkerId;
use secretary::providers::detect;
use secretary::real::host::Host;
use secretary::real::{cpu, machine, memory};
use secretary::{Provider, Providers};
use workload::local::{LocalMachine, LocalOptions};
use workload::read::Slots;

use super::negotiations::{ask, award, start, until};
use super::*;
use crate::ledger::Ledger;
use crate::site::Site;
use crate::worker::{Worker, WorkerConfig};

async fn worker(directory: &Path) -> (Worker, Arc<LocalMachine>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut options = LocalOptions::whole_machine(directory.join("machine"));
    options.slots = Slots { cores: 1, ..options.slots };
    let local = Arc::new(LocalMachine::open(options, clock.clone()).unwrap());
    let host = Host::this();
    let providers: Vec<Arc<dyn Provider>> = vec![
        Arc::new(cpu::Cpu::new(host.clone())),
        Arc::new(memory::Memory::new(host)),
        Arc::new(machine::Machine::new(local.clone())),
    ];
    let worker = Worker::new(WorkerConfig {
        worker_id: WorkerId::parse("w").unwrap(),
        labels: BTreeMap::new(),
        site: Site {
            providers: Providers::of(detect(providers).await, clock.clone()),
            manager: local.clone(),
            has_program: true,
            prices: None,
            mock: None,
        },
        data_dir: directory.to_owned(),
        ledger: Ledger::open(directory).unwrap(),
        program: PathBuf::from("/nowhere"),
        verbose: false,
        clock,
    });
    (worker, local)
}

#[tokio::test]
async fn a_machine_with_nobody_waiting_starts_at_once_and_what_is_withdrawn_has_waited() {
    let directory = tempfile::tempdir().unwrap();
    let (worker, machine) = worker(directory.path()).await;
    let one_core = serde_json::from_value(serde_json::json!({"compute": {"cores": 1}})).unwrap();
    let nothing = ask(&worker, &one_core, 0).await;
    assert_eq!(start(&nothing), (Some(0.0), Some(0.0)), "{}", nothing.reasoning);
    award(&worker, &one_core, 0, &["sleep", "600"]);
    until(&worker, 1).await;
    let behind = ask(&worker, &one_core, 1).await;
    assert_eq!(start(&behind), (None, None), "nobody knows how long work without a limit runs");
    let entry = award(&worker, &one_core, 1, &["true"]);
    assert!(worker.cancel(&entry.award.job_id, entry.award.attempt));
    until(&worker, 2).await;
    let waits = worker.history().waits();
    assert!(matches!(waits[0], Wait::Started(seconds) if seconds.get() < 60.0), "{waits:?}");
    assert!(matches!(waits[1], Wait::AtLeast(seconds) if seconds.get() < 60.0), "{waits:?}");
    worker.stop().await;
    machine.shutdown().await;
}
