//! The picture as JSON, for programs. One form for `/snapshot`, for pages that are asked for as
//! JSON, for `status --json` and for events; `schema` counts its versions.

use super::look::{Channel, Picture};
use crate::model::{Event, FieldValue, MethodCounts, OpenCall, Story, Verdict, Waits, code_name};
use serde_json::{Map, Value, json};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The version of this form: fields may be added, and none is taken away or changed within one.
const SCHEMA: u32 = 1;

/// In milliseconds.
fn ms(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn maybe_ms(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, ms)
}

/// `2026-11-29T03:02:11.120Z`.
pub(super) fn timestamp(at: SystemTime) -> String {
    // No clock of ours shows a time before 1970 or after 9999, and that is all it can write.
    let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(at.clamp(UNIX_EPOCH, last)).to_string()
}

pub(super) fn picture(picture: &Picture) -> Value {
    json!({
        "schema": SCHEMA,
        "at": timestamp(picture.at),
        "process": {
            "name": picture.process.name,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": picture.process.pid,
            "uptime_ms": ms(picture.process.up),
        },
        "channels": picture.channels.iter().map(channel).collect::<Vec<_>>(),
    })
}

pub(super) fn channel(one: &Channel) -> Value {
    let (now, total) = (&one.now, sum(&one.methods));
    let lately = one.recent.total();
    json!({
        "id": now.id,
        "name": &*now.name,
        "target": &*now.uri,
        "state": now.state.as_str(),
        "since_ms": ms(now.since),
        "verdict": verdict(&one.verdict),
        "well": !one.is_sick(),
        "next_dial_ms": maybe_ms(now.next_dial),
        "dials": now.dials,
        "links_established": now.links,
        "calls": {
            "open": now.calls_open,
            "waiting": now.calls_waiting,
            "oldest_ms": maybe_ms(one.oldest()),
            "started": total.started,
            "ok": total.ok(),
            "failed": total.failed(),
            "shed": now.calls_shed,
        },
        "attempts": {
            "started": total.attempts,
            "ok": total.attempts_ok,
            "failed": total.attempts_failed,
            "retries": now.retries,
            "transparent": now.transparent_retries,
            "throttled": now.retries_throttled,
        },
        "throttle": now.allowance.map(|allowed| json!({ "left": allowed.left, "of": allowed.of })),
        "draining": now.draining.map(|draining| json!({ "left_ms": maybe_ms(draining.left) })),
        "keepalive_time_ms": maybe_ms(now.keepalive_time),
        "round_trip_us": now.round_trip.map(|trip| trip.as_micros() as u64),
        "seq": now.seq,
        "endpoints": endpoints(one),
        "methods": one.methods.iter().map(method).collect::<Vec<_>>(),
        "last_minute": {
            "over_ms": ms(one.recent.over),
            "calls": lately.ok() + lately.failed(),
            "failed": lately.failed(),
            "attempts": lately.attempts,
            "p50_ms": maybe_ms(lately.quantile(0.5)),
            "p99_ms": maybe_ms(lately.quantile(0.99)),
        },
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "kind": verdict.kind.as_str(),
        "sentence": verdict.sentence,
        "action": verdict.action(),
        "endpoint": (verdict.endpoint.0 > 0).then_some(verdict.endpoint.0),
    })
}

fn endpoints(one: &Channel) -> Vec<Value> {
    let with_verdicts = one.now.endpoints.iter().zip(&one.endpoints);
    let of = with_verdicts.map(|(endpoint, said)| {
        let links = endpoint.links.iter().map(|link| {
            json!({
                "incarnation": link.incarnation.0,
                "local": link.local.as_ref().map(ToString::to_string),
                "remote": link.peer.as_ref().map(ToString::to_string),
                "tls": link.tls.as_ref().map(|tls| json!({
                    "version": tls.version,
                    "cipher": &*tls.cipher,
                    "certificate_until": tls.certificate_until.map(timestamp),
                })),
                "age_ms": ms(link.age),
                "streams": { "open": link.streams, "max": link.max_concurrent_streams },
                "proven": link.proven,
                "suspect": link.suspect,
            })
        });
        json!({
            "id": endpoint.endpoint.0,
            "addresses": &*endpoint.addresses,
            "state": endpoint.state.as_str(),
            "since_ms": ms(endpoint.since),
            "verdict": verdict(said),
            "next_dial_ms": maybe_ms(endpoint.next_dial),
            "failed_dials": endpoint.failed_dials,
            "ejected_for_ms": maybe_ms(endpoint.ejected_for),
            "latency_us": endpoint.latency.map(|latency| latency.as_micros() as u64),
            "health": endpoint.health.map(|health| health.as_str()),
            "links": links.collect::<Vec<_>>(),
        })
    });
    of.collect()
}

fn sum(methods: &[MethodCounts]) -> MethodCounts {
    methods.iter().fold(MethodCounts::default(), |sum, method| sum.plus(method))
}

fn method(counts: &MethodCounts) -> Value {
    json!({
        "method": &*counts.method,
        "started": counts.started,
        "ok": counts.ok(),
        "failed": counts.failed(),
        "attempts": counts.attempts,
        "attempts_ok": counts.attempts_ok,
        "attempts_failed": counts.attempts_failed,
        "retries": counts.retries,
        "transparent": counts.transparent_retries,
        "p50_ms": maybe_ms(counts.quantile(0.5)),
        "p99_ms": maybe_ms(counts.quantile(0.99)),
        "waits_ms": waits(&counts.waits),
        "last_failure": counts.last_failure.as_ref().map(|last| json!({
            "code": code_name(last.code),
            "words": &*last.words,
            "at": timestamp(last.at),
        })),
    })
}

fn waits(waits: &Waits) -> Value {
    waits.by_reason().into_iter().map(|(reason, time)| (reason.to_owned(), ms(time))).collect()
}

pub(super) fn open_call(channel: &str, call: &OpenCall) -> Value {
    json!({
        "channel": channel,
        "number": call.number,
        "method": &*call.method,
        "stage": call.stage.to_string(),
        "waiting": call.waiting.as_deref(),
        "age_ms": ms(call.age),
        "left_ms": maybe_ms(call.left),
        "attempts": call.attempts,
        "retries": call.retries,
        "endpoint": (call.endpoint.0 > 0).then_some(call.endpoint.0),
    })
}

pub(super) fn story(channel: &str, story: &Arc<Story>) -> Value {
    let attempts = story.attempts.iter().map(|attempt| {
        json!({
            "attempt": attempt.attempt,
            "at_ms": ms(attempt.elapsed),
            "code": code_name(attempt.code()),
            "cause": attempt.failure.to_string(),
            "said": attempt.said.as_deref(),
            "transparent": attempt.transparent,
            "endpoint": (attempt.endpoint.0 > 0).then_some(attempt.endpoint.0),
        })
    });
    json!({
        "channel": channel,
        "at": timestamp(story.at),
        "method": &*story.method,
        "code": code_name(story.code),
        "words": story.words.as_deref(),
        "elapsed_ms": ms(story.elapsed),
        "on_wire_ms": ms(story.on_wire),
        "head_ms": maybe_ms(story.head),
        "waits_ms": waits(&story.waits),
        "attempts_made": story.attempts_made,
        "retries": story.retries,
        "transparent": story.transparent_retries,
        "failed_attempts": attempts.collect::<Vec<_>>(),
        "not_retried": story.not_retried.map(|reason| reason.to_string()),
        "maybe_processed": story.maybe_processed,
    })
}

/// An event with its fact's fields beside each other, as `--json` of the command has it.
pub(super) fn event(channel: &str, event: &Event) -> Value {
    let mut fields: Map<String, Value> = Map::new();
    fields.insert("channel".into(), json!(channel));
    fields.insert("seq".into(), json!(event.seq));
    fields.insert("at".into(), json!(timestamp(event.at)));
    fields.insert("event".into(), json!(event.fact.name()));
    fields.insert("sentence".into(), json!(event.fact.to_string()));
    for field in event.fact.fields() {
        let value = match field.value() {
            FieldValue::Flag(flag) => json!(flag),
            FieldValue::Number(number) => json!(number),
            FieldValue::Text(text) => json!(text),
            _ => Value::Null,
        };
        fields.insert(field.name().to_owned(), value);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_can_be_written() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_922_531_120);
        assert_eq!(timestamp(at), "2026-11-29T03:22:11.120Z");
        let never = UNIX_EPOCH.checked_sub(Duration::from_secs(1)).expect("a time");
        assert_eq!(timestamp(never), "1970-01-01T00:00:00.000Z");
        let late = UNIX_EPOCH + Duration::from_secs(1 << 42);
        assert_eq!(timestamp(late), "9999-12-31T23:59:59.000Z");
    }
}
