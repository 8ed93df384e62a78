//! The submit side of a PBS: handing work over once, following it, stopping it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use protocol::clock::Clock;
use protocol::units::{Seconds, Timestamp};

use super::directives::Directives;
use super::jobs::{self, Job};
use super::{Flavour, PbsOptions, PbsReader, is_job_id, refusals};
use crate::attempts::{self, Attempts, BATCH_SCRIPT, Followed, Handed, HandsOver, Open, Record};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::program::words;
use crate::read::{NativeId, RunState, Slots};
use crate::submit::{DryRun, Status, SubmitRequest};

/// What a job is started with on its first node.
const LAUNCH_SCRIPT: &str = include_str!("launch.sh");
/// Ids in one command line.
const IDS_AT_ONCE: usize = 1_000;
/// The most that is kept of a name: older servers have a smaller bound, and say so.
const LONGEST_NAME: usize = 230;
/// A start within this time is at once.
const AT_ONCE_SECONDS: f64 = 1.0;

/// A PBS that work is handed over to.
pub struct Pbs {
    reader: PbsReader,
    attempts: Attempts,
    followed: Followed<Job>,
}

impl Pbs {
    /// Opens PBS with a directory of our own for what was handed over. PBS is not asked anything yet.
    pub fn open(
        options: PbsOptions,
        directory: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WorkloadError> {
        let attempts = Attempts::open(&directory.into())?;
        Ok(Self { reader: PbsReader::new(options, clock), attempts, followed: Followed::default() })
    }

    /// The jobs of these ids that PBS still knows. Every job that is followed is asked about in one command.
    async fn jobs_of(&self, ids: &[NativeId]) -> Result<BTreeMap<NativeId, Job>, WorkloadError> {
        let all = || self.attempts.records.open_jobs().into_iter().filter(|id| is_job_id(&id.0)).collect();
        let ask = async |all: Vec<NativeId>| {
            let mut jobs = BTreeMap::new();
            for part in all.chunks(IDS_AT_ONCE) {
                jobs.extend(self.reader.jobs_of(part).await?.into_iter().map(|job| (job.native(), job)));
            }
            Ok(jobs)
        };
        self.followed.jobs(self.reader.options.refresh, ids, all, ask).await
    }
}

/// The files with which an attempt is started, in the directory that its nodes have too.
struct Files {
    launch: PathBuf,
    words: PathBuf,
    /// It is there when the job was asked to stop: a server without a history forgets that with the job.
    stopped: PathBuf,
}

impl Files {
    fn of(record: &Record) -> Self {
        let with = |end: &str| {
            let mut name = record.notes().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        Self { launch: with(".launch"), words: with(".words"), stopped: with(".stopped") }
    }

    fn write(&self, request: &SubmitRequest, record: &Record) -> Result<(), WorkloadError> {
        attempts::write(&self.launch, LAUNCH_SCRIPT.as_bytes())?;
        let variables = request.variables().into_iter().map(|(name, value)| format!("{name}={value}"));
        let limit = record.own_limit.map_or_else(|| "0".to_owned(), |limit| limit.get().to_string());
        let script = ["/bin/sh", "-c", BATCH_SCRIPT, "parley"].map(str::to_owned);
        let notes = [record.notes().display().to_string(), limit];
        let all = variables.chain(script).chain(notes).chain(request.argv.iter().cloned());
        let bytes: Vec<u8> = all.flat_map(|word| word.into_bytes().into_iter().chain([0])).collect();
        attempts::write(&self.words, &bytes)
    }

    /// The words may be secrets. That a file is gone already is fine.
    fn remove(&self) {
        for file in [&self.words, &self.launch] {
            let _gone = std::fs::remove_file(file);
        }
    }
}

/// A directory that `qsub` takes as it stands: `:` and `,` divide what it reads, and blanks its words.
fn check_directory(directory: &Path) -> Result<(), WorkloadError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-+@=~".contains(c);
    let problem = match directory.to_str() {
        _ if !directory.is_absolute() => "is not an absolute path",
        Some(text) if text.chars().all(plain) => return Ok(()),
        _ => "has characters in it that PBS could read as something else",
    };
    let reason = format!("{} {problem}", directory.display());
    Err(WorkloadError::Refused { field: "directory", reason })
}

/// Names of variables that `env` takes for nothing else.
fn check_environment(request: &SubmitRequest) -> Result<(), WorkloadError> {
    match request.environment.keys().find(|name| name.starts_with('-')) {
        Some(name) => {
            let reason = format!("{name:?} cannot be set for a job");
            Err(WorkloadError::Refused { field: "environment", reason })
        }
        None => Ok(()),
    }
}

#[async_trait]
impl HandsOver for Pbs {
    type Reader = PbsReader;
    type Ready = Directives;

    fn reader(&self) -> &PbsReader {
        &self.reader
    }

    fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn now(&self) -> Timestamp {
        self.reader.clock.now()
    }

    /// The script keeps every limit: PBS counts in whole seconds, looks every few of them, and a server
    /// without a history forgets that it ended a job.
    fn own_limit(&self, limit: Option<Seconds>) -> Option<Seconds> {
        limit
    }

    async fn ready(&self, request: &SubmitRequest) -> Result<Directives, WorkloadError> {
        request.program()?;
        check_environment(request)?;
        check_directory(&request.directory)?;
        let name = attempts::name(&request.job_id, request.attempt);
        if name.len() > LONGEST_NAME {
            let reason = format!("{name} is longer than the {LONGEST_NAME} characters of a job's name");
            return Err(WorkloadError::Refused { field: "job_id", reason });
        }
        let cluster = self.reader.cluster().await?;
        let placement = request.placement.with_defaults(&self.reader.options.defaults);
        let request = SubmitRequest { placement, ..request.clone() };
        Directives::of(self.reader.flavour().await?, &request, name, &cluster)
    }

    async fn test(&self, request: &SubmitRequest, directives: &Directives) -> Result<DryRun, WorkloadError> {
        let cluster = self.reader.cluster().await?;
        let start = self.reader.earliest(directives, &cluster).await?;
        let asked = directives.asked();
        let at_once = |start: Timestamp| start.since(self.now()).get() <= AT_ONCE_SECONDS;
        Ok(DryRun {
            takes: Slots { cores: asked.cores, memory_gib: request.memory_limit, gpus: asked.gpus },
            starts_now: start.is_some_and(at_once),
        })
    }

    async fn hand_over(
        &self,
        request: &SubmitRequest,
        directives: &Directives,
        record: &Record,
    ) -> Result<Handed, WorkloadError> {
        let files = Files::of(record);
        files.write(request, record)?;
        let (launch, file) = (files.launch.display().to_string(), files.words.display().to_string());
        // It writes the log itself; what PBS adds to its output is not needed. It is never started again.
        let mut arguments = words(["-j", "oe", "-o", "/dev/null", "-r", "n", "-m", "n"]);
        arguments.extend(directives.words());
        match directives.flavour {
            Flavour::OpenPbs => {
                arguments.extend(words(["--", "/bin/bash"]).into_iter().chain([
                    launch,
                    file,
                    LOG_NAME.to_owned(),
                ]));
            }
            Flavour::Torque => {
                // The empty prefix: nothing in the script is read as an option.
                arguments.extend(words(["-S", "/bin/bash", "-C", "", "-v"]));
                arguments.extend([format!("PARLEY_WORDS={file},PARLEY_LOG={LOG_NAME}"), launch]);
            }
        }
        let output = match self.reader.options.commands.run("qsub", &arguments, &request.directory).await {
            Ok(output) => output,
            Err(error @ WorkloadError::Silent { .. }) => return Ok(Handed::Doubtful(error.to_string())),
            Err(error) => {
                files.remove();
                return Err(error);
            }
        };
        let complaint = output.complaint();
        // Warnings of the site may stand before the id.
        let id = output.stdout.lines().rev().map(str::trim).find(|line| is_job_id(line));
        match (output.code, id) {
            (Some(0), Some(id)) => Ok(Handed::Taken(NativeId(id.to_owned()))),
            (Some(0) | None, _) => Ok(Handed::Doubtful(format!("qsub answered {complaint:?}"))),
            (Some(_), _) => match refusals::refusal(&complaint) {
                Some(error) => {
                    files.remove();
                    Err(error)
                }
                None => Ok(Handed::Doubtful(complaint)),
            },
        }
    }

    async fn find(&self, record: &Record) -> Result<Option<NativeId>, WorkloadError> {
        let mut arguments = words(["-N", &record.name()]);
        if let Some(user) = super::user() {
            arguments.extend(["-u".to_owned(), user]);
        }
        let mut finished = arguments.clone();
        if self.reader.flavour().await? == Flavour::OpenPbs {
            finished.insert(0, "-x".to_owned());
        }
        let commands = &self.reader.options.commands;
        let mut output = commands.run("qselect", &finished, Path::new("/")).await?;
        // It says so, finds nothing, and ends well.
        if output.complaint().contains(super::NO_HISTORY) {
            output = commands.run("qselect", &arguments, Path::new("/")).await?;
        }
        let problem = output.complaint();
        match output.code {
            Some(0) => {
                let id = output.stdout.lines().map(str::trim).find(|line| is_job_id(line));
                Ok(id.map(|id| NativeId(id.to_owned())))
            }
            _ if refusals::is_absent(&problem) => Err(WorkloadError::Unavailable { problem }),
            _ => Err(WorkloadError::CommandFailed { command: "qselect", problem }),
        }
    }

    async fn follow(&self, open: &[Open]) -> Result<BTreeMap<NativeId, Status>, WorkloadError> {
        let ids: Vec<NativeId> = open.iter().map(|open| open.native.clone()).collect();
        let known = self.jobs_of(&ids).await?;
        let status = |open: &Open| {
            let (mut accounting, reason) = match known.get(&open.native) {
                Some(job) => (job.accounting(), job.reason()),
                None => (open.forgotten(), None),
            };
            let is_forgotten = !known.contains_key(&open.native);
            let ended_badly = matches!(accounting.state, RunState::Failed | RunState::Unknown);
            if is_forgotten && ended_badly && Files::of(&open.record).stopped.exists() {
                accounting.state = RunState::Cancelled;
                accounting.exit_code = None;
            }
            if accounting.state == RunState::Failed && open.record.ran_out_of_time(&accounting) {
                accounting.state = RunState::TimedOut;
            }
            if accounting.state.is_terminal() {
                // One that never started has not taken its words away.
                Files::of(&open.record).remove();
            }
            let error = jobs::error(&accounting, reason);
            (open.native.clone(), Status { accounting, error, log_dropped_bytes: 0 })
        };
        Ok(open.iter().map(status).collect())
    }

    async fn cancel_attempt(&self, record: &Record) -> Result<(), WorkloadError> {
        Files::of(record).remove();
        match self.find(record).await? {
            Some(native) => self.stop(&native).await,
            None => Ok(()),
        }
    }

    async fn stop(&self, native: &NativeId) -> Result<(), WorkloadError> {
        if let Some(record) = self.attempts.records.of(native) {
            attempts::write(&Files::of(&record).stopped, b"")?;
        }
        let arguments = std::slice::from_ref(&native.0);
        let output = self.reader.options.commands.run("qdel", arguments, Path::new("/")).await?;
        self.followed.forget().await;
        let problem = output.complaint();
        if output.code == Some(0) || refusals::is_over(&output.stderr) {
            return Ok(());
        }
        if refusals::is_absent(&problem) {
            return Err(WorkloadError::Unavailable { problem });
        }
        Err(WorkloadError::CommandFailed { command: "qdel", problem })
    }
}
