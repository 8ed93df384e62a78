//! A request as a jobspec (RFC 14 and 25), the document that `flux batch` writes too, and back. Nothing of
//! a request gets lost on the way: what Flux has no place for is refused with the reason.
//!
//! A **slot** is what one task gets: cores and GPUs of one node. Whole nodes are exclusive.

use std::path::Path;

use protocol::facts::Allocation;
use protocol::units::Seconds;
use serde_json::{Map, Value, json};

use super::nodes::{Cluster, Node, Queue};
use crate::attempts::{BATCH_SCRIPT, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::submit::SubmitRequest;

/// Owner may run and change it; a regular file.
const SCRIPT_MODE: u32 = 0o100_700;

/// What Flux is told about a job's size and place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Jobspec {
    /// The name under which the job is found again.
    pub job_name: String,
    /// Nodes that share the slots evenly; without it slots are spread as they fit.
    pub nodes: Option<u32>,
    /// Nobody else gets a part of these nodes.
    pub exclusive: bool,
    /// Slots in total.
    pub slots: u32,
    /// Cores of a slot.
    pub cores_per_slot: u32,
    /// GPUs of a slot.
    pub gpus_per_slot: u32,
    /// Time limit; 0 leaves it to the queue.
    pub duration: f64,
    /// The queue, where there are named ones.
    pub queue: Option<String>,
    /// Whom the work is charged to.
    pub bank: Option<String>,
    /// Properties of its nodes; `^` before one that they must not have.
    pub properties: Vec<String>,
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason })
}

fn name(field: &'static str, value: &str) -> Result<String, WorkloadError> {
    let good = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if (1..=256).contains(&value.len()) && value.chars().all(good) && !value.starts_with('-') {
        return Ok(value.to_owned());
    }
    refuse(field, format!("{value:?} is no name that is handed to Flux"))
}

/// Properties joined with `&`.
fn properties(constraint: Option<&String>) -> Result<Vec<String>, WorkloadError> {
    let parts = constraint.iter().flat_map(|constraint| constraint.split('&'));
    let field = "placement.constraint";
    parts
        .map(|part| match part.strip_prefix('^') {
            Some(without) => Ok(format!("^{}", name(field, without)?)),
            None => name(field, part),
        })
        .collect()
}

fn has_properties(node: &Node, properties: &[String]) -> bool {
    properties.iter().all(|property| match property.strip_prefix('^') {
        Some(without) => !node.properties.contains(without),
        None => node.properties.contains(property),
    })
}

/// What Flux has no place for.
fn check(request: &SubmitRequest) -> Result<(), WorkloadError> {
    let placement = &request.placement;
    if request.memory_limit.is_some() {
        let reason =
            "Flux neither sets memory aside nor keeps a job within it; whole nodes have all of theirs";
        return refuse("memory_limit", reason.to_owned());
    }
    if let Some(limit) = request.time_limit.filter(|limit| *limit <= Seconds::ZERO) {
        return refuse("time_limit", format!("{limit} leaves no time to run"));
    }
    if let Some(qos) = &placement.qos {
        return refuse("placement.qos", format!("{qos:?} is asked for, and Flux has no quality of service"));
    }
    if let Some(model) = placement.gpu_model.as_ref().filter(|_| request.allocation.gpus > 0) {
        let reason =
            format!("Flux does not know which of its GPUs are {model:?}; name a property of their nodes");
        return refuse("placement.gpu_model", reason);
    }
    // The job shell replaces what stands in double braces.
    if request.argv.iter().any(|word| word.contains("{{")) {
        return refuse("argv", "a word has {{ in it, which Flux would read as something else".to_owned());
    }
    let directory = &request.directory;
    let plain = |text: &str| !text.contains("{{") && !text.contains(char::is_control);
    if !directory.is_absolute() || !directory.to_str().is_some_and(plain) {
        let reason = format!("{} is no absolute path that Flux takes as it stands", directory.display());
        return refuse("directory", reason);
    }
    Ok(())
}

/// Slots, and the cores and GPUs of each.
fn slots(request: &SubmitRequest, one: bool) -> Result<(u32, u32, u32), WorkloadError> {
    let Allocation { nodes, cores, gpus } = request.allocation;
    // Work that names no cores still runs on one.
    let cores = if nodes == 0 { cores.max(1) } else { cores };
    let slots = match request.placement.tasks {
        Some(0) => return refuse("placement.tasks", "0 tasks do nothing".to_owned()),
        Some(tasks) => tasks,
        None if nodes > 0 => nodes,
        None if one => 1,
        None => cores,
    };
    if nodes > 0 && !slots.is_multiple_of(nodes) {
        return refuse("placement.tasks", format!("{slots} tasks cannot share {nodes} nodes evenly"));
    }
    if !cores.is_multiple_of(slots) {
        return refuse("placement.tasks", format!("{slots} tasks cannot share {cores} cores evenly"));
    }
    if !gpus.is_multiple_of(slots) {
        let reason = format!("{slots} tasks cannot share {gpus} GPUs evenly, and Flux gives each the same");
        return refuse("allocation.gpus", reason);
    }
    // A whole node has all its cores, whatever its slot is said to need of them.
    Ok((slots, (cores / slots).max(1), gpus / slots))
}

impl Jobspec {
    /// The jobspec of a request at a site.
    pub(super) fn of(
        request: &SubmitRequest,
        job_name: String,
        cluster: &Cluster,
    ) -> Result<Self, WorkloadError> {
        check(request)?;
        let placement = &request.placement;
        let field = "placement.partition";
        let named = placement.partition.as_deref().map(|queue| name(field, queue)).transpose()?;
        let bank = placement.account.as_deref().map(|bank| name("placement.account", bank)).transpose()?;
        let wanted = properties(placement.constraint.as_ref())?;
        let mut queues: Vec<&Queue> = cluster.queues.iter().collect();
        match &named {
            Some(named) => queues.retain(|queue| queue.name == *named),
            None => queues.sort_by_key(|queue| !queue.is_default),
        }
        let mut refused = None;
        for queue in queues {
            let job = Self {
                job_name: job_name.clone(),
                bank: bank.clone(),
                properties: wanted.clone(),
                ..Self::default()
            };
            match job.in_queue(request, queue, cluster) {
                Ok(job) => return Ok(job),
                // The reason of the first says it: that is the queue that was named, or the default one.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let names = || cluster.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>().join(", ");
        let none = || refuse(field, format!("no queue of that name takes work; there are: {}", names()));
        refused.map_or_else(none, Err)
    }

    fn in_queue(
        self,
        request: &SubmitRequest,
        queue: &Queue,
        cluster: &Cluster,
    ) -> Result<Self, WorkloadError> {
        let place = if queue.name.is_empty() { "Flux".to_owned() } else { format!("queue {}", queue.name) };
        let Allocation { nodes: whole, cores, gpus } = request.allocation;
        let within = cluster.nodes.iter().filter(|node| node.queues.contains(&queue.name));
        let nodes: Vec<&Node> = within.filter(|node| has_properties(node, &self.properties)).collect();
        if nodes.is_empty() && !self.properties.is_empty() {
            return refuse(
                "placement.constraint",
                format!("no node of {place} has {}", self.properties.join("&")),
            );
        }
        let sum = |part: fn(&Node) -> u32| {
            nodes.iter().map(|node| u64::from(part(node))).fold(0, u64::saturating_add)
        };
        let (all_cores, all_gpus) = (sum(|node| node.cores), sum(|node| node.gpus));
        if u64::from(cores) > all_cores {
            return refuse("allocation.cores", format!("{cores} asked for, {place} has {all_cores}"));
        }
        let most = queue.most_nodes.map_or(nodes.len(), |most| nodes.len().min(most as usize));
        if whole as usize > most {
            return refuse("allocation.nodes", format!("{whole} asked for, {place} gives {most}"));
        }
        if u64::from(gpus) > all_gpus {
            return refuse("allocation.gpus", format!("{gpus} asked for, {place} has {all_gpus}"));
        }
        let expected = request.placement.expected_runtime;
        if let (Some(asked), Some(longest)) = (request.time_limit.or(expected), queue.time_limit)
            && asked > longest
        {
            return refuse("time_limit", format!("{asked} is more than the {longest} of {place}"));
        }
        let one = whole == 0 && nodes.iter().any(|node| cores.max(1) <= node.cores && gpus <= node.gpus);
        let (slots, cores_per_slot, gpus_per_slot) = slots(request, one)?;
        let job = Self {
            nodes: if whole > 0 { Some(whole) } else { one.then_some(1) },
            exclusive: whole > 0,
            slots,
            cores_per_slot,
            gpus_per_slot,
            duration: duration(request, queue),
            queue: Some(queue.name.clone()).filter(|name| !name.is_empty()),
            ..self
        };
        if job.fits(&nodes) {
            return Ok(job);
        }
        let reason = format!(
            "the nodes of {place} cannot hold {slots} tasks of {cores_per_slot} cores and {gpus_per_slot} GPUs each"
        );
        refuse("allocation", reason)
    }

    /// Whether it could ever run on these nodes. Flux itself may take what never runs, and keep it for ever.
    fn fits(&self, nodes: &[&Node]) -> bool {
        let holds = |node: &Node| {
            let by_gpus = node.gpus.checked_div(self.gpus_per_slot).unwrap_or(u32::MAX);
            u64::from((node.cores / self.cores_per_slot).min(by_gpus))
        };
        match self.nodes {
            Some(count) => {
                let each = u64::from(self.slots / count.max(1));
                nodes.iter().filter(|node| holds(node) >= each).count() >= count as usize
            }
            None => {
                nodes.iter().map(|node| holds(node)).fold(0, u64::saturating_add) >= u64::from(self.slots)
            }
        }
    }

    /// Whether it would start at once, as far as free cores and GPUs say it.
    pub(super) fn fits_now(&self, cluster: &Cluster) -> bool {
        let queue = self.queue.clone().unwrap_or_default();
        let free: Vec<Node> = cluster
            .in_service()
            .filter(|node| node.queues.contains(&queue) && has_properties(node, &self.properties))
            .filter(|node| !self.exclusive || (node.cores_free, node.gpus_free) == (node.cores, node.gpus))
            .map(|node| Node { cores: node.cores_free, gpus: node.gpus_free, ..node.clone() })
            .collect();
        self.fits(&free.iter().collect::<Vec<_>>())
    }

    /// What was asked for, as far as the jobspec says it.
    #[must_use]
    pub fn asked(&self) -> Allocation {
        Allocation {
            nodes: self.nodes.filter(|_| self.exclusive).unwrap_or(0),
            cores: self.cores_per_slot.saturating_mul(self.slots),
            gpus: self.gpus_per_slot.saturating_mul(self.slots),
        }
    }

    fn resources(&self) -> Value {
        let mut with = vec![json!({"type": "core", "count": self.cores_per_slot})];
        if self.gpus_per_slot > 0 {
            with.push(json!({"type": "gpu", "count": self.gpus_per_slot}));
        }
        let slot = |count: u32| json!({"type": "slot", "count": count, "with": with, "label": "task"});
        let Some(nodes) = self.nodes else { return json!([slot(self.slots)]) };
        let mut node = json!({"type": "node", "count": nodes, "with": [slot(self.slots / nodes.max(1))]});
        if self.exclusive {
            node["exclusive"] = json!(true);
        }
        json!([node])
    }

    /// The document. The first word of the work's own follows the two of [`BATCH_SCRIPT`], so there are
    /// always several: a broker that is given one word alone hands it to a shell.
    pub(super) fn document(&self, request: &SubmitRequest, record: &Record, flux: &Path) -> Value {
        let mut command =
            vec![flux.display().to_string(), "broker".to_owned(), "{{tmpdir}}/script".to_owned()];
        // Flux keeps the time limit itself, to the part of a second.
        command.extend([record.notes().display().to_string(), "0".to_owned()]);
        command.extend(request.argv.iter().cloned());
        let log = request.directory.join(LOG_NAME).display().to_string();
        let mut system = json!({
            "duration": self.duration,
            "environment": request.variables(),
            "cwd": request.directory.display().to_string(),
            "job": {"name": self.job_name},
            "shell": {"options": {
                "output": {"stdout": {"type": "file", "path": log}},
                "per-resource": {"type": "node"},
                "mpi": "none",
                "exit-timeout": "none",
            }},
            "files": {"script": {"mode": SCRIPT_MODE, "data": BATCH_SCRIPT, "encoding": "utf-8"}},
        });
        if let Some(queue) = &self.queue {
            system["queue"] = json!(queue);
        }
        if let Some(bank) = &self.bank {
            system["bank"] = json!(bank);
        }
        if !self.properties.is_empty() {
            system["constraints"] = json!({"properties": self.properties});
        }
        json!({
            "version": 1,
            "resources": self.resources(),
            "tasks": [{"command": command, "slot": "task", "count": {"per_slot": 1}}],
            "attributes": {"system": system},
        })
    }

    /// Reads the document back; `None` when it is another one.
    #[must_use]
    pub fn read(document: &Value) -> Option<Self> {
        let count = |value: &Value| u32::try_from(value.get("count")?.as_u64()?).ok();
        let [top] = document.get("resources")?.as_array()?.as_slice() else { return None };
        let (nodes, slot) = match top.get("type")?.as_str()? {
            "node" => (Some(count(top)?), top.pointer("/with/0")?),
            "slot" => (None, top),
            _ => return None,
        };
        let of = |kind: &str| {
            let with = slot.get("with").and_then(Value::as_array)?;
            with.iter().find(|part| part.get("type").and_then(Value::as_str) == Some(kind)).and_then(count)
        };
        let system: &Map<String, Value> = document.pointer("/attributes/system")?.as_object()?;
        let text = |name: &str| system.get(name).and_then(Value::as_str).map(str::to_owned);
        let properties =
            system.get("constraints").and_then(|constraints| constraints.get("properties")?.as_array());
        Some(Self {
            job_name: system.get("job")?.get("name")?.as_str()?.to_owned(),
            nodes,
            exclusive: top.get("exclusive") == Some(&Value::Bool(true)),
            slots: count(slot)?.checked_mul(nodes.unwrap_or(1))?,
            cores_per_slot: of("core")?,
            gpus_per_slot: of("gpu").unwrap_or(0),
            duration: system.get("duration")?.as_f64()?,
            queue: text("queue"),
            bank: text("bank"),
            properties: properties
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The time limit in seconds. Work that is thought to run so long gets twice of it, because that is an
/// estimate, or as much as the queue gives; without a word the queue's default counts, and where it has a
/// limit and no default, all of that.
fn duration(request: &SubmitRequest, queue: &Queue) -> f64 {
    let all = queue.time_limit.map_or(f64::INFINITY, Seconds::get);
    match (request.time_limit, request.placement.expected_runtime) {
        (Some(limit), _) => limit.get(),
        (None, Some(expected)) => (expected.get() * 2.0).min(all),
        (None, None) if queue.default_time.is_none() && all.is_finite() => all,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests;
