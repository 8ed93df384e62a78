//! The history at the worker's edge: calls are answered, awards accepted, and a workload manager that
//! starts work later than it says tells of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::award::{Award, ReceiptStatus};
use protocol::call::Call;
use protocol::clock::FixedClock;
use protocol::facts::{NodeGroup, Prices};
use protocol::ids::{JobId, NegotiationId, ProposalId, WorkerId};
use protocol::job::AttemptNumber;
use protocol::proposal::Proposal;
use protocol::units::{GiB, Usd};
use secretary::Providers;
use secretary::providers::detect;
use secretary::real::machine::Machine;
use serde_json::json;
use workload::WorkloadError;
use workload::read::{
    Accounting, Capacity, Inventory, NativeId, Partition, QueuedJob, ReadSide, RunState, Slots,
};
use workload::submit::{DryRun, Status, SubmitRequest, SubmitSide};

use super::*;
use crate::ledger::{Entry, Ledger};
use crate::site::Site;
use crate::worker::{Worker, WorkerConfig};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// A cluster of four nodes, on which work starts ten minutes after it was handed in.
struct Cluster {
    /// What it says instead.
    says: Option<u32>,
    waiting: u32,
    nodes_free: u32,
}

#[async_trait]
impl ReadSide for Cluster {
    fn manager(&self) -> &'static str {
        "slurm"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let group = NodeGroup {
            name: "day".to_owned(),
            nodes: 4,
            nodes_free: Some(self.nodes_free),
            cores_per_node: 8,
            cores_free: Some(8 * self.nodes_free),
            memory_gib_per_node: Some(GiB::from(32)),
            gpus_free: Some(0),
            ..NodeGroup::default()
        };
        let partition = Partition { name: "day".to_owned(), time_limit: None };
        let version = Some("23.11".to_owned());
        Ok(Some(Inventory {
            version,
            partitions: vec![partition],
            groups: vec![group],
            ..Inventory::default()
        }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let slots = |nodes| Slots { cores: 8 * nodes, memory_gib: Some(GiB::from(32 * nodes)), gpus: 0 };
        Ok(Capacity {
            total: slots(4),
            free: slots(self.nodes_free),
            running: 4 - self.nodes_free,
            queued: self.waiting,
            time_limit: None,
            accepting: true,
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        Ok(Vec::new())
    }

    async fn estimated_start(&self, _: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        let says = self.says.map(Seconds::from);
        Ok(says.map(|start| StartEstimate { p50: start, p90: start }))
    }

    async fn accounting(&self, _: &NativeId) -> Result<Accounting, WorkloadError> {
        Ok(running())
    }
}

#[async_trait]
impl SubmitSide for Cluster {
    async fn dry_run(&self, _: &SubmitRequest) -> Result<DryRun, WorkloadError> {
        unreachable!("the worker does not ask")
    }

    async fn submit(&self, request: SubmitRequest) -> Result<NativeId, WorkloadError> {
        Ok(NativeId(request.job_id.to_string()))
    }

    async fn status(&self, jobs: &[NativeId]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let status = Status { accounting: running(), error: None, log_dropped_bytes: 0 };
        Ok(jobs.iter().map(|job| (job.clone(), status.clone())).collect())
    }

    async fn cancel(&self, _: &NativeId) -> Result<(), WorkloadError> {
        Ok(())
    }

    async fn log_path(&self, _: &NativeId) -> Result<PathBuf, WorkloadError> {
        unreachable!("the worker knows where it is")
    }
}

fn running() -> Accounting {
    Accounting {
        state: RunState::Running,
        received_at: NOW,
        started_at: Some(NOW.plus(Seconds::from(600))),
        ended_at: None,
        exit_code: None,
        peak_memory_gib: None,
    }
}

async fn worker(cluster: Cluster, directory: &Path) -> Worker {
    let cluster = Arc::new(cluster);
    let clock = Arc::new(FixedClock(NOW));
    let detected = detect(vec![Arc::new(Machine::new(cluster.clone()))]).await;
    Worker::new(WorkerConfig {
        worker_id: WorkerId::parse("w").unwrap(),
        labels: BTreeMap::new(),
        site: Site {
            providers: Providers::of(detected, clock.clone()),
            manager: cluster,
            has_program: true,
            prices: Some(Prices { node_hour_usd: Some(Usd::from(3)), ..Prices::default() }),
            mock: None,
        },
        data_dir: directory.to_owned(),
        ledger: Ledger::open(directory).unwrap(),
        program: PathBuf::from("/nowhere"),
        verbose: false,
        clock,
    })
}

pub(super) async fn ask(worker: &Worker, requirement: &Requirement, number: u32) -> Proposal {
    let call: Call = serde_json::from_value(json!({
        "negotiation_id": format!("neg-{number}"), "proposal_id": format!("prop-{number}"),
        "requirement": requirement, "factors": [], "deadline_seconds": 60, "as_of_tick": 0,
        "verbose": false,
    }))
    .unwrap();
    worker.answer(call).await.unwrap()
}

fn two_nodes() -> Requirement {
    serde_json::from_value(json!({"compute": {"nodes": 2}, "time": {"duration_seconds": 1800}})).unwrap()
}

pub(super) fn award(worker: &Worker, requirement: &Requirement, number: u32, argv: &[&str]) -> Entry {
    let award = Award {
        negotiation_id: NegotiationId::parse(format!("neg-{number}")).unwrap(),
        proposal_id: ProposalId::parse(format!("prop-{number}")).unwrap(),
        job_id: JobId::parse(format!("job-{number}")).unwrap(),
        attempt: AttemptNumber::FIRST,
        requirement: requirement.clone(),
        job: serde_json::from_value(json!({"kind": "command", "spec": {"argv": argv}})).unwrap(),
    };
    let key = (award.job_id.clone(), award.attempt);
    assert_eq!(worker.accept(award).status, ReceiptStatus::Success);
    worker.ledger().get(&key).unwrap().unwrap()
}

/// Lets the worker see that so much of what was awarded has started, or was withdrawn.
pub(super) async fn until(worker: &Worker, starts: usize) {
    let seen = async {
        while worker.history().len() < starts {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
}

pub(super) fn start(proposal: &Proposal) -> (Option<f64>, Option<f64>) {
    let promised = &proposal.promises;
    (promised.start_p50_seconds.map(Seconds::get), promised.start_p90_seconds.map(Seconds::get))
}

#[tokio::test]
async fn an_estimate_that_was_missed_nine_times_is_corrected_and_stays_so_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = || Cluster { says: Some(120), waiting: 2, nodes_free: 0 };
    let first = worker(cluster(), directory.path()).await;
    for number in 0..9 {
        let proposal = ask(&first, &two_nodes(), number).await;
        assert_eq!(start(&proposal), (Some(120.0), Some(120.0)), "{number} cases do not suffice");
        assert_eq!(proposal.evidence.keys().collect::<Vec<_>>(), ["slurm"]);
        award(&first, &two_nodes(), number, &["true"]);
        until(&first, number as usize + 1).await;
    }
    let corrected = ask(&first, &two_nodes(), 9).await;
    assert_eq!(start(&corrected), (Some(600.0), Some(600.0)));
    assert_eq!(
        corrected.evidence["start-history"].source,
        "estimate of slurm (P50 120 s, P90 120 s), corrected by 9 comparable starts"
    );
    assert!(corrected.reasoning.contains("could start within 10 min (P90)"), "{}", corrected.reasoning);
    first.stop().await;
    drop(first);
    let second = worker(cluster(), directory.path()).await;
    assert_eq!(start(&ask(&second, &two_nodes(), 10).await), (Some(600.0), Some(600.0)));
}

#[tokio::test]
async fn a_manager_without_estimates_has_its_observed_waits() {
    let directory = tempfile::tempdir().unwrap();
    let worker = worker(Cluster { says: None, waiting: 2, nodes_free: 0 }, directory.path()).await;
    for number in 0..9 {
        assert_eq!(start(&ask(&worker, &two_nodes(), number).await), (None, None));
        award(&worker, &two_nodes(), number, &["true"]);
        until(&worker, number as usize + 1).await;
    }
    let known = ask(&worker, &two_nodes(), 9).await;
    assert_eq!(start(&known), (Some(600.0), Some(600.0)));
    let source = &known.evidence["start-history"].source;
    assert_eq!(source, "waits before 9 comparable starts; slurm has no estimate");
    worker.stop().await;
}

#[tokio::test]
async fn what_it_cost_is_what_was_promised_for_as_long_as_it_ran() {
    let directory = tempfile::tempdir().unwrap();
    let worker = worker(Cluster { says: Some(0), waiting: 0, nodes_free: 4 }, directory.path()).await;
    let promised = ask(&worker, &two_nodes(), 0).await.promises;
    assert_eq!(promised.cost_usd, Some(Usd::from(3)), "two nodes for half an hour");
    let entry = award(&worker, &two_nodes(), 0, &["true"]);
    let ran = |seconds| Accounting {
        state: RunState::Completed,
        ended_at: running().started_at.map(|started| started.plus(Seconds::from(seconds))),
        ..running()
    };
    let cost = |accounting: &Accounting| worker.observed(&entry, accounting, None).cost_usd;
    assert_eq!(cost(&ran(1800)), promised.cost_usd);
    assert_eq!(cost(&ran(600)), Some(Usd::from(1)));
    assert_eq!(cost(&running()), None, "nobody knows before the end");
    worker.stop().await;
    // The price that was offered is charged, also by a worker that was started anew.
    let again = Ledger::open(directory.path()).unwrap();
    let key = (entry.award.job_id.clone(), entry.award.attempt);
    assert_eq!(again.get(&key).unwrap().unwrap().usd_per_hour, Some(Usd::from(6)));
    // Ledgers from before there was a price are read.
    let path = directory.path().join("ledger.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = text.replace("\"usd_per_hour\":6,", "");
    assert_ne!(old, text);
    std::fs::write(&path, old).unwrap();
    let entry = Ledger::open(directory.path()).unwrap().get(&key).unwrap().unwrap();
    assert_eq!(entry.usd_per_hour, None);
}
