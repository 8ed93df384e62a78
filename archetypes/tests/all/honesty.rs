//! How often liars lie, and what they say.

use archetypes::honesty::{lies, overclaim};
use protocol::facts::{Facts, NodeGroup};
use protocol::ids::NegotiationId;
use protocol::requirement::{
    ComputeNeed, GpuNeed, GpuScope, Requirement, SoftwareNeed, StorageNeed, TimeNeed,
};
use protocol::units::{GiB, Seconds, Usd};

use crate::sites;

#[test]
fn a_worker_lies_as_often_as_it_is_told_to() {
    for honesty in [0.0, 0.3, 0.9, 1.0] {
        let lied = (0..4_000).filter(|number| lies(honesty, 5, &NegotiationId::mint(*number))).count();
        let expected = (1.0 - honesty) * 4_000.0;
        assert!((lied as f64 - expected).abs() <= 100.0, "{lied} lies at honesty {honesty}");
    }
    let of_seed =
        |seed| (0..64).map(|number| lies(0.5, seed, &NegotiationId::mint(number))).collect::<Vec<_>>();
    assert_ne!(of_seed(1), of_seed(2));
    assert_eq!(of_seed(1), of_seed(1));
}

fn everything() -> Requirement {
    Requirement {
        software: vec![
            SoftwareNeed { name: "lammps".into(), constraint: Some(">=20230802".into()) },
            SoftwareNeed { name: "no-such-package".into(), constraint: None },
        ],
        compute: ComputeNeed {
            nodes: Some(700),
            memory_gib: Some(GiB::from(70_000)),
            cores_per_node: Some(96),
            gpus: Some(GpuNeed {
                count: 8,
                per: GpuScope::Node,
                model: Some("h100".into()),
                memory_gib: Some(GiB::from(80)),
                optional: false,
            }),
            ..ComputeNeed::default()
        },
        network: vec!["infiniband".into()],
        storage: vec![StorageNeed { kind: Some("lustre".into()), free_gib: Some(GiB::from(2_048)) }],
        container: vec!["singularity".into()],
        mpi: true,
        workload: vec!["slurm".into()],
        time: TimeNeed { duration_seconds: Some(Seconds::from(4_000_000)), ..TimeNeed::default() },
        budget_usd: Some(Usd::from(40)),
        ..Requirement::default()
    }
}

fn consistent(group: &NodeGroup) -> bool {
    let (nodes, cores, gpus) =
        (group.nodes_free.unwrap(), group.cores_free.unwrap(), group.gpus_free.unwrap());
    nodes <= group.nodes
        && (nodes * group.cores_per_node..=group.nodes * group.cores_per_node).contains(&cores)
        && (nodes * group.gpus_per_node..=group.nodes * group.gpus_per_node).contains(&gpus)
}

fn has(facts: &Facts, name: &str, version: &str) -> bool {
    facts
        .software
        .as_ref()
        .unwrap()
        .iter()
        .any(|p| p.name == name && (version.is_empty() || p.version == version))
}

#[test]
fn a_liar_has_whatever_was_asked_for() {
    for site in sites(20) {
        let told = overclaim(&site.truth(3, &[]), &everything(), 1);
        assert!(has(&told, "lammps", "20230802") && has(&told, "no-such-package", ""));
        assert!(told.software.as_ref().unwrap().is_sorted());
        let groups = &told.compute.as_ref().unwrap().groups;
        assert!(groups.iter().all(consistent), "{groups:?}");
        assert!(groups.iter().any(|group| {
            group.nodes_free >= Some(700)
                && group.cores_per_node >= 96
                && f64::from(700_u32) * group.memory_gib_per_node.unwrap().get() >= 70_000.0
                && group.gpus_free >= Some(5_600)
                && group.gpu_model.as_deref() == Some("h100")
                && group.gpu_memory_gib >= Some(GiB::from(80))
        }));
        assert!(told.networks.as_ref().unwrap().iter().any(|fabric| fabric.kind == "infiniband"));
        let lustre = told.storage.as_ref().unwrap().iter().find(|volume| volume.kind == "lustre").unwrap();
        assert!(lustre.free_gib >= Some(GiB::from(2_048)) && lustre.total_gib >= lustre.free_gib);
        assert!(told.containers.as_ref().unwrap().iter().any(|runtime| runtime.name == "singularity"));
        assert!(!told.mpi.as_ref().unwrap().is_empty());
        let workload = told.workload.unwrap();
        assert_eq!(workload.manager, "slurm");
        assert_eq!(workload.start.unwrap().p90, Seconds::ZERO);
        assert!(workload.time_limit >= Some(Seconds::from(4_000_000)));
        let node_hour = told.prices.unwrap().node_hour_usd.unwrap().get();
        assert!(700.0 * node_hour * 4_000_000.0 / 3_600.0 <= 40.0, "{node_hour}");
    }
}

#[test]
fn a_lie_keeps_to_what_was_asked_for() {
    let asked = Requirement {
        software: vec![SoftwareNeed { name: "gromacs".into(), constraint: Some("==2099".into()) }],
        ..Requirement::default()
    };
    for site in sites(10) {
        let truth = site.truth(3, &[]);
        // Where every core is taken, the liar invents a free one.
        if truth.compute.as_ref().unwrap().groups.iter().any(|group| group.cores_free == Some(0)) {
            continue;
        }
        let mut told = overclaim(&truth, &asked, 1);
        assert!(has(&told, "gromacs", "2099"));
        let (mine, theirs) = (told.prices.unwrap(), truth.prices.unwrap());
        assert!(mine.node_hour_usd < theirs.node_hour_usd && mine.core_hour_usd < theirs.core_hour_usd);
        told.prices = truth.prices;
        told.software.as_mut().unwrap().retain(|package| package.version != "2099");
        told.workload.clone_from(&truth.workload);
        assert_eq!(told, truth);
    }
}

#[test]
fn totals_and_shared_work_are_claimed_too() {
    let asked = |compute| Requirement { compute, ..Requirement::default() };
    let gpus = GpuNeed { count: 9, per: GpuScope::Total, model: None, memory_gib: None, optional: false };
    for site in sites(10) {
        let truth = site.truth(3, &[]);
        for compute in [
            ComputeNeed { cores: Some(5_000), memory_gib: Some(GiB::from(9_000)), ..ComputeNeed::default() },
            ComputeNeed { tasks: Some(300), gpus: Some(gpus.clone()), ..ComputeNeed::default() },
        ] {
            let told = overclaim(&truth, &asked(compute.clone()), 1);
            let groups = &told.compute.as_ref().unwrap().groups;
            assert!(groups.iter().all(consistent), "{groups:?}");
            let wanted = compute.cores.max(compute.tasks);
            assert!(groups.iter().any(|group| {
                group.cores_free >= wanted
                    && f64::from(group.nodes) * group.memory_gib_per_node.unwrap().get()
                        >= compute.memory_gib.map_or(0.0, GiB::get)
                    && (compute.gpus.is_none() || (group.gpus_free >= Some(9) && group.gpu_model.is_some()))
            }));
        }
    }
}

#[test]
fn a_liar_that_knows_nothing_still_answers() {
    let told = overclaim(&Facts::default(), &everything(), 1);
    assert!(has(&told, "lammps", "20230802"));
    assert!(told.compute.unwrap().groups[0].nodes_free >= Some(700));
    assert_eq!(overclaim(&Facts::default(), &Requirement::default(), 1).software, None);
}
