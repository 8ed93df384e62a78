//! Seeded randomness that no release and no platform may change: ChaCha20 keyed with SHA-256 of
//! length-prefixed names, own range reduction, `libm` for everything transcendental.

use protocol::signature::length_prefixed;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use ring::digest::{SHA256, digest};

use crate::VERSION;

/// SHA-256 of the version of the recipes and the names, each with its length in front.
fn key(names: &[&[u8]]) -> [u8; 32] {
    let version = VERSION.to_be_bytes();
    let mut fields: Vec<&[u8]> = Vec::with_capacity(names.len() + 2);
    fields.push(b"parley archetypes");
    fields.push(&version);
    fields.extend_from_slice(names);
    let mut key = [0_u8; 32];
    key.copy_from_slice(digest(&SHA256, &length_prefixed(&fields)).as_ref());
    key
}

/// The first eight bytes of the key that the names give, for single draws.
pub(crate) fn hash64(names: &[&[u8]]) -> u64 {
    let key = key(names);
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&key[..8]);
    u64::from_be_bytes(bytes)
}

/// The upper 53 bits as a number in [0, 1).
pub(crate) fn unit_of(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
    let numerator = (bits >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

/// One stream of random numbers, independent of every stream with other names.
pub(crate) struct Stream(ChaCha20Rng);

impl Stream {
    /// The stream of these names.
    pub(crate) fn new(names: &[&[u8]]) -> Self {
        Self(ChaCha20Rng::from_seed(key(names)))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        unit_of(self.bits())
    }

    /// A whole number below `limit`, each equally likely; 0 when `limit` is 0.
    ///
    /// Lemire's multiplication with rejection (2019), written out so that its results stay.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        let threshold = limit.wrapping_neg().checked_rem(limit).unwrap_or(0);
        loop {
            let product = (self.bits() >> 32) * u64::from(limit);
            let low = product & 0xffff_ffff;
            if low >= u64::from(threshold) {
                #[expect(clippy::cast_possible_truncation, reason = "the upper half of a 64-bit product")]
                return (product >> 32) as u32;
            }
        }
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A normal deviate of mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// One of the options, each equally likely.
    pub(crate) fn pick<'a, T>(&mut self, options: &'a [T]) -> Option<&'a T> {
        let count = u32::try_from(options.len()).unwrap_or(u32::MAX);
        options.get(self.below(count) as usize)
    }
}
