//! How a worker joins: a challenge in both directions under the join secret, a key per worker, and
//! from then on signed requests.
//!
//! ```text
//! worker -> hub  POST /v1/join/start   JoinStart
//! hub -> worker                        JoinChallenge   (proves that the hub knows the secret)
//! worker -> hub  POST /v1/join/finish  JoinFinish      (proves that the worker does)
//! hub -> worker                        JoinAccepted
//! worker -> hub  POST /v1/heartbeat    Heartbeat, signed;  POST /v1/leave, signed
//! worker -> hub  GET /v1/link          signed; becomes the connection over which the hub calls the worker
//! ```
//!
//! Both proofs are `HMAC-SHA256(HKDF(secret), label || transcript)`; the transcript joins every field
//! of the exchange, each with its length in front, so no two exchanges have the same one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hkdf, hmac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::Manifest;
use crate::ids::JobId;
use crate::ids::WorkerId;
use crate::job::{AttemptNumber, AttemptState};
use crate::units::{Seconds, Timestamp};

/// The largest body that a join route reads: a manifest of a large site fits.
pub const JOIN_BODY_LIMIT: usize = 1024 * 1024;

/// A worker's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinStart {
    /// The worker's public key (Ed25519, base64url).
    pub worker_key: String,
    /// 32 random bytes (base64url).
    pub worker_nonce: String,
}

/// The hub's challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinChallenge {
    /// Names the exchange; works once, for 60 s.
    pub challenge_id: String,
    /// 32 random bytes (base64url).
    pub hub_nonce: String,
    /// The hub's public key (Ed25519, base64url), which the worker pins.
    pub hub_key: String,
    /// The hub's time.
    pub hub_time: Timestamp,
    /// Proof that the hub knows the join secret (base64url).
    pub proof: String,
}

/// The worker's second message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinFinish {
    /// The exchange.
    pub challenge_id: String,
    /// Everything that the worker says about itself, as the exact JSON text that was proved.
    pub registration: String,
    /// Proof that the worker knows the join secret and means this registration (base64url).
    pub proof: String,
    /// Signature of the same bytes by the worker's key (base64url).
    pub signature: String,
}

/// What a worker says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The name that it wants.
    pub worker_id: WorkerId,
    /// Where the hub reaches its MCP endpoint; none for a worker that is reached over its link only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its static facts.
    #[serde(default)]
    pub manifest: Manifest,
    /// Changes with each start of the worker, so that an older instance can be told from a newer one.
    pub boot_id: String,
}

/// The hub's welcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JoinAccepted {
    /// The name, confirmed.
    pub worker_id: WorkerId,
    /// Send a heartbeat this often.
    pub heartbeat_seconds: Seconds,
    /// After this long without one the worker counts as offline.
    pub lease_seconds: Seconds,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The worker's instance.
    pub boot_id: String,
    /// Whether it takes no new work.
    #[serde(default)]
    pub draining: bool,
    /// Where each attempt stands that the hub has not yet settled.
    #[serde(default)]
    pub attempts: Vec<AttemptDigest>,
}

/// One open attempt, in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptDigest {
    /// The job.
    pub job_id: JobId,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// Where it stands.
    pub state: AttemptState,
    /// The number of its last report.
    pub sequence: u64,
}

/// The hub's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAccepted {
    /// The lease counts this long from the sending of the heartbeat.
    pub lease_seconds: Seconds,
}

/// The key that both sides derive from the join secret.
pub struct JoinKey(hmac::Key);

impl JoinKey {
    /// Derives the key with HKDF-SHA256, so that the secret itself is used nowhere else.
    #[must_use]
    pub fn derive(secret: &str) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"parley join v1");
        let pseudorandom = salt.extract(secret.as_bytes());
        let mut bytes = [0_u8; 32];
        if let Ok(okm) = pseudorandom.expand(&[b"hmac"], hkdf::HKDF_SHA256) {
            // Filling 32 bytes from a 32-byte HKDF output cannot fail.
            let _ = okm.fill(&mut bytes);
        }
        Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// The hub's proof over the transcript of the start and the challenge.
    #[must_use]
    pub fn hub_proof(&self, start: &JoinStart, challenge_id: &str, hub_nonce: &str, hub_key: &str) -> String {
        let tag = hmac::sign(&self.0, &transcript("hub", start, challenge_id, hub_nonce, hub_key, ""));
        URL_SAFE_NO_PAD.encode(tag)
    }

    /// Checks the hub's proof in constant time.
    #[must_use]
    pub fn hub_proof_holds(&self, start: &JoinStart, challenge: &JoinChallenge) -> bool {
        let message =
            transcript("hub", start, &challenge.challenge_id, &challenge.hub_nonce, &challenge.hub_key, "");
        URL_SAFE_NO_PAD
            .decode(&challenge.proof)
            .is_ok_and(|proof| hmac::verify(&self.0, &message, &proof).is_ok())
    }

    /// The worker's proof over a transcript made with [`worker_transcript`].
    #[must_use]
    pub fn worker_proof(&self, transcript: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, transcript))
    }

    /// Checks the worker's proof in constant time.
    #[must_use]
    pub fn worker_proof_holds(&self, transcript: &[u8], proof: &str) -> bool {
        URL_SAFE_NO_PAD.decode(proof).is_ok_and(|proof| hmac::verify(&self.0, transcript, &proof).is_ok())
    }
}

/// The bytes that the worker proves and signs when it finishes a join.
#[must_use]
pub fn worker_transcript(
    start: &JoinStart,
    challenge_id: &str,
    hub_nonce: &str,
    hub_key: &str,
    registration: &str,
) -> Vec<u8> {
    transcript("worker", start, challenge_id, hub_nonce, hub_key, registration)
}

fn transcript(
    label: &str,
    start: &JoinStart,
    challenge_id: &str,
    hub_nonce: &str,
    hub_key: &str,
    registration: &str,
) -> Vec<u8> {
    crate::signature::length_prefixed(&[
        b"parley join v1",
        label.as_bytes(),
        start.worker_key.as_bytes(),
        start.worker_nonce.as_bytes(),
        challenge_id.as_bytes(),
        hub_nonce.as_bytes(),
        hub_key.as_bytes(),
        registration.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> JoinStart {
        JoinStart { worker_key: "k".into(), worker_nonce: "n".into() }
    }

    #[test]
    fn a_proof_holds_for_its_own_secret_and_transcript_only() {
        let key = JoinKey::derive("secret");
        let message = worker_transcript(&start(), "c", "h", "k", "{}");
        let proof = key.worker_proof(&message);
        assert!(key.worker_proof_holds(&message, &proof));
        assert!(!JoinKey::derive("other").worker_proof_holds(&message, &proof));
        let moved = worker_transcript(&start(), "ch", "", "k", "{}");
        assert!(!key.worker_proof_holds(&moved, &proof));
        assert!(!key.worker_proof_holds(&message, "not base64!"));
    }

    #[test]
    fn a_hub_proof_is_never_a_worker_proof() {
        let key = JoinKey::derive("secret");
        let proof = key.hub_proof(&start(), "c", "h", "k");
        assert!(!key.worker_proof_holds(&worker_transcript(&start(), "c", "h", "k", ""), &proof));
    }
}
