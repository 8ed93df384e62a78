use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use protocol::facts::Scope;
use secretary::detection::Detection;
use secretary::provider::{Category, Provider, ProviderError};
use secretary::providers::Providers;
use secretary::real::listing::{Listed, Lister, Listing, USABLE};
use secretary::real::packages::{Installed, PackageSource, Packages};
use secretary::rules::propose;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{call, clock, requirement, within};

/// Tells one package the first time and hangs ever after.
#[derive(Default)]
struct Once {
    asked: AtomicBool,
}

#[async_trait]
impl Lister for Once {
    type List = Vec<Installed>;

    fn what(&self) -> &'static str {
        "slow find"
    }

    async fn list(&self, _deadline: Instant) -> Result<Listed<Self::List>, ProviderError> {
        if self.asked.swap(true, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let lammps = Installed::plain("lammps", Some("20230802".to_owned()));
        Ok(Listed::new(vec![lammps], "slow find", b"lammps 20230802"))
    }
}

#[async_trait]
impl PackageSource for Once {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn program(&self, _deadline: Instant) -> Result<Option<PathBuf>, ProviderError> {
        Ok(Some(PathBuf::from("/bin/slow")))
    }

    async fn metadata(&self, _program: &Path, _deadline: Instant) -> Value {
        Value::Null
    }

    fn is_called(&self, name: &str, wanted: &str) -> bool {
        name == wanted
    }

    fn descriptions(&self) -> [&'static str; 2] {
        ["Finds.", "Lists."]
    }
}

#[tokio::test]
async fn a_proposal_states_how_old_its_evidence_is() {
    let passed = Arc::new(AtomicU64::new(0));
    let clock_of_lists = Arc::clone(&passed);
    let now = move || Instant::now() + Duration::from_secs(clock_of_lists.load(Ordering::SeqCst));
    let listing = Listing::with_clock(Once::default(), Arc::new(now));
    let slow: Arc<dyn Provider> = Arc::new(Packages::listed_by(listing));
    let here = Detection {
        category: Category::Software,
        name: "slow".to_owned(),
        present: true,
        scope: Scope::Host,
        metadata: Value::Null,
        tools: Vec::new(),
        problem: None,
        elapsed_seconds: 0.0,
    };
    let providers = Providers::of(vec![(slow, here)], clock());
    let call = call(requirement(json!({"software": [{"name": "lammps"}]})));
    let mut digests = Vec::new();
    for (waited, age) in [(0, 0.0), (30, 30.0), (300, 330.0)] {
        passed.fetch_add(waited, Ordering::SeqCst);
        let found = providers.investigate(&call, &[], within(10.0)).await;
        assert_eq!(found.facts.software.as_ref().unwrap()[0].version, "20230802");
        let proposal = propose(&call, &found.facts, found.calls, None);
        let evidence = &proposal.evidence["slow"];
        assert!((age..age + 5.0).contains(&evidence.age_seconds.get()), "{evidence:?}");
        assert_eq!(evidence.source, "slow find");
        digests.push(evidence.digest.clone());
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "an old answer is the same answer");
    // Too old to be believed, and the tool hangs: nobody knows.
    passed.fetch_add(USABLE.as_secs(), Ordering::SeqCst);
    let found = providers.investigate(&call, &[], within(0.5)).await;
    assert_eq!(found.facts.software, None);
    assert!(found.facts.provenance["slow"].problem.is_some());
}
