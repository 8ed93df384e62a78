//! Serving a [`Host`]: over HTTP at one path ([`mcp_router`]), many hosts at one listener
//! ([`mcp_router_many`]), or over standard input and output ([`stdio`]); and plain routes behind the same
//! checks ([`admitted`]).
//!
//! Every request passes the same gates in the same order: [`guard`] (Host and Origin), encoding, size and
//! time of the body, [`Admission`], and only then the protocol.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Request};
use axum::response::IntoResponse as _;
use axum::routing::any;
use protocol::error::ErrorCode;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Rejection};
use crate::host::Host;

mod endpoint;
pub mod gate;
pub mod guard;
pub(crate) mod handler;
pub mod listener;
pub mod stdio;

pub use gate::{BodyMode, admitted};
pub use listener::{ServeOptions, bind, serve_http};

use endpoint::Endpoint;
use guard::Guard;

/// The largest body that an MCP endpoint reads.
pub const MCP_BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How many sessions of the older protocol generation one endpoint keeps at a time.
pub const MCP_SESSIONS: usize = 1024;

/// What all MCP endpoints of a listener have in common.
#[derive(Debug, Clone)]
pub struct McpOptions {
    /// Which Host and Origin headers are accepted.
    pub guard: Arc<Guard>,
    /// Ends all sessions and streams.
    pub shutdown: CancellationToken,
    /// The largest body.
    pub body_limit: usize,
    /// Sessions of the older generation, for each host.
    pub sessions: usize,
}

impl McpOptions {
    /// The usual limits.
    #[must_use]
    pub fn new(guard: Guard, shutdown: CancellationToken) -> Self {
        Self { guard: Arc::new(guard), shutdown, body_limit: MCP_BODY_LIMIT, sessions: MCP_SESSIONS }
    }
}

/// A host and who may call it.
#[derive(Clone)]
pub struct Mount {
    /// The host.
    pub host: Arc<dyn Host>,
    /// Who may call it.
    pub admission: Arc<dyn Admission>,
}

/// Serves one host at a path, such as `/mcp`. Merge the result into the listener's router.
pub fn mcp_router(path: &str, mount: Mount, options: McpOptions) -> Router {
    let endpoint = Arc::new(Endpoint::new(mount, &options));
    Router::new().route(
        path,
        any(move |request: Request| {
            let (endpoint, options) = (Arc::clone(&endpoint), options.clone());
            async move { endpoint.answer(request, &options).await }
        }),
    )
}

/// Serves many hosts at one listener. `pattern` has one parameter, as in `/w/{id}/mcp`, and `lookup` finds
/// the host for its value. An endpoint is built when its first request comes and forgotten when `lookup`
/// no longer knows it, so a thousand idle hosts cost nothing here.
pub fn mcp_router_many(
    pattern: &str,
    lookup: impl Fn(&str) -> Option<Mount> + Send + Sync + 'static,
    options: McpOptions,
) -> Router {
    let endpoints = Arc::new(Endpoints { lookup: Box::new(lookup), built: Mutex::default() });
    Router::new().route(
        pattern,
        any(move |Path(id): Path<String>, request: Request| {
            let (endpoints, options) = (Arc::clone(&endpoints), options.clone());
            async move {
                match endpoints.find(&id, &options) {
                    Some(endpoint) => endpoint.answer(request, &options).await,
                    None => Rejection::new(ErrorCode::NotFound, "nothing is served here").into_response(),
                }
            }
        }),
    )
}

type Lookup = dyn Fn(&str) -> Option<Mount> + Send + Sync;

struct Endpoints {
    lookup: Box<Lookup>,
    built: Mutex<HashMap<String, Arc<Endpoint>>>,
}

impl Endpoints {
    fn find(&self, id: &str, options: &McpOptions) -> Option<Arc<Endpoint>> {
        let mount = (self.lookup)(id);
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mount) = mount else {
            built.remove(id);
            return None;
        };
        if let Some(endpoint) = built.get(id).filter(|endpoint| endpoint.serves(&mount)) {
            return Some(Arc::clone(endpoint));
        }
        let endpoint = Arc::new(Endpoint::new(mount, options));
        built.insert(id.to_owned(), Arc::clone(&endpoint));
        Some(endpoint)
    }
}
