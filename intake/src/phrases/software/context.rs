//! What the words around a name say about whether it names software.

use crate::meaning::Meaning;
use crate::reading::Reading;
use crate::token::Kind;

/// Verbs and prepositions behind which a package's name stands.
pub(super) const OPENERS: &[&str] = &[
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
pub(super) const STRONG_OPENERS: &[&str] = &[
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

/// "storage available for evaluate <= 3", "need notebook >= 2".
pub(super) fn opened_by_request(reading: &Reading<'_>, at: usize) -> bool {
    matches!(reading.any_word_before(at, 1), "for" | "need" | "with" | "require" | "and")
}

/// Words that measure rather than name a package.
pub(super) fn is_quantity_word(word: &str) -> bool {
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

/// "R scripts", "julia code", "stan model", "blast job" speak of the package.
pub(super) fn names_work(reading: &Reading<'_>, at: usize) -> bool {
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
pub(super) fn vendor_of_something(reading: &Reading<'_>, name: &str, next: usize) -> bool {
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
pub(super) fn denied(reading: &Reading<'_>, at: usize) -> bool {
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

/// Whether an opener stands in front of `at`, with nothing but fillers between.
pub(super) fn opened(reading: &Reading<'_>, at: usize, openers: &[&str]) -> bool {
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
pub(super) fn starts_clause(reading: &Reading<'_>, at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| reading.is_break(before))
        && (reading.is_break(at + 1)
            || matches!(reading.word(at + 1), "on" | "with" | "using" | "via" | "for" | "in" | "and" | "job"))
}

/// Whether what stands at `at` can follow a package's name.
pub(super) fn ends_a_name(reading: &Reading<'_>, at: usize) -> bool {
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
pub(super) fn listed(reading: &Reading<'_>, at: usize) -> bool {
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
