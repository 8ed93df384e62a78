//! The rules agent's look at a simulated site: it asks the tools that matter to the call, and the facts
//! hold what those tools told and nothing else.

use protocol::call::Call;
use protocol::facts::{ComputeFacts, Facts, NodeGroup, Provenance, Scope};
use protocol::ids::Digest;
use protocol::proposal::ProviderCall;
use protocol::units::{Seconds, Timestamp};
use serde_json::{Map, Value};

use super::answers::{find_package, is_about_storage, packages, plain_answer};
use super::member::{Member, Query};
use crate::interest::wants;
use crate::observation::Investigation;
use crate::provider::Category;

struct Look<'a> {
    call: &'a Call,
    truth: &'a Facts,
    now: Timestamp,
    facts: Facts,
    calls: Vec<ProviderCall>,
}

/// Raw answers of one provider, one a line, and where they came from.
#[derive(Default)]
struct Record {
    raw: Vec<u8>,
    source: String,
}

/// Asks the members of a site about a call.
pub(super) fn observe(
    members: &[&'static Member],
    call: &Call,
    truth: &Facts,
    now: Timestamp,
) -> Investigation {
    let facts = Facts {
        archetype: truth.archetype.clone(),
        as_of: truth.as_of.clone(),
        // Which providers a site has is known from its manifest, so a list starts empty, not unknown.
        software: starts(Category::Software, call, &truth.software),
        containers: starts(Category::Container, call, &truth.containers),
        networks: starts(Category::Network, call, &truth.networks),
        storage: starts(Category::Storage, call, &truth.storage),
        mpi: starts(Category::Parallel, call, &truth.mpi),
        ..Facts::default()
    };
    let mut look = Look { call, truth, now, facts, calls: Vec::with_capacity(16) };
    for member in members {
        if wants(member.category, call) {
            look.at(member);
        }
    }
    // Providers are asked by category and name; a list stays in the site's own order, so that the words
    // made of it are those that the hub makes of the truth.
    let found = &mut look.facts;
    in_order(&mut found.software, &truth.software);
    in_order(&mut found.containers, &truth.containers);
    in_order(&mut found.networks, &truth.networks);
    in_order(&mut found.storage, &truth.storage);
    in_order(&mut found.mpi, &truth.mpi);
    found.flags.sort_by_key(|flag| truth.flags.iter().position(|known| known == flag));
    Investigation { facts: look.facts, calls: look.calls }
}

fn in_order<T: PartialEq>(found: &mut Option<Vec<T>>, truth: &Option<Vec<T>>) {
    if let (Some(found), Some(truth)) = (found, truth)
        && found.len() > 1
    {
        found.sort_by_cached_key(|item| truth.iter().position(|known| known == item));
    }
}

fn starts<T>(category: Category, call: &Call, truth: &Option<Vec<T>>) -> Option<Vec<T>> {
    (wants(category, call) && truth.is_some()).then(Vec::new)
}

impl Look<'_> {
    fn at(&mut self, member: &'static Member) {
        let mut record = Record::default();
        match member.category {
            Category::Hardware => self.hardware(member, &mut record),
            Category::Workload => self.workload(member, &mut record),
            Category::Software => self.software(member, &mut record),
            Category::Container => {
                self.ask(member, Query::RuntimeInfo, &mut record);
                let found = self.truth.containers.iter().flatten().filter(|known| known.name == member.name);
                self.facts.containers.get_or_insert_default().extend(found.cloned());
            }
            Category::Parallel => {
                self.ask(member, Query::MpiInfo, &mut record);
                let found = self.truth.mpi.iter().flatten().filter(|known| known.name == member.name);
                self.facts.mpi.get_or_insert_default().extend(found.cloned());
            }
            Category::Network => {
                self.ask(member, Query::LinkRate, &mut record);
                let found = self.truth.networks.iter().flatten().filter(|known| known.kind == member.name);
                self.facts.networks.get_or_insert_default().extend(found.cloned());
            }
            Category::Storage => self.storage(member, &mut record),
        }
        let provenance = Provenance {
            source: record.source,
            scope: Scope::Site,
            digest: Some(Digest::of(&record.raw)),
            observed_at: self.now,
            age_seconds: Seconds::ZERO,
            problem: None,
        };
        self.facts.provenance.insert(member.name.to_owned(), provenance);
    }

    fn ask(&mut self, member: &'static Member, query: Query, record: &mut Record) {
        let answer = plain_answer(member, query, self.truth);
        self.note(member, query, Map::new(), &answer, record);
    }

    fn note(
        &mut self,
        member: &'static Member,
        query: Query,
        args: Map<String, Value>,
        answer: &Value,
        record: &mut Record,
    ) {
        let Some(tool) = member.tool(query) else { return };
        // Writing JSON into memory does not fail.
        let _ = serde_json::to_writer(&mut record.raw, answer);
        record.raw.push(b'\n');
        if !record.source.ends_with(tool.source) {
            if !record.source.is_empty() {
                record.source.push_str("; ");
            }
            record.source.push_str(tool.source);
        }
        self.calls.push(ProviderCall {
            provider: member.name.to_owned(),
            function: tool.tool.name.to_owned(),
            args: Value::Object(args),
        });
    }

    /// The groups with what has been told of them so far.
    fn groups(&mut self) -> &mut Vec<NodeGroup> {
        let truth = &self.truth.compute;
        &mut self
            .facts
            .compute
            .get_or_insert_with(|| ComputeFacts {
                groups: truth
                    .iter()
                    .flat_map(|compute| &compute.groups)
                    .map(|group| NodeGroup {
                        name: group.name.clone(),
                        nodes: group.nodes,
                        cores_per_node: group.cores_per_node,
                        memory_gib_per_node: group.memory_gib_per_node,
                        gpus_per_node: group.gpus_per_node,
                        ..NodeGroup::default()
                    })
                    .collect(),
            })
            .groups
    }

    fn hardware(&mut self, member: &'static Member, record: &mut Record) {
        for query in [Query::Cpu, Query::Memory, Query::Gpus] {
            self.ask(member, query, record);
        }
        let truth = self.truth.compute.as_ref();
        for (group, true_group) in self.groups().iter_mut().zip(truth.into_iter().flat_map(|all| &all.groups))
        {
            group.architecture.clone_from(&true_group.architecture);
            group.cpu_model.clone_from(&true_group.cpu_model);
            group.gpu_model.clone_from(&true_group.gpu_model);
            group.gpu_memory_gib = true_group.gpu_memory_gib;
        }
    }

    fn workload(&mut self, member: &'static Member, record: &mut Record) {
        for query in [Query::QueueDepth, Query::Partitions, Query::NodeStates] {
            self.ask(member, query, record);
        }
        let answer = plain_answer(member, Query::EstimateStart, self.truth);
        self.note(member, Query::EstimateStart, size_of(self.call), &answer, record);
        for query in [Query::Rates, Query::Notices] {
            self.ask(member, query, record);
        }
        let truth = self.truth.compute.as_ref();
        for (group, true_group) in self.groups().iter_mut().zip(truth.into_iter().flat_map(|all| &all.groups))
        {
            group.nodes_free = true_group.nodes_free;
            group.cores_free = true_group.cores_free;
            group.gpus_free = true_group.gpus_free;
        }
        self.facts.workload.clone_from(&self.truth.workload);
        self.facts.prices = self.truth.prices;
        let notices = self.truth.flags.iter().filter(|flag| !is_about_storage(flag.kind));
        self.facts.flags.extend(notices.cloned());
    }

    fn software(&mut self, member: &'static Member, record: &mut Record) {
        for need in &self.call.requirement.software {
            let answer = find_package(member, &need.name, self.truth);
            let mut args = Map::new();
            args.insert("name".to_owned(), need.name.clone().into());
            self.note(member, Query::FindPackage, args, &answer, record);
        }
        // The truth for a requirement lists the packages that it names and no others.
        let found = packages(member, self.truth).cloned();
        self.facts.software.get_or_insert_default().extend(found);
    }

    fn storage(&mut self, member: &'static Member, record: &mut Record) {
        self.ask(member, Query::FreeSpace, record);
        let found = self.truth.storage.iter().flatten().filter(|known| known.kind == member.name);
        self.facts.storage.get_or_insert_default().extend(found.cloned());
        for flag in self.truth.flags.iter().filter(|flag| is_about_storage(flag.kind)) {
            // Each file system of a site knows of the same problem.
            if !self.facts.flags.contains(flag) {
                self.facts.flags.push(flag.clone());
            }
        }
    }
}

/// The size that an expert would ask a start estimate for.
fn size_of(call: &Call) -> Map<String, Value> {
    let compute = &call.requirement.compute;
    let mut size = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            size.insert(name.to_owned(), value);
        }
    };
    set("nodes", compute.nodes.map(Value::from));
    set("cores", compute.cores.or(compute.tasks).map(Value::from));
    let gpus = compute.gpus.as_ref().map(|gpus| match gpus.per {
        protocol::requirement::GpuScope::Node => gpus.count.saturating_mul(compute.nodes.unwrap_or(1)),
        protocol::requirement::GpuScope::Total => gpus.count,
    });
    set("gpus", gpus.map(Value::from));
    let duration = call.requirement.time.duration_seconds;
    set("duration_seconds", duration.and_then(|duration| serde_json::to_value(duration).ok()));
    size
}
