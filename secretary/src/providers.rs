//! The providers of one site as one thing: real ones, found by looking, or simulated ones. It knows
//! their tools under their outside names (`<provider>_<tool>`) and investigates calls with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use archetypes::Site;
use protocol::call::Call;
use protocol::clock::Clock;
use protocol::facts::{Allocation, Scope};
use protocol::ids::ProposalId;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use workload::ReadSide;

use crate::detection::Detection;
use crate::mock::MockSite;
use crate::observation::{Investigation, assemble};
use crate::provider::{Category, Probe, Provider, ProviderError, ProviderTool, Reader, Reading, probe_time};
use crate::real::host::Host;
use crate::real::{
    command, conda, containers, cpu, disks, gpu, links, machine, memory, modules, mpi, pip, spack,
};

/// How long the first look for a provider may take.
const DETECTION_TIME: Duration = Duration::from_secs(3);

/// The state that a simulated site answers for; a real one answers for now and takes off what is held.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment<'a> {
    /// The tick of the simulated clock.
    pub tick: u64,
    /// Capacity that holds and awards keep and that the site's own tools do not show.
    pub taken: &'a [(ProposalId, Allocation)],
}

/// A read tool as it is offered outside.
#[derive(Debug, Clone)]
pub struct OutsideTool {
    /// `<provider>_<tool>`, of `[a-z0-9_-]`.
    pub name: String,
    /// `<provider>.<tool>`, as people and traces write it.
    pub title: String,
    /// What its provider knows about.
    pub category: Category,
    /// What it tells, written for a model.
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub input_schema: Arc<Map<String, Value>>,
}

impl OutsideTool {
    fn new(provider: &str, category: Category, tool: &ProviderTool) -> Self {
        Self {
            name: format!("{provider}_{}", tool.name),
            title: format!("{provider}.{}", tool.name),
            category,
            description: tool.description,
            input_schema: Arc::clone(&tool.input_schema),
        }
    }
}

struct RealProvider {
    provider: Arc<dyn Provider>,
    scope: Scope,
    metadata: Value,
    tools: Vec<ProviderTool>,
}

struct RealSite {
    active: Vec<RealProvider>,
    looked: Vec<Category>,
    /// Categories in which a provider may be here that did not answer when it was looked for.
    unsure: Vec<Category>,
}

enum Kind {
    Real(RealSite),
    Mock(MockSite),
}

/// The providers of one site.
pub struct Providers {
    kind: Kind,
    clock: Arc<dyn Clock>,
}

/// Every real provider there is, found or not.
#[must_use]
pub fn real_providers(host: &Host, manager: Option<Arc<dyn ReadSide>>) -> Vec<Arc<dyn Provider>> {
    let mut all: Vec<Arc<dyn Provider>> =
        vec![Arc::new(cpu::Cpu::new(host.clone())), Arc::new(memory::Memory::new(host.clone()))];
    all.extend(gpu::Gpus::all(host).into_iter().map(|gpus| Arc::new(gpus) as Arc<dyn Provider>));
    if let Some(manager) = manager {
        all.push(Arc::new(machine::Machine::new(manager)));
    }
    all.push(Arc::new(command::CommandSearch::new(host.clone())));
    all.push(Arc::new(spack::SpackPackages::new(host.clone())));
    all.push(Arc::new(modules::Modules::new(host.clone())));
    all.push(Arc::new(conda::CondaPackages::new(host.clone())));
    all.push(Arc::new(pip::Pip::new(host.clone())));
    let containers = containers::Containers::all(host);
    all.extend(containers.into_iter().map(|runtime| Arc::new(runtime) as Arc<dyn Provider>));
    all.extend(mpi::Mpi::all(host).into_iter().map(|mpi| Arc::new(mpi) as Arc<dyn Provider>));
    all.push(Arc::new(disks::Disks::new(host.clone())));
    all.extend(links::Links::all(host).into_iter().map(|links| Arc::new(links) as Arc<dyn Provider>));
    all
}

/// Looks for each of the providers, all at the same time; one that hangs costs 3 s, is left out, and
/// makes what is absent in its category unknown.
pub async fn detect(candidates: Vec<Arc<dyn Provider>>) -> Vec<(Arc<dyn Provider>, Detection)> {
    let deadline = Instant::now() + DETECTION_TIME;
    let mut looks = JoinSet::new();
    for (at, provider) in candidates.iter().enumerate() {
        let provider = Arc::clone(provider);
        looks.spawn(async move {
            let started = Instant::now();
            let found = timeout_at(deadline, async {
                match provider.probe(&Probe { deadline }).await {
                    Ok(true) => {
                        let (metadata, scope) =
                            tokio::join!(provider.metadata(deadline), provider.scope(deadline));
                        Some(metadata.map(|metadata| (metadata, scope)))
                    }
                    Ok(false) => None,
                    Err(error) => Some(Err(error)),
                }
            });
            (at, found.await, started.elapsed())
        });
    }
    let mut results = BTreeMap::new();
    while let Some(done) = looks.join_next().await {
        if let Ok((at, found, took)) = done {
            results.insert(at, (found, took));
        }
    }
    let detections = candidates.into_iter().enumerate().map(|(at, provider)| {
        let detection = match results.remove(&at) {
            Some((Ok(Some(Ok((metadata, scope)))), took)) => {
                Detection::present(&*provider, scope, metadata, took)
            }
            Some((Ok(Some(Err(error))), took)) => Detection::problem(&*provider, error.in_full(), took),
            Some((Ok(None), took)) => Detection::absent(&*provider, took),
            Some((Err(_), took)) => Detection::problem(&*provider, "no answer in time".to_owned(), took),
            None => Detection::problem(&*provider, "the look failed".to_owned(), Duration::ZERO),
        };
        (provider, detection)
    });
    detections.collect()
}

impl Providers {
    /// The providers of the machine that this process runs on.
    pub async fn real(host: &Host, manager: Option<Arc<dyn ReadSide>>, clock: Arc<dyn Clock>) -> Self {
        Self::of(detect(real_providers(host, manager)).await, clock)
    }

    /// The present ones among providers that were looked for.
    #[must_use]
    pub fn of(detected: Vec<(Arc<dyn Provider>, Detection)>, clock: Arc<dyn Clock>) -> Self {
        // Where the look itself had a problem, nothing can be said of what is absent.
        let unsure: BTreeSet<Category> = detected
            .iter()
            .filter(|(_, detection)| detection.problem.is_some())
            .map(|(provider, _)| provider.category())
            .collect();
        let looked = [Category::Container, Category::Parallel, Category::Network]
            .into_iter()
            .filter(|category| {
                !unsure.contains(category)
                    && detected.iter().any(|(provider, _)| provider.category() == *category)
            })
            .collect();
        let active = detected
            .into_iter()
            .filter(|(_, detection)| detection.present)
            .map(|(provider, detection)| RealProvider {
                tools: provider.tools(),
                provider,
                scope: detection.scope,
                metadata: detection.metadata,
            })
            .collect();
        let unsure = unsure.into_iter().collect();
        Self { kind: Kind::Real(RealSite { active, looked, unsure }), clock }
    }

    /// The providers of a simulated site.
    #[must_use]
    pub fn mock(site: Site, clock: Arc<dyn Clock>) -> Self {
        Self { kind: Kind::Mock(MockSite::new(site)), clock }
    }

    /// The simulated site, if it is one.
    #[must_use]
    pub fn site(&self) -> Option<&Site> {
        match &self.kind {
            Kind::Real(_) => None,
            Kind::Mock(mock) => Some(mock.site()),
        }
    }

    /// Static metadata by category and provider, for the manifest.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        match &self.kind {
            Kind::Mock(mock) => mock.metadata(),
            Kind::Real(real) => {
                let mut all: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
                for active in &real.active {
                    let category = active.provider.category().as_str().to_owned();
                    let name = active.provider.name().to_owned();
                    all.entry(category).or_default().insert(name, active.metadata.clone());
                }
                all
            }
        }
    }

    /// The name of the workload manager.
    #[must_use]
    pub fn workload(&self) -> Option<&'static str> {
        let names = self.names(Category::Workload);
        names.into_iter().next()
    }

    /// The names of the providers of a category.
    #[must_use]
    pub fn names(&self, category: Category) -> Vec<&'static str> {
        match &self.kind {
            Kind::Mock(mock) => mock
                .members()
                .iter()
                .filter(|member| member.category == category)
                .map(|member| member.name)
                .collect(),
            Kind::Real(real) => real
                .active
                .iter()
                .filter(|active| active.provider.category() == category)
                .map(|active| active.provider.name())
                .collect(),
        }
    }

    /// Every read tool under its outside name.
    #[must_use]
    pub fn tools(&self) -> Vec<OutsideTool> {
        match &self.kind {
            Kind::Mock(mock) => mock
                .members()
                .iter()
                .flat_map(|member| {
                    member.tools().map(|tool| OutsideTool::new(member.name, member.category, tool))
                })
                .collect(),
            Kind::Real(real) => real
                .active
                .iter()
                .flat_map(|active| {
                    let (name, category) = (active.provider.name(), active.provider.category());
                    active.tools.iter().map(move |tool| OutsideTool::new(name, category, tool))
                })
                .collect(),
        }
    }

    /// The tools as `<provider>.<tool>` by category, as `export_provider_metadata` lists them.
    #[must_use]
    pub fn registry(&self) -> BTreeMap<String, Vec<String>> {
        let mut registry: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for tool in self.tools() {
            registry.entry(tool.category.as_str().to_owned()).or_default().push(tool.title);
        }
        for titles in registry.values_mut() {
            titles.sort();
        }
        registry
    }

    /// Answers a read tool by its outside name.
    pub async fn call(
        &self,
        name: &str,
        args: &Map<String, Value>,
        moment: Moment<'_>,
        deadline: Instant,
    ) -> Result<Value, ProviderError> {
        let unknown = || ProviderError::UnknownTool(name.chars().take(128).collect());
        match &self.kind {
            Kind::Mock(mock) => {
                let mut members = mock.members().iter();
                let (member, tool) = members
                    .find_map(|member| {
                        let tool = tool_of(name, member.name)?;
                        member.tools().any(|known| known.name == tool).then_some((member, tool))
                    })
                    .ok_or_else(unknown)?;
                mock.call(member, tool, args, moment.tick, moment.taken)
            }
            Kind::Real(real) => {
                let mut active = real.active.iter();
                let (provider, tool) = active
                    .find_map(|active| {
                        let tool = tool_of(name, active.provider.name())?;
                        active
                            .tools
                            .iter()
                            .any(|known| known.name == tool)
                            .then_some((&active.provider, tool))
                    })
                    .ok_or_else(unknown)?;
                match timeout_at(deadline, provider.call(tool, args, deadline)).await {
                    Ok(answer) => Ok(answer?.value),
                    Err(_) => Err(ProviderError::Timeout(name.to_owned())),
                }
            }
        }
    }

    /// Looks at everything that matters to a call. Each provider has its own time, the smaller of 3 s and
    /// 40 % of what is left until the deadline; one that fails leaves unknown facts and says why in its
    /// provenance. `taken` is capacity that is kept and that the site's own tools do not show.
    pub async fn investigate(
        &self,
        call: &Call,
        taken: &[(ProposalId, Allocation)],
        deadline: Instant,
    ) -> Investigation {
        match &self.kind {
            Kind::Mock(mock) => mock.investigate(call, taken, &*self.clock),
            Kind::Real(real) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let readings = self.read_all(real, call, Instant::now() + probe_time(left)).await;
                let held: Vec<Allocation> = taken.iter().map(|(_, allocation)| *allocation).collect();
                assemble(call, readings, &real.looked, &real.unsure, &held)
            }
        }
    }

    async fn read_all(&self, real: &RealSite, call: &Call, deadline: Instant) -> Vec<Reading> {
        let call = Arc::new(call.clone());
        let mut looks = JoinSet::new();
        for (at, active) in real.active.iter().enumerate() {
            let (provider, scope) = (Arc::clone(&active.provider), active.scope);
            let (call, clock) = (Arc::clone(&call), Arc::clone(&self.clock));
            looks.spawn(async move {
                let mut reader = Reader::new(&*provider, scope, &*clock, deadline);
                let result = match timeout_at(deadline, provider.observe(&call, &mut reader)).await {
                    Ok(result) => result,
                    Err(_) => Err(ProviderError::Timeout(provider.name().to_owned())),
                };
                (at, reader.finish(result))
            });
        }
        let mut readings = BTreeMap::new();
        while let Some(done) = looks.join_next().await {
            match done {
                Ok((at, reading)) => {
                    readings.insert(at, reading);
                }
                Err(error) => tracing::error!(%error, "a provider failed in a way that was not foreseen"),
            }
        }
        let all = real.active.iter().enumerate().map(|(at, active)| {
            readings.remove(&at).unwrap_or_else(|| {
                let reader = Reader::new(&*active.provider, active.scope, &*self.clock, deadline);
                reader.finish(Err(ProviderError::NotUnderstood {
                    what: active.provider.name().to_owned(),
                    problem: "the look at it failed in a way that was not foreseen".to_owned(),
                }))
            })
        });
        all.collect()
    }
}

/// The tool's own name, when the outside name is one of this provider's.
fn tool_of<'a>(outside: &'a str, provider: &str) -> Option<&'a str> {
    outside.strip_prefix(provider)?.strip_prefix('_')
}
