//! How an attempt ended, where its manager does not say it in so many words.

use protocol::error::{ErrorBody, ErrorCode};

use super::Record;
use crate::read::{Accounting, RunState};

/// Exit codes of `timeout` when it ended the work: asked to end, and killed because it did not.
const TIMEOUT_CODES: [i32; 2] = [124, 137];

impl Record {
    /// Whether the batch script's own limit ended it.
    pub(crate) fn ran_out_of_time(&self, accounting: &Accounting) -> bool {
        let ran = accounting.started_at.zip(accounting.ended_at);
        let (Some(limit), Some(code), Some((started, ended))) = (self.own_limit, accounting.exit_code, ran)
        else {
            return false;
        };
        // Managers' times, and those of the notes, are whole seconds.
        TIMEOUT_CODES.contains(&code) && ended.since(started).get() + 1.0 >= limit.get()
    }
}

/// Why a job in this state did not end well.
pub(crate) fn error(state: RunState, exit: Option<i32>, manager: &str) -> Option<ErrorBody> {
    let (code, message) = match (state, exit) {
        (RunState::Queued | RunState::Running | RunState::Completed, _) => return None,
        (RunState::TimedOut, _) => (ErrorCode::JobTimeout, "it was stopped by its time limit".to_owned()),
        (RunState::Cancelled, _) => (ErrorCode::Cancelled, "it was cancelled".to_owned()),
        (RunState::Unknown, _) => (
            ErrorCode::Internal,
            format!("nobody can tell how it ended ({manager} does not know it any more)"),
        ),
        (RunState::Failed, Some(code)) if code > 128 => {
            (ErrorCode::JobFailed, format!("it was ended by signal {}", code - 128))
        }
        (RunState::Failed, Some(code)) => (ErrorCode::JobFailed, format!("it ended with exit code {code}")),
        (RunState::Failed, None) => (ErrorCode::JobFailed, "it failed".to_owned()),
    };
    Some(ErrorBody::new(code, message))
}
