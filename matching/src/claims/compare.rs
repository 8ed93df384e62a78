//! A claim held against the truth about its subject.

use std::cmp::Ordering;

use protocol::claim::{Claim, ClaimValue};
use protocol::evaluation::AuditResult;
use protocol::requirement::Requirement;

use super::subject::Subject;
use crate::names;
use crate::version::{Constraint, Version};

/// The relative error within which a number counts as true.
pub const TOLERANCE: f64 = 0.1;

/// Times closer than this many seconds are equal, however short they are.
const SAME_SECONDS: f64 = 1.0;

/// How a claim compares with the truth about its subject: whether it promises more than there is, less,
/// or the same. A subject without a meaning and a value of the wrong kind cannot be told.
#[must_use]
pub fn compare(requirement: &Requirement, claimed: &Claim, truth: &ClaimValue) -> AuditResult {
    let Some(subject) = Subject::parse(&claimed.subject) else { return AuditResult::Unchecked };
    let claimed = &claimed.value;
    match subject {
        Subject::Nodes
        | Subject::NodesFree
        | Subject::Cores
        | Subject::CoresFree
        | Subject::CoresPerNode
        | Subject::Memory
        | Subject::MemoryPerNode
        | Subject::Gpus
        | Subject::GpusFree
        | Subject::GpusPerNode
        | Subject::GpuMemory
        | Subject::NetworkSpeed(_)
        | Subject::StorageFree(_) => more_is_better(numbers(claimed, truth), 0.0),
        Subject::TimeLimit => more_is_better(numbers(claimed, truth), SAME_SECONDS),
        Subject::QueueDepth | Subject::Price => less_is_better(numbers(claimed, truth), 0.0),
        Subject::StartP90 => less_is_better(numbers(claimed, truth), SAME_SECONDS),
        Subject::Network(_) | Subject::Storage(_) | Subject::Container(_) | Subject::Mpi => {
            flags(claimed, truth)
        }
        Subject::Software(name) => versions(requirement, name, claimed, truth),
        Subject::GpuModel => {
            let wanted = requirement.compute.gpus.as_ref().and_then(|gpus| gpus.model.as_deref());
            texts(
                claimed,
                truth,
                |model| wanted.is_none_or(|wanted| names::is_gpu_model(wanted, model)),
                |a, b| names::is_gpu_model(a, b) || names::is_gpu_model(b, a),
            )
        }
        Subject::Manager => {
            let (wanted, excluded) = (&requirement.workload, &requirement.exclude.workload);
            let will_do = |manager: &str| {
                (wanted.is_empty() || names::is_one_of(manager, wanted))
                    && !names::is_one_of(manager, excluded)
            };
            texts(claimed, truth, will_do, names::same)
        }
        Subject::Archetype => {
            let excluded = &requirement.exclude.archetypes;
            texts(claimed, truth, |kind| !names::is_one_of(kind, excluded), names::same)
        }
    }
}

/// The relative error of a claimed number, where both are numbers. Any error about zero counts as 1.
#[must_use]
pub fn relative_error(claimed: &ClaimValue, truth: &ClaimValue) -> Option<f64> {
    let (claimed, truth) = numbers(claimed, truth)?;
    let error = ((claimed - truth) / truth).abs();
    Some(match truth {
        0.0 if claimed == 0.0 => 0.0,
        0.0 => 1.0,
        _ => error.min(f64::MAX),
    })
}

/// Both values as numbers; a number that a model wrote as text is one too.
fn numbers(claimed: &ClaimValue, truth: &ClaimValue) -> Option<(f64, f64)> {
    Some((number(claimed)?, number(truth)?))
}

fn number(value: &ClaimValue) -> Option<f64> {
    match value {
        ClaimValue::Quantity(number) => Some(number.get()),
        ClaimValue::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        ClaimValue::Flag(_) | ClaimValue::List(_) => None,
    }
}

fn flag(value: &ClaimValue) -> Option<bool> {
    match value {
        ClaimValue::Flag(flag) => Some(*flag),
        ClaimValue::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
        ClaimValue::Quantity(_) | ClaimValue::List(_) => None,
    }
}

fn from_order(order: Ordering) -> AuditResult {
    match order {
        Ordering::Greater => AuditResult::Over,
        Ordering::Equal => AuditResult::Match,
        Ordering::Less => AuditResult::Under,
    }
}

fn more_is_better(numbers: Option<(f64, f64)>, slack: f64) -> AuditResult {
    let Some((claimed, truth)) = numbers else { return AuditResult::Unchecked };
    // A whisker more than the tolerance, so that a claim of exactly 110 % is within it.
    let tolerance = (truth.abs() * TOLERANCE * (1.0 + 1e-9)).max(slack);
    if (claimed - truth).abs() <= tolerance {
        return AuditResult::Match;
    }
    from_order(claimed.total_cmp(&truth))
}

fn less_is_better(numbers: Option<(f64, f64)>, slack: f64) -> AuditResult {
    more_is_better(numbers.map(|(claimed, truth)| (-claimed, -truth)), slack)
}

fn flags(claimed: &ClaimValue, truth: &ClaimValue) -> AuditResult {
    match (flag(claimed), flag(truth)) {
        (Some(claimed), Some(truth)) => from_order(claimed.cmp(&truth)),
        _ => AuditResult::Unchecked,
    }
}

/// Names: one that will do where the true one will not promises more than there is, and the other way
/// round. A false name that changes nothing is still false.
fn texts(
    claimed: &ClaimValue,
    truth: &ClaimValue,
    will_do: impl Fn(&str) -> bool,
    is_same: impl Fn(&str, &str) -> bool,
) -> AuditResult {
    let (ClaimValue::Text(claimed), ClaimValue::Text(truth)) = (claimed, truth) else {
        return AuditResult::Unchecked;
    };
    if !claimed.contains(|c: char| c.is_ascii_alphanumeric()) {
        return AuditResult::Unchecked;
    }
    match (will_do(claimed), will_do(truth)) {
        (true, false) => AuditResult::Over,
        (false, true) => AuditResult::Under,
        _ if is_same(claimed, truth) => AuditResult::Match,
        _ => AuditResult::Over,
    }
}

/// Versions: claiming one that will do and is not installed promises more than there is; claiming none
/// that will do, where one is installed, less. Versions that will not do anyway decide nothing.
fn versions(requirement: &Requirement, name: &str, claimed: &ClaimValue, truth: &ClaimValue) -> AuditResult {
    let (Some(claimed), Some(truth)) = (version_list(claimed), version_list(truth)) else {
        return AuditResult::Unchecked;
    };
    let constraints: Vec<Constraint> = requirement
        .software
        .iter()
        .filter(|need| names::same(&need.name, name))
        .filter_map(|need| Constraint::parse(need.constraint.as_deref()?).ok())
        .collect();
    let will_do = |versions: &[String]| -> Vec<Version> {
        let versions = versions.iter().map(|version| Version::parse(version));
        versions.filter(|version| constraints.iter().all(|constraint| constraint.accepts(version))).collect()
    };
    let (claimed, truth) = (will_do(&claimed), will_do(&truth));
    match (claimed.is_empty(), truth.is_empty()) {
        (true, true) => AuditResult::Match,
        (true, false) => AuditResult::Under,
        (false, _) if claimed.iter().all(|version| truth.contains(version)) => AuditResult::Match,
        (false, _) => AuditResult::Over,
    }
}

/// The versions that a claim names. A single one may stand alone, and a date-like one may have been
/// written as a number.
fn version_list(value: &ClaimValue) -> Option<Vec<String>> {
    match value {
        ClaimValue::List(versions) => Some(versions.clone()),
        ClaimValue::Text(version) => Some(vec![version.clone()]),
        ClaimValue::Quantity(_) => Some(vec![value.to_string()]),
        ClaimValue::Flag(false) => Some(Vec::new()),
        ClaimValue::Flag(true) => None,
    }
}
