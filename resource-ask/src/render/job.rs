//! Jobs: lists of them, one in full with promised against observed, its metrics and its artifacts.

use std::io::{self, Write};

use protocol::artifact::Artifact;
use protocol::job::{AttemptState, Job, JobState};
use protocol::units::Timestamp;

use super::grid::{Cell, Column, Grid, Screen, Tone};
use super::text;
use super::understanding::job_outline;

/// The tone of a job's state.
#[must_use]
pub const fn state_tone(state: JobState) -> Tone {
    match state {
        JobState::Completed => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Cancelled | JobState::Cancelling | JobState::Unknown => Tone::Doubtful,
        JobState::Pending | JobState::Blocked | JobState::Negotiating | JobState::Running => Tone::Plain,
    }
}

fn state_of(job: &Job) -> String {
    if job.stale { format!("{} (stale)", job.state) } else { job.state.to_string() }
}

/// Writes one line for each job.
pub fn write_list(out: &mut dyn Write, screen: &Screen, jobs: &[Job], now: Timestamp) -> io::Result<()> {
    if jobs.is_empty() {
        return writeln!(out, "  no jobs");
    }
    let mut grid = Grid::new(
        screen,
        &[
            Column::Label("job"),
            Column::Label("kind"),
            Column::Label("state"),
            Column::Prose("worker"),
            Column::Figure("age"),
            Column::Figure("took"),
        ],
    );
    for job in jobs {
        let took = job.observed.runtime_seconds.map(text::seconds).unwrap_or_default();
        grid.row(vec![
            job.job_id.as_str().into(),
            job.kind.to_string().into(),
            Cell::new(state_tone(job.state), state_of(job)),
            job.worker_id.as_ref().map_or("", |worker| worker.as_str()).into(),
            text::seconds(now.since(job.created_at)).into(),
            took.into(),
        ]);
    }
    grid.write(out)
}

/// Writes everything about one job.
pub fn write(out: &mut dyn Write, screen: &Screen, job: &Job) -> io::Result<()> {
    writeln!(
        out,
        "{} {} {}{}",
        screen.paint(Tone::Strong, "job"),
        job.job_id,
        screen.paint(state_tone(job.state), &state_of(job)),
        job.worker_id.as_ref().map(|worker| format!(" at {worker}")).unwrap_or_default()
    )?;
    writeln!(out, "  {}", job_outline(&job.spec))?;
    if let Some(error) = &job.error {
        let message = format!("{} ({})", text::excerpt(&error.message, 600), error.code);
        writeln!(out, "  {}", screen.paint(Tone::Bad, &message))?;
    }
    write_promises(out, screen, job)?;
    write_attempts(out, screen, job)?;
    if !job.metrics.is_empty() {
        screen.heading(out, "metrics")?;
        let mut grid = Grid::new(screen, &[Column::Prose(""), Column::Figure("")]);
        for (name, value) in &job.metrics {
            grid.row(vec![text::excerpt(name, 60).into(), text::number(value.get()).into()]);
        }
        grid.write(out)?;
    }
    if !job.artifacts.is_empty() {
        screen.heading(out, "artifacts")?;
        write_artifacts(out, screen, &job.artifacts)?;
    }
    Ok(())
}

fn write_promises(out: &mut dyn Write, screen: &Screen, job: &Job) -> io::Result<()> {
    let (promised, observed) = (&job.promised, &job.observed);
    let unknown = || text::UNKNOWN.to_owned();
    let start = match (promised.start_p50_seconds, promised.start_p90_seconds) {
        (None, None) => None,
        (p50, p90) => Some(format!(
            "{}, P90 {}",
            p50.map_or_else(unknown, text::seconds),
            p90.map_or_else(unknown, text::seconds)
        )),
    };
    let rows = [
        ("start after", start, observed.start_seconds.map(text::seconds)),
        (
            "run time",
            promised.runtime_seconds.map(text::seconds),
            observed.runtime_seconds.map(text::seconds),
        ),
        ("cost", promised.cost_usd.map(text::usd), observed.cost_usd.map(text::usd)),
        ("GPU-hours", None, observed.gpu_hours.map(|hours| text::number(hours.get()))),
        ("peak memory", None, observed.peak_memory_gib.map(|memory| text::gib(rounded(memory)))),
    ];
    if rows.iter().all(|(_, promised, observed)| promised.is_none() && observed.is_none()) {
        return Ok(());
    }
    let mut grid =
        Grid::new(screen, &[Column::Label(" "), Column::Figure("promised"), Column::Figure("observed")]);
    for (name, promised, observed) in rows {
        if promised.is_some() || observed.is_some() {
            grid.row(vec![
                name.into(),
                promised.unwrap_or_else(unknown).into(),
                observed.unwrap_or_else(unknown).into(),
            ]);
        }
    }
    grid.write(out)
}

fn rounded(memory: protocol::units::GiB) -> protocol::units::GiB {
    protocol::units::GiB::saturating((memory.get() * 1000.0).round() / 1000.0)
}

/// The attempts, when there is more to say than that the only one did what the job did.
fn write_attempts(out: &mut dyn Write, screen: &Screen, job: &Job) -> io::Result<()> {
    let plain = job.attempts.len() <= 1
        && job
            .attempts
            .iter()
            .all(|attempt| matches!(attempt.state, AttemptState::Succeeded | AttemptState::Running));
    if plain {
        return Ok(());
    }
    let mut grid = Grid::new(
        screen,
        &[
            Column::Figure("attempt"),
            Column::Prose("worker"),
            Column::Label("state"),
            Column::Figure("exit code"),
        ],
    );
    for attempt in &job.attempts {
        grid.row(vec![
            attempt.attempt.to_string().into(),
            attempt.worker_id.as_str().into(),
            attempt.state.to_string().into(),
            attempt.exit_code.map(|code| code.to_string()).unwrap_or_default().into(),
        ]);
    }
    grid.write(out)
}

/// Writes artifacts, two lines each: what it is, and its complete digest, to be compared elsewhere.
pub fn write_artifacts(out: &mut dyn Write, screen: &Screen, artifacts: &[Artifact]) -> io::Result<()> {
    if artifacts.is_empty() {
        return writeln!(out, "  no artifacts");
    }
    for artifact in artifacts {
        writeln!(
            out,
            "  {}  {}, {}, {}",
            screen.paint(Tone::Strong, &text::excerpt(&artifact.name, 100)),
            artifact.artifact_type,
            text::bytes(artifact.size_bytes),
            artifact.artifact_id
        )?;
        writeln!(out, "    {}", screen.paint(Tone::Faint, artifact.digest.as_str()))?;
    }
    Ok(())
}
