//! The rules: makes a configuration of all settings, or lists every problem with them.
//!
//! All are checked before anything is reported, so that one run shows all that must be changed.

use super::{
    effective::{self, Provenance},
    error::{ConfigError, Problem},
    health::HealthChecks,
    host,
    layers::Layers,
    method::{self, MethodRule},
    placeholders,
    resolve::{Period, Resolve},
    scope::Scope,
    servers,
    settings::{Config, Keepalive, Queue, Reconnect},
    target::{self, ParsedTarget, Target},
    tls,
    value::{Value, is_token},
    warnings,
};
use crate::policy::{Backoff, Intensity, RetryLimit, RetryPolicy, ThrottleRule};
use std::{path::PathBuf, time::Duration};

/// Checks all settings.
pub(super) fn config(mut layers: Layers) -> Result<Config, ConfigError> {
    placeholders::refuse(&mut layers);
    let mut problems = layers.problems.clone();
    let mut scope = Scope::new(&layers, Vec::new(), &mut problems);
    let (retry, keepalive) = (retry(&mut scope), keepalive(&mut scope));
    let ParsedTarget { target, tls: scheme } = read_target(&mut scope);
    let tls = tls::read(&mut scope, scheme);
    let mut config = Config {
        retry,
        keepalive,
        token_file: token_file(&mut scope, tls.is_some() || target.is_on_this_machine()),
        target,
        tls,
        balancing: scope.read("balancing.policy"),
        shuffle: scope.read("balancing.shuffle"),
        choices: servers::choices(&mut scope),
        sticky_header: servers::sticky_header(&mut scope),
        subset: servers::subset(&mut scope),
        ejection: servers::ejection(&mut scope),
        connections: scope.read("connections"),
        resolve: resolve(&mut scope),
        health: health(&mut scope),
        idle_timeout: scope.read("idle_timeout"),
        max_connection_age: scope.read("max_connection_age"),
        timeout: scope.read("timeout"),
        attempt_timeout: scope.read("attempt_timeout"),
        connect_timeout: scope.read("connect_timeout"),
        credentials_timeout: scope.read("credentials_timeout"),
        wait_for_ready: scope.read("wait_for_ready"),
        retry_undescribed: scope.read("retry_undescribed"),
        refuse_late: scope.read("refuse_late"),
        max_replay_bytes: scope.read("max_replay_bytes"),
        max_request_message_bytes: scope.read("max_request_message_bytes"),
        max_response_message_bytes: scope.read("max_response_message_bytes"),
        max_response_header_bytes: scope.read("max_response_header_bytes"),
        max_in_flight: scope.read("max_in_flight"),
        max_draining_links: scope.read("max_draining_links"),
        request_actors: scope.read("request_actors"),
        queue: Queue {
            max_calls: scope.read("queue.max_calls"),
            max_bytes: scope.read("queue.max_bytes"),
        },
        reconnect: reconnect(&mut scope),
        intensity: Intensity {
            restarts: scope.read("intensity.restarts"),
            period: scope.read("intensity.period"),
        },
        throttle: throttle(&mut scope),
        methods: Vec::new(),
        unread_answers: None,
        provenance: Provenance::default(),
    };
    config.provenance = Provenance {
        explicit: effective::explicit(&layers),
        warnings: layers
            .remarks
            .iter()
            .cloned()
            .chain(warnings::warnings(&scope, &config))
            .collect(),
        notes: warnings::notes(&scope, &config),
        wait_for_ready: scope.explicit("wait_for_ready"),
    };
    for (pattern, source) in &layers.methods {
        match method::chain(pattern) {
            Some(chain) => {
                config.methods.push(rule(&mut Scope::new(&layers, chain, &mut problems), pattern))
            }
            None => problems.push(Problem {
                location: source.section_location(pattern),
                key: Some(format!("grpc.methods.{pattern:?}")),
                text: format!(
                    "is not a pattern: it must be `pkg.Service/Method`, `pkg.Service/*` or `*`{}",
                    method::instead_of(pattern)
                ),
            }),
        }
    }
    let width = |rule: &MethodRule| (rule.pattern == "*", rule.pattern.ends_with('*'));
    config.methods.sort_by_key(width);
    ConfigError::check(problems)?;
    Ok(config)
}

fn resolve(scope: &mut Scope<'_>) -> Resolve {
    let (period, least) = ("resolve.period", "resolve.min_interval");
    let resolve = Resolve {
        period: scope.read(period),
        min_interval: scope.read(least),
        absent: scope.read("resolve.absent"),
    };
    if matches!(resolve.period, Period::Every(time) if time < resolve.min_interval) {
        scope.conflict(period, "must not be below", least);
    }
    resolve
}

fn health(scope: &mut Scope<'_>) -> HealthChecks {
    let (period, timeout) = ("health.probe_period", "health.probe_timeout");
    let health = HealthChecks {
        service: scope.read("health.service"),
        probe_period: scope.read(period),
        probe_timeout: scope.read(timeout),
        probe_failures: scope.read("health.probe_failures"),
    };
    if health.probe_period.is_some_and(|every| health.probe_timeout > every) {
        scope.conflict(timeout, "must not be above", period);
    }
    health
}

/// `endpoints`, `target`, or `host` and `port`: whichever has more precedence.
fn read_target(scope: &mut Scope<'_>) -> ParsedTarget {
    let one = read_one_target(scope);
    let Some(endpoints) = scope.read_addresses("endpoints") else { return one };
    let precedence = scope.precedence("endpoints");
    let others = ["target", "host", "port"];
    for key in others {
        if scope.explicit(key) && scope.precedence(key) == precedence {
            scope.conflict("endpoints", "cannot stand beside", key);
        }
    }
    let of_others = others.map(|key| scope.precedence(key)).into_iter().max();
    if of_others > Some(precedence) {
        return one;
    }
    ParsedTarget { target: Target::Endpoints(endpoints), tls: None }
}

/// `target`, or `host` and `port`: whichever has more precedence.
fn read_one_target(scope: &mut Scope<'_>) -> ParsedTarget {
    let target = scope.read_with("target", |value| match value.is_none() {
        true => Ok(None),
        false => target::parse(value.text()?).map(Some),
    });
    let parts =
        Target::Host { host: scope.read_with("host", host_alone), port: scope.read("port") };
    let parts = ParsedTarget { target: parts, tls: None };
    let Some(target) = target else { return parts };
    let precedence = scope.precedence("target");
    for key in ["host", "port"] {
        if scope.explicit(key) && scope.precedence(key) == precedence {
            scope.conflict("target", "cannot stand beside", key);
        }
    }
    let of_parts = scope.precedence("host").max(scope.precedence("port"));
    if of_parts > precedence { parts } else { target }
}

/// The file with the token, which only goes where nobody on the way can read it.
fn token_file(scope: &mut Scope<'_>, safe: bool) -> Option<PathBuf> {
    let key = "credentials.token_file";
    let file = scope.read_with(key, |value| match value.text() {
        _ if value.is_none() => Ok(None),
        Ok(text) if !text.is_empty() && !is_token(text) => Ok(Some(PathBuf::from(text))),
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
        kind: scope.read_own("kind"),
        idempotent: scope.read_own("idempotent"),
        timeout: scope.read_own("timeout"),
        attempt_timeout: scope.read_own("attempt_timeout"),
        wait_for_ready: scope.read_own("wait_for_ready"),
        refuse_late: scope.read_own("refuse_late"),
        retry: retry(scope),
    }
}

fn retry(scope: &mut Scope<'_>) -> RetryPolicy {
    let policy = RetryPolicy {
        limit: scope.read("max_retry_attempts"),
        backoff: backoff(scope, ["initial_backoff", "backoff_multiplier", "max_backoff"]),
        jitter: scope.read("backoff_jitter"),
        codes: scope.read_codes("retryable_status_codes"),
    };
    if policy.limit == RetryLimit::Unlimited && scope.read::<Option<Duration>>("timeout").is_none()
    {
        scope.conflict("max_retry_attempts", "needs", "timeout");
    }
    policy
}

fn backoff(scope: &mut Scope<'_>, [initial, multiplier, max]: [&'static str; 3]) -> Backoff {
    let backoff = Backoff {
        initial: scope.read(initial),
        multiplier: scope.read(multiplier),
        max: scope.read(max),
    };
    if backoff.max < backoff.initial {
        scope.conflict(max, "must not be below", initial);
    }
    backoff
}

fn keepalive(scope: &mut Scope<'_>) -> Keepalive {
    let keepalive = Keepalive {
        // 0 is off, too.
        time: scope.read::<Option<Duration>>("keepalive_time").filter(|time| !time.is_zero()),
        timeout: scope.read("keepalive_timeout"),
        permit_without_calls: scope.read("keepalive_permit_without_calls"),
        floor: scope.read("keepalive_floor"),
    };
    // A setting of less precedence is merely overruled.
    let dead = |scope: &Scope<'_>, key| {
        scope.explicit(key) && scope.precedence(key) >= scope.precedence("keepalive_time")
    };
    for key in ["keepalive_timeout", "keepalive_permit_without_calls"] {
        if keepalive.time.is_none() && dead(scope, key) {
            scope.conflict(key, "does nothing without", "keepalive_time");
        }
    }
    keepalive
}

fn reconnect(scope: &mut Scope<'_>) -> Reconnect {
    let idle =
        ["reconnect.initial_backoff", "reconnect.backoff_multiplier", "reconnect.max_backoff"];
    let waiting = [
        "reconnect.waiting_initial_backoff",
        "reconnect.waiting_backoff_multiplier",
        "reconnect.waiting_max_backoff",
    ];
    Reconnect {
        idle: backoff(scope, idle),
        waiting: backoff(scope, waiting),
        refused_max_backoff: scope.read("reconnect.refused_max_backoff"),
        jitter: scope.read("reconnect.jitter"),
        spread: scope.read("reconnect.spread"),
        stable_after: scope.read("reconnect.stable_after"),
    }
}

fn throttle(scope: &mut Scope<'_>) -> ThrottleRule {
    let (size, earned) = ("retry_throttle.max_tokens", "retry_throttle.token_ratio");
    let enabled = scope.read("retry_throttle.enabled");
    let ratio = scope.read("retry_throttle.ratio");
    let floor = scope.read("retry_throttle.floor");
    let max_tokens: Option<f64> = scope.read(size);
    let token_ratio: Option<f64> = scope.read(earned);
    match (max_tokens, token_ratio) {
        (Some(_), None) => scope.conflict(size, "does nothing without", earned),
        (None, Some(_)) => scope.conflict(earned, "does nothing without", size),
        _ => {}
    }
    match (enabled, max_tokens, token_ratio) {
        (false, ..) => ThrottleRule::Off,
        (true, Some(max_tokens), Some(token_ratio)) => {
            ThrottleRule::Bucket { max_tokens, token_ratio }
        }
        (true, ..) => ThrottleRule::Share { ratio, floor },
    }
}

fn host_alone(value: &Value) -> Result<String, String> {
    let host = value.text()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) if !address.contains(':') => {
            Err("must have an IPv6 address in the brackets".into())
        }
        Some(address) => host::read(address),
        None if host.contains('/') => {
            Err("must be a name or an address, without a scheme or path".into())
        }
        None if host.matches(':').count() == 1 => {
            Err("must be a name or an address; the port goes to grpc.port".into())
        }
        None => host::read(host),
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        let config = |target: &str| {
            Config::builder().credentials_token_file("/run/token").target(target).build()
        };
        for target in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
            let config = config(target).expect("it stays here");
            assert_eq!(config.token_file(), Some(Path::new("/run/token")), "{target}");
        }
        for target in ["queue.internal:1", "10.0.0.1:1", "http://queue.internal"] {
            let refused = config(target).expect_err("plaintext").to_string();
            let words = "grpc.credentials.token_file is \"/run/token\", but no token is sent over \
                         plaintext";
            assert!(refused.contains(words) && refused.contains("configure TLS"), "{refused}");
        }
        #[cfg(feature = "tls-ring")]
        assert!(config("https://queue.internal").is_ok());
    }

    #[test]
    fn a_token_in_place_of_its_file_is_refused_and_not_repeated() {
        for token in ["aqt_secret", " Bearer secret", "eyJsecret", "bearer aqt_secret"] {
            let refused =
                Config::builder().credentials_token_file(token).build().expect_err("no path");
            let refused = refused.to_string();
            let words =
                "grpc.credentials.token_file is a token, but must be the path of a file, or `none`";
            assert!(refused.contains(words) && !refused.contains("secret"), "{refused}");
        }
        let refused =
            Config::builder().target("http://me:secret@host:1").build().expect_err("no target");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}
