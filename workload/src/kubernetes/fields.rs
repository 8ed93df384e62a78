//! The forms in which Kubernetes writes its values: quantities, selectors, references in words, times.
//! What does not have the form is `None`; nothing here fails or guesses.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use protocol::units::Timestamp;

/// A quantity: `4`, `3920m`, `16Gi`, `1e3`.
pub(super) fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            10_f64.powi(exponent)
        }
    };
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
    let whole = value.round() as u64;
    whole
}

/// What of a resource a map has: thousandths of cores for `cpu`, bytes of memory, GPUs.
pub(super) fn amount(of: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<u64> {
    let value = quantity(&of?.get(name)?.0)?;
    Some(whole(if name.ends_with("cpu") { value * 1000.0 } else { value }))
}

/// A word as it has to be written where `$(NAME)` stands for a variable, so that it stays what it is.
pub(super) fn escaped(word: &str) -> String {
    word.replace('$', "$$")
}

/// What Kubernetes makes of a word that [`escaped`] wrote; `None` for one with references in it.
pub(super) fn unescaped(word: &str) -> Option<String> {
    let mut plain = String::new();
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        plain.push(character);
        if character == '$' && characters.next() != Some('$') {
            return None;
        }
    }
    Some(plain)
}

/// Whether a text can be the value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a text can be the key of a label: a name, behind a prefix such as a domain and a slash.
fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let domain = |prefix: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        (1..=253).contains(&prefix.len()) && prefix.chars().all(plain) && !prefix.starts_with(['-', '.'])
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(domain)
}

/// Labels that nodes must have, as people write them: `disk=ssd,zone=a`.
pub(super) fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for part in text.split(',') {
        let (key, value) = part.trim().split_once('=')?;
        let (key, value) = (key.trim_end(), value.strip_prefix('=').unwrap_or(value).trim_start());
        if !is_label_key(key)
            || !is_label_value(value)
            || labels.insert(key.to_owned(), value.to_owned()).is_some()
        {
            return None;
        }
    }
    Some(labels)
}

/// A time of an object.
pub(super) fn time(time: &Time) -> Timestamp {
    Timestamp::from_millis(time.0.as_millisecond())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_have_many_forms() {
        for (text, value) in [
            ("4", 4.0),
            ("3920m", 3.92),
            ("0.5", 0.5),
            ("16Gi", 17_179_869_184.0),
            ("129e6", 129e6),
            ("129M", 129e6),
            ("123Mi", 128_974_848.0),
            ("1E", 1e18),
            ("1E3", 1e3),
            ("5n", 5e-9),
        ] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        for bad in ["", "Gi", "4 Gi", "-1", "1gi", "1ee3", "e3", "1e999", "NaN", "inf"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }

    #[test]
    fn labels_are_exact() {
        let of = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(labels("disk=ssd, zone==a"), of(&[("disk", "ssd"), ("zone", "a")]));
        assert_eq!(labels("example.com/pool="), of(&[("example.com/pool", "")]));
        for bad in ["", "disk", "disk=ssd,", "disk=a b", "a=1,a=2", "disk!=ssd", "/x=1", "Ex_a/x=1", "x=-1"] {
            assert_eq!(labels(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_changed_by_references(word in "[$()A-Z{}\\n a-z]*") {
            prop_assert_eq!(unescaped(&escaped(&word)), Some(word.clone()));
            // What is left after the escaped dollars has none that could begin a reference.
            prop_assert!(!escaped(&word).replace("$$", "").contains('$'));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC*|[0-9.eEKMGi+-]*") {
            let _ = (quantity(&text), labels(&text), unescaped(&text), is_label_value(&text));
        }
    }
}
