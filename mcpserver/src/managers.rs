//! The workload managers that a worker can stand before: a row for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::clock::Clock;
use workload::flux::{Flux, FluxOptions, FluxReader};
use workload::slurm::{Slurm, SlurmOptions, SlurmReader};
use workload::{ReadSide, SubmitSide, WorkloadError};

use crate::arguments::Manager;
use crate::exit::Failure;
use crate::say;

type Opened = Result<Arc<dyn SubmitSide>, WorkloadError>;

/// One workload manager.
struct Row {
    /// How it is chosen.
    chosen_by: Manager,
    /// Its name for people.
    name: &'static str,
    /// Whether its programs, or what leads to it, are on this machine at all.
    is_installed: fn() -> bool,
    /// Its read side.
    reader: fn(Arc<dyn Clock>) -> Arc<dyn ReadSide>,
    /// Both sides, with a directory of our own.
    open: fn(PathBuf, Arc<dyn Clock>) -> Opened,
}

/// In the order in which they are looked for: where Slurm and Flux both are, Flux is what somebody runs
/// within a job of Slurm.
const ROWS: [Row; 2] = [
    Row {
        chosen_by: Manager::Slurm,
        name: "Slurm",
        is_installed: || SlurmOptions::of_process().is_installed(),
        reader: |clock| Arc::new(SlurmReader::new(SlurmOptions::of_process(), clock)),
        open: |directory, clock| Ok(Arc::new(Slurm::open(SlurmOptions::of_process(), directory, clock)?)),
    },
    Row {
        chosen_by: Manager::Flux,
        name: "Flux",
        is_installed: || FluxOptions::of_process().is_installed(),
        reader: |_| Arc::new(FluxReader::new(FluxOptions::of_process())),
        open: |directory, clock| Ok(Arc::new(Flux::open(FluxOptions::of_process(), directory, clock)?)),
    },
];

/// The read sides of all of them, installed or not.
pub fn readers(clock: &Arc<dyn Clock>) -> Vec<Arc<dyn ReadSide>> {
    ROWS.iter().map(|row| (row.reader)(clock.clone())).collect()
}

/// The site's workload manager, where one is wanted and answers. One that was found and not asked for
/// may be silent.
pub async fn of_site(
    directory: &Path,
    wanted: Manager,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn SubmitSide>>, Failure> {
    for row in ROWS {
        let auto = wanted == Manager::Auto && (row.is_installed)();
        if !auto && wanted != row.chosen_by {
            continue;
        }
        let manager = (row.open)(directory.join(row.name.to_lowercase()), clock.clone())?;
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
