//! `explain`: why workers won or lost.

use std::io::{self, Write};

use negotiation::explain::{Explanation, Standing};
use protocol::ids::{NegotiationId, WorkerId};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::hub::{Answer, Hub};
use crate::output::Document;
use crate::render::{Screen, explanation};

/// Explains a negotiation, for one worker or for all.
pub async fn explain(
    console: &Console,
    hub: &Hub,
    negotiation: &NegotiationId,
    worker: Option<&WorkerId>,
) -> Result<Exit, Failure> {
    let mut arguments = json!({"negotiation_id": negotiation});
    if let Some(worker) = worker {
        arguments["worker_id"] = json!(worker);
    }
    let answer = hub.get::<Explanation>("explain_negotiation", arguments).await?;
    console.print(&Explained { answer: &answer, only: worker })?;
    Ok(Exit::Done)
}

struct Explained<'a> {
    answer: &'a Answer<Explanation>,
    only: Option<&'a WorkerId>,
}

impl Document for Explained<'_> {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        let explained = &self.answer.value;
        match self.only.and_then(|worker| explained.workers.get_key_value(worker)) {
            Some((id, worker)) => explanation::write_worker(out, screen, id, worker),
            None => explanation::write(out, screen, explained),
        }
    }

    fn json(&self) -> Value {
        self.answer.raw.clone()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        for (id, worker) in explanation::in_order(&self.answer.value) {
            let standing = match worker.standing {
                Standing::Chosen => "chosen",
                Standing::Passed => "passed",
                Standing::Failed => "failed",
                Standing::NotAsked => "not-asked",
            };
            writeln!(out, "{id} {standing}")?;
        }
        Ok(())
    }
}
