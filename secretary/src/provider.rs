//! A provider: one source of facts on a site. It says whether it is here (`probe`), what never changes
//! (`metadata`), and answers read tools; `observe` is the rules agent's own use of those same tools.
//!
//! A [`Reader`] stands between `observe` and the tools, so every look leaves its [`ProviderCall`] in
//! the trace and its digest in the provenance: the trace cannot say more or less than what was done.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::clock::Clock;
use protocol::facts::{Provenance, Scope};
use protocol::ids::Digest;
use protocol::proposal::ProviderCall;
use protocol::units::Seconds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::observation::PartialFacts;

/// What a provider knows about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Processors, memory, GPUs.
    Hardware,
    /// Workload managers.
    Workload,
    /// Installed packages.
    Software,
    /// Container runtimes.
    Container,
    /// File systems.
    Storage,
    /// Fabrics.
    Network,
    /// MPI implementations.
    Parallel,
}

impl Category {
    /// Every category, in the order in which people list them.
    pub const ALL: [Self; 7] = [
        Self::Hardware,
        Self::Workload,
        Self::Software,
        Self::Container,
        Self::Storage,
        Self::Network,
        Self::Parallel,
    ];

    /// The name as it stands in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Workload => "workload",
            Self::Software => "software",
            Self::Container => "container",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Parallel => "parallel",
        }
    }
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such category.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no category; there are hardware, workload, software, container, storage, network, parallel"
)]
pub struct UnknownCategory(pub String);

impl std::str::FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|category| category.as_str() == text);
        found.ok_or_else(|| UnknownCategory(text.chars().take(64).collect()))
    }
}

/// One read tool of a provider.
#[derive(Debug, Clone)]
pub struct ProviderTool {
    /// Its name within the provider.
    pub name: &'static str,
    /// What it tells and when to use it, written for a model.
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub input_schema: Arc<Map<String, Value>>,
}

impl ProviderTool {
    /// A tool; `properties` is the JSON object of its arguments' schemas.
    #[must_use]
    pub fn new(name: &'static str, description: &'static str, properties: &Value, required: &[&str]) -> Self {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.clone());
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        schema.insert("additionalProperties".to_owned(), false.into());
        Self { name, description, input_schema: Arc::new(schema) }
    }

    /// A tool without arguments.
    #[must_use]
    pub fn plain(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, &Value::Object(Map::new()), &[])
    }
}

/// Why a provider could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No such tool.
    #[error("there is no tool {0:?}")]
    UnknownTool(String),
    /// The arguments are not what the tool's schema asks for.
    #[error("arguments of {tool:?}: {problem}")]
    Arguments {
        /// The tool.
        tool: String,
        /// What is wrong with them.
        problem: String,
    },
    /// No answer in time.
    #[error("no answer from {0} in time")]
    Timeout(String),
    /// Earlier looks at the same thing still hang; asking again would only add one more.
    #[error("{0} does not answer: earlier looks at it still hang")]
    Stuck(String),
    /// Something could not be read.
    #[error("{what} could not be read")]
    Read {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something answered in a form that is not understood.
    #[error("{what} is not understood: {problem}")]
    NotUnderstood {
        /// What.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What several askers waited for together failed.
    #[error(transparent)]
    Shared(#[from] Arc<ProviderError>),
    /// A program failed.
    #[error("{program} failed: {problem}")]
    Program {
        /// Its name.
        program: String,
        /// Its status and the end of what it wrote.
        problem: String,
    },
}

impl ProviderError {
    /// A program is not on the search path.
    pub(crate) fn not_found(program: &str) -> Self {
        Self::Program { program: program.to_owned(), problem: "it is not on the search path".to_owned() }
    }

    /// Whether it says that something is not here, as a refusal and a missing file do and silence does not.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Program { .. } => true,
            Self::Read { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Shared(error) => error.is_absence(),
            _ => false,
        }
    }

    /// The error with its causes, for a provenance's `problem`.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// A read tool's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The answer.
    pub value: Value,
    /// What was asked (`/proc/meminfo`, `python3 -m pip list`).
    pub source: String,
    /// Digest of the raw answer.
    pub digest: Digest,
    /// How old the raw answer was.
    pub age: Seconds,
    /// What could not be had, one entry for each part.
    pub problems: Vec<String>,
}

impl Answer {
    /// A fresh answer to a question, made from these raw bytes.
    #[must_use]
    pub fn new(value: Value, source: impl Into<String>, raw: &[u8]) -> Self {
        Self {
            value,
            source: source.into(),
            digest: Digest::of(raw),
            age: Seconds::ZERO,
            problems: Vec::new(),
        }
    }
}

/// How long a probe may take.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// When the answer is due.
    pub deadline: Instant,
}

/// The time that a probe gets: the smaller of 3 s and 40 % of what is left.
#[must_use]
pub fn probe_time(left: Duration) -> Duration {
    left.mul_f64(0.4).min(Duration::from_secs(3))
}

/// What an answer to the simplest question says about presence: an answer means that it is here, a
/// refusal that it is not, and silence says nothing.
pub(crate) fn presence(answer: Result<Answer, ProviderError>) -> Result<bool, ProviderError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_absence() => Ok(false),
        Err(error) => Err(error),
    }
}

/// One source of facts on a site.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Its name: lower-case letters, digits and hyphens.
    fn name(&self) -> &'static str;

    /// What it knows about.
    fn category(&self) -> Category;

    /// Whether it is here; quick, and without side effects. An error means that nobody can tell. Unless
    /// a provider has a cheaper way, it is here when its first tool answers.
    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        match self.tools().first() {
            Some(tool) => presence(self.call(tool.name, &Map::new(), probe.deadline).await),
            None => Ok(false),
        }
    }

    /// What never changes while the worker runs, for the manifest.
    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError>;

    /// What its answers speak of where this machine is none of the site's nodes: what lies on a file
    /// system that is reached over a network is there for the nodes, too.
    async fn scope(&self, _deadline: Instant) -> Scope {
        Scope::Host
    }

    /// Its read tools.
    fn tools(&self) -> Vec<ProviderTool>;

    /// Answers one of its read tools.
    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError>;

    /// Asks its own tools what matters to the call and notes the facts; asks nothing when nothing
    /// matters. What is noted before an error or a deadline is kept.
    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError>;
}

/// Asks a provider's tools and keeps the record of it.
pub struct Reader<'a> {
    provider: &'a dyn Provider,
    scope: Scope,
    clock: &'a dyn Clock,
    deadline: Instant,
    calls: Vec<ProviderCall>,
    provenance: Option<Provenance>,
    incomplete: bool,
    /// The facts noted so far.
    pub facts: PartialFacts,
}

impl<'a> Reader<'a> {
    /// A reader of one provider.
    #[must_use]
    pub fn new(provider: &'a dyn Provider, scope: Scope, clock: &'a dyn Clock, deadline: Instant) -> Self {
        Self {
            provider,
            scope,
            clock,
            deadline,
            calls: Vec::new(),
            provenance: None,
            incomplete: false,
            facts: PartialFacts::default(),
        }
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.provider.name()
    }

    /// Whether an answer so far lacked a part.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.provenance.as_ref().is_some_and(|provenance| provenance.problem.is_some())
    }

    /// Says that the facts noted show what is there and not what is absent.
    pub fn mark_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Asks a tool; the question is on record even when no answer comes.
    pub async fn ask<T: DeserializeOwned>(&mut self, tool: &str, args: Value) -> Result<T, ProviderError> {
        let map = args.as_object().cloned().unwrap_or_default();
        self.calls.push(ProviderCall {
            provider: self.provider.name().to_owned(),
            function: tool.to_owned(),
            args,
        });
        let answer = self.provider.call(tool, &map, self.tool_deadline()).await?;
        let value = serde_json::from_value(answer.value.clone()).map_err(|error| {
            ProviderError::NotUnderstood { what: answer.source.clone(), problem: error.to_string() }
        });
        self.keep(&answer);
        value
    }

    /// A tool that answers for several things gives up a little before the provider's own deadline,
    /// so that what it has by then is not lost.
    fn tool_deadline(&self) -> Instant {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Instant::now() + left.mul_f64(0.9)
    }

    fn keep(&mut self, answer: &Answer) {
        let observed_at = self.clock.now();
        let problem = (!answer.problems.is_empty()).then(|| answer.problems.join("; "));
        match &mut self.provenance {
            None => {
                self.provenance = Some(Provenance {
                    source: answer.source.clone(),
                    scope: self.scope,
                    digest: Some(answer.digest.clone()),
                    observed_at,
                    age_seconds: answer.age,
                    problem,
                });
            }
            Some(before) => before.absorb(&answer.source, &answer.digest, answer.age, problem),
        }
    }

    /// Ends the record: the trace, the facts, and their provenance if anything was asked.
    #[must_use]
    pub fn finish(mut self, result: Result<(), ProviderError>) -> Reading {
        let failed = result.is_err() || self.incomplete;
        if let Err(error) = result {
            let problem = error.in_full();
            match &mut self.provenance {
                Some(provenance) => provenance.add_problem(problem),
                None => {
                    self.provenance = Some(Provenance {
                        source: self.provider.name().to_owned(),
                        scope: self.scope,
                        digest: None,
                        observed_at: self.clock.now(),
                        age_seconds: Seconds::ZERO,
                        problem: Some(problem),
                    });
                }
            }
        }
        Reading {
            provider: self.provider.name(),
            category: self.provider.category(),
            scope: self.scope,
            facts: self.facts,
            calls: self.calls,
            provenance: self.provenance,
            failed,
        }
    }
}

/// What came of asking one provider.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The provider.
    pub provider: &'static str,
    /// Its category.
    pub category: Category,
    /// What it speaks of where the machine is none of the site's nodes.
    pub scope: Scope,
    /// What it told.
    pub facts: PartialFacts,
    /// What it was asked.
    pub calls: Vec<ProviderCall>,
    /// Where the facts came from; `None` when nothing was asked.
    pub provenance: Option<Provenance>,
    /// Whether an answer is missing.
    pub failed: bool,
}

/// Folding several answers of one provider into one provenance.
trait Absorb {
    fn absorb(&mut self, source: &str, digest: &Digest, age: Seconds, problem: Option<String>);
    fn add_problem(&mut self, problem: String);
}

impl Absorb for Provenance {
    fn absorb(&mut self, source: &str, digest: &Digest, age: Seconds, problem: Option<String>) {
        if !self.source.split("; ").any(|known| known == source) {
            self.source.push_str("; ");
            self.source.push_str(source);
        }
        // The digest of several answers is the digest of their digests, one a line, in order.
        self.digest = Some(match &self.digest {
            Some(before) => Digest::of(format!("{before}\n{digest}").as_bytes()),
            None => digest.clone(),
        });
        if age > self.age_seconds {
            self.age_seconds = age;
        }
        if let Some(problem) = problem {
            self.add_problem(problem);
        }
    }

    fn add_problem(&mut self, problem: String) {
        match &mut self.problem {
            Some(before) => {
                before.push_str("; ");
                before.push_str(&problem);
            }
            None => self.problem = Some(problem),
        }
    }
}

/// Reads a tool's arguments into their type; what is wrong with them names the tool.
pub(crate) fn arguments<T: DeserializeOwned>(
    tool: &str,
    args: &Map<String, Value>,
) -> Result<T, ProviderError> {
    serde_json::from_value(Value::Object(args.clone()))
        .map_err(|error| ProviderError::Arguments { tool: tool.to_owned(), problem: error.to_string() })
}

/// The arguments of a tool that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoArguments {}

/// Refuses a tool that is not one of these, and arguments, of which none of these takes any.
pub(crate) fn plain_tool(tool: &str, args: &Map<String, Value>, known: &[&str]) -> Result<(), ProviderError> {
    if !known.contains(&tool) {
        return Err(ProviderError::UnknownTool(tool.to_owned()));
    }
    arguments(tool, args).map(|NoArguments {}| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_gets_three_seconds_or_two_fifths_of_the_time_left() {
        assert_eq!(probe_time(Duration::from_secs(10)), Duration::from_secs(3));
        assert_eq!(probe_time(Duration::from_secs(5)), Duration::from_secs(2));
        assert_eq!(probe_time(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn categories_have_one_name_each() {
        for category in Category::ALL {
            assert_eq!(category.as_str().parse::<Category>().unwrap(), category);
            assert_eq!(serde_json::to_value(category).unwrap(), category.as_str());
        }
        assert!("gpu".parse::<Category>().is_err());
    }
}
