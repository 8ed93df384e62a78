//! Misbehaviour that a simulated worker can be told to show, so that a hub's patience can be tested.
//! This crate names the modes; the worker acts them out.

use std::fmt;
use std::str::FromStr;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Never answers a call.
    Hang,
    /// Answers a call after its deadline.
    Slow,
    /// Answers a call with an error.
    Error,
    /// Answers with text that is not JSON.
    BadJson,
    /// Answers with JSON of another shape.
    BadSchema,
    /// Answers with more bytes than the hub reads.
    TooLarge,
    /// Closes the connection in the middle of an answer.
    ClosedEarly,
    /// Offers, then refuses every award.
    RefuseAward,
    /// Accepts awards, then fails every job.
    FailJob,
    /// Ends the process when it is awarded a job.
    Exit,
}

impl Fault {
    /// Every mode.
    pub const ALL: [Self; 10] = [
        Self::Hang,
        Self::Slow,
        Self::Error,
        Self::BadJson,
        Self::BadSchema,
        Self::TooLarge,
        Self::ClosedEarly,
        Self::RefuseAward,
        Self::FailJob,
        Self::Exit,
    ];

    /// The name as it stands on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Error => "error",
            Self::BadJson => "bad-json",
            Self::BadSchema => "bad-schema",
            Self::TooLarge => "too-large",
            Self::ClosedEarly => "closed-early",
            Self::RefuseAward => "refuse-award",
            Self::FailJob => "fail-job",
            Self::Exit => "exit",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A misbehaviour that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault {given:?}: one of {} is needed", names())]
pub struct UnknownFault {
    /// What was given, at most 64 characters of it.
    pub given: String,
}

fn names() -> String {
    Fault::ALL.map(Fault::as_str).join(", ")
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.as_str() == text)
            .ok_or_else(|| UnknownFault { given: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = "explode".parse::<Fault>().unwrap_err();
        assert!(error.to_string().contains("refuse-award"));
        assert_eq!("x".repeat(999).parse::<Fault>().unwrap_err().given.len(), 64);
    }
}
