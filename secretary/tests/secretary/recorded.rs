use std::sync::Arc;

use protocol::facts::{Allocation, FileSystem, FlagKind, Scope};
use protocol::ids::ProposalId;
use protocol::units::{GiB, Number};
use secretary::provider::Category;
use secretary::providers::{Moment, Providers};
use secretary::real::cpu::{read_cpu, read_numa};
use secretary::real::gpu::read_gpus;
use secretary::real::host::Tree;
use secretary::real::links::read_links;
use secretary::real::memory::read_memory;
use serde_json::json;

use crate::support::{Desk, FourNodes, call, check_names, clock, recorded, requirement, tree, within};

#[test]
fn a_node_with_two_sockets() {
    let mut tree = Tree::new(&tree("two-sockets"));
    let cpu = read_cpu(&mut tree).unwrap();
    assert_eq!(cpu.architecture, "x86_64");
    assert_eq!(cpu.model.as_deref(), Some("Intel(R) Xeon(R) Platinum 8480C"));
    assert_eq!((cpu.sockets, cpu.cores_physical, cpu.cores_logical), (Some(2), Some(4), 8));
    // Seven are allowed, and the group of the user has time for four and a half.
    assert_eq!((cpu.cgroup_cpus, cpu.cores_usable), (Some(4.5), 4));
    assert_eq!(cpu.numa_nodes, Some(2));
    assert_eq!(
        cpu.flags,
        ["sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "amx_tile", "aes"]
    );
    let memory = read_memory(&mut tree).unwrap();
    assert_eq!(memory.cgroup_gib, Some(GiB::from(64)));
    assert_eq!(memory.usable_gib, GiB::from(64));
    // The machine has 384 GiB to give, the group 64, of which 25 are held by more than remembered files.
    assert_eq!(memory.available_gib, Some(GiB::from(39)));
    let numa = read_numa(&mut tree);
    assert_eq!((numa.len(), numa[1].threads.as_str(), &numa[1].distances[..]), (2, "4-7", &[21, 10][..]));
    assert_eq!(numa[0].memory_free_gib.map(GiB::get), Some(95.367));
}

#[test]
fn a_container_on_arm() {
    let mut tree = Tree::new(&tree("arm-container"));
    let cpu = read_cpu(&mut tree).unwrap();
    assert_eq!((cpu.architecture.as_str(), cpu.cores_logical, cpu.cores_usable), ("aarch64", 4, 1));
    assert_eq!((cpu.cores_physical, cpu.numa_nodes), (None, None));
    assert_eq!(cpu.flags, ["aes", "asimd", "asimdhp", "sve"]);
    assert_eq!(read_memory(&mut tree).unwrap().usable_gib, GiB::from(2));
    let gpus = read_gpus(&mut tree, "amd").gpus;
    assert_eq!(gpus.len(), 1);
    assert_eq!(gpus[0].model.as_deref(), Some("mi300x"));
    assert_eq!(gpus[0].memory_gib.map(GiB::get), Some(191.984));
    assert!(read_gpus(&mut tree, "nvidia").gpus.is_empty());
}

#[test]
fn links_are_told_apart() {
    let mut node = Tree::new(&tree("two-sockets"));
    let ethernet = read_links(&mut node, "ethernet");
    // The bond repeats its member; IP over InfiniBand is no Ethernet; docker0 leads nowhere.
    let shown: Vec<_> = ethernet.iter().map(|link| (link.device.as_str(), link.up, link.gbps)).collect();
    assert_eq!(shown, [("eno1", true, Some(Number::from(25))), ("eno2", false, None)]);
    let infiniband = read_links(&mut node, "infiniband");
    assert_eq!(infiniband.len(), 1);
    assert_eq!((infiniband[0].up, infiniband[0].gbps), (true, Some(Number::from(200))));
    assert_eq!(infiniband[0].state.as_deref(), Some("4: ACTIVE"));
    assert_eq!(infiniband[0].physical_state.as_deref(), Some("5: LinkUp"));
    assert_eq!((ethernet[0].mtu_bytes, ethernet[1].state.as_deref()), (Some(9000), Some("down")));
    assert!(read_links(&mut node, "omni-path").is_empty());
    let mut container = Tree::new(&tree("arm-container"));
    assert_eq!(read_links(&mut container, "omni-path")[0].gbps, Some(Number::from(100)));
    let virtual_link = &read_links(&mut container, "ethernet")[0];
    assert_eq!((virtual_link.up, virtual_link.gbps, virtual_link.physical), (true, None, false));
}

#[tokio::test]
async fn the_facts_of_a_machine_that_is_its_own_site() {
    let providers = Providers::real(&recorded("two-sockets"), Some(Arc::new(Desk)), clock()).await;
    let call = call(requirement(json!({
        "compute": {"cores": 4, "gpus": {"count": 1, "model": "h100"}}, "network": ["infiniband"], "mpi": true,
    })));
    let found = providers.investigate(&call, &[], within(20.0)).await;
    let facts = &found.facts;
    assert!(facts.host.is_empty());
    assert!(facts.provenance.values().all(|provenance| provenance.scope == Scope::Site));
    let group = &facts.compute.as_ref().unwrap().groups[0];
    assert_eq!((group.nodes, group.nodes_free), (1, Some(0)));
    assert_eq!((group.cores_per_node, group.cores_free), (4, Some(3)));
    assert_eq!(group.memory_gib_per_node, Some(GiB::from(64)));
    assert_eq!((group.gpus_per_node, group.gpus_free), (2, Some(1)));
    assert_eq!((group.gpu_model.as_deref(), group.gpu_memory_gib), (Some("h100"), None));
    let workload = facts.workload.as_ref().unwrap();
    assert_eq!(
        (workload.manager.as_str(), workload.queue_depth, workload.running),
        ("machine", Some(2), Some(1))
    );
    assert_eq!(workload.start.unwrap().p90.get(), 1200.0);
    let kinds: Vec<_> = facts.networks.iter().flatten().map(|fabric| fabric.kind.as_str()).collect();
    assert_eq!(kinds, ["infiniband", "ethernet"]);
    // Nobody asked for software; the look for MPI found none.
    assert_eq!(facts.software, None);
    assert_eq!(facts.mpi, Some(Vec::new()));
    let storage: Vec<_> = facts
        .storage
        .iter()
        .flatten()
        .map(|system| (system.kind.as_str(), system.path.as_str(), system.free_gib.map(GiB::get)))
        .collect();
    assert_eq!(
        storage,
        [
            ("local-scratch", "/", Some(400.0)),
            ("beegfs", "/data sets", Some(400.0)),
            ("nfs", "/home", Some(400.0)),
            ("lustre", "/scratch", Some(400.0)),
            ("nfs", "/sw", Some(0.0)),
        ]
    );
    assert_eq!(facts.flags.len(), 1);
    assert_eq!(facts.flags[0].kind, FlagKind::QuotaNear);
    assert_eq!(facts.provenance["cpu"].source, "/proc/cpuinfo");
    assert!(facts.provenance.values().all(|source| source.digest.is_some()));
    // The tree has the kernel's files and no NVML, which is said.
    let problems = facts.provenance.iter().filter(|(_, source)| source.problem.is_some());
    assert_eq!(problems.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["nvidia-gpu"]);
    // The trace names every look once, in the order of the providers.
    let trace: Vec<String> =
        found.calls.iter().map(|call| format!("{}.{}", call.provider, call.function)).collect();
    assert_eq!(
        trace,
        [
            "cpu.cpu",
            "memory.memory",
            "nvidia-gpu.gpus",
            "machine.capacity",
            "machine.estimate_start",
            "disks.free_space",
            "disks.quota",
            "infiniband.link_rate",
            "ethernet.link_rate",
        ]
    );
    assert_eq!(found.calls[4].args, json!({"nodes": 0, "cores": 4, "gpus": 1}));
}

#[tokio::test]
async fn what_a_login_node_has_is_not_what_the_nodes_have() {
    let asked = requirement(json!({
        "compute": {"nodes": 2}, "network": ["infiniband"], "storage": [{"kind": "lustre"}], "mpi": true,
    }));
    let look = async |has_this_machine| {
        let manager = Arc::new(FourNodes { has_this_machine });
        let providers = Providers::real(&recorded("two-sockets"), Some(manager), clock()).await;
        providers.investigate(&call(asked.clone()), &[], within(20.0)).await.facts
    };
    let facts = look(false).await;
    let reasons = matching::unmet::unmet(&asked, &facts);
    let said: Vec<&str> = reasons.iter().map(|reason| reason.had.as_str()).collect();
    assert_eq!(
        said,
        [
            "network unknown: only the worker's own machine was seen",
            "mpi unknown: only the worker's own machine was seen",
        ]
    );
    assert_eq!(facts.compute.as_ref().unwrap().groups[0].nodes, 4);
    let paths = |systems: &Option<Vec<FileSystem>>| -> Vec<String> {
        systems.iter().flatten().map(|system| system.path.clone()).collect()
    };
    // What is reached over a network is there for the nodes, too.
    assert_eq!(paths(&facts.storage), ["/data sets", "/home", "/scratch", "/sw"]);
    assert_eq!(paths(&facts.host.storage), ["/"]);
    assert_eq!((facts.networks, facts.mpi), (None, None));
    assert_eq!(facts.host.mpi, Some(Vec::new()));
    let scopes: Vec<(&str, Scope)> =
        facts.provenance.iter().map(|(name, source)| (name.as_str(), source.scope)).collect();
    assert!(scopes.contains(&("cpu", Scope::Host)) && scopes.contains(&("slurm", Scope::Site)), "{scopes:?}");

    let facts = look(true).await;
    let reasons = matching::unmet::unmet(&asked, &facts);
    assert_eq!(reasons.iter().map(|reason| reason.had.as_str()).collect::<Vec<_>>(), ["none"]);
    assert!(facts.host.is_empty());
    assert!(facts.provenance.values().all(|source| source.scope == Scope::Site));
}

#[tokio::test]
async fn software_on_a_shared_file_system_is_the_sites() {
    let host = recorded("two-sockets");
    for (place, expected) in
        [("/sw/modules", Scope::Site), ("/usr/bin/conda", Scope::Host), ("/swap/modules", Scope::Host)]
    {
        assert_eq!(host.scope_of(vec![place.into()], within(20.0)).await, expected, "{place}");
    }
}

#[tokio::test]
async fn held_capacity_is_not_free() {
    let providers = Providers::real(&recorded("two-sockets"), Some(Arc::new(Desk)), clock()).await;
    let held = [(ProposalId::parse("prop-9").unwrap(), Allocation { nodes: 0, cores: 2, gpus: 1 })];
    let found = providers.investigate(&call(requirement(json!({}))), &held, within(20.0)).await;
    let group = &found.facts.compute.unwrap().groups[0];
    assert_eq!((group.nodes_free, group.cores_free, group.gpus_free), (Some(0), Some(1), Some(0)));
}

#[tokio::test]
async fn tools_can_be_called_by_their_outside_names() {
    let providers = Providers::real(&recorded("two-sockets"), Some(Arc::new(Desk)), clock()).await;
    let tools = providers.tools();
    check_names(&tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>());
    for tool in &tools {
        let args = match tool.name.as_str() {
            "command_find_program" => json!({"name": "python"}),
            _ => json!({}),
        };
        let result =
            providers.call(&tool.name, args.as_object().unwrap(), Moment::default(), within(10.0)).await;
        assert!(result.is_ok(), "{}: {result:?}", tool.name);
        let odd = json!({"nonsense": 1});
        let refused =
            providers.call(&tool.name, odd.as_object().unwrap(), Moment::default(), within(10.0)).await;
        assert!(refused.is_err(), "{}", tool.name);
    }
    let nobody =
        providers.call("cpu_format_disk", &serde_json::Map::new(), Moment::default(), within(1.0)).await;
    assert!(nobody.is_err());
    let one = json!({"path": "/scratch/me"});
    let spaces =
        providers.call("disks_free_space", one.as_object().unwrap(), Moment::default(), within(10.0));
    assert_eq!(spaces.await.unwrap()[0]["kind"], "lustre");
}

#[tokio::test]
async fn the_manifest_lists_what_is_there() {
    let providers = Providers::real(&recorded("arm-container"), Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.workload(), Some("machine"));
    assert_eq!(providers.names(Category::Hardware), ["cpu", "memory", "amd-gpu"]);
    assert_eq!(providers.names(Category::Network), ["omni-path", "ethernet"]);
    assert!(providers.names(Category::Container).is_empty());
    let metadata = providers.metadata();
    assert_eq!(metadata["hardware"]["cpu"]["cores_usable"], 1);
    assert_eq!(metadata["storage"]["disks"]["mounts"][0]["path"], "/");
    assert_eq!(providers.registry()["workload"][0], "machine.capacity");
}
