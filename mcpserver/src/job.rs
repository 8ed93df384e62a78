//! `mcpserver job run`: runs one built-in job in the current directory. This is what workers submit, so
//! its standard output is the job's log, and `job-report.json` is what the worker reads afterwards.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jobs::{JobReport, Progress};
use protocol::error::{ErrorBody, ErrorCode};
use protocol::job::{JobSpec, Metric};
use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};

/// The file that the worker reads.
const REPORT: &str = "job-report.json";

/// The largest specification that is read.
const SPEC_LIMIT: u64 = 4 * 1024 * 1024;

/// Runs the job that a file specifies.
pub fn run(spec: &Path) -> Result<Exit, Failure> {
    // A wrong name leaves nothing in whatever directory somebody stands in.
    let spec = read(spec).map_err(Failure::Job)?;
    let metrics = std::env::var_os("PARLEY_METRICS").map(PathBuf::from);
    let mut stdout = io::stdout().lock();
    match run_in(&spec, Path::new("."), metrics.as_deref(), &mut stdout) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            // The worker passes the reason on; without the file it would only know the exit code.
            let report = json!({ "error": error });
            if let Err(error) = write_json(Path::new(REPORT), &report) {
                tracing::warn!(error = %error.message, "the report could not be written");
            }
            Err(Failure::Job(error))
        }
    }
}

fn run_in(
    spec: &JobSpec,
    directory: &Path,
    metrics: Option<&Path>,
    log: &mut dyn Write,
) -> Result<(), ErrorBody> {
    let data = data_path(spec)?;
    let mut listener = Listener { log, metrics: metrics.map(open_metrics).transpose()?, broken: None };
    let report = jobs::run(spec, directory, &data, &mut listener).map_err(|error| error.body())?;
    listener.finish()?;
    for line in &report.summary {
        // A log whose reader has gone does not undo the work.
        let _ = writeln!(listener.log, "{line}");
    }
    let _ = listener.log.flush();
    write_json(&directory.join(REPORT), &report_json(&report))
}

fn refused(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::Job, message)
}

fn read(path: &Path) -> Result<JobSpec, ErrorBody> {
    let cannot =
        |error: io::Error| refused(format!("the specification {} cannot be read: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > SPEC_LIMIT {
        return Err(refused(format!("the specification {} has {size} bytes", path.display())));
    }
    let text = std::fs::read(path).map_err(cannot)?;
    serde_json::from_slice(&text)
        .map_err(|error| refused(format!("the specification {} is not a job: {error}", path.display())))
}

/// The data as a path here; the worker has fetched what lay elsewhere.
fn data_path(spec: &JobSpec) -> Result<PathBuf, ErrorBody> {
    let uri = spec.data().map_or("", |data| data.uri.as_str());
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    match path.split_once("://") {
        Some(_) => Err(refused(format!("the data {uri:?} is not a file here; fetch it first"))),
        None => Ok(PathBuf::from(path)),
    }
}

fn open_metrics(path: &Path) -> Result<BufWriter<File>, ErrorBody> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map(BufWriter::new).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::Storage, format!("cannot write {}: {error}", path.display()))
}

fn report_json(report: &JobReport) -> Value {
    let artifacts: Vec<Value> = report
        .artifacts
        .iter()
        .map(|(name, artifact_type)| json!({"name": name, "type": artifact_type}))
        .collect();
    let conventions: Map<String, Value> =
        report.conventions.iter().map(|(topic, rule)| (topic.clone(), Value::from(rule.as_str()))).collect();
    json!({
        "metrics": report.metrics,
        "artifacts": artifacts,
        "summary": report.summary,
        "conventions": conventions,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<(), ErrorBody> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    std::fs::write(path, text).map_err(|error| cannot_write(path, &error))
}

/// Writes steps to the log and metrics to their file.
struct Listener<'a> {
    log: &'a mut dyn Write,
    metrics: Option<BufWriter<File>>,
    broken: Option<io::Error>,
}

impl Progress for Listener<'_> {
    fn step(&mut self, done: u64, total: u64, doing: &str) {
        let _ = writeln!(self.log, "[{done}/{total}] {doing}");
        let _ = self.log.flush();
    }

    fn metric(&mut self, metric: &Metric) {
        let Some(file) = &mut self.metrics else { return };
        let written = serde_json::to_writer(&mut *file, metric)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            self.broken.get_or_insert(error);
        }
    }
}

impl Listener<'_> {
    /// Metrics that could not be kept are a failure of the job: its figures would be missing.
    fn finish(&mut self) -> Result<(), ErrorBody> {
        let flushed = self.metrics.as_mut().map_or(Ok(()), Write::flush);
        match self.broken.take().map_or(flushed, Err) {
            Ok(()) => Ok(()),
            Err(error) => Err(cannot_write(Path::new("the metrics"), &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: &str = "date,price\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n2020-01-06,2\n";

    fn run(spec: &str) -> (tempfile::TempDir, Result<(), ErrorBody>, String) {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("prices.csv");
        std::fs::write(&data, PRICES).unwrap();
        let path = home.path().join("spec.json");
        std::fs::write(&path, spec.replace("DATA", &data.display().to_string())).unwrap();
        let mut log = Vec::new();
        let metrics = home.path().join("metrics.jsonl");
        let outcome = read(&path).and_then(|spec| run_in(&spec, home.path(), Some(&metrics), &mut log));
        (home, outcome, String::from_utf8(log).unwrap())
    }

    #[test]
    fn a_job_leaves_a_log_metrics_and_a_report() {
        let (home, outcome, log) = run(
            r#"{"kind": "backtest", "spec": {"data": {"uri": "DATA"}, "strategy": {"name": "buy_and_hold"}}}"#,
        );
        outcome.unwrap();
        assert!(log.starts_with("[0/3] reading prices\n"), "{log}");
        let metrics = std::fs::read_to_string(home.path().join("metrics.jsonl")).unwrap();
        let first: Metric = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        assert_eq!(first.name, "equity");
        let report: Value =
            serde_json::from_slice(&std::fs::read(home.path().join(REPORT)).unwrap()).unwrap();
        assert!(report["metrics"]["total_return"].is_number(), "{report}");
        let named = report["artifacts"].as_array().unwrap();
        assert!(named.iter().any(|artifact| artifact["type"] == "plot"), "{report}");
        for artifact in named {
            assert!(home.path().join(artifact["name"].as_str().unwrap()).exists());
        }
    }

    #[test]
    fn what_cannot_run_is_refused_with_a_code() {
        for (spec, code) in [
            ("{", ErrorCode::Job),
            (r#"{"kind": "backtest", "spec": {"data": {"uri": "parley://artifact/a"}}}"#, ErrorCode::Job),
            (r#"{"kind": "backtest", "spec": {"data": {"uri": "/nonexistent.csv"}}}"#, ErrorCode::JobFailed),
            (r#"{"kind": "command", "spec": {"argv": ["true"]}}"#, ErrorCode::JobKindUnsupported),
        ] {
            assert_eq!(run(spec).1.unwrap_err().code, code, "{spec}");
        }
    }
}
