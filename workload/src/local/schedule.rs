//! Who runs when: slots and one first-in-first-out queue, without a clock or a process. The head of
//! the queue is never overtaken, so a large job is not starved by small ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::facts::{Allocation, StartEstimate};
use protocol::units::{GiB, Seconds};

use super::gpus::{self, GpuDevice, GpuVendor};
use crate::read::{NativeId, Slots};

/// Slots, what runs on them, and what waits for them.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// Its GPUs are as many as `devices` has.
    total: Slots,
    devices: Vec<GpuDevice>,
    /// Devices on which processes of somebody else, or of a job of ours, were seen to compute.
    busy: BTreeSet<GpuDevice>,
    waiting: VecDeque<(NativeId, Slots)>,
    running: BTreeMap<NativeId, Placed>,
}

/// What a running job has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) takes: Slots,
    pub(crate) gpus: Vec<GpuDevice>,
}

/// Why a request can never be placed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NeverFits {
    pub(crate) field: &'static str,
    pub(crate) reason: String,
}

impl Schedule {
    /// Slots; their GPUs are counted from the devices.
    pub(super) fn new(slots: Slots, devices: Vec<GpuDevice>) -> Self {
        let gpus = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        Self {
            total: Slots { gpus, ..slots },
            devices,
            busy: BTreeSet::new(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
        }
    }

    /// Slots whose GPUs are only counted.
    pub(crate) fn counted(slots: Slots) -> Self {
        let nameless = |number: u32| GpuDevice { id: number.to_string(), vendor: GpuVendor::Nvidia };
        Self::new(slots, (0..slots.gpus).map(nameless).collect())
    }

    /// Takes in which devices are in use, whoever uses them.
    pub(super) fn seen_busy(&mut self, busy: BTreeSet<GpuDevice>) {
        self.busy = busy;
    }

    fn is_given(&self, device: &GpuDevice) -> bool {
        self.running.values().any(|placed| placed.gpus.contains(device))
    }

    /// What an allocation takes of this machine, or why it never could.
    pub(crate) fn takes(
        &self,
        allocation: &Allocation,
        memory_limit: Option<GiB>,
    ) -> Result<Slots, NeverFits> {
        let never = |field, reason: String| Err(NeverFits { field, reason });
        let total = self.total;
        if allocation.nodes > 1 {
            return never(
                "allocation.nodes",
                format!("{} nodes asked for, this is one machine", allocation.nodes),
            );
        }
        if allocation.cores > total.cores {
            let (asked, had) = (allocation.cores, total.cores);
            return never("allocation.cores", format!("{asked} asked for, the machine gives {had}"));
        }
        if allocation.gpus > total.gpus {
            let (asked, had) = (allocation.gpus, total.gpus);
            return never("allocation.gpus", format!("{asked} asked for, the machine gives {had}"));
        }
        if gpus::choose(&self.devices, allocation.gpus, |_| false).is_none() {
            let asked = allocation.gpus;
            return never("allocation.gpus", format!("{asked} asked for, no vendor's GPUs here are as many"));
        }
        if let (Some(asked), Some(had)) = (memory_limit, total.memory_gib)
            && (asked > had || asked < GiB::ZERO)
        {
            return never("memory_limit", format!("{asked} asked for, the machine gives {had}"));
        }
        if allocation.nodes == 1 {
            return Ok(total);
        }
        // Work that names no cores still runs on one.
        Ok(Slots {
            cores: allocation.cores.max(1).min(total.cores),
            memory_gib: memory_limit,
            gpus: allocation.gpus,
        })
    }

    /// What nobody has, also nobody else.
    pub(super) fn free(&self) -> Slots {
        let free = self.not_given();
        let others =
            self.devices.iter().filter(|device| self.busy.contains(device) && !self.is_given(device));
        Slots { gpus: free.gpus.saturating_sub(u32::try_from(others.count()).unwrap_or(u32::MAX)), ..free }
    }

    /// What no job has.
    fn not_given(&self) -> Slots {
        self.running.values().fold(self.total, |free, placed| minus(free, placed.takes))
    }

    pub(crate) const fn total(&self) -> Slots {
        self.total
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// The waiting jobs in the order in which they will start.
    pub(crate) fn queue(&self) -> impl Iterator<Item = &NativeId> {
        self.waiting.iter().map(|(native, _)| native)
    }

    pub(crate) fn enqueue(&mut self, native: NativeId, takes: Slots) {
        self.waiting.push_back((native, takes));
    }

    /// Takes a job out of the queue; false when it is not in it.
    pub(crate) fn withdraw(&mut self, native: &NativeId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(other, _)| other != native);
        self.waiting.len() < before
    }

    /// The job to start next and the GPUs that it gets, if it fits now. It stays in the queue until
    /// [`Self::place`].
    pub(super) fn next(&self) -> Option<(NativeId, Placed)> {
        let (native, takes) = self.waiting.front()?;
        let free = self.not_given();
        if !fits(*takes, free) {
            return None;
        }
        let taken = |device: &GpuDevice| self.is_given(device) || self.busy.contains(device);
        if let Some(gpus) = gpus::choose(&self.devices, takes.gpus, taken) {
            return Some((native.clone(), Placed { takes: *takes, gpus }));
        }
        // How long somebody else keeps a GPU is not known. Work that needs none goes ahead, beside all
        // that the head will take.
        let beside = minus(free, *takes);
        let passes = |takes: &Slots| takes.gpus == 0 && fits(*takes, beside);
        let (native, takes) = self.waiting.iter().skip(1).find(|(_, takes)| passes(takes))?;
        Some((native.clone(), Placed { takes: *takes, gpus: Vec::new() }))
    }

    /// Whether the head of the queue waits for nothing but to know which GPUs are in use, or for that to
    /// change.
    pub(super) fn depends_on_busy(&self) -> bool {
        self.waiting.front().is_some_and(|(_, takes)| {
            takes.gpus > 0
                && fits(*takes, self.not_given())
                && gpus::choose(&self.devices, takes.gpus, |device| self.is_given(device)).is_some()
        })
    }

    /// Gives a job its slots, whether it was in the queue or is found running after a restart.
    pub(crate) fn place(&mut self, native: NativeId, placed: Placed) {
        self.withdraw(&native);
        self.running.insert(native, placed);
    }

    /// Takes the slots of a job back.
    pub(crate) fn release(&mut self, native: &NativeId) {
        self.running.remove(native);
    }

    /// When work that takes this much would start if it were submitted now, when every job runs as
    /// long as it may. `limit` gives what a job has left at most, a waiting one all of it; without an
    /// answer that is needed the estimate is unknown.
    pub(crate) fn estimate(
        &self,
        takes: Slots,
        limit: impl Fn(&NativeId) -> Option<Seconds>,
    ) -> Option<StartEstimate> {
        let mut free = self.free();
        let mut now = 0.0_f64;
        let mut busy: Vec<(Option<f64>, Slots)> = self
            .running
            .iter()
            .map(|(native, placed)| (limit(native).map(|left| left.get().max(0.0)), placed.takes))
            .collect();
        let ours = (None, takes);
        let queue = self.waiting.iter().map(|(native, takes)| (limit(native), *takes)).chain([ours]);
        for (length, takes) in queue {
            while !fits(takes, free) {
                let (index, end) = busy
                    .iter()
                    .enumerate()
                    .filter_map(|(index, (end, _))| Some((index, (*end)?)))
                    .min_by(|a, b| a.1.total_cmp(&b.1))?;
                let (_, released) = busy.swap_remove(index);
                free = plus(free, released);
                now = now.max(end);
            }
            free = minus(free, takes);
            busy.push((length.map(|length| now + length.get()), takes));
        }
        let start = Seconds::saturating(now);
        Some(StartEstimate { p50: start, p90: start })
    }
}

fn fits(wanted: Slots, free: Slots) -> bool {
    wanted.cores <= free.cores
        && wanted.gpus <= free.gpus
        && free.memory_gib.is_none_or(|free| taken_gib(wanted) <= free.get())
}

/// What named no memory takes none.
fn taken_gib(slots: Slots) -> f64 {
    slots.memory_gib.map_or(0.0, GiB::get)
}

/// Saturates: after a restart with fewer slots, what runs may take more than there is.
fn minus(from: Slots, taken: Slots) -> Slots {
    Slots {
        cores: from.cores.saturating_sub(taken.cores),
        memory_gib: from.memory_gib.map(|from| GiB::saturating((from.get() - taken_gib(taken)).max(0.0))),
        gpus: from.gpus.saturating_sub(taken.gpus),
    }
}

fn plus(to: Slots, given: Slots) -> Slots {
    Slots {
        cores: to.cores.saturating_add(given.cores),
        memory_gib: to.memory_gib.map(|to| GiB::saturating(to.get() + taken_gib(given))),
        gpus: to.gpus.saturating_add(given.gpus),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(cores: u32, gpus: u32) -> Slots {
        Slots { cores, memory_gib: Some(GiB::from(16)), gpus }
    }

    fn devices(count: u32) -> Vec<GpuDevice> {
        (0..count).map(|id| GpuDevice { id: id.to_string(), vendor: GpuVendor::Nvidia }).collect()
    }

    fn machine(cores: u32, gpus: u32) -> Schedule {
        Schedule::new(slots(cores, 0), devices(gpus))
    }

    fn ids(devices: &[GpuDevice]) -> Vec<&str> {
        devices.iter().map(|device| device.id.as_str()).collect()
    }

    fn cores(cores: u32) -> Slots {
        Slots { cores, memory_gib: None, gpus: 0 }
    }

    fn id(name: &str) -> NativeId {
        NativeId(name.to_owned())
    }

    fn start_all(schedule: &mut Schedule) -> Vec<NativeId> {
        let mut started = Vec::new();
        while let Some((native, placed)) = schedule.next() {
            schedule.place(native.clone(), placed);
            started.push(native);
        }
        started
    }

    #[test]
    fn the_head_of_the_queue_is_not_overtaken() {
        let mut schedule = machine(4, 0);
        for (name, wanted) in [("a", 3), ("b", 2), ("c", 1)] {
            schedule.enqueue(id(name), cores(wanted));
        }
        assert_eq!(start_all(&mut schedule), [id("a")]);
        schedule.release(&id("a"));
        assert_eq!(start_all(&mut schedule), [id("b"), id("c")]);
    }

    #[test]
    fn every_gpu_has_one_owner() {
        let mut schedule = machine(8, 4);
        let takes = |gpus| Slots { cores: 1, memory_gib: None, gpus };
        schedule.enqueue(id("a"), takes(1));
        schedule.enqueue(id("b"), takes(2));
        start_all(&mut schedule);
        schedule.release(&id("a"));
        schedule.enqueue(id("c"), takes(2));
        let (_, placed) = schedule.next().unwrap();
        assert_eq!(ids(&placed.gpus), ["0", "3"]);
    }

    #[test]
    fn devices_of_somebody_else_are_passed_over() {
        let mut schedule = machine(4, 3);
        let takes = |cores, gpus| Slots { cores, memory_gib: None, gpus };
        schedule.seen_busy(devices(2).into_iter().take(1).collect());
        assert_eq!(schedule.free().gpus, 2);
        schedule.enqueue(id("a"), takes(1, 1));
        let (_, placed) = schedule.next().unwrap();
        assert_eq!(ids(&placed.gpus), ["1"]);
        schedule.place(id("a"), placed);
        // What our own jobs compute on does not count as somebody else's.
        schedule.seen_busy(devices(2).into_iter().collect());
        assert_eq!(schedule.free().gpus, 1);
        schedule.enqueue(id("b"), takes(1, 2));
        assert!(schedule.depends_on_busy());
        // The head will take one core more; two of the other three are for those behind it.
        for (name, cores, gpus) in [("large", 3, 0), ("gpu", 1, 1), ("c", 1, 0), ("d", 1, 0), ("e", 1, 0)] {
            schedule.enqueue(id(name), takes(cores, gpus));
        }
        assert_eq!(start_all(&mut schedule), [id("c"), id("d")]);
        schedule.seen_busy(BTreeSet::new());
        assert_eq!(start_all(&mut schedule), [id("b")]);
    }

    #[test]
    fn what_never_fits_is_named() {
        let schedule = machine(4, 1);
        let ask = |nodes, cores, gpus| schedule.takes(&Allocation { nodes, cores, gpus }, None);
        assert_eq!(ask(0, 0, 0).unwrap().cores, 1);
        assert_eq!(ask(1, 0, 0).unwrap(), slots(4, 1));
        assert_eq!(ask(2, 0, 0).unwrap_err().field, "allocation.nodes");
        assert_eq!(ask(0, 5, 0).unwrap_err().field, "allocation.cores");
        assert_eq!(ask(0, 1, 2).unwrap_err().field, "allocation.gpus");
        let memory = schedule.takes(&Allocation::default(), Some(GiB::from(17)));
        assert_eq!(memory.unwrap_err().reason, "17 GiB asked for, the machine gives 16 GiB");
    }

    #[test]
    fn the_estimate_follows_the_queue_and_admits_not_knowing() {
        let mut schedule = machine(4, 0);
        let start = |schedule: &Schedule, wanted, limits: &[(&str, u32)]| {
            let limits: BTreeMap<NativeId, u32> =
                limits.iter().map(|(name, limit)| (id(name), *limit)).collect();
            schedule
                .estimate(cores(wanted), |native| limits.get(native).map(|limit| Seconds::from(*limit)))
                .map(|estimate| estimate.p90.get())
        };
        assert_eq!(start(&schedule, 4, &[]), Some(0.0));
        schedule.enqueue(id("a"), cores(3));
        start_all(&mut schedule);
        assert_eq!(start(&schedule, 1, &[]), Some(0.0));
        assert_eq!(start(&schedule, 2, &[]), None);
        assert_eq!(start(&schedule, 2, &[("a", 60)]), Some(60.0));
        schedule.enqueue(id("b"), cores(4));
        assert_eq!(start(&schedule, 1, &[("a", 60)]), None);
        assert_eq!(start(&schedule, 1, &[("a", 60), ("b", 30)]), Some(90.0));
    }

    proptest! {
        #[test]
        fn slots_are_never_given_twice(
            steps in prop::collection::vec((0u32..4, 0u32..3, any::<bool>()), 1..60),
        ) {
            let total = slots(4, 2);
            let mut schedule = machine(4, 2);
            for (index, (cores, gpus, end_one)) in steps.into_iter().enumerate() {
                let takes = schedule.takes(&Allocation { nodes: 0, cores, gpus: gpus.min(2) }, None).unwrap();
                schedule.enqueue(id(&format!("{index:04}")), takes);
                start_all(&mut schedule);
                let used: u32 = schedule.running.values().map(|placed| placed.takes.cores).sum();
                prop_assert!(used <= total.cores);
                let mut gpus: Vec<GpuDevice> = schedule.running.values().flat_map(|placed| placed.gpus.clone()).collect();
                let owned = gpus.len();
                gpus.sort_unstable();
                gpus.dedup();
                prop_assert_eq!(gpus.len(), owned);
                if end_one && let Some(native) = schedule.running.keys().next().cloned() {
                    schedule.release(&native);
                }
            }
            while schedule.waiting() + schedule.running() > 0 {
                start_all(&mut schedule);
                let first = schedule.running.keys().next().cloned();
                prop_assert!(first.is_some(), "the queue is stuck");
                schedule.release(&first.unwrap());
            }
            prop_assert_eq!(schedule.free(), total);
        }
    }
}
