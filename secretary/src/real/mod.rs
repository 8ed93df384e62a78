//! Providers that read the machine they run on. Each takes a root directory (`/`), so that it can be
//! tested on a recorded tree of files.

pub mod aliases;
pub mod cgroup;
pub mod command;
pub mod conda;
pub mod containers;
pub mod cpu;
pub mod disks;
pub mod gpu;
pub mod host;
pub mod links;
pub mod listing;
pub mod machine;
pub mod memory;
pub mod modules;
pub mod mounts;
pub mod mpi;
pub mod packages;
pub mod pip;
pub mod quota;
pub mod spack;
