//! A reading in progress: the tokens of a text, which of them are used up, and what they meant.
//!
//! Matchers look at free tokens only, so the order in which they run decides who gets a word that
//! two of them could use. `word` answers an empty string where no free word stands, which lets a
//! matcher look ahead without checking for the end.

use std::ops::Range;

use crate::meaning::{Finding, Meaning, Piece, Refusal};
use crate::token::{Kind, Token, tokenize};

/// The state of reading one text.
#[derive(Debug)]
pub struct Reading<'t> {
    /// The source.
    pub text: &'t str,
    /// Its tokens.
    pub tokens: Vec<Token<'t>>,
    /// What was found so far.
    pub findings: Vec<Finding>,
    /// What was refused so far.
    pub refusals: Vec<Refusal>,
    taken: Vec<bool>,
}

impl<'t> Reading<'t> {
    /// Starts reading a text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let tokens = tokenize(text);
        let taken = vec![false; tokens.len()];
        Self { text, tokens, findings: Vec::new(), refusals: Vec::new(), taken }
    }

    /// Replaces words by what was meant by them; what they cover in the text stays.
    pub fn mend(&mut self, meant: impl Fn(&str) -> Option<&'static str>) {
        for token in self.tokens.iter_mut().filter(|token| token.kind == Kind::Word) {
            if let Some(word) = meant(&token.lower) {
                token.lower = std::borrow::Cow::Borrowed(word);
            }
        }
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token at `at`, unless it is used up.
    #[must_use]
    pub fn free(&self, at: usize) -> Option<&Token<'t>> {
        self.tokens.get(at).filter(|_| !self.taken[at])
    }

    /// Whether the token at `at` exists and is not used up.
    #[must_use]
    pub fn is_free(&self, at: usize) -> bool {
        self.free(at).is_some()
    }

    /// The free word at `at` in lower case, or nothing.
    #[must_use]
    pub fn word(&self, at: usize) -> &str {
        self.free(at).filter(|token| token.kind == Kind::Word).map_or("", |token| &token.lower)
    }

    /// The free word at `at` if nothing stands between it and the token before.
    #[must_use]
    pub fn glued_word(&self, at: usize) -> &str {
        if self.tokens.get(at).is_some_and(|token| token.glued) { self.word(at) } else { "" }
    }

    /// The free word `back` tokens before `at`, or nothing.
    #[must_use]
    pub fn word_before(&self, at: usize, back: usize) -> &str {
        at.checked_sub(back).map_or("", |at| self.word(at))
    }

    /// The word at `at` in lower case, used up or not.
    #[must_use]
    pub fn any_word(&self, at: usize) -> &str {
        self.tokens.get(at).filter(|token| token.kind == Kind::Word).map_or("", |token| &token.lower)
    }

    /// The word `back` tokens before `at`, used up or not.
    #[must_use]
    pub fn any_word_before(&self, at: usize, back: usize) -> &str {
        at.checked_sub(back).map_or("", |at| self.any_word(at))
    }

    /// The free symbol at `at`.
    #[must_use]
    pub fn symbol(&self, at: usize) -> Option<char> {
        self.free(at).filter(|token| token.kind == Kind::Symbol).and_then(|token| token.text.chars().next())
    }

    /// The symbol at `at`, used up or not.
    #[must_use]
    pub fn any_symbol(&self, at: usize) -> Option<char> {
        self.tokens
            .get(at)
            .filter(|token| token.kind == Kind::Symbol)
            .and_then(|token| token.text.chars().next())
    }

    /// The free operator at `at`, spelt one way.
    #[must_use]
    pub fn operator(&self, at: usize) -> &'static str {
        match self.free(at).filter(|token| token.kind == Kind::Operator).map_or("", |token| token.text) {
            ">=" | "=>" | "\u{2265}" => ">=",
            "<=" | "=<" | "\u{2264}" => "<=",
            "==" | "===" => "==",
            "=" => "=",
            ">" => ">",
            "<" => "<",
            "~" | "~=" | "~>" => "~",
            "^" => "^",
            "!=" => "!=",
            _ => "",
        }
    }

    /// The position behind any of these free words.
    #[must_use]
    pub fn skip(&self, mut at: usize, words: &[&str]) -> usize {
        while words.contains(&self.word(at)) && !self.word(at).is_empty() {
            at += 1;
        }
        at
    }

    /// The position behind these words in this order, where they stand there.
    #[must_use]
    pub fn follow(&self, at: usize, words: &[&str]) -> Option<usize> {
        words.iter().enumerate().all(|(i, word)| self.word(at + i) == *word).then_some(at + words.len())
    }

    /// The position behind one of these symbols, or `at`.
    #[must_use]
    pub fn skip_symbol(&self, at: usize, symbols: &str) -> usize {
        if self.symbol(at).is_some_and(|c| symbols.contains(c)) { at + 1 } else { at }
    }

    /// Whether a sentence ends at `at`: the end of the text, a full stop, a line break.
    #[must_use]
    pub fn is_stop(&self, at: usize) -> bool {
        at >= self.len() || self.any_symbol(at).is_some_and(|c| ".;!?\n".contains(c))
    }

    /// Whether a clause ends at `at`: where a sentence ends, or at a comma, colon or bracket.
    #[must_use]
    pub fn is_break(&self, at: usize) -> bool {
        self.is_stop(at) || self.any_symbol(at).is_some_and(|c| ",:()[]\u{2014}\u{2013}|".contains(c))
    }

    /// The source text of a range of tokens.
    #[must_use]
    pub fn source(&self, range: &Range<usize>) -> &'t str {
        match (self.tokens.get(range.start), range.end.checked_sub(1).and_then(|last| self.tokens.get(last)))
        {
            (Some(first), Some(last)) if range.start < range.end => {
                &self.text[first.byte..last.byte + last.text.len()]
            }
            _ => "",
        }
    }

    /// Uses tokens up without saying anything about them.
    pub fn take(&mut self, range: Range<usize>) {
        for taken in self.taken.iter_mut().take(range.end).skip(range.start) {
            *taken = true;
        }
    }

    /// Records what a range of tokens means and uses it up.
    pub fn find(&mut self, range: Range<usize>, meaning: Meaning) {
        self.find_pieces(vec![Piece { tokens: range, leaf: "" }], meaning);
    }

    /// Records what several ranges of tokens mean together, each filling a part of the field.
    pub fn find_pieces(&mut self, pieces: Vec<Piece>, meaning: Meaning) {
        for piece in &pieces {
            self.take(piece.tokens.clone());
        }
        self.findings.push(Finding { pieces, meaning });
    }

    /// Records that a range of tokens cannot be used, and why, and uses it up.
    pub fn refuse(&mut self, range: Range<usize>, reason: impl Into<String>) {
        self.take(range.clone());
        self.refusals.push(Refusal { tokens: range, reason: reason.into() });
    }
}
