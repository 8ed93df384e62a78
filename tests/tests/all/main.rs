//! The whole of Parley at the edges that people use: real processes, real sockets, real files.
//!
//! The programs are taken from the directory that this test binary was built into; `cargo build
//! --release --workspace` puts them there.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so and ends")]

mod bad_input;
mod harness;
mod layers;
mod limits;
mod mcp;
mod outbound;
mod path;
mod predecessor;
mod restart;
mod slurm;
