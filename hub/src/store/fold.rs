//! What each event does to a job and to a negotiation: pure, so that replaying the log gives the
//! same state as living through it.

use protocol::award::ReceiptStatus;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::event::{Event, StoredEvent};
use protocol::job::{Attempt, AttemptReport, AttemptState, Job, JobState};
use protocol::negotiation::{Negotiation, Stage};
use protocol::units::Timestamp;

/// Applies an event to the job that it is about.
pub fn fold_job(job: &mut Job, stored: &StoredEvent) {
    match &stored.event {
        Event::AwardOffered { attempt, worker_id, proposal_id, promised, .. } => {
            if job.state.is_terminal() {
                return;
            }
            job.worker_id = Some(worker_id.clone());
            job.promised = *promised;
            job.attempts.push(Attempt {
                attempt: *attempt,
                worker_id: worker_id.clone(),
                proposal_id: proposal_id.clone(),
                state: AttemptState::Offered,
                offered_at: stored.at,
                started_at: None,
                ended_at: None,
                exit_code: None,
            });
        }
        Event::AwardAnswered { receipt, .. } => {
            let Some(attempt) = job.attempts.iter_mut().find(|a| a.attempt == receipt.attempt) else {
                return;
            };
            if attempt.state != AttemptState::Offered {
                return;
            }
            match receipt.status {
                ReceiptStatus::Success => {
                    attempt.state = AttemptState::Queued;
                    if matches!(job.state, JobState::Pending | JobState::Negotiating) {
                        job.state = JobState::Running;
                    }
                }
                ReceiptStatus::Failed => {
                    attempt.state = AttemptState::Rejected;
                    attempt.ended_at = Some(stored.at);
                    // A cancel that came while the award was out ends here: nothing can start any more.
                    if job.state == JobState::Cancelling {
                        end(job, JobState::Cancelled, stored.at, None);
                    }
                }
            }
        }
        Event::AwardsExhausted { .. } if !job.state.is_terminal() => {
            let error = ErrorBody::new(ErrorCode::NoWorker, "every worker in the order refused the award");
            end(job, JobState::Failed, stored.at, Some(error));
        }
        Event::AttemptReported { report, .. } => fold_report(job, report, stored.at),
        Event::CancelRequested { .. } => {
            if job.attempts.is_empty() && !job.state.is_terminal() {
                end(job, JobState::Cancelled, stored.at, None);
            } else if !job.state.is_terminal() {
                job.state = JobState::Cancelling;
            }
        }
        _ => {}
    }
}

fn fold_report(job: &mut Job, report: &AttemptReport, at: Timestamp) {
    let Some(latest) = job.attempts.last_mut() else { return };
    if latest.attempt != report.attempt || latest.state.is_terminal() {
        return;
    }
    latest.state = report.state;
    latest.exit_code = report.exit_code.or(latest.exit_code);
    if report.state == AttemptState::Running && latest.started_at.is_none() {
        latest.started_at = Some(report.reported_at);
    }
    if report.state.is_terminal() {
        latest.ended_at = Some(report.reported_at);
    }
    let observed = &mut job.observed;
    observed.start_seconds = report.observed.start_seconds.or(observed.start_seconds);
    observed.runtime_seconds = report.observed.runtime_seconds.or(observed.runtime_seconds);
    observed.cost_usd = report.observed.cost_usd.or(observed.cost_usd);
    observed.peak_memory_gib = report.observed.peak_memory_gib.or(observed.peak_memory_gib);
    observed.gpu_hours = report.observed.gpu_hours.or(observed.gpu_hours);
    for metric in &report.metrics {
        job.metrics.insert(metric.name.clone(), metric.value);
    }
    job.artifacts.extend(report.artifacts.iter().cloned());
    if job.state.is_terminal() {
        return;
    }
    let error = report.error.clone();
    match report.state {
        AttemptState::Succeeded => end(job, JobState::Completed, at, None),
        AttemptState::Failed | AttemptState::Lost => {
            let error = error.or_else(|| Some(ErrorBody::new(ErrorCode::JobFailed, "the job failed")));
            end(job, JobState::Failed, at, error);
        }
        AttemptState::TimedOut => {
            let error = ErrorBody::new(ErrorCode::JobTimeout, "the job ran into its time limit");
            end(job, JobState::Failed, at, Some(error));
        }
        AttemptState::Cancelled => end(job, JobState::Cancelled, at, None),
        AttemptState::Unknown => end(job, JobState::Unknown, at, error),
        AttemptState::Queued | AttemptState::Running => {
            if matches!(job.state, JobState::Pending | JobState::Negotiating) {
                job.state = JobState::Running;
            }
        }
        AttemptState::Offered | AttemptState::Rejected | AttemptState::Disconnected => {}
    }
}

fn end(job: &mut Job, state: JobState, at: Timestamp, error: Option<ErrorBody>) {
    job.state = state;
    job.ended_at = Some(at);
    job.error = error;
}

/// Applies an event to a negotiation; the first one makes it.
pub fn fold_negotiation(negotiation: &mut Option<Negotiation>, event: Event) {
    match (negotiation, event) {
        (slot, Event::NegotiationOpened { negotiation: opened }) => *slot = Some(*opened),
        (Some(negotiation), event) => advance_negotiation(negotiation, event),
        (None, _) => {}
    }
}

/// Applies a later event to a negotiation.
pub fn advance_negotiation(negotiation: &mut Negotiation, event: Event) {
    match event {
        Event::NegotiationDecided { proposals, evaluations, selection, elapsed_seconds, .. } => {
            negotiation.proposals = proposals;
            negotiation.evaluations = evaluations;
            negotiation.selection = selection;
            negotiation.elapsed_seconds = elapsed_seconds;
            negotiation.stage = Stage::Decided;
        }
        Event::JobAccepted { job } => negotiation.job_id = Some(job.job_id),
        Event::AwardOffered { .. } => negotiation.stage = Stage::Awarding,
        Event::AwardAnswered { receipt, .. } => {
            if receipt.status == ReceiptStatus::Success {
                negotiation.stage = Stage::Awarded;
            }
            negotiation.receipt = Some(receipt);
        }
        Event::AwardsExhausted { .. } => negotiation.stage = Stage::Refused,
        _ => {}
    }
}

/// The name of a stage as it is stored.
pub const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Asking => "asking",
        Stage::Decided => "decided",
        Stage::Awarding => "awarding",
        Stage::Awarded => "awarded",
        Stage::Refused => "refused",
    }
}
