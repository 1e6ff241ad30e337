//! What the demo prints while it runs: lines for people, or one JSON object per line.
//!
//! Agents, channels and the script report here; it knows none of them.

use crate::{
    reporter::{Reporter, merge},
    stdout::{Stdout, Tone},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tonic::Status;

/// How wide the demo's lines are at most.
const COLUMNS: usize = 80;

/// Reports everything that happens in the demo.
#[derive(Debug)]
pub(super) struct Report {
    reporter: Reporter,
    start_ms: i64,
    failures_only: bool,
}

impl Report {
    pub(super) fn new(stdout: Stdout, json: bool) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_ms = i64::try_from(since.as_millis()).unwrap_or_default();
        Self {
            reporter: Reporter::new(stdout, json).within(COLUMNS),
            start_ms,
            failures_only: false,
        }
    }

    /// Reports failed calls and nothing else.
    pub(super) fn of_failures(stdout: Stdout, json: bool) -> Self {
        Self { failures_only: true, ..Self::new(stdout, json) }
    }

    /// How long the demo has run.
    pub(super) fn now(&self) -> Duration {
        self.reporter.elapsed()
    }

    /// When it started, in milliseconds since 1970.
    pub(super) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    pub(super) fn started(&self, addresses: &[SocketAddr]) {
        let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let text = format!("an agent queue serves on {}, for two agents", names.join(", "));
        let fields = match &names[..] {
            [only] => json!({ "address": only }),
            several => json!({ "addresses": several }),
        };
        self.report("start", Tone::Quiet, "server", &text, fields);
    }

    /// What the script does to the server.
    pub(super) fn chaos(&self, fault: &str, step: &str, text: &str) {
        self.report("chaos", Tone::Notice, "chaos", text, json!({ "fault": fault, "step": step }));
    }

    /// What an agent's channel saw; `fields` go into the JSON only. People are not shown what is
    /// `quiet`.
    pub(super) fn event(&self, agent: &str, event: &str, text: &str, fields: Value, quiet: bool) {
        if self.reporter.json() || !quiet {
            let fields = merge(json!({ "agent": agent, "event": event }), fields);
            self.report("event", Tone::Quiet, agent, text, fields);
        }
    }

    /// The first call of an agent that failed in a fault.
    pub(super) fn call_failed(&self, agent: &str, status: &Status) {
        let code = status.code();
        let text = format!("calls fail: {code:?}: {}", status.message());
        let fields = json!({ "agent": agent, "event": "CallFailed", "code": i32::from(code) });
        self.report("event", Tone::Bad, agent, &text, fields);
    }

    /// The first call of an agent that worked after a fault.
    pub(super) fn recovered(&self, agent: &str, took: Duration) {
        let text = format!("calls work, {} ms after the fault", took.as_millis());
        let fields = json!({ "agent": agent, "event": "Recovered", "took_ms": took.as_millis() });
        self.report("event", Tone::Good, agent, &text, fields);
    }

    /// How far both agents are; `fields` go into the JSON only.
    pub(super) fn progress(&self, text: &str, fields: Value) {
        self.report("progress", Tone::Quiet, "", text, fields);
    }

    /// A picture was drawn.
    pub(super) fn drawn(&self, file: &Path) {
        let file = file.display().to_string();
        self.report("report", Tone::Quiet, "report", &file, json!({ "file": file }));
    }

    pub(super) fn reporter(&self) -> Reporter {
        self.reporter
    }

    fn report(&self, kind: &str, tone: Tone, who: &str, text: &str, fields: Value) {
        if !self.failures_only || matches!(tone, Tone::Bad) {
            self.reporter.report(kind, tone, who, text, fields);
        }
    }
}
