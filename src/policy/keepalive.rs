//! How often the peer lets us ping it (gRPC A8): remembered from link to link, since a peer that
//! complained of one link's PINGs complains of the next one's, too.

use std::time::Duration;

/// However often a peer complains, it is pinged this often.
const SELDOM: Duration = Duration::from_secs(4 * 60 * 60);

/// Keepalive as the peer tolerates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    configured: Option<Duration>,
    time: Option<Duration>,
    while_idle: bool,
}

impl Keepalive {
    /// As configured; without a time no PINGs are sent.
    pub fn new(time: Option<Duration>, while_idle: bool) -> Self {
        Self { configured: time, time, while_idle }
    }

    /// The silence after which the next link sends a PING.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }

    /// Whether it does so while no call is open.
    pub fn while_idle(&self) -> bool {
        self.while_idle
    }

    /// The peer complained of the PINGs of a link that had this time: it is doubled, up to 4 h or,
    /// if that is longer, the configured time. Complaints of links of one age do not add up.
    /// `idle`: no call was open then, which ends PINGs without calls as well.
    pub fn complained(&mut self, had: Duration, idle: bool) {
        let doubled = had.saturating_mul(2).min(SELDOM.max(self.configured.unwrap_or_default()));
        self.time = Some(self.time.unwrap_or(had).max(doubled));
        self.while_idle &= !idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3_600)
    }

    fn after(configured: Duration, complaints: usize) -> Duration {
        let mut keepalive = Keepalive::new(Some(configured), true);
        for _ in 0..complaints {
            let had = keepalive.time().expect("it is on");
            keepalive.complained(had, false);
        }
        keepalive.time().expect("it is on")
    }

    #[test]
    fn a_complaint_doubles_the_time_up_to_four_hours_or_a_longer_one_that_was_configured() {
        let time = Duration::from_secs(30);
        assert_eq!(
            [after(time, 1), after(time, 2), after(time, 100)],
            [time * 2, time * 4, hours(4)]
        );
        assert_eq!(after(hours(6), 100), hours(6));
        assert_eq!(after(Duration::MAX, 2), Duration::MAX);
    }

    #[test]
    fn complaints_of_links_of_one_age_do_not_add_up() {
        let time = Duration::from_secs(30);
        let mut keepalive = Keepalive::new(Some(time), true);
        keepalive.complained(time, false);
        keepalive.complained(time, false);
        assert_eq!(keepalive.time(), Some(time * 2));
    }

    #[test]
    fn a_complaint_while_no_call_is_open_ends_pings_without_calls() {
        let mut keepalive = Keepalive::new(Some(hours(1)), true);
        keepalive.complained(hours(1), false);
        assert!(keepalive.while_idle());
        keepalive.complained(hours(1), true);
        assert!(!keepalive.while_idle());
    }
}
