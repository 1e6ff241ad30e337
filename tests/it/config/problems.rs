//! Whatever is wrong in a configuration is said clearly, all at once.

#![cfg(feature = "yaml")]

use super::keys::{SECOND, error, variables, wrong};
use std::time::Duration;
use tonic_supervisor::Config;

#[test]
fn all_problems_are_named_at_once_with_place_key_value_and_rule() {
    let yaml = "\
grpc:
  max_backof: 3
  max_backoff: 0.5
  backoff_multiplier: 0.9
  port: 70000
  retryable_status_codes:
    - UNAVAILABEL
    - ok
    - ABORTED
    - 10
  queue:
    max_calls: 0
  methods:
    a.B/C:
      initial_backoff: -1
";
    let builder = Config::builder().yaml(yaml).backoff_jitter(f64::NAN);
    let error = builder
        .environment_from(variables(&[("CONNECT_TIMEOUT", "0"), ("KEEPALIVE_TIM", "1")]))
        .build()
        .unwrap_err();
    // In the order of the file, then of the variables, then of the builder's methods.
    let expected = [
        "yaml:2:3: grpc.max_backof is not a key that is known; did you mean `max_backoff`?",
        "yaml:3:3: grpc.max_backoff is 0.5, but must not be below grpc.initial_backoff, which is \
         1.0 (default)",
        "yaml:4:3: grpc.backoff_multiplier is 0.9, but must be a finite number of at least 1",
        "yaml:5:3: grpc.port is 70000, but must be a whole number from 1 to 65535",
        "yaml:7:7: grpc.retryable_status_codes has \"UNAVAILABEL\", which is not a gRPC status \
         code; did you mean `UNAVAILABLE`?",
        "yaml:8:7: grpc.retryable_status_codes has \"ok\", but a call that succeeded is never \
         retried",
        "yaml:10:7: grpc.retryable_status_codes has 10, which is in the list already",
        "yaml:12:5: grpc.queue.max_calls is 0, but must be a whole number from 1 to 4294967295",
        "yaml:15:7: grpc.methods.\"a.B/C\".initial_backoff is -1, but must not be negative",
        "TONIC_SUPERVISOR_GRPC_CONNECT_TIMEOUT: grpc.connect_timeout is \"0\", but must be at \
         least 1ms",
        "TONIC_SUPERVISOR_GRPC_KEEPALIVE_TIM: is not a variable that is known; did you mean \
         `TONIC_SUPERVISOR_GRPC_KEEPALIVE_TIME`?",
        "builder method backoff_jitter(..): grpc.backoff_jitter is NaN, but must be a number from \
         0 to 1",
    ];
    assert_eq!(error.to_string().lines().collect::<Vec<_>>(), expected);
    assert_eq!(error.problems().len(), expected.len());
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let cases = [
        ("host: ''", "must not be empty"),
        ("host: 'http://queue'", "without a scheme"),
        ("host: 'queue:50051'", "the port goes to grpc.port"),
        ("host: 5", "must be text"),
        ("port: 0", "from 1 to 65535"),
        ("timeout: 0", "at least 1ms, or `none`"),
        ("connect_timeout: none", "must be a time"),
        ("max_retry_attempts: -1", "whole number from 0 to 4294967295, or `unlimited`"),
        ("max_retry_attempts: 3.5", "whole number"),
        ("max_retry_attempts: 99999999999999999999", "whole number"),
        ("initial_backoff: .nan", "must be finite"),
        ("max_backoff: .inf", "must be finite"),
        ("max_backoff: [1]", "is a list, but must be a time"),
        ("max_backoff: ", "is empty, but must be a time"),
        (
            "initial_backoff: 20",
            "max_backoff is 10.0, but must not be below grpc.initial_backoff, which is 20 \
             (yaml:1:8)",
        ),
        ("backoff_multiplier: .inf", "finite number of at least 1"),
        ("backoff_jitter: 1.1", "from 0 to 1"),
        ("retryable_status_codes: 5", "must be a list"),
        ("retryable_status_codes: [17]", "has 17, which is not a gRPC status code"),
        ("retryable_status_codes: [[1]]", "has a list, which is not a gRPC status code"),
        ("keepalive_permit_without_calls: 1", "must be true or false"),
        ("max_replay_bytes: 4 bits", "must be a size"),
        ("max_replay_bytes: -1", "must be a size"),
        ("queue: {max_bytes: 0}", "at least 1 byte"),
        ("reconnect: {initial_backoff: 0}", "at least 1ms"),
        (
            "reconnect: {max_backoff: 0.5}",
            "must not be below grpc.reconnect.initial_backoff, which is 1.0 (default)",
        ),
        ("reconnect: {waiting_multiplier: 1}", "is not a key that is known"),
        ("intensity: {period: 0}", "at least 1ms"),
        ("retry_throttle: {ratio: -0.1}", "from 0 to 1000000"),
        (
            "retry_throttle: {max_tokens: 10}",
            "does nothing without grpc.retry_throttle.token_ratio, which is none (default)",
        ),
        (
            "retry_throttle: {token_ratio: 0.1}",
            "does nothing without grpc.retry_throttle.max_tokens",
        ),
        ("retry_throttle: {max_tokens: 1001, token_ratio: 0.1}", "from 0.001 to 1000"),
        ("methods: {a/b: {kind: bidi}}", "must be `unary`, `streaming` or `auto`"),
        ("methods: {a/b: {idempotent: 7}}", "must be true or false"),
        (
            "methods: {a/b: {max_backoff: 0.1}}",
            "grpc.methods.\"a/b\".max_backoff is 0.1, but must not be below grpc.initial_backoff",
        ),
        (
            "methods: {/a/b: {}}",
            "must be `pkg.Service/Method`, `pkg.Service/*` or `*`; write `a/b`",
        ),
        ("methods: {a.B.C: {}}", "; write `a.B/C` for a method, or `a.B.C/*` for a service"),
        (
            "host: '${QUEUE_HOST}'",
            "grpc.host is \"${QUEUE_HOST}\", but variables are not replaced in a file: set \
             TONIC_SUPERVISOR_GRPC_HOST instead",
        ),
        ("queue: {max_calls: $CALLS}", "set TONIC_SUPERVISOR_GRPC_QUEUE__MAX_CALLS instead"),
        (
            "methods: {a/b: {timeout: '{{ .timeout }}'}}",
            "are not replaced in a file: write the value itself",
        ),
        (
            "tls: {ca: ~/ca.pem}",
            "grpc.tls.ca is \"~/ca.pem\", but `~` is not replaced: write the whole path",
        ),
        ("methods: 7", "must be a section"),
        ("port: 1, port: 2", "stands here a second time"),
    ];
    for (keys, rule) in cases {
        let text = wrong(keys);
        assert!(text.contains(rule) && text.starts_with("yaml:1:"), "{keys}: {text}");
        assert_eq!(text.lines().count(), 1, "{keys}: {text}");
    }
}

#[test]
fn an_empty_list_of_codes_retries_nothing() {
    for keys in ["retryable_status_codes: []", "retryable_status_codes: ''"] {
        let config = Config::from_yaml(&format!("grpc: {{{keys}}}")).unwrap();
        assert_eq!(config.retry().codes.iter().count(), 0);
    }
}

#[test]
fn huge_times_and_exponents_saturate() {
    let yaml = "grpc: {timeout: 1e300, max_backoff: 1e300, backoff_multiplier: 1e300, \
                keepalive_time: 1e300}";
    let config = Config::from_yaml(yaml).unwrap();
    assert!(config.timeout() > Some(SECOND * 60 * 60 * 24 * 365 * 99));
    assert_eq!(config.retry().delay(u32::MAX, 0.5), config.retry().backoff.max);
    let config =
        Config::builder().timeout(Duration::MAX).connect_timeout(Duration::MAX).build().unwrap();
    assert!(std::time::Instant::now().checked_add(config.connect_timeout()).is_some());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let warnings =
        |keys: &str| Config::from_yaml(&format!("grpc: {{{keys}}}")).unwrap().warnings().to_vec();
    let cases = [
        (
            "keepalive_time: 5",
            "yaml:1:8: grpc.keepalive_time is 5, below grpc.keepalive_floor, and is raised to 10s",
        ),
        ("keepalive_time: 60", "below the 5 minutes"),
        ("keepalive_floor: 1", "grpc.keepalive_floor is 1, below gRPC's 10 s"),
        (
            "keepalive_time: 30000",
            "yaml:1:8: grpc.keepalive_time is 30000, which is in seconds: for milliseconds write \
             `30000ms`, or `30000s` if",
        ),
        (
            "methods: {a/b: {timeout: 5000}}",
            "grpc.methods.\"a/b\".timeout is 5000, which is in seconds",
        ),
    ];
    for (keys, warning) in cases {
        let warnings = warnings(keys);
        assert!(warnings[0].contains(warning), "{keys}: {warnings:?}");
    }
    for quiet in [
        "keepalive_time: 30",
        "keepalive_time: none",
        "keepalive_time: 30, timeout: none",
        "timeout: 3600s",
    ] {
        assert_eq!(warnings(quiet), Vec::<String>::new(), "{quiet}");
    }
    let config = Config::from_yaml("grpc: {keepalive_time: 5}").unwrap();
    assert_eq!(
        (config.keepalive().time(), config.effective_keepalive_time()),
        (Some(5 * SECOND), Some(10 * SECOND))
    );
}

/// Keepalive is the seed's default: a short timeout is no mistake that every start must tell.
#[test]
fn a_timeout_below_keepalives_sum_is_a_note_and_no_warning() {
    let config = Config::from_yaml("grpc: {timeout: 35}").unwrap();
    assert_eq!(config.warnings(), Vec::<String>::new());
    assert!(
        config.notes()[0].starts_with(
            "yaml:1:8: grpc.timeout is 35, which leaves a call on a dead link no time"
        )
    );
    assert_eq!(Config::from_yaml("grpc: {timeout: 36}").unwrap().notes(), Vec::<String>::new());
}

#[test]
fn what_a_variable_or_a_program_says_is_not_replaced_either() {
    let set = Config::builder().environment_from(variables(&[("HOST", "${QUEUE_HOST}")])).build();
    assert_eq!(
        error(set),
        "TONIC_SUPERVISOR_GRPC_HOST: grpc.host is \"${QUEUE_HOST}\", but variables are not \
         replaced in it: give the value itself"
    );
    assert!(error(Config::builder().tls_ca("~/ca.pem").build()).contains("write the whole path"));
}
