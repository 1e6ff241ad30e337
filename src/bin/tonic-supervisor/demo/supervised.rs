//! The supervised side: the same generated client on a `SupervisedChannel`, and its events as they come.

use super::{report::Report, tally::Counts};
use crate::Trouble;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::timeout};
use tonic_supervisor::{
    Config, Event, EventItem, EventStream, Fact, SupervisedChannel, Supervisor, agent_queue::DESCRIPTORS,
};

/// How long the supervisor may take to close, once its agent has finished.
const GRACE: Duration = Duration::from_secs(2);

/// What is left of a side when its channel is given away.
pub(super) struct Side {
    supervisor: Supervisor,
    events: JoinHandle<()>,
}

/// A channel to `address`; its retries are as `config` says, or the defaults.
pub(super) fn start(
    agent: &'static str,
    address: SocketAddr,
    config: Option<&Path>,
    report: &Arc<Report>,
) -> Result<(SupervisedChannel, Side), Trouble> {
    let mut builder = Config::builder();
    if let Some(file) = config {
        builder = builder.file(file);
    }
    let config = builder
        .host(address.ip().to_string())
        .port(address.port())
        .timeout(Duration::from_secs(30))
        // A frozen server is to be noticed within the demo.
        .connect_timeout(Duration::from_secs(1))
        .keepalive_floor(Duration::from_millis(200))
        .keepalive_time(Duration::from_millis(500))
        .keepalive_timeout(Duration::from_millis(500))
        .build()
        .map_err(|error| Trouble::Config(error.to_string()))?;
    let supervisor = Supervisor::spawn(config);
    let channel = supervisor
        .channel()
        .with_descriptor_set(DESCRIPTORS)
        .map_err(Trouble::failed("cannot read the service's descriptors"))?;
    let events = tokio::spawn(tell(agent, supervisor.events(), report.clone()));
    Ok((channel, Side { supervisor, events }))
}

impl Side {
    /// Waits until the channel is Ready, for at most `timeout`; whether it is.
    pub(super) async fn ready(&self, timeout: Duration) -> bool {
        self.supervisor.wait_ready(timeout).await
    }

    pub(super) fn counts(&self) -> Counts {
        let snapshot = self.supervisor.snapshot();
        Counts {
            dials: snapshot.dials,
            reconnects: snapshot.links.saturating_sub(1),
            retries: snapshot.retries,
            transparent_retries: snapshot.transparent_retries,
        }
    }

    /// Closes the channel; its last events are still told.
    pub(super) async fn close(self) {
        self.supervisor.shutdown(GRACE).await;
        let abort = self.events.abort_handle();
        if timeout(GRACE, self.events).await.is_err() {
            abort.abort();
        }
    }
}

async fn tell(agent: &'static str, mut events: EventStream, report: Arc<Report>) {
    while let Some(item) = events.next().await {
        match item {
            EventItem::Event(Event { seq, fact, .. }) => {
                let (text, quiet) = describe(&fact);
                let mut fields = fields(&fact);
                fields["seq"] = json!(seq);
                report.event(agent, fact.name(), &text, fields, quiet);
            }
            EventItem::Lagged(missed) => {
                let text = format!("{missed} events were missed");
                report.event(agent, "Lagged", &text, json!({ "missed": missed }), false);
            }
            _ => {}
        }
    }
}

/// A fact in words, and whether people can do without it.
fn describe(fact: &Fact) -> (String, bool) {
    match fact {
        Fact::StateChanged { from, to, cause, .. } => (format!("{from} -> {to}: {cause}"), false),
        Fact::DialStarted { incarnation, .. } => (format!("dials, link {incarnation}"), true),
        Fact::DialFailed { failure, .. } => (format!("{failure}"), true),
        Fact::LinkEstablished { incarnation, took, .. } => {
            (format!("link {incarnation} is up after {} ms", took.as_millis()), true)
        }
        Fact::GoAwayReceived { goaway, .. } => (format!("{goaway}"), false),
        Fact::LinkLost { incarnation, end, lived, .. } => {
            (format!("link {incarnation} ended after {:.1} s: {end}", lived.as_secs_f64()), false)
        }
        Fact::BackoffStarted { delay, .. } => (format!("dials again in {} ms", delay.as_millis()), true),
        Fact::RetryScheduled { method, code, retry, of, delay, .. } => {
            let of = of.map_or(String::new(), |of| format!(" of {of}"));
            (format!("{method}: {code:?}, retry {retry}{of} in {} ms", delay.as_millis()), false)
        }
        other => (other.name().to_string(), false),
    }
}

/// A fact's numbers and words, for programs.
fn fields(fact: &Fact) -> Value {
    match fact {
        Fact::StateChanged { from, to, cause, incarnation } => {
            json!({ "from": from.as_str(), "to": to.as_str(), "cause": **cause, "incarnation": incarnation.0 })
        }
        Fact::DialStarted { incarnation, failures } => json!({ "incarnation": incarnation.0, "failures": failures }),
        Fact::DialFailed { incarnation, failure } => json!({ "incarnation": incarnation.0, "cause": failure.reason }),
        Fact::LinkEstablished { incarnation, took, .. } => {
            json!({ "incarnation": incarnation.0, "took_ms": took.as_millis() as u64 })
        }
        Fact::GoAwayReceived { incarnation, goaway } => {
            json!({ "incarnation": incarnation.0, "last_stream_id": goaway.last_stream_id, "code": goaway.code, "debug": goaway.debug })
        }
        Fact::KeepaliveLost { incarnation } | Fact::BackoffReset { incarnation } => {
            json!({ "incarnation": incarnation.0 })
        }
        Fact::LinkLost { incarnation, end, lived, current } => json!({
            "incarnation": incarnation.0, "cause": end.to_string(), "lived_ms": lived.as_millis() as u64, "current": current,
        }),
        Fact::BackoffStarted { delay, attempt, calls_waiting } => {
            json!({ "delay_ms": delay.as_millis() as u64, "attempt": attempt, "calls_waiting": calls_waiting })
        }
        Fact::RetryScheduled { method, code, cause, retry, of, delay } => json!({
            "method": **method, "code": i32::from(*code), "cause": **cause, "retry": retry, "of": of,
            "delay_ms": delay.as_millis() as u64,
        }),
        _ => json!({}),
    }
}
