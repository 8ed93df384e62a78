//! Accepting an award: against what was offered, into the ledger, and only then a receipt. The same
//! award again gets the same receipt; a void attempt never starts.

use archetypes::Fault;
use protocol::award::{Award, Receipt, ReceiptStatus, Reject};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::JobId;
use protocol::job::{AttemptNumber, JobSpec};

use crate::ledger::Entry;
use crate::worker::Worker;

impl Worker {
    /// Accepts or refuses an award.
    pub(crate) fn accept(&self, award: Award) -> Receipt {
        let key = (award.job_id.clone(), award.attempt);
        match self.ledger().get(&key) {
            Some(Some(entry)) if entry.award == award => return entry.receipt,
            Some(Some(_)) => {
                let message = "this attempt was accepted with another award";
                return self.refusal(&award, ErrorBody::new(ErrorCode::State, message));
            }
            Some(None) => {
                let message = "this attempt was withdrawn and never starts here";
                return self.refusal(&award, ErrorBody::new(ErrorCode::State, message));
            }
            None => {}
        }
        if let Err(error) = self.check(&award) {
            return self.refusal(&award, error);
        }
        let now = self.now();
        let tick = self.tick();
        let mut offers = self.offers().begin(now);
        let fits = |allocation: &_, taken: &[_]| self.still_fits(tick, allocation, taken);
        let terms = match offers.award(&award, now, fits) {
            Ok(terms) => terms,
            Err(error) => {
                drop(offers);
                return self.refusal(&award, error);
            }
        };
        drop(offers);
        let receipt = Receipt {
            status: ReceiptStatus::Success,
            job_id: award.job_id.clone(),
            worker_id: self.id().clone(),
            attempt: award.attempt,
            proposal_id: award.proposal_id.clone(),
            received_at: now,
            error: None,
        };
        if let Err(error) = self.ledger().accept(&award, &terms, &receipt) {
            tracing::error!(%error, "the ledger cannot be written; the award is refused");
            self.offers().finished(&award.proposal_id);
            let message = "the worker cannot write its ledger";
            return self.refusal(&award, ErrorBody::new(ErrorCode::Storage, message));
        }
        if let Some(foreseen) = terms.foreseen {
            self.history().expect(&key, foreseen, now);
        }
        if let Some(Some(entry)) = self.ledger().get(&key) {
            self.run(entry);
        }
        receipt
    }

    fn check(&self, award: &Award) -> Result<(), ErrorBody> {
        let mock = self.site().mock.as_ref();
        match mock.and_then(|mock| mock.fault) {
            Some(Fault::RefuseAward) => {
                return Err(ErrorBody::new(ErrorCode::CapacityTaken, "this site refuses every award"));
            }
            // The fault is that the process ends here, without a word to anybody.
            Some(Fault::Exit) => std::process::exit(70),
            _ => {}
        }
        let kind = award.job.kind();
        if !self.site().job_kinds().contains(&kind) {
            let message = format!("this worker does not run {kind} jobs");
            return Err(ErrorBody::new(ErrorCode::JobKindUnsupported, message));
        }
        if let JobSpec::Command(command) = &award.job
            && command.argv.is_empty()
            && mock.is_none_or(|mock| mock.exec)
        {
            let message = "the job names no command line; state one, for example with -- PROGRAM ARGS";
            return Err(ErrorBody::new(ErrorCode::JobIncomplete, message));
        }
        jobs::validate(&award.job)
    }

    fn refusal(&self, award: &Award, error: ErrorBody) -> Receipt {
        Receipt {
            status: ReceiptStatus::Failed,
            job_id: award.job_id.clone(),
            worker_id: self.id().clone(),
            attempt: award.attempt,
            proposal_id: award.proposal_id.clone(),
            received_at: self.now(),
            error: Some(error),
        }
    }

    /// Withdraws an attempt: `FAILED` when it will never start here, `SUCCESS` when it was accepted.
    pub(crate) fn void(&self, job_id: &JobId, attempt: AttemptNumber) -> Result<Receipt, ErrorBody> {
        let key = (job_id.clone(), attempt);
        let voided = self.ledger().void(&key).map_err(|error| {
            tracing::error!(%error, "the ledger cannot be written");
            ErrorBody::new(ErrorCode::Storage, "the worker cannot write its ledger")
        })?;
        match self.ledger().get(&key) {
            Some(Some(Entry { receipt, .. })) if !voided => Ok(receipt),
            _ => Ok(Receipt {
                status: ReceiptStatus::Failed,
                job_id: job_id.clone(),
                worker_id: self.id().clone(),
                attempt,
                // A withdrawn attempt belongs to no proposal any more.
                proposal_id: protocol::ids::ProposalId::mint(0),
                received_at: self.now(),
                error: Some(ErrorBody::new(ErrorCode::Cancelled, "withdrawn")),
            }),
        }
    }

    /// Releases the hold of a proposal that was not chosen.
    pub(crate) fn reject(&self, reject: &Reject) {
        self.offers().reject(reject);
    }

    /// Asks an attempt to stop; `false` when there is no such attempt.
    pub(crate) fn cancel(&self, job_id: &JobId, attempt: AttemptNumber) -> bool {
        let key = (job_id.clone(), attempt);
        let known = matches!(self.ledger().get(&key), Some(Some(entry)) if !entry.told.state.is_terminal());
        if known {
            self.cancellation(&key).cancel();
        }
        known
    }
}
