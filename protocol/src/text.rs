//! The predecessor's text form of a proposal. Its hub passes the text on, its client cuts it at the
//! word `CALLS` and reads the first fenced block; so each occurs once. `-1` is its sign for "unknown".
//!
//! ```text
//! FINAL PROPOSAL: <reasoning>
//! <fence>json
//! {"verdict", "reasoning", "metrics": {"queue_depth", "ets_seconds"}, "constraints": [text]}
//! <fence>
//! CALLS
//! <fence>json
//! [{"provider", "function", "args"}]
//! <fence>
//! ```
//!
//! Reading is for its workers: the text is written by a model, so the form is a hope. What is not there
//! stays unknown, and without a verdict there is no proposal.

use std::collections::BTreeMap;

use crate::claim::{Claim, ClaimValue};
use crate::ids::ProposalId;
use crate::proposal::{Constraint, Promises, Proposal, ProviderCall, Verdict};
use crate::units::{Number, Seconds};
use serde_json::{Map, Value, json};

/// The longest text that is read.
pub const TEXT_LIMIT: usize = 256 * 1024;
/// Places in a text at which an object is looked for.
const PLACES_LIMIT: usize = 64;
/// Entries that are kept of a list.
const LIST_LIMIT: usize = 256;
/// Characters that are kept of the reasoning.
const REASONING_LIMIT: usize = 2000;
/// The claim that carries the predecessor's queue depth.
pub const QUEUE_DEPTH: &str = "queue.depth";

const FENCE: &str = "```";
const CALLS: &str = "CALLS";

/// Why a text is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is longer than [`TEXT_LIMIT`].
    #[error("the text has {0} bytes, more than {TEXT_LIMIT}")]
    TooLong(usize),
    /// Nothing in it gives a verdict.
    #[error("the text holds no JSON object with a verdict")]
    NoVerdict,
    /// The verdict is none that exists.
    #[error("{0:?} is no verdict; there are READY, BUSY, RESTRICTED, INCOMPATIBLE, UNKNOWN")]
    UnknownVerdict(String),
}

/// A quantity as the predecessor writes it: a whole number, -1 when unknown.
fn metric(value: Option<f64>) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    value.map_or(-1, |value| value.max(0.0).ceil() as i64)
}

/// The queue depth that a proposal claims.
fn claimed_depth(proposal: &Proposal) -> Option<f64> {
    proposal.claims.iter().find_map(|claim| match (claim.subject.as_str(), &claim.value) {
        (QUEUE_DEPTH, ClaimValue::Quantity(depth)) => Some(depth.get()),
        _ => None,
    })
}

/// Text that holds neither of the marks at which the predecessor cuts.
fn unmarked(text: &str) -> String {
    text.replace(FENCE, "'''").replace(CALLS, "Calls")
}

/// Writes a proposal. `queue_depth` is what the facts know of the queue; without it, what the proposal
/// claims of it.
#[must_use]
pub fn render(proposal: &Proposal, queue_depth: Option<u32>) -> String {
    let depth = queue_depth.map(f64::from).or_else(|| claimed_depth(proposal));
    let promises = &proposal.promises;
    let start = promises.start_p50_seconds.or(promises.start_p90_seconds);
    let constraints: Vec<String> = proposal
        .constraints
        .iter()
        .map(|constraint| {
            format!("{}: wanted {}, had {}", constraint.code, constraint.wanted, constraint.had)
        })
        .collect();
    let body = json!({
        "verdict": proposal.verdict,
        "reasoning": proposal.reasoning,
        "metrics": {"queue_depth": metric(depth), "ets_seconds": metric(start.map(Seconds::get))},
        "constraints": constraints,
    });
    let summary = unmarked(&proposal.reasoning);
    let mut text =
        format!("FINAL PROPOSAL: {summary}\n{FENCE}json\n{}\n{FENCE}", unmarked(&format!("{body:#}")));
    if !proposal.calls.is_empty() {
        let calls = unmarked(&json!(proposal.calls).to_string());
        text.push_str(&format!("\n{CALLS}\n{FENCE}json\n{calls}\n{FENCE}"));
    }
    text
}

/// Reads a predecessor's proposal; the id is that of our call, which the text does not know.
pub fn parse(text: &str, proposal_id: ProposalId) -> Result<Proposal, TextError> {
    if text.len() > TEXT_LIMIT {
        return Err(TextError::TooLong(text.len()));
    }
    let (body, trace) = split_calls(text);
    let object = verdict_object(body).ok_or(TextError::NoVerdict)?;
    let verdict = verdict_of(&object)?;
    let metrics = field(&object, "metrics").and_then(Value::as_object);
    let number = |name| metrics.and_then(|metrics| field(metrics, name)).and_then(quantity);
    let (mut constraints, mut conditions) = (Vec::new(), Vec::new());
    let listed = field(&object, "constraints").and_then(Value::as_array);
    for entry in listed.into_iter().flatten().take(LIST_LIMIT) {
        match entry {
            Value::String(text) => conditions.push(text.clone()),
            other => constraints.extend(serde_json::from_value::<Constraint>(other.clone()).ok()),
        }
    }
    let reasoning = ["reasoning", "reason"]
        .into_iter()
        .find_map(|name| field(&object, name).and_then(Value::as_str))
        .map_or_else(|| prose(body), str::to_owned);
    let reasoning = match conditions.is_empty() {
        true => reasoning,
        false => format!("{reasoning} (conditions: {})", conditions.join("; ")),
    };
    let depth = number("queue_depth").map(|depth| Claim {
        subject: QUEUE_DEPTH.to_owned(),
        value: ClaimValue::Quantity(Number::saturating(depth)),
    });
    Ok(Proposal {
        proposal_id,
        verdict,
        factors: BTreeMap::new(),
        promises: Promises {
            // One number and no word on how sure it is: that is a median, and not the P90.
            start_p50_seconds: number("ets_seconds").map(Seconds::saturating),
            ..Promises::default()
        },
        claims: depth.into_iter().collect(),
        constraints,
        flags: Vec::new(),
        reasoning: clean(&reasoning),
        evidence: BTreeMap::new(),
        hold_until: None,
        hold_is_firm: None,
        as_of: None,
        calls: trace.map(calls_of).unwrap_or_default(),
    })
}

/// A finite number that is not negative; also one in quotes, as models like to write.
fn quantity(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

/// One line without control characters, cut to its limit: it ends up on people's terminals.
fn clean(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain.take(REASONING_LIMIT).collect();
    plain.trim().to_owned()
}

/// What stands behind `FINAL PROPOSAL:` and before the first fence.
fn prose(body: &str) -> String {
    let from = body.find("FINAL PROPOSAL").map_or(0, |at| at + "FINAL PROPOSAL".len());
    let rest = body[from..].trim_start_matches(':');
    rest.split(FENCE).next().unwrap_or_default().to_owned()
}

/// A field by its name, whatever its case.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| {
        let found = object.iter().take(LIST_LIMIT).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

fn verdict_of(object: &Map<String, Value>) -> Result<Verdict, TextError> {
    let value = field(object, "verdict").ok_or(TextError::NoVerdict)?;
    let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_ascii_uppercase());
    match text.as_str() {
        "READY" => Ok(Verdict::Ready),
        "BUSY" => Ok(Verdict::Busy),
        "RESTRICTED" => Ok(Verdict::Restricted),
        "INCOMPATIBLE" => Ok(Verdict::Incompatible),
        "UNKNOWN" => Ok(Verdict::Unknown),
        _ => Err(TextError::UnknownVerdict(text.chars().take(64).collect())),
    }
}

/// The text before the trace, and the trace: the last `CALLS` that a list or a fence follows.
fn split_calls(text: &str) -> (&str, Option<&str>) {
    for (at, mark) in text.rmatch_indices(CALLS).take(PLACES_LIMIT) {
        let rest = text[at + mark.len()..].trim_start();
        if rest.starts_with(FENCE) || rest.starts_with('[') {
            return (&text[..at], Some(rest));
        }
    }
    (text, None)
}

/// The insides of fenced blocks, without the language behind the fence.
fn fenced(text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(FENCE) {
        let inside = &rest[at + FENCE.len()..];
        let Some(end) = inside.find(FENCE) else { break };
        let block = &inside[..end];
        let language = block.len() - block.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).len();
        blocks.push(&block[language..]);
        rest = &inside[end + FENCE.len()..];
        if blocks.len() == PLACES_LIMIT {
            break;
        }
    }
    blocks
}

/// An object with a verdict, also when it is JSON in a JSON text, as the predecessor writes a time-out.
fn as_verdict(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) if field(&object, "verdict").is_some() => Some(object),
        Value::String(inner) => match serde_json::from_str(&inner) {
            Ok(Value::Object(object)) if field(&object, "verdict").is_some() => Some(object),
            _ => None,
        },
        _ => None,
    }
}

/// The last object with a verdict: the answer stands at the end, examples and drafts before it.
fn verdict_object(body: &str) -> Option<Map<String, Value>> {
    let in_fences = fenced(body).into_iter().rev();
    if let Some(object) = in_fences.filter_map(|block| serde_json::from_str(block).ok()).find_map(as_verdict)
    {
        return Some(object);
    }
    let mut found = None;
    let mut at = 0;
    for _ in 0..PLACES_LIMIT {
        let Some(next) = body[at..].find('{').map(|offset| at + offset) else { break };
        let mut values = serde_json::Deserializer::from_str(&body[next..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = next + values.byte_offset().max(1);
                found = as_verdict(value).or(found);
            }
            _ => at = next + 1,
        }
    }
    found
}

fn calls_of(trace: &str) -> Vec<ProviderCall> {
    let blocks = fenced(trace);
    let source = blocks.first().copied().unwrap_or(trace);
    let Ok(Value::Array(entries)) = serde_json::from_str::<Value>(source.trim()) else { return Vec::new() };
    let calls = entries.into_iter().take(LIST_LIMIT);
    calls.filter_map(|entry| serde_json::from_value(entry).ok()).collect()
}

#[cfg(test)]
mod tests;
