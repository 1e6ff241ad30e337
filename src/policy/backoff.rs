//! Exponential backoff: `min(initial * multiplier^n, max)`, to the letter of the seed, and jitter
//! around it.

use std::time::Duration;

/// An exponential schedule of waits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The wait before retry 0.
    pub initial: Duration,
    /// What each wait is multiplied by to give the next.
    pub multiplier: f64,
    /// No wait is longer.
    pub max: Duration,
}

impl Backoff {
    /// The wait before retry `n`, counted from 0 (seed:
    /// `min(initial_backoff * multiplier^attempt, max_backoff)`). Saturates at `max` however large
    /// `n` is.
    pub fn delay(&self, n: u32) -> Duration {
        let exponent = i32::try_from(n).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            // A schedule made of nonsense waits for nothing.
            Duration::try_from_secs_f64(seconds).unwrap_or_default()
        } else if self.initial.is_zero() {
            Duration::ZERO
        } else {
            self.max
        }
    }
}

/// Spreads `delay` evenly over `delay * (1 - jitter) ..= delay * (1 + jitter)`; `unit` is a random
/// number in `0.0..1.0`.
pub(crate) fn jittered(delay: Duration, jitter: f64, unit: f64) -> Duration {
    scaled(delay, 1.0 + jitter * (2.0 * unit - 1.0))
}

/// `factor` times `delay`: the longest there is where that is longer still, nothing where it makes
/// no sense.
pub(super) fn scaled(delay: Duration, factor: f64) -> Duration {
    let seconds = delay.as_secs_f64() * factor;
    if seconds >= Duration::MAX.as_secs_f64() {
        return Duration::MAX;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Backoff =
        Backoff { initial: Duration::from_secs(1), multiplier: 2.0, max: Duration::from_secs(10) };

    #[test]
    fn the_seeds_waits_are_1_2_4_8_10_10() {
        let waits: Vec<u64> = (0..6).map(|n| SEED.delay(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn the_seeds_custom_example_grows_by_half_from_2_to_20_seconds() {
        let custom = Backoff {
            initial: Duration::from_secs(2),
            multiplier: 1.5,
            max: Duration::from_secs(20),
        };
        let waits: Vec<f64> = (0..7).map(|n| custom.delay(n).as_secs_f64()).collect();
        assert_eq!(waits, [2.0, 3.0, 4.5, 6.75, 10.125, 15.1875, 20.0]);
    }

    #[test]
    fn huge_exponents_saturate() {
        assert_eq!(SEED.delay(u32::MAX), SEED.max);
        let zero = Backoff { initial: Duration::ZERO, ..SEED };
        assert_eq!(zero.delay(u32::MAX), Duration::ZERO);
        let long = Backoff { max: Duration::MAX, ..SEED };
        assert_eq!(long.delay(100_000), Duration::MAX);
    }

    #[test]
    fn a_schedule_without_sense_or_end_still_gives_a_wait() {
        for multiplier in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            for (initial, max) in
                [(Duration::MAX, Duration::MAX), (Duration::from_secs(1), Duration::ZERO)]
            {
                let odd = Backoff { initial, multiplier, max };
                assert!((0..10).all(|n| odd.delay(n) <= max.max(initial)), "{odd:?}");
            }
        }
        for jitter in [0.0, 1.0, 1e300, f64::NAN, -5.0] {
            jittered(Duration::MAX, jitter, 0.9);
        }
        assert_eq!(jittered(Duration::MAX, 0.5, 0.9), Duration::MAX);
    }

    #[test]
    fn jitter_zero_is_the_formula_and_a_fifth_stays_within_a_fifth() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0.0, 0.9), second);
        assert_eq!(jittered(second, 0.2, 0.0), Duration::from_millis(800));
        assert_eq!(jittered(second, 0.2, 0.5), second);
        assert!(jittered(second, 0.2, 0.999) < Duration::from_millis(1_200));
    }
}
