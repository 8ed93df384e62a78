//! Claims: single checkable statements about a site.
//!
//! A subject is a dotted path such as `compute.nodes_free` or `software.lammps`. The same function
//! (`matching::claims`) turns facts into claims at the secretary and truth into claims at the hub, so
//! the two are compared like with like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Number;

/// One checkable statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// What the statement is about, a dotted path.
    pub subject: String,
    /// What it says.
    pub value: ClaimValue,
}

/// What a claim says about its subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClaimValue {
    /// Present or absent, true or false.
    Flag(bool),
    /// A quantity in the subject's unit.
    Quantity(Number),
    /// A version or a name.
    Text(String),
    /// Several versions or names, in order.
    List(Vec<String>),
}

impl std::fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Quantity(number) => write!(f, "{}", number.get()),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(", ")),
        }
    }
}
