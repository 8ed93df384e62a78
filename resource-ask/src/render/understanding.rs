//! A request as it was understood: each field in words, the text that it came from, and everything
//! that could not be used.

use std::io::{self, Write};

use protocol::job::{Algorithm, JobSpec, Strategy};
use protocol::requirement::{GpuNeed, GpuScope, Requirement, StorageNeed, Urgency};
use protocol::understanding::{Intent, NotUnderstood, Span, Understanding, Weights};

use super::grid::{Cell, Column, Grid, Screen, Tone};
use super::text;

/// One line about what was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it stands in the JSON (`requirement.compute.nodes`).
    pub path: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What it says, safe to show.
    pub value: String,
}

/// Longest part of one value that is shown.
const VALUE_LIMIT: usize = 200;

fn any_of(names: &[String]) -> String {
    text::excerpt(&names.join(" or "), VALUE_LIMIT)
}

fn gpus(need: &GpuNeed) -> String {
    let mut value = format!(
        "{} {}",
        need.count,
        match need.per {
            GpuScope::Node => "on each node",
            GpuScope::Total => "in total",
        }
    );
    if let Some(model) = &need.model {
        value.push_str(&format!(", {}", text::excerpt(model, 40)));
    }
    if let Some(memory) = need.memory_gib {
        value.push_str(&format!(", at least {} each", text::gib(memory)));
    }
    if need.optional {
        value.push_str(", or none at all");
    }
    value
}

fn storage(need: &StorageNeed) -> String {
    let kind = need.kind.as_deref().map_or_else(|| "any".to_owned(), |kind| text::excerpt(kind, 40));
    match need.free_gib {
        Some(free) => format!("{kind} with {} free", text::gib(free)),
        None => kind,
    }
}

/// The requirement, field by field; empty when nothing was asked for.
#[must_use]
pub fn requirement_fields(requirement: &Requirement) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut add = |path, label, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.push(Field { path, label, value });
        }
    };
    let software: Vec<String> = requirement
        .software
        .iter()
        .map(|need| match &need.constraint {
            Some(constraint) => format!("{} {constraint}", need.name),
            None => need.name.clone(),
        })
        .collect();
    add("requirement.software", "software", Some(text::excerpt(&software.join(", "), VALUE_LIMIT)));

    let compute = &requirement.compute;
    add("requirement.compute.nodes", "nodes", compute.nodes.map(|nodes| nodes.to_string()));
    add("requirement.compute.tasks", "tasks", compute.tasks.map(|tasks| tasks.to_string()));
    add("requirement.compute.cores", "cores", compute.cores.map(|cores| format!("{cores} in total")));
    add(
        "requirement.compute.cores_per_node",
        "cores per node",
        compute.cores_per_node.map(|cores| cores.to_string()),
    );
    add(
        "requirement.compute.memory_gib",
        "memory",
        compute.memory_gib.map(|memory| format!("{} in total", text::gib(memory))),
    );
    add(
        "requirement.compute.memory_gib_per_node",
        "memory per node",
        compute.memory_gib_per_node.map(text::gib),
    );
    add("requirement.compute.gpus", "gpus", compute.gpus.as_ref().map(gpus));

    add("requirement.network", "network", Some(any_of(&requirement.network)));
    let stores: Vec<String> = requirement.storage.iter().map(storage).collect();
    add("requirement.storage", "storage", Some(stores.join(", ")));
    add("requirement.container", "container", Some(any_of(&requirement.container)));
    add("requirement.mpi", "mpi", requirement.mpi.then(|| "needed".to_owned()));
    add("requirement.workload", "workload manager", Some(any_of(&requirement.workload)));

    let time = &requirement.time;
    let urgency = time.urgency.map(|urgency| {
        match urgency {
            Urgency::Flexible => "can wait",
            Urgency::Soon => "soon",
            Urgency::Immediate => "immediate",
        }
        .to_owned()
    });
    add("requirement.time.urgency", "urgency", urgency);
    add(
        "requirement.time.start_by_seconds",
        "start",
        time.start_by_seconds.map(|start| {
            if start.get() <= 0.0 { "at once".to_owned() } else { format!("within {}", text::seconds(start)) }
        }),
    );
    add(
        "requirement.time.deadline_seconds",
        "done",
        time.deadline_seconds.map(|deadline| format!("within {}", text::seconds(deadline))),
    );
    add("requirement.time.duration_seconds", "runs for", time.duration_seconds.map(text::seconds));
    add(
        "requirement.budget_usd",
        "budget",
        requirement.budget_usd.map(|budget| format!("at most {}", text::usd(budget))),
    );
    let labels: Vec<String> =
        requirement.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    add("requirement.labels", "labels", Some(text::excerpt(&labels.join(", "), VALUE_LIMIT)));

    let exclude = &requirement.exclude;
    let workers: Vec<&str> = exclude.workers.iter().map(|worker| worker.as_str()).collect();
    let kinds =
        [&exclude.archetypes, &exclude.workload, &exclude.container, &exclude.network, &exclude.storage];
    let refused: Vec<&str> =
        workers.into_iter().chain(kinds.into_iter().flatten().map(String::as_str)).collect();
    add("requirement.exclude", "not on", Some(text::excerpt(&refused.join(", "), VALUE_LIMIT)));
    fields
}

/// A job in one line, safe to show.
#[must_use]
pub fn job_outline(job: &JobSpec) -> String {
    let outline = match job {
        JobSpec::Command(spec) if !spec.argv.is_empty() => spec.argv.join(" "),
        JobSpec::Command(spec) => spec.software.clone().unwrap_or_else(|| "a command, not given".to_owned()),
        JobSpec::Backtest(spec) => {
            let strategy = match &spec.strategy {
                Strategy::BuyAndHold => "buy and hold".to_owned(),
                Strategy::SmaCross { fast, slow } => format!("moving averages {fast}/{slow}"),
            };
            format!("{strategy} on {}", shown_uri(&spec.data.uri))
        }
        JobSpec::MlExperiment(spec) => {
            let algorithm = match spec.model.algo {
                Algorithm::Gbdt => "gradient-boosted trees",
                Algorithm::RandomForest => "random forest",
                Algorithm::Logistic => "logistic regression",
                Algorithm::Linear => "linear regression",
            };
            let target = spec.data.target.as_ref().map(|target| format!(", predicting {target}"));
            format!("{algorithm} on {}{}", shown_uri(&spec.data.uri), target.unwrap_or_default())
        }
    };
    format!("{}: {}", job.kind(), text::excerpt(&outline, VALUE_LIMIT))
}

fn shown_uri(uri: &str) -> &str {
    if uri.is_empty() { "data that is not given" } else { uri }
}

/// The intent and its weights in one line.
#[must_use]
pub fn intent_line(intent: Intent, weights: &Weights) -> String {
    let mut sorted: Vec<_> = weights.0.iter().filter(|(_, weight)| weight.get() > 0.0).collect();
    sorted.sort_by(|a, b| b.1.get().total_cmp(&a.1.get()).then(a.0.cmp(b.0)));
    let listed: Vec<String> = sorted
        .iter()
        .map(|(name, weight)| format!("{name} {}", text::number(thousandths(weight.get()))))
        .collect();
    if listed.is_empty() { intent.to_string() } else { format!("{intent} ({})", listed.join(", ")) }
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn words_of(path: &str, spans: &[Span]) -> String {
    let words: Vec<String> = spans
        .iter()
        .filter(|span| {
            span.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
        .map(|span| format!("“{}”", text::excerpt(&span.text, 60)))
        .collect();
    words.join(" ")
}

/// The requirement, the job, and what could not be used: the head of every answer.
///
/// `spans` may be empty; then no column says which words a field came from.
#[derive(Debug, Clone, Copy)]
pub struct Understood<'a> {
    /// The hard constraints.
    pub requirement: &'a Requirement,
    /// What matters most.
    pub intent: Intent,
    /// How much each factor matters.
    pub weights: &'a Weights,
    /// What to run.
    pub job: Option<&'a JobSpec>,
    /// The used parts of the text.
    pub spans: &'a [Span],
    /// The parts that could not be used.
    pub not_understood: &'a [NotUnderstood],
    /// What is missing, as paths.
    pub missing: &'a [String],
}

impl<'a> From<&'a Understanding> for Understood<'a> {
    fn from(understanding: &'a Understanding) -> Self {
        Self {
            requirement: &understanding.requirement,
            intent: understanding.intent,
            weights: &understanding.weights,
            job: understanding.job.as_ref(),
            spans: &understanding.spans,
            not_understood: &understanding.not_understood,
            missing: &understanding.missing,
        }
    }
}

/// Writes what was understood and what was not.
pub fn write(out: &mut dyn Write, screen: &Screen, understood: &Understood<'_>) -> io::Result<()> {
    let mut fields = requirement_fields(understood.requirement);
    if let Some(job) = understood.job {
        fields.push(Field { path: "job", label: "job", value: job_outline(job) });
    }
    fields.push(Field {
        path: "intent",
        label: "wants",
        value: intent_line(understood.intent, understood.weights),
    });
    screen.heading(out, "understood")?;
    let with_words = !understood.spans.is_empty();
    let mut columns = vec![Column::Label(""), Column::Prose("")];
    if with_words {
        columns.push(Column::Prose(""));
    }
    let mut grid = Grid::new(screen, &columns);
    for field in fields {
        let mut row = vec![Cell::new(Tone::Faint, field.label), Cell::from(field.value)];
        if with_words {
            row.push(Cell::new(Tone::Faint, words_of(field.path, understood.spans)));
        }
        grid.row(row);
    }
    grid.write(out)?;
    write_doubts(out, screen, understood.not_understood, understood.missing)
}

/// Writes what was not understood and what is missing; nothing when there is neither.
pub fn write_doubts(
    out: &mut dyn Write,
    screen: &Screen,
    not_understood: &[NotUnderstood],
    missing: &[String],
) -> io::Result<()> {
    if !not_understood.is_empty() {
        screen.heading(out, "not understood")?;
        let mut grid = Grid::new(screen, &[Column::Prose(""), Column::Prose("")]);
        for part in not_understood {
            grid.row(vec![
                Cell::new(Tone::Doubtful, format!("“{}”", text::excerpt(&part.text, 80))),
                Cell::from(text::excerpt(&part.reason, VALUE_LIMIT)),
            ]);
        }
        grid.write(out)?;
    }
    if !missing.is_empty() {
        screen.heading(out, "missing before it can run")?;
        for path in missing {
            writeln!(out, "  {}", screen.paint(Tone::Doubtful, &text::excerpt(path, 100)))?;
        }
    }
    Ok(())
}
