//! How results leave: one [`Document`] per answer, written as tables, as JSON or as bare names.
//!
//! Data goes to standard output and everything else to standard error, so that a pipe gets data only.

use std::io::{self, Write};

use serde_json::Value;

use crate::render::Screen;

/// The form of the results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// Names only, one in a line, and no progress.
    Quiet,
}

/// One result in all of its forms.
pub trait Document {
    /// Writes it for people.
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()>;

    /// The stable, documented form.
    fn json(&self) -> Value;

    /// Writes what a script needs most, usually a name in a line.
    fn quiet(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Writes a document in the wanted form.
pub fn write(
    document: &dyn Document,
    format: Format,
    screen: &Screen,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Table => document.table(screen, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &document.json())?;
            writeln!(out)?;
        }
        Format::Quiet => document.quiet(out)?,
    }
    out.flush()
}
