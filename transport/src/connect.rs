//! Calling servers: one [`Connector`] for the whole process, one [`Link`] for each MCP server, one
//! [`HttpClient`] for each server with plain routes.
//!
//! All of them share one pool of connections. A link of the newer protocol generation is a URL and a few
//! words of state, and each call is one POST that is written and read here: the exact bytes can be signed,
//! every answer is bounded, and a thousand idle links cost nothing. rmcp's own client keeps tasks and
//! channels for each server; `examples/call_rate.rs` measures both. A server that only knows the older
//! generation gets a session, made when it is first needed and made again when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use protocol::clock::Clock;
use ring::rand::SystemRandom;

use crate::http::HttpClient;
use crate::link::Link;
use crate::signed::Signer;

pub(crate) mod answer;
pub(crate) mod asks;
mod changes;
mod direct;
mod events;
pub(crate) mod exchange;
pub(crate) mod reverse;
pub(crate) mod rpc;
pub mod ways;

pub(crate) use rpc::classify as json_error;

use direct::DirectLink;

/// A peer that takes longer to accept a connection counts as gone.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Idle connections are kept for less time than our servers do, so that a call rarely meets one that is
/// about to close.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How to show who we are.
#[derive(Clone)]
pub enum Credentials {
    /// Not at all.
    Anonymous,
    /// With a static token.
    Bearer(String),
    /// With a signature on every request.
    Signed(Signer),
}

impl std::fmt::Debug for Credentials {
    /// A token never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Bearer(_) => f.write_str("Bearer"),
            Self::Signed(signer) => signer.fmt(f),
        }
    }
}

/// A server and how we show it who we are.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its URL, `http` or `https`: of the MCP endpoint for a link, of the root for plain routes.
    pub url: String,
    /// Who we are to it.
    pub credentials: Credentials,
}

impl Target {
    /// A target.
    #[must_use]
    pub fn new(url: impl Into<String>, credentials: Credentials) -> Self {
        Self { url: url.into(), credentials }
    }
}

/// A URL that cannot be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not a URL that can be called: {rule}")]
pub struct BadUrl {
    /// The URL, cut to 256 characters.
    pub shown: String,
    /// The rule that it broke.
    pub rule: &'static str,
}

/// The client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up")]
pub struct ConnectorError(#[source] reqwest::Error);

/// Makes links and clients that share one pool of connections.
pub struct Connector {
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: SystemRandom,
    name: String,
    version: String,
    ids: AtomicU64,
}

impl Connector {
    /// A connector; `name` and `version` are what servers are told about this client.
    pub fn new(name: &str, version: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, ConnectorError> {
        crate::crypto::install();
        let client = reqwest::Client::builder()
            .user_agent(format!("{name}/{version}"))
            .connect_timeout(CONNECT_TIME)
            .pool_idle_timeout(IDLE_TIME)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(60))
            .http1_only()
            .referer(false)
            // A redirect could point a hub at services behind its own network border.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(ConnectorError)?;
        Ok(Arc::new(Self {
            client,
            clock,
            random: SystemRandom::new(),
            name: name.to_owned(),
            version: version.to_owned(),
            ids: AtomicU64::new(1),
        }))
    }

    /// What servers are told about this client.
    pub(crate) fn client_info(&self) -> rpc::ClientInfo<'_> {
        rpc::ClientInfo { name: &self.name, version: &self.version }
    }

    /// A link to an MCP server. Nothing is sent before the first call.
    pub fn connect(self: &Arc<Self>, target: Target) -> Result<Arc<dyn Link>, BadUrl> {
        let address = Address::parse(&target.url)?;
        Ok(DirectLink::new(Arc::clone(self), address, target.credentials))
    }

    /// A client for the plain routes below a URL.
    pub fn http(self: &Arc<Self>, target: Target) -> Result<HttpClient, BadUrl> {
        let address = Address::parse(&target.url)?;
        Ok(HttpClient::new(Arc::clone(self), address, target.credentials))
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({}/{})", self.name, self.version)
    }
}

/// A checked URL.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) url: reqwest::Url,
    /// Path and query as they will be sent, which is what is signed.
    pub(crate) target: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |rule| BadUrl { shown: text.chars().take(256).collect(), rule };
        let url = reqwest::Url::parse(text).map_err(|_| bad("it cannot be read"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("the scheme must be http or https"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials do not belong into a URL"));
        }
        if url.fragment().is_some() {
            return Err(bad("it has a fragment"));
        }
        let sent: Uri = url.as_str().parse().map_err(|_| bad("it cannot be sent"))?;
        let target = sent.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        if target.len() > 4096 {
            return Err(bad("it is too long"));
        }
        Ok(Self { url, target })
    }

    /// The address of a path (and query) below this one.
    pub(crate) fn below(&self, path: &str) -> Result<Self, BadUrl> {
        let base = self.url.as_str().trim_end_matches('/');
        Self::parse(&format!("{base}/{}", path.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_will_be_sent() {
        let target = |url: &str| Address::parse(url).unwrap().target;
        assert_eq!(target("http://h:1/w/1/mcp"), "/w/1/mcp");
        assert_eq!(target("http://h"), "/");
        assert_eq!(target("http://h/a b?q=é&x=1"), "/a%20b?q=%C3%A9&x=1");
        assert_eq!(target("http://h/a/../b/./c"), "/b/c");
        let base = Address::parse("http://h/base/").unwrap();
        assert_eq!(base.below("/v1/heartbeat?a=b").unwrap().target, "/base/v1/heartbeat?a=b");
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused() {
        for bad in [
            "",
            "h:1",
            "ftp://h/",
            "file:///etc/passwd",
            "http://u@h/",
            "http://u:p@h/",
            "http://h/#x",
            "http://",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
