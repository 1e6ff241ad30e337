//! Deadlines: which timeout holds, the earliest of several times, sums of times that stay within
//! the clock, and `grpc-timeout` on the wire (gRPC over HTTP/2).

use std::time::{Duration, Instant};

/// The timeout that holds: the one stated nearest to the call. The call may state two, as an option
/// and as its `grpc-timeout`: then the shorter, and the configured one only where it states none.
pub fn nearest_timeout(own: [Option<Duration>; 2], default: Option<Duration>) -> Option<Duration> {
    own.into_iter().flatten().min().or(default)
}

/// The earlier of two deadlines, where none means never.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// What bounds a call's time, given the limit that holds for it: its deadline, where the limit is
/// for the call as a `whole`, or else until when it may wait in all, had it never been on the wire.
pub fn bounds(limit: Option<Instant>, whole: bool) -> (Option<Instant>, Option<Instant>) {
    if whole { (limit, None) } else { (None, limit) }
}

/// Until when a call may wait that has been on the wire for so long.
pub fn waits_until(
    (deadline, patience): (Option<Instant>, Option<Instant>),
    on_wire: Duration,
) -> Option<Instant> {
    match patience {
        None => deadline,
        Some(patience) => Some(after(patience, on_wire)),
    }
}

/// When an attempt has to end that begins `now` and may take `timeout`.
pub fn attempt_ends(
    deadline: Option<Instant>,
    timeout: Option<Duration>,
    now: Instant,
) -> Option<Instant> {
    earliest(deadline, timeout.and_then(|timeout| now.checked_add(timeout)))
}

/// Nobody waits longer: 100 years, as in the configuration.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `wait` after `from`; what lies beyond the clock's end, or 100 years from now, is as good as
/// never.
pub(crate) fn after(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait.min(LONGEST)).unwrap_or(from)
}

/// A `grpc-timeout` value: at most 8 digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutText {
    bytes: [u8; 9],
    start: usize,
}

impl TimeoutText {
    /// The value as it goes out.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Writes `remaining` as a `grpc-timeout` value: at most 6 of the 8 digits allowed, in the finest
/// unit that fits, rounded down so that the server never gets more than remains. Six lose less than
/// a thousandth, and calls made at about the same time share a value: HPACK sends it as one byte,
/// and its table is not filled with values that never come again.
pub fn format_timeout(remaining: Duration) -> TimeoutText {
    const LIMIT: u64 = 1_000_000;
    const UNITS: [(u64, u8); 5] = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60_000_000_000, b'M'),
    ];
    // What 64 bits cannot hold, 584 years, is hours in any case.
    let nanos = u64::try_from(remaining.as_nanos()).ok();
    let counted = |nanos| UNITS.into_iter().map(move |(size, unit)| (nanos / size, unit));
    let fits = nanos.and_then(|nanos| counted(nanos).find(|(count, _)| *count < LIMIT));
    let (count, unit) = fits.unwrap_or((remaining.as_secs() / 3_600, b'H'));
    let mut count = count.min(99_999_999) as u32;
    let mut text = TimeoutText { bytes: [unit; 9], start: 8 };
    loop {
        text.start -= 1;
        text.bytes[text.start] = b'0' + (count % 10) as u8;
        count /= 10;
        if count == 0 {
            return text;
        }
    }
}

/// Reads a `grpc-timeout` value; none where it is not one.
pub fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_clocks_end_is_as_good_as_never() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert_eq!(after(now, Duration::MAX), now + LONGEST);
        assert!(after(after(now, Duration::MAX), Duration::MAX) > now);
    }

    fn text(remaining: Duration) -> String {
        String::from_utf8(format_timeout(remaining).as_bytes().to_vec())
            .expect("digits and a letter")
    }

    #[test]
    fn the_server_never_gets_more_than_remains() {
        for nanos in [0, 1, 999_999, 1_000_000, 1_999_999, 1_500_000_000, 60_000_000_001, u64::MAX]
        {
            let remaining = Duration::from_nanos(nanos);
            let text = text(remaining);
            assert!(text.len() <= 9, "{text}");
            let read = parse_timeout(&text).expect("own format");
            assert!(read <= remaining, "{text}");
            assert!(
                remaining - read <= remaining / 1_000,
                "{text} loses more than a thousandth of {remaining:?}"
            );
        }
        assert_eq!(text(Duration::from_millis(2_500)), "2500m");
        assert_eq!(
            text(Duration::from_micros(59_999_990)),
            text(Duration::from_micros(59_999_010))
        );
        assert_eq!(text(Duration::MAX), "99999999H");
        assert_eq!(text(Duration::from_nanos(u64::MAX)), "5124095H");
        assert_eq!(text(Duration::from_nanos(u64::MAX) + Duration::from_secs(3_600)), "5124096H");
        assert_eq!(text(Duration::ZERO), "0n");
    }

    #[test]
    fn what_is_not_a_timeout_is_none() {
        for text in ["", "S", "1", "1x", "-1S", "+1S", "123456789S", "1 S", "é"] {
            assert_eq!(parse_timeout(text), None, "{text:?}");
        }
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_earlier_deadline_holds() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(earliest(Some(later), Some(now)), Some(now));
        assert_eq!(earliest(None, Some(later)), Some(later));
        assert_eq!(earliest(None, None), None);
    }
}
