//! What must not be used: "no GPUs", "not on cloud", "anything but kubernetes", "without
//! containers", "avoid worker foo".
//!
//! "No X" and "without X" forbid X. "X is not needed" and "no need for X" only say that nothing
//! follows from X.

use std::ops::Range;
use std::sync::LazyLock;

use protocol::ids::WorkerId;

use crate::english::is_plain;
use crate::lexicon::{Category, RUNTIMES, SITES, gpu_model, is_gpu_noun, name_at};
use crate::meaning::{Meaning, NameList};
use crate::number;
use crate::phrase::PhraseTable;
use crate::reading::Reading;
use crate::token::Kind;
use crate::vocabulary::Vocabulary;

/// What follows from a negation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    /// It must not be used.
    Forbidden,
    /// It is not needed.
    Unneeded,
}

static NEGATORS: LazyLock<PhraseTable<Force>> = LazyLock::new(|| {
    use Force::{Forbidden, Unneeded};
    PhraseTable::new(&[
        ("no", Forbidden),
        ("not", Forbidden),
        ("without", Forbidden),
        ("sans", Forbidden),
        ("never", Forbidden),
        ("avoid|avoiding", Forbidden),
        ("exclude|excluding|excludes", Forbidden),
        ("except for|on?", Forbidden),
        ("anything|anywhere|everything|everywhere|any|all but|except on|in|for?", Forbidden),
        ("other than", Forbidden),
        ("but not on|in|with|via?", Forbidden),
        ("nothing on|in|with|that|using", Forbidden),
        ("do|does|must|should|shall|can|will|may|would not use|run|be|go|want|like|require?", Forbidden),
        (
            "don't|doesn't|mustn't|shouldn't|can't|cannot|won't|wouldn't use|run|want|like|put|place|schedule|send|be|go|touch",
            Forbidden,
        ),
        ("don't|doesn't|do|does not? need|require|care", Unneeded),
        ("no need for|of", Unneeded),
        ("not need|needing|require|requiring", Unneeded),
        ("without needing|requiring", Unneeded),
        ("without the? need for|of", Unneeded),
        ("keep|stay it|this|me|us? off|away|out from|of?", Forbidden),
        ("steer|stay clear of", Forbidden),
        ("rather not use|run|on?", Forbidden),
        ("nor|neither", Forbidden),
        ("zero", Forbidden),
        ("ban|skip|leave out?", Forbidden),
        ("instead|rather of|than", Forbidden),
    ])
});

/// Words between a negation and what it negates.
const FILLERS: &[&str] = &[
    "a",
    "an",
    "any",
    "the",
    "on",
    "in",
    "at",
    "to",
    "use",
    "using",
    "with",
    "via",
    "of",
    "for",
    "run",
    "running",
    "be",
    "by",
    "go",
    "into",
    "inside",
    "under",
    "public",
    "other",
    "that",
    "run",
    "anything",
    "some",
    "my",
    "your",
    "want",
    "it",
    "this",
    "nvidia",
    "amd",
    "dedicated",
    "need",
    "require",
    "requires",
    "needs",
    "needed",
    "kind",
    "access",
    "external",
    "send",
];

/// Words behind a negated name that belong to it.
const TAILS: &[&str] = &[
    "cluster",
    "clusters",
    "workers",
    "sites",
    "site",
    "nodes",
    "node",
    "provider",
    "providers",
    "storage",
    "support",
    "required",
    "needed",
    "necessary",
    "please",
    "at",
    "all",
    "runtime",
    "runtimes",
    "system",
    "systems",
    "machines",
    "resources",
    "allowed",
    "jobs",
    "fabric",
    "network",
    "networking",
    "based",
    "managed",
    "backend",
    "mounts",
    "mount",
    "filesystem",
    "filesystems",
    "instances",
];

pub fn read(reading: &mut Reading<'_>, vocabulary: &Vocabulary) {
    cpu_only(reading);
    let mut at = 0;
    while at < reading.len() {
        at = negation(reading, at, vocabulary).or_else(|| unneeded_behind(reading, at)).unwrap_or(at + 1);
    }
}

/// What a negation can stand in front of.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Named(Category, &'static str),
    Gpus,
    GpuModel,
    Containers,
    Mpi,
    Worker(WorkerId),
    BadWorker,
    Software,
}

fn thing_at(reading: &Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<(Thing, usize)> {
    if let Some((category, name, next)) = name_at(reading, at) {
        return Some((Thing::Named(category, name), next));
    }
    let word = reading.word(at);
    if is_gpu_noun(word) || word == "graphics" && matches!(reading.word(at + 1), "card" | "cards") {
        return Some((Thing::Gpus, if word == "graphics" { at + 2 } else { at + 1 }));
    }
    match word {
        "container" | "containers" | "containerised" | "containerisation" => {
            return Some((Thing::Containers, at + 1));
        }
        "mpi" => return Some((Thing::Mpi, at + 1)),
        "worker" | "workers" | "host" if reading.is_free(at + 1) => {
            return worker_at(reading, at + 1);
        }
        _ => {}
    }
    if gpu_model(word).is_some() {
        let next = if is_gpu_noun(reading.word(at + 1)) { at + 2 } else { at + 1 };
        return Some((Thing::GpuModel, next));
    }
    vocabulary.software(word).filter(|_| !is_plain(word)).map(|_| (Thing::Software, at + 1))
}

/// A worker's name, which may fall into several tokens (`hpc-1`, `worker-003`, `3x`).
fn worker_at(reading: &Reading<'_>, at: usize) -> Option<(Thing, usize)> {
    let at = reading.skip(at, &["named", "called", "id"]);
    let quoted = reading.skip_symbol(at, "'\"`");
    let first = reading.free(quoted).filter(|token| matches!(token.kind, Kind::Word | Kind::Number))?;
    if first.kind == Kind::Word && is_plain(&first.lower) {
        return None;
    }
    let mut end = quoted + 1;
    while reading.free(end).is_some_and(|token| {
        token.glued
            && end - quoted < 32
            && (matches!(token.kind, Kind::Word | Kind::Number)
                || token.text == "-" && reading.tokens.get(end + 1).is_some_and(|next| next.glued))
    }) {
        end += 1;
    }
    let name = reading.source(&(quoted..end)).to_lowercase();
    let end = if quoted > at { reading.skip_symbol(end, "'\"`") } else { end };
    Some((WorkerId::parse(name).map_or(Thing::BadWorker, Thing::Worker), end))
}

/// A word that nobody could take for anything but a worker's name: it has a digit or a hyphen.
fn worker_like(reading: &Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<(Thing, usize)> {
    let word = reading.word(at);
    let telling = word.contains('-') || word.contains(|c: char| c.is_ascii_digit());
    if !telling || is_plain(word) || vocabulary.software(word).is_some() || gpu_model(word).is_some() {
        return None;
    }
    worker_at(reading, at).filter(|(thing, _)| matches!(thing, Thing::Worker(_)))
}

fn negation(reading: &mut Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<usize> {
    let (force, after) = NEGATORS.at(reading, at)?;
    if is_comparison(reading, at, after) {
        return None;
    }
    let strong = !matches!(reading.word(at), "no" | "without" | "zero" | "nor" | "don't" | "doesn't");
    let is_skip =
        matches!(reading.word(at), "skip" | "leave" | "ban" | "instead" | "rather" | "keep" | "stay");
    let mut first = reading.skip(after, FILLERS);
    // "not in a container" but "not in 3 hours": a quoted or bracketed name may follow.
    first = reading.skip_symbol(first, "'\"`");
    let thing = thing_at(reading, first, vocabulary)
        .or_else(|| if strong && !is_skip { worker_like(reading, first, vocabulary) } else { None });
    let Some((thing, end)) = thing else { return unknown_thing(reading, at, first, after) };
    let mut end = reading.skip(end, TAILS);
    let was_worker = matches!(thing, Thing::Worker(_));
    let mut category = category(&thing);
    record(reading, at..end, &thing, force);
    // "not on cloud or kubernetes", "no docker, podman or singularity"
    loop {
        let is_same = |at: usize| match thing_at(reading, at, vocabulary) {
            Some((thing, _)) => self::category(&thing) == category,
            None => was_worker && worker_like(reading, at, vocabulary).is_some(),
        };
        let Some((joined, any_category)) = joint(reading, end, was_worker, is_same) else { break };
        let first = reading.skip(joined, FILLERS);
        let next = thing_at(reading, first, vocabulary)
            .or_else(|| if was_worker { worker_at(reading, first) } else { None });
        let Some((thing, next)) = next else { break };
        let same = category == self::category(&thing);
        if !same && !any_category {
            break;
        }
        category = self::category(&thing);
        let next = reading.skip(next, TAILS);
        record(reading, first..next, &thing, force);
        end = next;
    }
    Some(end)
}

/// "don't use AWS", "no AVX-512": what must not be used is not known here.
fn unknown_thing(reading: &mut Reading<'_>, at: usize, first: usize, after: usize) -> Option<usize> {
    let uses = (at..first).any(|at| {
        matches!(
            reading.word(at),
            "use" | "using" | "run" | "on" | "avoid" | "exclude" | "excluding" | "via" | "with"
        )
    }) || after == at + 1
        && first == after
        && matches!(reading.word(at), "no" | "without" | "avoid" | "exclude");
    let token = reading.free(first).filter(|token| token.kind == Kind::Word && !is_plain(&token.lower))?;
    let named = token.lower.chars().count() > 1
        && number::word_value(&token.lower).is_none()
        && size_word(&token.lower);
    if !uses || !named {
        return None;
    }
    let end = reading.skip(first + 1, TAILS);
    reading.refuse(at..end, "what this is, to exclude it, is not known here");
    Some(end)
}

/// Words that other matchers read together with a "no" or "not" in front of them.
fn size_word(word: &str) -> bool {
    !matches!(
        word,
        "gpus" | "gpu" | "later" | "fees" | "fee" | "slippage" | "urgent" | "queue" | "waiting" | "mpi"
    )
}

/// "no more than 4", "no later than 6pm", "not less", "no rush", "not urgent" negate nothing here.
fn is_comparison(reading: &Reading<'_>, at: usize, after: usize) -> bool {
    after == at + 1
        && matches!(
            reading.word(after),
            "more"
                | "less"
                | "fewer"
                | "later"
                | "earlier"
                | "older"
                | "newer"
                | "greater"
                | "rush"
                | "hurry"
                | "urgent"
                | "matter"
                | "longer"
                | "higher"
                | "lower"
                | "only"
                | "sooner"
                | "before"
                | "preference"
                | "particular"
                | "sure"
        )
}

/// A word or comma that carries a negation on, and whether to things of any category. A comma only
/// does where the list goes on behind it to an "or" or "and".
fn joint(
    reading: &Reading<'_>,
    at: usize,
    is_worker: bool,
    is_same: impl Fn(usize) -> bool,
) -> Option<(usize, bool)> {
    match (reading.symbol(at), reading.word(at)) {
        (_, "or" | "nor") => Some((at + 1, true)),
        (_, "and") => Some((at + 1, false)),
        (Some('/'), _) => Some((at + 1, false)),
        (Some(','), _) if matches!(reading.word(at + 1), "or" | "nor") => Some((at + 2, true)),
        (Some(','), _) if matches!(reading.word(at + 1), "and") => Some((at + 2, false)),
        (Some(','), _) => {
            let closes = (at + 1..(at + 7).min(reading.len()))
                .take_while(|next| !reading.is_stop(*next))
                .any(|next| {
                    matches!(reading.word(next), "or" | "nor")
                        || reading.word(next) == "and" && is_same(next + 1)
                });
            (closes || is_same(at + 1) && is_worker).then_some((at + 1, false))
        }
        _ => None,
    }
}

fn category(thing: &Thing) -> u8 {
    match thing {
        Thing::Named(Category::Manager, _) => 0,
        Thing::Named(Category::Runtime, _) | Thing::Containers => 1,
        Thing::Named(Category::Fabric, _) => 2,
        Thing::Named(Category::FileSystem, _) => 3,
        Thing::Named(Category::Site, _) => 4,
        Thing::Gpus | Thing::GpuModel => 5,
        Thing::Mpi => 6,
        Thing::Worker(_) | Thing::BadWorker => 7,
        Thing::Software => 8,
    }
}

fn record(reading: &mut Reading<'_>, tokens: Range<usize>, thing: &Thing, force: Force) {
    let list = |category: Category| match category {
        Category::Manager => (NameList::Workload, "requirement.workload"),
        Category::Runtime => (NameList::Container, "requirement.container"),
        Category::Fabric => (NameList::Network, "requirement.network"),
        Category::FileSystem => (NameList::Storage, "requirement.storage"),
        Category::Site => (NameList::Archetypes, "requirement.exclude.archetypes"),
    };
    let meaning = match (thing, force) {
        (Thing::Named(category, name), Force::Forbidden) => {
            Meaning::Forbid(list(*category).0, (*name).to_owned())
        }
        (Thing::Named(category, _), Force::Unneeded) => Meaning::Nothing(list(*category).1),
        (Thing::Gpus, _) => Meaning::NoGpus,
        (Thing::Containers, Force::Forbidden) => {
            for name in RUNTIMES {
                reading.find(tokens.clone(), Meaning::Forbid(NameList::Container, (*name).to_owned()));
            }
            return;
        }
        (Thing::Containers, Force::Unneeded) => Meaning::Nothing("requirement.container"),
        (Thing::Mpi, _) => Meaning::Mpi(false),
        (Thing::Worker(worker), Force::Forbidden) => Meaning::Forbid(NameList::Workers, worker.to_string()),
        (Thing::Worker(_), Force::Unneeded) => Meaning::Nothing("requirement.exclude.workers"),
        (Thing::Software, Force::Unneeded) => Meaning::Nothing("requirement.software"),
        (Thing::BadWorker, _) => return reading.refuse(tokens, "this cannot be a worker's name"),
        (Thing::GpuModel, _) => return reading.refuse(tokens, "a GPU model cannot be excluded"),
        (Thing::Software, Force::Forbidden) => return reading.refuse(tokens, "software cannot be excluded"),
    };
    reading.find(tokens, meaning);
}

/// "CPU only", "CPU-only", "on CPUs only", "GPU-free", "only CPUs".
fn cpu_only(reading: &mut Reading<'_>) {
    for at in 0..reading.len() {
        let is_cpu = matches!(reading.word(at), "cpu" | "cpus");
        let dash = reading.skip_symbol(at + 1, "-");
        let range = if is_cpu && matches!(reading.word(dash), "only") {
            at..dash + 1
        } else if is_cpu
            && matches!(reading.word_before(at, 1), "only" | "purely")
            && !is_counted(reading, at)
        {
            at - 1..at + 1
        } else if reading.word(at) == "gpu-free"
            || reading.word(at) == "gpuless"
            || reading.word(at) == "gpu-less"
        {
            at..at + 1
        } else {
            continue;
        };
        reading.find(range, Meaning::NoGpus);
    }
}

fn is_counted(reading: &Reading<'_>, at: usize) -> bool {
    at.checked_sub(1)
        .is_some_and(|before| reading.free(before).is_some_and(|token| token.kind == Kind::Number))
}

/// "GPUs are not needed", "MPI not required", "containers aren't necessary", "kubernetes is not an option".
fn unneeded_behind(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (thing, next) = thing_at(reading, at, &Vocabulary::default())?;
    let next = reading.skip(next, &["clusters", "cluster", "sites"]);
    let verb = reading.skip(next, &["is", "are"]);
    let denied = match reading.word(verb) {
        "not" => verb + 1,
        "isn't" | "aren't" => verb + 1,
        _ => return None,
    };
    let (force, end) = match reading.word(denied) {
        "needed" | "required" | "necessary" | "important" => (Force::Unneeded, denied + 1),
        "allowed" | "acceptable" | "ok" | "okay" | "permitted" | "wanted" => (Force::Forbidden, denied + 1),
        "an" if reading.word(denied + 1) == "option" => (Force::Forbidden, denied + 2),
        _ => return None,
    };
    record(reading, at..end, &thing, force);
    Some(end)
}

/// The other kinds of site, for "only on the cloud".
pub fn other_sites(site: &str) -> impl Iterator<Item = &'static str> {
    SITES.iter().copied().filter(move |other| *other != site)
}
