//! Who sent a request, as found out by an [`crate::admission::Admission`].

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// How the sender is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Not at all.
    Anonymous,
    /// By a signature: a worker id, or `hub`.
    Signed(String),
    /// By a token: the principal's name.
    Token(String),
}

/// Who sent a request. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// How the sender is known.
    pub identity: Identity,
    /// The address that the connection came from.
    pub peer: Option<SocketAddr>,
    principal: Option<Arc<dyn Any + Send + Sync>>,
}

impl Sender {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::known_by(Identity::Anonymous)
    }

    /// Whoever holds the key that belongs to `sender`.
    #[must_use]
    pub fn signed(sender: impl Into<String>) -> Self {
        Self::known_by(Identity::Signed(sender.into()))
    }

    /// Whoever holds a token.
    #[must_use]
    pub fn token(principal: impl Into<String>) -> Self {
        Self::known_by(Identity::Token(principal.into()))
    }

    fn known_by(identity: Identity) -> Self {
        Self { identity, peer: None, principal: None }
    }

    /// Adds the server's own record of the sender, such as its scopes.
    #[must_use]
    pub fn with_principal<T: Any + Send + Sync>(mut self, principal: T) -> Self {
        self.principal = Some(Arc::new(principal));
        self
    }

    /// Adds the address that the connection came from.
    #[must_use]
    pub fn from_peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// The server's own record of the sender.
    #[must_use]
    pub fn principal<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.principal.as_deref()?.downcast_ref()
    }

    /// The signer's id, when the request was signed.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        match &self.identity {
            Identity::Signed(id) => Some(id),
            Identity::Anonymous | Identity::Token(_) => None,
        }
    }

    /// Whether the connection came from this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("identity", &self.identity)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_loopback_address_is_local() {
        let at = |text: &str| Sender::anonymous().from_peer(Some(text.parse().unwrap()));
        assert!(at("127.0.0.1:9").is_local());
        assert!(at("[::1]:9").is_local());
        assert!(at("[::ffff:127.0.0.1]:9").is_local());
        assert!(!at("10.0.0.1:9").is_local());
        assert!(!Sender::anonymous().is_local());
    }

    #[test]
    fn a_principal_is_found_by_its_own_type_only() {
        let sender = Sender::token("ann").with_principal(7_u32);
        assert_eq!(sender.principal::<u32>(), Some(&7));
        assert_eq!(sender.principal::<u64>(), None);
    }
}
