//! What the demo prints while it runs: lines for people, or one JSON object per line.

use super::{summary::Summary, tally::Tally};
use crate::{
    reporter::{Reporter, merge},
    stdout::{Stdout, Tone},
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

    /// Tells of failed calls and nothing else.
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

    pub(super) fn started(&self, address: SocketAddr) {
        let text = format!("an agent queue serves on {address}, for two agents");
        self.report(
            "start",
            Tone::Quiet,
            "server",
            &text,
            json!({ "address": address.to_string() }),
        );
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
                self.report("progress", Tone::Quiet, "", &texts.join(" | "), fields.into());
            }
        })
    }

    /// A picture was drawn.
    pub(super) fn drawn(&self, file: &Path) {
        let file = file.display().to_string();
        self.report("report", Tone::Quiet, "report", &file, json!({ "file": file }));
    }

    pub(super) fn summary(&self, summary: &Summary) {
        if self.reporter.json() {
            summary
                .to_json()
                .iter()
                .for_each(|line| self.reporter.stdout().line(&line.to_string()));
        } else {
            self.reporter.stdout().line(&format!("\n{}", summary.table(self.reporter.stdout())));
        }
    }

    fn report(&self, kind: &str, tone: Tone, who: &str, text: &str, fields: Value) {
        if !self.failures_only || matches!(tone, Tone::Bad) {
            self.reporter.report(kind, tone, who, text, fields);
        }
    }
}
