//! `mcpserver simulate`: a seeded fleet of simulated clusters in one process.

use std::collections::BTreeMap;
use std::time::Duration;

use archetypes::Archetype;
use protocol::ids::WorkerId;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use tokio_util::sync::CancellationToken;

use crate::arguments::Simulate;
use crate::crew::{Base, Crew};
use crate::exit::Failure;
use crate::listen::Place;
use crate::plan::{hub_url, join_secret};
use crate::routes::{self, Ready};
use crate::say;
use crate::site::Recipe;

/// One worker of the fleet.
#[derive(Debug, Clone, PartialEq)]
struct Draft {
    id: WorkerId,
    archetype: Archetype,
    lies: bool,
}

/// Which fleet.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    workers: u16,
    seed: u64,
    archetype: Option<Archetype>,
    liars: f64,
    prefix: Option<&'a str>,
}

/// The fleet of a seed: names say kind and number, and exactly the wanted share lies.
fn fleet(wanted: Wanted<'_>) -> Result<Vec<Draft>, Failure> {
    let wrong = |error: protocol::ids::InvalidId| Failure::Usage(error.to_string());
    let mut drafts = Vec::with_capacity(usize::from(wanted.workers));
    for number in 1..=wanted.workers {
        let archetype = match wanted.archetype {
            Some(archetype) => archetype,
            None => {
                let drawn = WorkerId::parse(format!("s{}-{number}", wanted.seed)).map_err(wrong)?;
                Archetype::draw(&drawn)
            }
        };
        let prefix = wanted.prefix.map(|prefix| format!("{prefix}-")).unwrap_or_default();
        let id = WorkerId::parse(format!("{prefix}{archetype}-{number:04}")).map_err(wrong)?;
        drafts.push(Draft { id, archetype, lies: false });
    }
    let mut places: Vec<usize> = (0..drafts.len()).collect();
    places.shuffle(&mut ChaCha20Rng::seed_from_u64(wanted.seed));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the fleet's size")]
    let liars = (f64::from(wanted.workers) * wanted.liars).round() as usize;
    for place in places.into_iter().take(liars) {
        drafts[place].lies = true;
    }
    Ok(drafts)
}

/// Starts the fleet and returns when it has ended.
pub async fn run(simulate: Simulate, shutdown: CancellationToken) -> Result<(), Failure> {
    if let Err(error) = transport::descriptors::raise_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let hub_url = hub_url(&simulate.join)?;
    let secret = join_secret(simulate.join_secret)?;
    let listening = Place::loopback(&simulate.host, simulate.port)?.bind().await?;
    let url = listening.url.clone();
    let crew = Crew::new(Base { url: url.clone(), hub_url: hub_url.clone(), secret })?;
    let drafts = fleet(Wanted {
        workers: simulate.workers,
        seed: simulate.seed,
        archetype: simulate.mock,
        liars: simulate.liars,
        prefix: simulate.prefix.as_deref(),
    })?;
    for draft in &drafts {
        let recipe = Recipe {
            archetype: draft.archetype,
            seed: simulate.seed,
            honesty: if draft.lies { 0.0 } else { 1.0 },
            fault: None,
            time_scale: simulate.time_scale,
            exec: simulate.mock_exec,
        };
        crew.add_simulated(&draft.id, &simulate.label, recipe)?;
    }
    let (streams, ready, guard) = (CancellationToken::new(), Ready::default(), listening.guard()?);
    let router = crew.router(guard.clone(), streams.clone()).merge(routes::health(
        "parley-simulation",
        guard,
        ready.clone(),
    ));
    let server = listening.serve(router);
    say(&format!("simulation listening on {url}"));
    let joined = tokio::select! {
        joined = crew.join(Duration::from_secs_f64(simulate.join_timeout)) => joined,
        () = shutdown.cancelled() => Ok(()),
    };
    if joined.is_ok() && !shutdown.is_cancelled() {
        ready.set(true);
        say(&format!("{} joined {hub_url} ({})", count(drafts.len()), summary(&drafts)));
        shutdown.cancelled().await;
        ready.set(false);
    }
    crew.end().await;
    streams.cancel();
    server.end().await;
    joined
}

fn count(workers: usize) -> String {
    resource_ask::render::text::count(workers, "worker")
}

fn summary(drafts: &[Draft]) -> String {
    let mut kinds: BTreeMap<Archetype, usize> = BTreeMap::new();
    for draft in drafts {
        *kinds.entry(draft.archetype).or_default() += 1;
    }
    let mut parts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    match drafts.iter().filter(|draft| draft.lies).count() {
        0 => {}
        liars => parts.push(resource_ask::render::text::count(liars, "liar")),
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(seed: u64) -> Wanted<'static> {
        Wanted { workers: 1000, seed, archetype: None, liars: 0.3, prefix: None }
    }

    #[test]
    fn a_seed_gives_one_fleet() {
        let first = fleet(wanted(7)).unwrap();
        assert_eq!(first, fleet(wanted(7)).unwrap());
        assert_ne!(first, fleet(wanted(8)).unwrap());
        assert_eq!(first.iter().filter(|draft| draft.lies).count(), 300);
        let hpc = first.iter().filter(|draft| draft.archetype == Archetype::Hpc).count();
        assert!((330..470).contains(&hpc), "{hpc}");
        assert!(summary(&first).ends_with("300 liars"), "{}", summary(&first));
    }

    #[test]
    fn names_say_kind_and_number() {
        let small = Wanted {
            workers: 2,
            seed: u64::MAX,
            archetype: Some(Archetype::Standalone),
            liars: 0.0,
            prefix: Some("a-long-prefix-16"),
        };
        let names: Vec<String> = fleet(small).unwrap().iter().map(|draft| draft.id.to_string()).collect();
        assert_eq!(names, ["a-long-prefix-16-standalone-0001", "a-long-prefix-16-standalone-0002"]);
    }
}
