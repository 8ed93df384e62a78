//! The memory, and how much of it this worker may really use.

use async_trait::async_trait;
use protocol::call::Call;
use protocol::units::GiB;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::cgroup;
use super::host::{Host, Tree, gib};
use crate::provider::{Answer, Category, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// What the `memory` tool tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryReading {
    /// Installed.
    pub total_gib: GiB,
    /// Usable by new work of this worker without swapping: on the machine and within the control group.
    pub available_gib: Option<GiB>,
    /// The control group's limit, where there is one.
    pub cgroup_gib: Option<GiB>,
    /// The smaller of total and limit.
    pub usable_gib: GiB,
    /// Swap space.
    pub swap_gib: Option<GiB>,
}

/// The memory provider.
pub struct Memory {
    host: Host,
}

impl Memory {
    /// The memory of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

/// Bytes of a line `Key:  123 kB`.
pub(super) fn bytes_of(meminfo: &str, key: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name != key {
            return None;
        }
        value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    })
}

/// Reads the memory of a tree.
pub fn read_memory(tree: &mut Tree) -> Result<MemoryReading, ProviderError> {
    let meminfo = tree.read("proc/meminfo")?;
    let total = bytes_of(&meminfo, "MemTotal").ok_or_else(|| ProviderError::NotUnderstood {
        what: "/proc/meminfo".to_owned(),
        problem: "it has no MemTotal".to_owned(),
    })?;
    let limits = cgroup::limits(tree);
    let limit = limits.memory_bytes;
    let available = bytes_of(&meminfo, "MemAvailable")
        .map(|available| limits.memory_free_bytes.map_or(available, |free| free.min(available)));
    Ok(MemoryReading {
        total_gib: gib(total),
        available_gib: available.map(gib),
        cgroup_gib: limit.map(gib),
        usable_gib: gib(limit.map_or(total, |limit| limit.min(total))),
        swap_gib: bytes_of(&meminfo, "SwapTotal").map(gib),
    })
}

#[cfg(target_os = "linux")]
use read_memory as read_here;

/// Where `/proc` is not, the portable way.
#[cfg(not(target_os = "linux"))]
fn read_here(tree: &mut Tree) -> Result<MemoryReading, ProviderError> {
    if tree.exists("proc/meminfo") {
        return read_memory(tree);
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    Ok(MemoryReading {
        total_gib: gib(system.total_memory()),
        available_gib: Some(gib(system.available_memory())),
        cgroup_gib: None,
        usable_gib: gib(system.total_memory()),
        swap_gib: Some(gib(system.total_swap())),
    })
}

#[async_trait]
impl Provider for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn category(&self) -> Category {
        Category::Hardware
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        let answer = self.call("memory", &Map::new(), deadline).await?;
        let mut value = answer.value;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("available_gib");
        }
        Ok(value)
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(
            "memory",
            "Memory of this machine in GiB: installed, available to new work, the control group's limit, and \
             what this worker may use at most. Like free.",
        )]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["memory"])?;
        self.host.look("/proc/meminfo", deadline, |tree| Ok(json!(read_here(tree)?))).await
    }

    async fn observe(&self, _call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let memory: MemoryReading = reader.ask("memory", json!({})).await?;
        reader.facts.host.memory_gib = Some(memory.usable_gib);
        Ok(())
    }
}
