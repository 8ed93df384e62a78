//! The keys of one connection: an X25519 agreement, bound to who speaks with whom, and the seals that
//! follow from it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::signature::length_prefixed;
use ring::aead::{
    Aad, BoundKey as _, CHACHA20_POLY1305, NONCE_LEN, Nonce, NonceSequence, OpeningKey, SealingKey,
    UnboundKey,
};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::SystemRandom;

/// Keeps this agreement apart from every other use of the same keys.
const LABEL: &[u8] = b"parley link v1";

/// The two sides and what each brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parties<'a> {
    pub worker_id: &'a str,
    /// The worker's instance.
    pub boot_id: &'a str,
    /// The nonce of the worker's signed request.
    pub nonce: &'a str,
    /// The worker's ephemeral key, base64url.
    pub worker_key: &'a str,
    /// The hub's ephemeral key, base64url.
    pub hub_key: &'a str,
}

impl Parties<'_> {
    /// What the hub signs.
    pub(super) fn transcript(&self) -> Vec<u8> {
        length_prefixed(&[
            LABEL,
            self.worker_id.as_bytes(),
            self.boot_id.as_bytes(),
            self.nonce.as_bytes(),
            self.worker_key.as_bytes(),
            self.hub_key.as_bytes(),
        ])
    }
}

/// One side's ephemeral key.
pub(super) struct Ephemeral {
    private: EphemeralPrivateKey,
    public: String,
}

impl Ephemeral {
    pub(super) fn generate(random: &SystemRandom) -> Result<Self, Unspecified> {
        let private = EphemeralPrivateKey::generate(&X25519, random)?;
        let public = URL_SAFE_NO_PAD.encode(private.compute_public_key()?);
        Ok(Self { private, public })
    }

    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// The worker's seals.
    pub(super) fn into_worker_seals(self, parties: Parties<'_>) -> Result<Seals, Unspecified> {
        let (to_worker, to_hub) = self.agree(parties.hub_key, parties)?;
        Ok(Seals {
            sealing: SealingKey::new(to_hub, Numbers(0)),
            opening: OpeningKey::new(to_worker, Numbers(0)),
        })
    }

    /// The hub's seals.
    pub(super) fn into_hub_seals(self, parties: Parties<'_>) -> Result<Seals, Unspecified> {
        let (to_worker, to_hub) = self.agree(parties.worker_key, parties)?;
        Ok(Seals {
            sealing: SealingKey::new(to_worker, Numbers(0)),
            opening: OpeningKey::new(to_hub, Numbers(0)),
        })
    }

    /// The keys to the worker and to the hub.
    fn agree(self, theirs: &str, parties: Parties<'_>) -> Result<(UnboundKey, UnboundKey), Unspecified> {
        let theirs = URL_SAFE_NO_PAD.decode(theirs).map_err(|_| Unspecified)?;
        let theirs = UnparsedPublicKey::new(&X25519, theirs);
        let secret =
            agree_ephemeral(self.private, &theirs, |shared| Salt::new(HKDF_SHA256, LABEL).extract(shared))?;
        let transcript = parties.transcript();
        let key = |secret: &Prk, direction: &[u8]| {
            let info: [&[u8]; 2] = [direction, &transcript];
            Ok::<_, Unspecified>(UnboundKey::from(secret.expand(&info, &CHACHA20_POLY1305)?))
        };
        Ok((key(&secret, b"to worker")?, key(&secret, b"to hub")?))
    }
}

/// The seals of one side of a connection.
pub(crate) struct Seals {
    sealing: SealingKey<Numbers>,
    opening: OpeningKey<Numbers>,
}

impl Seals {
    /// What a seal adds to a message.
    pub(super) const OVERHEAD: usize = 16;

    /// Seals the next message of ours.
    pub(crate) fn seal(&mut self, mut message: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        self.sealing.seal_in_place_append_tag(Aad::empty(), &mut message)?;
        Ok(message)
    }

    /// Opens the next message of theirs.
    pub(crate) fn open(&mut self, mut message: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        let length = self.opening.open_in_place(Aad::empty(), &mut message)?.len();
        message.truncate(length);
        Ok(message)
    }
}

/// The seals of a worker and of its hub.
#[cfg(test)]
pub(crate) fn both_sides() -> (Seals, Seals) {
    tests::seals(|_| {})
}

/// The numbers of the messages of one direction.
struct Numbers(u64);

impl NonceSequence for Numbers {
    fn advance(&mut self) -> Result<Nonce, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.0.to_be_bytes());
        self.0 = self.0.checked_add(1).ok_or(Unspecified)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides' seals; each side may think differently of the parties.
    pub(super) fn seals(change: impl FnOnce(&mut Parties<'_>)) -> (Seals, Seals) {
        let random = SystemRandom::new();
        let (worker, hub) = (Ephemeral::generate(&random).unwrap(), Ephemeral::generate(&random).unwrap());
        let (worker_key, hub_key) = (worker.public().to_owned(), hub.public().to_owned());
        let parties =
            Parties { worker_id: "w", boot_id: "b", nonce: "n", worker_key: &worker_key, hub_key: &hub_key };
        let mut changed = parties;
        change(&mut changed);
        (worker.into_worker_seals(changed).unwrap(), hub.into_hub_seals(parties).unwrap())
    }

    #[test]
    fn what_one_side_seals_the_other_opens_once_and_in_order() {
        let (mut worker, mut hub) = seals(|_| {});
        let first = hub.seal(b"first".to_vec()).unwrap();
        let second = hub.seal(b"second".to_vec()).unwrap();
        assert_eq!(worker.open(first.clone()).unwrap(), b"first");
        assert!(worker.open(first.clone()).is_err());
        let (mut worker, mut hub) = seals(|_| {});
        let _lost = hub.seal(b"first".to_vec()).unwrap();
        let kept = hub.seal(b"second".to_vec()).unwrap();
        assert!(worker.open(kept).is_err());
        assert_ne!(first[..5], second[..5]);
    }

    #[test]
    fn an_altered_or_returned_message_does_not_open() {
        for place in 0..5 + Seals::OVERHEAD {
            let (mut worker, mut hub) = seals(|_| {});
            let mut sealed = hub.seal(b"hello".to_vec()).unwrap();
            sealed[place] ^= 1;
            assert!(worker.open(sealed).is_err(), "{place}");
        }
        let (mut worker, mut hub) = seals(|_| {});
        let own = hub.seal(b"hello".to_vec()).unwrap();
        assert!(hub.open(own).is_err());
        assert!(worker.open(Vec::new()).is_err());
    }

    #[test]
    fn another_worker_instance_or_request_has_other_keys() {
        let changes: [fn(&mut Parties<'_>); 3] =
            [|p| p.worker_id = "x", |p| p.boot_id = "x", |p| p.nonce = "x"];
        for change in changes {
            let (mut worker, mut hub) = seals(change);
            let sealed = hub.seal(b"hello".to_vec()).unwrap();
            assert!(worker.open(sealed).is_err());
        }
    }

    #[test]
    fn keys_that_give_everybody_the_same_secret_are_refused() {
        let random = SystemRandom::new();
        for bad in [URL_SAFE_NO_PAD.encode([0; 32]), URL_SAFE_NO_PAD.encode([1; 31]), "?".to_owned()] {
            let own = Ephemeral::generate(&random).unwrap();
            let parties =
                Parties { worker_id: "w", boot_id: "b", nonce: "n", worker_key: &bad, hub_key: "unused" };
            assert!(own.into_hub_seals(parties).is_err());
        }
    }
}
