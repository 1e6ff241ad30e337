//! Configuration: what the seed's keys mean, who overrules whom, and that whatever is wrong is said
//! clearly, all at once.
#![cfg(feature = "yaml")]
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::{fs, time::Duration};
use tonic::Code;
use tonic_supervisor::{
    CallKind, Config, ConfigError,
    config::MethodOptions,
    policy::{RetryLimit, ThrottleRule},
};

/// The seed's two texts, as they stand there.
pub(crate) const SEED_RETRY: &str = "\
grpc:
  # 重试配置
  max_retry_attempts: 3              # 最大重试次数（0 表示禁用重试）
  initial_backoff: 1.0               # 初始退避时间（秒）
  max_backoff: 10.0                  # 最大退避时间（秒）
  backoff_multiplier: 2.0            # 退避倍数
  retryable_status_codes:            # 可重试的状态码
    - UNAVAILABLE
    - DEADLINE_EXCEEDED
    - RESOURCE_EXHAUSTED
    - ABORTED
    - INTERNAL
    - UNKNOWN
";

pub(crate) const SEED_KEEPALIVE: &str = "\
grpc:
  # 连接配置
  keepalive_time: 30                 # Keepalive 时间（秒）
  keepalive_timeout: 5               # Keepalive 超时（秒）
  keepalive_permit_without_calls: true  # 允许在没有调用时发送 keepalive
";

const SECOND: Duration = Duration::from_secs(1);

fn error(result: Result<Config, ConfigError>) -> String {
    result.expect_err("this configuration is wrong").to_string()
}

/// The error of keys under `grpc:`, written in flow style on the first line.
fn wrong(keys: &str) -> String {
    error(Config::from_yaml(&format!("grpc: {{{keys}}}")))
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(key, value)| (format!("TONIC_SUPERVISOR_GRPC_{key}"), (*value).to_owned()))
        .collect()
}

#[test]
fn both_snippets_of_the_seed_parse_unchanged_and_are_the_defaults() {
    for text in [SEED_RETRY, SEED_KEEPALIVE, ""] {
        assert_eq!(Config::from_yaml(text), Ok(Config::default()));
    }
    let config = Config::default();
    assert!(config.warnings().is_empty());
    assert_eq!(config.retry().limit, RetryLimit::AtMost(3));
    let waits: Vec<u64> = (0..6).map(|n| config.retry().delay(n, 0.9).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert_eq!(config.retry().codes.iter().count(), 6);
    assert!(
        config.retry().codes.contains(Code::Unavailable)
            && !config.retry().codes.contains(Code::NotFound)
    );
    assert_eq!(config.effective_keepalive_time(), Some(30 * SECOND));
    assert_eq!(
        (config.keepalive().timeout(), config.keepalive().permit_without_calls()),
        (5 * SECOND, true)
    );
}

#[test]
fn the_defaults_beside_the_seeds_are_as_documented() {
    let config = Config::default();
    assert_eq!((config.host(), config.port()), ("127.0.0.1", 50_051));
    assert_eq!(
        (config.timeout(), config.attempt_timeout(), config.connect_timeout()),
        (Some(60 * SECOND), None, 20 * SECOND)
    );
    assert_eq!(
        (config.max_in_flight(), config.request_actors(), config.max_replay_bytes()),
        (1_024, 1, 4 << 20)
    );
    assert_eq!((config.queue().max_calls(), config.queue().max_bytes()), (100_000, 64 << 20));
    assert_eq!(config.retry_throttle(), ThrottleRule::Share { ratio: 0.2, floor: 10.0 });
    let reconnect = config.reconnect();
    assert_eq!(
        (reconnect.idle().initial, reconnect.idle().multiplier, reconnect.idle().max),
        (SECOND, 1.6, 10 * SECOND)
    );
    let waiting = reconnect.waiting();
    assert_eq!(
        (waiting.initial, waiting.multiplier, waiting.max),
        (Duration::from_millis(50), 2.0, SECOND)
    );
    assert_eq!(
        (reconnect.jitter(), reconnect.spread(), reconnect.stable_after()),
        (0.2, Duration::from_millis(20), 10 * SECOND)
    );
    assert_eq!((config.intensity().restarts, config.intensity().period), (5, 10 * SECOND));
    assert!(config.wait_for_ready() && config.methods().is_empty());
}

#[test]
fn the_seeds_custom_and_disabled_examples_work_in_code() {
    let custom = Config::builder()
        .max_retry_attempts(5)
        .initial_backoff(2 * SECOND)
        .max_backoff(20 * SECOND)
        .backoff_multiplier(1.5)
        .build()
        .unwrap();
    assert_eq!(custom.retry().limit, RetryLimit::AtMost(5));
    let waits: Vec<f64> = (0..7).map(|n| custom.retry().delay(n, 0.5).as_secs_f64()).collect();
    assert_eq!(waits, [2.0, 3.0, 4.5, 6.75, 10.125, 15.1875, 20.0]);
    let disabled = Config::builder().max_retry_attempts(0).build().unwrap();
    assert!(!disabled.retry().limit.allows(0));
}

/// Scenario 24: no hidden clamp, 0 is off, `unlimited` only with a deadline.
#[test]
fn retry_counts_are_not_clamped_and_unlimited_needs_a_deadline() {
    for n in [0, 3, 10, 4_000_000_000] {
        let config = Config::from_yaml(&format!("grpc: {{max_retry_attempts: {n}}}")).unwrap();
        assert_eq!(config.retry().limit, RetryLimit::AtMost(n));
    }
    let config = Config::from_yaml("grpc: {max_retry_attempts: Unlimited}").unwrap();
    assert_eq!(config.retry().limit, RetryLimit::Unlimited);
    assert_eq!(
        wrong("max_retry_attempts: unlimited, timeout: none"),
        "yaml:1:8: grpc.max_retry_attempts is \"unlimited\", but needs grpc.timeout, which is \
         \"none\" (yaml:1:39)"
    );
    let text =
        error(Config::builder().max_retry_attempts(RetryLimit::Unlimited).timeout(None).build());
    assert!(
        text.contains("builder method max_retry_attempts(..): grpc.max_retry_attempts"),
        "{text}"
    );
    let text = wrong("max_retry_attempts: unlimited, methods: {a/b: {timeout: none}}");
    assert!(text.contains("grpc.methods.\"a/b\".timeout"), "{text}");
}

/// Scenario 25: keepalive keys that together do nothing are an error.
#[test]
fn keepalive_keys_that_together_do_nothing_are_an_error() {
    for off in ["none", "0", "0.0", "null"] {
        let text = wrong(&format!("keepalive_time: {off}, keepalive_timeout: 5"));
        assert!(
            text.contains(
                "grpc.keepalive_timeout is 5, but does nothing without grpc.keepalive_time"
            ),
            "{text}"
        );
        let config = Config::from_yaml(&format!("grpc: {{keepalive_time: {off}}}")).unwrap();
        assert_eq!(config.effective_keepalive_time(), None);
    }
    assert!(
        wrong("keepalive_time: 0, keepalive_permit_without_calls: true")
            .contains("keepalive_permit_without_calls is true")
    );
    // What the file said is overruled, not contradicted.
    let overruled = Config::builder()
        .yaml(SEED_KEEPALIVE)
        .environment_from(variables(&[("KEEPALIVE_TIME", "none")]))
        .build();
    assert_eq!(overruled.unwrap().keepalive().time(), None);
    assert!(
        Config::builder()
            .yaml(SEED_KEEPALIVE)
            .keepalive_time(None)
            .keepalive_timeout(SECOND)
            .build()
            .is_err()
    );
}

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
  {host: h, port: 1, timeout: 1m30s, attempt_timeout: 700ms, connect_timeout: 0.8, max_retry_attempts: 7,
   initial_backoff: 900ms, max_backoff: 9, backoff_multiplier: 3, backoff_jitter: 0.5, retryable_status_codes: [10],
   keepalive_time: 40, keepalive_timeout: 6s, keepalive_permit_without_calls: no, keepalive_floor: 11,
   wait_for_ready: false, max_replay_bytes: 10, max_in_flight: 11, request_actors: 2,
   queue: {max_calls: 12, max_bytes: 13B},
   reconnect: {initial_backoff: 2, backoff_multiplier: 2.5, max_backoff: 12, waiting_initial_backoff: 60ms,
     waiting_backoff_multiplier: 4, waiting_max_backoff: 2, jitter: 0.3, spread: 0.03, stable_after: 14},
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
    let yaml = "grpc: \
                {timeout: 1e300, max_backoff: 1e300, backoff_multiplier: 1e300, keepalive_time: 1e300}";
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

#[test]
fn a_supervisor_tells_its_configuration() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config::from_yaml("grpc: {port: 1}").unwrap();
    let supervisor =
        runtime.block_on(async { tonic_supervisor::Supervisor::spawn(config.clone()) });
    assert_eq!(supervisor.config(), &config);
}

#[test]
fn files_that_cannot_be_read_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("good.yaml"), "\u{feff}grpc: {port: 7}\r\n").unwrap();
    fs::write(path("latin.yaml"), b"grpc:\n  host: caf\xe9\n").unwrap();
    fs::write(path("broken.yaml"), "grpc:\n  port: [\n").unwrap();
    let read = |name: &str| Config::builder().file(path(name)).build();
    assert_eq!(read("good.yaml").unwrap().port(), 7);
    assert_eq!(Config::load(path("good.yaml")).unwrap().port(), 7);
    assert!(error(read("missing.yaml")).contains("missing.yaml: cannot be read"));
    assert!(error(read("")).contains("cannot be read"));
    assert!(error(read("latin.yaml")).contains("latin.yaml:2:12: is not UTF-8 text"));
    fs::write(path("wide.yaml"), b"\xff\xfeg\0r\0").unwrap();
    assert!(
        error(read("wide.yaml"))
            .contains("wide.yaml:1:1: is not UTF-8 text, but UTF-16: save it as UTF-8")
    );
    assert!(error(read("broken.yaml")).contains("broken.yaml:3:1: "));
}

#[test]
fn every_key_of_the_checked_in_file_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/grpc.yaml");
    assert_eq!(Config::builder().file(path).build(), Ok(Config::default()));
}

#[test]
fn yaml_whose_aliases_multiply_is_refused() {
    let mut bomb = "grpc:\n  a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        bomb += &format!("  a{n}: &a{n} [{}]\n", vec![before; 8].join(", "));
    }
    assert!(Config::from_yaml(&bomb).is_err());
    assert!(Config::from_yaml(&format!("grpc: {}", "[".repeat(10_000))).is_err());
    assert!(Config::from_yaml(&format!("grpc: {}", "{a: ".repeat(5_000))).is_err());
}

#[test]
fn no_slip_of_one_character_in_the_seeds_file_panics() {
    for (at, old) in SEED_KEEPALIVE.char_indices() {
        for new in ["", "-", ":", " ", "\n", "\t", "[", "{", "\"", "&a", "*a", "0", "é", "\0"] {
            let mut text = SEED_KEEPALIVE.to_owned();
            text.replace_range(at..at + old.len_utf8(), new);
            if let Err(error) = Config::from_yaml(&text) {
                assert!(
                    !error.problems().is_empty() && error.to_string().starts_with("yaml"),
                    "{text:?}: {error}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_configuration_but_never_a_panic(text in "\\PC*", line in "[-a-z_0-9:.,{}\\[\\]&*!|>'\"#% \n]{0,80}") {
        let _ = Config::from_yaml(&text);
        let _ = Config::from_yaml(&format!("grpc:\n  {line}"));
        let _ = Config::from_yaml(&format!("grpc: {{methods: {{{line}}}}}"));
        let _ = Config::builder().host(text.as_str()).environment_from(variables(&[("MAX_BACKOFF", &text), ("PORT", &line)])).build();
    }

    #[test]
    fn whatever_is_accepted_keeps_the_rules(initial in any::<f64>(), max in any::<f64>(), multiplier in any::<f64>(), jitter in -0.5..1.5) {
        let yaml = format!("grpc: {{initial_backoff: {initial:?}, max_backoff: {max:?}}}");
        if let Ok(config) = Config::builder().yaml(yaml).backoff_multiplier(multiplier).backoff_jitter(jitter).build() {
            let retry = config.retry();
            prop_assert!(retry.backoff.initial <= retry.backoff.max && retry.backoff.multiplier >= 1.0);
            prop_assert!((0.0..=1.0).contains(&retry.jitter));
            prop_assert!(retry.delay(u32::MAX, 0.999) <= retry.backoff.max * 2);
        }
    }
}
