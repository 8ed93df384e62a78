use protocol::facts::{ComputeFacts, Prices, StartEstimate};
use protocol::units::{Seconds, Usd};
use serde_json::{Value, json};

use super::*;
use crate::samples;

fn lines(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|r| format!("{}: {} / {}", r.code, r.wanted, r.had)).collect()
}

fn check(facts: &Facts, table: &[(Value, &[&str])]) {
    for (requirement, expected) in table {
        let reasons = unmet(&samples::requirement(requirement.clone()), facts);
        assert_eq!(&lines(&reasons), expected, "{requirement}");
    }
}

#[test]
fn what_is_installed_and_attached() {
    check(
        &samples::cluster(),
        &[
            (json!({}), &[]),
            (json!({"software": [{"name": "lammps"}]}), &[]),
            (json!({"software": [{"name": "LAMMPS", "constraint": ">=20230802"}]}), &[]),
            (json!({"software": [{"name": "numpy", "constraint": "^1"}]}), &[]),
            (
                json!({"software": [{"name": "gromacs", "constraint": "2023"}, {"name": "vasp"}]}),
                &["SOFTWARE_MISSING: vasp / not installed"],
            ),
            (
                json!({"software": [{"name": "lammps", "constraint": ">=20240101"}]}),
                &["SOFTWARE_VERSION: lammps >=20240101 / 20220623, 20230802"],
            ),
            (
                json!({"software": [{"name": "lammps", "constraint": "!=1"}]}),
                &[
                    "SOFTWARE_VERSION: lammps !=1 / version constraint \"!=1\" is not valid: the operator is none of \
             >= <= == > < ~ ^",
                ],
            ),
            // a container runtime does not make up for a missing package
            (
                json!({"software": [{"name": "vasp"}], "container": ["singularity"]}),
                &["SOFTWARE_MISSING: vasp / not installed"],
            ),
            (json!({"network": ["infiniband", "omni-path"]}), &[]),
            (json!({"network": ["omni-path"]}), &["NETWORK_MISSING: omni-path / infiniband, ethernet"]),
            (
                json!({"network": ["infiniband"], "exclude": {"network": ["infiniband"]}}),
                &["NETWORK_MISSING: infiniband / infiniband, ethernet"],
            ),
            (json!({"exclude": {"network": ["ethernet"]}}), &[]),
            (
                json!({"exclude": {"network": ["ethernet", "infiniband"]}}),
                &["EXCLUDED: not ethernet or infiniband / infiniband, ethernet"],
            ),
            (json!({"storage": [{"kind": "lustre", "free_gib": 4096}, {"kind": "nfs"}]}), &[]),
            (json!({"storage": [{"kind": "scratch", "free_gib": 2048}]}), &[]),
            (json!({"storage": [{"free_gib": 1024}]}), &[]),
            (
                json!({"storage": [{"kind": "lustre", "free_gib": 5000}]}),
                &["STORAGE_FULL: lustre with 5000 GiB free / 4096 GiB free"],
            ),
            (
                json!({"storage": [{"kind": "s3"}, {"kind": "beegfs"}]}),
                &["STORAGE_MISSING: s3 / lustre, nfs", "STORAGE_MISSING: beegfs / lustre, nfs"],
            ),
            (
                json!({"storage": [{"kind": "nfs", "free_gib": 1}]}),
                &["FACT_UNKNOWN: nfs with 1 GiB free / free storage unknown"],
            ),
            (
                json!({"storage": [{"kind": "lustre"}], "exclude": {"storage": ["lustre"]}}),
                &["STORAGE_MISSING: lustre / nfs"],
            ),
            (
                json!({"exclude": {"storage": ["nfs", "lustre"]}}),
                &["EXCLUDED: not nfs or lustre / lustre, nfs"],
            ),
            (json!({"container": ["docker", "apptainer"]}), &[]),
            (
                json!({"container": ["docker", "podman"]}),
                &["CONTAINER_MISSING: docker or podman / singularity"],
            ),
            (
                json!({"container": ["singularity"], "exclude": {"container": ["singularity"]}}),
                &["CONTAINER_MISSING: singularity / singularity"],
            ),
            (json!({"mpi": true}), &[]),
            (json!({"workload": ["flux", "slurm"]}), &[]),
            (json!({"workload": ["kubernetes"]}), &["WORKLOAD_MANAGER: kubernetes / slurm"]),
            (
                json!({"exclude": {"workload": ["slurm"], "archetypes": ["hpc"]}}),
                &["EXCLUDED: not slurm / slurm", "EXCLUDED: not hpc / hpc"],
            ),
            (json!({"exclude": {"archetypes": ["cloud"], "workload": ["kubernetes"]}}), &[]),
            (json!({"labels": {"site": "elsewhere"}}), &[]),
        ],
    );
}

#[test]
fn a_single_machine_must_hold_the_totals() {
    check(
        &samples::workstation(),
        &[
            (
                json!({"compute": {"cores": 16, "memory_gib": 64, "gpus": {"count": 1, "memory_gib": 24}}}),
                &[],
            ),
            (
                json!({"compute": {"cores": 17, "memory_gib": 65}}),
                &["CORES_TOO_FEW: cores >= 17 / 16", "MEMORY_TOO_SMALL: memory >= 65 GiB / 64 GiB"],
            ),
            (json!({"compute": {"nodes": 2}}), &["NODES_TOO_FEW: nodes >= 2 / 1 node"]),
            (
                json!({"mpi": true, "network": ["ethernet"], "storage": [{}], "software": [{"name": "r"}]}),
                &[
                    "SOFTWARE_MISSING: r / not installed",
                    "NETWORK_MISSING: ethernet / no fabric",
                    "STORAGE_MISSING: storage / no file system",
                    "MPI_MISSING: an MPI implementation / none",
                ],
            ),
        ],
    );
}

#[test]
fn start_end_and_length() {
    let mut site = samples::cluster();
    let start = |site: &mut Facts, p90: Option<u32>| {
        let start = p90.map(|p90| StartEstimate { p50: Seconds::ZERO, p90: Seconds::from(p90) });
        site.workload.as_mut().unwrap().start = start;
    };
    start(&mut site, Some(3600));
    check(
        &site,
        &[
            (json!({"time": {"urgency": "soon"}}), &[]),
            (
                json!({"time": {"urgency": "immediate"}}),
                &["START_TOO_LATE: start at once / P90 start in 1 h"],
            ),
            (json!({"time": {"start_by_seconds": 0}}), &["START_TOO_LATE: start at once / P90 start in 1 h"]),
            (json!({"time": {"start_by_seconds": 3600}}), &[]),
            (
                json!({"time": {"start_by_seconds": 1800}}),
                &["START_TOO_LATE: start within 30 min / P90 start in 1 h"],
            ),
            (json!({"time": {"deadline_seconds": 7200, "duration_seconds": 3600}}), &[]),
            (
                json!({"time": {"deadline_seconds": 7199, "duration_seconds": 3600}}),
                &["DEADLINE_MISSED: done within 2 h / P90 start in 1 h, run time 1 h"],
            ),
            (
                json!({"time": {"deadline_seconds": 1800}}),
                &["DEADLINE_MISSED: done within 30 min / P90 start in 1 h"],
            ),
            (json!({"time": {"deadline_seconds": 3600}}), &[]),
            (json!({"time": {"duration_seconds": 86_400}}), &[]),
            (json!({"time": {"duration_seconds": 172_800}}), &["TIME_LIMIT: run time 2 d / at most 1 d"]),
        ],
    );
    start(&mut site, Some(300));
    check(&site, &[(json!({"time": {"urgency": "immediate", "start_by_seconds": 0}}), &[])]);
    start(&mut site, None);
    check(
        &site,
        &[
            // free capacity now is enough for a start at once
            (json!({"time": {"urgency": "immediate", "start_by_seconds": 0}}), &[]),
            (
                json!({"compute": {"nodes": 60}, "time": {"urgency": "immediate"}}),
                &["NODES_BUSY: nodes >= 60 / 50 of 100 free in cpu"],
            ),
            (
                json!({"time": {"start_by_seconds": 60}}),
                &["FACT_UNKNOWN: start within 1 min / start estimate unknown"],
            ),
            (
                json!({"time": {"deadline_seconds": 3600}}),
                &["FACT_UNKNOWN: done within 1 h / start estimate unknown"],
            ),
            // no start helps a run that is longer than the time there is
            (
                json!({"time": {"deadline_seconds": 3600, "duration_seconds": 7200}}),
                &["DEADLINE_MISSED: done within 1 h / run time 2 h"],
            ),
        ],
    );
    site.workload.as_mut().unwrap().time_limit = None;
    check(&site, &[(json!({"time": {"duration_seconds": 172_800}}), &[])]);
}

#[test]
fn money() {
    let mut site = samples::cluster();
    check(
        &site,
        &[
            (json!({"compute": {"nodes": 5}, "time": {"duration_seconds": 7200}, "budget_usd": 40}), &[]),
            (
                json!({"compute": {"nodes": 5}, "time": {"duration_seconds": 7200}, "budget_usd": 39.9}),
                &["OVER_BUDGET: at most 39.9 USD / 40 USD"],
            ),
            (
                json!({"compute": {"nodes": 11}, "budget_usd": 40}),
                &["OVER_BUDGET: at most 40 USD / 44 USD for one hour, as the request states no run time"],
            ),
            // work that does not fit has no price
            (
                json!({"compute": {"nodes": 500}, "budget_usd": 40}),
                &["NODES_TOO_FEW: nodes >= 500 / 100 nodes in cpu"],
            ),
        ],
    );
    site.prices = Some(Prices { node_hour_usd: Some(Usd::ZERO), ..Prices::default() });
    check(&site, &[(json!({"compute": {"nodes": 5}, "budget_usd": 0}), &[])]);
    site.prices = None;
    check(
        &site,
        &[
            (json!({"compute": {"nodes": 5}}), &[]),
            (
                json!({"compute": {"nodes": 5}, "budget_usd": 40}),
                &["FACT_UNKNOWN: at most 40 USD / price unknown"],
            ),
        ],
    );
}

/// A requirement with a constraint in every category.
fn demanding() -> Requirement {
    samples::requirement(json!({
        "software": [{"name": "lammps", "constraint": ">=20230802"}],
        "compute": {"nodes": 3, "cores": 96, "memory_gib_per_node": 128,
                    "gpus": {"count": 4, "per": "node", "model": "h100", "memory_gib": 80}},
        "network": ["infiniband"], "storage": [{"kind": "lustre", "free_gib": 2048}],
        "container": ["singularity"], "mpi": true, "workload": ["slurm", "flux"],
        "time": {"urgency": "immediate", "deadline_seconds": 10_800, "start_by_seconds": 1800,
                 "duration_seconds": 3600},
        "budget_usd": 400
    }))
}

#[test]
fn an_unknown_fact_is_named_and_never_guessed() {
    assert_eq!(lines(&unmet(&demanding(), &samples::cluster())), Vec::<String>::new());
    let expected = [
        "FACT_UNKNOWN: lammps >=20230802 / software unknown",
        "FACT_UNKNOWN: nodes >= 3, cores >= 96 on 3 nodes, memory per node >= 128 GiB, h100 GPUs >= 4 per node / \
         compute unknown",
        "FACT_UNKNOWN: infiniband / network unknown",
        "FACT_UNKNOWN: lustre with 2048 GiB free / storage unknown",
        "FACT_UNKNOWN: singularity / container unknown",
        "FACT_UNKNOWN: an MPI implementation / mpi unknown",
        "FACT_UNKNOWN: slurm or flux / workload unknown",
        "FACT_UNKNOWN: start within 30 min / start estimate unknown",
        "FACT_UNKNOWN: done within 3 h / start estimate unknown",
        "FACT_UNKNOWN: at most 400 USD / price unknown",
    ];
    assert_eq!(lines(&unmet(&demanding(), &Facts::default())), expected);

    let exclusions = samples::requirement(json!({"exclude": {
        "archetypes": ["cloud"], "workload": ["kubernetes"], "network": ["ethernet"], "storage": ["nfs"],
        "container": ["docker"]
    }}));
    assert_eq!(
        lines(&unmet(&exclusions, &Facts::default())),
        [
            "FACT_UNKNOWN: not ethernet / network unknown",
            "FACT_UNKNOWN: not nfs / storage unknown",
            "FACT_UNKNOWN: not kubernetes / workload unknown",
        ]
    );
    assert_eq!(unmet(&Requirement::default(), &Facts::default()), []);
}

#[test]
fn facts_of_a_mere_host_pass_no_gate() {
    let host = samples::login_node();
    let reasons = unmet(&demanding(), &host);
    assert_eq!(verdict(&reasons), Verdict::Unknown);
    assert_eq!(reasons[0].had, "software unknown: only the worker's own machine was seen");
}

#[test]
fn a_site_without_nodes_has_too_few() {
    let facts = Facts { compute: Some(ComputeFacts::default()), ..Facts::default() };
    check(
        &facts,
        &[
            (json!({}), &[]),
            (json!({"compute": {"gpus": {"count": 1, "optional": true}}}), &[]),
            (json!({"compute": {"cores": 4}}), &["NODES_TOO_FEW: cores >= 4 / no nodes"]),
        ],
    );
}

#[test]
fn a_manifest_rules_out_what_it_knows() {
    let worker = WorkerId::parse("w1").unwrap();
    let labels = BTreeMap::from([("site".to_owned(), "office".to_owned())]);
    let manifest = Manifest {
        archetype: Some("cloud".into()),
        workload: Some("kubernetes".into()),
        ..Manifest::default()
    };
    let check = |requirement: Value, manifest: &Manifest, expected: &[&str]| {
        let reasons = unmet_manifest(&samples::requirement(requirement.clone()), &worker, &labels, manifest);
        assert_eq!(lines(&reasons), expected, "{requirement}");
    };
    check(json!({}), &manifest, &[]);
    check(json!({"labels": {"site": "office"}, "workload": ["kubernetes"]}), &manifest, &[]);
    check(
        json!({"labels": {"gpu": "yes", "site": "lab"}, "workload": ["slurm", "flux"],
               "exclude": {"workers": ["w0", "w1"], "archetypes": ["cloud"], "workload": ["kubernetes"]}}),
        &manifest,
        &[
            "LABEL_MISMATCH: gpu=yes / no label gpu",
            "LABEL_MISMATCH: site=lab / site=office",
            "EXCLUDED: not worker w1 / worker w1",
            "EXCLUDED: not cloud / cloud",
            "WORKLOAD_MANAGER: slurm or flux / kubernetes",
            "EXCLUDED: not kubernetes / kubernetes",
        ],
    );
    let unknown = Manifest::default();
    check(json!({"workload": ["slurm"], "exclude": {"archetypes": ["cloud"]}}), &unknown, &[]);
}

#[test]
fn the_verdict_follows_from_the_reasons() {
    use ReasonCode::*;
    let table: [(&[ReasonCode], Verdict); 9] = [
        (&[], Verdict::Ready),
        (&[NodesBusy], Verdict::Busy),
        (&[CoresBusy, GpusBusy, StartTooLate], Verdict::Busy),
        (&[FactUnknown], Verdict::Unknown),
        (&[FactUnknown, NodesBusy], Verdict::Unknown),
        (&[NodesBusy, FactUnknown], Verdict::Unknown),
        (&[FactUnknown, SoftwareMissing, NodesBusy], Verdict::Incompatible),
        (&[OverBudget], Verdict::Incompatible),
        (&[DeadlineMissed, FactUnknown], Verdict::Incompatible),
    ];
    for (codes, expected) in table {
        let reasons: Vec<Reason> =
            codes.iter().map(|code| reason(*code, String::new(), String::new())).collect();
        assert_eq!(verdict(&reasons), expected, "{codes:?}");
    }
}

#[test]
fn taken_capacity_bars_only_work_that_cannot_wait() {
    let reasons = [
        reason(ReasonCode::NodesBusy, String::new(), String::new()),
        reason(ReasonCode::SoftwareMissing, String::new(), String::new()),
    ];
    let left = |time: Value| blocking(&samples::requirement(json!({"time": time})), &reasons).len();
    assert_eq!(left(json!({})), 1);
    assert_eq!(left(json!({"urgency": "flexible"})), 1);
    assert_eq!(left(json!({"start_by_seconds": 3600})), 1);
    assert_eq!(left(json!({"urgency": "immediate"})), 2);
    assert_eq!(left(json!({"start_by_seconds": 0})), 2);
}
