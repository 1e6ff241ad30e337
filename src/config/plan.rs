//! What a configuration means for the calls of one method: attempts, waits, dials and ends, as a
//! time line. For people who ask what will happen when the server dies, before it does.
//!
//! The times are those of the chapter `policy`, whose machines also run; here its questions are
//! asked with the values that hold for the method, and each value keeps who said it. The words are
//! in `text` and `words`.

mod text;
mod words;

use super::{
    balancing::Balancing,
    effective::Effective,
    method::{self, MethodRule},
    settings::Config,
};
use crate::{
    model::{CallKind, code_name},
    policy::{
        CallPlan, CodeSet, DialPlan, RetryPolicy, Server, Terms, ThrottleRule, Way, plan_call,
        plan_dials, silence_noticed,
    },
};
use std::{
    fmt,
    time::{Duration, Instant},
};
use tonic::Code;

/// The keys that a plan is made of.
const KEYS: &[&str] = &[
    "kind",
    "idempotent",
    "timeout",
    "attempt_timeout",
    "wait_for_ready",
    "retry_undescribed",
    "max_retry_attempts",
    "initial_backoff",
    "backoff_multiplier",
    "max_backoff",
    "backoff_jitter",
    "retryable_status_codes",
    "retry_throttle.enabled",
    "retry_throttle.ratio",
    "retry_throttle.floor",
    "retry_throttle.max_tokens",
    "retry_throttle.token_ratio",
    "keepalive_time",
    "keepalive_timeout",
    "keepalive_floor",
    "connect_timeout",
    "reconnect.waiting_initial_backoff",
    "reconnect.waiting_backoff_multiplier",
    "reconnect.waiting_max_backoff",
    "reconnect.refused_max_backoff",
    "reconnect.jitter",
];

/// What becomes of a method's calls: made by [`Config::plan`], and printed by
/// `check-config --plan`. `{}` is the plan in words, several lines.
///
/// It is about calls that say nothing for themselves ([`CallOptions`](crate::CallOptions)), and
/// whose method no descriptors describe. Where waits vary by a jitter, the times are those in the
/// middle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// `pkg.Service/Method`.
    pub method: String,
    /// What kind of calls they are.
    pub kind: CallKind,
    /// Whether running a call twice does no harm.
    pub idempotent: bool,
    /// The time limit that is configured: of the whole call if it is unary, else off the wire.
    pub timeout: Option<Duration>,
    /// The time one attempt may take; never for streams.
    pub attempt_timeout: Option<Duration>,
    /// Whether calls wait for a link.
    pub wait_for_ready: bool,
    /// When failed attempts are tried again.
    pub retry: RetryPolicy,
    /// How retries after the server's statuses are throttled.
    pub throttle: ThrottleRule,
    /// A server that answers at once with [`retried_code`](Self::retried_code).
    pub retried: CallPlan,
    /// The same with UNAVAILABLE, as servers do that are overloaded or restart.
    pub unavailable: CallPlan,
    /// A server that answers nothing.
    pub silent: CallPlan,
    /// After how long at most a dead path is noticed while a call waits for its answer; none: by
    /// nothing, or not soon.
    pub dead_path: Option<Duration>,
    /// There is no link, and dials are refused at once.
    pub refused: DialPlan,
    /// There is no link, and nobody answers dials: each takes `connect_timeout`.
    pub dropped: DialPlan,
    /// Every key that the plan is made of, with its value and who said it.
    pub settings: Vec<Effective>,
    /// Whether calls go to more than one server.
    several: bool,
    /// The keepalive time that is used.
    keepalive: Option<Duration>,
    keepalive_timeout: Duration,
    reconnect_jitter: f64,
    connect_timeout: Duration,
}

/// Text that is no method's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMethod(String);

impl fmt::Display for InvalidMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidMethod {}

impl Config {
    /// What becomes of the calls of `method`, named `pkg.Service/Method`, under this configuration:
    /// computed by what also runs.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tonic_supervisor::Config;
    /// let plan = Config::default().plan("queue.Tasks/Submit")?;
    /// let attempts = &plan.unavailable.attempts;
    /// let times: Vec<u64> = attempts.iter().map(|attempt| attempt.at.as_secs()).collect();
    /// assert_eq!(times, [0, 1, 3, 7]);
    /// assert_eq!(plan.refused.end.map(|end| end.at), Some(Duration::from_secs(60)));
    /// # Ok::<(), tonic_supervisor::config::InvalidMethod>(())
    /// ```
    pub fn plan(&self, method: &str) -> Result<Plan, InvalidMethod> {
        let Some(patterns) = method::patterns_of(method) else {
            let advice = method::method_meant_by(method);
            return Err(InvalidMethod(format!(
                "{method:?} is not a method: it must be `pkg.Service/Method`{advice}"
            )));
        };
        // Any moment will do: only times that count from it show.
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let terms = self.terms(self.method(method));
        let reconnect = &self.reconnect;
        let schedules = reconnect.schedules();
        let answers = |code| plan_call(&terms, Server::Answers(code), start);
        let dials = |way| plan_dials(&terms, way, schedules, start);
        let keepalive = self.effective_keepalive_time();
        let noticed = |time| silence_noticed(time, self.keepalive.timeout, start);
        Ok(Plan {
            method: method.to_owned(),
            kind: terms.kind,
            idempotent: terms.idempotent,
            timeout: terms.timeout,
            attempt_timeout: terms.attempt_timeout,
            wait_for_ready: terms.wait_for_ready,
            retry: terms.policy,
            throttle: terms.throttle,
            retried: answers(retried_code(terms.policy.codes)),
            unavailable: answers(Code::Unavailable),
            silent: plan_call(&terms, Server::Silent, start),
            dead_path: keepalive.and_then(noticed),
            refused: dials(Way::Refused),
            dropped: dials(Way::Dropped(self.connect_timeout)),
            settings: KEYS.iter().map(|path| self.provenance.holding(&patterns, path)).collect(),
            several: self.balancing != Balancing::PickFirst,
            keepalive,
            keepalive_timeout: self.keepalive.timeout,
            reconnect_jitter: reconnect.jitter,
            connect_timeout: self.connect_timeout,
        })
    }

    /// What holds for a call that says nothing for itself.
    fn terms(&self, rule: Option<&MethodRule>) -> Terms {
        let kind = rule.and_then(|rule| rule.kind).unwrap_or(self.undescribed_kind());
        Terms {
            policy: self.retry_for(rule),
            throttle: self.throttle,
            kind,
            is_undescribed: rule.is_none_or(|rule| rule.kind.is_none()),
            idempotent: rule.and_then(|rule| rule.idempotent).unwrap_or(true),
            timeout: self.timeout_for(rule),
            attempt_timeout: self.attempt_timeout_for(rule).filter(|_| kind != CallKind::Streaming),
            wait_for_ready: rule
                .and_then(|rule| rule.wait_for_ready)
                .unwrap_or(self.wait_for_ready),
        }
    }

    /// What a call is of which nobody says anything.
    pub(crate) fn undescribed_kind(&self) -> CallKind {
        if self.retry_undescribed { CallKind::Auto } else { CallKind::Streaming }
    }

    /// The retry policy for the methods of a rule.
    pub(crate) fn retry_for(&self, rule: Option<&MethodRule>) -> RetryPolicy {
        rule.map_or(self.retry, |rule| rule.retry)
    }

    /// The time limit for the methods of a rule.
    pub(crate) fn timeout_for(&self, rule: Option<&MethodRule>) -> Option<Duration> {
        rule.and_then(|rule| rule.timeout).unwrap_or(self.timeout)
    }

    /// The time limit of an attempt for the methods of a rule.
    pub(crate) fn attempt_timeout_for(&self, rule: Option<&MethodRule>) -> Option<Duration> {
        rule.and_then(|rule| rule.attempt_timeout).unwrap_or(self.attempt_timeout)
    }
}

impl Plan {
    /// The code whose retries [`retried`](Self::retried) lists: UNAVAILABLE, or the first that is
    /// retried at all.
    pub fn retried_code(&self) -> Code {
        retried_code(self.retry.codes)
    }

    /// The names of the codes that are retried.
    pub fn retried_codes(&self) -> impl Iterator<Item = &'static str> {
        self.retry.codes.iter().map(code_name)
    }
}

fn retried_code(codes: CodeSet) -> Code {
    let first = codes.iter().next().unwrap_or(Code::Unavailable);
    if codes.contains(Code::Unavailable) { Code::Unavailable } else { first }
}
