//! `mcpserver`: a hub, its workers, simulated fleets, and the built-in jobs, as one program.
//!
//! ```text
//! arguments --plan--> start (hub, worker, both) ---\
//! arguments ----------> simulate, demo (crew) -----+--> hub, worker, transport --> until a signal
//! arguments ----------> detect, providers, job run
//! ```

mod arguments;
mod crew;
mod data_dir;
mod demo;
mod detect;
mod exit;
mod job;
mod listen;
mod logging;
mod managers;
mod member;
mod plan;
mod routes;
mod signals;
mod simulate;
mod site;
mod start;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command, JobCommand};
use crate::exit::{Exit, Failure};

/// Proposals are many small strings: with the system's allocator a third of a large negotiation goes
/// into them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match arguments::parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let outcome = logging::start(arguments.log_format).and_then(|()| match arguments.command {
        Command::Job(JobCommand::Run { spec }) => job::run(&spec),
        command => serve(command),
    });
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("mcpserver: {}", failure.line()));
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Runs a command that needs the runtime.
fn serve(command: Command) -> Result<Exit, Failure> {
    transport::crypto::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Start)?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Start(start) => {
                let host_name = nix::unistd::gethostname().unwrap_or_default();
                let plan = start.plan(&host_name.to_string_lossy())?;
                start::run(plan, signals::shutdown()?).await.map(|()| Exit::Done)
            }
            Command::Simulate(simulate) => {
                simulate::run(simulate, signals::shutdown()?).await.map(|()| Exit::Done)
            }
            Command::Demo(demo) => demo::run(demo, signals::shutdown()?).await,
            Command::Detect { category, name, json } => {
                detect::detect(category, name.as_deref(), json).await.map(|()| Exit::Done)
            }
            Command::Providers { json } => detect::providers(json).map(|()| Exit::Done),
            Command::Completions { shell } => completions(shell).map(|()| Exit::Done),
            Command::Job(JobCommand::Run { spec }) => job::run(&spec),
        }
    });
    // A look that hangs at a dead file system must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "mcpserver", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

/// Says a line on standard error; nothing depends on its arrival.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Help goes out as it is; a mistake is one line.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::from(Exit::Done as u8);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        || error.kind() == ErrorKind::MissingSubcommand
    {
        let _ = error.print();
        return ExitCode::from(Exit::Usage as u8);
    }
    let text = error.render().to_string();
    let body = text.strip_prefix("error: ").unwrap_or(&text);
    let body = body.split("\n\nUsage:").next().unwrap_or(body);
    let body = body.split("\n\nFor more information").next().unwrap_or(body);
    let words: Vec<&str> = body.split_whitespace().collect();
    say(&format!("mcpserver: {}; see --help", words.join(" ")));
    ExitCode::from(Exit::Usage as u8)
}
