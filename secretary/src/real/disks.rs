//! File systems with their size and free space. Each is asked on a thread of its own: a dead mount costs
//! its deadline, is told as unknown, and does not keep the others from answering.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use protocol::call::Call;
use protocol::facts::{FileSystem, Flag, FlagKind};
use protocol::ids::Digest;
use protocol::units::{GiB, Seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::host::{Host, gib};
use super::listing::Listing;
use super::mounts::{self, Mount};
use super::quota::{Quota, Quotas};
use crate::provider::{
    Answer, Category, NoArguments, Probe, Provider, ProviderError, ProviderTool, Reader, arguments,
};

/// The most file systems that are looked at.
const MOUNTS_LIMIT: usize = 64;
/// Above this share of used files or space a quota counts as nearly used up.
const NEARLY_FULL: f64 = 0.98;

/// What `free_space` tells of one file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpaceReading {
    /// Where it is mounted.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// The kernel's name of its type.
    pub kernel_type: String,
    /// What is mounted.
    pub source: String,
    /// Size; null when it did not answer.
    pub total_gib: Option<GiB>,
    /// Free for this user; null when it did not answer.
    pub free_gib: Option<GiB>,
    /// Share of the files that it can hold that are in use.
    pub files_used: Option<f64>,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The file system provider.
pub struct Disks {
    host: Host,
    quotas: Listing<Quotas>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeSpace {
    kind: Option<String>,
    path: Option<String>,
}

impl Disks {
    /// The file systems of a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { quotas: Listing::new(Quotas::new(host.clone())), host }
    }

    async fn mounts(&self, deadline: Instant) -> Result<Vec<Mount>, ProviderError> {
        let mut tree = self.host.tree();
        self.host
            .blocking
            .run("/proc/self/mountinfo", deadline, move || {
                tree.read("proc/self/mountinfo").map(|text| mounts::parse(&text, MOUNTS_LIMIT))
            })
            .await?
    }

    async fn free_space(&self, wanted: FreeSpace, deadline: Instant) -> Result<Answer, ProviderError> {
        let mut mounts = self.mounts(deadline).await?;
        if let Some(kind) = &wanted.kind {
            mounts.retain(|mount| mount.kind == kind);
        }
        if let Some(path) = &wanted.path {
            let holder = mounts.iter().filter(|mount| Path::new(path).starts_with(&mount.path));
            let holder = holder.max_by_key(|mount| mount.path.len()).cloned();
            mounts = holder.into_iter().collect();
        }
        let mut looks = JoinSet::new();
        for (at, mount) in mounts.into_iter().enumerate() {
            let host = self.host.clone();
            looks.spawn(async move { (at, look(&host, mount, deadline).await) });
        }
        let mut readings: Vec<(usize, SpaceReading)> = Vec::new();
        while let Some(done) = looks.join_next().await {
            readings.extend(done.ok());
        }
        readings.sort_by_key(|(at, _)| *at);
        let spaces: Vec<SpaceReading> = readings.into_iter().map(|(_, reading)| reading).collect();
        let problems = spaces.iter().filter_map(|space| space.problem.clone());
        let problems = problems.collect();
        let value = json!(spaces);
        let digest = Digest::of(value.to_string().as_bytes());
        Ok(Answer {
            value,
            source: "/proc/self/mountinfo, statvfs".to_owned(),
            digest,
            age: Seconds::ZERO,
            problems,
        })
    }
}

async fn look(host: &Host, mount: Mount, deadline: Instant) -> SpaceReading {
    let reader = Arc::clone(&host.space);
    let path = host.root.join(mount.path.trim_start_matches('/'));
    let result = host.blocking.run(&mount.path, deadline, move || reader.space(&path)).await;
    let mut reading = SpaceReading {
        path: mount.path.clone(),
        kind: mount.kind.to_owned(),
        kernel_type: mount.kernel_type,
        source: mount.source,
        total_gib: None,
        free_gib: None,
        files_used: None,
        read_only: mount.read_only,
        problem: None,
    };
    match result {
        Ok(Ok(space)) => {
            reading.total_gib = Some(gib(space.total_bytes));
            reading.free_gib = Some(if mount.read_only { GiB::ZERO } else { gib(space.free_bytes) });
            #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
            let used = |of: u64, free: u64| 1.0 - free.min(of) as f64 / of as f64;
            reading.files_used = (space.inodes > 0).then(|| used(space.inodes, space.inodes_free));
        }
        Ok(Err(error)) => reading.problem = Some(format!("{}: {error}", mount.path)),
        Err(error) => reading.problem = Some(error.in_full()),
    }
    reading
}

/// The quota that holds for a mounted file system: quotas name where it is mounted, or what is.
fn quota_of<'a>(quotas: &'a [Quota], mount: &SpaceReading) -> Option<&'a Quota> {
    let names = [&mount.path, &mount.source];
    quotas.iter().find(|quota| names.contains(&&quota.file_system))
}

#[async_trait]
impl Provider for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    fn category(&self) -> Category {
        Category::Storage
    }

    async fn probe(&self, probe: &Probe) -> Result<bool, ProviderError> {
        Ok(!self.mounts(probe.deadline).await?.is_empty())
    }

    async fn metadata(&self, deadline: Instant) -> Result<Value, ProviderError> {
        self.quotas.start();
        let mounts = self.mounts(deadline).await?;
        let shown: Vec<Value> = mounts
            .iter()
            .map(|mount| json!({"path": mount.path, "kind": mount.kind, "kernel_type": mount.kernel_type}))
            .collect();
        Ok(json!({"mounts": shown}))
    }

    fn tools(&self) -> Vec<ProviderTool> {
        vec![
            ProviderTool::new(
                "free_space",
                "File systems with kind (local-scratch, nfs, lustre, beegfs, cifs, s3), size and space free \
                 for this user in GiB, and the share of files in use. Null numbers mean that the file system \
                 did not answer, and `problem` says why. `kind` or `path` narrows the list. Like df and df -i.",
                &json!({
                    "kind": {"type": "string", "description": "only file systems of this kind"},
                    "path": {"type": "string", "description": "only the file system that holds this path"},
                }),
                &[],
            ),
            ProviderTool::plain(
                "mounts",
                "Mounted file systems with kind and source, without asking them anything: answers even when a \
                 server is dead. Like findmnt.",
            ),
            ProviderTool::plain(
                "quota",
                "Quotas of this user: file system, space and files in use, and their limits (null when there \
                 is none). An empty list means that no quota is told. Like quota and lfs quota.",
            ),
        ]
    }

    async fn call(
        &self,
        tool: &str,
        args: &Map<String, Value>,
        deadline: Instant,
    ) -> Result<Answer, ProviderError> {
        match tool {
            "free_space" => self.free_space(arguments(tool, args)?, deadline).await,
            "mounts" => {
                let NoArguments {} = arguments(tool, args)?;
                let mounts = self.mounts(deadline).await?;
                let shown: Vec<Value> = mounts
                    .iter()
                    .map(|mount| {
                        json!({"path": mount.path, "kind": mount.kind, "kernel_type": mount.kernel_type,
                               "source": mount.source, "read_only": mount.read_only,
                               "remote": mounts::is_remote(mount.kind)})
                    })
                    .collect();
                let value = Value::Array(shown);
                let raw = value.to_string();
                Ok(Answer::new(value, "/proc/self/mountinfo", raw.as_bytes()))
            }
            "quota" => {
                let NoArguments {} = arguments(tool, args)?;
                let listed = self.quotas.get(deadline).await?;
                Ok(listed.answer(json!(listed.value())))
            }
            _ => Err(ProviderError::UnknownTool(tool.to_owned())),
        }
    }

    async fn observe(&self, _call: &Call, reader: &mut Reader<'_>) -> Result<(), ProviderError> {
        let spaces: Vec<SpaceReading> = reader.ask("free_space", json!({})).await?;
        for space in &spaces {
            if let Some(used) = space.files_used.filter(|used| *used >= NEARLY_FULL && !space.read_only) {
                reader.facts.flags.push(Flag {
                    kind: FlagKind::QuotaNear,
                    evidence: format!("{} has {:.0} % of its files in use", space.path, used * 100.0),
                });
            }
        }
        let systems = |quotas: &[Quota]| {
            let systems = spaces.iter().map(|space| {
                let left = quota_of(quotas, space).and_then(Quota::left_gib);
                FileSystem {
                    kind: space.kind.clone(),
                    path: space.path.clone(),
                    total_gib: space.total_gib,
                    free_gib: match (space.free_gib, left) {
                        (Some(free), Some(left)) if left < free => Some(left),
                        (free, _) => free,
                    },
                }
            });
            systems.collect()
        };
        // Kept before the quotas, which may be a server's that does not answer.
        reader.facts.storage = Some(systems(&[]));
        let quotas: Vec<Quota> = reader.ask("quota", json!({})).await?;
        for space in &spaces {
            let near = quota_of(&quotas, space).and_then(Quota::share).filter(|share| *share >= NEARLY_FULL);
            if let Some(share) = near {
                reader.facts.flags.push(Flag {
                    kind: FlagKind::QuotaNear,
                    evidence: format!("the quota on {} is used to {:.0} %", space.path, share * 100.0),
                });
            }
        }
        reader.facts.storage = Some(systems(&quotas));
        Ok(())
    }
}
