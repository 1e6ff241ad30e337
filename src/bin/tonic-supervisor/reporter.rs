//! Reports what happens as it happens: a line with its time for people, or one JSON object for
//! programs.

use crate::stdout::{Stdout, Tone, plain_json};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tonic_supervisor::printable;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// Writes reports to standard output. Times count from its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    stdout: Stdout,
    json: bool,
    /// How wide a line for people may be; none: as wide as it is.
    columns: Option<usize>,
    started: Instant,
    /// Whether people read the time of day, rather than the seconds since the start.
    time_of_day: bool,
}

/// What stands before the text: the time and who.
const BEFORE: usize = 21;

impl Reporter {
    pub(crate) fn new(stdout: Stdout, json: bool) -> Self {
        Self { stdout, json, columns: None, started: Instant::now(), time_of_day: false }
    }

    /// Lines for people are folded between words, to at most so many columns.
    pub(crate) fn within(self, columns: usize) -> Self {
        Self { columns: Some(columns), ..self }
    }

    /// For what runs for days: with the time of day, as in the log.
    pub(crate) fn time_of_day(stdout: Stdout, json: bool) -> Self {
        Self { time_of_day: true, ..Self::new(stdout, json) }
    }

    pub(crate) fn stdout(&self) -> Stdout {
        self.stdout
    }

    /// How long ago it was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it writes for programs.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// `who` and `text` for people; `fields` go into the JSON only.
    pub(crate) fn report(&self, kind: &str, tone: Tone, who: &str, text: &str, fields: Value) {
        let at = self.elapsed().as_secs_f64();
        if self.json {
            let at = (at * 1_000.0).round() / 1_000.0;
            let mut line = json!({ "kind": kind, "at": at, "text": text });
            if self.time_of_day {
                line["time"] = json!(clock());
            }
            let line = merge(line, fields);
            self.stdout.line(&plain_json(&line.to_string()));
        } else {
            let who = self.stdout.paint(tone, &format!("{:<10}", printable(who)));
            let text = printable(text);
            let text =
                self.columns.map_or(text.to_string(), |columns| fold(&text, columns - BEFORE));
            let at = if self.time_of_day { clock() } else { format!("{at:6.2}s") };
            self.stdout.line(&format!("{at}  {who}  {text}"));
        }
    }
}

/// The text in lines of at most `width` letters, as far as there are gaps between words.
fn fold(text: &str, width: usize) -> String {
    let (mut folded, mut room) = (String::new(), width);
    for word in text.split(' ') {
        let length = word.chars().count() + 1;
        if !folded.is_empty() && length > room {
            folded.push_str(&format!("\n{:BEFORE$}", ""));
            room = width;
        } else if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
        room = room.saturating_sub(length);
    }
    folded
}

/// The time of day in UTC, to the second, such as `2026-11-29T15:51:17Z`.
fn clock() -> String {
    let mut now = String::new();
    // A clock that cannot be written down leaves its place empty.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    match now.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => now,
    }
}

/// The fields of both.
pub(crate) fn merge(mut left: Value, right: Value) -> Value {
    if let (Value::Object(left), Value::Object(right)) = (&mut left, right) {
        left.extend(right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_words() {
        let text = fold("cannot dial 127.0.0.1:50051: connected, but no SETTINGS came", 20);
        let lines: Vec<_> = text.split(&format!("\n{:BEFORE$}", "")).collect();
        assert_eq!(
            lines,
            ["cannot dial", "127.0.0.1:50051:", "connected, but no", "SETTINGS came"]
        );
        assert_eq!(fold("short", 20), "short");
        assert_eq!(fold("", 20), "");
    }
}
