//! Text as people read it: foreign text made harmless, quantities in the unit that fits them.
//!
//! "Foreign" is everything that a worker, a job or a hub wrote. It may hold terminal escape sequences
//! or characters that reverse the reading direction; none of them reaches a terminal as it is.

use std::borrow::Cow;

use protocol::units::{GiB, Seconds, Usd};

/// What stands for a value that nobody knows.
pub const UNKNOWN: &str = "?";

/// Whether a character acts on the terminal or hides what a text says, rather than showing something.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn escape_unless(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hostile(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) && !keep(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Foreign text on one line: control characters, line ends and invisible characters are written as
/// escapes (`\n`, `\u{1b}`).
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_unless(text, |_| false)
}

/// Foreign text of several lines: as [`escape`], but line ends and tabs stay.
#[must_use]
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_unless(text, |c| matches!(c, '\n' | '\t'))
}

/// Foreign text on one line, cut to a number of characters.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    // Cut before escaping, so that a huge text costs no more than its shown part.
    let cut: String = text.trim().chars().take(limit + 1).collect();
    let escaped = escape(&cut);
    if escaped.chars().count() <= limit {
        return escaped.into_owned();
    }
    let mut short: String = escaped.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A number with as many digits as matter: whole numbers whole, others with four significant digits.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if value.fract() == 0.0 && magnitude < 1e15 {
        format!("{value:.0}")
    } else if !(1e-4..1e9).contains(&magnitude) {
        format!("{value:.3e}")
    } else {
        let decimals = if magnitude >= 1000.0 {
            1
        } else if magnitude >= 100.0 {
            2
        } else if magnitude >= 10.0 {
            3
        } else if magnitude >= 0.1 {
            4
        } else {
            6
        };
        let text = format!("{value:.decimals$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A score, weight or expectation between 0 and 1.
#[must_use]
pub fn share(value: f64) -> String {
    format!("{value:.3}")
}

/// A duration in the two largest units that it fills.
#[must_use]
pub fn seconds(duration: Seconds) -> String {
    let value = duration.get();
    if value < 0.0 {
        return format!("-{}", seconds(Seconds::saturating(-value)));
    }
    if (0.0005..0.0995).contains(&value) {
        return format!("{:.0} ms", value * 1000.0);
    }
    if value < 60.0 {
        let rounded = if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        return format!("{} s", rounded.strip_suffix(".0").unwrap_or(&rounded));
    }
    if value > 1e12 {
        return format!("{value:.1e} s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "between 60 and 1e12")]
    let whole = value.round() as i64;
    let (large, small, names) = match whole {
        ..3_600 => (whole / 60, whole % 60, ("min", "s")),
        3_600..86_400 => (whole / 3_600, whole % 3_600 / 60, ("h", "min")),
        _ => (whole / 86_400, whole % 86_400 / 3_600, ("d", "h")),
    };
    if small == 0 {
        format!("{large} {}", names.0)
    } else {
        format!("{large} {} {small} {}", names.0, names.1)
    }
}

/// An amount of money, with more digits when it is small, and none that nobody reads.
#[must_use]
pub fn usd(amount: Usd) -> String {
    let value = amount.get();
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    if value == 0.0 {
        "$0".to_owned()
    } else if value < 0.000_1 {
        format!("{sign}<$0.0001")
    } else if value < 0.01 {
        format!("{sign}${}", number(value))
    } else if value >= 100_000.0 {
        format!("{sign}${value:.0}")
    } else {
        format!("{sign}${value:.2}")
    }
}

/// A size that the protocol counts in GiB.
#[must_use]
pub fn gib(size: GiB) -> String {
    let value = size.get();
    if value.abs() >= 1024.0 {
        format!("{} TiB", number((value / 1024.0 * 100.0).round() / 100.0))
    } else {
        format!("{} GiB", number(value))
    }
}

/// A size in bytes.
#[must_use]
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its noun, which takes an `s` unless there is one of it.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_act_on_the_terminal() {
        assert_eq!(escape("fine, naïve 日本"), "fine, naïve 日本");
        assert_eq!(escape("a\u{1b}[2Jb\r\n\u{9b}31m"), "a\\u{1b}[2Jb\\r\\n\\u{9b}31m");
        assert_eq!(escape("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        assert_eq!(escape_lines("a\tb\nc\u{7}"), "a\tb\nc\\u{7}");
    }

    #[test]
    fn an_excerpt_is_never_longer_than_asked() {
        assert_eq!(excerpt("  short ", 10), "short");
        assert_eq!(excerpt("0123456789", 5), "0123…");
        assert_eq!(excerpt(&"\u{1b}".repeat(1_000_000), 8).chars().count(), 8);
    }

    #[test]
    fn durations_show_two_units() {
        let shown: Vec<String> = [0.0, 0.0123, 0.44, 9.96, 59.4, 60.0, 90.0, 3600.0, 5400.0, 90_000.0, -5.0]
            .map(|value| seconds(Seconds::saturating(value)))
            .into();
        assert_eq!(
            shown,
            [
                "0 s",
                "12 ms",
                "0.4 s",
                "10 s",
                "59 s",
                "1 min",
                "1 min 30 s",
                "1 h",
                "1 h 30 min",
                "1 d 1 h",
                "-5 s"
            ]
        );
        assert_eq!(seconds(Seconds::saturating(f64::MAX)), "1.8e308 s");
    }

    #[test]
    fn numbers_keep_what_matters() {
        let shown: Vec<String> =
            [0.0, 3.0, 0.5, 0.012_345_6, 1.5e-7, 123.456, 1e20].map(number).into_iter().collect();
        assert_eq!(shown, ["0", "3", "0.5", "0.012346", "1.500e-7", "123.46", "1.000e20"]);
    }

    #[test]
    fn money_and_sizes_fit_their_magnitude() {
        assert_eq!(usd(Usd::saturating(2.35e-7)), "<$0.0001");
        assert_eq!(usd(Usd::saturating(0.003)), "$0.003");
        assert_eq!(usd(Usd::saturating(12.4)), "$12.40");
        assert_eq!(usd(Usd::saturating(-1.0)), "-$1.00");
        assert_eq!(gib(GiB::saturating(2048.0)), "2 TiB");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_048_575), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }
}
