//! Moments of the wall clock: as stores count them, and as the service's messages say them.

use prost_types::Timestamp;

/// A moment of the wall clock, in milliseconds since 1970.
pub type Millis = i64;

/// A moment in the service's messages.
pub fn timestamp(at: Millis) -> Timestamp {
    Timestamp { seconds: at.div_euclid(1000), nanos: (at.rem_euclid(1000) * 1_000_000) as i32 }
}

/// The moment a message names; 0 where it names none.
pub fn millis(at: Option<&Timestamp>) -> Millis {
    at.map_or(0, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000)
}

/// How long before `now` something was, in seconds; 0 where clocks disagree.
pub fn age(at: Millis, now: Millis) -> f64 {
    now.saturating_sub(at).max(0) as f64 / 1000.0
}
