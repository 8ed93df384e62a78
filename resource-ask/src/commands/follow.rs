//! Following a job until it is over: its log as it comes, across short absences of the hub.

use std::time::Duration;

use protocol::ids::JobId;
use protocol::job::{AttemptNumber, Job};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::hub::{Answer, Hub};

/// How often the log is looked at while a job runs.
const LOG_PERIOD: Duration = Duration::from_millis(500);

/// How long one question about the job's state waits for a change.
const WAIT_SECONDS: f64 = 10.0;

/// How long the hub may be away before following it is given up.
const ABSENCE: Duration = Duration::from_secs(60);

/// A page of a log.
#[derive(Debug, Clone, Deserialize)]
struct LogPage {
    text: String,
    next_offset: u64,
    complete: bool,
}

/// Reads one page of a job's log.
async fn log_page(hub: &Hub, job: &JobId, offset: u64) -> Result<LogPage, Failure> {
    Ok(hub.get::<LogPage>("get_job_logs", json!({"job_id": job, "offset": offset})).await?.value)
}

/// How far a log was read.
#[derive(Debug, Clone, Copy)]
pub struct LogEnd {
    /// Where its next byte will be.
    pub offset: u64,
    /// Whether there will be none.
    pub complete: bool,
}

/// Reads the log from an offset to its present end.
pub async fn drain_log(
    hub: &Hub,
    job: &JobId,
    mut offset: u64,
    on_log: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<LogEnd, Failure> {
    loop {
        let page = log_page(hub, job, offset).await?;
        if !page.text.is_empty() {
            on_log(&page.text)?;
        }
        let stuck = page.next_offset <= offset;
        offset = offset.max(page.next_offset);
        if page.complete || stuck {
            return Ok(LogEnd { offset, complete: page.complete });
        }
    }
}

/// Waits until the job is over. Each attempt has a log of its own, so a new attempt begins at its start.
/// An absence of the hub is said once through `on_absence` and waited out.
pub async fn follow(
    hub: &Hub,
    job: &JobId,
    on_log: &mut dyn FnMut(&str) -> Result<(), Failure>,
    on_absence: &mut dyn FnMut(&str),
) -> Result<Answer<Job>, Failure> {
    let mut position = Position { attempt: None, offset: 0 };
    let mut away_since: Option<Instant> = None;
    loop {
        match step(hub, job, &mut position, on_log).await {
            Ok(answer) if answer.value.state.is_terminal() => return Ok(answer),
            Ok(_) => away_since = None,
            Err(failure @ (Failure::Unreachable { .. } | Failure::Late { .. })) => {
                let since = *away_since.get_or_insert_with(|| {
                    on_absence(&format!("{failure}; still trying"));
                    Instant::now()
                });
                if since.elapsed() > ABSENCE {
                    return Err(failure);
                }
                sleep(Duration::from_secs(1)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

struct Position {
    attempt: Option<AttemptNumber>,
    offset: u64,
}

/// One look at the job: waits for a change of state, and shows the log meanwhile.
async fn step(
    hub: &Hub,
    job: &JobId,
    position: &mut Position,
    on_log: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<Answer<Job>, Failure> {
    let waiting = hub.get::<Job>("get_job", json!({"job_id": job, "wait_seconds": WAIT_SECONDS}));
    tokio::pin!(waiting);
    let answer = loop {
        tokio::select! {
            answer = &mut waiting => break answer?,
            () = sleep(LOG_PERIOD) => {
                position.offset = drain_log(hub, job, position.offset, on_log).await?.offset;
            }
        }
    };
    let attempt = answer.value.attempts.last().map(|attempt| attempt.attempt);
    if position.attempt.is_some() && attempt != position.attempt {
        position.offset = 0;
    }
    position.attempt = attempt;
    // What was written last is read after the state is known, so that nothing is missed at the end.
    position.offset = drain_log(hub, job, position.offset, on_log).await?.offset;
    Ok(answer)
}

/// Cuts a stream of text into lines; the last one is kept until its end comes.
#[derive(Debug, Default)]
pub struct LineBuffer(String);

/// A line without an end is shown in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

impl LineBuffer {
    /// Takes text and hands out each complete line, without its end.
    pub fn push(&mut self, text: &str, mut on_line: impl FnMut(&str)) {
        self.0.push_str(text);
        let whole = self.0.rfind('\n').map_or(0, |end| end + 1);
        for line in self.0[..whole].split_terminator('\n') {
            on_line(line.strip_suffix('\r').unwrap_or(line));
        }
        self.0.drain(..whole);
        if self.0.len() > LONGEST_LINE {
            self.flush(on_line);
        }
    }

    /// Hands out what is left.
    pub fn flush(&mut self, mut on_line: impl FnMut(&str)) {
        if !self.0.is_empty() {
            on_line(&self.0);
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_text_comes() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for piece in ["a", "b\nc\r\n", "", "\n", "tail"] {
            buffer.push(piece, |line| lines.push(line.to_owned()));
        }
        assert_eq!(lines, ["ab", "c", ""]);
        buffer.flush(|line| lines.push(line.to_owned()));
        buffer.flush(|line| lines.push(line.to_owned()));
        assert_eq!(lines.last().map(String::as_str), Some("tail"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_for_ever() {
        let mut buffer = LineBuffer::default();
        let mut shown = 0;
        for _ in 0..100 {
            buffer.push(&"x".repeat(1024), |line| shown += line.len());
        }
        assert!(shown >= LONGEST_LINE);
    }
}
