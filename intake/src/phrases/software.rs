//! Software: known names, and unknown ones where a version or a word such as "run" gives them away.

mod context;

use self::context::{
    OPENERS, STRONG_OPENERS, denied, ends_a_name, is_quantity_word, listed, names_work, opened,
    opened_by_request, starts_clause, vendor_of_something,
};
use crate::english::is_plain;
use crate::lexicon::{Certainty, is_reserved, spelled_out_at};
use crate::meaning::{Meaning, Piece};
use crate::phrases::versions::{Constraint, constraint_at, version_at};
use crate::reading::Reading;
use crate::token::Kind;
use crate::vocabulary::{Vocabulary, is_package_name};

pub fn read(reading: &mut Reading<'_>, vocabulary: &Vocabulary) {
    let mut at = 0;
    while at < reading.len() {
        at = known(reading, at, vocabulary).or_else(|| unknown(reading, at)).unwrap_or(at + 1);
    }
    alternatives(reading);
}

/// Implementations of MPI, any of which is one.
const MPI_NAMES: &[&str] =
    &["openmpi", "open-mpi", "mpich", "mvapich", "mvapich2", "intel-mpi", "cray-mpich", "spectrum-mpi"];

/// "gromacs or lammps": a requirement names what must be there, all of it.
fn alternatives(reading: &mut Reading<'_>) {
    let mut packages: Vec<(usize, usize, usize)> = reading
        .findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| matches!(finding.meaning, Meaning::Software { .. }))
        .filter_map(|(index, finding)| {
            let start = finding.pieces.iter().map(|piece| piece.tokens.start).min()?;
            let end = finding.pieces.iter().map(|piece| piece.tokens.end).max()?;
            Some((start, end, index))
        })
        .collect();
    packages.sort_unstable();
    let mut drop = Vec::new();
    for pair in packages.windows(2) {
        let ((start, end, first), (next, stop, second)) = (pair[0], pair[1]);
        if next != end + 1 || reading.word(end) != "or" {
            continue;
        }
        let is_mpi = |index: usize| matches!(&reading.findings[index].meaning, Meaning::Software { name, constraint: None } if MPI_NAMES.contains(&name.as_str()));
        if is_mpi(first) && is_mpi(second) {
            reading.find(start..stop, Meaning::Mpi(true));
        } else {
            reading.refuse(start..stop, "packages cannot be alternatives; name the ones that are needed");
        }
        drop.extend([first, second]);
    }
    drop.sort_unstable();
    drop.dedup();
    for index in drop.into_iter().rev() {
        reading.findings.remove(index);
    }
}

/// Runs early: names with an unmistakable version, whose words ("before", "up to", "2 or later")
/// the readers of times must not take.
pub fn read_named_versions(reading: &mut Reading<'_>, vocabulary: &Vocabulary) {
    let mut at = 0;
    while at < reading.len() {
        let next = version_first(reading, at, vocabulary)
            .or_else(|| {
                let (name, next) = name_at(reading, at, vocabulary)?;
                let constraint = constraint_at(reading, next)?;
                Some(record(reading, &name, at..next, Some(constraint)))
            })
            .or_else(|| versioned(reading, at));
        at = next.unwrap_or(at + 1);
    }
}

/// A known name at `at`, one word or several, without regard to its context.
fn name_at(reading: &Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<(String, usize)> {
    if let Some((name, next)) = spelled_out_at(reading, at) {
        return Some((name.to_owned(), next));
    }
    let word = reading.word(at);
    if word.is_empty() {
        return None;
    }
    // "blast+"
    if reading.symbol(at + 1) == Some('+') && reading.tokens[at + 1].glued {
        let name = format!("{word}+");
        if vocabulary.software(&name).is_some() {
            return Some((name, at + 2));
        }
    }
    let word = word.strip_suffix("'s").unwrap_or(word);
    vocabulary.software(word).map(|_| (word.to_owned(), at + 1))
}

/// "version 2023 of gromacs", "the 2023 release of gromacs".
fn version_first(reading: &mut Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<usize> {
    let noun = |word: &str| matches!(word, "version" | "versions" | "release" | "v");
    let (constraint_start, of) = if noun(reading.word(at)) {
        let Constraint { text, tokens } = constraint_at(reading, at)?;
        (Constraint { text, tokens: tokens.clone() }, tokens.end)
    } else {
        let (version, next) = version_at(reading, at)?;
        let end = if noun(reading.word(next)) { next + 1 } else { next };
        // "v7.2 of X" names a version without the word.
        if end == next && !reading.word(at).starts_with('v') {
            return None;
        }
        (Constraint { text: Some(format!("=={version}")), tokens: at..end }, end)
    };
    if reading.word(of) != "of" {
        return None;
    }
    let name_start = reading.skip(of + 1, &["the"]);
    let (name, end) = name_at(reading, name_start, vocabulary)
        .or_else(|| plausible(reading, name_start).map(|name| (name, name_start + 1)))?;
    let constraint = with_bound_in_front(reading, at, constraint_start);
    record(reading, &name, name_start..end, Some(constraint));
    reading.take(of..of + 1);
    Some(end)
}

/// An unknown name with an operator and a version: `X >= 1.2`, `X@1.2`, `X version 1.2`.
fn versioned(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let name = plausible(reading, at)?;
    let next = at + 1;
    let bracket = reading.symbol(next) == Some('(');
    let sign = if bracket { next + 1 } else { next };
    let operator = reading.operator(sign);
    let announced =
        matches!(reading.word(sign), "version" | "versions" | "ver" | "release") && !is_plain(&name);
    let at_sign = reading.symbol(sign) == Some('@') && reading.tokens[sign].glued;
    let telling = matches!(operator, ">=" | "<=" | "==" | ">" | "<" | "~" | "^");
    if !telling && !announced && !at_sign || is_quantity_word(&name) {
        return None;
    }
    // An everyday word with an operator is a demand that nobody here knows ("latency < 5"), unless
    // something says that it is to be run.
    if is_plain(&name) && !opened(reading, at, STRONG_OPENERS) && !opened_by_request(reading, at) {
        return None;
    }
    let constraint = constraint_at(reading, next)?;
    Some(record(reading, &name, at..next, Some(constraint)))
}

/// A word that could be the name of an unknown package.
fn plausible(reading: &Reading<'_>, at: usize) -> Option<String> {
    let token = reading.free(at).filter(|token| token.kind == Kind::Word)?;
    let name = token.lower.as_ref();
    (is_package_name(name) && !is_reserved(name)).then(|| name.to_owned())
}

/// A name from the vocabulary, where its context allows it.
fn known(reading: &mut Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<usize> {
    let (name, next) = match name_at(reading, at, vocabulary) {
        Some(found) => found,
        None => return with_attached_version(reading, at, vocabulary),
    };
    let certainty = vocabulary.software(&name).unwrap_or(Certainty::Certain);
    let tail = reading.skip(next, &["package", "module"]);
    let told =
        matches!(reading.word(tail), "installed" | "available" | "preinstalled" | "pre-installed" | "loaded");
    let fits = match certainty {
        Certainty::Certain => true,
        Certainty::InContext => {
            told || opened(reading, at, OPENERS) || starts_clause(reading, at) || names_work(reading, next)
        }
        Certainty::Versioned => told,
    };
    if !fits || vendor_of_something(reading, &name, next) || denied(reading, at) {
        return None;
    }
    Some(record(reading, &name, at..next, None))
}

/// `gromacs-2023.1`, `python3.11`, `cuda12`: a known name with its version attached.
fn with_attached_version(reading: &mut Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<usize> {
    let word = reading.word(at);
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (stem, version) = word.split_at(digits);
    let stem = stem.strip_suffix("-v").unwrap_or(stem).trim_end_matches(['-', '_']);
    let certain = vocabulary.software(stem).is_some_and(|certainty| certainty != Certainty::Versioned);
    let plain = version.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if stem.len() < 2 || !certain || !plain {
        return None;
    }
    let (name, version) = (stem.to_owned(), reading.tokens[at].text[digits..].to_owned());
    let (operator, end) = match reading.symbol(at + 1) {
        Some('+') if reading.tokens[at + 1].glued => (">=", at + 2),
        _ => ("==", at + 1),
    };
    let constraint = Constraint { text: Some(format!("{operator}{version}")), tokens: at..end };
    Some(record(reading, &name, at..end, Some(constraint)))
}

/// An unknown word where only a package's name can stand: "run feynman with 1 node", "X installed",
/// "need pyarrow available", "a job with chatterbug".
fn unknown(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let name = plausible(reading, at)?;
    if is_plain(&name) || is_quantity_word(&name) || name.contains('\'') {
        return None;
    }
    let told = matches!(reading.word(at + 1), "installed" | "preinstalled" | "pre-installed")
        || reading.word(at + 1) == "available"
            && matches!(reading.any_word_before(at, 1), "need" | "want" | "require" | "have" | "with");
    let runs_of = reading.any_word_before(at, 1) == "of"
        && matches!(
            reading.any_word_before(at, 2),
            "jobs" | "runs" | "simulations" | "copies" | "instances" | "version" | "calculations"
        );
    let called = (opened(reading, at, STRONG_OPENERS) || runs_of) && ends_a_name(reading, at + 1)
        || reading.any_word_before(at, 1) == "with"
            && matches!(reading.any_word_before(at, 2), "job" | "jobs")
            && ends_a_name(reading, at + 1)
        || listed(reading, at);
    if !told && !called || denied(reading, at) {
        return None;
    }
    let constraint = if called { constraint_at(reading, at + 1) } else { None };
    Some(record(reading, &name, at..at + 1, constraint))
}

/// Records a package; returns the position behind it.
fn record(
    reading: &mut Reading<'_>,
    name: &str,
    tokens: std::ops::Range<usize>,
    constraint: Option<Constraint>,
) -> usize {
    let constraint = constraint.map(|constraint| with_bound_in_front(reading, tokens.start, constraint));
    let mut end = tokens.end;
    let mut pieces = vec![Piece { tokens: tokens.clone(), leaf: ".name" }];
    let text = constraint.and_then(|constraint| {
        end = end.max(constraint.tokens.end);
        match constraint.text {
            Some(_) => pieces.push(Piece { tokens: constraint.tokens, leaf: ".constraint" }),
            None => reading.refuse(
                constraint.tokens,
                "versions cannot be alternatives; state the least one that will do",
            ),
        }
        constraint.text
    });
    // "the latest gromacs": which one is the latest is not known here.
    let before = tokens.start.checked_sub(1);
    if let Some(latest) = before.filter(|at| matches!(reading.word(*at), "latest" | "newest")) {
        reading.refuse(
            latest..latest + 1,
            "which version is the latest is not known here; state the least one that will do",
        );
    }
    let name = name.to_owned();
    reading.find_pieces(pieces, Meaning::Software { name, constraint: text });
    end
}

/// "at least gromacs 2023", "nothing older than gromacs 2021": the bound stands before the name.
fn with_bound_in_front(reading: &mut Reading<'_>, name: usize, constraint: Constraint) -> Constraint {
    let Some(version) = constraint
        .text
        .as_deref()
        .and_then(|text| text.strip_prefix("=="))
        .filter(|text| !text.contains(','))
    else {
        return constraint;
    };
    let words = (reading.word_before(name, 3), reading.word_before(name, 2), reading.word_before(name, 1));
    let (operator, length) = match words {
        ("no" | "not" | "nothing", "older" | "less" | "lower", "than") => (">=", 3),
        ("no" | "not" | "nothing", "newer" | "later" | "higher", "than") => ("<=", 3),
        (_, "at", "least") => (">=", 2),
        (_, "at", "most") | (_, "up", "to") => ("<=", 2),
        (_, "newer" | "later", "than") => (">", 2),
        (_, "older" | "earlier", "than") => ("<", 2),
        _ => return constraint,
    };
    let text = Some(format!("{operator}{version}"));
    reading.take(name - length..name);
    Constraint { text, tokens: constraint.tokens }
}
