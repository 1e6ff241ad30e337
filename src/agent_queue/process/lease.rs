//! How long a claim holds, as far as its holder can know: never longer than the server thinks.

use crate::policy::after;
use std::time::{Duration, Instant};

/// A lease is renewed when so much of it is over.
const RENEWED_AT: u32 = 3;

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// When to renew it.
    pub(super) renewal: Instant,
    /// When it is over.
    pub(super) over: Instant,
}

impl Lease {
    /// The lease of a claim that was asked for, and answered, at these times. It began in between,
    /// maybe long before the answer came; so where that took long, it is renewed at once.
    pub(super) fn claimed(asked: Instant, answered: Instant, length: Duration) -> Self {
        let third = length / RENEWED_AT;
        let renewal = if answered - asked > third { answered } else { after(answered, third) };
        Self { renewal, over: after(answered, length) }
    }

    /// The lease after a renewal that was asked for at this time, before which it cannot have
    /// begun.
    pub(super) fn renewed(asked: Instant, length: Duration) -> Self {
        Self { renewal: after(asked, length / RENEWED_AT), over: after(asked, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    #[test]
    fn a_lease_is_renewed_at_a_third() {
        let now = Instant::now();
        let lease = Lease::claimed(now, now, LEASE);
        assert_eq!((lease.renewal - now, lease.over - now), (LEASE / 3, LEASE));
        assert_eq!(Lease::renewed(now, LEASE), lease);
    }

    #[test]
    fn an_answer_that_was_long_on_its_way_is_renewed_at_once() {
        let asked = Instant::now();
        let answered = asked + LEASE / 2;
        assert_eq!(Lease::claimed(asked, answered, LEASE).renewal, answered);
    }

    #[test]
    fn a_lease_of_any_length_that_a_server_may_say_is_one() {
        let now = Instant::now();
        for lease in [Lease::claimed(now, now, Duration::MAX), Lease::renewed(now, Duration::MAX)] {
            assert!(lease.renewal > now && lease.over > now);
        }
    }

    #[test]
    fn a_renewed_lease_counts_from_the_question() {
        let asked = Instant::now();
        assert_eq!(Lease::renewed(asked, LEASE).over - asked, LEASE);
    }
}
