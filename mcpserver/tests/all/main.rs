//! The program as its users start it: arguments, lines, exit codes, signals, files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of the tests fail the tests"
)]

mod jobs;
mod lifecycle;
#[path = "../../../tests/tests/all/running.rs"]
mod running;
mod starting;
mod usage;
