//! ML experiments: "train a random forest with 300 trees on churn.csv, deploy if F1 >= 0.80". The
//! pieces that all job kinds share (data files, columns) live here, too.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::job::{Algorithm, DataRef, GateCheck, JobSpec, MlExperimentSpec, ModelSpec};
use protocol::units::Number;

use crate::meaning::{Meaning, Piece};
use crate::number;
use crate::phrases::trading::shifted;
use crate::reading::Reading;
use crate::token::Kind;

/// Tokens that filled a part of a job, and the path of that part.
pub struct Detail {
    /// The tokens.
    pub tokens: Range<usize>,
    /// `job.spec.data.uri` and the like.
    pub path: String,
}

/// Records a job, its details, and what it lacks.
pub fn record_job(reading: &mut Reading<'_>, spec: JobSpec, details: Vec<Detail>, missing: &[&'static str]) {
    let mut details = details.into_iter();
    let first = details.next().map_or(0..0, |detail| detail.tokens);
    reading.find_pieces(vec![Piece { tokens: first, leaf: ".kind" }], Meaning::Job(Box::new(spec)));
    for detail in details {
        reading.find(detail.tokens, Meaning::JobDetail(detail.path));
    }
    for path in missing {
        reading.find_pieces(Vec::new(), Meaning::Missing(path));
    }
}

fn is_data_path(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains("://")
        || [".csv", ".csv.gz", ".parquet", ".tsv", ".feather", ".json", ".jsonl", ".xlsx"]
            .iter()
            .any(|end| lower.ends_with(end))
        || text.starts_with(['/', '~'])
        || text.starts_with("./")
        || text.starts_with("../")
}

/// Takes the first data file or URI; a second one stays and is reported.
pub fn data_paths(reading: &mut Reading<'_>, data: &mut DataRef, details: &mut Vec<Detail>) {
    let is_data = |at: &usize| {
        reading.free(*at).is_some_and(|token| token.kind == Kind::Path && is_data_path(token.text))
    };
    if let Some(at) = (0..reading.len()).find(is_data) {
        data.uri = reading.tokens[at].text.to_owned();
        reading.take(at..at + 1);
        details.push(Detail { tokens: at..at + 1, path: "job.spec.data.uri".to_owned() });
    }
    for at in 0..reading.len() {
        let is_time =
            matches!(reading.word(at), "time" | "date" | "timestamp") && reading.word(at + 1) == "column";
        if is_time && let Some((name, end)) = value_name(reading, at + 2) {
            data.time_column = Some(name);
            reading.take(at..end);
            details.push(Detail { tokens: at..end, path: "job.spec.data.time_column".to_owned() });
            break;
        }
    }
}

/// Words that can follow the name of a column.
const BEHIND_A_COLUMN: &[&str] = &[
    "column", "from", "on", "using", "with", "in", "of", "by", "and", "for", "at", "deploy", "if", "when",
    "only", "given", "based", "via", "out", "as", "then", "is", "should", "cheapest", "please", "seed", "f1",
    "auc", "accuracy", "variable",
];

/// A column's name behind a noun such as "column" or "target": bare, quoted, or behind `=` or `:`.
pub fn column_at(reading: &mut Reading<'_>, nouns: &[&str], details: &mut Vec<Detail>) -> Option<String> {
    let (tokens, name) =
        (0..reading.len()).filter(|at| nouns.contains(&reading.word(*at))).find_map(|at| {
            let next = reading.skip(
                at + 1,
                &["column", "variable", "is", "the", "to", "predict", "named", "called", "in", "a"],
            );
            let explicit = next > at + 1
                || matches!(reading.operator(next), "=")
                || reading.symbol(next).is_some()
                || matches!(
                    reading.word(at),
                    "column" | "target" | "label" | "predict" | "predicting" | "predicts"
                );
            let (name, end) = value_name(reading, next).filter(|_| explicit)?;
            // "predict house prices" speaks of something; "predict churn from ..." names a column.
            let is_prose = !reading.word(end).is_empty()
                && matches!(reading.word(at), "predict" | "predicting" | "predicts")
                && !BEHIND_A_COLUMN.contains(&reading.word(end));
            if is_prose {
                return None;
            }
            let end = if reading.word(end) == "column" { end + 1 } else { end };
            Some((at..end, name))
        })?;
    reading.take(tokens.clone());
    details.push(Detail { tokens, path: "job.spec.data.target".to_owned() });
    Some(name)
}

/// A name as a value: `churn`, `'is fraud'`, `= churn`.
fn value_name(reading: &Reading<'_>, at: usize) -> Option<(String, usize)> {
    let at = if reading.operator(at) == "=" { at + 1 } else { reading.skip_symbol(at, ":") };
    if let Some(quote) = reading.symbol(at).filter(|c| "'\"`\u{201c}".contains(*c)) {
        let closing = if quote == '\u{201c}' { '\u{201d}' } else { quote };
        let end = (at + 1..(at + 8).min(reading.len())).find(|end| reading.symbol(*end) == Some(closing))?;
        let name = reading.source(&(at + 1..end));
        return (!name.is_empty()).then(|| (name.to_owned(), end + 1));
    }
    let token = reading.free(at).filter(|token| token.kind == Kind::Word)?;
    const NOT_NAMES: &[&str] = &[
        "on", "with", "in", "of", "from", "using", "for", "and", "if", "whether", "the", "a", "an", "at",
        "is", "it", "by", "to", "as", "column", "who", "which", "what", "when", "how", "their", "our", "my",
    ];
    (!NOT_NAMES.contains(&token.lower.as_ref())).then(|| (token.text.to_owned(), at + 1))
}

/// Metrics by the words that people use for them.
fn metric_at(reading: &Reading<'_>, at: usize) -> Option<(&'static str, usize)> {
    let score = |next: usize| reading.skip(next, &["score", "scores"]);
    let (name, next) = match (reading.word(at), reading.word(at + 1)) {
        ("f1" | "f1-score" | "f1_score", _) => ("f1", score(at + 1)),
        ("roc", "auc") => ("auc", score(at + 2)),
        ("auc" | "auroc" | "roc-auc" | "roc_auc", _) => ("auc", score(at + 1)),
        ("accuracy" | "acc", _) => ("accuracy", score(at + 1)),
        ("precision", _) => ("precision", score(at + 1)),
        ("recall", _) => ("recall", score(at + 1)),
        ("logloss" | "log-loss" | "log_loss", _) => ("log_loss", at + 1),
        ("log", "loss") => ("log_loss", at + 2),
        ("rmse", _) => ("rmse", at + 1),
        ("mae", _) => ("mae", at + 1),
        ("mse", _) => ("mse", at + 1),
        ("r2" | "r-squared", _) => ("r2", score(at + 1)),
        ("brier", _) => ("brier", score(at + 1)),
        _ => return None,
    };
    Some((name, next))
}

/// "F1 >= 0.8", "accuracy of at least 90%", "rmse below 10", "AUC above .7".
fn gate_at(reading: &Reading<'_>, at: usize) -> Option<(GateCheck, usize)> {
    let (metric, next) = metric_at(reading, at)?;
    let next = reading.skip(next, &["is", "of", "be", "to", "reaches", "must", "should", "stays", "scores"]);
    let higher_is_better = !matches!(metric, "rmse" | "mae" | "mse" | "log_loss" | "brier");
    let (op, next) =
        match (reading.operator(next), reading.word(next), reading.word(next + 1), reading.word(next + 2)) {
            (op @ (">=" | "<=" | ">" | "<" | "=="), ..) => (op, next + 1),
            ("=", ..) => ("==", next + 1),
            (_, "at", "least", _) => (">=", next + 2),
            (_, "at", "most", _) => ("<=", next + 2),
            (_, "no" | "not", "less" | "lower" | "worse", "than") => (">=", next + 3),
            (_, "no" | "not", "more" | "higher" | "greater", "than") => ("<=", next + 3),
            (_, "greater" | "more" | "higher", "than", "or") => {
                (">=", reading.skip(next + 3, &["equal", "to"]))
            }
            (_, "greater" | "more" | "higher" | "better", "than", _) => (">", next + 2),
            (_, "less" | "lower", "than", _) => ("<", next + 2),
            (_, "above" | "over" | "exceeds" | "exceeding" | "beats" | "tops", ..) => (">", next + 1),
            (_, "below" | "under", ..) => ("<", next + 1),
            (_, "minimum" | "min", ..) => (">=", next + 1),
            (_, "maximum" | "max", ..) => ("<=", next + 1),
            _ if number::read(reading, next).is_some() => (if higher_is_better { ">=" } else { "<=" }, next),
            _ => return None,
        };
    let (value, end) = number::read(reading, next)?;
    let (value, end) = match (reading.symbol(end), reading.word(end)) {
        (Some('%'), _) => (shifted(value, -2), end + 1),
        (_, "percent") => (shifted(value, -2), end + 1),
        _ => (value, end),
    };
    let check = GateCheck { metric: metric.to_owned(), op: op.to_owned(), value: Number::saturating(value) };
    Some((check, end))
}

fn algorithm_at(reading: &Reading<'_>, at: usize) -> Option<(Algorithm, usize)> {
    let model = |next: usize| {
        reading.skip(next, &["model", "classifier", "regressor", "trees", "tree", "machine", "models"])
    };
    let (algorithm, next) = match (reading.word(at), reading.word(at + 1)) {
        ("random", "forest" | "forests") => (Algorithm::RandomForest, at + 2),
        (
            "random-forest"
            | "random_forest"
            | "randomforest"
            | "rf"
            | "randomforestclassifier"
            | "randomforestregressor",
            _,
        ) => (Algorithm::RandomForest, at + 1),
        ("gradient", "boosting" | "boosted" | "boost") => {
            (Algorithm::Gbdt, reading.skip(at + 2, &["decision"]))
        }
        ("gradient-boosted" | "gradient-boosting", _) => {
            (Algorithm::Gbdt, reading.skip(at + 1, &["decision"]))
        }
        ("boosted", "trees" | "tree" | "decision") => (Algorithm::Gbdt, at + 2),
        ("gbdt" | "gbm" | "gbt", _) => (Algorithm::Gbdt, at + 1),
        ("logistic", "regression") => (Algorithm::Logistic, at + 2),
        ("logistic-regression" | "logreg" | "logistic", _) => (Algorithm::Logistic, at + 1),
        ("linear", "regression" | "model" | "models") => (Algorithm::Linear, at + 2),
        ("linear-regression" | "ols", _) => (Algorithm::Linear, at + 1),
        _ => return None,
    };
    Some((algorithm, model(next)))
}

/// Libraries that name an algorithm when something is trained with them on a table.
fn library_at(reading: &Reading<'_>, at: usize) -> Option<(Algorithm, usize)> {
    matches!(reading.word(at), "xgboost" | "lightgbm" | "catboost" | "xgb" | "lgbm")
        .then(|| (Algorithm::Gbdt, reading.skip(at + 1, &["model", "classifier", "regressor"])))
}

/// Models that people ask for and that do not exist here.
const OTHER_MODELS: &[&str] = &[
    "svm",
    "knn",
    "neural",
    "mlp",
    "cnn",
    "transformer",
    "lstm",
    "perceptron",
    "bayes",
    "lasso",
    "ridge",
    "k-means",
    "kmeans",
    "network",
    "resnet",
    "bert",
];

pub fn read(reading: &mut Reading<'_>) {
    if reading.findings.iter().any(|finding| matches!(finding.meaning, Meaning::Job(_) | Meaning::Missing(_)))
    {
        return;
    }
    let verb = (0..reading.len()).find(|at| {
        matches!(
            reading.word(*at),
            "train"
                | "training"
                | "fit"
                | "fitting"
                | "retrain"
                | "learn"
                | "build"
                | "classify"
                | "train-test"
        )
    });
    let named = (0..reading.len()).find_map(|at| algorithm_at(reading, at).map(|found| (at, found)));
    let library = (0..reading.len()).find_map(|at| library_at(reading, at).map(|found| (at, found)));
    let has_table = reading.tokens.iter().enumerate().any(|(at, token)| {
        token.kind == Kind::Path && reading.is_free(at) && {
            let lower = token.text.to_lowercase();
            [".csv", ".parquet", ".tsv", ".csv.gz"].iter().any(|ending| lower.ends_with(ending))
        }
    });
    let has_gate = (0..reading.len()).any(|at| gate_at(reading, at).is_some());
    let on_a_table = verb.is_some() && (has_table || has_gate);
    let (at, algorithm, end) = match (named, library) {
        (Some((at, (algorithm, end))), _) if verb.is_some() || has_table || has_gate => (at, algorithm, end),
        (_, Some((at, (algorithm, end)))) if on_a_table => (at, algorithm, end),
        _ if on_a_table => {
            if refuse_other_model(reading) {
                reading.find_pieces(Vec::new(), Meaning::Missing("job.spec.model.algo"));
                return;
            }
            let is_model = |at: &usize| matches!(reading.word(*at), "classifier" | "regressor" | "model");
            let Some(at) = (0..reading.len()).find(is_model) else { return };
            (at, Algorithm::Gbdt, at + 1)
        }
        _ => return,
    };
    experiment(reading, verb, at..end, algorithm);
}

fn refuse_other_model(reading: &mut Reading<'_>) -> bool {
    let Some(at) = (0..reading.len()).find(|at| OTHER_MODELS.contains(&reading.word(*at))) else {
        return false;
    };
    let start = if matches!(reading.word_before(at, 1), "naive" | "deep") { at - 1 } else { at };
    let end = reading.skip(at + 1, &["network", "net", "model", "classifier", "bayes", "regression"]);
    reading.refuse(start..end, "no such model; there are gbdt, random_forest, logistic and linear");
    true
}

fn experiment(reading: &mut Reading<'_>, verb: Option<usize>, model: Range<usize>, algorithm: Algorithm) {
    let mut details = Vec::new();
    let start = verb.filter(|verb| *verb < model.start && model.start - verb <= 3).unwrap_or(model.start);
    reading.take(start..model.end);
    details.push(Detail { tokens: start..model.end, path: "job.spec.model.algo".to_owned() });
    let mut data = DataRef::default();
    data_paths(reading, &mut data, &mut details);
    data.target = column_at(reading, &["predict", "predicting", "target", "label", "predicts"], &mut details)
        .or_else(|| column_at(reading, &["column"], &mut details));
    let (params, seed) = parameters(reading, algorithm, &mut details);
    let gate = gate(reading, &mut details);
    let mut missing: Vec<&'static str> = Vec::new();
    if data.uri.is_empty() {
        missing.push("job.spec.data.uri");
    }
    if data.target.is_none() {
        missing.push("job.spec.data.target");
    }
    let model = ModelSpec { algo: algorithm, params, seed };
    record_job(reading, JobSpec::MlExperiment(MlExperimentSpec { data, model, gate }), details, &missing);
}

fn gate(reading: &mut Reading<'_>, details: &mut Vec<Detail>) -> Vec<GateCheck> {
    let mut checks = Vec::new();
    let mut at = 0;
    while at < reading.len() && checks.len() < 32 {
        let Some((check, end)) = gate_at(reading, at) else {
            at += 1;
            continue;
        };
        reading.take(at..end);
        details.push(Detail { tokens: at..end, path: format!("job.spec.gate[{}]", checks.len()) });
        checks.push(check);
        at = end;
    }
    checks
}

/// The name that a parameter has in a specification.
fn parameter_name(word: &str, algorithm: Algorithm) -> Option<&'static str> {
    let has_trees = matches!(algorithm, Algorithm::Gbdt | Algorithm::RandomForest);
    Some(match word {
        "trees" | "tree" | "estimators" | "n_estimators" | "n" | "n_trees" | "rounds" | "num_trees"
        | "ntrees" | "num_boost_round"
            if has_trees =>
        {
            "trees"
        }
        "iterations" | "epochs" if algorithm == Algorithm::Gbdt => "trees",
        "depth" | "max_depth" | "max-depth" => "depth",
        "learning_rate" | "learning-rate" | "lr" | "eta" | "shrinkage" => "learning_rate",
        "l2" | "lambda" | "regularisation" | "regularization" => "l2",
        _ => return None,
    })
}

fn parameters(
    reading: &mut Reading<'_>,
    algorithm: Algorithm,
    details: &mut Vec<Detail>,
) -> (BTreeMap<String, Number>, u64) {
    let mut params = BTreeMap::new();
    let mut seed = 0;
    let mut at = 0;
    while at < reading.len() {
        let found = parameter_behind_number(reading, at, algorithm)
            .or_else(|| parameter_before_number(reading, at, algorithm));
        let Some((name, value, end)) = found else {
            at += 1;
            continue;
        };
        reading.take(at..end);
        if name == "seed" {
            seed = number::as_count(value).map_or(0, u64::from);
            details.push(Detail { tokens: at..end, path: "job.spec.model.seed".to_owned() });
        } else {
            params.insert(name.to_owned(), Number::saturating(value));
            details.push(Detail { tokens: at..end, path: format!("job.spec.model.params.{name}") });
        }
        at = end;
    }
    (params, seed)
}

/// "300 trees", "depth-6" is not one, "200 boosting rounds".
fn parameter_behind_number(
    reading: &Reading<'_>,
    at: usize,
    algorithm: Algorithm,
) -> Option<(&'static str, f64, usize)> {
    let (value, next) = number::read(reading, at)?;
    let next = reading.skip_symbol(next, "-");
    let next = reading.skip(next, &["decision", "boosting"]);
    let word = reading.word(next);
    let name = parameter_name(word, algorithm).filter(|_| word != "n")?;
    Some((name, value, next + 1))
}

/// "n_estimators=300", "max depth 6", "learning rate of 0.1", "seed 42".
fn parameter_before_number(
    reading: &Reading<'_>,
    at: usize,
    algorithm: Algorithm,
) -> Option<(&'static str, f64, usize)> {
    let (name, next) = match (reading.word(at), reading.word(at + 1)) {
        ("seed" | "random_state" | "random-state", _) => ("seed", at + 1),
        ("random", "seed" | "state") => ("seed", at + 2),
        ("learning", "rate") => ("learning_rate", at + 2),
        ("max" | "maximum" | "tree", "depth") => ("depth", at + 2),
        ("number", "of") if matches!(reading.word(at + 2), "trees" | "estimators") => ("trees", at + 3),
        (word, _) => (parameter_name(word, algorithm)?, at + 1),
    };
    let next = reading.skip(next, &["of", "is", "to", "at"]);
    let (has_sign, next) = match (reading.operator(next), reading.symbol(next)) {
        ("=" | "==", _) => (true, next + 1),
        (_, Some(':')) => (true, next + 1),
        _ => (false, next),
    };
    if reading.word(at) == "n" && !has_sign {
        return None;
    }
    let (value, end) = number::read(reading, next)?;
    Some((name, value, end))
}
