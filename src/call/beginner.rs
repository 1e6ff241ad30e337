//! What whoever begins attempts keeps from one to the next: a request actor, or all callers of one
//! supervisor together.

use super::head::LastTimeout;
use rand::rngs::SmallRng;

/// Kept between attempts.
pub(crate) struct Beginner {
    /// For what picking leaves to chance.
    pub(crate) dice: SmallRng,
    pub(crate) last_timeout: LastTimeout,
}

impl Beginner {
    pub(crate) fn new(dice: SmallRng) -> Self {
        Self { dice, last_timeout: LastTimeout::default() }
    }
}
