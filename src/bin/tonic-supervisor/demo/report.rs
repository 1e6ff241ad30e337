//! What the demo says while it runs: lines for people, or one JSON object per line.

use super::{summary::Summary, tally::Tally};
use crate::{
    terminal::{Terminal, Tone},
    voice::{Voice, merge},
};
use serde_json::{Map, Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{task::JoinHandle, time};
use tonic::Status;

/// How wide the demo's lines are at most.
const COLUMNS: usize = 80;

/// Where everything that happens is told.
#[derive(Debug)]
pub(super) struct Report {
    voice: Voice,
    start_ms: i64,
    failures_only: bool,
}

impl Report {
    pub(super) fn new(terminal: Terminal, json: bool) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_ms = i64::try_from(since.as_millis()).unwrap_or_default();
        Self { voice: Voice::new(terminal, json).within(COLUMNS), start_ms, failures_only: false }
    }

    /// Tells of failed calls and nothing else.
    pub(super) fn of_failures(terminal: Terminal, json: bool) -> Self {
        Self { failures_only: true, ..Self::new(terminal, json) }
    }

    /// How long the demo has run.
    pub(super) fn now(&self) -> Duration {
        self.voice.elapsed()
    }

    /// When it started, in milliseconds since 1970.
    pub(super) fn start_ms(&self) -> i64 {
        self.start_ms
    }

    pub(super) fn started(&self, address: SocketAddr) {
        let text = format!("an agent queue serves on {address}, for two agents");
        self.tell("start", Tone::Quiet, "server", &text, json!({ "address": address.to_string() }));
    }

    /// What the script does to the server.
    pub(super) fn chaos(&self, fault: &str, step: &str, text: &str) {
        self.tell("chaos", Tone::Notice, "chaos", text, json!({ "fault": fault, "step": step }));
    }

    /// What an agent's channel saw; `fields` go into the JSON only. People are not shown what is
    /// `quiet`.
    pub(super) fn event(&self, agent: &str, event: &str, text: &str, fields: Value, quiet: bool) {
        if self.voice.json() || !quiet {
            let fields = merge(json!({ "agent": agent, "event": event }), fields);
            self.tell("event", Tone::Quiet, agent, text, fields);
        }
    }

    /// The first call of an agent that failed in a fault.
    pub(super) fn call_failed(&self, agent: &str, status: &Status) {
        let code = status.code();
        let text = format!("calls fail: {code:?}: {}", status.message());
        let fields = json!({ "agent": agent, "event": "CallFailed", "code": i32::from(code) });
        self.tell("event", Tone::Bad, agent, &text, fields);
    }

    /// The first call of an agent that worked after a fault.
    pub(super) fn recovered(&self, agent: &str, took: Duration) {
        let text = format!("calls work, {} ms after the fault", took.as_millis());
        let fields = json!({ "agent": agent, "event": "Recovered", "took_ms": took.as_millis() });
        self.tell("event", Tone::Good, agent, &text, fields);
    }

    /// Tells the numbers once a second, until it is aborted.
    pub(super) fn progress(self: Arc<Self>, tallies: [Arc<Tally>; 2]) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut second = time::interval(Duration::from_secs(1));
            second.tick().await;
            loop {
                second.tick().await;
                let mut fields = Map::new();
                let mut texts = Vec::new();
                for tally in &tallies {
                    let now = tally.numbers();
                    texts.push(format!("{} {} ok, {} failed", tally.agent, now.ok, now.failed));
                    let numbers = json!({ "calls": now.calls, "ok": now.ok, "failed": now.failed });
                    fields.insert(tally.agent.into(), numbers);
                }
                self.tell("progress", Tone::Quiet, "", &texts.join(" | "), fields.into());
            }
        })
    }

    /// A picture was drawn.
    pub(super) fn drawn(&self, file: &Path) {
        let file = file.display().to_string();
        self.tell("report", Tone::Quiet, "report", &file, json!({ "file": file }));
    }

    pub(super) fn summary(&self, summary: &Summary) {
        if self.voice.json() {
            summary.to_json().iter().for_each(|line| self.voice.terminal().line(&line.to_string()));
        } else {
            self.voice.terminal().line(&format!("\n{}", summary.table(self.voice.terminal())));
        }
    }

    fn tell(&self, kind: &str, tone: Tone, who: &str, text: &str, fields: Value) {
        if !self.failures_only || matches!(tone, Tone::Bad) {
            self.voice.tell(kind, tone, who, text, fields);
        }
    }
}
