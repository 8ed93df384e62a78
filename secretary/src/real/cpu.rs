//! The processors, and how many of them this worker may really use.

use std::collections::BTreeSet;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::units::GiB;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::cgroup;
use super::host::{Host, Tree, gib};
use super::memory::bytes_of;
use crate::provider::{Answer, Category, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// Instruction sets that people ask for; the full list would be noise.
const TELLING_FLAGS: [&str; 22] = [
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "aes",
    "asimd",
    "asimdhp",
    "sve",
    "sve2",
    "bf16",
    "i8mm",
    "vsx",
];

/// What the `cpu` tool tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuReading {
    /// `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Model name.
    pub model: Option<String>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Physical cores.
    pub cores_physical: Option<u32>,
    /// Hardware threads that are online.
    pub cores_logical: u32,
    /// Hardware threads that this process may use: cpuset and control group applied.
    pub cores_usable: u32,
    /// The control group's limit, where there is one.
    pub cgroup_cpus: Option<f64>,
    /// NUMA nodes.
    pub numa_nodes: Option<u32>,
    /// Instruction sets worth knowing.
    pub flags: Vec<String>,
}

/// The processor provider.
pub struct Cpu {
    host: Host,
}

impl Cpu {
    /// The processors of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

/// Counts `0-3,8,10-11`.
fn count_list(text: &str) -> Option<u32> {
    let mut count = 0_u32;
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// The value of the first line `key : value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn architecture(cpuinfo: &str) -> String {
    let known = if cpuinfo.contains("vendor_id\t: GenuineIntel")
        || cpuinfo.contains("AuthenticAMD")
        || cpuinfo.contains("\nflags")
    {
        "x86_64"
    } else if cpuinfo.contains("CPU implementer") {
        "aarch64"
    } else if field(cpuinfo, "cpu").is_some_and(|cpu| cpu.starts_with("POWER")) {
        "ppc64le"
    } else if field(cpuinfo, "isa").is_some_and(|isa| isa.starts_with("rv64")) {
        "riscv64"
    } else {
        std::env::consts::ARCH
    };
    known.to_owned()
}

/// Sockets and physical cores, where the kernel tells them apart from threads.
fn topology(cpuinfo: &str) -> (Option<u32>, Option<u32>) {
    let (mut sockets, mut cores) = (BTreeSet::new(), BTreeSet::new());
    for block in cpuinfo.split("\n\n") {
        if let (Some(socket), Some(core)) = (field(block, "physical id"), field(block, "core id")) {
            sockets.insert(socket);
            cores.insert((socket, core));
        }
    }
    let counted = |count: usize| (count > 0).then(|| u32::try_from(count).ok()).flatten();
    (counted(sockets.len()), counted(cores.len()))
}

/// Reads the processors of a tree.
pub fn read_cpu(tree: &mut Tree) -> Result<CpuReading, ProviderError> {
    let cpuinfo = tree.read("proc/cpuinfo")?;
    let listed = cpuinfo.lines().filter(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            // On s390 and old ARM kernels "processor" is also the model's line.
            name.trim() == "processor" && value.trim().parse::<u32>().is_ok()
        })
    });
    let listed = u32::try_from(listed.count()).unwrap_or(u32::MAX);
    let online = tree.text("sys/devices/system/cpu/online").and_then(|text| count_list(&text));
    let cores_logical = online.filter(|count| *count > 0).unwrap_or(listed);
    if cores_logical == 0 {
        return Err(ProviderError::NotUnderstood {
            what: "/proc/cpuinfo".to_owned(),
            problem: "it lists no processor".to_owned(),
        });
    }
    let (sockets, cores_physical) = topology(&cpuinfo);
    let allowed = tree
        .text("proc/self/status")
        .and_then(|status| count_list(field(&status, "Cpus_allowed_list")?))
        .unwrap_or(cores_logical);
    let cgroup_cpus = cgroup::limits(tree).cpus;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let quota = cgroup_cpus.map_or(u32::MAX, |cpus| (libm::floor(cpus) as u32).max(1));
    let numa_nodes = u32::try_from(numa_nodes(tree).len()).ok().filter(|count| *count > 0);
    let all_flags: BTreeSet<&str> = field(&cpuinfo, "flags")
        .or_else(|| field(&cpuinfo, "Features"))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let flags = TELLING_FLAGS.into_iter().filter(|flag| all_flags.contains(flag));
    let model = ["model name", "Model", "cpu", "uarch"].into_iter().find_map(|key| field(&cpuinfo, key));
    Ok(CpuReading {
        architecture: architecture(&cpuinfo),
        model: model.map(str::to_owned),
        sockets,
        cores_physical,
        cores_logical,
        cores_usable: cores_logical.min(allowed).min(quota).max(1),
        cgroup_cpus,
        numa_nodes,
        flags: flags.map(str::to_owned).collect(),
    })
}

/// Where `/proc` is not, the portable way; it knows of no control groups.
#[cfg(not(target_os = "linux"))]
fn read_portable() -> Result<CpuReading, ProviderError> {
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let logical = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let logical = u32::try_from(logical).unwrap_or(u32::MAX);
    Ok(CpuReading {
        architecture: std::env::consts::ARCH.to_owned(),
        model: system.cpus().first().map(|cpu| cpu.brand().to_owned()),
        sockets: None,
        cores_physical: sysinfo::System::physical_core_count().and_then(|count| u32::try_from(count).ok()),
        cores_logical: logical,
        cores_usable: logical,
        cgroup_cpus: None,
        numa_nodes: None,
        flags: Vec::new(),
    })
}

#[cfg(target_os = "linux")]
use read_cpu as read_here;

#[cfg(not(target_os = "linux"))]
fn read_here(tree: &mut Tree) -> Result<CpuReading, ProviderError> {
    if tree.exists("proc/cpuinfo") { read_cpu(tree) } else { read_portable() }
}

#[async_trait]
impl Provider for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn category(&self) -> Category {
        Category::Hardware
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        Ok(self.call("cpu", &Map::new(), deadline).await?.value)
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![
            ProviderTool::plain(
                "cpu",
                "Processors of this machine: architecture, model, sockets, physical cores, hardware threads, \
                 how many of them this worker may use after cpuset and control group limits, NUMA nodes, and \
                 the instruction sets that numerical codes care about. Like lscpu.",
            ),
            ProviderTool::plain(
                "load",
                "Load averages of this machine over 1, 5 and 15 minutes and how many tasks run now. Compare \
                 with cores_usable of the cpu tool.",
            ),
            ProviderTool::plain(
                "numa",
                "NUMA nodes of this machine: the hardware threads of each, its memory and free memory in GiB, \
                 and its distance to every node. Like numactl --hardware.",
            ),
        ]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["cpu", "load", "numa"])?;
        match tool {
            "cpu" => self.host.look("/proc/cpuinfo", deadline, |tree| Ok(json!(read_here(tree)?))).await,
            "load" => self.host.look("/proc/loadavg", deadline, read_load).await,
            _ => {
                self.host.look("/sys/devices/system/node", deadline, |tree| Ok(json!(read_numa(tree)))).await
            }
        }
    }

    async fn observe(&self, _call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let cpu: CpuReading = reader.ask("cpu", json!({})).await?;
        reader.facts.host.architecture = Some(cpu.architecture);
        reader.facts.host.cpu_model = cpu.model;
        reader.facts.host.cores = Some(cpu.cores_usable);
        Ok(())
    }
}

/// What the `numa` tool tells of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumaNode {
    /// Its number.
    pub node: u32,
    /// Its hardware threads, as the kernel lists them (`0-3,8-11`); empty for a node of memory only.
    pub threads: String,
    /// Its memory.
    pub memory_gib: Option<GiB>,
    /// Its memory that is not used.
    pub memory_free_gib: Option<GiB>,
    /// Its distance to each node, in the order of their numbers.
    pub distances: Vec<u32>,
}

/// The numbers of a tree's NUMA nodes.
fn numa_nodes(tree: &Tree) -> Vec<u32> {
    let names = tree.names("sys/devices/system/node");
    let numbers = names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// Reads the NUMA nodes of a tree.
pub fn read_numa(tree: &mut Tree) -> Vec<NumaNode> {
    let mut nodes = Vec::new();
    for node in numa_nodes(tree) {
        let base = format!("sys/devices/system/node/node{node}");
        let meminfo = tree.text(&format!("{base}/meminfo")).unwrap_or_default();
        // Node 0 MemTotal:       16384 kB
        let prefix = format!("Node {node} ");
        let lines = meminfo.lines().map(|line| line.trim().strip_prefix(&prefix).unwrap_or(line));
        let plain = lines.collect::<Vec<_>>().join("\n");
        let distances = tree.text(&format!("{base}/distance")).unwrap_or_default();
        nodes.push(NumaNode {
            node,
            threads: tree.text(&format!("{base}/cpulist")).unwrap_or_default(),
            memory_gib: bytes_of(&plain, "MemTotal").map(gib),
            memory_free_gib: bytes_of(&plain, "MemFree").map(gib),
            distances: distances.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        });
    }
    nodes
}

fn read_load(tree: &mut Tree) -> Result<Value, ProviderError> {
    let text = tree.read("proc/loadavg")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let load = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
    match (load(0), load(1), load(2)) {
        (Some(one), Some(five), Some(fifteen)) => {
            let running = words.get(3).and_then(|word| word.split('/').next()?.parse::<u32>().ok());
            Ok(json!({"load_1": one, "load_5": five, "load_15": fifteen, "tasks_running": running}))
        }
        _ => Err(ProviderError::NotUnderstood {
            what: "/proc/loadavg".to_owned(),
            problem: "it does not start with three numbers".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_lists() {
        assert_eq!(count_list("0-3,8,10-11"), Some(7));
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("3-1"), None);
        assert_eq!(count_list("0-4294967295"), None);
        assert_eq!(count_list(""), None);
    }
}
