//! Numbers as people write them: digits, thousands separators, `10k`, and number words.

use crate::reading::Reading;
use crate::token::Kind;

/// A number and the token behind it.
pub type Read<T> = Option<(T, usize)>;

/// The value of a simple number word; hyphenated ones (`twenty-four`) included.
#[must_use]
pub fn word_value(word: &str) -> Option<f64> {
    if let Some((tens, units)) = word.split_once('-') {
        let (tens, units) = (word_value(tens)?, word_value(units)?);
        return ((20.0..100.0).contains(&tens) && tens % 10.0 == 0.0 && (1.0..10.0).contains(&units))
            .then_some(tens + units);
    }
    let value: u32 = match word {
        "zero" => 0,
        "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" | "dozen" => 12,
        "thirteen" => 13,
        "fourteen" => 14,
        "fifteen" => 15,
        "sixteen" => 16,
        "seventeen" => 17,
        "eighteen" => 18,
        "nineteen" => 19,
        "twenty" => 20,
        "thirty" => 30,
        "forty" | "fourty" => 40,
        "fifty" => 50,
        "sixty" => 60,
        "seventy" => 70,
        "eighty" => 80,
        "ninety" => 90,
        _ => return None,
    };
    Some(f64::from(value))
}

fn multiplier(word: &str) -> Option<f64> {
    Some(match word {
        "dozen" => 12.0,
        "hundred" => 100.0,
        "thousand" | "grand" => 1e3,
        "million" => 1e6,
        _ => return None,
    })
}

/// The value of digits with separators: `1,000`, `3.5`, `1e-3`; a version such as `1.2.3` is none.
#[must_use]
pub fn digits_value(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != ',' && *c != '_').collect();
    plain.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Reads a number at `at`.
#[must_use]
pub fn read(reading: &Reading<'_>, at: usize) -> Read<f64> {
    let token = reading.free(at)?;
    let (mut value, mut next) = match token.kind {
        Kind::Number => {
            let value = digits_value(token.text)?;
            match reading.glued_word(at + 1) {
                "k" => (value * 1e3, at + 2),
                // "4 (four)"
                _ if reading.symbol(at + 1) == Some('(')
                    && reading.symbol(at + 3) == Some(')')
                    && word_value(reading.word(at + 2)) == Some(value) =>
                {
                    (value, at + 4)
                }
                _ => (value, at + 1),
            }
        }
        Kind::Word => match token.lower.as_ref() {
            "half" if reading.word(at + 1) == "a" && reading.word(at + 2) == "dozen" => (6.0, at + 3),
            "a" | "an" if reading.word(at + 1) == "couple" => (2.0, reading.skip(at + 2, &["of"])),
            "a" | "an" => (multiplier(reading.word(at + 1))?, at + 2),
            "couple" => (2.0, reading.skip(at + 1, &["of"])),
            word => (word_value(word)?, at + 1),
        },
        _ => return None,
    };
    while let Some(factor) = multiplier(reading.word(next)) {
        value *= factor;
        next += 1;
        let joined = reading.skip(next, &["and"]);
        if let Some(rest) = word_value(reading.word(joined)).filter(|rest| *rest < 100.0 && factor >= 100.0) {
            value += rest;
            next = joined + 1;
        }
    }
    if token.kind == Kind::Word
        && (20.0..100.0).contains(&value)
        && let Some(units) = word_value(reading.word(next)).filter(|units| (1.0..10.0).contains(units))
    {
        value += units;
        next += 1;
    }
    Some((value, next))
}

/// Reads a whole number that fits a count.
#[must_use]
pub fn read_count(reading: &Reading<'_>, at: usize) -> Read<u32> {
    let (value, next) = read(reading, at)?;
    as_count(value).map(|count| (count, next))
}

/// A count from a number, if it is a whole one that fits.
#[must_use]
pub fn as_count(value: f64) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<f64> {
        read(&Reading::new(text), 0).map(|(value, _)| value)
    }

    #[test]
    fn numbers_are_read() {
        for (text, expected) in [
            ("3", 3.0),
            ("1,000", 1000.0),
            ("10k", 10_000.0),
            ("1e-3", 0.001),
            ("twenty-four", 24.0),
            ("twenty four", 24.0),
            ("two hundred and fifty", 250.0),
            ("a dozen", 12.0),
            ("half a dozen", 6.0),
            ("a couple of", 2.0),
            ("two thousand", 2000.0),
        ] {
            assert_eq!(value(text), Some(expected), "{text}");
        }
        assert_eq!(value("1.2.3"), None);
        assert_eq!(value("nodes"), None);
    }
}
