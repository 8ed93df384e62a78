//! `mcpserver demo`: the whole thing on one machine, with no key and no network. A hub, this machine as a
//! real worker, six simulated clusters of which one lies, and a real job on real data, asked for in plain
//! language through the client commands that everybody uses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archetypes::Archetype;
use clap::Parser as _;
use protocol::artifact::ArtifactType;
use protocol::clock::SystemClock;
use protocol::evaluation::AuditMode;
use protocol::facts::Prices;
use protocol::ids::WorkerId;
use protocol::job::Job;
use protocol::units::{Seconds, Usd};
use resource_ask::arguments::Arguments as ClientArguments;
use resource_ask::hub::{Hub as Client, Items};
use resource_ask::render::Screen;
use resource_ask::render::grid::Tone;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use workload::local::LocalMachine;

use crate::arguments::{Demo, Manager};
use crate::crew::{Base, Crew};
use crate::data_dir::random_text;
use crate::exit::{Exit, Failure};
use crate::listen::{Listening, Place};
use crate::plan::HubPlan;
use crate::site::{self, Recipe};
use crate::start::{RunningHub, passing_directory, start_hub};

/// Daily oil prices, 1986 to 2019; in the program, so that the demo runs anywhere.
const PRICES: &[u8] = include_bytes!("../../examples/data/wti.csv");
const PRICES_NAME: &str = "wti.csv";

/// What is asked for. The last wish cannot be met, and the answer says so.
const PROMPT: &str = "backtest a 10/50 SMA crossover on wti.csv for 5 minutes with 2 cores and 4 GiB of memory, \
                      not on kubernetes, at most 1 dollar, as soon as possible, with a view of the sea";

/// The port at which clients look without being told.
const USUAL_PORT: u16 = 8000;

/// Simulated hours in the queue pass in seconds.
const TIME_SCALE: f64 = 3600.0;

/// What this machine asks for a core, about what its electricity costs: a worker without prices cannot
/// say that it keeps within a budget.
const OWN_CORE_HOUR_USD: f64 = 0.01;

const SEED: u64 = 7;

/// The simulated clusters, and whether they tell the truth.
const CAST: [(&str, Archetype, f64); 6] = [
    ("aurora", Archetype::Hpc, 1.0),
    ("borealis", Archetype::Hpc, 1.0),
    ("cumulus", Archetype::Cloud, 1.0),
    ("stratus", Archetype::Cloud, 1.0),
    ("desk", Archetype::Standalone, 1.0),
    ("bragger", Archetype::Standalone, 0.0),
];

/// Runs the demo; the exit code is that of the job.
pub async fn run(demo: Demo, shutdown: CancellationToken) -> Result<Exit, Failure> {
    // What is shown may stand in another directory than the one that the job's data is looked for in.
    let home = std::env::current_dir().map_err(Failure::Start)?;
    let output = home.join(&demo.output);
    let stage = Stage::set().await?;
    let outcome = tokio::select! {
        outcome = stage.play(&output) => outcome,
        () = shutdown.cancelled() => Ok(Exit::Done),
    };
    // The prices' directory is about to go.
    let _ = std::env::set_current_dir(&home);
    if outcome.is_ok() && !demo.exit && !shutdown.is_cancelled() {
        print(&stage.farewell())?;
        shutdown.cancelled().await;
    }
    stage.clear().await;
    outcome
}

/// Everything that runs.
struct Stage {
    hub: RunningHub,
    crew: Crew,
    machine: Option<Arc<LocalMachine>>,
    own_name: WorkerId,
    /// Cuts the streams of the workers.
    streams: CancellationToken,
    directory: TempDir,
    screen: Screen,
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

async fn listen() -> Result<Listening, Failure> {
    match Place::loopback("127.0.0.1", USUAL_PORT)?.bind().await {
        Ok(listening) => Ok(listening),
        Err(_) => Place::loopback("127.0.0.1", 0)?.bind().await,
    }
}

impl Stage {
    /// Starts hub and workers and waits until all have joined.
    async fn set() -> Result<Self, Failure> {
        let directory = passing_directory()?;
        let data = directory.path().join("data");
        crate::data_dir::make(&data)?;
        let prices = data.join(PRICES_NAME);
        std::fs::write(&prices, PRICES).map_err(Failure::file("cannot write", &prices))?;
        let listening = listen().await?;
        let secret = random_text()?;
        let url = listening.url.clone();
        let crew = Crew::new(Base { url: url.clone(), hub_url: url.clone(), secret: secret.clone() })?;
        let prices = Prices { core_hour_usd: Some(Usd::saturating(OWN_CORE_HOUR_USD)), ..Prices::default() };
        let (site, machine) =
            site::real(directory.path(), &Manager::Local.into(), Some(prices), Arc::new(SystemClock)).await?;
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        let own_name = own_name(&host_name.to_string_lossy());
        crew.add(&own_name, &[], site, SEED)?;
        for (name, archetype, honesty) in CAST {
            let id = WorkerId::parse(name).map_err(|error| Failure::Usage(error.to_string()))?;
            let recipe =
                Recipe { archetype, seed: SEED, honesty, fault: None, time_scale: TIME_SCALE, exec: false };
            crew.add_simulated(&id, &[], recipe)?;
        }
        let plan = HubPlan {
            path: "/mcp".to_owned(),
            data_dir: Some(directory.path().join("hub")),
            secret: Some(secret),
            token: None,
            batch: 1024,
            tool_names: hub::names::ToolNames::Namespaced,
            audit_mode: AuditMode::Before,
            hold: Seconds::from(60),
            lease: hub::fleet::Lease::default(),
        };
        let guard = listening.guard()?;
        let streams = CancellationToken::new();
        let workers = crew.router(guard, streams.clone());
        let hub = start_hub(plan, listening, |_| Ok(workers)).await?;
        let stage = Self { hub, crew, machine, own_name, streams, directory, screen: Screen::of_stdout() };
        if let Err(failure) = stage.crew.join(Duration::from_secs(10)).await {
            stage.clear().await;
            return Err(failure);
        }
        Ok(stage)
    }

    /// Asks for the job, shows how it goes, and fetches its plot.
    async fn play(&self, output: &Path) -> Result<Exit, Failure> {
        let url = format!("{}/mcp", self.hub.url);
        print(&self.introduction())?;
        let data = self.directory.path().join("data");
        std::env::set_current_dir(&data).map_err(Failure::file("cannot enter", &data))?;
        let ended = self.client(&["negotiate", PROMPT, "--yes"]).await?;
        if ended != Exit::Done {
            return Ok(ended);
        }
        let client = Client::at(&url, None, Arc::new(SystemClock))?;
        let jobs = client.get::<Items<Job>>("list_jobs", json!({"limit": 1})).await?.value.items;
        let Some(job) = jobs.into_iter().next() else { return Ok(ended) };
        if let Some(plot) = job.artifacts.iter().find(|one| one.artifact_type == ArtifactType::Plot) {
            let path = writable(output).join(&plot.name);
            resource_ask::download::to_file(&client, plot, &path).await?;
            print(&format!("\nThe plot, fetched and verified: {}", path.display()))?;
        }
        if let Some(negotiation) = &job.negotiation_id {
            print(&self.next_steps(negotiation.as_str(), job.job_id.as_str()))?;
        }
        Ok(ended)
    }

    /// Runs a client command as a person would, and shows it.
    async fn client(&self, words: &[&str]) -> Result<Exit, Failure> {
        let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        print(&format!(
            "{}\n",
            self.screen.paint(Tone::Strong, &format!("$ resource-ask {}", shown.join(" ")))
        ))?;
        let url = format!("{}/mcp", self.hub.url);
        let line = ["resource-ask", "--url", &url].into_iter().chain(words.iter().copied());
        let arguments =
            ClientArguments::try_parse_from(line).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Exit::of_client(resource_ask::commands::run(arguments).await?))
    }

    fn introduction(&self) -> String {
        let kinds = |kind: Archetype| {
            let names: Vec<&str> =
                CAST.iter().filter(|(_, other, _)| *other == kind).map(|(name, ..)| *name).collect();
            format!("{} ({kind})", names.join(" and "))
        };
        let clusters: Vec<String> = Archetype::ALL.into_iter().map(kinds).collect();
        let liars: Vec<&str> =
            CAST.iter().filter(|(.., honesty)| *honesty < 1.0).map(|(name, ..)| *name).collect();
        format!(
            "A hub at {} and seven workers: this machine as {}, and six simulated clusters: {}.\n\
             {} will claim to have whatever is asked for.\n",
            self.hub.url,
            self.own_name,
            clusters.join(", "),
            liars.join(" and "),
        )
    }

    fn next_steps(&self, negotiation: &str, job: &str) -> String {
        let port = self.hub.url.rsplit(':').next().unwrap_or_default();
        let url = if port == USUAL_PORT.to_string() {
            String::new()
        } else {
            format!(" --url {}/mcp", self.hub.url)
        };
        let commands = [
            (format!("resource-ask{url} explain {negotiation}"), "why each won or lost"),
            (format!("resource-ask{url} trust"), "what the lie has cost"),
            (format!("resource-ask{url} logs {job}"), "the job's output"),
            (
                format!("resource-ask{url} satisfy \"8 H100s and 2 TB of scratch, cheapest\""),
                "ask for something else",
            ),
            (format!("resource-ask{url} list workers"), "the fleet"),
        ];
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let mut text = String::from("\nTry while it runs, from another terminal:\n");
        for (command, what) in commands {
            text.push_str(&format!("  {command:width$}  # {what}\n"));
        }
        text.trim_end().to_owned()
    }

    fn farewell(&self) -> String {
        format!(
            "\nThe hub stays at {}. Press Ctrl-C to end it; nothing is left behind but the plot.",
            self.hub.url
        )
    }

    async fn clear(self) {
        self.crew.end().await;
        if let Some(machine) = &self.machine {
            machine.shutdown().await;
        }
        self.streams.cancel();
        self.hub.end().await;
        drop(self.directory);
    }
}

/// The name of this machine in the fleet, which none of the cast has.
fn own_name(host_name: &str) -> WorkerId {
    let id = WorkerId::from_host_name(host_name);
    if CAST.iter().any(|(name, ..)| *name == id.as_str()) {
        WorkerId::from_host_name(&format!("this-{id}"))
    } else {
        id
    }
}

/// The wanted directory, or one that can be written where it cannot.
fn writable(wanted: &Path) -> PathBuf {
    match std::fs::create_dir_all(wanted) {
        Ok(()) if nix::unistd::access(wanted, nix::unistd::AccessFlags::W_OK).is_ok() => wanted.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// A word as it would be typed in a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("\"{word}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_meet() {
        assert_eq!(own_name("vm.local").as_str(), "vm-local");
        assert_eq!(own_name("Aurora").as_str(), "this-aurora");
    }

    #[test]
    fn commands_can_be_typed_again() {
        assert_eq!(quoted("--yes"), "--yes");
        assert_eq!(quoted("two words"), "\"two words\"");
    }

    #[test]
    fn the_plot_goes_where_it_can_be_written() {
        let home = tempfile::tempdir().unwrap();
        let wanted = home.path().join("output");
        assert_eq!(writable(&wanted), wanted);
        assert_eq!(writable(Path::new("/proc/nothing")), std::env::temp_dir());
    }
}
