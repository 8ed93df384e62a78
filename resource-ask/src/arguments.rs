//! The command line: every command, flag and default, and the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use protocol::ids::{ArtifactId, JobId, NegotiationId, WorkerId};
use protocol::job::JobState;
use protocol::understanding::Intent;
use protocol::units::Timestamp;

use crate::output::Format;

/// Ask a fleet of clusters for a place to run some work, and run it there.
#[derive(Debug, Parser)]
#[command(
    name = "resource-ask",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  resource-ask understand \"lammps on 3 nodes with 4 H100 each, at most $40\"
  resource-ask satisfy \"lammps on 3 nodes, start now\"
  resource-ask select \"train a gradient boosted model on data.csv, as cheap as possible\"
  resource-ask negotiate \"2 cores for 5 minutes\" --yes -- python3 train.py
  resource-ask explain neg-0123 hpc-1

Exit codes: 0 done, 1 the job failed, 2 usage, 3 nothing can run it, 4 hub unreachable,
5 refused, 70 internal error."
)]
pub struct Arguments {
    /// What is common to all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The hub's MCP address.
    #[arg(
        long,
        global = true,
        env = "RESOURCE_ASK_URL",
        default_value = "http://localhost:8000/mcp",
        help_heading = "Global options"
    )]
    pub url: String,
    /// Client token, when the hub wants one.
    #[arg(
        long,
        global = true,
        env = "RESOURCE_ASK_TOKEN",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub token: Option<String>,
    /// Print one JSON document instead of tables.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Print names only, and no progress.
    #[arg(long, short, global = true, conflicts_with = "json", help_heading = "Global options")]
    pub quiet: bool,
}

impl Global {
    /// The form of the results.
    #[must_use]
    pub const fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else if self.quiet {
            Format::Quiet
        } else {
            Format::Table
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a request means, without asking anybody
    Understand {
        /// The need in plain language; `-` reads it from standard input.
        prompt: String,
        /// The time that "by 18:00" is counted from, instead of now (RFC 3339).
        #[arg(long, env = "RESOURCE_ASK_NOW", value_name = "TIME")]
        now: Option<Timestamp>,
    },
    /// Ask who can run the work; nothing is reserved or run
    Satisfy(Asking),
    /// Ask who can run the work, and choose
    Select {
        /// The request.
        #[command(flatten)]
        asking: Asking,
        /// Choose among the proposals in this file (the JSON of `satisfy`), without asking anybody.
        #[arg(long, value_name = "FILE")]
        proposals: Option<PathBuf>,
    },
    /// Ask, choose, run the work there and follow it
    #[command(after_help = "\
Examples:
  resource-ask negotiate \"lammps on 3 nodes\" --select soonest --yes
  resource-ask negotiate \"backtest prices.csv with a 10/50 moving average\" --yes --json
  resource-ask negotiate \"4 cores, 8 GiB, 10 minutes\" --yes -- ./simulate --steps 1000

A job whose data is a file on this machine gets it: the file is uploaded to the hub first.")]
    Negotiate {
        /// The request.
        #[command(flatten)]
        asking: Asking,
        /// How to run it.
        #[command(flatten)]
        running: Running,
    },
    /// Run the work on a worker of your choice
    Dispatch {
        /// The worker.
        worker: WorkerId,
        /// The request.
        #[command(flatten)]
        asking: Asking,
        /// How to run it.
        #[command(flatten)]
        running: Running,
    },
    /// List jobs, the newest first
    Jobs(JobList),
    /// Show one job
    Job {
        /// The job.
        job: JobId,
        /// Wait until it is over, printing its log on the way to standard error.
        #[arg(long)]
        wait: bool,
    },
    /// Print a job's output
    Logs {
        /// The job.
        job: JobId,
        /// Go on until the job is over.
        #[arg(long, short)]
        follow: bool,
    },
    /// Ask for a job to be stopped
    Cancel {
        /// The job.
        job: JobId,
    },
    /// List the files that jobs produced
    Artifacts {
        /// Only those of this job.
        job: Option<JobId>,
    },
    /// Download an artifact and verify its digest
    Fetch {
        /// The artifact.
        artifact: ArtifactId,
        /// Where to write it; `-` is standard output.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Explain why workers won or lost, and what would have changed it
    Explain {
        /// The negotiation.
        negotiation: NegotiationId,
        /// Only this worker.
        worker: Option<WorkerId>,
    },
    /// Write what the fleet has, the truth of simulated workers included
    Export {
        /// Where to write it; standard output without it.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what is known of each worker's honesty and delivery
    Trust,
    /// List strategies, workers, jobs, providers or archetypes
    List {
        /// What to list.
        what: Listing,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// A request and how it is asked.
#[derive(Debug, Clone, Default, Args)]
pub struct Asking {
    /// The need in plain language; `-` reads it from standard input.
    pub prompt: Option<String>,
    /// A typed request as JSON; `-` reads it from standard input. Its fields win over the prompt.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub request: Option<PathBuf>,
    /// What matters most, whatever the prompt says.
    #[arg(long, value_enum, help_heading = "Request")]
    pub intent: Option<IntentArgument>,
    /// Ask only this worker; may be repeated.
    #[arg(long, value_name = "WORKER", help_heading = "Request")]
    pub worker: Vec<WorkerId>,
    /// How to choose; the next one is tried when one does not choose. `list select` names them.
    #[arg(long, visible_alias = "strategy", value_name = "STRATEGY", help_heading = "Request")]
    pub select: Vec<String>,
    /// Seconds until the answer is due, from 0.1 to 600 [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = deadline, help_heading = "Request")]
    pub deadline: Option<f64>,
    /// Have the workers report which of their tools they used.
    #[arg(long, short, help_heading = "Request")]
    pub verbose: bool,
}

/// How a chosen work is run.
#[derive(Debug, Clone, Default, Args)]
pub struct Running {
    /// Do not ask before running it; needed where there is no terminal.
    #[arg(long, short)]
    pub yes: bool,
    /// Return once a worker has accepted it.
    #[arg(long)]
    pub no_wait: bool,
    /// The same key again returns the same job instead of starting another.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// The program to run and its arguments, instead of what the prompt says.
    #[arg(last = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Args)]
pub struct JobList {
    /// Only those in this state (running, completed, failed, ...).
    #[arg(long, value_parser = job_state)]
    pub state: Option<JobState>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

impl Default for JobList {
    fn default() -> Self {
        Self { state: None, limit: 100 }
    }
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// The selection strategies.
    Select,
    /// The workers of the fleet.
    Workers,
    /// The newest jobs.
    Jobs,
    /// What secretaries look at.
    Providers,
    /// The kinds of simulated clusters.
    Archetypes,
}

/// An intent on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IntentArgument {
    /// A bit of everything.
    Balanced,
    /// As little money as possible.
    Cheapest,
    /// As early a start as possible.
    Soonest,
    /// As early an end as possible.
    Fastest,
}

impl From<IntentArgument> for Intent {
    fn from(argument: IntentArgument) -> Self {
        match argument {
            IntentArgument::Balanced => Self::Balanced,
            IntentArgument::Cheapest => Self::Cheapest,
            IntentArgument::Soonest => Self::Soonest,
            IntentArgument::Fastest => Self::Fastest,
        }
    }
}

fn job_state(name: &str) -> Result<JobState, String> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|_| {
        "not one of pending, blocked, negotiating, running, cancelling, completed, failed, cancelled, unknown"
            .to_owned()
    })
}

fn deadline(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.1 to 600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("resource-ask").chain(line.iter().copied()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_line_follows_two_hyphens() {
        let parsed =
            parse(&["negotiate", "2 cores", "--select", "soonest", "--yes", "--", "echo", "--json"]).unwrap();
        assert!(!parsed.global.json);
        let Command::Negotiate { asking, running } = parsed.command else { panic!("another command") };
        assert_eq!(asking.prompt.as_deref(), Some("2 cores"));
        assert_eq!(asking.select, ["soonest"]);
        assert!(running.yes);
        assert_eq!(running.argv, ["echo", "--json"]);
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        assert!(parse(&["--json", "trust"]).unwrap().global.json);
        assert!(parse(&["trust", "--json"]).unwrap().global.json);
        assert!(parse(&["trust", "--json", "--quiet"]).is_err());
    }

    #[test]
    fn bad_values_are_refused_before_anything_is_asked() {
        assert!(parse(&["satisfy", "x", "--deadline", "0"]).is_err());
        assert!(parse(&["satisfy", "x", "--deadline", "nan"]).is_err());
        assert!(parse(&["dispatch", "Not A Name", "x", "--yes"]).is_err());
        assert!(parse(&["understand", "x", "--now", "yesterday"]).is_err());
        assert!(parse(&["list", "everything"]).is_err());
    }
}
