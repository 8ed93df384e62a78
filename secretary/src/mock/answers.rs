//! What a simulated provider's tool answers, as a function of the site's truth.

use protocol::facts::{Facts, FlagKind, Package};
use protocol::requirement::{ComputeNeed, GpuNeed, GpuScope, Requirement, SoftwareNeed, TimeNeed};
use protocol::units::Seconds;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::member::{Member, Query};
use crate::provider::{NoArguments, ProviderError, arguments};
use crate::real::packages::{FindPackage, ListPackages, PAGE_LIMIT};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EstimateStart {
    nodes: Option<u32>,
    cores: Option<u32>,
    gpus: Option<u32>,
    duration_seconds: Option<Seconds>,
}

/// The requirement whose truth answers a question, for questions that are about one; checks the
/// arguments of all.
pub(crate) fn requirement_of(
    query: Query,
    tool: &str,
    args: &Map<String, Value>,
) -> Result<Option<Requirement>, ProviderError> {
    match query {
        Query::FindPackage => {
            let FindPackage { name } = arguments(tool, args)?;
            let software = vec![SoftwareNeed { name: name.to_lowercase(), constraint: None }];
            Ok(Some(Requirement { software, ..Requirement::default() }))
        }
        Query::ListPackages => arguments::<ListPackages>(tool, args).map(|_| None),
        Query::EstimateStart => {
            let size: EstimateStart = arguments(tool, args)?;
            let gpus = size.gpus.filter(|count| *count > 0).map(|count| GpuNeed {
                count,
                per: GpuScope::Total,
                model: None,
                memory_gib: None,
                optional: false,
            });
            Ok(Some(Requirement {
                compute: ComputeNeed { nodes: size.nodes, cores: size.cores, gpus, ..ComputeNeed::default() },
                time: TimeNeed { duration_seconds: size.duration_seconds, ..TimeNeed::default() },
                ..Requirement::default()
            }))
        }
        _ => arguments::<NoArguments>(tool, args).map(|_| Some(Requirement::default())),
    }
}

/// Whether a problem is one of file systems; the others are the workload manager's to tell.
pub(crate) const fn is_about_storage(kind: FlagKind) -> bool {
    matches!(kind, FlagKind::Rebuilding | FlagKind::QuotaNear)
}

fn shown(package: &Package) -> Value {
    match &package.environment {
        Some(environment) => {
            json!({"name": package.name, "version": package.version, "environment": environment})
        }
        None => json!({"name": package.name, "version": package.version}),
    }
}

/// The packages of one provider.
pub(crate) fn packages<'a>(member: &'a Member, truth: &'a Facts) -> impl Iterator<Item = &'a Package> {
    truth.software.iter().flatten().filter(move |package| package.provider == member.name)
}

/// A name without what people leave out or spell differently; Spack puts `py-` before Python packages.
fn bare(name: &str) -> String {
    let name = name.strip_prefix("py-").unwrap_or(name);
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The installed versions of one package at one provider, from the truth about this package or several.
pub(crate) fn find_package(member: &Member, name: &str, truth: &Facts) -> Value {
    let name = bare(name);
    packages(member, truth).filter(|package| bare(&package.name) == name).map(shown).collect()
}

/// Answers a question from the truth.
pub(crate) fn answer(
    member: &Member,
    query: Query,
    tool: &str,
    args: &Map<String, Value>,
    truth: &Facts,
) -> Result<Value, ProviderError> {
    Ok(match query {
        Query::FindPackage => {
            let FindPackage { name } = arguments(tool, args)?;
            find_package(member, &name, truth)
        }
        Query::ListPackages => {
            let ListPackages { prefix } = arguments(tool, args)?;
            let prefix = prefix.to_lowercase();
            let fits = |package: &&Package| package.name.starts_with(&prefix);
            let total = packages(member, truth).filter(fits).count();
            let page: Vec<Value> = packages(member, truth).filter(fits).take(PAGE_LIMIT).map(shown).collect();
            json!({"total": total, "packages": page})
        }
        other => plain_answer(member, other, truth),
    })
}

/// Answers the questions that take no arguments, and the start estimate, whose size is in the truth.
pub(crate) fn plain_answer(member: &Member, query: Query, truth: &Facts) -> Value {
    let groups = || truth.compute.iter().flat_map(|compute| &compute.groups);
    let workload = truth.workload.as_ref();
    match query {
        Query::Cpu => groups()
            .map(|group| {
                json!({"group": group.name, "architecture": group.architecture, "model": group.cpu_model,
                       "cores_per_node": group.cores_per_node})
            })
            .collect(),
        Query::Memory => groups()
            .map(|group| json!({"group": group.name, "memory_gib_per_node": group.memory_gib_per_node}))
            .collect(),
        Query::Gpus => groups()
            .map(|group| {
                json!({"group": group.name, "gpus_per_node": group.gpus_per_node, "model": group.gpu_model,
                       "memory_gib": group.gpu_memory_gib})
            })
            .collect(),
        Query::NodeStates => groups()
            .map(|group| {
                json!({"group": group.name, "nodes": group.nodes, "nodes_free": group.nodes_free,
                       "cores_free": group.cores_free, "gpus_free": group.gpus_free})
            })
            .collect(),
        Query::QueueDepth => json!({
            "pending": workload.and_then(|workload| workload.queue_depth),
            "running": workload.and_then(|workload| workload.running),
        }),
        Query::Partitions => json!({
            "partitions": workload.map(|workload| &workload.partitions),
            "time_limit_seconds": workload.and_then(|workload| workload.time_limit),
        }),
        Query::EstimateStart => json!({
            "start": workload.and_then(|workload| workload.start),
        }),
        Query::Rates => json!(truth.prices),
        Query::Notices => {
            truth.flags.iter().filter(|flag| !is_about_storage(flag.kind)).map(|flag| json!(flag)).collect()
        }
        Query::FreeSpace => {
            let systems = truth.storage.iter().flatten().filter(|system| system.kind == member.name);
            let problems = truth.flags.iter().filter(|flag| is_about_storage(flag.kind));
            json!({"file_systems": systems.collect::<Vec<_>>(), "problems": problems.collect::<Vec<_>>()})
        }
        Query::LinkRate => {
            let fabrics = truth.networks.iter().flatten().filter(|fabric| fabric.kind == member.name);
            fabrics.map(|fabric| json!(fabric)).collect()
        }
        Query::RuntimeInfo => runtime(truth.containers.as_ref(), member),
        Query::MpiInfo => runtime(truth.mpi.as_ref(), member),
        Query::FindPackage | Query::ListPackages => Value::Null,
    }
}

fn runtime(runtimes: Option<&Vec<protocol::facts::Runtime>>, member: &Member) -> Value {
    let found = runtimes.into_iter().flatten().find(|runtime| runtime.name == member.name);
    json!({"installed": found.is_some(), "version": found.and_then(|runtime| runtime.version.as_ref())})
}
