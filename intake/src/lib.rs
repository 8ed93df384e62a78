//! Requests in plain language or typed fields become an [`Understanding`], by rules alone.
//!
//! ```text
//! text -> token (words, numbers, operators, paths, with offsets)
//!      -> phrases/* (each reads one subject and records findings: tokens + meaning)
//!      -> assembly (findings that agree fill fields; those that contradict each other are refused)
//!      -> leftovers (what nobody used and says something)
//!      -> weights (by intent, over the factors that matter), typed fields win
//! ```
//!
//! The text is data: it can only fill fields. Whatever tries to instruct the system is listed in
//! `not_understood` like everything else that no field holds. The clock is an argument, nothing here
//! does I/O, and the work is linear in the length of the text.
//!
//! Paths in spans name the smallest field that the words fill: `requirement.software[0].name`,
//! `requirement.software[0].constraint`, `requirement.compute.gpus` (a need as a whole),
//! `requirement.network` (lists of names as a whole), `requirement.storage[0]`,
//! `requirement.labels.KEY`, `requirement.exclude.workload`, `intent`, `job.kind`,
//! `job.spec.data.uri`. Words that settle that something is not needed ("no GPUs") carry the path of
//! the field that they leave empty.

mod argv;
mod assembly;
mod english;
mod leftovers;
mod lexicon;
mod meaning;
mod number;
mod phrase;
mod phrases;
mod quantity;
mod reading;
mod spelling;
mod token;
mod vocabulary;
mod weights;

use std::ops::Range;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::request::Request;
use protocol::requirement::Requirement;
use protocol::understanding::{NotUnderstood, Span, Understanding, Weights};
use protocol::units::Timestamp;

pub use vocabulary::Vocabulary;

use crate::meaning::Refusal;
use crate::reading::Reading;

/// The longest prompt that is accepted, in bytes.
pub const MAX_PROMPT_BYTES: usize = 64 * 1024;

/// Refuses a request that says nothing, says too much, or is not text.
pub fn check(request: &Request) -> Result<(), ErrorBody> {
    let prompt = request.prompt.as_deref().unwrap_or_default();
    if prompt.len() > MAX_PROMPT_BYTES {
        let message = format!("the prompt has {} bytes; at most {MAX_PROMPT_BYTES} are read", prompt.len());
        return Err(ErrorBody::new(ErrorCode::Size, message));
    }
    if let Some(at) = prompt.chars().position(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let message = format!("the prompt is not plain text: character {at} is a control character");
        return Err(ErrorBody::new(ErrorCode::Field, message));
    }
    let typed =
        request.requirement.as_ref().is_some_and(|requirement| *requirement != Requirement::default());
    if prompt.trim().is_empty() && !typed && request.job.is_none() {
        let message = "the request says nothing: give a prompt, a requirement or a job";
        return Err(ErrorBody::new(ErrorCode::EmptyRequest, message));
    }
    Ok(())
}

/// Reads a request. It never fails: what cannot be used is listed in `not_understood`, and a request
/// without a prompt is understood as its typed fields say.
#[must_use]
pub fn understand(request: &Request, vocabulary: &Vocabulary, now: Timestamp) -> Understanding {
    let mut understanding = read_prompt(request.prompt.as_deref().unwrap_or_default(), vocabulary, now);
    apply_typed(request, &mut understanding);
    understanding.weights = request
        .weights
        .as_ref()
        .and_then(weights::normalised)
        .unwrap_or_else(|| weights::weights(understanding.intent, &understanding.requirement));
    understanding
}

fn read_prompt(prompt: &str, vocabulary: &Vocabulary, now: Timestamp) -> Understanding {
    let mut reading = Reading::new(prompt);
    phrases::read_all(&mut reading, vocabulary, now);
    leftovers::read(&mut reading);
    let mut assembled = assembly::assemble(std::mem::take(&mut reading.findings));
    let mut refusals = std::mem::take(&mut reading.refusals);
    refusals.append(&mut assembled.refusals);
    Understanding {
        requirement: assembled.requirement,
        intent: assembled.intent.unwrap_or_default(),
        weights: Weights::default(),
        job: assembled.job,
        spans: spans(&reading, assembled.spans),
        not_understood: not_understood(&reading, refusals),
        missing: assembled.missing,
    }
}

/// The text and the scalar offsets of a range of tokens.
fn place(reading: &Reading<'_>, tokens: &Range<usize>) -> Option<(String, usize, usize)> {
    let first = reading.tokens.get(tokens.start)?;
    let last = reading.tokens.get(tokens.end.checked_sub(1)?)?;
    (tokens.start < tokens.end).then(|| (reading.source(tokens).to_owned(), first.start, last.end))
}

fn spans(reading: &Reading<'_>, used: Vec<(Range<usize>, String)>) -> Vec<Span> {
    let mut spans: Vec<Span> = used
        .into_iter()
        .filter_map(|(tokens, path)| {
            place(reading, &tokens).map(|(text, start, end)| Span { text, start, end, path })
        })
        .collect();
    spans.sort_by(|a, b| (a.start, a.end, &a.path).cmp(&(b.start, b.end, &b.path)));
    spans.dedup();
    spans
}

fn not_understood(reading: &Reading<'_>, refusals: Vec<Refusal>) -> Vec<NotUnderstood> {
    let mut listed: Vec<NotUnderstood> = refusals
        .into_iter()
        .filter_map(|Refusal { tokens, reason }| {
            place(reading, &tokens).map(|(text, start, end)| NotUnderstood { text, start, end, reason })
        })
        .collect();
    listed.sort_by(|a, b| (a.start, a.end, &a.reason).cmp(&(b.start, b.end, &b.reason)));
    listed.dedup_by(|a, b| a.start == b.start && a.end == b.end);
    listed
}

/// Lets typed fields replace what the text says, one top-level field of the requirement at a time.
fn apply_typed(request: &Request, understanding: &mut Understanding) {
    if let Some(typed) = &request.requirement {
        let replaced = replace_requirement(typed, &mut understanding.requirement);
        understanding.spans.retain(|span| {
            let field = span
                .path
                .strip_prefix("requirement.")
                .map(|path| path.split(['.', '[']).next().unwrap_or(path));
            field.is_none_or(|field| !replaced.contains(&field))
        });
    }
    if let Some(job) = &request.job {
        understanding.job = Some(job.clone());
        understanding.missing.clear();
        if job.data().is_some_and(|data| data.uri.is_empty()) {
            understanding.missing.push("job.spec.data.uri".to_owned());
        }
        understanding.spans.retain(|span| !span.path.starts_with("job"));
    }
    if let Some(intent) = request.intent {
        understanding.intent = intent;
        understanding.spans.retain(|span| span.path != "intent");
    }
}

/// Replaces the fields that are given; returns their names.
fn replace_requirement(typed: &Requirement, into: &mut Requirement) -> Vec<&'static str> {
    let empty = Requirement::default();
    let mut replaced = Vec::new();
    macro_rules! replace {
        ($($field:ident),*) => {$(
            if typed.$field != empty.$field {
                into.$field = typed.$field.clone();
                replaced.push(stringify!($field));
            }
        )*};
    }
    replace!(
        software, compute, network, storage, container, mpi, workload, time, budget_usd, labels, exclude
    );
    replaced
}
