//! What holds for some methods only: the rule that was checked, and the options to say it with.

use super::{keys::METHOD_KEYS, value::Value};
use crate::{
    model::CallKind,
    policy::{RetryLimit, RetryPolicy},
};
use std::time::Duration;
use tonic::Code;

/// What holds for the methods that a pattern names. A key that the pattern does not set comes from the next wider
/// pattern that does, and then from the configuration for all calls.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRule {
    pub(crate) pattern: String,
    pub(crate) kind: Option<CallKind>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) attempt_timeout: Option<Option<Duration>>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) retry: RetryPolicy,
}

impl MethodRule {
    /// `pkg.Service/Method`, `pkg.Service/*` or `*`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What kind of calls they are, if configured; streams are never retried.
    pub fn kind(&self) -> Option<CallKind> {
        self.kind
    }

    /// Whether running a call twice does no harm, if configured.
    pub fn idempotent(&self) -> Option<bool> {
        self.idempotent
    }

    /// The time a whole call may take, if configured for methods; `Some(None)`: no limit.
    pub fn timeout(&self) -> Option<Option<Duration>> {
        self.timeout
    }

    /// The time one attempt may take, if configured for methods; `Some(None)`: no limit.
    pub fn attempt_timeout(&self) -> Option<Option<Duration>> {
        self.attempt_timeout
    }

    /// Whether calls wait for a link, if configured for methods.
    pub fn wait_for_ready(&self) -> Option<bool> {
        self.wait_for_ready
    }

    /// When failed attempts are tried again: the policy for all calls, overlaid with the keys for methods.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Whether the pattern names `method`.
    pub(super) fn matches(&self, method: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => method.starts_with(start),
            None => self.pattern == method,
        }
    }
}

/// `pattern` and the wider ones, the narrowest first; none if it is no pattern.
pub(super) fn chain(pattern: &str) -> Option<Vec<String>> {
    if pattern == "*" {
        return Some(vec!["*".into()]);
    }
    let (service, method) = pattern.split_once('/')?;
    let plain = |name: &str| !name.is_empty() && !name.contains(|c: char| c == '/' || c == '*' || c.is_whitespace());
    let service_rule = format!("{service}/*");
    match method {
        "*" if plain(service) => Some(vec![service_rule, "*".into()]),
        method if plain(service) && plain(method) => Some(vec![pattern.into(), service_rule, "*".into()]),
        _ => None,
    }
}

/// What the builder says about some methods.
///
/// ```
/// use tonic_supervisor::{Config, MethodOptions};
/// let once = MethodOptions::new().unary().idempotent(false);
/// let config = Config::builder().method("queue.Tasks/Submit", once).build()?;
/// assert_eq!(config.method("/queue.Tasks/Submit").and_then(|rule| rule.idempotent()), Some(false));
/// # Ok::<(), tonic_supervisor::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a configuration has them"]
pub struct MethodOptions {
    pub(super) settings: Vec<(&'static str, Value)>,
}

impl MethodOptions {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The methods are unary: retried, and their answers are held back until their status is known.
    pub fn unary(self) -> Self {
        self.kind(CallKind::Unary)
    }

    /// At least one side streams: never retried.
    pub fn streaming(self) -> Self {
        self.kind(CallKind::Streaming)
    }

    /// Unary, streaming, or [`CallKind::Auto`]: what the call says, or else found out.
    pub fn kind(self, kind: CallKind) -> Self {
        self.set("kind", kind)
    }

    /// Whether running a call twice does no harm. `false`: it is repeated only when the server certainly did not process it.
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.set("idempotent", idempotent)
    }

    /// The time a whole call may take; `None`: no limit.
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set("timeout", timeout.into())
    }

    /// The time one attempt may take; `None`: no limit.
    pub fn attempt_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.set("attempt_timeout", timeout.into())
    }

    /// Whether calls wait for a link or fail while the channel is failing.
    pub fn wait_for_ready(self, wait: bool) -> Self {
        self.set("wait_for_ready", wait)
    }

    /// How many retries; 0 turns them off.
    pub fn max_retry_attempts(self, limit: impl Into<RetryLimit>) -> Self {
        self.set("max_retry_attempts", limit.into())
    }

    /// The wait before the first retry.
    pub fn initial_backoff(self, wait: Duration) -> Self {
        self.set("initial_backoff", wait)
    }

    /// The longest wait.
    pub fn max_backoff(self, wait: Duration) -> Self {
        self.set("max_backoff", wait)
    }

    /// What each wait is multiplied by to give the next.
    pub fn backoff_multiplier(self, multiplier: f64) -> Self {
        self.set("backoff_multiplier", multiplier)
    }

    /// The share by which a wait may vary.
    pub fn backoff_jitter(self, jitter: f64) -> Self {
        self.set("backoff_jitter", jitter)
    }

    /// The codes worth another try.
    pub fn retryable_status_codes(self, codes: impl Into<Vec<Code>>) -> Self {
        self.set("retryable_status_codes", codes.into())
    }

    fn set(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(METHOD_KEYS.iter().any(|(known, _)| *known == key));
        self.settings.push((key, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_method_a_service_or_everything() {
        assert_eq!(chain("a.B/C"), Some(vec!["a.B/C".into(), "a.B/*".into(), "*".into()]));
        assert_eq!(chain("a.B/*"), Some(vec!["a.B/*".into(), "*".into()]));
        assert_eq!(chain("*"), Some(vec!["*".into()]));
        for wrong in ["", "a.B", "/a.B/C", "a.B/", "*/C", "a*/C", "a.B/C*", "a/b/c", "a b/c", "/*"] {
            assert_eq!(chain(wrong), None, "{wrong}");
        }
    }
}
