//! What nobody used: demands that no matcher knows. Function words and the story around a request
//! are not reported; numbers, operators, files and unknown words are, with the words between them.

use crate::english::is_plain;
use crate::number;
use crate::reading::Reading;
use crate::token::Kind;

const UNKNOWN_WORDS: &str = "not known here";
const UNKNOWN_NUMBER: &str = "a quantity that no field holds";
const UNKNOWN_FILE: &str = "a file that no job of this request reads";

/// Refuses every stretch of free tokens that says something.
pub fn read(reading: &mut Reading<'_>) {
    let mut at = 0;
    while at < reading.len() {
        if !reading.is_free(at) || reading.is_break(at) {
            at += 1;
            continue;
        }
        let ends = |end: usize| {
            !reading.is_free(end)
                || reading.is_break(end)
                || matches!(reading.word(end), "and" | "or" | "but" | "with") && end > at
        };
        let end = (at..reading.len()).find(|end| ends(*end)).unwrap_or(reading.len());
        let telling = |at: &usize| is_telling(reading, *at);
        if let (Some(first), Some(last)) = ((at..end).find(telling), (at..end).rev().find(telling)) {
            let first = with_qualifiers(reading, at, first);
            let last = with_noun(reading, last, end);
            let reason = reason(reading, first..last + 1);
            reading.refuse(first..last + 1, reason);
        }
        at = end;
    }
}

fn reason(reading: &Reading<'_>, tokens: std::ops::Range<usize>) -> &'static str {
    let has = |kind: Kind| tokens.clone().any(|at| reading.tokens[at].kind == kind);
    if has(Kind::Number) || has(Kind::Operator) {
        UNKNOWN_NUMBER
    } else if has(Kind::Path) {
        UNKNOWN_FILE
    } else {
        UNKNOWN_WORDS
    }
}

/// The words right in front that belong to a demand ("at least 5").
fn with_qualifiers(reading: &Reading<'_>, from: usize, first: usize) -> usize {
    let qualifies = |word: &str| {
        matches!(
            word,
            "at" | "least"
                | "most"
                | "more"
                | "less"
                | "than"
                | "no"
                | "not"
                | "without"
                | "exactly"
                | "minimum"
                | "maximum"
                | "max"
                | "min"
        )
    };
    (from..first).rev().take_while(|at| qualifies(reading.word(*at))).last().unwrap_or(first)
}

/// The noun right behind a number or an unknown word ("5 doors", "HIPAA compliant storage").
fn with_noun(reading: &Reading<'_>, last: usize, end: usize) -> usize {
    const CLOSERS: &[&str] = &[
        "and", "or", "with", "on", "in", "for", "of", "to", "at", "by", "from", "the", "a", "an", "please",
        "is", "are", "if", "as", "it", "that", "which", "would", "will", "should", "must", "can", "but",
        "so", "then", "also", "because", "using", "via", "i", "we", "you", "my", "our", "thanks", "too",
    ];
    let next = last + 1;
    let is_noun = next < end && !reading.word(next).is_empty() && !CLOSERS.contains(&reading.word(next));
    if is_noun { next } else { last }
}

fn is_telling(reading: &Reading<'_>, at: usize) -> bool {
    let Some(token) = reading.free(at) else { return false };
    match token.kind {
        Kind::Number => !is_list_mark(reading, at),
        Kind::Path => true,
        Kind::Operator => {
            token.text != "~" && token.text != "="
                || reading.tokens.get(at + 1).is_some_and(|next| next.kind == Kind::Number)
        }
        Kind::Symbol => false,
        Kind::Word => {
            let word = token.lower.as_ref();
            let greeted = matches!(
                reading.any_word_before(at, 1),
                "hi" | "hello"
                    | "dear"
                    | "hey"
                    | "i'm"
                    | "thanks"
                    | "regards"
                    | "cheers"
                    | "dr"
                    | "prof"
                    | "professor"
            ) || reading.any_symbol(at.wrapping_sub(1)) == Some('@')
                || reading.any_symbol(at + 1) == Some('@')
                || reading.any_symbol(at.wrapping_sub(1)) == Some(',')
                    && matches!(
                        reading.any_word(at.wrapping_sub(2)),
                        "regards" | "thanks" | "cheers" | "best"
                    );
            let counts = number::word_value(word).is_some_and(|value| value > 1.0)
                && !matches!(
                    reading.any_word(at + 1),
                    "of" | "things" | "options" | "ways" | "questions" | "reasons"
                );
            counts
                || word.chars().count() > 1
                    && !is_plain(word)
                    && number::word_value(word).is_none()
                    && !greeted
        }
    }
}

/// "1.", "2)" at the beginning of a line.
fn is_list_mark(reading: &Reading<'_>, at: usize) -> bool {
    let begins = at.checked_sub(1).is_none_or(|before| reading.any_symbol(before) == Some('\n'));
    begins && matches!(reading.any_symbol(at + 1), Some('.' | ')')) && reading.tokens[at + 1].glued
}
