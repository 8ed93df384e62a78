//! What a cgroup lets a job have, in the words of each version of the interface, and what its files say
//! of the job. Pure functions.

use serde::{Deserialize, Serialize};

/// The period in which a share of the processors is counted; the kernel's own default.
const PERIOD_MICROSECONDS: u64 = 100_000;

/// The version of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Version {
    V1,
    V2,
}

/// A part of the kernel that holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// What one job may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: Option<u64>,
    /// Processes and threads.
    pub(crate) processes: u32,
    pub(crate) cores: u32,
}

/// One file and what is written to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: Controller,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether the limit holds without it as well, on kernels that lack the file.
    pub(super) optional: bool,
}

/// The limits as files, in the order in which they have to be written.
pub(super) fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let set = |controller, file, value: String| Setting { controller, file, value, optional: false };
    let may = |controller, file, value: String| Setting { controller, file, value, optional: true };
    let (memory, pids, cpu) = (Controller::Memory, Controller::Pids, Controller::Cpu);
    let quota = PERIOD_MICROSECONDS * u64::from(limits.cores.max(1));
    let mut settings = Vec::new();
    match version {
        Version::V2 => {
            if let Some(bytes) = limits.memory_bytes {
                settings.push(set(memory, "memory.max", bytes.to_string()));
                settings.push(may(memory, "memory.swap.max", "0".to_owned()));
            }
            // A job that lost one of its processes is of no use; the kernel ends all of it at once.
            settings.push(may(memory, "memory.oom.group", "1".to_owned()));
            settings.push(set(pids, "pids.max", limits.processes.to_string()));
            settings.push(set(cpu, "cpu.max", format!("{quota} {PERIOD_MICROSECONDS}")));
        }
        Version::V1 => {
            if let Some(bytes) = limits.memory_bytes {
                settings.push(set(memory, "memory.limit_in_bytes", bytes.to_string()));
                // Memory and swap together may not be less than memory, so this comes second.
                settings.push(may(memory, "memory.memsw.limit_in_bytes", bytes.to_string()));
            }
            settings.push(set(pids, "pids.max", limits.processes.to_string()));
            settings.push(set(cpu, "cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string()));
            settings.push(set(cpu, "cpu.cfs_quota_us", quota.to_string()));
        }
    }
    settings
}

/// The file that tells the most memory that was in use; version 2 has it since Linux 5.19.
pub(super) const fn peak_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.max_usage_in_bytes",
        Version::V2 => "memory.peak",
    }
}

/// The file that tells the memory in use now.
pub(super) const fn used_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.usage_in_bytes",
        Version::V2 => "memory.current",
    }
}

/// The file that counts the processes which the kernel ended because memory had run out.
pub(super) const fn events_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }
}

/// Whether a job with this limit, out of memory at this peak, met its own limit, and not one above it or
/// the end of the machine's memory. The kernel hands memory out in portions and so stops a little below.
pub(super) const fn met(limit_bytes: u64, peak_bytes: u64) -> bool {
    const PORTION: u64 = 1 << 20;
    peak_bytes.saturating_add(limit_bytes / 10).saturating_add(PORTION) >= limit_bytes
}

/// `name number` lines: the number of one name.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The processes in a `cgroup.procs`. Those of another process namespace stand there as 0.
pub(super) fn processes(text: &str) -> impl Iterator<Item = i32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: Some(209_715_200), processes: 512, cores: 3 };

    fn written(version: Version, limits: &Limits) -> Vec<String> {
        settings(version, limits)
            .iter()
            .map(|setting| format!("{}={}", setting.file, setting.value))
            .collect()
    }

    #[test]
    fn limits_in_both_versions() {
        assert_eq!(
            written(Version::V2, &LIMITS),
            [
                "memory.max=209715200",
                "memory.swap.max=0",
                "memory.oom.group=1",
                "pids.max=512",
                "cpu.max=300000 100000"
            ]
        );
        assert_eq!(
            written(Version::V1, &LIMITS),
            [
                "memory.limit_in_bytes=209715200",
                "memory.memsw.limit_in_bytes=209715200",
                "pids.max=512",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=300000"
            ]
        );
    }

    #[test]
    fn a_job_without_a_memory_limit_gets_none() {
        let free = Limits { memory_bytes: None, ..LIMITS };
        for version in [Version::V1, Version::V2] {
            assert!(
                written(version, &free).iter().all(|line| !line.contains("limit") && !line.contains("max=0"))
            );
        }
    }

    #[test]
    fn the_jobs_own_limit_is_told_from_others() {
        assert!(met(1 << 30, 1 << 30) && met(1 << 20, 0) && !met(1 << 30, 1 << 29));
    }

    #[test]
    fn figures_are_read_by_name() {
        let events = "low 0\nhigh 0\nmax 58\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(field(events, "oom_kill"), Some(3));
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill"), Some(1));
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
        assert_eq!(field("oom_kill x\n", "oom_kill"), None);
        assert_eq!(processes("0\n1\n77\n-3\nx\n78").collect::<Vec<_>>(), [77, 78]);
    }
}
