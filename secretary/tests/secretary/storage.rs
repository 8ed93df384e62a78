use std::sync::Arc;

use proptest::prelude::*;
use protocol::facts::FlagKind;
use protocol::proposal::Verdict;
use secretary::provider::Provider;
use secretary::providers::Providers;
use secretary::real::disks::Disks;
use secretary::real::quota::parse;
use secretary::rules::propose;
use serde_json::{Map, json};

use crate::mutation::mutated;
use crate::replay::{Programs, recording, says};
use crate::support::{Desk, call, clock, requirement, within};

const QUOTA: &str = "--no-wrap --raw-grace";

#[tokio::test]
async fn a_quota_is_less_than_what_is_free() {
    let programs = Programs::new();
    programs.replay("quota", &[says(QUOTA, "tools/documented/quota.txt", 0)]);
    programs.replay("lfs", &[says("quota -q -u *", "tools/documented/lfs-quota.txt", 0)]);
    let host = programs.host("two-sockets");
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let need = call(requirement(json!({"storage": [{"kind": "lustre", "free_gib": 100}]})));
    let found = providers.investigate(&need, &[], within(20.0)).await;
    let storage = found.facts.storage.as_ref().unwrap();
    let free =
        |path: &str| storage.iter().find(|system| system.path == path).unwrap().free_gib.unwrap().get();
    // All of them have 400 GiB free. The quota on /home leaves 1 of 100, that on /scratch 10 of 20.
    assert_eq!((free("/"), free("/home"), free("/scratch")), (400.0, 1.0, 10.0));
    assert_eq!(propose(&need, &found.facts, Vec::new(), None).verdict, Verdict::Incompatible);
    let flags: Vec<&str> = found.facts.flags.iter().map(|flag| flag.evidence.as_str()).collect();
    assert!(found.facts.flags.iter().all(|flag| flag.kind == FlagKind::QuotaNear));
    assert!(flags.contains(&"the quota on /home is used to 99 %"), "{flags:?}");
    assert_eq!(found.facts.provenance["disks"].source, "/proc/self/mountinfo, statvfs; quota, lfs quota");
}

#[tokio::test]
async fn no_quota_and_a_quota_that_cannot_be_told_are_different() {
    let programs = Programs::new();
    // Where no file system has quotas, it ends with 1 and says nothing.
    programs.replay("quota", &[says(QUOTA, "tools/quota-4.06/none.txt", 1)]);
    let answer = Disks::new(programs.host("two-sockets")).call("quota", &Map::new(), within(10.0)).await;
    let answer = answer.unwrap();
    assert_eq!((&answer.value, answer.problems.len()), (&json!([]), 0));
    let programs = Programs::new();
    programs.script("quota", "echo 'quota: error while getting quota from filer:/export/home' >&2; exit 1");
    let answer = Disks::new(programs.host("two-sockets")).call("quota", &Map::new(), within(10.0)).await;
    assert!(answer.unwrap().problems[0].contains("error while getting quota"));
    let nobody = Programs::new();
    let answer = Disks::new(nobody.host("two-sockets")).call("quota", &Map::new(), within(10.0)).await;
    assert_eq!(answer.unwrap().source, "no program tells quotas");
}

#[tokio::test]
async fn a_quota_server_that_hangs_leaves_the_free_space() {
    let programs = Programs::new();
    programs.script("quota", "exec /bin/sleep 3600");
    let host = programs.host("two-sockets");
    let providers = Providers::real(&host, Some(Arc::new(Desk)), clock()).await;
    let found = providers.investigate(&call(requirement(json!({}))), &[], within(5.0)).await;
    assert_eq!(found.facts.storage.unwrap().len(), 5);
    assert!(found.facts.provenance["disks"].problem.as_ref().unwrap().contains("quota"));
}

proptest! {
    #[test]
    fn broken_tables_of_quotas_hold_only_what_they_say(output in mutated(vec![
        recording("tools/documented/quota.txt"),
        recording("tools/documented/lfs-quota.txt"),
    ])) {
        let text = String::from_utf8_lossy(&output).into_owned();
        for quota in parse(&text) {
            prop_assert!(text.contains(&quota.file_system));
            prop_assert!(text.contains(&quota.files.to_string()));
            prop_assert!(quota.left_gib().is_none_or(|left| Some(left) <= quota.limit_gib));
            prop_assert!(quota.share().is_none_or(f64::is_finite));
        }
    }
}
