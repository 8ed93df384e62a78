//! `resource-ask`: asks a hub where work can run, and runs it there.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use resource_ask::arguments::Arguments;
use resource_ask::commands;
use resource_ask::failure::Exit;
use resource_ask::render::text;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(arguments)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "resource-ask: cannot start: {error}");
            return ExitCode::from(Exit::Internal as u8);
        }
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // One line, whatever a message quotes.
            let _ = writeln!(std::io::stderr(), "resource-ask: {}", text::escape(&failure.to_string()));
            ExitCode::from(failure.exit() as u8)
        }
    }
}
