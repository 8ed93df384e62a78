//! Signed requests: every request between a worker and its hub after the join carries an Ed25519
//! signature over method, path, body digest, sender, receiver, time and nonce.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::units::Timestamp;

/// Header with who signed: a worker id, or `hub`.
pub const HEADER_SENDER: &str = "x-parley-sender";
/// Header with the time of signing in milliseconds since the epoch.
pub const HEADER_TIME: &str = "x-parley-time";
/// Header with 16 random bytes, base64url.
pub const HEADER_NONCE: &str = "x-parley-nonce";
/// Header with the signature, base64url.
pub const HEADER_SIGNATURE: &str = "x-parley-signature";

/// The name that the hub signs under.
pub const HUB_SENDER: &str = "hub";

/// How far a signature's time may be from the receiver's clock.
pub const CLOCK_WINDOW_MILLIS: i64 = 120_000;

/// Why a signed request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or malformed.
    #[error("the request is not signed")]
    Unsigned,
    /// The signature does not fit the request and the sender's key.
    #[error("the signature does not fit the request")]
    Wrong,
    /// The time of signing is too far from the receiver's clock.
    #[error("the clocks differ by more than 120 s")]
    Skew,
    /// The nonce was used before.
    #[error("the request was already used")]
    Replay,
}

/// A key pair could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not a valid Ed25519 key in PKCS#8 form")]
pub struct BadKey;

/// An Ed25519 key that can sign.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: String,
}

impl SigningKey {
    /// Makes a new key and returns it with its PKCS#8 bytes, which the caller keeps secret.
    pub fn generate(random: &SystemRandom) -> Result<(Self, Vec<u8>), BadKey> {
        let document = Ed25519KeyPair::generate_pkcs8(random).map_err(|_| BadKey)?;
        let bytes = document.as_ref().to_vec();
        Ok((Self::from_pkcs8(&bytes)?, bytes))
    }

    /// The key that belongs to 32 secret bytes, for keys that are derived rather than kept.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadKey)?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    /// Reads a key from its PKCS#8 bytes.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| BadKey)?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    /// The public half, base64url.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Signs bytes; base64url.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(message))
    }
}

/// Whether a signature (base64url) of a message fits a public key (base64url).
#[must_use]
pub fn verify(public: &str, message: &[u8], signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (URL_SAFE_NO_PAD.decode(public), URL_SAFE_NO_PAD.decode(signature)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, key).verify(message, &signature).is_ok()
}

/// The four header values of one signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// Who signed.
    pub sender: String,
    /// When, in milliseconds since the epoch.
    pub time: Timestamp,
    /// 16 random bytes, base64url.
    pub nonce: String,
    /// The signature, base64url.
    pub signature: String,
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// Path and query, as sent.
    pub path: &'a str,
    /// The whole body.
    pub body: &'a [u8],
    /// Who the request is for: a worker id, or `hub`.
    pub audience: &'a str,
}

impl SignedHeaders {
    /// Signs a request as `sender`, with a fresh nonce.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        random: &SystemRandom,
        sender: &str,
        now: Timestamp,
        parts: RequestParts<'_>,
    ) -> Self {
        let mut nonce = [0_u8; 16];
        // Without randomness the nonce stays zero and the receiver refuses the second request as a replay.
        let _ = random.fill(&mut nonce);
        let nonce = URL_SAFE_NO_PAD.encode(nonce);
        let signature = key.sign(&message(sender, now, &nonce, parts));
        Self { sender: sender.to_owned(), time: now, nonce, signature }
    }

    /// Checks the signature and the time. Whether the nonce is new is the receiver's to check.
    pub fn verify(
        &self,
        public: &str,
        now: Timestamp,
        parts: RequestParts<'_>,
    ) -> Result<(), SignatureError> {
        let message = message(&self.sender, self.time, &self.nonce, parts);
        if !verify(public, &message, &self.signature) {
            return Err(SignatureError::Wrong);
        }
        let skew = now.as_millis().saturating_sub(self.time.as_millis()).unsigned_abs();
        if skew > CLOCK_WINDOW_MILLIS.unsigned_abs() {
            return Err(SignatureError::Skew);
        }
        Ok(())
    }
}

fn message(sender: &str, time: Timestamp, nonce: &str, parts: RequestParts<'_>) -> Vec<u8> {
    length_prefixed(&[
        b"parley request v1",
        parts.method.as_bytes(),
        parts.path.as_bytes(),
        digest(&SHA256, parts.body).as_ref(),
        sender.as_bytes(),
        parts.audience.as_bytes(),
        time.as_millis().to_string().as_bytes(),
        nonce.as_bytes(),
    ])
}

/// Joins fields with their lengths in front, so that different fields always give different bytes.
#[must_use]
pub fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(fields.iter().map(|field| field.len() + 8).sum());
    for field in fields {
        joined.extend_from_slice(&(field.len() as u64).to_be_bytes());
        joined.extend_from_slice(field);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &[u8]) -> RequestParts<'_> {
        RequestParts { method: "POST", path: "/v1/heartbeat", body, audience: HUB_SENDER }
    }

    #[test]
    fn a_signature_holds_for_its_own_request_only() {
        let random = SystemRandom::new();
        let (key, _) = SigningKey::generate(&random).unwrap();
        let now = Timestamp::from_millis(1_000_000);
        let signed = SignedHeaders::sign(&key, &random, "w", now, parts(b"{}"));
        assert_eq!(signed.verify(key.public(), now, parts(b"{}")), Ok(()));
        assert_eq!(signed.verify(key.public(), now, parts(b"[]")), Err(SignatureError::Wrong));
        let elsewhere = RequestParts { path: "/v1/leave", ..parts(b"{}") };
        assert_eq!(signed.verify(key.public(), now, elsewhere), Err(SignatureError::Wrong));
        let late = Timestamp::from_millis(1_000_000 + 120_001);
        assert_eq!(signed.verify(key.public(), late, parts(b"{}")), Err(SignatureError::Skew));
        let (other, _) = SigningKey::generate(&random).unwrap();
        assert_eq!(signed.verify(other.public(), now, parts(b"{}")), Err(SignatureError::Wrong));
    }

    #[test]
    fn fields_cannot_be_moved_across_their_borders() {
        assert_ne!(length_prefixed(&[b"ab", b"c"]), length_prefixed(&[b"a", b"bc"]));
    }
}
