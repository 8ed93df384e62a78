//! Everything that touches a socket: serving and calling MCP, plain HTTP, signatures, limits. The only
//! crate that names rmcp.
//!
//! ```text
//! Connector --connect(Target)--> Link --signed POST--> serve::serve_http --> Guard --> Admission --> rmcp --> Host
//!     \--http(Target)--> HttpClient --signed request--> serve::admitted (plain routes) -----/
//! ```
//!
//! - [`host`]: what a server serves, in plain types; [`sender`], [`progress`]: what a call knows.
//! - [`serve`]: a host on HTTP (both protocol generations, many hosts on one listener) or on stdio.
//! - [`admission`], [`signed`], [`nonces`]: who may come in.
//! - [`link`], [`connect`]: calling a server; [`local`]: one in this process; [`http`]: plain routes.
//! - [`reverse`]: a connection that a worker opens, and calls over it; [`connect::ways`]: it or the URL.
//! - [`crypto`], [`descriptors`]: what a `main` sets up once.

pub mod admission;
pub mod connect;
pub mod crypto;
pub mod descriptors;
pub mod host;
pub mod http;
pub mod link;
pub mod local;
pub mod nonces;
pub mod progress;
pub mod reverse;
pub mod sender;
pub mod serve;
pub mod signed;

/// A directive for the log filter of every `main`: rmcp reports each answer that its caller no longer
/// waits for as an error, which is an everyday event here.
pub const LOG_DIRECTIVE: &str = "rmcp::service=off";
