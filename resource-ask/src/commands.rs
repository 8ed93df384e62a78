//! The commands, one file for each group of them, and what they share.

mod artifacts;
mod ask;
mod explain;
mod fleet;
mod follow;
mod jobs;
mod negotiate;
mod understand;

use std::sync::Arc;

use protocol::clock::{Clock, SystemClock};
use protocol::units::Timestamp;

use crate::arguments::{Arguments, Command, Global, Listing};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;

/// Runs a command; an `Ok` may still carry an exit code other than 0, when the answer itself is bad news.
pub async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let global = arguments.global;
    let console = Console::new(global.format());
    match arguments.command {
        Command::Understand { prompt, now } => {
            understand::understand(&console, &prompt, now.unwrap_or_else(clock))
        }
        Command::Satisfy(asking) => ask::satisfy(&console, &connect(&global)?, &asking).await,
        Command::Select { asking, proposals: Some(file) } => {
            ask::select_offline(&console, &asking, &file, clock())
        }
        Command::Select { asking, proposals: None } => {
            ask::select(&console, &connect(&global)?, &asking).await
        }
        Command::Negotiate { asking, running } => {
            negotiate::check_consent(&console, &running)?;
            negotiate::negotiate(&console, &connect(&global)?, &asking, &running).await
        }
        Command::Dispatch { worker, asking, running } => {
            negotiate::check_consent(&console, &running)?;
            negotiate::dispatch(&console, &connect(&global)?, &worker, &asking, &running).await
        }
        Command::Jobs(list) => jobs::list(&console, &connect(&global)?, &list).await,
        Command::Job { job, wait } => jobs::show(&console, &connect(&global)?, &job, wait).await,
        Command::Logs { job, follow } => jobs::logs(&console, &connect(&global)?, &job, follow).await,
        Command::Cancel { job } => jobs::cancel(&console, &connect(&global)?, &job).await,
        Command::Artifacts { job } => artifacts::list(&console, &connect(&global)?, job.as_ref()).await,
        Command::Fetch { artifact, output } => {
            artifacts::fetch(&console, &connect(&global)?, &artifact, &output).await
        }
        Command::Explain { negotiation, worker } => {
            explain::explain(&console, &connect(&global)?, &negotiation, worker.as_ref()).await
        }
        Command::Export { output } => fleet::export(&console, &connect(&global)?, output.as_deref()).await,
        Command::Trust => fleet::trust(&console, &connect(&global)?).await,
        Command::List { what: Listing::Jobs } => {
            jobs::list(&console, &connect(&global)?, &Default::default()).await
        }
        Command::List { what } => fleet::list(&console, &connect(&global)?, what).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut <Arguments as clap::CommandFactory>::command(),
                "resource-ask",
                &mut script,
            );
            console.print_text(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}

fn connect(global: &Global) -> Result<Hub, Failure> {
    Hub::at(&global.url, global.token.clone(), Arc::new(SystemClock))
}

fn clock() -> Timestamp {
    SystemClock.now()
}
