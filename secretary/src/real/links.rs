//! Network links with their real speed, as three providers: `ethernet`, `infiniband`, `omni-path`.

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::Fabric;
use protocol::units::Number;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::host::{Host, Tree};
use crate::interest;
use crate::provider::{Answer, Category, Probe, Provider, ProviderError, ProviderTool, Reader, plain_tool};

/// One link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The device, and its port where it has several.
    pub device: String,
    /// `ethernet`, `infiniband`, `omni-path`.
    pub kind: String,
    /// Whether it is up.
    pub up: bool,
    /// Its state in the kernel's words (`up`, `lowerlayerdown`, `4: ACTIVE`).
    pub state: Option<String>,
    /// What the wire or the fibre says, where the device tells (`5: LinkUp`, `3: Disabled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_state: Option<String>,
    /// The largest packet in bytes, where the device tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
    /// Speed in Gb/s; null when the device does not tell, as virtual ones do.
    pub gbps: Option<Number>,
    /// Whether a device stands behind it.
    pub physical: bool,
}

/// `ARPHRD_ETHER`, as `/sys/class/net/*/type` says it.
const ETHERNET_TYPE: i64 = 1;
/// The most devices that are looked at.
const DEVICES_LIMIT: usize = 256;

/// Interfaces that connect containers and virtual machines on the same host.
const INTERNAL: [&str; 12] =
    ["docker", "veth", "br-", "virbr", "ifb", "dummy", "tun", "tap", "cni", "flannel", "cali", "vnet"];

fn ethernet(tree: &mut Tree) -> Vec<Link> {
    let mut links = Vec::new();
    for name in tree.names("sys/class/net").into_iter().take(DEVICES_LIMIT) {
        let base = format!("sys/class/net/{name}");
        if tree.number(&format!("{base}/type")) != Some(ETHERNET_TYPE) {
            continue;
        }
        let physical = tree.exists(&format!("{base}/device"));
        if !physical && INTERNAL.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        // Container interfaces report `unknown`, although they carry traffic.
        let state = tree.text(&format!("{base}/operstate"));
        let up = matches!(state.as_deref(), Some("up" | "unknown"));
        // -1 and an error both mean that the device does not tell.
        let mbps = tree.number(&format!("{base}/speed")).filter(|mbps| *mbps > 0);
        #[expect(clippy::cast_precision_loss, reason = "megabits are far below 2^53")]
        let gbps = mbps.map(|mbps| Number::saturating(mbps as f64 / 1000.0));
        let mtu_bytes = tree.number(&format!("{base}/mtu")).and_then(|mtu| u32::try_from(mtu).ok());
        let kind = "ethernet".to_owned();
        links.push(Link { device: name, kind, up, state, physical_state: None, mtu_bytes, gbps, physical });
    }
    // Bridges and bonds repeat what their physical members say.
    if links.iter().any(|link| link.physical && link.up) {
        links.retain(|link| link.physical);
    }
    links
}

/// `100 Gb/sec (4X EDR)`.
fn rate(text: &str) -> Option<Number> {
    let mut words = text.split_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    (words.next()? == "Gb/sec" && value > 0.0).then(|| Number::saturating(value))
}

fn fabric(tree: &mut Tree) -> Vec<Link> {
    let mut links = Vec::new();
    for device in tree.names("sys/class/infiniband").into_iter().take(DEVICES_LIMIT) {
        let ports = format!("sys/class/infiniband/{device}/ports");
        for port in tree.names(&ports).into_iter().take(16) {
            let base = format!("{ports}/{port}");
            let layer = tree.text(&format!("{base}/link_layer"));
            if layer.as_deref() == Some("Ethernet") {
                // RDMA over Ethernet is an Ethernet link; it is listed there.
                continue;
            }
            let kind = if device.starts_with("hfi1") { "omni-path" } else { "infiniband" };
            let state = tree.text(&format!("{base}/state"));
            links.push(Link {
                device: format!("{device}/{port}"),
                kind: kind.to_owned(),
                // `2: INIT` and `3: ARMED` wait for the subnet manager.
                up: state.as_deref().is_some_and(|state| state.ends_with("ACTIVE")),
                state,
                physical_state: tree.text(&format!("{base}/phys_state")),
                mtu_bytes: None,
                gbps: tree.text(&format!("{base}/rate")).as_deref().and_then(rate),
                physical: true,
            });
        }
    }
    links
}

/// The links of one kind.
pub fn read_links(tree: &mut Tree, kind: &str) -> Vec<Link> {
    if kind == "ethernet" {
        return ethernet(tree);
    }
    let mut links = fabric(tree);
    links.retain(|link| link.kind == kind);
    links
}

/// The links of one kind as a provider.
pub struct Links {
    host: Host,
    kind: &'static str,
    source: &'static str,
}

impl Links {
    /// The three kinds.
    #[must_use]
    pub fn all(host: &Host) -> Vec<Self> {
        [
            ("infiniband", "/sys/class/infiniband"),
            ("omni-path", "/sys/class/infiniband (omni-path)"),
            ("ethernet", "/sys/class/net"),
        ]
        .into_iter()
        .map(|(kind, source)| Self { host: host.clone(), kind, source })
        .collect()
    }

    async fn read(&self, deadline: Instant) -> Result<Answer, ProviderError> {
        let kind = self.kind;
        self.host.look(self.source, deadline, move |tree| Ok(json!(read_links(tree, kind)))).await
    }
}

#[async_trait]
impl Provider for Links {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn category(&self) -> Category {
        Category::Network
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        let answer = self.read(probe.deadline).await?;
        Ok(answer.value.as_array().is_some_and(|links| !links.is_empty()))
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        Ok(json!({"links": self.read(deadline).await?.value}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![ProviderTool::plain(
            "link_rate",
            match self.kind {
                "ethernet" => {
                    "Ethernet links of this machine: device, up or not, speed in Gb/s (null when a virtual \
                     device does not tell). Like ethtool."
                }
                "infiniband" => {
                    "InfiniBand ports of this machine: device, active or not, logical and physical state, rate in \
                     Gb/s. Like ibstat."
                }
                _ => "Omni-Path ports of this machine: device, active or not, rate in Gb/s. Like opainfo.",
            },
        )]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        plain_tool(tool, args, &["link_rate"])?;
        self.read(deadline).await
    }

    async fn observe(&self, call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        if !interest::wants(Category::Network, call) {
            return Ok(());
        }
        let links: Vec<Link> = reader.ask("link_rate", json!({})).await?;
        let up: Vec<&Link> = links.iter().filter(|link| link.up).collect();
        let fastest = up.iter().filter_map(|link| link.gbps).max_by(|a, b| a.get().total_cmp(&b.get()));
        let fabric = (!up.is_empty()).then(|| Fabric { kind: self.kind.to_owned(), gbps: fastest });
        reader.facts.networks = Some(fabric.into_iter().collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate("100 Gb/sec (4X EDR)"), Some(Number::from(100)));
        assert_eq!(rate("2.5 Gb/sec (1X SDR)").map(Number::get), Some(2.5));
        for bad in ["", "100", "100 Mb/sec", "-1 Gb/sec", "NaN Gb/sec"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }
}
