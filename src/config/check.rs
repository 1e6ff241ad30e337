//! The rules: settings in, a configuration or every problem out.

use super::{
    error::ConfigError,
    host,
    layers::Layers,
    method::{self, MethodRule},
    scope::Scope,
    settings::{Config, Keepalive, Queue, Reconnect, Said},
    target::{self, Endpoint, Target},
    tls,
    value::Value,
};
use crate::policy::{Backoff, Intensity, RetryLimit, RetryPolicy, ThrottleRule};
use std::{path::PathBuf, time::Duration};

/// What must take time takes at least this: with less, something would spin.
const LEAST: Duration = Duration::from_millis(1);

/// The shortest keepalive time that gRPC allows (A8).
const KEEPALIVE_FLOOR: Duration = Duration::from_secs(10);

/// A keepalive time that servers accept unless told otherwise (A8).
const KEEPALIVE_WELCOME: Duration = Duration::from_secs(300);

/// No answer's headers can be told to be smaller or larger.
const HEADERS_LEAST: usize = 1 << 10;
const HEADERS_MOST: usize = 8 << 20;

/// Checks everything that was said.
pub(super) fn config(layers: Layers) -> Result<Config, ConfigError> {
    let mut problems = layers.problems.clone();
    let mut scope = Scope::new(&layers, Vec::new(), &mut problems);
    let (retry, keepalive) = (retry(&mut scope), keepalive(&mut scope));
    let Target { endpoint, tls: scheme } = endpoint(&mut scope);
    let tls = tls::read(&mut scope, scheme);
    let mut config = Config {
        retry,
        keepalive,
        token_file: token_file(&mut scope, tls.is_some() || endpoint.is_on_this_machine()),
        endpoint,
        tls,
        timeout: scope.read("timeout", time_or_none),
        attempt_timeout: scope.read("attempt_timeout", time_or_none),
        connect_timeout: scope.read("connect_timeout", time),
        credentials_timeout: scope.read("credentials_timeout", time),
        wait_for_ready: scope.read("wait_for_ready", Value::bool),
        wait_for_ready_said: Said(scope.explicit("wait_for_ready")),
        max_replay_bytes: scope.read("max_replay_bytes", Value::size),
        max_request_message_bytes: scope.read("max_request_message_bytes", size_or_none),
        max_response_message_bytes: scope.read("max_response_message_bytes", size_or_none),
        max_response_header_bytes: scope.read("max_response_header_bytes", header_bytes),
        max_in_flight: scope.read("max_in_flight", |value| count(value, u32::MAX)),
        max_draining_links: scope.read("max_draining_links", |value| count(value, 100_000)),
        request_actors: scope.read("request_actors", |value| count(value, 1_024)),
        queue: Queue {
            max_calls: scope.read("queue.max_calls", |value| count(value, u32::MAX)),
            max_bytes: scope.read("queue.max_bytes", |value| match value.size()? {
                0 => Err("must be at least one byte".into()),
                bytes => Ok(bytes),
            }),
        },
        reconnect: reconnect(&mut scope),
        intensity: Intensity {
            restarts: scope.read("intensity.restarts", |value| Ok(value.whole(0, 1_000_000)? as u32)),
            period: scope.read("intensity.period", time),
        },
        throttle: throttle(&mut scope),
        methods: Vec::new(),
        warnings: Vec::new(),
    };
    config.warnings = warnings(&scope, &config);
    for (pattern, source) in &layers.methods {
        match method::chain(pattern) {
            Some(chain) => config.methods.push(rule(&mut Scope::new(&layers, chain, &mut problems), pattern)),
            None => problems.push(super::error::Problem {
                place: source.section_place(pattern),
                key: Some(format!("grpc.methods.{pattern:?}")),
                text: "is not a pattern: it must be `pkg.Service/Method`, `pkg.Service/*` or `*`".into(),
            }),
        }
    }
    let width = |rule: &MethodRule| (rule.pattern == "*", rule.pattern.ends_with('*'));
    config.methods.sort_by_key(width);
    ConfigError::check(problems)?;
    Ok(config)
}

/// `target`, or `host` and `port`: whichever has more authority.
fn endpoint(scope: &mut Scope<'_>) -> Target {
    let target =
        scope.read("target", |value| if value.is_none() { Ok(None) } else { target::parse(value.text()?).map(Some) });
    let parts = Endpoint::Host { host: scope.read("host", host_alone), port: scope.read("port", port) };
    let parts = Target { endpoint: parts, tls: None };
    let Some(target) = target else { return parts };
    let said = scope.authority("target");
    for key in ["host", "port"] {
        if scope.explicit(key) && scope.authority(key) == said {
            scope.conflict("target", "cannot stand beside", key);
        }
    }
    if scope.authority("host").max(scope.authority("port")) > said { parts } else { target }
}

/// The file with the token, which only goes where nobody on the way can read it.
fn token_file(scope: &mut Scope<'_>, safe: bool) -> Option<PathBuf> {
    let key = "credentials.token_file";
    let file = scope.read(key, |value| match value.text() {
        _ if value.is_none() => Ok(None),
        Ok(text) if !text.is_empty() && !text.starts_with("aqt_") => Ok(Some(PathBuf::from(text))),
        _ => Err("must be the path of a file, or `none`".into()),
    });
    if file.is_some() && !safe {
        scope.refuse(key, "no token is sent over plaintext beyond this machine: configure TLS");
    }
    file
}

/// The rule for a pattern.
fn rule(scope: &mut Scope<'_>, pattern: &str) -> MethodRule {
    MethodRule {
        pattern: pattern.to_owned(),
        kind: scope.read_own("kind", Value::call_kind),
        idempotent: scope.read_own("idempotent", Value::bool),
        timeout: scope.read_own("timeout", time_or_none),
        attempt_timeout: scope.read_own("attempt_timeout", time_or_none),
        wait_for_ready: scope.read_own("wait_for_ready", Value::bool),
        retry: retry(scope),
    }
}

fn retry(scope: &mut Scope<'_>) -> RetryPolicy {
    let policy = RetryPolicy {
        limit: scope.read("max_retry_attempts", Value::retry_limit),
        backoff: backoff(scope, Duration::ZERO, ["initial_backoff", "backoff_multiplier", "max_backoff"]),
        jitter: scope.read("backoff_jitter", share),
        codes: scope.read_codes("retryable_status_codes"),
    };
    if policy.limit == RetryLimit::Unlimited && scope.read("timeout", time_or_none).is_none() {
        scope.conflict("max_retry_attempts", "needs", "timeout");
    }
    policy
}

fn backoff(scope: &mut Scope<'_>, least: Duration, [initial, multiplier, max]: [&'static str; 3]) -> Backoff {
    let backoff = Backoff {
        initial: scope.read(initial, |value| at_least(value, least)),
        multiplier: scope.read(multiplier, |value| value.number(1.0, f64::MAX)),
        max: scope.read(max, |value| at_least(value, least)),
    };
    if backoff.max < backoff.initial {
        scope.conflict(max, "must not be below", initial);
    }
    backoff
}

fn keepalive(scope: &mut Scope<'_>) -> Keepalive {
    let keepalive = Keepalive {
        time: scope.read("keepalive_time", off_or_time),
        timeout: scope.read("keepalive_timeout", time),
        permit_without_calls: scope.read("keepalive_permit_without_calls", Value::bool),
        floor: scope.read("keepalive_floor", time),
    };
    // What a source of less authority said is merely overruled.
    let dead =
        |scope: &Scope<'_>, key| scope.explicit(key) && scope.authority(key) >= scope.authority("keepalive_time");
    for key in ["keepalive_timeout", "keepalive_permit_without_calls"] {
        if keepalive.time.is_none() && dead(scope, key) {
            scope.conflict(key, "does nothing without", "keepalive_time");
        }
    }
    keepalive
}

fn reconnect(scope: &mut Scope<'_>) -> Reconnect {
    let idle = ["reconnect.initial_backoff", "reconnect.backoff_multiplier", "reconnect.max_backoff"];
    let waiting =
        ["reconnect.waiting_initial_backoff", "reconnect.waiting_backoff_multiplier", "reconnect.waiting_max_backoff"];
    Reconnect {
        idle: backoff(scope, LEAST, idle),
        waiting: backoff(scope, LEAST, waiting),
        jitter: scope.read("reconnect.jitter", share),
        spread: scope.read("reconnect.spread", Value::time),
        stable_after: scope.read("reconnect.stable_after", Value::time),
    }
}

fn throttle(scope: &mut Scope<'_>) -> ThrottleRule {
    let (size, earned) = ("retry_throttle.max_tokens", "retry_throttle.token_ratio");
    let enabled = scope.read("retry_throttle.enabled", Value::bool);
    let ratio = scope.read("retry_throttle.ratio", |value| value.number(0.0, 1e6));
    let floor = scope.read("retry_throttle.floor", |value| value.number(0.0, 1e6));
    let max_tokens = scope.read(size, tokens);
    let token_ratio = scope.read(earned, tokens);
    match (max_tokens, token_ratio) {
        (Some(_), None) => scope.conflict(size, "does nothing without", earned),
        (None, Some(_)) => scope.conflict(earned, "does nothing without", size),
        _ => {}
    }
    match (enabled, max_tokens, token_ratio) {
        (false, ..) => ThrottleRule::Off,
        (true, Some(max_tokens), Some(token_ratio)) => ThrottleRule::Bucket { max_tokens, token_ratio },
        (true, ..) => ThrottleRule::Share { ratio, floor },
    }
}

/// What is allowed but probably not meant.
fn warnings(scope: &Scope<'_>, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let keepalive = &config.keepalive;
    if keepalive.floor < KEEPALIVE_FLOOR {
        warnings.push(scope.sentence("keepalive_floor", "below gRPC's 10 s: servers close links that ask too often"));
    }
    let (Some(time), Some(effective)) = (keepalive.time, keepalive.effective_time()) else {
        return warnings;
    };
    if time < effective {
        let text = format!("below grpc.keepalive_floor, and is raised to {effective:?}");
        warnings.push(scope.sentence("keepalive_time", &text));
    } else if time < KEEPALIVE_WELCOME && keepalive.permit_without_calls && time != Config::DEFAULT_KEEPALIVE_TIME {
        let text =
            "below the 5 minutes that servers accept unless told otherwise: one that does not will close idle links";
        warnings.push(scope.sentence("keepalive_time", text));
    }
    if config.timeout.is_some_and(|timeout| timeout <= effective.saturating_add(keepalive.timeout)) {
        let key = if scope.explicit("timeout") { "timeout" } else { "keepalive_time" };
        let text = "which leaves a call on a dead link no time: grpc.timeout should exceed grpc.keepalive_time + grpc.keepalive_timeout";
        warnings.push(scope.sentence(key, text));
    }
    warnings
}

fn host_alone(value: &Value) -> Result<String, String> {
    let host = value.text()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) if !address.contains(':') => Err("must have an IPv6 address in the brackets".into()),
        Some(address) => host::read(address),
        None if host.contains('/') => Err("must be a name or an address, without a scheme or path".into()),
        None if host.matches(':').count() == 1 => {
            Err("must be a name or an address; the port goes to grpc.port".into())
        }
        None => host::read(host),
    }
}

fn port(value: &Value) -> Result<u16, String> {
    value.whole(1, u16::MAX.into()).map(|port| port as u16)
}

fn count(value: &Value, most: u32) -> Result<usize, String> {
    value.whole(1, most.into()).map(|count| count as usize)
}

fn share(value: &Value) -> Result<f64, String> {
    value.number(0.0, 1.0)
}

fn tokens(value: &Value) -> Result<Option<f64>, String> {
    if value.is_none() { Ok(None) } else { value.number(0.001, 1_000.0).map(Some) }
}

fn at_least(value: &Value, least: Duration) -> Result<Duration, String> {
    let time = value.time()?;
    if time < least { Err(format!("must be at least {least:?}")) } else { Ok(time) }
}

fn time(value: &Value) -> Result<Duration, String> {
    at_least(value, LEAST)
}

fn time_or_none(value: &Value) -> Result<Option<Duration>, String> {
    if value.is_none() { Ok(None) } else { time(value).map(Some).map_err(|rule| format!("{rule}, or `none`")) }
}

fn size_or_none(value: &Value) -> Result<Option<usize>, String> {
    if value.is_none() { Ok(None) } else { value.size().map(Some).map_err(|rule| format!("{rule}, or `none`")) }
}

/// Far below what h2 is told to take: what is above h2's limit may cost the link.
fn header_bytes(value: &Value) -> Result<usize, String> {
    match value.size()? {
        bytes @ HEADERS_LEAST..=HEADERS_MOST => Ok(bytes),
        _ => Err("must be from 1KiB to 8MiB".into()),
    }
}

/// 0 is off, too.
fn off_or_time(value: &Value) -> Result<Option<Duration>, String> {
    if value.is_none() { Ok(None) } else { value.time().map(|time| (!time.is_zero()).then_some(time)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        let config = |target: &str| Config::builder().credentials_token_file("/run/token").target(target).build();
        for target in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
            let config = config(target).expect("it stays here");
            assert_eq!(config.token_file(), Some(Path::new("/run/token")), "{target}");
        }
        for target in ["queue.internal:1", "10.0.0.1:1", "http://queue.internal"] {
            let refused = config(target).expect_err("plaintext").to_string();
            let words = "grpc.credentials.token_file is \"/run/token\", but no token is sent over plaintext";
            assert!(refused.contains(words) && refused.contains("configure TLS"), "{refused}");
        }
        #[cfg(feature = "tls-ring")]
        assert!(config("https://queue.internal").is_ok());
    }

    #[test]
    fn a_token_in_place_of_its_file_is_refused_and_not_repeated() {
        let refused = Config::builder().credentials_token_file("aqt_secret").build().expect_err("no path");
        let refused = refused.to_string();
        let words = "grpc.credentials.token_file is a token, but must be the path of a file, or `none`";
        assert!(refused.contains(words) && !refused.contains("secret"), "{refused}");
    }
}
