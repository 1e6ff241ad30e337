//! Columns, numbers, ages and times for people: text of foreign servers, escaped, in 80 columns.

use tonic_supervisor::{agent_queue::Task, printable};

/// How wide a line of a table may be.
pub(super) const WIDTH: usize = 80;

/// How a column stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Words, from the left.
    Left(usize),
    /// Numbers, to the right.
    Right(usize),
}

/// One line of a table: each cell escaped, and cut to its column.
pub(super) fn row<const N: usize>(columns: [Column; N], cells: [&str; N]) -> String {
    let mut line = String::new();
    for (column, text) in columns.into_iter().zip(cells) {
        let (Column::Left(width) | Column::Right(width)) = column;
        let text = cut(text, width);
        let space = " ".repeat(width.saturating_sub(columns_of(&text)));
        match column {
            Column::Left(_) => line.extend([&*text, &*space, " "]),
            Column::Right(_) => line.extend([&*space, &*text, " "]),
        }
    }
    line.trim_end().to_owned()
}

/// The text, escaped, in at most so many columns; what was cut ends in `...`.
pub(super) fn cut(text: &str, width: usize) -> String {
    let shown = printable(text);
    if columns_of(&shown) <= width {
        return shown.into_owned();
    }
    let (mut room, mut kept) = (width.saturating_sub(3), String::new());
    for letter in shown.chars() {
        let Some(left) = room.checked_sub(columns(letter)) else { break };
        room = left;
        kept.push(letter);
    }
    kept + "..."
}

fn columns_of(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// How many columns a terminal gives a letter: two for those of East Asian scripts and for emoji,
/// one for all others. Never fewer than it takes.
fn columns(letter: char) -> usize {
    match letter {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe10}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// A number with its thousands apart: `1,204`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most seven letters: `812`, `99,999`, `1.2M`.
pub(super) fn brief(number: u64) -> String {
    let tenths = |unit: u64, name: &str| format!("{:.1}{name}", number as f64 / unit as f64);
    match number {
        0..1_000_000 => count(number),
        1_000_000..1_000_000_000 => tenths(1_000_000, "M"),
        1_000_000_000..1_000_000_000_000 => tenths(1_000_000_000, "G"),
        _ => ">999 G".into(),
    }
}

/// So many seconds in at most seven letters: `0.4 s`, `14 min`, `2.5 h`, `12 d`.
pub(super) fn age(seconds: f64) -> String {
    match seconds {
        s if s.is_nan() || s < 0.0 => "?".into(),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s if s < 8.64e8 => format!("{:.0} d", s / 86_400.0),
        _ => ">9999 d".into(),
    }
}

/// A moment, as RFC 3339 has it; none for what no clock shows.
pub(super) fn moment(at: Option<prost_types::Timestamp>) -> Option<String> {
    const YEAR_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    at.filter(|at| YEAR_1_TO_9999.contains(&at.seconds) && (0..1_000_000_000).contains(&at.nanos))
        .map(|at| at.to_string())
}

/// How long ago a moment is, in seconds.
pub(super) fn since(at: Option<prost_types::Timestamp>) -> Option<f64> {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
    at.map(|at| (now - at.seconds as f64 - f64::from(at.nanos) / 1e9).max(0.0))
}

/// How long ago a task was submitted.
pub(super) fn age_of(task: &Task) -> String {
    since(task.created_at).map_or_else(|| "?".into(), age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;

    #[test]
    fn a_row_is_never_wider_than_its_columns_whatever_a_server_says() {
        let columns = [Column::Left(10), Column::Right(6)];
        for text in [
            "",
            "short",
            "exactly_10",
            "much longer than that",
            "\u{1b}[31mred",
            "任务任务任务任务任务",
            "🦀🦀🦀🦀🦀🦀",
        ] {
            let line = row(columns, [text, "1,204"]);
            assert!(columns_of(&line) <= 17 && line.ends_with("1,204"), "{line:?}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
        assert_eq!(row(columns, ["much longer than that", "7"]), "much lo...      7");
    }

    #[test]
    fn numbers_and_ages_of_any_size_fit_their_columns() {
        for number in [0, 999, 1_000, 999_999, 1_000_000, 999_949_999, u64::MAX] {
            assert!(brief(number).len() <= 8, "{}", brief(number));
        }
        assert_eq!([count(0), count(1_204), count(1_000_000)], ["0", "1,204", "1,000,000"]);
        for seconds in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            0.0,
            9.99,
            99.9,
            5_999.0,
            172_799.0,
            1e300,
        ] {
            assert!(age(seconds).len() <= 7, "{}", age(seconds));
        }
        assert_eq!(
            [age(0.41), age(59.0), age(840.0), age(9_000.0)],
            ["0.4 s", "59 s", "14 min", "2.5 h"]
        );
    }

    #[test]
    fn moments_that_no_calendar_has_are_left_out() {
        let at = |seconds, nanos| moment(Some(Timestamp { seconds, nanos }));
        assert_eq!(at(0, 0).as_deref(), Some("1970-01-01T00:00:00Z"));
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, i32::MAX)] {
            assert_eq!(at(seconds, nanos), None);
        }
    }
}
