use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocol::facts::FlagKind;
use protocol::units::GiB;
use secretary::program::SearchPath;
use secretary::provider::{Category, Probe, Provider};
use secretary::providers::Providers;
use secretary::real::gpu::nvml::{
    DeviceAnswer, MemoryAnswer, MigAnswer, NvmlAnswer, NvmlFailure, NvmlReader, ProcessAnswer, Refusal, Said,
    SystemNvml, interpret,
};
use secretary::real::gpu::{Gpus, cuda_devices, parse_rocm_smi, parts};
use secretary::real::host::Host;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::mutation::mutated;
use crate::replay::{Programs, recording, says};
use crate::support::{Desk, call, clock, recorded, requirement, tree, within};

const H100: u64 = 85_520_809_984;

struct Says(Result<NvmlAnswer, NvmlFailure>);

impl NvmlReader for Says {
    fn read(&self) -> Result<NvmlAnswer, NvmlFailure> {
        self.0.clone()
    }
}

struct Hangs;

impl NvmlReader for Hangs {
    fn read(&self) -> Result<NvmlAnswer, NvmlFailure> {
        std::thread::sleep(Duration::from_secs(3600));
        Err(NvmlFailure::Absent(String::new()))
    }
}

fn process(pid: u32, memory: u64) -> ProcessAnswer {
    ProcessAnswer { pid, name: Some("python3".to_owned()), memory: Some(memory) }
}

fn h100(free: u64, processes: Vec<ProcessAnswer>) -> DeviceAnswer {
    DeviceAnswer {
        name: Ok("NVIDIA H100 80GB HBM3".to_owned()),
        uuid: Ok("GPU-5e3b0d9c".to_owned()),
        memory: Ok(MemoryAnswer { total: H100, free }),
        utilisation: Ok(87),
        temperature: Ok(61),
        power: Ok(412_345),
        compute_capability: Ok((9, 0)),
        mig_mode: Ok(false),
        mig: Vec::new(),
        processes: Ok(processes),
        nvlinks: Ok(18),
    }
}

fn answer(devices: Vec<Said<DeviceAnswer>>) -> NvmlAnswer {
    NvmlAnswer { driver: Ok("550.90.07".to_owned()), cuda: Ok(12_040), devices }
}

fn nvidia(host: &Host) -> Gpus {
    Gpus::all(host).into_iter().next().unwrap()
}

fn machine(said: Result<NvmlAnswer, NvmlFailure>) -> Host {
    let mut host = recorded("two-sockets");
    host.nvml = Arc::new(Says(said));
    host
}

#[tokio::test]
async fn what_nvml_says_becomes_facts() {
    let busy = h100(20 << 30, vec![process(4711, 60 << 30)]);
    let host = machine(Ok(answer(vec![Ok(busy), Ok(h100(H100 - (600 << 20), Vec::new()))])));
    let gpus = nvidia(&host);
    let read = gpus.call("gpus", &Map::new(), within(10.0)).await.unwrap();
    assert_eq!((read.source.as_str(), read.problems.len()), ("NVML", 0));
    assert_eq!((&read.value["driver"], &read.value["cuda"]), (&json!("550.90.07"), &json!("12.4")));
    let first = &read.value["gpus"][0];
    assert_eq!(first["product"], "NVIDIA H100 80GB HBM3");
    assert_eq!((&first["memory_gib"], &first["memory_free_gib"]), (&json!(79.647), &json!(20)));
    assert_eq!((&first["power_watts"], &first["temperature_celsius"]), (&json!(412.345), &json!(61)));
    assert_eq!((&first["compute_capability"], &first["nvlinks_up"]), (&json!("9.0"), &json!(18)));
    let running = gpus.call("processes", &Map::new(), within(10.0)).await.unwrap().value;
    assert_eq!(
        running,
        json!({"processes": [{"gpu": 0, "pid": 4711, "name": "python3", "memory_gib": 60}], "unknown": []})
    );
    let metadata = gpus.metadata(within(10.0)).await.unwrap();
    assert_eq!(metadata["gpus"][1]["compute_capability"], "9.0");
    assert!(metadata["gpus"][1].get("processes").is_none());

    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let need = requirement(json!({"compute": {"gpus": {"count": 1, "model": "h100"}}}));
    let found = providers.investigate(&call(need), &[], within(20.0)).await;
    let group = &found.facts.compute.as_ref().unwrap().groups[0];
    assert_eq!((group.gpus_per_node, group.gpus_free), (2, Some(1)));
    assert_eq!(group.gpu_model.as_deref(), Some("h100"));
    assert_eq!(group.gpu_memory_gib.map(GiB::get), Some(79.647));
    assert_eq!(found.facts.provenance["nvidia-gpu"].source, "NVML");
}

#[test]
fn free_means_no_compute_process_and_enough_memory() {
    let reading = |device| interpret(answer(vec![Ok(device)])).0;
    let free = |device, needed: Option<u32>| parts(&reading(device), needed.map(GiB::from))[0].free;
    assert_eq!(free(h100(H100, Vec::new()), None), Some(1));
    // Somebody's memory is still taken, as by a process of another container that nobody shows.
    assert_eq!(free(h100(H100 / 2, Vec::new()), None), Some(0));
    assert_eq!(free(h100(H100 / 2, Vec::new()), Some(30)), Some(1));
    assert_eq!(free(h100(H100 / 2, Vec::new()), Some(50)), Some(0));
    assert_eq!(free(h100(H100, vec![process(1, 1)]), Some(1)), Some(0));
    let untold = DeviceAnswer { processes: Err(Refusal::NotSupported), ..h100(H100, Vec::new()) };
    assert_eq!(free(untold, None), None);
}

#[test]
fn instances_are_devices_of_their_own_and_no_whole_gpus() {
    let instance = |processes: Vec<ProcessAnswer>| MigAnswer {
        name: Ok("NVIDIA H100 80GB HBM3 MIG 1g.10gb".to_owned()),
        uuid: Ok("MIG-1".to_owned()),
        memory: Ok(MemoryAnswer { total: 10 << 30, free: 10 << 30 }),
        processes: Ok(processes),
    };
    let cut = DeviceAnswer {
        mig_mode: Ok(true),
        mig: vec![instance(Vec::new()), instance(vec![process(3, 1 << 30)]), instance(Vec::new())],
        processes: Err(Refusal::Failed("no permission".to_owned())),
        ..h100(H100, Vec::new())
    };
    let (reading, problems) = interpret(answer(vec![Ok(cut), Ok(h100(H100, Vec::new()))]));
    assert!(problems.is_empty(), "{problems:?}");
    let parts = parts(&reading, None);
    let shown: Vec<_> = parts.iter().map(|part| (part.count, part.free, part.model.as_deref())).collect();
    assert_eq!(shown, [(1, Some(1), Some("h100")), (3, Some(2), Some("mig-1g.10gb"))]);
    assert_eq!(parts[1].memory_gib, Some(GiB::from(10)));
}

#[test]
fn a_job_gets_devices_by_name_and_only_those_that_this_process_sees() {
    let named = |uuid: &str, processes| DeviceAnswer { uuid: Ok(uuid.to_owned()), ..h100(H100, processes) };
    let cut = DeviceAnswer {
        mig_mode: Ok(true),
        mig: vec![MigAnswer {
            name: Ok("NVIDIA H100 80GB HBM3 MIG 1g.10gb".to_owned()),
            uuid: Ok("MIG-aa".to_owned()),
            memory: Ok(MemoryAnswer { total: 10 << 30, free: 10 << 30 }),
            processes: Err(Refusal::NotSupported),
        }],
        ..named("GPU-cut", Vec::new())
    };
    let unnamed = DeviceAnswer { uuid: Err(Refusal::NotSupported), ..h100(H100, Vec::new()) };
    let all =
        vec![Ok(named("GPU-aa", vec![process(1, 1)])), Ok(cut), Ok(unnamed), Ok(named("GPU-bb", Vec::new()))];
    let (reading, _) = interpret(answer(all));
    let devices = |visible| -> Vec<(String, Option<bool>)> {
        cuda_devices(&reading, visible).into_iter().map(|device| (device.id, device.is_busy)).collect()
    };
    let device = |id: &str, busy| (id.to_owned(), busy);
    let (first, part) = (device("GPU-aa", Some(true)), device("MIG-aa", None));
    let (third, last) = (device("2", Some(false)), device("GPU-bb", Some(false)));
    assert_eq!(devices(None), [first.clone(), part.clone(), third.clone(), last.clone()]);
    for (visible, expected) in [
        ("", vec![]),
        ("-1", vec![]),
        ("3,0", vec![last.clone(), first.clone()]),
        (" GPU-bb , MIG-aa", vec![last, part]),
        ("2,7,0", vec![third]),
        ("GPU-a", vec![first]),
        ("GPU-zz,0", vec![]),
    ] {
        assert_eq!(devices(Some(visible)), expected, "{visible:?}");
    }
}

#[tokio::test]
async fn a_lost_gpu_is_told_and_not_counted() {
    let lost = Err(Refusal::Failed("device fell off the bus".to_owned()));
    let host = machine(Ok(answer(vec![lost, Ok(h100(H100, Vec::new()))])));
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let found = providers.investigate(&call(requirement(json!({}))), &[], within(20.0)).await;
    assert_eq!(found.facts.compute.unwrap().groups[0].gpus_per_node, 1);
    let flag = found.facts.flags.iter().find(|flag| flag.kind == FlagKind::Degraded).unwrap();
    assert_eq!(flag.evidence, "GPU 0: device fell off the bus");
}

#[tokio::test]
async fn without_nvml_the_kernels_files_count_and_the_rest_is_unknown() {
    for said in [NvmlFailure::Absent("no library".to_owned()), NvmlFailure::Failed("mismatch".to_owned())] {
        let host = machine(Err(said));
        let gpus = nvidia(&host);
        assert!(gpus.probe(&Probe { deadline: within(10.0) }).await.unwrap());
        let read = gpus.call("gpus", &Map::new(), within(10.0)).await.unwrap();
        assert_eq!((read.source.as_str(), read.problems.len()), ("/proc/driver/nvidia", 1));
        let gpus = read.value["gpus"].as_array().unwrap();
        assert_eq!(gpus.len(), 2);
        assert!(gpus.iter().all(|gpu| gpu["memory_gib"].is_null() && gpu["processes"].is_null()));
    }
    // Neither the library nor a device: there is nothing to say, and no problem either.
    let nothing = recorded("arm-container");
    let gpus = nvidia(&nothing);
    assert!(!gpus.probe(&Probe { deadline: within(10.0) }).await.unwrap());
    assert!(gpus.call("gpus", &Map::new(), within(10.0)).await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_hanging_driver_costs_its_deadline_and_then_nothing() {
    let mut host = recorded("two-sockets");
    host.nvml = Arc::new(Hangs);
    let gpus = nvidia(&host);
    for look in 0..4 {
        let asked = Instant::now();
        let read = gpus.call("gpus", &Map::new(), within(2.0)).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(read.value["gpus"].as_array().unwrap().len(), 2);
        let stuck = read.problems[0].contains("still hang");
        assert_eq!(stuck, look >= 2, "{:?}", read.problems);
    }
}

#[test]
fn this_machines_own_library_answers_or_is_absent() {
    // No library, no driver, or one that is newer than its kernel module: each is a sentence.
    if let Err(failure) = SystemNvml::default().read() {
        assert!(failure.to_string().starts_with("NVML "), "{failure}");
    }
}

/// The library's own calls, structures and errors, answered by a stand-in that is built where there is a
/// C compiler.
#[tokio::test]
async fn the_library_s_calls_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    let library = directory.path().join("libnvidia-ml.so.1");
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .args([&library, &tree("nvml/stand_in.c")])
        .status();
    if built.is_err() {
        return;
    }
    assert!(built.unwrap().success());
    let mut host = recorded("two-sockets");
    host.nvml = Arc::new(SystemNvml::in_file(&library));
    let gpus = nvidia(&host);
    // The second look goes through the library that the first one left initialised.
    for _ in 0..2 {
        let read = gpus.call("gpus", &Map::new(), within(20.0)).await.unwrap();
        assert_eq!((read.source.as_str(), &read.problems), ("NVML", &Vec::new()));
        let process = |gib: u32| json!([{"pid": 4711, "name": "train-4711", "memory_gib": gib}]);
        let instance = |number: u32, processes: Value| {
            json!({"model": "mig-1g.10gb", "uuid": format!("GPU-{number}"), "memory_gib": 10,
                   "memory_free_gib": 10, "processes": processes})
        };
        let whole = |number: u32, free: u32, load: u32, cut: bool, parts: Value, running| {
            json!({"product": "NVIDIA H100 80GB HBM3", "model": "h100", "uuid": format!("GPU-{number}"),
                   "memory_gib": 80, "memory_free_gib": free, "utilisation_percent": load,
                   "temperature_celsius": 61, "power_watts": 412.345, "compute_capability": "9.0",
                   "mig": cut, "mig_instances": parts, "nvlinks_up": 3, "processes": running})
        };
        let cut = json!([instance(10, json!([])), instance(11, process(6))]);
        assert_eq!(
            read.value,
            json!({"driver": "550.90.07", "cuda": "12.4",
                   "gpus": [whole(0, 20, 87, false, json!([]), process(6)),
                            whole(1, 80, 0, true, cut, Value::Null)],
                   "lost": ["GPU 2: device fell off the bus or has otherwise become inacessible"]})
        );
    }
}

fn said<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Said<T>> {
    prop_oneof![
        4 => value.prop_map(Ok),
        1 => Just(Err(Refusal::NotSupported)),
        1 => ".{0,20}".prop_map(|text| Err(Refusal::Failed(text))),
    ]
}

fn memory() -> impl Strategy<Value = Said<MemoryAnswer>> {
    said((any::<u64>(), any::<u64>()).prop_map(|(total, free)| MemoryAnswer { total, free }))
}

fn processes() -> impl Strategy<Value = Said<Vec<ProcessAnswer>>> {
    let one = (any::<u32>(), any::<Option<u64>>());
    said(prop::collection::vec(one.prop_map(|(pid, memory)| ProcessAnswer { pid, name: None, memory }), 0..3))
}

prop_compose! {
    fn instance()(name in said(".{0,30}"), memory in memory(), processes in processes()) -> MigAnswer {
        MigAnswer { name, uuid: Err(Refusal::NotSupported), memory, processes }
    }
}

prop_compose! {
    fn device()(
        name in said(".{0,40}"),
        memory in memory(),
        utilisation in said(any::<u32>()),
        power in said(any::<u32>()),
        compute_capability in said(any::<(i32, i32)>()),
        mig_mode in said(any::<bool>()),
        mig in prop::collection::vec(instance(), 0..3),
        processes in processes(),
        nvlinks in said(any::<u32>()),
    ) -> DeviceAnswer {
        DeviceAnswer {
            name, uuid: Err(Refusal::NotSupported), memory, utilisation, temperature: Ok(u32::MAX), power,
            compute_capability, mig_mode, mig, processes, nvlinks,
        }
    }
}

proptest! {
    #[test]
    fn no_answer_of_nvml_leads_to_a_fact_that_it_did_not_give(
        devices in prop::collection::vec(said(device()), 0..4),
        cuda in said(any::<i32>()),
        needed in prop::option::of(0_u32..200),
    ) {
        let given = NvmlAnswer { driver: Err(Refusal::NotSupported), cuda, devices };
        let (reading, _) = interpret(given.clone());
        prop_assert_eq!(reading.gpus.len() + reading.lost.len(), given.devices.len());
        prop_assert!(reading.driver.is_none());
        let answered = given.devices.iter().filter_map(|device| device.as_ref().ok());
        for (gpu, device) in reading.gpus.iter().zip(answered) {
            prop_assert!(gpu.memory_gib.is_none() || device.memory.is_ok());
            prop_assert!(gpu.memory_free_gib <= gpu.memory_gib);
            prop_assert!(gpu.product.is_none() || gpu.product == device.name.clone().ok());
            prop_assert!(gpu.utilisation_percent.is_none_or(|percent| percent <= 100));
            if device.processes.is_err() {
                prop_assert_ne!(gpu.is_free(None), Some(true));
            }
        }
        for part in parts(&reading, needed.map(GiB::from)) {
            prop_assert!(part.free.is_none_or(|free| free <= part.count));
        }
    }

    #[test]
    fn broken_output_of_rocm_smi_is_refused_or_read(output in mutated(vec![
        recording("tools/rocm-smi/documented.json"),
        recording("tools/rocm-smi/no-hardware.txt"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for card in parse_rocm_smi(&output).unwrap_or_default().into_values() {
            prop_assert!(card.memory_free_gib.is_none() || card.memory_gib.is_some());
            if let Some(product) = card.product {
                // Escapes apart, a name is there as it was printed.
                prop_assert!(text.contains(&product) || text.contains('\\'), "{product}");
            }
        }
    }
}

#[tokio::test]
async fn amd_gpus_with_their_load_and_processes() {
    let programs = Programs::new();
    let wanted = "--showproductname --showmeminfo vram --json";
    programs.replay("rocm-smi", &[says(wanted, "tools/rocm-smi/documented.json", 0)]);
    let host = programs.host("two-mi250");
    let gpus = Gpus::all(&host).into_iter().nth(1).unwrap();
    let read = gpus.call("gpus", &Map::new(), within(10.0)).await.unwrap();
    assert_eq!(read.source, "/sys/class/drm, rocm-smi");
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    assert_eq!(read.value["driver"], "6.3.6");
    let (idle, busy) = (&read.value["gpus"][0], &read.value["gpus"][1]);
    assert_eq!((&idle["model"], &idle["processes"]), (&json!("mi250"), &json!([])));
    assert_eq!((&idle["temperature_celsius"], &idle["power_watts"]), (&json!(41), &json!(93)));
    assert_eq!((&busy["utilisation_percent"], &busy["memory_gib"]), (&json!(97), &json!(63.984)));
    assert_eq!(busy["processes"][0]["name"], "python3");

    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    assert_eq!(providers.names(Category::Hardware), ["cpu", "memory", "amd-gpu"]);
    let found = providers.investigate(&call(requirement(json!({}))), &[], within(20.0)).await;
    let group = &found.facts.compute.unwrap().groups[0];
    assert_eq!((group.gpus_per_node, group.gpus_free), (2, Some(1)));
    assert_eq!(group.gpu_model.as_deref(), Some("mi250"));
}

#[tokio::test]
async fn rocm_smi_without_hardware_says_nothing_that_is_believed() {
    let programs = Programs::new();
    programs.replay("rocm-smi", &[says("*", "tools/rocm-smi/no-hardware.txt", 0)]);
    let gpus = Gpus::all(&programs.host("two-mi250")).into_iter().nth(1).unwrap();
    let read = gpus.call("gpus", &Map::new(), within(10.0)).await.unwrap();
    assert!(read.problems[0].contains("rocm-smi --json is not understood"), "{:?}", read.problems);
    assert!(read.value["gpus"][0]["model"].is_null());
    let mut nothing = recorded("two-sockets");
    nothing.path = SearchPath::parse(&programs.directory().display().to_string());
    let gpus = Gpus::all(&nothing).into_iter().nth(1).unwrap();
    assert!(!gpus.probe(&Probe { deadline: within(10.0) }).await.unwrap());
}
