//! This machine as a workload manager.
