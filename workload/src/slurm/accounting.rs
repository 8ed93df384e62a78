//! What is on record of a job that has ended: `sacct` where the site keeps accounts, else what the job's
//! own batch script noted ([`crate::attempts::Noted`]). Slurm itself forgets a job some minutes after its end.

use protocol::units::{GiB, Timestamp};

use super::fields;
use super::jobs::{Exit, State};
use crate::error::WorkloadError;
use crate::program::{Commands, words};
use crate::read::NativeId;

/// The fields of `sacct`, in the order in which [`parse`] takes them. None holds what a user wrote.
const FORMAT: &str = "--format=JobIDRaw,State,ExitCode,Submit,Start,End,MaxRSS";

/// What `sacct` has of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Accounted {
    pub(super) state: State,
    pub(super) exit: Option<Exit>,
    pub(super) submitted_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    /// The largest of its steps.
    pub(super) peak_memory: Option<GiB>,
}

/// Asks `sacct` about a job; `None` when it has none of that id.
pub(super) async fn ask(commands: &Commands, job: &NativeId) -> Result<Option<Accounted>, WorkloadError> {
    let mut arguments = words(["--noheader", "--parsable2", "--duplicates", FORMAT]);
    arguments.push(format!("--jobs={job}"));
    Ok(parse(&commands.ask("sacct", &arguments).await?, &job.0))
}

/// Reads the job's line and those of its steps. A job that was requeued has several; the last counts.
pub(super) fn parse(text: &str, id: &str) -> Option<Accounted> {
    let mut found: Option<Accounted> = None;
    let mut peak: Option<GiB> = None;
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').collect();
        let [job, state, exit, submit, start, end, memory] = parts.as_slice() else { continue };
        if *job == id {
            // `CANCELLED by 1000`
            let Some(state) = State::of(state.split_whitespace().take(1)) else { continue };
            found = Some(Accounted {
                state,
                exit: Exit::parse(exit),
                submitted_at: fields::time(submit),
                started_at: fields::time(start),
                ended_at: fields::time(end),
                peak_memory: None,
            });
        } else if job.split('.').next() == Some(id)
            && let Some(memory) = fields::size(memory)
            && memory > GiB::ZERO
            && peak.is_none_or(|before| memory > before)
        {
            peak = Some(memory);
        }
    }
    found.map(|accounted| Accounted { peak_memory: peak, ..accounted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::RunState;

    #[test]
    fn a_jobs_steps_tell_its_memory() {
        let text = "7|CANCELLED by 0|0:0|2026-11-20T18:00:00|2026-11-20T18:00:01|2026-11-20T18:00:05|\n\
                    7.batch|CANCELLED|0:15|2026-11-20T18:00:01|2026-11-20T18:00:01|2026-11-20T18:00:05|2048K\n\
                    7.0|COMPLETED|0:0|x|y|z|1M\n77|COMPLETED|0:0|||||\nnonsense\n";
        let accounted = parse(text, "7").unwrap();
        assert_eq!(accounted.state.run, RunState::Cancelled);
        assert_eq!(accounted.exit, Some(Exit { code: 0, signal: 0 }));
        assert_eq!(
            accounted.started_at.map(|at| at.to_string()),
            Some("2026-11-20T18:00:01.000Z".to_owned())
        );
        assert_eq!(accounted.peak_memory, Some(GiB::saturating(2.0 / 1024.0)));
        assert_eq!(parse(text, "8"), None);
    }
}
