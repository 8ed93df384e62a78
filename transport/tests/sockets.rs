//! Clients and servers on real sockets of this machine.

#[path = "sockets/support.rs"]
mod support;

#[path = "sockets/bad_answers.rs"]
mod bad_answers;
#[path = "sockets/generations.rs"]
mod generations;
#[path = "sockets/interop.rs"]
mod interop;
#[path = "sockets/plain.rs"]
mod plain;
#[path = "sockets/reconnect.rs"]
mod reconnect;
#[path = "sockets/signed.rs"]
mod signed;
