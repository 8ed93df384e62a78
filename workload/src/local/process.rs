//! Processes: starting one in its own group, telling it from another with the same number, and making
//! sure that nothing of it stays behind.
//!
//! Two marks identify what belongs to a job where it has no cgroup: its **process group**, and the
//! variables `PARLEY_JOB_ID` and `PARLEY_ATTEMPT` in the environment of every process of it. The second
//! also finds a daemon that left the group with `setsid`, unless it dropped its environment too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use serde::{Deserialize, Serialize};

/// The shell that a job is started through, so that it is in its cgroup before its program begins, and so
/// that its exit code is on disk even when the agent is gone by then. The job's words are arguments of the
/// shell, never part of its program.
const SHELL: &str = "/bin/sh";

/// Enters the cgroups whose files stand behind the first two words, a record and their number; then runs
/// the rest and writes its exit code into the record. A stop signal goes to the whole group; the shell
/// outlives it to write the code down. Its variables have names that no job can set.
const RECORDER: &str = r#"trap : TERM
PARLEY_record=$1
PARLEY_doors=$2
shift 2
while [ "$PARLEY_doors" -gt 0 ]; do
  if ! echo 0 >"$1"; then
    echo outside >"$PARLEY_record"
    exit 125
  fi
  shift
  PARLEY_doors=$((PARLEY_doors - 1))
done
"$@"
PARLEY_code=$?
printf '%s\n' "$PARLEY_code" >"$PARLEY_record"
exit "$PARLEY_code"
"#;

/// What the recorder exits with, and writes down instead of a code, when it could not enter a cgroup.
const OUTSIDE: (i32, &str) = (125, "outside\n");

/// Puts variables into the environment of a program; where POSIX has it, and where else it may be.
const ENV: [&str; 2] = ["/usr/bin/env", "/bin/env"];

/// A process, told from every other that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    pub(super) pid: i32,
    /// When it started, in clock ticks since the machine booted.
    pub(super) start_ticks: u64,
    /// Which boot that was.
    pub(super) boot_id: String,
}

impl ProcessIdentity {
    /// The identity of a process that exists now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self { pid, start_ticks: stat.start_ticks, boot_id: boot_id()? })
    }

    /// Whether this very process still runs; a zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        boot_id().as_deref() == Some(self.boot_id.as_str())
            && Stat::read(self.pid)
                .is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.state != 'Z')
    }

    /// Whether it has ended and waits to be reaped.
    pub(super) fn is_zombie(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.state == 'Z')
    }
}

/// How a process is to be started.
pub(super) struct Launch<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) directory: &'a Path,
    pub(super) log: &'a File,
    /// Where the exit code is written.
    pub(super) record: &'a Path,
    /// The files through which it enters its cgroups.
    pub(super) doors: &'a [PathBuf],
}

/// Whether jobs can be started through a shell, and so in cgroups.
pub(super) fn has_shell() -> bool {
    Path::new(SHELL).exists()
}

/// Tries the files of a cgroup with a process that enters it, as a job does, and ends.
pub(super) fn try_doors(doors: &[PathBuf]) -> io::Result<()> {
    let script = r#"for door; do echo 0 >"$door" || exit 1; done"#;
    let mut command = Command::new(SHELL);
    command.args(["-c", script, "parley-trial"]).args(doors).env_clear().env("LC_ALL", "C");
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("no process can enter: {}", said.trim())))
}

/// Starts a process in a group of its own, with nothing of the agent's but the given environment.
pub(super) fn launch(launch: &Launch<'_>) -> io::Result<Child> {
    let mut command = if has_shell() {
        let (held_back, of_shell): (BTreeMap<_, _>, BTreeMap<_, _>) =
            launch.environment.iter().partition(|(name, _)| acts_on_shell(name));
        let mut command = Command::new(SHELL);
        command.args(["-c", RECORDER, "parley-job"]).arg(launch.record);
        command.arg(launch.doors.len().to_string()).args(launch.doors);
        if !held_back.is_empty() {
            command.args(through_env(launch.program, &held_back)?);
        }
        command.arg(launch.program).env_clear().envs(of_shell);
        command
    } else {
        let mut command = Command::new(launch.program);
        command.env_clear().envs(launch.environment);
        command
    };
    command
        .args(launch.arguments)
        .current_dir(launch.directory)
        .stdin(Stdio::null())
        .stdout(launch.log.try_clone()?)
        .stderr(launch.log.try_clone()?)
        .process_group(0)
        .spawn()
}

/// Whether a variable makes the dynamic loader or a shell do something as they start. Such a variable is for
/// the job's program; in the recorder it would act before the job is in its cgroup. Names that shells do
/// not take are among them, as a shell may drop them on the way.
fn acts_on_shell(name: &str) -> bool {
    let identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    !identifier
        || ["LD_", "DYLD_", "GLIBC_", "BASH"].iter().any(|prefix| name.starts_with(prefix))
        || ["ENV", "SHELLOPTS", "PS4", "IFS", "GCONV_PATH", "LOCPATH", "POSIXLY_CORRECT"].contains(&name)
}

/// The words that put variables into a program's environment behind the shell's back.
fn through_env(program: &Path, variables: &BTreeMap<&String, &String>) -> io::Result<Vec<String>> {
    let env = ENV.into_iter().find(|path| Path::new(path).exists());
    let env = env.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no env(1)"))?;
    if program.to_string_lossy().contains('=') {
        // env(1) would take it for a variable.
        let message = "a program whose path has '=' in it cannot get variables for the loader or the shell";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let words = variables.iter().map(|(name, value)| format!("{name}={value}"));
    Ok([env.to_owned(), "--".to_owned()].into_iter().chain(words).collect())
}

/// Opens the log of a job for appending. A link in its place is not followed: the directory belongs to
/// whoever wrote the job.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// The exit code that the recorder wrote, if it came that far.
pub(super) fn recorded_exit(record: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(record).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

/// Whether the recorder says that it never came into its cgroup and ran nothing.
pub(super) fn stayed_outside(record: &Path, code: Option<i32>) -> bool {
    let says = || std::fs::read_to_string(record).is_ok_and(|text| text == OUTSIDE.1);
    code.is_none_or(|code| code == OUTSIDE.0) && says()
}

/// The exit code in the way of shells: 128 plus the number of the signal that ended the process.
pub(super) fn exit_code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// Where a program is: as it stands if it has a slash in it, else the first match on the search path.
pub(super) fn find_program(program: &str, search_path: &str, directory: &Path) -> Option<PathBuf> {
    let runnable =
        |path: PathBuf| (path.is_file() && access(&path, AccessFlags::X_OK).is_ok()).then_some(path);
    if program.contains('/') {
        return runnable(directory.join(program));
    }
    if program.is_empty() {
        return None;
    }
    // An empty or relative entry would look into whatever directory the agent stands in.
    search_path
        .split(':')
        .filter(|entry| entry.starts_with('/'))
        .find_map(|entry| runnable(Path::new(entry).join(program)))
}

/// Waits until a child has ended, without reaping it: its number, and so its group's, stays taken
/// until the rest of the group is dealt with.
#[cfg(target_os = "linux")]
pub(super) fn wait_for_end(child: &mut Child) {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while let Err(Errno::EINTR) = waitid(Id::Pid(pid_of(child)), flags) {}
}

/// Waits until a child has ended; its exit code is then in its record.
#[cfg(not(target_os = "linux"))]
pub(super) fn wait_for_end(child: &mut Child) {
    let _status = child.wait();
}

pub(super) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Sends a signal to a whole process group. That nobody is left to hear it is fine.
pub(super) fn signal_group(group: i32, signal: Signal) {
    // 0 and 1 would mean the agent's own group and everything.
    if group > 1 {
        let _nobody_left = killpg(Pid::from_raw(group), signal);
    }
}

/// Ends every process that carries the job's marks, also those that left its group. Some may start
/// others meanwhile, so it looks again until there is none, a few times at most.
pub(super) fn sweep(job_id: &JobId, attempt: AttemptNumber) -> usize {
    let mut ended = 0;
    for _ in 0..8 {
        let found = marked(job_id, attempt);
        if found.is_empty() {
            break;
        }
        for process in found {
            if process.is_alive() && kill(Pid::from_raw(process.pid), Signal::SIGKILL).is_ok() {
                ended += 1;
            }
        }
    }
    ended
}

/// The processes that carry a job's marks, the agent itself never among them.
pub(super) fn marked(job_id: &JobId, attempt: AttemptNumber) -> Vec<ProcessIdentity> {
    let job = format!("PARLEY_JOB_ID={job_id}");
    let attempt = format!("PARLEY_ATTEMPT={attempt}");
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    pids()
        .filter(|pid| *pid != own && *pid > 1)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                let has =
                    |mark: &str| environment.split(|byte| *byte == 0).any(|word| word == mark.as_bytes());
                has(&job) && has(&attempt)
            })
        })
        .filter_map(ProcessIdentity::of)
        .collect()
}

/// The leader of a job's group among the processes that carry its marks.
pub(super) fn marked_leader(job_id: &JobId, attempt: AttemptNumber) -> Option<ProcessIdentity> {
    marked(job_id, attempt).into_iter().find(|process| {
        process.is_alive() && Stat::read(process.pid).is_some_and(|stat| stat.group == process.pid)
    })
}

/// Memory of process groups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupMemory {
    /// Resident memory of all its processes now.
    pub(super) now: u64,
    /// The most that any one of them ever had.
    pub(super) most_of_one: u64,
}

/// Memory of every process group on the machine, from one walk over the process table.
pub(super) fn group_memory() -> BTreeMap<i32, GroupMemory> {
    let mut groups: BTreeMap<i32, GroupMemory> = BTreeMap::new();
    for pid in pids() {
        let Some(stat) = Stat::read(pid) else { continue };
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let group = groups.entry(stat.group).or_default();
        group.now += kibibytes(&status, "VmRSS:").unwrap_or(0) * 1024;
        group.most_of_one = group.most_of_one.max(kibibytes(&status, "VmHWM:").unwrap_or(0) * 1024);
    }
    groups
}

/// The most memory that the agent itself ever had. A child's maximum starts from it, because the child
/// is the agent's copy until it becomes another program.
pub(super) fn own_peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kibibytes(&status, "VmHWM:").map_or(u64::MAX, |kibibytes| kibibytes * 1024)
}

/// The memory of this machine.
pub(super) fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(kibibytes(&text, "MemTotal:")? * 1024)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// What is needed of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    group: i32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in brackets and may hold anything, brackets too.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, start_ticks })
    }
}

/// The agent's own variables that a job may see, with what stands in where the agent has none.
pub(super) fn clean_environment() -> BTreeMap<String, String> {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/"), ("LANG", "C.UTF-8")]
        .into_iter()
        .map(|(name, otherwise)| {
            let value = std::env::var_os(name).as_deref().and_then(OsStr::to_str).map(str::to_owned);
            (name.to_owned(), value.unwrap_or_else(|| otherwise.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_forge_the_fields_behind_it() {
        let text = "42 (a) R 1 7 b) S 1 99 42 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', group: 99, start_ticks: 123_456 }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn this_process_knows_itself() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let identity = ProcessIdentity::of(pid).unwrap();
        assert!(identity.is_alive());
        assert!(!ProcessIdentity { start_ticks: identity.start_ticks + 1, ..identity.clone() }.is_alive());
        assert!(!ProcessIdentity { boot_id: "another".to_owned(), ..identity }.is_alive());
        assert!(own_peak_memory() > 0 && own_peak_memory() < u64::MAX);
    }

    #[test]
    fn programs_are_found_on_absolute_entries_only() {
        let here = Path::new("/bin");
        assert!(find_program("sh", "/nowhere:/bin", here).is_some());
        assert_eq!(find_program("sh", ":.:bin", here), None);
        assert!(find_program("./sh", "", here).is_some());
        assert_eq!(find_program("", "/bin", here), None);
        assert_eq!(find_program("/etc/passwd", "/bin", here), None);
        assert_eq!(find_program("/bin", "/bin", here), None);
    }

    #[test]
    fn a_program_that_cannot_enter_its_cgroup_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let log = open_log(&path("log")).unwrap();
        let mut launched = launch(&Launch {
            program: Path::new("/bin/sh"),
            arguments: &["-c".to_owned(), "echo ran".to_owned()],
            environment: &BTreeMap::new(),
            directory: directory.path(),
            log: &log,
            record: &path("record"),
            doors: &[path("open"), path("none/cgroup.procs")],
        })
        .unwrap();
        let code = exit_code(launched.wait().unwrap());
        assert!(code == Some(125) && stayed_outside(&path("record"), code));
        assert_eq!(std::fs::read_to_string(path("open")).unwrap(), "0\n");
        assert!(!std::fs::read_to_string(path("log")).unwrap().contains("ran"));
        std::fs::write(path("record"), "125\n").unwrap();
        assert!(!stayed_outside(&path("record"), code), "a program may end with the same code");
    }

    #[test]
    fn what_would_act_on_the_recorder_is_held_back() {
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "BASH_FUNC_echo%%", "ENV", "a-b", "1st"] {
            assert!(acts_on_shell(name), "{name}");
        }
        for name in ["PATH", "HOME", "OMP_NUM_THREADS", "_x1", "PARLEY_JOB_ID", "BUILD"] {
            assert!(!acts_on_shell(name), "{name}");
        }
        let (name, value) = ("LD_PRELOAD".to_owned(), "/x y".to_owned());
        let variables = BTreeMap::from([(&name, &value)]);
        let words = through_env(Path::new("/bin/true"), &variables).unwrap();
        assert_eq!(words[1..], ["--", "LD_PRELOAD=/x y"]);
        through_env(Path::new("/a=b/true"), &variables).unwrap_err();
    }

    #[test]
    fn a_record_counts_once_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        assert_eq!(recorded_exit(&record), None);
        for (text, code) in [("", None), ("7", None), ("7\n", Some(7)), ("x\n", None)] {
            std::fs::write(&record, text).unwrap();
            assert_eq!(recorded_exit(&record), code, "{text:?}");
        }
    }
}
