//! GPUs as the kernel's drivers show them: how many, which model and, where the driver tells, how much
//! memory. What only a vendor's library can tell is left unknown.

use async_trait::async_trait;
use protocol::call::Call;
use protocol::units::GiB;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::host::{Host, Tree, gib};
use crate::observation::GpuPart;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// The most GPUs that are looked at.
const GPUS_LIMIT: usize = 64;

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// The product's name.
    pub product: Option<String>,
    /// Short model name, lower case.
    pub model: Option<String>,
    /// Memory; null when the driver's files do not tell.
    pub memory_gib: Option<GiB>,
    /// Memory in use.
    pub memory_used_gib: Option<GiB>,
}

/// `NVIDIA H100 80GB HBM3` is `h100`, `NVIDIA GeForce RTX 4090` is `rtx4090`.
#[must_use]
pub fn short_model(product: &str) -> Option<String> {
    let lower = product.to_lowercase();
    let words: Vec<&str> = lower.split([' ', '-', '/', '(', ')']).filter(|word| !word.is_empty()).collect();
    let is_size = |word: &str| {
        word.strip_suffix("gb").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_model = |word: &str| {
        word.len() <= 8
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.contains(|c: char| c.is_ascii_digit())
            && !word.starts_with("hbm")
            && !word.starts_with("pci")
            && !word.starts_with("sxm")
            && !is_size(word)
    };
    for pair in words.windows(2) {
        if matches!(pair[0], "rtx" | "gtx") && pair[1].bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(pair.concat());
        }
    }
    words.into_iter().find(|word| is_model(word)).map(str::to_owned)
}

fn nvidia(tree: &mut Tree) -> Vec<Gpu> {
    let base = "proc/driver/nvidia/gpus";
    let mut gpus = Vec::new();
    for device in tree.names(base).into_iter().take(GPUS_LIMIT) {
        let text = tree.text(&format!("{base}/{device}/information")).unwrap_or_default();
        let product =
            text.lines().find_map(|line| line.strip_prefix("Model:")).map(|name| name.trim().to_owned());
        let model = product.as_deref().and_then(short_model);
        gpus.push(Gpu { product, model, memory_gib: None, memory_used_gib: None });
    }
    // A container may see the driver's list of all GPUs and be given only some of the devices.
    let devices = tree
        .names("dev")
        .into_iter()
        .filter(|name| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok()));
    gpus.truncate(devices.count());
    gpus
}

fn amd(tree: &mut Tree) -> Vec<Gpu> {
    let mut gpus = Vec::new();
    for card in tree.names("sys/class/drm") {
        let is_card = card.strip_prefix("card").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let base = format!("sys/class/drm/{card}/device");
        if !is_card || tree.text(&format!("{base}/vendor")).as_deref() != Some("0x1002") {
            continue;
        }
        let mut size = |name: &str| {
            let bytes = tree.number(&format!("{base}/{name}")).and_then(|bytes| u64::try_from(bytes).ok());
            bytes.map(gib)
        };
        let (memory_gib, memory_used_gib) = (size("mem_info_vram_total"), size("mem_info_vram_used"));
        let product = tree.text(&format!("{base}/product_name"));
        let model = product.as_deref().and_then(short_model);
        gpus.push(Gpu { product, model, memory_gib, memory_used_gib });
        if gpus.len() >= GPUS_LIMIT {
            break;
        }
    }
    gpus
}

/// The GPUs of a tree by vendor.
pub fn read_gpus(tree: &mut Tree, vendor: &str) -> Vec<Gpu> {
    if vendor == "nvidia" { nvidia(tree) } else { amd(tree) }
}

/// The GPUs of one vendor as a provider.
pub struct Gpus {
    host: Host,
    vendor: &'static str,
}

impl Gpus {
    /// Both vendors.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        ["nvidia", "amd"].into_iter().map(|vendor| Self { host: host.clone(), vendor }).collect()
    }

    async fn read(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let vendor = self.vendor;
        let source = if vendor == "nvidia" { "/proc/driver/nvidia/gpus" } else { "/sys/class/drm" };
        self.host.look(source, deadline, move |tree| Ok(json!(read_gpus(tree, vendor)))).await
    }
}

#[async_trait]
impl Provider for Gpus {
    fn name(&self) -> &'static str {
        if self.vendor == "nvidia" { "nvidia-gpu" } else { "amd-gpu" }
    }

    fn category(&self) -> Category {
        Category::Hardware
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        let answer = self.read(probe.deadline).await?;
        Ok(answer.value.as_array().is_some_and(|gpus| !gpus.is_empty()))
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        let answer = self.read(deadline).await?;
        let mut gpus = answer.value;
        for gpu in gpus.as_array_mut().into_iter().flatten() {
            if let Some(fields) = gpu.as_object_mut() {
                fields.remove("memory_used_gib");
            }
        }
        Ok(json!({"gpus": gpus}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(
            "gpus",
            "GPUs of this machine that this worker may use: product, short model name, memory in GiB and \
             memory in use where the driver tells (null where it does not).",
        )]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["gpus"])?;
        self.read(deadline).await
    }

    async fn observe(&self, _call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let gpus: Vec<Gpu> = reader.ask("gpus", json!({})).await?;
        let first = gpus.first().cloned();
        // Only what all of them have in common can be said of each.
        let same_model = gpus.iter().all(|gpu| first.as_ref().is_some_and(|first| first.model == gpu.model));
        let least = gpus.iter().map(|gpu| gpu.memory_gib).reduce(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(if b < a { b } else { a }),
            _ => None,
        });
        reader.facts.host.gpus.push(GpuPart {
            count: u32::try_from(gpus.len()).unwrap_or(u32::MAX),
            free: None,
            model: first.filter(|_| same_model).and_then(|gpu| gpu.model),
            memory_gib: least.flatten(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_models() {
        for (product, model) in [
            ("NVIDIA H100 80GB HBM3", Some("h100")),
            ("NVIDIA H200", Some("h200")),
            ("NVIDIA A100-SXM4-80GB", Some("a100")),
            ("Tesla V100-SXM2-32GB", Some("v100")),
            ("NVIDIA GeForce RTX 4090", Some("rtx4090")),
            ("NVIDIA RTX A6000", Some("a6000")),
            ("NVIDIA GH200 480GB", Some("gh200")),
            ("NVIDIA L40S", Some("l40s")),
            ("AMD Instinct MI300X OAM", Some("mi300x")),
            ("NVIDIA", None),
            ("", None),
        ] {
            assert_eq!(short_model(product).as_deref(), model, "{product}");
        }
    }
}
