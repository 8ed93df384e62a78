//! A request as directives of `sbatch`, one `--name=value` word for each, and back. Nothing of a request
//! gets lost on the way: what has no directive is refused with the reason.
//!
//! Slurm counts memory in MiB and time in minutes; both are rounded up, and the batch script keeps a
//! limit that is no whole number of minutes. Whole nodes are exclusive and come with all their memory.

use protocol::units::{GiB, Seconds};

use super::nodes::{Cluster, Node, Partition};
use crate::error::WorkloadError;
use crate::submit::SubmitRequest;

/// What `sbatch` is told about a job's size and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// The name under which the job is found again.
    pub job_name: String,
    /// `--nodes`.
    pub nodes: Option<u32>,
    /// `--exclusive`: nobody else gets a part of these nodes.
    pub exclusive: bool,
    /// `--ntasks`.
    pub tasks: u32,
    /// `--cpus-per-task`.
    pub cpus_per_task: Option<u32>,
    /// `--threads-per-core=1`: a core is a core where the site counts its threads.
    pub whole_cores: bool,
    /// `--mem` or `--mem-per-cpu`.
    pub memory: Option<Memory>,
    /// `--gpus`, in total.
    pub gpus: u32,
    /// Their type.
    pub gpu_type: Option<String>,
    /// `--time` in minutes.
    pub minutes: Option<u32>,
    /// `--partition`; with several the first that can start it takes it.
    pub partition: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--qos`.
    pub qos: Option<String>,
    /// `--constraint`.
    pub constraint: Option<String>,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Of each node; 0 means all of it.
    PerNode(u64),
    /// For each core.
    PerCore(u64),
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason })
}

/// Sizes in MiB, rounded up.
fn mib(size: GiB) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let mib = (size.get() * 1024.0).ceil() as u64;
    mib
}

/// A value that `sbatch` takes as one word and that cannot be another option or a list of its own.
fn word(field: &'static str, value: Option<&String>, also: &str) -> Result<Option<String>, WorkloadError> {
    let Some(value) = value else { return Ok(None) };
    let good = (1..=256).contains(&value.len())
        && value.chars().all(|character| {
            character.is_ascii_alphanumeric() || "_.-".contains(character) || also.contains(character)
        });
    if good {
        Ok(Some(value.clone()))
    } else {
        refuse(field, format!("{value:?} is no name that Slurm takes"))
    }
}

/// What a request asks of a partition, in Slurm's units.
struct Size {
    whole_nodes: u32,
    cores: u32,
    gpus: u32,
    memory_mib: u64,
    limit: Option<Seconds>,
    expected: Option<Seconds>,
    gpu_model: Option<String>,
}

impl Size {
    fn of(request: &SubmitRequest) -> Result<Self, WorkloadError> {
        if let Some(limit) = request.time_limit.filter(|limit| *limit <= Seconds::ZERO) {
            return refuse("time_limit", format!("{limit} leaves no time to run"));
        }
        if let Some(memory) = request.memory_limit.filter(|memory| *memory <= GiB::ZERO) {
            return refuse("memory_limit", format!("{memory} is no memory to run in"));
        }
        let model = request.placement.gpu_model.as_ref().filter(|_| request.allocation.gpus > 0);
        Ok(Self {
            whole_nodes: request.allocation.nodes,
            // Work that names no cores still runs on one.
            cores: request.allocation.cores.max(u32::from(request.allocation.nodes == 0)),
            gpus: request.allocation.gpus,
            memory_mib: request.memory_limit.map_or(0, mib),
            limit: request.time_limit,
            expected: request.placement.expected_runtime,
            gpu_model: model.map(|model| model.to_ascii_lowercase()),
        })
    }

    fn has_model(&self, node: &Node) -> bool {
        let model = node.gpus.kind.as_deref().map(super::fields::gpu_model);
        self.gpu_model.as_ref().is_none_or(|wanted| model.as_ref() == Some(wanted))
    }

    fn fits_one(&self, node: &Node) -> bool {
        self.cores <= node.cores
            && self.memory_mib <= node.memory_mib
            && (self.gpus == 0 || self.gpus <= node.gpus.count && self.has_model(node))
    }

    /// Whether it could ever run in a partition. The error comes with how far the check came: the
    /// partition that failed last says best what is wrong.
    fn fits(&self, partition: &Partition, cluster: &Cluster) -> Result<(), (u8, WorkloadError)> {
        let (name, no) =
            (&partition.name, |step, field, reason| Err((step, WorkloadError::Refused { field, reason })));
        let nodes: Vec<&Node> = cluster.nodes.iter().filter(|node| node.partitions.contains(name)).collect();
        let sum = |part: fn(&Node) -> u64| nodes.iter().map(|node| part(node)).fold(0, u64::saturating_add);
        let cores = sum(|node| node.cores.into());
        if u64::from(self.cores) > cores {
            return no(
                0,
                "allocation.cores",
                format!("{} asked for, partition {name} has {cores}", self.cores),
            );
        }
        let have = nodes.len();
        let most = partition.most_nodes.map_or(have, |most| have.min(most as usize));
        if self.whole_nodes as usize > most {
            let asked = self.whole_nodes;
            return no(1, "allocation.nodes", format!("{asked} asked for, partition {name} gives {most}"));
        }
        let gpus = nodes
            .iter()
            .filter(|node| self.has_model(node))
            .map(|node| node.gpus.count)
            .fold(0, u32::saturating_add);
        if self.gpus > gpus {
            let model = self.gpu_model.as_ref().map(|model| format!(" of model {model}")).unwrap_or_default();
            let reason = format!("{} asked for, partition {name} has {gpus}{model}", self.gpus);
            return no(if gpus == 0 { 2 } else { 3 }, "allocation.gpus", reason);
        }
        let memory = sum(|node| node.memory_mib);
        if self.memory_mib > memory {
            let reason = format!("{} MiB asked for, partition {name} has {memory} MiB", self.memory_mib);
            return no(4, "memory_limit", reason);
        }
        if let (Some(asked), Some(longest)) = (self.limit.or(self.expected), partition.time_limit)
            && asked > longest
        {
            return no(5, "time_limit", format!("{asked} is more than the {longest} of partition {name}"));
        }
        Ok(())
    }
}

/// The partitions for a request: the one that is named, else the default one, else those that fit.
fn choose<'a>(
    size: &Size,
    named: Option<&str>,
    cluster: &'a Cluster,
) -> Result<Vec<&'a Partition>, WorkloadError> {
    let names =
        || cluster.partitions.iter().map(|partition| partition.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut candidates: Vec<&Partition> = cluster.partitions.iter().collect();
    if let Some(named) = named {
        candidates.retain(|partition| partition.name == named);
    }
    if candidates.is_empty() {
        let reason = format!("no partition of that name takes work; there are: {}", names());
        return refuse("placement.partition", reason);
    }
    let mut worst: Option<(u8, WorkloadError)> = None;
    candidates.retain(|partition| match size.fits(partition, cluster) {
        Ok(()) => true,
        Err(failure) => {
            if worst.as_ref().is_none_or(|(step, _)| failure.0 > *step) {
                worst = Some(failure);
            }
            false
        }
    });
    if let (true, Some((_, error))) = (candidates.is_empty(), worst) {
        return Err(error);
    }
    if let Some(default) = candidates.iter().find(|partition| partition.is_default) {
        return Ok(vec![default]);
    }
    // Work without GPUs keeps away from nodes that have some, as long as there are others.
    let has_gpus = |partition: &Partition| {
        cluster.nodes.iter().any(|node| node.gpus.count > 0 && node.partitions.contains(&partition.name))
    };
    if size.gpus == 0 && candidates.iter().any(|partition| !has_gpus(partition)) {
        candidates.retain(|partition| !has_gpus(partition));
    }
    Ok(candidates)
}

impl Directives {
    /// The directives of a request at a site.
    pub(super) fn of(
        request: &SubmitRequest,
        job_name: String,
        cluster: &Cluster,
    ) -> Result<Self, WorkloadError> {
        let placement = &request.placement;
        let size = Size::of(request)?;
        let named = word("placement.partition", placement.partition.as_ref(), "")?;
        let partitions = choose(&size, named.as_deref(), cluster)?;
        let within =
            |node: &&Node| partitions.iter().any(|partition| node.partitions.contains(&partition.name));
        let nodes: Vec<&Node> = cluster.nodes.iter().filter(within).collect();
        let whole = size.whole_nodes > 0;
        let one = !whole && nodes.iter().any(|node| size.fits_one(node));
        let (tasks, cpus_per_task) = layout(&size, placement.tasks, one)?;
        let parts = if whole { u64::from(size.whole_nodes) } else { u64::from(size.cores) };
        let memory = match (size.memory_mib, whole, one) {
            (0, true, _) => Some(Memory::PerNode(0)),
            (0, false, _) => None,
            (memory, false, true) => Some(Memory::PerNode(memory)),
            (memory, true, _) => Some(Memory::PerNode(memory.div_ceil(parts))),
            (memory, false, false) => Some(Memory::PerCore(memory.div_ceil(parts))),
        };
        let gpu_type = match &size.gpu_model {
            None => None,
            Some(_) => nodes.iter().find(|node| size.has_model(node)).and_then(|node| node.gpus.kind.clone()),
        };
        Ok(Self {
            job_name,
            nodes: if whole { Some(size.whole_nodes) } else { one.then_some(1) },
            exclusive: whole,
            tasks,
            cpus_per_task,
            whole_cores: nodes.iter().any(|node| node.threads_per_core > 1),
            memory,
            gpus: size.gpus,
            gpu_type,
            minutes: size.limit.map(minutes).or_else(|| time_for(size.expected?, &partitions)),
            partition: Some(
                partitions.iter().map(|partition| partition.name.as_str()).collect::<Vec<_>>().join(","),
            ),
            account: word("placement.account", placement.account.as_ref(), "")?,
            qos: word("placement.qos", placement.qos.as_ref(), "")?,
            constraint: word("placement.constraint", placement.constraint.as_ref(), "&|[]()*!,=:")?,
        })
    }

    /// The words for `sbatch`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![format!("--job-name={}", self.job_name), format!("--ntasks={}", self.tasks)];
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push(format!("--{name}={value}"));
            }
        };
        add("nodes", self.nodes.map(|nodes| nodes.to_string()));
        add("cpus-per-task", self.cpus_per_task.map(|cpus| cpus.to_string()));
        add("threads-per-core", self.whole_cores.then(|| "1".to_owned()));
        match self.memory {
            Some(Memory::PerNode(mib)) => add("mem", Some(format!("{mib}M"))),
            Some(Memory::PerCore(mib)) => add("mem-per-cpu", Some(format!("{mib}M"))),
            None => {}
        }
        let count = self.gpus;
        let kind = self.gpu_type.as_ref().map(|kind| format!("{kind}:")).unwrap_or_default();
        add("gpus", (count > 0).then(|| format!("{kind}{count}")));
        add("time", self.minutes.map(|minutes| minutes.to_string()));
        add("partition", self.partition.clone());
        add("account", self.account.clone());
        add("qos", self.qos.clone());
        add("constraint", self.constraint.clone());
        if self.exclusive {
            words.push("--exclusive".to_owned());
        }
        words
    }

    /// Reads the words of [`Self::words`] back; `None` when one of them is something else.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let mut read = Self::default();
        for word in words {
            if word == "--exclusive" {
                read.exclusive = true;
                continue;
            }
            let (name, value) = word.strip_prefix("--")?.split_once('=')?;
            let text = || Some(value.to_owned());
            match name {
                "job-name" => read.job_name = value.to_owned(),
                "ntasks" => read.tasks = value.parse().ok()?,
                "nodes" => read.nodes = Some(value.parse().ok()?),
                "cpus-per-task" => read.cpus_per_task = Some(value.parse().ok()?),
                "threads-per-core" => read.whole_cores = value == "1",
                "mem" => read.memory = Some(Memory::PerNode(value.strip_suffix('M')?.parse().ok()?)),
                "mem-per-cpu" => read.memory = Some(Memory::PerCore(value.strip_suffix('M')?.parse().ok()?)),
                "gpus" => {
                    let (kind, count) =
                        value.rsplit_once(':').map_or((None, value), |(kind, count)| (Some(kind), count));
                    read.gpus = count.parse().ok()?;
                    read.gpu_type = kind.map(str::to_owned);
                }
                "time" => read.minutes = Some(value.parse().ok()?),
                "partition" => read.partition = text(),
                "account" => read.account = text(),
                "qos" => read.qos = text(),
                "constraint" => read.constraint = text(),
                _ => return None,
            }
        }
        Some(read)
    }

    /// What was asked for, as far as directives say it: allocation, tasks, memory in MiB.
    #[must_use]
    pub fn asked(&self) -> (protocol::facts::Allocation, u32, Option<u64>) {
        let nodes = self.nodes.filter(|_| self.exclusive).unwrap_or(0);
        let cores = self.cpus_per_task.map_or(0, |cpus| cpus.saturating_mul(self.tasks));
        let memory = match self.memory {
            None | Some(Memory::PerNode(0)) => None,
            Some(Memory::PerNode(mib)) => Some(mib.saturating_mul(nodes.max(1).into())),
            Some(Memory::PerCore(mib)) => Some(mib.saturating_mul(cores.into())),
        };
        (protocol::facts::Allocation { nodes, cores, gpus: self.gpus }, self.tasks, memory)
    }
}

/// Whole minutes, rounded up.
fn minutes(limit: Seconds) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let minutes = (limit.get() / 60.0).ceil() as u32;
    minutes.max(1)
}

/// Time for work that is thought to run so long: twice of it, because that is an estimate, or as much as
/// each of the partitions gives.
fn time_for(expected: Seconds, partitions: &[&Partition]) -> Option<u32> {
    let wanted = minutes(Seconds::saturating(expected.get() * 2.0));
    let limits = partitions.iter().filter_map(|partition| partition.time_limit);
    limits.map(|limit| minutes(Seconds::saturating(limit.get() - 59.0))).chain([wanted]).min()
}

/// Tasks, and the cores of each. Without a word about tasks, a node runs one with all its cores; work
/// that is spread over shared nodes has one for each core.
fn layout(size: &Size, tasks: Option<u32>, one: bool) -> Result<(u32, Option<u32>), WorkloadError> {
    let tasks = match tasks {
        Some(0) => return refuse("placement.tasks", "0 tasks do nothing".to_owned()),
        Some(tasks) => tasks,
        None if size.whole_nodes > 0 => size.whole_nodes,
        None if one => 1,
        None => size.cores,
    };
    if size.cores == 0 {
        return Ok((tasks, None));
    }
    if !size.cores.is_multiple_of(tasks) {
        let reason = format!("{tasks} tasks cannot share {} cores evenly", size.cores);
        return refuse("placement.tasks", reason);
    }
    Ok((tasks, Some(size.cores / tasks)))
}

#[cfg(test)]
mod tests;
