//! The reasoning of the rules agent: one plain sentence made from data. People read it; the default
//! selector does not.

use protocol::evaluation::Reason;
use protocol::facts::Allocation;
use protocol::proposal::{Promises, Verdict};
use protocol::units::Seconds;

/// Reasons that are written out; the rest is counted.
const REASONS_SHOWN: usize = 4;

/// A duration as people say it.
fn in_words(seconds: Seconds) -> String {
    let seconds = seconds.get();
    let (value, unit) = match seconds {
        s if s < 120.0 => (s, "s"),
        s if s < 7200.0 => (s / 60.0, "min"),
        s if s < 172_800.0 => (s / 3600.0, "h"),
        s => (s / 86_400.0, "d"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

fn counted(count: u32, one: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {one}s")),
    }
}

fn capacity(allocation: &Allocation) -> String {
    let parts = [
        counted(allocation.nodes, "node"),
        counted(allocation.cores, "core"),
        counted(allocation.gpus, "GPU"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

fn reasons(unmet: &[Reason]) -> String {
    let mut text: Vec<String> = unmet
        .iter()
        .take(REASONS_SHOWN)
        .map(|reason| format!("wanted {}, has {}", reason.wanted, reason.had))
        .collect();
    if unmet.len() > REASONS_SHOWN {
        text.push(format!("and {} more", unmet.len() - REASONS_SHOWN));
    }
    text.join("; ")
}

/// The sentence for a verdict.
pub(crate) fn reasoning(
    verdict: Verdict,
    unmet: &[Reason],
    allocation: Option<&Allocation>,
    promises: &Promises,
) -> String {
    match verdict {
        Verdict::Ready => {
            let mut parts = Vec::new();
            parts.extend(
                allocation.map(capacity).filter(|text| !text.is_empty()).map(|text| format!("takes {text}")),
            );
            parts.push(match (promises.start_p50_seconds, promises.start_p90_seconds) {
                (_, Some(p90)) if p90 <= Seconds::ZERO => "starts at once".to_owned(),
                (_, Some(p90)) => format!("starts within {} (P90)", in_words(p90)),
                (Some(p50), None) => format!("starts within {} (P50)", in_words(p50)),
                (None, None) => "start time unknown".to_owned(),
            });
            parts.extend(promises.runtime_seconds.map(|runtime| format!("runs {}", in_words(runtime))));
            parts.extend(promises.cost_usd.map(|cost| format!("costs {:.2} USD", cost.get())));
            format!("Can run it now: {}.", parts.join(", "))
        }
        Verdict::Busy => match promises.start_p90_seconds {
            Some(p90) => {
                format!(
                    "Can run it, but not now: {}; could start within {} (P90).",
                    reasons(unmet),
                    in_words(p90)
                )
            }
            None => format!("Can run it, but not now: {}.", reasons(unmet)),
        },
        Verdict::Restricted => format!("Can run it if a person agrees: {}.", reasons(unmet)),
        Verdict::Incompatible => format!("Cannot run it: {}.", reasons(unmet)),
        Verdict::Unknown => format!("Could not find out: {}.", reasons(unmet)),
    }
}

#[cfg(test)]
mod tests {
    use protocol::proposal::ReasonCode;
    use protocol::units::Usd;

    use super::*;

    #[test]
    fn durations() {
        for (seconds, words) in
            [(0, "0 s"), (119, "119 s"), (90 * 60, "90 min"), (3600 * 3, "3 h"), (259_200, "3 d")]
        {
            assert_eq!(in_words(Seconds::from(seconds)), words);
        }
    }

    #[test]
    fn a_ready_sentence_says_what_is_promised() {
        let promises = Promises {
            start_p90_seconds: Some(Seconds::from(300)),
            cost_usd: Some(Usd::saturating(12.5)),
            ..Promises::default()
        };
        let allocation = Allocation { nodes: 3, cores: 96, gpus: 1 };
        assert_eq!(
            reasoning(Verdict::Ready, &[], Some(&allocation), &promises),
            "Can run it now: takes 3 nodes, 96 cores, 1 GPU, starts within 5 min (P90), costs 12.50 USD."
        );
    }

    #[test]
    fn many_reasons_are_counted() {
        let reason = Reason { code: ReasonCode::SoftwareMissing, wanted: "x".into(), had: "nothing".into() };
        let text = reasoning(Verdict::Incompatible, &vec![reason; 9], None, &Promises::default());
        assert!(text.ends_with("; and 5 more."), "{text}");
    }
}
