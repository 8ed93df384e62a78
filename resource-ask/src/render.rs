//! What people see: every answer of a hub as text and tables.
//!
//! Each function takes protocol types and writes to any `Write`; none of them knows whether that is a
//! terminal, so what a [`Screen`] says decides about width and colour. Everything that somebody else
//! wrote goes through [`text::escape`] or [`text::excerpt`] first.

pub mod explanation;
pub mod fleet;
pub mod grid;
pub mod job;
pub mod proposals;
pub mod text;
pub mod understanding;

pub use grid::Screen;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
