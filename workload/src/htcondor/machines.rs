//! Slots, from `condor_status -json`. A slot that can be divided says what it has in all and what is left of it;
//! the parts that jobs have are listed too and are not counted a second time.

use std::collections::BTreeMap;

use protocol::facts::NodeGroup;
use protocol::units::GiB;
use serde::Deserialize;
use serde_json::Value;

use crate::read::Slots;

/// What is asked for, besides nothing else.
pub(super) const ATTRIBUTES: &str = "Name,Machine,SlotType,State,Cpus,Memory,GPUs,TotalSlotCpus,TotalSlotMemory,\
                                     TotalSlotGPUs,Arch,CondorVersion,Start,Offline";
/// The group of slots; HTCondor has no partitions.
const ALL: &str = "all";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    name: String,
    #[serde(default)]
    slot_type: String,
    state: String,
    cpus: f64,
    memory: f64,
    #[serde(rename = "GPUs", default)]
    gpus: f64,
    total_slot_cpus: Option<f64>,
    total_slot_memory: Option<f64>,
    #[serde(rename = "TotalSlotGPUs")]
    total_slot_gpus: Option<f64>,
    arch: Option<String>,
    condor_version: Option<String>,
    start: Option<Value>,
    offline: Option<Value>,
}

/// A slot that jobs get, or parts of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) architecture: Option<String>,
    pub(super) in_service: bool,
    pub(super) cores: u32,
    pub(super) cores_free: u32,
    pub(super) memory_mib: u64,
    pub(super) memory_free_mib: u64,
    pub(super) gpus: u32,
    pub(super) gpus_free: u32,
}

/// All slots that this machine's collector knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pool {
    pub(super) machines: Vec<Machine>,
    pub(super) version: Option<String>,
}

fn count(number: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let count = number.max(0.0) as u32;
    count
}

impl Pool {
    /// Reads a listing. Without any slot nothing is printed.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let listed: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let length = listed.len();
        let slots: Vec<Listed> =
            listed.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect();
        if slots.is_empty() && length > 0 {
            return Err(format!("none of its {length} records is a slot"));
        }
        let version = slots.iter().find_map(|slot| version(slot.condor_version.as_deref()?));
        let whole = slots.iter().filter(|slot| slot.slot_type != "Dynamic");
        Ok(Self { machines: whole.map(machine).collect(), version })
    }

    /// The slots that take work.
    pub(super) fn in_service(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| machine.in_service)
    }

    pub(super) fn total(&self) -> Slots {
        slots(self.in_service().map(|machine| (machine.cores, machine.memory_mib, machine.gpus)))
    }

    pub(super) fn free(&self) -> Slots {
        slots(
            self.in_service().map(|machine| (machine.cores_free, machine.memory_free_mib, machine.gpus_free)),
        )
    }

    /// Slots in service, in groups of equals.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        let mut groups: BTreeMap<(Option<&str>, u32, u64, u32), NodeGroup> = BTreeMap::new();
        for machine in self.in_service() {
            let key = (machine.architecture.as_deref(), machine.cores, machine.memory_mib, machine.gpus);
            let number = groups.len();
            let group = groups.entry(key).or_insert_with(|| NodeGroup {
                name: if number == 0 { ALL.to_owned() } else { format!("{ALL}/{}", number + 1) },
                architecture: machine.architecture.clone(),
                cpu_model: None,
                nodes: 0,
                nodes_free: Some(0),
                cores_per_node: machine.cores,
                cores_free: Some(0),
                memory_gib_per_node: Some(gib(machine.memory_mib)),
                gpus_per_node: machine.gpus,
                gpus_free: Some(0),
                gpu_model: None,
                gpu_memory_gib: None,
            });
            let is_idle = (machine.cores_free, machine.gpus_free) == (machine.cores, machine.gpus);
            let add = |to: &mut Option<u32>, more: u32| *to = to.map(|sum| sum.saturating_add(more));
            group.nodes += 1;
            add(&mut group.nodes_free, u32::from(is_idle));
            add(&mut group.cores_free, machine.cores_free);
            add(&mut group.gpus_free, machine.gpus_free);
        }
        groups.into_values().collect()
    }
}

fn machine(slot: &Listed) -> Machine {
    let total = |total: Option<f64>, now: f64| count(total.unwrap_or(now));
    let (cores, gpus) = (total(slot.total_slot_cpus, slot.cpus), total(slot.total_slot_gpus, slot.gpus));
    let memory_mib = u64::from(total(slot.total_slot_memory, slot.memory));
    let refuses = slot.start == Some(Value::Bool(false)) || slot.offline == Some(Value::Bool(true));
    // One that cannot be divided is free as a whole or not at all.
    let is_free = slot.slot_type == "Partitionable" || slot.state == "Unclaimed";
    let free = |count: u32| if is_free { count } else { 0 };
    Machine {
        name: slot.name.clone(),
        architecture: slot.arch.as_deref().map(str::to_ascii_lowercase),
        // Of their owners, drained, or being emptied.
        in_service: !refuses
            && matches!(slot.state.as_str(), "Unclaimed" | "Claimed" | "Matched" | "Preempting"),
        cores,
        cores_free: free(count(slot.cpus)).min(cores),
        memory_mib,
        memory_free_mib: u64::from(free(count(slot.memory))).min(memory_mib),
        gpus,
        gpus_free: free(count(slot.gpus)).min(gpus),
    }
}

/// The version in `$CondorVersion: 23.9.6 2026-07-12 PackageID: ... $`.
fn version(text: &str) -> Option<String> {
    let version = text.strip_prefix("$CondorVersion:")?.split_whitespace().next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.chars().take(40).collect())
}

fn gib(mib: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "a size in memory is far below 2^53")]
    GiB::saturating(mib as f64 / 1024.0)
}

fn slots(parts: impl Iterator<Item = (u32, u64, u32)>) -> Slots {
    let (cores, memory, gpus) = parts.fold((0_u32, 0_u64, 0_u32), |sum, part| {
        (sum.0.saturating_add(part.0), sum.1.saturating_add(part.1), sum.2.saturating_add(part.2))
    });
    Slots { cores, memory_gib: Some(gib(memory)), gpus }
}
