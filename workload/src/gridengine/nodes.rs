//! Hosts and queues: `qhost -F -q -xml` for what there is and what is free, `qconf -sq` for the queues' limits,
//! `qconf -sc`, `-sp` and `-se` for what is counted, how several slots go together, and how much a host gives.
//!
//! A **slot** stands for a core. A **queue instance** is a queue on one host. A **complex** is something that a
//! job may ask for; one that is counted down is **consumable**.

use std::collections::{BTreeMap, BTreeSet};

use protocol::facts::NodeGroup;
use protocol::units::{GiB, Seconds};
use roxmltree::Node as Element;

use super::fields;
use crate::read::Slots;

/// What sites call the complex for GPUs.
const GPU_NAMES: [&str; 6] = ["gpu", "gpus", "ngpus", "cuda", "gpu_card", "cuda_gpus"];
/// Letters of a queue instance that starts nothing until somebody or something changes: disabled, suspended,
/// unreachable, in error, by its calendar, ambiguous, orphaned. With `a` alone it is only busy.
const CLOSED: [char; 9] = ['d', 'D', 's', 'S', 'u', 'E', 'C', 'c', 'o'];

/// Whether a complex of this name is for GPUs.
pub(super) fn is_gpu(name: &str) -> bool {
    GPU_NAMES.contains(&name)
}

/// How a complex is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counted {
    /// Not at all: it is a limit, or a property.
    #[default]
    No,
    /// For each slot.
    PerSlot,
    /// Once.
    PerJob,
}

/// Something that a job may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complex {
    pub(super) name: String,
    pub(super) counted: Counted,
    /// What a job gets that does not ask.
    pub(super) default: String,
}

/// Which complexes a site has for what work asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Complexes {
    pub(super) gpu: Option<Complex>,
    pub(super) memory: Complex,
    /// With it a job has its hosts for itself.
    pub(super) exclusive: Option<String>,
}

impl Complexes {
    /// From `qconf -sc`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let mut found = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let [name, _, kind, relation, _, counted, default, ..] = parts.as_slice() else { continue };
            let counted = match *counted {
                "YES" => Counted::PerSlot,
                "JOB" => Counted::PerJob,
                _ => Counted::No,
            };
            let complex = Complex { name: (*name).to_owned(), counted, default: (*default).to_owned() };
            if *relation == "EXCL" {
                read.exclusive = Some((*name).to_owned());
            }
            if counted != Counted::No && *kind == "INT" && is_gpu(name) {
                read.gpu.get_or_insert(complex.clone());
            }
            found.insert(*name, complex);
        }
        read.memory = found.remove("h_vmem").ok_or("there is no h_vmem in it")?;
        Ok(read)
    }
}

/// How the slots of a job are spread over hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// All on one host.
    OneHost,
    /// So many on each.
    Each(u32),
    /// Anyhow.
    Anyhow,
}

/// A parallel environment: what a job of several slots has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) name: String,
    pub(super) rule: Rule,
    /// Of all its jobs together.
    pub(super) slots: u32,
}

impl Environment {
    /// From `qconf -sp`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let object = fields::objects(text).into_iter().next()?;
        let rule = match object.get("allocation_rule")?.as_str() {
            "$pe_slots" => Rule::OneHost,
            "$fill_up" | "$round_robin" => Rule::Anyhow,
            number => Rule::Each(number.parse().ok().filter(|each| *each > 0)?),
        };
        Some(Self { name: object.get("pe_name")?.clone(), rule, slots: object.get("slots")?.parse().ok()? })
    }
}

/// A queue with an instance that takes jobs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queue {
    pub(super) name: String,
    /// The longest time that it gives.
    pub(super) time_limit: Option<Seconds>,
    /// Its parallel environments.
    pub(super) environments: BTreeSet<String>,
}

/// A host with queue instances.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) architecture: Option<String>,
    /// Queues whose instances here take jobs; none when the host is out of service.
    pub(super) queues: Vec<String>,
    pub(super) cores: u32,
    pub(super) cores_free: u32,
    pub(super) memory: Option<GiB>,
    pub(super) gpus: u32,
    pub(super) gpus_free: u32,
}

/// What changes seldom.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Configuration {
    pub(super) complexes: Complexes,
    pub(super) environments: Vec<Environment>,
    /// GPUs that hosts give, free or not.
    pub(super) gpus: BTreeMap<String, u32>,
}

/// What a site has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    pub(super) configuration: Configuration,
    pub(super) queues: Vec<Queue>,
    pub(super) nodes: Vec<Node>,
}

/// The hosts in `qhost -F -xml` that count GPUs down.
pub(super) fn hosts_with(text: &str, resource: &str) -> Result<Vec<String>, String> {
    let document = fields::document(text, "qhost")?;
    let hosts = document.root_element().children().filter(|node| node.has_tag_name("host"));
    let counts = |host: &Element<'_, '_>| resource_of(*host, resource).is_some();
    Ok(hosts.filter(counts).filter_map(|host| Some(host.attribute("name")?.to_owned())).collect())
}

/// GPUs in `qconf -se`.
pub(super) fn gives(text: &str, resource: &str) -> Option<u32> {
    let object = fields::objects(text).into_iter().next()?;
    let values = object.get("complex_values")?.split(',');
    values
        .filter_map(|value| value.trim().split_once('='))
        .find(|(name, _)| *name == resource)
        .and_then(|(_, value)| fields::count(value))
}

/// What is left of a consumable that the host itself counts.
fn resource_of<'a>(host: Element<'a, '_>, name: &str) -> Option<&'a str> {
    let values = host.children().filter(|node| node.has_tag_name("resourcevalue"));
    let is_it = |node: &Element<'_, '_>| {
        node.attribute("name") == Some(name) && node.attribute("dominance") == Some("hc")
    };
    values.filter(is_it).find_map(|node| node.text()).map(str::trim)
}

/// A queue on a host.
struct Instance<'a> {
    queue: &'a str,
    used: u32,
    slots: u32,
    state: &'a str,
}

fn instance<'a>(node: Element<'a, '_>) -> Option<Instance<'a>> {
    let value = |name: &str| {
        let mut values = node.children().filter(|value| value.has_tag_name("queuevalue"));
        values.find(|value| value.attribute("name") == Some(name))
    };
    Some(Instance {
        queue: node.attribute("name")?,
        used: value("slots_used")?.text()?.trim().parse().ok()?,
        slots: value("slots")?.text()?.trim().parse().ok()?,
        state: value("state_string")?.text().unwrap_or("").trim(),
    })
}

fn node(host: Element<'_, '_>, visible: &BTreeSet<&str>, configuration: &Configuration) -> Option<Node> {
    let name = host.attribute("name").filter(|name| *name != "global")?;
    let instances: Vec<Instance<'_>> =
        host.children().filter(|node| node.has_tag_name("queue")).filter_map(instance).collect();
    let value = |wanted: &str| {
        let mut values = host.children().filter(|node| node.has_tag_name("hostvalue"));
        values.find(|node| node.attribute("name") == Some(wanted))?.text().and_then(fields::given)
    };
    let visible_here = || instances.iter().filter(|instance| visible.contains(instance.queue));
    visible_here().next()?;
    let open = || visible_here().filter(|instance| !instance.state.contains(CLOSED));
    // Several queues may share a host: what it counts itself is right, else no more than one of them has.
    let used = instances.iter().map(|instance| instance.used).fold(0, u32::saturating_add);
    let largest = open().map(|instance| instance.slots).max().unwrap_or(0);
    let cores = match resource_of(host, "slots").and_then(fields::count) {
        Some(left) => largest.min(left.saturating_add(used)),
        None => largest,
    };
    // With an alarm it gives nothing at the moment.
    let ready = open().filter(|instance| instance.state.is_empty());
    let left = ready.map(|instance| instance.slots.saturating_sub(instance.used)).max().unwrap_or(0);
    let gpu = configuration.complexes.gpu.as_ref().map_or("", |gpu| gpu.name.as_str());
    let gpus = configuration.gpus.get(name).copied().unwrap_or(0);
    Some(Node {
        name: name.to_owned(),
        architecture: value("arch_string").map(architecture),
        queues: open().map(|instance| instance.queue.to_owned()).collect(),
        cores,
        cores_free: left.min(cores.saturating_sub(used)),
        memory: value("mem_total").and_then(fields::size),
        gpus,
        gpus_free: resource_of(host, gpu).and_then(fields::count).unwrap_or(0).min(gpus),
    })
}

/// `lx-amd64` as everybody else says it.
fn architecture(text: &str) -> String {
    match text.rsplit('-').next() {
        Some("amd64") => "x86_64".to_owned(),
        Some("arm64") => "aarch64".to_owned(),
        _ => text.to_owned(),
    }
}

impl Cluster {
    /// Reads `qhost -F -q -xml` and `qconf -sq '*'`. With `only` named, the other queues do not exist for us. The
    /// error comes with the command that it is about.
    pub(super) fn read(
        hosts: &str,
        queues: &str,
        configuration: Configuration,
        only: Option<&str>,
    ) -> Result<Self, (&'static str, String)> {
        let document = fields::document(hosts, "qhost").map_err(|problem| ("qhost", problem))?;
        let objects = fields::objects(queues);
        let named = |object: &BTreeMap<String, String>| {
            object.get("qname").is_some_and(|name| only.is_none_or(|only| name == only))
        };
        let queues: Vec<Queue> = objects.iter().filter(|object| named(object)).map(queue).collect();
        let visible: BTreeSet<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
        let elements = document.root_element().children().filter(|node| node.has_tag_name("host"));
        let nodes: Vec<Node> = elements.filter_map(|host| node(host, &visible, &configuration)).collect();
        let is_open = |queue: &Queue| nodes.iter().any(|node| node.queues.contains(&queue.name));
        let queues = queues.iter().filter(|queue| is_open(queue)).cloned().collect();
        Ok(Self { configuration, queues, nodes })
    }

    /// The hosts that take work.
    pub(super) fn in_service(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.queues.is_empty())
    }

    /// What there is of what is handed out. That is slots; of memory hosts say what they have, not what jobs may
    /// still ask for.
    pub(super) fn total(&self) -> Slots {
        slots(self.in_service().map(|node| (node.cores, node.gpus)))
    }

    pub(super) fn free(&self) -> Slots {
        slots(self.in_service().map(|node| (node.cores_free, node.gpus_free)))
    }

    /// The longest time limit of a queue; none when one of them has no limit.
    pub(super) fn time_limit(&self) -> Option<Seconds> {
        let limits = self.queues.iter().map(|queue| queue.time_limit);
        limits.collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
    }

    /// Hosts in service, in groups of equals, named by their queues; what differs within the same queues is
    /// numbered.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        let mut groups: Vec<NodeGroup> = Vec::new();
        for node in self.in_service() {
            let name = node.queues.join(",");
            let is_like = |group: &&mut NodeGroup| {
                group.name == name
                    && group.architecture == node.architecture
                    && group.cores_per_node == node.cores
                    && group.memory_gib_per_node == node.memory
                    && group.gpus_per_node == node.gpus
            };
            let is_idle = (node.cores_free, node.gpus_free) == (node.cores, node.gpus);
            let add = |to: &mut Option<u32>, more: u32| *to = to.map(|sum| sum.saturating_add(more));
            if let Some(group) = groups.iter_mut().find(is_like) {
                group.nodes += 1;
                add(&mut group.nodes_free, u32::from(is_idle));
                add(&mut group.cores_free, node.cores_free);
                add(&mut group.gpus_free, node.gpus_free);
                continue;
            }
            groups.push(NodeGroup {
                name,
                architecture: node.architecture.clone(),
                cpu_model: None,
                nodes: 1,
                nodes_free: Some(u32::from(is_idle)),
                cores_per_node: node.cores,
                cores_free: Some(node.cores_free),
                memory_gib_per_node: node.memory,
                gpus_per_node: node.gpus,
                gpus_free: Some(node.gpus_free),
                gpu_model: None,
                gpu_memory_gib: None,
            });
        }
        let mut named: BTreeMap<String, u32> = BTreeMap::new();
        for group in &mut groups {
            let times = named.entry(group.name.clone()).or_insert(0);
            *times += 1;
            if *times > 1 {
                group.name = format!("{}/{times}", group.name);
            }
        }
        groups
    }
}

fn queue(object: &BTreeMap<String, String>) -> Queue {
    let value = |name: &str| object.get(name).map(String::as_str).unwrap_or_default();
    // The longest that it gives anywhere; unlimited when it is so on one host.
    let limits: Option<Vec<Seconds>> = fields::variants(value("h_rt")).map(fields::duration).collect();
    let environments = fields::variants(value("pe_list")).flat_map(|list| list.split([' ', ',']));
    Queue {
        name: value("qname").to_owned(),
        time_limit: limits.and_then(|all| all.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))),
        environments: environments.filter_map(fields::given).map(str::to_owned).collect(),
    }
}

fn slots(parts: impl Iterator<Item = (u32, u32)>) -> Slots {
    parts.fold(Slots::default(), |sum, (cores, gpus)| Slots {
        cores: sum.cores.saturating_add(cores),
        memory_gib: None,
        gpus: sum.gpus.saturating_add(gpus),
    })
}
