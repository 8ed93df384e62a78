//! A request as words for `qsub`, and back. Nothing of a request gets lost on the way: what has no directive is
//! refused with the reason.
//!
//! Grid Engine counts slots, which are cores here. Several of them need a parallel environment, whose rule says
//! how they are spread over hosts. Memory is asked for as `h_vmem`, in MiB for each slot, and time in seconds;
//! both are rounded up, and the batch script keeps the exact limit. Whole nodes are all slots of a host, and the
//! host alone where the site has a complex for that.

use protocol::facts::Allocation;
use protocol::units::{GiB, Seconds};

use super::nodes::{Cluster, Counted, Environment, Node, Queue, Rule};
use crate::error::WorkloadError;
use crate::submit::SubmitRequest;

/// What `qsub` is told about a job's size and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `-N`, the name under which the job is found again.
    pub job_name: String,
    /// `-pe`: the parallel environment; none for one slot.
    pub environment: Option<String>,
    /// Slots, of all hosts together.
    pub slots: u32,
    /// Whole nodes that these slots are; noted with `-ac`, because Grid Engine has no word for it.
    pub nodes: u32,
    /// MPI ranks, noted with `-ac`; by itself Grid Engine starts one for each slot.
    pub tasks: Option<u32>,
    /// `-l NAME=true`: the complex with which a job has its hosts for itself.
    pub exclusive: Option<String>,
    /// `-l h_rt=`, in seconds.
    pub seconds: Option<u64>,
    /// `-l h_vmem=`, in MiB, and what it is counted for.
    pub memory: Option<Asked<u64>>,
    /// `-l NAME=`: GPUs, and what they are counted for.
    pub gpus: Option<(String, Asked<u32>)>,
    /// `-q`.
    pub queue: Option<String>,
    /// `-P`.
    pub project: Option<String>,
    /// More for `-l`, in Grid Engine's own words.
    pub constraint: Option<String>,
}

/// An amount that a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<T> {
    /// For each of its slots.
    PerSlot(T),
    /// For all of it.
    PerJob(T),
}

/// Marks what the words for `qsub` cannot say in another way.
const NODES: &str = "parley_nodes";
const TASKS: &str = "parley_tasks";
const PER_JOB: &str = "parley_per_job";

fn refuse<T>(field: &'static str, reason: String) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason })
}

/// Sizes in MiB, rounded up.
fn mib(size: GiB) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let mib = (size.get() * 1024.0).ceil() as u64;
    mib
}

/// Whole seconds, rounded up.
fn whole_seconds(limit: Seconds) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let seconds = limit.get().ceil() as u64;
    seconds.max(1)
}

/// A value that `qsub` takes as one word and that cannot be another option or a list of its own.
fn word(field: &'static str, value: Option<&String>, also: &str) -> Result<Option<String>, WorkloadError> {
    let Some(value) = value else { return Ok(None) };
    let good = (1..=256).contains(&value.len())
        && !value.starts_with('-')
        && value.chars().all(|character| {
            character.is_ascii_alphanumeric() || "_.-".contains(character) || also.contains(character)
        });
    if good {
        Ok(Some(value.clone()))
    } else {
        refuse(field, format!("{value:?} is no name that Grid Engine takes"))
    }
}

/// What a request asks of a queue.
struct Size<'a> {
    request: &'a SubmitRequest,
    memory_mib: u64,
}

impl<'a> Size<'a> {
    fn of(request: &'a SubmitRequest) -> Result<Self, WorkloadError> {
        if let Some(limit) = request.time_limit.filter(|limit| *limit <= Seconds::ZERO) {
            return refuse("time_limit", format!("{limit} leaves no time to run"));
        }
        if let Some(memory) = request.memory_limit.filter(|memory| *memory <= GiB::ZERO) {
            return refuse("memory_limit", format!("{memory} is no memory to run in"));
        }
        let placement = &request.placement;
        if let Some(qos) = &placement.qos {
            return refuse(
                "placement.qos",
                format!("Grid Engine has no quality of service, such as {qos:?}"),
            );
        }
        if let Some(model) = placement.gpu_model.as_ref().filter(|_| request.allocation.gpus > 0) {
            let reason =
                format!("Grid Engine does not say which GPUs are {model:?}; name it as a constraint");
            return refuse("placement.gpu_model", reason);
        }
        Ok(Self { request, memory_mib: request.memory_limit.map_or(0, mib) })
    }

    /// Slots and parallel environment that a queue has for it. The error comes with how far the check came:
    /// the queue that failed last says best what is wrong.
    fn fits(&self, queue: &Queue, cluster: &Cluster) -> Result<(u32, Option<String>), (u8, WorkloadError)> {
        let name = &queue.name;
        let no = |step, field, reason| Err((step, WorkloadError::Refused { field, reason }));
        let allocation = self.request.allocation;
        let nodes: Vec<&Node> = cluster.in_service().filter(|node| node.queues.contains(name)).collect();
        let sum = |part: fn(&Node) -> u32| nodes.iter().map(|node| u64::from(part(node))).sum::<u64>();
        let cores = sum(|node| node.cores);
        if u64::from(allocation.cores) > cores {
            return no(
                0,
                "allocation.cores",
                format!("{} asked for, queue {name} has {cores}", allocation.cores),
            );
        }
        if allocation.nodes as usize > nodes.len() {
            let (asked, has) = (allocation.nodes, nodes.len());
            return no(1, "allocation.nodes", format!("{asked} asked for, queue {name} has {has}"));
        }
        let gpus = sum(|node| node.gpus);
        if u64::from(allocation.gpus) > gpus {
            return no(
                2,
                "allocation.gpus",
                format!("{} asked for, queue {name} has {gpus}", allocation.gpus),
            );
        }
        let memory: Option<u64> = nodes.iter().map(|node| node.memory.map(mib)).sum();
        if let Some(memory) = memory.filter(|memory| self.memory_mib > *memory) {
            let asked = self.memory_mib;
            return no(
                3,
                "memory_limit",
                format!("{asked} MiB asked for, hosts of queue {name} have {memory} MiB"),
            );
        }
        let asked = self.request.time_limit.or(self.request.placement.expected_runtime);
        if let (Some(asked), Some(longest)) = (asked, queue.time_limit)
            && asked > longest
        {
            return no(4, "time_limit", format!("{asked} is more than the {longest} of queue {name}"));
        }
        let has = |environment: &&Environment| queue.environments.contains(&environment.name);
        let environments: Vec<&Environment> = cluster.configuration.environments.iter().filter(has).collect();
        self.layout(&nodes, &environments, name).map_err(|error| (5, error))
    }

    /// Slots and parallel environment on these hosts.
    fn layout(
        &self,
        nodes: &[&Node],
        environments: &[&Environment],
        queue: &str,
    ) -> Result<(u32, Option<String>), WorkloadError> {
        let allocation = self.request.allocation;
        let tasks = self.request.placement.tasks;
        let find = |slots: u32, suits: &dyn Fn(Rule) -> bool| {
            let all = || environments.iter().filter(|one| one.slots >= slots && suits(one.rule));
            // One host where it has to be one.
            let found = all().find(|one| one.rule == Rule::OneHost).or_else(|| all().next());
            found.map(|environment| environment.name.clone())
        };
        if tasks == Some(0) {
            return refuse("placement.tasks", "0 tasks do nothing".to_owned());
        }
        if allocation.nodes > 0 {
            // All slots of a host, on hosts of one size.
            let each = if allocation.cores > 0 {
                if !allocation.cores.is_multiple_of(allocation.nodes) {
                    let reason =
                        format!("{} cores are not the same on {} nodes", allocation.cores, allocation.nodes);
                    return refuse("allocation.cores", reason);
                }
                allocation.cores / allocation.nodes
            } else {
                nodes.iter().map(|node| node.cores).max().unwrap_or(1).max(1)
            };
            let of_size = nodes.iter().filter(|node| node.cores == each).count();
            if (allocation.nodes as usize) > of_size {
                let reason =
                    format!("{} with {each} slots asked for, queue {queue} has {of_size}", allocation.nodes);
                return refuse("allocation.nodes", reason);
            }
            self.shares(each.saturating_mul(allocation.nodes))?;
            let slots = each.saturating_mul(allocation.nodes);
            let one = allocation.nodes == 1;
            let suits = |rule: Rule| rule == Rule::Each(each) || one && rule == Rule::OneHost;
            return match find(slots, &suits) {
                Some(environment) => Ok((slots, Some(environment))),
                None if slots == 1 => Ok((1, None)),
                None => {
                    let reason = format!(
                        "queue {queue} has no parallel environment that gives {each} slots on each of {} hosts",
                        allocation.nodes
                    );
                    refuse("allocation.nodes", reason)
                }
            };
        }
        // Work that names no cores still runs on one.
        let slots = allocation.cores.max(1);
        self.shares(slots)?;
        if slots == 1 {
            return Ok((1, None));
        }
        let one = nodes.iter().any(|node| node.cores >= slots);
        let found =
            if one { find(slots, &|rule| rule == Rule::OneHost || rule == Rule::Each(slots)) } else { None };
        // Only ranks can be on several hosts; one process has its threads on one.
        let spread = tasks.is_some_and(|tasks| tasks == slots) || !one;
        let found = found.or_else(|| {
            let suits = |rule: Rule| match rule {
                Rule::OneHost => false,
                Rule::Each(each) => slots.is_multiple_of(each),
                Rule::Anyhow => true,
            };
            if spread { find(slots, &suits) } else { None }
        });
        match found {
            Some(environment) => Ok((slots, Some(environment))),
            None => {
                let where_ = if one { "on one host" } else { "over its hosts" };
                let reason =
                    format!("queue {queue} has no parallel environment that gives {slots} slots {where_}");
                refuse("allocation.cores", reason)
            }
        }
    }

    /// Whether the ranks can share these slots.
    fn shares(&self, slots: u32) -> Result<(), WorkloadError> {
        match self.request.placement.tasks {
            Some(tasks) if tasks == 0 || !slots.is_multiple_of(tasks) => {
                refuse("placement.tasks", format!("{tasks} tasks cannot share {slots} cores evenly"))
            }
            _ => Ok(()),
        }
    }
}

/// The queues for a request, and what they have for it: the one that is named, else those that fit.
fn choose<'a>(
    size: &Size<'_>,
    named: Option<&str>,
    cluster: &'a Cluster,
) -> Result<(Vec<&'a Queue>, u32, Option<String>), WorkloadError> {
    let candidates: Vec<&Queue> =
        cluster.queues.iter().filter(|queue| named.is_none_or(|named| queue.name == named)).collect();
    if candidates.is_empty() {
        let names: Vec<&str> = cluster.queues.iter().map(|queue| queue.name.as_str()).collect();
        let reason = format!("no queue of that name takes work; there are: {}", names.join(", "));
        return refuse("placement.partition", reason);
    }
    let mut worst: Option<(u8, WorkloadError)> = None;
    let mut chosen: Option<(Vec<&Queue>, u32, Option<String>)> = None;
    for queue in candidates {
        match size.fits(queue, cluster) {
            Ok((slots, environment)) => match &mut chosen {
                // A queue that needs other words is another choice.
                Some((queues, _, with)) if *with == environment => queues.push(queue),
                Some(_) => {}
                None => chosen = Some((vec![queue], slots, environment)),
            },
            Err(failure) if worst.as_ref().is_none_or(|(step, _)| failure.0 > *step) => worst = Some(failure),
            Err(_) => {}
        }
    }
    match (chosen, worst) {
        (Some(chosen), _) => Ok(chosen),
        (None, Some((_, error))) => Err(error),
        (None, None) => refuse("placement.partition", "no queue takes work".to_owned()),
    }
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
        let (queues, slots, environment) = choose(&size, named.as_deref(), cluster)?;
        let complexes = &cluster.configuration.complexes;
        let memory = match (size.memory_mib, complexes.memory.counted) {
            (0, Counted::PerSlot | Counted::PerJob) if is_nothing(&complexes.memory.default) => {
                let reason = "this site counts memory (h_vmem) and ends work that names none; name some";
                return refuse("memory_limit", reason.to_owned());
            }
            (0, _) => None,
            (memory, Counted::PerJob) => Some(Asked::PerJob(memory)),
            (memory, _) => Some(Asked::PerSlot(memory.div_ceil(slots.max(1).into()))),
        };
        let exclusive = complexes.exclusive.clone().filter(|_| request.allocation.nodes > 0);
        let gpus = gpus(request.allocation.gpus, slots, cluster)?;
        let constraint = word("placement.constraint", placement.constraint.as_ref(), "=,:*?[]|&!()")?;
        check_constraint(constraint.as_deref(), gpus.as_ref().map(|(name, _)| name.as_str()))?;
        Ok(Self {
            job_name,
            environment,
            slots,
            nodes: request.allocation.nodes,
            tasks: placement.tasks,
            exclusive,
            seconds: request
                .time_limit
                .map(whole_seconds)
                .or_else(|| Some(time_for(placement.expected_runtime?, &queues))),
            memory,
            gpus,
            queue: named,
            project: word("placement.account", placement.account.as_ref(), "")?,
            constraint,
        })
    }

    /// The words for `qsub`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["-N".to_owned(), self.job_name.clone()];
        let mut add = |option: &str, value: Option<String>| {
            words.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        };
        add("-q", self.queue.clone());
        add("-P", self.project.clone());
        add("-l", self.seconds.map(|seconds| format!("h_rt={seconds}")));
        let mut per_job = Vec::new();
        add(
            "-l",
            self.memory.map(|memory| match memory {
                Asked::PerSlot(mib) => format!("h_vmem={mib}M"),
                Asked::PerJob(mib) => {
                    per_job.push("h_vmem");
                    format!("h_vmem={mib}M")
                }
            }),
        );
        add(
            "-l",
            self.gpus.as_ref().map(|(name, asked)| match asked {
                Asked::PerSlot(count) => format!("{name}={count}"),
                Asked::PerJob(count) => {
                    per_job.push(name);
                    format!("{name}={count}")
                }
            }),
        );
        add("-l", self.exclusive.as_ref().map(|name| format!("{name}=true")));
        add("-l", self.constraint.clone());
        let mut note = |name: &str, value: Option<String>| {
            add("-ac", value.map(|value| format!("{name}={value}")));
        };
        let alone = self.exclusive.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
        note(NODES, (self.nodes > 0).then(|| format!("{}{alone}", self.nodes)));
        note(TASKS, self.tasks.map(|tasks| tasks.to_string()));
        note(PER_JOB, (!per_job.is_empty()).then(|| per_job.join("/")));
        if let Some(environment) = &self.environment {
            words.extend(["-pe".to_owned(), environment.clone(), self.slots.to_string()]);
        }
        words
    }

    /// Reads the words of [`Self::words`] back; `None` when one of them is something else.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let mut read = Self { slots: 1, ..Self::default() };
        let mut resources: Vec<&str> = Vec::new();
        let mut per_job: Vec<&str> = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(option) = words.next() {
            let value = words.next()?;
            match option {
                "-N" => read.job_name = value.to_owned(),
                "-q" => read.queue = Some(value.to_owned()),
                "-P" => read.project = Some(value.to_owned()),
                "-pe" => {
                    read.environment = Some(value.to_owned());
                    read.slots = words.next()?.parse().ok()?;
                }
                "-l" => resources.push(value),
                "-ac" => match value.split_once('=')? {
                    (NODES, noted) => {
                        let (nodes, alone) = match noted.split_once(':') {
                            Some((nodes, alone)) => (nodes, Some(alone.to_owned())),
                            None => (noted, None),
                        };
                        read.nodes = nodes.parse().ok()?;
                        read.exclusive = alone;
                    }
                    (TASKS, tasks) => read.tasks = Some(tasks.parse().ok()?),
                    (PER_JOB, names) => per_job = names.split('/').collect(),
                    _ => return None,
                },
                _ => return None,
            }
        }
        for resource in resources {
            let (name, value) = match resource.split_once('=') {
                Some((name, value)) if !value.contains(['=', ',']) => (name, value),
                _ => (resource, ""),
            };
            let is_gpu = super::nodes::is_gpu(name);
            match (name, value) {
                ("h_rt", seconds) => read.seconds = Some(seconds.parse().ok()?),
                ("h_vmem", mib) => {
                    let mib = mib.strip_suffix('M')?.parse().ok()?;
                    let whole = per_job.contains(&"h_vmem");
                    read.memory = Some(if whole { Asked::PerJob(mib) } else { Asked::PerSlot(mib) });
                }
                (name, count) if is_gpu => {
                    let count = count.parse().ok()?;
                    let whole = per_job.contains(&name);
                    let asked = if whole { Asked::PerJob(count) } else { Asked::PerSlot(count) };
                    read.gpus = Some((name.to_owned(), asked));
                }
                (name, "true") if read.exclusive.as_deref() == Some(name) => {}
                _ => read.constraint = Some(resource.to_owned()),
            }
        }
        Some(read)
    }

    /// What was asked for, as far as directives say it: allocation, memory in MiB.
    #[must_use]
    pub fn asked(&self) -> (Allocation, Option<u64>) {
        let gpus = self.gpus.as_ref().map_or(0, |(_, asked)| match asked {
            Asked::PerSlot(count) => count.saturating_mul(self.slots),
            Asked::PerJob(count) => *count,
        });
        let memory = self.memory.map(|asked| match asked {
            Asked::PerSlot(mib) => mib.saturating_mul(self.slots.into()),
            Asked::PerJob(mib) => mib,
        });
        (Allocation { nodes: self.nodes, cores: self.slots, gpus }, memory)
    }
}

/// GPUs in the words of the site.
fn gpus(wanted: u32, slots: u32, cluster: &Cluster) -> Result<Option<(String, Asked<u32>)>, WorkloadError> {
    let complex = cluster.configuration.complexes.gpu.as_ref().filter(|_| wanted > 0);
    let Some(complex) = complex else { return Ok(None) };
    let asked = match complex.counted {
        Counted::PerJob => Asked::PerJob(wanted),
        _ if wanted.is_multiple_of(slots) => Asked::PerSlot(wanted / slots),
        _ => {
            let reason = format!(
                "this site counts GPUs for each slot: {wanted} GPUs cannot be shared by {slots} cores evenly"
            );
            return refuse("allocation.gpus", reason);
        }
    };
    Ok(Some((complex.name.clone(), asked)))
}

/// Whether a default asks for nothing.
fn is_nothing(default: &str) -> bool {
    super::fields::size(default).is_none_or(|size| size <= GiB::ZERO)
}

/// A constraint asks for other things than the request itself does.
fn check_constraint(constraint: Option<&str>, gpu: Option<&str>) -> Result<(), WorkloadError> {
    for part in constraint.unwrap_or_default().split(',') {
        let name = part.split('=').next().unwrap_or(part);
        if ["h_rt", "h_vmem", "q", "qname"].contains(&name) || gpu == Some(name) || super::nodes::is_gpu(name)
        {
            let reason = format!("{name:?} is asked for by a field of its own");
            return refuse("placement.constraint", reason);
        }
    }
    Ok(())
}

/// Time for work that is thought to run so long: twice of it, because that is an estimate, or as much as each of
/// the queues gives.
fn time_for(expected: Seconds, queues: &[&Queue]) -> u64 {
    let wanted = whole_seconds(Seconds::saturating(expected.get() * 2.0));
    let limits = queues.iter().filter_map(|queue| queue.time_limit);
    limits.map(|limit| whole_seconds(Seconds::saturating(limit.get().floor()))).fold(wanted, u64::min)
}

#[cfg(test)]
mod tests;
