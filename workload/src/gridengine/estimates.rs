//! When work would start. Grid Engine says whether it would start now; when it would not, the limits of those
//! that run and wait say when it starts at the latest, as long as nobody with a higher priority comes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use protocol::facts::{Allocation, StartEstimate};
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::Seconds;

use super::GridEngineReader;
use super::directives::Directives;
use super::jobs::Job;
use super::nodes::{Cluster, Node};
use crate::error::WorkloadError;
use crate::local::schedule::{Placed, Schedule};
use crate::read::{RunState, Slots};
use crate::submit::{Placement, SubmitRequest};

impl GridEngineReader {
    /// When work of this size would start; `None` when nobody can tell.
    pub(super) async fn estimate(
        &self,
        allocation: &Allocation,
    ) -> Result<Option<StartEstimate>, WorkloadError> {
        let Some(request) = of_size(allocation, &self.options.defaults) else { return Ok(None) };
        let cluster = self.cluster().await?;
        let directives = Directives::of(&request, "estimate".to_owned(), &cluster)?;
        let jobs = self.jobs("*").await?;
        if self.starts_now(&directives, &cluster, &jobs).await? {
            let now = Seconds::ZERO;
            return Ok(Some(StartEstimate { p50: now, p90: now }));
        }
        Ok(self.behind_others(&directives, &cluster, &jobs))
    }

    /// Whether there is room and nobody waits for it.
    pub(super) async fn starts_now(
        &self,
        directives: &Directives,
        cluster: &Cluster,
        jobs: &[Job],
    ) -> Result<bool, WorkloadError> {
        let queues = queues(directives, cluster);
        if jobs.iter().any(|job| job.competes_for(&queues)) {
            return Ok(false);
        }
        match self.verify(directives, true).await {
            Ok(()) => Ok(true),
            Err(WorkloadError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The start behind everybody who is there already, when each runs as long as it may. Hosts are taken
    /// together, so what needs several slots of one of several hosts is not estimated.
    fn behind_others(
        &self,
        directives: &Directives,
        cluster: &Cluster,
        jobs: &[Job],
    ) -> Option<StartEstimate> {
        let queues = queues(directives, cluster);
        let within = |node: &&Node| node.queues.iter().any(|queue| queues.contains(&queue.as_str()));
        let nodes: Vec<&Node> = cluster.in_service().filter(within).collect();
        if nodes.len() > 1 && directives.slots > 1 {
            return None;
        }
        let total = nodes.iter().fold(Slots::default(), |sum, node| Slots {
            cores: sum.cores.saturating_add(node.cores),
            memory_gib: None,
            gpus: sum.gpus.saturating_add(node.gpus),
        });
        let complexes = &cluster.configuration.complexes;
        let takes = |job: &Job| Slots { memory_gib: None, ..job.takes(complexes) };
        let mut schedule = Schedule::counted(total);
        let mut left = BTreeMap::new();
        for job in jobs {
            let limit = job.time_limit().or_else(|| limit_of(job, &queues, cluster));
            let native = job.native();
            if job.state == RunState::Running {
                if !job.queue.as_deref().is_some_and(|queue| queues.contains(&queue)) {
                    continue;
                }
                let ran = job.started_at.map_or(Seconds::ZERO, |at| self.now().since(at));
                let rest = limit.map(|limit| Seconds::saturating((limit.get() - ran.get()).max(0.0)));
                left.insert(native.clone(), rest);
                schedule.place(native, Placed { takes: takes(job), gpus: Vec::new() });
            } else if job.competes_for(&queues) {
                // Tasks of an array wait together; how many of them run at once is not known.
                if job.count() > 1 {
                    return None;
                }
                left.insert(native.clone(), limit);
                schedule.enqueue(native, takes(job));
            }
        }
        let (asked, _) = directives.asked();
        let takes = Slots { cores: asked.cores, memory_gib: None, gpus: asked.gpus };
        schedule.estimate(takes, |native| left.get(native).copied().flatten())
    }
}

/// The queues that work with these directives may run in.
fn queues<'a>(directives: &'a Directives, cluster: &'a Cluster) -> Vec<&'a str> {
    match &directives.queue {
        Some(queue) => vec![queue],
        None => cluster.queues.iter().map(|queue| queue.name.as_str()).collect(),
    }
}

/// The limit that its queue sets for a job that names none; with several queues the longest.
fn limit_of(job: &Job, queues: &[&str], cluster: &Cluster) -> Option<Seconds> {
    let may_use = |name: &str| match &job.queue {
        Some(queue) => queue == name,
        None => queues.contains(&name),
    };
    let limits = cluster.queues.iter().filter(|queue| may_use(&queue.name)).map(|queue| queue.time_limit);
    limits.collect::<Option<Vec<_>>>()?.into_iter().max_by(|a, b| a.get().total_cmp(&b.get()))
}

/// A request of this size and nothing else; only its directives are used.
fn of_size(allocation: &Allocation, defaults: &Placement) -> Option<SubmitRequest> {
    Some(SubmitRequest {
        job_id: JobId::parse("estimate").ok()?,
        attempt: AttemptNumber::FIRST,
        argv: Vec::new(),
        environment: BTreeMap::new(),
        directory: PathBuf::from("/"),
        // Whole nodes come with all their slots, however many they have.
        allocation: Allocation {
            cores: if allocation.nodes > 0 { 0 } else { allocation.cores },
            ..*allocation
        },
        placement: Placement::default().with_defaults(defaults),
        memory_limit: None,
        time_limit: None,
    })
}
