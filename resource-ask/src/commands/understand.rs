//! `understand`: what a request means, offline.

use std::io::{self, Write};

use intake::Vocabulary;
use protocol::request::Request;
use protocol::understanding::Understanding;
use protocol::units::Timestamp;
use serde_json::Value;

use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::output::Document;
use crate::render::Screen;
use crate::render::understanding::{self, Understood, requirement_fields};
use crate::request::read_prompt;

/// Prints what a prompt means to the shipped vocabulary at this time.
pub fn understand(console: &Console, prompt: &str, now: Timestamp) -> Result<Exit, Failure> {
    let request = Request { prompt: Some(read_prompt(prompt)?), ..Request::default() };
    intake::check(&request).map_err(Failure::Hub)?;
    console.print(&Meaning(intake::understand(&request, &Vocabulary::shipped(), now)))?;
    Ok(Exit::Done)
}

struct Meaning(Understanding);

impl Document for Meaning {
    fn table(&self, screen: &Screen, out: &mut dyn Write) -> io::Result<()> {
        understanding::write(out, screen, &Understood::from(&self.0))
    }

    fn json(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    fn quiet(&self, out: &mut dyn Write) -> io::Result<()> {
        for field in requirement_fields(&self.0.requirement) {
            writeln!(out, "{}: {}", field.label, field.value)?;
        }
        Ok(())
    }
}
