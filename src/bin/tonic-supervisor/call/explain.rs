//! `--explain`: what happened, in words, a line each. Pure: facts, the command's own steps and the
//! call's report come in with their times, and lines go out.
//!
//! Lines are made as things happen, so that a call that hangs shows why while it does. What only
//! the report knows comes when the call is over: each attempt with the time of its end, why there
//! was no further one, and whether the server may have acted on it.

use serde_json::{Value, json};
use std::{fmt, time::Duration};
use tonic::Code;
use tonic_supervisor::{AttemptReport, CallReport, Cause, Fact, NotRetried, printable};

/// One line. What has no time of its own belongs to the line before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    at: Option<Duration>,
    what: &'static str,
    text: String,
}

/// How a call ended.
pub(super) enum End<'a> {
    /// With OK, after so many answers.
    Ok { answers: usize },
    /// With this status, and its report where it has one.
    Failed { code: Code, text: &'a str, report: Option<&'a CallReport> },
    /// The user gave up.
    Interrupted,
}

/// Makes the lines.
#[derive(Debug)]
pub(super) struct Explain {
    /// Who is dialled.
    target: String,
    /// The call that the user asked for, and when it began.
    call: Option<(String, Duration)>,
    /// Whether this side is closing everything: the end of a link is no news then.
    closing: bool,
}

impl Explain {
    pub(super) fn new(target: String) -> Self {
        Self { target, call: None, closing: false }
    }

    /// What to say of a fact; nothing, where others say the same.
    pub(super) fn fact(&mut self, at: Duration, fact: &Fact) -> Option<Line> {
        if self.closing {
            return None;
        }
        let (what, text) = match fact {
            Fact::DrainStarted { .. } => {
                self.closing = true;
                return None;
            }
            Fact::StateChanged { .. }
            | Fact::SubchannelChanged { .. }
            | Fact::BackoffReset { .. }
            | Fact::CallShed { .. }
            | Fact::RetryThrottled { .. }
            | Fact::Closed { .. } => return None,
            Fact::DialStarted { incarnation, .. } => {
                ("dial", format!("{}, link {incarnation}", self.target))
            }
            Fact::DialFailed { failure, .. } => (failure.step.as_str(), failure.to_string()),
            Fact::LinkEstablished { incarnation, took, max_concurrent_streams, .. } => {
                let streams = match max_concurrent_streams {
                    Some(streams) => format!("at most {streams} streams at once"),
                    None => "no limit of streams".into(),
                };
                let took = short(*took);
                let text = format!("link {incarnation} up after {took}, SETTINGS read: {streams}");
                ("connected", text)
            }
            Fact::BackoffStarted { delay, .. } => {
                ("wait", format!("{} s until the next dial", seconds(*delay)))
            }
            Fact::ResolveFailed { .. }
            | Fact::EndpointAdded { .. }
            | Fact::EndpointRemoved { .. } => ("resolve", fact.to_string()),
            Fact::TlsMaterialRejected { .. } => ("tls", fact.to_string()),
            Fact::GoAwayReceived { .. } => ("goaway", fact.to_string()),
            Fact::LinkLost { .. } => ("lost", fact.to_string()),
            Fact::HealthChanged { .. } => ("health", fact.to_string()),
            Fact::RetryScheduled { method, code, cause, retry, of, delay, .. } => {
                let of = of.map_or_else(String::new, |of| format!(" of {of}"));
                // Reflection's calls are retried, too.
                let whose = match &self.call {
                    Some((call, _)) if **call == **method => String::new(),
                    _ => format!("{method}: "),
                };
                let (name, delay) = (code_name(*code), seconds(*delay));
                ("retry", format!("{whose}{retry}{of} in {delay} s, after {name}: {cause}"))
            }
            Fact::KeepaliveLost { .. } | Fact::KeepaliveBackedOff { .. } => {
                ("keepalive", fact.to_string())
            }
            other => ("note", other.to_string()),
        };
        Some(Line { at: Some(at), what, text: printable(&text).into_owned() })
    }

    /// A step of the command's own.
    pub(super) fn step(&self, at: Duration, what: &'static str, text: &str) -> Line {
        Line { at: Some(at), what, text: printable(text).into_owned() }
    }

    /// The call begins.
    pub(super) fn begin(&mut self, at: Duration, method: &str, text: &str) -> Line {
        self.call = Some((method.to_owned(), at));
        self.step(at, "call", &format!("{method} {text}"))
    }

    /// The call is over.
    pub(super) fn end(&self, at: Duration, end: &End<'_>) -> Vec<Line> {
        let began = self.call.as_ref().map_or(at, |(_, began)| *began);
        let took = seconds(at.saturating_sub(began));
        let line = |text: &str| self.step(at, "ended", text);
        match end {
            End::Ok { answers } => {
                vec![line(&format!("OK after {took} s, {}", counted(*answers, "answer")))]
            }
            End::Interrupted if self.call.is_none() => vec![line("by Ctrl-C")],
            End::Interrupted => vec![line(&format!("by Ctrl-C after {took} s"))],
            End::Failed { code, text, report } => {
                let said = if text.is_empty() { String::new() } else { format!(": {text}") };
                let mut lines = vec![line(&format!("{} after {took} s{said}", code_name(*code)))];
                let more = report.map_or_else(Vec::new, |report| account(began, report));
                lines.extend(more.into_iter().map(|text| Line {
                    at: None,
                    what: "",
                    text: printable(&text).into_owned(),
                }));
                lines
            }
        }
    }
}

/// What the report of a call that began at `began` adds.
fn account(began: Duration, report: &CallReport) -> Vec<String> {
    let attempts = report.attempts.iter();
    let mut lines: Vec<_> = attempts.map(|attempt| attempt_line(began, attempt)).collect();
    let left_out = (report.attempts_made as usize).saturating_sub(report.attempts.len());
    if left_out > 0 {
        lines.push(format!("and {} more", counted(left_out, "attempt")));
    }
    lines.extend(report.not_retried.map(|reason| match reason {
        NotRetried::LimitReached(0) => "not retried: retries are off".into(),
        NotRetried::MaybeProcessed => {
            "not retried: it is not idempotent, and the server may have acted on it".into()
        }
        reason => format!("not retried: {reason}"),
    }));
    if report.attempts_made == 0 {
        lines.push("it was never sent".into());
    } else if report.outcome.cause != Cause::Status
        && report.not_retried != Some(NotRetried::MaybeProcessed)
    {
        lines.push(match report.maybe_processed {
            true => "the server may have acted on it".into(),
            false => "the server certainly did not act on it".into(),
        });
    }
    let waits = report.waits.by_reason().into_iter().filter(|(_, time)| !time.is_zero());
    let waits: String =
        waits.map(|(reason, time)| format!("{reason} {}, ", seconds(time))).collect();
    let resent = match report.transparent_retries {
        0 => String::new(),
        resent => format!(", {resent} resent at once"),
    };
    let made = counted(report.attempts_made as usize, "attempt");
    lines.push(format!(
        "total {} s: {waits}wire {}; {made}, {}{resent}",
        seconds(report.elapsed),
        seconds(report.on_wire),
        match report.retries {
            1 => "1 retry".into(),
            retries => format!("{retries} retries"),
        },
    ));
    lines
}

fn attempt_line(began: Duration, attempt: &AttemptReport) -> String {
    let failure = &attempt.failure;
    let why = match failure.cause {
        Cause::Status => "the server's own answer".to_owned(),
        _ => failure.to_string(),
    };
    let then = if attempt.transparent { "; sent again at once" } else { "" };
    format!(
        "attempt {} ended at {}: {}, {why}{then}",
        attempt.attempt + 1,
        seconds(began.saturating_add(attempt.elapsed)),
        code_name(failure.code),
    )
}

impl Line {
    /// The same for programs.
    pub(super) fn object(&self) -> Value {
        let at = self.at.map(|at| at.as_millis() as u64);
        let kind = if self.what.is_empty() { "more" } else { self.what };
        json!({ "kind": kind, "at_ms": at, "text": self.text })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or_else(String::new, seconds);
        write!(f, "{at:>7}  {:<10} {}", self.what, self.text)
    }
}

/// gRPC's name for a code: `NOT_FOUND`.
pub(super) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Seconds to the millisecond: `1.005`.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// A time that may be very short: `0.3 ms`, `1.250 s`.
fn short(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1_000.0),
        _ => format!("{} s", seconds(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_grpc() {
        let names: Vec<_> = (0..17).map(|code| code_name(Code::from(code))).collect();
        assert_eq!(
            names[..6],
            ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"]
        );
        assert_eq!(names[14..], ["UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]);
    }

    #[test]
    fn words_of_others_are_escaped_and_bounded() {
        let explain = Explain::new("queue:1".into());
        let text = format!("\u{1b}[2J{}", "x".repeat(10_000));
        let end = End::Failed { code: Code::NotFound, text: &text, report: None };
        let lines = explain.end(Duration::ZERO, &end);
        let line = lines[0].to_string();
        assert!(line.len() < 3_000 && line.contains("\\u{1b}[2J"), "{line}");
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn every_fact_is_one_line_or_none() {
        let mut explain = Explain::new("queue:1".into());
        for fact in tonic_supervisor::testing::every_fact() {
            if let Some(line) = explain.fact(Duration::from_millis(1_500), &fact) {
                let line = line.to_string();
                assert!(line.starts_with("  1.500  ") && !line.contains('\n'), "{line}");
            }
            explain.closing = false;
        }
    }
}
