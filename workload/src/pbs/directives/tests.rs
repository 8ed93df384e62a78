//! Directives and back.
