//! The forms in which Flux writes its values: ids in base 58, sets of ids, times as seconds with a
//! fraction. What does not have the form is `None`; nothing here fails or guesses.

use std::collections::BTreeSet;

use protocol::units::{Seconds, Timestamp};

/// Digits of F58 (RFC 19), which are those of Bitcoin's base 58.
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// More ids than the largest machines have nodes; a longer set is not understood.
const MOST_IDS: u64 = 1_000_000;

/// A job's id as commands print it: `ƒ2UnRSkF`, `f2UnRSkF` where the locale has no ƒ, or decimal.
pub(super) fn job_id(text: &str) -> Option<u64> {
    let text = text.trim();
    let Some(digits) = text.strip_prefix('ƒ').or_else(|| text.strip_prefix('f')) else {
        return text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    };
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |id, byte| {
        let digit = BASE58.iter().position(|known| *known == byte)?;
        id.checked_mul(58)?.checked_add(u64::try_from(digit).ok()?)
    })
}

/// A set of ids (RFC 22): `0-3,7`, also in brackets.
pub(super) fn id_set(text: &str) -> Option<BTreeSet<u32>> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let mut ids = BTreeSet::new();
    let mut named = 0_u64;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        named += u64::from(last.checked_sub(first)?) + 1;
        if named > MOST_IDS {
            return None;
        }
        ids.extend(first..=last);
    }
    Some(ids)
}

/// Seconds since the epoch with a fraction; 0 is none.
pub(super) fn time(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let millis = (seconds * 1000.0).round() as i64;
    (seconds.is_finite() && seconds > 0.0).then(|| Timestamp::from_millis(millis))
}

/// A time limit in seconds; 0 and `inf` are none.
pub(super) fn limit(seconds: f64) -> Option<Seconds> {
    (seconds.is_finite() && seconds > 0.0).then(|| Seconds::saturating(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_those_that_flux_printed() {
        for (text, id) in [
            ("ƒ2UnRSkF", 56_304_336_896),
            ("f2UnRSkF\n", 56_304_336_896),
            ("ƒ9jhVYGX", 332_574_752_768),
            ("f4F6TKCo", 123_456_789_012),
            ("ƒjpXCZedGfVQ", u64::MAX),
            ("332574752768", 332_574_752_768),
        ] {
            assert_eq!(job_id(text), Some(id), "{text}");
        }
        for bad in ["", "f", "f0", "fl", "ƒjpXCZedGfVR", "-1", "1 2", "notanid", "0x12"] {
            assert_eq!(job_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn sets_are_bounded() {
        let of = |text| id_set(text).map(|ids| ids.into_iter().collect::<Vec<_>>());
        assert_eq!(of("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(of("[1-2]"), Some(vec![1, 2]));
        assert_eq!(of(""), Some(vec![]));
        for bad in ["0-4294967295", "3-1", "a", "1-2-3", "-1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[fƒ0-9a-zA-Z,\\[\\]-]*", number in any::<f64>()) {
            let _ = (job_id(&text), id_set(&text), time(number), limit(number));
        }
    }
}
