//! Explanations as text, one worker a paragraph.

use std::fmt::Write as _;

use protocol::evaluation::AuditResult;
use protocol::ids::WorkerId;

use super::{Explanation, Standing, WhatIf, WorkerExplanation};

/// The whole explanation: the choice, then each worker, best first.
#[must_use]
pub fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    match &explanation.selection {
        Some(selection) => {
            let _ = writeln!(text, "{}: {}", selection.strategy, selection.explanation);
        }
        None => text.push_str("no choice was asked for\n"),
    }
    let mut workers: Vec<(&WorkerId, &WorkerExplanation)> = explanation.workers.iter().collect();
    let place = |worker: &WorkerExplanation| match worker.standing {
        Standing::Chosen => 0,
        Standing::Passed => 1,
        Standing::Failed => 2,
        Standing::NotAsked => 3,
    };
    workers.sort_by_key(|(id, worker)| (place(worker), worker.rank, *id));
    for (id, worker) in workers {
        text.push('\n');
        text.push_str(&render_worker(id, worker));
    }
    text
}

/// One worker.
#[must_use]
pub fn render_worker(id: &WorkerId, worker: &WorkerExplanation) -> String {
    let mut text = String::new();
    let rank = worker.rank.map_or_else(String::new, |rank| format!(", rank {rank}"));
    let standing = match worker.standing {
        Standing::Chosen => "chosen",
        Standing::Passed => "passed the gates",
        Standing::Failed => "failed a gate",
        Standing::NotAsked => "was not asked",
    };
    let _ = writeln!(text, "{id}: {standing}{rank}");
    for reason in &worker.gate.failed {
        let _ = writeln!(text, "  {}: wanted {}, had {}", reason.code, reason.wanted, reason.had);
    }
    for finding in &worker.untrue {
        let word = if finding.result == AuditResult::Over { "over-claimed" } else { "under-claimed" };
        let truth = finding.truth.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let _ = writeln!(text, "  {word} {}: said {}, true is {truth}", finding.subject, finding.claimed);
    }
    if worker.standing != Standing::NotAsked && !worker.contributions.is_empty() {
        for (name, one) in &worker.contributions {
            let _ = writeln!(
                text,
                "  {name}: utility {:.3}, weight {:.2}, after trust {:.3}",
                one.utility.get(),
                one.weight.get(),
                one.discounted.get()
            );
        }
        for adjustment in &worker.adjustments {
            let _ = writeln!(
                text,
                "  {}: x {:.2} ({})",
                flag_name(adjustment.flag),
                adjustment.multiplier.get(),
                adjustment.evidence
            );
        }
        let _ = writeln!(
            text,
            "  score {:.3} x trust {:.3} -> {:.3}",
            worker.score.get(),
            worker.trust.get(),
            worker.r#final.get()
        );
    }
    for change in &worker.what_if {
        let _ = writeln!(text, "  {}", render_change(change));
    }
    text
}

fn render_change(change: &WhatIf) -> String {
    match change {
        WhatIf::Gates { codes, rank } => {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            match rank {
                Some(rank) => format!("without {} it would have ranked {rank}", codes.join(", ")),
                None => format!("{} kept it out", codes.join(", ")),
            }
        }
        WhatIf::FirstWith { factor, value, more, unit } => {
            let word = if *more { "above" } else { "below" };
            format!("a {factor} {word} {} {unit} would have put it first", short(value.get()))
        }
        WhatIf::FirstUntil { factor, value, more, unit } => {
            let word = if *more { "below" } else { "above" };
            format!("it stays first while its {factor} is {word} {} {unit}", short(value.get()))
        }
        WhatIf::ClaimTrust { had, needed } => {
            format!("claim trust of {:.2} instead of {:.2} would have put it first", needed.get(), had.get())
        }
        WhatIf::DeliveryTrust { had, needed } => {
            let (needed, had) = (needed.get(), had.get());
            format!("delivery trust of {needed:.2} instead of {had:.2} would have put it first")
        }
        WhatIf::Flag { flag } => format!("without {} it would have been first", flag_name(*flag)),
    }
}

fn flag_name(flag: protocol::facts::FlagKind) -> &'static str {
    use protocol::facts::FlagKind;
    match flag {
        FlagKind::Maintenance => "maintenance",
        FlagKind::Rebuilding => "rebuilding",
        FlagKind::Degraded => "degraded",
        FlagKind::QuotaNear => "quota-near",
        FlagKind::Preemptible => "preemptible",
    }
}

/// Four significant digits are enough for people.
fn short(value: f64) -> String {
    let digits = if value.abs() >= 1000.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}
