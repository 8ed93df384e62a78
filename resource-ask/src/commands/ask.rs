//! `satisfy` and `select`: asking the fleet without running anything.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use protocol::negotiation::{NegotiationView, Notice};
use protocol::request::Request;
use protocol::units::Timestamp;
use serde_json::{Value, json};

use crate::arguments::Asking;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::hub::{Answer, Hub};
use crate::offline;
use crate::output::Document;
use crate::progress;
use crate::render::{Screen, proposals};
use crate::request;

/// What a hub may take for its decision when the time for proposals is over.
const DECIDING: Duration = Duration::from_secs(10);

/// Asks, and shows who can.
pub async fn satisfy(console: &Console, hub: &Hub, asking: &Asking) -> Result<Exit, Failure> {
    let request = request::build(asking, &[])?;
    let answer = ask(console, hub, &request, "satisfy", false).await?;
    let able = proposals::able(&answer.value.proposals, &answer.value.evaluations);
    let outcome = if able.is_empty() { Err(nothing_fits(&answer.value)) } else { Ok(Exit::Done) };
    console.print(&Proposals { answer: &answer })?;
    outcome
}

/// Asks, chooses, and shows the choice.
pub async fn select(console: &Console, hub: &Hub, asking: &Asking) -> Result<Exit, Failure> {
    let request = request::build(asking, &[])?;
    let answer = ask(console, hub, &request, "select", false).await?;
    console.print(&Choice { answer: &answer })?;
    chosen(&answer.value)
}

/// Chooses among proposals in a file, without asking anybody.
pub fn select_offline(
    console: &Console,
    asking: &Asking,
    file: &Path,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let view = offline::select(asking, &request::read_text(file)?, now)?;
    let raw = serde_json::to_value(&view).unwrap_or_default();
    console.print(&Choice { answer: &Answer { raw, value: view.clone() } })?;
    chosen(&view)
}

/// Sends a request to the fleet in one of the modes that run nothing.
pub async fn ask(
    console: &Console,
    hub: &Hub,
    request: &Request,
    mode: &str,
    hold: bool,
) -> Result<Answer<NegotiationView>, Failure> {
    let mut arguments = serde_json::to_value(request).unwrap_or_default();
    if let Some(fields) = arguments.as_object_mut() {
        fields.insert("mode".to_owned(), json!(mode));
        fields.insert("hold".to_owned(), json!(hold));
    }
    let mut watcher = progress::watcher(console.format);
    let answer = hub
        .negotiate(
            "negotiate_job",
            arguments,
            request::patience(request, DECIDING),
            &mut |notice: &Notice| {
                watcher.on_notice(notice);
            },
        )
        .await;
    watcher.finish();
    answer
}

/// The failure of a negotiation in which nobody can do it.
#[must_use]
pub fn nothing_fits(view: &NegotiationView) -> Failure {
    Failure::NothingFits(proposals::why_nothing(view))
}

fn chosen(view: &NegotiationView) -> Result<Exit, Failure> {
    let worker = view.selection.as_ref().and_then(|selection| selection.worker_id.as_ref());
    if worker.is_some() { Ok(Exit::Done) } else { Err(nothing_fits(view)) }
}

/// The fleet's answers; quiet: the workers that can, best first.
struct Proposals<'a> {
    answer: &'a Answer<NegotiationView>,
}

impl Document for Proposals<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        proposals::write(out, screen, &self.answer.value)
    }

    fn json(&self) -> Value {
        self.answer.raw.clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        for worker in proposals::able(&self.answer.value.proposals, &self.answer.value.evaluations) {
            writeln!(out, "{worker}")?;
        }
        Ok(())
    }
}

/// The fleet's answers and the choice; quiet: the chosen worker.
pub struct Choice<'a> {
    /// The answer.
    pub answer: &'a Answer<NegotiationView>,
}

impl Document for Choice<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        proposals::write(out, screen, &self.answer.value)
    }

    fn json(&self) -> Value {
        self.answer.raw.clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        let selection = self.answer.value.selection.as_ref();
        match selection.and_then(|selection| selection.worker_id.as_ref()) {
            Some(worker) => writeln!(out, "{worker}"),
            None => Ok(()),
        }
    }
}
