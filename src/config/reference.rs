//! The two pages that are written from the table of keys: `config/grpc.yaml` and `docs/configuration.md`.
//!
//! The tests hold the pages to the table; with `UPDATE=1` they write them anew.
#![allow(clippy::unwrap_used)]

use super::{
    Config,
    keys::{KEYS, Key, METHOD_KEYS, variable},
};
use std::{fmt::Write, fs, path::Path};

const YAML_HEAD: &str = "\
# Every key of the supervisor, with its default: an empty file says the same.
# Times are seconds, or text such as 250ms or 1m30s; sizes are bytes, or text such as 64KiB or 4MiB.
# Authority: defaults < this file < environment (TONIC_SUPERVISOR_GRPC_MAX_BACKOFF) < code.
grpc:
";

const YAML_METHODS: &str = "
  # --- Methods ---
  # Rules for \"pkg.Service/Method\", \"pkg.Service/*\" or \"*\"; for each key, the narrowest pattern that sets it holds. For example:
  #   \"pkg.Service/Method\":
";

const MARKDOWN_HEAD: &str = "\
# Configuration

All keys stand under `grpc:` in a YAML file ([`config/grpc.yaml`](../config/grpc.yaml) shows each with its default); other
sections of the file are left alone. An empty file means defaults. Authority, from least to most:

1. the defaults below;
2. the file: `Config::load(path)`, or `.file(path)` on the builder;
3. the environment: `TONIC_SUPERVISOR_GRPC_` and the key in capitals, `__` between section and key
   (`TONIC_SUPERVISOR_GRPC_RECONNECT__MAX_BACKOFF`), commas between the items of a list;
4. the builder: one method per key, named like it, with `_` between section and key (`reconnect_max_backoff`).

Times are seconds (`10`, `0.5`) or text such as `250ms` or `1m30s`; sizes are bytes or text such as `64KiB` or `4MiB`;
`none` turns off what may be off. What is wrong is reported all at once, each with its place, key, value and rule:

```text
grpc.yaml:4:3: grpc.max_backoff is 0.5, but must not be below grpc.initial_backoff, which is 1.0 (default)
grpc.yaml:6:7: grpc.retryable_status_codes has \"UNAVAILABEL\", which is not a gRPC status code; did you mean `UNAVAILABLE`?
```

What is allowed but probably not meant is a warning: see `Config::warnings`; the supervisor logs them when it starts.

*Seed*, in the last column, is the retry and reconnect mechanism that this crate began as: its keys keep
their names, values and meaning.
";

const MARKDOWN_METHODS: &str = "
## Methods

Rules for some methods stand under `grpc.methods`, named `pkg.Service/Method`, `pkg.Service/*` or `*`. For each key the narrowest
pattern that sets it holds, then the key for all calls. In code: `.method(pattern, MethodOptions::new()...)`. There are no
variables for them.

| key | meaning |
|---|---|
";

/// `config/grpc.yaml`.
fn yaml() -> String {
    let mut page = YAML_HEAD.to_owned();
    let (mut group, mut section) = ("", "");
    for key in KEYS {
        let (own_section, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if key.group != group {
            let blank = if group.is_empty() { "" } else { "\n" };
            writeln!(page, "{blank}  # --- {} ---", key.group).unwrap();
        }
        if own_section != section && !own_section.is_empty() {
            writeln!(page, "  {own_section}:").unwrap();
        }
        (group, section) = (key.group, own_section);
        let indent = if section.is_empty() { "  " } else { "    " };
        for line in wrapped(&key.doc.replace('`', ""), 110) {
            writeln!(page, "{indent}# {line}").unwrap();
        }
        match key.unit {
            "status codes" => {
                writeln!(page, "{indent}{name}:").unwrap();
                key.default.split(", ").for_each(|code| writeln!(page, "{indent}  - {code}").unwrap());
            }
            _ => writeln!(page, "{indent}{name}: {}", key.default).unwrap(),
        }
    }
    page += YAML_METHODS;
    for (name, _) in METHOD_KEYS {
        let example = match name {
            "kind" => "unary",
            "idempotent" => "true",
            "retryable_status_codes" => "[UNAVAILABLE]",
            name => super::keys::find(name).unwrap().default,
        };
        writeln!(page, "  #     {name}: {example}").unwrap();
    }
    page + "  methods: {}\n"
}

/// `docs/configuration.md`.
fn markdown() -> String {
    let mut page = MARKDOWN_HEAD.to_owned();
    let mut group = "";
    for Key { path, group: own_group, default, unit, reason, doc } in KEYS {
        if *own_group != group {
            group = own_group;
            write!(
                page,
                "\n## {group}\n\n| key | default | unit | meaning | why this default |\n|---|---|---|---|---|\n"
            )
            .unwrap();
        }
        let default = default.replace(", ", "`, `");
        writeln!(page, "| `{path}` | `{default}` | {unit} | {} | {reason} |", doc.trim()).unwrap();
    }
    page += MARKDOWN_METHODS;
    for (name, doc) in METHOD_KEYS {
        writeln!(page, "| `{name}` | {doc} |").unwrap();
    }
    page
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() < width {
            write!(line, " {word}").unwrap();
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Holds the page at `path` to `text`.
fn held(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(there == text, "{} differs from the table of keys; UPDATE=1 writes it anew", path.display());
}

#[test]
fn the_checked_in_file_shows_every_key_with_its_default() {
    held("config/grpc.yaml", &yaml());
}

#[test]
fn the_configuration_page_says_what_the_table_of_keys_says() {
    held("docs/configuration.md", &markdown());
}

#[test]
fn the_file_with_every_key_means_the_defaults() {
    assert_eq!(Config::from_yaml(&yaml()), Ok(Config::default()));
}

#[test]
fn every_key_has_a_variable_that_works() {
    for key in KEYS {
        let changed = match (key.path, key.unit) {
            ("host", _) => "elsewhere",
            (_, "status codes") => "ABORTED,unavailable",
            // Cannot be had.
            (path, _) if path.contains("tls") && !cfg!(feature = "tls-ring") => continue,
            ("use_tls", _) => "true",
            (_, "true or false") => "false",
            (_, "share") => "0.1",
            ("max_backoff" | "reconnect.max_backoff", _) => "11",
            ("target", _) => "elsewhere:1",
            ("tls.roots", _) => "webpki",
            ("max_response_header_bytes", _) => "4096",
            // Each needs the other.
            ("tls.certificate" | "tls.key", _) => continue,
            ("retry_throttle.max_tokens" | "retry_throttle.token_ratio", _) => "none",
            _ => "2",
        };
        let changed = match key.path {
            "backoff_multiplier" | "reconnect.waiting_backoff_multiplier" => "3",
            "reconnect.waiting_initial_backoff" => "0.5",
            _ => changed,
        };
        let set = |text: &str| Config::builder().environment_from([(variable(key.path), text.to_owned())]).build();
        assert_eq!(set(key.default), Ok(Config::default()), "{}", key.path);
        let config = set(changed).unwrap();
        assert_eq!(config != Config::default(), changed != "none", "{}", key.path);
    }
}

#[test]
fn every_value_that_makes_no_sense_is_an_error_that_names_its_key() {
    for key in KEYS {
        let text = format!(
            "grpc: {}",
            key.path.split('.').rev().fold("{a: 1}".to_owned(), |value, name| format!("{{{name}: {value}}}"))
        );
        let error = Config::from_yaml(&text).unwrap_err();
        assert_eq!(error.problems()[0].key(), Some(format!("grpc.{}", key.path).as_str()), "{error}");
        assert!(error.problems()[0].place().starts_with("yaml:1:"), "{error}");
        let error = Config::builder().environment_from([(variable(key.path), " ".into())]).build();
        if key.unit != "status codes" {
            assert!(error.unwrap_err().to_string().starts_with(&variable(key.path)), "{}", key.path);
        }
    }
}
