use proptest::prelude::*;
use protocol::evaluation::AuditResult;
use serde_json::{Value, json};

use super::*;
use crate::samples;

fn value(json: Value) -> ClaimValue {
    serde_json::from_value(json).unwrap()
}

fn said(requirement: Value, facts: &Facts) -> Vec<String> {
    claims(&samples::requirement(requirement), facts)
        .iter()
        .map(|claim| format!("{} = {}", claim.subject, claim.value))
        .collect()
}

const ALWAYS: [&str; 4] = [
    "start.p90_seconds = 30",
    "price.node_hour_usd = 4",
    "price.core_hour_usd = 0.1",
    "price.gpu_hour_usd = 2.5",
];

fn demanding() -> Value {
    json!({
        "software": [{"name": "lammps", "constraint": ">=20230802"}, {"name": "vasp"}],
        "compute": {"nodes": 3, "cores": 96, "memory_gib": 512,
                    "gpus": {"count": 4, "per": "node", "model": "h100", "memory_gib": 80}},
        "network": ["infiniband", "omni-path"], "storage": [{"kind": "lustre", "free_gib": 2048}, {}],
        "container": ["singularity", "docker"], "mpi": true, "workload": ["slurm"],
        "time": {"urgency": "immediate", "duration_seconds": 3600}, "budget_usd": 40,
        "exclude": {"archetypes": ["cloud"]}
    })
}

#[test]
fn every_subject_that_matters_is_claimed_in_order() {
    assert_eq!(
        said(demanding(), &samples::cluster()),
        [
            "compute.nodes = 10",
            "compute.nodes_free = 6",
            "compute.cores = 320",
            "compute.cores_per_node = 32",
            "compute.gpus = 40",
            "compute.gpus_free = 26",
            "compute.gpus_per_node = 4",
            "compute.gpu_model = nvidia-h100-80gb",
            "compute.gpu_memory_gib = 79.6",
            "compute.memory_gib = 5120",
            "compute.memory_gib_per_node = 512",
            "software.lammps = 20220623, 20230802",
            "software.vasp = ",
            "network.infiniband = true",
            "network.infiniband.gbps = 100",
            "network.omni-path = false",
            "storage.lustre = true",
            "storage.lustre.free_gib = 4096",
            "storage.any = true",
            "container.singularity = true",
            "container.docker = false",
            "mpi = true",
            "workload.manager = slurm",
            "workload.time_limit_seconds = 86400",
            "queue.depth = 12",
            "start.p90_seconds = 30",
            "price.node_hour_usd = 4",
            "price.core_hour_usd = 0.1",
            "price.gpu_hour_usd = 2.5",
            "archetype = hpc",
        ]
    );
    for claim in claims(&samples::requirement(demanding()), &samples::cluster()) {
        let soft = ["network.infiniband.gbps", "queue.depth"].contains(&claim.subject.as_str());
        assert_eq!(is_hard(&samples::requirement(demanding()), &claim.subject), !soft, "{}", claim.subject);
    }
}

#[test]
fn claims_about_what_exists_do_not_change_when_capacity_is_taken() {
    let asked = json!({"compute": {"nodes": 2, "cores": 64, "memory_gib": 256, "gpus": {"count": 2, "optional": true}}});
    let requirement = samples::requirement(asked);
    let mut taken = samples::cluster();
    for group in &mut taken.compute.as_mut().unwrap().groups[..1] {
        (group.nodes_free, group.cores_free) = (Some(0), Some(0));
    }
    let of_what_exists = |facts: &Facts| -> Vec<Claim> {
        claims(&requirement, facts).into_iter().filter(|claim| !claim.subject.ends_with("_free")).collect()
    };
    assert_eq!(of_what_exists(&taken), of_what_exists(&samples::cluster()));
}

#[test]
fn a_group_without_the_gpus_does_not_lend_its_nodes_to_a_claim() {
    let asked = json!({"compute": {"nodes": 20, "gpus": {"count": 4, "per": "node", "model": "h100"}}});
    let made = said(asked, &samples::cluster());
    assert_eq!(made[..2], ["compute.nodes = 10", "compute.nodes_free = 6"]);
    let made =
        said(json!({"compute": {"nodes": 20, "gpus": {"count": 4, "model": "b200"}}}), &samples::cluster());
    assert_eq!(made[0], "compute.nodes = 10");
}

#[test]
fn what_does_not_matter_or_is_not_known_is_not_claimed() {
    assert_eq!(said(json!({}), &samples::cluster()), ALWAYS);
    assert_eq!(said(demanding(), &Facts::default()), Vec::<String>::new());
    let host = samples::login_node();
    assert_eq!(said(json!({"software": [{"name": "lammps"}]}), &host), Vec::<String>::new());
    let shared = said(json!({"compute": {"cores": 8}}), &samples::cluster());
    assert_eq!(shared[..2], ["compute.cores = 6400", "compute.cores_free = 3400"]);
    let twice =
        json!({"software": [{"name": "lammps", "constraint": ">1"}, {"name": "lammps", "constraint": "<3"}]});
    assert_eq!(said(twice, &samples::cluster()).len(), 1 + ALWAYS.len());
}

#[test]
fn welcome_gpus_are_claimed_and_not_hard() {
    let either = json!({"compute": {"cores": 8, "gpus": {"count": 2, "model": "h100", "optional": true}}});
    let made = said(either.clone(), &samples::cluster());
    assert!(made.contains(&"compute.gpus_free = 26".to_owned()), "{made:?}");
    assert!(made.contains(&"compute.cores_free = 3400".to_owned()), "{made:?}");
    let requirement = samples::requirement(either);
    assert!(!is_hard(&requirement, "compute.gpus_free") && !is_hard(&requirement, "compute.gpu_model"));
}

#[test]
fn a_subject_is_hard_where_the_requirement_constrains_it() {
    let table = [
        (json!({}), "compute.nodes", false),
        (json!({"compute": {"nodes": 1}}), "compute.nodes_free", true),
        (json!({"compute": {"nodes": 1}}), "compute.cores_free", false),
        (json!({"compute": {"tasks": 4}}), "compute.cores_free", true),
        (json!({"compute": {"cores_per_node": 4}}), "compute.cores_per_node", true),
        (json!({"compute": {"gpus": {"count": 4}}}), "compute.gpus_per_node", false),
        (json!({"compute": {"gpus": {"count": 4}}}), "compute.gpu_model", false),
        (json!({"software": [{"name": "lammps"}]}), "software.LAMMPS", true),
        (json!({"software": [{"name": "lammps"}]}), "software.gromacs", false),
        (json!({"storage": [{"kind": "nfs"}]}), "storage.nfs", true),
        (json!({"storage": [{"kind": "nfs"}]}), "storage.nfs.free_gib", false),
        (json!({"storage": [{"free_gib": 1}]}), "storage.any.free_gib", true),
        (json!({"exclude": {"workload": ["slurm"]}}), "workload.manager", true),
        (json!({"time": {"urgency": "soon"}}), "start.p90_seconds", false),
        (json!({"time": {"start_by_seconds": 9}}), "start.p90_seconds", true),
        (json!({"time": {"deadline_seconds": 9}}), "start.p90_seconds", true),
        (json!({"budget_usd": 9}), "price.core_hour_usd", true),
        (json!({"budget_usd": 9}), "price.lunch", false),
        (json!({"budget_usd": 9}), "", false),
    ];
    for (requirement, subject, expected) in table {
        assert_eq!(
            is_hard(&samples::requirement(requirement.clone()), subject),
            expected,
            "{subject} {requirement}"
        );
    }
}

#[test]
fn claims_are_compared_in_the_direction_of_their_subject() {
    use AuditResult::{Match, Over, Unchecked, Under};
    let lammps = json!({"software": [{"name": "lammps", "constraint": ">=20230802"}]});
    let h100 = json!({"compute": {"gpus": {"count": 1, "model": "h100"}}});
    let table = [
        // numbers, within 10 %
        (json!({}), "compute.nodes_free", json!(110), json!(100), Match),
        (json!({}), "compute.nodes_free", json!(111), json!(100), Over),
        (json!({}), "compute.nodes_free", json!(90), json!(100), Match),
        (json!({}), "compute.nodes_free", json!(89), json!(100), Under),
        (json!({}), "compute.nodes_free", json!(1), json!(0), Over),
        (json!({}), "compute.nodes_free", json!(0), json!(0), Match),
        (json!({}), "compute.nodes_free", json!(-5), json!(0), Under),
        (json!({}), "storage.lustre.free_gib", json!(3000), json!(2000), Over),
        (json!({}), "network.infiniband.gbps", json!(100), json!(200), Under),
        // less is more
        (json!({}), "price.node_hour_usd", json!(1.5), json!(2), Over),
        (json!({}), "price.node_hour_usd", json!(2.5), json!(2), Under),
        (json!({}), "price.gpu_hour_usd", json!(1.9), json!(2), Match),
        (json!({}), "queue.depth", json!(0), json!(7), Over),
        (json!({}), "start.p90_seconds", json!(0), json!(3600), Over),
        (json!({}), "start.p90_seconds", json!(7200), json!(3600), Under),
        (json!({}), "start.p90_seconds", json!(0), json!(1), Match),
        (json!({}), "workload.time_limit_seconds", json!(7200), json!(3600), Over),
        // presence
        (json!({}), "mpi", json!(true), json!(false), Over),
        (json!({}), "mpi", json!(false), json!(true), Under),
        (json!({}), "network.infiniband", json!(true), json!(true), Match),
        (json!({}), "container.docker", json!("True"), json!(false), Over),
        // versions
        (lammps.clone(), "software.lammps", json!(["20230802"]), json!(["20230802", "20220623"]), Match),
        (lammps.clone(), "software.lammps", json!("2Aug2023"), json!(["20230802"]), Match),
        (lammps.clone(), "software.lammps", json!(20_230_802), json!(["20230802"]), Match),
        (lammps.clone(), "software.lammps", json!(["20230802"]), json!(["20220623"]), Over),
        (lammps.clone(), "software.lammps", json!(["20230802"]), json!([]), Over),
        (lammps.clone(), "software.lammps", json!(["20240207", "20230802"]), json!(["20230802"]), Over),
        (lammps.clone(), "software.lammps", json!([]), json!(["20230802"]), Under),
        (lammps.clone(), "software.lammps", json!(["20220623"]), json!(["20230802"]), Under),
        (lammps.clone(), "software.lammps", json!(false), json!(["20230802"]), Under),
        (lammps.clone(), "software.lammps", json!(["20210101"]), json!(["20220623"]), Match),
        (lammps.clone(), "software.lammps", json!(true), json!(["20230802"]), Unchecked),
        (json!({"software": [{"name": "lammps"}]}), "software.lammps", json!(["9"]), json!(["8"]), Over),
        // names
        (h100.clone(), "compute.gpu_model", json!("h100"), json!("nvidia-h100-80gb"), Match),
        (h100.clone(), "compute.gpu_model", json!("h100"), json!("v100"), Over),
        (h100.clone(), "compute.gpu_model", json!("v100 h100 a100"), json!("v100"), Over),
        (h100.clone(), "compute.gpu_model", json!("v100"), json!("h100"), Under),
        (h100.clone(), "compute.gpu_model", json!("a100"), json!("v100"), Over),
        (h100.clone(), "compute.gpu_model", json!("--"), json!("h100"), Unchecked),
        (json!({"workload": ["slurm"]}), "workload.manager", json!("Slurm"), json!("slurm"), Match),
        (json!({"workload": ["slurm"]}), "workload.manager", json!("slurm"), json!("flux"), Over),
        (
            json!({"exclude": {"workload": ["flux"]}}),
            "workload.manager",
            json!("flux"),
            json!("slurm"),
            Under,
        ),
        (json!({"exclude": {"archetypes": ["cloud"]}}), "archetype", json!("hpc"), json!("cloud"), Over),
        // what cannot be told
        (json!({}), "compute.nodes_free", json!(true), json!(100), Unchecked),
        (json!({}), "compute.nodes_free", json!("about 500"), json!(100), Unchecked),
        (json!({}), "compute.nodes_free", json!("inf"), json!(100), Unchecked),
        (json!({}), "compute.nodes_free", json!("500"), json!(100), Over),
        (json!({}), "mpi", json!(["yes"]), json!(true), Unchecked),
        (json!({}), "weather", json!("fine"), json!("fine"), Unchecked),
        (json!({}), "compute.nodes.free", json!(5), json!(5), Unchecked),
    ];
    for (requirement, subject, claimed, truth, expected) in table {
        let claim = Claim { subject: subject.to_owned(), value: value(claimed.clone()) };
        let result = compare(&samples::requirement(requirement), &claim, &value(truth.clone()));
        assert_eq!(result, expected, "{subject}: {claimed} for {truth}");
    }
}

#[test]
fn the_relative_error_is_that_of_the_truth() {
    let error = |claimed: Value, truth: Value| relative_error(&value(claimed), &value(truth));
    assert_eq!(error(json!(150), json!(100)), Some(0.5));
    assert_eq!(error(json!(50), json!(100)), Some(0.5));
    assert_eq!(error(json!(0), json!(0)), Some(0.0));
    assert_eq!(error(json!(3), json!(0)), Some(1.0));
    assert_eq!(error(json!(f64::MAX), json!(f64::MIN_POSITIVE)), Some(f64::MAX));
    assert_eq!(error(json!("many"), json!(3)), None);
    assert_eq!(error(json!(["3"]), json!(3)), None);
}

fn any_value() -> impl Strategy<Value = ClaimValue> {
    prop_oneof![
        any::<bool>().prop_map(ClaimValue::Flag),
        any::<f64>().prop_map(quantity),
        any::<String>().prop_map(ClaimValue::Text),
        prop::collection::vec(any::<String>(), 0..4).prop_map(ClaimValue::List),
    ]
}

proptest! {
    #[test]
    fn facts_agree_with_themselves(nodes in 0_u32..20, cores in 0_u32..500, gpus in 0_u32..9, optional in any::<bool>()) {
        let mut json = demanding();
        json["compute"] = json!({"nodes": nodes, "cores": cores, "gpus": {"count": gpus, "optional": optional}});
        let requirement = samples::requirement(json);
        for facts in [samples::cluster(), samples::workstation()] {
            for claim in claims(&requirement, &facts) {
                prop_assert_eq!(compare(&requirement, &claim, &claim.value), AuditResult::Match, "{:?}", claim);
            }
        }
    }

    #[test]
    fn nothing_that_a_stranger_writes_panics(
        subject in prop_oneof![
            Just("software.lammps".to_owned()), Just("compute.gpu_model".to_owned()),
            Just("start.p90_seconds".to_owned()), Just("mpi".to_owned()), any::<String>()
        ],
        claimed in any_value(),
        truth in any_value(),
    ) {
        let requirement = samples::requirement(demanding());
        let _ = is_hard(&requirement, &subject);
        let _ = relative_error(&claimed, &truth);
        let _ = compare(&requirement, &Claim { subject, value: claimed }, &truth);
    }

    #[test]
    fn overstating_and_understating_mirror_each_other(claimed in 0.0..1e6, truth in 0.0..1e6) {
        let result = |subject: &str| {
            let claim = Claim { subject: subject.to_owned(), value: quantity(claimed) };
            compare(&Requirement::default(), &claim, &quantity(truth))
        };
        let mirrored = match result("compute.nodes_free") {
            AuditResult::Over => AuditResult::Under,
            AuditResult::Under => AuditResult::Over,
            other => other,
        };
        prop_assert_eq!(result("price.node_hour_usd"), mirrored);
    }
}
