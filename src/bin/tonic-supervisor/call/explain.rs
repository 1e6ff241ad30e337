//! `--explain`: what happened, in words, a line each. Pure: facts, the command's own steps and the
//! call's report come in with their times, and lines go out.
//!
//! Lines are made as things happen, so that a call that hangs shows why while it does. What only
//! the report knows comes when the call is over: each attempt with the time of its end, why there
//! was no further one, and whether the server may have acted on it.

use super::account::Account;
use serde_json::{Value, json};
use std::{fmt, time::Duration};
use tonic::Code;
use tonic_supervisor::{CallReport, DialStep, Fact, LinkEnds, Story, printable};

/// One line. What has no time of its own belongs to the line before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    at: Option<Duration>,
    what: &'static str,
    text: String,
}

/// How a call ended.
pub(super) enum End<'a> {
    /// With OK, after so many answers; with its story.
    Ok { answers: usize, story: Option<&'a Story> },
    /// With this status; with its report, or the story of a stream that broke off.
    Failed { code: Code, text: &'a str, report: Option<&'a CallReport>, story: Option<&'a Story> },
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
    /// Whether a lookup apart from dials was told since the last dial began.
    resolved: bool,
}

impl Explain {
    pub(super) fn new(target: String) -> Self {
        Self { target, call: None, closing: false, resolved: false }
    }

    /// What to say of a fact; nothing, where others say the same.
    pub(super) fn fact(&mut self, at: Duration, fact: &Fact) -> Vec<Line> {
        if self.closing {
            return Vec::new();
        }
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
                self.resolved = false;
                ("dial", format!("{}, link {incarnation}", self.target))
            }
            Fact::DialFailed { failure, steps, .. } => {
                let (failed, text) = (failure.step, failure.to_string());
                let steps = steps.by_step();
                let took =
                    steps.into_iter().find_map(|(step, took)| took.filter(|_| step == failed));
                let text =
                    took.map_or(text.clone(), |took| format!("{text}, after {}", short(took)));
                let before = steps.into_iter().filter(|(step, _)| *step != failed);
                let mut lines = self.dialled(at, before, |_, time| format!("done in {time}"));
                lines.push(self.step(at, step_name(failed), &text));
                return lines;
            }
            Fact::LinkEstablished {
                incarnation,
                took,
                steps,
                max_concurrent_streams,
                ends,
                ..
            } => {
                let told = |step, time| match (step, max_concurrent_streams) {
                    (DialStep::Connect, _) => format!("{} in {time}", way(ends)),
                    (DialStep::Tls, _) => format!("{} in {time}", tls_text(ends)),
                    (DialStep::Handshake, Some(most)) => {
                        format!("SETTINGS in {time}: at most {most} streams at once")
                    }
                    (DialStep::Handshake, None) => {
                        format!("SETTINGS in {time}: no limit of streams")
                    }
                    _ => format!("done in {time}"),
                };
                let mut lines = self.dialled(at, steps.by_step(), told);
                let text = format!("link {incarnation} in {}", short(*took));
                lines.push(self.step(at, "connected", &text));
                return lines;
            }
            Fact::BackoffStarted { delay, .. } => {
                ("wait", format!("{} s until the next dial", seconds(*delay)))
            }
            Fact::NameResolved { endpoints, took, .. } => {
                self.resolved = true;
                let endpoints = counted(*endpoints as usize, "endpoint");
                ("resolve", format!("{endpoints} in {}", short(*took)))
            }
            Fact::ResolveFailed { took, .. } => {
                ("resolve", format!("{fact}, after {}", short(*took)))
            }
            Fact::EndpointAdded { .. } | Fact::EndpointRemoved { .. } => {
                ("resolve", fact.to_string())
            }
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
        vec![self.step(at, what, &text)]
    }

    /// The steps of a dial, each with its time. One lookup is told once.
    fn dialled(
        &self,
        at: Duration,
        steps: impl IntoIterator<Item = (DialStep, Option<Duration>)>,
        told: impl Fn(DialStep, String) -> String,
    ) -> Vec<Line> {
        let taken = steps.into_iter().filter_map(|(step, time)| Some((step, time?)));
        taken
            .filter(|(step, _)| !(self.resolved && *step == DialStep::Resolve))
            .map(|(step, time)| self.step(at, step_name(step), &told(step, short(time))))
            .collect()
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
            End::Failed { code, text, report, story } => {
                let said = if text.is_empty() { String::new() } else { format!(": {text}") };
                let first = line(&format!("{} after {took} s{said}", code_name(*code)));
                let account = story.map(Account::of_story);
                let account = account.or_else(|| report.map(Account::of_report));
                with_account(first, began, account.as_ref())
            }
        }
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

/// The connector may have spoken TLS by itself.
fn tls_text(ends: &LinkEnds) -> String {
    let Some(tls) = &ends.tls else { return "done".into() };
    let until = tls.certificate_until_unix().and_then(|seconds| seconds.try_into().ok());
    let until = until.map_or_else(String::new, |seconds| {
        let until = prost_types::Timestamp { seconds, nanos: 0 };
        format!(", certificate until {until}")
    });
    format!("{tls}{until}")
}

fn step_name(step: DialStep) -> &'static str {
    match step {
        DialStep::Handshake => "http/2",
        step => step.as_str(),
    }
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
        let end = End::Failed { code: Code::NotFound, text: &text, report: None, story: None };
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
