//! Why each worker won or lost, and what would have changed it.

use std::io::{self, Write};

use negotiation::explain::{Explanation, Standing, WhatIf, WorkerExplanation};
use protocol::evaluation::AuditResult;
use protocol::ids::WorkerId;
use protocol::proposal::Verdict;
use protocol::units::{Seconds, Usd};

use super::grid::{Cell, Column, Grid, Screen, Tone};
use super::proposals::{trust_tone, verdict_tone, write_selection};
use super::text;

/// How many workers are explained at once; each can be asked for by name.
const SHOWN: usize = 20;

/// Workers in the order in which they are explained: the chosen one, the others by rank, then those
/// that failed, then those that were not asked.
#[must_use]
pub fn in_order(explanation: &Explanation) -> Vec<(&WorkerId, &WorkerExplanation)> {
    let mut workers: Vec<_> = explanation.workers.iter().collect();
    let place = |standing| match standing {
        Standing::Chosen => 0,
        Standing::Passed => 1,
        Standing::Failed => 2,
        Standing::NotAsked => 3,
    };
    workers.sort_by_key(|(id, worker)| (place(worker.standing), worker.rank, *id));
    workers
}

/// Writes the choice and a paragraph for each worker.
pub fn write(out: &mut dyn Write, screen: &Screen, explanation: &Explanation) -> io::Result<()> {
    match &explanation.selection {
        Some(selection) => write_selection(out, screen, selection)?,
        None => writeln!(out, "no choice was asked for")?,
    }
    let workers = in_order(explanation);
    for (id, worker) in workers.iter().take(SHOWN) {
        writeln!(out)?;
        write_worker(out, screen, id, worker)?;
    }
    let more = workers.len().saturating_sub(SHOWN);
    if more > 0 {
        writeln!(out)?;
        writeln!(out, "and {more} more: name one to see it")?;
    }
    Ok(())
}

/// Writes the paragraph of one worker.
pub fn write_worker(
    out: &mut dyn Write,
    screen: &Screen,
    id: &WorkerId,
    worker: &WorkerExplanation,
) -> io::Result<()> {
    let (tone, standing) = match worker.standing {
        Standing::Chosen => (Tone::Good, "chosen"),
        Standing::Passed => (Tone::Plain, "passed, not chosen"),
        Standing::Failed => (Tone::Bad, "failed"),
        Standing::NotAsked => (Tone::Faint, "not asked"),
    };
    write!(out, "{}: {}", screen.paint(Tone::Strong, id.as_str()), screen.paint(tone, standing))?;
    if let Some(rank) = worker.rank {
        write!(out, ", rank {rank}")?;
    }
    if worker.standing != Standing::NotAsked {
        let verdict = worker.verdict;
        let said = if verdict == Verdict::Unknown { "no answer".to_owned() } else { verdict.to_string() };
        write!(out, ", said {}", screen.paint(verdict_tone(verdict), &said))?;
    }
    writeln!(out)?;
    write_gate(out, screen, worker)?;
    write_untrue(out, screen, worker)?;
    write_score(out, screen, worker)?;
    for change in &worker.what_if {
        writeln!(out, "  {} {}", screen.paint(Tone::Faint, "→"), what_if_line(change))?;
    }
    Ok(())
}

fn write_gate(out: &mut dyn Write, screen: &Screen, worker: &WorkerExplanation) -> io::Result<()> {
    if worker.gate.failed.is_empty() {
        return Ok(());
    }
    let mut grid =
        Grid::new(screen, &[Column::Label("reason"), Column::Prose("wanted"), Column::Prose("had")]);
    for reason in &worker.gate.failed {
        grid.row(vec![
            Cell::new(Tone::Bad, reason.code.to_string()),
            text::excerpt(&reason.wanted, 100).into(),
            text::excerpt(&reason.had, 100).into(),
        ]);
    }
    grid.write(out)
}

fn write_untrue(out: &mut dyn Write, screen: &Screen, worker: &WorkerExplanation) -> io::Result<()> {
    if worker.untrue.is_empty() {
        return Ok(());
    }
    let mut grid = Grid::new(
        screen,
        &[Column::Prose("untrue claim"), Column::Prose("said"), Column::Prose("true is"), Column::Label("")],
    );
    for finding in &worker.untrue {
        let truth = finding.truth.as_ref().map_or_else(|| text::UNKNOWN.to_owned(), ToString::to_string);
        let over = finding.result == AuditResult::Over;
        grid.row(vec![
            text::excerpt(&finding.subject, 60).into(),
            stated(&finding.claimed.to_string()).into(),
            stated(&truth).into(),
            if over { Cell::new(Tone::Bad, "too much") } else { Cell::new(Tone::Doubtful, "too little") },
        ]);
    }
    grid.write(out)
}

/// A claimed or true value; an empty list is a statement too.
fn stated(value: &str) -> String {
    if value.trim().is_empty() { "nothing".to_owned() } else { text::excerpt(value, 80) }
}

/// The factors, the penalties, and how they make the final score.
fn write_score(out: &mut dyn Write, screen: &Screen, worker: &WorkerExplanation) -> io::Result<()> {
    if worker.contributions.is_empty() {
        return Ok(());
    }
    let mut grid = Grid::new(
        screen,
        &[
            Column::Label("factor"),
            Column::Figure("weight"),
            Column::Figure("utility"),
            Column::Figure("after trust"),
        ],
    );
    let mut factors: Vec<_> = worker.contributions.iter().collect();
    factors.sort_by(|a, b| b.1.weight.get().total_cmp(&a.1.weight.get()).then(a.0.cmp(b.0)));
    for (name, contribution) in factors {
        grid.row(vec![
            name.as_str().into(),
            text::share(contribution.weight.get()).into(),
            text::share(contribution.utility.get()).into(),
            text::share(contribution.discounted.get()).into(),
        ]);
    }
    grid.write(out)?;
    let trust = worker.trust.get();
    let mut formula = format!(
        "score {} × trust {}",
        text::share(worker.score.get()),
        screen.paint(trust_tone(trust), &text::share(trust))
    );
    for adjustment in &worker.adjustments {
        formula.push_str(&format!(
            " × {} {} ({})",
            adjustment.flag,
            text::number(adjustment.multiplier.get()),
            text::excerpt(&adjustment.evidence, 80)
        ));
    }
    let total = text::share(worker.r#final.get());
    // A failed gate makes the product 0, whatever it would be.
    let gate = if worker.gate.passed { "" } else { " × gate 0" };
    writeln!(out, "  {formula}{gate} = {}", screen.paint(Tone::Strong, &total))
}

/// A change that would have led to another outcome, in words.
#[must_use]
pub fn what_if_line(change: &WhatIf) -> String {
    match change {
        WhatIf::Gates { codes, rank } => {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            match rank {
                Some(rank) => format!("without {} it would have ranked {rank}", codes.join(", ")),
                None => format!("kept out by {}", codes.join(", ")),
            }
        }
        WhatIf::FirstWith { factor, value, more, unit } => {
            let word = if *more { "above" } else { "below" };
            format!("first, had its {factor} been {word} {}", quantity(value.get(), unit))
        }
        WhatIf::FirstUntil { factor, value, more, unit } => {
            let word = if *more { "below" } else { "above" };
            format!("stays first while its {factor} is {word} {}", quantity(value.get(), unit))
        }
        WhatIf::ClaimTrust { had, needed } => {
            format!(
                "first with {} trust in its claims instead of {}",
                text::share(needed.get()),
                text::share(had.get())
            )
        }
        WhatIf::DeliveryTrust { had, needed } => {
            format!(
                "first with {} trust in its delivery instead of {}",
                text::share(needed.get()),
                text::share(had.get())
            )
        }
        WhatIf::Flag { flag } => format!("first without {}", flag),
    }
}

fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "s" => text::seconds(Seconds::saturating(value)),
        "usd" => text::usd(Usd::saturating(value)),
        "ratio" | "class" => text::number(value),
        unit => format!("{} {}", text::number(value), text::excerpt(unit, 20)),
    }
}
