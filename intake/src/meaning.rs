//! What a piece of text can mean, before it is known whether the pieces agree.

use std::ops::Range;

use protocol::job::JobSpec;
use protocol::requirement::{GpuScope, Urgency};
use protocol::understanding::Intent;

/// Something that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The tokens that say it, each with the part of the field that it fills.
    pub pieces: Vec<Piece>,
    /// What they say.
    pub meaning: Meaning,
}

/// Tokens that fill a field or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The tokens.
    pub tokens: Range<usize>,
    /// The part of the field (`.name`), or nothing for the whole.
    pub leaf: &'static str,
}

/// Something that was read and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The tokens.
    pub tokens: Range<usize>,
    /// Why.
    pub reason: String,
}

/// A quantity with the side on which it bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounded<T> {
    /// The side.
    pub bound: Bound,
    /// The quantity.
    pub value: T,
}

/// On which side a stated quantity bounds what will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Stated plainly, or "exactly".
    Exact,
    /// "At least".
    AtLeast,
    /// "At most".
    AtMost,
}

/// A count or size of the machine room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Whole nodes.
    Nodes,
    /// Processes in total.
    Tasks,
    /// Processes on each node; only useful with a number of nodes.
    TasksPerNode,
    /// Processes on each core; only useful with a number of cores.
    TasksPerCore,
    /// Cores in total.
    Cores,
    /// Cores on each node.
    CoresPerNode,
    /// Cores for each process; only useful with a number of processes.
    CoresPerTask,
    /// Memory in total, GiB.
    Memory,
    /// Memory on each node, GiB.
    MemoryPerNode,
    /// Memory for each core, GiB; only useful with a number of cores.
    MemoryPerCore,
    /// Memory for each process, GiB; only useful with a number of processes.
    MemoryPerTask,
}

/// What one mention of GPUs says; mentions add up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuMention {
    /// How many.
    pub count: Option<Bounded<u32>>,
    /// What the count refers to.
    pub per: Option<GpuScope>,
    /// The model's short name.
    pub model: Option<String>,
    /// Least memory of one GPU, GiB.
    pub memory_gib: Option<f64>,
    /// Whether the work runs without them, too.
    pub optional: bool,
}

/// A list of acceptable or forbidden names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameList {
    /// Workload managers.
    Workload,
    /// Container runtimes.
    Container,
    /// Fabrics.
    Network,
    /// Kinds of file system; only forbidden ones.
    Storage,
    /// Kinds of site; only forbidden ones.
    Archetypes,
    /// Workers; only forbidden ones.
    Workers,
}

/// A time of the request, in seconds from now (or of length, for a duration).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Latest end.
    Deadline,
    /// Latest start.
    StartBy,
    /// How long the work runs.
    Duration,
}

/// What a piece of text means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A package, and which versions of it will do.
    Software {
        /// Its name, lower case.
        name: String,
        /// `>=1.2`, or several joined with commas.
        constraint: Option<String>,
    },
    /// A count or size.
    Measure(Measure, Bounded<f64>),
    /// GPUs.
    Gpus(GpuMention),
    /// "No GPUs".
    NoGpus,
    /// "In a container": any runtime.
    AnyContainer,
    /// Names of which one must be there.
    Accept(NameList, Vec<String>),
    /// A name that must not be used.
    Forbid(NameList, String),
    /// A file system.
    Storage {
        /// Its kind.
        kind: Option<String>,
        /// Least free space, GiB.
        free_gib: Option<f64>,
    },
    /// An MPI implementation is needed, or expressly not.
    Mpi(bool),
    /// How urgent it is.
    Urgency(Urgency),
    /// A time.
    Time(Moment, f64),
    /// The most that it may cost.
    Budget(f64),
    /// A label.
    Label(String, String),
    /// What matters most.
    Intent(Intent),
    /// Heard, and nothing follows from it ("no MPI needed"); the path says what it was about.
    Nothing(&'static str),
    /// What to run.
    Job(Box<JobSpec>),
    /// A detail of what to run, already part of the job; the path says which.
    JobDetail(String),
    /// Something that the job needs and the text does not say.
    Missing(&'static str),
}
