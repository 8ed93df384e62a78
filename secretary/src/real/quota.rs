//! What quotas leave this user. `quota` knows about local and NFS file systems, `lfs` about Lustre; both
//! print the same columns.

use std::path::Path;

use async_trait::async_trait;
use protocol::units::GiB;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::host::{Host, earlier, gib};
use super::listing::{Listed, Lister};
use super::mounts;
use crate::program::BANNER_LIMIT;
use crate::provider::ProviderError;

/// The most file systems that are asked one by one.
const MOUNTS_LIMIT: usize = 16;

/// A quota on one file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// The file system: where it is mounted, or what is mounted.
    pub file_system: String,
    /// Space in use.
    pub used_gib: GiB,
    /// Space that may be used; null when it is not limited.
    pub limit_gib: Option<GiB>,
    /// Files in use.
    pub files: u64,
    /// Files that there may be; null when they are not limited.
    pub files_limit: Option<u64>,
}

impl Quota {
    /// The larger share in use of space and files, where they are limited.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let space = self.limit_gib.map(|limit| self.used_gib.get() / limit.get());
        let files = self.files_limit.map(|limit| self.files as f64 / limit as f64);
        [space, files].into_iter().flatten().filter(|share| share.is_finite()).reduce(f64::max)
    }

    /// Space that may still be used.
    #[must_use]
    pub fn left_gib(&self) -> Option<GiB> {
        let left = self.limit_gib?.get() - self.used_gib.get();
        Some(GiB::saturating(left.max(0.0)))
    }
}

/// A number that is marked with `*` or brackets when it is above its limit.
fn number(word: &str) -> Option<u64> {
    word.trim_matches(['*', '[', ']']).parse().ok()
}

/// The lower of the limits that are set: 0 means that one is not.
fn limit(soft: u64, hard: u64) -> Option<u64> {
    [soft, hard].into_iter().filter(|limit| *limit > 0).min()
}

/// Reads a table of quotas: file system, then KiB and files, each as used, soft limit, hard limit, grace.
/// A long name stands in a line of its own.
#[must_use]
pub fn parse(text: &str) -> Vec<Quota> {
    let mut quotas = Vec::new();
    let mut name: Option<&str> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (file_system, columns) = match (words.as_slice(), name) {
            ([only], _) => {
                name = Some(only);
                continue;
            }
            ([first, columns @ ..], None) => (*first, columns),
            (columns, Some(name)) => (name, columns),
            ([], None) => continue,
        };
        name = None;
        let [used, soft, hard, _, files, files_soft, files_hard, ..] = columns else { continue };
        let read = |word: &&str| number(word);
        let numbers: Option<Vec<u64>> =
            [used, soft, hard, files, files_soft, files_hard].into_iter().map(read).collect();
        let Some([used, soft, hard, files, files_soft, files_hard]) =
            numbers.and_then(|numbers| <[u64; 6]>::try_from(numbers).ok())
        else {
            continue;
        };
        let space = |kib: u64| gib(kib.saturating_mul(1024));
        quotas.push(Quota {
            file_system: file_system.to_owned(),
            used_gib: space(used),
            limit_gib: limit(soft, hard).map(space),
            files,
            files_limit: limit(files_soft, files_hard),
        });
    }
    quotas
}

/// Asks for the quotas of this user.
pub struct Quotas {
    host: Host,
}

impl Quotas {
    /// On a machine.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host }
    }

    async fn ask(
        &self,
        name: &str,
        program: &Path,
        args: &[&str],
        deadline: Instant,
    ) -> Result<String, ProviderError> {
        let output = self.host.run(program, args, BANNER_LIMIT, deadline).await?;
        // `quota` ends with 1 also when a limit is exceeded, and, without a word, when there are none.
        let silent = output.stdout.trim_ascii().is_empty();
        if !output.success && silent && !output.stderr.trim_ascii().is_empty() {
            return Err(output.failure(name));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn lustre(&self, deadline: Instant) -> Result<Vec<String>, ProviderError> {
        let mut tree = self.host.tree();
        let read = move || tree.text("proc/self/mountinfo").unwrap_or_default();
        let table = self.host.blocking.run("/proc/self/mountinfo", deadline, read).await?;
        let mounted = mounts::parse(&table, usize::MAX).into_iter();
        let lustre = mounted.filter(|mount| mount.kind == "lustre").map(|mount| mount.path);
        Ok(lustre.take(MOUNTS_LIMIT).collect())
    }
}

#[async_trait]
impl Lister for Quotas {
    type List = Vec<Quota>;

    fn what(&self) -> &'static str {
        "quota"
    }

    async fn list(&self, deadline: Instant) -> Result<Listed<Vec<Quota>>, ProviderError> {
        let mut texts = Vec::new();
        let mut sources = Vec::new();
        let mut problems = Vec::new();
        if let Some((_, program)) = self.host.find(&["quota"], deadline).await? {
            sources.push("quota");
            match self.ask("quota", &program, &["--no-wrap", "--raw-grace"], earlier(deadline, 0.5)).await {
                Ok(text) => texts.push(text),
                Err(error) => problems.push(error.in_full()),
            }
        }
        let lustre = self.lustre(deadline).await?;
        if !lustre.is_empty()
            && let Some((_, program)) = self.host.find(&["lfs"], deadline).await?
        {
            sources.push("lfs quota");
            let user = nix::unistd::geteuid().to_string();
            for path in &lustre {
                let soon = earlier(deadline, 0.5);
                match self.ask("lfs", &program, &["quota", "-q", "-u", &user, path], soon).await {
                    Ok(text) => texts.push(text),
                    Err(error) => problems.push(format!("{path}: {}", error.in_full())),
                }
            }
        }
        let text = texts.join("\n");
        let quotas = texts.iter().flat_map(|text| parse(text)).collect();
        let source =
            if sources.is_empty() { "no program tells quotas".to_owned() } else { sources.join(", ") };
        Ok(Listed::new(quotas, source, text.as_bytes()).with_problems(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_marks_and_long_names() {
        let text = "Disk quotas for user ada (uid 1001): \n\
                    \x20    Filesystem  blocks   quota   limit   grace   files   quota   limit   grace\n\
                    /dev/vda1  1048576*  524288 2097152  1700000000     12       0       0       0\n\
                    server.example.org:/export/home\n\
                    \x20                 1024       0 10485760       -   [901]*     900    1000    6days\n";
        let quotas = parse(text);
        assert_eq!(quotas.len(), 2);
        assert_eq!(quotas[0].limit_gib.map(GiB::get), Some(0.5));
        assert_eq!((quotas[0].files_limit, quotas[0].left_gib()), (None, Some(GiB::ZERO)));
        assert_eq!(quotas[1].file_system, "server.example.org:/export/home");
        assert_eq!((quotas[1].files, quotas[1].files_limit), (901, Some(900)));
        assert!(quotas[1].share().unwrap() > 1.0);
        assert!(parse("Disk quotas for user root (uid 0): none\n").is_empty());
    }
}
