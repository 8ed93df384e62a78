//! One cgroup as directories: one in version 2, one in each controller's hierarchy in version 1. It is
//! what the journal keeps of it, so it knows everything that is needed to find, end and remove it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::limits::{self, Controller, Limits, Version};

/// Looks at the processes of a cgroup that are being ended, and the time between two of them.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// The most cgroups below one that a job may have made and that are removed with it.
const MOST_BELOW: usize = 1_000;

/// A cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    version: Version,
    memory: PathBuf,
    /// None where processes are not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pids: Option<PathBuf>,
    /// None where the processors' time is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<PathBuf>,
}

impl Cgroup {
    pub(super) const fn v1(memory: PathBuf, pids: Option<PathBuf>, cpu: Option<PathBuf>) -> Self {
        Self { version: Version::V1, memory, pids, cpu }
    }

    pub(super) const fn v2(memory: PathBuf, pids: Option<PathBuf>, cpu: Option<PathBuf>) -> Self {
        Self { version: Version::V2, memory, pids, cpu }
    }

    pub(super) fn only_memory(&self) -> Self {
        Self { pids: None, cpu: None, ..self.clone() }
    }

    /// This one, with a controller as another one has it.
    pub(super) fn with(&self, controller: Controller, other: &Self) -> Self {
        let mut with = self.clone();
        match controller {
            Controller::Memory => with.memory.clone_from(&other.memory),
            Controller::Pids => with.pids.clone_from(&other.pids),
            Controller::Cpu => with.cpu.clone_from(&other.cpu),
        }
        with
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// The directory that accounts for its memory.
    pub(in crate::local) fn directory(&self) -> &Path {
        &self.memory
    }

    pub(super) fn controllers(&self) -> Vec<Controller> {
        let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
        all.into_iter().filter(|controller| self.of(*controller).is_some()).collect()
    }

    fn of(&self, controller: Controller) -> Option<&Path> {
        match controller {
            Controller::Memory => Some(&self.memory),
            Controller::Pids => self.pids.as_deref(),
            Controller::Cpu => self.cpu.as_deref(),
        }
    }

    /// Its directories, each once.
    fn directories(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = Vec::new();
        for directory in [Some(&self.memory), self.pids.as_ref(), self.cpu.as_ref()].into_iter().flatten() {
            if !all.contains(&directory.as_path()) {
                all.push(directory);
            }
        }
        all
    }

    pub(super) fn child(&self, name: &str) -> Self {
        let below = |directory: &PathBuf| directory.join(name);
        Self {
            version: self.version,
            memory: below(&self.memory),
            pids: self.pids.as_ref().map(below),
            cpu: self.cpu.as_ref().map(below),
        }
    }

    /// The children whose names begin with a prefix, in whichever hierarchy they are.
    pub(super) fn children(&self, prefix: &str) -> Vec<Self> {
        let mut names: Vec<String> = self
            .directories()
            .into_iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort_unstable();
        names.dedup();
        names.iter().map(|name| self.child(name)).collect()
    }

    /// Makes it, with limits.
    pub(in crate::local) fn make(&self, limits: &Limits) -> io::Result<()> {
        for directory in self.directories() {
            match fs::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        for setting in limits::settings(self.version, limits) {
            let Some(directory) = self.of(setting.controller) else { continue };
            let Err(error) = write(&directory.join(setting.file), &setting.value) else { continue };
            let lacks =
                [Some(Errno::ENOENT as i32), Some(Errno::EOPNOTSUPP as i32)].contains(&error.raw_os_error());
            // Version 1 refuses more of the processors than the parent has, and that limit holds anyway.
            let held_above =
                setting.controller == Controller::Cpu && error.raw_os_error() == Some(Errno::EINVAL as i32);
            if !(setting.optional && lacks || held_above) {
                let message = format!("{}: {error}", setting.file);
                return Err(io::Error::new(error.kind(), message));
            }
        }
        Ok(())
    }

    /// The files through which a process enters it, by writing 0.
    pub(in crate::local) fn doors(&self) -> Vec<PathBuf> {
        self.directories().into_iter().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// The most memory that was in use at any time, the files that the kernel remembered for the job
    /// included, if the kernel keeps it.
    pub(in crate::local) fn peak_bytes(&self) -> Option<u64> {
        self.figure(limits::peak_file(self.version))
    }

    /// The memory in use now.
    pub(in crate::local) fn used_bytes(&self) -> Option<u64> {
        self.figure(limits::used_file(self.version))
    }

    fn figure(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.memory.join(file)).ok()?.trim().parse().ok()
    }

    /// Whether the kernel ended a process of it because memory had run out.
    pub(in crate::local) fn ran_out_of_memory(&self) -> bool {
        let text = fs::read_to_string(self.memory.join(limits::events_file(self.version)));
        text.ok().and_then(|text| limits::field(&text, "oom_kill")).is_some_and(|killed| killed > 0)
    }

    /// Whether a job of it that ran out of memory had met this limit; so it is where no peak is known.
    pub(in crate::local) fn met_limit(&self, limit_bytes: u64) -> bool {
        self.peak_bytes().is_none_or(|peak| limits::met(limit_bytes, peak))
    }

    /// The processes in it and below it, as far as this process can see them, never itself.
    fn processes(&self) -> Vec<i32> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut all = Vec::new();
        for directory in self.directories().into_iter().flat_map(tree) {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            all.extend(limits::processes(&text).filter(|pid| *pid != own));
        }
        all
    }

    /// Ends every process of it and waits a moment for them to be gone.
    pub(in crate::local) fn end(&self) {
        for _ in 0..LOOKS {
            if self.kill() == 0 {
                return;
            }
            sleep(BETWEEN_LOOKS);
        }
    }

    /// Kills every process of it and says how many there were. They cannot start others any more.
    pub(in crate::local) fn kill(&self) -> usize {
        let at_once = self.version == Version::V2 && write(&self.memory.join("cgroup.kill"), "1").is_ok();
        if !at_once && let Some(pids) = &self.pids {
            let _sealed = write(&pids.join("pids.max"), "0");
        }
        let left = self.processes();
        for pid in &left {
            let _may_be_gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left.len()
    }

    /// Removes it; fails while anything is in it. That it is gone already is fine.
    pub(in crate::local) fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for directory in self.directories().into_iter().flat_map(tree) {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
                _ => {}
            }
        }
        result
    }
}

/// A directory and those below it, the deepest first.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    let mut next = 0;
    while next < all.len() && all.len() < MOST_BELOW {
        let below = fs::read_dir(&all[next]).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        all.extend(below.map(|entry| entry.path()));
        next += 1;
    }
    all.reverse();
    all
}

/// Writes to a file of the cgroup file system, in one piece and without making it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::File::options().write(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: Some(1 << 20), processes: 5, cores: 2 };

    /// Version 2 as plain files, with the given files in the job's directory.
    fn job(root: &Path, files: &[(&str, &str)]) -> Cgroup {
        let here = root.to_owned();
        let job = Cgroup::v2(here.clone(), Some(here.clone()), Some(here)).child("job");
        fs::create_dir_all(&job.memory).unwrap();
        for (file, text) in files {
            fs::write(job.memory.join(file), text).unwrap();
        }
        job
    }

    #[test]
    fn limits_are_written_and_what_old_kernels_lack_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let made = job(root.path(), &[("memory.max", ""), ("pids.max", ""), ("cpu.max", "")]);
        made.make(&LIMITS).unwrap();
        let read = |file: &str| fs::read_to_string(made.memory.join(file)).unwrap();
        assert_eq!(
            [read("memory.max"), read("pids.max"), read("cpu.max")],
            ["1048576", "5", "200000 100000"]
        );
        assert_eq!(made.doors(), [made.memory.join("cgroup.procs")], "one directory, one door");
    }

    #[test]
    fn a_limit_that_cannot_be_set_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = job(root.path(), &[("memory.max", "")]).make(&LIMITS).unwrap_err();
        assert!(error.to_string().starts_with("pids.max: "), "{error}");
    }

    #[test]
    fn figures_of_a_job() {
        let root = tempfile::tempdir().unwrap();
        let events = "max 3\noom 1\noom_kill 1\n";
        let files = [("memory.peak", "4096\n"), ("memory.current", "1\n"), ("memory.events", events)];
        let full = job(root.path(), &files);
        assert_eq!((full.peak_bytes(), full.used_bytes()), (Some(4096), Some(1)));
        assert!(full.ran_out_of_memory());
        let root = tempfile::tempdir().unwrap();
        let old = job(root.path(), &[("memory.current", "17\n"), ("memory.events", "garbage")]);
        assert_eq!((old.peak_bytes(), old.used_bytes()), (None, Some(17)));
        assert!(!old.ran_out_of_memory());
        let root = tempfile::tempdir().unwrap();
        let nothing = job(root.path(), &[]);
        assert_eq!((nothing.used_bytes(), nothing.ran_out_of_memory()), (None, false));
    }

    #[test]
    fn what_a_job_made_below_is_removed_with_it() {
        let root = tempfile::tempdir().unwrap();
        let made = job(root.path(), &[]);
        fs::create_dir_all(made.memory.join("a/b")).unwrap();
        made.remove().unwrap();
        assert!(!made.memory.exists());
        made.remove().unwrap();
    }
}
