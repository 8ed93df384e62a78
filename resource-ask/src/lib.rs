//! The client of a hub: the command `resource-ask`, and the tables that it shows.
//!
//! ```text
//! arguments --request--> typed request --hub (MCP tools)--> answer --render--> tables, JSON or names
//!                            |                                 |
//!                         upload (local data)               progress, follow (notices, log)
//! ```
//!
//! - [`arguments`]: the command line; [`commands`]: what each command does.
//! - [`request`], [`upload`]: from flags, files and local data to one typed request.
//! - [`hub`]: the hub's tools with typed answers; [`download`]: bytes, verified; [`offline`]: no hub.
//! - [`render`]: protocol types as text and tables, for any writer; [`progress`]: a negotiation as it runs.
//! - [`output`], [`console`], [`failure`]: forms of results, the two streams, exit codes.

pub mod arguments;
pub mod commands;
pub mod console;
pub mod download;
pub mod failure;
pub mod files;
pub mod hub;
pub mod offline;
pub mod output;
pub mod progress;
pub mod render;
pub mod request;
pub mod upload;
