//! A command to run: in backticks or quotes behind "run", behind `run:` or `command:`, or a script
//! with its interpreter.

use std::ops::Range;

use protocol::job::{CommandSpec, JobSpec};

use crate::argv;
use crate::meaning::{Meaning, Piece};
use crate::reading::Reading;
use crate::token::Kind;
use crate::vocabulary::{Vocabulary, is_package_name};

const VERBS: &[&str] = &[
    "job",
    "run",
    "running",
    "execute",
    "executing",
    "exec",
    "launch",
    "launching",
    "start",
    "command",
    "cmd",
    "invoke",
    "submit",
    "call",
    "runs",
    "executes",
    "program",
    "do",
];

const INTERPRETERS: &[&str] = &[
    "python",
    "python3",
    "python2",
    "bash",
    "sh",
    "zsh",
    "rscript",
    "julia",
    "perl",
    "ruby",
    "node",
    "java",
    "mpirun",
    "mpiexec",
    "srun",
    "torchrun",
    "deepspeed",
    "accelerate",
    "octave",
    "matlab",
    "lua",
    "php",
    "make",
    "time",
];

/// Words that end a command which stands in the sentence without quotes.
const ENDS: &[&str] = &[
    "on",
    "with",
    "using",
    "in",
    "for",
    "from",
    "via",
    "at",
    "and",
    "by",
    "as",
    "within",
    "inside",
    "to",
    "under",
    "before",
    "when",
    "where",
    "somewhere",
    "right",
    "now",
    "immediately",
    "then",
    "that",
    "it",
    "or",
    "needs",
    "requires",
    "tonight",
    "asap",
];

pub fn read(reading: &mut Reading<'_>, vocabulary: &Vocabulary) {
    let mut at = 0;
    while at < reading.len() {
        let found = quoted(reading, at, vocabulary)
            .or_else(|| announced(reading, at))
            .or_else(|| script(reading, at));
        at = match found {
            Some((whole, line)) => {
                let end = whole.end;
                record(reading, whole, line);
                end
            }
            None => at + 1,
        };
    }
}

/// The longest command line that is looked for, in tokens.
const MAX_COMMAND_TOKENS: usize = 4096;

/// The longest command that is looked for without quotes, in tokens.
const MAX_BARE_TOKENS: usize = 128;

/// The tokens to use up, and those of the command line in them.
type Found = (Range<usize>, Range<usize>);

/// "run `python train.py`", "execute \"make all\"".
fn quoted(reading: &Reading<'_>, at: usize, vocabulary: &Vocabulary) -> Option<Found> {
    let quote = reading.symbol(at).filter(|c| "`\"\u{201c}".contains(*c))?;
    // A fence of three backticks opens and closes as one, and needs no verb in front of it.
    let fence = if quote == '`' {
        (1..3).take_while(|next| reading.symbol(at + next) == Some('`')).count()
    } else {
        0
    };
    let verb = (1..=4).find(|back| VERBS.contains(&reading.word_before(at, *back)));
    let verb = verb.or((fence == 2).then_some(1))?;
    let is_plain = |back: usize| {
        matches!(
            reading.word_before(at, back),
            "the" | "this" | "command" | "line" | "my" | "is" | "following" | "script" | "me"
        ) || at.checked_sub(back).and_then(|i| reading.symbol(i)) == Some(':')
    };
    if !(1..verb).all(is_plain) {
        return None;
    }
    let closing = if quote == '\u{201c}' { '\u{201d}' } else { quote };
    let open = at + fence;
    let limit = reading.len().min(open + MAX_COMMAND_TOKENS);
    let end = (open + 1..limit).find(|end| reading.any_symbol(*end) == Some(closing))?;
    let close = end + (1..=fence).take_while(|next| reading.symbol(end + next) == Some('`')).count();
    let is_tag = fence == 2
        && matches!(reading.word(open + 1), "bash" | "sh" | "shell" | "console" | "text" | "zsh")
        && reading.symbol(open + 2) == Some('\n');
    let line = if is_tag { open + 3..end } else { open + 1..end };
    let operator = reading.operator(line.start + 1);
    let names_software =
        line.len() == 1 && fence == 0 && vocabulary.software(reading.word(line.start)).is_some()
            || !operator.is_empty() && operator != "=" && is_package_name(reading.word(line.start));
    (!line.is_empty() && !names_software).then_some((at..close + 1, line))
}

/// "run: python train.py", "command: ./solve --fast" up to the end of the line or sentence.
fn announced(reading: &Reading<'_>, at: usize) -> Option<Found> {
    if !matches!(reading.word(at), "run" | "command" | "cmd" | "exec" | "execute" | "argv")
        || reading.symbol(at + 1) != Some(':')
        || reading.any_symbol(at + 2) == Some('`')
        || reading.any_symbol(at + 2) == Some('"')
    {
        return None;
    }
    let first = if reading.symbol(at + 2) == Some('\n') { at + 3 } else { at + 2 };
    let is_version = !reading.operator(first + 1).is_empty() && is_package_name(reading.word(first));
    let looks_like_a_command = reading.free(first).is_some_and(|token| token.kind == Kind::Path)
        || is_package_name(reading.word(first))
        || matches!(reading.symbol(first), Some('.' | '/'));
    // "run: gromacs on 2 nodes" announces no command line.
    let is_prose = ENDS.contains(&reading.word(first + 1))
        || reading.free(first + 1).is_some_and(|token| token.kind == Kind::Number);
    if !looks_like_a_command || is_version || is_prose {
        return None;
    }
    let limit = reading.len().min(first + MAX_COMMAND_TOKENS);
    let is_spaced = |at: usize| !reading.tokens.get(at + 1).is_some_and(|token| token.glued);
    let counts = |at: usize| {
        reading.tokens.get(at).is_some_and(|token| token.kind == Kind::Number)
            || crate::number::word_value(reading.any_word(at)).is_some()
    };
    let ends = |end: &usize| {
        matches!(reading.any_symbol(*end), Some('\n' | ';'))
            || matches!(reading.any_symbol(*end), Some(',' | '.')) && is_spaced(*end)
            // "... --epochs 3 on 2 GPUs"
            || matches!(reading.any_word(*end), "on" | "with" | "for" | "using") && counts(end + 1) && *end > first + 1
    };
    let end = (first..limit).find(ends).unwrap_or(limit);
    (first < end).then_some((at..end, first..end))
}

/// Whether a sentence ends here, rather than a file name going on.
fn is_full_stop(reading: &Reading<'_>, at: usize) -> bool {
    reading.any_symbol(at) == Some('.') && !reading.tokens.get(at + 1).is_some_and(|token| token.glued)
}

/// "run python train.py --epochs 3 on ...", "run ./solve -n 4": a program that is a path, or an
/// interpreter with a script behind it.
fn script(reading: &Reading<'_>, at: usize) -> Option<Found> {
    if !VERBS.contains(&reading.any_word_before(at, 1)) && at > 0 {
        return None;
    }
    let is_program = |at: usize| {
        reading.free(at).is_some_and(|token| {
            token.kind == Kind::Path
                && !token.text.contains("://")
                && (token.text.starts_with("./")
                    || token.text.starts_with('/')
                    || token.text.ends_with(".sh"))
        })
    };
    let is_script = |at: usize| {
        let ending =
            [".py", ".sh", ".r", ".R", ".jl", ".pl", ".rb", ".js", ".jar", ".bash", ".m", ".lua", ".php"];
        reading
            .free(at)
            .is_some_and(|token| token.kind == Kind::Path && ending.iter().any(|e| token.text.ends_with(e)))
    };
    let end = command_end(reading, at);
    let interpreted = INTERPRETERS.contains(&reading.word(at))
        && (at + 1..end).any(|next| is_script(next) || is_program(next));
    (is_program(at) || interpreted).then_some((at..end, at..end))
}

/// Where an unquoted command ends: at a word of the sentence around it, or at its punctuation.
fn command_end(reading: &Reading<'_>, at: usize) -> usize {
    let limit = reading.len().min(at + MAX_BARE_TOKENS);
    let ends = |end: &usize| {
        ENDS.contains(&reading.any_word(*end)) && !reading.tokens[*end].glued
            || matches!(reading.any_symbol(*end), Some('\n' | ';' | '!' | '?' | ',' | '(' | ')'))
            || is_full_stop(reading, *end)
    };
    (at + 1..limit).find(ends).unwrap_or(limit)
}

fn record(reading: &mut Reading<'_>, whole: Range<usize>, line: Range<usize>) {
    match argv::split(reading.source(&line)) {
        Ok((environment, argv)) => {
            let spec = CommandSpec {
                argv,
                environment: environment.into_iter().collect(),
                ..CommandSpec::default()
            };
            reading.take(whole);
            let piece = Piece { tokens: line, leaf: ".spec.argv" };
            reading.find_pieces(vec![piece], Meaning::Job(Box::new(JobSpec::Command(spec))));
        }
        Err(error) => reading.refuse(line, error.to_string()),
    }
}
