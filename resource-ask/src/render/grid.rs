//! The screen that is written to, and tables on it.

use std::io::{self, IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{
    Attribute, Cell as TableCell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle,
    Table, Width,
};

/// What is known of the place that output goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Characters in a line.
    pub width: u16,
    /// Whether colours may be used.
    pub colour: bool,
}

/// The width where there is no terminal that has one.
const PLAIN_WIDTH: u16 = 120;

impl Screen {
    /// A screen without colours.
    #[must_use]
    pub const fn plain(width: u16) -> Self {
        Self { width, colour: false }
    }

    /// Standard output as it is: sized to the terminal and coloured there unless `NO_COLOR` is set.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self::detect(io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    /// Standard error as it is.
    #[must_use]
    pub fn of_stderr() -> Self {
        Self::detect(io::stderr().is_terminal(), |name| std::env::var(name).ok())
    }

    fn detect(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || variable("TERM").is_some_and(|value| value == "dumb");
        let told = variable("COLUMNS").and_then(|value| value.parse().ok()).filter(|width| *width >= 40);
        // An empty table asks the terminal for its width, and is `None` where there is none.
        let measured = is_terminal.then(|| Table::new().width()).flatten().filter(|width| *width >= 40);
        let width = measured.or(told).unwrap_or(if is_terminal { 80 } else { PLAIN_WIDTH });
        Self { width, colour: is_terminal && !refused }
    }

    /// Text in a tone, where colours may be used.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
        };
        if self.colour && !code.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Writes the heading of a section.
    pub fn heading(&self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        writeln!(out, "{}", self.paint(Tone::Strong, text))
    }
}

/// How a text is meant, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Important.
    Strong,
    /// Beside the point.
    Faint,
    /// As hoped.
    Good,
    /// To be looked at.
    Doubtful,
    /// Wrong.
    Bad,
}

/// One cell: a text that is already safe to show, and its tone.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    #[must_use]
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// How a column takes its share of the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// As wide as its content, to the left.
    Label(&'static str),
    /// As wide as its content, to the right.
    Figure(&'static str),
    /// Takes what is left, and wraps.
    Prose(&'static str),
}

/// A table without vertical lines, sized to the screen.
pub struct Grid {
    table: Table,
    columns: Vec<Column>,
    colour: bool,
}

/// Blanks in front of every line.
const INDENT: &str = "  ";

impl Grid {
    /// A table with these columns; a header is written unless all of their names are empty.
    #[must_use]
    pub fn new(screen: &Screen, columns: &[Column]) -> Self {
        let mut table = Table::new();
        let mut style = NOTHING;
        let names: Vec<&str> = columns
            .iter()
            .map(|column| match column {
                Column::Label(name) | Column::Figure(name) | Column::Prose(name) => *name,
            })
            .collect();
        let headed = names.iter().any(|name| !name.is_empty());
        if headed {
            style = style.header_separator(LineStyle::none().fill('─'));
        }
        table
            .load_style(style)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(screen.width.saturating_sub(INDENT.len() as u16));
        if screen.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if headed {
            table.set_header(names.iter().map(|name| {
                let cell = TableCell::new(*name);
                if screen.colour { cell.add_attribute(Attribute::Dim) } else { cell }
            }));
        }
        Self { table, columns: columns.to_vec(), colour: screen.colour }
    }

    /// Columns exist only once there is a row, so this comes last.
    fn arrange(&mut self) {
        let last = self.columns.len().saturating_sub(1);
        for (index, column) in self.columns.iter().enumerate() {
            let Some(settings) = self.table.column_mut(index) else { continue };
            settings.set_padding((0, if index == last { 0 } else { 2 }));
            match column {
                Column::Label(_) => {
                    settings.set_constraint(ColumnConstraint::ContentWidth);
                }
                Column::Figure(_) => {
                    settings.set_constraint(ColumnConstraint::ContentWidth);
                    settings.set_cell_alignment(CellAlignment::Right);
                }
                Column::Prose(_) => {
                    settings.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)));
                }
            }
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<Cell>) {
        let colour = self.colour;
        let row: Vec<TableCell> = cells
            .into_iter()
            .take(self.columns.len())
            .map(|cell| {
                let shown = TableCell::new_owned(cell.text);
                match cell.tone {
                    _ if !colour => shown,
                    Tone::Plain => shown,
                    Tone::Strong => shown.add_attribute(Attribute::Bold),
                    Tone::Faint => shown.add_attribute(Attribute::Dim),
                    Tone::Good => shown.fg(Color::DarkGreen),
                    Tone::Doubtful => shown.fg(Color::DarkYellow),
                    Tone::Bad => shown.fg(Color::DarkRed),
                }
            })
            .collect();
        self.table.add_row(row);
    }

    /// Whether there is nothing below the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Writes the table, with no blank at the end of any line.
    pub fn write(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.arrange();
        for line in self.table.lines() {
            writeln!(out, "{}", format!("{INDENT}{line}").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(is_terminal: bool, variables: &[(&str, &str)]) -> Screen {
        Screen::detect(is_terminal, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colours_need_a_terminal_and_nobody_against_them() {
        assert!(detect(true, &[("TERM", "xterm"), ("NO_COLOR", "")]).colour);
        assert!(!detect(true, &[("NO_COLOR", "1")]).colour);
        assert!(!detect(true, &[("TERM", "dumb")]).colour);
        assert!(!detect(false, &[]).colour);
    }

    #[test]
    fn without_a_terminal_the_width_is_told_or_fixed() {
        assert_eq!(detect(false, &[]).width, PLAIN_WIDTH);
        assert_eq!(detect(false, &[("COLUMNS", "200")]).width, 200);
        assert_eq!(detect(false, &[("COLUMNS", "3")]).width, PLAIN_WIDTH);
        assert_eq!(detect(false, &[("COLUMNS", "wide")]).width, PLAIN_WIDTH);
    }
}
