//! Whether a specification makes sense before anything is read: values in range, names well formed.
//! Every refusal says which field, which value, and what would do.

use protocol::error::{ErrorBody, ErrorCode};
use protocol::job::{BacktestSpec, CommandSpec, DataRef, JobSpec, MlExperimentSpec, Strategy};

/// The widest moving average that is taken, in bars.
pub const WIDEST_AVERAGE: u32 = 1_000_000;

/// The most arguments, variables or output patterns of a command.
const MOST_ITEMS: usize = 1_024;

/// The longest text in a specification, in bytes.
const LONGEST_TEXT: usize = 64 * 1024;

/// Checks a specification. Whether its kind can be run here is another question: see
/// [`runnable_kinds`](crate::runnable_kinds).
pub fn validate(spec: &JobSpec) -> Result<(), ErrorBody> {
    match spec {
        JobSpec::Command(spec) => command(spec),
        JobSpec::Backtest(spec) => backtest(spec),
        JobSpec::MlExperiment(spec) => ml_experiment(spec),
    }
}

fn refuse(field: &str, reason: impl std::fmt::Display) -> ErrorBody {
    ErrorBody::new(ErrorCode::Job, format!("job.spec.{field} {reason}"))
}

fn within(field: &str, value: f64, least: f64, most: f64) -> Result<(), ErrorBody> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(refuse(field, format_args!("is {value}; it must be from {least} to {most}")))
    }
}

fn text(field: &str, value: &str) -> Result<(), ErrorBody> {
    if value.contains('\0') {
        return Err(refuse(field, "has a zero byte in it"));
    }
    if value.len() > LONGEST_TEXT {
        return Err(refuse(field, format_args!("has {} bytes; at most {LONGEST_TEXT} will do", value.len())));
    }
    Ok(())
}

fn count(field: &str, items: usize) -> Result<(), ErrorBody> {
    if items > MOST_ITEMS {
        return Err(refuse(field, format_args!("has {items} items; at most {MOST_ITEMS} will do")));
    }
    Ok(())
}

fn data(data: &DataRef) -> Result<(), ErrorBody> {
    if data.uri.trim().is_empty() {
        return Err(ErrorBody::new(
            ErrorCode::JobIncomplete,
            "job.spec.data.uri is empty; name a file on the worker or parley://artifact/ID",
        ));
    }
    text("data.uri", &data.uri)?;
    if let Some(other) = data.uri.split_once("://").map(|(scheme, _)| scheme)
        && other != "parley"
    {
        return Err(refuse(
            "data.uri",
            format_args!("has the scheme {other:?}; a path or parley://artifact/ID will do"),
        ));
    }
    text("data.target", data.target.as_deref().unwrap_or_default())?;
    text("data.time_column", data.time_column.as_deref().unwrap_or_default())
}

fn backtest(spec: &BacktestSpec) -> Result<(), ErrorBody> {
    data(&spec.data)?;
    if let Strategy::SmaCross { fast, slow } = spec.strategy {
        if fast == 0 {
            return Err(refuse("strategy.params.fast", "is 0; an average needs at least 1 bar"));
        }
        if slow <= fast {
            return Err(refuse(
                "strategy.params.slow",
                format_args!("is {slow}; it must be more than fast, which is {fast}"),
            ));
        }
        if slow > WIDEST_AVERAGE {
            return Err(refuse(
                "strategy.params.slow",
                format_args!("is {slow}; at most {WIDEST_AVERAGE} bars will do"),
            ));
        }
    }
    within("portfolio.cash", spec.portfolio.cash.get(), 0.01, 1e15)?;
    within("costs.fee_rate", spec.costs.fee_rate.get(), 0.0, 0.5)?;
    within("costs.slippage_bps", spec.costs.slippage_bps.get(), 0.0, 5_000.0)?;
    if let Some(periods) = spec.annualisation {
        within("annualisation", periods.get(), 1.0, 1e8)?;
    }
    Ok(())
}

fn command(spec: &CommandSpec) -> Result<(), ErrorBody> {
    count("argv", spec.argv.len())?;
    count("environment", spec.environment.len())?;
    count("outputs", spec.outputs.len())?;
    if spec.argv.first().is_some_and(|program| program.trim().is_empty()) {
        return Err(refuse("argv", "names no program; its first item is empty"));
    }
    if spec.argv.is_empty() && spec.software.as_deref().unwrap_or_default().trim().is_empty() {
        return Err(ErrorBody::new(
            ErrorCode::JobIncomplete,
            "job.spec.argv is empty and job.spec.software is not given; name one of them",
        ));
    }
    for argument in &spec.argv {
        text("argv", argument)?;
    }
    for (name, value) in &spec.environment {
        let well_formed = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !well_formed {
            return Err(refuse(
                "environment",
                format_args!(
                    "has the name {:?}; letters, digits and '_' will do",
                    name.chars().take(64).collect::<String>()
                ),
            ));
        }
        if name.starts_with("PARLEY_") {
            return Err(refuse(
                "environment",
                format_args!("sets {name}; PARLEY_ names belong to the worker"),
            ));
        }
        text("environment", value)?;
    }
    for pattern in &spec.outputs {
        text("outputs", pattern)?;
        let leaves = pattern.starts_with('/') || pattern.split('/').any(|part| part == "..");
        if leaves || pattern.is_empty() {
            return Err(refuse(
                "outputs",
                format_args!("has {pattern:?}; a pattern inside the job's directory will do"),
            ));
        }
    }
    if let Some(limit) = spec.time_limit_seconds {
        within("time_limit_seconds", limit.get(), 0.001, 366.0 * 86_400.0)?;
    }
    Ok(())
}

fn ml_experiment(spec: &MlExperimentSpec) -> Result<(), ErrorBody> {
    data(&spec.data)?;
    count("model.params", spec.model.params.len())?;
    count("gate", spec.gate.len())?;
    for check in &spec.gate {
        if !matches!(check.op.as_str(), ">=" | ">" | "<=" | "<" | "==") {
            return Err(refuse(
                "gate",
                format_args!("has the comparison {:?}; >=, >, <=, < or == will do", check.op),
            ));
        }
        if check.metric.is_empty() {
            return Err(refuse("gate", "has a check without a metric"));
        }
    }
    Ok(())
}
