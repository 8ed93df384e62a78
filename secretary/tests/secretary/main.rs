//! The secretary from outside: real providers on recorded trees and on this machine, hanging ones, and
//! simulated sites held against their truth.

#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests; the lints know only test functions")]

mod ages;
mod gpus;
mod hangs;
mod here;
mod mock;
mod mutation;
mod recorded;
mod replay;
mod rules;
mod runtimes;
mod software;
mod storage;
mod support;
mod trees;
