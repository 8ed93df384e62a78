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
                    let memory = tree.text(&format!("{mount}{group}/memory.max"));
                    limits.memory_bytes = least(limits.memory_bytes, memory.as_deref().and_then(bytes));
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
                let memory = tree.text(&format!("sys/fs/cgroup/memory{group}/memory.limit_in_bytes"));
                limits.memory_bytes = least(limits.memory_bytes, memory.as_deref().and_then(bytes));
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
