//! The supervisor: one thread that owns every job of this machine. It takes commands, starts what
//! fits, watches limits, and writes each step to the journal before it is answered or acted on.
//!
//! It is a thread and not a task so that time limits hold and children are reaped whatever the
//! runtime around it does.

mod ending;
mod looking;
mod others;
mod recovering;
mod starting;
mod stopping;
mod taking;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::fcntl::Flock;
use protocol::clock::Clock;
use protocol::facts::{Allocation, StartEstimate};
use protocol::units::Seconds;
use tokio::sync::oneshot;

use super::cgroup::{Cgroup, Cgroups};
use super::gpus::GpuDevice;
use super::journal::{Jobs, Journal, Record, Step, StopReason};
use super::process::ProcessIdentity;
use super::schedule::Schedule;
use super::{LOG_NAME, LocalOptions};
use crate::error::WorkloadError;
use crate::read::{Capacity, NativeId, QueuedJob};
use crate::submit::{DryRun, Status, SubmitRequest};

/// The first look at a new process; later ones come at twice the distance each.
const FIRST_SAMPLE: Duration = Duration::from_millis(5);

/// The longest time between two looks at a process that the agent will be told about.
const SLOWEST_SAMPLE: Duration = Duration::from_secs(1);

/// The longest time between two looks at an adopted process, whose end nobody tells.
const ADOPTED_SAMPLE: Duration = Duration::from_millis(200);

/// How long a shutdown waits for processes after the grace of their stop is over.
const CLOSE_MARGIN: Duration = Duration::from_secs(3);

/// How long to wait before a cgroup that could not be removed is tried again.
const REMOVE_AGAIN: Duration = Duration::from_millis(200);

/// How long to wait before a failed write to the journal is tried again.
const RETRY: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<Result<T, WorkloadError>>;

/// What the supervisor is asked or told.
pub(super) enum Command {
    Capacity(Reply<Capacity>),
    Queue(Reply<Vec<QueuedJob>>),
    Estimate(Allocation, Reply<Option<StartEstimate>>),
    DryRun(Box<SubmitRequest>, Reply<DryRun>),
    Submit(Box<SubmitRequest>, Reply<NativeId>),
    Status(Vec<NativeId>, Reply<BTreeMap<NativeId, Status>>),
    Cancel(NativeId, Reply<()>),
    LogPath(NativeId, Reply<PathBuf>),
    /// Which GPUs are in use.
    Looked(BTreeSet<GpuDevice>),
    /// A child has ended and waits to be reaped.
    Exited(NativeId, Child),
    /// Cancel everything, then end; the sender is dropped when it is done.
    Shutdown(Option<oneshot::Sender<()>>),
    /// End and leave every process running, for the next agent to adopt.
    Detach(oneshot::Sender<()>),
}

/// A job whose process runs.
struct Live {
    process: ProcessIdentity,
    cgroup: Option<Cgroup>,
    log: Option<File>,
    adopted: bool,
    stop: Option<StopReason>,
    /// When its time is up.
    limit_at: Option<Instant>,
    /// When SIGTERM was enough time ago.
    kill_at: Option<Instant>,
    memory_limit: Option<u64>,
    next_sample: Instant,
    sample_gap: Duration,
    peak_bytes: Option<u64>,
    dropped_bytes: u64,
}

pub(super) struct Supervisor {
    options: LocalOptions,
    clock: Arc<dyn Clock>,
    journal: Journal,
    /// Records that happened and could not be written yet, oldest first.
    unwritten: VecDeque<Record>,
    jobs: Jobs,
    schedule: Schedule,
    live: BTreeMap<NativeId, Live>,
    /// None where jobs cannot have any.
    cgroups: Option<Cgroups>,
    /// Cgroups of jobs that are over.
    leaving: Vec<Cgroup>,
    remove_at: Option<Instant>,
    /// When it was last seen which GPUs are in use.
    looked_at: Option<Instant>,
    /// When that was asked, while there is no answer.
    looking_since: Option<Instant>,
    /// Set when the answer is overdue, until there is one.
    nobody_looks: bool,
    own: Sender<Command>,
    retry_at: Option<Instant>,
    /// Set on shutdown: when to give up on processes that even SIGKILL does not end.
    close_by: Option<Instant>,
    /// Held for its lock on the state directory; released before anybody hears that all is over.
    _lock: Flock<File>,
    waiting_for_close: Vec<oneshot::Sender<()>>,
}

impl Supervisor {
    pub(super) fn new(
        options: LocalOptions,
        cgroups: Option<Cgroups>,
        clock: Arc<dyn Clock>,
        own: Sender<Command>,
        lock: Flock<File>,
    ) -> Result<Self, WorkloadError> {
        let (journal, jobs) = Journal::open(&options.state_directory)?;
        let mut supervisor = Self {
            schedule: Schedule::new(options.slots, options.gpus.clone()),
            options,
            clock,
            journal,
            unwritten: VecDeque::new(),
            jobs,
            live: BTreeMap::new(),
            cgroups,
            leaving: Vec::new(),
            remove_at: None,
            looked_at: None,
            looking_since: None,
            nobody_looks: false,
            own,
            retry_at: None,
            close_by: None,
            waiting_for_close: Vec::new(),
            _lock: lock,
        };
        supervisor.recover();
        supervisor.look_if_stale();
        Ok(supervisor)
    }

    /// Runs until it is shut down or detached.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            self.tick(Instant::now());
            self.start_what_fits();
            if self.is_closed() {
                return;
            }
            let wait = self.next_wake().map(|at| at.saturating_duration_since(Instant::now()));
            match commands.recv_timeout(wait.unwrap_or(Duration::from_secs(3600))) {
                Ok(Command::Detach(done)) => {
                    drop(done);
                    return;
                }
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot happen while `own` is a sender; if it did, nobody could ask for anything.
                Err(RecvTimeoutError::Disconnected) => self.close(),
            }
        }
    }

    /// Whether a shutdown is over. A process that is stuck in the kernel is left to the next agent.
    fn is_closed(&self) -> bool {
        let over = self.live.is_empty() && self.leaving.is_empty();
        self.close_by.is_some_and(|by| over || by <= Instant::now())
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Capacity(reply) => {
                self.look_if_stale();
                answer(reply, Ok(self.capacity()));
            }
            Command::Queue(reply) => answer(reply, Ok(self.queue())),
            Command::Estimate(allocation, reply) => answer(reply, Ok(self.estimate(&allocation))),
            Command::DryRun(request, reply) => answer(reply, self.dry_run(&request)),
            Command::Submit(request, reply) => {
                let result = self.submit(request);
                answer(reply, result);
            }
            Command::Status(ids, reply) => {
                let known = |native: NativeId| self.status(&native).map(|status| (native, status));
                answer(reply, Ok(ids.into_iter().filter_map(known).collect()));
            }
            Command::Cancel(native, reply) => {
                let result = self.cancel(&native);
                answer(reply, result);
            }
            Command::LogPath(native, reply) => {
                let path = self.jobs.get(&native).map(|job| job.directory.join(LOG_NAME));
                answer(reply, path.ok_or(WorkloadError::UnknownJob { native }));
            }
            Command::Looked(busy) => self.on_looked(busy),
            Command::Exited(native, child) => self.reap(&native, child),
            Command::Shutdown(done) => {
                self.waiting_for_close.extend(done);
                self.close();
            }
            Command::Detach(_) => {}
        }
    }

    fn record(&self, native: &NativeId, step: Step) -> Record {
        Record { native: native.clone(), at: self.clock.now(), step }
    }

    /// Notes what has happened already. If the journal cannot be written now, the record is kept and
    /// tried again; until then no new work is taken.
    fn note(&mut self, native: &NativeId, step: Step) {
        let record = self.record(native, step);
        self.jobs.apply(&record);
        self.unwritten.push_back(record);
        if let Err(error) = self.flush() {
            tracing::error!(%error, job = %native, "cannot write the journal; it is tried again");
            self.retry_at.get_or_insert(Instant::now() + RETRY);
        }
    }

    fn flush(&mut self) -> Result<(), WorkloadError> {
        while let Some(record) = self.unwritten.front() {
            self.journal.append(record)?;
            self.unwritten.pop_front();
        }
        Ok(())
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, WorkloadError>) {
    // Whoever asked may have stopped waiting.
    let _gone = reply.send(result);
}

fn duration(seconds: Seconds) -> Duration {
    Duration::try_from_secs_f64(seconds.get().max(0.0)).unwrap_or(Duration::MAX)
}
