//! `--explain`: what happened, in words, a line each. Pure: facts, the command's own steps and the
//! call's report come in with their times, and lines go out.
//!
//! Lines are made as things happen, so that a call that hangs shows why while it does. What only
//! the report knows comes when the call is over: each attempt with the time of its end, why there
//! was no further one, and whether the server may have acted on it.

use serde_json::{Value, json};
use std::{fmt, time::Duration};
use tonic::Code;
use tonic_supervisor::{
    AttemptReport, CallReport, Cause, Fact, LinkEnds, NotRetried, Story, Waits, printable,
};

/// One line. What has no time of its own belongs to the line before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    at: Option<Duration>,
    what: &'static str,
    text: String,
}

/// How a call ended.
pub(super) enum End<'a> {
    /// With OK, after so many answers; with its story, unless it streams.
    Ok { answers: usize, story: Option<&'a Story> },
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
    pub(super) fn fact(&mut self, at: Duration, fact: &Fact) -> Vec<Line> {
        if self.closing {
            return Vec::new();
        }
        let (mut tls, mut settings) = (None, None);
        let (what, text) = match fact {
            Fact::DrainStarted { .. } => {
                self.closing = true;
                return Vec::new();
            }
            Fact::StateChanged { .. }
            | Fact::SubchannelChanged { .. }
            | Fact::BackoffReset { .. }
            | Fact::CallShed { .. }
            | Fact::RetryThrottled { .. }
            | Fact::Closed { .. } => return Vec::new(),
            Fact::DialStarted { incarnation, .. } => {
                ("dial", format!("{}, link {incarnation}", self.target))
            }
            Fact::DialFailed { failure, .. } => (failure.step.as_str(), failure.to_string()),
            Fact::LinkEstablished { incarnation, took, max_concurrent_streams, ends, .. } => {
                tls = tls_text(ends);
                settings = Some(match max_concurrent_streams {
                    Some(streams) => format!("SETTINGS read: at most {streams} streams at once"),
                    None => "SETTINGS read: no limit of streams".into(),
                });
                let (way, took) = (way(ends), short(*took));
                ("connected", format!("link {incarnation}: {way} in {took}"))
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
        let line = self.step(at, what, &text);
        let tls = tls.map(|text| self.step(at, "tls", &text));
        let settings = settings.map(|text| self.step(at, "http/2", &text));
        [line].into_iter().chain(tls).chain(settings).collect()
    }

    /// A step of the command's own.
    pub(super) fn step(&self, at: Duration, what: &'static str, text: &str) -> Line {
        Line { at: Some(at), what, text: printable(text).into_owned() }
    }

    /// Some that belong together: the first has the time.
    pub(super) fn steps(&self, at: Duration, what: &'static str, texts: &[String]) -> Vec<Line> {
        let mut lines: Vec<_> = texts.iter().map(|text| Line::more(text)).collect();
        if let Some(first) = lines.first_mut() {
            (first.at, first.what) = (Some(at), what);
        }
        lines
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
            End::Ok { answers, story } => {
                let first = line(&format!("OK after {took} s, {}", counted(*answers, "answer")));
                let account = story.map(Account::of_story);
                with_account(first, began, account.as_ref())
            }
            End::Interrupted if self.call.is_none() => vec![line("by Ctrl-C")],
            End::Interrupted => vec![line(&format!("by Ctrl-C after {took} s"))],
            End::Failed { code, text, report } => {
                let said = if text.is_empty() { String::new() } else { format!(": {text}") };
                let first = line(&format!("{} after {took} s{said}", code_name(*code)));
                let account = report.map(Account::of_report);
                with_account(first, began, account.as_ref())
            }
        }
    }
}

/// What a story and a report tell alike.
struct Account<'a> {
    /// Those that failed.
    attempts: &'a [AttemptReport],
    made: u32,
    retries: u32,
    resent: u32,
    /// Why the call failed, if it did.
    cause: Option<&'a Cause>,
    not_retried: Option<NotRetried>,
    maybe_processed: bool,
    waits: &'a Waits,
    on_wire: Duration,
    elapsed: Duration,
}

impl<'a> Account<'a> {
    fn of_story(story: &'a Story) -> Self {
        Self {
            attempts: &story.attempts,
            made: story.attempts_made,
            retries: story.retries,
            resent: story.transparent_retries,
            cause: story.outcome.as_ref().map(|outcome| &outcome.cause),
            not_retried: story.not_retried,
            maybe_processed: story.maybe_processed,
            waits: &story.waits,
            on_wire: story.on_wire,
            elapsed: story.elapsed,
        }
    }

    fn of_report(report: &'a CallReport) -> Self {
        Self {
            attempts: &report.attempts,
            made: report.attempts_made,
            retries: report.retries,
            resent: report.transparent_retries,
            cause: Some(&report.outcome.cause),
            not_retried: report.not_retried,
            maybe_processed: report.maybe_processed,
            waits: &report.waits,
            on_wire: report.on_wire,
            elapsed: report.elapsed,
        }
    }

    /// Of a call that began at `began`.
    fn lines(&self, began: Duration) -> Vec<String> {
        let attempts = self.attempts.iter();
        let mut lines: Vec<_> = attempts.map(|attempt| attempt_line(began, attempt)).collect();
        // The last one of a call that ended well has not failed.
        let failed = self.made.saturating_sub(u32::from(self.cause.is_none()));
        let left_out = (failed as usize).saturating_sub(self.attempts.len());
        if left_out > 0 {
            lines.push(format!("and {} more that failed", counted(left_out, "attempt")));
        }
        lines.extend(self.not_retried.map(|reason| match reason {
            NotRetried::LimitReached(0) => "not retried: retries are off".into(),
            NotRetried::MaybeProcessed => {
                "not retried: it is not idempotent, and the server may have acted on it".into()
            }
            reason => format!("not retried: {reason}"),
        }));
        if self.made == 0 {
            lines.push("it was never sent".into());
        } else if self.cause.is_some_and(|cause| *cause != Cause::Status)
            && self.not_retried != Some(NotRetried::MaybeProcessed)
        {
            lines.push(match self.maybe_processed {
                true => "the server may have acted on it".into(),
                false => "the server certainly did not act on it".into(),
            });
        }
        lines.push(self.total());
        lines
    }

    /// Where the time went, and how many attempts there were.
    fn total(&self) -> String {
        let waits = self.waits.by_reason().into_iter().filter(|(_, time)| !time.is_zero());
        let waits: String =
            waits.map(|(reason, time)| format!("{reason} {}, ", seconds(time))).collect();
        let resent = match self.resent {
            0 => String::new(),
            resent => format!(", {resent} resent at once"),
        };
        let retries = match self.retries {
            1 => "1 retry".into(),
            retries => format!("{retries} retries"),
        };
        let (total, wire) = (seconds(self.elapsed), seconds(self.on_wire));
        let made = counted(self.made as usize, "attempt");
        format!("total {total} s: {waits}wire {wire}; {made}, {retries}{resent}")
    }
}

fn with_account(first: Line, began: Duration, account: Option<&Account<'_>>) -> Vec<Line> {
    let more = account.map_or_else(Vec::new, |account| account.lines(began));
    [first].into_iter().chain(more.iter().map(|text| Line::more(text))).collect()
}

/// Between which addresses.
fn way(ends: &LinkEnds) -> String {
    match &ends.local {
        Some(local) => format!("{local} -> {}", ends.remote),
        None => ends.remote.to_string(),
    }
}

fn tls_text(ends: &LinkEnds) -> Option<String> {
    let tls = ends.tls.as_ref()?;
    let until = tls.certificate_until_unix().and_then(|seconds| seconds.try_into().ok());
    let until = until.map_or_else(String::new, |seconds| {
        let until = prost_types::Timestamp { seconds, nanos: 0 };
        format!(", certificate until {until}")
    });
    Some(format!("{tls}{until}"))
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
    /// One that belongs to the line before.
    fn more(text: &str) -> Self {
        Self { at: None, what: "", text: printable(text).into_owned() }
    }

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
            for line in explain.fact(Duration::from_millis(1_500), &fact) {
                let line = line.to_string();
                assert!(line.starts_with("  1.500  ") && !line.contains('\n'), "{line}");
            }
            explain.closing = false;
        }
    }
}
