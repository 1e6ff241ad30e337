//! Tells what happens as it happens: a line with its time for people, or one JSON object for programs.

use crate::terminal::{Terminal, Tone, plain_json};
use serde_json::{Value, json};
use std::time::Instant;
use tonic_supervisor::printable;

/// Where everything is told; time counts from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    terminal: Terminal,
    json: bool,
    started: Instant,
}

impl Voice {
    pub(crate) fn new(terminal: Terminal, json: bool) -> Self {
        Self { terminal, json, started: Instant::now() }
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
            let line = merge(json!({ "kind": kind, "at": at, "text": text }), fields);
            self.terminal.line(&plain_json(&line.to_string()));
        } else {
            let who = self.terminal.paint(tone, &format!("{:<10}", printable(who)));
            self.terminal.line(&format!("{at:6.2}s  {who}  {}", printable(text)));
        }
    }
}

/// The fields of both.
pub(crate) fn merge(mut left: Value, right: Value) -> Value {
    if let (Value::Object(left), Value::Object(right)) = (&mut left, right) {
        left.extend(right);
    }
    left
}
