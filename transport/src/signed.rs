//! Signed requests on HTTP: the headers that carry a signature, signing on the way out, checking on the
//! way in.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::clock::Clock;
use protocol::error::ErrorCode;
use protocol::signature::{
    HEADER_NONCE, HEADER_SENDER, HEADER_SIGNATURE, HEADER_TIME, RequestParts, SignatureError, SignedHeaders,
    SigningKey,
};
use protocol::units::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::admission::{Admission, Incoming, Rejection};
use crate::nonces::{NonceError, NonceStore};
use crate::sender::Sender;

/// Longer header values are refused unread: the longest honest one is an 86-character signature.
const LONGEST_VALUE: usize = 128;

/// Signs requests as one sender for one receiver. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Who signs: a worker id, or `hub`.
    pub sender: String,
    /// Who it is for: a worker id, or `hub`.
    pub audience: String,
}

impl Signer {
    /// The headers that sign one request; `target` is path and query as sent.
    #[must_use]
    pub fn sign(
        &self,
        random: &SystemRandom,
        now: Timestamp,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> [(HeaderName, HeaderValue); 4] {
        let parts = RequestParts { method, path: target, body, audience: &self.audience };
        let signed = SignedHeaders::sign(&self.key, random, &self.sender, now, parts);
        let value =
            |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        [
            (HeaderName::from_static(HEADER_SENDER), value(signed.sender)),
            (HeaderName::from_static(HEADER_TIME), HeaderValue::from(signed.time.as_millis())),
            (HeaderName::from_static(HEADER_NONCE), value(signed.nonce)),
            (HeaderName::from_static(HEADER_SIGNATURE), value(signed.signature)),
        ]
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} to {})", self.sender, self.audience)
    }
}

/// Reads the signature of a request. A header that is missing, repeated, over-long or malformed makes
/// the whole request unsigned.
pub fn read_headers(headers: &HeaderMap) -> Result<SignedHeaders, SignatureError> {
    let one = |name: &str| -> Result<String, SignatureError> {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if value.len() <= LONGEST_VALUE => {
                value.to_str().map(str::to_owned).map_err(|_| SignatureError::Unsigned)
            }
            _ => Err(SignatureError::Unsigned),
        }
    };
    let time = one(HEADER_TIME)?;
    // Only the form that a signer writes: "+5" or "05" would be a second spelling of the same time.
    let millis: i64 = time.parse().map_err(|_| SignatureError::Unsigned)?;
    if millis.to_string() != time {
        return Err(SignatureError::Unsigned);
    }
    Ok(SignedHeaders {
        sender: one(HEADER_SENDER)?,
        time: Timestamp::from_millis(millis),
        nonce: one(HEADER_NONCE)?,
        signature: one(HEADER_SIGNATURE)?,
    })
}

/// Why a signed request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The nonce.
    #[error(transparent)]
    Nonce(#[from] NonceError),
}

impl From<VerifyError> for Rejection {
    fn from(error: VerifyError) -> Self {
        match error {
            // Unknown senders, missing and wrong signatures look the same from outside.
            VerifyError::Signature(SignatureError::Unsigned | SignatureError::Wrong) => {
                Self::unauthenticated()
            }
            VerifyError::Signature(SignatureError::Skew) | VerifyError::Nonce(NonceError::BeforeStart) => {
                Self::new(ErrorCode::Skew, error.to_string())
            }
            VerifyError::Signature(SignatureError::Replay) | VerifyError::Nonce(NonceError::Seen) => {
                Self::new(ErrorCode::Replay, error.to_string())
            }
            VerifyError::Nonce(NonceError::Full) => Self::new(ErrorCode::Busy, error.to_string()),
        }
    }
}

/// Checks a signed request completely and returns its sender: signature, clock, and that it is new.
///
/// `public_key` finds the key of a sender; `None` means that the sender is not known.
pub fn verify_signed(
    headers: &HeaderMap,
    parts: RequestParts<'_>,
    public_key: impl FnOnce(&str) -> Option<String>,
    now: Timestamp,
    nonces: &NonceStore,
) -> Result<String, VerifyError> {
    let signed = read_headers(headers)?;
    let key = public_key(&signed.sender).ok_or(SignatureError::Wrong)?;
    signed.verify(&key, now, parts)?;
    nonces.record(&signed.sender, &signed.nonce, signed.time, now)?;
    Ok(signed.sender)
}

/// Finds the public key of a sender (base64url), if it is known.
pub type PublicKeys = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Admits requests that a known sender signed for us.
pub struct SignedAdmission {
    audience: String,
    keys: Arc<PublicKeys>,
    nonces: Arc<NonceStore>,
    clock: Arc<dyn Clock>,
}

impl SignedAdmission {
    /// `audience` is who we are: a worker id, or `hub`.
    pub fn new(
        audience: impl Into<String>,
        keys: Arc<PublicKeys>,
        nonces: Arc<NonceStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { audience: audience.into(), keys, nonces, clock }
    }
}

#[async_trait]
impl Admission for SignedAdmission {
    async fn admit(&self, incoming: Incoming<'_>) -> Result<Sender, Rejection> {
        let parts = RequestParts {
            method: incoming.method.as_str(),
            path: incoming.target,
            body: incoming.body,
            audience: &self.audience,
        };
        let sender =
            verify_signed(incoming.headers, parts, |id| (self.keys)(id), self.clock.now(), &self.nonces)?;
        Ok(Sender::signed(sender).from_peer(incoming.peer))
    }
}

/// Whether a request claims to be signed.
#[must_use]
pub fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER_SIGNATURE)
}

/// 16 random bytes as text, for request ids.
#[must_use]
pub fn random_text() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness ids repeat, which harms nothing but the reading of logs.
    let _ = SystemRandom::new().fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let (key, _) = SigningKey::generate(&SystemRandom::new()).unwrap();
        Signer { key: Arc::new(key), sender: "hub".into(), audience: "w".into() }
    }

    fn headers(signer: &Signer, body: &[u8], now: Timestamp) -> HeaderMap {
        signer.sign(&SystemRandom::new(), now, "POST", "/mcp?x=1", body).into_iter().collect()
    }

    fn check(
        headers: &HeaderMap,
        signer: &Signer,
        body: &[u8],
        nonces: &NonceStore,
    ) -> Result<String, VerifyError> {
        let parts = RequestParts { method: "POST", path: "/mcp?x=1", body, audience: "w" };
        let key = signer.key.public().to_owned();
        verify_signed(
            headers,
            parts,
            |id| (id == "hub").then_some(key),
            Timestamp::from_millis(1_000),
            nonces,
        )
    }

    #[test]
    fn a_signed_request_works_once() {
        let (signer, nonces) = (signer(), NonceStore::new(Timestamp::from_millis(0)));
        let headers = headers(&signer, b"{}", Timestamp::from_millis(900));
        assert_eq!(check(&headers, &signer, b"{}", &nonces), Ok("hub".to_owned()));
        assert_eq!(check(&headers, &signer, b"{}", &nonces), Err(NonceError::Seen.into()));
    }

    #[test]
    fn a_wrong_signature_leaves_no_nonce_behind() {
        let (signer, nonces) = (signer(), NonceStore::new(Timestamp::from_millis(0)));
        let headers = headers(&signer, b"{}", Timestamp::from_millis(900));
        assert_eq!(check(&headers, &signer, b"[]", &nonces), Err(SignatureError::Wrong.into()));
        assert!(nonces.is_empty());
    }

    #[test]
    fn repeated_and_odd_headers_are_unsigned() {
        let signer = signer();
        let good = headers(&signer, b"", Timestamp::from_millis(900));
        assert!(read_headers(&good).is_ok());
        for name in [HEADER_SENDER, HEADER_TIME, HEADER_NONCE, HEADER_SIGNATURE] {
            let mut missing = good.clone();
            missing.remove(name);
            assert_eq!(read_headers(&missing), Err(SignatureError::Unsigned), "{name}");
            let mut repeated = good.clone();
            repeated.append(name, good[name].clone());
            assert_eq!(read_headers(&repeated), Err(SignatureError::Unsigned), "{name}");
            let mut long = good.clone();
            long.insert(name, HeaderValue::try_from("9".repeat(LONGEST_VALUE + 1)).unwrap());
            assert_eq!(read_headers(&long), Err(SignatureError::Unsigned), "{name}");
        }
        for time in ["+900", "0900", "", "9e2", " 900"] {
            let mut odd = good.clone();
            odd.insert(HEADER_TIME, HeaderValue::try_from(time).unwrap());
            assert_eq!(read_headers(&odd), Err(SignatureError::Unsigned), "{time:?}");
        }
    }
}
