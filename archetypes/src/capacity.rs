//! What is free of each group of nodes, and what holds and awards take of it.

use protocol::facts::Allocation;

/// One group of equal nodes at one moment. A node that is free has all its cores and GPUs free, so
/// `nodes_free` never exceeds what `cores_free` and `gpus_free` leave room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) nodes: u32,
    pub(crate) nodes_free: u32,
    pub(crate) cores_per_node: u32,
    pub(crate) cores_free: u32,
    pub(crate) gpus_per_node: u32,
    pub(crate) gpus_free: u32,
}

impl Capacity {
    /// Whether the allocation fits into what is free.
    pub(crate) fn has_room(&self, allocation: &Allocation) -> bool {
        self.nodes_free >= allocation.nodes
            && self.cores_free >= allocation.cores
            && self.gpus_free >= allocation.gpus
    }

    /// Whether the allocation would fit if nothing else ran.
    pub(crate) fn could_have_room(&self, allocation: &Allocation) -> bool {
        self.nodes >= allocation.nodes
            && self.nodes.saturating_mul(self.cores_per_node) >= allocation.cores
            && self.nodes.saturating_mul(self.gpus_per_node) >= allocation.gpus
    }

    /// Takes as much of the allocation as is free and leaves the rest in it.
    fn take(&mut self, allocation: &mut Allocation) {
        let nodes = allocation.nodes.min(self.nodes_free);
        if allocation.nodes > 0 {
            // Whole nodes bring their cores and GPUs along, whatever the allocation says of them.
            self.nodes_free -= nodes;
            self.cores_free = self.cores_free.saturating_sub(nodes.saturating_mul(self.cores_per_node));
            self.gpus_free = self.gpus_free.saturating_sub(nodes.saturating_mul(self.gpus_per_node));
            let rest = allocation.nodes - nodes;
            allocation.cores = if rest == 0 { 0 } else { allocation.cores / allocation.nodes * rest };
            allocation.gpus = if rest == 0 { 0 } else { allocation.gpus / allocation.nodes * rest };
            allocation.nodes = rest;
        } else {
            let (cores, gpus) = (allocation.cores.min(self.cores_free), allocation.gpus.min(self.gpus_free));
            self.cores_free -= cores;
            self.gpus_free -= gpus;
            allocation.cores -= cores;
            allocation.gpus -= gpus;
            // What shares a node uses partly filled nodes first and then breaks whole ones.
            let by_cores = self.cores_free.checked_div(self.cores_per_node).unwrap_or(0);
            let by_gpus = self.gpus_free.checked_div(self.gpus_per_node).unwrap_or(u32::MAX);
            self.nodes_free = self.nodes_free.min(by_cores).min(by_gpus);
        }
    }
}

/// Takes an allocation from the groups: from the first one where it fits whole, ordinary nodes before
/// those with GPUs unless it needs some, else from several. What is not there is not taken.
pub(crate) fn take(groups: &mut [Capacity], allocation: &Allocation) {
    let mut rest = *allocation;
    let mut order: Vec<usize> = (0..groups.len()).collect();
    let wants_gpus = allocation.gpus > 0;
    order.sort_by_key(|&place| (groups[place].gpus_per_node > 0) != wants_gpus);
    if let Some(&place) = order.iter().find(|&&place| groups[place].has_room(allocation)) {
        groups[place].take(&mut rest);
        return;
    }
    for place in order {
        if rest == Allocation::default() {
            return;
        }
        if !wants_gpus || groups[place].gpus_per_node > 0 {
            groups[place].take(&mut rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> [Capacity; 2] {
        let plain = Capacity {
            nodes: 10,
            nodes_free: 4,
            cores_per_node: 32,
            cores_free: 140,
            gpus_per_node: 0,
            gpus_free: 0,
        };
        [plain, Capacity { nodes: 2, nodes_free: 1, cores_free: 40, gpus_per_node: 4, gpus_free: 5, ..plain }]
    }

    #[test]
    fn whole_nodes_take_their_cores_and_gpus() {
        let mut after = groups();
        take(&mut after, &Allocation { nodes: 1, cores: 1, gpus: 2 });
        assert_eq!(after[0], groups()[0]);
        assert_eq!((after[1].nodes_free, after[1].cores_free, after[1].gpus_free), (0, 8, 1));
    }

    #[test]
    fn shared_work_breaks_a_whole_node_only_when_it_must() {
        let mut after = groups();
        take(&mut after, &Allocation { nodes: 0, cores: 12, gpus: 0 });
        assert_eq!((after[0].nodes_free, after[0].cores_free), (4, 128));
        take(&mut after, &Allocation { nodes: 0, cores: 1, gpus: 0 });
        assert_eq!((after[0].nodes_free, after[0].cores_free), (3, 127));
    }

    #[test]
    fn more_than_there_is_leaves_nothing_and_never_less() {
        let mut after = groups();
        take(&mut after, &Allocation { nodes: 999, cores: 999 * 32, gpus: 0 });
        assert!(after.iter().all(|group| group.nodes_free == 0));
        take(&mut after, &Allocation { nodes: 0, cores: u32::MAX, gpus: u32::MAX });
        assert_eq!((after[1].cores_free, after[1].gpus_free), (0, 0));
    }

    #[test]
    fn work_without_gpus_leaves_them_alone_while_it_can() {
        let mut after = groups();
        take(&mut after, &Allocation { nodes: 4, cores: 128, gpus: 0 });
        assert_eq!(after[1], groups()[1]);
        take(&mut after, &Allocation { nodes: 1, cores: 32, gpus: 0 });
        assert_eq!(after[1].nodes_free, 0);
    }
}
