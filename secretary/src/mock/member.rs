//! The simulated providers and their tools: what each is called, what an expert would type for it, and
//! which question each tool asks.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::provider::{Category, ProviderTool};

/// A question that a tool asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    Cpu,
    Memory,
    Gpus,
    QueueDepth,
    Partitions,
    NodeStates,
    EstimateStart,
    Rates,
    Notices,
    FindPackage,
    ListPackages,
    RuntimeInfo,
    FreeSpace,
    LinkRate,
    MpiInfo,
}

/// A tool of a simulated provider.
#[derive(Debug)]
pub(crate) struct MockTool {
    pub(crate) query: Query,
    /// What a real provider would run or read for it.
    pub(crate) source: &'static str,
    pub(crate) tool: ProviderTool,
}

/// A simulated provider.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it knows about.
    pub category: Category,
    tools: Vec<MockTool>,
}

impl Member {
    /// Its read tools.
    pub fn tools(&self) -> impl Iterator<Item = &ProviderTool> {
        self.tools.iter().map(|tool| &tool.tool)
    }

    pub(crate) fn query(&self, tool: &str) -> Option<Query> {
        self.tools.iter().find(|known| known.tool.name == tool).map(|known| known.query)
    }

    pub(crate) fn tool(&self, query: Query) -> Option<&MockTool> {
        self.tools.iter().find(|known| known.query == query)
    }
}

/// The simulated provider of that category and name.
pub(crate) fn find(category: &str, name: &str) -> Option<&'static Member> {
    MEMBERS.iter().find(|member| member.category.as_str() == category && member.name == name)
}

/// Every simulated provider there is.
pub(crate) static MEMBERS: LazyLock<Vec<Member>> = LazyLock::new(|| {
    let mut members = vec![hardware()];
    members.extend(workload());
    members.extend(software());
    members.extend(containers());
    members.extend(storage());
    members.extend(networks());
    members.extend(parallel());
    members
});

fn plain(query: Query, source: &'static str, name: &'static str, text: &'static str) -> MockTool {
    MockTool { query, source, tool: ProviderTool::plain(name, text) }
}

fn with(
    query: Query,
    source: &'static str,
    name: &'static str,
    text: &'static str,
    properties: &Value,
    required: &[&str],
) -> MockTool {
    MockTool { query, source, tool: ProviderTool::new(name, text, properties, required) }
}

fn hardware() -> Member {
    Member {
        name: "hardware",
        category: Category::Hardware,
        tools: vec![
            plain(
                Query::Cpu,
                "simulated lscpu",
                "cpu",
                "Processors of each kind of node: architecture, model, cores of one node. Like lscpu.",
            ),
            plain(
                Query::Memory,
                "simulated /proc/meminfo",
                "memory",
                "Memory of one node of each kind in GiB. Like free.",
            ),
            plain(
                Query::Gpus,
                "simulated NVML",
                "gpus",
                "GPUs of each kind of node: how many in one node, model, memory of one in GiB. Like nvidia-smi.",
            ),
        ],
    }
}

/// Sources of the six questions that every workload manager answers, in the order of [`manager_tools`].
type ManagerSources = [&'static str; 6];

fn workload() -> Vec<Member> {
    let managers: [(&'static str, ManagerSources, [&'static str; 6]); 4] = [
        (
            "slurm",
            [
                "simulated squeue --json",
                "simulated scontrol show partition",
                "simulated sinfo --json",
                "simulated sbatch --test-only",
                "simulated sacctmgr show tres",
                "simulated scontrol show reservation",
            ],
            [
                "How many jobs are pending and running in Slurm. Like squeue.",
                "Slurm partitions and the longest run time that they accept. Like scontrol show partition.",
                "Slurm nodes in groups of equals: how many there are and are idle, free cores and GPUs. Like \
                 sinfo.",
                "When Slurm would start a job of the given size, as seconds that half (p50) and nine in ten \
                 (p90) such starts stay below; null when nobody can tell. Like sbatch --test-only.",
                "What one node, core and GPU cost for one hour here, in US dollars.",
                "Maintenance reservations, drained nodes and other problems that a person would mention. Like \
                 scontrol show reservation.",
            ],
        ),
        (
            "flux",
            [
                "simulated flux jobs -a --json",
                "simulated flux queue list",
                "simulated flux resource list",
                "simulated flux job estimate",
                "simulated flux account view-bank",
                "simulated flux resource drain",
            ],
            [
                "How many jobs are pending and running in Flux. Like flux jobs.",
                "Flux queues and the longest run time that they accept. Like flux queue list.",
                "Flux nodes in groups of equals: how many there are and are free, free cores and GPUs. Like \
                 flux resource list.",
                "When Flux would start a job of the given size, as seconds that half (p50) and nine in ten \
                 (p90) such starts stay below; null when nobody can tell.",
                "What one node, core and GPU cost for one hour here, in US dollars.",
                "Drained nodes, maintenance and other problems that a person would mention. Like flux \
                 resource drain.",
            ],
        ),
        (
            "kubernetes",
            [
                "simulated GET /api/v1/pods",
                "simulated GET /api/v1/namespaces",
                "simulated GET /api/v1/nodes",
                "simulated scheduler dry run",
                "simulated price list",
                "simulated GET /api/v1/events",
            ],
            [
                "How many pods are pending and running in the cluster. Like kubectl get pods.",
                "Node pools of the cluster and the longest run time that they accept. Like kubectl get nodes.",
                "Nodes of the cluster in groups of equals: how many there are and are free, free cores and \
                 GPUs. Like kubectl describe nodes.",
                "When a pod of the given size would be scheduled, as seconds that half (p50) and nine in ten \
                 (p90) such starts stay below; null when nobody can tell.",
                "What one node, core and GPU cost for one hour here, in US dollars.",
                "Cordoned nodes, preemptible pools and other problems that a person would mention. Like \
                 kubectl get events.",
            ],
        ),
        (
            "machine",
            [
                "simulated job table",
                "simulated job table limits",
                "simulated job table slots",
                "simulated job table estimate",
                "simulated price note",
                "simulated system log",
            ],
            [
                "How many jobs wait and run on this machine.",
                "Queues of this machine and the longest run time that they accept.",
                "This machine's cores and GPUs and how many of them are free.",
                "When work of the given size would start on this machine, as seconds that half (p50) and nine \
                 in ten (p90) such starts stay below; null when nobody can tell.",
                "What this machine, one of its cores and one of its GPUs cost for one hour, in US dollars.",
                "Problems of this machine that a person would mention.",
            ],
        ),
    ];
    managers
        .into_iter()
        .map(|(name, sources, texts)| Member {
            name,
            category: Category::Workload,
            tools: manager_tools(sources, texts),
        })
        .collect()
}

fn manager_tools(sources: ManagerSources, texts: [&'static str; 6]) -> Vec<MockTool> {
    let count = |text: &str| {
        json!({"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32,
                                    "description": text})
    };
    let size = json!({
        "nodes": count("whole nodes"),
        "cores": count("cores in total"),
        "gpus": count("GPUs in total"),
        "duration_seconds": {"type": "number", "minimum": 0, "description": "run time"},
    });
    vec![
        plain(Query::QueueDepth, sources[0], "queue_depth", texts[0]),
        plain(Query::Partitions, sources[1], "partitions", texts[1]),
        plain(Query::NodeStates, sources[2], "node_states", texts[2]),
        with(Query::EstimateStart, sources[3], "estimate_start", texts[3], &size, &[]),
        plain(Query::Rates, sources[4], "rates", texts[4]),
        plain(Query::Notices, sources[5], "notices", texts[5]),
    ]
}

fn software() -> Vec<Member> {
    let name = json!({"name": {"type": "string", "minLength": 1, "maxLength": 128,
                               "description": "package name, lower case"}});
    let page = json!({"prefix": {"type": "string", "maxLength": 128,
                                 "description": "only names that start with this"}});
    let one = |member, source, tool, text| (member, source, tool, text);
    let finders = [
        one(
            "spack",
            "simulated spack find --json",
            "find_package",
            "Installed versions of one package in Spack; an empty list means that Spack has none. Like spack \
             find.",
        ),
        one(
            "modules",
            "simulated module spider",
            "module_spider",
            "Versions of one package that can be loaded as a module; an empty list means that there is none. \
             Like module spider.",
        ),
        one(
            "conda",
            "simulated conda list --json",
            "find_package",
            "Installed versions of one package in Conda and the environments that hold them; an empty list \
             means that there is none. Like conda list.",
        ),
        one(
            "pip",
            "simulated pip list --format json",
            "find_package",
            "Installed version of one Python package; an empty list means that there is none. Like pip show.",
        ),
    ];
    let listers = [
        (
            "list_packages",
            "simulated spack find --json",
            "All packages installed with Spack, with versions, at most 500. Like spack find.",
        ),
        (
            "module_avail",
            "simulated module avail",
            "All modules that can be loaded, with versions, at most 500. Like module avail.",
        ),
        (
            "list_packages",
            "simulated conda list --json",
            "All packages in Conda environments, with versions, at most 500. Like conda list.",
        ),
        (
            "list_packages",
            "simulated pip list --format json",
            "All installed Python packages, with versions, at most 500. Like pip list.",
        ),
    ];
    finders
        .into_iter()
        .zip(listers)
        .map(|((member, source, tool, text), (list, list_source, list_text))| Member {
            name: member,
            category: Category::Software,
            tools: vec![
                with(Query::FindPackage, source, tool, text, &name, &["name"]),
                with(Query::ListPackages, list_source, list, list_text, &page, &[]),
            ],
        })
        .collect()
}

fn containers() -> Vec<Member> {
    [
        ("docker", "simulated docker version", "Version of the Docker daemon here. Like docker version."),
        ("podman", "simulated podman --version", "Version of Podman here. Like podman --version."),
        (
            "singularity",
            "simulated singularity --version",
            "Version of Singularity here. Like singularity --version.",
        ),
    ]
    .into_iter()
    .map(|(name, source, text)| Member {
        name,
        category: Category::Container,
        tools: vec![plain(Query::RuntimeInfo, source, "runtime_info", text)],
    })
    .collect()
}

fn storage() -> Vec<Member> {
    [
        (
            "lustre",
            "simulated lfs df",
            "Lustre file systems with size and free space in GiB, and known problems. Like lfs df.",
        ),
        (
            "nfs",
            "simulated statvfs",
            "NFS mounts with size and free space in GiB, and known problems. Like df.",
        ),
        (
            "local-scratch",
            "simulated statvfs",
            "Local scratch disks with size and free space in GiB, and known problems. Like df.",
        ),
        ("s3", "simulated ListBuckets", "S3 buckets with quota and free space in GiB, and known problems."),
    ]
    .into_iter()
    .map(|(name, source, text)| Member {
        name,
        category: Category::Storage,
        tools: vec![plain(Query::FreeSpace, source, "free_space", text)],
    })
    .collect()
}

fn networks() -> Vec<Member> {
    [
        ("infiniband", "simulated ibstat", "InfiniBand link rate between the nodes in Gb/s. Like ibstat."),
        ("omni-path", "simulated opainfo", "Omni-Path link rate between the nodes in Gb/s. Like opainfo."),
        ("ethernet", "simulated ethtool", "Ethernet link rate between the nodes in Gb/s. Like ethtool."),
    ]
    .into_iter()
    .map(|(name, source, text)| Member {
        name,
        category: Category::Network,
        tools: vec![plain(Query::LinkRate, source, "link_rate", text)],
    })
    .collect()
}

fn parallel() -> Vec<Member> {
    [
        ("openmpi", "simulated ompi_info", "Version of Open MPI here. Like ompi_info."),
        ("mpich", "simulated mpichversion", "Version of MPICH here. Like mpichversion."),
    ]
    .into_iter()
    .map(|(name, source, text)| Member {
        name,
        category: Category::Parallel,
        tools: vec![plain(Query::MpiInfo, source, "mpi_info", text)],
    })
    .collect()
}
