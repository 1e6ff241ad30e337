//! Small things that several pages show: times, curves, shares.

use crate::model::readable;
use std::time::Duration;

/// `4 ms`, `1.1 s`; a dash where there is none.
pub(super) fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), readable)
}

/// `97.1 %`; a dash of nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole if part == whole => "100 %".to_owned(),
        // Never rounded up to all.
        whole => format!("{:.2} %", (part as f64 / whole as f64 * 10_000.0).floor() / 100.0),
    }
}

/// How many a second.
pub(super) fn rate(count: u64, over: Duration) -> String {
    match over.as_secs_f64() {
        0.0 => "-".to_owned(),
        seconds => format!("{:.1}", count as f64 / seconds),
    }
}

/// A curve of the last `width` groups of values, in eight heights, as text; and its highest value.
pub(super) fn curve(values: &[u64], width: usize) -> (String, u64) {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if values.is_empty() {
        return (String::new(), 0);
    }
    let group = values.len().div_ceil(width);
    let groups: Vec<u64> =
        values.chunks(group).map(|group| group.iter().copied().max().unwrap_or(0)).collect();
    let highest = groups.iter().copied().max().unwrap_or(0);
    let height = |value: &u64| match highest {
        0 => HEIGHTS[0],
        highest => HEIGHTS[(value * 7).div_ceil(highest).min(7) as usize],
    };
    (groups.iter().map(height).collect(), highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_keeps_its_highest_value_however_short_it_is_drawn() {
        assert_eq!(curve(&[], 30), (String::new(), 0));
        assert_eq!(curve(&[0, 0, 0], 30), ("▁▁▁".to_owned(), 0));
        assert_eq!(curve(&[0, 4, 8], 30), ("▁▅█".to_owned(), 8));
        let mut values = vec![0; 300];
        values[150] = 7;
        let (drawn, highest) = curve(&values, 30);
        assert_eq!((drawn.chars().count(), highest), (30, 7));
        assert_eq!(drawn.matches('█').count(), 1);
    }

    #[test]
    fn a_share_is_all_only_if_it_is() {
        assert_eq!(share(99_999, 100_000), "99.99 %");
        assert_eq!(share(999_999, 1_000_000), "99.99 %");
        assert_eq!((share(5, 5), share(0, 0)), ("100 %".to_owned(), "-".to_owned()));
        assert_eq!((rate(30, Duration::from_secs(60)), time(None)), ("0.5".into(), "-".into()));
    }
}
