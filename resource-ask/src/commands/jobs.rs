//! `jobs`, `job`, `logs`, `cancel`.

use std::io::{self, Write};

use protocol::clock::{Clock, SystemClock};
use protocol::ids::JobId;
use protocol::job::Job;
use protocol::units::Timestamp;
use serde_json::{Value, json};

use super::follow::{self, LineBuffer};
use crate::arguments::JobList;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::hub::{Answer, Hub, Items};
use crate::output::{Document, Format};
use crate::render::{Screen, job, text};

/// Lists jobs.
pub async fn list(console: &Console, hub: &Hub, list: &JobList) -> Result<Exit, Failure> {
    let mut arguments = json!({"limit": list.limit});
    if let Some(state) = list.state {
        arguments["state"] = json!(state);
    }
    let answer = hub.get::<Items<Job>>("list_jobs", arguments).await?;
    console.print(&Jobs { answer: &answer, now: SystemClock.now() })?;
    Ok(Exit::Done)
}

/// Shows a job, after waiting for its end when that is wanted. Only then does its failure count.
pub async fn show(console: &Console, hub: &Hub, id: &JobId, wait: bool) -> Result<Exit, Failure> {
    if !wait {
        console.print(&OneJob(&hub.get::<Job>("get_job", json!({"job_id": id})).await?))?;
        return Ok(Exit::Done);
    }
    let mut lines = LineBuffer::default();
    let show = |line: &str| console.note(&text::escape_lines(line));
    let answer = {
        let mut on_log = |piece: &str| {
            lines.push(piece, show);
            Ok(())
        };
        follow::follow(hub, id, &mut on_log, &mut |why| console.note(why)).await?
    };
    lines.flush(show);
    console.print(&OneJob(&answer))?;
    Ok(Exit::of_job(&answer.value))
}

/// Prints a job's output: as it is into a pipe or file, harmless on a terminal.
pub async fn logs(console: &Console, hub: &Hub, id: &JobId, follow: bool) -> Result<Exit, Failure> {
    let mut whole = String::new();
    let as_document = console.format == Format::Json;
    let harmless = console.is_terminal();
    let mut on_log = |piece: &str| {
        if as_document {
            whole.push_str(piece);
            Ok(())
        } else if harmless {
            console.print_text(&text::escape_lines(&piece.replace("\r\n", "\n")))
        } else {
            console.print_text(piece)
        }
    };
    let complete = if follow {
        follow::follow(hub, id, &mut on_log, &mut |why| console.note(why)).await?;
        true
    } else {
        follow::drain_log(hub, id, 0, &mut on_log).await?.complete
    };
    if as_document {
        console.print(&Log { job: id, text: &whole, complete })?;
    }
    Ok(Exit::Done)
}

/// Asks for a job to be stopped.
pub async fn cancel(console: &Console, hub: &Hub, id: &JobId) -> Result<Exit, Failure> {
    console.print(&OneJob(&hub.act::<Job>("cancel_job", json!({"job_id": id})).await?))?;
    Ok(Exit::Done)
}

struct Jobs<'a> {
    answer: &'a Answer<Items<Job>>,
    now: Timestamp,
}

impl Document for Jobs<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        job::write_list(out, screen, &self.answer.value.items, self.now)
    }

    fn json(&self) -> Value {
        self.answer.raw["items"].clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        self.answer.value.items.iter().try_for_each(|job| writeln!(out, "{}", job.job_id))
    }
}

struct OneJob<'a>(&'a Answer<Job>);

impl Document for OneJob<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        job::write(out, screen, &self.0.value)
    }

    fn json(&self) -> Value {
        self.0.raw.clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.0.value.state)
    }
}

struct Log<'a> {
    job: &'a JobId,
    text: &'a str,
    complete: bool,
}

impl Document for Log<'_> {
    fn table(&self, _: &Screen, out: &mut dyn Write) -> io::Result<()> {
        self.quiet(out)
    }

    fn json(&self) -> Value {
        json!({"job_id": self.job, "text": self.text, "complete": self.complete})
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.text.as_bytes())
    }
}
