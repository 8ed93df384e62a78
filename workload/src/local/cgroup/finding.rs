//! Where this process's cgroups are: its memberships (`/proc/self/cgroup`) laid over what is mounted
//! (`/proc/self/mountinfo`). Pure functions from the two texts to directories.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The directories of the cgroups that a process is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memberships {
    /// In the one hierarchy of version 2.
    pub(super) v2: Option<PathBuf>,
    /// In the hierarchies of version 1, by controller.
    pub(super) v1: BTreeMap<String, PathBuf>,
}

/// A mount of cgroups: the part of the hierarchy that it shows, and where.
struct Mount {
    root: PathBuf,
    point: PathBuf,
    /// None for version 2.
    controllers: Option<Vec<String>>,
}

/// Reads both texts. What is not understood is passed over: a missing directory is an ordinary answer.
pub(super) fn memberships(cgroup: &str, mountinfo: &str) -> Memberships {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    let mut found = Memberships::default();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            let unified = mounts.iter().filter(|mount| mount.controllers.is_none());
            found.v2 = unified.filter_map(|mount| mount.directory_of(path)).next();
            continue;
        }
        for controller in controllers.split(',') {
            let shows = |mount: &&Mount| {
                mount.controllers.as_ref().is_some_and(|list| list.iter().any(|name| name == controller))
            };
            if let Some(directory) = mounts.iter().filter(shows).find_map(|mount| mount.directory_of(path)) {
                found.v1.insert(controller.to_owned(), directory);
            }
        }
    }
    found
}

impl Mount {
    /// The directory of a cgroup, if the mount shows it. A container sees a part of the hierarchy only.
    fn directory_of(&self, cgroup: &str) -> Option<PathBuf> {
        let below = Path::new(cgroup).strip_prefix(&self.root).ok()?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        // `join` with nothing would add a slash at the end.
        let directory =
            if below.as_os_str().is_empty() { self.point.clone() } else { self.point.join(below) };
        plain.then_some(directory)
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue` (proc(5)).
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (unescaped(place.next()?), unescaped(place.next()?));
    let mut kind = kind.split(' ');
    let controllers = match kind.next()? {
        "cgroup2" => None,
        "cgroup" => Some(kind.nth(1)?.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Mount { root, point, controllers })
}

/// Spaces, tabs, line ends and backslashes stand in mountinfo as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if code.is_ascii() => {
                result.push(char::from(code));
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                result.push('\\');
                rest = after;
            }
        }
    }
    result.push_str(rest);
    PathBuf::from(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn both_generations_side_by_side() {
        let cgroup =
            "9:name=systemd:/\n4:memory:/jobs/a:b\n2:cpu,cpuacct:/\n1:pids:/\n0::/jobs/a:b\nnonsense\n";
        let found = memberships(cgroup, HYBRID);
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified/jobs/a:b")));
        assert_eq!(found.v1["memory"], Path::new("/sys/fs/cgroup/memory/jobs/a:b"));
        assert_eq!(found.v1["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(!found.v1.contains_key("pids"), "it is not mounted");
    }

    #[test]
    fn a_container_sees_its_part_of_the_hierarchy() {
        let mounts = "1 2 0:3 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = memberships("4:memory:/docker/abc/inner\n", mounts);
        assert_eq!(found.v1["memory"], Path::new("/sys/fs/cgroup/memory/inner"));
        assert_eq!(memberships("4:memory:/docker/other\n", mounts), Memberships::default());
        // Outside of the cgroup namespace.
        let root = "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(memberships("0::/../../system.slice\n", root), Memberships::default());
    }

    #[test]
    fn spaces_in_paths_are_read_back() {
        let mounts = "1 2 0:3 / /my\\040cgroups\\x rw - cgroup2 cgroup rw\n";
        assert_eq!(memberships("0::/a\n", mounts).v2, Some(PathBuf::from("/my cgroups\\x/a")));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(at in 0usize..400, text in "[\\PC\\n\\\\ ]{0,40}", cgroup in "\\PC{0,60}") {
            let mut mounts: Vec<char> = HYBRID.chars().collect();
            let at = at.min(mounts.len());
            mounts.splice(at..(at + text.len() / 2).min(mounts.len()), text.chars());
            let mounts: String = mounts.into_iter().collect();
            memberships(&cgroup, &mounts);
            memberships("4:memory:/jobs\n0::/jobs\n", &mounts);
        }
    }
}
