//! Tokens: the pieces that every phrase matcher works on.
//!
//! A token knows where it stands twice: `start..end` counts Unicode scalar values (what the outside
//! sees), `byte` is its place in the source text (what slicing needs). `glued` says that nothing
//! stands between it and the token before, so that a matcher can tell `8xH100` from `8 x H100`.

use std::borrow::Cow;

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Letters, with digits and inner hyphens, dots and apostrophes.
    Word,
    /// Digits, with inner dots or thousands commas.
    Number,
    /// A comparison: `>=`, `<`, `==`, `~`, `^`, `=` ...
    Operator,
    /// A file path or a URI.
    Path,
    /// Any other character, a line break included.
    Symbol,
}

/// One piece of the text.
#[derive(Debug, Clone)]
pub struct Token<'t> {
    /// What it is made of.
    pub kind: Kind,
    /// The piece as written.
    pub text: &'t str,
    /// The piece in lower case, spelt the British way.
    pub lower: Cow<'t, str>,
    /// Offset of its first character in scalar values.
    pub start: usize,
    /// Offset behind its last character in scalar values.
    pub end: usize,
    /// Offset of its first byte.
    pub byte: usize,
    /// Whether it touches the token before.
    pub glued: bool,
}

/// Endings that make a dotted word a file name.
const FILE_ENDINGS: &[&str] = &[
    ".csv", ".tsv", ".parquet", ".csv.gz", ".json", ".jsonl", ".py", ".sh", ".bash", ".ipynb", ".r", ".jl",
    ".pl", ".txt", ".yaml", ".yml", ".toml", ".h5", ".hdf5", ".nc", ".tpr", ".mdp", ".gro", ".pdb", ".xyz",
    ".lmp", ".inp", ".zip", ".tar", ".gz", ".tgz", ".exe", ".jar", ".js", ".sif", ".feather", ".xlsx",
];

/// Word endings that are really a second word: `MPI-enabled`, `slurm-based`.
const SUFFIX_WORDS: &[&str] = &[
    "based",
    "enabled",
    "accelerated",
    "capable",
    "aware",
    "only",
    "managed",
    "connected",
    "equipped",
    "powered",
    "attached",
    "backed",
    "compatible",
];

/// Units that may stand behind a hyphenated number word: `two-node`, `eight-gpu`.
const COUNTED_WORDS: &[&str] = &[
    "node", "nodes", "gpu", "gpus", "core", "cores", "hour", "hours", "minute", "minutes", "day", "days",
    "way", "task", "tasks", "rank", "ranks", "process", "machine", "machines", "server", "week",
];

/// The longest path that is looked for, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// Cuts a text into tokens, in one pass.
#[must_use]
pub fn tokenize(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, byte: 0, scalar: 0, tokens: Vec::with_capacity(text.len() / 5), gap: true };
    while let Some(c) = lexer.peek() {
        lexer.next_token(c);
    }
    lexer.tokens
}

struct Lexer<'t> {
    text: &'t str,
    byte: usize,
    scalar: usize,
    tokens: Vec<Token<'t>>,
    gap: bool,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.byte..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next_token(&mut self, c: char) {
        if c == '\n' {
            self.push(Kind::Symbol, 1);
            self.gap = true;
        } else if c.is_whitespace() || c.is_control() {
            self.byte += c.len_utf8();
            self.scalar += 1;
            self.gap = true;
        } else if let Some(length) = self.path_length() {
            self.push(Kind::Path, length);
        } else if c.is_ascii_digit() {
            let length = number_length(self.rest());
            self.push(Kind::Number, length);
            self.push_joint();
        } else if c == '.' && self.starts_fraction() {
            let length = 1 + number_length(&self.rest()[1..]);
            self.push(Kind::Number, length);
        } else if c.is_alphabetic() || c == '_' {
            let length = word_length(self.rest());
            self.push_word(length);
        } else if c == '\u{d7}' {
            self.push(Kind::Word, c.len_utf8());
        } else {
            let length = operator_length(self.rest());
            if let Some(tag) = tag_length(self.rest()) {
                self.push(Kind::Symbol, tag);
            } else if length > 0 {
                self.push(Kind::Operator, length);
            } else {
                self.push(Kind::Symbol, c.len_utf8());
            }
        }
    }

    /// Whether `.7` starts here rather than a full stop.
    fn starts_fraction(&self) -> bool {
        let touches =
            self.text[..self.byte].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '.');
        !touches && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
    }

    /// Adds the next `length` bytes as one token.
    fn push(&mut self, kind: Kind, length: usize) {
        let text = &self.text[self.byte..self.byte + length];
        let scalars = text.chars().count();
        self.tokens.push(Token {
            kind,
            text,
            lower: lower(kind, text),
            start: self.scalar,
            end: self.scalar + scalars,
            byte: self.byte,
            glued: !self.gap,
        });
        self.byte += length;
        self.scalar += scalars;
        self.gap = false;
    }

    /// Adds a word, cut before an ending that is a word of its own.
    fn push_word(&mut self, length: usize) {
        let word = &self.rest()[..length];
        // "A100 x2"
        if word.len() > 1
            && word.starts_with(['x', 'X'])
            && word[1..].bytes().all(|b| b.is_ascii_digit())
            && word != "x86"
        {
            self.push(Kind::Word, 1);
            return;
        }
        if let Some(cut) = word.rfind('-') {
            let (head, tail) = (&word[..cut], &word[cut + 1..]);
            let tail_lower = tail.to_lowercase();
            let counted = COUNTED_WORDS.contains(&tail_lower.as_str())
                && (crate::number::word_value(&head.to_lowercase()).is_some()
                    || matches!(
                        head.to_lowercase().as_str(),
                        "single" | "multi" | "dual" | "quad" | "per" | "a"
                    ));
            if counted || SUFFIX_WORDS.contains(&tail_lower.as_str()) {
                self.push(Kind::Word, head.len());
                self.push(Kind::Symbol, 1);
                self.push(Kind::Word, tail.len());
                return;
            }
        }
        self.push(Kind::Word, length);
    }

    /// Cuts the `x` of `8xH100` or `4x`, and the unit of `1h30m`, off what follows.
    fn push_joint(&mut self) {
        let rest = self.rest();
        let mut chars = rest.chars();
        let (first, second) = (chars.next(), chars.next());
        let is_times = matches!(first, Some('x' | 'X'))
            && (second.is_none_or(|c| !c.is_lowercase())
                || crate::lexicon::is_gpu_word(&rest[1..1 + word_length(&rest[1..])].to_lowercase()));
        let is_unit = matches!(first, Some('d' | 'h' | 'm')) && second.is_some_and(|c| c.is_ascii_digit());
        if is_times || is_unit {
            self.push(Kind::Word, 1);
        }
    }

    /// How long the path is that starts here, if one does.
    fn path_length(&self) -> Option<usize> {
        let before = self.text[..self.byte].chars().next_back();
        if !before.is_none_or(|c| c.is_whitespace() || "([{\"'`,:=<".contains(c)) {
            return None;
        }
        let rest = self.rest();
        let mut is_uri = false;
        let mut length = rest.len();
        for (at, c) in rest.char_indices() {
            is_uri |= c == ':' && at > 0 && rest[at..].starts_with("://");
            // Outside of a URI, a colon or equals sign stands between a key and its value.
            let splits = matches!(c, ':' | '=') && !is_uri && !rest[at..].starts_with(":\\");
            if at >= MAX_PATH_BYTES || c.is_whitespace() || splits || ",;\"'`()[]{}<>|".contains(c) {
                length = at;
                break;
            }
        }
        let mut behind = rest[length..].chars();
        let is_key =
            matches!(behind.next(), Some('=' | ':')) && behind.next().is_some_and(|c| !c.is_whitespace());
        if is_key {
            return None;
        }
        let chunk = rest[..length].trim_end_matches(['.', ',', ':', '!', '?']);
        is_path(chunk).then_some(chunk.len())
    }
}

fn is_path(chunk: &str) -> bool {
    if let Some(at) = chunk.find("://") {
        return at > 0
            && chunk.len() > at + 3
            && chunk[..at].chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    }
    let rooted = ["./", "../", "~/", "/"].iter().find_map(|root| chunk.strip_prefix(root));
    if let Some(tail) = rooted {
        let first = tail.to_lowercase();
        let rate =
            ["node", "nodes", "core", "cpu", "gpu", "task", "rank", "hour", "hr", "h", "day", "month", "or"];
        return tail.starts_with(|c: char| c.is_alphanumeric() || "._~".contains(c))
            && !rate.contains(&first.as_str());
    }
    let body = match chunk.as_bytes() {
        [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic() => &chunk[2..],
        _ => chunk,
    };
    if body.contains([':', '=']) {
        return false;
    }
    let name = chunk.rsplit(['/', '\\']).next().unwrap_or(chunk).to_lowercase();
    name != "node.js"
        && FILE_ENDINGS.iter().any(|ending| name.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
}

fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    let mut dotted = false;
    let mut group = 0;
    while digit(at) {
        at += 1;
        group += 1;
        match bytes.get(at) {
            Some(b'.') if digit(at + 1) => {
                dotted = true;
                at += 1;
            }
            Some(b',')
                if !dotted
                    && group <= 3
                    && digit(at + 1)
                    && digit(at + 2)
                    && digit(at + 3)
                    && !digit(at + 4)
                    && bytes[0] != b'0' =>
            {
                group = 0;
                at += 1;
            }
            Some(b'_') if digit(at + 1) => at += 1,
            _ => {}
        }
    }
    at + exponent_length(&bytes[at..])
}

/// The length of `e3` or `e-3` when nothing of a word follows.
fn exponent_length(bytes: &[u8]) -> usize {
    if !matches!(bytes.first(), Some(b'e' | b'E')) {
        return 0;
    }
    let sign = usize::from(matches!(bytes.get(1), Some(b'-' | b'+')));
    let digits = bytes[1 + sign..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    let end = 1 + sign + digits;
    let stops = bytes.get(end).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'.');
    if (1..=3).contains(&digits) && stops { end } else { 0 }
}

fn word_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let joins = match c {
            '-' | '\'' | '\u{2019}' => next.is_some_and(char::is_alphanumeric),
            // A full stop without a space behind it ends the sentence where a capital follows.
            '.' => next.is_some_and(|n| n.is_alphanumeric() && !(before.is_lowercase() && n.is_uppercase())),
            '+' => {
                return match &rest[at..] {
                    tail if tail.starts_with("++") => at + 2,
                    _ => at,
                };
            }
            _ => c.is_alphanumeric() || c == '_' || is_mark(c),
        };
        if !joins {
            return at;
        }
        before = c;
    }
    rest.len()
}

/// Combining marks belong to the letter before them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{fe0f}')
}

fn operator_length(rest: &str) -> usize {
    ["===", ">=", "<=", "==", "=>", "=<", "~=", "~>", "!=", "\u{2265}", "\u{2264}", ">", "<", "=", "~", "^"]
        .iter()
        .find(|operator| rest.starts_with(**operator))
        .map_or(0, |operator| operator.len())
}

/// The length of a tag such as `</system>`, which is no comparison.
fn tag_length(rest: &str) -> Option<usize> {
    let name = rest.strip_prefix('<')?;
    let name = name.strip_prefix('/').unwrap_or(name);
    let letters =
        name.bytes().take(32).take_while(|b| b.is_ascii_alphanumeric() || b"_-|".contains(b)).count();
    let closes =
        name[letters..].starts_with('>') && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '|');
    closes.then(|| rest.len() - name.len() + letters + 1)
}

fn lower(kind: Kind, text: &str) -> Cow<'_, str> {
    if kind != Kind::Word {
        return Cow::Borrowed(text);
    }
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let lowered =
        if plain { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase().replace('\u{2019}', "'")) };
    match crate::spelling::usual(&lowered) {
        Some(usual) => Cow::Borrowed(usual),
        None => lowered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokenize(text).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_numbers_and_operators() {
        assert_eq!(texts("LAMMPS >= 20230802, 3.1."), ["LAMMPS", ">=", "20230802", ",", "3.1", "."]);
        assert_eq!(texts("1,000 nodes, 2,3"), ["1,000", "nodes", ",", "2", ",", "3"]);
        assert_eq!(texts("8xH100 4x A100 2x"), ["8", "x", "H100", "4", "x", "A100", "2", "x"]);
        assert_eq!(texts("8xh100"), ["8", "x", "h100"]);
        assert_eq!(texts("3-node 80GB"), ["3", "-", "node", "80", "GB"]);
        assert_eq!(
            texts("two-node MPI-enabled scikit-learn"),
            ["two", "-", "node", "MPI", "-", "enabled", "scikit-learn"]
        );
        assert_eq!(texts("C++ 2023+ 1e-3 .7"), ["C++", "2023", "+", "1e-3", ".7"]);
    }

    #[test]
    fn paths_and_uris_stay_whole() {
        assert_eq!(texts("on data/prices.csv."), ["on", "data/prices.csv", "."]);
        assert_eq!(texts("s3://b/x.parquet, (a/b)"), ["s3://b/x.parquet", ",", "(", "a", "/", "b", ")"]);
        assert_eq!(texts("data=prices.csv"), ["data", "=", "prices.csv"]);
        assert_eq!(texts("4 GPUs /node"), ["4", "GPUs", "/", "node"]);
    }

    #[test]
    fn offsets_count_scalars() {
        let tokens = tokenize("é 😀 nodes");
        let last = tokens.last().unwrap();
        assert_eq!((last.start, last.end, last.byte), (4, 9, 8));
    }
}
