//! Calls, a workload manager and file systems that answer as told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::clock::FixedClock;
use protocol::factor::FactorName;
use protocol::facts::{Allocation, NodeGroup, StartEstimate};
use protocol::ids::{NegotiationId, ProposalId};
use protocol::requirement::Requirement;
use protocol::units::{GiB, Seconds, Timestamp};
use secretary::program::SearchPath;
use secretary::real::host::{Host, Space, SpaceReader};
use tokio::time::Instant;
use workload::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, Slots};
use workload::{ReadSide, WorkloadError};

pub const EVERY_FACTOR: [FactorName; 8] = [
    FactorName::Cost,
    FactorName::StartTime,
    FactorName::FinishTime,
    FactorName::SoftwareFit,
    FactorName::NetworkBandwidth,
    FactorName::GpuMemory,
    FactorName::CapacityHeadroom,
    FactorName::StorageFree,
];

pub fn requirement(value: serde_json::Value) -> Requirement {
    serde_json::from_value(value).unwrap()
}

pub fn call(requirement: Requirement) -> Call {
    Call {
        negotiation_id: NegotiationId::parse("neg-1").unwrap(),
        proposal_id: ProposalId::parse("prop-1").unwrap(),
        factors: matching::factors::factors(&requirement, EVERY_FACTOR),
        requirement,
        job: None,
        deadline_seconds: Seconds::from(10),
        hold_seconds: None,
        as_of_tick: 40,
        verbose: true,
    }
}

pub fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock(Timestamp::from_millis(1_795_000_000_000)))
}

pub fn within(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

pub fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A recorded machine without programs, whose file systems all have 1,000 GiB, 400 of them free.
pub fn recorded(name: &str) -> Host {
    let mut host = Host::at(&tree(name), SearchPath::parse(""));
    host.space = Arc::new(Thousand);
    host
}

pub struct Thousand;

impl SpaceReader for Thousand {
    fn space(&self, path: &Path) -> std::io::Result<Space> {
        let full = path.ends_with("scratch");
        Ok(Space {
            total_bytes: 1000 << 30,
            free_bytes: 400 << 30,
            inodes: 1000,
            inodes_free: if full { 5 } else { 900 },
        })
    }
}

/// A workload manager of eight cores, of which three are taken.
pub struct Desk;

#[async_trait]
impl ReadSide for Desk {
    fn manager(&self) -> &'static str {
        "machine"
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let slots = |cores, gpus| Slots { cores, memory_gib: Some(GiB::from(64)), gpus };
        Ok(Capacity {
            total: slots(8, 2),
            free: slots(3, 1),
            running: 1,
            queued: 2,
            time_limit: Some(Seconds::from(86_400)),
            accepting: true,
        })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        Ok(Vec::new())
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        let wait = if allocation.cores <= 3 { 0 } else { 600 };
        Ok(Some(StartEstimate { p50: Seconds::from(wait), p90: Seconds::from(2 * wait) }))
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        unreachable!("a secretary has no reason to ask for {job}")
    }
}

/// The workload manager of four nodes, one of which may be the machine that asks.
pub struct FourNodes {
    pub has_this_machine: bool,
}

#[async_trait]
impl ReadSide for FourNodes {
    fn manager(&self) -> &'static str {
        "slurm"
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        let group = NodeGroup {
            name: "batch".to_owned(),
            nodes: 4,
            nodes_free: Some(4),
            cores_per_node: 16,
            cores_free: Some(64),
            ..NodeGroup::default()
        };
        let has_this_machine = self.has_this_machine;
        Ok(Some(Inventory { groups: vec![group], has_this_machine, ..Inventory::default() }))
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        let all = Slots { cores: 64, memory_gib: None, gpus: 0 };
        Ok(Capacity { total: all, free: all, running: 0, queued: 0, time_limit: None, accepting: true })
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        Ok(Vec::new())
    }

    async fn estimated_start(&self, _: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        Ok(Some(StartEstimate { p50: Seconds::ZERO, p90: Seconds::ZERO }))
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        unreachable!("a secretary has no reason to ask for {job}")
    }
}

/// Outside names are unique and of the characters that every client accepts.
pub fn check_names(names: &[String]) {
    let mut seen = BTreeMap::new();
    for name in names {
        assert!((1..=64).contains(&name.len()), "{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        assert!(name.bytes().all(plain), "{name}");
        assert!(seen.insert(name, ()).is_none(), "{name} twice");
    }
}
