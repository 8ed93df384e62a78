//! Randomness as an argument: the operating system's in a real hub, a seeded stream in tests.

use std::sync::{Mutex, PoisonError};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

/// Where identifiers and nonces come from.
pub struct Entropy(Mutex<ChaCha20Rng>);

impl Entropy {
    /// A stream that starts from the operating system's randomness.
    pub fn from_system() -> Result<Self, ring::error::Unspecified> {
        let mut seed = [0_u8; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)?;
        Ok(Self(Mutex::new(ChaCha20Rng::from_seed(seed))))
    }

    /// The same stream for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }

    /// 128 random bits.
    pub fn draw(&self) -> u128 {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())
    }
}
