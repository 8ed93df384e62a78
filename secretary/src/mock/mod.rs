//! Providers of a simulated site. They answer the tools that real ones would, from the site's truth.
//! One truth is computed for a call and all of a site's providers answer from it, without a task or a
//! timer of their own: a hub with a thousand simulated workers asks all of them at once.

mod answers;
mod member;
mod observe;

use std::collections::BTreeMap;

use archetypes::Site;
use protocol::call::Call;
use protocol::clock::Clock;
use protocol::facts::{Allocation, Facts};
use protocol::ids::ProposalId;
use protocol::requirement::Requirement;
use serde_json::{Map, Value};

pub use member::Member;

use crate::observation::Investigation;
use crate::provider::ProviderError;

/// The providers of a simulated site; as cheap to keep as the site itself.
#[derive(Debug, Clone)]
pub struct MockSite {
    site: Site,
    members: Vec<&'static Member>,
}

impl MockSite {
    /// The providers that the site has.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let members = site
            .providers()
            .iter()
            .flat_map(|(category, providers)| {
                providers.keys().filter_map(|name| member::find(category, name)).collect::<Vec<_>>()
            })
            .collect();
        Self { site, members }
    }

    /// The site behind them.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Its providers.
    #[must_use]
    pub fn members(&self) -> &[&'static Member] {
        &self.members
    }

    /// Static metadata by category and provider.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        self.site.providers()
    }

    /// Answers one read tool as of a tick.
    pub fn call(
        &self,
        member: &Member,
        tool: &str,
        args: &Map<String, Value>,
        tick: u64,
        taken: &[(ProposalId, Allocation)],
    ) -> Result<Value, ProviderError> {
        let query = member.query(tool).ok_or_else(|| ProviderError::UnknownTool(tool.to_owned()))?;
        let asked = answers::requirement_of(query, tool, args)?;
        let truth = match asked {
            Some(requirement) => self.site.truth_for(&requirement, tick, taken),
            None => self.site.truth(tick, taken),
        };
        answers::answer(member, query, tool, args, &truth)
    }

    /// Looks at everything that matters to a call.
    #[must_use]
    pub fn investigate(
        &self,
        call: &Call,
        taken: &[(ProposalId, Allocation)],
        clock: &dyn Clock,
    ) -> Investigation {
        let truth = self.truth_for(&call.requirement, call.as_of_tick, taken);
        observe::observe(&self.members, call, &truth, clock.now())
    }

    fn truth_for(&self, requirement: &Requirement, tick: u64, taken: &[(ProposalId, Allocation)]) -> Facts {
        self.site.truth_for(requirement, tick, taken)
    }
}
