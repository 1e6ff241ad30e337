//! A plan in words: one line for each question, and behind each value who said it.
//!
//! `SubmitTask: unary (grpc.yaml:9:13), idempotent (default), deadline 60 s (default)`, then the
//! attempts, what they are made after, three kinds of trouble, the load, and notes.

use super::{
    Plan,
    words::{count, decimal, folded, nth, number, percent},
};
use crate::{
    model::{CallKind, NotRetried, code_name, printable},
    policy::{CallPlan, RetryLimit, ThrottleRule},
};
use std::fmt::{self, Write as _};

/// So many attempts stand in one line.
const IN_A_LINE: usize = 3;

/// So many waits between dials are listed.
const WAITS: usize = 7;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&folded(&printable(&self.head())))?;
        let lines = self.attempts().into_iter().chain([
            self.schedule(),
            self.codes(),
            self.unavailable_words(),
            self.silent_words(),
            self.dead_path_words(),
        ]);
        let lines = lines.chain(self.no_link()).chain([self.load()]);
        let mut lines = lines.chain(self.notes());
        lines.try_for_each(|line| write!(f, "\n{}", folded(&format!("  {}", printable(&line)))))
    }
}

impl Plan {
    /// Who said a key's value.
    fn said(&self, path: &str) -> String {
        let setting = self.settings.iter().find(|setting| setting.key() == path);
        setting.map(|setting| setting.location()).unwrap_or_default()
    }

    /// The same for several keys at once.
    fn said_of_all(&self, paths: &[&str]) -> String {
        let of_them = |path: &&str| paths.contains(path);
        let set = self.settings.iter().filter(|it| of_them(&it.key()) && !it.is_default());
        let set: Vec<_> = set.map(|it| format!("{}: {}", it.key(), it.location())).collect();
        match set.len() {
            0 => "default".into(),
            all if all == paths.len() => set.join(", "),
            _ => format!("{}, else default", set.join(", ")),
        }
    }

    fn head(&self) -> String {
        let streaming = self.kind == CallKind::Streaming;
        let kind = match (self.kind, self.said("kind").as_str()) {
            (CallKind::Unary, said) => format!("unary ({said})"),
            (CallKind::Streaming, "default") => {
                format!("streaming (retry_undescribed: false, {})", self.said("retry_undescribed"))
            }
            (CallKind::Streaming, said) => format!("streaming ({said})"),
            (CallKind::Auto, said) => format!("auto ({said})"),
        };
        let idempotent = if self.idempotent { "idempotent" } else { "not idempotent" };
        let time = match (self.timeout, self.kind) {
            (Some(time), CallKind::Unary) => format!("deadline {} s", number(time)),
            (None, CallKind::Unary) => "no deadline".into(),
            (Some(time), _) => format!("at most {} s off the wire", number(time)),
            (None, _) => "any time off the wire".into(),
        };
        let mut head = format!(
            "{}: {kind}, {idempotent} ({}), {time} ({})",
            self.method,
            self.said("idempotent"),
            self.said("timeout")
        );
        if let Some(time) = self.attempt_timeout.filter(|_| !streaming) {
            let _ = write!(head, ", {} s per attempt ({})", number(time), self.said(ATTEMPT));
        }
        if !self.wait_for_ready {
            let _ = write!(head, ", does not wait for a link ({})", self.said("wait_for_ready"));
        }
        head
    }

    /// When attempts begin, if each fails at once with a code that is retried.
    fn attempts(&self) -> Vec<String> {
        let plan = &self.retried;
        let after = match code_name(self.retried_code()) {
            "UNAVAILABLE" => String::new(),
            code => format!("after {code}: "),
        };
        if plan.made == 1 {
            let why = self.why_no_retry(plan);
            return vec![format!("{after}attempt 1 at 0.0 s, and no other: {why}")];
        }
        let mut items: Vec<String> = Vec::new();
        for (n, attempt) in plan.attempts.iter().enumerate() {
            let begins = format!("attempt {} at {} s", n + 1, decimal(attempt.at));
            items.push(match attempt.wait {
                Some(wait) => format!("{begins}, wait {}", decimal(wait)),
                None => format!("{begins}, the last"),
            });
        }
        if plan.made as usize > plan.attempts.len() {
            items.push(format!("and so on: {} attempts in all", count(plan)));
        }
        let mut lines: Vec<String> =
            items.chunks(IN_A_LINE).map(|items| items.join(";  ")).collect();
        let last = lines.len() - 1;
        lines[..last].iter_mut().for_each(|line| line.push(';'));
        lines[0].insert_str(0, &after);
        lines
    }

    fn schedule(&self) -> String {
        let limit = self.said("max_retry_attempts");
        let retries = match self.retry.limit {
            _ if self.kind == CallKind::Streaming => {
                return "no retries by policy: a stream is sent again only if the server certainly \
                        did not process it"
                    .into();
            }
            RetryLimit::AtMost(0) => return format!("no retries ({limit})"),
            RetryLimit::AtMost(1) => format!("at most 1 retry ({limit})"),
            RetryLimit::AtMost(most) => format!("at most {most} retries ({limit})"),
            RetryLimit::Unlimited => {
                format!("retries without limit, until the time is over ({limit})")
            }
        };
        let backoff = &self.retry.backoff;
        let mut line = format!(
            "{retries}, waits from {} s ({}) times {} ({}) up to {} s ({})",
            number(backoff.initial),
            self.said("initial_backoff"),
            backoff.multiplier,
            self.said("backoff_multiplier"),
            number(backoff.max),
            self.said("max_backoff"),
        );
        if self.retry.jitter > 0.0 {
            let said = self.said("backoff_jitter");
            let _ = write!(line, ", each +-{} % ({said})", percent(self.retry.jitter));
        }
        line
    }

    fn codes(&self) -> String {
        let said = self.said("retryable_status_codes");
        let codes: Vec<_> = self.retried_codes().collect();
        match codes.is_empty() {
            _ if self.kind == CallKind::Streaming => "again on: no code, of a stream".into(),
            true => format!("again on: no code ({said})"),
            false => format!("again on: {} ({said})", codes.join(" ")),
        }
    }

    fn unavailable_words(&self) -> String {
        let plan = &self.unavailable;
        let fails = match plan.end {
            None => format!("the call goes on for {} attempts", count(plan)),
            Some(end) if plan.made == 1 => {
                let why = self.why_no_retry(plan);
                format!("the call fails after {} s with it: {why}", decimal(end.at))
            }
            Some(end) => {
                let mut fails = format!("the call fails after {} s", decimal(end.at));
                let _ = match end.code {
                    tonic::Code::Unavailable => write!(fails, " with the {}", nth(plan.made)),
                    code => write!(fails, " with {}", code_name(code)),
                };
                match end.not_retried {
                    Some(NotRetried::LimitReached(_)) | None => {}
                    Some(why) => drop(write!(fails, ": {why}")),
                }
                fails
            }
        };
        format!("a server that answers UNAVAILABLE at once: {fails}")
    }

    fn silent_words(&self) -> String {
        let (plan, none) = (&self.silent, |path| format!("{path}: none, {}", self.said(path)));
        let fails = match plan.end {
            Some(end) => {
                let limit = match self.attempt_timeout {
                    Some(time) => {
                        format!("{ATTEMPT} {} s, {}", number(time), self.said(ATTEMPT))
                    }
                    None => none(ATTEMPT),
                };
                let begins: Vec<_> = plan.attempts.iter().map(|it| decimal(it.at)).collect();
                let several = match plan.made as usize {
                    1 => String::new(),
                    made if made > begins.len() => {
                        format!("attempts at {} ... s; ", begins.join(" "))
                    }
                    _ => format!("attempts at {} s; ", begins.join(" ")),
                };
                let (at, code) = (decimal(end.at), code_name(end.code));
                format!(
                    "{several}fails after {at} s with {code} in attempt {} ({limit})",
                    plan.made
                )
            }
            None if plan.made > 1 => format!("goes on for {} attempts", count(plan)),
            None => match self.kind {
                CallKind::Unary => {
                    format!("nothing ends the call ({}; {})", none("timeout"), none(ATTEMPT))
                }
                CallKind::Auto => format!(
                    "nothing ends the call: timeout does not bound it on the wire ({})",
                    none(ATTEMPT)
                ),
                CallKind::Streaming => "nothing ends the call but a deadline of its own".into(),
            },
        };
        format!("a server that answers nothing: {fails}")
    }

    fn dead_path_words(&self) -> String {
        let Some(time) = self.keepalive else {
            let said = self.said("keepalive_time");
            return format!("nothing notices a dead path (keepalive_time: none, {said})");
        };
        let said = self.said_of_all(&["keepalive_time", "keepalive_timeout"]);
        let sum =
            format!("keepalive {} + {}, {said}", number(time), number(self.keepalive_timeout));
        match self.dead_path {
            Some(noticed) => {
                format!("a dead path is noticed after at most {} s ({sum})", decimal(noticed))
            }
            None => format!("a dead path is noticed late ({sum})"),
        }
    }

    fn no_link(&self) -> Vec<String> {
        let said = self.said("connect_timeout");
        let dial = format!("connect_timeout {} s, {said}", number(self.connect_timeout));
        if !self.wait_for_ready
            && let (Some(refused), Some(dropped)) = (self.refused.end, self.dropped.end)
        {
            return vec![format!(
                "no link: fails when a dial has failed, after {} s if that is refused, after {} s \
                 if nobody answers (wait_for_ready: false, {}; {dial})",
                decimal(refused.at),
                decimal(dropped.at),
                self.said("wait_for_ready")
            )];
        }
        let waits = match self.refused.end {
            Some(end) => format!("waits up to {} s", number(end.at)),
            None => {
                format!("waits for as long as that lasts (timeout: none, {})", self.said("timeout"))
            }
        };
        let dials = &self.refused.dials;
        let between: Vec<_> = dials.windows(2).map(|pair| decimal(pair[1] - pair[0])).collect();
        let more = if between.len() > WAITS { " ..." } else { "" };
        let between = &between[..between.len().min(WAITS)];
        let by = self.said_of_all(&[
            "reconnect.waiting_initial_backoff",
            "reconnect.waiting_backoff_multiplier",
            "reconnect.waiting_max_backoff",
            "reconnect.refused_max_backoff",
            "reconnect.jitter",
        ]);
        let redials = match between.is_empty() {
            true => "no second dial until then".into(),
            false => format!(
                "dials after {}{more} s (+-{} %; {by})",
                between.join(" "),
                percent(self.reconnect_jitter)
            ),
        };
        let begins: Vec<_> = self.dropped.dials.iter().map(|at| decimal(*at)).collect();
        let more = if begins.len() > WAITS { " ..." } else { "" };
        let begins = begins[..begins.len().min(WAITS)].join(" ");
        vec![
            format!("no link: {waits}; {redials}"),
            format!("where nobody answers, dials at {begins}{more} s ({dial})"),
        ]
    }

    fn load(&self) -> String {
        let plan = &self.unavailable;
        let requests = match plan.made {
            1 => return "load in an outage: 1 request per call".into(),
            _ => format!("{} requests per call", count(plan)),
        };
        let said = |key: &str| format!("{key}, {}", self.said(key));
        let load = match self.throttle {
            ThrottleRule::Off => format!(
                "{requests}, of a busy client, too (retry_throttle.enabled: false, {})",
                self.said("retry_throttle.enabled")
            ),
            ThrottleRule::Share { ratio, floor } => format!(
                "a quiet client {requests}, a busy one at most {} per call + {floor}/s \
                 (retry_throttle: {})",
                ((1.0 + ratio) * 1_000.0).round() / 1_000.0,
                self.said_of_all(&["retry_throttle.ratio", "retry_throttle.floor"])
            ),
            ThrottleRule::Bucket { max_tokens, .. } => format!(
                "a quiet client {requests}, a busy one 1 per call while less than half of \
                 {max_tokens} tokens are left ({})",
                said("retry_throttle.max_tokens")
            ),
        };
        format!("load in an outage: {load}")
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.unavailable.end {
            Some(end) if end.at.is_zero() => notes.push(
                "note: a rolling restart that answers UNAVAILABLE costs calls, however short it is"
                    .into(),
            ),
            Some(end) => {
                let about = if self.retry.jitter > 0.0 { "about " } else { "" };
                notes.push(format!(
                    "note: a rolling restart that answers UNAVAILABLE for longer than {about}{} s \
                     costs calls",
                    number(end.at)
                ));
            }
            None => {}
        }
        if self.several {
            notes.push(
                "note: several servers share the calls, and a retry goes to another one: this is \
                 what happens where all of them behave so"
                    .into(),
            );
        }
        if !self.wait_for_ready {
            notes.push("note: calls that are made while there is no link fail".into());
        }
        if self.kind == CallKind::Auto {
            notes.push(
                "note: a call of kind auto is retried until its answer begins, and its timeout is \
                 no deadline; descriptors or `kind: unary` change both"
                    .into(),
            );
        }
        let unsaid = self.kind != CallKind::Streaming && self.said("idempotent") == "default";
        if unsaid {
            notes.push(
                "note: the command proxy takes calls of which nobody says `idempotent` for such \
                 that must not run twice"
                    .into(),
            );
        }
        notes
    }

    fn why_no_retry(&self, plan: &CallPlan) -> String {
        match plan.end.and_then(|end| end.not_retried) {
            Some(NotRetried::LimitReached(0)) => {
                format!("no retries (max_retry_attempts, {})", self.said("max_retry_attempts"))
            }
            Some(NotRetried::MaybeProcessed) => format!(
                "the server may have acted on it (idempotent: false, {})",
                self.said("idempotent")
            ),
            Some(why) => why.to_string(),
            None if self.kind == CallKind::Streaming => "streams are never retried".into(),
            None if plan.end.is_some_and(|end| end.code == tonic::Code::DeadlineExceeded) => {
                "its time is over".into()
            }
            None => format!(
                "it is not retried (retryable_status_codes, {})",
                self.said("retryable_status_codes")
            ),
        }
    }
}

const ATTEMPT: &str = "attempt_timeout";
