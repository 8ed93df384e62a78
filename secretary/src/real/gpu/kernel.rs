//! GPUs as the kernel's drivers show them in files: how many, which model and, for AMD, how much memory,
//! how warm, and what computes.

use std::collections::BTreeMap;

use protocol::units::Number;

use super::{GPUS_LIMIT, Gpu, GpuProcess, GpuReading, short_model};
use crate::real::host::{Tree, gib};

/// The most processes that are looked at.
const PROCESSES_LIMIT: usize = 256;

/// Where the AMD driver lists the processes that compute.
const KFD: &str = "sys/class/kfd/kfd";

fn nvidia(tree: &mut Tree) -> GpuReading {
    let base = "proc/driver/nvidia/gpus";
    let mut gpus = Vec::new();
    for device in tree.names(base).into_iter().take(GPUS_LIMIT) {
        let text = tree.text(&format!("{base}/{device}/information")).unwrap_or_default();
        let field = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
        };
        let product = field("Model:");
        let model = product.as_deref().and_then(short_model);
        gpus.push(Gpu { product, model, uuid: field("GPU UUID:"), ..Gpu::default() });
    }
    // A container may see the driver's list of all GPUs and be given only some of the devices.
    let devices = tree
        .names("dev")
        .into_iter()
        .filter(|name| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok()));
    gpus.truncate(devices.count());
    // NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Wed Jun ...
    let driver = tree.text("proc/driver/nvidia/version").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("NVRM version:"))?;
        let is_version = |word: &&str| {
            word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        line.split_whitespace().find(is_version).map(str::to_owned)
    });
    GpuReading { driver, gpus, ..GpuReading::default() }
}

fn unsigned(tree: &mut Tree, path: &str) -> Option<u64> {
    tree.number(path).and_then(|number| u64::try_from(number).ok())
}

/// The numbers under which the compute driver knows its GPUs, by their render node (`renderD128`).
fn compute_numbers(tree: &mut Tree) -> BTreeMap<u64, String> {
    let mut numbers = BTreeMap::new();
    for node in tree.names(&format!("{KFD}/topology/nodes")).into_iter().take(GPUS_LIMIT * 2) {
        let base = format!("{KFD}/topology/nodes/{node}");
        let Some(number) = tree.text(&format!("{base}/gpu_id")).filter(|number| number != "0") else {
            continue;
        };
        let properties = tree.text(&format!("{base}/properties")).unwrap_or_default();
        let minor = properties.lines().find_map(|line| line.strip_prefix("drm_render_minor "));
        if let Some(minor) = minor.and_then(|minor| minor.trim().parse().ok()) {
            numbers.insert(minor, number);
        }
    }
    numbers
}

/// What computes on the GPU of that number.
fn computing(tree: &mut Tree, number: &str) -> Option<Vec<GpuProcess>> {
    if !tree.exists(&format!("{KFD}/proc")) {
        return None;
    }
    let mut running = Vec::new();
    for process in tree.names(&format!("{KFD}/proc")).into_iter().take(PROCESSES_LIMIT) {
        let Ok(pid) = process.parse::<u32>() else { continue };
        let taken = unsigned(tree, &format!("{KFD}/proc/{process}/vram_{number}"));
        if taken != Some(0) {
            let name = tree.text(&format!("proc/{pid}/comm"));
            running.push(GpuProcess { pid, name, memory_gib: taken.map(gib) });
        }
    }
    Some(running)
}

fn amd(tree: &mut Tree) -> GpuReading {
    let numbers = compute_numbers(tree);
    let mut gpus = Vec::new();
    for card in tree.names("sys/class/drm") {
        let is_card = card.strip_prefix("card").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let base = format!("sys/class/drm/{card}/device");
        if !is_card || tree.text(&format!("{base}/vendor")).as_deref() != Some("0x1002") {
            continue;
        }
        let total = unsigned(tree, &format!("{base}/mem_info_vram_total"));
        let used = unsigned(tree, &format!("{base}/mem_info_vram_used"));
        let product = tree.text(&format!("{base}/product_name"));
        let sensors = tree.names(&format!("{base}/hwmon"));
        let sensors = sensors.first().map(|name| format!("{base}/hwmon/{name}")).unwrap_or_default();
        let scaled = |raw: u64, unit: u32| Number::saturating(raw as f64 / f64::from(unit));
        let temperature = unsigned(tree, &format!("{sensors}/temp1_input"));
        let power = ["power1_average", "power1_input"];
        let power = power.iter().find_map(|file| unsigned(tree, &format!("{sensors}/{file}")));
        let render = tree.names(&format!("{base}/drm")).into_iter();
        let render = render.filter_map(|name| name.strip_prefix("renderD")?.parse().ok()).next();
        let number = render.and_then(|minor: u64| numbers.get(&minor));
        gpus.push(Gpu {
            model: product.as_deref().and_then(short_model),
            product,
            uuid: tree.text(&format!("{base}/unique_id")),
            memory_gib: total.map(gib),
            memory_free_gib: total.zip(used).and_then(|(total, used)| total.checked_sub(used)).map(gib),
            utilisation_percent: unsigned(tree, &format!("{base}/gpu_busy_percent"))
                .and_then(|percent| u32::try_from(percent).ok())
                .filter(|percent| *percent <= 100),
            temperature_celsius: temperature.map(|raw| scaled(raw, 1000)),
            power_watts: power.map(|raw| scaled(raw, 1_000_000)),
            processes: number.and_then(|number| computing(tree, number)),
            ..Gpu::default()
        });
        if gpus.len() >= GPUS_LIMIT {
            break;
        }
    }
    let driver = tree.text("sys/module/amdgpu/version");
    GpuReading { driver, gpus, ..GpuReading::default() }
}

/// The GPUs of a tree by vendor.
pub fn read_gpus(tree: &mut Tree, vendor: &str) -> GpuReading {
    if vendor == "nvidia" { nvidia(tree) } else { amd(tree) }
}
