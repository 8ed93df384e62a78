//! Who asks, and what they may do. Every operation declares one scope; every stored row has an owner.

use std::collections::BTreeSet;

use protocol::ids::PrincipalId;

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Look at the fleet and at one's own negotiations, jobs and artifacts.
    Read,
    /// Ask for proposals, call workers' read tools, upload data.
    Negotiate,
    /// Start and stop work.
    Dispatch,
    /// See everybody's rows.
    Admin,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its name, the owner of what it creates.
    pub id: PrincipalId,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

impl Principal {
    /// Whoever reaches a hub that listens on loopback and has no token set: the machine's own user.
    #[must_use]
    pub fn local() -> Self {
        Self::with_all_scopes("local")
    }

    /// The holder of the hub's static token.
    #[must_use]
    pub fn client() -> Self {
        Self::with_all_scopes("client")
    }

    fn with_all_scopes(name: &'static str) -> Self {
        #[expect(clippy::expect_used, reason = "both names are literals of the right form")]
        let id = PrincipalId::parse(name).expect("a valid name");
        Self { id, scopes: [Scope::Read, Scope::Negotiate, Scope::Dispatch, Scope::Admin].into() }
    }

    /// Whether the principal has a scope.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whose rows a query may show: everybody's for an administrator, otherwise one's own.
    #[must_use]
    pub fn sees(&self) -> Option<PrincipalId> {
        if self.may(Scope::Admin) { None } else { Some(self.id.clone()) }
    }
}

/// The name under which the hub itself stores what nobody asked for, such as joins.
#[must_use]
pub fn hub_principal() -> PrincipalId {
    #[expect(clippy::expect_used, reason = "a literal of the right form")]
    PrincipalId::parse("hub").expect("a valid name")
}
