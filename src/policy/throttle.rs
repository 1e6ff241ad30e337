//! The retry throttle: keeps retries a fraction of calls, so that a struggling server is not buried.
//!
//! Two rules. *Share*, the default: each call earns `ratio` of a retry and time earns `floor` a second, so that a quiet
//! client always gets its retries while a storm is held near `1 + ratio`. *Bucket*: gRPC A6's tokens, when configured.
//! Only statuses that the peer sent are throttled; a first attempt never is.

use std::time::{Duration, Instant};

/// Which throttle, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThrottleRule {
    /// Retries are not throttled.
    Off,
    /// At most `ratio` retries per call plus `floor` a second; up to five seconds of the floor, at least one
    /// retry, may be saved up.
    Share {
        /// Retries earned by each call.
        ratio: f64,
        /// Retries earned by each second.
        floor: f64,
    },
    /// gRPC A6: each retryable failure costs a token, each success earns `token_ratio`; above half of `max_tokens`, retries go.
    Bucket {
        /// The bucket's size.
        max_tokens: f64,
        /// What a success earns.
        token_ratio: f64,
    },
}

/// How many seconds of the floor can be saved up: the time to a full allowance.
const SAVED_SECONDS: f64 = 5.0;

/// Thousandths of a token, so that nothing drifts.
const MILLI: f64 = 1_000.0;

/// A throttle at work, shared by all calls of a channel.
#[derive(Debug)]
pub struct Throttle {
    rule: ThrottleRule,
    milli: i64,
    refilled: Instant,
}

impl Throttle {
    /// Starts full.
    pub fn new(rule: ThrottleRule, now: Instant) -> Self {
        let mut throttle = Self { rule, milli: 0, refilled: now };
        throttle.milli = throttle.capacity();
        throttle
    }

    fn capacity(&self) -> i64 {
        match self.rule {
            // A share that is ever to be paid out must be able to reach one retry.
            ThrottleRule::Share { ratio, floor } if ratio + floor > 0.0 => {
                ((floor * SAVED_SECONDS).max(1.0) * MILLI) as i64
            }
            ThrottleRule::Off | ThrottleRule::Share { .. } => 0,
            ThrottleRule::Bucket { max_tokens, .. } => (max_tokens * MILLI) as i64,
        }
    }

    fn add(&mut self, milli: i64) {
        self.milli = self.milli.saturating_add(milli).clamp(0, self.capacity());
    }

    /// A call was submitted.
    pub fn call_started(&mut self) {
        if let ThrottleRule::Share { ratio, .. } = self.rule {
            self.add((ratio * MILLI) as i64);
        }
    }

    /// A call succeeded.
    pub fn call_succeeded(&mut self) {
        if let ThrottleRule::Bucket { token_ratio, .. } = self.rule {
            self.add((token_ratio * MILLI) as i64);
        }
    }

    /// The peer answered with a retryable status, or forbade retries by pushback (A6 charges both).
    pub fn peer_failed(&mut self) {
        if let ThrottleRule::Bucket { .. } = self.rule {
            self.add(-MILLI as i64);
        }
    }

    /// Whether a retry may go now; if so it is paid for.
    pub fn take(&mut self, now: Instant) -> bool {
        match self.rule {
            ThrottleRule::Off => true,
            ThrottleRule::Bucket { .. } => self.milli > self.capacity() / 2,
            ThrottleRule::Share { floor, .. } => {
                self.refill(now, floor);
                let granted = self.milli >= MILLI as i64;
                if granted {
                    self.milli -= MILLI as i64;
                }
                granted
            }
        }
    }

    /// Earns whole thousandths only and keeps the rest of the time for later.
    fn refill(&mut self, now: Instant, floor: f64) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let earned = (elapsed.as_secs_f64() * floor * MILLI).floor();
        if earned < 1.0 {
            return;
        }
        self.add(earned as i64);
        let paid = Duration::try_from_secs_f64(earned / (floor * MILLI)).unwrap_or(elapsed).min(elapsed);
        self.refilled = self.refilled.checked_add(paid).unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: ThrottleRule = ThrottleRule::Share { ratio: 0.2, floor: 10.0 };

    #[test]
    fn a_storm_is_held_near_a_fifth_and_ten_a_second() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SHARE, start);
        let mut granted = 0;
        for n in 0..6_000u64 {
            throttle.call_started();
            for _ in 0..3 {
                granted += u64::from(throttle.take(start + Duration::from_millis(5 * n)));
            }
        }
        // 30 s at 200 calls/s: 0.2 a call, 10 a second, and the 50 saved up.
        assert!((1_540..=1_550).contains(&granted), "{granted}");
    }

    #[test]
    fn a_quiet_client_always_gets_its_three_retries() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SHARE, start);
        for minute in 0..1_000 {
            throttle.call_started();
            let now = start + Duration::from_secs(60 * minute);
            assert!((0..3).all(|_| throttle.take(now)));
        }
    }

    #[test]
    fn the_allowance_is_full_again_five_seconds_after_a_storm() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SHARE, start);
        while throttle.take(start) {}
        let later = start + Duration::from_secs(5);
        assert_eq!((0..200).filter(|_| throttle.take(later)).count(), 50);
    }

    #[test]
    fn numbers_without_sense_or_end_overflow_nothing() {
        let start = Instant::now();
        for floor in [f64::MAX, f64::INFINITY, f64::NAN, -1.0, 1e-300] {
            let mut throttle = Throttle::new(ThrottleRule::Share { ratio: floor, floor }, start);
            throttle.call_started();
            for seconds in [0, 1, u64::MAX / 4_000_000_000] {
                throttle.take(start + Duration::from_secs(seconds));
            }
        }
    }

    #[test]
    fn without_a_floor_each_fifth_call_earns_a_retry() {
        let start = Instant::now();
        let mut throttle = Throttle::new(ThrottleRule::Share { ratio: 0.2, floor: 0.0 }, start);
        let mut granted = 0;
        for _ in 0..100 {
            granted += usize::from(throttle.take(start));
            throttle.call_started();
        }
        assert_eq!(granted, 20);
        let mut nothing = Throttle::new(ThrottleRule::Share { ratio: 0.0, floor: 0.0 }, start);
        assert!(!nothing.take(start + Duration::from_secs(100)));
    }

    #[test]
    fn the_bucket_stops_at_half_and_not_before() {
        let start = Instant::now();
        let mut throttle = Throttle::new(ThrottleRule::Bucket { max_tokens: 10.0, token_ratio: 0.1 }, start);
        for failures in 1..=5 {
            throttle.peer_failed();
            assert_eq!(throttle.take(start), failures < 5, "exactly half is not allowed");
        }
        (0..10).for_each(|_| throttle.call_succeeded());
        assert!(throttle.take(start));
    }
}
