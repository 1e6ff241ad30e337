//! Tells what happens as it happens: a line with its time for people, or one JSON object for programs.

use crate::terminal::{Terminal, Tone, plain_json};
use serde_json::{Value, json};
use std::time::Instant;
use tonic_supervisor::printable;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// Where everything is told; time counts from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    terminal: Terminal,
    json: bool,
    started: Instant,
    /// Whether people read the time of day, rather than the seconds since the start.
    by_the_clock: bool,
}

impl Voice {
    pub(crate) fn new(terminal: Terminal, json: bool) -> Self {
        Self { terminal, json, started: Instant::now(), by_the_clock: false }
    }

    /// For what runs for days: with the time of day, as in the log.
    pub(crate) fn by_the_clock(terminal: Terminal, json: bool) -> Self {
        Self { by_the_clock: true, ..Self::new(terminal, json) }
    }

    pub(crate) fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// Whether programs listen.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// `who` and `text` for people; `fields` go into the JSON only.
    pub(crate) fn tell(&self, kind: &str, tone: Tone, who: &str, text: &str, fields: Value) {
        let at = self.started.elapsed().as_secs_f64();
        if self.json {
            let at = (at * 1_000.0).round() / 1_000.0;
            let mut line = json!({ "kind": kind, "at": at, "text": text });
            if self.by_the_clock {
                line["time"] = json!(clock());
            }
            let line = merge(line, fields);
            self.terminal.line(&plain_json(&line.to_string()));
        } else {
            let who = self.terminal.paint(tone, &format!("{:<10}", printable(who)));
            let at = if self.by_the_clock { clock() } else { format!("{at:6.2}s") };
            self.terminal.line(&format!("{at}  {who}  {}", printable(text)));
        }
    }
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
