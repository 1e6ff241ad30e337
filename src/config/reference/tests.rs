//! The generated files agree with the table of keys, and with what the reader takes.

use super::{held, pages, schema, yaml};
use crate::config::{
    Config,
    keys::{KEYS, Key, Shape, method_keys, variable},
};
use serde_json::Value;

#[test]
fn the_checked_in_file_shows_every_key_with_its_default() {
    held("config/grpc.yaml", &yaml::page());
}

#[test]
fn the_pages_say_what_the_table_of_keys_says() {
    held("docs/configuration.md", &pages::configuration());
    held("docs/defaults.md", &pages::defaults());
}

#[test]
fn the_checked_in_schema_is_what_the_table_of_keys_says() {
    held("config/grpc.schema.json", &schema::page());
}

#[test]
fn the_file_with_every_key_means_the_defaults() {
    assert_eq!(Config::from_yaml(&yaml::page()), Ok(Config::default()));
}

/// A value other than the default; none where it needs another key beside it, or TLS.
fn changed(key: &Key) -> Option<&'static str> {
    Some(match (key.path, key.kind.shape) {
        (path, _) if path.contains("tls") && !cfg!(feature = "tls-ring") => return None,
        (
            "tls.certificate"
            | "tls.key"
            | "retry_throttle.max_tokens"
            | "retry_throttle.token_ratio",
            _,
        ) => return None,
        ("host", _) => "elsewhere",
        ("target", _) => "elsewhere:1",
        ("use_tls", _) => "true",
        ("backoff_multiplier" | "reconnect.waiting_backoff_multiplier", _) => "3",
        ("reconnect.waiting_initial_backoff", _) => "0.5",
        ("max_backoff" | "reconnect.max_backoff", _) => "11",
        (_, Shape::Shuffle) => "false",
        ("balancing.subset" | "balancing.choices" | "balancing.sticky_header", _) => return None,
        ("resolve.absent", _) => "3",
        ("health.probe_timeout", _) => "1",
        (_, Shape::Addresses) => "elsewhere:1, nowhere:2",
        (_, Shape::Codes) => "ABORTED,unavailable",
        (_, Shape::Switch) => "false",
        (_, Shape::Number { most, .. }) if most <= 1.0 => "0.1",
        (_, Shape::Size { .. }) => "4096",
        (_, Shape::Word(words)) => words[1],
        _ => "2",
    })
}

#[test]
fn every_key_has_a_variable_that_works() {
    for key in KEYS {
        let set = |text: &str| {
            Config::builder().environment_from([(variable(key.path), text.to_owned())]).build()
        };
        assert_eq!(set(key.default), Ok(Config::default()), "{}", key.path);
        if let Some(changed) = changed(key) {
            assert_ne!(set(changed).unwrap(), Config::default(), "{}", key.path);
        }
    }
}

#[test]
fn every_word_that_the_table_lists_is_read() {
    for key in KEYS.iter().chain(method_keys()) {
        let Shape::Word(words) = key.kind.shape else { continue };
        for word in words {
            let name = key.path.rsplit('.').next().unwrap();
            let text = match key.path.split_once('.') {
                Some(("tls", _)) if cfg!(not(feature = "tls-ring")) => continue,
                Some(("tls", _)) => format!("{{tls: {{{name}: {word}, ca: x}}}}"),
                Some((section, _)) => format!("{{{section}: {{{name}: {word}}}}}"),
                None => format!("{{methods: {{a/b: {{{name}: {word}}}}}}}"),
            };
            let read = Config::from_yaml(&format!("grpc: {text}"));
            assert!(read.is_ok(), "{}: {read:?}", key.path);
        }
    }
}

#[test]
fn every_value_that_makes_no_sense_is_an_error_that_names_its_key() {
    for key in KEYS {
        let text = format!(
            "grpc: {}",
            key.path
                .split('.')
                .rev()
                .fold("{a: 1}".to_owned(), |value, name| format!("{{{name}: {value}}}"))
        );
        let error = Config::from_yaml(&text).unwrap_err();
        assert_eq!(
            error.problems()[0].key(),
            Some(format!("grpc.{}", key.path).as_str()),
            "{error}"
        );
        assert!(error.problems()[0].location().starts_with("yaml:1:"), "{error}");
        let error = Config::builder().environment_from([(variable(key.path), " ".into())]).build();
        // No code is a list, and no name is the server as a whole.
        if !matches!(key.kind.shape, Shape::Codes) && key.path != "health.service" {
            assert!(
                error.unwrap_err().to_string().starts_with(&variable(key.path)),
                "{}",
                key.path
            );
        }
    }
}

#[test]
fn every_key_has_a_value_and_somebody_who_said_it() {
    let config = Config::default();
    let all = config.effective();
    assert_eq!(all.len(), KEYS.len());
    assert!(all.iter().all(|one| one.location() == "default" && one.path()[0] == "grpc"));
    let yaml = "grpc:\n  host: 'a'\n  queue:\n    max_calls: 7\n  methods:\n    a.B/C: \
                {kind: unary}\n    '*': {timeout: 9}\n";
    let builder = Config::builder().yaml(yaml).environment_from([(variable("host"), "b".into())]);
    let config = builder.max_backoff(std::time::Duration::from_millis(1_500)).build().unwrap();
    let lines: Vec<String> = config.effective().iter().map(|one| one.to_string()).collect();
    for line in [
        "grpc.host is b (TONIC_SUPERVISOR_GRPC_HOST)",
        "grpc.queue.max_calls is 7 (yaml:4:5)",
        "grpc.max_backoff is 1.5s (builder method max_backoff(..))",
        "grpc.port is 50051 (default)",
        "grpc.methods.\"a.B/C\".kind is unary (yaml:6:13)",
        "grpc.methods.\"*\".timeout is 9 (yaml:7:11)",
    ] {
        assert!(lines.iter().any(|one| one == line), "{line} in {lines:#?}");
    }
}

/// What of `value` breaks `schema`. It knows the few words of JSON Schema that our schema has, but
/// for `pattern`, whose values the reader's own tests list.
fn broken(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        let keeps = match word.as_str() {
            "type" => types(rule).iter().any(|name| is_of_type(value, name)),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minLength" => {
                value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap())
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| broken(one, value, at).is_empty()),
            "items" => {
                value.as_array().into_iter().flatten().all(|item| broken(rule, item, at).is_empty())
            }
            "uniqueItems" => {
                let items = value.as_array().into_iter().flatten();
                items.enumerate().all(|(n, item)| {
                    value.as_array().unwrap()[..n].iter().all(|other| other != item)
                })
            }
            "required" => {
                let names = rule.as_array().unwrap();
                value.as_object().is_none_or(|object| {
                    names.iter().all(|name| object.contains_key(name.as_str().unwrap()))
                })
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(name) {
                        faults.extend(broken(schema, inner, &format!("{at}.{name}")));
                    }
                }
                true
            }
            "patternProperties" => {
                let schema = rule.as_object().unwrap().values().next().unwrap();
                for (name, inner) in value.as_object().into_iter().flatten() {
                    faults.extend(broken(schema, inner, &format!("{at}.{name}")));
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                schema.get("patternProperties").is_some()
                    || value.as_object().is_none_or(|object| object.keys().all(known))
            }
            "minItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap())
            }
            "$schema" | "title" | "description" | "default" | "pattern" => true,
            other => panic!("`{other}` is not a word that this test knows"),
        };
        faults.extend((!keeps).then(|| format!("{at}: {word}")));
    }
    faults
}

fn types(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        name => vec![name.as_str().unwrap()],
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type of JSON"),
    }
}

fn faults(yaml: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&schema::page()).unwrap();
    broken(&schema, &serde_yaml::from_str(yaml).unwrap(), "file")
}

#[test]
fn the_schema_takes_the_template_and_what_the_pages_show() {
    let long = "grpc: \
                {timeout: 5m, attempt_timeout: none, max_retry_attempts: unlimited, \
                retryable_status_codes: [14, ABORTED], queue: }";
    let rules = "grpc: \
                 {methods: {'a.B/*': {kind: unary, timeout: 1m30s, idempotent: no}}, \
                 max_replay_bytes: 64KiB}";
    for text in [&*yaml::page(), "grpc:", "web: {port: 80}\ngrpc: {port: 1}", long, rules] {
        assert_eq!(faults(text), Vec::<String>::new(), "{text}");
        assert!(Config::from_yaml(text).is_ok(), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for (text, at) in [
        ("host: x", "file: required"),
        ("grpc: {max_backof: 3}", "file.grpc: additionalProperties"),
        ("grpc: {queue: {max_cals: 3}}", "file.grpc.queue: additionalProperties"),
        ("grpc: {port: 70000}", "file.grpc.port: maximum"),
        ("grpc: {port: 1.5}", "file.grpc.port: type"),
        ("grpc: {max_in_flight: 0}", "file.grpc.max_in_flight: minimum"),
        ("grpc: {backoff_jitter: 1.1}", "file.grpc.backoff_jitter: maximum"),
        ("grpc: {wait_for_ready: 1}", "file.grpc.wait_for_ready: anyOf"),
        ("grpc: {connect_timeout: none, timeout: -1}", "file.grpc.timeout: anyOf"),
        (
            "grpc: {retryable_status_codes: [UNAVAILABEL]}",
            "file.grpc.retryable_status_codes: anyOf",
        ),
        ("grpc: {tls: {roots: mozilla}}", "file.grpc.tls.roots: anyOf"),
        ("grpc: {methods: {a/b: {kind: bidi}}}", "file.grpc.methods.a/b.kind: enum"),
        ("grpc: {methods: {a/b: {kin: unary}}}", "file.grpc.methods.a/b: additionalProperties"),
        ("grpc: 7", "file.grpc: type"),
    ] {
        assert!(faults(text).contains(&at.to_owned()), "{text}: {:?}", faults(text));
        if at != "file: required" {
            assert!(Config::from_yaml(text).is_err(), "{text}");
        }
    }
}
