//! The forms in which Slurm writes its values as text: `Key=value` records, durations, sizes, lists of
//! generic resources. What does not have the form is `None`; nothing here fails or guesses.

use std::collections::BTreeMap;

use protocol::units::{GiB, Seconds, Timestamp};

const MIB_PER_GIB: f64 = 1024.0;

/// The fields of a one-line record of `scontrol -o`. The first value of a key counts: the free text that
/// administrators write (`Reason=`, `Comment=`) comes behind the fields that are used here.
pub(super) fn record(line: &str) -> BTreeMap<&str, &str> {
    let mut fields = BTreeMap::new();
    for word in line.split_ascii_whitespace() {
        if let Some((key, value)) = word.split_once('=') {
            fields.entry(key).or_insert(value);
        }
    }
    fields
}

/// What stands for nothing in a text field.
pub(super) fn given(value: &str) -> Option<&str> {
    let value = value.trim();
    (!matches!(value, "" | "(null)" | "N/A" | "n/a" | "None" | "NONE" | "Unknown")).then_some(value)
}

/// A duration: `MM`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`; `UNLIMITED` and the like are
/// `None`.
pub(super) fn duration(text: &str) -> Option<Seconds> {
    let text = given(text)?;
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u32>().ok()?), rest),
        None => (None, text),
    };
    let parts = rest.split(':').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let total = f64::from(days.unwrap_or(0)) * 86_400.0
        + f64::from(hours) * 3_600.0
        + f64::from(minutes) * 60.0
        + f64::from(seconds);
    Some(Seconds::saturating(total))
}

/// A time as commands print it with `TZ=UTC0`.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = given(text)?;
    format!("{text}Z").parse().ok()
}

/// Seconds since the epoch, 0 for none.
pub(super) fn epoch(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// A size with a unit (`64000M`, `62.50G`); without one it is MiB.
pub(super) fn size(text: &str) -> Option<GiB> {
    let text = given(text)?;
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let value: f64 = digits.parse().ok()?;
    let mib = match &text[digits.len()..] {
        "K" => value / 1024.0,
        "" | "M" => value,
        "G" => value * MIB_PER_GIB,
        "T" => value * MIB_PER_GIB * 1024.0,
        "P" => value * MIB_PER_GIB * 1024.0 * 1024.0,
        _ => return None,
    };
    (mib.is_finite() && mib >= 0.0).then(|| GiB::saturating(mib / MIB_PER_GIB))
}

/// Memory in MiB as GiB.
pub(super) fn mib(value: u64) -> GiB {
    #[expect(clippy::cast_precision_loss, reason = "a size in MiB is far below 2^53")]
    GiB::saturating(value as f64 / MIB_PER_GIB)
}

/// What a list of trackable resources (`cpu=48,mem=3000M,node=3,gres/gpu=4`) has of one.
pub(super) fn resource<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// GPUs in a list of generic resources: how many, and their type if all have the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gpus {
    pub(super) count: u32,
    pub(super) kind: Option<String>,
}

/// Reads `gpu:h100:4(S:0-1),nvme:1`. Other resources than GPUs are left out.
pub(super) fn gpus(list: &str) -> Gpus {
    let mut found = Gpus::default();
    let list = outside_brackets(list);
    let mut kinds: Vec<Option<&str>> = Vec::new();
    for entry in list.split(',') {
        let mut parts = entry.split(':');
        if parts.next() != Some("gpu") {
            continue;
        }
        let rest: Vec<&str> = parts.collect();
        let (kind, count) = match rest.as_slice() {
            [] => (None, Some(1)),
            [one] => match one.parse::<u32>() {
                Ok(count) => (None, Some(count)),
                Err(_) => (Some(*one), Some(1)),
            },
            [kind, count, ..] => (Some(*kind), count.parse().ok()),
        };
        let kind = kind.filter(|kind| *kind != "(null)" && !kind.is_empty());
        if let Some(count) = count {
            found.count = found.count.saturating_add(count);
            kinds.push(kind);
        }
    }
    kinds.dedup();
    if let [Some(kind)] = kinds.as_slice() {
        found.kind = Some((*kind).to_owned());
    }
    found
}

/// The text without what stands in round brackets: indices and sockets, with commas of their own. An
/// absent type is written as `(null)` and becomes empty.
fn outside_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|character| match character {
            '(' => {
                depth += 1;
                false
            }
            ')' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect()
}

/// The short model name in a type of GPUs (`nvidia_h100_80gb_hbm3` is an `h100`). A slice of a GPU keeps
/// its whole name: it is no GPU of that model.
pub(crate) fn gpu_model(kind: &str) -> String {
    let name = kind.to_ascii_lowercase();
    let bare = ["nvidia_", "tesla_", "amd_", "instinct_"]
        .iter()
        .fold(name.as_str(), |name, maker| name.strip_prefix(maker).unwrap_or(name));
    let first = bare.split(['_', '-']).next().unwrap_or(bare);
    let is_slice = bare.contains("g.") || bare.contains("mig");
    if is_slice || !first.bytes().any(|byte| byte.is_ascii_digit()) { name } else { first.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_many_forms() {
        let seconds = |text| duration(text).map(Seconds::get);
        for (text, expected) in [
            ("10", Some(600.0)),
            ("10:30", Some(630.0)),
            ("01:00:00", Some(3600.0)),
            ("1-00:00:00", Some(86_400.0)),
            ("2-12", Some(216_000.0)),
            ("1-02:30", Some(95_400.0)),
            ("UNLIMITED", None),
            ("INVALID", None),
            ("NONE", None),
            ("", None),
            ("1:2:3:4", None),
            ("-5", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("64000M"), Some(GiB::saturating(62.5)));
        assert_eq!(size("62.50G"), Some(GiB::saturating(62.5)));
        assert_eq!(size("1T"), Some(GiB::from(1024)));
        assert_eq!(size("2048"), Some(GiB::from(2)));
        assert_eq!(size("12345K").map(|size| size.get() < 0.012), Some(true));
        for bad in ["", "M", "-1M", "1X", "nan", "1e400"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn gpus_are_counted_with_their_type() {
        let of = |list| {
            let found = gpus(list);
            (found.count, found.kind)
        };
        let h100 = Some("h100".to_owned());
        assert_eq!(of("gpu:h100:4(S:0-1)"), (4, h100.clone()));
        assert_eq!(of("gpu:h100:2(IDX:0,3),nvme:1"), (2, h100.clone()));
        assert_eq!(of("gpu:h100:1,gpu:a100:2"), (3, None));
        assert_eq!(of("gpu:4"), (4, None));
        assert_eq!(of("gpu:(null):3(IDX:0-2)"), (3, None));
        assert_eq!(of("gpu"), (1, None));
        assert_eq!(of("(null)"), (0, None));
        assert_eq!(of("gpu:h100:many"), (0, None));
    }

    #[test]
    fn models_are_short() {
        for (kind, model) in [
            ("h100", "h100"),
            ("nvidia_h100_80gb_hbm3", "h100"),
            ("Tesla_V100-SXM2-32GB", "v100"),
            ("nvidia_a100_1g.5gb", "nvidia_a100_1g.5gb"),
            ("tesla", "tesla"),
        ] {
            assert_eq!(gpu_model(kind), model);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[a-z0-9:(),=.-]*") {
            let _ = (record(&text), duration(&text), time(&text), size(&text), gpus(&text), gpu_model(&text));
        }
    }
}
