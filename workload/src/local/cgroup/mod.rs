//! A cgroup for each job, where this process may make one: the kernel holds the job's limits and knows
//! every process of it, whatever group or session that process went to.
//!
//! ```text
//! /proc/self/{cgroup,mountinfo} --finding--> own directory --trial--> Cgroups, or why not
//! Cgroups::of_job -> Cgroup (to the journal) -> make -> [the job enters, runs] -> end -> remove
//! ```
//!
//! The cgroup of a job is a child of the cgroup that this process was started in, named
//! `parley-<state directory>-<job>.<attempt>`, so that two workers never touch each other's.
//!
//! In version 2 a cgroup that has children with limits holds no processes itself. A process that finds
//! itself alone in its cgroup therefore moves on into the child [`ASIDE`].

mod directory;
mod finding;
mod limits;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use protocol::ids::Digest;
use serde::Serialize;

pub(super) use self::directory::Cgroup;
pub(super) use self::limits::Limits;
use self::limits::{Controller, Version};
use super::process;
use crate::read::NativeId;

/// Where this process goes so that its cgroup may have children with limits.
const ASIDE: &str = "parley-worker";

/// What keeps a job within its limits and finds all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Containment {
    /// A cgroup of version 2 for each job.
    CgroupV2 {
        /// The limits that the kernel holds: `memory`, and `pids` and `cpu` where they could be had.
        limits: Vec<&'static str>,
    },
    /// A cgroup of version 1 for each job, in the hierarchy of each limit.
    CgroupV1 {
        /// The limits that the kernel holds.
        limits: Vec<&'static str>,
    },
    /// A process group for each job, whose memory is sampled.
    ProcessGroup {
        /// Why jobs have no cgroups.
        reason: String,
    },
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CgroupV2 { limits } => write!(f, "cgroups of version 2 that limit {}", limits.join(", ")),
            Self::CgroupV1 { limits } => write!(f, "cgroups of version 1 that limit {}", limits.join(", ")),
            Self::ProcessGroup { reason } => {
                write!(f, "process groups whose memory is sampled, as jobs cannot have cgroups: {reason}")
            }
        }
    }
}

/// Why jobs cannot have cgroups.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("the options say so")]
    Off,
    #[error("there is no /bin/sh that a job could enter one through")]
    NoShell,
    #[error("cannot read {}: {source}", path.display())]
    Unread { path: PathBuf, source: io::Error },
    #[error("no cgroups are mounted that limit memory")]
    NotMounted,
    #[error("the memory controller is not available below {}", .0.display())]
    NoMemory(PathBuf),
    #[error("other processes share the cgroup {}; start the worker as a service with Delegate=yes", .0.display())]
    Shared(PathBuf),
    #[error("cannot use {}: {source}", path.display())]
    Denied { path: PathBuf, source: io::Error },
}

impl Unavailable {
    fn denied(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Denied { path, source }
    }
}

/// The cgroups of this machine's jobs.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// Their parent.
    base: Cgroup,
    /// What the name of each begins with.
    prefix: String,
}

impl Cgroups {
    /// Finds the cgroup of this process, from its directory under `/proc`, and tries whether it may have
    /// children with limits.
    pub(super) fn open(process: &Path, state_directory: &Path) -> Result<Self, Unavailable> {
        let read = |name: &str| {
            let path = process.join(name);
            fs::read_to_string(&path).map_err(|source| Unavailable::Unread { path, source })
        };
        let found = finding::memberships(&read("cgroup")?, &read("mountinfo")?);
        let prefix = format!("parley-{}-", identity(state_directory));
        let v2 = found.v2.ok_or(Unavailable::NotMounted).and_then(|own| {
            let base = delegated(&own)?;
            trial(base, &prefix)
        });
        let v1 = |v2: Unavailable| match found.v1.get("memory") {
            None => Err(v2),
            Some(memory) => {
                let directory = |name: &str| found.v1.get(name).cloned();
                trial(Cgroup::v1(memory.clone(), directory("pids"), directory("cpu")), &prefix)
            }
        };
        Ok(Self { base: v2.or_else(v1)?, prefix })
    }

    /// The cgroup of a job. Nothing is made yet.
    pub(super) fn of_job(&self, native: &NativeId) -> Cgroup {
        self.base.child(&format!("{}{native}", self.prefix))
    }

    /// What earlier agents on this state directory left, the cgroups of jobs that still run included.
    pub(super) fn left_behind(&self) -> Vec<Cgroup> {
        self.base.children(&self.prefix)
    }

    pub(super) fn containment(&self) -> Containment {
        let limits = self.base.controllers().into_iter().map(Controller::name).collect();
        match self.base.version() {
            Version::V2 => Containment::CgroupV2 { limits },
            Version::V1 => Containment::CgroupV1 { limits },
        }
    }
}

/// Tells the state directories of a machine apart, also those of containers that have the same path.
fn identity(state_directory: &Path) -> String {
    let path = state_directory.canonicalize().unwrap_or_else(|_| state_directory.to_owned());
    let place = fs::metadata(&path).map_or((0, 0), |meta| (meta.dev(), meta.ino()));
    let digest = Digest::of(format!("{} {place:?}", path.display()).as_bytes());
    digest.as_str().trim_start_matches("sha256:").chars().take(12).collect()
}

/// Makes a cgroup, limits it, has a process enter it and removes it. Without memory nothing else is worth
/// it; the other limits are held where they can be.
fn trial(base: Cgroup, prefix: &str) -> Result<Cgroup, Unavailable> {
    let limits = Limits { memory_bytes: Some(1 << 28), processes: 16, cores: 1 };
    let attempt = |parent: &Cgroup| {
        let child = parent.child(&format!("{prefix}trial"));
        let entered = child.make(&limits).and_then(|()| process::try_doors(&child.doors()));
        child.end();
        child.remove().and(entered)
    };
    let mut usable = base.only_memory();
    attempt(&usable).map_err(Unavailable::denied(usable.directory()))?;
    for controller in base.controllers().into_iter().filter(|other| *other != Controller::Memory) {
        let with = usable.with(controller, &base);
        match attempt(&with) {
            Ok(()) => usable = with,
            Err(error) => {
                tracing::info!(%error, controller = controller.name(), "jobs are not limited in this")
            }
        }
    }
    Ok(usable)
}

/// The cgroup of version 2 whose children get limits: this process's own, out of which it steps if it
/// has to.
fn delegated(own: &Path) -> Result<Cgroup, Unavailable> {
    let stepped_aside = own.file_name().is_some_and(|name| name == ASIDE);
    let base = own.parent().filter(|_| stepped_aside).unwrap_or(own);
    let words = |file: &str| {
        let path = base.join(file);
        let text = fs::read_to_string(&path).map_err(Unavailable::denied(path))?;
        Ok(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let offered = words("cgroup.controllers")?;
    if !offered.iter().any(|name| name == Controller::Memory.name()) {
        return Err(Unavailable::NoMemory(base.to_owned()));
    }
    let enabled = words("cgroup.subtree_control")?;
    let mut has = Vec::new();
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
        let named = |list: &[String]| list.iter().any(|name| name == controller.name());
        if named(&enabled) {
            has.push(controller);
        } else if named(&offered) {
            match enable(base, controller) {
                Ok(()) => has.push(controller),
                Err(error) if controller == Controller::Memory => return Err(error),
                Err(error) => {
                    tracing::info!(%error, controller = controller.name(), "jobs are not limited in this");
                }
            }
        }
    }
    let with = |controller| has.contains(&controller).then(|| base.to_owned());
    Ok(Cgroup::v2(base.to_owned(), with(Controller::Pids), with(Controller::Cpu)))
}

/// Gives the children of a cgroup a controller, and steps aside if that is what it takes.
fn enable(base: &Path, controller: Controller) -> Result<(), Unavailable> {
    let control = base.join("cgroup.subtree_control");
    let word = format!("+{}", controller.name());
    let busy = |error: &io::Error| error.raw_os_error() == Some(Errno::EBUSY as i32);
    match directory::write(&control, &word) {
        Err(error) if busy(&error) => {}
        other => return other.map_err(Unavailable::denied(control)),
    }
    let aside = base.join(ASIDE);
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Unavailable::Denied { path: aside, source: error });
        }
        _ => {}
    }
    // 0 is the process that writes, with all its threads.
    directory::write(&aside.join("cgroup.procs"), "0").map_err(|error| {
        let _stays_if_others_are_in_it = fs::remove_dir(&aside);
        Unavailable::Denied { path: aside.clone(), source: error }
    })?;
    directory::write(&control, &word).map_err(|error| {
        let back = directory::write(&base.join("cgroup.procs"), "0").and_then(|()| fs::remove_dir(&aside));
        if let Err(error) = back {
            tracing::warn!(%error, "cannot go back into the cgroup that this process came from");
        }
        if busy(&error) {
            Unavailable::Shared(base.to_owned())
        } else {
            Unavailable::Denied { path: control, source: error }
        }
    })
}
