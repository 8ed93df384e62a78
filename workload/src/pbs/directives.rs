//! A request as words for `qsub`, and back. Nothing of a request gets lost on the way: what PBS has no
//! place for is refused with the reason. PBS has no dry run, so every check against the limits of queues
//! and the size of nodes is made here.
//!
//! A **chunk** is what PBS places as a whole on one node: OpenPBS is asked for with `select`, Torque with
//! `nodes`. Memory is counted in MiB and time in seconds; both are rounded up, and the batch script keeps
//! the limit to the part of a second. Whole nodes are exclusive.

mod words;

use protocol::facts::Allocation;
use protocol::units::{GiB, Seconds};

use super::Flavour;
use super::nodes::{AMOUNTS, Amount, Cluster, Limits, Node, Queue, nodes};
use crate::error::WorkloadError;
use crate::submit::SubmitRequest;

/// What `qsub` is told about a job's size and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// Whose `qsub` it is.
    pub flavour: Flavour,
    /// The name under which the job is found again.
    pub job_name: String,
    /// How many chunks.
    pub chunks: u32,
    /// Cores of a chunk.
    pub cores: u32,
    /// Processes (MPI ranks) of a chunk, where the request says how many.
    pub ranks: Option<u32>,
    /// GPUs of a chunk.
    pub gpus: u32,
    /// Memory of a chunk; Torque is told the sum.
    pub memory_mib: Option<u64>,
    /// What else its nodes must have: `name=value` in OpenPBS, a property in Torque.
    pub resources: Vec<String>,
    /// Each chunk has a node for itself.
    pub whole_nodes: bool,
    /// Time limit in seconds; none leaves it to the queue.
    pub walltime: Option<u32>,
    /// The queue.
    pub queue: String,
    /// Whom the work is charged to.
    pub account: Option<String>,
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason })
}

/// A value that `qsub` takes as one word and that cannot be another option or a list of its own.
fn word(field: &'static str, value: &str) -> Result<String, WorkloadError> {
    let good = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if (1..=256).contains(&value.len()) && value.chars().all(good) && !value.starts_with('-') {
        return Ok(value.to_owned());
    }
    refuse(field, format!("{value:?} is no name that is handed to PBS"))
}

/// Size in MiB, rounded up.
fn mib(size: GiB) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let mib = (size.get() * 1024.0).ceil() as u64;
    mib
}

/// Whole seconds, rounded up.
fn whole_seconds(time: Seconds) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let seconds = time.get().ceil() as u32;
    seconds.max(1)
}

/// Resources that its nodes must have, joined with `:`.
fn resources(flavour: Flavour, constraint: Option<&String>) -> Result<Vec<String>, WorkloadError> {
    let field = "placement.constraint";
    let parts = constraint.iter().flat_map(|constraint| constraint.split(':'));
    parts
        .map(|part| match (flavour, part.split_once('=')) {
            (Flavour::OpenPbs, Some((name, _))) if AMOUNTS.contains(&name) => {
                refuse(field, format!("{name} is asked for by the size of the work"))
            }
            (Flavour::OpenPbs, Some((name, value))) => {
                Ok(format!("{}={}", word(field, name)?, word(field, value)?))
            }
            // A number would be more nodes.
            (Flavour::Torque, None) if !part.starts_with(|first: char| first.is_ascii_digit()) => {
                word(field, part)
            }
            (Flavour::OpenPbs, None) => refuse(field, format!("{part:?} is no name=value of a chunk")),
            (Flavour::Torque, _) => refuse(field, format!("{part:?} is no property of a node")),
        })
        .collect()
}

/// What PBS has no place for.
fn check(flavour: Flavour, request: &SubmitRequest) -> Result<(), WorkloadError> {
    if let Some(limit) = request.time_limit.filter(|limit| *limit <= Seconds::ZERO) {
        return refuse("time_limit", format!("{limit} leaves no time to run"));
    }
    if let Some(memory) = request.memory_limit.filter(|memory| *memory <= GiB::ZERO) {
        return refuse("memory_limit", format!("{memory} is no memory to run in"));
    }
    let placement = &request.placement;
    if let Some(qos) = &placement.qos {
        return refuse("placement.qos", format!("{qos:?} is asked for, and PBS has no quality of service"));
    }
    match placement.tasks {
        Some(0) => refuse("placement.tasks", "0 tasks do nothing".to_owned()),
        Some(_) if flavour == Flavour::Torque => {
            let reason =
                "Torque is not told how many processes there are; its list of places has one for each core";
            refuse("placement.tasks", reason.to_owned())
        }
        _ => Ok(()),
    }
}

/// Shares of a whole that has to be divided evenly.
fn share(field: &'static str, what: &str, whole: u32, parts: u32) -> Result<u32, WorkloadError> {
    match whole.checked_div(parts).filter(|_| whole.is_multiple_of(parts)) {
        Some(share) => Ok(share),
        None => refuse(
            field,
            format!("{parts} chunks cannot share {whole} {what} evenly, and PBS gives each the same"),
        ),
    }
}

/// A queue with its nodes, those that are out of service too.
struct Place<'a> {
    queue: &'a Queue,
    /// In service and with what is asked for.
    nodes: Vec<Node>,
}

impl Directives {
    /// The directives of a request at a site.
    pub(super) fn of(
        flavour: Flavour,
        request: &SubmitRequest,
        job_name: String,
        cluster: &Cluster,
    ) -> Result<Self, WorkloadError> {
        check(flavour, request)?;
        let placement = &request.placement;
        let field = "placement.partition";
        let named = placement.partition.as_deref().map(|queue| word(field, queue)).transpose()?;
        let account =
            placement.account.as_deref().map(|account| word("placement.account", account)).transpose()?;
        let wanted = resources(flavour, placement.constraint.as_ref())?;
        let mut queues: Vec<&Queue> = cluster.queues.iter().collect();
        match &named {
            Some(named) => queues.retain(|queue| queue.name == *named),
            None => queues.sort_by_key(|queue| !queue.is_default),
        }
        let mut refused = None;
        for queue in queues {
            let job = Self {
                flavour,
                job_name: job_name.clone(),
                chunks: 1,
                cores: 1,
                ranks: None,
                gpus: 0,
                memory_mib: None,
                resources: wanted.clone(),
                whole_nodes: request.allocation.nodes > 0,
                walltime: None,
                queue: queue.name.clone(),
                account: account.clone(),
            };
            match job.in_queue(request, queue, cluster) {
                Ok(job) => return Ok(job),
                // The reason of the first says it: that is the queue that was named, or the default one.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let names = || cluster.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>().join(", ");
        let none =
            || refuse(field, format!("no queue of that name takes work of ours; there are: {}", names()));
        refused.map_or_else(none, Err)
    }

    fn in_queue(
        mut self,
        request: &SubmitRequest,
        queue: &Queue,
        cluster: &Cluster,
    ) -> Result<Self, WorkloadError> {
        let name = &queue.name;
        self.want_model(request, queue, cluster)?;
        let place = Place { queue, nodes: self.nodes_of(cluster) };
        if place.nodes.is_empty() && !self.resources.is_empty() {
            let reason = format!("no node of queue {name} has {}", self.resources.join(":"));
            return refuse("placement.constraint", reason);
        }
        place.holds(request)?;
        self.lay_out(request, &place)?;
        self.walltime = request.time_limit.map(whole_seconds).or_else(|| {
            let expected = request.placement.expected_runtime?;
            // Twice of it, because that is an estimate, or as much as the queue gives.
            let wanted = whole_seconds(Seconds::saturating(expected.get() * 2.0));
            let most = queue.most.time.map(|most| whole_seconds(Seconds::saturating(most.get().floor())));
            Some(most.map_or(wanted, |most| wanted.min(most)))
        });
        self.within(&queue.least, &queue.most, name)?;
        if self.fits(&place.nodes) {
            return Ok(self);
        }
        let memory = self.memory_mib.map(|mib| format!(" and {mib} MiB")).unwrap_or_default();
        let reason = format!(
            "the nodes of queue {name} cannot hold {} chunks of {} cores, {} GPUs{memory} each",
            self.chunks, self.cores, self.gpus
        );
        refuse("allocation", reason)
    }

    /// Asks for GPUs of a model by the resource that the site keeps it in.
    fn want_model(
        &mut self,
        request: &SubmitRequest,
        queue: &Queue,
        cluster: &Cluster,
    ) -> Result<(), WorkloadError> {
        let model = request.placement.gpu_model.as_ref().filter(|_| request.allocation.gpus > 0);
        let Some(wanted) = model.map(|model| super::fields::gpu_model(model)) else { return Ok(()) };
        let nodes = self.nodes_of(cluster);
        let named = nodes.iter().filter_map(|node| node.model.as_ref());
        match named.clone().find(|(_, model)| super::fields::gpu_model(model) == wanted) {
            Some((name, model)) => {
                let asked =
                    format!("{}={}", word("placement.gpu_model", name)?, word("placement.gpu_model", model)?);
                self.resources.push(asked);
                Ok(())
            }
            None => {
                let reason = format!("queue {} knows of no GPUs of model {wanted:?}", queue.name);
                refuse("placement.gpu_model", reason)
            }
        }
    }

    /// The nodes in service of its queue that have the resources.
    fn nodes_of(&self, cluster: &Cluster) -> Vec<Node> {
        let has = |asked: &String| {
            let (name, value) = asked.split_once('=').unwrap_or((asked, "True"));
            (name.to_owned(), value.to_owned())
        };
        let wanted: Vec<(String, String)> = self.resources.iter().map(has).collect();
        nodes(cluster.vnodes.iter().filter(|vnode| {
            vnode.queues.contains(&self.queue)
                && wanted.iter().all(|(name, value)| vnode.has_resource(name, value))
        }))
    }

    /// Chunks, and what each of them has.
    fn lay_out(&mut self, request: &SubmitRequest, place: &Place<'_>) -> Result<(), WorkloadError> {
        let Allocation { nodes: whole, cores, gpus } = request.allocation;
        let memory = request.memory_limit.map(mib);
        let tasks = request.placement.tasks;
        if whole > 0 {
            self.chunks = whole;
            self.cores = match cores {
                // All that the nodes have, as far as so many of them have as much.
                0 => place.cores_of(whole).max(1),
                cores => share("allocation.cores", "cores", cores, whole)?,
            };
            if self.flavour == Flavour::Torque {
                // Torque has no exclusive nodes: who has all places of a node has it alone.
                self.cores = self.cores.max(place.cores_of(whole));
            }
            self.ranks = tasks.map(|tasks| share("placement.tasks", "tasks", tasks, whole)).transpose()?;
            self.gpus = share("allocation.gpus", "GPUs", gpus, whole)?;
        } else {
            // Work that names no cores still runs on one.
            let cores = cores.max(1);
            self.chunks = match tasks {
                _ if place.has_one_for(cores, gpus, memory) => 1,
                Some(tasks) => tasks,
                None => place.spread(cores, gpus),
            };
            self.cores = share("placement.tasks", "cores", cores, self.chunks)?;
            self.gpus = share("allocation.gpus", "GPUs", gpus, self.chunks)?;
            self.ranks =
                tasks.map(|tasks| share("placement.tasks", "tasks", tasks, self.chunks)).transpose()?;
            if let Some(tasks) = tasks.filter(|tasks| !cores.is_multiple_of(*tasks)) {
                return refuse("placement.tasks", format!("{tasks} tasks cannot share {cores} cores evenly"));
            }
        }
        self.memory_mib = memory.map(|memory| memory.div_ceil(self.chunks.into()));
        Ok(())
    }

    /// Whether it keeps to the limits of its queue.
    fn within(&self, least: &Limits, most: &Limits, queue: &str) -> Result<(), WorkloadError> {
        let sum = |each: u32| each.saturating_mul(self.chunks);
        let counts = [
            ("allocation.cores", "cores", sum(self.cores), least.cores, most.cores),
            ("allocation.gpus", "GPUs", sum(self.gpus), least.gpus, most.gpus),
            ("allocation.nodes", "chunks", self.chunks, least.nodes, most.nodes),
        ];
        for (field, what, asked, least, most) in counts {
            if let Some(most) = most.filter(|most| asked > *most) {
                return refuse(
                    field,
                    format!("{asked} asked for, queue {queue} gives {most} {what} to a job"),
                );
            }
            if let Some(least) = least.filter(|least| asked < *least) {
                return refuse(
                    field,
                    format!("{asked} asked for, queue {queue} takes jobs from {least} {what} on"),
                );
            }
        }
        let asked = self.memory_mib.map(|mib| mib.saturating_mul(self.chunks.into()));
        if let (Some(asked), Some(most)) = (asked, most.memory_kib)
            && asked > most / 1024
        {
            let reason = format!("{asked} MiB asked for, queue {queue} gives {} MiB to a job", most / 1024);
            return refuse("memory_limit", reason);
        }
        let asked = self.walltime.map(f64::from);
        if let (Some(asked), Some(most)) = (asked, most.time)
            && asked > most.get()
        {
            return refuse("time_limit", format!("{asked} s is more than the {most} of queue {queue}"));
        }
        if let (Some(asked), Some(least)) = (asked, least.time)
            && asked < least.get()
        {
            return refuse("time_limit", format!("{asked} s is less than the {least} of queue {queue}"));
        }
        Ok(())
    }

    /// Whether it could ever run on these nodes. PBS itself may take what never runs, and keep it for ever.
    fn fits(&self, nodes: &[Node]) -> bool {
        self.fit(nodes.iter().map(|node| node.has))
    }

    /// Whether it fits into what is free of these nodes.
    pub(super) fn fits_now(&self, nodes: &[Node]) -> bool {
        let usable = nodes.iter().filter(|node| !self.whole_nodes || node.is_idle);
        self.fit(usable.map(|node| if self.whole_nodes { node.has } else { node.free }))
    }

    /// The check for [`super::plan`]: the nodes of its queue with its resources, as they will be.
    pub(super) fn fits_among<'a>(&'a self, cluster: &Cluster) -> impl Fn(&[Node]) -> bool + use<'a> {
        let hosts: std::collections::BTreeSet<String> =
            self.nodes_of(cluster).into_iter().map(|node| node.host).collect();
        move |nodes| {
            let usable: Vec<Node> = nodes.iter().filter(|node| hosts.contains(&node.host)).cloned().collect();
            self.fits_now(&usable)
        }
    }

    fn fit(&self, nodes: impl Iterator<Item = Amount>) -> bool {
        let chunk = Amount {
            cores: self.cores,
            gpus: self.gpus,
            memory_kib: self.memory_mib.map(|mib| mib.saturating_mul(1024)),
        };
        let holds = nodes
            .map(|node| if self.whole_nodes { chunk.times_in(node).min(1) } else { chunk.times_in(node) });
        holds.fold(0_u64, u64::saturating_add) >= u64::from(self.chunks)
    }

    /// What was asked for, as far as the directives say it; whole nodes come with the cores that are named.
    #[must_use]
    pub fn asked(&self) -> Allocation {
        Allocation {
            nodes: if self.whole_nodes { self.chunks } else { 0 },
            cores: self.cores.saturating_mul(self.chunks),
            gpus: self.gpus.saturating_mul(self.chunks),
        }
    }
}

impl Amount {
    /// How many of it another amount holds; memory that is unknown is taken to be enough.
    fn times_in(self, node: Self) -> u64 {
        let by_gpus = node.gpus.checked_div(self.gpus).unwrap_or(u32::MAX);
        let by_cores = node.cores.checked_div(self.cores).unwrap_or(u32::MAX);
        let by_memory = self.memory_kib.zip(node.memory_kib).and_then(|(each, all)| all.checked_div(each));
        u64::from(by_gpus.min(by_cores)).min(by_memory.unwrap_or(u64::MAX))
    }
}

impl Place<'_> {
    /// The sizes that no layout changes.
    fn holds(&self, request: &SubmitRequest) -> Result<(), WorkloadError> {
        let (asked, name) = (request.allocation, &self.queue.name);
        let sum = |part: fn(&Node) -> u32| self.nodes.iter().map(part).fold(0, u32::saturating_add);
        let (cores, gpus) = (sum(|node| node.has.cores), sum(|node| node.has.gpus));
        let have = self.nodes.len();
        if asked.cores > cores {
            return refuse(
                "allocation.cores",
                format!("{} asked for, queue {name} has {cores}", asked.cores),
            );
        }
        if asked.nodes as usize > have {
            return refuse("allocation.nodes", format!("{} asked for, queue {name} has {have}", asked.nodes));
        }
        if asked.gpus > gpus {
            return refuse("allocation.gpus", format!("{} asked for, queue {name} has {gpus}", asked.gpus));
        }
        let memory =
            self.nodes.iter().try_fold(0_u64, |sum, node| Some(sum.saturating_add(node.has.memory_kib?)));
        if let (Some(asked), Some(memory)) = (request.memory_limit.map(mib), memory)
            && asked > memory / 1024
        {
            let reason = format!("{asked} MiB asked for, queue {name} has {} MiB", memory / 1024);
            return refuse("memory_limit", reason);
        }
        Ok(())
    }

    /// The most cores that so many nodes have each.
    fn cores_of(&self, count: u32) -> u32 {
        let mut cores: Vec<u32> = self.nodes.iter().map(|node| node.has.cores).collect();
        cores.sort_unstable_by(|a, b| b.cmp(a));
        cores.get(count.saturating_sub(1) as usize).copied().unwrap_or(0)
    }

    fn has_one_for(&self, cores: u32, gpus: u32, memory_mib: Option<u64>) -> bool {
        let asked = Amount { cores, gpus, memory_kib: memory_mib.map(|mib| mib.saturating_mul(1024)) };
        self.nodes.iter().any(|node| asked.times_in(node.has) > 0)
    }

    /// Over how few equal chunks cores and GPUs can be spread that each fit a node.
    fn spread(&self, cores: u32, gpus: u32) -> u32 {
        let (most_cores, most_gpus) =
            (self.cores_of(1), self.nodes.iter().map(|node| node.has.gpus).max().unwrap_or(0));
        let even = |parts: &u32| cores.is_multiple_of(*parts) && gpus.is_multiple_of(*parts);
        let small = |parts: &u32| cores / parts <= most_cores && gpus / parts <= most_gpus;
        (1..=cores).find(|parts| even(parts) && small(parts)).unwrap_or(cores)
    }
}

#[cfg(test)]
mod tests;
