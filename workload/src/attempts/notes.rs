//! What the batch script of an attempt writes down at its start and its end: what is left of a job that
//! its manager has forgotten.

use std::path::Path;

use protocol::units::Timestamp;

use crate::read::RunState;

/// What every job begins as.
pub(crate) const BATCH_SCRIPT: &str = include_str!("batch.sh");

/// What the batch script of an attempt noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) ended_at: Option<Timestamp>,
}

impl Noted {
    /// Reads the notes; `None` when the script did not come to its end.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
        let time =
            |text: &str| Some(Timestamp::from_millis(text.trim().parse::<i64>().ok()?.saturating_mul(1000)));
        let ended = text("ended")?;
        let (code, at) = ended.split_once(' ')?;
        Some(Self {
            started_at: text("started").and_then(|text| time(&text)),
            exit_code: code.parse().ok()?,
            ended_at: time(at),
        })
    }

    /// How the work ended, as far as its exit code says it.
    pub(crate) const fn state(self) -> RunState {
        if self.exit_code == 0 { RunState::Completed } else { RunState::Failed }
    }
}
