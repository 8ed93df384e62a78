//! Recorded trees of `/proc` and `/sys` in which one file is broken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use secretary::real::cpu::{read_cpu, read_numa};
use secretary::real::gpu::{parts, read_gpus};
use secretary::real::host::Tree;
use secretary::real::links::read_links;
use secretary::real::memory::read_memory;
use secretary::real::mounts;

use crate::mutation::mutated;
use crate::replay::recording;
use crate::support::tree;

const MACHINES: [&str; 3] = ["two-sockets", "arm-container", "two-mi250"];

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

/// A file of a recorded tree and broken contents for it.
fn broken_file() -> impl Strategy<Value = (&'static str, PathBuf, Vec<u8>)> {
    let mut all: Vec<(&'static str, PathBuf)> = Vec::new();
    for machine in MACHINES {
        let root = tree(machine);
        let mut files = Vec::new();
        files_below(&root, &mut files);
        files.sort();
        all.extend(files.into_iter().map(|file| (machine, file.strip_prefix(&root).unwrap().to_owned())));
    }
    prop::sample::select(all).prop_flat_map(|(machine, file)| {
        let contents = recording(&format!("{machine}/{}", file.display()));
        (Just(machine), Just(file), mutated(vec![contents]))
    })
}

/// A copy of a recorded tree, in which links stand for the files.
fn copy(machine: &str) -> tempfile::TempDir {
    let root = tree(machine);
    let copy = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    files_below(&root, &mut files);
    for file in files {
        let path = copy.path().join(file.strip_prefix(&root).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&file, path).unwrap();
    }
    copy
}

/// The copies, made once; only one test uses them.
static COPIES: LazyLock<BTreeMap<&str, tempfile::TempDir>> =
    LazyLock::new(|| MACHINES.into_iter().map(|machine| (machine, copy(machine))).collect());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_broken_file_breaks_no_reader((machine, file, contents) in broken_file()) {
        let copy = COPIES[machine].path();
        let path = copy.join(&file);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &contents).unwrap();
        let mut tree = Tree::new(copy);
        if let Ok(cpu) = read_cpu(&mut tree) {
            prop_assert!(cpu.cores_usable >= 1 && cpu.cores_usable <= cpu.cores_logical, "{cpu:?}");
        }
        if let Ok(memory) = read_memory(&mut tree) {
            prop_assert!(memory.usable_gib <= memory.total_gib, "{memory:?}");
        }
        for node in read_numa(&mut tree) {
            prop_assert!(node.memory_gib.is_none_or(|size| size.get() >= 0.0), "{node:?}");
        }
        for vendor in ["nvidia", "amd"] {
            let reading = read_gpus(&mut tree, vendor);
            for gpu in &reading.gpus {
                prop_assert!(gpu.memory_free_gib.is_none() || gpu.memory_free_gib <= gpu.memory_gib, "{gpu:?}");
            }
            for part in parts(&reading, None) {
                prop_assert!(part.free.is_none_or(|free| free <= part.count), "{part:?}");
            }
        }
        for kind in ["ethernet", "infiniband", "omni-path"] {
            for link in read_links(&mut tree, kind) {
                prop_assert!(link.gbps.is_none_or(|gbps| gbps.get() > 0.0), "{link:?}");
            }
        }
        let table = tree.text("proc/self/mountinfo").unwrap_or_default();
        let paths: Vec<String> = mounts::parse(&table, 64).into_iter().map(|mount| mount.path).collect();
        let mut unique = paths.clone();
        unique.dedup();
        prop_assert_eq!(paths, unique);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(crate::support::tree(machine).join(&file), &path).unwrap();
    }
}
