//! The events of a channel: as text for people and as fields for programs.

use serde_json::{Value, json};
use tonic_supervisor::Fact;

/// A fact as a sentence, and whether it is left out for people.
pub(crate) fn describe(fact: &Fact) -> (String, bool) {
    let quiet = matches!(
        fact,
        Fact::DialStarted { .. }
            | Fact::DialFailed { .. }
            | Fact::LinkEstablished { .. }
            | Fact::BackoffStarted { .. }
    );
    (fact.to_string(), quiet)
}

/// A fact's fields, for programs.
pub(crate) fn fields(fact: &Fact) -> Value {
    match fact {
        Fact::StateChanged { from, to, cause, incarnation } => {
            json!({
                "from": from.as_str(), "to": to.as_str(), "cause": **cause,
                "incarnation": incarnation.0,
            })
        }
        Fact::DialStarted { incarnation, failures } => {
            json!({ "incarnation": incarnation.0, "failures": failures })
        }
        Fact::DialFailed { incarnation, failure } => {
            json!({ "incarnation": incarnation.0, "cause": failure.reason })
        }
        Fact::LinkEstablished { incarnation, took, .. } => {
            json!({ "incarnation": incarnation.0, "took_ms": took.as_millis() as u64 })
        }
        Fact::GoAwayReceived { incarnation, goaway } => json!({
            "incarnation": incarnation.0, "last_stream_id": goaway.last_stream_id,
            "code": goaway.code, "debug": goaway.debug,
        }),
        Fact::KeepaliveLost { incarnation } | Fact::BackoffReset { incarnation } => {
            json!({ "incarnation": incarnation.0 })
        }
        Fact::LinkLost { incarnation, end, lived, current } => json!({
            "incarnation": incarnation.0, "cause": end.to_string(),
            "lived_ms": lived.as_millis() as u64, "current": current,
        }),
        Fact::BackoffStarted { delay, attempt, calls_waiting } => json!({
            "delay_ms": delay.as_millis() as u64, "attempt": attempt,
            "calls_waiting": calls_waiting,
        }),
        Fact::RetryScheduled { method, code, cause, retry, of, delay } => json!({
            "method": **method, "code": i32::from(*code), "cause": **cause, "retry": retry,
            "of": of, "delay_ms": delay.as_millis() as u64,
        }),
        _ => json!({}),
    }
}
