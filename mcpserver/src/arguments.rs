//! The command line: every command, flag, environment variable and default, and the help texts.
//!
//! What one flag may be is checked here; which flags go together is checked in [`crate::plan`].

use std::path::PathBuf;

use archetypes::{Archetype, Fault};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use protocol::ids::WorkerId;
use secretary::Category;

use crate::exit;
use crate::listen::mcp_path;
use crate::logging::LogFormat;
use workload::kubernetes::{KubernetesOptions, SharedVolume};

/// Serve a hub, a worker or a simulated fleet, and run the jobs that workers accept.
#[derive(Debug, Parser)]
#[command(
    name = "mcpserver",
    version,
    max_term_width = 100,
    subcommand_required = true,
    after_help = format!("\
Examples:
  mcpserver demo                                                  everything on this machine, in seconds
  mcpserver start --hub --hub-secret SECRET                       a hub at http://127.0.0.1:8000
  mcpserver start --join http://127.0.0.1:8000 --join-secret SECRET
  mcpserver simulate --join http://127.0.0.1:8000 --join-secret SECRET --workers 100
  mcpserver detect

{}
The log goes to standard error; RUST_LOG sets what it says (default: warn).", exit::table())
)]
pub struct Arguments {
    /// The form of the log
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a hub, a worker, or both in one
    #[command(after_help = format!("\
Examples:
  mcpserver start --hub --hub-secret SECRET --port 0       a hub; the port is picked and printed
  mcpserver start --hub --dual                             a hub that is its own worker as well
  mcpserver start --join http://127.0.0.1:8000 --join-secret SECRET --worker-id lab
  mcpserver start --join http://127.0.0.1:8000 --join-secret SECRET --port 0 --worker-id hpc-1 --mock hpc
  mcpserver start --join http://127.0.0.1:8000 --join-secret SECRET --outbound    nobody needs to reach it
  mcpserver start --transport stdio                        this machine's read tools for an MCP client

Without --hub and --join it is a worker alone: its read tools are served, and nobody can submit to it.
SIGTERM or Ctrl-C ends it in order. A worker that gets SIGUSR1 is drained: it is asked for no more work
and what runs goes on; SIGUSR2 has it take work again.
This version serves loopback only; reach it from elsewhere through an SSH tunnel.

{}", exit::table()))]
    Start(Box<Start>),
    /// Start many simulated workers in one process
    #[command(after_help = format!("\
Examples:
  mcpserver simulate --join http://127.0.0.1:8000 --join-secret SECRET --workers 100
  mcpserver simulate --join http://127.0.0.1:8000 --join-secret SECRET --workers 20 --liars 0.3 --seed 7

The same seed gives the same fleet, byte for byte, on every machine.

{}", exit::table()))]
    Simulate(Simulate),
    /// Show the whole thing on this machine: no key, no network, nothing left behind
    Demo(Demo),
    /// Show what a worker's secretary sees on this machine
    #[command(after_help = "\
Examples:
  mcpserver detect
  mcpserver detect hardware
  mcpserver detect hardware cpu --json")]
    Detect {
        /// Only this category (hardware, workload, software, container, storage, network, parallel)
        category: Option<Category>,
        /// Only the provider of this name
        name: Option<String>,
        /// Print one JSON document instead of a table
        #[arg(long)]
        json: bool,
    },
    /// List the providers that a secretary can look with, and their tools
    Providers {
        /// Print one JSON document instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Run a built-in job; what workers submit to their workload manager
    #[command(subcommand)]
    Job(JobCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What can be done with a job.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Run the job that a file specifies, in the current directory
    #[command(after_help = "\
The file has the JSON of a job: {\"kind\": \"backtest\", \"spec\": {\"data\": {\"uri\": \"prices.csv\"}}}.
Results and job-report.json are written to the current directory; metrics also go to the file that
PARLEY_METRICS names, one JSON object a line. Exit codes: 0 done, 1 the job failed.")]
    Run {
        /// The file
        spec: PathBuf,
    },
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// MCP over HTTP.
    Http,
    /// MCP over standard input and output.
    Stdio,
}

/// How a hub names its workers' tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ToolNaming {
    /// `<worker>__<tool>`.
    Namespaced,
    /// `<worker>_<tool>`, as the predecessor has them.
    Legacy,
}

/// What runs the work of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Manager {
    /// The site's workload manager when it answers, else this machine.
    #[default]
    Auto,
    /// This machine.
    Local,
    /// Slurm, with the partition, account, qos and constraint of SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_QOS
    /// and SBATCH_CONSTRAINT.
    Slurm,
    /// OpenPBS, PBS Professional or Torque, the one of PBS_SERVER and PBS_CONF_FILE.
    Pbs,
    /// Grid Engine, the one of SGE_ROOT and SGE_CELL.
    Gridengine,
    /// HTCondor, the pool of CONDOR_CONFIG.
    Htcondor,
    /// Flux, the one of FLUX_URI or that of the system.
    Flux,
    /// Kubernetes, the cluster of KUBECONFIG, of ~/.kube/config or of the service account. It is taken by
    /// itself only where --kubernetes-image says what work runs in.
    Kubernetes,
}

/// When false claims count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audit {
    /// A false claim loses at once.
    Before,
    /// A false claim moves trust only; for experiments.
    After,
}

/// `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Serve MCP over HTTP, or over standard input and output
    #[arg(short, long, value_enum, default_value = "http", help_heading = "Listening")]
    pub transport: Transport,
    /// Where to listen; loopback only in this version
    #[arg(long, env = "MCPSERVER_HOST", default_value = "127.0.0.1", help_heading = "Listening")]
    pub host: String,
    /// The port; 0 picks one and prints it [default: 8000 for a hub, 8089 otherwise]
    #[arg(long, env = "MCPSERVER_PORT", help_heading = "Listening")]
    pub port: Option<u16>,
    /// The path of the MCP endpoint
    #[arg(long, env = "MCPSERVER_PATH", default_value = "/mcp", value_parser = mcp_path, help_heading = "Listening")]
    pub path: String,
    /// Where state is kept [default: parley/hub or parley/workers/ID in $XDG_DATA_HOME or ~/.local/share; a
    /// simulated worker keeps nothing]
    #[arg(long, value_name = "DIRECTORY", help_heading = "Listening")]
    pub data_dir: Option<PathBuf>,

    /// Be a hub
    #[arg(long, conflicts_with = "join", help_heading = "Hub")]
    pub hub: bool,
    /// What workers prove that they know; made and printed once if omitted
    #[arg(long, env = "MCP_HUB_SECRET", hide_env_values = true, value_name = "SECRET", help_heading = "Hub")]
    pub hub_secret: Option<String>,
    /// What clients have to show; without it everybody on this machine is a client
    #[arg(long, env = "MCPSERVER_TOKEN", hide_env_values = true, help_heading = "Hub")]
    pub token: Option<String>,
    /// Be a worker of this hub as well
    #[arg(long, help_heading = "Hub")]
    pub dual: bool,
    /// Calls to workers at a time, from 1 to 1024 [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Hub")]
    pub batch: Option<u16>,
    /// One call to a worker at a time
    #[arg(long, conflicts_with = "batch", help_heading = "Hub")]
    pub serial: bool,
    /// How workers' tools are named [default: namespaced]
    #[arg(long, value_enum, help_heading = "Hub")]
    pub tool_names: Option<ToolNaming>,
    /// When false claims count [default: before]
    #[arg(long, value_enum, help_heading = "Hub")]
    pub audit: Option<Audit>,
    /// Seconds that workers keep capacity for a proposal [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Hub")]
    pub hold: Option<f64>,
    /// Seconds without a sign of life after which a worker is offline; it sends three in that time
    /// [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Hub")]
    pub lease: Option<f64>,

    /// Be a worker of this hub
    #[arg(long, value_name = "URL", help_heading = "Worker")]
    pub join: Option<String>,
    /// The hub's join secret
    #[arg(
        long,
        env = "MCPSERVER_JOIN_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        help_heading = "Worker"
    )]
    pub join_secret: Option<String>,
    /// Seconds to go on trying when the hub is not there yet [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Worker")]
    pub join_timeout: Option<f64>,
    /// The worker's name: a-z, 0-9 and '-' [default: the host name]
    #[arg(long, value_name = "NAME", help_heading = "Worker")]
    pub worker_id: Option<WorkerId>,
    /// A label of the worker; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, help_heading = "Worker")]
    pub label: Vec<(String, String)>,
    /// The URL at which the hub reaches this worker, through a tunnel for example
    #[arg(long, value_name = "URL", help_heading = "Worker")]
    pub public_url: Option<String>,
    /// Listen nowhere: the hub reaches this worker over the connection that the worker opens, as behind a
    /// firewall
    #[arg(long, help_heading = "Worker")]
    pub outbound: bool,
    /// What runs the work [default: auto]
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Worker")]
    pub manager: Option<Manager>,
    /// What computing costs here: a JSON file with node_hour_usd, core_hour_usd, gpu_hour_usd
    #[arg(long, value_name = "FILE", help_heading = "Worker")]
    pub prices: Option<PathBuf>,
    /// Add the trace of tool calls to every proposal
    #[arg(long, help_heading = "Worker")]
    pub verbose: bool,

    /// How Kubernetes is used, if it is.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,

    /// What is simulated, if anything.
    #[command(flatten)]
    pub mock: MockFlags,

    /// Which of the values with an environment variable came as a flag.
    #[arg(skip)]
    pub given: Given,
}

/// Values that came as flags rather than from the environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given {
    /// `--host`.
    pub host: bool,
    /// `--path`.
    pub path: bool,
    /// `--port`.
    pub port: bool,
    /// `--hub-secret`.
    pub hub_secret: bool,
    /// `--token`.
    pub token: bool,
    /// `--join-secret`.
    pub join_secret: bool,
}

/// How Kubernetes is used.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesFlags {
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub kubernetes_context: Option<String>,
    /// The namespace that work runs in [default: that of the context]
    #[arg(long, value_name = "NAME")]
    pub kubernetes_namespace: Option<String>,
    /// The image that work runs in; without one, nothing is submitted
    #[arg(long, value_name = "IMAGE")]
    pub kubernetes_image: Option<String>,
    /// Where jobs have their directories, at the same path here and in the pods: CLAIM:/path, or
    /// /directory/of/the/nodes:/path; --data-dir has to lie in it
    #[arg(long, value_name = "VOLUME")]
    pub kubernetes_volume: Option<SharedVolume>,
    /// The service account of the pods [default: none, so that they get no credentials]
    #[arg(long, value_name = "NAME")]
    pub kubernetes_service_account: Option<String>,
    /// A label of the nodes that are this site; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub kubernetes_node_selector: Vec<(String, String)>,
}

impl KubernetesFlags {
    /// A flag that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--kubernetes-context", self.kubernetes_context.is_some()),
            ("--kubernetes-namespace", self.kubernetes_namespace.is_some()),
            ("--kubernetes-image", self.kubernetes_image.is_some()),
            ("--kubernetes-volume", self.kubernetes_volume.is_some()),
            ("--kubernetes-service-account", self.kubernetes_service_account.is_some()),
            ("--kubernetes-node-selector", !self.kubernetes_node_selector.is_empty()),
        ];
        flags.into_iter().find(|(_, set)| *set).map(|(flag, _)| flag)
    }

    /// What they say of the cluster.
    pub fn options(&self) -> KubernetesOptions {
        KubernetesOptions {
            context: self.kubernetes_context.clone(),
            namespace: self.kubernetes_namespace.clone(),
            image: self.kubernetes_image.clone(),
            volume: self.kubernetes_volume.clone(),
            service_account: self.kubernetes_service_account.clone(),
            node_selector: self.kubernetes_node_selector.iter().cloned().collect(),
            ..KubernetesOptions::of_process()
        }
    }
}

/// Flags of one simulated worker.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub struct MockFlags {
    /// Simulate a cluster: hpc, cloud or standalone; without a kind it is drawn from the worker's name
    #[arg(long, value_name = "ARCHETYPE", num_args = 0..=1)]
    pub mock: Option<Option<Archetype>>,
    /// The same as --mock ARCHETYPE
    #[arg(long, value_name = "ARCHETYPE")]
    pub archetype: Option<Archetype>,
    /// The seed of the cluster [default: derived from the worker's name]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How often claims are true, from 0 to 1 [default: 1]
    #[arg(long, value_name = "P", value_parser = share)]
    pub honesty: Option<f64>,
    /// A misbehaviour: hang, slow, error, bad-json, bad-schema, too-large, closed-early, refuse-award,
    /// fail-job, exit
    #[arg(long, value_name = "MODE")]
    pub fault: Option<Fault>,
    /// Simulated seconds in one real second [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub time_scale: Option<f64>,
    /// Really run commands, instead of simulating them from their duration
    #[arg(long)]
    pub mock_exec: bool,
}

/// `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The hub
    #[arg(long, value_name = "URL")]
    pub join: String,
    /// The hub's join secret
    #[arg(long, env = "MCPSERVER_JOIN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub join_secret: Option<String>,
    /// Seconds to go on trying when the hub is not there yet
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "15")]
    pub join_timeout: f64,
    /// How many workers, from 1 to 9999
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9999))]
    pub workers: u16,
    /// The kind of all of them: hpc, cloud, standalone [default: a mix of 40, 40 and 20 %]
    #[arg(long, value_name = "ARCHETYPE")]
    pub mock: Option<Archetype>,
    /// The seed of the fleet
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The share of workers whose claims are never true, from 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = share, default_value = "0")]
    pub liars: f64,
    /// Simulated seconds in one real second
    #[arg(long, value_name = "FACTOR", value_parser = factor, default_value = "1")]
    pub time_scale: f64,
    /// Really run commands, instead of simulating them from their duration
    #[arg(long)]
    pub mock_exec: bool,
    /// A label of all of them; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// What all names begin with, for more than one simulation at a hub
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    pub prefix: Option<String>,
    /// Where to listen; loopback only in this version
    #[arg(long, env = "MCPSERVER_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The port; 0 picks one and prints it
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// End when the job is done, instead of staying up until Ctrl-C
    #[arg(long)]
    pub exit: bool,
    /// Where the job's plot is put
    #[arg(long, value_name = "DIRECTORY", default_value = "parley-demo-output")]
    pub output: PathBuf,
}

/// The command line, read; an error is one line with its exit code, or a help text.
pub fn parse() -> Result<Arguments, clap::Error> {
    let matches = Arguments::command().try_get_matches()?;
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    if let (Command::Start(start), Some(("start", given))) = (&mut arguments.command, matches.subcommand()) {
        // A variable of the environment is for whoever needs it; a flag is meant.
        let is_flag = |name| given.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        start.given = Given {
            host: is_flag("host"),
            path: is_flag("path"),
            port: is_flag("port"),
            hub_secret: is_flag("hub_secret"),
            token: is_flag("token"),
            join_secret: is_flag("join_secret"),
        };
    }
    Ok(arguments)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.1, 86_400.0, "a number of seconds from 0.1 to 86400")
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0, "a number from 0 to 1")
}

fn factor(text: &str) -> Result<f64, String> {
    within(text, 0.001, 1e9, "a number from 0.001 to 1000000000")
}

fn within(text: &str, least: f64, most: f64, wanted: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("must be {wanted}")),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && text.len() <= 256 && !text.contains(char::is_control) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("must be KEY=VALUE, at most 256 characters".to_owned()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    // The longest name that follows is "standalone-9999".
    if WorkerId::parse(text).is_ok() && text.len() <= 16 {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 16 of a-z, 0-9 and '-', not starting with '-'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("mcpserver").chain(line.iter().copied()))
    }

    fn start(line: &[&str]) -> Start {
        match parse(&[&["start"], line].concat()).unwrap().command {
            Command::Start(start) => *start,
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mock_may_have_a_kind() {
        assert_eq!(start(&[]).mock.mock, None);
        assert_eq!(start(&["--mock", "--verbose"]).mock.mock, Some(None));
        assert_eq!(start(&["--mock", "hpc"]).mock.mock, Some(Some(Archetype::Hpc)));
        assert!(parse(&["start", "--mock", "mainframe"]).is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        for line in [
            &["start", "--honesty", "1.5"][..],
            &["start", "--batch", "0"],
            &["start", "--batch", "1025"],
            &["start", "--label", "no-value"],
            &["start", "--worker-id", "Not A Name"],
            &["start", "--path", "/jobs"],
            &["start", "--lease", "nan"],
            &["start", "--port", "70000"],
            &["simulate", "--join", "http://x", "--workers", "0"],
            &["simulate", "--join", "http://x", "--workers", "3", "--liars", "2"],
            &["detect", "kitchen"],
            &["job", "run"],
            &[],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
