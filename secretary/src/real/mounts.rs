//! The mount table, `/proc/self/mountinfo`, reduced to file systems that could hold a job's data.

use std::collections::BTreeMap;
use std::path::Path;

/// One file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub path: String,
    /// The kernel's name of the file system's type.
    pub kernel_type: String,
    /// The kind that people ask for.
    pub kind: &'static str,
    /// What is mounted: a device, a server and its export.
    pub source: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// The kind of a file system by the kernel's name of its type; `None` for those that hold no data.
#[must_use]
pub fn kind_of(kernel_type: &str) -> Option<&'static str> {
    Some(match kernel_type {
        "nfs" | "nfs3" | "nfs4" => "nfs",
        "cifs" | "smb3" | "smbfs" => "cifs",
        "lustre" => "lustre",
        "beegfs" => "beegfs",
        "gpfs" | "mmfs" => "gpfs",
        "ceph" | "fuse.ceph" | "fuse.ceph-fuse" => "ceph",
        "glusterfs" | "fuse.glusterfs" => "glusterfs",
        "fuse.s3fs" | "fuse.goofys" | "fuse.mount-s3" | "fuse.geesefs" => "s3",
        "xfs" | "ext2" | "ext3" | "ext4" | "btrfs" | "zfs" | "f2fs" | "jfs" | "bcachefs" | "overlay" => {
            "local-scratch"
        }
        _ => return None,
    })
}

/// Whether a kind is reached over a network, where a look at it may hang.
#[must_use]
pub fn is_remote(kind: &str) -> bool {
    kind != "local-scratch"
}

/// Kernel types that are reached over a network besides those of [`kind_of`]; software lies on them.
const SHARED: [&str; 9] =
    ["9p", "afs", "fuse.cvmfs2", "fuse.sshfs", "orangefs", "panfs", "pvfs2", "virtiofs", "wekafs"];

/// Whether a path is on a file system that is reached over a network: that of the longest mount point
/// above it, the last one where several are mounted there.
#[must_use]
pub fn is_shared(mountinfo: &str, path: &Path) -> bool {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mount_point = unescape(front.split(' ').nth(4)?);
        let above = path.starts_with(&mount_point);
        above.then(|| (mount_point.len(), back.split(' ').next().unwrap_or_default()))
    });
    let kernel_type = mounts.max_by_key(|(length, _)| *length).map(|(_, kernel_type)| kernel_type);
    kernel_type.is_some_and(|name| SHARED.contains(&name) || kind_of(name).is_some_and(is_remote))
}

/// Undoes `\040`-style escapes.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\').and_then(|digits| {
            digits.iter().try_fold(0_u16, |sum, digit| {
                (b'0'..=b'7').contains(digit).then(|| sum * 8 + u16::from(digit - b'0'))
            })
        });
        match octal.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Mounts that belong to the system and are never used for work.
fn is_of_the_system(path: &str) -> bool {
    ["/boot", "/efi", "/snap", "/var/lib/docker", "/var/lib/containers", "/var/lib/kubelet", "/proc", "/sys"]
        .iter()
        .any(|system| path == *system || path.strip_prefix(system).is_some_and(|rest| rest.starts_with('/')))
}

/// The file systems of a mount table, each once, under its shortest path, at most `limit` of them.
#[must_use]
pub fn parse(mountinfo: &str, limit: usize) -> Vec<Mount> {
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for line in mountinfo.lines() {
        // id parent major:minor root mount-point options [optional fields] - type source super-options
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let front: Vec<&str> = front.split(' ').collect();
        let mut back = back.split(' ');
        let (Some(device), Some(path), Some(options)) = (front.get(2), front.get(4), front.get(5)) else {
            continue;
        };
        let (Some(kernel_type), Some(source)) = (back.next(), back.next()) else { continue };
        let Some(kind) = kind_of(kernel_type) else { continue };
        let path = unescape(path);
        if is_of_the_system(&path) || (kernel_type == "overlay" && path != "/") {
            continue;
        }
        let super_options = back.next().unwrap_or_default();
        let read_only = options.split(',').chain(super_options.split(',')).any(|option| option == "ro");
        let mount =
            Mount { path, kernel_type: kernel_type.to_owned(), kind, source: unescape(source), read_only };
        // Pools give their data sets devices of their own, and each bind mount has its source's device.
        match by_device.get_mut(*device) {
            Some(known) => {
                if mount.path.len() < known.path.len() {
                    *known = mount;
                }
            }
            None => {
                by_device.insert((*device).to_owned(), mount);
            }
        }
    }
    let mut mounts: Vec<Mount> = by_device.into_values().collect();
    // Later mounts may cover earlier ones at the same path; the kernel lists both, one is reachable.
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    mounts.dedup_by(|a, b| a.path == b.path);
    mounts.truncate(limit);
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"/mnt/my\040disk"), "/mnt/my disk");
        assert_eq!(unescape(r"a\134b\"), r"a\b\");
        assert_eq!(unescape(r"\777\04"), r"\777\04");
    }

    #[test]
    fn the_system_s_own_mounts_are_left_out() {
        assert!(is_of_the_system("/boot/efi"));
        assert!(!is_of_the_system("/bootleg"));
    }

    #[test]
    fn a_bind_mount_is_not_a_second_file_system() {
        let table = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     30 27 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda rw\n\
                     31 27 0:50 / /home rw,noatime shared:7 - nfs4 server:/home rw,vers=4.2\n\
                     32 27 0:51 / /sw ro - nfs4 server:/sw ro\n\
                     33 27 0:52 / /tmp rw - tmpfs tmpfs rw\n\
                     broken line\n";
        let mounts = parse(table, 100);
        let seen: Vec<_> = mounts.iter().map(|m| (m.path.as_str(), m.kind, m.read_only)).collect();
        assert_eq!(seen, [("/", "local-scratch", false), ("/home", "nfs", false), ("/sw", "nfs", true)]);
    }

    #[test]
    fn what_is_shared_is_told_by_the_nearest_mount_point() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:40 / /apps rw - nfs4 server:/apps rw\n\
                     31 30 8:2 / /apps/local rw - xfs /dev/sdb rw\n\
                     32 22 0:41 / /cvmfs/soft\\040ware rw - fuse cvmfs2 rw\n\
                     33 22 0:42 / /cvmfs/soft\\040ware rw - fuse.cvmfs2 cvmfs2 rw\n";
        for (path, expected) in [
            ("/usr/bin/conda", false),
            ("/apps/spack/bin/spack", true),
            ("/apps/local/spack", false),
            ("/applications", false),
            ("/cvmfs/soft ware/gcc", true),
        ] {
            assert_eq!(is_shared(table, Path::new(path)), expected, "{path}");
        }
        assert!(!is_shared("", Path::new("/apps")));
        assert!(!is_shared("damaged - \n - nfs4", Path::new("/apps")));
    }
}
