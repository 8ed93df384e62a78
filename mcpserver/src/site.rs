//! What a worker stands for: the site around it, looked at and with its workload manager, or a simulated
//! cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archetypes::{Archetype, Fault};
use protocol::clock::Clock;
use protocol::facts::Prices;
use protocol::ids::WorkerId;
use secretary::Providers;
use secretary::detection::Detection;
use secretary::provider::Provider;
use secretary::providers::{detect, real_providers};
use secretary::real::host::Host;
use secretary::real::machine::Machine;
use worker::{Mock, Site};
use workload::flux::{Flux, FluxOptions};
use workload::local::{GpuDevice, GpuVendor, LocalMachine, LocalOptions};
use workload::slurm::{Slurm, SlurmOptions};
use workload::{ReadSide, SubmitSide};

use crate::arguments::Manager;
use crate::exit::Failure;
use crate::say;

/// How long the processes of simulated sites may take to end, when their agent ends.
const SIMULATED_GRACE: Duration = Duration::from_secs(2);

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
    manager: Manager,
    prices: Option<Prices>,
    clock: Arc<dyn Clock>,
) -> Result<(Site, Option<Arc<LocalMachine>>), Failure> {
    let mut detected = detect(real_providers(&Host::this(), None)).await;
    let (runs, machine): (Arc<dyn SubmitSide>, _) = match of_site(directory, manager, clock.clone()).await? {
        Some(manager) => (manager, None),
        None => {
            let machine = local(directory, gpus(&detected), clock.clone())?;
            (machine.clone(), Some(machine))
        }
    };
    let look: Arc<dyn Provider> = Arc::new(Machine::new(runs.clone() as Arc<dyn ReadSide>));
    detected.extend(detect(vec![look]).await);
    Ok((Site { providers: Providers::of(detected, clock), manager: runs, prices, mock: None }, machine))
}

/// The site's workload manager, where one is wanted and answers. Slurm comes first: where both are, Flux is
/// what somebody runs within a job of Slurm.
async fn of_site(
    directory: &Path,
    manager: Manager,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn SubmitSide>>, Failure> {
    let (slurm, flux) = (SlurmOptions::of_process(), FluxOptions::of_process());
    let auto = manager == Manager::Auto;
    let mut found = None;
    if manager == Manager::Slurm || auto && slurm.is_installed() {
        let slurm: Arc<dyn SubmitSide> =
            Arc::new(Slurm::open(slurm, directory.join("slurm"), clock.clone())?);
        found = answering(slurm, "Slurm", auto).await?;
    }
    if manager == Manager::Flux || auto && found.is_none() && flux.is_installed() {
        let flux: Arc<dyn SubmitSide> = Arc::new(Flux::open(flux, directory.join("flux"), clock)?);
        found = answering(flux, "Flux", auto).await?;
    }
    Ok(found)
}

/// A manager, if it answers. One that was found and not asked for may be silent.
async fn answering(
    manager: Arc<dyn SubmitSide>,
    name: &str,
    found: bool,
) -> Result<Option<Arc<dyn SubmitSide>>, Failure> {
    match manager.capacity().await {
        Ok(_) => Ok(Some(manager)),
        Err(error) if !found => Err(error.into()),
        Err(error) => {
            say(&format!("warning: {name} is here and does not answer, so it runs no work: {error}"));
            Ok(None)
        }
    }
}

/// This machine as a manager of its own.
fn local(
    directory: &Path,
    gpus: Vec<GpuDevice>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<LocalMachine>, Failure> {
    let mut options = LocalOptions::whole_machine(directory.join("machine"));
    options.gpus = gpus;
    Ok(Arc::new(LocalMachine::open(options, clock)?))
}

/// GPUs that jobs may be given, those that this process may use, by their place in the vendor's list.
fn gpus(detected: &[(Arc<dyn Provider>, Detection)]) -> Vec<GpuDevice> {
    let vendors = [("nvidia-gpu", GpuVendor::Nvidia), ("amd-gpu", GpuVendor::Amd)];
    let of = |(name, vendor)| {
        let lists = detected.iter().filter(move |(provider, _)| provider.name() == name);
        let gpus = lists.filter_map(|(_, found)| found.metadata.get("gpus")?.as_array()).flatten();
        gpus.enumerate().map(move |(place, _)| GpuDevice { id: place.to_string(), vendor })
    };
    vendors.into_iter().flat_map(of).collect()
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
    Site { providers: Providers::mock(site, clock), manager, prices: None, mock: Some(mock) }
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
