//! The program itself against a hub that answers by script: streams, exit codes, what is sent.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that called them")]

mod commands;
mod failures;
mod fake_hub;
mod running;
