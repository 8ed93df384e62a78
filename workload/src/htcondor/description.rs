//! A request as a submit description, and back. Nothing of a request gets lost on the way: what has no command is
//! refused with the reason.
//!
//! HTCondor gives a job one slot of one machine; several nodes are refused. Memory is asked for in MiB and time in
//! seconds, both rounded up; the batch script keeps the exact limit, because HTCondor looks every few minutes only.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::facts::Allocation;
use protocol::units::{GiB, Seconds};

use super::machines::{Machine, Pool};
use crate::attempts::{Record, words};
use crate::error::WorkloadError;
use crate::local::LOG_NAME;
use crate::submit::SubmitRequest;

/// What HTCondor is told about a job's size and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// `batch_name`, under which the job is found again.
    pub name: String,
    /// `request_cpus`.
    pub cpus: u32,
    /// `request_memory`, in MiB.
    pub memory_mib: Option<u64>,
    /// `request_gpus`.
    pub gpus: u32,
    /// `allowed_execute_duration`, in seconds.
    pub seconds: Option<u64>,
    /// `My.ParleyTasks`: MPI ranks, which HTCondor has no command for.
    pub tasks: Option<u32>,
    /// `accounting_group`.
    pub group: Option<String>,
    /// `requirements`, in HTCondor's own words.
    pub requirements: Option<String>,
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, WorkloadError> {
    Err(WorkloadError::Refused { field, reason })
}

/// Rounded up.
fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let whole = value.ceil() as u64;
    whole.max(1)
}

impl Description {
    /// The description of a request at a site.
    pub(super) fn of(request: &SubmitRequest, name: String, pool: &Pool) -> Result<Self, WorkloadError> {
        let (allocation, placement) = (request.allocation, &request.placement);
        if let Some(limit) = request.time_limit.filter(|limit| *limit <= Seconds::ZERO) {
            return refuse("time_limit", format!("{limit} leaves no time to run"));
        }
        if let Some(memory) = request.memory_limit.filter(|memory| *memory <= GiB::ZERO) {
            return refuse("memory_limit", format!("{memory} is no memory to run in"));
        }
        if allocation.nodes > 0 {
            return refuse(
                "allocation.nodes",
                "HTCondor gives slots and no whole nodes; ask for cores".to_owned(),
            );
        }
        let none = [
            ("placement.partition", &placement.partition, "no queues"),
            ("placement.qos", &placement.qos, "no quality of service"),
        ];
        for (field, value, reason) in none {
            if let Some(value) = value {
                return refuse(field, format!("HTCondor has {reason}, such as {value:?}"));
            }
        }
        if let Some(model) = placement.gpu_model.as_ref().filter(|_| allocation.gpus > 0) {
            return refuse(
                "placement.gpu_model",
                format!("name {model:?} as a constraint, such as GPUs_DeviceName"),
            );
        }
        // Work that names no cores still runs on one.
        let cpus = allocation.cores.max(1);
        if let Some(tasks) = placement.tasks.filter(|tasks| *tasks == 0 || !cpus.is_multiple_of(*tasks)) {
            return refuse("placement.tasks", format!("{tasks} tasks cannot share {cpus} cores evenly"));
        }
        let read = Self {
            name,
            cpus,
            memory_mib: request.memory_limit.map(|memory| whole(memory.get() * 1024.0)),
            gpus: allocation.gpus,
            seconds: request.time_limit.map(|limit| whole(limit.get())),
            tasks: placement.tasks,
            group: checked("placement.account", placement.account.as_ref(), "._-@")?,
            requirements: checked(
                "placement.constraint",
                placement.constraint.as_ref(),
                " ._-()[]=<>!&|+*/?:\"%,",
            )?,
        };
        read.fits(pool)?;
        Ok(read)
    }

    /// Whether one of the machines could ever run it.
    fn fits(&self, pool: &Pool) -> Result<(), WorkloadError> {
        let most = |part: fn(&Machine) -> u64| pool.in_service().map(part).max().unwrap_or(0);
        let checks = [
            ("allocation.cores", u64::from(self.cpus), most(|machine| machine.cores.into())),
            ("allocation.gpus", u64::from(self.gpus), most(|machine| machine.gpus.into())),
            ("memory_limit", self.memory_mib.unwrap_or(0), most(|machine| machine.memory_mib)),
        ];
        for (field, asked, most) in checks {
            if asked > most {
                return refuse(field, format!("{asked} asked for, the largest slot has {most}"));
            }
        }
        if pool.in_service().any(|machine| self.has_room(machine.cores, machine.gpus, machine.memory_mib)) {
            return Ok(());
        }
        refuse("allocation", "no slot has all of that together".to_owned())
    }

    /// Whether it could start now.
    pub(super) fn fits_now(&self, pool: &Pool) -> bool {
        let room =
            |machine: &Machine| self.has_room(machine.cores_free, machine.gpus_free, machine.memory_free_mib);
        pool.in_service().any(room)
    }

    fn has_room(&self, cores: u32, gpus: u32, memory_mib: u64) -> bool {
        self.cpus <= cores && self.gpus <= gpus && self.memory_mib.unwrap_or(0) <= memory_mib
    }

    /// The commands for its size and place.
    fn commands(&self) -> Vec<(&'static str, String)> {
        let mut commands = vec![("batch_name", self.name.clone()), ("request_cpus", self.cpus.to_string())];
        let mut add = |name, value: Option<String>| commands.extend(value.map(|value| (name, value)));
        add("request_memory", self.memory_mib.map(|mib| mib.to_string()));
        add("request_gpus", (self.gpus > 0).then(|| self.gpus.to_string()));
        add("allowed_execute_duration", self.seconds.map(|seconds| seconds.to_string()));
        add("My.ParleyTasks", self.tasks.map(|tasks| tasks.to_string()));
        add("accounting_group", self.group.clone());
        add("requirements", self.requirements.clone());
        commands
    }

    /// The whole submit description of an attempt. `script` is the file that begins it.
    pub(super) fn document(&self, directory: &Path, record: &Record, script: &Path) -> String {
        let words = [script, &words::path(record), &record.notes()].map(|path| path.display().to_string());
        let mut commands = vec![
            ("universe", "vanilla".to_owned()),
            ("executable", "/bin/sh".to_owned()),
            ("transfer_executable", "false".to_owned()),
            ("arguments", arguments(&words)),
            // A job has no search path else.
            ("environment", arguments(&["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()])),
            ("should_transfer_files", "NO".to_owned()),
            ("initialdir", directory.display().to_string()),
            ("input", "/dev/null".to_owned()),
            ("output", LOG_NAME.to_owned()),
            ("error", "/dev/null".to_owned()),
            ("notification", "never".to_owned()),
            // Put back into the queue after a start, it would be started again.
            ("periodic_remove", "NumShadowStarts > 0 && JobStatus == 1".to_owned()),
        ];
        commands.extend(self.commands());
        let lines: String = commands.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        lines + "queue 1\n"
    }

    /// Reads a submit description back, as far as it is about size and place.
    #[must_use]
    pub fn parse(document: &str) -> Option<Self> {
        let pairs = document.lines().filter_map(|line| line.split_once(" = "));
        let commands: BTreeMap<&str, &str> = pairs.collect();
        let number = |name: &str| commands.get(name).map(|value| value.parse::<u64>());
        let small = |name: &str| number(name).transpose().ok()?.map(u32::try_from).transpose().ok();
        let text = |name: &str| commands.get(name).map(|value| (*value).to_owned());
        Some(Self {
            name: text("batch_name")?,
            cpus: small("request_cpus")??,
            memory_mib: number("request_memory").transpose().ok()?,
            gpus: small("request_gpus")?.unwrap_or(0),
            seconds: number("allowed_execute_duration").transpose().ok()?,
            tasks: small("My.ParleyTasks")?,
            group: text("accounting_group"),
            requirements: text("requirements"),
        })
    }

    /// What was asked for, as far as the description says it.
    #[must_use]
    pub const fn asked(&self) -> Allocation {
        Allocation { nodes: 0, cores: self.cpus, gpus: self.gpus }
    }
}

/// A value that stays on its line and is no macro.
fn checked(field: &'static str, value: Option<&String>, also: &str) -> Result<Option<String>, WorkloadError> {
    let Some(value) = value else { return Ok(None) };
    let good = (1..=256).contains(&value.len())
        && value.trim() == value
        && value.chars().all(|character| character.is_ascii_alphanumeric() || also.contains(character));
    if good { Ok(Some(value.clone())) } else { refuse(field, format!("{value:?} cannot be put to HTCondor")) }
}

/// Words in the "new" syntax: all in double quotes, each with white space or quotes in single ones; a quote of
/// either kind is doubled.
pub(super) fn arguments(words: &[String]) -> String {
    let quoted = |word: &String| {
        let doubled = word.replace('"', "\"\"");
        if !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '\'') {
            return doubled;
        }
        format!("'{}'", doubled.replace('\'', "''"))
    };
    format!("\"{}\"", words.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use protocol::ids::{Digest, JobId};
    use protocol::job::AttemptNumber;
    use protocol::units::Timestamp;

    use super::*;
    use crate::submit::Placement;

    /// Takes [`arguments`] apart as HTCondor's manual says.
    fn apart(text: &str) -> Vec<String> {
        let inner = text.strip_prefix('"').unwrap().strip_suffix('"').unwrap().replace("\"\"", "\"");
        let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
        let mut characters = inner.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\'' if quoted && characters.peek() == Some(&'\'') => {
                    characters.next();
                    word.get_or_insert_default().push('\'');
                }
                '\'' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                other => word.get_or_insert_default().push(other),
            }
        }
        words.extend(word);
        words
    }

    fn pool() -> Pool {
        let machine = |name: &str, cores, gpus| Machine {
            name: name.to_owned(),
            in_service: true,
            cores,
            cores_free: cores,
            memory_mib: 64 * 1024,
            memory_free_mib: 64 * 1024,
            gpus,
            gpus_free: gpus,
            ..Machine::default()
        };
        Pool { machines: vec![machine("a", 64, 0), machine("b", 16, 4)], version: None }
    }

    fn request() -> SubmitRequest {
        SubmitRequest {
            job_id: JobId::parse("job-1").unwrap(),
            attempt: AttemptNumber::FIRST,
            argv: vec!["true".to_owned()],
            environment: BTreeMap::new(),
            directory: PathBuf::from("/jobs/it's \"one\""),
            allocation: Allocation { nodes: 0, cores: 2, gpus: 0 },
            placement: Placement::default(),
            memory_limit: None,
            time_limit: None,
        }
    }

    fn of(request: &SubmitRequest) -> Result<Description, WorkloadError> {
        Description::of(request, "parley-job-1.1".to_owned(), &pool())
    }

    fn document(request: &SubmitRequest, description: &Description) -> String {
        let record = Record {
            job_id: request.job_id.clone(),
            attempt: request.attempt,
            digest: Digest::of(b""),
            directory: request.directory.clone(),
            submitted_at: Timestamp::from_millis(0),
            own_limit: None,
            native: None,
            withdrawn: false,
            stop_asked: false,
            ended: None,
        };
        description.document(&request.directory, &record, Path::new("/jobs/script"))
    }

    #[test]
    fn what_a_pool_cannot_give_is_refused_with_the_reason() {
        let refused = |change: fn(&mut SubmitRequest)| {
            let mut request = request();
            change(&mut request);
            match of(&request) {
                Err(WorkloadError::Refused { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|request| request.allocation.cores = 65), "allocation.cores");
        assert_eq!(refused(|request| request.allocation.gpus = 5), "allocation.gpus");
        assert_eq!(refused(|request| request.allocation.nodes = 1), "allocation.nodes");
        assert_eq!(refused(|request| request.memory_limit = Some(GiB::from(65))), "memory_limit");
        // Each of it there is, but not together.
        let together = |request: &mut SubmitRequest| {
            request.allocation = Allocation { nodes: 0, cores: 64, gpus: 1 };
        };
        assert_eq!(refused(together), "allocation");
        assert_eq!(refused(|request| request.placement.tasks = Some(3)), "placement.tasks");
        assert_eq!(
            refused(|request| request.placement.partition = Some("a".to_owned())),
            "placement.partition"
        );
        assert_eq!(
            refused(|request| request.placement.account = Some("a\nb".to_owned())),
            "placement.account"
        );
        let macro_in =
            |request: &mut SubmitRequest| request.placement.constraint = Some("$(HOME)".to_owned());
        assert_eq!(refused(macro_in), "placement.constraint");
    }

    #[test]
    fn a_directory_is_one_word() {
        let request = request();
        let document = document(&request, &of(&request).unwrap());
        let line = document.lines().find_map(|line| line.strip_prefix("arguments = ")).unwrap();
        let words = apart(line);
        assert_eq!(words[1], "/jobs/it's \"one\"/.parley-1.words");
        assert_eq!(words.len(), 3);
    }

    proptest! {
        #[test]
        fn words_survive_their_quotes(words in prop::collection::vec("[a-z'\" *\\\\]{0,8}", 0..6)) {
            prop_assert_eq!(apart(&arguments(&words)), words);
        }

        /// A request is refused, or everything in it can be read back from the submit description.
        #[test]
        fn nothing_of_a_request_gets_lost(
            (tasks, per_task, gpus) in (prop::option::of(1_u32..8), 1_u32..12, 0_u32..6),
            memory in prop::option::of(0.1_f64..80.0),
            limit in prop::option::of(0.1_f64..200_000.0),
            account in prop::option::of("[a-z]{1,4}(\\.[a-z]{1,4})?"),
            constraint in prop::option::of("[A-Za-z]{1,6} >= [0-9]{1,3} && [a-z]{1,5} == \"[a-z]{1,3}\""),
        ) {
            let mut request = request();
            request.allocation = Allocation { nodes: 0, cores: tasks.unwrap_or(1) * per_task, gpus };
            request.memory_limit = memory.map(GiB::saturating);
            request.time_limit = limit.map(Seconds::saturating);
            request.placement = Placement { tasks, account, constraint, ..Placement::default() };
            let Ok(description) = of(&request) else { return Ok(()) };
            let read = Description::parse(&document(&request, &description));
            prop_assert_eq!(read.as_ref(), Some(&description));
            prop_assert_eq!(description.asked(), request.allocation);
            prop_assert_eq!(description.memory_mib, request.memory_limit.map(|memory| whole(memory.get() * 1024.0)));
            prop_assert_eq!(description.seconds, request.time_limit.map(|limit| whole(limit.get())));
            prop_assert_eq!(description.tasks, request.placement.tasks);
            prop_assert_eq!(&description.group, &request.placement.account);
            prop_assert_eq!(&description.requirements, &request.placement.constraint);
        }
    }
}
