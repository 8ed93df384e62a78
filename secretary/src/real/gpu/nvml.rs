//! NVIDIA GPUs as NVML, the driver's own library, describes them. The library is loaded at run time: that
//! it, or the driver, is not here is an ordinary answer.
//!
//! [`NvmlReader`] asks, [`interpret`] says what the answers mean. Nothing but the reader needs a GPU.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};
use protocol::units::{GiB, Number};

use super::{GPUS_LIMIT, Gpu, GpuProcess, GpuReading, MigInstance, short_model};
use crate::real::host::gib;

/// The most links that NVML numbers on one GPU.
const NVLINKS_LIMIT: u32 = 18;
/// The most processes of one GPU that are named.
const PROCESSES_LIMIT: usize = 64;
/// The most instances that one GPU can be cut into.
const MIG_LIMIT: u32 = 16;

/// Why NVML did not answer one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// This device, or this driver, does not know the answer; nothing is wrong.
    NotSupported,
    /// Something is wrong.
    Failed(String),
}

/// The answer to one question.
pub type Said<T> = Result<T, Refusal>;

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryAnswer {
    /// Installed.
    pub total: u64,
    /// Not allocated.
    pub free: u64,
}

/// A process with a compute context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessAnswer {
    /// Its number as the driver knows it.
    pub pid: u32,
    /// Its name, where this user may know it.
    pub name: Option<String>,
    /// Bytes of memory, where the driver tells.
    pub memory: Option<u64>,
}

/// What NVML said of one part of a GPU that was cut with MIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigAnswer {
    /// `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
    pub name: Said<String>,
    /// Its identifier.
    pub uuid: Said<String>,
    /// Its memory.
    pub memory: Said<MemoryAnswer>,
    /// Its processes.
    pub processes: Said<Vec<ProcessAnswer>>,
}

/// What NVML said of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAnswer {
    /// The product's name.
    pub name: Said<String>,
    /// Its identifier.
    pub uuid: Said<String>,
    /// Its memory.
    pub memory: Said<MemoryAnswer>,
    /// Share of the last sample period in which a kernel ran, in per cent.
    pub utilisation: Said<u32>,
    /// Degrees Celsius.
    pub temperature: Said<u32>,
    /// Milliwatts.
    pub power: Said<u32>,
    /// Major and minor number.
    pub compute_capability: Said<(i32, i32)>,
    /// Whether it is cut with MIG.
    pub mig_mode: Said<bool>,
    /// Its parts.
    pub mig: Vec<MigAnswer>,
    /// Its processes.
    pub processes: Said<Vec<ProcessAnswer>>,
    /// Links to other GPUs that are up.
    pub nvlinks: Said<u32>,
}

/// What NVML said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvmlAnswer {
    /// The driver's version.
    pub driver: Said<String>,
    /// The newest CUDA that the driver runs, as the number 1000 * major + 10 * minor.
    pub cuda: Said<i32>,
    /// The GPUs, each in its place.
    pub devices: Vec<Said<DeviceAnswer>>,
}

/// Why there is nothing to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NvmlFailure {
    /// No library or no driver: there may be no GPU at all.
    #[error("NVML is not here: {0}")]
    Absent(String),
    /// Library and driver are here and do not work.
    #[error("NVML failed: {0}")]
    Failed(String),
}

/// Asks NVML everything at once; may hang with the driver.
pub trait NvmlReader: Send + Sync + 'static {
    /// What it says.
    fn read(&self) -> Result<NvmlAnswer, NvmlFailure>;
}

/// The machine's own NVML. It stays initialised between two looks, because the first call of a process
/// may take seconds.
#[derive(Default)]
pub struct SystemNvml {
    library: Option<PathBuf>,
    nvml: Mutex<Option<Nvml>>,
}

impl SystemNvml {
    /// The library in this file, in place of the one that the system's loader finds.
    #[must_use]
    pub fn in_file(library: &Path) -> Self {
        Self { library: Some(library.to_owned()), nvml: Mutex::new(None) }
    }

    fn start(&self) -> Result<Nvml, NvmlError> {
        match &self.library {
            Some(library) => Nvml::builder().lib_path(library.as_os_str()).init(),
            None => Nvml::init(),
        }
    }
}

/// A machine without NVML, such as a recorded one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNvml;

impl NvmlReader for NoNvml {
    fn read(&self) -> Result<NvmlAnswer, NvmlFailure> {
        Err(NvmlFailure::Absent("this machine has none".to_owned()))
    }
}

fn refusal(error: NvmlError) -> Refusal {
    match error {
        // A driver older than this wrapper lacks the newer functions.
        NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => {
            Refusal::NotSupported
        }
        error => Refusal::Failed(error.to_string()),
    }
}

fn failure(error: &NvmlError) -> NvmlFailure {
    match error {
        NvmlError::LibloadingError(_)
        | NvmlError::LibraryNotFound
        | NvmlError::DriverNotLoaded
        | NvmlError::NotFound => NvmlFailure::Absent(error.to_string()),
        error => NvmlFailure::Failed(error.to_string()),
    }
}

fn memory(device: &Device<'_>) -> Said<MemoryAnswer> {
    let info = device.memory_info().map_err(refusal)?;
    Ok(MemoryAnswer { total: info.total, free: info.free })
}

/// The program's own name of its path; whose home it stands in is nobody's business.
fn program_of(path: &str) -> Option<String> {
    let name = path.split_whitespace().next()?.rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn processes(nvml: &Nvml, device: &Device<'_>) -> Said<Vec<ProcessAnswer>> {
    let running = device.running_compute_processes().map_err(refusal)?;
    let named = running.into_iter().take(PROCESSES_LIMIT).map(|process| ProcessAnswer {
        pid: process.pid,
        name: nvml.sys_process_name(process.pid, 256).ok().and_then(|path| program_of(&path)),
        memory: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    });
    Ok(named.collect())
}

fn instances(nvml: &Nvml, device: &Device<'_>) -> Vec<MigAnswer> {
    let count = device.mig_device_count().unwrap_or(0).min(MIG_LIMIT);
    // Places without an instance answer that there is nothing.
    let parts = (0..count).filter_map(|at| device.mig_device_by_index(at).ok());
    let answers = parts.map(|part| MigAnswer {
        name: part.name().map_err(refusal),
        uuid: part.uuid().map_err(refusal),
        memory: memory(&part),
        processes: processes(nvml, &part),
    });
    answers.collect()
}

fn nvlinks(device: &Device<'_>) -> Said<u32> {
    let mut up = 0;
    for link in 0..NVLINKS_LIMIT {
        match device.link_wrapper_for(link).is_active() {
            Ok(true) => up += 1,
            Ok(false) => {}
            // The first number beyond the last link is refused; number 0 means that there are none.
            Err(NvmlError::InvalidArg) => break,
            Err(error) if link == 0 => return Err(refusal(error)),
            Err(_) => break,
        }
    }
    Ok(up)
}

fn ask_device(nvml: &Nvml, device: &Device<'_>) -> DeviceAnswer {
    let mig_mode = device.mig_mode().map(|mode| mode.current == 1).map_err(refusal);
    DeviceAnswer {
        name: device.name().map_err(refusal),
        uuid: device.uuid().map_err(refusal),
        memory: memory(device),
        utilisation: device.utilization_rates().map(|rates| rates.gpu).map_err(refusal),
        temperature: device.temperature(TemperatureSensor::Gpu).map_err(refusal),
        power: device.power_usage().map_err(refusal),
        compute_capability: device
            .cuda_compute_capability()
            .map(|capability| (capability.major, capability.minor))
            .map_err(refusal),
        mig: if mig_mode == Ok(true) { instances(nvml, device) } else { Vec::new() },
        mig_mode,
        processes: processes(nvml, device),
        nvlinks: nvlinks(device),
    }
}

fn ask(nvml: &Nvml) -> Result<NvmlAnswer, NvmlError> {
    let count = nvml.device_count()?.min(u32::try_from(GPUS_LIMIT).unwrap_or(u32::MAX));
    let devices = (0..count).map(|at| match nvml.device_by_index(at) {
        Ok(device) => Ok(ask_device(nvml, &device)),
        Err(error) => Err(refusal(error)),
    });
    Ok(NvmlAnswer {
        driver: nvml.sys_driver_version().map_err(refusal),
        cuda: nvml.sys_cuda_driver_version().map_err(refusal),
        devices: devices.collect(),
    })
}

impl NvmlReader for SystemNvml {
    fn read(&self) -> Result<NvmlAnswer, NvmlFailure> {
        let mut place = self.nvml.lock().unwrap_or_else(PoisonError::into_inner);
        let nvml = match place.take() {
            Some(nvml) => nvml,
            None => self.start().map_err(|error| failure(&error))?,
        };
        let answer = ask(&nvml).map_err(|error| failure(&error))?;
        // One that failed is not kept: the driver may have been replaced under it.
        *place = Some(nvml);
        Ok(answer)
    }
}

/// Collects what NVML could not say although it should have.
struct Notes {
    problems: Vec<String>,
}

impl Notes {
    fn take<T>(&mut self, what: &str, said: Said<T>) -> Option<T> {
        match said {
            Ok(value) => Some(value),
            Err(Refusal::NotSupported) => None,
            Err(Refusal::Failed(problem)) => {
                self.problems.push(format!("{what}: {problem}"));
                None
            }
        }
    }

    /// Total and free; numbers that contradict each other are no numbers.
    fn memory(&mut self, what: &str, said: Said<MemoryAnswer>) -> (Option<GiB>, Option<GiB>) {
        match self.take(what, said) {
            Some(memory) if memory.total > 0 && memory.free <= memory.total => {
                (Some(gib(memory.total)), Some(gib(memory.free)))
            }
            Some(_) => {
                self.problems.push(format!("{what}: the numbers contradict each other"));
                (None, None)
            }
            None => (None, None),
        }
    }

    fn processes(&mut self, what: &str, said: Said<Vec<ProcessAnswer>>) -> Option<Vec<GpuProcess>> {
        let listed = self.take(what, said)?;
        let shown = listed.into_iter().map(|process| GpuProcess {
            pid: process.pid,
            name: process.name,
            memory_gib: process.memory.map(gib),
        });
        Some(shown.collect())
    }
}

/// What the answers mean, and what could not be had although it should.
#[must_use]
pub fn interpret(answer: NvmlAnswer) -> (GpuReading, Vec<String>) {
    let mut notes = Notes { problems: Vec::new() };
    let mut gpus = Vec::new();
    let mut lost = Vec::new();
    for (at, device) in answer.devices.into_iter().enumerate() {
        let device = match device {
            Ok(device) => device,
            Err(refusal) => {
                let why = match refusal {
                    Refusal::NotSupported => "it is not supported".to_owned(),
                    Refusal::Failed(problem) => problem,
                };
                lost.push(format!("GPU {at}: {why}"));
                continue;
            }
        };
        let what = |part: &str| format!("GPU {at}, {part}");
        let (memory_gib, memory_free_gib) = notes.memory(&what("memory"), device.memory);
        let product = notes.take(&what("name"), device.name);
        let mig = notes.take(&what("MIG mode"), device.mig_mode);
        let parts = device.mig.into_iter().map(|part| {
            let (memory_gib, memory_free_gib) = notes.memory(&what("memory of an instance"), part.memory);
            MigInstance {
                model: notes.take(&what("name of an instance"), part.name).as_deref().and_then(short_model),
                uuid: notes.take(&what("identifier of an instance"), part.uuid),
                memory_gib,
                memory_free_gib,
                processes: notes.processes(&what("processes of an instance"), part.processes),
            }
        });
        let mig_instances = parts.collect();
        // Seen from the whole of a GPU that is cut, processes need rights that a user seldom has.
        let processes = match mig {
            Some(true) => None,
            _ => notes.processes(&what("processes"), device.processes),
        };
        gpus.push(Gpu {
            model: product.as_deref().and_then(short_model),
            product,
            uuid: notes.take(&what("identifier"), device.uuid),
            memory_gib,
            memory_free_gib,
            utilisation_percent: notes
                .take(&what("utilisation"), device.utilisation)
                .filter(|percent| *percent <= 100),
            temperature_celsius: notes.take(&what("temperature"), device.temperature).map(Number::from),
            power_watts: notes
                .take(&what("power"), device.power)
                .map(|milliwatts| Number::saturating(f64::from(milliwatts) / 1000.0)),
            compute_capability: notes
                .take(&what("compute capability"), device.compute_capability)
                .map(|(major, minor)| format!("{major}.{minor}")),
            mig,
            mig_instances,
            nvlinks_up: notes.take(&what("NVLink"), device.nvlinks),
            processes,
        });
    }
    let cuda = notes.take("CUDA version", answer.cuda).filter(|version| *version > 0);
    let reading = GpuReading {
        driver: notes.take("driver version", answer.driver),
        cuda: cuda.map(|version| {
            format!("{}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version))
        }),
        gpus,
        lost,
    };
    (reading, notes.problems)
}
