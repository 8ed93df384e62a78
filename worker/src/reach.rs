//! Whether the nodes of a site have what a worker submits: its own program, which runs the built-in kinds
//! of job, and the directories of the jobs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::facts::Allocation;
use protocol::ids::JobId;
use protocol::job::AttemptNumber;
use protocol::units::{Seconds, Timestamp};
use tokio::time::Instant;
use workload::read::{NativeId, RunState};
use workload::submit::{Placement, SubmitRequest, SubmitSide};

/// How often the trial is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long the trial may run.
const TRIAL_LIMIT: u32 = 60;

/// Runs `program --version` as a job in a directory of its own and says what came of it: `None` when it
/// ran, else why nobody can rely on it. A trial that has not ended by the deadline is cancelled.
pub async fn trial(
    manager: &dyn SubmitSide,
    program: &Path,
    jobs: &Path,
    now: Timestamp,
    deadline: Instant,
) -> Option<String> {
    let name = format!("trial-{}", now.as_millis());
    let directory = jobs.join(&name);
    if let Err(error) = std::fs::create_dir_all(&directory) {
        return Some(format!("{} cannot be made: {error}", directory.display()));
    }
    let problem = match JobId::parse(&name) {
        Ok(job_id) => run(manager, request(job_id, program, directory.clone()), deadline).await.err(),
        Err(error) => Some(error.to_string()),
    };
    // What the trial printed is of no use to anybody.
    let _gone = std::fs::remove_dir_all(&directory);
    problem
}

fn request(job_id: JobId, program: &Path, directory: PathBuf) -> SubmitRequest {
    SubmitRequest {
        job_id,
        attempt: AttemptNumber::FIRST,
        argv: vec![program.display().to_string(), "--version".to_owned()],
        environment: std::collections::BTreeMap::new(),
        directory,
        allocation: Allocation { nodes: 0, cores: 1, gpus: 0 },
        placement: Placement::default(),
        memory_limit: None,
        time_limit: Some(Seconds::from(TRIAL_LIMIT)),
    }
}

async fn run(manager: &dyn SubmitSide, request: SubmitRequest, deadline: Instant) -> Result<(), String> {
    let native = manager.submit(request).await.map_err(|error| error.to_string())?;
    loop {
        let mut statuses =
            manager.status(std::slice::from_ref(&native)).await.map_err(|error| error.to_string())?;
        let state = statuses.remove(&native).map_or(RunState::Unknown, |status| status.state());
        match state {
            RunState::Completed => return Ok(()),
            RunState::Queued | RunState::Running if Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            RunState::Queued | RunState::Running => return Err(give_up(manager, &native).await),
            state => return Err(format!("a trial of it ended as {state:?}").to_lowercase()),
        }
    }
}

async fn give_up(manager: &dyn SubmitSide, native: &NativeId) -> String {
    match manager.cancel(native).await {
        Ok(()) => "a trial of it did not come to run in time".to_owned(),
        Err(error) => {
            format!("a trial of it did not come to run in time, and could not be cancelled: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::clock::SystemClock;
    use workload::local::{LocalMachine, LocalOptions};

    use super::*;

    async fn outcome(program: &str, deadline: Instant) -> Option<String> {
        let home = tempfile::tempdir().unwrap();
        let options = LocalOptions::whole_machine(home.path().join("machine"));
        let machine = LocalMachine::open(options, Arc::new(SystemClock)).unwrap();
        let jobs = home.path().join("jobs");
        let now = Timestamp::from_millis(1);
        let problem = trial(&machine, Path::new(program), &jobs, now, deadline).await;
        assert_eq!(std::fs::read_dir(&jobs).unwrap().count(), 0);
        problem
    }

    #[tokio::test]
    async fn a_program_that_a_node_has_runs_and_another_does_not() {
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(outcome("/bin/true", later).await, None);
        let failed = outcome("/bin/false", later).await.unwrap();
        assert!(failed.contains("failed"), "{failed}");
        let missing = outcome("/nonexistent/mcpserver", later).await.unwrap();
        assert!(missing.contains("/nonexistent/mcpserver"), "{missing}");
    }
}
