//! What a call waited for while it was not on the wire.

use super::text::readable;
use std::{fmt, time::Duration};

/// How long a call waited, by what it waited for. What is left of its time it was on the wire.
///
/// `{}` names what it waited for: `link 3.1 s, retry 500 ms`; nothing where it did not wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// For a link: none took calls.
    pub link: Duration,
    /// For room: the links there were had as many streams open as they may.
    pub room: Duration,
    /// For its credentials: the hook had not answered.
    pub credentials: Duration,
    /// Between a failed attempt and its retry.
    pub retry: Duration,
}

impl Waits {
    /// In the order of the fields.
    pub(crate) fn of(
        link: Duration,
        room: Duration,
        credentials: Duration,
        retry: Duration,
    ) -> Self {
        Self { link, room, credentials, retry }
    }

    /// Each time of both made one.
    pub(super) fn with(&self, other: &Self, time: fn(Duration, Duration) -> Duration) -> Self {
        Self {
            link: time(self.link, other.link),
            room: time(self.room, other.room),
            credentials: time(self.credentials, other.credentials),
            retry: time(self.retry, other.retry),
        }
    }

    /// All of it.
    pub fn total(&self) -> Duration {
        let all = self.by_reason();
        all.into_iter().fold(Duration::ZERO, |sum, (_, time)| sum.saturating_add(time))
    }

    /// Each reason's name, as it is the label `reason` of `tonic_supervisor.call.wait`, with its
    /// time.
    pub fn by_reason(&self) -> [(&'static str, Duration); 4] {
        [
            ("link", self.link),
            ("room", self.room),
            ("credentials", self.credentials),
            ("retry", self.retry),
        ]
    }

    /// Adds what a call waited for an attempt to begin: `without_link` of it there was no link.
    pub(crate) fn add_parked(&mut self, parked: Duration, without_link: Duration) {
        let link = without_link.min(parked);
        self.link = self.link.saturating_add(link);
        self.room = self.room.saturating_add(parked - link);
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = self.by_reason().into_iter().filter(|(_, time)| !time.is_zero());
        for (n, (reason, time)) in waited.enumerate() {
            write!(f, "{}{reason} {}", if n > 0 { ", " } else { "" }, readable(time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_waited_for_is_not_named() {
        let mut waits = Waits::default();
        assert_eq!((waits.to_string().as_str(), waits.total()), ("", Duration::ZERO));
        waits.add_parked(Duration::from_millis(3_600), Duration::from_millis(3_100));
        waits.retry = Duration::from_secs(1);
        assert_eq!(waits.to_string(), "link 3.1 s, room 500 ms, retry 1.0 s");
        assert_eq!(waits.total(), Duration::from_millis(4_600));
    }

    #[test]
    fn no_more_is_put_down_to_a_missing_link_than_was_waited() {
        let mut waits = Waits::default();
        waits.add_parked(Duration::from_secs(1), Duration::MAX);
        assert_eq!((waits.link, waits.room), (Duration::from_secs(1), Duration::ZERO));
    }
}
