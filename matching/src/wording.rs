//! How quantities and lists are written in reasons and references: short, for people, bounded.

/// Items of a list that are written out; the rest is counted.
const SHOWN_ITEMS: usize = 6;

/// Characters of one name that are written out.
const SHOWN_CHARS: usize = 64;

/// A number with at most two decimals and no trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A duration in the largest unit that it fills: `45 s`, `10 min`, `1.5 h`, `2 d`.
pub(crate) fn duration(seconds: f64) -> String {
    let units = [("d", 86_400.0), ("h", 3600.0), ("min", 60.0)];
    units.iter().find(|(_, length)| seconds.abs() >= *length).map_or_else(
        || format!("{} s", number(seconds)),
        |(unit, length)| format!("{} {unit}", number(seconds / length)),
    )
}

/// Names joined with commas, or `none`.
pub(crate) fn list<'a>(items: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(SHOWN_ITEMS).map(name).collect();
    match (shown.is_empty(), items.count()) {
        (true, _) => none.to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A name from outside, cut to a length that fits a line.
pub(crate) fn name(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        let numbers = [(3.0, "3"), (0.5, "0.5"), (1.0 / 3.0, "0.33"), (100.0, "100"), (-0.001, "0")];
        for (value, text) in numbers {
            assert_eq!(number(value), text);
        }
        let durations =
            [(0.0, "0 s"), (59.0, "59 s"), (600.0, "10 min"), (5400.0, "1.5 h"), (172_800.0, "2 d")];
        for (seconds, text) in durations {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(list([], "none"), "none");
        assert_eq!(list(["a", "b"], "none"), "a, b");
        assert_eq!(list(["v"; 9], "none"), "v, v, v, v, v, v and 3 more");
        assert_eq!(name(&"é".repeat(100)).chars().count(), 67);
    }
}
