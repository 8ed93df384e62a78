//! When work would start: from what is free, the time limits of what runs, and the starts that the
//! scheduler plans for those who wait. It is a bound: what ends before its limit, or is withdrawn, makes
//! room earlier, and somebody who comes later may be preferred.

use std::collections::BTreeMap;

use protocol::units::{Seconds, Timestamp};

use super::fields::Part;
use super::jobs::Job;
use super::nodes::{Amount, Cluster, Node, Vnode, nodes};
use crate::read::RunState;

/// What is given back at a time (`gives`) or taken.
struct Change {
    at: Timestamp,
    vnode: usize,
    amount: Amount,
    gives: bool,
}

/// The part of a vnode that a job has, or all of it.
fn amount(part: &Part, vnode: &Vnode, job: &Job, whole: bool) -> Amount {
    if job.exclusive || whole {
        return vnode.has;
    }
    Amount { cores: part.cores, gpus: part.gpus, memory_kib: Some(part.memory_kib) }
}

/// Moves what is free of a vnode; it stays between nothing and all.
fn apply(vnode: &mut Vnode, change: &Change) {
    let step = |free: u64, by: u64, all: u64| {
        if change.gives { free.saturating_add(by).min(all) } else { free.saturating_sub(by) }
    };
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let (has, amount) = (vnode.has, change.amount);
    let free = &mut vnode.free;
    free.cores = narrow(step(free.cores.into(), amount.cores.into(), has.cores.into()));
    free.gpus = narrow(step(free.gpus.into(), amount.gpus.into(), has.gpus.into()));
    free.memory_kib = free
        .memory_kib
        .zip(has.memory_kib)
        .map(|(free, all)| step(free, amount.memory_kib.unwrap_or(0), all));
}

/// What is free at both times.
fn least(one: Amount, other: Amount) -> Amount {
    Amount {
        cores: one.cores.min(other.cores),
        gpus: one.gpus.min(other.gpus),
        memory_kib: one.memory_kib.zip(other.memory_kib).map(|(a, b)| a.min(b)),
    }
}

/// The first time from which on work of a queue fits and stays within what nobody else was promised; none
/// where nobody can tell, or it never fits.
pub(super) fn earliest(
    cluster: &Cluster,
    jobs: &[Job],
    queue: &str,
    now: Timestamp,
    fits: impl Fn(&[Node]) -> bool,
) -> Option<Timestamp> {
    if !cluster.schedules || !cluster.shows_all {
        return None;
    }
    let ours: Vec<&Vnode> =
        cluster.vnodes.iter().filter(|vnode| vnode.queues.iter().any(|name| name == queue)).collect();
    let at: BTreeMap<&str, usize> =
        ours.iter().enumerate().map(|(at, vnode)| (vnode.name.as_str(), at)).collect();
    let soon = now.plus(Seconds::saturating(1.0));
    let mut changes = Vec::new();
    for job in jobs.iter().filter(|job| !job.is_array()) {
        let (starts, parts) = match job.state {
            RunState::Running => (None, &job.parts),
            RunState::Queued if job.waits_for_resources && competes(cluster, job, &ours) => {
                // Those who wait come first. Where the scheduler does not plan them all, nobody can tell.
                let (starts, parts) = job.planned.as_ref().filter(|(starts, _)| *starts >= now)?;
                (Some(*starts), parts)
            }
            _ => continue,
        };
        let began = starts.or(job.started_at);
        let ends = job.time_limit.zip(began).map(|(limit, began)| began.plus(limit).max(soon));
        for part in parts {
            let Some(&vnode) = at.get(part.vnode.as_str()) else { continue };
            let whole = if starts.is_some() { ours[vnode].exclusive } else { ours[vnode].is_whole };
            let amount = amount(part, ours[vnode], job, whole);
            changes.extend(starts.map(|at| Change { at, vnode, amount, gives: false }));
            changes.extend(ends.map(|at| Change { at, vnode, amount, gives: true }));
        }
    }
    // What is given back at a time is there for who starts then.
    changes.sort_by_key(|change| (change.at, !change.gives));
    let mut free: Vec<Vnode> = ours.into_iter().cloned().collect();
    for vnode in free.iter_mut().filter(|vnode| vnode.is_reserved) {
        vnode.free = Amount { cores: 0, gpus: 0, memory_kib: vnode.free.memory_kib.map(|_| 0) };
        vnode.has = vnode.free;
    }
    // What is free for good only gets more, so that one place divides what does not fit from what does.
    let is_time =
        |end: &usize| *end == changes.len() || *end == 0 || changes[*end].at != changes[*end - 1].at;
    let ends: Vec<usize> = (0..=changes.len()).filter(is_time).collect();
    let first = ends.partition_point(|end| !fits(&nodes(free_from(&changes, free.clone(), *end).iter())));
    let end = ends.get(first)?;
    Some(end.checked_sub(1).map_or(now, |last| changes[last].at))
}

/// What is free of each vnode from the state after the first changes on, for good.
fn free_from(changes: &[Change], mut free: Vec<Vnode>, first: usize) -> Vec<Vnode> {
    let (done, to_come) = changes.split_at(first);
    for change in done {
        apply(&mut free[change.vnode], change);
    }
    let mut held = free.clone();
    for change in to_come {
        apply(&mut free[change.vnode], change);
        let (held, free) = (&mut held[change.vnode].free, free[change.vnode].free);
        *held = least(*held, free);
    }
    held
}

/// Whether a waiting job may get a vnode that ours could have.
fn competes(cluster: &Cluster, job: &Job, ours: &[&Vnode]) -> bool {
    cluster.started.contains(&job.queue)
        && (!cluster.queues.iter().any(|queue| queue.name == job.queue)
            || ours.iter().any(|vnode| vnode.queues.contains(&job.queue)))
}
