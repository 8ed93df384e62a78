//! What an attempt left in its directory: the report of a built-in kind, metrics, files to keep.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::artifact::ArtifactType;
use protocol::error::ErrorBody;
use protocol::job::Metric;
use protocol::units::Number;
use serde::Deserialize;

/// Files that one attempt may leave as artifacts.
const MOST_FILES: usize = 1000;
/// The most metric lines that one report carries.
const MOST_METRICS: usize = 1000;
/// The largest report of a built-in kind.
const REPORT_LIMIT: u64 = 1024 * 1024;

/// The file that `mcpserver job run` writes.
pub const JOB_REPORT: &str = "job-report.json";

/// What `mcpserver job run` says that it did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobReportFile {
    /// The last value of each metric.
    pub metrics: BTreeMap<String, Number>,
    /// The files to keep.
    pub artifacts: Vec<OutputFile>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
}

/// One file to keep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutputFile {
    /// Its name in the directory.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub artifact_type: ArtifactType,
}

/// Reads the report of a built-in kind; nothing when there is none.
pub async fn read_report(directory: &Path) -> Option<JobReportFile> {
    let path = directory.join(JOB_REPORT);
    let length = tokio::fs::metadata(&path).await.ok()?.len();
    if length > REPORT_LIMIT {
        return None;
    }
    serde_json::from_slice(&tokio::fs::read(&path).await.ok()?).ok()
}

/// The files that a command's patterns name: plain files inside the directory, by name. A pattern is
/// a file name with `*` for any characters; paths and links never leave the directory.
pub async fn matching_files(directory: &Path, patterns: &[String]) -> Vec<OutputFile> {
    let mut found = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return found };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let is_file = entry.file_type().await.is_ok_and(|kind| kind.is_file());
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_file && found.len() < MOST_FILES && patterns.iter().any(|pattern| fits(pattern, &name)) {
            found.push(OutputFile { artifact_type: type_of(&name), name });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The path of an output, if it is a plain file of the directory.
pub async fn confined(directory: &Path, name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains(['/', '\\']) || name == "." || name == ".." {
        return None;
    }
    let path = directory.join(name);
    let kind = tokio::fs::symlink_metadata(&path).await.ok()?.file_type();
    kind.is_file().then_some(path)
}

/// Whether a name fits a pattern with `*` for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn type_of(name: &str) -> ArtifactType {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("svg" | "png" | "pdf") => ArtifactType::Plot,
        Some("md" | "html" | "txt") => ArtifactType::Report,
        Some("log" | "out" | "err") => ArtifactType::Log,
        Some("csv" | "parquet" | "tsv") => ArtifactType::Data,
        Some("json" | "jsonl") => ArtifactType::Metrics,
        Some("toml" | "yaml" | "yml" | "ini") => ArtifactType::Config,
        Some("onnx" | "pt" | "safetensors" | "model") => ArtifactType::Model,
        _ => ArtifactType::Other,
    }
}

/// Reads the metrics file as it grows: one JSON line for each value.
#[derive(Debug, Default)]
pub struct MetricsReader {
    offset: u64,
}

impl MetricsReader {
    /// The complete lines that came since the last call; lines that are no metric are passed over.
    pub async fn next(&mut self, path: &Path) -> Vec<Metric> {
        use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
        let Ok(mut file) = tokio::fs::File::open(path).await else { return Vec::new() };
        let mut bytes = Vec::new();
        if file.seek(std::io::SeekFrom::Start(self.offset)).await.is_err()
            || file.take(256 * 1024).read_to_end(&mut bytes).await.is_err()
        {
            return Vec::new();
        }
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let mut metrics = Vec::new();
        let mut used = 0;
        for line in bytes[..=end].split_inclusive(|byte| *byte == b'\n') {
            if metrics.len() >= MOST_METRICS {
                break;
            }
            used += line.len();
            metrics.extend(serde_json::from_slice::<Metric>(line));
        }
        self.offset += used as u64;
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        assert!(fits("*.csv", "a.csv"));
        assert!(fits("run-*-out.*", "run-7-out.txt"));
        assert!(fits("exact", "exact"));
        assert!(!fits("exact", "exactly"));
        assert!(!fits("*.csv", "a.csv.gz"));
        assert!(fits("*", ""));
    }

    #[tokio::test]
    async fn outputs_never_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("good.csv"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link.csv")).unwrap();
        assert!(confined(directory.path(), "good.csv").await.is_some());
        for bad in ["link.csv", "../good.csv", "/etc/passwd", "", "..", "missing.csv"] {
            assert!(confined(directory.path(), bad).await.is_none(), "{bad}");
        }
        let found = matching_files(directory.path(), &["*.csv".to_owned()]).await;
        assert_eq!(found.len(), 1);
    }

    #[tokio::test]
    async fn metrics_are_read_line_by_line_as_they_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut reader = MetricsReader::default();
        assert!(reader.next(&path).await.is_empty());
        std::fs::write(&path, "{\"name\":\"loss\",\"value\":1}\nnot json\n{\"name\":\"lo").unwrap();
        assert_eq!(reader.next(&path).await.len(), 1);
        std::fs::write(&path, "{\"name\":\"loss\",\"value\":1}\nnot json\n{\"name\":\"loss\",\"value\":2}\n")
            .unwrap();
        assert_eq!(reader.next(&path).await[0].value.get(), 2.0);
    }
}
