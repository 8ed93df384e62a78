//! Findings become one requirement, one intent, one job. Findings that contradict each other fill
//! nothing: all their sides are refused.

mod amounts;
mod gpus;
mod names;
mod packages;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use protocol::job::JobSpec;
use protocol::requirement::{Requirement, StorageNeed};
use protocol::understanding::Intent;
use protocol::units::{GiB, Usd};

use crate::meaning::{Finding, Meaning, NameList, Refusal};

/// The most entries that a list of a requirement gets from one text.
const MAX_ENTRIES: usize = 256;

/// What the findings say together.
#[derive(Debug, Default)]
pub struct Assembled {
    /// The hard constraints.
    pub requirement: Requirement,
    /// What matters most.
    pub intent: Option<Intent>,
    /// What to run.
    pub job: Option<JobSpec>,
    /// Tokens that were used, with the path of the field that they filled.
    pub spans: Vec<(Range<usize>, String)>,
    /// Tokens that could not be used.
    pub refusals: Vec<Refusal>,
    /// What the job lacks.
    pub missing: Vec<String>,
}

impl Assembled {
    /// Notes the field that a finding filled.
    fn fill(&mut self, finding: &Finding, path: &str) {
        for piece in &finding.pieces {
            self.spans.push((piece.tokens.clone(), format!("{path}{}", piece.leaf)));
        }
    }

    /// Refuses a finding.
    fn refuse(&mut self, finding: &Finding, reason: &str) {
        let start = finding.pieces.iter().map(|piece| piece.tokens.start).min();
        let end = finding.pieces.iter().map(|piece| piece.tokens.end).max();
        if let (Some(start), Some(end)) = (start, end) {
            self.refusals.push(Refusal { tokens: start..end, reason: reason.to_owned() });
        }
    }

    /// Refuses all sides of a contradiction.
    fn contradict<'f>(&mut self, sides: impl IntoIterator<Item = &'f Finding>, what: &str) {
        let reason = format!("contradicts another part of the request about {what}");
        for side in sides {
            self.refuse(side, &reason);
        }
    }
}

/// Puts the findings of one text together.
#[must_use]
pub fn assemble(mut findings: Vec<Finding>) -> Assembled {
    findings.sort_by_key(|finding| finding.pieces.iter().map(|piece| piece.tokens.start).min());
    let mut assembled = Assembled::default();
    packages::assemble(&findings, &mut assembled);
    amounts::assemble(&findings, &mut assembled);
    gpus::assemble(&findings, &mut assembled);
    let said = names::Said::in_all(&findings);
    names::assemble(&findings, &said, &mut assembled);
    storage(&findings, &said, &mut assembled);
    mpi(&findings, &mut assembled);
    times::assemble(&findings, &mut assembled);
    budget(&findings, &mut assembled);
    labels(&findings, &mut assembled);
    intent(&findings, &mut assembled);
    job(&findings, &mut assembled);
    assembled
}

fn storage(findings: &[Finding], said: &names::Said<'_>, assembled: &mut Assembled) {
    let mut last: Option<(usize, usize)> = None;
    for finding in findings {
        let Meaning::Storage { kind, free_gib } = &finding.meaning else { continue };
        let denied = kind.as_ref().is_some_and(|kind| said.forbids(NameList::Storage, kind));
        if denied {
            assembled.refuse(finding, "contradicts another part of the request about storage");
            continue;
        }
        let free = free_gib.map(GiB::saturating);
        let needs = &mut assembled.requirement.storage;
        let start = finding.pieces.first().map_or(0, |piece| piece.tokens.start);
        let same = needs.iter().position(|need| need.kind == *kind);
        // "lustre, 2 TB free": the space is the one just named.
        let adjacent = last.filter(|(index, end)| {
            kind.is_none()
                && free.is_some()
                && needs[*index].free_gib.is_none()
                && start.saturating_sub(*end) <= 2
        });
        let index = match same.or(adjacent.map(|(index, _)| index)) {
            Some(index) => {
                let need = &mut needs[index];
                if need.free_gib.is_none_or(|known| free.is_some_and(|free| free > known)) {
                    need.free_gib = free.or(need.free_gib);
                }
                index
            }
            None if needs.len() >= MAX_ENTRIES => continue,
            None => {
                needs.push(StorageNeed { kind: kind.clone(), free_gib: free });
                needs.len() - 1
            }
        };
        last = Some((index, finding.pieces.last().map_or(0, |piece| piece.tokens.end)));
        assembled.fill(finding, &format!("requirement.storage[{index}]"));
    }
}

fn mpi(findings: &[Finding], assembled: &mut Assembled) {
    let said = |wanted: bool| findings.iter().filter(move |finding| finding.meaning == Meaning::Mpi(wanted));
    if said(true).next().is_some() && said(false).next().is_some() {
        assembled.contradict(said(true).chain(said(false)), "MPI");
        return;
    }
    assembled.requirement.mpi = said(true).next().is_some();
    for finding in said(true).chain(said(false)) {
        assembled.fill(finding, "requirement.mpi");
    }
}

fn budget(findings: &[Finding], assembled: &mut Assembled) {
    let said: Vec<(&Finding, f64)> = findings
        .iter()
        .filter_map(|finding| match finding.meaning {
            Meaning::Budget(amount) => Some((finding, amount)),
            _ => None,
        })
        .collect();
    let Some((_, first)) = said.first() else { return };
    if said.iter().any(|(_, amount)| amount != first) {
        assembled.contradict(said.iter().map(|(finding, _)| *finding), "the budget");
        return;
    }
    assembled.requirement.budget_usd = Some(Usd::saturating(*first));
    for (finding, _) in said {
        assembled.fill(finding, "requirement.budget_usd");
    }
}

fn labels(findings: &[Finding], assembled: &mut Assembled) {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for finding in findings {
        if let Meaning::Label(key, value) = &finding.meaning {
            values.entry(key).or_default().insert(value);
        }
    }
    for finding in findings {
        let Meaning::Label(key, value) = &finding.meaning else { continue };
        if values.get(key.as_str()).is_some_and(|values| values.len() > 1) {
            assembled.refuse(finding, "contradicts another part of the request about labels");
        } else if assembled.requirement.labels.len() < MAX_ENTRIES {
            assembled.requirement.labels.insert(key.clone(), value.clone());
            assembled.fill(finding, &format!("requirement.labels.{key}"));
        }
    }
}

/// One superlative decides; several different ones are a wish for a compromise.
fn intent(findings: &[Finding], assembled: &mut Assembled) {
    for finding in findings {
        let Meaning::Intent(intent) = finding.meaning else { continue };
        assembled.intent = match assembled.intent {
            Some(before) if before != intent => Some(Intent::Balanced),
            _ => Some(intent),
        };
        assembled.fill(finding, "intent");
    }
}

fn job(findings: &[Finding], assembled: &mut Assembled) {
    for finding in findings {
        match &finding.meaning {
            Meaning::Job(spec) => match &assembled.job {
                None => {
                    assembled.job = Some((**spec).clone());
                    assembled.fill(finding, "job");
                }
                Some(known) if known == &**spec => assembled.fill(finding, "job"),
                Some(_) => {
                    assembled.refuse(finding, "a request runs one job; ask for the second one by itself")
                }
            },
            Meaning::JobDetail(path) => assembled.fill(finding, path),
            Meaning::Nothing(path) => assembled.fill(finding, path),
            Meaning::Missing(path) => assembled.missing.push((*path).to_owned()),
            _ => {}
        }
    }
}
