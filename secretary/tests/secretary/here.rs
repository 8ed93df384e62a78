use std::sync::Arc;

use protocol::clock::SystemClock;
use secretary::provider::{Probe, Provider};
use secretary::providers::{Providers, detect, real_providers};
use secretary::real::host::Host;
use secretary::real::pip::Pip;
use serde_json::{Map, json};

use crate::support::{Desk, call, requirement, within};

#[tokio::test]
async fn this_machine_has_cores_memory_and_a_disk() {
    let providers = Providers::real(&Host::this(), Some(Arc::new(Desk)), Arc::new(SystemClock)).await;
    let call = call(requirement(json!({"software": [{"name": "bash"}]})));
    let found = providers.investigate(&call, &[], within(20.0)).await;
    let group = &found.facts.compute.as_ref().unwrap().groups[0];
    assert!((1..10_000).contains(&group.cores_per_node), "{group:?}");
    assert!(group.memory_gib_per_node.get() > 0.1, "{group:?}");
    assert!(group.architecture.is_some());
    let disks = found.facts.storage.as_ref().unwrap();
    assert!(disks.iter().any(|disk| disk.total_gib.is_some_and(|size| size.get() > 0.1)), "{disks:?}");
    let software = found.facts.software.as_ref().unwrap();
    let bash = software.iter().find(|package| package.name == "bash").unwrap();
    assert!(bash.version.contains('.'), "{bash:?}");
    assert!(!found.calls.is_empty());
}

#[tokio::test]
async fn python_packages_are_listed_where_there_is_a_python() {
    let pip = Pip::new(Host::this());
    if !pip.probe(&Probe { deadline: within(30.0) }).await.unwrap() {
        return;
    }
    let listed = pip.call("list_packages", &Map::new(), within(30.0)).await.unwrap();
    assert_eq!(
        listed.value["packages"].as_array().unwrap().len() as u64,
        listed.value["total"].as_u64().unwrap().min(500)
    );
    let args = json!({"name": "surely-not-installed"});
    let found = pip.call("find_package", args.as_object().unwrap(), within(30.0)).await.unwrap();
    assert_eq!(found.value, json!([]));
    assert_eq!(found.digest, listed.digest);
}

#[tokio::test]
async fn every_provider_is_looked_for() {
    let detected = detect(real_providers(&Host::this(), None)).await;
    let names: Vec<&str> = detected.iter().map(|(_, detection)| detection.name.as_str()).collect();
    for name in ["cpu", "memory", "nvidia-gpu", "command", "pip", "docker", "openmpi", "disks", "ethernet"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let cpu = &detected[0].1;
    assert!(
        cpu.present && cpu.metadata["cores_usable"].is_number() && cpu.tools.contains(&"cpu_cpu".to_owned())
    );
    let json = serde_json::to_value(cpu).unwrap();
    assert_eq!(json["category"], "hardware");
}
