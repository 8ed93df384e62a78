//! GPUs, as two providers: `nvidia-gpu` and `amd-gpu`. NVIDIA's are asked through NVML and, where it is
//! missing or hangs, read from the kernel driver's files; AMD's are read from the kernel driver's files,
//! and `rocm-smi` names what these leave unnamed. What nobody tells is left unknown.

mod kernel;
pub mod nvml;
mod rocm;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{Flag, FlagKind};
use protocol::units::{GiB, Number};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

pub use self::kernel::read_gpus;
use self::nvml::{NvmlFailure, interpret};
pub use self::rocm::parse as parse_rocm_smi;
use super::host::{Host, earlier};
use super::listing::Listing;
use crate::observation::GpuPart;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// The most GPUs that are looked at.
const GPUS_LIMIT: usize = 64;
/// A GPU counts as free when this share of its memory is, unless the work says how much it needs. Drivers
/// and display servers keep a little for themselves.
const FREE_SHARE: f64 = 0.9;
/// The share of the time left that NVML gets, so that what the files told is not lost with it.
const NVML_SHARE: f64 = 0.9;

/// A process that computes on a GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its number as the driver knows it.
    pub pid: u32,
    /// Its name, where this user may know it.
    pub name: Option<String>,
    /// Memory that it takes of this GPU.
    pub memory_gib: Option<GiB>,
}

/// A part of a GPU that was cut with MIG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigInstance {
    /// Its profile (`mig-1g.10gb`).
    pub model: Option<String>,
    /// Its identifier.
    pub uuid: Option<String>,
    /// Its memory.
    pub memory_gib: Option<GiB>,
    /// Its memory that is not allocated.
    pub memory_free_gib: Option<GiB>,
    /// What computes on it; null when nobody can tell.
    pub processes: Option<Vec<GpuProcess>>,
}

/// One GPU. Null stands for what the driver does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// The product's name.
    pub product: Option<String>,
    /// Short model name, lower case.
    pub model: Option<String>,
    /// Its identifier.
    pub uuid: Option<String>,
    /// Memory.
    pub memory_gib: Option<GiB>,
    /// Memory that is not allocated.
    pub memory_free_gib: Option<GiB>,
    /// Share of the last sample period in which it computed, in per cent.
    pub utilisation_percent: Option<u32>,
    /// Temperature.
    pub temperature_celsius: Option<Number>,
    /// Power that it draws.
    pub power_watts: Option<Number>,
    /// CUDA's number for what it can do (`9.0`).
    pub compute_capability: Option<String>,
    /// Whether it is cut with MIG; then only its instances can be used.
    pub mig: Option<bool>,
    /// Its parts, when it is cut.
    pub mig_instances: Vec<MigInstance>,
    /// NVLinks that are up.
    pub nvlinks_up: Option<u32>,
    /// What computes on it; null when nobody can tell.
    pub processes: Option<Vec<GpuProcess>>,
}

/// What the `gpus` tool tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuReading {
    /// The driver's version.
    pub driver: Option<String>,
    /// The newest CUDA that the driver runs.
    pub cuda: Option<String>,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
    /// Those that the driver knows and that do not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// Whether a device with these processes and this memory is free for work that needs `needed` of it.
fn is_free(
    processes: Option<&Vec<GpuProcess>>,
    total: Option<GiB>,
    free: Option<GiB>,
    needed: Option<GiB>,
) -> Option<bool> {
    if !processes?.is_empty() {
        return Some(false);
    }
    let free = free?;
    match needed {
        Some(needed) => Some(free >= needed),
        None => Some(free.get() >= total?.get() * FREE_SHARE),
    }
}

impl Gpu {
    /// Whether nothing computes on it and enough of its memory is free; `None` when nobody can tell.
    #[must_use]
    pub fn is_free(&self, needed: Option<GiB>) -> Option<bool> {
        is_free(self.processes.as_ref(), self.memory_gib, self.memory_free_gib, needed)
    }

    /// What never changes of it.
    fn metadata(&self) -> Value {
        let instances: Vec<Value> = self
            .mig_instances
            .iter()
            .map(|part| json!({"model": part.model, "memory_gib": part.memory_gib}))
            .collect();
        let mut shown = json!({"product": self.product, "model": self.model, "memory_gib": self.memory_gib});
        if let Some(fields) = shown.as_object_mut() {
            if let Some(capability) = &self.compute_capability {
                fields.insert("compute_capability".to_owned(), json!(capability));
            }
            if self.mig == Some(true) {
                fields.insert("mig_instances".to_owned(), json!(instances));
            }
        }
        shown
    }
}

impl MigInstance {
    fn is_free(&self, needed: Option<GiB>) -> Option<bool> {
        is_free(self.processes.as_ref(), self.memory_gib, self.memory_free_gib, needed)
    }
}

/// What can be said of several devices together: only what all of them have in common.
fn summary(devices: &[(Option<&String>, Option<GiB>, Option<bool>)]) -> GpuPart {
    let first = devices.first().and_then(|(model, _, _)| *model);
    let same_model = devices.iter().all(|(model, _, _)| *model == first);
    let least = devices.iter().map(|(_, memory, _)| *memory).reduce(|a, b| match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        _ => None,
    });
    // A device of which nobody can tell makes the number unknown, not smaller.
    let free: Option<Vec<bool>> = devices.iter().map(|(_, _, free)| *free).collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    GpuPart {
        count: count(devices.len()),
        free: free.map(|free| count(free.into_iter().filter(|free| *free).count())),
        model: first.filter(|_| same_model).cloned(),
        memory_gib: least.flatten(),
    }
}

/// The devices that work can be given: whole GPUs, and the instances of those that are cut.
#[must_use]
pub fn parts(reading: &GpuReading, needed: Option<GiB>) -> Vec<GpuPart> {
    let whole: Vec<_> = reading
        .gpus
        .iter()
        .filter(|gpu| gpu.mig != Some(true))
        .map(|gpu| (gpu.model.as_ref(), gpu.memory_gib, gpu.is_free(needed)))
        .collect();
    let instances: Vec<_> = reading
        .gpus
        .iter()
        .filter(|gpu| gpu.mig == Some(true))
        .flat_map(|gpu| &gpu.mig_instances)
        .map(|part| (part.model.as_ref(), part.memory_gib, part.is_free(needed)))
        .collect();
    [whole, instances].iter().filter(|devices| !devices.is_empty()).map(|devices| summary(devices)).collect()
}

/// A device that one job can have for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaDevice {
    /// As `CUDA_VISIBLE_DEVICES` takes it: its UUID, else its place in the driver's list.
    pub id: String,
    /// Whether something computes on it; `None` when nobody can tell.
    pub is_busy: Option<bool>,
}

/// The devices of NVIDIA that work can be given: whole GPUs, and the instances of those that are cut.
/// `visible` is the `CUDA_VISIBLE_DEVICES` of this process: what it does not name is somebody else's. As in
/// CUDA, the list ends at the first entry that names nothing here.
#[must_use]
pub fn cuda_devices(reading: &GpuReading, visible: Option<&str>) -> Vec<CudaDevice> {
    let busy = |processes: &Option<Vec<GpuProcess>>| processes.as_ref().map(|list| !list.is_empty());
    let mut devices: Vec<(Option<usize>, CudaDevice)> = Vec::new();
    for (at, gpu) in reading.gpus.iter().enumerate() {
        if gpu.mig == Some(true) {
            let instances = gpu.mig_instances.iter().filter_map(|part| {
                Some((None, CudaDevice { id: part.uuid.clone()?, is_busy: busy(&part.processes) }))
            });
            devices.extend(instances);
        } else {
            let id = gpu.uuid.clone().unwrap_or_else(|| at.to_string());
            devices.push((Some(at), CudaDevice { id, is_busy: busy(&gpu.processes) }));
        }
    }
    let Some(visible) = visible else { return devices.into_iter().map(|(_, device)| device).collect() };
    let named = |entry: &str| {
        let index = entry.parse::<usize>().ok();
        // CUDA takes the beginning of a UUID, too.
        let is_meant = |(at, device): &&(Option<usize>, CudaDevice)| {
            index.map_or_else(|| entry.len() > 4 && device.id.starts_with(entry), |index| *at == Some(index))
        };
        devices.iter().find(is_meant).map(|(_, device)| device.clone())
    };
    visible.split(',').map(str::trim).map_while(named).collect()
}

/// `NVIDIA H100 80GB HBM3` is `h100`, `NVIDIA GeForce RTX 4090` is `rtx4090`. A part of a GPU is called by
/// its profile alone (`mig-1g.10gb`), because it is not what asks for the whole model want.
#[must_use]
pub fn short_model(product: &str) -> Option<String> {
    let lower = product.to_lowercase();
    if let Some((_, profile)) = lower.split_once(" mig ") {
        let profile = profile.trim();
        return (!profile.is_empty()).then(|| format!("mig-{profile}"));
    }
    let words: Vec<&str> =
        lower.split([' ', '-', '/', '(', ')', '[', ']']).filter(|word| !word.is_empty()).collect();
    let is_size = |word: &str| {
        word.strip_suffix("gb").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_model = |word: &str| {
        word.len() <= 8
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.contains(|c: char| c.is_ascii_digit())
            && !word.starts_with("hbm")
            && !word.starts_with("pci")
            && !word.starts_with("sxm")
            && !is_size(word)
    };
    for pair in words.windows(2) {
        if matches!(pair[0], "rtx" | "gtx") && pair[1].bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(pair.concat());
        }
    }
    words.into_iter().find(|word| is_model(word)).map(str::to_owned)
}

/// The GPUs of one vendor as a provider.
pub struct Gpus {
    host: Host,
    vendor: &'static str,
    cards: Listing<rocm::RocmSmi>,
}

impl Gpus {
    /// Both vendors.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        let of = |vendor| {
            let cards = Listing::new(rocm::RocmSmi::new(host.clone()));
            Self { host: host.clone(), vendor, cards }
        };
        ["nvidia", "amd"].into_iter().map(of).collect()
    }

    fn is_nvidia(&self) -> bool {
        self.vendor == "nvidia"
    }

    /// What the kernel driver's files tell.
    async fn files(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let vendor = self.vendor;
        let source = if self.is_nvidia() { "/proc/driver/nvidia" } else { "/sys/class/drm" };
        self.host.look(source, deadline, move |tree| Ok(json!(read_gpus(tree, vendor)))).await
    }

    /// What NVML tells; `None` when it is not here.
    async fn nvml(&self, deadline: Instant) -> Result<Option<Answer>, ProviderError> {
        let reader = std::sync::Arc::clone(&self.host.nvml);
        match self.host.blocking.run("NVML", deadline, move || reader.read()).await? {
            Ok(answer) => {
                let raw = format!("{answer:?}");
                let (reading, problems) = interpret(answer);
                Ok(Some(Answer { problems, ..Answer::new(json!(reading), "NVML", raw.as_bytes()) }))
            }
            Err(NvmlFailure::Absent(_)) => Ok(None),
            Err(error @ NvmlFailure::Failed(_)) => {
                Err(ProviderError::Program { program: "NVML".to_owned(), problem: error.to_string() })
            }
        }
    }

    async fn read(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        // The files first: they answer at once, and what NVML does with the rest of the time costs nothing.
        let mut files = self.files(deadline).await?;
        if !self.is_nvidia() {
            return Ok(rocm::complete(&self.cards, files, deadline).await);
        }
        let problem = match self.nvml(earlier(deadline, NVML_SHARE)).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "NVML is not here: memory, processes and load are unknown".to_owned(),
            Err(error) => error.in_full(),
        };
        if has_gpus(&files) {
            files.problems.push(problem);
        }
        Ok(files)
    }
}

fn has_gpus(answer: &Answer) -> bool {
    answer.value["gpus"].as_array().is_some_and(|gpus| !gpus.is_empty())
}

fn reading(answer: &Answer) -> Result<GpuReading, ProviderError> {
    GpuReading::deserialize(&answer.value).map_err(|error| ProviderError::NotUnderstood {
        what: answer.source.clone(),
        problem: error.to_string(),
    })
}

#[async_trait]
impl Provider for Gpus {
    fn name(&self) -> &'static str {
        if self.is_nvidia() { "nvidia-gpu" } else { "amd-gpu" }
    }

    fn category(&self) -> Category {
        Category::Hardware
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        // The files answer at once, while the driver may take seconds to wake a GPU.
        if has_gpus(&self.files(probe.deadline).await?) {
            return Ok(true);
        }
        Ok(self.is_nvidia() && self.nvml(probe.deadline).await?.is_some_and(|answer| has_gpus(&answer)))
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        let answer = self.read(deadline).await?;
        let reading = reading(&answer)?;
        let gpus: Vec<Value> = reading.gpus.iter().map(Gpu::metadata).collect();
        Ok(match self.is_nvidia() {
            true => json!({"driver": reading.driver, "cuda": reading.cuda, "gpus": gpus}),
            false => json!({"driver": reading.driver, "gpus": gpus}),
        })
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![
            ProviderTool::plain(
                "gpus",
                "GPUs of this machine that this worker may use, each with product, short model name, memory \
                 and free memory in GiB, load, temperature, power, compute capability, MIG instances, NVLinks \
                 and what computes on it; the versions of the driver and of CUDA. Null where the driver does \
                 not tell. Like nvidia-smi -q and rocm-smi -a.",
            ),
            ProviderTool::plain(
                "processes",
                "What computes on the GPUs now: for each process the GPU's place in the list, the process's \
                 number and name, and the memory that it takes. `unknown` lists the GPUs of which nobody can \
                 tell. Like nvidia-smi --query-compute-apps.",
            ),
        ]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["gpus", "processes"])?;
        let mut answer = self.read(deadline).await?;
        if tool == "processes" {
            let reading = reading(&answer)?;
            let mut running = Vec::new();
            let mut unknown = Vec::new();
            for (at, gpu) in reading.gpus.iter().enumerate() {
                let instances = gpu.mig_instances.iter().map(|part| &part.processes);
                let lists: Vec<_> =
                    if gpu.mig == Some(true) { instances.collect() } else { vec![&gpu.processes] };
                if lists.iter().any(|list| list.is_none()) {
                    unknown.push(at);
                }
                for process in lists.into_iter().flatten().flatten() {
                    running.push(json!({"gpu": at, "pid": process.pid, "name": process.name,
                                        "memory_gib": process.memory_gib}));
                }
            }
            answer.value = json!({"processes": running, "unknown": unknown});
        }
        Ok(answer)
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let reading: GpuReading = reader.ask("gpus", json!({})).await?;
        let needed = call.requirement.compute.gpus.as_ref().and_then(|need| need.memory_gib);
        reader.facts.host.gpus.extend(parts(&reading, needed));
        reader
            .facts
            .flags
            .extend(reading.lost.into_iter().map(|evidence| Flag { kind: FlagKind::Degraded, evidence }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_models() {
        for (product, model) in [
            ("NVIDIA H100 80GB HBM3", Some("h100")),
            ("NVIDIA H200", Some("h200")),
            ("NVIDIA A100-SXM4-80GB", Some("a100")),
            ("Tesla V100-SXM2-32GB", Some("v100")),
            ("NVIDIA GeForce RTX 4090", Some("rtx4090")),
            ("NVIDIA RTX A6000", Some("a6000")),
            ("NVIDIA GH200 480GB", Some("gh200")),
            ("NVIDIA L40S", Some("l40s")),
            ("AMD Instinct MI300X OAM", Some("mi300x")),
            ("Vega 10 [Radeon Instinct MI25]", Some("mi25")),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", Some("mig-1g.10gb")),
            ("NVIDIA MIG ", None),
            ("NVIDIA", None),
            ("", None),
        ] {
            assert_eq!(short_model(product).as_deref(), model, "{product}");
        }
    }
}
