//! Every drawn value lies within the recipe of its archetype, whatever the seed.

use std::collections::BTreeSet;

use archetypes::{Archetype, Site};
use proptest::prelude::*;
use protocol::facts::Facts;

use crate::{sites, worker};

struct Bounds {
    nodes: (u32, u32),
    cores: (u32, u32),
    memory_gib: (f64, f64),
    gpus: u32,
    packages: (usize, usize),
    partitions: (usize, usize),
    storage_gb: (f64, f64),
    workload: &'static [&'static str],
    software: (usize, usize, &'static [&'static str]),
    storage: (usize, usize, &'static [&'static str]),
    container: (usize, usize, &'static [&'static str]),
    network: &'static [&'static str],
    parallel: (usize, usize, &'static [&'static str]),
}

/// The table of the specification, word for word.
fn bounds(archetype: Archetype) -> Bounds {
    match archetype {
        Archetype::Hpc => Bounds {
            nodes: (100, 10_000),
            cores: (32, 128),
            memory_gib: (128.0, 1_024.0),
            gpus: 8,
            packages: (50, 500),
            partitions: (3, 10),
            storage_gb: (10_000.0, 10_000_000.0),
            workload: &["slurm", "flux"],
            software: (1, 3, &["spack", "modules", "conda"]),
            storage: (1, 2, &["lustre", "nfs"]),
            container: (0, 2, &["singularity", "podman"]),
            network: &["infiniband", "omni-path"],
            parallel: (1, 2, &["mpich", "openmpi"]),
        },
        Archetype::Cloud => Bounds {
            nodes: (1, 500),
            cores: (2, 64),
            memory_gib: (4.0, 256.0),
            gpus: 4,
            packages: (10, 50),
            partitions: (1, 3),
            storage_gb: (10.0, 5_000.0),
            workload: &["kubernetes"],
            software: (1, 1, &["conda", "pip"]),
            storage: (1, 2, &["s3", "nfs"]),
            container: (0, 1, &["docker"]),
            network: &["ethernet"],
            parallel: (0, 0, &[]),
        },
        Archetype::Standalone => Bounds {
            nodes: (1, 1),
            cores: (4, 32),
            memory_gib: (8.0, 128.0),
            gpus: 1,
            packages: (20, 100),
            partitions: (0, 0),
            storage_gb: (100.0, 2_000.0),
            workload: &["machine"],
            software: (1, 2, &["conda", "pip"]),
            storage: (1, 1, &["local-scratch"]),
            container: (0, 2, &["docker", "singularity"]),
            network: &["ethernet"],
            parallel: (0, 0, &[]),
        },
    }
}

fn check_members<'a>((least, most, of): (usize, usize, &[&str]), names: impl IntoIterator<Item = &'a str>) {
    let names: Vec<&str> = names.into_iter().collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert!((least..=most).contains(&names.len()) && distinct.len() == names.len(), "{names:?}");
    assert!(names.iter().all(|name| of.contains(name)), "{names:?}");
}

fn check(site: &Site, facts: &Facts) {
    let bounds = bounds(site.archetype());
    let providers = site.providers();
    let groups = &facts.compute.as_ref().unwrap().groups;
    let static_nodes = providers["workload"].values().next().unwrap()["nodes"].as_u64().unwrap();
    assert!((u64::from(bounds.nodes.0)..=u64::from(bounds.nodes.1)).contains(&static_nodes));
    let in_service: u32 = groups.iter().map(|group| group.nodes).sum();
    assert!(in_service >= 1 && u64::from(in_service) <= static_nodes);
    for group in groups {
        assert!((bounds.cores.0..=bounds.cores.1).contains(&group.cores_per_node));
        assert!(
            (bounds.memory_gib.0..=bounds.memory_gib.1).contains(&group.memory_gib_per_node.unwrap().get())
        );
        assert!(group.gpus_per_node <= bounds.gpus);
        assert_eq!(group.gpus_per_node > 0, group.gpu_model.is_some());
        assert_eq!(group.gpus_per_node > 0, group.gpu_memory_gib.is_some());
        let (nodes, cores, gpus) =
            (group.nodes_free.unwrap(), group.cores_free.unwrap(), group.gpus_free.unwrap());
        assert!(nodes <= group.nodes);
        assert!((nodes * group.cores_per_node..=group.nodes * group.cores_per_node).contains(&cores));
        assert!((nodes * group.gpus_per_node..=group.nodes * group.gpus_per_node).contains(&gpus));
    }

    let workload = facts.workload.as_ref().unwrap();
    assert!(bounds.workload.contains(&workload.manager.as_str()));
    assert!((bounds.partitions.0..=bounds.partitions.1).contains(&workload.partitions.len()));
    let partitions: BTreeSet<&String> = workload.partitions.iter().collect();
    assert_eq!(partitions.len(), workload.partitions.len());
    if bounds.partitions.1 > 0 {
        assert!(groups.iter().all(|group| partitions.contains(&group.name)));
    }
    assert!(workload.time_limit.unwrap().get() >= 3_600.0);

    let packages = facts.software.as_ref().unwrap();
    assert!((bounds.packages.0..=bounds.packages.1).contains(&packages.len()), "{}", packages.len());
    assert!(packages.windows(2).all(|pair| pair[0] < pair[1]), "sorted, nothing twice");
    let sources: BTreeSet<&str> = packages.iter().map(|package| package.provider.as_str()).collect();
    check_members(bounds.software, sources.iter().copied());
    check_members(bounds.software, providers["software"].keys().map(String::as_str));
    for package in packages {
        assert!(!package.version.is_empty());
        let has_environments = matches!(package.provider.as_str(), "conda" | "pip");
        assert_eq!(package.environment.is_some(), has_environments);
    }

    let storage = facts.storage.as_ref().unwrap();
    check_members(bounds.storage, storage.iter().map(|volume| volume.kind.as_str()));
    for volume in storage {
        let total = volume.total_gib.unwrap().get();
        let gigabytes = total * 1.073_741_824;
        // A GiB of rounding down.
        assert!(gigabytes <= bounds.storage_gb.1 && gigabytes + 1.08 >= bounds.storage_gb.0, "{gigabytes}");
        assert!((0.0..=total).contains(&volume.free_gib.unwrap().get()));
    }
    let containers = facts.containers.as_ref().unwrap();
    check_members(bounds.container, containers.iter().map(|runtime| runtime.name.as_str()));
    let mpi = facts.mpi.as_ref().unwrap();
    check_members(bounds.parallel, mpi.iter().map(|runtime| runtime.name.as_str()));
    let networks = facts.networks.as_ref().unwrap();
    check_members((1, 1, bounds.network), networks.iter().map(|fabric| fabric.kind.as_str()));
    assert!(networks[0].gbps.unwrap().get() >= 1.0);

    let prices = facts.prices.unwrap();
    assert!(prices.core_hour_usd.unwrap().get() > 0.0 && prices.node_hour_usd.unwrap().get() > 0.0);
    assert_eq!(prices.gpu_hour_usd.is_some(), groups.iter().any(|group| group.gpus_per_node > 0));
    assert!(facts.flags.iter().all(|flag| !flag.evidence.is_empty()));
}

fn archetype() -> impl Strategy<Value = Archetype> {
    prop::sample::select(Archetype::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_site_keeps_to_its_recipe(
        archetype in archetype(),
        seed: u64,
        name in "[a-z0-9][a-z0-9-]{0,31}",
        tick in prop_oneof![0..100_000_u64, Just(u64::MAX), any::<u64>()],
    ) {
        let site = Site::generate(&worker(&name), archetype, seed);
        check(&site, &site.truth(tick, &[]));
    }
}

#[test]
fn sites_are_diverse() {
    let all: Vec<Facts> = sites(60).map(|site| site.truth(0, &[])).collect();
    let count = |holds: fn(&Facts) -> bool| all.iter().filter(|facts| holds(facts)).count();
    let gpus = count(|facts| facts.compute.as_ref().unwrap().groups.iter().any(|g| g.gpus_per_node > 0));
    assert!((60..150).contains(&gpus), "{gpus} of 180 sites have GPUs");
    let models: BTreeSet<String> = all
        .iter()
        .flat_map(|facts| &facts.compute.as_ref().unwrap().groups)
        .filter_map(|group| group.gpu_model.clone())
        .collect();
    assert!(models.len() >= 12, "{models:?}");
    let flagged = count(|facts| !facts.flags.is_empty());
    assert!((5..60).contains(&flagged), "{flagged} of 180 sites have a flag");
    let lammps = count(|facts| facts.software.as_ref().unwrap().iter().any(|p| p.name == "lammps"));
    assert!((20..120).contains(&lammps), "{lammps} of 180 sites have lammps");
    let free = count(|facts| facts.compute.as_ref().unwrap().groups.iter().any(|g| g.nodes_free > Some(0)));
    assert!((90..180).contains(&free), "{free} of 180 sites have a free node");
}

#[test]
fn the_metadata_speaks_of_the_same_site_as_the_truth() {
    for site in sites(10) {
        let providers = site.providers();
        let facts = site.truth(5, &[]);
        let categories: Vec<&str> = providers.keys().map(String::as_str).collect();
        assert!(
            ["hardware", "network", "software", "storage", "workload"].iter().all(|c| categories.contains(c))
        );
        let manager = &facts.workload.as_ref().unwrap().manager;
        assert_eq!(providers["workload"].keys().collect::<Vec<_>>(), [manager]);
        for (provider, metadata) in &providers["software"] {
            let packages = facts.software.as_ref().unwrap();
            let listed = packages.iter().filter(|package| package.provider == *provider).count();
            assert_eq!(metadata["packages"].as_u64(), Some(listed as u64));
        }
        assert_eq!(providers.contains_key("container"), !facts.containers.unwrap().is_empty());
        assert_eq!(providers.contains_key("parallel"), !facts.mpi.unwrap().is_empty());
    }
}
