//! Lists of names: what would do, and what must not be used.

use protocol::ids::WorkerId;

use crate::assembly::{Assembled, MAX_ENTRIES};
use crate::lexicon::{RUNTIMES, SITES};
use crate::meaning::{Finding, Meaning, NameList};

/// Whether the text forbids a name.
pub fn is_forbidden(findings: &[Finding], list: NameList, name: &str) -> bool {
    findings.iter().any(|finding| matches!(&finding.meaning, Meaning::Forbid(other, denied) if *other == list && denied == name))
}

fn is_accepted(findings: &[Finding], list: NameList, name: &str) -> bool {
    findings.iter().any(|finding| match &finding.meaning {
        Meaning::Accept(other, names) => *other == list && names.iter().any(|known| known == name),
        Meaning::Storage { kind: Some(kind), .. } => list == NameList::Storage && kind == name,
        _ => false,
    })
}

fn path(list: NameList) -> &'static str {
    match list {
        NameList::Workload => "workload",
        NameList::Container => "container",
        NameList::Network => "network",
        NameList::Storage => "storage",
        NameList::Archetypes => "archetypes",
        NameList::Workers => "workers",
    }
}

/// Fills the lists of acceptable and forbidden names.
pub fn assemble(findings: &[Finding], assembled: &mut Assembled) {
    let all_sites_denied = SITES.iter().all(|site| is_forbidden(findings, NameList::Archetypes, site));
    for finding in findings {
        match &finding.meaning {
            Meaning::Accept(list, names) => accept(findings, finding, *list, names, assembled),
            Meaning::AnyContainer => any_container(findings, finding, assembled),
            Meaning::Forbid(NameList::Archetypes, _) if all_sites_denied => {
                assembled.refuse(finding, "contradicts another part of the request: no kind of site is left");
            }
            Meaning::Forbid(list, name) => forbid(findings, finding, *list, name, assembled),
            _ => {}
        }
    }
    assembled.refusals.dedup();
}

fn accept(
    findings: &[Finding],
    finding: &Finding,
    list: NameList,
    names: &[String],
    assembled: &mut Assembled,
) {
    if names.iter().any(|name| is_forbidden(findings, list, name)) {
        assembled.refuse(finding, &format!("contradicts another part of the request about {}", path(list)));
        return;
    }
    let requirement = &mut assembled.requirement;
    let into = match list {
        NameList::Workload => &mut requirement.workload,
        NameList::Container => &mut requirement.container,
        NameList::Network => &mut requirement.network,
        NameList::Storage | NameList::Archetypes | NameList::Workers => return,
    };
    for name in names {
        if !into.contains(name) && into.len() < MAX_ENTRIES {
            into.push(name.clone());
        }
    }
    assembled.fill(finding, &format!("requirement.{}", path(list)));
}

/// "In a container" is any runtime that is not forbidden, unless the text names the ones that will do.
fn any_container(findings: &[Finding], finding: &Finding, assembled: &mut Assembled) {
    let named = findings.iter().any(|other| matches!(other.meaning, Meaning::Accept(NameList::Container, _)));
    if !named {
        let left: Vec<String> = RUNTIMES
            .iter()
            .filter(|name| !is_forbidden(findings, NameList::Container, name))
            .map(|name| (*name).to_owned())
            .collect();
        if left.is_empty() {
            assembled.refuse(finding, "contradicts another part of the request about container");
            return;
        }
        assembled.requirement.container = left;
    }
    assembled.fill(finding, "requirement.container");
}

fn forbid(findings: &[Finding], finding: &Finding, list: NameList, name: &str, assembled: &mut Assembled) {
    if is_accepted(findings, list, name) {
        assembled.refuse(finding, &format!("contradicts another part of the request about {}", path(list)));
        return;
    }
    let exclude = &mut assembled.requirement.exclude;
    let push = |into: &mut Vec<String>| {
        if !into.iter().any(|known| known == name) && into.len() < MAX_ENTRIES {
            into.push(name.to_owned());
        }
    };
    match list {
        NameList::Workload => push(&mut exclude.workload),
        NameList::Container => push(&mut exclude.container),
        NameList::Network => push(&mut exclude.network),
        NameList::Storage => push(&mut exclude.storage),
        NameList::Archetypes => push(&mut exclude.archetypes),
        NameList::Workers => {
            if let Ok(worker) = WorkerId::parse(name)
                && !exclude.workers.contains(&worker)
                && exclude.workers.len() < MAX_ENTRIES
            {
                exclude.workers.push(worker);
            }
        }
    }
    assembled.fill(finding, &format!("requirement.exclude.{}", path(list)));
}
