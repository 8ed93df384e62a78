//! Work at a simulated cluster: it waits as long as the truth says, on a scaled clock; the built-in
//! kinds then really compute, so that their results are real; commands are simulated from their
//! duration unless they are to be run.

use std::path::Path;
use std::time::Duration;

use archetypes::Fault;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::job::{AttemptState, JobSpec, Observed};
use protocol::units::{Seconds, Usd};
use tokio_util::sync::CancellationToken;
use workload::local::LOG_NAME;

use crate::ledger::Entry;
use crate::report::{Reporter, Unwanted, Update};
use crate::runner::failed;
use crate::site::Mock;
use crate::worker::Worker;

impl Worker {
    pub(crate) async fn run_simulated(
        &self,
        mock: &Mock,
        entry: &Entry,
        directory: &Path,
        reporter: &mut Reporter,
        cancel: &CancellationToken,
    ) -> Result<(), Unwanted> {
        let award = &entry.award;
        let now = self.now();
        let mut taken = self.offers().begin(now).taken(now);
        taken.retain(|(proposal, _)| *proposal != award.proposal_id);
        let wait = mock.site.start_delay_after(self.tick(), &taken, &entry.allocation);
        reporter.tell(Update::state(AttemptState::Queued)).await?;
        if self.pass(mock, wait, cancel).await {
            return reporter.tell(Update::state(AttemptState::Cancelled)).await;
        }
        if mock.fault == Some(Fault::FailJob) {
            return reporter
                .tell(failed(ErrorBody::new(ErrorCode::JobFailed, "this site fails every job")))
                .await;
        }
        match &award.job {
            JobSpec::Command(command) if !mock.exec => {
                let duration = award.requirement.time.duration_seconds.or(command.time_limit_seconds);
                let run = mock.site.runtime(&award.proposal_id, duration);
                let observed = Observed { start_seconds: Some(wait), ..Observed::default() };
                let what = if command.argv.is_empty() {
                    command.software.clone().unwrap_or_else(|| "the job".to_owned())
                } else {
                    command.argv.join(" ")
                };
                let line = format!(
                    "[simulated] {} ran {what}: {:.0} s in the queue, {:.0} s on {} cores\n",
                    self.id(),
                    wait.get(),
                    run.get(),
                    entry.allocation.cores,
                );
                if let Err(error) = tokio::fs::write(directory.join(LOG_NAME), line).await {
                    tracing::warn!(%error, "the simulated log could not be written");
                }
                reporter.tell(Update { observed, ..Update::state(AttemptState::Running) }).await?;
                if self.pass(mock, run, cancel).await {
                    return reporter
                        .tell(Update { observed, ..Update::state(AttemptState::Cancelled) })
                        .await;
                }
                let cost_usd = self.simulated_cost(mock, entry, run);
                let observed = Observed { runtime_seconds: Some(run), cost_usd, ..observed };
                let end = Update { observed, exit_code: Some(0), ..Update::state(AttemptState::Succeeded) };
                reporter.tell(end).await
            }
            _ => self.run_at_manager(entry, directory, reporter, cancel, Some(wait)).await,
        }
    }

    /// What a simulated site charges for a run time, by the same rule as its promise.
    pub(crate) fn simulated_cost(&self, mock: &Mock, entry: &Entry, run: Seconds) -> Option<Usd> {
        let mut requirement = entry.award.requirement.clone();
        requirement.time.duration_seconds = Some(run);
        let facts = mock.site.truth_for(&requirement, self.tick(), &[]);
        matching::promises::promises(&requirement, &facts).cost_usd
    }

    /// Lets simulated time pass; `true` when the attempt was cancelled meanwhile.
    async fn pass(&self, mock: &Mock, simulated: Seconds, cancel: &CancellationToken) -> bool {
        let real = (simulated.get() / mock.time_scale.max(1e-3)).clamp(0.0, 7.0 * 86_400.0);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(real)) => false,
            () = cancel.cancelled() => true,
        }
    }
}
