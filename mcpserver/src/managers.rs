//! The workload managers that a worker can stand before: a row for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::clock::Clock;
use workload::flux::{Flux, FluxOptions, FluxReader};
use workload::gridengine::{GridEngine, GridEngineOptions, GridEngineReader};
use workload::htcondor::{HtCondor, HtCondorOptions, HtCondorReader};
use workload::kubernetes::{Kubernetes, KubernetesOptions, KubernetesReader};
use workload::pbs::{Pbs, PbsOptions, PbsReader};
use workload::slurm::{Slurm, SlurmOptions, SlurmReader};
use workload::{ReadSide, SubmitSide, WorkloadError};

use crate::arguments::Manager;
use crate::exit::Failure;
use crate::say;

/// What is wanted as the manager of a worker.
#[derive(Debug)]
pub struct Wanted {
    /// Which one.
    pub manager: Manager,
    /// How Kubernetes is used, if it is the one.
    pub kubernetes: KubernetesOptions,
}

impl From<Manager> for Wanted {
    fn from(manager: Manager) -> Self {
        Self { manager, kubernetes: KubernetesOptions::of_process() }
    }
}

type Opened = Result<Arc<dyn SubmitSide>, WorkloadError>;

/// One workload manager.
struct Row {
    /// How it is chosen.
    chosen_by: Manager,
    /// Its name for people.
    name: &'static str,
    /// Where its records are, in the worker's directory.
    directory: &'static str,
    /// Whether its programs, or what leads to it, are on this machine at all.
    is_installed: fn(&Wanted) -> bool,
    /// Its read side.
    reader: fn(&Wanted, Arc<dyn Clock>) -> Arc<dyn ReadSide>,
    /// Both sides, with a directory of our own.
    open: fn(&Wanted, PathBuf, Arc<dyn Clock>) -> Opened,
}

/// In the order in which they are looked for: Slurm has commands with the names of PBS's on some sites, and
/// where Slurm and Flux both are, Flux is what somebody runs within a job of Slurm.
const ROWS: [Row; 6] = [
    Row {
        chosen_by: Manager::Slurm,
        name: "Slurm",
        directory: "slurm",
        is_installed: |_| SlurmOptions::of_process().is_installed(),
        reader: |_, clock| Arc::new(SlurmReader::new(SlurmOptions::of_process(), clock)),
        open: |_, directory, clock| Ok(Arc::new(Slurm::open(SlurmOptions::of_process(), directory, clock)?)),
    },
    Row {
        chosen_by: Manager::Pbs,
        name: "PBS",
        directory: "pbs",
        is_installed: |_| PbsOptions::of_process().is_installed(),
        reader: |_, clock| Arc::new(PbsReader::new(PbsOptions::of_process(), clock)),
        open: |_, directory, clock| Ok(Arc::new(Pbs::open(PbsOptions::of_process(), directory, clock)?)),
    },
    Row {
        chosen_by: Manager::Gridengine,
        name: "Grid Engine",
        directory: "gridengine",
        is_installed: |_| GridEngineOptions::of_process().is_installed(),
        reader: |_, clock| Arc::new(GridEngineReader::new(GridEngineOptions::of_process(), clock)),
        open: |_, directory, clock| {
            Ok(Arc::new(GridEngine::open(GridEngineOptions::of_process(), directory, clock)?))
        },
    },
    Row {
        chosen_by: Manager::Htcondor,
        name: "HTCondor",
        directory: "htcondor",
        is_installed: |_| HtCondorOptions::of_process().is_installed(),
        reader: |_, clock| Arc::new(HtCondorReader::new(HtCondorOptions::of_process(), clock)),
        open: |_, directory, clock| {
            Ok(Arc::new(HtCondor::open(HtCondorOptions::of_process(), directory, clock)?))
        },
    },
    Row {
        chosen_by: Manager::Flux,
        name: "Flux",
        directory: "flux",
        is_installed: |_| FluxOptions::of_process().is_installed(),
        reader: |_, _| Arc::new(FluxReader::new(FluxOptions::of_process())),
        open: |_, directory, clock| Ok(Arc::new(Flux::open(FluxOptions::of_process(), directory, clock)?)),
    },
    Row {
        chosen_by: Manager::Kubernetes,
        name: "Kubernetes",
        directory: "kubernetes",
        // Many have a kubeconfig and mean their own machine.
        is_installed: |wanted| wanted.kubernetes.image.is_some() && wanted.kubernetes.is_installed(),
        reader: |wanted, _| Arc::new(KubernetesReader::new(wanted.kubernetes.clone())),
        open: |wanted, directory, clock| {
            Ok(Arc::new(Kubernetes::open(wanted.kubernetes.clone(), directory, clock)?))
        },
    },
];

/// The read sides of all of them, installed or not.
pub fn readers(clock: &Arc<dyn Clock>) -> Vec<Arc<dyn ReadSide>> {
    let wanted = Wanted::from(Manager::Auto);
    ROWS.iter().map(|row| (row.reader)(&wanted, clock.clone())).collect()
}

/// The site's workload manager, where one is wanted and answers. One that was found and not asked for
/// may be silent.
pub async fn of_site(
    directory: &Path,
    wanted: &Wanted,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn SubmitSide>>, Failure> {
    for row in ROWS {
        let auto = wanted.manager == Manager::Auto && (row.is_installed)(wanted);
        if !auto && wanted.manager != row.chosen_by {
            continue;
        }
        let manager = (row.open)(wanted, directory.join(row.directory), clock.clone())?;
        match manager.capacity().await {
            Ok(_) => return Ok(Some(manager)),
            Err(error) if !auto => return Err(error.into()),
            Err(error) => {
                let name = row.name;
                say(&format!("warning: {name} is here and does not answer, so it runs no work: {error}"));
            }
        }
    }
    Ok(None)
}
