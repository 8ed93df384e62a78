//! What a worker stands for: the site around it, looked at and with its workload manager, or a simulated
//! cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archetypes::{Archetype, Fault};
use protocol::clock::Clock;
use protocol::facts::{Prices, Scope};
use protocol::ids::WorkerId;
use secretary::Providers;
use secretary::detection::Detection;
use secretary::provider::Provider;
use secretary::providers::{detect, real_providers};
use secretary::real::gpu::nvml::{NvmlReader, interpret};
use secretary::real::gpu::{CudaDevice, cuda_devices};
use secretary::real::host::Host;
use secretary::real::machine::Machine;
use tokio::time::Instant;
use worker::{Mock, Site};
use workload::local::{BusyGpus, GpuDevice, GpuVendor, LocalMachine, LocalOptions};
use workload::{ReadSide, SubmitSide};

use crate::exit::Failure;
use crate::managers::{Wanted, of_site};
use crate::say;
use crate::start::own_program;

/// How long the processes of simulated sites may take to end, when their agent ends.
const SIMULATED_GRACE: Duration = Duration::from_secs(2);

/// How long a trial of this program on a node may take, its wait included.
const TRIAL_TIME: Duration = Duration::from_secs(15);

/// The largest file with prices that is read.
const PRICES_LIMIT: u64 = 64 * 1024;

/// How a site is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// The kind of cluster.
    pub archetype: Archetype,
    /// Its seed.
    pub seed: u64,
    /// How often its claims are true.
    pub honesty: f64,
    /// How it misbehaves.
    pub fault: Option<Fault>,
    /// Simulated seconds in a real one.
    pub time_scale: f64,
    /// Whether commands really run.
    pub exec: bool,
}

/// This site, with the state of what runs its work in a directory: the site's workload manager, or this
/// machine, which is handed back as well because somebody has to end it.
pub async fn real(
    directory: &Path,
    manager: &Wanted,
    prices: Option<Prices>,
    clock: Arc<dyn Clock>,
) -> Result<(Site, Option<Arc<LocalMachine>>), Failure> {
    let mut detected = detect(real_providers(&Host::this(), None)).await;
    let (runs, machine): (Arc<dyn SubmitSide>, _) = match of_site(directory, manager, &clock).await? {
        Some(manager) => (manager, None),
        None => {
            let machine = local(directory, &detected, clock.clone())?;
            (machine.clone(), Some(machine))
        }
    };
    let look: Arc<dyn Provider> = Arc::new(Machine::new(runs.clone() as Arc<dyn ReadSide>));
    detected.extend(detect(vec![look]).await);
    let has_program = nodes_have_program(&*runs, directory, &*clock).await?;
    let providers = Providers::of(detected, clock);
    Ok((Site { providers, manager: runs, has_program, prices, mock: None }, machine))
}

/// Whether the nodes of a manager have this program: they do when this machine is one of them, when it
/// and the jobs' directories lie on a file system that they share, and else when a trial of it runs.
async fn nodes_have_program(
    manager: &dyn SubmitSide,
    directory: &Path,
    clock: &dyn Clock,
) -> Result<bool, Failure> {
    let inventory = manager.inventory().await.unwrap_or_default();
    if inventory.is_none_or(|inventory| inventory.has_this_machine) {
        return Ok(true);
    }
    let program = own_program()?;
    let (host, deadline) = (Host::this(), Instant::now() + TRIAL_TIME);
    let is_shared = async |path: &Path| host.scope_of(vec![path.to_owned()], deadline).await == Scope::Site;
    if is_shared(&program).await && is_shared(directory).await {
        return Ok(true);
    }
    let jobs = directory.join("jobs");
    let Some(problem) = worker::reach::trial(manager, &program, &jobs, clock.now(), deadline).await else {
        return Ok(true);
    };
    let (program, directory) = (program.display(), directory.display());
    say(&format!(
        "warning: the nodes cannot run {program} in {directory} ({problem}), so only commands are taken; \
         put both where this machine and the nodes see them"
    ));
    Ok(false)
}

/// This machine as a manager of its own, with the GPUs that this process may use.
fn local(
    directory: &Path,
    detected: &[(Arc<dyn Provider>, Detection)],
    clock: Arc<dyn Clock>,
) -> Result<Arc<LocalMachine>, Failure> {
    let mut options = LocalOptions::whole_machine(directory.join("machine"));
    let cards = |name: &str| {
        let lists = detected.iter().filter(|(provider, _)| provider.name() == name);
        let lists = lists.filter_map(|(_, found)| found.metadata.get("gpus")?.as_array());
        lists.map(Vec::len).sum::<usize>()
    };
    let driver = Host::this().nvml;
    let of_cuda = nvidia_devices(&*driver);
    let nvidia: Vec<String> = match &of_cuda {
        Some(devices) => devices.iter().map(|device| device.id.clone()).collect(),
        // The kernel knows of cards that no library tells about.
        None => (0..cards("nvidia-gpu")).map(|place| place.to_string()).collect(),
    };
    let amd = (0..cards("amd-gpu")).map(|place| place.to_string());
    options.gpus = nvidia
        .into_iter()
        .map(|id| GpuDevice { id, vendor: GpuVendor::Nvidia })
        .chain(amd.map(|id| GpuDevice { id, vendor: GpuVendor::Amd }))
        .collect();
    if of_cuda.is_some() {
        options.busy_gpus = Some(BusyGpus::new(move || {
            let devices = nvidia_devices(&*driver).unwrap_or_default().into_iter();
            let busy = devices.filter(|device| device.is_busy == Some(true));
            busy.map(|device| GpuDevice { id: device.id, vendor: GpuVendor::Nvidia }).collect()
        }));
    }
    Ok(Arc::new(LocalMachine::open(options, clock)?))
}

/// The devices that NVIDIA's driver tells of, if it does.
fn nvidia_devices(driver: &dyn NvmlReader) -> Option<Vec<CudaDevice>> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let (reading, _problems) = interpret(driver.read().ok()?);
    Some(cuda_devices(&reading, visible.as_deref()))
}

/// What computes for simulated sites.
pub fn manager_of_simulated(directory: &Path, clock: Arc<dyn Clock>) -> Result<Arc<LocalMachine>, Failure> {
    let mut options = LocalOptions::whole_machine(directory.join("machine"));
    options.grace = SIMULATED_GRACE;
    Ok(Arc::new(LocalMachine::open(options, clock)?))
}

/// A simulated cluster.
pub fn simulated(
    worker: &WorkerId,
    recipe: Recipe,
    manager: Arc<dyn SubmitSide>,
    clock: Arc<dyn Clock>,
) -> Site {
    let site = archetypes::Site::generate(worker, recipe.archetype, recipe.seed);
    let mock = Mock {
        site: site.clone(),
        honesty: recipe.honesty,
        fault: recipe.fault,
        time_scale: recipe.time_scale,
        exec: recipe.exec,
    };
    Site {
        providers: Providers::mock(site, clock),
        manager,
        has_program: true,
        prices: None,
        mock: Some(mock),
    }
}

/// Reads what computing costs.
pub fn read_prices(path: &Path) -> Result<Prices, Failure> {
    let size = std::fs::metadata(path).map_err(Failure::file("cannot read", path))?.len();
    let content =
        |problem: String| Failure::Content { path: path.to_owned(), wanted: "a file with prices", problem };
    if size > PRICES_LIMIT {
        return Err(content(format!("it has {size} bytes")));
    }
    let text = std::fs::read(path).map_err(Failure::file("cannot read", path))?;
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| content(error.to_string()))?;
    let known = ["node_hour_usd", "core_hour_usd", "gpu_hour_usd"];
    for (name, value) in &fields {
        if !known.contains(&name.as_str()) {
            return Err(content(format!("{name:?} is no price; there are {}", known.join(", "))));
        }
        if !value.as_f64().is_some_and(|price| (0.0..=1e9).contains(&price)) {
            return Err(content(format!("{name} is {value}; a number of US dollars from 0 will do")));
        }
    }
    serde_json::from_value(serde_json::Value::Object(fields)).map_err(|error| content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn prices_are_read_and_mistakes_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("prices.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_prices(&path)
        };
        let prices = read(r#"{"core_hour_usd": 0.05}"#).unwrap();
        assert_eq!(prices.core_hour_usd.map(|price| price.get()), Some(0.05));
        assert_eq!(prices.node_hour_usd, None);
        for (bad, named) in [
            (r#"{"core_hour": 1}"#, "core_hour"),
            (r#"{"core_hour_usd": -1}"#, "-1"),
            (r#"{"core_hour_usd": "1"}"#, "core_hour_usd"),
            ("[1]", "prices"),
            ("{", "prices"),
        ] {
            let failure = read(bad).unwrap_err();
            assert_eq!(failure.exit(), Exit::Configuration, "{bad}");
            assert!(failure.line().contains(named), "{}", failure.line());
        }
        assert_eq!(read_prices(Path::new("/nonexistent")).unwrap_err().exit(), Exit::Configuration);
    }
}
