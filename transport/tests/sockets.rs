//! Clients and servers on real sockets of this machine.

#[cfg(test)]
#[path = "sockets/support.rs"]
mod support;

#[cfg(test)]
#[path = "sockets/bad_answers.rs"]
mod bad_answers;
#[cfg(test)]
#[path = "sockets/generations.rs"]
mod generations;
#[cfg(test)]
#[path = "sockets/in_process.rs"]
mod in_process;
#[cfg(test)]
#[path = "sockets/interop.rs"]
mod interop;
#[cfg(test)]
#[path = "sockets/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "sockets/plain.rs"]
mod plain;
#[cfg(test)]
#[path = "sockets/reconnect.rs"]
mod reconnect;
#[cfg(test)]
#[path = "sockets/reverse.rs"]
mod reverse;
#[cfg(test)]
#[path = "sockets/reversing.rs"]
mod reversing;
#[cfg(test)]
#[path = "sockets/signed.rs"]
mod signed;
