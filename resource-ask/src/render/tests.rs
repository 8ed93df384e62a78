//! Every table, as it looks on a narrow and on a wide screen. No snapshot may hold a control character.

use std::io;

use super::*;
use crate::render::understanding::Understood;

fn shown(width: u16, write: impl Fn(&mut dyn io::Write, &Screen) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out, &Screen::plain(width)).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    for line in text.lines() {
        assert!(!line.ends_with(' '), "{line:?} ends with a blank");
    }
    text
}

macro_rules! snapshots {
    ($($name:ident: $write:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::with_settings!({ omit_expression => true }, {
                insta::assert_snapshot!(concat!(stringify!($name), "_80"), shown(80, $write));
                insta::assert_snapshot!(concat!(stringify!($name), "_140"), shown(140, $write));
            });
        }
    )*};
}

snapshots! {
    understood: |out, screen| understanding::write(out, screen, &Understood::from(&samples::understanding()));
    negotiation: |out, screen| proposals::write(out, screen, &samples::view());
    large_fleet: |out, screen| {
        let view = samples::large_view();
        let none = std::collections::BTreeMap::new();
        proposals::write_table(out, screen, &view.proposals, &view.evaluations, &view.excluded, view.selection.as_ref())?;
        proposals::write_table(out, screen, &none, &std::collections::BTreeMap::new(), &std::collections::BTreeMap::new(), None)
    };
    explanation: |out, screen| explanation::write(out, screen, &samples::explanation());
    receipts: |out, screen| {
        proposals::write_receipt(out, screen, &samples::receipt(true))?;
        proposals::write_receipt(out, screen, &samples::receipt(false))
    };
    completed_job: |out, screen| job::write(out, screen, &samples::job());
    failed_job: |out, screen| job::write(out, screen, &samples::failed_job());
    jobs: |out, screen| {
        job::write_list(out, screen, &[samples::job(), samples::failed_job()], samples::now())?;
        job::write_list(out, screen, &[], samples::now())
    };
    workers: |out, screen| fleet::write_workers(out, screen, &samples::workers(), samples::now());
    trust: |out, screen| fleet::write_trust(out, screen, &samples::trust());
    strategies: |out, screen| fleet::write_named(out, screen, &[
        serde_json::json!({"name": "soonest", "description": "the earliest promised start"}),
        serde_json::json!({"description": "by lot\u{1b}[2J", "name": "random", "default": false, "also": ["a", "b"]}),
        serde_json::json!({"name": "slurm", "category": "workload", "workers": 7, "note": null}),
    ]);
}

#[test]
fn nothing_fits_is_said_with_the_most_frequent_reasons() {
    let mut view = samples::large_view();
    for worker in 0..30 {
        view.proposals.remove(&samples::worker(&format!("w-{worker:04}")));
    }
    let why = proposals::why_nothing(&view);
    assert_eq!(
        why,
        "none of 970 workers can run it: NODES_TOO_FEW 580, SOFTWARE_MISSING 290, LABEL_MISMATCH 100"
    );
}

#[test]
fn colours_appear_only_where_they_may() {
    let mut plain = Vec::new();
    let mut coloured = Vec::new();
    proposals::write(&mut plain, &Screen::plain(100), &samples::view()).unwrap();
    proposals::write(&mut coloured, &Screen { width: 100, colour: true }, &samples::view()).unwrap();
    assert!(!plain.contains(&0x1b));
    assert!(coloured.contains(&0x1b));
    let stripped = strip(&String::from_utf8(coloured).unwrap());
    assert_eq!(stripped, String::from_utf8(plain).unwrap());
}

/// The text without colour sequences, which end with `m`; anything else would stay and be seen.
fn strip(text: &str) -> String {
    let mut stripped = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        rest = after
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
            .strip_prefix('m')
            .unwrap_or(after);
    }
    stripped.push_str(rest);
    stripped.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
