//! What holds for some methods only: the checked rule, and the options that set it in code.
//!
//! Patterns of methods are read here, too, since a rule is found by its pattern.

use super::{
    keys::{key_doc, key_setters, method_key_doc, method_key_setters, setter},
    value::Value,
};
use crate::{
    model::CallKind,
    policy::{RetryLimit, RetryPolicy},
};
use std::time::Duration;
use tonic::Code;

/// What holds for the methods that a pattern names. A key that the pattern does not set comes from
/// the next wider pattern that does, and then from the configuration for all calls.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRule {
    pub(crate) pattern: String,
    pub(crate) kind: Option<CallKind>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) attempt_timeout: Option<Option<Duration>>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) refuse_late: Option<bool>,
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

    /// Whether calls that waited are refused that would not finish, if configured for methods.
    pub fn refuse_late(&self) -> Option<bool> {
        self.refuse_late
    }

    /// When failed attempts are tried again: the policy for all calls, overlaid with the keys for
    /// methods.
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

/// What sets keys for calls of `method`: its name as a pattern and the wider ones, the narrowest
/// first; none if it is no method's name.
pub(super) fn patterns_of(method: &str) -> Option<Vec<String>> {
    let named = !method.contains('*') && !method.contains(char::is_control);
    if named { chain(method) } else { None }
}

/// `pattern` and the wider ones, the narrowest first; none if it is no pattern.
pub(super) fn chain(pattern: &str) -> Option<Vec<String>> {
    if pattern == "*" {
        return Some(vec!["*".into()]);
    }
    let (service, method) = pattern.split_once('/')?;
    let plain = |name: &str| {
        !name.is_empty() && !name.contains(|c: char| c == '/' || c == '*' || c.is_whitespace())
    };
    let service_rule = format!("{service}/*");
    match method {
        "*" if plain(service) => Some(vec![service_rule, "*".into()]),
        method if plain(service) && plain(method) => {
            Some(vec![pattern.into(), service_rule, "*".into()])
        }
        _ => None,
    }
}

/// What was probably meant by a name that is no method's: the end of the sentence about it.
pub(super) fn method_meant_by(name: &str) -> String {
    let bare = name.trim().trim_start_matches(['/', '.']);
    let dotted = bare.rsplit_once('.').filter(|(service, _)| service.contains('.'));
    let dotted = dotted.map(|(service, method)| format!("{service}/{method}"));
    let meant = [Some(bare.to_owned()), dotted].into_iter().flatten();
    let method = meant.into_iter().find(|name| patterns_of(name).is_some());
    method.map_or_else(String::new, |method| format!("; write `{method}`"))
}

/// What was probably meant by a `pattern` that is none: the end of the sentence about it.
pub(super) fn instead_of(pattern: &str) -> String {
    let name = pattern.trim().trim_start_matches(['/', '.']).trim_end_matches('/');
    let write = |pattern: String| chain(&pattern).map(|_| format!("; write `{pattern}`"));
    let advice = match (name.split_once('/'), name.rsplit_once('.')) {
        (Some((service, method)), _) if method.ends_with('*') => write(format!("{service}/*")),
        (Some(_), _) => write(name.to_owned()),
        (None, _) if !name.is_empty() && name.chars().all(|c| c == '*') => write("*".into()),
        // A method with a dot before it, or a service without its methods.
        (None, Some((service, "*"))) => write(format!("{service}/*")),
        (None, Some((service, method))) if service.contains('.') => {
            let all = write(format!("{name}/*"));
            write(format!("{service}/{method}")).zip(all).map(|(one, all)| {
                format!(
                    "{one} for a method, or {} for a service",
                    all.trim_start_matches("; write ")
                )
            })
        }
        (None, _) => write(format!("{name}/*")),
    };
    advice.unwrap_or_default()
}

/// What is set in code for some methods. It has a method for each key that methods may set.
///
/// ```
/// use tonic_supervisor::{Config, MethodOptions};
/// let once = MethodOptions::new().unary().idempotent(false);
/// let config = Config::builder().method("queue.Tasks/Submit", once).build()?;
/// let rule = config.method("/queue.Tasks/Submit");
/// assert_eq!(rule.and_then(|rule| rule.idempotent()), Some(false));
/// # Ok::<(), tonic_supervisor::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a configuration has them"]
pub struct MethodOptions {
    pub(super) settings: Vec<(&'static str, Value)>,
}

impl MethodOptions {
    /// Sets nothing yet.
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

    /// Keeps a value that one of its methods, which the table of keys has, was given.
    pub(super) fn set(mut self, key: &'static str, _method: &str, value: Value) -> Self {
        self.settings.push((key, value));
        self
    }
}

/// A method for each key of the table that methods may set.
impl MethodOptions {
    method_key_setters! { each key }
    key_setters! { each key for methods }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pattern_gets_advice_on_what_to_write() {
        for (wrong, advice) in [
            ("/a.B/C", "; write `a.B/C`"),
            (".a.B/C", "; write `a.B/C`"),
            ("/a.B/*", "; write `a.B/*`"),
            ("a.B/", "; write `a.B/*`"),
            ("a.B", "; write `a.B/*`"),
            ("a.B/C*", "; write `a.B/*`"),
            ("a.B.*", "; write `a.B/*`"),
            ("**", "; write `*`"),
            ("a.B.C", "; write `a.B/C` for a method, or `a.B.C/*` for a service"),
            ("", ""),
            ("a/b/c", ""),
            ("a b", ""),
        ] {
            assert_eq!(instead_of(wrong), advice, "{wrong}");
        }
    }

    #[test]
    fn a_methods_name_is_no_pattern_and_gets_advice_of_its_own() {
        assert_eq!(patterns_of("a.B/C"), chain("a.B/C"));
        for (wrong, advice) in [
            ("/a.B/C", "; write `a.B/C`"),
            ("a.B.C", "; write `a.B/C`"),
            ("a.B/*", ""),
            ("*", ""),
            ("a.B", ""),
            ("a.B/C\n", "; write `a.B/C`"),
            ("", ""),
        ] {
            assert_eq!(
                (patterns_of(wrong), method_meant_by(wrong)),
                (None, advice.into()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_pattern_is_a_method_a_service_or_everything() {
        assert_eq!(chain("a.B/C"), Some(vec!["a.B/C".into(), "a.B/*".into(), "*".into()]));
        assert_eq!(chain("a.B/*"), Some(vec!["a.B/*".into(), "*".into()]));
        assert_eq!(chain("*"), Some(vec!["*".into()]));
        for wrong in ["", "a.B", "/a.B/C", "a.B/", "*/C", "a*/C", "a.B/C*", "a/b/c", "a b/c", "/*"]
        {
            assert_eq!(chain(wrong), None, "{wrong}");
        }
    }
}
