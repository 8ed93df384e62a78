//! Nonces that were used: a signed request works once.
//!
//! The time of signing is signed too, so a repeated request always names the same time, and only nonces
//! of that time have to be compared. They are kept in slots of 30 s and a slot is dropped as soon as no
//! request of its time would be accepted any more.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use protocol::signature::CLOCK_WINDOW_MILLIS;
use protocol::units::Timestamp;

const SLOT_MILLIS: i64 = 30_000;

/// How many nonces a store remembers unless told otherwise: the whole window at 4,000 requests a second.
pub const DEFAULT_CAPACITY: usize = 1_000_000;

/// Why a nonce is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// It was used.
    #[error("the nonce was used before")]
    Seen,
    /// It is older than the store, which cannot tell whether it was used.
    #[error("the request was signed before this server started")]
    BeforeStart,
    /// The store is full.
    #[error("too many requests within the clock window")]
    Full,
}

/// The nonces that were used within the clock window. An empty store takes next to no memory.
#[derive(Debug)]
pub struct NonceStore {
    started: Timestamp,
    capacity: usize,
    hashing: RandomState,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    slots: BTreeMap<i64, HashSet<(u64, u64)>>,
    count: usize,
}

impl NonceStore {
    /// An empty store. Requests signed before `started` are refused: a former process may have seen them.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self::with_capacity(started, DEFAULT_CAPACITY)
    }

    /// An empty store that remembers at most `capacity` nonces.
    #[must_use]
    pub fn with_capacity(started: Timestamp, capacity: usize) -> Self {
        Self { started, capacity, hashing: RandomState::new(), used: Mutex::default() }
    }

    /// Records a nonce, to be called once the signature holds: strangers must not fill the store.
    ///
    /// Two keyed 64-bit hashes stand for sender and nonce; a stranger cannot aim for a collision.
    pub fn record(
        &self,
        sender: &str,
        nonce: &str,
        signed: Timestamp,
        now: Timestamp,
    ) -> Result<(), NonceError> {
        if signed < self.started {
            return Err(NonceError::BeforeStart);
        }
        let key = (self.hashing.hash_one((sender, nonce)), self.hashing.hash_one((nonce, sender, 1_u8)));
        let slot = signed.as_millis().div_euclid(SLOT_MILLIS);
        let oldest = now.as_millis().saturating_sub(CLOCK_WINDOW_MILLIS).div_euclid(SLOT_MILLIS);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = used.slots.first_entry().filter(|first| *first.key() < oldest) {
            let dropped = first.remove().len();
            used.count = used.count.saturating_sub(dropped);
        }
        if used.slots.get(&slot).is_some_and(|nonces| nonces.contains(&key)) {
            return Err(NonceError::Seen);
        }
        if used.count >= self.capacity {
            return Err(NonceError::Full);
        }
        used.slots.entry(slot).or_default().insert(key);
        used.count += 1;
        Ok(())
    }

    /// How many nonces are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_nonce_works_once_for_each_sender() {
        let store = NonceStore::new(at(0));
        assert_eq!(store.record("a", "n", at(5), at(5)), Ok(()));
        assert_eq!(store.record("a", "n", at(5), at(100_000)), Err(NonceError::Seen));
        assert_eq!(store.record("b", "n", at(5), at(5)), Ok(()));
    }

    #[test]
    fn what_is_older_than_the_store_is_refused() {
        let store = NonceStore::new(at(1_000));
        assert_eq!(store.record("a", "n", at(999), at(1_001)), Err(NonceError::BeforeStart));
        assert_eq!(store.record("a", "n", at(1_000), at(1_001)), Ok(()));
    }

    #[test]
    fn a_full_store_refuses_until_its_slots_expire() {
        let store = NonceStore::with_capacity(at(0), 2);
        for nonce in ["1", "2"] {
            assert_eq!(store.record("a", nonce, at(0), at(0)), Ok(()));
        }
        assert_eq!(store.record("a", "3", at(0), at(0)), Err(NonceError::Full));
        let later = at(CLOCK_WINDOW_MILLIS + SLOT_MILLIS);
        assert_eq!(store.record("a", "3", later, later), Ok(()));
        assert_eq!(store.len(), 1);
    }

    proptest! {
        /// As long as a request would pass the clock check, its nonce is remembered.
        #[test]
        fn no_nonce_works_twice_within_the_window(
            requests in prop::collection::vec((0_i64..600_000, -120_000_i64..=120_000, 0_u8..4), 1..60),
        ) {
            let store = NonceStore::new(at(-1_000_000));
            let mut accepted = HashSet::new();
            let mut requests = requests;
            requests.sort_by_key(|request| request.0);
            for (now, skew, nonce) in requests {
                let signed = now + skew;
                let fresh = accepted.insert((signed, nonce));
                let result = store.record("a", &format!("{signed}-{nonce}"), at(signed), at(now));
                prop_assert_eq!(result.is_ok(), fresh);
            }
        }
    }
}
