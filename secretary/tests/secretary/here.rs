use std::sync::Arc;
use std::time::Duration;

use protocol::clock::SystemClock;
use secretary::provider::{Probe, Provider};
use secretary::providers::{Providers, detect, real_providers};
use secretary::real::host::Host;
use secretary::real::pip::Pip;
use serde_json::{Map, json};
use tokio::time::Instant;

use crate::support::{Desk, call, requirement, within};

#[tokio::test]
async fn this_machine_has_cores_memory_and_a_disk() {
    let providers = Providers::real(&Host::this(), Some(Arc::new(Desk)), Arc::new(SystemClock)).await;
    let call = call(requirement(json!({"software": [{"name": "bash"}]})));
    let found = providers.investigate(&call, &[], within(20.0)).await;
    let group = &found.facts.compute.as_ref().unwrap().groups[0];
    assert!((1..10_000).contains(&group.cores_per_node), "{group:?}");
    assert!(group.memory_gib_per_node.unwrap().get() > 0.1, "{group:?}");
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
    assert_eq!(
        names,
        [
            "cpu",
            "memory",
            "nvidia-gpu",
            "amd-gpu",
            "command",
            "spack",
            "modules",
            "conda",
            "pip",
            "docker",
            "podman",
            "singularity",
            "apptainer",
            "charliecloud",
            "shifter",
            "openmpi",
            "mpich",
            "spectrum-mpi",
            "disks",
            "infiniband",
            "omni-path",
            "ethernet",
        ]
    );
    let cpu = &detected[0].1;
    assert!(
        cpu.present && cpu.metadata["cores_usable"].is_number() && cpu.tools.contains(&"cpu_cpu".to_owned())
    );
    let json = serde_json::to_value(cpu).unwrap();
    assert_eq!(json["category"], "hardware");
}

/// Whatever of the tools is installed here is asked for real: it answers, or says in a sentence why not.
#[tokio::test]
async fn every_tool_of_what_is_here_answers_in_time() {
    let detected = detect(real_providers(&Host::this(), Some(Arc::new(Desk)))).await;
    for (provider, detection) in detected.iter().filter(|(_, detection)| detection.present) {
        assert!(!detection.metadata.is_null(), "{}", provider.name());
        for tool in provider.tools().iter().filter(|tool| !tool.input_schema.contains_key("required")) {
            let asked = Instant::now();
            let answer = provider.call(tool.name, &Map::new(), within(30.0)).await;
            let name = format!("{}.{}", provider.name(), tool.name);
            assert!(asked.elapsed() < Duration::from_secs(31), "{name}: {:?}", asked.elapsed());
            match answer {
                Ok(answer) => assert!(!answer.value.is_null() && !answer.source.is_empty(), "{name}"),
                Err(error) => assert!(!error.in_full().is_empty(), "{name}"),
            }
        }
    }
}
