//! From the flags of `start` to what is to be started. Flags that would have no effect are refused, each
//! combination with one line that says what would do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use archetypes::Archetype;
use hub::fleet::Lease;
use hub::names::ToolNames;
use protocol::evaluation::AuditMode;
use protocol::ids::WorkerId;
use protocol::units::Seconds;

use crate::arguments::{Audit, Manager, MockFlags, Start, ToolNaming, Transport};
use crate::exit::Failure;
use crate::listen::Place;
use crate::managers::Wanted;
use crate::member::hub_root;
use crate::site::Recipe;

/// The usual ports, so that clients need no flag.
const HUB_PORT: u16 = 8000;
const WORKER_PORT: u16 = 8089;

const HOLD_SECONDS: f64 = 60.0;
const JOIN_SECONDS: f64 = 15.0;
const CALLS_AT_ONCE: usize = 1024;

/// What is to be started.
#[derive(Debug)]
pub enum Plan {
    /// A hub, and with `--dual` its own worker.
    Hub(Place, HubPlan, Option<WorkerPlan>),
    /// A worker, joining a hub or alone.
    Worker(Place, WorkerPlan, Option<JoinPlan>),
    /// A worker that listens nowhere and is reached over the link that it opens.
    Outbound(WorkerPlan, JoinPlan),
    /// A worker that whoever started it talks to over standard input and output.
    Stdio(WorkerPlan),
}

/// A hub.
#[derive(Debug)]
pub struct HubPlan {
    /// The path of its MCP endpoint.
    pub path: String,
    /// Where its data lies, unless at the usual place.
    pub data_dir: Option<PathBuf>,
    /// Its join secret, unless it makes one.
    pub secret: Option<String>,
    /// Its client token.
    pub token: Option<String>,
    /// Calls at a time.
    pub batch: usize,
    /// How tools are named.
    pub tool_names: ToolNames,
    /// When false claims count.
    pub audit_mode: AuditMode,
    /// How long workers hold.
    pub hold: Seconds,
    /// How long signs of life last.
    pub lease: Lease,
}

/// A worker.
#[derive(Debug)]
pub struct WorkerPlan {
    /// Its name.
    pub id: WorkerId,
    /// The path of its MCP endpoint.
    pub path: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its data lies, unless at the usual place.
    pub data_dir: Option<PathBuf>,
    /// What runs its work.
    pub manager: Wanted,
    /// Its prices.
    pub prices: Option<PathBuf>,
    /// Whether proposals carry the trace of calls.
    pub verbose: bool,
    /// How it is simulated.
    pub recipe: Option<Recipe>,
}

/// How a worker joins.
#[derive(Debug)]
pub struct JoinPlan {
    /// The hub.
    pub hub_url: String,
    /// Its secret.
    pub secret: String,
    /// How long it is tried.
    pub patience: Duration,
    /// Where the hub reaches the worker, unless where it listens.
    pub public_url: Option<String>,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::Usage(message.into())
}

/// A secret that is given has to say something.
pub fn checked_secret(secret: Option<String>, flag: &str) -> Result<Option<String>, Failure> {
    match secret {
        Some(secret) if secret.trim().is_empty() => {
            Err(usage(format!("the secret of {flag} is empty; leave it out or give one")))
        }
        other => Ok(other),
    }
}

/// A hub's URL, which has to be one.
pub fn hub_url(url: &str) -> Result<String, Failure> {
    let uri: Option<axum::http::Uri> = url.parse().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if fits {
        Ok(hub_root(url).to_owned())
    } else {
        Err(usage(format!("--join {url:?} must be like http://host:port")))
    }
}

/// The secret of a join, which has to be there.
pub fn join_secret(secret: Option<String>) -> Result<String, Failure> {
    checked_secret(secret, "--join-secret")?.ok_or_else(|| {
        usage("--join needs the hub's secret: give --join-secret or set MCPSERVER_JOIN_SECRET")
    })
}

impl Start {
    /// What the flags mean together.
    pub fn plan(self, host_name: &str) -> Result<Plan, Failure> {
        self.check_roles()?;
        self.check_simulation()?;
        if self.transport == Transport::Stdio {
            return self.plan_stdio(host_name);
        }
        let port = self.port.unwrap_or(if self.hub { HUB_PORT } else { WORKER_PORT });
        let place = Place::loopback(&self.host, port)?;
        if self.hub {
            let worker = if self.dual { Some(self.worker(host_name)?) } else { None };
            return Ok(Plan::Hub(place, self.hub()?, worker));
        }
        let worker = self.worker(host_name)?;
        let outbound = self.outbound;
        let join = match self.join {
            Some(url) => Some(JoinPlan {
                hub_url: hub_url(&url)?,
                secret: join_secret(self.join_secret)?,
                patience: Duration::from_secs_f64(self.join_timeout.unwrap_or(JOIN_SECONDS)),
                public_url: self.public_url,
            }),
            None => None,
        };
        Ok(match join {
            Some(join) if outbound => Plan::Outbound(worker, join),
            join => Plan::Worker(place, worker, join),
        })
    }

    /// A flag of a role that is not played would have no effect.
    fn check_roles(&self) -> Result<(), Failure> {
        let hub_flags = [
            ("--hub-secret", self.given.hub_secret),
            ("--token", self.given.token),
            ("--dual", self.dual),
            ("--batch", self.batch.is_some()),
            ("--serial", self.serial),
            ("--tool-names", self.tool_names.is_some()),
            ("--audit", self.audit.is_some()),
            ("--hold", self.hold.is_some()),
            ("--lease", self.lease.is_some()),
        ];
        let worker_flags = [
            ("--worker-id", self.worker_id.is_some()),
            ("--label", !self.label.is_empty()),
            ("--manager", self.manager.is_some()),
            (self.kubernetes.given().unwrap_or_default(), self.kubernetes.given().is_some()),
            ("--prices", self.prices.is_some()),
            ("--verbose", self.verbose),
            ("--mock", self.mock.mock.is_some()),
            ("--archetype", self.mock.archetype.is_some()),
        ];
        let join_flags = [
            ("--join-secret", self.given.join_secret),
            ("--join-timeout", self.join_timeout.is_some()),
            ("--public-url", self.public_url.is_some()),
            ("--outbound", self.outbound),
        ];
        let first =
            |flags: &[(&'static str, bool)]| flags.iter().find(|(_, set)| *set).map(|(flag, _)| *flag);
        if let (false, Some(flag)) = (self.hub, first(&hub_flags)) {
            return Err(usage(format!("{flag} is for a hub: add --hub")));
        }
        if let (true, false, Some(flag)) = (self.hub, self.dual, first(&worker_flags)) {
            return Err(usage(format!("{flag} is for a worker: add --dual, or --join URL instead of --hub")));
        }
        if let (None, Some(flag)) = (&self.join, first(&join_flags)) {
            return Err(usage(format!("{flag} is for a worker that joins: add --join URL")));
        }
        let listening = [
            ("--host", self.given.host),
            ("--port", self.given.port),
            ("--path", self.given.path),
            ("--public-url", self.public_url.is_some()),
        ];
        if let (true, Some(flag)) = (self.outbound, first(&listening)) {
            return Err(usage(format!("{flag} has no effect with --outbound, which listens nowhere")));
        }
        if self.outbound && self.mock.fault.is_some() {
            return Err(usage("--fault is acted out where a worker listens: leave out --outbound"));
        }
        Ok(())
    }

    fn check_simulation(&self) -> Result<(), Failure> {
        let MockFlags { mock, archetype, seed, honesty, fault, time_scale, mock_exec } = &self.mock;
        if let (Some(Some(one)), Some(other)) = (mock, archetype)
            && one != other
        {
            return Err(usage(format!("--mock {one} and --archetype {other} contradict each other")));
        }
        let simulated = mock.is_some() || archetype.is_some();
        let flags = [
            ("--seed", seed.is_some()),
            ("--honesty", honesty.is_some()),
            ("--fault", fault.is_some()),
            ("--time-scale", time_scale.is_some()),
            ("--mock-exec", *mock_exec),
        ];
        if let (false, Some((flag, _))) = (simulated, flags.iter().find(|(_, set)| *set)) {
            return Err(usage(format!("{flag} is for a simulated worker: add --mock")));
        }
        if simulated && self.manager.is_some() {
            return Err(usage("a simulated worker simulates its manager: leave out --manager or --mock"));
        }
        if let Some(flag) = self.kubernetes.given() {
            if simulated {
                return Err(usage(format!(
                    "a simulated worker simulates its manager: leave out {flag} or --mock"
                )));
            }
            if !matches!(self.manager, None | Some(Manager::Auto | Manager::Kubernetes)) {
                return Err(usage(format!(
                    "{flag} is for Kubernetes: leave out --manager, or say kubernetes"
                )));
            }
        }
        if simulated && self.prices.is_some() {
            return Err(usage("a simulated worker has prices of its own: leave out --prices or --mock"));
        }
        Ok(())
    }

    fn plan_stdio(self, host_name: &str) -> Result<Plan, Failure> {
        if self.hub || self.join.is_some() {
            return Err(usage(
                "--transport stdio serves a worker alone: hubs and their workers meet over HTTP; leave out \
                 --hub and --join",
            ));
        }
        let listening =
            [("--host", self.given.host), ("--port", self.given.port), ("--path", self.given.path)];
        if let Some((flag, _)) = listening.iter().find(|(_, set)| *set) {
            return Err(usage(format!("{flag} has no effect with --transport stdio")));
        }
        Ok(Plan::Stdio(self.worker(host_name)?))
    }

    fn hub(self) -> Result<HubPlan, Failure> {
        if self.token.as_deref().is_some_and(|token| token.trim().is_empty()) {
            return Err(usage("the token of --token is empty; leave it out or give one"));
        }
        let lease = self.lease.map_or_else(Lease::default, |seconds| Lease {
            heartbeat: Duration::from_secs_f64(seconds / 3.0),
            lease: Duration::from_secs_f64(seconds),
        });
        Ok(HubPlan {
            path: self.path,
            data_dir: self.data_dir,
            secret: checked_secret(self.hub_secret, "--hub-secret")?,
            token: self.token,
            batch: if self.serial { 1 } else { self.batch.map_or(CALLS_AT_ONCE, usize::from) },
            tool_names: match self.tool_names {
                Some(ToolNaming::Legacy) => ToolNames::Legacy,
                _ => ToolNames::Namespaced,
            },
            audit_mode: match self.audit {
                Some(Audit::After) => AuditMode::After,
                _ => AuditMode::Before,
            },
            hold: Seconds::saturating(self.hold.unwrap_or(HOLD_SECONDS)),
            lease,
        })
    }

    fn worker(&self, host_name: &str) -> Result<WorkerPlan, Failure> {
        let mut labels = BTreeMap::new();
        for (key, value) in &self.label {
            if labels.insert(key.clone(), value.clone()).is_some() {
                return Err(usage(format!("the label {key} is given twice")));
            }
        }
        let id = self.worker_id.clone().unwrap_or_else(|| WorkerId::from_host_name(host_name));
        Ok(WorkerPlan {
            recipe: self.mock.recipe(&id),
            id,
            path: self.path.clone(),
            labels,
            // The hub of a dual process has the directory itself.
            data_dir: self
                .data_dir
                .as_ref()
                .map(|path| if self.dual { path.join("worker") } else { path.clone() }),
            manager: Wanted {
                manager: self.manager.unwrap_or_default(),
                kubernetes: self.kubernetes.options(),
            },
            prices: self.prices.clone(),
            verbose: self.verbose,
        })
    }
}

impl MockFlags {
    fn recipe(&self, id: &WorkerId) -> Option<Recipe> {
        if self.mock.is_none() && self.archetype.is_none() {
            return None;
        }
        let named = self.mock.flatten().or(self.archetype);
        Some(Recipe {
            archetype: named.unwrap_or_else(|| Archetype::draw(id)),
            seed: self.seed.unwrap_or_else(|| archetypes::default_seed(id)),
            honesty: self.honesty.unwrap_or(1.0),
            fault: self.fault,
            time_scale: self.time_scale.unwrap_or(1.0),
            exec: self.mock_exec,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};
    use crate::exit::Exit;

    fn plan(line: &str) -> Result<Plan, Failure> {
        let words = ["mcpserver", "start"].into_iter().chain(line.split_whitespace());
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Start(start) => start.plan("Lab.example.org"),
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn flags_of_another_role_are_refused() {
        for line in [
            "--batch 3",
            "--dual",
            "--hub --worker-id w",
            "--hub --mock hpc",
            "--hub --join-timeout 3",
            "--public-url http://x",
            "--outbound",
            "--hub --outbound",
            "--join http://h --join-secret s --outbound --public-url http://x",
            "--join http://h --join-secret s --outbound --mock hpc --fault hang",
            "--join http://h",
            "--join nonsense --join-secret s",
            "--join http://user@h --join-secret s",
            "--join http://h --join-secret s --lease 3",
            "--seed 3",
            "--honesty 0.5",
            "--mock hpc --archetype cloud",
            "--mock --prices p.json",
            "--mock --manager slurm",
            "--hub --manager slurm",
            "--mock --manager flux",
            "--hub --manager flux",
            "--mock --kubernetes-image busybox",
            "--hub --kubernetes-image busybox",
            "--join http://127.0.0.1:1 --manager slurm --kubernetes-namespace lab",
            "--transport stdio --hub",
            "--transport stdio --join http://h --join-secret s",
            "--label a=1 --label a=2",
        ] {
            let failure = plan(line).map(|_| ()).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{line}");
        }
        assert_eq!(plan("--hub --hub-secret s --host 0.0.0.0").unwrap_err().exit(), Exit::Configuration);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let Plan::Hub(place, hub, None) = plan("--hub --hub-secret s").unwrap() else { panic!("no hub") };
        assert_eq!(place, Place::loopback("127.0.0.1", 8000).unwrap());
        assert_eq!((hub.path.as_str(), hub.batch), ("/mcp", 1024));
        let Plan::Worker(place, worker, join) = plan("--join http://h --join-secret s").unwrap() else {
            panic!("no worker")
        };
        assert_eq!(place, Place::loopback("127.0.0.1", 8089).unwrap());
        assert_eq!(worker.id.as_str(), "lab-example-org");
        assert_eq!(join.unwrap().patience, Duration::from_secs(15));
        assert!(worker.recipe.is_none());
    }

    #[test]
    fn an_outbound_worker_listens_nowhere() {
        let planned = plan("--join http://h --join-secret s --outbound").unwrap();
        assert!(matches!(planned, Plan::Outbound(_, _)), "{planned:?}");
    }

    #[test]
    fn a_simulated_worker_follows_from_its_name() {
        let recipe = |line: &str| match plan(line).unwrap() {
            Plan::Worker(_, worker, _) => worker.recipe.unwrap(),
            other => panic!("no worker: {other:?}"),
        };
        let drawn = recipe("--mock --worker-id w-1");
        assert_eq!(drawn.archetype, Archetype::draw(&WorkerId::parse("w-1").unwrap()));
        assert_eq!(drawn.seed, archetypes::default_seed(&WorkerId::parse("w-1").unwrap()));
        assert_eq!(recipe("--archetype cloud").archetype, Archetype::Cloud);
        assert_eq!(recipe("--mock hpc --seed 7 --fault hang").seed, 7);
    }

    #[test]
    fn a_dual_hub_keeps_its_worker_below() {
        let Plan::Hub(_, hub, Some(worker)) = plan("--hub --dual --hub-secret s --data-dir /d").unwrap()
        else {
            panic!("no dual hub")
        };
        assert_eq!(hub.data_dir, Some("/d".into()));
        assert_eq!(worker.data_dir, Some("/d/worker".into()));
    }
}
