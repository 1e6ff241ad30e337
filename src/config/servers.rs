//! The rules of keys about several servers: what does nothing with which policy, and when a server
//! is ejected.

use super::{balancing::Balancing, scope::Scope};
use crate::policy::EjectionRule;
use http::HeaderName;
use tonic::Code;

const POLICY: &str = "balancing.policy";

/// The default of `balancing.choices`.
const CHOICES: usize = 3;

pub(super) fn subset(scope: &mut Scope<'_>) -> Option<usize> {
    let subset = "balancing.subset";
    let size: Option<usize> = scope.read(subset);
    if size.is_some() && policy(scope) == Balancing::PickFirst {
        scope.conflict(subset, "does nothing with", POLICY);
    }
    size
}

pub(super) fn choices(scope: &mut Scope<'_>) -> usize {
    let choices = "balancing.choices";
    let count = scope.read(choices);
    // A setting of less precedence is merely overruled, and one that is the default means nothing.
    let stands = scope.precedence(choices) >= scope.precedence(POLICY);
    if count != CHOICES && stands && !policy(scope).is_load_aware() {
        scope.conflict(choices, "does nothing with", POLICY);
    }
    count
}

pub(super) fn sticky_header(scope: &mut Scope<'_>) -> Option<HeaderName> {
    let sticky = "balancing.sticky_header";
    let name: Option<HeaderName> = scope.read_with(sticky, |value| match value.text() {
        _ if value.is_none() => Ok(None),
        Ok(text) if text.starts_with("grpc-") => {
            Err("must not begin with `grpc-`: such headers are gRPC's own".into())
        }
        Ok(text) if text.ends_with("-bin") => {
            Err("must be a header with text: it ends in `-bin`".into())
        }
        Ok(text) => match HeaderName::from_lowercase(text.as_bytes()) {
            Ok(name) => Ok(Some(name)),
            Err(_) => Err("must be a header's name in lower case, or `none`".into()),
        },
        Err(rule) => Err(rule),
    });
    if name.is_some() && policy(scope) == Balancing::PickFirst {
        scope.conflict(sticky, "does nothing with", POLICY);
    }
    name
}

pub(super) fn ejection(scope: &mut Scope<'_>) -> EjectionRule {
    let (codes, base, max) = ("ejection.codes", "ejection.base", "ejection.max");
    let rule = EjectionRule {
        consecutive_failures: scope.read("ejection.consecutive_failures"),
        codes: scope.read_codes(codes),
        base: scope.read(base),
        max: scope.read(max),
        max_share: scope.read("ejection.max_share"),
    };
    if rule.codes.contains(Code::Cancelled) {
        scope.refuse(codes, "CANCELLED is the caller's own wish, and says nothing of the server");
    }
    if rule.codes == Default::default() {
        scope.refuse(codes, "needs a code; to eject no server write `consecutive_failures: 0`");
    }
    if rule.max < rule.base {
        scope.conflict(max, "must not be below", base);
    }
    rule
}

fn policy(scope: &mut Scope<'_>) -> Balancing {
    scope.read(POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[cfg(feature = "yaml")]
    fn wrong(text: &str) -> String {
        Config::from_yaml(&format!("grpc: {{{text}}}")).expect_err(text).to_string()
    }

    #[test]
    fn what_does_nothing_with_a_policy_is_an_error() {
        let choices = |policy| {
            Config::builder().balancing_policy(policy).balancing_choices(2).build().is_ok()
        };
        assert!(choices(Balancing::LeastRequest) && choices(Balancing::PeakEwma));
        assert!(!choices(Balancing::PickFirst) && !choices(Balancing::RoundRobin));
        let sticky = |policy| {
            Config::builder().balancing_policy(policy).balancing_sticky_header("x-user").build()
        };
        assert!(sticky(Balancing::PickFirst).is_err());
        let config = sticky(Balancing::RoundRobin).expect("valid");
        assert_eq!(config.sticky_header(), Some("x-user"));
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn a_policy_by_another_programs_name_gets_ours() {
        for (theirs, ours) in
            [("p2c", "least_request"), ("random", "round_robin"), ("ewma", "peak_ewma")]
        {
            let text = wrong(&format!("balancing: {{policy: {theirs}}}"));
            let hint = format!("`peak_ewma`; did you mean `{ours}`?");
            assert!(text.contains(&hint), "{text}");
        }
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn a_sticky_header_is_a_text_that_a_caller_may_send() {
        for name in ["X-User", "x user", "grpc-timeout", "x-user-bin", "\"\""] {
            let text = wrong(&format!("balancing: {{policy: round_robin, sticky_header: {name}}}"));
            assert!(text.contains("grpc.balancing.sticky_header is"), "{text}");
        }
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn the_rules_of_ejection_are_checked() {
        for (keys, words) in [
            ("codes: [CANCELLED]", "grpc.ejection.codes is"),
            ("codes: [OK]", "grpc.ejection.codes has"),
            ("codes: []", "needs a code"),
            ("base: 70", "must not be below grpc.ejection.base"),
            ("base: 0.01", "must be at least 100ms"),
            ("max_share: 1.5", "grpc.ejection.max_share is 1.5"),
        ] {
            let text = wrong(&format!("ejection: {{{keys}}}"));
            assert!(text.contains(words), "{text}");
        }
        let rule = Config::from_yaml("grpc: {ejection: {max: 90, base: 70}}").expect("valid");
        assert_eq!(rule.ejection().base.as_secs(), 70);
    }

    #[test]
    fn a_policy_that_looks_at_loads_is_warned_of_without_the_breaker() {
        let warnings = |policy, failures| {
            let config = Config::builder().balancing_policy(policy);
            let config = config.ejection_consecutive_failures(failures).build().expect("valid");
            config.warnings().iter().filter(|text| text.contains("no server is ejected")).count()
        };
        assert_eq!(warnings(Balancing::PeakEwma, 0), 1);
        assert_eq!(warnings(Balancing::LeastRequest, 0), 1);
        assert_eq!(warnings(Balancing::RoundRobin, 0), 0);
        assert_eq!(warnings(Balancing::PeakEwma, 7), 0);
    }
}
