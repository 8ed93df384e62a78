//! One simulated site: its truth at any tick, its static metadata, and what really happens to work
//! that is awarded to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::facts::{
    Allocation, AsOf, ComputeFacts, Fabric, Facts, FileSystem, Flag, FlagKind, HostFacts, NodeGroup, Package,
    Runtime, StartEstimate, WorkloadFacts,
};
use protocol::fleet::MockIdentity;
use protocol::ids::{ProposalId, WorkerId};
use protocol::requirement::Requirement;
use protocol::units::{GiB, Number, Seconds};

use crate::VERSION;
use crate::archetype::{Archetype, UnknownArchetype};
use crate::capacity::{self, Capacity};
use crate::dynamics::{self, DAY, noise, steady};
use crate::metadata;
use crate::plan::{Group, Plan, Tool, Volume};
use crate::recipe::recipe;
use crate::software::Installed;
use crate::start::{self, Queue};
use crate::stream::whole;

/// The load above which work begins to queue.
const QUEUE_FROM: f64 = 0.6;

/// The load below which the machine under a desk counts as idle: nobody is at it.
const DESK_IDLE: f64 = 0.4;

/// The desk's load above which its GPU is taken.
const DESK_GPU_TAKEN: f64 = 0.35;

/// A rebuild of a file system: one in fifty stretches of twelve hours.
const REBUILD_TICKS: u64 = 720;
const REBUILD_SHARE: f64 = 0.02;

/// The share of nodes that must be down for a site to call itself degraded.
const DEGRADED_FROM: f64 = 0.04;

/// The free share of a file system below which its quota counts as nearly used up.
const QUOTA_NEAR: f64 = 0.05;

/// One simulated site; a handle that is cheap to clone and points to a few kB.
#[derive(Debug, Clone)]
pub struct Site(Arc<Plan>);

/// A site at one moment.
struct Moment {
    groups: Vec<Capacity>,
    queue: Queue,
    down: f64,
}

impl Site {
    /// The site of this worker, archetype and seed.
    #[must_use]
    pub fn generate(worker: &WorkerId, archetype: Archetype, seed: u64) -> Self {
        Self(Arc::new(Plan::draw(worker, archetype, seed)))
    }

    /// The site that a worker's manifest names.
    pub fn from_identity(worker: &WorkerId, identity: &MockIdentity) -> Result<Self, UnknownArchetype> {
        if identity.archetype_version != VERSION {
            return Err(UnknownArchetype::Version(identity.archetype_version));
        }
        Ok(Self::generate(worker, identity.archetype.parse()?, identity.seed))
    }

    /// What the site is a function of, beside the worker's name.
    #[must_use]
    pub fn identity(&self) -> MockIdentity {
        MockIdentity {
            archetype: self.0.archetype.as_str().to_owned(),
            archetype_version: VERSION,
            seed: self.0.seed,
        }
    }

    /// The kind of site.
    #[must_use]
    pub fn archetype(&self) -> Archetype {
        self.0.archetype
    }

    /// The worker that represents the site.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.0.worker
    }

    /// Everything that is true of the site at a tick, with the capacity in `taken` gone. The start
    /// estimate is that of one core.
    #[must_use]
    pub fn truth(&self, tick: u64, taken: &[(ProposalId, Allocation)]) -> Facts {
        let moment = self.moment(tick, taken);
        let one = Allocation { cores: 1, ..Allocation::default() };
        let start = self.estimate(&moment.groups, moment.queue, &one);
        let software = self.packages(&self.0.software.installed);
        self.facts(&moment, tick, taken, start, software)
    }

    /// As [`Site::truth`], with only those packages that the requirement names, and with the start
    /// estimate of work of the asked size. This is the one to negotiate with: it does not build a list
    /// of 500 packages for a question about one.
    #[must_use]
    pub fn truth_for(
        &self,
        requirement: &Requirement,
        tick: u64,
        taken: &[(ProposalId, Allocation)],
    ) -> Facts {
        let moment = self.moment(tick, taken);
        let suitable: Vec<Capacity> = moment
            .groups
            .iter()
            .zip(&self.0.groups)
            .filter(|(_, group)| start::suits(group, requirement))
            .map(|(capacity, _)| *capacity)
            .collect();
        let start = self.estimate(&suitable, moment.queue, &start::demand(requirement));
        let mut named: Vec<Installed> = requirement
            .software
            .iter()
            .flat_map(|need| self.0.software.of_name(&need.name))
            .copied()
            .collect();
        // The list is sorted by package, and a requirement may name one twice.
        named.sort_by_key(|item| self.0.software.key(*item));
        named.dedup();
        self.facts(&moment, tick, taken, start, self.packages(&named))
    }

    /// Static metadata by category and provider, as it stands in a manifest.
    #[must_use]
    pub fn providers(&self) -> BTreeMap<String, BTreeMap<String, serde_json::Value>> {
        metadata::providers(&self.0)
    }

    /// How long work of this size really waits when it is awarded at this tick and nothing else has
    /// been taken.
    #[must_use]
    pub fn start_delay(&self, tick: u64, allocation: &Allocation) -> Seconds {
        self.start_delay_after(tick, &[], allocation)
    }

    /// How long work of this size really waits when it is awarded at this tick and `taken` is gone;
    /// nine in ten waits keep the P90 of [`Site::truth_for`] for the same size and `taken`.
    #[must_use]
    pub fn start_delay_after(
        &self,
        tick: u64,
        taken: &[(ProposalId, Allocation)],
        allocation: &Allocation,
    ) -> Seconds {
        let moment = self.moment(tick, taken);
        let median = start::median_wait(&moment.groups, moment.queue, allocation)
            .unwrap_or(start::LONGEST_WAIT_SECONDS);
        let Allocation { nodes, cores, gpus } = allocation;
        let mut stream = self.0.origin().stream(&format!("delay {tick} {nodes} {cores} {gpus}"));
        Seconds::saturating(start::drawn(median, self.0.temper.start_spread, stream.normal()))
    }

    /// How long the awarded work really runs: near the promise and mostly below it, now and then far
    /// beyond. Without a promise, as long as work at this kind of site does.
    #[must_use]
    pub fn runtime(&self, proposal: &ProposalId, promised: Option<Seconds>) -> Seconds {
        let mut stream = self.0.origin().stream(&format!("runtime {proposal}"));
        let spread = libm::exp(self.0.temper.runtime_spread * stream.normal());
        let mishap = if stream.chance(0.03) { 1.2 + 0.6 * stream.unit() } else { 1.0 };
        let (least, most) = recipe(self.0.archetype).job_minutes;
        let usual = f64::from(stream.between(least, most)) * 60.0;
        let expected = promised.map_or(usual, |promised| promised.get().max(0.0));
        Seconds::saturating(expected * 0.95 * spread * mishap)
    }

    fn estimate(&self, groups: &[Capacity], queue: Queue, allocation: &Allocation) -> Option<StartEstimate> {
        let median = start::median_wait(groups, queue, allocation)?;
        Some(start::estimate(median, self.0.temper.start_spread))
    }

    fn moment(&self, tick: u64, taken: &[(ProposalId, Allocation)]) -> Moment {
        let plan = &*self.0;
        let temper = &plan.temper;
        let down = dynamics::down(temper.down_key, tick);
        let mut nodes = 0.0;
        let mut loaded = 0.0;
        let mut groups = Vec::with_capacity(plan.groups.len());
        for group in &plan.groups {
            let load = group.load.at(tick);
            nodes += f64::from(group.nodes);
            loaded += f64::from(group.nodes) * load;
            groups.push(if group.nodes == 1 && plan.archetype == Archetype::Standalone {
                desk(group, load)
            } else {
                cluster(group, load, down)
            });
        }
        let load = if nodes > 0.0 { loaded / nodes } else { 0.0 };
        let pressure = ((load - QUEUE_FROM) / (1.0 - QUEUE_FROM)).max(0.0);
        let mood = 1.0 + 0.5 * noise(temper.queue_key, tick, 120);
        let running = match plan.archetype {
            Archetype::Standalone => {
                groups.iter().map(|g| (g.cores_per_node - g.cores_free).div_ceil(4)).sum()
            }
            _ => groups.iter().map(|g| (g.nodes - g.nodes_free).div_ceil(temper.nodes_per_job)).sum(),
        };
        for (_, allocation) in taken {
            capacity::take(&mut groups, allocation);
        }
        let queue = Queue {
            depth: whole(temper.queue_scale * pressure * pressure * mood),
            running,
            mean_job_seconds: temper.mean_job_seconds,
        };
        Moment { groups, queue, down }
    }

    fn packages(&self, installed: &[Installed]) -> Vec<Package> {
        installed
            .iter()
            .map(|item| {
                let (name, version, provider, environment) = self.0.software.key(*item);
                Package {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    provider: provider.to_owned(),
                    environment: environment.map(ToOwned::to_owned),
                }
            })
            .collect()
    }

    fn facts(
        &self,
        moment: &Moment,
        tick: u64,
        taken: &[(ProposalId, Allocation)],
        start: Option<StartEstimate>,
        software: Vec<Package>,
    ) -> Facts {
        let plan = &*self.0;
        let storage: Vec<FileSystem> = plan.volumes.iter().map(|volume| file_system(volume, tick)).collect();
        let groups = plan.groups.iter().zip(&moment.groups);
        Facts {
            archetype: Some(plan.archetype.as_str().to_owned()),
            compute: Some(ComputeFacts { groups: groups.map(node_group).collect() }),
            workload: Some(WorkloadFacts {
                manager: plan.manager.name.to_owned(),
                version: plan.manager.version.map(ToOwned::to_owned),
                partitions: plan.partitions.iter().map(|name| (*name).to_owned()).collect(),
                queue_depth: Some(moment.queue.depth),
                running: Some(moment.queue.running),
                start,
                time_limit: Some(Seconds::from(plan.time_limit_hours * 3_600)),
            }),
            software: Some(software),
            containers: Some(plan.containers.iter().map(runtime).collect()),
            networks: Some(
                plan.networks
                    .iter()
                    .map(|link| Fabric { kind: link.kind.to_owned(), gbps: Some(Number::from(link.gbps)) })
                    .collect(),
            ),
            flags: self.flags(moment, tick, &storage),
            storage: Some(storage),
            mpi: Some(plan.mpi.iter().map(runtime).collect()),
            host: HostFacts::default(),
            prices: Some(plan.prices),
            provenance: BTreeMap::new(),
            as_of: Some(AsOf { tick, taken: taken.iter().map(|(id, _)| id.clone()).collect() }),
        }
    }

    fn flags(&self, moment: &Moment, tick: u64, storage: &[FileSystem]) -> Vec<Flag> {
        let temper = &self.0.temper;
        let mut flags = Vec::new();
        let mut flag = |kind, evidence| flags.push(Flag { kind, evidence });
        let into = (tick % temper.maintenance_period + temper.maintenance_offset) % temper.maintenance_period;
        let left = temper.maintenance_period - into;
        if left <= DAY {
            flag(FlagKind::Maintenance, format!("a maintenance window opens in {} h", left.div_ceil(60)));
        }
        if steady(temper.rebuild_key, tick, REBUILD_TICKS) < REBUILD_SHARE {
            let path = storage.first().map_or("the file system", |volume| volume.path.as_str());
            let percent = tick % REBUILD_TICKS * 100 / REBUILD_TICKS;
            flag(FlagKind::Rebuilding, format!("{path} is rebuilding, {percent} % done"));
        }
        if moment.down > DEGRADED_FROM && self.0.archetype != Archetype::Standalone {
            let all: u32 = self.0.groups.iter().map(|group| group.nodes).sum();
            let up: u32 = moment.groups.iter().map(|group| group.nodes).sum();
            if up < all {
                flag(FlagKind::Degraded, format!("{} of {all} nodes are down", all - up));
            }
        }
        for volume in storage {
            if let (Some(total), Some(free)) = (volume.total_gib, volume.free_gib)
                && free.get() < QUOTA_NEAR * total.get()
            {
                let (free, total) = (free.get(), total.get());
                flag(FlagKind::QuotaNear, format!("{} has {free} of {total} GiB free", volume.path));
            }
        }
        if self.0.preemptible {
            flag(FlagKind::Preemptible, "the nodes are rented without a guarantee".to_owned());
        }
        flags
    }
}

/// A group of nodes of a cluster: some are down, some are free, the busy ones have a little room left.
fn cluster(group: &Group, load: f64, down: f64) -> Capacity {
    let nodes = (group.nodes - whole(down * f64::from(group.nodes))).max(1);
    let nodes_free = whole((1.0 - load) * f64::from(nodes)).min(nodes);
    let busy = f64::from(nodes - nodes_free);
    let room = |per_node: u32| nodes_free * per_node + whole(busy * f64::from(per_node) * group.slack);
    Capacity {
        nodes,
        nodes_free,
        cores_per_node: group.processor.cores,
        cores_free: room(group.processor.cores),
        gpus_per_node: group.gpus_per_node,
        gpus_free: room(group.gpus_per_node),
    }
}

/// The machine under a desk: often idle, else shared core by core with whoever sits at it.
fn desk(group: &Group, load: f64) -> Capacity {
    let cores = group.processor.cores;
    let used = ((load - DESK_IDLE) / (1.0 - DESK_IDLE)).max(0.0);
    let busy = whole(libm::round(used * f64::from(cores))).min(cores);
    Capacity {
        nodes: 1,
        nodes_free: u32::from(busy == 0),
        cores_per_node: cores,
        cores_free: cores - busy,
        gpus_per_node: group.gpus_per_node,
        gpus_free: if used > DESK_GPU_TAKEN { 0 } else { group.gpus_per_node },
    }
}

fn node_group((group, capacity): (&Group, &Capacity)) -> NodeGroup {
    NodeGroup {
        name: group.name.to_owned(),
        architecture: Some(group.processor.architecture.to_owned()),
        cpu_model: Some(group.processor.model.to_owned()),
        nodes: capacity.nodes,
        nodes_free: Some(capacity.nodes_free),
        cores_per_node: capacity.cores_per_node,
        cores_free: Some(capacity.cores_free),
        memory_gib_per_node: Some(GiB::from(group.memory_gib)),
        gpus_per_node: capacity.gpus_per_node,
        gpus_free: Some(capacity.gpus_free),
        gpu_model: group.accelerator.map(|gpu| gpu.model.to_owned()),
        gpu_memory_gib: group.accelerator.map(|gpu| GiB::from(gpu.memory_gib)),
    }
}

fn file_system(volume: &Volume, tick: u64) -> FileSystem {
    let used = (volume.used + 0.06 * noise(volume.key, tick, 5 * DAY)).clamp(0.02, 0.99);
    FileSystem {
        kind: volume.tool.name.to_owned(),
        path: volume.path.to_string(),
        total_gib: Some(GiB::saturating(volume.total_gib)),
        free_gib: Some(GiB::saturating(libm::floor(volume.total_gib * (1.0 - used)))),
    }
}

fn runtime(tool: &Tool) -> Runtime {
    Runtime { name: tool.name.to_owned(), version: tool.version.map(ToOwned::to_owned) }
}
