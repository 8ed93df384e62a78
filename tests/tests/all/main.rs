//! The whole of Parley at the edges that people use: real processes, real sockets, real files.
//!
//! The programs are taken from the directory that this test binary was built into; `cargo build
//! --release --workspace` puts them there.

mod bad_input;
mod harness;
mod layers;
mod mcp;
mod path;
mod predecessor;
mod restart;
