//! Who overrules whom, and which rule a method has.

#![cfg(feature = "yaml")]

use super::keys::{SECOND, error, variables};
use std::time::Duration;
use tonic::Code;
use tonic_supervisor::{CallKind, Config, config::MethodOptions, policy::RetryLimit};

#[test]
fn each_source_overrules_the_ones_before_it_in_whatever_order_they_are_named() {
    let yaml = "grpc: {port: 1, max_backoff: 11, queue: {max_calls: 11}, max_in_flight: 11}";
    let environment = variables(&[
        ("MAX_BACKOFF", "22"),
        ("QUEUE__MAX_CALLS", "22"),
        ("RETRYABLE_STATUS_CODES", "aborted, 14"),
    ]);
    let config = Config::builder()
        .queue_max_calls(33)
        .environment_from(environment)
        .yaml(yaml)
        .build()
        .unwrap();
    assert_eq!(config.max_in_flight(), 11);
    assert_eq!(config.retry().backoff.max, 22 * SECOND);
    assert_eq!(config.retry().codes.iter().collect::<Vec<_>>(), [Code::Aborted, Code::Unavailable]);
    assert_eq!(config.queue().max_calls(), 33);
    assert_eq!(config.connect_timeout(), Config::default().connect_timeout());
    let later_file =
        Config::builder().yaml("grpc: {port: 1}").yaml("grpc: {port: 2}").build().unwrap();
    assert_eq!(later_file.port(), 2);
}

#[test]
fn every_builder_method_means_its_key() {
    let millis = Duration::from_millis;
    let built = Config::builder()
        .host("h")
        .port(1)
        .timeout(90 * SECOND)
        .attempt_timeout(millis(700))
        .connect_timeout(millis(800))
        .max_retry_attempts(7)
        .initial_backoff(millis(900))
        .max_backoff(9 * SECOND)
        .backoff_multiplier(3.0)
        .backoff_jitter(0.5)
        .retryable_status_codes([Code::Aborted])
        .keepalive_time(40 * SECOND)
        .keepalive_timeout(6 * SECOND)
        .keepalive_permit_without_calls(false)
        .keepalive_floor(11 * SECOND)
        .wait_for_ready(false)
        .max_replay_bytes(10)
        .max_in_flight(11)
        .request_actors(2)
        .queue_max_calls(12)
        .queue_max_bytes(13)
        .reconnect_initial_backoff(2 * SECOND)
        .reconnect_backoff_multiplier(2.5)
        .reconnect_max_backoff(12 * SECOND)
        .reconnect_waiting_initial_backoff(millis(60))
        .reconnect_waiting_backoff_multiplier(4.0)
        .reconnect_waiting_max_backoff(2 * SECOND)
        .reconnect_jitter(0.3)
        .reconnect_spread(millis(30))
        .reconnect_stable_after(14 * SECOND)
        .intensity_restarts(6)
        .intensity_period(15 * SECOND)
        .retry_throttle_enabled(true)
        .retry_throttle_ratio(0.3)
        .retry_throttle_floor(12.0)
        .retry_throttle_max_tokens(100.0)
        .retry_throttle_token_ratio(0.1);
    let written = "
grpc:
  {host: h, port: 1, timeout: 1m30s, attempt_timeout: 700ms, connect_timeout: 0.8,
   max_retry_attempts: 7, initial_backoff: 900ms, max_backoff: 9, backoff_multiplier: 3,
   backoff_jitter: 0.5, retryable_status_codes: [10], keepalive_time: 40, keepalive_timeout: 6s,
   keepalive_permit_without_calls: no, keepalive_floor: 11,
   wait_for_ready: false, max_replay_bytes: 10, max_in_flight: 11, request_actors: 2,
   queue: {max_calls: 12, max_bytes: 13B},
   reconnect: {initial_backoff: 2, backoff_multiplier: 2.5, max_backoff: 12,
     waiting_initial_backoff: 60ms, waiting_backoff_multiplier: 4, waiting_max_backoff: 2,
     jitter: 0.3, spread: 0.03, stable_after: 14},
   intensity: {restarts: 6, period: 15},
   retry_throttle: {enabled: true, ratio: 0.3, floor: 12, max_tokens: 100, token_ratio: 0.1}}
";
    assert_eq!(built.build(), Config::from_yaml(written));
}

#[test]
fn a_method_has_the_narrowest_rule_and_inherits_the_rest() {
    let yaml = "
grpc:
  initial_backoff: 2
  methods:
    '*': {wait_for_ready: false, max_retry_attempts: 1}
    'a.B/*': {kind: unary, timeout: none, max_retry_attempts: 2}
    'a.B/C': {idempotent: false, max_retry_attempts: 0, attempt_timeout: 3}
";
    let config = Config::from_yaml(yaml).unwrap();
    let patterns: Vec<&str> = config.methods().iter().map(|rule| rule.pattern()).collect();
    assert_eq!(patterns, ["a.B/C", "a.B/*", "*"]);
    let rule = config.method("/a.B/C").unwrap();
    assert_eq!(
        (rule.kind(), rule.idempotent(), rule.wait_for_ready()),
        (Some(CallKind::Unary), Some(false), Some(false))
    );
    assert_eq!((rule.timeout(), rule.attempt_timeout()), (Some(None), Some(Some(3 * SECOND))));
    assert_eq!(
        (rule.retry().limit, rule.retry().backoff.initial),
        (RetryLimit::AtMost(0), 2 * SECOND)
    );
    let rule = config.method("a.B/D").unwrap();
    assert_eq!(
        (rule.pattern(), rule.idempotent(), rule.retry().limit),
        ("a.B/*", None, RetryLimit::AtMost(2))
    );
    let rule = config.method("a.Bx/C").unwrap();
    assert_eq!((rule.pattern(), rule.kind(), rule.timeout()), ("*", None, None));
    assert_eq!(Config::default().method("a.B/C"), None);

    let options =
        MethodOptions::new().idempotent(false).max_retry_attempts(0).attempt_timeout(3 * SECOND);
    let built = Config::builder()
        .yaml(yaml.split("    'a.B/C'").next().unwrap())
        .method("a.B/C", options)
        .build();
    assert_eq!(built, Ok(config));
    assert!(
        error(Config::builder().method("nonsense", MethodOptions::new()).build())
            .contains("builder method method(\"nonsense\", ..)")
    );
}
