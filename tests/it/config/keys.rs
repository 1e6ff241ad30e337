//! What the seed's keys mean, the defaults, and that no text panics.

#![cfg(feature = "yaml")]

use proptest::prelude::*;
use std::{fs, time::Duration};
use tonic::Code;
use tonic_supervisor::{
    Config, ConfigError,
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

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn error(result: Result<Config, ConfigError>) -> String {
    result.expect_err("this configuration is wrong").to_string()
}

/// The error of keys under `grpc:`, written in flow style on the first line.
pub(super) fn wrong(keys: &str) -> String {
    error(Config::from_yaml(&format!("grpc: {{{keys}}}")))
}

pub(super) fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
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
    fn garbage_is_an_error_or_a_configuration_but_never_a_panic(
        text in "\\PC*",
        line in "[-a-z_0-9:.,{}\\[\\]&*!|>'\"#% \n]{0,80}",
    ) {
        let _ = Config::from_yaml(&text);
        let _ = Config::from_yaml(&format!("grpc:\n  {line}"));
        let _ = Config::from_yaml(&format!("grpc: {{methods: {{{line}}}}}"));
        let environment = variables(&[("MAX_BACKOFF", &text), ("PORT", &line)]);
        let _ = Config::builder().host(text.as_str()).environment_from(environment).build();
    }

    #[test]
    fn whatever_is_accepted_keeps_the_rules(
        initial in any::<f64>(),
        max in any::<f64>(),
        multiplier in any::<f64>(),
        jitter in -0.5..1.5,
    ) {
        let yaml = format!("grpc: {{initial_backoff: {initial:?}, max_backoff: {max:?}}}");
        let builder = Config::builder().yaml(yaml);
        let builder = builder.backoff_multiplier(multiplier).backoff_jitter(jitter);
        if let Ok(config) = builder.build() {
            let retry = config.retry();
            prop_assert!(retry.backoff.initial <= retry.backoff.max);
            prop_assert!(retry.backoff.multiplier >= 1.0);
            prop_assert!((0.0..=1.0).contains(&retry.jitter));
            prop_assert!(retry.delay(u32::MAX, 0.999) <= retry.backoff.max * 2);
        }
    }
}
