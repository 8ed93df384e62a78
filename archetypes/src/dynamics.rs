//! How a site changes with time: a pure function of its seed and the tick, so that a hub and a worker
//! see the same queue without a word between them.
//!
//! A signal is a daily wave plus value noise: a random height at every multiple of a period, joined by
//! smooth steps. Near ticks have near values, and any tick is computed without the ones before it.

use crate::stream::unit_of;

/// Ticks of one simulated day, in both widths that are needed.
pub(crate) const DAY_TICKS: u32 = 86_400 / crate::TICK_SECONDS;
pub(crate) const DAY: u64 = DAY_TICKS as u64;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): one well-mixed number for each place.
fn mix(key: u64, place: u64) -> u64 {
    let mut z = key.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in [0, 1) that stays for `period` ticks and is then another one.
pub(crate) fn steady(key: u64, tick: u64, period: u64) -> f64 {
    unit_of(mix(key, tick / period))
}

/// Value noise in [-1, 1].
pub(crate) fn noise(key: u64, tick: u64, period: u64) -> f64 {
    let place = tick / period;
    let (from, to) = (unit_of(mix(key, place)), unit_of(mix(key, place.wrapping_add(1))));
    let way = fraction(tick % period, period);
    let smooth = way * way * (3.0 - 2.0 * way);
    2.0 * (from + (to - from) * smooth) - 1.0
}

/// The daily wave in [-1, 1].
fn day(tick: u64, phase: u64) -> f64 {
    libm::sin(std::f64::consts::TAU * fraction((tick % DAY + phase) % DAY, DAY))
}

fn fraction(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
    let fraction = part as f64 / whole as f64;
    fraction
}

/// The load of one group of nodes over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Where it is on average.
    pub(crate) base: f64,
    /// The key of its noise.
    pub(crate) key: u64,
    /// When its day begins, in ticks.
    pub(crate) phase: u64,
}

impl Load {
    /// The share of the group that is in use, in [0, 1].
    pub(crate) fn at(self, tick: u64) -> f64 {
        let slow = noise(self.key, tick, 360);
        let fast = noise(self.key ^ 1, tick, 45);
        (self.base + 0.08 * day(tick, self.phase) + 0.2 * slow + 0.08 * fast).clamp(0.0, 1.0)
    }
}

/// The share of nodes that are down: nearly none, with a bad spell now and then.
pub(crate) fn down(key: u64, tick: u64) -> f64 {
    let spell = noise(key, tick, 2 * DAY).max(0.0);
    0.06 * spell * spell * spell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_moves_smoothly_and_stays_in_range() {
        let load = Load { base: 0.8, key: 42, phase: 100 };
        let mut least: f64 = 1.0;
        let mut most: f64 = 0.0;
        for tick in 0..20_000 {
            let here = load.at(tick);
            assert!((0.0..=1.0).contains(&here));
            assert!((load.at(tick + 1) - here).abs() < 0.02, "a jump at {tick}");
            least = least.min(here);
            most = most.max(here);
        }
        assert!(least < 0.65 && most > 0.95, "{least} {most}");
    }

    #[test]
    fn any_tick_can_be_asked_for() {
        for tick in [0, u64::MAX - 1, u64::MAX] {
            assert!((0.0..=1.0).contains(&Load { base: 0.5, key: u64::MAX, phase: DAY - 1 }.at(tick)));
            assert!((0.0..=0.06).contains(&down(7, tick)));
            assert!((0.0..1.0).contains(&steady(7, tick, 1)));
        }
    }

    #[test]
    fn nodes_are_rarely_down() {
        let mean = (0..1_000).map(|place| down(9, place * 4_000)).sum::<f64>() / 1_000.0;
        assert!(mean < 0.02, "{mean}");
    }
}
