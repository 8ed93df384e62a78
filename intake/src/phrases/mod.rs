//! Phrase matchers, one file for each thing that a request can say, in the order in which they run.
//!
//! A matcher looks for its phrases among the free tokens and records what they mean. Those that own
//! a stretch of text whole (commands, instructions, exclusions) come first; those that would take
//! any number or any word (software, memory) come last.

mod commands;
mod compute;
mod container;
mod exclusions;
mod experiments;
mod gpus;
mod instructions;
mod intent;
mod labels;
mod memory;
mod moments;
mod money;
mod mpi;
mod network;
mod points;
mod preferences;
mod software;
mod storage;
mod trading;
mod urgency;
mod versions;
mod workload;

use protocol::units::Timestamp;

use crate::reading::Reading;
use crate::spelling;
use crate::vocabulary::Vocabulary;

/// Runs every matcher over the text.
pub fn read_all(reading: &mut Reading<'_>, vocabulary: &Vocabulary, now: Timestamp) {
    reading.mend(|word| spelling::meant(word, vocabulary));
    commands::read(reading, vocabulary);
    instructions::read(reading);
    preferences::read(reading);
    trading::read(reading);
    experiments::read(reading);
    labels::read(reading);
    exclusions::read(reading, vocabulary);
    money::read(reading);
    intent::read(reading);
    urgency::read(reading);
    gpus::read(reading);
    storage::read(reading);
    compute::read(reading);
    memory::read(reading);
    network::read(reading);
    software::read_named_versions(reading, vocabulary);
    moments::read(reading, now);
    container::read(reading);
    workload::read(reading);
    software::read(reading, vocabulary);
    mpi::read(reading);
}
