//! What is drawn once for a site and never changes: hardware, providers, packages, prices, temper.
//!
//! Every part has a random stream of its own, and the members of a category are chosen by a rank that
//! each draws for itself. So a further provider in a recipe changes nothing at the sites that do not
//! choose it, and at those that do it takes at most one other's place; what the rest have stays.

use protocol::facts::Prices;
use protocol::ids::WorkerId;
use protocol::units::Usd;

use crate::archetype::Archetype;
use crate::dynamics::{DAY_TICKS, Load};
use crate::hardware::{Accelerator, Processor};
use crate::recipe::{Choice, DEVIATION, Member, Network, Range, Recipe, recipe};
use crate::software::Software;
use crate::stream::{Origin, Stream, lerp, whole};

/// GiB in one GB.
const GIB_PER_GB: f64 = 1_000_000_000.0 / 1_073_741_824.0;

/// What work that can be stopped costs, as a share of the full price.
const PREEMPTIBLE_SHARE: f64 = 0.4;

/// A site as it was drawn.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) worker: WorkerId,
    pub(crate) archetype: Archetype,
    pub(crate) seed: u64,
    pub(crate) groups: Vec<Group>,
    pub(crate) partitions: Vec<&'static str>,
    pub(crate) manager: Tool,
    pub(crate) time_limit_hours: u32,
    pub(crate) software: Software,
    pub(crate) containers: Vec<Tool>,
    pub(crate) mpi: Vec<Tool>,
    pub(crate) networks: Vec<Link>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) prices: Prices,
    pub(crate) preemptible: bool,
    pub(crate) temper: Temper,
}

/// Equal nodes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) processor: &'static Processor,
    pub(crate) nodes: u32,
    pub(crate) memory_gib: u32,
    pub(crate) gpus_per_node: u32,
    pub(crate) accelerator: Option<&'static Accelerator>,
    pub(crate) load: Load,
    /// The share of a busy node that is still free.
    pub(crate) slack: f64,
}

/// A program and its version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: Option<&'static str>,
}

/// A network and the speed of one link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) kind: &'static str,
    pub(crate) gbps: u32,
}

/// A file system.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) tool: Tool,
    pub(crate) path: Box<str>,
    pub(crate) total_gib: f64,
    /// The used share on average, and the key of its noise.
    pub(crate) used: f64,
    pub(crate) key: u64,
}

/// How a site behaves over time.
#[derive(Debug)]
pub(crate) struct Temper {
    pub(crate) down_key: u64,
    pub(crate) queue_key: u64,
    pub(crate) rebuild_key: u64,
    /// Jobs that wait when the site is full.
    pub(crate) queue_scale: f64,
    pub(crate) nodes_per_job: u32,
    pub(crate) mean_job_seconds: f64,
    /// Deviation of the logarithm of real waits from the estimate.
    pub(crate) start_spread: f64,
    /// Deviation of the logarithm of real run times from the promise.
    pub(crate) runtime_spread: f64,
    /// Ticks from one maintenance window to the next, and how far the first is in.
    pub(crate) maintenance_period: u64,
    pub(crate) maintenance_offset: u64,
}

impl Plan {
    /// Whose random streams the site draws from.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin { worker: self.worker.as_str(), seed: self.seed }
    }

    /// Draws the site.
    pub(crate) fn draw(worker: &WorkerId, archetype: Archetype, seed: u64) -> Self {
        let origin = Origin { worker: worker.as_str(), seed };
        let recipe = recipe(archetype);
        let mut stream = origin.stream("site");
        let scale = (recipe.scale_mean + DEVIATION * stream.normal()).clamp(0.0, 1.0);
        let density = (recipe.density_mean + DEVIATION * stream.normal()).clamp(0.0, 1.0);
        let preemptible = stream.chance(recipe.preemptible);

        let mut stream = origin.stream("workload");
        let level = stream.drift(density);
        let partition_count = lerp(recipe.partitions, level);
        let time_limit_hours = stream.pick(recipe.time_limit_hours).copied().unwrap_or(24);
        let groups = draw_groups(origin, recipe, scale, density, partition_count);

        let sources = choose(origin, "software", recipe.software_count, recipe.software, |s| &s.member);
        let nodes = groups.iter().map(|group| group.nodes).sum();
        Self {
            worker: worker.clone(),
            archetype,
            seed,
            partitions: name_partitions(recipe, &groups, partition_count),
            manager: draw_tools(origin, "workload", &recipe.workload)
                .first()
                .copied()
                .unwrap_or(Tool { name: "machine", version: None }),
            time_limit_hours,
            software: Software::draw(origin, density, &sources),
            containers: draw_tools(origin, "container", &recipe.container),
            mpi: draw_tools(origin, "parallel", &recipe.parallel),
            networks: draw_network(origin, recipe.network, scale),
            volumes: draw_volumes(origin, recipe, scale, density),
            prices: draw_prices(origin, recipe, &groups, preemptible),
            preemptible,
            temper: draw_temper(origin, recipe, nodes),
            groups,
        }
    }
}

/// Chooses members of a category: as many as drawn, those whose own ranks are least.
fn choose<T>(
    origin: Origin<'_>,
    category: &str,
    count: Range,
    of: &'static [T],
    member: fn(&T) -> &Member,
) -> Vec<&'static T> {
    let count = origin.stream(&format!("{category} count")).between(count.0, count.1) as usize;
    let rank = |option: &T| origin.hash(category, member(option).name.as_bytes());
    let mut ranks: Vec<u64> = of.iter().map(rank).collect();
    ranks.sort_unstable();
    let chosen = |option: &&T| ranks.iter().take(count).any(|least| *least == rank(option));
    of.iter().filter(chosen).collect()
}

fn draw_tools(origin: Origin<'_>, category: &str, choice: &'static Choice) -> Vec<Tool> {
    choose(origin, category, choice.count, choice.of, |member| member)
        .into_iter()
        .map(|member| Tool {
            name: member.name,
            version: origin.stream(member.name).pick(member.versions).copied(),
        })
        .collect()
}

/// Draws the groups of nodes. Their nodes add up to the site's; a site with room for one partition
/// only, or a lucky one, has GPUs in all its nodes.
fn draw_groups(origin: Origin<'_>, recipe: &Recipe, scale: f64, density: f64, partitions: u32) -> Vec<Group> {
    let mut stream = origin.stream("hardware");
    let level = stream.drift(scale);
    // Few sites are large: size grows with the square of scale.
    let nodes = lerp(recipe.nodes, level * level);
    let Some(processor) = stream.pick_at(recipe.processors, level) else { return Vec::new() };
    let memory_gib = stream.pick_at(recipe.memory_gib, level).copied().unwrap_or(8);
    let much_memory = recipe.memory_gib.last().copied().unwrap_or(memory_gib);

    let mut stream = origin.stream("gpu");
    let level = stream.drift(density);
    let has_gpus = stream.chance(0.4 + 0.4 * level);
    let gpus_per_node = stream.pick(recipe.gpus_per_node).copied().filter(|_| has_gpus).unwrap_or(0);
    let accelerator = stream.pick(recipe.accelerators).filter(|_| gpus_per_node > 0);
    let everywhere = stream.chance(0.08);
    let gpu_share = 0.03 + 0.22 * stream.unit();

    let mut stream = origin.stream("groups");
    let has_bigmem = stream.chance(0.5);
    let bigmem_share = 0.01 + 0.03 * stream.unit();
    let mut load = origin.stream("load");
    let base = load.drift(density);

    let [plain, with_gpus, with_memory] = recipe.groups;
    let mut group = |name, nodes, memory_gib, gpus_per_node| {
        let share = load.unit();
        Group {
            name,
            processor,
            nodes,
            memory_gib,
            gpus_per_node,
            accelerator: accelerator.filter(|_| gpus_per_node > 0),
            load: Load {
                base: (base + 0.05 * load.normal()).clamp(0.0, 1.0),
                key: load.bits(),
                phase: load.below(DAY_TICKS).into(),
            },
            slack: if recipe.partitions.0 >= 3 { 0.08 * share } else { 0.1 + 0.4 * share },
        }
    };
    if nodes < 2 || partitions < 2 || (everywhere && gpus_per_node > 0) {
        let name = if gpus_per_node > 0 && nodes > 1 && partitions > 1 { with_gpus } else { plain };
        return vec![group(name, nodes, memory_gib, gpus_per_node)];
    }
    let part = |share: f64| whole(share * f64::from(nodes)).max(1);
    let gpu_nodes = if gpus_per_node > 0 { part(gpu_share) } else { 0 };
    let bigmem = has_bigmem && partitions > 2 && much_memory > memory_gib;
    let bigmem_nodes = if bigmem { part(bigmem_share).min(nodes - gpu_nodes - 1) } else { 0 };
    let mut groups = vec![group(plain, nodes - gpu_nodes - bigmem_nodes, memory_gib, 0)];
    if gpu_nodes > 0 {
        groups.push(group(with_gpus, gpu_nodes, memory_gib, gpus_per_node));
    }
    if bigmem_nodes > 0 {
        groups.push(group(with_memory, bigmem_nodes, much_memory, 0));
    }
    groups
}

fn name_partitions(recipe: &Recipe, groups: &[Group], count: u32) -> Vec<&'static str> {
    let names = groups.iter().map(|group| group.name);
    names.chain(recipe.queues.iter().copied()).take(count as usize).collect()
}

fn draw_network(origin: Origin<'_>, options: &'static [Network], scale: f64) -> Vec<Link> {
    let ranked = options.iter().min_by_key(|network| origin.hash("network", network.kind.as_bytes()));
    ranked
        .into_iter()
        .map(|network| {
            let mut stream = origin.stream(network.kind);
            let level = stream.drift(scale);
            Link { kind: network.kind, gbps: stream.pick_at(network.gbps, level).copied().unwrap_or(1) }
        })
        .collect()
}

fn draw_volumes(origin: Origin<'_>, recipe: &Recipe, scale: f64, density: f64) -> Vec<Volume> {
    choose(origin, "storage", recipe.storage.count, recipe.storage.of, |member| member)
        .into_iter()
        .map(|member| {
            let mut stream = origin.stream(member.name);
            let level = stream.drift(scale);
            let gigabytes = lerp(recipe.storage_gb, level * level);
            let path = match member.name {
                "lustre" => format!("/lustre/{}", origin.worker),
                "nfs" => "/home".to_owned(),
                "s3" => format!("s3://{}-data", origin.worker),
                _ => "/scratch".to_owned(),
            };
            Volume {
                tool: Tool { name: member.name, version: stream.pick(member.versions).copied() },
                path: path.into(),
                total_gib: libm::floor(f64::from(gigabytes) * GIB_PER_GB),
                used: stream.drift(0.3 + 0.5 * density).clamp(0.05, 0.95),
                key: stream.bits(),
            }
        })
        .collect()
}

/// Dollars with four decimals, as price lists have them.
fn dollars(value: f64) -> Usd {
    Usd::saturating(libm::round(value * 10_000.0) / 10_000.0)
}

/// A site's prices: the recipe's, moved by a factor that is near 1 and between 0.6 and 1.6. A node is
/// priced as the nodes of the largest group are: its cores, and its GPUs if it has some.
fn draw_prices(origin: Origin<'_>, recipe: &Recipe, groups: &[Group], preemptible: bool) -> Prices {
    let mut stream = origin.stream("prices");
    let drift = |stream: &mut Stream| libm::exp(0.15 * stream.normal()).clamp(0.6, 1.6);
    let share = if preemptible { PREEMPTIBLE_SHARE } else { 1.0 };
    let core = recipe.prices.core_hour_usd * drift(&mut stream) * share;
    let gpu_drift = drift(&mut stream);
    let gpu = groups
        .iter()
        .find_map(|group| group.accelerator)
        .map(|accelerator| accelerator.hour_usd * recipe.prices.gpu_share * gpu_drift * share);
    let node = groups.iter().max_by_key(|group| group.nodes).map(|group| {
        f64::from(group.processor.cores) * core + f64::from(group.gpus_per_node) * gpu.unwrap_or(0.0)
    });
    Prices {
        node_hour_usd: node.map(dollars),
        core_hour_usd: Some(dollars(core)),
        gpu_hour_usd: gpu.map(dollars),
    }
}

fn draw_temper(origin: Origin<'_>, recipe: &Recipe, nodes: u32) -> Temper {
    let mut stream = origin.stream("temper");
    let minutes = stream.between(recipe.job_minutes.0, recipe.job_minutes.1);
    let maintenance_period = stream.between(14, 60) * DAY_TICKS;
    // The queue of a batch system holds whole campaigns, that of a small cluster a few pods.
    let per_root = if recipe.partitions.0 >= 3 { 8.0 } else { 2.0 };
    let queued = if nodes > 1 { per_root * libm::sqrt(f64::from(nodes)) } else { 0.0 };
    Temper {
        down_key: stream.bits(),
        queue_key: stream.bits(),
        rebuild_key: stream.bits(),
        queue_scale: queued * (0.5 + stream.unit()),
        nodes_per_job: stream.between(2, 16).min(nodes.div_ceil(4)).max(1),
        mean_job_seconds: f64::from(minutes) * 60.0,
        start_spread: 0.3 + 0.5 * stream.unit(),
        runtime_spread: 0.02 + 0.06 * stream.unit(),
        maintenance_period: maintenance_period.into(),
        maintenance_offset: stream.below(maintenance_period).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::SoftwareSource;

    const ORIGIN: Origin<'_> = Origin { worker: "w", seed: 3 };

    static MEMBERS: [Member; 4] = [
        Member { name: "a", versions: &["1"] },
        Member { name: "b", versions: &["1"] },
        Member { name: "c", versions: &["1"] },
        Member { name: "d", versions: &["1"] },
    ];

    fn chosen(seed: u64, of: &'static [Member]) -> Vec<&'static str> {
        let origin = Origin { seed, ..ORIGIN };
        choose(origin, "test", (1, 2), of, |member| member).iter().map(|member| member.name).collect()
    }

    #[test]
    fn a_further_member_changes_nothing_but_its_own_place() {
        for seed in 0..200 {
            let before = chosen(seed, &MEMBERS[..3]);
            let after = chosen(seed, &MEMBERS);
            assert_eq!(before.len(), after.len());
            if after.contains(&"d") {
                assert!(
                    after.iter().all(|name| *name == "d" || before.contains(name)),
                    "{before:?} {after:?}"
                );
            } else {
                assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn every_member_is_chosen_equally_often() {
        let mut counts = [0_u32; 4];
        for seed in 0..4_000 {
            for name in chosen(seed, &MEMBERS) {
                counts[MEMBERS.iter().position(|member| member.name == name).unwrap()] += 1;
            }
        }
        // One or two of four, with equal chances: 1.5 / 4 each.
        assert!(counts.iter().all(|count| (1_400..1_600).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_one_source_lists_does_not_depend_on_the_others() {
        let sources: Vec<&'static SoftwareSource> = recipe(Archetype::Hpc).software.iter().collect();
        let all = Software::draw(ORIGIN, 0.8, &sources);
        for source in sources {
            let alone = Software::draw(ORIGIN, 0.8, &[source]);
            let listed = |software: &Software| -> Vec<(String, String, Option<String>)> {
                let keys = software.installed.iter().map(|item| software.key(*item));
                keys.filter(|key| key.2 == source.member.name)
                    .map(|key| (key.0.to_owned(), key.1.to_owned(), key.3.map(ToOwned::to_owned)))
                    .collect()
            };
            assert_eq!(listed(&all), listed(&alone));
            assert!(!alone.installed.is_empty());
        }
    }
}
