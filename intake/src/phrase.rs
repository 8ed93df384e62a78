//! Fixed phrases with alternatives, indexed by their first words so that a table of hundreds costs
//! one look-up per token.
//!
//! `minimise|reduce the? cost|price` reads: one of two words, an optional one, one of two. A question
//! mark makes the whole group before it optional; `you_can` is an alternative of two words; dots stand
//! for up to one word more than there are dots.

use std::collections::HashMap;

use crate::reading::Reading;

#[derive(Debug)]
enum Slot {
    /// Alternatives, each of one word or several, and whether they may be left out.
    Words(Vec<Vec<&'static str>>, bool),
    /// Any few words.
    Gap(usize),
}

/// Phrases and what each one stands for.
#[derive(Debug)]
pub struct PhraseTable<T> {
    phrases: Vec<(Vec<Slot>, T)>,
    by_first_word: HashMap<&'static str, Vec<usize>>,
}

impl<T: Copy> PhraseTable<T> {
    /// Builds a table; where two phrases match, the longer match wins.
    #[must_use]
    pub fn new(entries: &[(&'static str, T)]) -> Self {
        let mut table = Self { phrases: Vec::new(), by_first_word: HashMap::new() };
        for (pattern, value) in entries {
            let slots: Vec<Slot> = pattern.split(' ').map(slot).collect();
            let mut starts = Vec::new();
            for slot in &slots {
                let Slot::Words(words, optional) = slot else { break };
                starts.extend(words.iter().filter_map(|alternative| alternative.first().copied()));
                if !optional {
                    break;
                }
            }
            starts.sort_unstable();
            starts.dedup();
            for word in starts {
                table.by_first_word.entry(word).or_default().push(table.phrases.len());
            }
            table.phrases.push((slots, *value));
        }
        table
    }

    /// The longest phrase at `at` and the position behind it.
    #[must_use]
    pub fn at(&self, reading: &Reading<'_>, at: usize) -> Option<(T, usize)> {
        let candidates = self.by_first_word.get(reading.word(at))?;
        let matches = candidates.iter().filter_map(|index| {
            let (slots, value) = &self.phrases[*index];
            matches(reading, at, slots).filter(|next| *next > at).map(|next| (*value, next))
        });
        matches.max_by_key(|(_, next)| *next)
    }
}

fn slot(pattern: &'static str) -> Slot {
    if pattern.bytes().all(|b| b == b'.') {
        return Slot::Gap(pattern.len() + 1);
    }
    let (words, optional) = pattern.strip_suffix('?').map_or((pattern, false), |words| (words, true));
    Slot::Words(words.split('|').map(|alternative| alternative.split('_').collect()).collect(), optional)
}

fn matches(reading: &Reading<'_>, at: usize, slots: &[Slot]) -> Option<usize> {
    let Some((slot, rest)) = slots.split_first() else { return Some(at) };
    match slot {
        Slot::Words(words, optional) => {
            let taken = words.iter().filter_map(|alternative| {
                reading.follow(at, alternative).and_then(|next| matches(reading, next, rest))
            });
            let left_out = if *optional { matches(reading, at, rest) } else { None };
            taken.chain(left_out).max()
        }
        Slot::Gap(most) => (0..=*most)
            .take_while(|gap| *gap == 0 || !reading.is_break(at + gap - 1))
            .find_map(|gap| matches(reading, at + gap, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_options_and_gaps() {
        let table = PhraseTable::new(&[("minimise|reduce the? cost", 1), ("minimise ... completion", 2)]);
        let at = |text: &str| table.at(&Reading::new(text), 0);
        assert_eq!(at("reduce cost"), Some((1, 2)));
        assert_eq!(at("Minimize the cost"), Some((1, 3)));
        assert_eq!(at("minimise time to completion"), Some((2, 4)));
        assert_eq!(at("minimise. completion"), None);
        assert_eq!(at("cost"), None);
        let table = PhraseTable::new(&[("as soon as possible|you_can", 3)]);
        assert_eq!(table.at(&Reading::new("as soon as you can"), 0), Some((3, 5)));
        assert_eq!(table.at(&Reading::new("as soon as you"), 0), None);
    }
}
