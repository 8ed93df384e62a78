//! What `mcpserver detect` prints: for each provider whether it is here, and what it says about itself.

use std::time::Duration;

use protocol::facts::Scope;
use serde::Serialize;
use serde_json::Value;

use crate::provider::{Category, Provider};

/// What came of looking for one provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// What it knows about.
    pub category: Category,
    /// Its name.
    pub name: String,
    /// Whether it is here.
    pub present: bool,
    /// What it speaks of where this machine is none of the site's nodes.
    pub scope: Scope,
    /// What never changes of it; null when it is not here.
    pub metadata: Value,
    /// Its tools under their outside names.
    pub tools: Vec<String>,
    /// Why nobody can tell, when nobody can.
    pub problem: Option<String>,
    /// How long the look took.
    pub elapsed_seconds: f64,
}

impl Detection {
    fn new(provider: &dyn Provider, took: Duration) -> Self {
        Self {
            category: provider.category(),
            name: provider.name().to_owned(),
            present: false,
            scope: Scope::Host,
            metadata: Value::Null,
            tools: Vec::new(),
            problem: None,
            elapsed_seconds: took.as_secs_f64(),
        }
    }

    pub(crate) fn present(provider: &dyn Provider, scope: Scope, metadata: Value, took: Duration) -> Self {
        let tools = provider.tools();
        let tools = tools.iter().map(|tool| format!("{}_{}", provider.name(), tool.name)).collect();
        Self { present: true, scope, metadata, tools, ..Self::new(provider, took) }
    }

    pub(crate) fn absent(provider: &dyn Provider, took: Duration) -> Self {
        Self::new(provider, took)
    }

    pub(crate) fn problem(provider: &dyn Provider, problem: String, took: Duration) -> Self {
        Self { problem: Some(problem), ..Self::new(provider, took) }
    }

    /// Whether it is of this category and name, where they are given.
    #[must_use]
    pub fn fits(&self, category: Option<Category>, name: Option<&str>) -> bool {
        category.is_none_or(|category| category == self.category) && name.is_none_or(|name| name == self.name)
    }
}
