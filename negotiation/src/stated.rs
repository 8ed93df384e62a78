//! The site as it describes itself, for sites whose truth the hub does not know: its claims and
//! promises held against the requirement, by the same function that judges facts. A site that says
//! `READY` and claims a version that will not do contradicts itself.
//!
//! What a site does not claim is taken on its verdict's word, so only contradictions are found.

use std::collections::BTreeMap;

use matching::unmet::unmet;
use protocol::claim::{Claim, ClaimValue};
use protocol::evaluation::Reason;
use protocol::factor::FactorName;
use protocol::facts::{
    ComputeFacts, Fabric, Facts, FileSystem, NodeGroup, Package, Runtime, StartEstimate, WorkloadFacts,
};
use protocol::proposal::{Proposal, ReasonCode};
use protocol::requirement::{GpuScope, Requirement};
use protocol::units::{GiB, Seconds};

use crate::audit::CLAIMS_CONSIDERED;
use crate::belief::Belief;

/// More of anything than a request asks for.
const PLENTY: u32 = 10_000_000;

/// The hard constraints that a site's own claims and promises break.
#[must_use]
pub fn contradictions(requirement: &Requirement, proposal: &Proposal, belief: &Belief<'_>) -> Vec<Reason> {
    let claims = Claims::of(&proposal.claims);
    let mut checked = Requirement::default();
    let mut site = Facts::default();
    software(requirement, &claims, &mut checked, &mut site);
    attached(requirement, &claims, &mut checked, &mut site);
    compute(requirement, &claims, &mut checked, &mut site);
    time(requirement, belief, &claims, &mut checked, &mut site);
    if let Some(kind) = claims.text("archetype") {
        checked.exclude.archetypes.clone_from(&requirement.exclude.archetypes);
        site.archetype = Some(kind.to_owned());
    }
    let mut reasons = if checked == Requirement::default() { Vec::new() } else { unmet(&checked, &site) };
    reasons.extend(budget(requirement, belief));
    reasons
}

/// Claims by subject; of several about one subject the first counts here.
struct Claims<'a>(BTreeMap<&'a str, &'a ClaimValue>);

impl<'a> Claims<'a> {
    fn of(claims: &'a [Claim]) -> Self {
        let mut by_subject = BTreeMap::new();
        for claim in claims.iter().take(CLAIMS_CONSIDERED) {
            by_subject.entry(claim.subject.as_str()).or_insert(&claim.value);
        }
        Self(by_subject)
    }

    fn number(&self, subject: &str) -> Option<f64> {
        match self.0.get(subject)? {
            ClaimValue::Quantity(number) => Some(number.get().max(0.0)),
            _ => None,
        }
    }

    fn count(&self, subject: &str) -> Option<u32> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
        self.number(subject).map(|number| number as u32)
    }

    fn flag(&self, subject: &str) -> Option<bool> {
        match self.0.get(subject)? {
            ClaimValue::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    fn text(&self, subject: &str) -> Option<&'a str> {
        match self.0.get(subject)? {
            ClaimValue::Text(text) => Some(text),
            _ => None,
        }
    }

    fn versions(&self, subject: &str) -> Option<Vec<String>> {
        match self.0.get(subject)? {
            ClaimValue::List(versions) => Some(versions.clone()),
            ClaimValue::Text(version) => Some(vec![version.clone()]),
            ClaimValue::Flag(false) => Some(Vec::new()),
            ClaimValue::Flag(true) | ClaimValue::Quantity(_) => None,
        }
    }

    /// Those of the alternatives that are there, where any of them is spoken of.
    fn alternatives<T>(
        &self,
        category: &str,
        names: &[String],
        make: impl Fn(&String) -> T,
    ) -> Option<Vec<T>> {
        let spoken: Vec<(&String, bool)> =
            names.iter().filter_map(|name| Some((name, self.flag(&format!("{category}.{name}"))?))).collect();
        let all_denied = spoken.len() == names.len() && !names.is_empty();
        let there: Vec<T> = spoken.iter().filter(|(_, there)| *there).map(|(name, _)| make(name)).collect();
        (all_denied || !there.is_empty()).then_some(there)
    }
}

fn software(requirement: &Requirement, claims: &Claims<'_>, checked: &mut Requirement, site: &mut Facts) {
    for need in &requirement.software {
        let Some(versions) = claims.versions(&format!("software.{}", need.name)) else { continue };
        checked.software.push(need.clone());
        site.software.get_or_insert_default().extend(versions.into_iter().map(|version| Package {
            name: need.name.clone(),
            version,
            provider: String::new(),
            environment: None,
        }));
    }
}

fn attached(requirement: &Requirement, claims: &Claims<'_>, checked: &mut Requirement, site: &mut Facts) {
    let fabric = |kind: &String| Fabric { kind: kind.clone(), gbps: None };
    if let Some(fabrics) = claims.alternatives("network", &requirement.network, fabric) {
        checked.network.clone_from(&requirement.network);
        site.networks = Some(fabrics);
    }
    let runtime = |name: &String| Runtime { name: name.clone(), version: None };
    if let Some(runtimes) = claims.alternatives("container", &requirement.container, runtime) {
        checked.container.clone_from(&requirement.container);
        site.containers = Some(runtimes);
    }
    if let Some(there) = claims.flag("mpi").filter(|_| requirement.mpi) {
        checked.mpi = true;
        site.mpi = Some(if there { vec![runtime(&"mpi".to_owned())] } else { Vec::new() });
    }
    for need in &requirement.storage {
        let kind = need.kind.as_deref().unwrap_or("any");
        let Some(there) = claims.flag(&format!("storage.{kind}")) else { continue };
        checked.storage.push(need.clone());
        let file_systems = site.storage.get_or_insert_default();
        if there {
            let free = claims.number(&format!("storage.{kind}.free_gib")).map(GiB::saturating);
            file_systems.push(FileSystem {
                kind: kind.to_owned(),
                path: String::new(),
                total_gib: None,
                free_gib: free.or(need.free_gib),
            });
        }
    }
}

/// One group of nodes with plenty of everything but what is claimed. Totals are only compared where
/// nothing is asked per node, because then one node may stand for the site.
fn compute(requirement: &Requirement, claims: &Claims<'_>, checked: &mut Requirement, site: &mut Facts) {
    let need = &requirement.compute;
    if need.is_empty() || !claims.0.keys().any(|subject| subject.starts_with("compute.")) {
        return;
    }
    let gpus = need.gpus.as_ref().filter(|gpus| !gpus.optional);
    let per_node = need.nodes.is_some()
        || need.cores_per_node.is_some()
        || need.memory_gib_per_node.is_some()
        || gpus.is_some_and(|gpus| gpus.per == GpuScope::Node);
    let nodes = if per_node { PLENTY } else { 1 };
    let each = |total: &str, of_node: &str| {
        let subject = if per_node { of_node } else { total };
        claims.number(subject)
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let whole = |number: Option<f64>| number.map_or(PLENTY, |number| number as u32);
    let model = gpus.and_then(|gpus| gpus.model.clone());
    let group = NodeGroup {
        name: "claimed".to_owned(),
        nodes: claims.count("compute.nodes").unwrap_or(nodes),
        nodes_free: Some(claims.count("compute.nodes_free").unwrap_or(nodes)),
        cores_per_node: whole(each("compute.cores", "compute.cores_per_node")),
        cores_free: Some(claims.count("compute.cores_free").unwrap_or(PLENTY)),
        memory_gib_per_node: each("compute.memory_gib", "compute.memory_gib_per_node")
            .map_or(Some(GiB::from(PLENTY)), |size| Some(GiB::saturating(size))),
        gpus_per_node: whole(each("compute.gpus", "compute.gpus_per_node")),
        gpus_free: Some(claims.count("compute.gpus_free").unwrap_or(PLENTY)),
        gpu_model: claims.text("compute.gpu_model").map(str::to_owned).or(model),
        gpu_memory_gib: Some(
            claims.number("compute.gpu_memory_gib").map_or_else(|| GiB::from(PLENTY), GiB::saturating),
        ),
        ..NodeGroup::default()
    };
    checked.compute = need.clone();
    site.compute = Some(ComputeFacts { groups: vec![group] });
}

/// Start and end are held against the promises; a start that a constraint needs and that is not
/// promised is unknown, as it is for a site that was looked at.
fn time(
    requirement: &Requirement,
    belief: &Belief<'_>,
    claims: &Claims<'_>,
    checked: &mut Requirement,
    site: &mut Facts,
) {
    let manager = claims.text("workload.manager");
    if manager.is_some() {
        checked.workload.clone_from(&requirement.workload);
        checked.exclude.workload.clone_from(&requirement.exclude.workload);
    }
    checked.time = requirement.time.clone();
    // The longer of what is asked for and what the site says it takes.
    let promised = belief.promises.runtime_seconds.unwrap_or(Seconds::ZERO);
    let stated = requirement.time.duration_seconds.unwrap_or(Seconds::ZERO);
    if !requirement.time.is_empty() && promised > stated {
        checked.time.duration_seconds = Some(promised);
    }
    let start = belief.start().map(|start| {
        let start = Seconds::saturating(start);
        StartEstimate { p50: start, p90: start }
    });
    site.workload = Some(WorkloadFacts {
        manager: manager.unwrap_or_default().to_owned(),
        start,
        time_limit: claims.number("workload.time_limit_seconds").map(Seconds::saturating),
        ..WorkloadFacts::default()
    });
}

/// The cost is unknown only where it could be known: without a run time nobody can tell it.
fn budget(requirement: &Requirement, belief: &Belief<'_>) -> Option<Reason> {
    let budget = requirement.budget_usd?;
    let wanted = format!("at most {budget}");
    match belief.cost() {
        Some(cost) if cost <= budget.get() * (1.0 + 1e-9) => None,
        Some(cost) => Some(Reason { code: ReasonCode::OverBudget, wanted, had: format!("{cost} USD") }),
        None if requirement.time.duration_seconds.is_none() => None,
        None => {
            let had = format!("no {} promised", FactorName::Cost);
            Some(Reason { code: ReasonCode::FactUnknown, wanted, had })
        }
    }
}
