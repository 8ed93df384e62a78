//! Identifiers. Each is its own type, so that a job id can never be passed where a worker id is meant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// An identifier that does not have the form its kind demands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {shown:?} is not valid: {rule}")]
pub struct InvalidId {
    /// What kind of identifier was expected.
    pub kind: &'static str,
    /// The refused text, cut to 64 characters.
    pub shown: String,
    /// The rule that it broke.
    pub rule: &'static str,
}

fn invalid(kind: &'static str, text: &str, rule: &'static str) -> InvalidId {
    InvalidId { kind, shown: text.chars().take(64).collect(), rule }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the form and takes the text as an identifier.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(invalid($kind, &text, $rule)) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// `[a-z0-9][a-z0-9-]{0,31}`, the form of a worker's name.
fn is_worker_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=32).contains(&bytes.len())
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Identifiers that we make ourselves: a short prefix, a hyphen, and letters, digits or hyphens.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

id!(
    /// The name of a worker, unique in a fleet and owned by the key that took it first.
    WorkerId, "worker id", is_worker_name, "1 to 32 of a-z, 0-9 and '-', not starting with '-'"
);
id!(
    /// One negotiation: a call, its proposals, the choice, and at most one live award.
    NegotiationId, "negotiation id", is_token, "1 to 64 letters, digits, '-' or '_'"
);
id!(
    /// One proposal of one worker in one negotiation.
    ProposalId, "proposal id", is_token, "1 to 64 letters, digits, '-' or '_'"
);
id!(
    /// One piece of work.
    JobId, "job id", is_token, "1 to 64 letters, digits, '-' or '_'"
);
id!(
    /// One file that a job produced.
    ArtifactId, "artifact id", is_token, "1 to 64 letters, digits, '-' or '_'"
);
id!(
    /// Whoever asks: owner of the rows that the request creates.
    PrincipalId, "principal", is_token, "1 to 64 letters, digits, '-' or '_'"
);
id!(
    /// `sha256:` and 64 lower-case hexadecimal digits.
    Digest, "digest", is_sha256, "'sha256:' and 64 lower-case hexadecimal digits"
);

impl WorkerId {
    /// Maps a host name (or any text) to a valid worker name: lower case, other characters to `-`.
    #[must_use]
    pub fn from_host_name(host: &str) -> Self {
        let mapped: String = host
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .skip_while(|c| *c == '-')
            .take(32)
            .collect();
        if mapped.is_empty() { Self("worker".to_owned()) } else { Self(mapped) }
    }
}

impl Digest {
    /// The SHA-256 digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
    }

    /// From the 32 raw bytes of a finished SHA-256 computation.
    #[must_use]
    pub fn from_sha256(raw: &[u8]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in raw {
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }
}

macro_rules! minted {
    ($($name:ident, $prefix:literal;)*) => {$(
        impl $name {
            /// A new identifier from 16 random bytes, which the caller draws.
            #[must_use]
            pub fn mint(random: u128) -> Self {
                Self(format!(concat!($prefix, "-{:032x}"), random))
            }
        }
    )*};
}

minted! {
    NegotiationId, "neg";
    ProposalId, "prop";
    JobId, "job";
    ArtifactId, "art";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_names_follow_the_rule() {
        for good in ["a", "hpc-1", "0x", &"a".repeat(32)] {
            assert!(WorkerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a\nb", &"a".repeat(33), "é"] {
            assert!(WorkerId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_shows_at_most_64_characters() {
        let error = WorkerId::parse("x".repeat(5000)).unwrap_err();
        assert_eq!(error.shown.len(), 64);
    }

    #[test]
    fn host_names_are_mapped() {
        assert_eq!(WorkerId::from_host_name("Login01.Example.ORG").as_str(), "login01-example-org");
        assert_eq!(WorkerId::from_host_name("___").as_str(), "worker");
    }

    #[test]
    fn digests_are_checked() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(Digest::parse("sha256:00").is_err());
    }
}
