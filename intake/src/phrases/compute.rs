//! Nodes, cores and processes: "3 nodes", "at least 128 cores", "4 nodes with 32 cores each",
//! "two-node", "96 MPI ranks", `--nodes=3`.

use protocol::requirement::GpuScope;

use crate::meaning::{Bound, Bounded, GpuMention, Meaning, Measure};
use crate::number;
use crate::phrases::gpus::{each_scope, strictly};
use crate::quantity::{Per, bound_after, bound_before, per_after};
use crate::reading::Reading;

const REASON_RANGE: &str = "the smallest is larger than the largest";
const REASON_COUNT: &str = "a count must be a whole number from 1 up";

pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        at = keyed(reading, at)
            .or_else(|| counted(reading, at))
            .or_else(|| share(reading, at))
            .or_else(|| single_node(reading, at))
            .unwrap_or(at + 1);
    }
}

/// What a noun counts, and the position behind it.
fn noun_at(reading: &Reading<'_>, at: usize) -> Option<(Measure, usize)> {
    let next_is = |words: &[&str]| words.contains(&reading.word(at + 1));
    Some(match reading.word(at) {
        "node" | "nodes" => (Measure::Nodes, at + 1),
        "compute" | "cluster" | "worker" | "identical" | "whole" | "full" | "physical" | "separate"
        | "exclusive" | "different" | "cpu" | "hpc" | "cloud" | "dedicated"
            if next_is(&["node", "nodes"]) =>
        {
            (Measure::Nodes, at + 2)
        }
        "machine" | "machines" | "server" | "servers" | "host" | "hosts" | "box" | "boxes" | "instance"
        | "instances" | "vm" | "vms" | "computer" | "computers" => (Measure::Nodes, at + 1),
        "cpu" | "physical" | "processor" | "compute" | "x86" | "processing" | "total" | "arm"
            if next_is(&["core", "cores"]) =>
        {
            (Measure::Cores, at + 2)
        }
        "core" | "cores" | "cpu" | "cpus" | "vcpu" | "vcpus" | "processor" | "processors" | "thread"
        | "threads" | "corez" | "hyperthreads" => (Measure::Cores, at + 1),
        "mpi" | "parallel"
            if next_is(&["rank", "ranks", "task", "tasks", "process", "processes", "procs"]) =>
        {
            (Measure::Tasks, at + 2)
        }
        "task" | "tasks" | "rank" | "ranks" | "process" | "processes" | "proc" | "procs" | "pes" => {
            (Measure::Tasks, at + 1)
        }
        _ => return None,
    })
}

/// "96 tasks (32 per node)", "128 cores, 32 per node": a share of the count in front of it.
fn share(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (each, next) = number::read_count(reading, at).filter(|(each, _)| *each > 0)?;
    if let Some(end) = other_bound(reading, at, each, next) {
        return Some(end);
    }
    let (Per::Node | Per::Each, end) = per_after(reading, next)? else { return None };
    let before = at.checked_sub(1).filter(|before| matches!(reading.any_symbol(*before), Some('(' | ',')))?;
    let finding = reading
        .findings
        .iter()
        .rev()
        .take(8)
        .find(|finding| finding.pieces.iter().any(|piece| piece.tokens.end == before))?;
    let measure = match finding.meaning {
        Meaning::Measure(Measure::Tasks, _) => Measure::TasksPerNode,
        Meaning::Measure(Measure::Cores, _) => Measure::CoresPerNode,
        Meaning::Gpus(_) => {
            let gpus = GpuMention {
                count: Some(Bounded { bound: Bound::Exact, value: each }),
                per: Some(GpuScope::Node),
                ..GpuMention::default()
            };
            reading.find(at..end, Meaning::Gpus(gpus));
            return Some(end);
        }
        _ => return None,
    };
    record(reading, at..end, measure, Bound::Exact, each);
    Some(end)
}

/// "at least two nodes, at most four": the other bound of the count in front of it.
fn other_bound(reading: &mut Reading<'_>, at: usize, count: u32, next: usize) -> Option<usize> {
    let (bound, strict, start) = bound_before(reading, at);
    let joined = start.checked_sub(1)?;
    let joins = matches!(reading.any_symbol(joined), Some(','))
        || matches!(reading.word(joined), "and" | "but" | "or");
    let closes = reading.is_break(next)
        || matches!(reading.word(next), "with" | "on" | "for" | "using" | "and" | "of");
    if bound == Bound::Exact || !joins || !closes {
        return None;
    }
    let last =
        if matches!(reading.any_symbol(joined.wrapping_sub(1)), Some(',')) { joined - 1 } else { joined };
    let finding = reading
        .findings
        .iter()
        .rev()
        .take(8)
        .find(|finding| finding.pieces.iter().any(|piece| piece.tokens.end == last))?;
    let value = if strict { strictly(bound, count) } else { count };
    let meaning = match &finding.meaning {
        Meaning::Measure(measure @ (Measure::Nodes | Measure::Cores | Measure::Tasks), _) => {
            Meaning::Measure(*measure, Bounded { bound, value: f64::from(value) })
        }
        Meaning::Gpus(GpuMention { count: Some(_), per, .. }) => Meaning::Gpus(GpuMention {
            count: Some(Bounded { bound, value }),
            per: *per,
            ..GpuMention::default()
        }),
        _ => return None,
    };
    reading.find(start..next, meaning);
    Some(next)
}

/// "3 nodes", "between 2 and 4 nodes", "2-4 nodes", "at least 128 cores per node".
fn counted(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let (low, next) = number::read(reading, at)?;
    let (high, value_end) = range_end(reading, next).map_or((None, next), |(high, end)| (Some(high), end));
    let bound_behind = bound_after(reading, value_end).filter(|_| high.is_none());
    let mut noun_start = bound_behind.map_or(value_end, |(_, end)| end);
    if matches!(reading.symbol(noun_start), Some('-')) || reading.word(noun_start) == "x" {
        noun_start += 1;
    }
    noun_start = reading.skip(
        noun_start,
        &[
            "or",
            "so",
            "of",
            "the",
            "available",
            "free",
            "additional",
            "dedicated",
            "big",
            "fat",
            "large",
            "identical",
            "standard",
            "reserved",
            "slurm",
            "bare-metal",
        ],
    );
    // "4-way", "8-core nodes", "64-core machine"
    let (measure, mut end) = noun_at(reading, noun_start)?;
    let compound =
        reading.symbol(value_end) == Some('-') && measure == Measure::Cores && node_noun(reading.word(end));
    let (mut bound, strict, start) = bound_before(reading, at);
    let start = if reading.word_before(start, 1) == "between" && high.is_some() { start - 1 } else { start };
    let start = if reading.word_before(start, 1) == "from" && high.is_some() { start - 1 } else { start };
    if let Some((behind, _)) = bound_behind {
        bound = behind;
    }
    if let Some((behind, next)) = bound_after(reading, end)
        .filter(|_| !matches!(reading.word(end), "max" | "maximum" | "min" | "minimum" | "plus"))
    {
        bound = behind;
        end = next;
    }
    if let Some(high) = high {
        if high < low {
            reading.refuse(start..end, REASON_RANGE);
            return Some(end);
        }
        bound = Bound::AtLeast;
    }
    let negative = reading.symbol(at.wrapping_sub(1)) == Some('-')
        && reading.tokens[at].glued
        && !reading.tokens[at - 1].glued;
    let count = number::as_count(low).filter(|count| *count > 0 && !negative);
    let Some(count) = count else {
        let start = if negative { at - 1 } else { start };
        reading.refuse(start..end, REASON_COUNT);
        return Some(end);
    };
    let value = if strict { strictly(bound, count) } else { count };
    if compound {
        return Some(compound_nodes(reading, start, end, bound, value));
    }
    let (measure, end) = scoped(reading, measure, at, end);
    // "96 MPI ranks" are ranks, and need MPI.
    let says_mpi = (noun_start..end).any(|at| reading.word(at) == "mpi");
    record(reading, start..end, measure, bound, value);
    if says_mpi {
        reading.find(start..end, Meaning::Mpi(true));
    }
    Some(end)
}

fn node_noun(word: &str) -> bool {
    matches!(
        word,
        "node"
            | "nodes"
            | "machine"
            | "machines"
            | "server"
            | "servers"
            | "box"
            | "instance"
            | "instances"
            | "host"
            | "workstation"
            | "vm"
    )
}

/// "two 64-core nodes", "a 32-core machine": cores of each node, or of the one machine.
fn compound_nodes(reading: &mut Reading<'_>, start: usize, noun: usize, bound: Bound, cores: u32) -> usize {
    let is_plural = reading.word(noun).ends_with('s') || reading.word(noun) == "boxes";
    let measure = if is_plural { Measure::CoresPerNode } else { Measure::Cores };
    let before = if reading.word_before(start, 1) == "x" { start - 1 } else { start };
    let nodes = (1..=3).rev().find_map(|back| {
        let from = before.checked_sub(back)?;
        let (nodes, next) = number::read_count(reading, from)?;
        (next == before && nodes > 0).then_some((nodes, from))
    });
    let article = matches!(reading.word_before(start, 1), "a" | "single") && reading.word(noun) == "node";
    if let Some((nodes, from)) = nodes {
        record(reading, from..before, Measure::Nodes, Bound::Exact, nodes);
    } else if article {
        record(reading, start - 1..start, Measure::Nodes, Bound::Exact, 1);
    }
    let per_node = nodes.is_some_and(|(nodes, _)| nodes > 1);
    let measure = if per_node { Measure::CoresPerNode } else { measure };
    record(reading, start..noun + 1, measure, bound, cores);
    noun + 1
}

/// What a count is for when something behind or around it says so.
fn scoped(reading: &Reading<'_>, measure: Measure, at: usize, end: usize) -> (Measure, usize) {
    match (measure, per_after(reading, end)) {
        (Measure::Cores, Some((Per::Node | Per::Each, next))) => (Measure::CoresPerNode, next),
        (Measure::Cores, Some((Per::Task, next))) => (Measure::CoresPerTask, next),
        (Measure::Tasks, Some((Per::Node | Per::Each, next))) => (Measure::TasksPerNode, next),
        (Measure::Tasks, Some((Per::Core, next))) => (Measure::TasksPerCore, next),
        (Measure::Nodes | Measure::Cores | Measure::Tasks, Some((Per::Total, next))) => (measure, next),
        (Measure::Cores, None)
            if each_scope(reading, at) || shares_scope(reading, end) || of_nodes(reading, at) =>
        {
            (Measure::CoresPerNode, end)
        }
        (Measure::Tasks, None) if each_scope(reading, at) => (Measure::TasksPerNode, end),
        _ => (measure, end),
    }
}

/// "5 nodes of 16 cores": what each node is made of.
#[must_use]
pub fn of_nodes(reading: &Reading<'_>, at: usize) -> bool {
    reading.any_word_before(at, 1) == "of" && node_noun(reading.any_word_before(at, 2))
}

/// "32 cores and 256 GB of memory per node": a scope behind the second holds for the first.
#[must_use]
pub fn shares_scope(reading: &Reading<'_>, end: usize) -> bool {
    if reading.any_word(end) != "and" {
        return false;
    }
    let reach = (end + 1..(end + 9).min(reading.len())).take_while(|at| !reading.is_break(*at));
    for at in reach {
        match reading.any_word(at) {
            "per" => return matches!(reading.any_word(at + 1), "node" | "machine" | "server" | "host"),
            "each" | "apiece" => return true,
            "and" | "on" | "for" | "with" | "using" | "in" | "nodes" | "total" | "at" => return false,
            _ => {}
        }
        if reading.any_symbol(at) == Some('/') && reading.any_word(at + 1) == "node" {
            return true;
        }
    }
    false
}

/// The upper end of a range: "to 4", "-4", "and 4" behind "between".
fn range_end(reading: &Reading<'_>, at: usize) -> Option<(f64, usize)> {
    let joined = match (reading.symbol(at), reading.word(at)) {
        (Some('-' | '\u{2013}' | '\u{2014}'), _) => at + 1,
        (_, "to" | "or") => at + 1,
        (_, "and") if (2..=3).any(|back| reading.word_before(at, back) == "between") => at + 1,
        _ => return None,
    };
    number::read(reading, joined)
}

fn record(
    reading: &mut Reading<'_>,
    tokens: std::ops::Range<usize>,
    measure: Measure,
    bound: Bound,
    value: u32,
) {
    reading.find(tokens, Meaning::Measure(measure, Bounded { bound, value: f64::from(value) }));
}

/// "a single node", "one node" is counted; "on a node", "single-node", "multi-node".
fn single_node(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let word = reading.word(at);
    let noun = match (word, reading.symbol(at + 1)) {
        ("single" | "multi", Some('-')) => at + 2,
        ("a" | "single" | "same" | "multiple" | "several" | "whole" | "full", _) => reading.skip(
            at + 1,
            &["single", "whole", "compute", "full", "exclusive", "dedicated", "big", "fat", "large"],
        ),
        _ => return None,
    };
    let is_node = reading.word(noun) == "node"
        || word == "multi" && reading.word(noun) == "nodes"
        || matches!(word, "multiple" | "several") && reading.word(noun) == "nodes";
    let is_one_machine = (matches!(word, "single" | "same") || reading.word_before(noun, 1) == "single")
        && node_noun(reading.word(noun));
    let is_one_core = matches!(word, "single") && matches!(reading.word(noun), "core" | "cpu");
    if !is_node && !is_one_machine && !is_one_core {
        return None;
    }
    if matches!(reading.word_before(at, 1), "per" | "each" | "every" | "gpus" | "cores") {
        return None;
    }
    let start = if reading.word_before(at, 1) == "a" { at - 1 } else { at };
    let (bound, value) = if matches!(word, "multi" | "multiple" | "several") {
        (Bound::AtLeast, 2)
    } else {
        (Bound::Exact, 1)
    };
    record(reading, start..noun + 1, if is_one_core { Measure::Cores } else { Measure::Nodes }, bound, value);
    Some(noun + 1)
}

/// `nodes=3`, `nodes: 3`, `--ntasks 96`, `-N 3`, `-n 96`, "number of nodes: 3", "core count of 128".
fn keyed(reading: &mut Reading<'_>, at: usize) -> Option<usize> {
    let token = reading.free(at)?;
    let dash = reading.symbol(at.wrapping_sub(1)) == Some('-') && token.glued;
    let mut next = at + 1;
    let measure = match (token.text, token.lower.as_ref()) {
        ("N", _) if dash => Measure::Nodes,
        ("n", _) if dash => Measure::Tasks,
        ("c", _) if dash => Measure::CoresPerTask,
        (_, "nodes" | "node" | "num_nodes" | "nnodes" | "node_count" | "n_nodes" | "num-nodes") => {
            Measure::Nodes
        }
        (
            _,
            "cores" | "core" | "cpus" | "cpu" | "vcpus" | "ncpus" | "num_cores" | "ncores" | "n_cores"
            | "threads" | "total_cores",
        ) => Measure::Cores,
        (_, "tasks" | "ntasks" | "ranks" | "np" | "num_tasks" | "nprocs" | "processes") => Measure::Tasks,
        (_, "ntasks-per-node" | "tasks-per-node" | "tasks_per_node" | "ppn") => Measure::TasksPerNode,
        (_, "cpus-per-task" | "cpus_per_task" | "cores-per-task") => Measure::CoresPerTask,
        (_, "cores-per-node" | "cores_per_node" | "cpus-per-node") => Measure::CoresPerNode,
        (_, "number") if reading.word(at + 1) == "of" => {
            next = at + 3;
            noun_at(reading, at + 2).filter(|(_, end)| *end == at + 3)?.0
        }
        _ => return None,
    };
    let worded = matches!(token.lower.as_ref(), "number");
    let behind = reading.skip(next, &["count", "counts", "is", "of", "per", "node"]);
    let measure = if measure == Measure::Cores && reading.word_before(behind, 1) == "node" {
        Measure::CoresPerNode
    } else {
        measure
    };
    let (sign, value) = match (reading.operator(behind), reading.symbol(behind)) {
        ("", Some(':')) => (true, behind + 1),
        ("", _) => (behind > next, behind),
        _ => (true, behind + 1),
    };
    if !sign && !dash && !worded {
        return None;
    }
    let operator = reading.operator(behind);
    let (number, end) = number::read(reading, value)?;
    // "cores: 4 nodes" speaks of nodes.
    if noun_at(reading, end).is_some_and(|(other, _)| other != measure) && operator.is_empty() {
        return None;
    }
    let end = noun_at(reading, end)
        .filter(|(same, next)| *same == measure && reading.operator(*next).is_empty())
        .map_or(end, |(_, end)| end);
    let mut start = at;
    while reading.symbol(start.wrapping_sub(1)) == Some('-') {
        start -= 1;
    }
    let Some(count) = number::as_count(number).filter(|count| *count > 0) else {
        reading.refuse(start..end, REASON_COUNT);
        return Some(end);
    };
    let (bound, count) = match operator {
        ">=" => (Bound::AtLeast, count),
        ">" => (Bound::AtLeast, strictly(Bound::AtLeast, count)),
        "<=" => (Bound::AtMost, count),
        "<" => (Bound::AtMost, strictly(Bound::AtMost, count)),
        _ => (Bound::Exact, count),
    };
    let (measure, end) = scoped(reading, measure, at, end);
    record(reading, start..end, measure, bound, count);
    Some(end)
}
