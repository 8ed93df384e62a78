//! The reverse link: one WebSocket that a worker opens to its hub, and MCP inside it in the other
//! direction. The worker needs no port that anybody reaches, and a call costs no signature.
//!
//! ```text
//! worker -> hub   GET /v1/link?boot=..&key=..   signed as every request is; upgrade: websocket
//! hub -> worker   101, x-parley-link-key, x-parley-signature     the hub's answer, signed with the key
//!                                                                that the worker pinned when it joined
//! both            binary frames: one JSON-RPC message of MCP each, sealed with the keys of this connection
//! ```
//!
//! Each side brings a fresh X25519 key, so every connection has keys of its own, one for each direction.
//! The frames of a direction are numbered by the seal (ChaCha20-Poly1305): one that was altered, repeated,
//! left out or moved does not open, and ends the connection. That keeps what a signature on every request
//! gave: it works once, for its receiver and its bytes, and only the hub can make a worker do anything.
//!
//! - [`accept`]: the hub takes the connection; [`crate::connect::ways`] makes calls over it.
//! - [`dial`]: the worker opens it and answers ([`answering`]).
//! - [`handshake`]: the keys; [`connection`]: frames in and out, signs of life, the end.

use std::time::Duration;

pub mod accept;
pub(crate) mod answering;
pub mod connection;
pub mod dial;
pub(crate) mod handshake;

/// Where a hub takes links.
pub const PATH: &str = "/v1/link";

/// The header with the hub's ephemeral key.
const HEADER_KEY: &str = "x-parley-link-key";

/// The largest message of either side. Answers have smaller limits of their own; this one bounds what is
/// read before it is known which call a message answers.
pub const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

/// Calls that one link has in flight; further ones wait for their turn until their deadline.
pub const IN_FLIGHT: usize = 256;

/// How often a worker says that it is there, and how long either side waits for a sign of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The worker pings this often.
    pub ping: Duration,
    /// A side that has heard nothing for this long takes the connection for dead.
    pub silence: Duration,
}

/// The WebSocket protocol's way to show that the answer is one to this request, and not a stored one.
fn accept_key(key: &str) -> String {
    use base64::Engine as _;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(digest.finish())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_accept_key_is_that_of_the_standard() {
        assert_eq!(super::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
