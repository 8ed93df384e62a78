//! The two streams of a command: results to standard output, everything else to standard error.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;
use crate::output::{self, Document, Format};
use crate::render::Screen;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    /// The form of the results.
    pub format: Format,
    screen: Screen,
}

impl Console {
    /// The process's own streams.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, screen: Screen::of_stdout() }
    }

    /// Prints a result.
    pub fn print(&self, document: &dyn Document) -> Result<(), Failure> {
        // The lock and the buffer make one answer one write, so that it is not torn in a shared log.
        let mut buffer = Vec::new();
        output::write(document, self.format, &self.screen, &mut buffer)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&buffer)?;
        Ok(stdout.flush()?)
    }

    /// Prints a piece of text as it is.
    pub fn print_text(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Whether standard output is a terminal, which foreign text must not reach unescaped.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Says something beside the result; silent with `--quiet`. Nothing depends on its arrival.
    pub fn note(&self, text: &str) {
        if self.format != Format::Quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Whether somebody sits there who can be asked.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a question; only a clear yes is one.
    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let mut stderr = io::stderr();
        write!(stderr, "{question} [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}
