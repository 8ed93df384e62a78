//! Software: known names, and unknown ones where a version or a word such as "run" gives them away.

use crate::english::is_plain;
use crate::lexicon::{Certainty, is_reserved, spelled_out_at};
use crate::meaning::{Meaning, Piece};
use crate::phrases::versions::{Constraint, constraint_at, version_at};
use crate::reading::Reading;
use crate::token::Kind;
use crate::vocabulary::{Vocabulary, is_package_name};

/// Verbs and prepositions behind which a package's name stands.
const OPENERS: &[&str] = &[
    "run",
    "running",
    "runs",
    "execute",
    "executing",
    "launch",
    "launching",
    "use",
    "using",
    "uses",
    "with",
    "need",
    "needs",
    "needing",
    "require",
    "requires",
    "requiring",
    "install",
    "installed",
    "installing",
    "have",
    "has",
    "having",
    "want",
    "wants",
    "via",
    "load",
    "loaded",
    "start",
    "starting",
    "for",
    "provide",
    "provides",
    "offers",
    "module",
    "package",
    "software",
    "library",
    "application",
    "app",
    "program",
    "code",
    "called",
    "named",
    "host",
    "hosting",
    "in",
    "benchmark",
    "benchmarking",
    "deploy",
    "deploying",
    "of",
    "and",
    "plus",
    "or",
    "on",
    "my",
    "our",
    "the",
    "get",
    "try",
    "latest",
    "do",
    "test",
    "testing",
    "build",
    "compile",
    "serve",
    "serving",
    "fire",
    "execute",
    "containing",
    "includes",
    "including",
];

/// The openers that make an unknown word a package by themselves.
const STRONG_OPENERS: &[&str] = &[
    "run",
    "running",
    "runs",
    "execute",
    "executing",
    "launch",
    "launching",
    "using",
    "install",
    "installed",
    "installing",
    "module",
    "package",
    "software",
    "library",
    "called",
    "named",
    "use",
];

/// Words between an opener and the name.
const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "my",
    "our",
    "some",
    "job",
    "jobs",
    "with",
    "of",
    "latest",
    "new",
    "big",
    "large",
    "small",
    "short",
    "long",
    "quick",
    "parallel",
    "code",
    "application",
    "package",
    "software",
    "tool",
    "program",
    "called",
    "named",
    "library",
    "benchmark",
    "simulation",
    "version",
];

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
        if !noun(reading.word(next)) {
            return None;
        }
        (Constraint { text: Some(format!("=={version}")), tokens: at..next + 1 }, next + 1)
    };
    if reading.word(of) != "of" {
        return None;
    }
    let name_start = reading.skip(of + 1, &["the"]);
    let (name, end) = name_at(reading, name_start, vocabulary)
        .or_else(|| plausible(reading, name_start).map(|name| (name, name_start + 1)))?;
    record(reading, &name, name_start..end, Some(constraint_start));
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

/// "storage available for evaluate <= 3", "need notebook >= 2".
fn opened_by_request(reading: &Reading<'_>, at: usize) -> bool {
    matches!(reading.any_word_before(at, 1), "for" | "need" | "with" | "require" | "and")
}

/// Words that measure rather than name a package.
fn is_quantity_word(word: &str) -> bool {
    matches!(
        word,
        "nodes"
            | "node"
            | "cores"
            | "core"
            | "cpus"
            | "cpu"
            | "gpus"
            | "gpu"
            | "memory"
            | "ram"
            | "mem"
            | "tasks"
            | "ranks"
            | "budget"
            | "cost"
            | "price"
            | "time"
            | "walltime"
            | "deadline"
            | "duration"
            | "latency"
            | "bandwidth"
            | "throughput"
            | "storage"
            | "disk"
            | "space"
            | "uptime"
            | "trust"
            | "score"
            | "weight"
            | "priority"
            | "f1"
            | "auc"
            | "accuracy"
            | "precision"
            | "recall"
            | "rmse"
            | "mae"
            | "r2"
            | "ratio"
            | "rate"
            | "size"
            | "capacity"
            | "utilisation"
            | "utilization"
            | "load"
            | "queue"
            | "wait"
            | "temperature"
            | "power"
            | "energy"
            | "distance"
            | "reliability"
            | "availability"
            | "speed"
            | "clock"
            | "frequency"
            | "threads"
            | "vcpus"
            | "vram"
            | "scratch"
            | "version"
            | "iops"
            | "flops"
            | "tflops"
    )
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

/// "R scripts", "julia code", "stan model", "blast job" speak of the package.
fn names_work(reading: &Reading<'_>, at: usize) -> bool {
    matches!(
        reading.word(at),
        "script"
            | "scripts"
            | "job"
            | "jobs"
            | "code"
            | "benchmark"
            | "benchmarks"
            | "run"
            | "runs"
            | "package"
            | "packages"
            | "simulation"
            | "simulations"
            | "calculation"
            | "calculations"
    )
}

/// "Intel CPUs", "CUDA GPU" describe hardware.
fn vendor_of_something(reading: &Reading<'_>, name: &str, next: usize) -> bool {
    matches!(name, "intel" | "amd" | "cray" | "hip")
        && (matches!(
            reading.any_word(next),
            "cpu"
                | "cpus"
                | "processor"
                | "processors"
                | "xeon"
                | "chip"
                | "chips"
                | "core"
                | "cores"
                | "gpu"
                | "gpus"
                | "nodes"
                | "node"
        ))
}

/// A name right behind a "without" that exclusions left alone.
fn denied(reading: &Reading<'_>, at: usize) -> bool {
    let negates = |word: &str| {
        matches!(
            word,
            "without"
                | "not"
                | "don't"
                | "never"
                | "avoid"
                | "no"
                | "except"
                | "doesn't"
                | "cannot"
                | "can't"
        )
    };
    negates(reading.any_word_before(at, 1))
        || matches!(reading.any_word_before(at, 1), "use" | "using" | "run" | "need" | "want" | "on")
            && negates(reading.any_word_before(at, 2))
}

/// `gromacs-2023.1`, `python3.11`, `cuda12`: a known name with its version attached.
fn with_attached_version(reading: &mut Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<usize> {
    let word = reading.word(at);
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (stem, version) = word.split_at(digits);
    let stem = stem.trim_end_matches(['-', '_']);
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

/// Whether an opener stands in front of `at`, with nothing but fillers between.
fn opened(reading: &Reading<'_>, at: usize, openers: &[&str]) -> bool {
    for back in 1..=4 {
        let word = reading.any_word_before(at, back);
        if openers.contains(&word) {
            return true;
        }
        if !FILLERS.contains(&word) {
            return false;
        }
    }
    false
}

/// Whether `at` begins a clause ("STREAM on 4 nodes", "job: ray, 3 nodes").
fn starts_clause(reading: &Reading<'_>, at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| reading.is_break(before))
        && (reading.is_break(at + 1)
            || matches!(reading.word(at + 1), "on" | "with" | "using" | "via" | "for" | "in" | "and" | "job"))
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

/// Whether what stands at `at` can follow a package's name.
fn ends_a_name(reading: &Reading<'_>, at: usize) -> bool {
    let Some(token) = reading.tokens.get(at) else { return true };
    if reading.is_break(at) || token.kind == Kind::Number || !reading.is_free(at) {
        return true;
    }
    let word = reading.any_word(at);
    matches!(
        word,
        "on" | "with"
            | "via"
            | "for"
            | "using"
            | "to"
            | "in"
            | "at"
            | "and"
            | "or"
            | "by"
            | "within"
            | "before"
            | "under"
            | "as"
            | "from"
            | "inside"
            | "across"
            | "over"
            | "right"
            | "now"
            | "immediately"
            | "asap"
            | "tonight"
            | "tomorrow"
            | "job"
            | "jobs"
            | "simulation"
            | "simulations"
            | "benchmark"
            | "benchmarks"
            | "run"
            | "runs"
            | "code"
            | "workload"
            | "workloads"
            | "calculation"
            | "calculations"
            | "please"
            | "somewhere"
            | "cheaply"
            | "that"
            | "which"
            | "until"
            | "where"
            | "anywhere"
            | "whenever"
            | "model"
            | "package"
            | "but"
            | "without"
            | "not"
            | "plus"
            | "requiring"
            | "needs"
            | "script"
            | "scripts"
    ) || crate::number::word_value(word).is_some()
}

/// "A, B and C" behind software that was just found.
fn listed(reading: &Reading<'_>, at: usize) -> bool {
    let Some(joint) = at.checked_sub(1) else { return false };
    let joins = reading.any_word(joint) == "and"
        || reading.any_symbol(joint) == Some(',')
        || reading.any_word(joint) == "plus";
    if !joins
        || !ends_a_name(reading, at + 1)
        || reading.any_word(joint) == "and" && !reading.is_break(at + 1)
    {
        return false;
    }
    reading.findings.last().is_some_and(|finding| {
        matches!(finding.meaning, Meaning::Software { .. })
            && finding.pieces.iter().any(|piece| piece.tokens.end == joint)
    })
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
