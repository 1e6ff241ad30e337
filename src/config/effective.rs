//! The effective value of each key, and where it comes from.
//!
//! It is for people who ask why a program behaves as it does, and for messages about values that
//! turn out to be wrong only when they are used.

#[cfg(feature = "tls")]
use super::error::Problem;
use super::{
    keys::{self, KEYS, Shape},
    layers::{KeyPath, Layers, Setting},
    location::Location,
    method::MethodRule,
    value::Value,
};
use std::fmt;

/// A key, its effective value, and where the value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    key: KeyPath,
    value: String,
    location: Location,
}

impl Effective {
    /// The sections and the name, from the top of a file: `grpc`, `queue`, `max_calls`.
    pub fn path(&self) -> Vec<&str> {
        self.key.steps()
    }

    /// Its path below `grpc:`, or below a method's pattern.
    pub(super) fn key(&self) -> &'static str {
        self.key.path
    }

    /// Whether nobody set it.
    pub(super) fn is_default(&self) -> bool {
        self.location == Location::Default
    }

    /// The value, as it would be written in a YAML file.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Where it comes from: `grpc.yaml:4:3` (file, line, column), the name of a variable, a builder
    /// method, or `default`.
    pub fn location(&self) -> String {
        self.location.to_string()
    }
}

impl fmt::Display for Effective {
    /// `grpc.max_backoff is 10.0 (default)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} ({})", self.key, self.value, self.location)
    }
}

/// Where a configuration's values come from, and the remarks about them. It plays no part in
/// equality: configurations with the same values are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    /// The settings that are not defaults.
    pub(super) explicit: Box<[Effective]>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Whether `wait_for_ready` is set anywhere.
    pub(crate) wait_for_ready: bool,
}

impl PartialEq for Provenance {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Provenance {
    /// Every key with its effective value; then what was set for `methods`.
    pub(super) fn effective(&self, methods: &[MethodRule]) -> Vec<Effective> {
        let everywhere = KEYS.iter().map(|key| {
            let path = KeyPath { method: None, path: key.path };
            match self.explicit.iter().find(|setting| setting.key == path) {
                Some(setting) => setting.clone(),
                None => Effective { key: path, value: default(key), location: Location::Default },
            }
        });
        let for_methods = methods.iter().flat_map(|rule| {
            let ours = |setting: &&Effective| setting.key.method.as_deref() == Some(rule.pattern());
            self.explicit.iter().filter(ours).cloned()
        });
        everywhere.chain(for_methods).collect()
    }

    /// The key at `path` as it holds for the methods of the first of these patterns that sets it.
    pub(super) fn holding(&self, patterns: &[String], path: &'static str) -> Effective {
        let scopes = patterns.iter().cloned().map(Some).chain([None]);
        let mut keys = scopes.map(|method| KeyPath { method, path });
        let set = |key| self.explicit.iter().find(|setting| setting.key == key).cloned();
        keys.find_map(set).unwrap_or_else(|| Effective {
            key: KeyPath { method: None, path },
            value: keys::find(path).map_or_else(String::new, default),
            location: Location::Default,
        })
    }

    /// A problem with the value of the key at `path`.
    #[cfg(feature = "tls")]
    pub(super) fn problem_with(&self, path: &str, rule: &str) -> Problem {
        let for_all =
            |setting: &&Effective| setting.key.method.is_none() && setting.key.path == path;
        let setting = self.explicit.iter().find(for_all);
        let (value, location) = match setting {
            Some(setting) => (setting.value.as_str(), setting.location.clone()),
            None => ("none", Location::Default),
        };
        Problem {
            location,
            key: Some(format!("grpc.{path}")),
            text: format!("is {value}, but {rule}"),
        }
    }
}

/// The settings that are not defaults, with their locations: the files themselves are not kept.
pub(super) fn explicit(layers: &Layers) -> Box<[Effective]> {
    let one = |(key, setting): (&KeyPath, &Setting)| Effective {
        key: key.clone(),
        value: yaml(&setting.value),
        location: setting.source.location(key, None),
    };
    layers.settings.iter().map(one).collect()
}

fn default(key: &keys::Key) -> String {
    match key.kind.shape {
        Shape::Codes => format!("[{}]", key.default),
        _ => key.default.to_owned(),
    }
}

/// A value as YAML has it, on one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Text(text) if is_plain(text) => text.clone(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Time(time) => format!("{time:?}").replace('µ', "u"),
        Value::List(items) => {
            format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether text needs no quotes: nothing in it means something to YAML.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with(':')
        && text.chars().all(harmless)
}
