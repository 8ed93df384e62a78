//! What a control group lets this process use. Both generations are read, and every group from the
//! process's own up to the root: the smallest limit holds.

use serde::{Deserialize, Serialize};

use super::host::Tree;

/// A limit that is larger than this is how version 1 says "none".
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// The limits in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of that memory that nobody in the group uses. What the kernel would give back at once, the
    /// files that it remembers, does not count as used.
    pub memory_free_bytes: Option<u64>,
}

/// A path and its parents down to the root, which is the empty text.
fn upwards(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    std::iter::successors(Some(path), |path| path.rfind('/').map(|at| &path[..at]))
}

fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next().map_or(Some(100_000.0), |word| word.parse().ok())?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes < NO_LIMIT_BYTES)
}

/// The files in which one generation of control groups tells about memory.
struct MemoryFiles {
    limit: &'static str,
    used: &'static str,
    given_back: &'static str,
}

const MEMORY_V1: MemoryFiles = MemoryFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    given_back: "total_inactive_file",
};
const MEMORY_V2: MemoryFiles =
    MemoryFiles { limit: "memory.max", used: "memory.current", given_back: "inactive_file" };

impl Limits {
    fn add_memory(&mut self, tree: &mut Tree, group: &str, files: &MemoryFiles) {
        let limit = tree.text(&format!("{group}/{}", files.limit));
        let Some(limit) = limit.as_deref().and_then(bytes) else { return };
        self.memory_bytes = least(self.memory_bytes, Some(limit));
        let used = tree.text(&format!("{group}/{}", files.used)).and_then(|text| text.parse::<u64>().ok());
        let Some(used) = used else { return };
        let stat = tree.text(&format!("{group}/memory.stat")).unwrap_or_default();
        let given_back = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            if name == files.given_back { value.trim().parse::<u64>().ok() } else { None }
        });
        let held = used.saturating_sub(given_back.unwrap_or(0));
        self.memory_free_bytes = least(self.memory_free_bytes, Some(limit.saturating_sub(held)));
    }
}

/// Reads the limits of this process.
pub fn limits(tree: &mut Tree) -> Limits {
    let mut limits = Limits::default();
    let Some(groups) = tree.text("proc/self/cgroup") else { return limits };
    for line in groups.lines().take(64) {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        // The path comes from the kernel; a `..` in it stands for a group outside our own view.
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        let names: Vec<&str> = controllers.split(',').collect();
        for group in upwards(path).take(64) {
            if controllers.is_empty() {
                for mount in ["sys/fs/cgroup", "sys/fs/cgroup/unified"] {
                    let cpu = tree.text(&format!("{mount}{group}/cpu.max"));
                    limits.cpus = least(limits.cpus, cpu.as_deref().and_then(quota));
                    limits.add_memory(tree, &format!("{mount}{group}"), &MEMORY_V2);
                }
            }
            if names.contains(&"cpu") {
                for mount in ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"] {
                    let quota_us = tree.number(&format!("{mount}{group}/cpu.cfs_quota_us"));
                    let period_us = tree.number(&format!("{mount}{group}/cpu.cfs_period_us"));
                    let both = quota_us.zip(period_us).and_then(|(q, p)| quota(&format!("{q} {p}")));
                    limits.cpus = least(limits.cpus, both);
                }
            }
            if names.contains(&"memory") {
                limits.add_memory(tree, &format!("sys/fs/cgroup/memory{group}"), &MEMORY_V1);
            }
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_walked_up_to_the_root() {
        assert_eq!(upwards("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", ""]);
        assert_eq!(upwards("/").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn quotas() {
        assert_eq!(quota("150000 100000"), Some(1.5));
        assert_eq!(quota("max 100000"), None);
        assert_eq!(quota("-1 100000"), None);
        assert_eq!(quota("100000 0"), None);
        assert_eq!(bytes("9223372036854771712"), None);
        assert_eq!(bytes("max"), None);
    }
}
