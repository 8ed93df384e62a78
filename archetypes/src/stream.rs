//! Seeded randomness that no release and no platform may change: ChaCha20 keyed with SHA-256 of
//! length-prefixed names, own range reduction, `libm` for everything transcendental.

use protocol::signature::length_prefixed;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use ring::digest::{SHA256, digest};

use crate::VERSION;

/// Whose randomness it is: every stream of a site is keyed with its worker's name and its seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) worker: &'a str,
    pub(crate) seed: u64,
}

impl Origin<'_> {
    /// The site's stream of this name.
    pub(crate) fn stream(self, name: &str) -> Stream {
        Stream::new(&[self.worker.as_bytes(), &self.seed.to_be_bytes(), name.as_bytes()])
    }

    /// One draw of the site for a name and details of the moment.
    pub(crate) fn hash(self, name: &str, detail: &[u8]) -> u64 {
        hash64(&[self.worker.as_bytes(), &self.seed.to_be_bytes(), name.as_bytes(), detail])
    }
}

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

    /// A level in [0, 1] near `mean`: each provider drifts from its site by its own volatility.
    pub(crate) fn drift(&mut self, mean: f64) -> f64 {
        let volatility = 0.05 + 0.1 * self.unit();
        (mean + volatility * self.normal()).clamp(0.0, 1.0)
    }

    /// The option at a level of a list that is sorted from little to much.
    pub(crate) fn pick_at<'a, T>(&mut self, options: &'a [T], level: f64) -> Option<&'a T> {
        let last = options.len().checked_sub(1)?;
        let near = (level + 0.15 * self.normal()).clamp(0.0, 1.0);
        let place = libm::round(near * f64::from(u32::try_from(last).unwrap_or(u32::MAX)));
        options.get(whole(place) as usize)
    }
}

/// A number of things as a count: the fraction is dropped, negative ones are 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
pub(crate) fn whole(value: f64) -> u32 {
    value as u32
}

/// The value at a level between two ends.
pub(crate) fn lerp((low, high): (u32, u32), level: f64) -> u32 {
    let span = f64::from(high.saturating_sub(low));
    low + whole(libm::round(span * level.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_pinned() {
        let mut stream = Origin { worker: "w", seed: 7 }.stream("test");
        let drawn: Vec<u32> = (0..8).map(|_| stream.between(10, 29)).collect();
        assert_eq!(drawn, PINNED);
        assert_eq!(stream.normal().to_bits(), PINNED_NORMAL);
    }

    // Computed apart from this crate, with ChaCha20 as RFC 8439 gives it.
    const PINNED: [u32; 8] = [18, 19, 15, 10, 15, 23, 11, 28];
    const PINNED_NORMAL: u64 = 4_611_337_962_352_009_586;

    #[test]
    fn unit_draws_are_below_one() {
        assert!(unit_of(u64::MAX) < 1.0);
        assert_eq!(unit_of(0), 0.0);
    }

    #[test]
    fn streams_of_other_names_differ() {
        let origin = Origin { worker: "w", seed: 7 };
        assert_ne!(origin.stream("a").bits(), origin.stream("b").bits());
        assert_ne!(origin.hash("ab", b"c"), origin.hash("a", b"bc"));
        assert_ne!(origin.hash("a", b""), Origin { seed: 8, ..origin }.hash("a", b""));
    }

    #[test]
    fn whole_numbers_are_even_and_stay_in_range() {
        let mut stream = Stream::new(&[b"even"]);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[stream.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.between(5, 5), 5);
    }

    #[test]
    fn normal_deviates_have_mean_0_and_deviation_1() {
        let mut stream = Stream::new(&[b"normal"]);
        let drawn: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
