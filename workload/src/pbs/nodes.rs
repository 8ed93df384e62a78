//! Queues and nodes. A **vnode** is what PBS hands parts of out; a **node** is a host with all its vnodes.
//! Which nodes a queue has, PBS says in three ways: a node may belong to one queue, a queue may want a
//! resource of its nodes, else it has all that belong to nobody.

use std::collections::BTreeMap;

use protocol::facts::NodeGroup;
use protocol::units::{GiB, Seconds};

use super::fields;
use super::listing::Record;
use super::{Flavour, fields::state_count};
use crate::hostname;
use crate::read::Slots;

/// States in which a vnode takes no work until somebody or something brings it back.
const OUT_OF_SERVICE: &[&str] = &[
    "down",
    "offline",
    "stale",
    "state-unknown",
    "unknown",
    "maintenance",
    "provisioning",
    "wait-provisioning",
    "unresolvable",
    "initializing",
    "hibernate",
    "sleep",
];
/// States in which nothing more of a vnode is given away.
const TAKEN: &[&str] = &["job-exclusive", "resv-exclusive", "busy"];
/// Resources of a chunk that are amounts; any other default of a queue says which nodes it has.
pub(super) const AMOUNTS: &[&str] =
    &["ncpus", "mem", "vmem", "ngpus", "mpiprocs", "ompthreads", "naccelerators", "nodect"];
/// Under which names sites keep the model of a node's GPUs.
const MODELS: &[&str] = &["gpu_model", "gpu_type", "gputype", "accelerator_model"];

/// Cores, GPUs and memory; none where nobody says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) cores: u32,
    pub(super) gpus: u32,
    pub(super) memory_kib: Option<u64>,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            cores: self.cores.saturating_add(other.cores),
            gpus: self.gpus.saturating_add(other.gpus),
            memory_kib: self.memory_kib.zip(other.memory_kib).map(|(a, b)| a.saturating_add(b)),
        }
    }

    const NOTHING: Self = Self { cores: 0, gpus: 0, memory_kib: Some(0) };

    fn slots(self) -> Slots {
        Slots { cores: self.cores, memory_gib: self.memory_kib.map(fields::gib), gpus: self.gpus }
    }
}

/// The least and the most that one job may ask of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) cores: Option<u32>,
    pub(super) gpus: Option<u32>,
    pub(super) nodes: Option<u32>,
    pub(super) memory_kib: Option<u64>,
    pub(super) time: Option<Seconds>,
}

impl Limits {
    fn read(record: &Record, attribute: &str) -> Self {
        let text = |name: &str| record.get(&format!("{attribute}.{name}"));
        let number = |name: &str| text(name).and_then(|value| value.parse().ok());
        Self {
            cores: number("ncpus"),
            gpus: number("ngpus"),
            nodes: number("nodect"),
            memory_kib: text("mem").and_then(fields::kib),
            time: text("walltime").and_then(fields::duration),
        }
    }

    /// What the queue says, else what the server says.
    fn or(self, server: Self) -> Self {
        Self {
            cores: self.cores.or(server.cores),
            gpus: self.gpus.or(server.gpus),
            nodes: self.nodes.or(server.nodes),
            memory_kib: self.memory_kib.or(server.memory_kib),
            time: self.time.or(server.time),
        }
    }
}

/// A queue that takes work from us.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) is_default: bool,
    /// Queues that it hands its jobs on to.
    destinations: Vec<String>,
    pub(super) least: Limits,
    pub(super) most: Limits,
    /// Resources that its nodes have.
    wanted: BTreeMap<String, String>,
    /// It has the nodes that belong to it and no others.
    own_nodes_only: bool,
}

/// A vnode.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vnode {
    pub(super) name: String,
    pub(super) host: String,
    /// The queues that may use it.
    pub(super) queues: Vec<String>,
    pub(super) in_service: bool,
    /// Nobody else gets a part of it while a job is on it.
    pub(super) exclusive: bool,
    /// One job has all of it now.
    pub(super) is_whole: bool,
    /// Somebody has reserved it, now or later.
    pub(super) is_reserved: bool,
    pub(super) has: Amount,
    pub(super) free: Amount,
    /// Torque does not always say which GPUs are taken.
    pub(super) knows_gpus: bool,
    /// What else PBS knows of it, by the names that a request may use.
    pub(super) resources: BTreeMap<String, String>,
}

impl Vnode {
    /// Whether it has a resource with this value; a list of values is joined with commas.
    pub(super) fn has_resource(&self, name: &str, value: &str) -> bool {
        let equal = |have: &str| have.trim().eq_ignore_ascii_case(value);
        self.resources.get(name).is_some_and(|have| equal(have) || have.split(',').any(equal))
    }
}

/// A host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) queues: Vec<String>,
    pub(super) is_idle: bool,
    pub(super) has: Amount,
    pub(super) free: Amount,
    knows_gpus: bool,
    architecture: Option<String>,
    /// The resource that names the model of its GPUs, and the model as it stands there.
    pub(super) model: Option<(String, String)>,
}

/// What a site has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cluster {
    pub(super) queues: Vec<Queue>,
    /// Queues whose jobs are started.
    pub(super) started: Vec<String>,
    pub(super) vnodes: Vec<Vnode>,
    /// Jobs are being started at all.
    pub(super) schedules: bool,
    /// Everybody's jobs are listed, and not only our own.
    pub(super) shows_all: bool,
    pub(super) accepts: bool,
    pub(super) running: Option<u32>,
    pub(super) waiting: Option<u32>,
}

impl Cluster {
    /// Reads the listings. With `only` named, the other queues do not exist for us.
    pub(super) fn read(
        flavour: Flavour,
        [server, queues, nodes]: [&[Record]; 3],
        only: Option<&str>,
        user: Option<&str>,
    ) -> Result<Self, String> {
        let server = server.first().ok_or("it lists no server")?;
        let most = Limits::read(server, "resources_max");
        let least = Limits::read(server, "resources_min");
        let default = server.get("default_queue");
        let is_open = |record: &&Record| record.is_true("enabled") && record.is_true("started");
        let open: Vec<&Record> = queues
            .iter()
            .filter(is_open)
            .filter(|record| !record.is_true("from_route_only") && may_use(record, user))
            .filter(|record| only.is_none_or(|only| record.name == only))
            .collect();
        let queue = |record: &Record| Queue {
            name: record.name.clone(),
            is_default: Some(record.name.as_str()) == default,
            destinations: record
                .get("route_destinations")
                .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect())
                .unwrap_or_default(),
            least: Limits::read(record, "resources_min").or(least),
            most: Limits::read(record, "resources_max").or(most),
            wanted: record
                .within("default_chunk")
                .filter(|(name, _)| !AMOUNTS.contains(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            own_nodes_only: record.is_true("hasnodes"),
        };
        let started = queues
            .iter()
            .filter(|record| record.is_true("started"))
            .map(|record| record.name.clone())
            .collect();
        let every: Vec<Queue> = queues.iter().map(queue).collect();
        let queues: Vec<Queue> = open.into_iter().map(queue).collect();
        let mut vnodes: Vec<Vnode> = Vec::new();
        for record in nodes {
            let Some((mut vnode, belongs_to)) = vnode(flavour, record) else { continue };
            let within: Vec<&Queue> =
                every.iter().filter(|queue| queue.has(&vnode, belongs_to.as_deref())).collect();
            vnode.queues = queues
                .iter()
                .filter(|queue| {
                    within
                        .iter()
                        .any(|in_it| in_it.name == queue.name || queue.destinations.contains(&in_it.name))
                })
                .map(|queue| queue.name.clone())
                .collect();
            if !vnode.queues.is_empty() {
                vnodes.push(vnode);
            }
        }
        let state = server.get("server_state").unwrap_or_default();
        let count = |states: &[&str]| {
            let counts = server.get("state_count")?;
            states.iter().try_fold(0_u32, |sum, state| Some(sum.saturating_add(state_count(counts, state)?)))
        };
        Ok(Self {
            started,
            schedules: server.is_true("scheduling"),
            shows_all: server.is_true("query_other_jobs"),
            accepts: !queues.is_empty() && !state.starts_with("Terminat"),
            running: count(&["Running", "Exiting"]),
            waiting: count(&["Transit", "Queued", "Held", "Waiting"]),
            queues,
            vnodes,
        })
    }
}

impl Queue {
    /// Whether a vnode is one of its own.
    fn has(&self, vnode: &Vnode, belongs_to: Option<&str>) -> bool {
        let belongs = match belongs_to {
            Some(queue) => queue == self.name,
            None => !self.own_nodes_only,
        };
        belongs
            && self.destinations.is_empty()
            && self.wanted.iter().all(|(name, value)| vnode.has_resource(name, value))
    }
}

/// Whether a queue's list of users lets this one in.
fn may_use(queue: &Record, user: Option<&str>) -> bool {
    let Some(user) = user.filter(|_| queue.is_true("acl_user_enable")) else { return true };
    let is_user = |entry: &str| matches!(entry.split('@').next(), Some(name) if name == user || name == "*");
    queue
        .get("acl_users")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .any(|entry| !entry.starts_with('-') && is_user(entry.strip_prefix('+').unwrap_or(entry)))
}

/// Reads a vnode, and the queue that it belongs to if it does. One without cores is a place for others.
fn vnode(flavour: Flavour, record: &Record) -> Option<(Vnode, Option<String>)> {
    let states: Vec<&str> = record.get("state")?.split(',').map(str::trim).collect();
    let is = |known: &[&str]| states.iter().any(|state| known.contains(state));
    let in_service = !is(OUT_OF_SERVICE);
    let (has, taken, knows_gpus, resources) = match flavour {
        Flavour::OpenPbs => openpbs_amounts(record),
        Flavour::Torque => torque_amounts(record)?,
    };
    // One that is down may not have told its cores yet.
    if has.cores == 0 && in_service {
        return None;
    }
    let free = if is(TAKEN) {
        Amount { memory_kib: has.memory_kib.map(|_| 0), ..Amount::NOTHING }
    } else {
        Amount {
            cores: has.cores.saturating_sub(taken.cores),
            gpus: has.gpus.saturating_sub(taken.gpus),
            memory_kib: has.memory_kib.zip(taken.memory_kib).map(|(all, taken)| all.saturating_sub(taken)),
        }
    };
    let sharing = record.get("sharing").unwrap_or_default();
    let vnode = Vnode {
        host: record.get("resources_available.host").unwrap_or(&record.name).to_owned(),
        name: record.name.clone(),
        queues: Vec::new(),
        in_service,
        exclusive: matches!(sharing, "default_excl" | "force_excl" | "default_exclhost" | "force_exclhost"),
        is_whole: is(&["job-exclusive"]) && flavour == Flavour::OpenPbs,
        is_reserved: record.get("resv").is_some(),
        has,
        free,
        knows_gpus,
        resources,
    };
    Some((vnode, record.get("queue").map(str::to_owned)))
}

type Amounts = (Amount, Amount, bool, BTreeMap<String, String>);

fn openpbs_amounts(record: &Record) -> Amounts {
    let amount = |attribute: &str| {
        let text = |name: &str| record.get(&format!("{attribute}.{name}"));
        let number = |name: &str| text(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        Amount {
            cores: number("ncpus"),
            gpus: number("ngpus"),
            memory_kib: text("mem").and_then(fields::kib),
        }
    };
    let mut taken = amount("resources_assigned");
    // What nobody has is not listed.
    taken.memory_kib = taken.memory_kib.or(Some(0));
    let resources = record
        .within("resources_available")
        .filter(|(name, _)| !AMOUNTS.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (amount("resources_available"), taken, true, resources)
}

/// Torque lists a place for each core (`np`), jobs with the places that they have, and what the node's
/// daemon measured (`status`). How much memory is set aside it does not say.
fn torque_amounts(record: &Record) -> Option<Amounts> {
    let number = |attribute: &str| record.get(attribute).and_then(|value| value.parse::<u32>().ok());
    let of_status = |name: &str| {
        let status = record.get("status")?;
        status.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let has = Amount {
        cores: number("np")?,
        gpus: number("gpus").unwrap_or(0),
        memory_kib: of_status("physmem").and_then(fields::kib),
    };
    // `0/12.server, 1/12.server`, or `0-1/12.server`: ids before each slash. A part without one goes on
    // with the ids of the part before it: `0,2-3/12.server`.
    let cores = record.get("jobs").map_or(0, |jobs| {
        let ids = jobs.split(',').filter_map(|part| fields::count(part.split('/').next()?));
        ids.fold(0, u32::saturating_add)
    });
    let states = record.get("gpu_status").map(|status| status.matches("gpu_state=").count());
    let free_gpus = record.get("gpu_status").map(|status| status.matches("gpu_state=Unallocated").count());
    let knows_gpus = has.gpus == 0 || states.is_some_and(|states| states > 0);
    let gpus = match free_gpus {
        Some(free) if knows_gpus => has.gpus.saturating_sub(u32::try_from(free).unwrap_or(u32::MAX)),
        _ if knows_gpus => 0,
        // Unknown: none that could be promised.
        _ => has.gpus,
    };
    let resources = record
        .get("properties")
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(|property| (property.trim().to_owned(), "True".to_owned()))
        .collect();
    Some((has, Amount { cores, gpus, memory_kib: None }, knows_gpus, resources))
}

/// The nodes that vnodes in service make up.
pub(super) fn nodes<'a>(vnodes: impl Iterator<Item = &'a Vnode>) -> Vec<Node> {
    let mut nodes: BTreeMap<(&str, &[String]), Node> = BTreeMap::new();
    for vnode in vnodes.filter(|vnode| vnode.in_service) {
        let model = MODELS.iter().find_map(|name| {
            let value = vnode.resources.get(*name).filter(|_| vnode.has.gpus > 0)?;
            Some(((*name).to_owned(), value.clone()))
        });
        let node = nodes.entry((vnode.host.as_str(), vnode.queues.as_slice())).or_insert_with(|| Node {
            host: vnode.host.clone(),
            queues: vnode.queues.clone(),
            is_idle: true,
            has: Amount::NOTHING,
            free: Amount::NOTHING,
            knows_gpus: true,
            architecture: vnode.resources.get("arch").cloned(),
            model: None,
        });
        node.is_idle &= vnode.free.cores == vnode.has.cores && vnode.free.gpus == vnode.has.gpus;
        node.has = node.has.plus(vnode.has);
        node.free = node.free.plus(vnode.free);
        node.knows_gpus &= vnode.knows_gpus;
        node.model = node.model.take().or(model);
    }
    nodes.into_values().collect()
}

impl Cluster {
    pub(super) fn total(&self) -> Slots {
        nodes(self.vnodes.iter()).iter().fold(Amount::NOTHING, |sum, node| sum.plus(node.has)).slots()
    }

    pub(super) fn free(&self) -> Slots {
        nodes(self.vnodes.iter()).iter().fold(Amount::NOTHING, |sum, node| sum.plus(node.free)).slots()
    }

    /// Whether the machine that asks is one of the hosts.
    pub(super) fn has_this_machine(&self) -> bool {
        hostname::is_any_of(self.vnodes.iter().map(|vnode| vnode.host.as_str()))
    }

    /// Hosts with no vnode in service.
    pub(super) fn nodes_out(&self) -> u32 {
        let mut hosts: BTreeMap<&str, bool> = BTreeMap::new();
        for vnode in &self.vnodes {
            *hosts.entry(&vnode.host).or_insert(false) |= vnode.in_service;
        }
        u32::try_from(hosts.values().filter(|in_service| !**in_service).count()).unwrap_or(u32::MAX)
    }

    /// The longest time limit of a queue; none when one of them has no limit.
    pub(super) fn time_limit(&self) -> Option<Seconds> {
        let limits = self.queues.iter().map(|queue| queue.most.time);
        limits.collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
    }

    /// Nodes in service, in groups of equals, named by their queues; what differs within the same queues
    /// is numbered.
    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        let mut groups: Vec<NodeGroup> = Vec::new();
        for node in nodes(self.vnodes.iter()) {
            let memory_gib_per_node = node.has.memory_kib.map(fields::gib);
            let group = NodeGroup {
                name: node.queues.join(","),
                architecture: node.architecture.filter(|arch| arch.contains('_') || arch.contains("64")),
                cpu_model: None,
                nodes: 1,
                nodes_free: Some(u32::from(node.is_idle)),
                cores_per_node: node.has.cores,
                cores_free: Some(node.free.cores),
                memory_gib_per_node: memory_gib_per_node.filter(|memory| *memory > GiB::ZERO),
                gpus_per_node: node.has.gpus,
                gpus_free: node.knows_gpus.then_some(node.free.gpus),
                gpu_model: node.model.map(|(_, model)| fields::gpu_model(&model)),
                gpu_memory_gib: None,
            };
            let sum = |a: Option<u32>, b: Option<u32>| a.zip(b).map(|(a, b)| a.saturating_add(b));
            match groups.iter_mut().find(|other| alike(other, &group)) {
                Some(other) => {
                    other.nodes += 1;
                    other.nodes_free = sum(other.nodes_free, group.nodes_free);
                    other.cores_free = sum(other.cores_free, group.cores_free);
                    other.gpus_free = sum(other.gpus_free, group.gpus_free);
                }
                None => groups.push(group),
            }
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

fn alike(one: &NodeGroup, other: &NodeGroup) -> bool {
    let key = |group: &NodeGroup| {
        (
            group.name.clone(),
            group.architecture.clone(),
            group.cores_per_node,
            group.memory_gib_per_node.map(GiB::get),
            group.gpus_per_node,
            group.gpu_model.clone(),
        )
    };
    key(one) == key(other)
}
