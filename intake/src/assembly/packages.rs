//! Packages: several mentions of one are joined; constraints that no version can meet are refused.

use std::cmp::Ordering;

use protocol::requirement::SoftwareNeed;

use crate::assembly::{Assembled, MAX_ENTRIES};
use crate::meaning::{Finding, Meaning, Refusal};

/// Fills the software part of the requirement.
pub fn assemble(findings: &[Finding], assembled: &mut Assembled) {
    let said: Vec<(&Finding, &String, Option<&String>)> = findings
        .iter()
        .filter_map(|finding| match &finding.meaning {
            Meaning::Software { name, constraint } => Some((finding, name, constraint.as_ref())),
            _ => None,
        })
        .collect();
    let mut names: Vec<&String> = Vec::new();
    for (finding, name, _) in &said {
        if !names.contains(name) {
            if names.len() >= MAX_ENTRIES {
                assembled.refuse(finding, "a request names at most 256 packages");
                continue;
            }
            names.push(name);
        }
    }
    for (index, name) in names.into_iter().enumerate() {
        let mentions: Vec<_> = said.iter().filter(|(_, other, _)| *other == name).collect();
        let mut parts: Vec<&str> = Vec::new();
        for part in
            mentions.iter().filter_map(|(.., constraint)| *constraint).flat_map(|text| text.split(','))
        {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        let possible = is_possible(&parts);
        for (finding, ..) in &mentions {
            for piece in &finding.pieces {
                if piece.leaf == ".constraint" && !possible {
                    let reason = format!("no version of {name} meets all that the request says about it");
                    assembled.refusals.push(Refusal { tokens: piece.tokens.clone(), reason });
                } else {
                    let path = format!("requirement.software[{index}]{}", piece.leaf);
                    assembled.spans.push((piece.tokens.clone(), path));
                }
            }
        }
        let constraint = (possible && !parts.is_empty()).then(|| parts.join(","));
        assembled.requirement.software.push(SoftwareNeed { name: name.clone(), constraint });
    }
}

fn split(part: &str) -> (&str, &str) {
    let digits = part.find(|c: char| !"<>=~^".contains(c)).unwrap_or(part.len());
    part.split_at(digits)
}

/// Whether some version could meet all bounds, as far as their ends tell.
fn is_possible(parts: &[&str]) -> bool {
    let pairs = || parts.iter().map(|part| split(part));
    pairs().all(|(operator, version)| {
        pairs().all(|(other, bound)| {
            let order = compare(version, bound);
            match (operator, other) {
                ("==", "==") => order == Ordering::Equal,
                ("==", ">=") => order != Ordering::Less || is_prefix(version, bound),
                ("==", "<=") => order != Ordering::Greater || is_prefix(bound, version),
                ("==", ">") => order == Ordering::Greater,
                ("==", "<") => order == Ordering::Less,
                (">=", "<=") => order != Ordering::Greater || is_prefix(bound, version),
                (">=" | ">", "<") | (">", "<=") => order == Ordering::Less,
                _ => true,
            }
        })
    })
}

/// Whether `2023` stands for versions such as `2023.1`.
fn is_prefix(short: &str, long: &str) -> bool {
    long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'))
}

/// Orders versions by their parts: numbers as numbers, the rest as text.
fn compare(left: &str, right: &str) -> Ordering {
    let parts = |text: &str| -> Vec<String> { text.split(['.', '-', '_', '+']).map(str::to_owned).collect() };
    let (left, right) = (parts(left), parts(right));
    for (a, b) in left.iter().zip(&right) {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_constraints_are_seen() {
        assert!(is_possible(&[">=2", "<3"]));
        assert!(is_possible(&["==2023.1", ">=2023"]));
        assert!(is_possible(&["==2023", "<=2023.4"]));
        assert!(!is_possible(&[">=3", "<2"]));
        assert!(!is_possible(&["==2", "==3"]));
        assert!(!is_possible(&[">2", "<2"]));
        assert!(is_possible(&["~2.1", "^2"]));
    }
}
