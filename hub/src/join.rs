//! The hub's side of a join: a challenge in both directions under the join secret. What it yields is
//! an authenticated registration; whether the name is free is the fleet's to decide.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::error::{ErrorBody, ErrorCode};
use protocol::ids::Digest;
use protocol::join::{JoinChallenge, JoinFinish, JoinKey, JoinStart, Registration, worker_transcript};
use protocol::signature::verify;
use protocol::units::{Seconds, Timestamp};

use crate::entropy::Entropy;

/// Challenges that may be open at once; the oldest is dropped for a new one.
const OPEN_CHALLENGES: usize = 1000;
/// How long a challenge lives.
const CHALLENGE_SECONDS: u32 = 60;

/// The open exchanges of one hub.
pub struct Joins {
    key: JoinKey,
    secret: Digest,
    hub_key: String,
    open: Mutex<VecDeque<Open>>,
}

struct Open {
    challenge_id: String,
    start: JoinStart,
    hub_nonce: String,
    made_at: Timestamp,
}

impl Joins {
    /// Joins under a secret, for a hub with this public key.
    #[must_use]
    pub fn new(secret: &str, hub_key: &str) -> Self {
        Self {
            key: JoinKey::derive(secret),
            secret: Digest::of(secret.as_bytes()),
            hub_key: hub_key.to_owned(),
            open: Mutex::new(VecDeque::new()),
        }
    }

    /// Answers a worker's first message.
    pub fn start(
        &self,
        start: JoinStart,
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<JoinChallenge, ErrorBody> {
        for (name, text) in [("worker_key", &start.worker_key), ("worker_nonce", &start.worker_nonce)] {
            if URL_SAFE_NO_PAD.decode(text).map(|bytes| bytes.len()) != Ok(32) {
                let message = format!("{name} must be 32 bytes in base64url without padding");
                return Err(ErrorBody::new(ErrorCode::Field, message));
            }
        }
        let challenge_id = format!("{:032x}", entropy.draw());
        let mut nonce = [0_u8; 32];
        nonce[..16].copy_from_slice(&entropy.draw().to_be_bytes());
        nonce[16..].copy_from_slice(&entropy.draw().to_be_bytes());
        let hub_nonce = URL_SAFE_NO_PAD.encode(nonce);
        let proof = self.key.hub_proof(&start, &challenge_id, &hub_nonce, &self.hub_key);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_CHALLENGES {
            open.pop_front();
        }
        open.push_back(Open {
            challenge_id: challenge_id.clone(),
            start,
            hub_nonce: hub_nonce.clone(),
            made_at: now,
        });
        Ok(JoinChallenge { challenge_id, hub_nonce, hub_key: self.hub_key.clone(), hub_time: now, proof })
    }

    /// Checks a worker's second message; returns what it registers and its public key. An unknown
    /// secret and a wrong signature give the same error, so that neither can be told from the other.
    pub fn finish(&self, finish: &JoinFinish, now: Timestamp) -> Result<(Registration, String), ErrorBody> {
        let open = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let place = open.iter().position(|one| one.challenge_id == finish.challenge_id);
            place.and_then(|place| open.remove(place))
        };
        let lifetime = Seconds::from(CHALLENGE_SECONDS);
        let Some(open) = open.filter(|open| now.since(open.made_at) <= lifetime) else {
            let message = "the join challenge is unknown, used or older than 60 s; start the join again";
            return Err(ErrorBody::new(ErrorCode::Challenge, message));
        };
        let transcript = worker_transcript(
            &open.start,
            &open.challenge_id,
            &open.hub_nonce,
            &self.hub_key,
            &finish.registration,
        );
        let knows_secret = self.key.worker_proof_holds(&transcript, &finish.proof);
        let owns_key = verify(&open.start.worker_key, &transcript, &finish.signature);
        if !(knows_secret && owns_key) {
            return Err(wrong_secret());
        }
        let registration: Registration = serde_json::from_str(&finish.registration).map_err(|error| {
            ErrorBody::new(ErrorCode::Field, format!("the registration does not fit: {error}"))
        })?;
        if let Some(url) = &registration.url {
            check_url(url)?;
        }
        Ok((registration, open.start.worker_key))
    }

    /// Whether a predecessor's token is the join secret. Digests are compared, so that the time taken
    /// says nothing about the secret.
    #[must_use]
    pub fn token_fits(&self, token: &str) -> bool {
        Digest::of(token.as_bytes()) == self.secret
    }
}

/// The one answer to every failed proof.
#[must_use]
pub fn wrong_secret() -> ErrorBody {
    ErrorBody::new(ErrorCode::Auth, "authentication failed; is the join secret the hub's?")
}

/// Refuses URLs that cannot be a worker's MCP endpoint.
pub fn check_url(url: &str) -> Result<(), ErrorBody> {
    let refuse = |why: &str| {
        let shown: String = url.chars().take(80).collect();
        Err(ErrorBody::new(ErrorCode::Field, format!("the worker url {shown:?} {why}")))
    };
    if url.len() > 512 {
        return refuse("is longer than 512 characters");
    }
    let Ok(uri) = url.parse::<axum::http::Uri>() else {
        return refuse("is no URL");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("must begin with http:// or https://");
    }
    if uri.host().is_none_or(str::is_empty) || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return refuse("must name a host and no user");
    }
    Ok(())
}
