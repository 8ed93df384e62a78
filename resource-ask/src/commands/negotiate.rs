//! `negotiate` and `dispatch`: the work is awarded, and followed until it is over.
//!
//! With `--yes` one call does everything at the hub. Without it the fleet is asked with holds, a person
//! sees the choice, and the award names the negotiation, so that what runs is what was shown.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use protocol::award::{Receipt, ReceiptStatus};
use protocol::clock::{Clock, SystemClock};
use protocol::ids::WorkerId;
use protocol::job::Job;
use protocol::negotiation::{NegotiationView, Notice};
use protocol::request::Request;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ask::{self, Choice};
use super::follow::{self, LineBuffer};
use crate::arguments::{Asking, Running};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::hub::{Answer, Hub};
use crate::output::{Document, Format};
use crate::progress;
use crate::render::{Screen, job, proposals, text};
use crate::request;
use crate::upload;

/// What an award may take when the time for proposals is over: several workers may refuse first.
const AWARDING: Duration = Duration::from_secs(60);

/// The hub's answer to `dispatch_job`.
#[derive(Debug, Clone, Deserialize)]
struct Dispatched {
    #[serde(flatten)]
    view: NegotiationView,
    receipt: Option<Receipt>,
}

/// Running something needs a yes: the flag, or a person to ask.
pub fn check_consent(console: &Console, running: &Running) -> Result<(), Failure> {
    if running.yes || console.is_interactive() {
        return Ok(());
    }
    Err(Failure::usage(
        "this runs the work and may cost money: give --yes, for there is no terminal to ask on",
    ))
}

/// Asks, chooses, awards, follows.
pub async fn negotiate(
    console: &Console,
    hub: &Hub,
    asking: &Asking,
    running: &Running,
) -> Result<Exit, Failure> {
    let request = prepare(console, hub, asking, running).await?;
    if running.yes {
        let dispatched = award(console, hub, json!(request), &request, running).await?;
        return settle(console, hub, dispatched, running, Head::Negotiation).await;
    }
    let answer = ask::ask(console, hub, &request, "select", true).await?;
    let selection = answer.value.selection.as_ref();
    let Some(worker) = selection.and_then(|selection| selection.worker_id.as_ref()) else {
        console.print(&Choice { answer: &answer })?;
        return Err(ask::nothing_fits(&answer.value));
    };
    if console.format == Format::Table {
        console.print(&Choice { answer: &answer })?;
    }
    if !console.confirm(&format!("run it on {worker}?"))? {
        return Err(Failure::Declined);
    }
    let arguments = json!({"negotiation_id": answer.value.negotiation_id});
    let dispatched = award(console, hub, arguments, &request, running).await?;
    settle(console, hub, dispatched, running, Head::Shown).await
}

/// Awards to a worker that the caller names, and follows.
pub async fn dispatch(
    console: &Console,
    hub: &Hub,
    worker: &WorkerId,
    asking: &Asking,
    running: &Running,
) -> Result<Exit, Failure> {
    if !running.yes && !console.confirm(&format!("run it on {worker}?"))? {
        return Err(Failure::Declined);
    }
    let mut request = prepare(console, hub, asking, running).await?;
    request.workers = vec![worker.clone()];
    let dispatched = award(console, hub, json!(request), &request, running).await?;
    settle(console, hub, dispatched, running, Head::Receipt).await
}

/// The typed request, with local data uploaded.
async fn prepare(
    console: &Console,
    hub: &Hub,
    asking: &Asking,
    running: &Running,
) -> Result<Request, Failure> {
    let mut request = request::build(asking, &running.argv)?;
    if let Some(note) = upload::local_data(hub, &mut request, SystemClock.now()).await? {
        console.note(&note);
    }
    Ok(request)
}

async fn award(
    console: &Console,
    hub: &Hub,
    mut arguments: Value,
    request: &Request,
    running: &Running,
) -> Result<Answer<Dispatched>, Failure> {
    if let (Some(fields), Some(key)) = (arguments.as_object_mut(), &running.idempotency_key) {
        fields.insert("idempotency_key".to_owned(), json!(key));
    }
    let mut watcher = progress::watcher(console.format);
    let answer = hub
        .negotiate("dispatch_job", arguments, request::patience(request, AWARDING), &mut |notice: &Notice| {
            watcher.on_notice(notice);
        })
        .await;
    watcher.finish();
    if let Err(Failure::Unreachable { maybe_sent: true, .. } | Failure::Late { .. }) = &answer {
        console.note("the hub may have started the job before the connection broke: see `resource-ask jobs`");
    }
    answer
}

/// What stands in front of the job: the negotiation; or only the receipt, because the negotiation was
/// shown before, or because the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Negotiation,
    Shown,
    Receipt,
}

/// Prints what was decided, follows the job, and prints what came of it.
async fn settle(
    console: &Console,
    hub: &Hub,
    dispatched: Answer<Dispatched>,
    running: &Running,
    head: Head,
) -> Result<Exit, Failure> {
    let placement = Placement { dispatched: &dispatched, head, job: None };
    let receipt = match &dispatched.value.receipt {
        Some(receipt) if receipt.status == ReceiptStatus::Success => receipt,
        other => {
            console.print(&placement)?;
            return Err(refused(other.as_ref(), &dispatched.value.view));
        }
    };
    if running.no_wait {
        console.print(&placement)?;
        return Ok(Exit::Done);
    }
    if console.format == Format::Table {
        console.print(&placement)?;
    }
    let followed = watch(console, hub, receipt).await;
    if console.format == Format::Table {
        let answer = followed?;
        console.print(&Finished(&answer.value))?;
        return Ok(Exit::of_job(&answer.value));
    }
    // The answer is one document; it is printed even when the job could not be followed to its end.
    console.print(&Placement { job: followed.as_ref().ok().map(|answer| &answer.raw), ..placement })?;
    followed.map(|answer| Exit::of_job(&answer.value))
}

/// Follows a job with its log on standard error, until it is over or somebody presses Ctrl-C.
async fn watch(console: &Console, hub: &Hub, receipt: &Receipt) -> Result<Answer<Job>, Failure> {
    let quiet = console.format == Format::Quiet;
    let mut lines = LineBuffer::default();
    let faint = io::stderr().is_terminal();
    let show = |line: &str| {
        if !quiet {
            let margin = if faint { "\u{2502} " } else { "| " };
            let _ = writeln!(io::stderr(), "{margin}{}", text::escape_lines(line));
        }
    };
    let followed = {
        let mut on_log = |piece: &str| {
            lines.push(piece, show);
            Ok(())
        };
        let mut on_absence = |why: &str| console.note(why);
        tokio::select! {
            followed = follow::follow(hub, &receipt.job_id, &mut on_log, &mut on_absence) => followed,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(format!(
                "the job goes on: `resource-ask job {0} --wait` or `resource-ask cancel {0}`",
                receipt.job_id
            ))),
        }
    };
    lines.flush(show);
    followed
}

/// Why no worker took the job.
fn refused(receipt: Option<&Receipt>, view: &NegotiationView) -> Failure {
    match receipt.and_then(|receipt| Some((receipt, receipt.error.as_ref()?))) {
        Some((receipt, error)) => Failure::NothingFits(format!(
            "{} refused the job: {} ({})",
            receipt.worker_id,
            text::excerpt(&error.message, 300),
            error.code
        )),
        None => ask::nothing_fits(view),
    }
}

struct Placement<'a> {
    dispatched: &'a Answer<Dispatched>,
    head: Head,
    job: Option<&'a Value>,
}

impl Document for Placement<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        let Dispatched { view, receipt } = &self.dispatched.value;
        if self.head == Head::Negotiation {
            proposals::write(out, screen, view)?;
        }
        match receipt {
            Some(receipt) => proposals::write_receipt(out, screen, receipt),
            None => Ok(()),
        }
    }

    fn json(&self) -> Value {
        let raw = &self.dispatched.raw;
        let mut document = if self.head == Head::Receipt {
            // The caller chose, so the answer is about the award alone.
            let mut short = Map::new();
            for key in ["negotiation_id", "receipt", "job_id"] {
                if let Some(value) = raw.get(key) {
                    short.insert(key.to_owned(), value.clone());
                }
            }
            short
        } else {
            raw.as_object().cloned().unwrap_or_default()
        };
        if let Some(job) = self.job {
            document.insert("job".to_owned(), job.clone());
        }
        Value::Object(document)
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.dispatched.value.receipt {
            Some(receipt) if receipt.status == ReceiptStatus::Success => writeln!(out, "{}", receipt.job_id),
            _ => Ok(()),
        }
    }
}

struct Finished<'a>(&'a Job);

impl Document for Finished<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out)?;
        job::write(out, screen, self.0)
    }

    fn json(&self) -> Value {
        serde_json::to_value(self.0).unwrap_or_default()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.0.state)
    }
}
