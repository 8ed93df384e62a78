//! Jobs in Slurm's memory, from `squeue`.
//!
//! From 23.02 on `squeue --json` is read; before that its JSON has every job of the site whatever is
//! asked for, so the text of an explicit format is read. Neither a job's name nor anything else that a
//! user writes is in that format: a name may hold line ends and separators and would forge other lines.

use protocol::error::{ErrorBody, ErrorCode};
use protocol::units::{Seconds, Timestamp};

use super::fields;
use crate::read::{RunState, Slots};

/// The fields of the text, in the order in which [`parse_text`] takes them. The widths are larger than
/// what Slurm puts there; what is cut off nevertheless is not understood, never misread.
pub(super) const FORMAT: &str = "JobArrayID:40|,Partition:200|,State:20|,exit_code:12|,SubmitTime:24|,\
                                 StartTime:24|,EndTime:24|,Reason:60|,NumCPUs:12|,NumNodes:12|,\
                                 TimeLimit:16|,tres-alloc:300|,tres-per-job:120|,tres-per-node:120|,\
                                 NodeList:40|";

/// Text in the `NodeList` of a job that never had a node.
const NO_NODES: &[&str] = &["", "(null)", "N/A", "None assigned"];

/// A job as Slurm has it now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    /// `12`, `12_3` for an element of an array, `12_[4-9]` for elements that wait together in JSON.
    pub(super) id: String,
    /// The partitions that may take it, joined with commas.
    pub(super) partitions: String,
    pub(super) state: State,
    pub(super) submitted_at: Option<Timestamp>,
    /// When it started; while it waits, when Slurm expects that.
    pub(super) start_at: Option<Timestamp>,
    pub(super) end_at: Option<Timestamp>,
    pub(super) reason: Option<String>,
    pub(super) exit: Option<Exit>,
    pub(super) takes: Slots,
    pub(super) time_limit: Option<Seconds>,
    /// Whether it ever had a node.
    pub(super) was_placed: bool,
}

/// Where a job stands, in our word and in Slurm's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) run: RunState,
    pub(super) word: String,
}

/// How a job's script ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) signal: i32,
}

impl Exit {
    /// From the status that `wait` gave, as old versions print it.
    pub(super) const fn of_wait_status(status: i32) -> Self {
        Self { code: (status >> 8) & 0xff, signal: status & 0x7f }
    }

    /// From `3:0`, the exit code and the signal.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (code, signal) = text.split_once(':')?;
        Some(Self { code: code.parse().ok()?, signal: signal.parse().ok()? })
    }

    /// The exit code in the way of shells.
    pub(super) const fn in_one(self) -> i32 {
        if self.signal > 0 { 128 + self.signal } else { self.code }
    }
}

impl State {
    /// From Slurm's words, the base state first and then what is said besides it.
    pub(super) fn of<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let word = (*words.first()?).to_owned();
        let has = |wanted: &str| words.contains(&wanted);
        // A job that is completing still has its nodes, whatever its base state says already.
        if has("COMPLETING") || has("STAGE_OUT") {
            return Some(Self { run: RunState::Running, word: "COMPLETING".to_owned() });
        }
        let run = match word.as_str() {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT"
            | "RESV_DEL_HOLD" | "POWER_UP_NODE" => RunState::Queued,
            "RUNNING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "RESIZING" | "UPDATE_DB" => RunState::Running,
            "COMPLETED" => RunState::Completed,
            "FAILED" | "BOOT_FAIL" | "NODE_FAIL" | "OUT_OF_MEMORY" | "PREEMPTED" | "DEADLINE"
            | "LAUNCH_FAILED" | "RECONFIG_FAIL" => RunState::Failed,
            "TIMEOUT" => RunState::TimedOut,
            "CANCELLED" => RunState::Cancelled,
            _ => RunState::Unknown,
        };
        let run = if run == RunState::Running && has("CONFIGURING") { RunState::Queued } else { run };
        Some(Self { run, word })
    }

    /// Why a job in this state did not end well.
    pub(super) fn error(&self, exit: Option<i32>) -> Option<ErrorBody> {
        let body = |code, message: String| Some(ErrorBody::new(code, message));
        match self.run {
            RunState::Queued | RunState::Running | RunState::Completed => None,
            RunState::TimedOut => body(ErrorCode::JobTimeout, "it was stopped by its time limit".to_owned()),
            RunState::Cancelled => body(ErrorCode::Cancelled, "it was cancelled".to_owned()),
            RunState::Unknown => {
                body(ErrorCode::Internal, format!("nobody can tell how it ended (Slurm says {})", self.word))
            }
            RunState::Failed => {
                let message = match (self.word.as_str(), exit) {
                    ("OUT_OF_MEMORY", _) => {
                        "it was ended because it took more memory than it asked for".to_owned()
                    }
                    ("NODE_FAIL", _) => "one of its nodes failed".to_owned(),
                    ("PREEMPTED", _) => "it had to give its nodes to another job".to_owned(),
                    ("DEADLINE", _) => "it could not be done by its deadline".to_owned(),
                    ("BOOT_FAIL" | "LAUNCH_FAILED" | "RECONFIG_FAIL", _) => {
                        format!("its nodes could not start it ({})", self.word)
                    }
                    (_, Some(code)) if code > 128 => format!("it was ended by signal {}", code - 128),
                    (_, Some(code)) => format!("it ended with exit code {code}"),
                    (word, None) => format!("it failed ({word})"),
                };
                body(ErrorCode::JobFailed, message)
            }
        }
    }
}

impl Job {
    /// When it really started.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.start_at.filter(|_| self.was_placed && self.state.run != RunState::Queued)
    }

    /// When it really ended.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        self.end_at.filter(|_| self.state.run.is_terminal())
    }

    /// Whether it waits for nodes, in one of these partitions, and not for a time or for somebody.
    pub(super) fn competes_for(&self, partitions: &str) -> bool {
        let for_nodes = matches!(self.reason.as_deref(), None | Some("Resources" | "Priority"));
        let mut theirs = self.partitions.split(',');
        self.state.run == RunState::Queued
            && for_nodes
            && theirs.any(|theirs| partitions.split(',').any(|ours| ours == theirs))
    }

    /// Its exit code, once it has one.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let ran = self.was_placed && matches!(self.state.run, RunState::Completed | RunState::Failed);
        self.exit.filter(|_| ran).map(Exit::in_one)
    }
}

/// Reads the text of [`FORMAT`]. A line that does not have the form is not a job; how many there were
/// of these is the second part.
pub(super) fn parse_text(text: &str) -> (Vec<Job>, usize) {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let jobs: Vec<Job> = lines.iter().filter_map(|line| parse_line(line)).collect();
    let not_understood = lines.len() - jobs.len();
    (jobs, not_understood)
}

fn parse_line(line: &str) -> Option<Job> {
    let parts: Vec<&str> = line.split('|').map(str::trim).collect();
    let [
        id,
        partitions,
        state,
        exit,
        submitted,
        start,
        end,
        reason,
        cpus,
        nodes,
        limit,
        tres,
        tres_per_job,
        tres_per_node,
        node_list,
        "",
    ] = parts.as_slice()
    else {
        return None;
    };
    if !id.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let nodes = nodes.parse::<u32>().ok();
    Some(Job {
        id: (*id).to_owned(),
        partitions: (*partitions).to_owned(),
        state: State::of(std::iter::once(*state))?,
        submitted_at: fields::time(submitted),
        start_at: fields::time(start),
        end_at: fields::time(end),
        reason: fields::given(reason).map(str::to_owned),
        exit: exit.parse().ok().map(Exit::of_wait_status).or_else(|| Exit::parse(exit)),
        takes: takes(cpus.parse().unwrap_or(0), nodes.unwrap_or(1), tres, tres_per_job, tres_per_node),
        time_limit: fields::duration(limit),
        was_placed: !NO_NODES.contains(node_list),
    })
}

/// Cores, memory and GPUs of a job. GPUs are in its trackable resources only where the site accounts for
/// them, else in what it asked for.
pub(super) fn takes(cpus: u32, nodes: u32, tres: &str, per_job: &str, per_node: &str) -> Slots {
    let gpus_of = |list: &str| fields::gpus(&list.replace("gres:", "").replace("gres/", "")).count;
    let counted = fields::resource(tres, "gres/gpu").and_then(|count| count.parse().ok());
    let asked = || gpus_of(per_job).max(gpus_of(per_node).saturating_mul(nodes.max(1)));
    Slots {
        cores: cpus,
        memory_gib: fields::resource(tres, "mem").and_then(fields::size),
        gpus: counted.unwrap_or_else(asked),
    }
}
