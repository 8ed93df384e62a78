//! The answer of a fleet: who can, how well, at what price, and why not; then the choice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use protocol::award::{Receipt, ReceiptStatus};
use protocol::evaluation::{AuditResult, Evaluation, Reason, Selection};
use protocol::ids::WorkerId;
use protocol::negotiation::NegotiationView;
use protocol::proposal::{ReasonCode, Reply, Verdict};

use super::grid::{Cell, Column, Grid, Screen, Tone};
use super::text;
use super::understanding::{self, Understood};

/// How many workers that can run the work are shown, and how many that cannot; the JSON has all.
const SHOWN_ABLE: usize = 20;
const SHOWN_UNABLE: usize = 12;

/// From this width on a reason says what was wanted and what there was.
const ROOMY: u16 = 110;

/// The tone of a verdict.
#[must_use]
pub const fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Ready => Tone::Good,
        Verdict::Busy | Verdict::Restricted => Tone::Doubtful,
        Verdict::Incompatible => Tone::Bad,
        Verdict::Unknown => Tone::Faint,
    }
}

/// A reason in a few words: its code, and on a wide screen what was wanted and what there was.
#[must_use]
pub fn reason_line(reason: &Reason, screen: &Screen) -> String {
    if screen.width < ROOMY || (reason.wanted.is_empty() && reason.had.is_empty()) {
        return reason.code.to_string();
    }
    format!("{} (wanted {}, had {})", reason.code, shown(&reason.wanted), shown(&reason.had))
}

fn shown(value: &str) -> String {
    if value.trim().is_empty() { "nothing".to_owned() } else { text::excerpt(value, 40) }
}

/// The reasons that tell something: that a worker says no itself is the least of them.
fn telling(reasons: &[Reason]) -> impl Iterator<Item = &Reason> {
    let only_negative = reasons.iter().all(|reason| reason.code == ReasonCode::VerdictNegative);
    reasons.iter().filter(move |reason| only_negative || reason.code != ReasonCode::VerdictNegative)
}

fn reason_lines(reasons: &[Reason], screen: &Screen) -> String {
    let mut lines: Vec<String> = telling(reasons).map(|reason| reason_line(reason, screen)).collect();
    lines.dedup();
    let more = lines.len().saturating_sub(3);
    lines.truncate(3);
    let joined = lines.join(", ");
    if more == 0 { joined } else { format!("{joined}, {more} more") }
}

/// What a person should know of a reply beside the figures.
fn notes_of(reply: &Reply, evaluation: Option<&Evaluation>, screen: &Screen) -> String {
    if let Reply::Missing(missing) = reply {
        // The sentence matters more than the code here: it is the worker's own.
        return format!("{}: {}", missing.outcome, text::excerpt(&missing.error.message, 120));
    }
    let Some(evaluation) = evaluation else { return String::new() };
    if !evaluation.gate.passed {
        return reason_lines(&evaluation.gate.failed, screen);
    }
    let mut notes: Vec<String> = evaluation
        .adjustments
        .iter()
        .map(|adjustment| format!("{} ×{}", adjustment.flag, text::number(adjustment.multiplier.get())))
        .collect();
    let over: Vec<String> = evaluation
        .audit
        .iter()
        .filter(|finding| finding.result == AuditResult::Over)
        .map(|finding| text::excerpt(&finding.subject, 40))
        .collect();
    if !over.is_empty() {
        notes.push(format!("over-claims {}", over.join(", ")));
    }
    if let Some(proposal) = reply.proposal() {
        notes.extend(
            proposal
                .constraints
                .iter()
                .filter(|constraint| constraint.code.is_about_capacity())
                .map(|constraint| constraint.code.to_string()),
        );
    }
    notes.join(", ")
}

/// Workers in the order in which they are shown: by rank, then those that cannot, by verdict and name.
fn in_order(
    proposals: &BTreeMap<WorkerId, Reply>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
) -> Vec<WorkerId> {
    let mut workers: Vec<&WorkerId> = proposals.keys().collect();
    workers.sort_by_key(|worker| {
        let rank = evaluations.get(*worker).and_then(|evaluation| evaluation.rank).unwrap_or(u32::MAX);
        (rank, proposals.get(*worker).map(Reply::verdict), (*worker).clone())
    });
    workers.into_iter().cloned().collect()
}

fn passed(evaluations: &BTreeMap<WorkerId, Evaluation>, worker: &WorkerId) -> bool {
    evaluations.get(worker).is_some_and(|evaluation| evaluation.gate.passed)
}

/// Workers that pass every hard constraint, best first.
#[must_use]
pub fn able(
    proposals: &BTreeMap<WorkerId, Reply>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
) -> Vec<WorkerId> {
    in_order(proposals, evaluations).into_iter().filter(|worker| passed(evaluations, worker)).collect()
}

/// Writes one line for each worker of the fleet, the best first, those that were not asked last.
/// A large fleet is cut, and what is left out is counted by reason.
pub fn write_table(
    out: &mut dyn Write,
    screen: &Screen,
    proposals: &BTreeMap<WorkerId, Reply>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
    excluded: &BTreeMap<WorkerId, Vec<Reason>>,
    selection: Option<&Selection>,
) -> io::Result<()> {
    if proposals.is_empty() && excluded.is_empty() {
        return writeln!(out, "  no worker has joined the fleet");
    }
    let chosen = selection.and_then(|selection| selection.worker_id.as_ref());
    let (mut can, mut cannot): (Vec<WorkerId>, Vec<WorkerId>) =
        in_order(proposals, evaluations).into_iter().partition(|worker| passed(evaluations, worker));
    let hidden_able = can.len().saturating_sub(SHOWN_ABLE);
    // The chosen one is always shown, wherever a strategy found it.
    let kept = chosen.filter(|chosen| can.iter().skip(SHOWN_ABLE).any(|worker| worker == *chosen)).cloned();
    can.truncate(SHOWN_ABLE);
    can.extend(kept);

    let mut hidden: BTreeMap<String, usize> = BTreeMap::new();
    let room = SHOWN_UNABLE.min(cannot.len() + excluded.len());
    for worker in cannot.split_off(room.min(cannot.len())) {
        *hidden.entry(main_reason(&worker, proposals, evaluations)).or_default() += 1;
    }
    let left = room - cannot.len();
    for (_, reasons) in excluded.iter().skip(left) {
        let code = reasons.first().map_or_else(|| "not asked".to_owned(), |reason| reason.code.to_string());
        *hidden.entry(code).or_default() += 1;
    }

    let roomy = screen.width >= ROOMY;
    let mut columns = vec![
        Column::Figure("#"),
        if roomy { Column::Label("worker") } else { Column::Prose("worker") },
        Column::Label("verdict"),
        Column::Figure("score"),
        Column::Figure("trust"),
        Column::Figure("final"),
        Column::Figure("price"),
        Column::Figure("start P90"),
    ];
    // On a narrow screen the notes get a table of their own, or there would be one letter in a line.
    let mut notes = Grid::new(screen, &[Column::Label("worker"), Column::Prose("notes")]);
    if roomy {
        columns.push(Column::Prose("notes"));
    }
    let mut grid = Grid::new(screen, &columns);
    let mut add = |worker: &WorkerId, mut row: Vec<Cell>, note: String, tone: Tone| {
        if roomy {
            row.push(Cell::new(tone, note));
        } else if !note.is_empty() {
            notes.row(vec![worker.as_str().into(), Cell::new(tone, note)]);
        }
        grid.row(row);
    };
    for worker in can.iter().chain(&cannot) {
        if let Some(reply) = proposals.get(worker) {
            let evaluation = evaluations.get(worker);
            let row = reply_row(worker, reply, evaluation, chosen == Some(worker));
            add(worker, row, notes_of(reply, evaluation, screen), Tone::Plain);
        }
    }
    for (worker, reasons) in excluded.iter().take(left) {
        let mut row = vec![Cell::from(""), Cell::new(Tone::Faint, worker.as_str())];
        row.push(Cell::new(Tone::Faint, "not asked"));
        row.extend((0..5).map(|_| Cell::from("")));
        add(worker, row, reason_lines(reasons, screen), Tone::Faint);
    }
    grid.write(out)?;
    if !notes.is_empty() {
        writeln!(out)?;
        notes.write(out)?;
    }
    if hidden_able > 0 {
        writeln!(out, "  and {} more that can", hidden_able)?;
    }
    if !hidden.is_empty() {
        let total: usize = hidden.values().sum();
        let mut counted: Vec<(String, usize)> = hidden.into_iter().collect();
        counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let listed: Vec<String> =
            counted.iter().take(6).map(|(code, count)| format!("{code} {count}")).collect();
        writeln!(out, "  and {total} more that cannot: {}", listed.join(", "))?;
    }
    Ok(())
}

fn main_reason(
    worker: &WorkerId,
    proposals: &BTreeMap<WorkerId, Reply>,
    evaluations: &BTreeMap<WorkerId, Evaluation>,
) -> String {
    match proposals.get(worker) {
        Some(Reply::Missing(missing)) => missing.outcome.to_string(),
        _ => evaluations
            .get(worker)
            .and_then(|evaluation| telling(&evaluation.gate.failed).next())
            .map_or_else(|| "no reason given".to_owned(), |reason| reason.code.to_string()),
    }
}

fn reply_row(worker: &WorkerId, reply: &Reply, evaluation: Option<&Evaluation>, chosen: bool) -> Vec<Cell> {
    let verdict = reply.verdict();
    let rank =
        evaluation.and_then(|evaluation| evaluation.rank).map(|rank| rank.to_string()).unwrap_or_default();
    let name_tone = if chosen { Tone::Strong } else { Tone::Plain };
    let mut row = vec![
        Cell::new(name_tone, if chosen { format!("→ {rank}") } else { rank }),
        Cell::new(name_tone, worker.as_str()),
        Cell::new(verdict_tone(verdict), verdict.to_string()),
    ];
    match evaluation.filter(|evaluation| evaluation.gate.passed) {
        Some(evaluation) => {
            let trust = evaluation.trust.get();
            row.push(Cell::from(text::share(evaluation.score.get())));
            row.push(Cell::new(trust_tone(trust), text::share(trust)));
            row.push(Cell::new(Tone::Strong, text::share(evaluation.r#final.get())));
        }
        None => row.extend(["", "", ""].map(Cell::from)),
    }
    let promises = reply.proposal().map(|proposal| proposal.promises);
    let unknown = || if promises.is_some() { text::UNKNOWN.to_owned() } else { String::new() };
    row.push(promises.and_then(|promises| promises.cost_usd).map_or_else(unknown, text::usd).into());
    row.push(
        promises.and_then(|promises| promises.start_p90_seconds).map_or_else(unknown, text::seconds).into(),
    );
    row
}

/// The tone of a trust value; below 0.4 a worker is quarantined.
#[must_use]
pub fn trust_tone(trust: f64) -> Tone {
    if trust < 0.4 {
        Tone::Bad
    } else if trust < 0.6 {
        Tone::Doubtful
    } else {
        Tone::Plain
    }
}

/// Writes the choice and why it was made.
pub fn write_selection(out: &mut dyn Write, screen: &Screen, selection: &Selection) -> io::Result<()> {
    let strategy = text::excerpt(&selection.strategy, 40);
    let explanation = text::excerpt(&selection.explanation, 400);
    match &selection.worker_id {
        Some(worker) => writeln!(
            out,
            "{} {} by {strategy}: {explanation}",
            screen.paint(Tone::Good, "→"),
            screen.paint(Tone::Strong, worker.as_str())
        ),
        None => writeln!(out, "{} {explanation}", screen.paint(Tone::Bad, "nothing chosen:")),
    }
}

/// Writes what a worker answered to an award.
pub fn write_receipt(out: &mut dyn Write, screen: &Screen, receipt: &Receipt) -> io::Result<()> {
    match (receipt.status, &receipt.error) {
        (ReceiptStatus::Success, _) => writeln!(
            out,
            "{} {} accepted by {} (attempt {})",
            screen.paint(Tone::Good, "✓"),
            receipt.job_id,
            screen.paint(Tone::Strong, receipt.worker_id.as_str()),
            receipt.attempt
        ),
        (ReceiptStatus::Failed, error) => {
            let why = error.as_ref().map_or_else(
                || "no reason given".to_owned(),
                |error| format!("{} ({})", text::excerpt(&error.message, 300), error.code),
            );
            writeln!(out, "{} refused by {}: {why}", screen.paint(Tone::Bad, "✗"), receipt.worker_id)
        }
    }
}

/// Writes a whole negotiation: what was understood, the fleet's answers, and the choice.
pub fn write(out: &mut dyn Write, screen: &Screen, view: &NegotiationView) -> io::Result<()> {
    let understood = Understood {
        requirement: &view.requirement,
        intent: view.intent,
        weights: &view.weights,
        job: None,
        spans: &[],
        not_understood: &view.not_understood,
        missing: &view.missing,
    };
    understanding::write(out, screen, &understood)?;
    writeln!(out)?;
    let asked = view.proposals.len();
    screen.heading(
        out,
        &format!(
            "{} of {} can, in {} ({})",
            able(&view.proposals, &view.evaluations).len(),
            text::count(asked + view.excluded.len(), "worker"),
            text::seconds(view.elapsed_seconds),
            view.negotiation_id
        ),
    )?;
    write_table(out, screen, &view.proposals, &view.evaluations, &view.excluded, view.selection.as_ref())?;
    if let Some(selection) = &view.selection {
        writeln!(out)?;
        write_selection(out, screen, selection)?;
    }
    Ok(())
}

/// Why nothing is chosen to run the work, in one line: the most frequent reasons over the whole fleet.
#[must_use]
pub fn why_nothing(view: &NegotiationView) -> String {
    let total = view.proposals.len() + view.excluded.len();
    if total == 0 {
        return "no worker has joined the fleet".to_owned();
    }
    if let Some(selection) = &view.selection
        && !able(&view.proposals, &view.evaluations).is_empty()
    {
        // Somebody can, and the strategy chose nobody: only it knows why.
        let strategy = text::excerpt(&selection.strategy, 40);
        return format!("{strategy} chose nobody: {}", text::excerpt(&selection.explanation, 300));
    }
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for worker in view.proposals.keys() {
        let codes: BTreeSet<ReasonCode> = view
            .evaluations
            .get(worker)
            .map(|evaluation| telling(&evaluation.gate.failed).map(|reason| reason.code).collect())
            .unwrap_or_default();
        match view.proposals.get(worker) {
            Some(Reply::Missing(missing)) => *counted.entry(missing.outcome.to_string()).or_default() += 1,
            _ => codes.iter().for_each(|code| *counted.entry(code.to_string()).or_default() += 1),
        }
    }
    for reasons in view.excluded.values() {
        let codes: BTreeSet<ReasonCode> = reasons.iter().map(|reason| reason.code).collect();
        codes.iter().for_each(|code| *counted.entry(code.to_string()).or_default() += 1);
    }
    let mut sorted: Vec<(String, usize)> = counted.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let listed: Vec<String> = sorted.iter().take(4).map(|(code, count)| format!("{code} {count}")).collect();
    format!("none of {} can run it: {}", text::count(total, "worker"), listed.join(", "))
}
