//! A command line cut into words as a POSIX shell does it, without any expansion.
//!
//! The words go to a program as they are. A line that needs a shell (pipes, redirection, several
//! commands, substitution) is refused, because running half of it would be something else.

/// Why a command line cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgvError {
    /// A quote that is never closed.
    #[error("the command has an open quote")]
    OpenQuote,
    /// Syntax that only a shell understands.
    #[error("the command needs a shell; write `sh -c '...'` to ask for one")]
    NeedsShell,
    /// Nothing in it.
    #[error("the command is empty")]
    Empty,
    /// Too many words.
    #[error("the command has more than 4096 words")]
    TooLong,
}

/// A command line: assignments in front of it, and its words.
pub type Words = (Vec<(String, String)>, Vec<String>);

const MAX_WORDS: usize = 4096;

/// Cuts a command line into assignments and words.
pub fn split(line: &str) -> Result<Words, ArgvError> {
    let words = words(line)?;
    let assignments = words.iter().take_while(|word| assignment(word).is_some()).count();
    let environment = words[..assignments].iter().filter_map(|word| assignment(word)).collect();
    let argv = words[assignments..].to_vec();
    if argv.is_empty() { Err(ArgvError::Empty) } else { Ok((environment, argv)) }
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let mut chars = name.chars();
    let first = chars.next()?;
    ((first.is_ascii_alphabetic() || first == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .then(|| (name.to_owned(), value.to_owned()))
}

fn words(line: &str) -> Result<Vec<String>, ArgvError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let into = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(ArgvError::OpenQuote),
                        Some('\'') => break,
                        Some(c) => into.push(c),
                    }
                }
            }
            '"' => {
                let into = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(ArgvError::OpenQuote),
                        Some('"') => break,
                        Some('`') => return Err(ArgvError::NeedsShell),
                        Some('$') if chars.peek() == Some(&'(') => return Err(ArgvError::NeedsShell),
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => into.push(c),
                            Some('\n') => {}
                            Some(c) => into.extend(['\\', c]),
                            None => return Err(ArgvError::OpenQuote),
                        },
                        Some(c) => into.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '|' | '&' | ';' | '<' | '>' | '`' => return Err(ArgvError::NeedsShell),
            '$' if chars.peek() == Some(&'(') => return Err(ArgvError::NeedsShell),
            '#' if word.is_none() => break,
            c => word.get_or_insert_default().push(c),
        }
        if words.len() > MAX_WORDS {
            return Err(ArgvError::TooLong);
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_does_it() {
        let argv = |line: &str| split(line).map(|(_, argv)| argv);
        assert_eq!(argv("python train.py --epochs 3").unwrap(), ["python", "train.py", "--epochs", "3"]);
        assert_eq!(argv(r#"echo 'a b' "c \"d\"" e\ f """#).unwrap(), ["echo", "a b", "c \"d\"", "e f", ""]);
        assert_eq!(argv("echo $HOME *").unwrap(), ["echo", "$HOME", "*"]);
        assert_eq!(argv("sh -c 'a | b'").unwrap(), ["sh", "-c", "a | b"]);
        assert_eq!(argv("echo 'open"), Err(ArgvError::OpenQuote));
        for line in ["a | b", "a && b", "a; b", "a > b", "echo $(b)", "echo `b`", "echo \"$(b)\""] {
            assert_eq!(argv(line), Err(ArgvError::NeedsShell), "{line}");
        }
        assert_eq!(argv("  "), Err(ArgvError::Empty));
    }

    #[test]
    fn assignments_in_front_are_the_environment() {
        let (environment, argv) = split("OMP_NUM_THREADS=4 A='b c' ./x y=1").unwrap();
        assert_eq!(environment, [("OMP_NUM_THREADS".into(), "4".into()), ("A".into(), "b c".into())]);
        assert_eq!(argv, ["./x", "y=1"]);
    }
}
