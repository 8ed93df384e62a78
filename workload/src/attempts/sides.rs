//! Both sides of a manager that work is handed over to, out of its reader and its records.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use protocol::facts::{Allocation, StartEstimate};

use super::{HandsOver, Open, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::read::{Accounting, Capacity, Inventory, NativeId, QueuedJob, ReadSide};
use crate::submit::{DryRun, Status, SubmitRequest, SubmitSide};

#[async_trait]
impl<M: HandsOver> ReadSide for M {
    fn manager(&self) -> &'static str {
        self.reader().manager()
    }

    async fn inventory(&self) -> Result<Option<Inventory>, WorkloadError> {
        self.reader().inventory().await
    }

    async fn capacity(&self) -> Result<Capacity, WorkloadError> {
        self.reader().capacity().await
    }

    async fn queue(&self) -> Result<Vec<QueuedJob>, WorkloadError> {
        let mut jobs = self.reader().queue().await?;
        for job in &mut jobs {
            if let Some(record) = self.attempts().records.of(&job.native) {
                job.job_id = Some(record.job_id);
                job.attempt = Some(record.attempt);
                // Some managers forget it once a job runs, and what they say instead is later.
                job.received_at = job.received_at.min(record.submitted_at);
            }
        }
        Ok(jobs)
    }

    async fn estimated_start(&self, allocation: &Allocation) -> Result<Option<StartEstimate>, WorkloadError> {
        self.reader().estimated_start(allocation).await
    }

    async fn accounting(&self, job: &NativeId) -> Result<Accounting, WorkloadError> {
        let mut statuses = self.status(std::slice::from_ref(job)).await?;
        let status = statuses.remove(job).ok_or_else(|| WorkloadError::UnknownJob { native: job.clone() })?;
        Ok(status.accounting)
    }
}

#[async_trait]
impl<M: HandsOver> SubmitSide for M {
    async fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun, WorkloadError> {
        let ready = self.ready(request).await?;
        self.test(request, &ready).await
    }

    async fn submit(&self, request: SubmitRequest) -> Result<NativeId, WorkloadError> {
        self.submit_once(&request).await
    }

    async fn status(&self, jobs: &[NativeId]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let records = &self.attempts().records;
        let mut statuses = BTreeMap::new();
        let mut open = Vec::new();
        for native in jobs {
            match records.of(native) {
                Some(Record { ended: Some(status), .. }) => {
                    statuses.insert(native.clone(), status);
                }
                Some(record) => open.push(Open { native: native.clone(), record }),
                None => {}
            }
        }
        if open.is_empty() {
            return Ok(statuses);
        }
        let followed = self.follow(&open).await?;
        for Open { native, record } in open {
            let Some(status) = followed.get(&native) else { continue };
            if status.state().is_terminal() {
                records.put(&Record { ended: Some(status.clone()), ..record })?;
            }
            statuses.insert(native, status.clone());
        }
        Ok(statuses)
    }

    async fn cancel(&self, job: &NativeId) -> Result<(), WorkloadError> {
        let record = self.attempts().record(job)?;
        if record.ended.is_some() {
            return Ok(());
        }
        self.attempts().records.put(&Record { stop_asked: true, ..record })?;
        self.stop(job).await
    }

    async fn log_path(&self, job: &NativeId) -> Result<PathBuf, WorkloadError> {
        Ok(self.attempts().record(job)?.directory.join(LOG_NAME))
    }
}
