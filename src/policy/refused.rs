//! How long to wait, while calls wait, before a port is dialled again that *refused*: nobody
//! listens there, so the host is up and its process is not. As a rule the process is being started,
//! and is there within seconds.
//!
//! Such a dial costs both sides a packet, and no more. So a port that refuses is dialled more often
//! than one that does not answer, but only so many times in a row:
//!
//! | failed dials in a row | no wait is longer than | by default | until about |
//! |---|---|---|---|
//! | the first 3 | 0.4 of `reconnect.refused_max_backoff` | 0.1 s | 0.3 s |
//! | the next 8 | `reconnect.refused_max_backoff` | 0.25 s | 2.3 s |
//! | the next 16 | 2.2 times that | 0.55 s | 11 s |
//! | after that | `reconnect.waiting_max_backoff` | 1 s | |
//!
//! With the first row a server that restarts within moments is found within 0.1 s. The numbers of
//! the second and third are what makes a minute see at most 80 dials, whatever the jitter; the
//! tests beside this file hold them to it, and model a fleet of 10,000 clients.

use super::backoff::scaled;
use std::time::Duration;

/// Up to how many failed dials in a row a wait may be so many times the configured one.
const LONGEST: [(u32, f64); 3] = [(3, 0.4), (11, 1.0), (27, 2.2)];

/// The longest wait after failure `n` in a row, counted from 0; `configured` is
/// `reconnect.refused_max_backoff`. None: there were so many that it is like any other failure.
pub(super) fn longest_wait(n: u32, configured: Duration) -> Option<Duration> {
    let (_, factor) = LONGEST.iter().find(|(until, _)| n < *until)?;
    Some(scaled(configured, *factor))
}

#[cfg(test)]
#[path = "refused_tests.rs"]
mod tests;
