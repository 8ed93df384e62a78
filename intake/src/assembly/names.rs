//! Lists of names: what would do, and what must not be used.

use std::collections::BTreeSet;

use protocol::ids::WorkerId;

use crate::assembly::{Assembled, MAX_ENTRIES};
use crate::lexicon::{RUNTIMES, SITES};
use crate::meaning::{Finding, Meaning, NameList};

/// The names that a text accepts and forbids.
pub struct Said<'f> {
    accepted: BTreeSet<(NameList, &'f str)>,
    forbidden: BTreeSet<(NameList, &'f str)>,
}

impl<'f> Said<'f> {
    /// Collects the names of all findings.
    pub fn in_all(findings: &'f [Finding]) -> Self {
        let mut said = Self { accepted: BTreeSet::new(), forbidden: BTreeSet::new() };
        for finding in findings {
            match &finding.meaning {
                Meaning::Accept(list, names) => {
                    said.accepted.extend(names.iter().map(|name| (*list, name.as_str())))
                }
                Meaning::Storage { kind: Some(kind), .. } => {
                    said.accepted.insert((NameList::Storage, kind));
                }
                Meaning::Forbid(list, name) => {
                    said.forbidden.insert((*list, name));
                }
                _ => {}
            }
        }
        said
    }

    /// Whether the text forbids a name.
    pub fn forbids(&self, list: NameList, name: &str) -> bool {
        self.forbidden.contains(&(list, name))
    }

    fn accepts(&self, list: NameList, name: &str) -> bool {
        self.accepted.contains(&(list, name))
    }

    fn names_a_runtime(&self) -> bool {
        self.accepted.iter().any(|(list, _)| *list == NameList::Container)
    }
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
pub fn assemble(findings: &[Finding], said: &Said<'_>, assembled: &mut Assembled) {
    let all_sites_denied = SITES.iter().all(|site| said.forbids(NameList::Archetypes, site));
    for finding in findings {
        match &finding.meaning {
            Meaning::Accept(list, names) => accept(said, finding, *list, names, assembled),
            Meaning::AnyContainer => any_container(said, finding, assembled),
            Meaning::Forbid(NameList::Archetypes, _) if all_sites_denied => {
                assembled.refuse(finding, "contradicts another part of the request: no kind of site is left");
            }
            Meaning::Forbid(list, name) => forbid(said, finding, *list, name, assembled),
            _ => {}
        }
    }
    assembled.refusals.dedup();
}

fn accept(said: &Said<'_>, finding: &Finding, list: NameList, names: &[String], assembled: &mut Assembled) {
    if names.iter().any(|name| said.forbids(list, name)) {
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
fn any_container(said: &Said<'_>, finding: &Finding, assembled: &mut Assembled) {
    let named = said.names_a_runtime();
    if !named {
        let left: Vec<String> = RUNTIMES
            .iter()
            .filter(|name| !said.forbids(NameList::Container, name))
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

fn forbid(said: &Said<'_>, finding: &Finding, list: NameList, name: &str, assembled: &mut Assembled) {
    if said.accepts(list, name) {
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
