//! Versions as tools print them, and constraints on them.

/// A constraint that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version constraint {shown:?} is not valid: {problem}")]
pub struct BadConstraint {
    /// The refused text, cut to 64 characters.
    pub shown: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Whether a version satisfies every part of a constraint.
pub fn satisfies(version: &str, constraint: &str) -> Result<bool, BadConstraint> {
    Ok(version.starts_with(constraint))
}
