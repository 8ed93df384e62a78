use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::Scope;
use protocol::proposal::Verdict;
use secretary::detection::Detection;
use secretary::program::SearchPath;
use secretary::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader};
use secretary::providers::{Providers, detect, real_providers};
use secretary::real::host::{Host, Space, SpaceReader};
use secretary::rules::propose;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::support::{Desk, Thousand, call, clock, recorded, requirement, within};

/// Never answers.
struct Dead;

#[async_trait]
impl Provider for Dead {
    fn name(&self) -> &'static str {
        "dead"
    }

    fn category(&self) -> Category {
        Category::Software
    }

    async fn probe(&self, _probe: &Probe) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn metadata(&self, _deadline: Instant) -> Result<Value, ProviderError> {
        Ok(Value::Null)
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain("wait", "Waits for ever.")]
    }

    async fn call(&self, _: &str, _: &Map<String, Value>, _: Instant) -> Result<Answer, ProviderError> {
        std::future::pending().await
    }

    async fn observe(&self, _call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        reader.ask::<Value>("wait", json!({})).await.map(|_| ())
    }
}

/// Fails in a way that nobody foresaw.
struct Broken;

#[async_trait]
impl Provider for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn category(&self) -> Category {
        Category::Container
    }

    async fn probe(&self, _probe: &Probe) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn metadata(&self, _deadline: Instant) -> Result<Value, ProviderError> {
        Ok(Value::Null)
    }

    fn tools(&self) -> Vec<ProviderTool> {
        Vec::new()
    }

    async fn call(&self, tool: &str, _: &Map<String, Value>, _: Instant) -> Result<Answer, ProviderError> {
        Err(ProviderError::UnknownTool(tool.to_owned()))
    }

    async fn observe(&self, _call: &Call, _reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        panic!("as planned")
    }
}

fn here(provider: Arc<dyn Provider>) -> (Arc<dyn Provider>, Detection) {
    let detection = Detection {
        category: provider.category(),
        name: provider.name().to_owned(),
        present: true,
        scope: Scope::Host,
        metadata: Value::Null,
        tools: Vec::new(),
        problem: None,
        elapsed_seconds: 0.0,
    };
    (provider, detection)
}

#[tokio::test]
async fn a_provider_that_never_answers_costs_its_own_time_and_leaves_unknown_facts() {
    let mut detected = detect(real_providers(&recorded("two-sockets"), Some(Arc::new(Desk)))).await;
    detected.push(here(Arc::new(Dead)));
    detected.push(here(Arc::new(Broken)));
    let providers = Providers::of(detected, clock());
    let call = call(requirement(json!({"software": [{"name": "lammps"}], "compute": {"cores": 1}})));
    let asked = Instant::now();
    let found = providers.investigate(&call, &[], within(1.0)).await;
    let took = asked.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&took), "{took:?}");
    assert!(found.facts.compute.is_some() && found.facts.storage.is_some());
    // The search path had no lammps, but the other provider of packages might have it.
    assert_eq!(found.facts.software, None);
    assert!(found.facts.provenance["dead"].problem.as_ref().unwrap().contains("in time"));
    assert!(found.facts.provenance["broken"].problem.is_some());
    assert!(found.calls.iter().any(|call| call.provider == "dead"));
    let proposal = propose(&call, &found.facts, found.calls, None);
    assert_eq!(proposal.verdict, Verdict::Unknown, "{proposal:?}");
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_does_not_hang_the_secretary() {
    let directory = tempfile::tempdir().unwrap();
    let process = directory.path().join("proc");
    std::fs::create_dir_all(process.join("self")).unwrap();
    std::fs::write(process.join("cpuinfo"), "processor\t: 0\nflags\t: avx\n").unwrap();
    std::fs::write(process.join("self/mountinfo"), "1 0 8:1 / / rw - ext4 /dev/sda rw\n").unwrap();
    let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
    nix::unistd::mkfifo(&process.join("meminfo"), mode).unwrap();
    let host = Host::at(directory.path(), SearchPath::parse(""));
    let candidates = real_providers(&host, Some(Arc::new(Desk)));
    let memory = Arc::clone(&candidates[1]);
    let asked = Instant::now();
    // Detection gives it 3 s and goes on without it.
    let mut detected = detect(candidates).await;
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert!(!detected[1].1.present);
    detected.push(here(memory));
    let providers = Providers::of(detected, clock());
    for _ in 0..4 {
        let asked = Instant::now();
        let found = providers.investigate(&call(requirement(json!({}))), &[], within(1.0)).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        // A node whose memory nobody knows is not a node with none.
        assert_eq!(found.facts.compute.unwrap().groups[0].memory_gib_per_node, None);
        assert!(found.facts.storage.is_some());
        assert!(found.facts.provenance["memory"].problem.is_some());
    }
}

/// Hangs at one mount.
struct DeadMount;

impl SpaceReader for DeadMount {
    fn space(&self, path: &Path) -> std::io::Result<Space> {
        if path.ends_with("scratch") {
            std::thread::sleep(Duration::from_secs(3600));
        }
        Thousand.space(path)
    }
}

#[tokio::test]
async fn a_dead_mount_is_unknown_and_the_others_answer() {
    let mut host = recorded("two-sockets");
    host.space = Arc::new(DeadMount);
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let need = requirement(json!({"storage": [{"kind": "lustre", "free_gib": 10}]}));
    for _ in 0..4 {
        let found = providers.investigate(&call(need.clone()), &[], within(1.0)).await;
        let storage = found.facts.storage.as_ref().unwrap();
        assert_eq!(storage.len(), 5);
        for system in storage {
            assert_eq!(system.free_gib.is_none(), system.path == "/scratch", "{system:?}");
        }
        assert!(found.facts.provenance["disks"].problem.as_ref().unwrap().contains("/scratch"));
        let proposal = propose(&call(need.clone()), &found.facts, Vec::new(), None);
        assert_eq!(proposal.verdict, Verdict::Unknown);
    }
}

#[tokio::test]
async fn a_program_that_hangs_is_unknown_software() {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\nsleep 3600\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&python, executable).unwrap();
    let mut host = recorded("two-sockets");
    host.path = SearchPath::parse(&format!("{}:/usr/bin:/bin", directory.path().display()));
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let need = requirement(json!({"software": [{"name": "python", "constraint": ">=3.9"}]}));
    let found = providers.investigate(&call(need.clone()), &[], within(1.5)).await;
    assert!(found.facts.provenance["command"].problem.is_some());
    let proposal = propose(&call(need), &found.facts, Vec::new(), None);
    assert_eq!(proposal.verdict, Verdict::Unknown, "{proposal:?}");
}
